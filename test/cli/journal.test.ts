/** `--journal`, `oss-append drain` and `oss-append journal`: what was read outlives the command. */

import * as fs from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { StoppableSource } from '../../lib/cli/source.ts'
import type { OssServer } from '../../lib/server/index.ts'
import {
  runCli,
  startCli,
  startCliServer,
  startProcess,
  waitFor,
  waitForExit,
} from '../helpers/run-cli.ts'

const OBJECT = 'oss://examplebucket/cam.ts'
/** Short waits between attempts, in an outage. */
const RETRIES = ['--min-delay=5ms', '--max-delay=20ms']
const FLUSHED = [...RETRIES, '--flush-interval=10ms']

// The tests mostly wait, so they run side by side.
t.jobs = 4

type Events = readonly Record<string, unknown>[]

function eventsOf(stdout: string): Events {
  return stdout
    .trimEnd()
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line))
}

async function startJournal(t: Test) {
  const { server, env } = await startCliServer(t)
  const dir = join(t.testdir({}), 'journal')
  const object = (key = 'cam.ts') => String(server.read('examplebucket', key) ?? '')
  const append = (args: readonly string[], input?: string, keepStdinOpen = false) =>
    startCli([`--journal=${dir}`, ...FLUSHED, ...args], {
      env,
      ...(input !== undefined && { input }),
      keepStdinOpen,
    })
  const run = (args: readonly string[]) => runCli(args, { env })
  /** Leaves `input` in the journal: OSS is away, and a signal comes. */
  const leave = async (input: string, args: readonly string[] = [OBJECT, '-']) => {
    server.refuse()
    const command = append(['--grace=0', ...args], input, true)
    await waitFor(() => command.stderr.text.includes('trying again'))
    await waitFor(() => hasBytes(dir, input))
    command.kill('SIGTERM')
    const result = await command.result
    t.equal(result.code, 143, result.stderr)
    await server.listen()
    return result
  }
  return { server, env, dir, object, append, run, leave }
}

/** The newest bytes are in a segment. */
function hasBytes(dir: string, bytes: string): boolean {
  const names = fs.readdirSync(dir, { recursive: true, encoding: 'utf8' })
  const segments = names.filter(name => name.endsWith('.journal'))
  return segments.some(name => fs.readFileSync(join(dir, name)).includes(bytes))
}

t.test('a message about the size of the journal names its flag', async t => {
  const { append } = await startJournal(t)
  const { code, stderr } = await append(['--align=188', '--journal-bytes=300', OBJECT, '-'], 'x')
    .result
  t.equal(code, 2)
  t.match(stderr, 'oss-append: --align: must not be more than half of --journal-bytes\n')
})

t.test('the journal is empty when everything is delivered', async t => {
  const { dir, object, append, run } = await startJournal(t)
  const { code, stdout, stderr } = await append([OBJECT, '-'], 'hello').result
  t.same({ code, stderr }, { code: 0, stderr: '' })
  t.match(stdout, /\nverified\n$/)
  t.notMatch(stdout, 'recovered')
  t.equal(object(), 'hello')
  const { code: whole, stdout: shown } = await run(['journal', dir])
  t.equal(whole, 0)
  t.match(shown, /^bytes +0 bytes to deliver, \d+ on disk\nobject +oss:.*\nstate +whole, nothing/m)
  t.match(shown, /[^\n]\n$/, 'no blank line ends it')
})

