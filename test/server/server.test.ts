// What the server does for a client that makes no mistakes, and what it offers to tests.

import { execFile } from 'node:child_process'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { get } from 'node:https'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { crc64OfChunks } from '../../lib/server/crc64.ts'
import { createOssServer, type RequestRecord } from '../../lib/server/index.ts'
import { addRecord } from '../../lib/server/log.ts'
import { append, head, send, sign } from '../helpers/raw-client.ts'
import { exchangeBytes } from '../helpers/raw-socket.ts'
import { startRelay } from '../helpers/relay.ts'
import { BUCKET, KEY, startServer } from '../helpers/start-server.ts'
import { waitUntil } from '../helpers/test-oss.ts'
import * as tls from '../helpers/tls.ts'

t.test('an object grows by appends, and every response tells its length', async t => {
  const s = await startServer(t)
  const first = await append(s, 0, 'abc', { headers: { 'content-type': 'text/plain' } })
  t.equal(first.status, 200)
  t.equal(first.headers['x-oss-next-append-position'], '3')
  t.equal(first.headers['x-oss-hash-crc64ecma'], '3231342946509354535')
  t.match(first.headers['x-oss-request-id'], /^[0-9A-F]{24}$/)
  t.match(first.headers.etag, /^"[0-9A-F]{24}0{8}"$/)
  const second = await append(s, 3, 'def')
  t.equal(second.headers['x-oss-next-append-position'], '6')
  t.same(s.read(BUCKET, KEY), Buffer.from('abcdef'))
  const wrong = await append(s, 3, 'ghi')
  t.equal(wrong.status, 409)
  t.equal(wrong.code, 'PositionNotEqualToLength')
  t.equal(wrong.headers['x-oss-next-append-position'], '6')
  const seen = await head(s)
  t.match(seen.headers, {
    'content-length': '6',
    'content-type': 'text/plain',
    'x-oss-object-type': 'Appendable',
    'x-oss-next-append-position': '6',
    'x-oss-hash-crc64ecma': second.headers['x-oss-hash-crc64ecma'],
    etag: second.headers.etag,
  })
  const got = await send(s, { headers: { range: 'bytes=1-2' } })
  t.equal(got.status, 206)
  t.equal(got.body.toString(), 'bc')
})

t.test('an object is put, deleted and sealed', async t => {
  const s = await startServer(t)
  const put = await send(s, { method: 'PUT', body: 'normal' })
  t.equal(put.status, 200)
  t.equal((await append(s, 6, 'x')).code, 'ObjectNotAppendable')
  t.equal((await send(s, { method: 'DELETE' })).status, 204)
  const gone = await head(s)
  t.equal(gone.status, 404)
  t.equal(gone.code, 'NoSuchKey')
  await append(s, 0, 'x')
  const sealed = await send(s, { method: 'POST', query: { seal: '', position: '1' } })
  t.equal(sealed.status, 200)
  t.ok(sealed.headers['x-oss-sealed-time'])
  t.equal((await append(s, 1, 'x')).code, 'AppendSealedObjectNotAllowed')
})

t.test('a request signed with a wrong secret is refused', async t => {
  const s = await startServer(t)
  const credentials = { ...s.credentials, accessKeySecret: 'wrong' }
  const refused = await append(s, 0, 'x', { credentials })
  t.equal(refused.status, 403)
  t.equal(refused.code, 'SignatureDoesNotMatch')
  t.equal(s.read(BUCKET, KEY), undefined)
})

t.test('the server serves https', async t => {
  const s = await startServer(t, { tls })
  t.match(s.url, /^https:/)
  const credentials = s.credentials
  const headers = sign({ method: 'GET', bucket: BUCKET, key: KEY, credentials })
  s.append(BUCKET, KEY, 'abc')
  const request = () => get(`${s.url}/${BUCKET}/${KEY}`, { ca: tls.cert, headers, agent: false })
  const [response] = (await once(request(), 'response')) as [IncomingMessage]
  t.equal((await response.toArray()).join(''), 'abc')
  s.faults.push({ kind: 'reset', when: 'after', on: 'get' })
  await t.rejects(once(request(), 'response'), { code: 'ECONNRESET' })
})

t.test('the server listens on IPv6', async t => {
  const s = await startServer(t, { host: '::1' })
  t.match(s.url, /^http:\/\/\[::1\]:\d+$/)
  t.equal((await append(s, 0, 'abc')).status, 200)
})

t.test('a port that is taken is refused', async t => {
  const s = await startServer(t)
  await t.rejects(createOssServer({ port: s.port }), { code: 'EADDRINUSE' })
})

