/**
 * The server as its user sees it: it listens, tests read and change its objects, and it closes at once.
 * Objects live in memory, or with `dir` in a folder. It serves the tests, demonstrations and local runs of
 * one machine, and is not made to face a network.
 */

import { once, setMaxListeners } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { invalidOption } from '../errors.ts'
import { checkInteger, checkKnown, MAX_DELAY } from '../validate.ts'
import { findLeftovers } from './assert-clean.ts'
import { ServerContext } from './context.ts'
import { Control } from './control.ts'
import { errorResponse, malformedRequest } from './errors.ts'
import { handleRequest, waitForPendingRequest } from './handler.ts'
import { checkBucketOption, isObjectKey } from './names.ts'
import { DEFAULT_ATTRIBUTES, md5Etag, type ObjectState, type StoredObject } from './objects.ts'
import { checkCredentials, type OssServerOptions, resolveServerOptions } from './options.ts'
import { commonHeaders } from './response.ts'
import type { ServerCredentials } from './signature.ts'

/** Above OSS's 8 KB of metadata and a key of 1023 bytes, percent-encoded. */
const MAX_HEADER_BYTES = 32 * 1024

/**
 * Starts a server. Resolves when it listens.
 *
 * @throws {OssError} As a rejection: `OSS_ERR_INVALID_OPTION`, naming the option. A port that is taken rejects
 * with Node's own error (`EADDRINUSE`).
 */
export async function createOssServer(options: OssServerOptions = {}): Promise<OssServer> {
  const server = new OssServer(options)
  try {
    await server.listen()
  } catch (error) {
    await server.close()
    throw error
  }
  return server
}

/**
 * An OSS on this machine. Made by `createOssServer`. A bucket that does not exist is refused with
 * `OSS_ERR_INVALID_OPTION`, also by the methods that take one.
 */
export class OssServer extends ServerContext {
  /** Connections accepted since the start. */
  connections = 0
  readonly #closeController = new AbortController()
  readonly #sockets = new Set<Socket>()
  readonly #server: Server
  readonly #scheme: string
  readonly #host: string
  readonly #control: Control | undefined
  #port: number
  #isUnref = false
  #reopenTimer: NodeJS.Timeout | undefined

  /** It does not listen yet. @internal */
  constructor(options: OssServerOptions) {
    const settings = resolveServerOptions(options)
    super(settings)
    // Each request that waits listens to it.
    setMaxListeners(0, this.signal)
    this.#host = settings.host
    this.#port = settings.port
    this.#scheme = settings.tls === undefined ? 'http' : 'https'
    this.#server = this.#createServer(settings.tls)
    this.#control = settings.control && new Control(this, settings.control)
  }

  /** `http://127.0.0.1:PORT`; https with the option `tls`. */
  get url(): string {
    return this.#urlOf(this.#scheme, this.#port)
  }

