/** The command `oss-append`, as built, in processes of its own; and its pure parts by themselves. */

import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { withRetryDefaults } from '../../lib/cli/append.ts'
import { deliver, RecordingClient } from '../../lib/cli/delivery.ts'
import { HELP, OPTIONS_HELP } from '../../lib/cli/help.ts'
import { formatBytes } from '../../lib/cli/progress.ts'
import {
  compareDelivery,
  compareRolled,
  compareRolledObjects,
  readBack,
} from '../../lib/cli/read-back.ts'
import { type Delivery, formatReport } from '../../lib/cli/report.ts'
import { Reporter } from '../../lib/cli/reporter.ts'
import { RetryingReader } from '../../lib/cli/retrying-reader.ts'
import { createSampleData } from '../../lib/cli/sample-data.ts'
import { openSampleData, openSource } from '../../lib/cli/source.ts'
import { crc64, createAppendStream } from '../../lib/index.ts'
import { createOssServer } from '../../lib/server/index.ts'
import { runsLongTests } from '../helpers/long-tests.ts'
import {
  CLI,
  type CliResult,
  runCli,
  runShell,
  startCli,
  startCliServer,
  waitForExit,
} from '../helpers/run-cli.ts'
import { networkOptions, seededBytes, waitUntil } from '../helpers/test-oss.ts'

const MIB = 1024 * 1024
const OBJECT = 'oss://examplebucket/logs/run 7.csv'
const TEXT = Buffer.from('温度,21.5 °C\nжурнал\n🌡️\n'.repeat(50_000))

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** What the report says of `bytes` that were appended to `before`. */
function checkReport(t: Test, outcome: CliResult, bytes: Buffer, before: Buffer = Buffer.alloc(0)) {
  const { code, stdout, stderr } = outcome
  t.equal(code, 0, stderr)
  t.equal(stderr, '', 'nothing to complain of')
  const crc = crc64(Buffer.concat([before, bytes]))
  t.match(stdout, new RegExp(`^bytes +${bytes.length.toLocaleString('en-US')} in \\d+ append`, 'm'))
  t.match(stdout, new RegExp(`${crc} computed\n +${crc} reported by OSS\n`))
  t.match(stdout, `${sha256(bytes)} source`)
  t.match(stdout, /\nverified\n$/)
}

/** The same for an object that was read back. */
function checkReadBack(
  t: Test,
  outcome: CliResult,
  bytes: Buffer,
  before: Buffer = Buffer.alloc(0),
) {
  checkReport(t, outcome, bytes, before)
  t.match(outcome.stdout, `${crc64(Buffer.concat([before, bytes]))} read back`)
  t.match(outcome.stdout, `${sha256(bytes)} object`)
}

function writeInput(t: Test, bytes: Buffer): { dir: string; file: string } {
  const dir = t.testdir({})
  const file = join(dir, 'input.txt')
  fs.writeFileSync(file, bytes)
  return { dir, file }
}

/** The files in a `--local` folder that hold objects' bytes. */
function bytesFiles(dir: string): string[] {
  const names = fs.readdirSync(dir, { recursive: true, encoding: 'utf8' })
  return names.filter(name => /(^|[/\\])bytes-/.test(name)).map(name => join(dir, name))
}

t.test('demo: whatever the input is, it is streamed and proven', async t => {
  const { dir, file } = writeInput(t, TEXT)
  const temporary = join(dir, 'tmp')
  fs.mkdirSync(temporary)
  const env = { TMPDIR: temporary }
  const fd = fs.openSync(file, 'r')
  t.teardown(() => fs.closeSync(fd))
  const inputs: [string, () => Promise<CliResult>][] = [
    ['a file as argument', () => runCli(['demo', file], { env })],
    ['a socket, and -', () => runCli(['demo', '-'], { env, input: TEXT })],
    ['a redirected file', () => runCli(['demo'], { env, stdio: [fd, 'pipe', 'pipe'] })],
    ['a pipe', () => runShell('cat "$FILE" | oss_append demo', { ...env, FILE: file })],
    ['a pipe, and -', () => runShell('cat "$FILE" | oss_append demo -', { ...env, FILE: file })],
  ]
  for (const [name, start] of inputs) {
    await t.test(name, async t => {
      checkReadBack(t, await start(), TEXT)
      t.same(fs.readdirSync(temporary), [], 'nothing is left behind')
    })
  }
})