t.test('the log has one record for each request', async t => {
  const s = await startServer(t)
  await append(s, 0, 'abc', { headers: { 'x-oss-meta-a': 'b' } })
  await append(s, 7, 'abc')
  t.match(s.requests, [
    {
      requestId: /^[0-9A-F]{24}$/,
      method: 'POST',
      target: '/examplebucket/a.log?append&position=0',
      operation: 'append',
      bucket: 'examplebucket',
      key: 'a.log',
      query: { append: '', position: '0' },
      headers: { 'x-oss-meta-a': 'b', 'content-length': '3' },
      position: 0,
      length: 3,
      accessKeyId: s.credentials.accessKeyId,
      outcome: 200,
      status: 200,
      code: undefined,
    },
    { position: 7, outcome: 409, status: 409, code: 'PositionNotEqualToLength' },
  ])
  const [first] = s.requests
  t.ok(first!.received <= first!.bodyRead! && first!.bodyRead! <= first!.answered!)
  t.ok(first!.remotePort > 0)
})

t.test('the log keeps the last 10,000 records', async t => {
  const log: RequestRecord[] = []
  const req = { method: 'GET', url: '/', rawHeaders: [], socket: {} } as unknown as IncomingMessage
  for (let i = 0; i < 10_002; i++) addRecord(log, req, String(i))
  t.equal(log.length, 10_000)
  t.equal(log[0]?.requestId, '2')
})

t.test('many requests at once wait for their latency, without a warning of Node', async t => {
  const s = await startServer(t)
  const warnings: Error[] = []
  const onWarning = (warning: Error) => warnings.push(warning)
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  s.latency = 50
  await Promise.all(Array.from({ length: 20 }, (_, i) => append(s, 0, 'x', { key: `key-${i}` })))
  await new Promise(setImmediate)
  t.strictSame(warnings, [])
})

t.test('latency and readRate slow every request down', async t => {
  const s = await startServer(t)
  s.latency = 30
  s.readRate = 2_000_000
  await append(s, 0, Buffer.alloc(200_000))
  const [only] = s.requests
  t.ok(only!.bodyRead! - only!.received >= 60, 'to within one chunk of 64 KiB')
  t.ok(only!.answered! - only!.bodyRead! >= 25)
})

t.test('at a readRate of 0 a body never arrives', async t => {
  const s = await startServer(t)
  s.readRate = 0
  const controller = new AbortController()
  const sent = append(s, 0, 'body', { signal: controller.signal })
  await waitUntil(() => s.requests[0]?.operation === 'append')
  for (let i = 0; i < 5; i++) t.equal((await head(s)).status, 404)
  controller.abort()
  await t.rejects(sent)
})

t.test('direct writes make no object that OSS could not have', async t => {
  const s = await startServer(t, { maxObjectBytes: 10 })
  for (const write of [s.put.bind(s), s.append.bind(s)]) {
    for (const key of ['', '/a', '\\a', 'x'.repeat(1024), '\ud800']) {
      t.throws(() => write(BUCKET, key, 'x'), { message: /option key: must be 1 to 1023 bytes/ })
    }
    t.throws(() => write('Bucket', KEY, 'x'), { message: /option bucket: must be 3 to 63/ })
    t.throws(() => write(BUCKET, KEY, '12345678901'), { message: /option bytes: .* 10 bytes/ })
  }
  s.append(BUCKET, KEY, '123456789')
  t.throws(() => s.append(BUCKET, KEY, '01'), { code: 'OSS_ERR_INVALID_OPTION' })
  t.equal(s.read(BUCKET, KEY)?.toString(), '123456789')
})

t.test('the links of a slow relay share its rate', async t => {
  const s = await startServer(t)
  const relay = await startRelay(t, s.port, { rate: 400_000 })
  const { credentials } = s
  const url = `http://127.0.0.1:${relay.port}`
  const start = performance.now()
  const keys = ['a', 'b', 'c', 'd']
  const send50KB = (key: string) => append({ url, credentials }, 0, Buffer.alloc(50_000), { key })
  const responses = await Promise.all(keys.map(send50KB))
  t.same(
    responses.map(({ status }) => status),
    [200, 200, 200, 200],
  )
  t.ok(performance.now() - start > 450, '200 KB at 400 KB a second')
  const received = s.requests.map(({ bodyRead = 0 }) => bodyRead - start)
  t.ok(Math.min(...received) > 350, 'none is served before the others')
})