  /** The control address and its token; undefined without the option `control`. */
  get control(): { readonly url: string; readonly token: string } | undefined {
    if (this.#control === undefined) return undefined
    const { port, token } = this.#control
    return { url: this.#urlOf('http', port), token }
  }

  /** The port that it listens on. */
  get port(): number {
    return this.#port
  }

  /** The first of the access keys that are known. */
  get credentials(): ServerCredentials {
    const { accessKeyId, accessKeySecret, securityToken } = this.identities[0]!
    if (securityToken === undefined) return { accessKeyId, accessKeySecret }
    return { accessKeyId, accessKeySecret, securityToken }
  }

  /**
   * Replaces the access keys that are known.
   *
   * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the member.
   */
  set credentials(credentials: ServerCredentials | readonly ServerCredentials[]) {
    this.identities = [...checkCredentials(credentials)]
  }

  /** @internal */
  override get signal(): AbortSignal {
    return this.#closeController.signal
  }

  /** How many connections are open. */
  get openConnections(): number {
    return this.#sockets.size
  }

  /** All bytes of an object; undefined if it is absent. */
  read(bucket: string, key: string): Buffer | undefined {
    const object = this.#find(bucket, key)
    if (object === undefined) return undefined
    return Buffer.concat([...object.content.read(0, object.state.length)])
  }

  /** The state of an object, without its bytes; undefined if it is absent. */
  stat(bucket: string, key: string): ObjectState | undefined {
    return this.#find(bucket, key)?.state
  }

  /**
   * Creates a Normal object, and replaces the one before it.
   *
   * @throws {OssError} `OSS_ERR_INVALID_OPTION` for a key or a length that OSS refuses.
   */
  put(bucket: string, key: string, bytes: Buffer | string): void {
    const chunk = Buffer.from(bytes)
    this.#checkWrite(bucket, key, chunk.length)
    const init = { type: 'Normal', chunks: [chunk], etag: md5Etag(chunk) } as const
    const now = this.now()
    this.objects.create(bucket, key, { ...init, attributes: DEFAULT_ATTRIBUTES, now })
  }

  /**
   * Appends as another writer would. Creates the object if it is absent.
   *
   * @throws {OssError} As `put()`. {Error} The object is Normal or sealed.
   */
  append(bucket: string, key: string, bytes: Buffer | string): void {
    const chunk = Buffer.from(bytes)
    const { length = 0 } = this.#find(bucket, key)?.state ?? {}
    this.#checkWrite(bucket, key, length + chunk.length)
    const isAppended = this.objects.appendOrCreate(bucket, key, [chunk], this.now())
    if (!isAppended) throw new Error(`${bucket}/${key} cannot be appended to`)
  }

  /** Seals an object. Does nothing to one that is absent or Normal. */
  seal(bucket: string, key: string): void {
    const object = this.#find(bucket, key)
    if (object !== undefined) this.objects.seal(object, this.now())
  }

  /** Deletes an object. Does nothing to one that is absent. */
  delete(bucket: string, key: string): void {
    this.#checkBucket(bucket)
    this.objects.remove(bucket, key)
  }

  /**
   * Throws unless each fault has struck, and no request was refused unexpectedly. Expected are: a refusal by a
   * fault, or of the same key after a fault struck; 404 to a HEAD or GET; and the OSS error codes in `expected`.
   */
  assertClean(options: { readonly expected?: readonly string[] } = {}): void {
    checkKnown('options', options, ['expected'])
    const { expected = [] } = options
    const leftovers = findLeftovers(this, expected)
    if (leftovers.length === 0) return
    throw new Error(`The server is not clean:\n${leftovers.map(line => `- ${line}\n`).join('')}`)
  }

  /** The server no longer keeps the process alive: one that is never closed does not hang a test runner. */
  unref(): this {
    this.#isUnref = true
    this.#server.unref()
    this.#control?.unref()
    this.#reopenTimer?.unref()
    for (const socket of this.#sockets) socket.unref()
    return this
  }

  /** Listens again, on the same port as before. Rejects with Node's own error if that is taken. */
  async listen(): Promise<void> {
    clearTimeout(this.#reopenTimer)
    const server = this.#server
    // Node keeps the callback of a listen() that fails, so that each new attempt would add a listener.
    await once(server.listen(this.#port, this.#host), 'listening')
    this.#port = (server.address() as AddressInfo).port
    await this.#control?.listen(this.#host)
  }

  /**
   * Drops every connection and closes the port, so that connecting is refused: for `duration` ms, default
   * until `listen()`.
   *
   * @throws {OssError} `OSS_ERR_INVALID_OPTION` if a timer of Node cannot be that long.
   */
  override refuse(duration = Number.POSITIVE_INFINITY): void {
    if (duration !== Number.POSITIVE_INFINITY) checkInteger('duration', duration, 0, MAX_DELAY)
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    clearTimeout(this.#reopenTimer)
    if (duration !== Number.POSITIVE_INFINITY) this.#reopenAfter(duration)
  }

  /** Closes at once. Connections, delayed responses and late appends are dropped. */
  async close(): Promise<void> {
    this.#closeController.abort()
    this.delayedAppends.clear()
    clearTimeout(this.#reopenTimer)
    this.#control?.close()
    for (const socket of this.#sockets) socket.destroy()
    await new Promise<void>(resolve => this.#server.close(() => resolve()))
  }

  /** As `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Tries again every 20 ms while another process has the port. */
  #reopenAfter(duration: number): void {
    if (this.signal.aborted) return
    this.#reopenTimer = setTimeout(() => {
      this.listen().catch(() => this.#reopenAfter(20))
    }, duration)
    if (this.#isUnref) this.#reopenTimer.unref()
  }

  #urlOf(scheme: string, port: number): string {
    const host = this.#host.includes(':') ? `[${this.#host}]` : this.#host
    return `${scheme}://${host}:${port}`
  }

  #find(bucket: string, key: string): StoredObject | undefined {
    this.#checkBucket(bucket)
    return this.objects.get(bucket, key)
  }

  /** No client of OSS could make an object of another name, or a longer one. */
  #checkWrite(bucket: string, key: string, length: number): void {
    this.#checkBucket(bucket)
    if (!isObjectKey(key)) {
      const rule = 'must be 1 to 1023 bytes of UTF-8 that do not begin with / or \\'
      throw invalidOption('key', `${rule}, not ${JSON.stringify(key.slice(0, 60))}`)
    }
    if (length > this.maxObjectBytes) {
      throw invalidOption('bytes', `must leave the object at ${this.maxObjectBytes} bytes or less`)
    }
  }

  #checkBucket(bucket: string): void {
    checkBucketOption('bucket', bucket)
    if (!this.buckets.has(bucket)) {
      throw invalidOption('bucket', `must be a bucket that exists, not ${bucket}`)
    }
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
      if (this.#isUnref) socket.unref()
      socket.once('close', () => this.#sockets.delete(socket))
      // A client may reset its connection. Without a listener the error would end the process.
      socket.on('error', () => socket.destroy())
    })
    server.on(
      'clientError',
      (error, socket) => void this.#respondToMalformed(error, socket as Socket),
    )
    return server
  }

  /** Answers bytes that Node's parser cannot read, after the requests before them. */
  async #respondToMalformed(error: Error, socket: Socket): Promise<void> {
    const canRespond = await waitForPendingRequest(socket)
    if (!canRespond || !socket.writable) {
      // The responses before it still have to be sent.
      socket.destroySoon()
      return
    }
    const requestId = this.newRequestId()
    const refusal = malformedRequest(`Malformed request: ${error.message}`)
    const { body } = errorResponse(refusal, 'GET', requestId, '') as { body: Buffer }
    const headers = {
      ...commonHeaders(this.now(), requestId),
      'Content-Type': 'application/xml',
      'Content-Length': String(body.length),
      Connection: 'close',
    }
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    socket.end(`HTTP/1.1 400 Bad Request\r\n${lines.join('')}\r\n${body}`)
  }
}
