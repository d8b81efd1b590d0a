/**
 * The client of a stream: HeadObject, AppendObject, SealAppendObject and GetObject, one exchange per call. Has
 * the options of the network. No retries, and no state of any object: those belong to the appender.
 */

import type { Dispatcher } from 'undici'
import type {
  AppendPipeline,
  AppendRequest,
  AppendResult,
  Client,
  Head,
  ObjectRange,
  RangeRequest,
  Target,
} from '../append/client-interface.ts'
import { checkInteger, checkKnown, checkMethods, MAX_DELAY } from '../validate.ts'
import { CONNECTIONS } from './agent.ts'
import { type CredentialsOption, createCredentialSource } from './credentials.ts'
import { type Endpoint, resolveEndpoint } from './endpoint.ts'
import { Exchange, type ExchangeRequest, type OssResponse } from './exchange.ts'
import { Limiter } from './limiter.ts'
import type { PipelineTurn } from './pipeline.ts'
import { readRange } from './read-range.ts'
import { RequestSigner } from './request-signer.ts'
import { header, notOssResponse, readCrc64, readHead, readLength } from './response.ts'

/** How to reach OSS. Streams that share a client share its connections, keys and clock. */
export interface ClientOptions {
  /** Region id, as in `cn-hangzhou`. Default: the region in the endpoint, or `OSS_REGION`. */
  readonly region?: string | undefined
  /** Host, with or without scheme (https). Default: `OSS_ENDPOINT`, or the region's public endpoint. */
  readonly endpoint?: string | undefined
  /** `host/bucket/key` instead of `bucket.host/key`. Default: true for an IP address or `localhost`. */
  readonly pathStyle?: boolean | undefined
  /** `endpoint` is a domain bound to the bucket. Default false. */
  readonly cname?: boolean | undefined
  /**
   * Keys, or a provider of keys. Default: `OSS_ACCESS_KEY_ID`, `OSS_ACCESS_KEY_SECRET` and
   * `OSS_SESSION_TOKEN` of the environment.
   */
  readonly credentials?: CredentialsOption
  /**
   * Any undici Dispatcher (proxy, TLS, mock). The client never closes it. Default: connections of its
   * own.
   */
  readonly dispatcher?: Dispatcher | undefined
  /** Milliseconds to open a connection, without `dispatcher`. Default 5,000. */
  readonly connectTimeout?: number | undefined
  /**
   * Milliseconds without progress: no part of the request is taken, or no response comes. 1 ms per 64 bytes
   * of body is always added. With `dispatcher`: for the whole exchange. Default 30,000.
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

/** Opens a pipeline of a client, for at most `depth` appends in flight. The client has an Agent of its own. */
export let openPipeline: (client: OssClient, depth: number) => AppendPipeline

/** Milliseconds. */
export const CLIENT_DEFAULTS = { connectTimeout: 5_000, requestTimeout: 30_000 } as const

/** MD5 of an empty body. OSS's own SDKs send it with a seal. */
const MD5_OF_NOTHING = '1B2M2Y8AsgTpgAmY7PhCfg=='

/**
 * Talks to one OSS endpoint. Share one among streams to share connections; close it after them.
 *
 * At most 64 exchanges are in flight at once. Further ones wait in order, and `requestTimeout` starts
 * after the wait. Thousands of streams can share one client, which opens at most 64 connections to a
 * bucket.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION`, from the constructor.
 */
export class OssClient implements Client {
  /** Whether the endpoint is reached by https. */
  readonly isSecure: boolean
  /** Whether each request is sent at most once: true with the client's own Agent. */
  readonly sendsOnce: boolean
  readonly #exchange: Exchange
  readonly #limiter = new Limiter(CONNECTIONS)

  static {
    // No member: applications have no use for it.
    openPipeline = (client, depth) => {
      const pipeline = client.#exchange.openPipeline(depth)
      const append: AppendPipeline['append'] = (target, request) => {
        const turn = pipeline.takeTurn()
        return client.#append(target, request, turn).finally(turn.leave)
      }
      return { append, close: () => pipeline.close() }
    }
  }