t.test('a test reads and changes objects without a request', async t => {
  const s = await startServer(t)
  s.append(BUCKET, KEY, 'abc')
  s.append(BUCKET, KEY, Buffer.from('def'))
  t.equal(s.read(BUCKET, KEY)?.toString(), 'abcdef')
  t.equal(s.stat(BUCKET, KEY)?.type, 'Appendable')
  s.seal(BUCKET, KEY)
  s.seal(BUCKET, 'absent')
  t.ok(s.stat(BUCKET, KEY)?.sealedTime)
  t.throws(() => s.append(BUCKET, KEY, 'x'), /cannot be appended to/)
  s.put(BUCKET, KEY, 'normal')
  s.seal(BUCKET, KEY)
  t.match(s.stat(BUCKET, KEY), { type: 'Normal', length: 6, sealedTime: undefined })
  t.throws(() => s.append(BUCKET, KEY, 'x'), /cannot be appended to/)
  s.delete(BUCKET, KEY)
  s.delete(BUCKET, KEY)
  t.equal(s.read(BUCKET, KEY), undefined)
  t.equal(s.stat(BUCKET, KEY), undefined)
})

t.test('a body larger than every buffer is stored', async t => {
  const s = await startServer(t)
  const body = Buffer.alloc(64 * 1024 * 1024, 'sixty-four mebibytes ')
  const response = await append(s, 0, body)
  t.equal(response.headers['x-oss-hash-crc64ecma'], crc64OfChunks([body], '0'))
  t.ok(s.read(BUCKET, KEY)?.equals(body))
})

t.test('a server can be closed twice, and by await using', async t => {
  const s = await createOssServer()
  await s.close()
  await s.close()
  await t.rejects(append(s, 0, 'x'), { code: 'ECONNREFUSED' })
  await using other = await createOssServer()
  t.equal((await append(other, 0, 'x')).status, 200)
})

t.test('a server that was unrefed and forgotten does not hang node --test', async t => {
  const file = join(import.meta.dirname, 'forgotten-server.js')
  const env = { PATH: process.env.PATH }
  const args = ['--test', '--test-reporter=tap', file]
  const run = promisify(execFile)(process.execPath, args, { env, timeout: 60_000 })
  const { stdout } = await run
  t.match(stdout, /# pass 2\n.*# todo 1\n/s)
})

t.test('assertClean() passes when all faults have struck and nothing was refused', async t => {
  const s = await startServer(t)
  s.assertClean()
  await append(s, 0, 'abc')
  t.equal((await head(s, { key: 'absent' })).status, 404)
  t.equal((await send(s, { key: 'absent' })).status, 404)
  s.faults.push({ kind: 'lost', how: 500 }, { kind: 'rival', when: 'before' })
  t.equal((await append(s, 3, 'def')).status, 500)
  t.equal((await append(s, 3, 'def')).status, 409, 'after a fault on the key a refusal is expected')
  s.faults.push({ kind: 'forbidden', times: Infinity })
  t.equal((await head(s)).status, 403)
  s.assertClean()
})

t.test('assertClean() names faults that did not strike and requests that were refused', async t => {
  const s = await startServer(t)
  s.faults.push(
    { kind: 'lost', how: 'reset', on: 'seal' },
    { kind: 'status', status: 503, times: 3, name: 'three times', key: 'b' },
    { kind: 'forbidden', times: Infinity },
  )
  await append(s, 0, 'x', { key: 'b' })
  await append(s, 5, 'abc')
  await append(s, 0, 'abc', { credentials: { ...s.credentials, accessKeyId: 'unknown' } })
  const bad = await exchangeBytes(s.port, 'GET /a HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n')
  t.equal(bad.status, 400)
  const lines = [
    'The server is not clean:',
    '- the fault lost (on seal) never struck',
    '- the fault three times (on append, key b) struck 1 of 3 times',
    '- the fault forbidden (on head) never struck',
    '- POST /examplebucket/a.log?append&position=5 was refused: 409 PositionNotEqualToLength',
    '- POST /examplebucket/a.log?append&position=0 was refused: 403 InvalidAccessKeyId',
    '- GET /a was refused: 400 InvalidArgument',
    '',
  ]
  t.throws(() => s.assertClean(), { message: lines.join('\n') })
  s.faults.clear()
  const expected = ['PositionNotEqualToLength', 'InvalidAccessKeyId']
  t.throws(() => s.assertClean({ expected }), { message: `${lines[0]}\n${lines[6]}\n` })
  s.assertClean({ expected: [...expected, 'InvalidArgument'] })
  // @ts-expect-error: a name that does not exist
  t.throws(() => s.assertClean({ expect: expected }), /expect: is unknown: did you mean expected/)
})
