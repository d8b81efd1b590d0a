/** Pipelined requests on one connection: their order, their deadlines, and that a failure of one ends all. */

import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Client } from 'undici'
import type { AppendPipeline } from '../../lib/append/client-interface.ts'
import { OssClient, openPipeline } from '../../lib/client/client.ts'
import { createExchange } from '../../lib/client/create-exchange.ts'
import type { ClientOptions } from '../../lib/client/options.ts'
import {
  errorResponse,
  httpResponse,
  type ReceivedRequest,
  type ScriptedServer,
  startScriptedServer,
} from '../helpers/scripted-server.ts'
import { waitUntil } from '../helpers/test-oss.ts'

const TARGET = { bucket: 'examplebucket', key: 'a' }
const credentials = { accessKeyId: 'test-access-key', accessKeySecret: 'test-access-secret' }

interface Scene {
  readonly server: ScriptedServer
  readonly client: OssClient
  readonly pipeline: AppendPipeline
  /** Sends an append of one batch. */
  send(position: number, options?: { body?: Uint8Array; signal?: AbortSignal }): Promise<unknown>
  /** Positions of the requests that have arrived, each with the number of its connection. */
  readonly arrived: [position: number, connection: number][]
}

async function open(
  t: Test,
  responder: (request: ReceivedRequest, count: number) => string | undefined,
  options: ClientOptions = {},
): Promise<Scene> {
  const arrived: [number, number][] = []
  const server = await startScriptedServer(t, request => {
    arrived.push([positionOf(request), server.sockets.indexOf(request.socket)])
    return responder(request, arrived.length)
  })
  const endpoint = `http://127.0.0.1:${server.port}`
  const client = new OssClient({ endpoint, region: 'cn-hangzhou', credentials, ...options })
  t.teardown(() => client.close())
  const pipeline = openPipeline(client, 4)
  return {
    ...{ server, client, pipeline, arrived },
    send: (position, { body = Buffer.from('x'), signal = new AbortController().signal } = {}) =>
      pipeline.append(TARGET, { position, body, headers: {}, signal }),
  }
}

const positionOf = ({ requestLine }: ReceivedRequest) =>
  Number(/position=(\d+)/.exec(requestLine)?.[1])

const success = (position: number, headers: Record<string, string> = {}) =>
  httpResponse(200, { 'x-oss-next-append-position': String(position + 1), ...headers })

/** The code of a rejection; undefined: it was a success. */
const codes = (promises: Promise<unknown>[]) =>
  Promise.all(
    promises.map(promise =>
      promise.then(
        () => undefined,
        (error: { code: string }) => error.code,
      ),
    ),
  )

t.test('requests leave in order on one connection, before any response', async t => {
  const { send, arrived, server } = await open(t, () => undefined)
  const sent = [0, 1, 2, 3].map(position => send(position))
  await waitUntil(() => arrived.length === 4)
  t.same(
    arrived,
    [0, 1, 2, 3].map(position => [position, 0]),
  )
  for (const position of [0, 1, 2, 3]) server.sockets[0]?.write(success(position))
  t.match(await Promise.all(sent), [{ position: 1 }, { position: 2 }, {}, { position: 4 }])
})

t.test('a request leaves after the one before it, also if that is signed later', async t => {
  const { arrived, server } = await open(t, request => success(positionOf(request)))
  const endpoint = `http://127.0.0.1:${server.port}`
  const exchange = createExchange({ endpoint, region: 'cn-hangzhou', credentials })
  t.teardown(() => exchange.close())
  const pipeline = exchange.openPipeline(2)
  const turns = [pipeline.takeTurn(), pipeline.takeTurn()]
  const { signal } = new AbortController()
  const post = (position: number) =>
    exchange.post(TARGET, {
      ...{ query: { append: '', position: String(position) }, signal },
      turn: turns[position],
    })
  const second = post(1)
  await delay(20)
  t.same(arrived, [])
  await Promise.all([post(0), second])
  t.same(
    arrived.map(([position]) => position),
    [0, 1],
  )
})

t.test('HEAD and other requests use other connections', async t => {
  const { client, send, server } = await open(t, ({ requestLine }) =>
    requestLine.startsWith('HEAD') ? httpResponse(404) : undefined,
  )
  const sent = send(0)
  await waitUntil(() => server.requests.length === 1)
  const { signal } = new AbortController()
  t.equal(await client.head(TARGET, { signal }), null)
  t.equal(server.sockets.length, 2)
  server.sockets[0]?.write(success(0))
  await sent
})

