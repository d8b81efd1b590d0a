/** The command `oss-append`, as built, in processes of its own; and its pure parts by themselves. */

import { type ChildProcess, execFileSync, type StdioOptions } from 'node:child_process'
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { type Command, HELP, parseArguments } from '../lib/cli/arguments.ts'
import { type Delivery, deliver, WitnessClient } from '../lib/cli/delivery.ts'
import { describeError, exitCodeOf, MismatchError, UsageError } from '../lib/cli/failure.ts'
import { createFeed } from '../lib/cli/feed.ts'
import { describeProgress, formatBytes, Progress } from '../lib/cli/progress.ts'
import { compare, readBack } from '../lib/cli/proof.ts'
import { describeDelivery } from '../lib/cli/report.ts'
import { openFeed, openSource } from '../lib/cli/source.ts'
import { crc64, OssConflictError, OssError, OssServiceError } from '../lib/index.ts'
import { createOssServer } from '../lib/server/index.ts'
import { plainEnv, spawnPlain } from './fixtures/child.ts'
import { noise, reach } from './fixtures/oss.ts'

const ROOT = join(import.meta.dirname, '..')
const CLI = join(ROOT, 'dist/cli.js')

/** `pretest` builds; a test file that is run by itself may find nothing. */
if (!fs.existsSync(CLI)) {
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  execFileSync(process.execPath, [tsc, '-p', 'lib'], { cwd: ROOT })
}

const MIB = 1024 * 1024
const OBJECT = 'oss://examplebucket/logs/run 7.csv'
const TEXT = Buffer.from('温度,21.5 °C\nжурнал\n🌡️\n'.repeat(50_000))

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** What the report says of `bytes` that were appended to `before`. */
function checkReport(t: Test, outcome: Outcome, bytes: Buffer, before: Buffer = Buffer.alloc(0)) {
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
function checkProof(t: Test, outcome: Outcome, bytes: Buffer, before: Buffer = Buffer.alloc(0)) {
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
  const ways: [string, () => Promise<Outcome>][] = [
    ['a file as argument', () => run(['demo', file], { env })],
    ['a socket, and -', () => run(['demo', '-'], { env, input: TEXT })],
    ['a redirected file', () => run(['demo'], { env, stdio: [fd, 'pipe', 'pipe'] })],
    ['a pipe', () => shell('cat "$FILE" | oss_append demo', { ...env, FILE: file })],
    ['a pipe, and -', () => shell('cat "$FILE" | oss_append demo -', { ...env, FILE: file })],
  ]
  for (const [name, start] of ways) {
    await t.test(name, async t => {
      checkProof(t, await start(), TEXT)
      t.same(fs.readdirSync(temporary), [], 'nothing is left behind')
    })
  }
})

t.test('demo: without input it makes up a feed', async t => {
  const feed = await buffer(createFeed(MIB))
  const fromDevice = await run(['demo', '--bytes', '1MiB'])
  checkProof(t, fromDevice, feed)
  t.match(fromDevice.stdout, /^source +made-up sensor feed$/m)
  const fromSocket = run(['demo', '--bytes=1MiB'], { input: TEXT })
  checkProof(t, await fromSocket, feed)
  // A pipe is input, unless the length of a feed is asked for.
  checkProof(t, await shell('printf x | oss_append demo --bytes 1048576'), feed)
})

t.test('demo: the feed is 64 MiB long, also behind a pipe that nobody writes to', async t => {
  const ways: [string, () => Promise<Outcome>][] = [
    ['no pipe', () => run(['demo'])],
    ['a pipe that ends', () => shell(': | oss_append demo')],
    [
      'a pipe that stays',
      () => shell('mkfifo "$DIR/silent"; oss_append demo <> "$DIR/silent"', { DIR: t.testdir({}) }),
    ],
  ]
  for (const [name, start] of ways) {
    const { code, stdout, stderr } = await start()
    t.equal(code, 0, stderr)
    t.match(stdout, /^bytes +67,108,864 in 16 appends$/m, name)
  }
})

