/** `oss-append URL`: to a folder, which is read back, and to OSS, whose own tail is compared. */

import * as fs from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { withRetryDefaults } from '../../lib/cli/append.ts'
import { crc64 } from '../../lib/index.ts'
import { runCli, runShell, startCli, startCliServer, waitFor } from '../helpers/run-cli.ts'
import { seededBytes } from '../helpers/test-oss.ts'
import { checkReadBack, checkReport, writeInput } from './check-report.ts'

const MIB = 1024 * 1024
const OBJECT = 'oss://examplebucket/logs/run 7.csv'
const TEXT = Buffer.from('温度,21.5 °C\nжурнал\n🌡️\n'.repeat(20_000))
const NOTHING = Buffer.alloc(0)

/** The files in a `--local` folder that hold the bytes of objects. */
function bytesFiles(dir: string): string[] {
  const names = fs.readdirSync(dir, { recursive: true, encoding: 'utf8' })
  return names.filter(name => /(^|[/\\])bytes-/.test(name)).map(name => join(dir, name))
}

t.test('--local keeps the object, and a second run appends to it', async t => {
  const dir = join(t.testdir({}), 'lab')
  const first = await runCli(['--local', dir, OBJECT, '-'], { input: TEXT })
  checkReadBack(t, first, TEXT)
  const more = seededBytes(5 * MIB + 3)
  const second = await runCli([`--local=${dir}`, OBJECT, '-'], { input: more })
  checkReadBack(t, second, more, TEXT)
  t.match(second.stdout, /^object +oss:.* \(had [\d,]+ bytes\)$/m)
  const none = await runCli(['--local', dir, OBJECT, '-'])
  checkReadBack(t, none, NOTHING, Buffer.concat([TEXT, more]))
  t.match(second.stdout, `\nread it by  oss-append cat --local ${dir} ${OBJECT}\n`)
  const [file = '', ...others] = bytesFiles(dir)
  t.same(others, [], 'one object')
  t.ok(fs.readFileSync(file).equals(Buffer.concat([TEXT, more])))
})

t.test('the input is FILE, a redirected file or a pipe', async t => {
  const { dir, file } = writeInput(t, TEXT)
  checkReadBack(t, await runCli(['--local', join(dir, 'a'), OBJECT, file]), TEXT)
  const stdinFd = fs.openSync(file, 'r')
  const stdin = fs.createReadStream('', { fd: stdinFd })
  const redirected = await runCli(['--local', join(dir, 'b'), OBJECT], { stdin, stdinFd })
  checkReadBack(t, redirected, TEXT)
  const env = { DIR: join(dir, 'b'), FILE: file }
  const line = `cat "$FILE" | oss_append --local "$DIR" '${OBJECT}'`
  checkReadBack(t, await runShell(line, env), TEXT, TEXT)
})

t.test('an empty input makes an empty object', async t => {
  const dir = t.testdir({})
  checkReadBack(t, await runCli(['--local', dir, OBJECT, '-']), NOTHING)
  t.equal(bytesFiles(dir).length, 1, 'the object is there')
})

t.test('a damaged object in the folder is refused before anything is appended', async t => {
  const dir = t.testdir({})
  const first = await runCli(['--local', dir, OBJECT, '-'], { input: TEXT })
  checkReadBack(t, first, TEXT)
  const [file = ''] = bytesFiles(dir)
  const bytes = fs.readFileSync(file)
  bytes[1000]! ^= 1
  fs.writeFileSync(file, bytes)
  const second = await runCli(['--local', dir, OBJECT, '-'], { input: 'more' })
  t.not(second.code, 0)
  t.match(second.stderr, /Damaged object in .*: restore it, or delete the folder/)
  t.notMatch(second.stderr, /^ +at /m, 'no stack')
  t.notMatch(second.stdout, /^verified/m)
})

