/**
 * One HTTP exchange per method, over undici: network, identity and clock live here. No retries, no
 * state of any object: those are the appender's. Undici does the work, which `client/wire.ts` and
 * `client/agent.ts` know; here its dispatcher is passed on.
 */

import type { Dispatcher } from 'undici'
import type {
  AppendRequest,
  AppendResult,
  Client,
  Head,
  Target,
} from '../append/client-interface.ts'
import { OssError } from '../errors.ts'
import { checkInteger, checkKnown, checkMethods, MAX_DELAY } from '../validate.ts'
import { CONNECTIONS, OwnAgent } from './agent.ts'
import type { CredentialsOption } from './credentials.ts'
import { dispatch, type HttpResponse } from './dispatch.ts'
import { checkEndpointHost, type Endpoint, locate, resolveEndpoint } from './endpoint.ts'
import { Limiter } from './limiter.ts'
import type { Redact } from './redact.ts'
import { RequestSigner } from './request-signer.ts'
import {
  header,
  networkError,
  notOssResponse,
  type ResponseHeaders,
  readCrc64,
  readErrorDocument,
  readHead,
  readLength,
  serviceError,
} from './response.ts'
import { encodeQuery } from './sign-v4.ts'

/** How to reach OSS, and as whom. Streams that share a client share its connections, keys and clock. */
export interface ClientOptions {
  /** Region id, as in `cn-hangzhou`. Default: as the endpoint names it, or `OSS_REGION`. */
  readonly region?: string | undefined
  /** Host, with or without scheme (https). Default: `OSS_ENDPOINT`, or the region's public one. */
  readonly endpoint?: string | undefined
  /** `host/bucket/key` instead of `bucket.host/key`. Default: true for an IP address or `localhost`. */
  readonly pathStyle?: boolean | undefined
  /** `endpoint` is a domain bound to the bucket. Default false. */
  readonly cname?: boolean | undefined
  /** Keys, or who gives them. Default: `OSS_ACCESS_KEY_ID`, `OSS_ACCESS_KEY_SECRET`, `OSS_SESSION_TOKEN`. */
  readonly credentials?: CredentialsOption
  /** Any undici Dispatcher (proxy, TLS, mock); it is not closed by us. Default: an Agent of our own. */
  readonly dispatcher?: Dispatcher | undefined
  /** Milliseconds to open a connection, for our own Agent. Default 5,000. */
  readonly connectTimeout?: number | undefined
  /**
   * Milliseconds for one exchange; 1 ms per 64 bytes of body is always added, so that a slow line
   * (64 KB/s) gets its time. Default 30,000.
   */
  readonly requestTimeout?: number | undefined
}

export const CLIENT_OPTIONS = [
  'region',
  'endpoint',
  'pathStyle',
  'cname',
  'credentials',
  'dispatcher',
  'connectTimeout',
  'requestTimeout',
] as const satisfies readonly (keyof ClientOptions)[]

/** Milliseconds. A test holds README's table to these. */
export const CLIENT_DEFAULTS = { connectTimeout: 5_000, requestTimeout: 30_000 } as const

/** Bytes of body per millisecond that the slowest line is expected to carry. */
const SLOWEST_LINK = 64
/** MD5 of nothing, which OSS's own SDKs send with a seal. */
const MD5_OF_NOTHING = '1B2M2Y8AsgTpgAmY7PhCfg=='

interface Request {
  readonly method: 'HEAD' | 'POST'
  readonly target: Target
  readonly query: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array | null
  readonly signal: AbortSignal
}

/** A successful answer, its body consumed. */
interface OssResponse {
  readonly headers: ResponseHeaders
  readonly requestId: string
}

/**
 * Talks to one OSS endpoint. Share one among streams to share connections; close it after them.
 *
 * At most 64 exchanges are in flight at once; those above wait for their turn, first come first served,
 * and their `requestTimeout` does not run meanwhile. So the streams on one client may be thousands, and
 * our own Agent opens at most 64 connections to a bucket.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION`, from the constructor.
 */
export class OssClient implements Client {
  /** Whether the endpoint is reached by https. */
  readonly isSecure: boolean
  readonly #endpoint: Endpoint
  readonly #requestSigner: RequestSigner
  readonly #requestTimeout: number
  readonly #givenDispatcher: Dispatcher | undefined
  readonly #ownAgent: OwnAgent
  readonly #limiter = new Limiter(CONNECTIONS)
  /** The turn of the event loop after the last answer. */
  #lastTurn: Promise<unknown> | undefined
  #isClosed = false

  /**
   * Opens nothing: the first request does, and loads undici.
   *
   * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option.
   */
  constructor(options: ClientOptions = {}) {
    checkKnown('options', options, CLIENT_OPTIONS)
    this.#endpoint = findEndpoint(options)
    this.#requestSigner = new RequestSigner(options.credentials, this.#endpoint.region)
    const { dispatcher } = options
    const { connectTimeout, requestTimeout } = checkTimeouts(options)
    if (dispatcher !== undefined) checkMethods('dispatcher', dispatcher, ['dispatch'])
    this.#givenDispatcher = dispatcher
    this.#ownAgent = new OwnAgent(connectTimeout)
    this.#requestTimeout = requestTimeout
    this.isSecure = this.#endpoint.origin.startsWith('https:')
  }