t.test('--local: the object stays, and a second run appends to it', async t => {
  const dir = join(t.testdir({}), 'lab')
  const first = await run(['--local', dir, OBJECT, '-'], { input: TEXT })
  checkProof(t, first, TEXT)
  const more = noise(5 * MIB + 3)
  const second = await run([`--local=${dir}`, OBJECT, '-'], { input: more })
  checkProof(t, second, more, TEXT)
  t.match(second.stdout, /^object +oss:.* \(had [\d,]+ bytes\)$/m)
  const none = await run(['--local', dir, OBJECT, '-'], { input: Buffer.alloc(0) })
  checkProof(t, none, Buffer.alloc(0), Buffer.concat([TEXT, more]))
  const [file = '', ...others] = bytesFiles(dir)
  t.same(others, [], 'one object')
  t.ok(fs.readFileSync(file).equals(Buffer.concat([TEXT, more])))
})

t.test('--local: FILE, a redirected file and a pipe', async t => {
  const { dir, file } = writeInput(t, TEXT)
  checkProof(t, await run(['--local', join(dir, 'a'), OBJECT, file]), TEXT)
  const env = { DIR: join(dir, 'b'), FILE: file }
  checkProof(t, await shell(`oss_append --local "$DIR" '${OBJECT}' < "$FILE"`, env), TEXT)
  const again = await shell(`cat "$FILE" | oss_append --local "$DIR" '${OBJECT}'`, env)
  checkProof(t, again, TEXT, TEXT)
})

t.test('an empty input makes an empty object', async t => {
  const dir = t.testdir({})
  const empty = Buffer.alloc(0)
  checkProof(t, await run(['--local', dir, OBJECT, '-'], { input: empty }), empty)
  t.equal(bytesFiles(dir).length, 1, 'the object is there')
  checkProof(t, await shell('oss_append demo - < /dev/null'), empty)
})

t.test('a damaged object is not verified', async t => {
  const dir = t.testdir({})
  const first = await run(['--local', dir, OBJECT, '-'], { input: TEXT })
  checkProof(t, first, TEXT)
  const [file = ''] = bytesFiles(dir)
  const bytes = fs.readFileSync(file)
  bytes[1000]! ^= 1
  fs.writeFileSync(file, bytes)
  const second = await run(['--local', dir, OBJECT, '-'], { input: Buffer.from('more') })
  t.equal(second.code, 1)
  const crc = crc64(Buffer.concat([bytes, Buffer.from('more')]))
  t.match(second.stderr, `NOT verified: the CRC-64 as read back is ${crc}, not `)
  t.notMatch(second.stdout, /^verified/m)
})

t.test('OSS: the same, proven by what OSS acknowledged', async t => {
  const { server, go } = await startService(t)
  const first = await go([OBJECT, '-'], { input: TEXT })
  checkReport(t, first, TEXT)
  t.notMatch(first.stdout, 'read back', 'nothing is downloaded')
  checkReport(t, await go([OBJECT, '-'], { input: TEXT }), TEXT, TEXT)
  const object = server.read('examplebucket', 'logs/run 7.csv')
  t.ok(object?.equals(Buffer.concat([TEXT, TEXT])))
  t.notOk(server.requests.some(request => request.method === 'GET'))
  const none = Buffer.alloc(0)
  checkReport(t, await go([OBJECT, '-'], { input: none }), none, Buffer.concat([TEXT, TEXT]))
})

t.test('OSS: --endpoint and --region go before the environment', async t => {
  const { server, env } = await startService(t)
  const options = ['--endpoint', server.url, '--region', server.region]
  const wrong = { ...env, OSS_ENDPOINT: 'http://127.0.0.1:1', OSS_REGION: 'eu-central-1' }
  checkReport(t, await run([...options, OBJECT, '-'], { env: wrong, input: TEXT }), TEXT)
})