  /**
   * Opens no connection. The first request does, and loads undici.
   *
   * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option.
   */
  constructor(options: ClientOptions = {}) {
    checkKnown('options', options, CLIENT_OPTIONS)
    this.#exchange = createExchange(options)
    this.isSecure = this.#exchange.isSecure
    // A dispatcher that was passed in may resend by itself, and so may a proxy.
    this.sendsOnce = options.dispatcher === undefined
  }

  /** Refuses a bucket that this endpoint cannot serve. */
  checkBucket(bucket: string): void {
    this.#exchange.checkBucket(bucket)
  }

  /**
   * HeadObject: type, length and tail of an object; `null` if there is none. Rejects as {@link Client}
   * says, with `AccessDenied` if the keys may not read it.
   */
  async head(target: Target, { signal }: { readonly signal: AbortSignal }): Promise<Head | null> {
    const send = () => this.#exchange.head(target, { signal })
    const response = await this.#limiter.run(signal, send)
    return response && { ...readHead(response), requestId: response.requestId }
  }

  /** AppendObject, once. Rejects as {@link Client} says, at a wrong position with `PositionNotEqualToLength`. */
  append(target: Target, request: AppendRequest): Promise<AppendResult> {
    return this.#append(target, request)
  }

  async #append(
    target: Target,
    { position, body, headers, deadlineFactor, signal }: AppendRequest,
    turn?: PipelineTurn,
  ): Promise<AppendResult> {
    const query = { append: '', position: String(position) }
    const request = { query, headers, body, deadlineFactor, signal, turn }
    const response = await this.#post(target, request)
    const next = readLength(header(response.headers, 'x-oss-next-append-position'))
    if (next === undefined) throw notOssResponse(response)
    const crc64 = readCrc64(header(response.headers, 'x-oss-hash-crc64ecma'))
    return { position: next, crc64, requestId: response.requestId }
  }

  /** SealAppendObject: OSS refuses appends from now on. Rejects as {@link Client} says. */
  async seal(
    target: Target,
    position: number,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<void> {
    const query = { seal: '', position: String(position) }
    const headers = { 'content-type': 'application/xml', 'content-md5': MD5_OF_NOTHING }
    await this.#post(target, { query, headers, signal })
  }

  /**
   * GetObject with a range: the bytes, and the tail of the whole object. Rejects as {@link Client} says, with
   * `AccessDenied` if the keys may not read it. Read `body` to its end, or end the iteration.
   */
  async read(target: Target, request: RangeRequest): Promise<ObjectRange> {
    return this.#limiter.run(request.signal, () => readRange(this.#exchange, target, request))
  }

  /**
   * Destroys every connection of the client, and none of a dispatcher that was passed in.
   * Requests to a closed client fail with `OSS_ERR_ABORTED`.
   */
  close(): Promise<void> {
    return this.#exchange.close()
  }

  #post(target: Target, request: ExchangeRequest): Promise<OssResponse> {
    return this.#limiter.run(request.signal, () => this.#exchange.post(target, request))
  }
}

/**
 * Checks the options and turns them into an exchange.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option.
 */
export function createExchange(options: ClientOptions, env = process.env): Exchange {
  const {
    dispatcher,
    credentials,
    connectTimeout = CLIENT_DEFAULTS.connectTimeout,
    requestTimeout = CLIENT_DEFAULTS.requestTimeout,
  } = options
  const endpoint = findEndpoint(options, env)
  const credentialSource = createCredentialSource(credentials, env)
  if (dispatcher !== undefined) checkMethods('dispatcher', dispatcher, ['dispatch'])
  return new Exchange({
    endpoint,
    requestSigner: new RequestSigner(credentialSource, endpoint.region),
    connectTimeout: checkInteger('connectTimeout', connectTimeout, 1, MAX_DELAY),
    requestTimeout: checkInteger('requestTimeout', requestTimeout, 1, MAX_DELAY),
    dispatcher,
  })
}

/** The endpoint that the options describe. The environment fills in what they leave out. */
export function findEndpoint(options: ClientOptions, env = process.env): Endpoint {
  const { region, endpoint = env.OSS_ENDPOINT || undefined, pathStyle, cname } = options
  const defaultRegion = env.OSS_REGION || undefined
  return resolveEndpoint({ region, defaultRegion, endpoint, pathStyle, cname })
}