  /** Refuses a bucket that this endpoint cannot serve. */
  checkBucket(bucket: string): void {
    checkEndpointHost(this.#endpoint, bucket)
  }

  /**
   * HeadObject: what an object is and how it ends; `null` if there is none. Rejects as {@link Client}
   * says, where we may not read it with `AccessDenied`.
   */
  async head(target: Target, { signal }: { readonly signal: AbortSignal }): Promise<Head | null> {
    const reply = await this.#exchange({
      method: 'HEAD',
      target,
      query: {},
      headers: {},
      body: null,
      signal,
    })
    if (reply === null) return null
    return { ...readHead(reply.headers), requestId: reply.requestId }
  }

  /** AppendObject, once. Rejects as {@link Client} says, at a wrong position with `PositionNotEqualToLength`. */
  async append(
    target: Target,
    { position, body, headers, signal }: AppendRequest,
  ): Promise<AppendResult> {
    const query = { append: '', position: String(position) }
    const reply = await this.#exchange({ method: 'POST', target, query, headers, body, signal })
    const next = readLength(header(reply?.headers ?? {}, 'x-oss-next-append-position'))
    if (reply === null || next === undefined) throw notOssResponse(200)
    const crc64 = readCrc64(header(reply.headers, 'x-oss-hash-crc64ecma'))
    return { position: next, crc64, requestId: reply.requestId }
  }

  /** SealAppendObject: nothing is appended from now on. Rejects as {@link Client} says. */
  async seal(
    target: Target,
    position: number,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<void> {
    const query = { seal: '', position: String(position) }
    const headers = { 'content-type': 'application/xml', 'content-md5': MD5_OF_NOTHING }
    await this.#exchange({ method: 'POST', target, query, headers, body: null, signal })
  }

  /**
   * Cuts every connection of our own Agent; a dispatcher that was given is its owner's. What is asked of
   * a closed client fails with `OSS_ERR_ABORTED`.
   */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#ownAgent.close(clientClosed())
  }

  /** One exchange, when its turn comes: `null` where a HEAD finds no object. */
  #exchange(request: Request): Promise<OssResponse | null> {
    return this.#limiter.run(request.signal, () => this.#attempt(request))
  }

  /** Keys, date and signature are made now, not while waiting. */
  async #attempt(request: Request): Promise<OssResponse | null> {
    const { method, target, query, body, signal } = request
    const dispatcher = await this.#dispatcher()
    const { origin, path } = locate(this.#endpoint, target)
    const search = method === 'HEAD' ? '' : `?${encodeQuery(query)}`
    const unsigned = { method, target, query, headers: request.headers }
    const { headers, conceal } = await this.#requestSigner.sign(unsigned, signal)
    const timeout = this.#requestTimeout + (body?.length ?? 0) / SLOWEST_LINK
    const wireRequest = { origin, path: `${path}${search}`, method, headers, body }
    await this.#lastTurn
    signal.throwIfAborted()
    try {
      const answer = await dispatch(dispatcher, wireRequest, { timeout, signal })
      return this.#read(method, answer, conceal)
    } catch (error) {
      throw error instanceof OssError || signal.aborted ? error : networkError(error, conceal)
    } finally {
      // undici takes a connection back a turn after its answer; sooner, it would open a second one.
      this.#lastTurn = new Promise(setImmediate)
    }
  }

  /** What an answer says. Throws where OSS refused, or did not speak. */
  #read(
    method: Request['method'],
    { status, headers, text, failure }: HttpResponse,
    conceal: Redact,
  ): OssResponse | null {
    const id = header(headers, 'x-oss-request-id')
    if (id === undefined) throw notOssResponse(status)
    if (status >= 200 && status < 300) return { headers, requestId: conceal(id) }
    const document = readErrorDocument(headers, text, conceal)
    const isAbsent = !failure && (document.code === undefined || document.code === 'NoSuchKey')
    if (method === 'HEAD' && status === 404 && isAbsent) return null
    const isCurable = this.#requestSigner.refresh(status, headers, document)
    const refused = serviceError(status, headers, document, isCurable)
    // What OSS refuses, and why, was in the part that is missing.
    throw failure && refused.code === 'BadErrorResponse' ? failure : refused
  }

  async #dispatcher(): Promise<Dispatcher> {
    if (this.#isClosed) throw clientClosed()
    if (this.#givenDispatcher) return this.#givenDispatcher
    return this.#ownAgent.get()
  }
}

/** Where the service is, by the options, and by the environment where they are silent. */
export function findEndpoint({ pathStyle, cname, ...options }: ClientOptions): Endpoint {
  const { env } = process
  const { region, endpoint = env.OSS_ENDPOINT || undefined } = options
  const usualRegion = env.OSS_REGION || undefined
  return resolveEndpoint({ region, usualRegion, endpoint, pathStyle, cname })
}

/** The times to wait, checked. */
export function checkTimeouts({
  connectTimeout = CLIENT_DEFAULTS.connectTimeout,
  requestTimeout = CLIENT_DEFAULTS.requestTimeout,
}: ClientOptions) {
  return {
    connectTimeout: checkInteger('connectTimeout', connectTimeout, 1, MAX_DELAY),
    requestTimeout: checkInteger('requestTimeout', requestTimeout, 1, MAX_DELAY),
  }
}

function clientClosed(): OssError {
  return new OssError('OSS_ERR_ABORTED', 'the client is closed')
}