t.test('demo: without input it makes up a feed', async t => {
  const sampleData = await buffer(createSampleData(MIB))
  const fromDevice = await runCli(['demo', '--bytes', '1MiB'])
  checkReadBack(t, fromDevice, sampleData)
  t.match(fromDevice.stdout, /^source +made-up sensor feed$/m)
  const fromSocket = runCli(['demo', '--bytes=1MiB'], { input: TEXT })
  checkReadBack(t, await fromSocket, sampleData)
  // A pipe is input, unless the length of a feed is asked for.
  checkReadBack(t, await runShell('printf x | oss_append demo --bytes 1048576'), sampleData)
})

t.test('demo: the feed is 64 MiB long, also behind a pipe that nobody writes to', async t => {
  const inputs: [string, () => Promise<CliResult>][] = [
    ['no pipe', () => runCli(['demo'])],
    ['a pipe that ends', () => runShell(': | oss_append demo')],
    [
      'a pipe that stays',
      () =>
        runShell('mkfifo "$DIR/silent"; oss_append demo <> "$DIR/silent"', { DIR: t.testdir({}) }),
    ],
  ]
  for (const [name, start] of inputs) {
    const { code, stdout, stderr } = await start()
    t.equal(code, 0, stderr)
    t.match(stdout, /^bytes +67,108,864 in 16 appends$/m, name)
  }
})

t.test('--local: the object stays, and a second run appends to it', async t => {
  const dir = join(t.testdir({}), 'lab')
  const first = await runCli(['--local', dir, OBJECT, '-'], { input: TEXT })
  checkReadBack(t, first, TEXT)
  const more = seededBytes(5 * MIB + 3)
  const second = await runCli([`--local=${dir}`, OBJECT, '-'], { input: more })
  checkReadBack(t, second, more, TEXT)
  t.match(second.stdout, /^object +oss:.* \(had [\d,]+ bytes\)$/m)
  const none = await runCli(['--local', dir, OBJECT, '-'], { input: Buffer.alloc(0) })
  checkReadBack(t, none, Buffer.alloc(0), Buffer.concat([TEXT, more]))
  const [file = '', ...others] = bytesFiles(dir)
  t.same(others, [], 'one object')
  t.ok(fs.readFileSync(file).equals(Buffer.concat([TEXT, more])))
})

t.test('--local: FILE, a redirected file and a pipe', async t => {
  const { dir, file } = writeInput(t, TEXT)
  checkReadBack(t, await runCli(['--local', join(dir, 'a'), OBJECT, file]), TEXT)
  const env = { DIR: join(dir, 'b'), FILE: file }
  checkReadBack(t, await runShell(`oss_append --local "$DIR" '${OBJECT}' < "$FILE"`, env), TEXT)
  const again = await runShell(`cat "$FILE" | oss_append --local "$DIR" '${OBJECT}'`, env)
  checkReadBack(t, again, TEXT, TEXT)
})

t.test('an empty input makes an empty object', async t => {
  const dir = t.testdir({})
  const empty = Buffer.alloc(0)
  checkReadBack(t, await runCli(['--local', dir, OBJECT, '-'], { input: empty }), empty)
  t.equal(bytesFiles(dir).length, 1, 'the object is there')
  checkReadBack(t, await runShell('oss_append demo - < /dev/null'), empty)
})

t.test('a damaged object is not verified', async t => {
  const dir = t.testdir({})
  const first = await runCli(['--local', dir, OBJECT, '-'], { input: TEXT })
  checkReadBack(t, first, TEXT)
  const [file = ''] = bytesFiles(dir)
  const bytes = fs.readFileSync(file)
  bytes[1000]! ^= 1
  fs.writeFileSync(file, bytes)
  const second = await runCli(['--local', dir, OBJECT, '-'], { input: Buffer.from('more') })
  t.equal(second.code, 4)
  const crc = crc64(Buffer.concat([bytes, Buffer.from('more')]))
  t.match(second.stderr, `NOT verified: the CRC-64 as read back is ${crc}, not `)
  t.notMatch(second.stdout, /^verified/m)
})