t.test('OSS: what goes wrong, and its exit code', async t => {
  await t.test('refused', async t => {
    const { server, go } = await startService(t)
    server.put('examplebucket', 'logs/run 7.csv', 'a normal object')
    const { code, stderr } = await go([OBJECT, '-'], { input: TEXT })
    t.equal(code, 1)
    t.match(stderr, /^oss-append: .*Normal.*\n {2}code {10}ObjectNotAppendable\n/)
    t.match(stderr, /\n {2}request id {4}[0-9A-F]{24}\n {2}host id/)
  })
  await t.test('forbidden', async t => {
    const { server, go } = await startService(t)
    server.permissions.delete('oss:PutObject')
    const { code, stderr } = await go([OBJECT, '-'], { input: TEXT })
    t.equal(code, 1)
    t.match(stderr, /code {10}AccessDenied\n {2}request id {4}[0-9A-F]{24}\n {2}host id {7}[^n]/)
  })
  await t.test('somebody else writes', async t => {
    const { server, go } = await startService(t)
    server.faults.push({ kind: 'rival', when: 'before' })
    const { code, stderr, stdout } = await go([OBJECT, '-'], { input: TEXT })
    t.equal(code, 3)
    t.match(stderr, 'code          PositionNotEqualToLength')
    t.equal(stdout, '')
  })
  await t.test('OSS acknowledges other bytes', async t => {
    const { server, go } = await startService(t)
    server.faults.push({ kind: 'mangled', part: 'crc64', how: 'wrong' })
    const { code, stderr } = await go([OBJECT, '-'], { input: TEXT })
    t.equal(code, 4)
    t.match(stderr, 'code          OSS_ERR_INTEGRITY')
  })
  await t.test('no such file, a folder', async t => {
    const { server, go } = await startService(t)
    for (const file of [join(t.testdir({}), 'absent'), t.testdir({})]) {
      const { code, stderr } = await go([OBJECT, file])
      t.equal(code, 1)
      t.match(stderr, /^ {2}code {10}(ENOENT|EISDIR)$/m)
    }
    t.equal(server.read('examplebucket', 'logs/run 7.csv'), undefined, 'nothing is created')
  })
})

t.test('an outage is told once', async t => {
  const { server, go } = await startService(t)
  server.faults.push({ kind: 'reset', when: 'before', times: 3 })
  const { code, stdout, stderr } = await go([OBJECT, '-'], { input: TEXT })
  t.equal(code, 0)
  t.match(stdout, /\nverified\n$/)
  t.match(stderr, /^oss-append: trying again: .*\n$/, 'one line')
})

t.test('an outage without end can be interrupted', async t => {
  const { server, env } = await startService(t)
  server.refuse()
  const child = start([OBJECT, '-'], { env, input: TEXT })
  const outcome = finish(child)
  let told = ''
  const listen = (text: string) => {
    told += text
    if (!told.includes('trying again')) return
    // One signal: a second would kill the process before it is done.
    child.stderr?.off('data', listen)
    child.kill('SIGINT')
  }
  child.stderr?.on('data', listen)
  const { code, stderr } = await outcome
  t.equal(code, 130)
  t.match(
    stderr,
    /^oss-append: trying again: .*ECONNREFUSED.*\noss-append: interrupted by SIGINT\n$/,
  )
})

t.test('an interrupted demo removes its folder', async t => {
  const temporary = t.testdir({})
  // Node's own listing of it is the sign that the folder is there: the input never ends.
  const child = start(['demo', '-'], {
    env: { TMPDIR: temporary },
    stdio: ['pipe', 'pipe', 'pipe'],
    isEndless: true,
  })
  const outcome = finish(child)
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
    ['unknown option', ['--regoin', 'x', OBJECT], /--regoin.*did you mean --region\?/],
    ['no value', [OBJECT, '--region'], /--region.*argument missing/],
    ['no url', ['examplebucket/a.log', '-'], /first argument must be oss:/],
    ['no key', ['--local', dir, 'oss://examplebucket', '-'], /url: its key is missing/],
    ['a wrong bucket', ['--local', dir, 'oss://A/a.log', '-'], /url: its bucket must be/],
    ['no keys', [OBJECT, '-'], /no keys.*_ID and OSS_ACCESS_KEY_SECRET, or use --local/],
    ['no input', ['--local', dir, OBJECT], /nothing to read/],
  ]
  for (const [name, args, message] of cases) {
    const { code, stdout, stderr } = await run(args)
    t.equal(code, 2, name)
    t.equal(stdout, '', name)
    t.match(stderr, message, name)
    t.match(stderr, /^oss-append: .*\n(.*\n)?Try: oss-append --help\n$/, name)
  }
  t.same(fs.readdirSync(dir), [], 'nothing was made')
  const keys = { OSS_ACCESS_KEY_ID: 'id', OSS_ACCESS_KEY_SECRET: 'secret' }
  const noRegion = await run([OBJECT, '-'], { env: keys })
  t.equal(noRegion.code, 2)
  t.match(noRegion.stderr, 'option region: is missing')
})