t.test('an append to OSS is verified by the tail that OSS reports, without a download', async t => {
  const { server, runWithServer } = await startCliServer(t)
  const first = await runWithServer([OBJECT, '-'], { input: TEXT })
  checkReport(t, first, TEXT)
  t.notMatch(first.stdout, 'read back', 'nothing is downloaded')
  checkReport(t, await runWithServer([OBJECT, '-'], { input: TEXT }), TEXT, TEXT)
  const object = server.read('examplebucket', 'logs/run 7.csv')
  const twice = Buffer.concat([TEXT, TEXT])
  t.ok(object?.equals(twice))
  t.notOk(server.requests.some(request => request.method === 'GET'))
  checkReport(t, await runWithServer([OBJECT, '-']), NOTHING, twice)
})

t.test('a tail given by --position and --crc64 is compared even if nothing is sent', async t => {
  const { server, runWithServer } = await startCliServer(t)
  server.append('examplebucket', 'logs/run 7.csv', 'hello')
  server.permissions.delete('oss:GetObject')
  const crc = crc64('hello')
  const right = ['--position=5', `--crc64=${crc}`, OBJECT, '-']
  checkReport(t, await runWithServer(right), NOTHING, Buffer.from('hello'))
  t.equal(String(server.read('examplebucket', 'logs/run 7.csv')), 'hello')
  const other = await runWithServer(['--position=5', '--crc64=1', OBJECT, '-'])
  t.match(other, { code: 4, stderr: new RegExp(`CRC-64 .*\\b${crc}\\b.*, not .*\\b1\\b`) })
  const shorter = await runWithServer(['--position=3', '--crc64=1', OBJECT, '-'])
  t.match(shorter, { code: 3, stderr: /has 5 bytes, not 3|ends at 5, and .* at 3/ })
})

t.test('--endpoint and --region take precedence over the environment', async t => {
  const { server, env } = await startCliServer(t)
  const options = ['--endpoint', server.url, '--region', server.region]
  const wrong = { ...env, OSS_ENDPOINT: 'http://127.0.0.1:1', OSS_REGION: 'eu-central-1' }
  checkReport(t, await runCli([...options, OBJECT, '-'], { env: wrong, input: TEXT }), TEXT)
})

t.test('an object that OSS cannot append to ends with OSS’s code and request id', async t => {
  const { server, runWithServer } = await startCliServer(t)
  server.put('examplebucket', 'logs/run 7.csv', 'a normal object')
  const { code, stderr } = await runWithServer([OBJECT, '-'], { input: TEXT })
  t.equal(code, 1)
  t.match(stderr, /^oss-append: .*Normal.*\n {2}code {10}ObjectNotAppendable\n/)
  t.match(stderr, /\n {2}request id {4}[0-9A-F]{24}\n {2}host id/)
})

t.test('a missing permission exits with 1 and names the RAM action', async t => {
  const { server, runWithServer } = await startCliServer(t)
  server.permissions.delete('oss:PutObject')
  const { code, stderr } = await runWithServer([OBJECT, '-'], { input: TEXT })
  t.equal(code, 1)
  t.match(stderr, /code {10}AccessDenied\n {2}request id {4}[0-9A-F]{24}\n {2}host id {7}[^n]/)
  t.match(stderr, `\n  object        ${OBJECT}\n  needs         the RAM action oss:PutObject\n`)
  const more = ['--json', '--tag=a=b', '--seal', OBJECT, '-']
  const { stdout } = await runWithServer(more, { input: TEXT })
  const [last] = stdout.trimEnd().split('\n').slice(-1)
  const actions = ['oss:PutObject', 'oss:PutObjectTagging', 'oss:SealAppendObject']
  t.match(JSON.parse(String(last)), { event: 'error', url: OBJECT, actions })
})

t.test('an error of --local names the folder', async t => {
  const dir = t.testdir({ file: 'a file, and no folder' })
  const local = join(dir, 'file')
  const { code, stderr } = await runCli(['--local', local, OBJECT, '-'], { input: TEXT })
  t.equal(code, 1)
  t.match(stderr, `\n  object        ${OBJECT}\n  folder        ${local}\n`)
})