t.test('OSS: the same, proven by what OSS acknowledged', async t => {
  const { server, runWithServer } = await startCliServer(t)
  const first = await runWithServer([OBJECT, '-'], { input: TEXT })
  checkReport(t, first, TEXT)
  t.notMatch(first.stdout, 'read back', 'nothing is downloaded')
  checkReport(t, await runWithServer([OBJECT, '-'], { input: TEXT }), TEXT, TEXT)
  const object = server.read('examplebucket', 'logs/run 7.csv')
  t.ok(object?.equals(Buffer.concat([TEXT, TEXT])))
  t.notOk(server.requests.some(request => request.method === 'GET'))
  const none = Buffer.alloc(0)
  checkReport(
    t,
    await runWithServer([OBJECT, '-'], { input: none }),
    none,
    Buffer.concat([TEXT, TEXT]),
  )
})

t.test('OSS: a tail that was given is asked for if nothing is sent', async t => {
  const { server, runWithServer } = await startCliServer(t)
  server.append('examplebucket', 'logs/run 7.csv', 'hello')
  server.permissions.delete('oss:GetObject')
  const crc = crc64('hello')
  const none = Buffer.alloc(0)
  const right = ['--position=5', `--crc64=${crc}`, OBJECT, '-']
  checkReport(t, await runWithServer(right, { input: none }), none, Buffer.from('hello'))
  t.equal(String(server.read('examplebucket', 'logs/run 7.csv')), 'hello')
  const other = await runWithServer(['--position=5', '--crc64=1', OBJECT, '-'], { input: none })
  t.match(other, { code: 4, stderr: `the CRC-64 by OSS is ${crc}, not 1` })
  const shorter = await runWithServer(['--position=3', '--crc64=1', OBJECT, '-'], { input: none })
  t.match(shorter, { code: 3, stderr: 'the object has 5 bytes, not 3' })
})

t.test('OSS: --endpoint and --region go before the environment', async t => {
  const { server, env } = await startCliServer(t)
  const options = ['--endpoint', server.url, '--region', server.region]
  const wrong = { ...env, OSS_ENDPOINT: 'http://127.0.0.1:1', OSS_REGION: 'eu-central-1' }
  checkReport(t, await runCli([...options, OBJECT, '-'], { env: wrong, input: TEXT }), TEXT)
})

t.test('OSS: what goes wrong, and its exit code', async t => {
  await t.test('refused', async t => {
    const { server, runWithServer } = await startCliServer(t)
    server.put('examplebucket', 'logs/run 7.csv', 'a normal object')
    const { code, stderr } = await runWithServer([OBJECT, '-'], { input: TEXT })
    t.equal(code, 1)
    t.match(stderr, /^oss-append: .*Normal.*\n {2}code {10}ObjectNotAppendable\n/)
    t.match(stderr, /\n {2}request id {4}[0-9A-F]{24}\n {2}host id/)
  })
  await t.test('forbidden', async t => {
    const { server, runWithServer } = await startCliServer(t)
    server.permissions.delete('oss:PutObject')
    const { code, stderr } = await runWithServer([OBJECT, '-'], { input: TEXT })
    t.equal(code, 1)
    t.match(stderr, /code {10}AccessDenied\n {2}request id {4}[0-9A-F]{24}\n {2}host id {7}[^n]/)
  })
  await t.test('somebody else writes', async t => {
    const { server, runWithServer } = await startCliServer(t)
    server.faults.push({ kind: 'rival', when: 'before' })
    const { code, stderr, stdout } = await runWithServer([OBJECT, '-'], { input: TEXT })
    t.equal(code, 3)
    t.match(stderr, 'code          PositionNotEqualToLength')
    t.equal(stdout, '')
  })
  await t.test('OSS acknowledges other bytes', async t => {
    const { server, runWithServer } = await startCliServer(t)
    server.faults.push({ kind: 'mangled', part: 'crc64', how: 'wrong' })
    const { code, stderr } = await runWithServer([OBJECT, '-'], { input: TEXT })
    t.equal(code, 4)
    t.match(stderr, 'code          OSS_ERR_INTEGRITY')
  })
  await t.test('no such file, a folder', async t => {
    const { server, runWithServer } = await startCliServer(t)
    for (const file of [join(t.testdir({}), 'absent'), t.testdir({})]) {
      const { code, stderr } = await runWithServer([OBJECT, file])
      t.equal(code, 1)
      t.match(stderr, /^ {2}code {10}(ENOENT|EISDIR)$/m)
    }
    const input = fs.openSync(t.testdir({}), 'r')
    t.teardown(() => fs.closeSync(input))
    const { code, stderr } = await runWithServer([OBJECT, '-'], { stdio: [input, 'pipe', 'pipe'] })
    t.equal(code, 1)
    t.match(stderr, /standard input is a folder\n {2}code {10}EISDIR/)
    t.equal(server.read('examplebucket', 'logs/run 7.csv'), undefined, 'nothing is created')
  })
})

