// The embedded server's happy path and its face to tests.

import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { get } from 'node:https'
import t from 'tap'
import { crc64OfChunks } from '../../lib/server/crc64.ts'
import { createOssServer, type RequestRecord } from '../../lib/server/index.ts'
import { addRecord } from '../../lib/server/log.ts'
import { append, head, send, sign } from '../helpers/raw-client.ts'
import * as tls from '../helpers/tls.ts'

t.test('an object grows by appends, and every answer says how far', async t => {
  const s = await createOssServer()
  t.teardown(() => s.close())
  const first = await append(s, 0, 'abc', { headers: { 'content-type': 'text/plain' } })
  t.equal(first.status, 200)
  t.equal(first.headers['x-oss-next-append-position'], '3')
  t.equal(first.headers['x-oss-hash-crc64ecma'], '3231342946509354535')
  t.match(first.headers['x-oss-request-id'], /^[0-9A-F]{24}$/)
  t.match(first.headers.etag, /^"[0-9A-F]{24}0{8}"$/)
  const second = await append(s, 3, 'def')
  t.equal(second.headers['x-oss-next-append-position'], '6')
  t.same(s.read('examplebucket', 'a.log'), Buffer.from('abcdef'))
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

t.test('put, delete, seal', async t => {
  const s = await createOssServer()
  t.teardown(() => s.close())
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

t.test('a wrong secret', async t => {
  const s = await createOssServer()
  t.teardown(() => s.close())
  const credentials = { ...s.credentials, accessKeySecret: 'wrong' }
  const refused = await append(s, 0, 'x', { credentials })
  t.equal(refused.status, 403)
  t.equal(refused.code, 'SignatureDoesNotMatch')
  t.equal(s.read('examplebucket', 'a.log'), undefined)
})

t.test('over TLS', async t => {
  const s = await createOssServer({ tls })
  t.teardown(() => s.close())
  t.match(s.url, /^https:/)
  const credentials = s.credentials
  const headers = sign({ method: 'GET', bucket: 'examplebucket', key: 'a.log', credentials })
  s.append('examplebucket', 'a.log', 'abc')
  const request = () => get(`${s.url}/examplebucket/a.log`, { ca: tls.cert, headers, agent: false })
  const [response] = (await once(request(), 'response')) as [IncomingMessage]
  t.equal((await response.toArray()).join(''), 'abc')
  s.faults.push({ kind: 'reset', when: 'after', on: 'get' })
  await t.rejects(once(request(), 'response'), { code: 'ECONNRESET' })
})

t.test('on IPv6', async t => {
  const s = await createOssServer({ host: '::1' })
  t.teardown(() => s.close())
  t.match(s.url, /^http:\/\/\[::1\]:\d+$/)
  t.equal((await append(s, 0, 'abc')).status, 200)
})

t.test('on a port that is taken', async t => {
  const s = await createOssServer()
  t.teardown(() => s.close())
  await t.rejects(createOssServer({ port: s.port }), { code: 'EADDRINUSE' })
})

t.test('the log', async t => {
  const s = await createOssServer()
  t.teardown(() => s.close())
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

t.test('the log forgets', async t => {
  const log: RequestRecord[] = []
  const req = { method: 'GET', url: '/', rawHeaders: [], socket: {} } as unknown as IncomingMessage
  for (let i = 0; i < 10_002; i++) addRecord(log, req, String(i))
  t.equal(log.length, 10_000)
  t.equal(log[0]?.requestId, '2')
})

t.test('slow for everybody', async t => {
  const s = await createOssServer()
  t.teardown(() => s.close())
  s.latency = 30
  s.readRate = 2_000_000
  await append(s, 0, Buffer.alloc(200_000))
  const [only] = s.requests
  t.ok(only!.bodyRead! - only!.received >= 60, 'within one chunk of 64 KiB')
  t.ok(only!.answered! - only!.bodyRead! >= 25)
})

t.test('direct access', async t => {
  const s = await createOssServer()
  t.teardown(() => s.close())
  s.append('examplebucket', 'a.log', 'abc')
  s.append('examplebucket', 'a.log', Buffer.from('def'))
  t.equal(s.read('examplebucket', 'a.log')?.toString(), 'abcdef')
  t.equal(s.stat('examplebucket', 'a.log')?.type, 'Appendable')
  s.seal('examplebucket', 'a.log')
  s.seal('examplebucket', 'absent')
  t.ok(s.stat('examplebucket', 'a.log')?.sealedTime)
  t.throws(() => s.append('examplebucket', 'a.log', 'x'), /cannot be appended to/)
  s.put('examplebucket', 'a.log', 'normal')
  t.match(s.stat('examplebucket', 'a.log'), { type: 'Normal', length: 6 })
  t.throws(() => s.append('examplebucket', 'a.log', 'x'), /cannot be appended to/)
  s.delete('examplebucket', 'a.log')
  s.delete('examplebucket', 'a.log')
  t.equal(s.read('examplebucket', 'a.log'), undefined)
  t.equal(s.stat('examplebucket', 'a.log'), undefined)
})

t.test('a body larger than any buffer', async t => {
  const s = await createOssServer()
  t.teardown(() => s.close())
  const body = Buffer.alloc(64 * 1024 * 1024, 'sixty-four mebibytes ')
  const response = await append(s, 0, body)
  t.equal(response.headers['x-oss-hash-crc64ecma'], crc64OfChunks([body], '0'))
  t.ok(s.read('examplebucket', 'a.log')?.equals(body))
})

t.test('closing twice', async t => {
  const s = await createOssServer()
  await s.close()
  await s.close()
  await t.rejects(append(s, 0, 'x'), { code: 'ECONNREFUSED' })
  await using other = await createOssServer()
  t.equal((await append(other, 0, 'x')).status, 200)
})
