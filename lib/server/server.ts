/**
 * The server as its user holds it: it listens, it can be looked into and meddled with by tests, and
 * it closes at once. Objects live in memory, or with `dir` in a folder. It serves one machine's
 * tests, demonstrations and local runs: it is not made to face a network, and its buckets all exist
 * unless `buckets` says which do.
 */

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { checkInteger, MAX_DELAY } from '../validate.ts'
import { serverTime } from './context.ts'
import { DelayedAppends } from './delayed-appends.ts'
import { md5Etag } from './direct-writes.ts'
import { errorResponse, malformedRequest } from './errors.ts'
import { FaultQueue } from './faults.ts'
import { FolderStore } from './folder-store.ts'
import { handleRequest, waitForPendingRequest } from './handler.ts'
import type { RequestRecord } from './log.ts'
import { MemoryStore } from './memory-store.ts'
import { DEFAULT_ATTRIBUTES, type ObjectState, Objects } from './objects.ts'
import { checkCredentials, type OssServerOptions, resolveServerOptions } from './options.ts'
import type { Identity, ServerCredentials } from './signature.ts'

/** Above OSS's 8 KB of metadata and a key of 1023 bytes, percent-encoded. */
const MAX_HEADER_BYTES = 32 * 1024

/**
 * Starts a server and resolves when it listens.
 *
 * @throws {OssError} As a rejection: `OSS_ERR_INVALID_OPTION`, naming the option. Node's own where the port
 * is taken (`EADDRINUSE`).
 */
export async function createOssServer(options: OssServerOptions = {}): Promise<OssServer> {
  const server = new OssServer(options)
  await server.listen()
  return server
}

// To requests it is a House. What only they need is marked, and left out of the declarations.

/** An OSS on this machine. Made by `createOssServer`. */
export class OssServer {
  /** @internal */
  readonly host: string
  /** Id of its region, which signatures have to name: `cn-hangzhou`. */
  readonly region: string
  /** @internal */
  readonly cnames: Readonly<Record<string, string>>
  /** Scripted faults. */
  readonly faults = new FaultQueue()
  /** Requests still to be served, by the fault `late`. @internal */
  readonly delayedAppends = new DelayedAppends()
  /** The last 10,000 requests. */
  readonly requests: RequestRecord[] = []
  /** RAM actions that are allowed; a test may take some away. */
  readonly permissions: Set<string>
  /** The buckets that exist; undefined: all do. */
  readonly buckets: ReadonlySet<string> | undefined
  /** Largest object, bytes. */
  readonly maxObjectBytes: number
  /** @internal */
  readonly canSeal: boolean
  /** @internal */
  readonly objects: Objects
  /** @internal */
  identities: Identity[] = []
  /** ms that the server's clock is ahead of the machine's, default 0. */
  clockOffset = 0
  /** ms before each answer, default 0. */
  latency = 0
  /** Bytes per second at which each body is read, default Infinity. */
  readRate = Number.POSITIVE_INFINITY
  /** Connections accepted since the start. */
  connections = 0
  readonly #closeController = new AbortController()
  readonly #sockets = new Set<Socket>()
  readonly #server: Server
  readonly #scheme: string
  #port: number
  #reopenTimer: NodeJS.Timeout | undefined
  /** Ids count up from a random start: unique in a log, and no two servers alike. */
  #requestNumber = BigInt(`0x${randomBytes(11).toString('hex')}`)

  /** It does not listen yet. */
  constructor(options: OssServerOptions) {
    const settings = resolveServerOptions(options)
    const { host, region, cnames, permissions, buckets, maxObjectBytes } = settings
    const { seal, credentials, dir, port, tls } = settings
    this.host = host
    this.region = region
    this.cnames = cnames
    this.permissions = new Set(permissions)
    this.buckets = buckets && new Set(buckets)
    this.maxObjectBytes = maxObjectBytes
    this.canSeal = seal
    this.credentials = credentials
    this.objects = new Objects(dir === undefined ? new MemoryStore() : new FolderStore(dir))
    this.#port = port
    this.#scheme = tls === undefined ? 'http' : 'https'
    this.#server = this.#createServer(tls)
  }

  /** `http://127.0.0.1:PORT` */
  get url(): string {
    const host = this.host.includes(':') ? `[${this.host}]` : this.host
    return `${this.#scheme}://${host}:${this.#port}`
  }

  /** The port that it listens on. */
  get port(): number {
    return this.#port
  }

  /** The first access key that is known. */
  get credentials(): ServerCredentials {
    const { accessKeyId, accessKeySecret, securityToken } = this.identities[0]!
    if (securityToken === undefined) return { accessKeyId, accessKeySecret }
    return { accessKeyId, accessKeySecret, securityToken }
  }

  /** From now on these are known, and no others. */
  set credentials(credentials: ServerCredentials | readonly ServerCredentials[]) {
    this.identities = checkCredentials(credentials).map(each => ({ ...each }))
  }

  /** Aborted when the server closes. @internal */
  get signal(): AbortSignal {
    return this.#closeController.signal
  }

  /** How many connections are open. */
  get openConnections(): number {
    return this.#sockets.size
  }