t.test('an outage is told once', async t => {
  const { server, runWithServer } = await startCliServer(t)
  server.faults.push({ kind: 'reset', when: 'before', times: 3 })
  const { code, stdout, stderr } = await runWithServer([OBJECT, '-'], { input: TEXT })
  t.equal(code, 0)
  t.match(stdout, /\nverified\n$/)
  t.match(stderr, /^oss-append: trying again: .*\n.*: going on after [\d.]+ s and 3 retries\n$/)
})

t.test('an interrupted demo removes its folder', async t => {
  const temporary = t.testdir({})
  // Node's own listing of it is the sign that the folder is there: the input never ends.
  const child = startCli(['demo', '-'], {
    env: { TMPDIR: temporary },
    stdio: ['pipe', 'pipe', 'pipe'],
    keepStdinOpen: true,
  })
  const outcome = waitForExit(child)
  // One signal: a second would kill the process before it is done.
  const watcher = fs.watch(temporary).once('change', () => child.kill('SIGTERM'))
  const { code } = await outcome
  watcher.close()
  t.equal(code, 143)
  t.same(fs.readdirSync(temporary), [])
})

t.test('wrong usage', async t => {
  const dir = t.testdir({})
  const cases: [string, string[], RegExp][] = [
    ['unknown option', ['--regoin', 'x', OBJECT], /append: --regoin: .*did you mean --region\?/],
    ['no value', [OBJECT, '--region'], /--region.*argument missing/],
    ['no url', ['examplebucket/a.log', '-'], /first argument must be oss:/],
    ['no key', ['--local', dir, 'oss://examplebucket', '-'], /url: its key is missing/],
    ['a wrong bucket', ['--local', dir, 'oss://A/a.log', '-'], /url: its bucket must be/],
    ['no keys', [OBJECT, '-'], /no keys.*_ID and OSS_ACCESS_KEY_SECRET, or use .*--local/],
    ['no input', ['--local', dir, OBJECT], /nothing to read/],
  ]
  for (const [name, args, message] of cases) {
    const { code, stdout, stderr } = await runCli(args)
    t.equal(code, 2, name)
    t.equal(stdout, '', name)
    t.match(stderr, message, name)
    t.match(stderr, /^oss-append: .*\n(.*\n)?Try: oss-append --help\n$/, name)
  }
  t.same(fs.readdirSync(dir), [], 'nothing was made')
  const keys = { OSS_ACCESS_KEY_ID: 'id', OSS_ACCESS_KEY_SECRET: 'secret' }
  const noRegion = await runCli([OBJECT, '-'], { env: keys })
  t.equal(noRegion.code, 2)
  t.match(noRegion.stderr, 'oss-append: --region or OSS_REGION: is missing')
})

