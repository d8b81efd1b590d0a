/**
 * How many connections a client opens: responses of HEAD and POST with each combination of the headers
 * that decide over a connection, over http and https, and after resets.
 */

import { once } from 'node:events'
import { type AddressInfo, createServer as createNetServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { createServer as createTlsServer } from 'node:tls'
import t, { type Test } from 'tap'
import { Client } from 'undici'
import { OwnAgent } from '../../lib/client/agent.ts'
import { type ClientOptions, createExchange, OssClient } from '../../lib/client/client.ts'
import { dispatch } from '../../lib/client/dispatch.ts'
import { cert, key } from '../helpers/tls.ts'

const TARGET = { bucket: 'examplebucket', key: 'logs/app.log' }
const APPENDS = 5
const OPTIONS: ClientOptions = {
  region: 'cn-hangzhou',
  credentials: { accessKeyId: 'id', accessKeySecret: 'secret' },
}

type Scheme = 'http' | 'https'

/** The headers that decide whether a connection stays open. */
interface ConnectionHeaders {
  readonly connection?: 'keep-alive' | 'close'
  readonly keepAlive?: string
  /** Content-Length, or for the POST the chunked encoding. */
  readonly length: boolean
}

interface Harness {
  readonly client: OssClient
  readonly endpoint: string
  /** One for each connection, in order. */
  readonly sockets: Socket[]
  /** The methods of all requests, by the number of the connection. */
  readonly requests: string[]
}

/** A server that writes what `respond` returns for a request, and a client of it. */
async function start(
  t: Test,
  scheme: Scheme,
  respond: (method: string, socket: Socket) => string | undefined,
  options: ClientOptions = {},
): Promise<Harness> {
  const sockets: Socket[] = []
  const requests: string[] = []
  const onSocket = (socket: Socket) => {
    const number = sockets.push(socket)
    let text = ''
    socket.on('error', () => {})
    socket.on('data', chunk => {
      text += chunk.toString('latin1')
      for (;;) {
        const end = text.indexOf('\r\n\r\n')
        if (end === -1) return
        const head = text.slice(0, end)
        const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)
        if (text.length < end + 4 + length) return
        text = text.slice(end + 4 + length)
        const method = head.slice(0, head.indexOf(' '))
        requests.push(`${method} ${number}`)
        const response = respond(method, socket)
        if (response === undefined) continue
        socket.write(response, 'latin1')
        if (/connection: close/i.test(response)) socket.end()
      }
    })
  }
  const server =
    scheme === 'https' ? createTlsServer({ key, cert }, onSocket) : createNetServer(onSocket)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const endpoint = `${scheme}://127.0.0.1:${port}`
  const client = new OssClient({ ...OPTIONS, endpoint, ...options })
  t.teardown(async () => {
    await client.close()
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { client, endpoint, sockets, requests }
}

function responseOf(method: string, { connection, keepAlive, length }: ConnectionHeaders): string {
  const body = method === 'HEAD' ? '' : length ? 'ok' : '2\r\nok\r\n0\r\n\r\n'
  const lengthHeader = length
    ? `content-length: ${method === 'HEAD' ? 5 : 2}\r\n`
    : method === 'HEAD'
      ? ''
      : 'transfer-encoding: chunked\r\n'
  // A HEAD of OSS always has a length. The 404 of a proxy or of a Go server has none.
  const status = method === 'HEAD' && !length ? '404 Not Found' : '200 OK'
  return [
    `HTTP/1.1 ${status}\r\n`,
    'x-oss-request-id: 5C3D9175B6FC201293AD4890\r\n',
    'x-oss-object-type: Appendable\r\n',
    'x-oss-next-append-position: 5\r\n',
    connection ? `connection: ${connection}\r\n` : '',
    keepAlive ? `keep-alive: ${keepAlive}\r\n` : '',
    lengthHeader,
    '\r\n',
    body,
  ].join('')
}

const COMBINATIONS: ConnectionHeaders[] = ([undefined, 'keep-alive', 'close'] as const).flatMap(
  connection =>
    [undefined, 'timeout=5', 'timeout=60'].flatMap(keepAlive =>
      [true, false].map(length => ({
        ...(connection && { connection }),
        ...(keepAlive && { keepAlive }),
        length,
      })),
    ),
)

function describe({ connection, keepAlive, length }: ConnectionHeaders): string {
  return [
    connection ? `connection: ${connection}` : 'no connection',
    keepAlive ?? 'no keep-alive',
    length ? 'length' : 'no length',
  ].join(', ')
}

async function exchange(client: OssClient, method: 'HEAD' | 'POST'): Promise<void> {
  const { signal } = new AbortController()
  if (method === 'HEAD') await client.head(TARGET, { signal })
  else await client.append(TARGET, { position: 0, body: Buffer.from('hello'), headers: {}, signal })
}

/** Certificates of the tests are self-signed, and the client's own Agent has no option for them. */
function trustEveryCertificate(t: Test): void {
  const { emitWarning } = process
  process.emitWarning = () => {}
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
  t.teardown(() => {
    delete process.env.NODE_TLS_REJECT_UNAUTHORIZED
    process.emitWarning = emitWarning
  })
}

for (const scheme of ['http', 'https'] as const) {
  t.test(`${scheme}: a HEAD and its appends share a connection, whatever the headers`, async t => {
    if (scheme === 'https') trustEveryCertificate(t)
    for (const [i, ofHead] of COMBINATIONS.entries()) {
      // Each HEAD goes with three POSTs, one for each `connection`; over https, where handshakes take long, with two.
      const step = scheme === 'https' ? COMBINATIONS.length / 2 : COMBINATIONS.length / 3
      for (let j = 0; j < COMBINATIONS.length; j += step) {
        const ofPost = COMBINATIONS[(i + j) % COMBINATIONS.length] as ConnectionHeaders
        const { client, requests } = await start(t, scheme, method =>
          responseOf(method, method === 'HEAD' ? ofHead : ofPost),
        )
        await exchange(client, 'HEAD')
        for (let i = 0; i < APPENDS; i++) await exchange(client, 'POST')
        await client.close()
        // undici 7.30 closes the connection after a HEAD without Content-Length and Connection.
        const closesHead =
          ofHead.connection === 'close' || (!ofHead.length && ofHead.connection === undefined)
        const first = closesHead ? 2 : 1
        const expected = Array.from({ length: APPENDS }, (_, i) =>
          ofPost.connection === 'close' ? `POST ${first + i}` : `POST ${first}`,
        )
        const label = `HEAD: ${describe(ofHead)}; POST: ${describe(ofPost)}`
        t.same(requests, ['HEAD 1', ...expected], label)
      }
    }
  })

  t.test(`${scheme}: after a reset, one new connection serves all further exchanges`, async t => {
    if (scheme === 'https') trustEveryCertificate(t)
    for (const ofHead of COMBINATIONS.filter(({ connection }) => connection !== 'close')) {
      let resets = 0
      const { client, requests } = await start(t, scheme, (method, socket) => {
        if (resets > 0 && method === 'POST') {
          resets -= 1
          socket.destroy()
          return undefined
        }
        return responseOf(method, method === 'HEAD' ? ofHead : { length: true })
      })
      await exchange(client, 'HEAD')
      await exchange(client, 'POST')
      for (let i = 0; i < 3; i++) {
        resets = 1
        await t.rejects(exchange(client, 'POST'), { code: 'OSS_ERR_NETWORK' })
        for (let n = 0; n < 3; n++) await exchange(client, 'POST')
      }
      await client.close()
      const first = !ofHead.length && ofHead.connection === undefined ? 2 : 1
      const numbers = requests.slice(1).map(request => Number(request.split(' ')[1]) - first)
      t.same(numbers, [0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3], describe(ofHead))
    }
  })
}

t.test('an exchange that times out closes its connection and opens no other', async t => {
  const { client, sockets, requests } = await start(
    t,
    'http',
    () => (requests.length === 1 ? undefined : responseOf('POST', { length: true })),
    { requestTimeout: 50 },
  )
  await t.rejects(exchange(client, 'POST'), { code: 'OSS_ERR_TIMEOUT' })
  const [first] = sockets
  if (!first?.closed) await new Promise(resolve => first?.resume().once('close', resolve))
  await delay(50)
  t.equal(sockets.length, 1)
  await exchange(client, 'POST')
  await exchange(client, 'POST')
  t.same(requests, ['POST 1', 'POST 2', 'POST 2'])
})

t.test('exchanges beyond the limit of connections wait for one', async t => {
  const waiting: (() => void)[] = []
  const { sockets, requests, endpoint } = await start(t, 'http', (_method, socket) => {
    waiting.push(() => socket.write(responseOf('POST', { length: true })))
    return undefined
  })
  const direct = createExchange({ ...OPTIONS, endpoint })
  t.teardown(() => direct.close())
  const { signal } = new AbortController()
  const exchanges = Array.from({ length: 70 }, () => direct.post(TARGET, { signal }))
  while (requests.length < 64) await delay(5)
  await delay(20)
  t.same([requests.length, sockets.length], [64, 64])
  for (let done = 0; done < exchanges.length; done++) {
    while (waiting.length === 0) await delay(1)
    waiting.shift()?.()
  }
  await Promise.all(exchanges)
  t.same([requests.length, sockets.length], [70, 64])
})

t.test('concurrent exchanges use idle connections before they open others', async t => {
  const { client, sockets } = await start(t, 'http', method => responseOf(method, { length: true }))
  for (let round = 0; round < 5; round++) {
    await Promise.all([1, 2, 3].map(() => exchange(client, 'POST')))
    await new Promise(setImmediate)
  }
  t.equal(sockets.length, 3)
  // The first two close. Those that stay open are used first.
  for (const socket of sockets.slice(0, 2)) socket.destroy()
  await delay(20)
  for (let i = 0; i < 3; i++) await exchange(client, 'POST')
  t.equal(sockets.length, 3)
})

t.test('the agent forgets origins whose connections are closed', async t => {
  const agent = new OwnAgent(1000)
  const dispatcher = await agent.get()
  const { signal } = new AbortController()
  const options = { timeout: 1000, signal, toError: (error: unknown) => error }
  // Nothing listens on these ports, so each origin has a client without a connection.
  for (let port = 1; port <= 100; port++) {
    const origin = `http://127.0.0.1:${port}`
    const request = { origin, path: '/', method: 'HEAD', headers: {}, body: null } as const
    await dispatch(dispatcher, request, options).catch(() => {})
  }
  let destroyed = 0
  const { destroy } = Client.prototype
  Client.prototype.destroy = function (...args: []) {
    destroyed += 1
    return destroy.apply(this, args)
  }
  t.teardown(() => Reflect.deleteProperty(Client.prototype, 'destroy'))
  await agent.close(new Error('closed'))
  t.ok(destroyed > 0 && destroyed < 20, `${destroyed} clients are destroyed`)
})
