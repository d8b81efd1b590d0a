/** Reading objects: one exchange of `ObjectReader`, and the retries of `RetryingReader`. */

import { buffer } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { ObjectReader } from '../../lib/cli/reader.ts'
import { RetryingReader } from '../../lib/cli/retrying-reader.ts'
import { createOssServer } from '../../lib/server/index.ts'
import { startRelay } from '../helpers/relay.ts'
import { startScriptedServer } from '../helpers/scripted-server.ts'
import { networkOptions, seededBytes } from '../helpers/test-oss.ts'

const BUCKET = 'examplebucket'
const KEY = 'logs/日志 1.log'
const listener = { note() {} }

t.test('a range that breaks off is requested from where it stopped', async t => {
  const { server, relay, reader } = await startReader(t)
  const bytes = seededBytes(3_000_000)
  server.append(BUCKET, KEY, bytes)
  let passed = 0
  relay.toClient = (chunk, link) => {
    passed += chunk.length
    if (passed < 700_000) return chunk
    passed = 0
    link.reset()
    return undefined
  }
  const target = { bucket: BUCKET, key: KEY }
  t.ok((await buffer(reader.read(target, 5, bytes.length))).equals(bytes.subarray(5)))
  const starts = server.requests.map(({ headers }) =>
    Number(/bytes=(\d+)-/.exec(String(headers.range))?.[1]),
  )
  t.ok(starts.length > 3, 'it broke off')
  t.equal(starts[0], 5)
  t.ok(
    starts.every((start, index) => index === 0 || start > starts[index - 1]!),
    'each request starts further on',
  )
})

t.test('a response that is not from OSS, or an error, is retried', async t => {
  const { server, reader } = await startReader(t)
  server.append(BUCKET, KEY, 'hello')
  server.faults.push(
    { kind: 'html', on: 'get' },
    { kind: 'status', status: 503, code: 'SlowDown', on: 'get' },
    { kind: 'mangled', part: 'requestId', how: 'missing', on: 'get' },
    { kind: 'garbage', on: 'head' },
    { kind: 'status', status: 500, code: 'InternalError', on: 'head' },
  )
  const target = { bucket: BUCKET, key: KEY }
  t.equal(String(await buffer(reader.read(target, 0, 5))), 'hello')
  t.match(await reader.head(target), { type: 'Appendable', length: 5, position: 5 })
  t.equal(await reader.head({ bucket: BUCKET, key: 'absent' }), null)
})

t.test('a wrong clock is corrected once, for all following requests', async t => {
  const { server, reader } = await startReader(t)
  server.append(BUCKET, KEY, 'hello')
  server.faults.push({ kind: 'skewed', offset: 3_600_000, on: 'head' })
  const target = { bucket: BUCKET, key: KEY }
  t.match(await reader.head(target), { length: 5 })
  t.equal(String(await buffer(reader.read(target, 0, 5))), 'hello')
  t.equal(server.requests.length, 3)
})

t.test(
  'an error message of OSS is printed without the signature, and silence is a timeout',
  async t => {
    const { port } = await startScriptedServer(t, ({ headers }) => {
      if (isSilent) return undefined
      const text = `<Error><Code>AccessDenied</Code><Message>${headers.authorization}</Message></Error>`
      const head = `HTTP/1.1 403 Forbidden\r\nx-oss-request-id: R\r\ncontent-length: ${text.length}`
      return `${head}\r\n\r\n${text}`
    })
    let isSilent = false
    const endpoint = `http://127.0.0.1:${port}`
    const credentials = { accessKeyId: 'id', accessKeySecret: 'secret' }
    const options = { endpoint, region: 'cn-hangzhou', credentials, requestTimeout: 20 }
    const reader = new ObjectReader(options)
    t.teardown(() => reader.close())
    const target = { bucket: BUCKET, key: KEY }
    const { signal } = new AbortController()
    const read = () => buffer(reader.read(target, { start: 0, end: 1, signal }))
    await t.rejects(read(), { code: 'AccessDenied', message: /Signature=\*\*\*$/ })
    isSilent = true
    await t.rejects(read(), { code: 'OSS_ERR_TIMEOUT', message: 'no answer within 20 ms' })
  },
)

t.test('a response with another range than the requested one is an error', async t => {
  const { server } = await startReader(t)
  server.append(BUCKET, KEY, 'hello')
  const reader = new ObjectReader(networkOptions(server))
  t.teardown(() => reader.close())
  const { signal } = new AbortController()
  const target = { bucket: BUCKET, key: KEY }
  // The range is longer than the object, so the server shortens it.
  await t.rejects(buffer(reader.read(target, { start: 0, end: 9, signal })), {
    code: 'OSS_ERR_NETWORK',
    message: 'HTTP 206 to a request for a range',
  })
  await t.rejects(buffer(reader.read(target, { start: 5, end: 6, signal })), {
    code: 'InvalidRange',
  })
  await t.rejects(buffer(reader.read({ ...target, key: 'absent' }, { start: 0, end: 1, signal })), {
    code: 'NoSuchKey',
  })
  const aborted = AbortSignal.abort(new Error('enough'))
  await t.rejects(reader.head(target, aborted), { message: 'enough' })
})

t.test('a refused access key is renewed by the provider', async t => {
  const { server } = await startReader(t)
  server.append(BUCKET, KEY, 'hello')
  let calls = 0
  const validKeys = server.credentials
  const reader = new RetryingReader(
    {
      ...networkOptions(server),
      credentials: () =>
        calls++ === 0 ? { accessKeyId: 'old', accessKeySecret: 'old' } : validKeys,
    },
    { signal: new AbortController().signal, maxElapsed: 60_000, listener },
  )
  t.teardown(() => reader.close())
  t.match(await reader.head({ bucket: BUCKET, key: KEY }), { length: 5 })
  t.equal(calls, 2)
})

/** A server, and a reader that reaches it through a relay. */
async function startReader(t: Test) {
  const server = await createOssServer()
  t.teardown(() => server.close())
  const relay = await startRelay(t, server.port)
  const options = { ...networkOptions(server), endpoint: `http://127.0.0.1:${relay.port}` }
  const { signal } = new AbortController()
  const reader = new RetryingReader(options, { signal, maxElapsed: 60_000, listener })
  t.teardown(() => reader.close())
  return { server, relay, reader }
}