t.test('--json: wrong arguments are an event too', async t => {
  const { code, stdout, stderr } = await runCli(['--json', '--regoin=x', OBJECT])
  t.equal(code, 2)
  t.match(stderr, /did you mean --region/)
  const event = { event: 'error', code: 'ERR_USAGE', message: /^--regoin: is unknown/, exitCode: 2 }
  t.match(JSON.parse(stdout), event)
  t.equal((await runCli(['--regoin=x', OBJECT, '--', '--json'])).stdout, '', 'a word is no flag')
})

t.test('behind a pipe it never gives up; a folder is not waited for', async t => {
  const oss = { isLocal: false }
  t.same(withRetryDefaults(undefined, oss), { maxElapsed: Number.POSITIVE_INFINITY })
  t.same(withRetryDefaults({ minDelay: 5 }, { isLocal: true }), { minDelay: 5, maxElapsed: 3_000 })
  t.same(withRetryDefaults({ maxElapsed: 9 }, oss), { maxElapsed: 9 })
})

t.test('--quiet prints nothing but errors', async t => {
  const { server, runWithServer } = await startCliServer(t)
  server.faults.push({ kind: 'reset', when: 'before' })
  t.same(await runWithServer(['--quiet', OBJECT, '-'], { input: TEXT }), {
    code: 0,
    stdout: '',
    stderr: '',
  })
  t.ok(server.read('examplebucket', 'logs/run 7.csv')?.equals(TEXT))
  const other = { input: Buffer.from('other') }
  const wrong = await runWithServer(['--quiet', '--position=0', OBJECT, '-'], other)
  t.match(wrong, { code: 3, stdout: '', stderr: /PositionNotEqualToLength/ })
})

t.test('a full disk behind standard output is a failure', async t => {
  const { env } = await startCliServer(t)
  const line = `printf x | oss_append --json '${OBJECT}' > /dev/full`
  const expected = { code: 1, stderr: /^oss-append: ENOSPC.*\n {2}code +ENOSPC\n$/ }
  t.match(await runShell(line, env), expected)
  t.match(await runShell(`oss_append cat '${OBJECT}' > /dev/full`, env), expected, 'and told once')
})

t.test('help and version', async t => {
  for (const args of [['--help'], ['-h'], ['demo', '-h', '-v'], [OBJECT, '--help']]) {
    t.same(await runCli(args), { code: 0, stdout: HELP, stderr: '' })
  }
  t.same(await runCli(['help', 'options']), { code: 0, stdout: OPTIONS_HELP, stderr: '' })
  const { version } = JSON.parse(
    fs.readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8'),
  )
  t.same(await runCli(['--version']), { code: 0, stdout: `${version}\n`, stderr: '' })
  t.same(await runCli(['-v']), { code: 0, stdout: `${version}\n`, stderr: '' })
})

// Node 22 took a link for a pipe, and loaded undici without its exports, once the command had looked at its own.
t.test('packages that are linked, as pnpm does it, and a pipe', async t => {
  const dir = t.testdir({ node_modules: {} })
  fs.cpSync(join(CLI, '../..'), join(dir, 'dist'), { recursive: true })
  fs.writeFileSync(join(dir, 'package.json'), '{ "type": "module" }')
  for (const name of ['undici', 'crc64-ecma182.js']) {
    const real = join(import.meta.dirname, '../../node_modules', name)
    fs.symlinkSync(fs.realpathSync(real), join(dir, 'node_modules', name))
  }
  const { env } = await startCliServer(t)
  const file = { CLI_FILE: join(dir, 'dist/cli/main.js') }
  const outcome = await runShell(`printf hello | oss_append '${OBJECT}'`, { ...env, ...file })
  t.match(outcome, { code: 0, stdout: /\nverified\n$/, stderr: '' })
})