t.test('wrong arguments', async t => {
  const table: [string, string[], RegExp][] = [
    ['nothing', [], /say where to/],
    ['a far option', ['--frobnicate', OBJECT], /--frobnicate: is unknown$/],
    ['a short option', ['-x', OBJECT], /-x: is unknown/],
    ['an option as value', ['--local', '--region', OBJECT], /--local.*ambiguous/],
    ['a value too many', ['--help=yes'], /--help.*does not take an argument/],
    ['two files', ['--local', 'dir', OBJECT, '-', '-'], /one FILE at most/],
    ['an empty folder', ['--local', '', OBJECT, '-'], /--local: must name a folder/],
    ['both', ['--local', 'dir', '--region', 'x', OBJECT, '-'], /--region: --local has/],
    ['demo and --local', ['demo', '--local', 'dir'], /--local: demo has/],
    ['--bytes for append', ['--bytes', '1', OBJECT, '-'], /--bytes: is for demo/],
    ['--bytes and FILE', ['demo', '--bytes', '1', '-'], /--bytes: has no meaning/],
    ['--bytes with an odd unit', ['demo', '--bytes', '1MB'], /--bytes: must be a number/],
    ['--bytes below 0', ['demo', '--bytes=-1'], /--bytes: must be a number/],
    // A secret may be pasted anywhere.
    ['a word', ['SECRET'], /^((?!SECRET).)*$/],
    ['a word too many', ['demo', 'a', 'SECRET'], /^((?!SECRET).)*$/],
    ['a word as number', ['demo', '--bytes', 'SECRET'], /^((?!SECRET).)*$/],
    ['a word for a flag', ['--help=SECRET'], /^((?!SECRET).)*$/],
    ['an unknown option with a word', ['--secret-key=SECRET'], /^((?!SECRET).)*$/],
  ]
  for (const [name, args, message] of table) {
    const error = caught(() => parseArguments(args))
    t.equal(exitCodeOf(error), 2, name)
    t.match(error?.message, message, name)
  }
})

t.test('help and version', async t => {
  for (const args of [['--help'], ['-h'], ['demo', '-h', '-v'], [OBJECT, '--help']]) {
    t.same(await run(args), { code: 0, stdout: HELP, stderr: '' })
  }
  const lines = HELP.trimEnd().split('\n')
  t.ok(lines.length <= 24, 'fits a screen: lines')
  t.ok(
    lines.every(line => line.length <= 80),
    'fits a screen: columns',
  )
  const { version } = JSON.parse(
    fs.readFileSync(join(import.meta.dirname, '../package.json'), 'utf8'),
  )
  t.same(await run(['--version']), { code: 0, stdout: `${version}\n`, stderr: '' })
  t.same(await run(['-v']), { code: 0, stdout: `${version}\n`, stderr: '' })
})