  /** @internal */
  newRequestId(): string {
    this.#requestNumber += 1n
    return this.#requestNumber.toString(16).toUpperCase().padStart(24, '6').slice(-24)
  }

  /** All bytes of an object, or undefined. */
  read(bucket: string, key: string): Buffer | undefined {
    const object = this.objects.get(bucket, key)
    if (object === undefined) return undefined
    return Buffer.concat([...object.content.read(0, object.state.length)])
  }

  /** What an object is, without its bytes, or undefined. */
  stat(bucket: string, key: string): ObjectState | undefined {
    return this.objects.get(bucket, key)?.state
  }

  /** Puts a Normal object in the place of whatever was there. */
  put(bucket: string, key: string, bytes: Buffer | string): void {
    const chunk = Buffer.from(bytes)
    const init = { type: 'Normal', chunks: [chunk], etag: md5Etag(chunk) } as const
    this.objects.create(bucket, key, {
      ...init,
      attributes: DEFAULT_ATTRIBUTES,
      now: serverTime(this),
    })
  }

  /** Appends as a rival would, at the end. Creates the object if there is none. */
  append(bucket: string, key: string, bytes: Buffer | string): void {
    const isAppended = this.objects.appendOrCreate(
      bucket,
      key,
      [Buffer.from(bytes)],
      serverTime(this),
    )
    if (!isAppended) throw new Error(`${bucket}/${key} cannot be appended to`)
  }

  /** Seals an object. */
  seal(bucket: string, key: string): void {
    const object = this.objects.get(bucket, key)
    if (object !== undefined) this.objects.seal(object, serverTime(this))
  }

  /** Deletes an object. */
  delete(bucket: string, key: string): void {
    this.objects.remove(bucket, key)
  }

  /** Listens, on the same port as before. */
  async listen(): Promise<void> {
    clearTimeout(this.#reopenTimer)
    const server = this.#server
    // Not by its callback, which Node leaves behind where the port is taken: each new attempt would add one.
    await once(server.listen(this.#port, this.host), 'listening')
    this.#port = (server.address() as AddressInfo).port
  }

  /**
   * Drops every connection and closes the port, so that connecting is refused: for `duration` ms,
   * or until `listen()`.
   *
   * @throws {OssError} `OSS_ERR_INVALID_OPTION` if it is longer than a timer of Node's can be.
   */
  refuse(duration = Number.POSITIVE_INFINITY): void {
    if (duration !== Number.POSITIVE_INFINITY) checkInteger('duration', duration, 0, MAX_DELAY)
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    clearTimeout(this.#reopenTimer)
    if (duration !== Number.POSITIVE_INFINITY) this.#reopenAfter(duration)
  }

  /** Closes at once: connections, delayed answers and late appends are dropped. */
  async close(): Promise<void> {
    this.#closeController.abort()
    this.delayedAppends.clear()
    clearTimeout(this.#reopenTimer)
    for (const socket of this.#sockets) socket.destroy()
    await new Promise<void>(resolve => this.#server.close(() => resolve()))
  }

  /** As `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Another process may have taken the port meanwhile, so that one attempt may not be enough. */
  #reopenAfter(duration: number): void {
    if (this.signal.aborted) return
    this.#reopenTimer = setTimeout(() => {
      this.listen().catch(() => this.#reopenAfter(20))
    }, duration)
  }

  #createServer(tls: OssServerOptions['tls']): Server {
    const settings = {
      keepAliveTimeout: 0,
      requestTimeout: 0,
      requireHostHeader: false,
      maxHeaderSize: MAX_HEADER_BYTES,
    }
    const listener: RequestListener = (req, res) => void handleRequest(this, req, res)
    const server =
      tls === undefined
        ? createServer(settings, listener)
        : createTlsServer({ ...settings, ...tls }, listener)
    server.on('connection', (socket: Socket) => {
      this.connections++
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
      // A reset is news to nobody here, and without a listener it would end the process.
      socket.on('error', () => socket.destroy())
    })
    server.on(
      'clientError',
      (error, socket) => void this.#respondToMalformed(error, socket as Socket),
    )
    return server
  }

  /** Node's parser could not make a request of what came, after those that it could. */
  async #respondToMalformed(error: Error, socket: Socket): Promise<void> {
    const canRespond = await waitForPendingRequest(socket)
    if (!canRespond || !socket.writable) {
      // What was said before has to get out.
      socket.destroySoon()
      return
    }
    const requestId = this.newRequestId()
    const refusal = malformedRequest(`Malformed request: ${error.message}`)
    const { body } = errorResponse(refusal, 'GET', requestId, '') as { body: Buffer }
    socket.end(
      'HTTP/1.1 400 Bad Request\r\n' +
        'Server: AliyunOSS\r\n' +
        `Date: ${new Date(serverTime(this)).toUTCString()}\r\n` +
        `x-oss-request-id: ${requestId}\r\n` +
        'Content-Type: application/xml\r\n' +
        `Content-Length: ${body.length}\r\n` +
        `Connection: close\r\n\r\n${body}`,
    )
  }
}