t.test('help loads neither the server nor undici', async t => {
  const dir = t.testdir({ help: {}, demo: {} })
  const loadedBy = async (name: string, args: string[]) => {
    // V8 lists every script that was loaded; its coverage itself is of no interest.
    const folder = join(dir, name)
    await runCli(args, { env: { NODE_V8_COVERAGE: folder } })
    return fs
      .readdirSync(folder)
      .flatMap(file => JSON.parse(fs.readFileSync(join(folder, file), 'utf8')).result)
      .map((script: { url: string }) => script.url)
  }
  const isHeavy = (url: string) =>
    /dist\/(server|client|stream|cli\/(append|look|cat|serve))|undici/.test(url)
  const help = await loadedBy('help', ['--help'])
  t.ok(help.some(url => url.endsWith('dist/cli/main.js')))
  t.same(help.filter(isHeavy), [])
  const demo = await loadedBy('demo', ['demo', '--bytes', '1'])
  t.ok(
    demo.some(url => url.includes('/undici/')),
    'and this would be seen',
  )
  t.ok(demo.some(url => url.endsWith('dist/server/index.js')))
})

t.test('a reader that goes away changes no exit code', async t => {
  const cases: [string, string, string][] = [
    ['stderr closed', 'oss_append demo --bytes 1MiB 2>&-; echo $?', '0'],
    ['stdout closed', 'oss_append demo --bytes 1MiB >&-; echo $? >&2', '0'],
    ['both closed', '(oss_append --nonsense >&- 2>&-); echo $?', '2'],
  ]
  for (const [name, line, code] of cases) {
    const { stdout, stderr } = await runShell(line)
    t.equal(`${stdout}${stderr}`.trim().split('\n').at(-1), code, name)
  }
  const brokenOutput = startCli(['demo', '--bytes', '1MiB'])
  brokenOutput.stdout?.destroy()
  t.equal((await waitForExit(brokenOutput)).code, 0, 'stdout broken')
  const brokenErrors = startCli(['--nonsense'])
  brokenErrors.stderr?.destroy()
  t.equal((await waitForExit(brokenErrors)).code, 2, 'stderr broken')
})

/** Tells on standard error how much memory the process had at most, in KiB. */
const MEASURE = 'process.on("exit", () => console.error("peak", process.resourceUsage().maxRSS))'
const MEASURED = ['--import', `data:text/javascript,${encodeURIComponent(MEASURE)}`]

/** Bytes, from what was told. */
function peakOf({ stderr }: CliResult): number {
  return Number(/^peak (\d+)$/m.exec(stderr)?.[1]) * 1024
}

t.test('memory does not grow with the input', async t => {
  const outcome = await runCli(['demo', '--bytes', '512MiB'], { nodeArgs: MEASURED })
  t.equal(outcome.code, 0)
  // What is held would be all of it; how lazily the collector works depends on the version of Node.
  const most = peakOf(outcome)
  t.ok(most < 448 * MIB, formatBytes(most))
})

t.test('dd of 1 GiB through the pipe', async t => {
  if (!runsLongTests('1 GiB through a pipe, into a server of its own')) return
  const dir = t.testdir({})
  const server = startCli(['serve', '--dir', dir])
  t.teardown(() => server.kill('SIGKILL'))
  let text = ''
  server.stdout?.on('data', more => (text += more))
  await waitUntil(() => /SECRET=.*\n$/.test(text))
  const line =
    'dd if=/dev/urandom bs=1M count=1024 status=none | "$NODE" "$IMPORT" "$MEASURE" "$CLI_FILE"'
  const [name = '', measure = ''] = MEASURED
  const outcome = await runShell(`${text}${line} oss://examplebucket/dd`, {
    IMPORT: name,
    MEASURE: measure,
  })
  t.equal(outcome.code, 0, outcome.stderr)
  t.match(outcome.stdout, /^bytes +1,073,741,824 in /m)
  t.match(outcome.stdout, /\nverified\n$/)
  const most = peakOf(outcome)
  t.comment(`at most ${formatBytes(most)}`)
  t.ok(most < 256 * MIB, formatBytes(most))
})

