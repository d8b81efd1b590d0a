/** The command and signals: what the first, its echo, and the second one do to the bytes. */

import { execFileSync } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { closeSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { errorFields, exitCodeOf, mapAbortError } from '../../lib/cli/failure.ts'
import { Signals } from '../../lib/cli/signals.ts'
import { startCli, startCliServer, waitForExit } from '../helpers/run-cli.ts'
import { waitUntil } from '../helpers/test-oss.ts'

const OBJECT = 'oss://examplebucket/cam.ts'
const GRACE_NOTICE =
  /^oss-append: SIG\w+: reads on for [\d.]+ s at most, and sends all; again: aborts$/m

/** The command behind a producer that is still at it: `first` is in the object, and the input is open. */
async function startRecording(t: Test, options: string[] = [], grace = '1h') {
  const { server, env } = await startCliServer(t)
  const args = ['--flush-interval', '20ms', '--grace', grace, ...options, OBJECT, '-']
  const child = startCli(args, { env, input: Buffer.alloc(0), keepStdinOpen: true })
  t.teardown(() => child.kill('SIGKILL'))
  const outcome = waitForExit(child)
  let stderrText = ''
  child.stderr?.on('data', text => (stderrText += text))
  child.stdin?.write('first')
  const text = () => String(server.read('examplebucket', 'cam.ts') ?? '')
  await waitUntil(() => text() === 'first')
  return {
    server,
    child,
    outcome,
    text,
    stderrMatches: (what: RegExp) => waitUntil(() => what.test(stderrText)),
  }
}

/** Until a signal is no echo of the first any more, counted from the note on that one: 300 ms. */
const AFTER_DUPLICATE_WINDOW = 350

t.test('signals in two steps', async t => {
  const emitter = new EventEmitter()
  // As Node does it.
  const send = (name: NodeJS.Signals) => emitter.emit(name, name)
  let now = 1000
  const signals = new Signals(emitter, () => now)
  t.same([signals.received, signals.exitCode], [undefined, 0])
  send('SIGINT')
  t.same([signals.received, signals.exitCode], ['SIGINT', 130])
  t.same([signals.first.aborted, signals.second.aborted], [true, false])
  // `npx` hands on a Ctrl-C that the terminal has sent to us already.
  for (now of [1000, 1001, 1299]) send('SIGTERM')
  t.same([signals.received, signals.exitCode], ['SIGINT', 130])
  t.equal(signals.second.aborted, false, 'an echo')
  now = 1300
  send('SIGTERM')
  t.same([signals.received, signals.exitCode], ['SIGTERM', 143])
  t.equal(signals.second.aborted, true)
  t.same(emitter.eventNames(), [], "a third is the system's")
})

t.test('the first reads on until the end of the input', async t => {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    const { child, outcome, text, stderrMatches } = await startRecording(t)
    child.kill(signal)
    await stderrMatches(GRACE_NOTICE)
    child.stdin?.end(' and the trailer')
    const { code: exitCode, stdout, stderr } = await outcome
    t.equal(exitCode, code, stderr)
    t.equal(text(), 'first and the trailer')
    t.match(stdout, /^bytes +21 in 2 appends$/m)
    t.match(stdout, /\nverified\n$/)
    t.equal(stderr.trimEnd().split('\n').length, 1)
  }
})

t.test('a producer that goes on is cut off after the grace, and all is sent', async t => {
  const { server, child, outcome, text, stderrMatches } = await startRecording(t, [], '2s')
  server.faults.push({ kind: 'status', status: 503, code: 'SlowDown', times: 2 })
  child.kill('SIGTERM')
  await stderrMatches(GRACE_NOTICE)
  child.stdin?.write(' and more')
  const { code, stdout, stderr } = await outcome
  t.equal(code, 143)
  t.equal(text(), 'first and more')
  t.match(stdout, /\nverified\n$/)
  t.match(stderr, '\noss-append: the input had not ended: it was cut after 14 bytes\n')
})

t.test('the last words of a producer that has ended outlast the grace', async t => {
  const { server, env } = await startCliServer(t)
  server.refuse()
  // More than the command takes while nothing leaves it.
  const input = Buffer.concat([Buffer.alloc(300_000, 'x'), Buffer.from('TRAILER')])
  const args = ['--json', '--buffer=32KiB', '--grace=100ms', OBJECT, '-']
  const child = startCli(args, { env, input })
  t.teardown(() => child.kill('SIGKILL'))
  const outcome = waitForExit(child)
  let stderrText = ''
  child.stderr?.on('data', text => (stderrText += text))
  await waitUntil(() => stderrText.includes('trying again'))
  child.kill('SIGTERM')
  await waitUntil(() => GRACE_NOTICE.test(stderrText))
  await delay(500)
  await server.listen()
  const { code, stdout, stderr } = await outcome
  t.equal(code, 143)
  t.notMatch(stderr, 'cut')
  t.ok(server.read('examplebucket', 'cam.ts')?.equals(input))
  t.match(JSON.parse(stdout.trimEnd().split('\n').at(-1)!), { event: 'finish', cut: false })
})

t.test('the second aborts, and says what is not acknowledged', async t => {
  const { server, child, outcome, text, stderrMatches } = await startRecording(t, ['--json'])
  server.refuse()
  child.stdin?.write('unlucky')
  await stderrMatches(/trying again/)
  child.kill('SIGTERM')
  await stderrMatches(GRACE_NOTICE)
  await delay(AFTER_DUPLICATE_WINDOW)
  // Exactly one: a third would kill.
  child.kill('SIGINT')
  const { code, stdout, stderr } = await outcome
  t.equal(code, 130)
  t.match(stderr, GRACE_NOTICE)
  const message =
    'interrupted by SIGINT: 7 bytes of the input may not be in the object, which ends at 5'
  t.match(stderr, `\noss-append: ${message}\n`)
  const [last] = stdout.trimEnd().split('\n').slice(-1)
  const state = { position: 5, unacknowledged: 7 }
  const code130 = { code: 'ERR_INTERRUPTED', exitCode: 130 }
  t.match(JSON.parse(String(last)), { event: 'error', message, ...state, ...code130 })
  t.equal(text(), 'first')
})