t.test('help loads neither the server nor undici', async t => {
  const dir = t.testdir({ help: {}, demo: {} })
  const loadedBy = async (name: string, args: string[]) => {
    // V8 lists every script that was loaded; its coverage itself is of no interest.
    const folder = join(dir, name)
    await run(args, { env: { NODE_V8_COVERAGE: folder } })
    return fs
      .readdirSync(folder)
      .flatMap(file => JSON.parse(fs.readFileSync(join(folder, file), 'utf8')).result)
      .map((script: { url: string }) => script.url)
  }
  const isHeavy = (url: string) => /dist\/(server|client|stream|cli\/commands)|undici/.test(url)
  const help = await loadedBy('help', ['--help'])
  t.ok(help.some(url => url.endsWith('dist/cli.js')))
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
    const { stdout, stderr } = await shell(line)
    t.equal(`${stdout}${stderr}`.trim().split('\n').at(-1), code, name)
  }
  const brokenOutput = start(['demo', '--bytes', '1MiB'])
  brokenOutput.stdout?.destroy()
  t.equal((await finish(brokenOutput)).code, 0, 'stdout broken')
  const brokenErrors = start(['--nonsense'])
  brokenErrors.stderr?.destroy()
  t.equal((await finish(brokenErrors)).code, 2, 'stderr broken')
})

t.test('memory does not grow with the input', async t => {
  const report = 'process.on("exit", () => console.error(process.resourceUsage().maxRSS))'
  const peak = async (size: string) => {
    const node = ['--import', `data:text/javascript,${encodeURIComponent(report)}`]
    const { stderr, code } = await run(['demo', '--bytes', size], { node })
    t.equal(code, 0)
    return Number(stderr) * 1024
  }
  // What is held would be all of it; how lazily the collector works depends on the version of Node.
  const most = await peak('512MiB')
  t.ok(most < 448 * MIB, formatBytes(most))
})

t.test('arguments', async t => {
  const append = { name: 'append', url: OBJECT, file: undefined, local: undefined } as const
  const table: [string[], Command][] = [
    [[OBJECT], { ...append, region: undefined, endpoint: undefined }],
    [[OBJECT, '-', '--region=a'], { ...append, file: '-', region: 'a', endpoint: undefined }],
    [['--local', 'd', OBJECT], { ...append, local: 'd', region: undefined, endpoint: undefined }],
    [['demo', '--', '-x'], { name: 'demo', file: '-x', bytes: undefined }],
    [['demo', '--bytes', '0'], { name: 'demo', file: undefined, bytes: 0 }],
    [['demo', '--bytes', '500'], { name: 'demo', file: undefined, bytes: 500 }],
    [['demo', '--bytes', '3KiB'], { name: 'demo', file: undefined, bytes: 3072 }],
    [['demo', '--bytes', '2GiB'], { name: 'demo', file: undefined, bytes: 2 * 1024 * MIB }],
    [['--version'], { name: 'version' }],
  ]
  for (const [args, command] of table) t.same(parseArguments(args), command, args.join(' '))
})

t.test('errors as text and exit code', async t => {
  const cause = new OssServiceError('InternalError', 'try later', {
    status: 500,
    requestId: 'REQ',
    hostId: 'HOST',
  })
  const exhausted = new OssError('OSS_ERR_RETRIES_EXHAUSTED', 'gave up', { cause })
  exhausted.tail = { position: 12, crc64: '5' }
  t.equal(
    describeError(exhausted),
    'oss-append: gave up\n' +
      '  code          OSS_ERR_RETRIES_EXHAUSTED\n' +
      '  acknowledged  the object up to byte 12\n' +
      '  caused by  code          InternalError\n' +
      '  caused by  request id    REQ\n' +
      '  caused by  host id       HOST\n',
  )
  t.match(describeError(new TypeError('a bug')), /^oss-append: a bug\n +at .*cli\.test/)
  t.equal(describeError('text'), 'oss-append: text\n')
  t.equal(describeError(new MismatchError(['a', 'b'])), 'oss-append: NOT verified: a; b\n')
  const tail = { position: 1, crc64: '1' }
  const table: [unknown, number][] = [
    [exhausted, 1],
    [new MismatchError(['a']), 1],
    [null, 1],
    [new UsageError('x'), 2],
    [new OssError('OSS_ERR_INVALID_OPTION', 'x'), 2],
    [new OssConflictError('x', { before: tail, after: tail, seen: tail }), 3],
    [new OssError('OSS_ERR_OBJECT_REPLACED', 'x'), 3],
    [new OssError('OSS_ERR_INTEGRITY', 'x'), 4],
  ]
  for (const [error, code] of table) t.equal(exitCodeOf(error), code)
})