t.test('the proof finds every difference', async t => {
  const delivery: Delivery = {
    bytes: 5,
    sha256: 'aa',
    isCut: false,
    acknowledged: 5,
    key: 'k',
    rolls: 0,
    before: { position: 10, crc64: '1', exists: true },
    after: { position: 15, crc64: '2' },
    appends: 1,
    duration: 1000,
  }
  const reported = { position: 15, crc64: '2' }
  const copy = { length: 15, crc64: '2', sha256: 'aa', reported }
  t.same(compareDelivery(delivery, reported), [])
  t.same(compareDelivery(delivery, reported, copy), [])
  const wrong: [Partial<Delivery>, object | undefined, object, string[]][] = [
    [
      { after: { position: 14, crc64: '2' } },
      reported,
      {},
      ['the acknowledged length is 14, not 15'],
    ],
    [
      {},
      undefined,
      {},
      ['the length by OSS is unknown, not 15', 'the CRC-64 by OSS is unknown, not 2'],
    ],
    [{ acknowledged: 4 }, reported, {}, ['the number of acknowledged bytes is 4, not 5']],
    [{}, { position: 16, crc64: '2' }, {}, ['the length by OSS is 16, not 15']],
    [{}, { position: 15, crc64: '3' }, {}, ['the CRC-64 by OSS is 3, not 2']],
    [{}, { position: 15 }, {}, ['the CRC-64 by OSS is unknown, not 2']],
    [{}, reported, { length: 14 }, ['the length as read back is 14, not 15']],
    [{}, reported, { crc64: '3' }, ['the CRC-64 as read back is 3, not 2']],
    [{}, reported, { sha256: 'ab' }, ['the SHA-256 as read back is ab, not aa']],
  ]
  for (const [deliveryChanges, reportedTail, copyChanges, differences] of wrong) {
    t.same(
      compareDelivery({ ...delivery, ...deliveryChanges }, reportedTail, {
        ...copy,
        ...copyChanges,
      }),
      differences,
    )
  }
  const rolled = { ...delivery, rolls: 2 }
  t.same(
    compareDelivery(rolled, reported, { ...copy, sha256: 'of many' }),
    [],
    'the last of many objects',
  )
  const report = formatReport({ source: '-', url: OBJECT, delivery: rolled, reported, copy })
  t.match(report, `objects     3, the last one ${OBJECT}\n`)
  t.notMatch(report, 'object,')
  t.equal(
    formatReport({ source: 'a.csv', url: OBJECT, delivery, reported: { crc64: '3' }, copy }),
    'source      a.csv\n' +
      `object      ${OBJECT} (had 10 bytes)\n` +
      'bytes       5 in 1 append\n' +
      'length      15\n' +
      'throughput  5 B/s, 1.00 s\n' +
      'CRC-64      2 computed\n' +
      '            3 reported by OSS\n' +
      '            2 read back\n' +
      'SHA-256     aa source\n' +
      '            aa object, what was appended\n',
  )
})

t.test('objects that were left are compared one by one', async t => {
  const server = await createOssServer()
  t.teardown(() => server.close())
  const { signal } = new AbortController()
  const reader = new RetryingReader(networkOptions(server), { signal, maxElapsed: 0 })
  t.teardown(() => reader.close())
  const dates = { startedAt: new Date(0), endedAt: new Date(0) }
  const rolled = ['one', 'two!'].map((text, index) => {
    server.append('examplebucket', `${index}`, text)
    return { key: `${index}`, bytes: text.length, crc64: crc64(text), ...dates }
  })
  t.same(await compareRolledObjects(reader, 'examplebucket', rolled), [])
  server.delete('examplebucket', '1')
  server.append('examplebucket', '1', 'twos')
  const wrong = `the CRC-64 of 1 is ${crc64('twos')}, not ${crc64('two!')}`
  t.same(await compareRolledObjects(reader, 'examplebucket', rolled), [wrong])
  t.same(compareRolled(rolled[0]!, { position: 3, crc64: crc64('one') }), [])
  t.same(compareRolled({ ...rolled[0]!, crc64: '1' }, undefined), [
    'the length of 0 is unknown, not 3',
    'the CRC-64 of 0 is unknown, not 1',
  ])
})

