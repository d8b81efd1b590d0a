/** Signals: the first one reads on, a repeated one is ignored, the second one aborts. */

import { execFileSync } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { closeSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { errorFields, exitCodeOf, mapAbortError } from '../../lib/cli/failure.ts'
import { Signals } from '../../lib/cli/signals.ts'
import { FakeClock } from '../helpers/fake-clock.ts'
import { startCli, startCliServer, startProcess, waitFor, waitForExit } from '../helpers/run-cli.ts'

const OBJECT = 'oss://examplebucket/cam.ts'
const GRACE_NOTICE =
  /^oss-append: (SIGINT: .* s\); Ctrl-C again|SIG\w+: finishing \(up to [\d.]+ s\); a second signal) aborts$/m

// The tests mostly wait, so they run side by side.
t.jobs = 4

/** The command behind a producer that has not ended: `first` is in the object. */
async function startRecording(t: Test, options: string[] = [], grace = '1h', clock?: FakeClock) {
  const { server, env } = await startCliServer(t)
  const args = ['--flush-interval', '20ms', '--grace', grace, ...options, OBJECT, '-']
  const command = startCli(args, {
    env,
    input: 'first',
    keepStdinOpen: true,
    ...(clock && { clock }),
  })
  const object = () => String(server.read('examplebucket', 'cam.ts') ?? '')
  await waitFor(() => object() === 'first')
  const stderrMatches = (text: RegExp) => waitFor(() => text.test(command.stderr.text))
  return { server, command, object, stderrMatches }
}

/** Milliseconds of the timers that run: the end of the grace, and that of reading on. */
function delaysOf({ timers }: FakeClock): number[] {
  return [...timers].map(({ delay }) => delay)
}

function timerOf({ timers }: FakeClock, delay: number) {
  return [...timers].find(timer => timer.delay === delay)!
}

/** Milliseconds after which a signal counts as the second one: more than 300. */
const AFTER_DUPLICATE_WINDOW = 310

t.test('signals count in two steps, and a repeated one within 300 ms is ignored', async t => {
  const emitter = new EventEmitter()
  // As `process` does.
  const send = (name: NodeJS.Signals) => emitter.emit(name, name)
  const clock = new FakeClock()
  const signals = new Signals(emitter, clock)
  t.same([signals.received, signals.exitCode, signals.duplicateTime], [undefined, 0, 0])
  send('SIGINT')
  t.equal(signals.duplicateTime, 300)
  t.same([signals.received, signals.exitCode], ['SIGINT', 130])
  t.same([signals.first.aborted, signals.second.aborted], [true, false])
  // `npx` forwards a Ctrl-C that the terminal has sent to the command already.
  send('SIGTERM')
  clock.time += 299
  send('SIGTERM')
  t.equal(signals.duplicateTime, 1)
  t.same([signals.received, signals.exitCode], ['SIGINT', 130])
  t.equal(signals.second.aborted, false, 'a repeated signal')
  clock.time += 1
  send('SIGTERM')
  t.same([signals.received, signals.exitCode], ['SIGTERM', 143])
  t.equal(signals.second.aborted, true)
  t.equal(signals.duplicateTime, 0)
  t.same(emitter.eventNames(), [], 'a third signal has the default action')
})

t.test('after the first signal the command reads until the end of the input', async t => {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    const { command, object, stderrMatches } = await startRecording(t)
    command.kill(signal)
    await stderrMatches(GRACE_NOTICE)
    command.stdin.end(' and the trailer')
    const { code: exitCode, stdout, stderr } = await command.result
    t.equal(exitCode, code, stderr)
    t.equal(object(), 'first and the trailer')
    t.match(stdout, /^bytes +21 in 2 appends$/m)
    t.match(stdout, /\nverified\n$/)
    t.equal(stderr.trimEnd().split('\n').length, 1)
  }
})

t.test('a producer that does not end is cut off 2 s before the end of the grace', async t => {
  const clock = new FakeClock()
  const { server, command, object } = await startRecording(t, [], '7s', clock)
  command.kill('SIGTERM')
  t.same(delaysOf(clock), [7000, 5000])
  server.faults.push({ kind: 'status', status: 503, code: 'SlowDown', times: 2, name: 'slow' })
  command.stdin.write(' and more')
  await waitFor(() => object() === 'first and more')
  t.equal(server.faults.fired.slow, 2)
  timerOf(clock, 5000).fire()
  const { code, stdout, stderr } = await command.result
  t.equal(code, 143)
  t.match(stdout, /\nverified\n$/)
  t.match(stderr, /^oss-append: SIGTERM: finishing \(up to 7 s\); a second signal aborts\n/)
  t.match(stderr, '\noss-append: the input had not ended: it was cut after 14 bytes\n')
  t.same(delaysOf(clock), [], 'no timer is left')
})