t.test(
  'SIGTERM during an outage leaves the bytes in the journal, and one line says so',
  async t => {
    const { server, dir, object, append } = await startJournal(t)
    server.refuse()
    // Without --grace: the one of a journal is shorter.
    const command = append([OBJECT, '-'], 'first', true)
    await waitFor(() => command.stderr.text.includes('trying again'))
    command.stdin.write(' and the last')
    command.kill('SIGTERM')
    const { code, stderr, stdout } = await command.result
    t.equal(code, 143)
    t.match(stderr, /SIGTERM: finishing \(up to 0\.5 s\)/)
    t.match(
      stderr,
      `\noss-append: 18 bytes of the input stay in ${dir}: the next start delivers them\n`,
    )
    t.equal(stdout, '')
    const second = append([OBJECT, '-'], '; 2nd', true)
    await waitFor(() => second.stderr.text.includes('trying again') && hasBytes(dir, '; 2nd'))
    second.kill('SIGTERM')
    t.match(
      (await second.result).stderr,
      `\noss-append: 5 bytes of the input and 18 of earlier runs stay in ${dir}: the next`,
    )
    await server.listen()
    const next = await append([OBJECT, '-'], ', new').result
    t.equal(next.code, 0, next.stderr)
    t.equal(object(), 'first and the last; 2nd, new')
    t.match(next.stderr, /^oss-append: 23 bytes of an earlier run delivered, to cam\.ts$/m)
    t.match(next.stdout, /^recovered +23 bytes of earlier runs, before these$/m)
    t.match(next.stdout, /^bytes +5 in 1 append$/m)
  },
)

t.test('a signal delivers what OSS takes within the grace, and the report follows', async t => {
  const { object, append } = await startJournal(t)
  const command = append(['--grace=1h', OBJECT, '-'], 'first', true)
  await waitFor(() => object() === 'first')
  command.kill('SIGTERM')
  command.stdin.end(' and the trailer')
  const { code, stdout } = await command.result
  t.equal(code, 143)
  t.match(stdout, /\nverified\n$/)
  t.equal(object(), 'first and the trailer')
})

t.test('a second signal suspends, and aborts nothing', async t => {
  const { server, dir, append, run, object } = await startJournal(t)
  server.refuse()
  const command = append(['--grace=1h', '--json', OBJECT, '-'], 'x'.repeat(1000), true)
  await waitFor(() => command.stderr.text.includes('trying again'))
  command.kill('SIGTERM')
  await new Promise(resolve => setTimeout(resolve, 310))
  command.kill('SIGINT')
  const { code, stdout } = await command.result
  t.equal(code, 130)
  const events = eventsOf(stdout)
  t.match(events.at(-1), { event: 'suspend', journal: dir, bytes: 1000 })
  t.notOk(events.some(({ event }) => event === 'error'))
  await server.listen()
  t.equal((await run(['drain', dir, OBJECT])).code, 0)
  t.equal(object(), 'x'.repeat(1000))
})

t.test('a source that is stopped hands over what the process has read', async t => {
  const input = new PassThrough()
  const destination = new PassThrough({ highWaterMark: 1 })
  const source = new StoppableSource(input, destination)
  input.write('one ')
  await waitFor(() => destination.writableNeedDrain || destination.readableLength > 0)
  input.write('two')
  source.stop()
  t.equal(await text(destination), 'one two')
  t.equal(source.bytes, 7)
})

t.test('two runs in an outage: the third delivers both, in order', async t => {
  const { append, object, leave } = await startJournal(t)
  await leave('one ')
  await leave('two ')
  const { code, stdout, stderr } = await append(['--json', OBJECT, '-'], 'three').result
  t.equal(code, 0, stderr)
  t.equal(object(), 'one two three')
  const recovered = eventsOf(stdout).filter(({ event }) => event === 'recover')
  t.match(recovered, [{ key: 'cam.ts', bytes: 8, bytesBehind: 0, damaged: [] }])
})

t.test('objects of a rolling command have the slot in their keys', async t => {
  const { server, append } = await startJournal(t)
  const args = ['--align=line', '--roll-key={slot}-{index}.log', '--roll-bytes=10', 'oss://logs/']
  const { code, stderr } = await append([...args, '-'], 'line one\nline two\n').result
  t.equal(code, 0, stderr)
  const texts = ['0-0.log', '0-1.log'].map(key => String(server.read('logs', key)))
  t.same(texts, ['line one\n', 'line two\n'])
})