t.test('the proof finds every difference', async t => {
  const delivery: Delivery = {
    bytes: 5,
    sha256: 'aa',
    before: { position: 10, crc64: '1', exists: true },
    after: { position: 15, crc64: '2' },
    appends: 1,
    duration: 1000,
  }
  const reported = { position: 15, crc64: '2' }
  const copy = { length: 15, crc64: '2', sha256: 'aa', reported }
  t.same(compare(delivery, reported), [])
  t.same(compare(delivery, reported, copy), [])
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
    [{}, { position: 16, crc64: '2' }, {}, ['the length by OSS is 16, not 15']],
    [{}, { position: 15, crc64: '3' }, {}, ['the CRC-64 by OSS is 3, not 2']],
    [{}, { position: 15 }, {}, ['the CRC-64 by OSS is unknown, not 2']],
    [{}, reported, { length: 14 }, ['the length as read back is 14, not 15']],
    [{}, reported, { crc64: '3' }, ['the CRC-64 as read back is 3, not 2']],
    [{}, reported, { sha256: 'ab' }, ['the SHA-256 as read back is ab, not aa']],
  ]
  for (const [sent, said, read, differences] of wrong) {
    t.same(compare({ ...delivery, ...sent }, said, { ...copy, ...read }), differences)
  }
  t.equal(
    describeDelivery({ source: 'a.csv', url: OBJECT, delivery, reported: { crc64: '3' }, copy }),
    'source      a.csv\n' +
      `object      ${OBJECT} (had 10 bytes)\n` +
      'bytes       5 in 1 append\n' +
      'throughput  5 B/s, 1.00 s\n' +
      'CRC-64      2 computed\n' +
      '            3 reported by OSS\n' +
      '            2 read back\n' +
      'SHA-256     aa source\n' +
      '            aa object, what was appended\n',
  )
})

t.test('delivery and reading back, by keys that a URL would bend', async t => {
  const server = await createOssServer()
  t.teardown(() => server.close())
  const client = new WitnessClient(reach(server))
  t.teardown(() => client.close())
  const { signal } = new AbortController()
  const bytes = await buffer(createFeed(700_000))
  for (const key of ['a/../b', 'a//b', 'a\\b', '%2F', 'q?x#y', '日志/应用 日志.log']) {
    const target = { bucket: 'examplebucket', key }
    server.append('examplebucket', key, 'before')
    const delivery = await deliver({ source: openFeed(bytes.length), target, client, signal })
    t.match(delivery, { bytes: bytes.length, sha256: sha256(bytes), before: { position: 6 } }, key)
    const copy = await readBack(server, { target, from: 6, signal })
    t.same(compare(delivery, copy.reported, copy), [], key)
    t.same(compare(delivery, client.reported), [], key)
    // Every byte counts: from one byte further on it is another text.
    const shifted = await readBack(server, { target, from: 7, signal })
    t.same(shifted.sha256, sha256(bytes.subarray(1)), key)
  }
  const absent = { bucket: 'examplebucket', key: 'absent' }
  await t.rejects(readBack(server, { target: absent, from: 0, signal }), { code: 'NoSuchKey' })
  await server.close()
  await t.rejects(readBack(server, { target: absent, from: 0, signal }), { code: 'ECONNREFUSED' })
})

