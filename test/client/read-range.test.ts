/**
 * Ranged reads: the response that is requested and no other, a body that arrives as a stream, and the
 * ways in which that stream ends early.
 */

import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { RangeRequest } from '../../lib/append/client-interface.ts'
import { OssClient } from '../../lib/client/client.ts'
import { createExchange } from '../../lib/client/create-exchange.ts'
import type { ClientOptions } from '../../lib/client/options.ts'
import { readRange } from '../../lib/client/read-range.ts'
import { createOssServer } from '../../lib/server/index.ts'
import { errorResponse, httpResponse, startScriptedServer } from '../helpers/scripted-server.ts'
import { networkOptions, seededBytes } from '../helpers/test-oss.ts'

const TARGET = { bucket: 'examplebucket', key: 'logs/app.log' }
const credentials = { accessKeyId: 'LTAIexampleAk', accessKeySecret: 'hunter2SECRETsecret' }

function connectTo(t: Test, port: number, options: ClientOptions = {}) {
  const endpoint = `http://127.0.0.1:${port}`
  const exchange = createExchange({ endpoint, region: 'cn-hangzhou', credentials, ...options })
  t.teardown(() => exchange.close())
  const read = (range: Partial<RangeRequest> = {}) =>
    readRange(exchange, TARGET, {
      start: 0,
      end: 5,
      signal: new AbortController().signal,
      ...range,
    })
  return { exchange, read }
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** The headers of a ranged response. The script sends the body. */
const rangeHead = (range: string, length: number, headers = {}) =>
  httpResponse(206, { 'content-range': range, 'content-length': String(length), ...headers })

t.test('a range is read, with the tail of the whole object', async t => {
  const server = await createOssServer()
  t.teardown(() => server.close())
  const bytes = seededBytes(300_000)
  server.append(TARGET.bucket, TARGET.key, bytes)
  const exchange = createExchange(networkOptions(server))
  t.teardown(() => exchange.close())
  const { signal } = new AbortController()
  for (const [start, end] of [
    [0, 1],
    [0, 300_000],
    [100_000, 200_001],
    [299_999, 300_000],
  ] as const) {
    const { body, ...tail } = await readRange(exchange, TARGET, { start, end, signal })
    t.ok((await collect(body)).equals(bytes.subarray(start, end)), `${start} to ${end}`)
    const { crc64 } = server.stat(TARGET.bucket, TARGET.key) ?? {}
    t.match(tail, { length: 300_000, crc64, requestId: /./ })
  }
  await t.rejects(readRange(exchange, TARGET, { start: 300_000, end: 300_001, signal }), {
    code: 'InvalidRange',
    status: 416,
  })
  const absent = { ...TARGET, key: 'absent' }
  await t.rejects(readRange(exchange, absent, { start: 0, end: 1, signal }), { code: 'NoSuchKey' })
})

t.test(
  'a client reads a range, and the connection survives an iteration that ends early',
  async t => {
    const server = await createOssServer()
    t.teardown(() => server.close())
    const bytes = seededBytes(3_000_000)
    server.append(TARGET.bucket, TARGET.key, bytes)
    const client = new OssClient(networkOptions(server))
    t.teardown(() => client.close())
    const { signal } = new AbortController()
    const range = await client.read(TARGET, { start: 5, end: 3_000_000, signal })
    for await (const chunk of range.body) {
      t.ok(bytes.subarray(5, 5 + chunk.length).equals(chunk))
      break
    }
    const { body, ...tail } = await client.read(TARGET, { start: 1, end: 9, signal })
    t.ok((await collect(body)).equals(bytes.subarray(1, 9)))
    t.match(tail, { length: 3_000_000, crc64: server.stat(TARGET.bucket, TARGET.key)?.crc64 })
    server.permissions.delete('oss:GetObject')
    await t.rejects(client.read(TARGET, { start: 0, end: 1, signal }), { code: 'AccessDenied' })
  },
)

t.test('a range is requested with the standard behavior', async t => {
  const server = await startScriptedServer(t, () => `${rangeHead('bytes 3-7/9', 5)}hello`)
  const { read } = connectTo(t, server.port)
  const { body, length, crc64 } = await read({ start: 3, end: 8 })
  t.same([`${await collect(body)}`, length, crc64], ['hello', 9, undefined])
  t.match(server.requests[0], {
    requestLine: 'GET /examplebucket/logs/app.log HTTP/1.1',
    headers: { range: 'bytes=3-7', 'x-oss-range-behavior': 'standard' },
  })
  t.match(`${await collect((await read({ start: 3, end: 8 })).body)}`, 'hello')
  t.equal(server.sockets.length, 1, 'a body that is read to its end keeps its connection')
})

t.test('a response with another range is a network error, and its body is not read', async t => {
  const table: [string, string, RegExp][] = [
    [
      'the whole object',
      httpResponse(200, { 'content-length': '9' }),
      /^HTTP 200 to a request for a range$/,
    ],
    [
      'no range',
      httpResponse(206, { 'content-length': '5' }),
      /^HTTP 206 to a request for a range$/,
    ],
    ['a shorter range', rangeHead('bytes 0-3/9', 4), /: bytes 0-3 instead of 0-4$/],
    ['another range', rangeHead('bytes 1-5/9', 5), /: bytes 1-5 instead of 0-4$/],
    ['an unknown length', rangeHead('bytes 0-4/*', 5), /^HTTP 206 to a request for a range$/],
    ['an absurd length', rangeHead('bytes 0-4/99999999999999999', 5), /bytes 0-4/],
  ]
  for (const [label, response, message] of table) {
    const server = await startScriptedServer(t, () => response)
    const { read } = connectTo(t, server.port)
    await t.rejects(read(), { code: 'OSS_ERR_NETWORK', message }, label)
    await server.whenClosed()
  }
})

t.test('a range whose body is not as long as it must be is a network error', async t => {
  // undici 7.30: `interceptors.decompress` removes Content-Length.
  const headers = { 'content-range': 'bytes 0-4/100', 'content-length': undefined }
  const decompressed = httpResponse(206, headers)
  const responses = [decompressed, rangeHead('bytes 0-4/100', 4), rangeHead('bytes 0-4/100', 6)]
  const { port } = await startScriptedServer(t, () => responses.shift())
  const { read } = connectTo(t, port)
  for (const name of ['no length', 'shorter', 'longer']) {
    const failed = { code: 'OSS_ERR_NETWORK', status: 206, message: /must have 5 bytes; leave out/ }
    await t.rejects(read(), failed, name)
  }
})

t.test('a range whose body comes in chunks is read', async t => {
  const headers = {
    'content-range': 'bytes 0-4/100',
    'content-length': undefined,
    'transfer-encoding': 'chunked',
  }
  const response = `${httpResponse(206, headers)}5\r\nhello\r\n0\r\n\r\n`
  const { port } = await startScriptedServer(t, () => response)
  const { body } = await connectTo(t, port).read()
  t.equal(String(await collect(body)), 'hello')
})

t.test('a refusal of a ranged read is an OssServiceError without secrets', async t => {
  const server = await startScriptedServer(t, ({ headers }) =>
    errorResponse(403, 'AccessDenied', { more: `<EC>${headers.authorization?.slice(-64)}</EC>` }),
  )
  const { read } = connectTo(t, server.port)
  await t.rejects(read(), { code: 'AccessDenied', status: 403, ec: '***' })
  await t.rejects(read(), { code: 'AccessDenied' })
  t.equal(server.sockets.length, 1)
})

t.test('a body that breaks off fails with a network error', async t => {
  for (const how of ['end', 'resetAndDestroy'] as const) {
    const server = await startScriptedServer(t, ({ socket }) => {
      socket.write(`${rangeHead('bytes 0-4/9', 5)}hel`)
      return undefined
    })
    const { read } = connectTo(t, server.port)
    const { body } = await read()
    const iterator = body[Symbol.asyncIterator]()
    t.equal(`${(await iterator.next()).value}`, 'hel')
    server.sockets[0]?.[how]()
    await t.rejects(iterator.next(), {
      code: 'OSS_ERR_NETWORK',
      message: `the exchange with 127.0.0.1:${server.port} failed: `,
    })
  }
})

t.test('an error of a body that is not being read waits for its reader', async t => {
  const server = await startScriptedServer(t, ({ socket }) => {
    socket.write(`${rangeHead('bytes 0-4/9', 5)}hel`)
    return undefined
  })
  const { read } = connectTo(t, server.port)
  const { body } = await read()
  server.sockets[0]?.resetAndDestroy()
  if (!body.closed) await new Promise(resolve => body.once('close', resolve))
  await t.rejects(collect(body), { code: 'OSS_ERR_NETWORK' })
})

t.test('silence within a body is a timeout', async t => {
  const server = await startScriptedServer(t, ({ socket }) => {
    socket.write(`${rangeHead('bytes 0-4/9', 5)}hel`)
    return undefined
  })
  const { read } = connectTo(t, server.port, { requestTimeout: 50 })
  const { body } = await read()
  await t.rejects(collect(body), {
    code: 'OSS_ERR_TIMEOUT',
    message: `no answer within 50 ms from 127.0.0.1:${server.port}`,
  })
  await server.whenClosed()
})

t.test('a body that takes longer than the timeout arrives if each chunk is in time', async t => {
  const text = 'x'.repeat(20)
  const server = await startScriptedServer(t, ({ socket }) => {
    socket.write(rangeHead('bytes 0-19/20', 20))
    let sent = 0
    const timer = setInterval(() => {
      socket.write('x')
      if (++sent === text.length) clearInterval(timer)
    }, 20)
    return undefined
  })
  const { read } = connectTo(t, server.port, { requestTimeout: 300 })
  const start = performance.now()
  t.equal(`${await collect((await read({ end: 20 })).body)}`, text)
  t.ok(performance.now() - start > 300)
})

t.test('a slow reader causes no timeout, and the server has to wait for it', async t => {
  const length = 8_000_000
  const server = await startScriptedServer(t, ({ socket }) => {
    socket.write(rangeHead(`bytes 0-${length - 1}/${length}`, length))
    socket.write(Buffer.alloc(length))
    return undefined
  })
  const { read } = connectTo(t, server.port, { requestTimeout: 100 })
  const { body } = await read({ end: length })
  await delay(300)
  t.ok(body.readableLength < 200_000, `${body.readableLength} bytes are buffered`)
  t.equal((await collect(body)).length, length)
})

t.test('leaving the loop over a body closes the connection', async t => {
  const server = await startScriptedServer(t, ({ socket }) => {
    socket.write(`${rangeHead('bytes 0-4/9', 5)}hel`)
    return undefined
  })
  const { read } = connectTo(t, server.port)
  const { body } = await read()
  for await (const chunk of body) {
    t.equal(`${chunk}`, 'hel')
    break
  }
  await server.whenClosed()
})

t.test('an abort ends a body with the reason of the signal', async t => {
  const server = await startScriptedServer(t, ({ socket }) => {
    socket.write(`${rangeHead('bytes 0-4/9', 5)}hel`)
    return undefined
  })
  const { read } = connectTo(t, server.port)
  const controller = new AbortController()
  const { body } = await read({ signal: controller.signal })
  const collected = collect(body)
  controller.abort(new Error('enough'))
  await t.rejects(collected, { message: 'enough' })
  await server.whenClosed()
})