t.test('long bodies follow each other, and their parts do not mix', async t => {
  const length = 3_000_000
  const { send, server } = await open(t, request => success(positionOf(request)))
  const bodies = [1, 2, 3].map(value => Buffer.alloc(length, value))
  await Promise.all(bodies.map((body, position) => send(position, { body })))
  t.equal(server.sockets.length, 1)
  for (const [index, { body }] of server.requests.entries()) {
    t.ok(body.equals(bodies[index]!), `body ${index}`)
  }
})

t.test('a response is not early because a later body is still being sent', async t => {
  const MIB = 1024 ** 2
  const { send, server } = await open(t, (request, count) => {
    // The body behind this one fills the buffers of the system, and its rest stays in the client.
    if (count === 4) request.socket.pause()
    return success(positionOf(request))
  })
  // After two bodies on a fast link, each one is a single part.
  for (const position of [0, 1]) await send(position, { body: Buffer.alloc(8 * MIB) })
  const sizes = [8, 8, 64]
  const sent = sizes.map((mib, index) => send(2 + index, { body: Buffer.alloc(mib * MIB) }))
  await Promise.all(sent.slice(0, 2))
  server.sockets[0]?.resume()
  await Promise.all(sent)
  t.equal(server.requests.length, 5, 'none is sent again')
  t.equal(server.sockets.length, 1)
})

t.test('a reset ends all, and none is sent again', async t => {
  for (const answered of [0, 1, 2]) {
    const { send, arrived, server } = await open(t, (request, count) => {
      if (count === 4) {
        for (let i = 0; i < answered; i++) request.socket.write(success(i))
        setImmediate(() => request.socket.resetAndDestroy())
      }
      return count > 4 ? success(positionOf(request)) : undefined
    })
    const sent = [0, 1, 2, 3].map(position => send(position))
    const results = await codes(sent)
    t.equal(results.at(-1), 'OSS_ERR_NETWORK')
    // A reset may overtake responses that were sent before it.
    t.ok(results.filter(code => code === undefined).length <= answered)
    await delay(30)
    t.equal(arrived.length, 4, 'none is sent again')
    t.equal(server.sockets.length, 1, 'no connection is opened')
    await send(9)
    t.same(arrived.at(-1), [9, 1])
  }
})

t.test('an abort of any of them ends all, and none is sent again', async t => {
  for (const aborted of [0, 1, 3]) {
    const { send, arrived, server } = await open(t, (request, count) =>
      count > 4 ? success(positionOf(request)) : undefined,
    )
    const controllers = [0, 1, 2, 3].map(() => new AbortController())
    const sent = controllers.map(({ signal }, position) => send(position, { signal }))
    const settled = codes(sent)
    await waitUntil(() => arrived.length === 4)
    controllers[aborted]?.abort(Object.assign(new Error('reason'), { code: 'REASON' }))
    const expected = [0, 1, 2, 3].map(i => (i === aborted ? 'REASON' : 'OSS_ERR_NETWORK'))
    t.same(await settled, expected)
    await server.whenClosed()
    await delay(30)
    t.equal(arrived.length, 4)
    await send(9)
    t.same(arrived.at(-1), [9, 1])
  }
})

t.test(
  'after `Connection: close` those behind it arrive on the next connection, in order',
  async t => {
    const { send, arrived } = await open(t, (request, count) => {
      const [position, connection] = [positionOf(request), arrived.at(-1)?.[1]]
      if (connection === 1) return success(position)
      if (count < 4) return undefined
      request.socket.end(success(0, { connection: 'close' }))
      return undefined
    })
    t.same(await codes([0, 1, 2, 3].map(position => send(position))), [
      undefined,
      undefined,
      undefined,
      undefined,
    ])
    t.same(
      arrived.slice(4),
      [1, 2, 3].map(position => [position, 1]),
    )
  },
)