t.test('the feed', async t => {
  const bytes = await buffer(createFeed(3 * MIB))
  t.equal(bytes.length, 3 * MIB)
  t.ok(bytes.equals(await buffer(createFeed(3 * MIB))), 'the same every time')
  t.ok(bytes.subarray(0, 1000).equals(await buffer(createFeed(1000))), 'and of any length')
  t.equal((await buffer(createFeed(0))).length, 0)
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

t.test('progress', async t => {
  const state = { acknowledged: 3 * MIB, elapsed: 2000, appends: 3, length: 12 * MIB }
  t.equal(describeProgress(state), '3.0 MiB  1.5 MiB/s  3 appends  25%')
  const start = { acknowledged: 0, elapsed: 0, appends: 1, length: undefined }
  t.equal(describeProgress(start), '0 B  0 B/s  1 append')
  const sizes: [number, string][] = [
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [1536, '1.5 KiB'],
    [MIB, '1.0 MiB'],
    [5 * 1024 * MIB, '5.0 GiB'],
    [5000 * 1024 * MIB, '5000.0 GiB'],
  ]
  for (const [bytes, text] of sizes) t.equal(formatBytes(bytes), text)

  let drawn = ''
  let onDraw = () => {}
  const output = {
    isTTY: true,
    columns: 10,
    write: (text: string) => {
      drawn += text
      onDraw()
    },
  }
  const first = new Promise<void>(resolve => (onDraw = resolve))
  const progress = new Progress(() => '0123456789abc', output)
  await first
  t.equal(drawn, '\r\x1b[K012345678', 'by itself, and never wrapped')
  progress.note('a note')
  progress.stop()
  t.equal(drawn, '\r\x1b[K012345678\r\x1b[Ka note\n\r\x1b[K')

  drawn = ''
  const quiet = new Progress(() => 'x', { ...output, isTTY: false })
  quiet.draw()
  quiet.note('a note')
  quiet.stop()
  t.equal(drawn, 'a note\n', 'off a terminal nothing is drawn')
})

function caught(run: () => unknown): Error | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    return error as Error
  }
}

/** A server that stands for OSS, and the command with an environment that leads there. */
async function startService(t: Test) {
  const secret = 'the-secret-that-nobody-prints'
  const server = await createOssServer({
    credentials: { accessKeyId: 'key-id', accessKeySecret: secret },
  })
  t.teardown(() => server.close())
  const env = {
    OSS_ACCESS_KEY_ID: 'key-id',
    OSS_ACCESS_KEY_SECRET: secret,
    OSS_ENDPOINT: server.url,
    OSS_REGION: server.region,
  }
  const go = async (args: string[], settings: RunSettings = {}) => {
    const outcome = await run(args, { env, ...settings })
    t.notMatch(outcome.stdout + outcome.stderr, secret)
    return outcome
  }
  return { server, env, go }
}

// Processes: as a shell would start them, without what tap gives to its children, and without keys.

interface RunSettings {
  readonly env?: Readonly<Record<string, string>>
  /** Written to standard input, which is then a socket: no pipe, and no file. Default: the null device. */
  readonly input?: Buffer
  /** In place of `input`: a file opened for reading, or where the outputs go. */
  readonly stdio?: StdioOptions
  /** Leaves standard input open. */
  readonly isEndless?: boolean
  /** Arguments for Node itself. */
  readonly node?: readonly string[]
}

interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

function start(args: readonly string[], settings: RunSettings = {}): ChildProcess {
  const { env, input, node = [], stdio = [input ? 'pipe' : 'ignore', 'pipe', 'pipe'] } = settings
  const child = spawnPlain([process.execPath, ...node, CLI, ...args], plainEnv(env), stdio)
  child.stdin?.on('error', () => {})
  if (!settings.isEndless) child.stdin?.end(input)
  return child
}

function run(args: readonly string[], settings: RunSettings = {}): Promise<Outcome> {
  return finish(start(args, settings))
}

/** Runs a line of shell, in which `oss_append` is the command. */
function shell(line: string, env: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  const script = `oss_append() { "$NODE" "$CLI_FILE" "$@"; }; ${line}`
  const all = plainEnv({ ...env, NODE: process.execPath, CLI_FILE: CLI })
  return finish(spawnPlain(['sh', '-c', script], all, ['ignore', 'pipe', 'pipe']))
}

/** Resolves when the process has ended and its outputs are read. */
function finish(child: ChildProcess): Promise<Outcome> {
  const texts = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', text => (texts[name] += text))
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', code => resolve({ code, ...texts }))
  })
}
