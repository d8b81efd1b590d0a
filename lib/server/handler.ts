/**
 * One request, from its headers to the end of its response, in OSS's order of decisions: is it well formed,
 * does its bucket exist, is it signed, has its body arrived, is it permitted, do the rules allow it. Faults
 * act at three points: after the headers, while the body is read, and around the rules. The rules themselves
 * (reading.ts, writing.ts) run in one turn of the event loop.
 */

import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkHeaders } from './attributes.ts'
import { type RequestBody, readBody } from './body.ts'
import { deleteBucket, deleteObjects, getBucketInfo, putBucket } from './bucket-operations.ts'
import type { ServerContext } from './context.ts'
import {
  accessDenied,
  entityTooLarge,
  errorResponse,
  insufficientStorage,
  noSuchBucket,
  OssRefusal,
} from './errors.ts'
import { type Injection, inject } from './inject.ts'
import { listBuckets, listObjects } from './listing.ts'
import { addRecord, type RequestRecord, recordRequest } from './log.ts'
import { requiredActions } from './permissions.ts'
import { getObject, getObjectMeta, headObject } from './reading.ts'
import { isEmptyAppend, type Operation, type OssRequest, parseRequest } from './request.ts'
import { commonHeaders, type ResponseOrFailure, type ResponseSpec } from './response.ts'
import { authenticate, type Identity } from './signature.ts'
import { appendObject, deleteObject, putObject, sealObject } from './writing.ts'

interface PendingRequest {
  readonly req: IncomingMessage
  readonly done: Promise<void>
}

/**
 * The last request of each connection. Node's parser emits a pipelined request while the one before it is
 * still being served. Bytes behind a request that is refused as malformed are a part of it, and must never be
 * served.
 */
const lastRequests = new WeakMap<Socket, PendingRequest>()
/** Connections on which no further request is served. */
const finishedSockets = new WeakSet<Socket>()

/** Serves one request, after those before it on the same connection. Never rejects. */
export function handleRequest(
  server: ServerContext,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const { socket } = req
  const done = (lastRequests.get(socket)?.done ?? Promise.resolve()).then(async () => {
    if (finishedSockets.has(socket)) return
    const handler = new RequestHandler(server, req, res)
    res.once('close', () => {
      handler.record.answered = performance.now()
      server.onAnswered?.(handler.record)
    })
    try {
      await handler.run()
    } catch {
      // The connection broke, or the server is closing: no response can be sent.
      socket.destroy()
    }
  })
  lastRequests.set(socket, { req, done })
  return done
}

/**
 * Resolves when each request that arrived whole on a connection has been served: to whether another response
 * may follow. Behind the last response of a connection, a proxy would take it for the response to the request
 * of another client.
 */
export async function waitForPendingRequest(socket: Socket): Promise<boolean> {
  const pending = lastRequests.get(socket)
  if (pending?.req.complete === true) await pending.done
  return !finishedSockets.has(socket)
}

class RequestHandler {
  readonly record: RequestRecord
  readonly #server: ServerContext
  readonly #req: IncomingMessage
  readonly #res: ServerResponse

  constructor(server: ServerContext, req: IncomingMessage, res: ServerResponse) {
    this.#server = server
    this.#req = req
    this.#res = res
    this.record = addRecord(server.requests, req, server.newRequestId())
  }

