// The embedded server's happy path and its face to tests.

import t from 'tap'
import { createOssServer } from '../lib/server/index.ts'
import { append, head, send } from './fixtures/raw-client.ts'

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
