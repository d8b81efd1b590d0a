/** `oss-append stat` and `oss-append verify`: the properties of an object, and its comparison with a file. */

import * as fs from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { crc64 } from '../../lib/index.ts'
import { runCli, startCliServer } from '../helpers/run-cli.ts'
import { startScriptedServer } from '../helpers/scripted-server.ts'

const BUCKET = 'examplebucket'
const KEY = 'logs/日志 1.log'
const OBJECT = `oss://${BUCKET}/${KEY}`
const TEXT = Buffer.from('温度,21.5 °C\n'.repeat(1000))

t.test('a terminal obeys nothing that a server sends', async t => {
  const { env } = await startCliServer(t)
  // A terminal takes U+009B for the start of a control sequence.
  const steer = '\u009b31m'
  let status = 200
  const { port } = await startScriptedServer(
    t,
    () =>
      `HTTP/1.1 ${status} Word\r\nx-oss-request-id: R${steer}\r\ncontent-length: 0\r\n` +
      `x-oss-object-type: Normal\r\netag: E${steer}\r\nx-oss-meta-m: M${steer}\r\n\r\n`,
  )
  const options = { env: { ...env, OSS_ENDPOINT: `http://127.0.0.1:${port}` } }
  const { code, stdout } = await runCli(['stat', OBJECT], options)
  t.equal(code, 0)
  t.match(stdout, /^etag +E\?31m$/m)
  t.match(stdout, /^meta m +M\?31m$/m)
  status = 403
  const refused = await runCli(['stat', OBJECT], options)
  t.equal(refused.code, 1)
  t.match(refused.stderr, /request id +R\?31m$/m)
})

t.test('stat prints the properties of an object', async t => {
  const { server, runWithServer } = await startCliServer(t)
  const createArgs = ['--meta=host=a-1', '--tag=k=v', '--content-type=text/csv', '--seal']
  t.match(await runWithServer([...createArgs, OBJECT, '-'], { input: TEXT }), { code: 0 })
  const crc = crc64(TEXT)
  const { code, stdout, stderr } = await runWithServer(['stat', OBJECT])
  t.match({ code, stderr }, { code: 0, stderr: '' })
  t.match(
    stdout,
    new RegExp(
      `^object +${OBJECT}\ntype +Appendable\nlength +${TEXT.length.toLocaleString('en-US')}\n` +
        `CRC-64 +${crc}\nsealed +\\w{3}, .* GMT\nlast modified +\\w{3}, .* GMT\netag +".*"\n` +
        'content type +text/csv\nstorage class +Standard\ntags +1\nmeta host +a-1\n$',
    ),
  )
  const json = await runWithServer(['stat', '--json', OBJECT])
  t.match(JSON.parse(json.stdout), {
    url: OBJECT,
    type: 'Appendable',
    length: TEXT.length,
    position: TEXT.length,
    crc64: crc,
    sealed: true,
    sealedTime: /GMT$/,
    contentType: 'text/csv',
    tags: 1,
    metadata: { host: 'a-1' },
  })
  server.append(BUCKET, 'open', 'x')
  const open = await runWithServer(['stat', '--json', `oss://${BUCKET}/open`])
  t.match(JSON.parse(open.stdout), { sealed: false })
  server.put(BUCKET, 'normal', 'x')
  t.match(
    (await runWithServer(['stat', `oss://${BUCKET}/normal`])).stdout,
    /type +Normal\nlength +1\nCRC-64 .*\nlast/,
  )
  const absent = await runWithServer(['stat', `oss://${BUCKET}/absent`])
  t.match(absent, { code: 1, stdout: '', stderr: /no such object\n {2}code {10}NoSuchKey\n/ })
  server.permissions.delete('oss:GetObject')
  t.match(await runWithServer(['stat', OBJECT]), {
    code: 1,
    stderr: /AccessDenied\n {2}request id(.*\n)* {2}needs +the RAM action oss:GetObject\n/,
  })
})

t.test('verify compares length and CRC-64 without a download', async t => {
  const { server, runWithServer } = await startCliServer(t)
  const dir = t.testdir({})
  const file = join(dir, 'a.log')
  fs.writeFileSync(file, TEXT)
  t.match(await runWithServer([OBJECT, file]), { code: 0 })
  t.match(await runWithServer(['verify', file, OBJECT]), {
    code: 0,
    stdout: /\nverified\n$/,
    stderr: '',
  })
  const json = await runWithServer(['verify', '-', OBJECT, '--json'], { input: TEXT })
  const tail = { length: TEXT.length, crc64: crc64(TEXT) }
  t.same(JSON.parse(json.stdout), { file: '-', url: OBJECT, ...tail, object: tail, verified: true })
  const longer = await runWithServer(['verify', '-', OBJECT], {
    input: Buffer.concat([TEXT, TEXT]),
  })
  t.match(longer, { code: 4, stderr: /NOT verified: the object has 16,000 bytes, not 32,000\n/ })
  const other = Buffer.from(TEXT)
  other[5000]! ^= 1
  const wrong = await runWithServer(['verify', '-', OBJECT], { input: other })
  t.match(wrong, { code: 4, stderr: `CRC-64 is ${tail.crc64}, not ${crc64(other)}` })
  t.notMatch(wrong.stdout, 'verified')
  const { stdout } = await runWithServer(['verify', '--json', '-', OBJECT], { input: other })
  const events = stdout
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line))
  t.match(events, [{ verified: false }, { event: 'error', code: 'ERR_NOT_VERIFIED', exitCode: 4 }])
  const absent = [
    [['stat', '--json', `oss://${BUCKET}/absent`], 'NoSuchKey'],
    [['verify', '--json', file, `oss://${BUCKET}/absent`], 'NoSuchKey'],
    [['verify', '--json', join(dir, 'absent'), OBJECT], 'ENOENT'],
  ] as const
  for (const [args, code] of absent) {
    const outcome = await runWithServer([...args])
    t.match(JSON.parse(outcome.stdout), { event: 'error', code, exitCode: 1 })
  }
  t.match(await runWithServer(['verify', dir, OBJECT]), { code: 1, stderr: /EISDIR/ })
  t.notOk(
    server.requests.some(({ method }) => method === 'GET'),
    'no GET is sent',
  )
})

t.test('a timeout out of range is refused with its flag', async t => {
  const { server, runWithServer } = await startCliServer(t)
  server.append(BUCKET, KEY, 'hello')
  for (const flag of ['--connect-timeout', '--request-timeout']) {
    const { code, stderr } = await runWithServer(['stat', `${flag}=0`, OBJECT])
    t.equal(code, 2, flag)
    t.match(stderr, new RegExp(`^oss-append: ${flag}: must be a whole number from 1`))
  }
})
