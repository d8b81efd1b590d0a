/**
 * The client of a stream: HeadObject, AppendObject, SealAppendObject and GetObject, one exchange per call. No
 * retries, and no state of any object: those belong to the appender.
 */

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
import { checkKnown, checkSignal } from '../validate.ts'
import { CONNECTIONS } from './agent.ts'
import { createExchange } from './create-exchange.ts'
import type { Exchange, ExchangeRequest, OssResponse } from './exchange.ts'
import { Limiter } from './limiter.ts'
import { CLIENT_OPTIONS, type ClientOptions } from './options.ts'
import type { PipelineTurn } from './pipeline.ts'
import { readRange } from './read-range.ts'
import { header, notOssResponse, readCrc64, readHead, readLength } from './response.ts'

/** Opens a pipeline of a client, for at most `depth` appends in flight. The client has an Agent of its own. */
export let openPipeline: (client: OssClient, depth: number) => AppendPipeline

/** MD5 of an empty body. OSS's own SDKs send it with a seal. */
const MD5_OF_NOTHING = '1B2M2Y8AsgTpgAmY7PhCfg=='

/**
 * Talks to one OSS endpoint. Share one among streams to share connections; close it after them.
 *
 * At most 64 exchanges are in flight at once. Further ones wait in order, and `requestTimeout` starts
 * after the wait. Thousands of streams can share one client, which opens at most 64 connections to a
 * bucket, and one more for each stream with `pipelining`.
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

  /**
   * Refuses a bucket that this endpoint cannot serve.
   *
   * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming `endpoint`.
   */
  checkBucket(bucket: string): void {
    this.#exchange.checkBucket(bucket)
  }

  /**
   * HeadObject: type, length and tail of an object; `null` if there is none. Rejects as {@link Client}
   * says, with `AccessDenied` if the keys may not read it.
   */
  async head(target: Target, { signal }: { readonly signal: AbortSignal }): Promise<Head | null> {
    const send = () => this.#exchange.head(target, { signal })
    const response = await this.#run(signal, send)
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
    return this.#run(request.signal, () => readRange(this.#exchange, target, request))
  }

  /**
   * Destroys every connection of the client, and none of a dispatcher that was passed in.
   * Requests to a closed client fail with `OSS_ERR_ABORTED`.
   */
  close(): Promise<void> {
    return this.#exchange.close()
  }

  #post(target: Target, request: ExchangeRequest): Promise<OssResponse> {
    return this.#run(request.signal, () => this.#exchange.post(target, request))
  }

  async #run<T>(signal: AbortSignal, exchange: () => Promise<T>): Promise<T> {
    checkSignal('signal', signal)
    return this.#limiter.run(signal, exchange)
  }
}