  async run(): Promise<void> {
    let response: ResponseOrFailure
    try {
      response = await this.#process()
    } catch (error) {
      if (this.#req.errored !== null || this.#server.signal.aborted) throw error
      response = await this.#respondToError(error)
    }
    if (this.#server.latency > 0) await this.#sleep(this.#server.latency)
    await this.#send(response)
  }

  async #process(): Promise<ResponseOrFailure> {
    const request = parseRequest(this.#req, this.#server)
    recordRequest(this.record, request)
    checkBucket(this.#server, request)
    const identity = this.#authenticate(request)
    this.record.accessKeyId = identity.accessKeyId
    const { maxObjectBytes } = this.#server
    if ((request.contentLength ?? 0) > maxObjectBytes) throw entityTooLarge(maxObjectBytes, true)
    const injection = this.#inject(request, identity)
    const early = injection.onHeaders?.()
    if (early !== undefined) return withHeaders(early, injection.headers)
    const body = await this.#readBody(request, injection)
    if (injection.bodyOptions?.stopAfter !== undefined) return 'reset'
    const execute = () => this.#execute(request, body)
    const response =
      injection.intercept === undefined ? execute() : injection.intercept(execute, body)
    if (injection.delay !== undefined) await this.#sleep(injection.delay)
    return withHeaders(response, injection.headers)
  }

  /**
   * The body of a refused request is read all the same, so that the connection can be used again. Not if the
   * request is malformed: then the end of its body is not known.
   */
  async #respondToError(error: unknown): Promise<ResponseSpec> {
    const response = this.#toResponse(error)
    if (response.headers.Connection === 'close' || this.#req.readableEnded) return response
    for await (const chunk of this.#req as AsyncIterable<Buffer>) this.record.length += chunk.length
    return response
  }

  #authenticate(request: OssRequest): Identity {
    const { identities, region } = this.#server
    return authenticate(request, { identities, region, now: this.#server.now() })
  }

  #inject(request: OssRequest, identity: Identity): Injection {
    const object = this.#server.objects.get(request.bucket, request.key)
    const isProbe =
      isEmptyAppend(request) && !(request.query.get('position') === '0' && object === undefined)
    const faults = this.#server.faults.take(request, isProbe)
    if (faults.length > 0) this.record.faults = faults.map(fault => fault.name ?? fault.kind)
    return inject(faults, {
      server: this.#server,
      request,
      identity,
      authenticate: () => this.#authenticate(request),
      toResponse: error => this.#toResponse(error),
    })
  }

  async #readBody(request: OssRequest, injection: Injection): Promise<RequestBody> {
    const { objects, maxObjectBytes, readRate, signal } = this.#server
    const tail =
      request.operation === 'append' ? objects.get(request.bucket, request.key)?.state : undefined
    const body = await readBody(this.#req, {
      initialCrc64: tail?.crc64 ?? '0',
      wantsMd5: request.operation === 'put' || request.headers.has('content-md5'),
      maxBytes: maxObjectBytes,
      rate: readRate,
      signal,
      ...injection.bodyOptions,
    })
    this.record.length = body.length
    this.record.bodyRead = performance.now()
    return body
  }

  #execute(request: OssRequest, body: RequestBody): ResponseSpec {
    const { delayedAppends } = this.#server
    delayedAppends.landBeforeRequest(request)
    const response = this.#executeOrRefuse(request, body)
    this.record.outcome = response.status
    delayedAppends.landAfterRequest(request)
    return response
  }

  #executeOrRefuse(request: OssRequest, body: RequestBody): ResponseSpec {
    try {
      return executeOperation(request, this.#server, body)
    } catch (error) {
      return this.#toResponse(error)
    }
  }

  #toResponse(error: unknown): ResponseSpec {
    const host = this.#req.headers.host ?? ''
    return errorResponse(refusalOf(error), this.#req.method ?? '', this.record.requestId, host)
  }

  async #send(response: ResponseOrFailure): Promise<void> {
    const { socket } = this.#req
    if (response === 'hang') {
      // As behind nginx, the next request on the connection waits for the response to this one.
      if (!socket.destroyed) await once(socket, 'close')
      return
    }
    if (response === 'reset' || 'raw' in response) {
      finishedSockets.add(socket)
      if (response === 'reset') resetSocket(socket)
      else socket.end(response.raw)
      return
    }
    const isLast = response.closesSilently === true || response.headers.Connection === 'close'
    if (isLast || !this.#res.shouldKeepAlive) finishedSockets.add(socket)
    this.record.status = response.status
    if (response.code !== undefined) this.record.code = response.code
    this.#res.sendDate = false
    this.#res.writeHead(response.status, this.#allHeaders(response))
    const { body } = response
    if (response.closesSilently === true) this.#res.once('finish', () => socket.destroySoon())
    if (response.dropsBody === true) await this.#dropBody(body)
    else if (body === undefined || this.#req.method === 'HEAD') this.#res.end()
    else if (body instanceof Uint8Array) this.#res.end(body)
    else await pipeline(Readable.from(body.chunks), this.#res)
  }

  /** Sends the whole response before it reads: a client may wait for it before it sends the rest. */
  async #dropBody(body: ResponseSpec['body']): Promise<void> {
    if (body instanceof Uint8Array) this.#res.write(body)
    for await (const chunk of this.#req as AsyncIterable<Buffer>) this.record.length += chunk.length
    this.#res.end()
  }

  #allHeaders({ status, headers, body, omitsOssHeaders }: ResponseSpec): ResponseSpec['headers'] {
    const framed = { ...headers }
    if (status !== 204 && status !== 304) framed['Content-Length'] ??= String(body?.length ?? 0)
    if (omitsOssHeaders === true) return framed
    return {
      ...commonHeaders(this.#server.now(), this.record.requestId),
      'x-oss-server-time': String(Math.ceil(performance.now() - this.record.received)),
      ...framed,
    }
  }

  #sleep(duration: number): Promise<void> {
    return sleep(duration, undefined, { signal: this.#server.signal, ref: false })
  }
}

type ExecuteOperation = (
  request: OssRequest,
  server: ServerContext,
  body: RequestBody,
) => ResponseSpec

const OPERATIONS: Readonly<Record<Operation, ExecuteOperation>> = {
  append: appendObject,
  seal: sealObject,
  put: putObject,
  delete: deleteObject,
  head: headObject,
  meta: getObjectMeta,
  get: getObject,
  putBucket,
  deleteBucket,
  bucketInfo: getBucketInfo,
  list: listObjects,
  deleteObjects,
  listBuckets,
}

/** Permissions are checked before the object is looked up: a forbidden HEAD tells nothing about it. */
const executeOperation: ExecuteOperation = (request, server, body) => {
  checkHeaders(request)
  checkBucket(server, request)
  const actions = requiredActions(request.operation, request.headers.has('x-oss-tagging'))
  if (!actions.every(action => server.permissions.has(action))) throw accessDenied()
  return OPERATIONS[request.operation](request, server, body)
}

/** OSS looks for the bucket before it looks at the signature. */
function checkBucket(server: ServerContext, { bucket, operation }: OssRequest): void {
  const needsBucket = operation !== 'listBuckets' && operation !== 'putBucket'
  if (needsBucket && !server.buckets.has(bucket)) throw noSuchBucket(bucket)
}

function refusalOf(error: unknown): OssRefusal {
  if (error instanceof OssRefusal) return error
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOSPC' || code === 'EDQUOT') return insufficientStorage(code)
  const message = 'We encountered an internal error. Please try again.'
  return new OssRefusal(500, 'InternalError', message)
}

function withHeaders(
  response: ResponseOrFailure,
  headers: ResponseSpec['headers'] = {},
): ResponseOrFailure {
  if (typeof response === 'string' || 'raw' in response) return response
  return { ...response, headers: { ...response.headers, ...headers } }
}

/** A TLS socket cannot send RST, and Node does not expose the plain socket below it. */
function resetSocket(socket: Socket): void {
  if ('encrypted' in socket) socket.destroy()
  else socket.resetAndDestroy()
}
