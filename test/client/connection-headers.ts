/** A server that decides over its connections by headers, for the tests of how many a client opens. */

import { once } from 'node:events'
import { type AddressInfo, createServer as createNetServer, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import type { Test } from 'tap'
import { OssClient } from '../../lib/client/client.ts'
import type { ClientOptions } from '../../lib/client/options.ts'
import { cert, key } from '../helpers/tls.ts'

export const TARGET = { bucket: 'examplebucket', key: 'logs/app.log' }
const APPENDS = 5
export const OPTIONS: ClientOptions = {
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
export async function start(
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

export function responseOf(
  method: string,
  { connection, keepAlive, length }: ConnectionHeaders,
): string {
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

export const COMBINATIONS: ConnectionHeaders[] = (
  [undefined, 'keep-alive', 'close'] as const
).flatMap(connection =>
  [undefined, 'timeout=5', 'timeout=60'].flatMap(keepAlive =>
    [true, false].map(length => ({
      ...(connection && { connection }),
      ...(keepAlive && { keepAlive }),
      length,
    })),
  ),
)

export function describe({ connection, keepAlive, length }: ConnectionHeaders): string {
  return [
    connection ? `connection: ${connection}` : 'no connection',
    keepAlive ?? 'no keep-alive',
    length ? 'length' : 'no length',
  ].join(', ')
}

export async function exchange(client: OssClient, method: 'HEAD' | 'POST'): Promise<void> {
  const { signal } = new AbortController()
  if (method === 'HEAD') await client.head(TARGET, { signal })
  else await client.append(TARGET, { position: 0, body: Buffer.from('hello'), headers: {}, signal })
}

/** Certificates of the tests are self-signed, and the client's own Agent has no option for them. */
export function trustEveryCertificate(t: Test): void {
  const { emitWarning } = process
  process.emitWarning = () => {}
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
  t.teardown(() => {
    delete process.env.NODE_TLS_REJECT_UNAUTHORIZED
    process.emitWarning = emitWarning
  })
}

/** A client opens as many connections as the headers demand: each HEAD with every `step`th POST. */
export async function testPairs(t: Test, scheme: Scheme, step: number): Promise<void> {
  if (scheme === 'https') trustEveryCertificate(t)
  for (const [i, ofHead] of COMBINATIONS.entries()) {
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
}