t.test('--shared appends behind what another writer appends', async t => {
  const { server, runWithServer } = await startCliServer(t)
  server.append('examplebucket', 'cam.ts', 'one\n')
  server.faults.push({ kind: 'rival', when: 'before', bytes: 'two\n' })
  const args = ['--shared', '--align=line', OBJECT, '-']
  const { code, stdout, stderr } = await runWithServer(args, { input: 'three\n' })
  t.equal(code, 0, stderr)
  t.match(stdout, /\nverified\n$/)
  t.equal(String(server.read('examplebucket', 'cam.ts')), 'one\ntwo\nthree\n')
})

t.test('with --gzip the members that were read are journaled', async t => {
  const { gunzipSync } = await import('node:zlib')
  const { server, dir, append, run } = await startJournal(t)
  server.refuse()
  const command = append(['--gzip', '--grace=0', OBJECT, '-'], 'text'.repeat(100), true)
  await waitFor(() => command.stderr.text.includes('trying again'))
  command.kill('SIGTERM')
  t.match(await command.result, { code: 143, stderr: /bytes of the input stay in|stay in/ })
  await server.listen()
  t.equal((await run(['drain', dir, OBJECT])).code, 0)
  const bytes = server.read('examplebucket', 'cam.ts')
  t.equal(String(gunzipSync(bytes ?? Buffer.alloc(0))), 'text'.repeat(100))
})

t.test('a full journal: what it did not take is counted, and is no success', async t => {
  const { server, append, run, dir } = await startJournal(t)
  server.refuse()
  const args = ['--journal-bytes=1MiB', '--buffer=64KiB', '--json', '--grace=0', OBJECT, '-']
  const command = append(args, 'x'.repeat(3 << 20), true)
  await waitFor(() => command.stderr.text.includes('trying again'))
  await waitFor(() => segmentBytes(dir) > 800_000)
  command.kill('SIGTERM')
  const { code, stdout, stderr } = await command.result
  t.equal(code, 143)
  t.match(stderr, /the journal .* has no room for \d+ bytes of the input; \d+ bytes stay in it/)
  t.match(eventsOf(stdout).at(-1), { event: 'error', code: 'ERR_INTERRUPTED' })
  await server.listen()
  t.equal((await run(['drain', dir, OBJECT])).code, 0)
})

function segmentBytes(dir: string): number {
  if (!fs.existsSync(dir)) return 0
  return fs
    .readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.journal'))
    .reduce((sum, name) => sum + fs.statSync(join(dir, name)).size, 0)
}

t.test('a final error names the journal that keeps the rest', async t => {
  const { server, dir, append } = await startJournal(t)
  server.permissions.delete('oss:PutObject')
  const { code, stderr } = await append(['--max-elapsed=0', OBJECT, '-'], 'kept').result
  t.equal(code, 1)
  t.match(stderr, `\n  journal       ${dir} keeps what is not acknowledged\n`)
  t.ok(hasBytes(dir, 'kept'))
})

t.test('drain delivers each slot to its own object', async t => {
  const { dir, object, append, run, server } = await startJournal(t)
  // Two objects with an anchor each, in two slots.
  const other = 'oss://examplebucket/other'
  const commands = [OBJECT, other].map(url => append(['--grace=0', url, '-'], url, true))
  await waitFor(() => object() === OBJECT && object('other') === other)
  server.refuse()
  for (const command of commands) command.stdin.write(' more')
  for (const command of commands) {
    await waitFor(() => command.stderr.text.includes('trying again'))
    command.kill('SIGTERM')
    t.equal((await command.result).code, 143)
  }
  await server.listen()
  const { code, stdout, stderr } = await run(['drain', dir])
  t.equal(code, 0, stderr)
  t.match(stdout.split('\n').sort(), ['', /slot \d+ +5 bytes to oss:/, /slot \d+ +5 bytes to oss:/])
  t.same([object(), object('other')], [`${OBJECT} more`, `${other} more`])
  const again = await run(['drain', dir])
  t.same(again, { code: 0, stdout: 'nothing is left to deliver\n', stderr: '' })
})