t.test('the second with --gzip counts what was read, and not what was made of it', async t => {
  const { server, env } = await startCliServer(t)
  const args = ['--gzip', '--flush-interval=20ms', '--grace=1h', OBJECT, '-']
  const child = startCli(args, { env, input: Buffer.alloc(0), keepStdinOpen: true })
  t.teardown(() => child.kill('SIGKILL'))
  const outcome = waitForExit(child)
  let stderrText = ''
  child.stderr?.on('data', text => (stderrText += text))
  child.stdin?.write(Buffer.alloc(50_000, 'x'))
  const length = () => server.read('examplebucket', 'cam.ts')?.length ?? 0
  await waitUntil(() => length() > 0)
  server.refuse()
  child.stdin?.write(Buffer.alloc(10_000, 'y'))
  await waitUntil(() => stderrText.includes('trying again'))
  child.kill('SIGTERM')
  await waitUntil(() => GRACE_NOTICE.test(stderrText))
  await delay(AFTER_DUPLICATE_WINDOW)
  child.kill('SIGTERM')
  const { code, stderr } = await outcome
  t.equal(code, 143)
  const made = `60000 bytes of the input were read, ${length()} made of them are in the object`
  t.match(stderr, `interrupted by SIGTERM: ${made}, which ends at ${length()}\n`)
})

t.test('nothing was read yet, and nothing comes', async t => {
  const { server, env } = await startCliServer(t)
  const child = startCli(['--grace=0', OBJECT, '-'], {
    env,
    input: Buffer.alloc(0),
    keepStdinOpen: true,
  })
  t.teardown(() => child.kill('SIGKILL'))
  const outcome = waitForExit(child)
  await waitUntil(() => server.requests.length > 0)
  child.kill('SIGINT')
  const { code, stdout } = await outcome
  t.equal(code, 130)
  t.match(stdout, /^bytes +0 in 1 append$/m)
  t.equal(server.read('examplebucket', 'cam.ts')?.length, 0, 'an empty object is there')
})

t.test('a reader of the notes that goes away kills nothing', async t => {
  const { server, child, outcome, text } = await startRecording(t)
  child.stderr?.destroy()
  server.faults.push({ kind: 'reset', when: 'before', times: 2, name: 'down' })
  child.stdin?.end(' and last')
  const { code, stdout } = await outcome
  t.equal(server.faults.fired.down, 2, 'an outage, and nobody to tell it to')
  t.equal(code, 0)
  t.equal(text(), 'first and last')
  t.match(stdout, /\nverified\n$/)
})

t.test('a named pipe that nobody writes to ends with the second signal, and before', async t => {
  const { server, env } = await startCliServer(t)
  const pipe = join(t.testdir({}), 'pipe')
  execFileSync('mkfifo', [pipe])
  const startOnPipe = async (grace: string) => {
    const before = server.requests.length
    const child = startCli([`--grace=${grace}`, '--json', OBJECT, pipe], { env })
    t.teardown(() => child.kill('SIGKILL'))
    const outcome = waitForExit(child)
    let stderrText = ''
    child.stderr?.on('data', text => (stderrText += text))
    await waitUntil(() => server.requests.length > before)
    return {
      child,
      outcome,
      stderrMatches: (what: RegExp) => waitUntil(() => what.test(stderrText)),
    }
  }
  const longGrace = await startOnPipe('1h')
  longGrace.child.kill('SIGINT')
  await longGrace.stderrMatches(GRACE_NOTICE)
  await delay(AFTER_DUPLICATE_WINDOW)
  longGrace.child.kill('SIGTERM')
  t.match(await longGrace.outcome, { code: 143, stderr: /interrupted by SIGTERM: 0 bytes/ })

  const noGrace = await startOnPipe('0')
  noGrace.child.kill('SIGINT')
  t.match(await noGrace.outcome, { code: 130 }, 'an empty object is proven')

  const lateWriter = await startOnPipe('1h')
  writeFileSync(pipe, 'late')
  t.match(await lateWriter.outcome, { code: 0, stdout: /"verified":true/ })
  t.equal(String(server.read('examplebucket', 'cam.ts')), 'late')
})

t.test('a writer that keeps a named pipe open does not keep the command', async t => {
  const { server, env } = await startCliServer(t)
  const pipe = join(t.testdir({}), 'pipe')
  execFileSync('mkfifo', [pipe])
  // For reading too, or it would wait for the command.
  const writer = openSync(pipe, 'r+')
  t.teardown(() => closeSync(writer))
  const child = startCli(['--grace=0', OBJECT, pipe], { env })
  t.teardown(() => child.kill('SIGKILL'))
  const outcome = waitForExit(child)
  await waitUntil(() => server.requests.length > 0)
  child.kill('SIGINT')
  t.match(await outcome, { code: 130, stdout: /\nverified\n$/ })
})

t.test('what a signal aborts is an interruption for programs too', async t => {
  const aborted = Object.assign(new Error('The operation was aborted'), { name: 'AbortError' })
  const error = mapAbortError(aborted, { received: 'SIGINT', exitCode: 130 })
  t.match(errorFields(error), { code: 'ERR_INTERRUPTED', message: 'interrupted by SIGINT' })
  t.equal(exitCodeOf(error), 130)
  t.equal(mapAbortError(aborted, { received: undefined, exitCode: 0 }), aborted)
})