t.test('another writer exits with 3', async t => {
  const { server, runWithServer } = await startCliServer(t)
  server.faults.push({ kind: 'rival', when: 'before' })
  const { code, stderr, stdout } = await runWithServer([OBJECT, '-'], { input: TEXT })
  t.equal(code, 3)
  t.match(stderr, 'code          PositionNotEqualToLength')
  t.equal(stdout, '')
})

t.test('a wrong CRC-64 from OSS exits with 4', async t => {
  const { server, runWithServer } = await startCliServer(t)
  server.faults.push({ kind: 'mangled', part: 'crc64', how: 'wrong' })
  const { code, stderr } = await runWithServer([OBJECT, '-'], { input: TEXT })
  t.equal(code, 4)
  t.match(stderr, 'code          OSS_ERR_INTEGRITY')
})

t.test('a file that does not exist and a folder exit with 1 and create no object', async t => {
  const { server, runWithServer } = await startCliServer(t)
  for (const file of [join(t.testdir({}), 'absent'), t.testdir({})]) {
    const { code, stderr } = await runWithServer([OBJECT, file])
    t.equal(code, 1)
    t.match(stderr, /^ {2}code {10}(ENOENT|EISDIR)$/m)
  }
  const stdinFd = fs.openSync(t.testdir({}), 'r')
  t.teardown(() => fs.closeSync(stdinFd))
  const { code, stderr } = await runWithServer([OBJECT, '-'], { stdinFd })
  t.equal(code, 1)
  t.match(stderr, /standard input is a folder\n {2}code {10}EISDIR/)
  t.equal(server.read('examplebucket', 'logs/run 7.csv'), undefined, 'nothing is created')
})

t.test('a file that becomes shorter while it is read is no success', async t => {
  const { server, env } = await startCliServer(t)
  const bytes = seededBytes(2 * MIB)
  const { file } = writeInput(t, bytes)
  for (const input of [[file], ['-']]) {
    fs.writeFileSync(file, bytes)
    server.refuse()
    const key = `oss://examplebucket/${input[0] === '-' ? 'stdin' : 'file'}`
    const stdinFd = fs.openSync(file, 'r')
    // As `process.stdin` is opened.
    const stdin = fs.createReadStream('', { fd: stdinFd, autoClose: false })
    const args = ['--json', '--buffer=64KiB', '--min-delay=10ms', '--max-delay=50ms', key, ...input]
    const command = startCli(args, { env, stdin, stdinFd })
    await waitFor(() => command.stderr.text.includes('trying again'))
    fs.truncateSync(file, MIB)
    await server.listen()
    const { code, stdout, stderr } = await command.result
    t.equal(code, 1, key)
    const name = input[0] === '-' ? 'standard input' : file
    t.match(stderr, `${name} became shorter while it was read: it was cut after ${MIB} bytes\n`)
    const report = JSON.parse(stdout.trimEnd().split('\n').at(-1)!)
    t.match(report, { event: 'finish', bytes: MIB, cut: true, verified: true })
  }
})

t.test('an outage prints one line when it begins and one when it ends', async t => {
  const { server, runWithServer } = await startCliServer(t)
  server.faults.push({ kind: 'reset', when: 'before', times: 3 })
  const { code, stdout, stderr } = await runWithServer([OBJECT, '-'], { input: TEXT })
  t.equal(code, 0)
  t.match(stdout, /\nverified\n$/)
  t.match(stderr, /^oss-append: trying again: .*\n.*: going on after [\d.]+ s and 3 retries\n$/)
})

t.test('an append to OSS is retried without end, one to a folder for 3 s', async t => {
  const oss = { isLocal: false }
  t.same(withRetryDefaults(undefined, oss), { maxElapsed: Number.POSITIVE_INFINITY })
  t.same(withRetryDefaults({ minDelay: 5 }, { isLocal: true }), { minDelay: 5, maxElapsed: 3_000 })
  t.same(withRetryDefaults({ maxElapsed: 9 }, oss), { maxElapsed: 9 })
})