t.test('bytes of which nothing was ever sent go to their own object', async t => {
  const { dir, object, run, leave } = await startJournal(t)
  await leave('never sent')
  const shown = await run(['journal', dir])
  t.match(shown, { code: 0, stdout: `${OBJECT}, of which nothing was sent\n` })
  t.match(eventsOf((await run(['journal', '--json', dir])).stdout), [{ url: OBJECT }])
  const drained = await run(['drain', '--json', dir, 'oss://examplebucket/other'])
  t.equal(drained.code, 0, drained.stderr)
  t.same([object(), object('other')], ['never sent', ''])
  t.match(eventsOf(drained.stdout), [{ event: 'recover', url: OBJECT, bytes: 10 }, {}])
})

t.test(
  'their own object is sealed: bytes of which nothing was ever sent go to another',
  async t => {
    const { server, env, dir, object, run, leave } = await startJournal(t)
    await leave('never sent')
    await runCli(['--seal', OBJECT, '-'], { env, input: 'sealed' })
    const { code, stderr } = await run(['drain', dir])
    t.not(code, 0)
    t.match(stderr, /is sealed.*; 10 bytes for it stay in the journal/)
    t.equal((await run(['drain', dir, 'oss://examplebucket/other'])).code, 0)
    t.same([object(), object('other')], ['sealed', 'never sent'])
    t.ok(server.stat('examplebucket', 'cam.ts')?.sealedTime)
  },
)

t.test('bytes for a key pattern of which nothing was ever sent need the object', async t => {
  const { dir, object, run, leave } = await startJournal(t)
  await leave('never sent', ['--roll-bytes=1MiB', 'oss://examplebucket/cam-{index}', '-'])
  const { code, stderr } = await run(['drain', dir])
  t.equal(code, 1)
  const remedy = `name the object, as in oss-append drain ${dir} oss://BUCKET/KEY`
  t.match(
    stderr,
    /slot 0: 10 bytes stay: nothing of it was sent, and it is for the key pattern cam-{index}\. /,
  )
  t.match(stderr, remedy)
  t.equal(object(), '')
  const shown = await run(['journal', dir])
  t.match(shown, {
    code: 0,
    stdout: /^object +not known, since nothing was sent: drain needs .* cam-{index}$/m,
  })
  const drained = await run(['drain', '--json', dir, OBJECT])
  t.equal(drained.code, 0, drained.stderr)
  t.equal(object(), 'never sent')
  t.match(eventsOf(drained.stdout), [
    { event: 'recover', slot: 0, url: OBJECT, bytes: 10, bytesBehind: 0, damaged: [], left: 0 },
    { event: 'finish', dir, slots: 1, bytes: 10 },
  ])
})

/** Leaves ' rest' for an object that has 'sent'. */
async function leaveRest(
  {
    server,
    object,
    append,
  }: { server: OssServer; object: () => string } & Pick<
    Awaited<ReturnType<typeof startJournal>>,
    'append'
  >,
  t: Test,
) {
  const before = object()
  const command = append(['--grace=0', OBJECT, '-'], 'sent', true)
  await waitFor(() => object() === `${before}sent`)
  server.refuse()
  command.stdin.write(' rest')
  await waitFor(() => command.stderr.text.includes('trying again'))
  command.kill('SIGTERM')
  t.equal((await command.result).code, 143)
  await server.listen()
}

t.test('what a sealed object does not take goes to the named one', async t => {
  const context = await startJournal(t)
  const { server, dir, object, run } = context
  await leaveRest(context, t)
  server.seal('examplebucket', 'cam.ts')
  const { code, stderr } = await run(['drain', dir])
  t.equal(code, 1)
  t.match(stderr, /slot 0: 5 bytes stay: oss:\S+ takes no more: it is sealed or full/)
  t.equal((await run(['drain', dir, 'oss://examplebucket/next'])).code, 0)
  t.same([object(), object('next')], ['sent', ' rest'])
})