t.test('a signal cuts a long wait short, also where full buffers delay the end', async t => {
  const { server, env } = await startCliServer(t)
  server.refuse()
  const input = Buffer.alloc(300_000, 'x')
  // The first wait is random within an hour, so it is longer than the grace.
  const waits = ['--min-delay=1h', '--max-delay=1h', '--grace=20s', '--buffer=32KiB']
  const command = startCli([...waits, OBJECT, '-'], { env, input })
  await waitFor(() => command.stderr.text.includes('trying again'))
  await server.listen()
  command.kill('SIGTERM')
  const { code, stderr } = await command.result
  t.equal(code, 143, stderr)
  t.ok(server.read('examplebucket', 'cam.ts')?.equals(input))
})

t.test('the second signal aborts, and the bytes without acknowledgement are reported', async t => {
  const { server, command, object, stderrMatches } = await startRecording(t, ['--json'])
  server.refuse()
  command.stdin.write('unlucky')
  await stderrMatches(/trying again/)
  command.kill('SIGTERM')
  await stderrMatches(GRACE_NOTICE)
  await delay(AFTER_DUPLICATE_WINDOW)
  command.kill('SIGINT')
  const { code, stdout, stderr } = await command.result
  t.equal(code, 130)
  t.match(stderr, GRACE_NOTICE)
  const message =
    'interrupted by SIGINT: 7 bytes of the input may not be in the object, which ends at 5'
  t.match(stderr, `\noss-append: ${message}\n`)
  const [last] = stdout.trimEnd().split('\n').slice(-1)
  const state = { position: 5, unacknowledged: 7 }
  const code130 = { code: 'ERR_INTERRUPTED', exitCode: 130 }
  t.match(JSON.parse(String(last)), { event: 'error', message, ...state, ...code130 })
  t.equal(object(), 'first')
})

t.test(
  'the end of the grace aborts, and the bytes without acknowledgement are reported',
  async t => {
    const clock = new FakeClock()
    const { server, command, object, stderrMatches } = await startRecording(
      t,
      ['--json'],
      '250ms',
      clock,
    )
    server.refuse()
    command.stdin.write('unlucky')
    await stderrMatches(/trying again/)
    command.kill('SIGTERM')
    timerOf(clock, 250).fire()
    const { code, stdout, stderr } = await command.result
    t.equal(code, 143)
    t.match(
      stderr,
      '\noss-append: interrupted by SIGTERM, and not done after 0.25 s: ' +
        '7 bytes of the input may not be in the object, which ends at 5\n',
    )
    const [last] = stdout.trimEnd().split('\n').slice(-1)
    t.match(JSON.parse(String(last)), { event: 'error', position: 5, unacknowledged: 7 })
    t.equal(object(), 'first')
  },
)

t.test('with --grace 0 the first signal aborts', async t => {
  const { command } = await startRecording(t, [], '0')
  command.kill('SIGTERM')
  const message = /interrupted by SIGTERM, and not done after 0 s: \d bytes? of the input may not/
  t.match(await command.result, { code: 143, stderr: message })
})

t.test('with --gzip the second signal reports the bytes read, not the compressed ones', async t => {
  const { server, env } = await startCliServer(t)
  const args = ['--gzip', '--flush-interval=20ms', '--grace=1h', OBJECT, '-']
  const command = startCli(args, { env, input: Buffer.alloc(50_000, 'x'), keepStdinOpen: true })
  const length = () => server.read('examplebucket', 'cam.ts')?.length ?? 0
  await waitFor(() => length() > 0)
  server.refuse()
  command.stdin.write(Buffer.alloc(10_000, 'y'))
  await waitFor(() => command.stderr.text.includes('trying again'))
  command.kill('SIGTERM')
  await delay(AFTER_DUPLICATE_WINDOW)
  command.kill('SIGTERM')
  const { code, stderr } = await command.result
  t.equal(code, 143)
  t.match(stderr, GRACE_NOTICE)
  const made = `60000 bytes of the input were read, ${length()} made of them are in the object`
  t.match(stderr, `interrupted by SIGTERM: ${made}, which ends at ${length()}\n`)
})

t.test('a signal before the first byte makes an empty object', async t => {
  const { server, env } = await startCliServer(t)
  const clock = new FakeClock()
  const command = startCli([OBJECT, '-'], { env, keepStdinOpen: true, clock })
  await waitFor(() => server.requests.length > 0)
  command.kill('SIGINT')
  timerOf(clock, 5000).fire()
  const { code, stdout } = await command.result
  t.equal(code, 130)
  t.match(stdout, /^bytes +0 in 1 append$/m)
  t.equal(server.read('examplebucket', 'cam.ts')?.length, 0, 'an empty object is there')
})

