/**
 * One HTTP exchange per method, over undici: network, identity and clock live here. No retries, no
 * state of any object: those are the appender's. With `client/wire.ts` all of the core that knows undici, which
 * is loaded at the first request, since loading it takes longer than everything else together.
 */

import type { Socket } from 'node:net'
import type { Agent, Dispatcher } from 'undici'
import {
  checkEndpointHost,
  type Endpoint,
  locate,
  resolveEndpoint,
  type Target,
} from './address.ts'
import { checkInteger, checkKnown, checkMethods, MAX_DELAY } from './check.ts'
import { type Conceal, concealer } from './client/conceal.ts'
import {
  type ErrorDocument,
  header,
  networkError,
  notOss,
  type ReplyHeaders,
  readCrc64,
  readErrorDocument,
  readHead,
  readLength,
  refusal,
} from './client/reply.ts'
import { Turnstile } from './client/turnstile.ts'
import { type Answer, send } from './client/wire.ts'
import {
  type CredentialSource,
  type CredentialsOption,
  createCredentialSource,
} from './credentials.ts'
import { isKeyRefusal, OssError } from './errors.ts'
import type { AppendReply, AppendRequest, Client, Head } from './seam.ts'
import { encodeQuery, sign } from './signer.ts'

/** How to reach OSS, and as whom. Streams that share a client share its connections, keys and clock. */
export interface ClientOptions {
  /** Region id, as in `cn-hangzhou`. Default: `OSS_REGION`, or read from the endpoint. */
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

/** Below the idle timeout of OSS and of usual proxies: a socket that the peer has just closed costs a doubt. */
export const KEEP_ALIVE = 15_000
/** Bytes of body per millisecond that the slowest line is expected to carry. */
const SLOWEST_LINE = 64
/** MD5 of nothing, which OSS's own SDKs send with a seal. */
const MD5_OF_NOTHING = '1B2M2Y8AsgTpgAmY7PhCfg=='
/**
 * Exchanges in flight at once, and so connections to a bucket. Without a bound a thousand streams open a
 * thousand sockets: more than a process may have by default (256 on macOS), and on a line of 10 MB/s a
 * full batch gets 10 KB/s of it, when its deadline expects 64. By 64 all of them get through, at 20 ms
 * each, three times a second.
 */
const PLACES = 64
/** A server time before this package existed, or absurdly far on, is a poisoned one. */
const EARLIEST_TIME = Date.UTC(2024, 0)
const LATEST_TIME = Date.UTC(2100, 0)

interface Request {
  readonly method: 'HEAD' | 'POST'
  readonly target: Target
  readonly query: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array | null
  readonly signal: AbortSignal
}

/** A successful answer, its body consumed. */
interface Reply {
  readonly headers: ReplyHeaders
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
  readonly #credentials: CredentialSource
  readonly #connectTimeout: number
  readonly #requestTimeout: number
  readonly #givenDispatcher: Dispatcher | undefined
  #ownAgent: Promise<Agent> | undefined
  /** Sockets of our own Agent that are not connected yet. */
  readonly #connecting = new Set<Socket>()
  readonly #turnstile = new Turnstile(PLACES)
  /** The turn of the event loop after the last answer. */
  #lastTurn: Promise<unknown> | undefined
  #isClosed = false
  /** Server time minus local time, in milliseconds. */
  #clockOffset = 0

  /**
   * Opens nothing: the first request does, and loads undici.
   *
   * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option.
   */
  constructor(options: ClientOptions = {}) {
    checkKnown('options', options, CLIENT_OPTIONS)
    this.#endpoint = findEndpoint(options)
    this.#credentials = createCredentialSource(options.credentials)
    const { dispatcher } = options
    const { connectTimeout, requestTimeout } = checkTimeouts(options)
    if (dispatcher !== undefined) checkMethods('dispatcher', dispatcher, ['dispatch'])
    this.#givenDispatcher = dispatcher
    this.#connectTimeout = connectTimeout
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
  ): Promise<AppendReply> {
    const query = { append: '', position: String(position) }
    const reply = await this.#exchange({ method: 'POST', target, query, headers, body, signal })
    const next = readLength(header(reply?.headers ?? {}, 'x-oss-next-append-position'))
    if (reply === null || next === undefined) throw notOss(200)
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
    // That undici could not be loaded has been told to whoever asked.
    const agent = await this.#ownAgent?.catch(() => undefined)
    await agent?.destroy()
    for (const socket of this.#connecting) socket.destroy(clientClosed())
  }

  /** One exchange, when its turn comes: `null` where a HEAD finds no object. */
  #exchange(request: Request): Promise<Reply | null> {
    return this.#turnstile.run(request.signal, () => this.#converse(request))
  }