t.test('an object that others changed exits with 3, and the journal stays', async t => {
  const context = await startJournal(t)
  const { server, dir, run } = context
  await leaveRest(context, t)
  server.append('examplebucket', 'cam.ts', 'a rival')
  const { code, stdout, stderr } = await run(['drain', '--json', dir])
  t.equal(code, 3, stderr)
  t.match(stderr, /5 bytes for it stay in the journal/)
  t.match(stderr, `\n  object        ${OBJECT}\n`)
  t.match(eventsOf(stdout)[0], { event: 'error', url: OBJECT, exitCode: 3 })
  t.match((await run(['journal', dir])).stdout, /^bytes +5 bytes to deliver/m)
})

t.test('drain waits for OSS, and a signal ends it without loss', async t => {
  const context = await startJournal(t)
  const { server, env, dir, object } = context
  await leaveRest(context, t)
  server.refuse()
  const command = startCli(['drain', ...RETRIES, dir], { env })
  await waitFor(() => command.stderr.text.includes('trying again'))
  command.kill('SIGTERM')
  const { code, stderr } = await command.result
  t.equal(code, 143)
  t.match(stderr, `interrupted by SIGTERM: what is not delivered stays in ${dir}\n`)
  await server.listen()
  t.equal((await runCli(['drain', dir], { env })).code, 0)
  t.equal(object(), 'sent rest')
})

t.test('a slot in use is left to its process, and journal names that', async t => {
  const { dir, object, append, run } = await startJournal(t)
  const command = append([OBJECT, '-'], 'first', true)
  await waitFor(() => object() === 'first')
  const drained = await run(['drain', dir])
  t.equal(drained.code, 0)
  t.match(drained.stderr, /slot 0 is left to the process that uses it: see oss-append journal/)
  const { stdout } = await run(['journal', '--json', dir])
  const url = OBJECT
  t.match(eventsOf(stdout), [{ slot: 0, owner: { pid: process.pid }, url, whole: true }])
  t.match((await run(['journal', dir])).stdout, /^state +in use/m)
  command.stdin.end()
  t.equal((await command.result).code, 0)
})

t.test('a torn end is kept as .damaged, and journal says what to do', async t => {
  const context = await startJournal(t)
  const { dir, object, run } = context
  await leaveRest(context, t)
  const folder = join(dir, '0')
  const [name = ''] = fs.readdirSync(folder).filter(each => each.endsWith('.journal'))
  fs.appendFileSync(join(folder, name), 'torn')
  const before = await run(['journal', dir])
  t.equal(before.code, 1)
  t.match(before.stdout, /^state +damaged: drain delivers what comes before$/m)
  const drained = await run(['drain', dir])
  t.equal(drained.code, 1)
  const damage = /0000.*\.journal: 4 bytes from byte \d+ on are not delivered, but kept: a frame/
  t.match(drained.stderr, damage)
  t.equal(object(), 'sent rest')
  const again = await run(['drain', dir])
  t.equal(again.code, 1)
  const note = 'slot 0: 1 damaged file is kept, and not delivered: see oss-append journal'
  t.equal(again.stderr, `oss-append: ${note} ${dir}\n`)
  const after = await run(['journal', dir])
  t.equal(after.code, 1)
  t.match(after.stdout, /^kept +\S+\.journal\.damaged\n +the bytes in it are as they were/m)
  const json = eventsOf((await run(['journal', '--json', dir])).stdout)
  t.match(json, [{ whole: false, damaged: [], kept: [/\.damaged$/] }])
  fs.rmSync(join(folder, `${name}.damaged`))
  t.equal((await run(['journal', dir])).code, 0)
  t.equal((await run(['drain', dir])).code, 0)
})