t.test('a reader of standard error that goes away does not stop the command', async t => {
  const { server, command, object } = await startRecording(t)
  command.stderr.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
  server.faults.push({ kind: 'reset', when: 'before', times: 2, name: 'down' })
  command.stdin.end(' and last')
  const { code, stdout } = await command.result
  t.equal(server.faults.fired.down, 2, 'there was an outage to report')
  t.equal(code, 0)
  t.equal(object(), 'first and last')
  t.match(stdout, /\nverified\n$/)
})

t.test('a named pipe without a writer ends with the second signal, or after the grace', async t => {
  const { server, env } = await startCliServer(t)
  const pipe = join(t.testdir({}), 'pipe')
  execFileSync('mkfifo', [pipe])
  const clock = new FakeClock()
  const startOnPipe = async () => {
    const before = server.requests.length
    const command = startCli(['--json', OBJECT, pipe], { env, clock })
    await waitFor(() => server.requests.length > before)
    return command
  }
  const interrupted = await startOnPipe()
  interrupted.kill('SIGINT')
  clock.time += 300
  interrupted.kill('SIGTERM')
  t.match(await interrupted.result, { code: 143, stderr: /interrupted by SIGTERM: 0 bytes/ })

  const patient = await startOnPipe()
  patient.kill('SIGINT')
  timerOf(clock, 5000).fire()
  t.match(await patient.result, { code: 130 }, 'an empty object is verified')

  const lateWriter = await startOnPipe()
  writeFileSync(pipe, 'late')
  t.match(await lateWriter.result, { code: 0, stdout: /"verified":true/ })
  t.equal(String(server.read('examplebucket', 'cam.ts')), 'late')
})

t.test('a process on a named pipe ends by itself after two signals', async t => {
  const { server, env } = await startCliServer(t)
  const pipe = join(t.testdir({}), 'pipe')
  execFileSync('mkfifo', [pipe])
  const child = startProcess(['--grace=1h', OBJECT, pipe], { env })
  t.teardown(() => child.kill('SIGKILL'))
  const result = waitForExit(child)
  let stderrText = ''
  child.stderr?.on('data', text => (stderrText += text))
  await waitFor(() => server.requests.length > 0)
  child.kill('SIGHUP')
  await waitFor(() => GRACE_NOTICE.test(stderrText))
  await delay(AFTER_DUPLICATE_WINDOW)
  child.kill('SIGTERM')
  t.match(await result, { code: 143, stderr: /interrupted by SIGTERM: 0 bytes/ })
})

t.test('a writer that keeps a named pipe open does not keep the process alive', async t => {
  const { server, env } = await startCliServer(t)
  const pipe = join(t.testdir({}), 'pipe')
  execFileSync('mkfifo', [pipe])
  // Opened for reading too: opening it for writing alone would wait for the command.
  const writer = openSync(pipe, 'r+')
  t.teardown(() => closeSync(writer))
  const child = startProcess(['--grace=2s', OBJECT, pipe], { env })
  t.teardown(() => child.kill('SIGKILL'))
  const result = waitForExit(child)
  await waitFor(() => server.requests.length > 0)
  child.kill('SIGINT')
  t.match(await result, { code: 130, stdout: /\nverified\n$/ })
})

t.test('a process whose output is not read ends within a second after a signal', async t => {
  const { server, env } = await startCliServer(t)
  server.append('examplebucket', 'cam.ts', Buffer.alloc(1_000_000))
  const child = startProcess(['cat', OBJECT], { env })
  t.teardown(() => child.kill('SIGKILL'))
  let stderrText = ''
  child.stderr?.on('data', text => (stderrText += text))
  const ended = new Promise(resolve => child.once('exit', (...exit) => resolve(exit)))
  await waitFor(() => server.requests.some(({ method }) => method === 'GET'))
  child.kill('SIGTERM')
  t.same(await ended, [143, null])
  t.match(stderrText, /^oss-append: interrupted by SIGTERM\n {2}object +oss:.*\n$/)
})

t.test('an AbortError after a signal is an interruption, as text and as fields', async t => {
  const aborted = Object.assign(new Error('The operation was aborted'), { name: 'AbortError' })
  const error = mapAbortError(aborted, { received: 'SIGINT', exitCode: 130 })
  t.match(errorFields(error), { code: 'ERR_INTERRUPTED', message: 'interrupted by SIGINT' })
  t.equal(exitCodeOf(error), 130)
  t.equal(mapAbortError(aborted, { received: undefined, exitCode: 0 }), aborted)
})