t.test(
  '`Connection: close` while long bodies leave: they are whole on the next connection',
  async t => {
    const bodies = [1, 2, 3].map(value => Buffer.alloc(2_000_000, value))
    const { send, server } = await open(t, request => {
      const position = positionOf(request)
      if (server.sockets.length > 1) return success(position)
      request.socket.end(success(0, { connection: 'close' }))
      return undefined
    })
    t.same(await codes(bodies.map((body, position) => send(position, { body }))), [
      undefined,
      undefined,
      undefined,
    ])
    for (const { body, requestLine } of server.requests.slice(-2)) {
      t.ok(body.equals(bodies[Number(/position=(\d)/.exec(requestLine)?.[1])]!))
    }
  },
)

t.test('a refusal of the first leaves the others in flight', async t => {
  const { send } = await open(t, request => {
    const position = positionOf(request)
    return position === 0 ? errorResponse(403, 'AccessDenied') : success(position)
  })
  t.same(await codes([send(0), send(1)]), ['AccessDenied', undefined])
})

t.test('only the first has a deadline, and the next gets its own when it is the first', async t => {
  const requestTimeout = 150
  const { send, arrived, server } = await open(t, () => undefined, { requestTimeout })
  const sentAt = performance.now()
  // Without a deadline the test fails, and does not hang.
  const signal = AbortSignal.timeout(10_000)
  const sent = [0, 1, 2].map(position => send(position, { signal }))
  const settled = codes(sent)
  await waitUntil(() => arrived.length === 3)
  await delay(100)
  server.sockets[0]?.write(success(0))
  await sent[0]
  const answeredAt = performance.now()
  t.same(await settled, [undefined, 'OSS_ERR_TIMEOUT', 'OSS_ERR_NETWORK'])
  t.ok(performance.now() - answeredAt >= requestTimeout - 1, 'its own deadline')
  t.ok(performance.now() - sentAt >= requestTimeout + 99)
  await delay(30)
  t.equal(arrived.length, 3, 'none is sent again')
})

t.test('if nothing listens all fail as unsent, and a later one can succeed', async t => {
  const { client, server, send } = await open(t, request => success(positionOf(request)))
  await send(0)
  const closed = new OssClient({
    ...{ endpoint: 'http://127.0.0.1:1', region: 'cn-hangzhou', credentials },
  })
  t.teardown(() => closed.close())
  const pipeline = openPipeline(closed, 4)
  const { signal } = new AbortController()
  const request = { position: 0, body: Buffer.from('x'), headers: {}, signal }
  for (let round = 0; round < 2; round++) {
    const errors = await Promise.all(
      [1, 2].map(() => pipeline.append(TARGET, request).catch(error => error)),
    )
    t.match(errors, [
      { code: 'OSS_ERR_NETWORK', isUnsent: true },
      { code: 'OSS_ERR_NETWORK', isUnsent: true },
    ])
  }
  t.equal(server.sockets.length, 1)
  t.ok(client.sendsOnce)
})

t.test(
  'close() of the pipeline closes its connection alone, close() of the client all',
  async t => {
    const { client, pipeline, send, server } = await open(t, request =>
      success(positionOf(request)),
    )
    const { signal } = new AbortController()
    await send(0)
    await client.append(TARGET, { position: 1, body: Buffer.from('x'), headers: {}, signal })
    t.equal(server.sockets.length, 2)
    pipeline.close()
    await waitUntil(() => server.sockets[0]?.closed)
    t.notOk(server.sockets[1]?.closed)
    await send(2)
    t.equal(server.sockets.length, 3, 'the next request opens another')
    const waiting = send(3)
    await waiting
    await client.close()
    await server.whenClosed()
    t.match(await send(4).catch(error => error), { code: 'OSS_ERR_ABORTED' })
  },
)

t.test('a connection that broke, or was closed with its stream, is forgotten', async t => {
  const { arrived, client, pipeline, send, server } = await open(t, (request, count) =>
    count === 1 ? undefined : success(positionOf(request)),
  )
  const broken = codes([send(0)])
  await waitUntil(() => arrived.length === 1)
  server.sockets[0]?.destroy()
  t.same(await broken, ['OSS_ERR_NETWORK'])
  t.same(await codes([send(0)]), [undefined])
  pipeline.close()
  await waitUntil(() => server.sockets.every(socket => socket.destroyed))
  const destroy = t.capture(Client.prototype, 'destroy', Client.prototype.destroy)
  await client.close()
  t.same(destroy().length, 0, 'undici clients that it still has')
})