t.test('a slot that cannot be read is reported, and the others go on', async t => {
  const context = await startJournal(t)
  const { dir, object, run } = context
  await leaveRest(context, t)
  fs.renameSync(join(dir, '0'), join(dir, '1'))
  fs.writeFileSync(join(dir, '0'), 'no folder')
  const message = `the journal cannot be used: ENOTDIR, it is no folder (${join(dir, '0')})`
  const shown = await run(['journal', dir])
  t.equal(shown.code, 1)
  t.match(shown.stdout, `\nerror       ${message}\n`)
  t.match(shown.stdout, /^slot +1, .*\n.*\nbytes +5 bytes to deliver/m)
  t.match(eventsOf((await run(['journal', '--json', dir])).stdout), [
    { slot: 0, whole: false, error: { code: 'OSS_ERR_JOURNAL', message } },
    { slot: 1, whole: true, bytes: 5 },
  ])
  const drained = await run(['drain', dir])
  t.equal(drained.code, 1)
  t.match(drained.stderr, `oss-append: ${message}\n`)
  t.match(drained.stdout, /^slot 1 +5 bytes to oss:/m)
  t.equal(object(), 'sent rest')
  t.match(await run(['drain', dir]), { code: 1, stdout: /^$/ }, 'what slot 0 holds is not known')
})

t.test('a slot that a logger has set aside is delivered by drain', async t => {
  const context = await startJournal(t)
  const { server, dir, object, run } = context
  await leaveRest(context, t)
  const name = '0.kept-0a1b2c3d'
  fs.renameSync(join(dir, '0'), join(dir, name))
  t.match(await run(['journal', dir]), { code: 0, stdout: `slot        ${name}, ` })
  t.match(await run(['drain', dir]), { code: 0, stdout: new RegExp(`^slot ${name} +5 bytes to`) })
  t.equal(object(), 'sent rest')
  t.match(await run(['drain', dir]), { code: 0, stdout: 'nothing is left to deliver\n' })

  await leaveRest(context, t)
  fs.rmSync(join(dir, name), { recursive: true })
  fs.renameSync(join(dir, '0'), join(dir, name))
  server.append('examplebucket', 'cam.ts', 'a rival')
  const refused = await run(['drain', dir])
  t.equal(refused.code, 3)
  t.match(refused.stderr, `\n  journal       ${join(dir, name)} keeps what is not acknowledged\n`)
})

t.test('a folder that does not exist is wrong usage', async t => {
  for (const name of ['drain', 'journal']) {
    const { env } = await startCliServer(t)
    const { code, stderr } = await runCli([name, join(t.testdir({}), 'absent')], { env })
    t.equal(code, 2)
    t.match(stderr, 'DIR: there is no such folder')
  }
})

t.test('a process that is killed by SIGKILL loses and doubles no byte', async t => {
  const { server, env, dir, object } = await startJournal(t)
  const args = [`--journal=${dir}`, '--align=line', ...FLUSHED]
  const start = () => {
    const child = startProcess([...args, OBJECT, '-'], { env, keepStdinOpen: true })
    t.teardown(() => child.kill('SIGKILL'))
    return { child, result: waitForExit(child) }
  }
  const lines: string[] = []
  const write = (child: ReturnType<typeof start>['child'], count: number) => {
    for (let n = 0; n < count; n++) {
      const line = `line ${lines.length} ${'x'.repeat(lines.length % 97)}\n`
      lines.push(line)
      child.stdin?.write(line)
    }
  }
  for (let kill = 0; kill < 3; kill++) {
    const { child, result } = start()
    write(child, 50)
    await waitFor(() => object() === lines.join(''))
    // An append whose response is lost, with more behind it.
    if (kill === 1) server.faults.push({ kind: 'lost', how: 'hang' })
    else server.refuse()
    write(child, 50)
    await waitFor(() => hasBytes(dir, lines.at(-1) ?? ''))
    child.kill('SIGKILL')
    await result
    server.faults.clear()
    if (kill !== 1) await server.listen()
  }
  const { child, result } = start()
  write(child, 10)
  child.stdin?.end()
  const { code, stderr } = await result
  t.equal(code, 0, stderr)
  t.ok(object() === lines.join(''), 'each line once, in order')
})