  /** Keys, date and signature are made now, not while waiting. */
  async #converse(request: Request): Promise<Reply | null> {
    const { method, target, query, body, signal } = request
    const credentials = await this.#credentials.get(signal)
    const dispatcher = await this.#dispatcher()
    const { origin, path } = locate(this.#endpoint, target)
    const search = method === 'HEAD' ? '' : `?${encodeQuery(query)}`
    const identity = {
      credentials,
      region: this.#endpoint.region,
      date: new Date(Date.now() + this.#clockOffset),
    }
    const headers = sign({ method, target, query, headers: request.headers }, identity)
    const conceal = concealer([...Object.values(credentials), signatureOf(headers)])
    const timeout = this.#requestTimeout + (body?.length ?? 0) / SLOWEST_LINE
    const wireRequest = { origin, path: `${path}${search}`, method, headers, body }
    await this.#lastTurn
    signal.throwIfAborted()
    try {
      const answer = await send(dispatcher, wireRequest, { timeout, signal })
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
    { status, headers, text, failure }: Answer,
    conceal: Conceal,
  ): Reply | null {
    const id = header(headers, 'x-oss-request-id')
    if (id === undefined) throw notOss(status)
    if (status >= 200 && status < 300) return { headers, requestId: conceal(id) }
    const document = readErrorDocument(headers, text, conceal)
    const isAbsent = !failure && (document.code === undefined || document.code === 'NoSuchKey')
    if (method === 'HEAD' && status === 404 && isAbsent) return null
    const isCurable = this.#cure(status, headers, document)
    const refused = refusal(status, headers, document, isCurable)
    // What OSS refuses, and why, was in the part that is missing.
    throw failure && refused.code === 'BadErrorResponse' ? failure : refused
  }

  /** Whether the same request, signed afresh, may be accepted. Corrects our clock, if that was wrong. */
  #cure(status: number, headers: ReplyHeaders, document: ErrorDocument): boolean {
    if (isKeyRefusal(document.code)) return this.#credentials.isRenewable
    const offset = readClockOffset(status, headers, document)
    if (offset === undefined) return false
    this.#clockOffset = offset
    return true
  }

  async #dispatcher(): Promise<Dispatcher> {
    if (this.#isClosed) throw clientClosed()
    if (this.#givenDispatcher) return this.#givenDispatcher
    this.#ownAgent ??= createAgent(this.#connectTimeout, this.#connecting)
    return this.#ownAgent
  }
}

/** An Agent as we want it, which keeps sockets that are not connected yet in `connecting`. Loads undici. */
export async function createAgent(timeout: number, connecting: Set<Socket>): Promise<Agent> {
  const { Agent, buildConnector } = await import('undici')
  const connect = buildConnector({ timeout })
  return new Agent({
    // undici ends an attempt to connect by its timeout alone, not even when the Agent is destroyed.
    connect: (options, callback) => {
      // It returns the socket, which its type does not say.
      const socket = connect(options, (...result) => {
        connecting.delete(socket)
        callback(...result)
      }) as unknown as Socket
      connecting.add(socket)
    },
    // After an exchange that was cut, undici connects again though nothing is to be sent.
    connections: PLACES,
    keepAliveTimeout: KEEP_ALIVE,
    keepAliveMaxTimeout: KEEP_ALIVE,
  })
}

/** Where the service is, by the options, and by the environment where they are silent. */
export function findEndpoint({ pathStyle, cname, ...options }: ClientOptions): Endpoint {
  const { env } = process
  const { region = env.OSS_REGION || undefined, endpoint = env.OSS_ENDPOINT || undefined } = options
  return resolveEndpoint({ region, endpoint, pathStyle, cname })
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

/**
 * Server time minus local time in milliseconds, where OSS refuses a request because of our clock, and
 * tells a time that can be one. Against the raw local clock: the offset in use is already in the signing
 * time, and would be counted twice. The document's own time is preferred, since a proxy may have written
 * the `Date` header.
 */
export function readClockOffset(
  status: number,
  headers: ReplyHeaders,
  { code, message, serverTime }: ErrorDocument,
): number | undefined {
  // V4's other word for a wrong clock; only its text tells it from other arguments.
  const isDate = code === 'InvalidArgument' && message?.startsWith('Invalid signing date')
  if (code !== 'RequestTimeTooSkewed' && !(isDate && status === 400)) return undefined
  const times = [serverTime, header(headers, 'date')].map(text => Date.parse(text ?? ''))
  const time = times.find(time => !Number.isNaN(time)) ?? Number.NaN
  return time >= EARLIEST_TIME && time < LATEST_TIME ? time - Date.now() : undefined
}

function clientClosed(): OssError {
  return new OssError('OSS_ERR_ABORTED', 'the client is closed')
}

/** The part of signed headers that is as good as a key, for a while. */
export function signatureOf({ authorization = '' }: Readonly<Record<string, string>>): string {
  return authorization.slice(authorization.lastIndexOf('=') + 1)
}