t.test('delivery and reading back, by keys that a URL would bend', async t => {
  const server = await createOssServer()
  t.teardown(() => server.close())
  const client = new RecordingClient(networkOptions(server))
  t.teardown(() => client.close())
  const { signal } = new AbortController()
  const signals = { first: signal, received: undefined, exitCode: 0 }
  const reader = new RetryingReader(networkOptions(server), { signal, maxElapsed: 0 })
  t.teardown(() => reader.close())
  const bytes = await buffer(createSampleData(700_000))
  for (const key of ['a/../b', 'a//b', 'a\\b', '%2F', 'q?x#y', '日志/应用 日志.log']) {
    const target = { bucket: 'examplebucket', key }
    server.append('examplebucket', key, 'before')
    const stream = createAppendStream({ ...target, client })
    const reporter = new Reporter({ isJson: false, isQuiet: true })
    const source = openSampleData(bytes.length)
    const delivery = await deliver({ source, stream, reporter, signals, signal })
    t.match(delivery, { bytes: bytes.length, sha256: sha256(bytes), before: { position: 6 } }, key)
    const copy = await readBack(reader, target, delivery)
    t.same(compareDelivery(delivery, copy.reported, copy), [], key)
    t.same(compareDelivery(delivery, client.reported(key)), [], key)
    // Every byte counts: from one byte further on it is another text.
    const shifted = await readBack(reader, target, { before: { ...delivery.before, position: 7 } })
    t.same(shifted.sha256, sha256(bytes.subarray(1)), key)
  }
  const absent = { bucket: 'examplebucket', key: 'absent' }
  const nothing = { before: { position: 0, crc64: '0', exists: false } }
  await t.rejects(readBack(reader, absent, nothing), { code: 'NoSuchKey' })
  await server.close()
  await t.rejects(readBack(reader, absent, nothing), {
    cause: { cause: { code: 'ECONNREFUSED' } },
  })
})

t.test('a source that breaks off: what came before is in the object', async t => {
  const server = await createOssServer()
  t.teardown(() => server.close())
  const client = new RecordingClient(networkOptions(server))
  t.teardown(() => client.close())
  const { signal } = new AbortController()
  const signals = { first: signal, received: undefined, exitCode: 0 }
  const send = (key: string, chunks: readonly string[]) => {
    const input = Readable.from(
      (async function* () {
        yield* chunks
        throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' })
      })(),
      { objectMode: false },
    )
    const stream = createAppendStream({ bucket: 'examplebucket', key, client })
    const reporter = new Reporter({ isJson: false, isQuiet: true })
    const source = { name: 'a disk', stream: input }
    return deliver({ source, stream, reporter, signals, signal, grace: 1000 })
  }
  await t.rejects(send('some', ['one ', 'two']), {
    message: 'the input broke off: EIO: i/o error; the object has 7 bytes',
    code: 'EIO',
  })
  t.equal(String(server.read('examplebucket', 'some')), 'one two')
  await t.rejects(send('none', []), { message: 'EIO: i/o error' })
  t.equal(server.read('examplebucket', 'none'), undefined, 'nothing is created')
})

t.test('the feed', async t => {
  const bytes = await buffer(createSampleData(3 * MIB))
  t.equal(bytes.length, 3 * MIB)
  t.ok(bytes.equals(await buffer(createSampleData(3 * MIB))), 'the same every time')
  t.ok(bytes.subarray(0, 1000).equals(await buffer(createSampleData(1000))), 'and of any length')
  t.equal((await buffer(createSampleData(0))).length, 0)
  const lines = bytes.toString().split('\n').slice(1, -1)
  t.ok(lines.length > 50_000)
  const form = /^2026-\d\d-\d\dT[\d:.]+Z,[a-z0-9-]+,[a-z]+,\d+\.\d\d,(°C|rpm|µm|bar|kW|%)$/
  t.same(
    lines.filter(line => !form.test(line)),
    [],
  )
})

t.test('a file knows its length, a device does not', async t => {
  const { file } = writeInput(t, TEXT)
  const source = await openSource(file)
  t.match(source, { name: file, length: TEXT.length })
  t.ok((await buffer(source.stream)).equals(TEXT))
  const device = await openSource('/dev/null')
  t.equal(device.length, undefined)
  t.equal((await buffer(device.stream)).length, 0)
})
