/**
 * One exchange with OSS, start to end: signed, sent, and its response read. Refusals become errors, and
 * what a refusal says about the clock or the keys is used for the next signature. No retries, and no
 * knowledge of objects: `client.ts`, `read-range.ts` and `list-objects.ts` give the requests their meaning.
 */

import type { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import type { Target } from '../append/client-interface.ts'
import { OssError } from '../errors.ts'
import { type ExchangeDispatcher, OwnAgent } from './agent.ts'
import { dispatch, type ExchangeFacts, type HttpResponse } from './dispatch.ts'
import { checkEndpointHost, type Endpoint, hostAndPort, locate } from './endpoint.ts'
import { findMisuse } from './misuse.ts'
import { Pipeline, type PipelineTurn } from './pipeline.ts'
import type { RequestSigner } from './request-signer.ts'
import {
  type ErrorDocument,
  header,
  networkError,
  notOssResponse,
  type ReceivedResponse,
  readErrorDocument,
  readRequestId,
  serviceError,
} from './response.ts'
import { encodeQuery } from './sign-v4.ts'

export interface ExchangeSettings {
  readonly endpoint: Endpoint
  readonly requestSigner: RequestSigner
  /** Milliseconds without progress, without the allowance for a body. */
  readonly requestTimeout: number
  /** Milliseconds to open a connection. */
  readonly connectTimeout: number
  /** Belongs to the caller. Without one, the exchanges use an Agent of their own. */
  readonly dispatcher: Dispatcher | undefined
}

export interface ExchangeRequest {
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array
  /** How many times longer than usual the exchange may take. Default 1. */
  readonly deadlineFactor?: number | undefined
  /** Sends the request in its turn on the connection of a pipeline. Default: on a connection that is idle. */
  readonly turn?: PipelineTurn | undefined
  readonly signal: AbortSignal
}

/** A success. */
export interface OssResponse extends ReceivedResponse {
  readonly requestId: string
}

/** A success whose body arrives as a stream. Read it to its end, or destroy it. */
export interface StreamedResponse extends OssResponse {
  readonly body: Readable
}

type Method = 'HEAD' | 'GET' | 'POST'

/** A response of any status, and what is needed to read it. */
type Reply = HttpResponse & ReceivedResponse

/** Bytes per millisecond: the slowest link that a body is expected to travel over. */
const SLOWEST_LINK = 64

export class Exchange {
  /** Whether requests travel over TLS. */
  readonly isSecure: boolean
  readonly #settings: ExchangeSettings
  readonly #ownAgent: OwnAgent
  /** Resolves one turn of the event loop after the last response. */
  #lastTurn: Promise<unknown> | undefined
  #isClosed = false

  constructor(settings: ExchangeSettings) {
    this.#settings = settings
    this.#ownAgent = new OwnAgent(settings.connectTimeout)
    this.isSecure = settings.endpoint.origin.startsWith('https:')
  }

  /** Refuses a bucket that this endpoint cannot serve. */
  checkBucket(bucket: string): void {
    checkEndpointHost(this.#settings.endpoint, bucket)
  }

  /** Null if there is no such object. */
  async head(target: Target, request: ExchangeRequest): Promise<OssResponse | null> {
    const reply = await this.#send('HEAD', target, request)
    return isAbsent(reply) ? null : this.#read(reply)
  }

  async post(target: Target, request: ExchangeRequest): Promise<OssResponse> {
    return this.#read(await this.#send('POST', target, request))
  }

  /** The timeout applies to the headers, and then to each chunk of the body. */
  async get(target: Target, request: ExchangeRequest): Promise<StreamedResponse> {
    const reply = await this.#send('GET', target, request)
    try {
      const { body } = reply
      const response = this.#read(reply)
      if (body) return { ...response, body }
      throw notOssResponse(reply)
    } catch (error) {
      reply.body?.destroy()
      throw error
    }
  }

  /** A connection of our own Agent for at most `depth` exchanges in flight. */
  openPipeline(depth: number): Pipeline {
    return new Pipeline(() => this.#ownAgent.loadPipelines(depth))
  }

  /** Destroys every connection of our own Agent. Later exchanges fail with `OSS_ERR_ABORTED`. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#ownAgent.close(clientClosed())
  }

  /** Asks for keys and signs immediately before sending, so that neither has aged. */
  async #send(method: Method, target: Target, request: ExchangeRequest): Promise<Reply> {
    const { endpoint, requestSigner, requestTimeout, dispatcher: given } = this.#settings
    const { query = {}, headers = {}, body = null, deadlineFactor = 1, signal, turn } = request
    const { origin, path } = locate(endpoint, target)
    const search = encodeQuery(query)
    const signed = await requestSigner.sign({ method, target, query, headers }, signal)
    const { redact } = signed
    await (turn?.begun ?? this.#lastTurn)
    const dispatcher = await this.#dispatcher(turn)
    signal.throwIfAborted()
    const peer = hostAndPort(origin)
    const httpRequest = {
      origin,
      path: search === '' ? path : `${path}?${search}`,
      method,
      headers: signed.headers,
      body,
    }
    const toError = (error: unknown, facts: ExchangeFacts) => {
      if (signal.aborted) return error
      if (error instanceof OssError) return new OssError(error.code, error.message, facts)
      const misuse = given && findMisuse(error, given, facts)
      return misuse ?? networkError(error, redact, peer, facts)
    }
    const timeout = (requestTimeout + (body?.length ?? 0) / SLOWEST_LINK) * deadlineFactor
    const streamBody = method === 'GET'
    try {
      const options = { timeout, signal, streamBody, toError }
      const responding = dispatch(dispatcher, httpRequest, options)
      turn?.leave()
      const response = await responding
      return { ...response, peer, url: origin + httpRequest.path, redact }
    } finally {
      // undici releases a connection one turn after its response. A request sent earlier would open a
      // second connection.
      this.#lastTurn = new Promise(setImmediate)
    }
  }

  /** Throws if OSS refused, or if the response is not from OSS. */
  #read(reply: Reply): OssResponse {
    const { status, headers, failure, peer, url, redact } = reply
    const requestId = readRequestId(headers, redact)
    if (requestId === undefined) throw notOssResponse(reply)
    if (status >= 200 && status < 300) {
      return { status, headers, requestId, peer, url, redact }
    }
    const document = errorDocumentOf(reply)
    const isRefreshable = this.#settings.requestSigner.refresh(status, headers, document)
    const refusal = serviceError(status, headers, document, isRefreshable)
    // The missing part of the response had the code.
    throw failure && refusal.code === 'BadErrorResponse' ? failure : refusal
  }

  async #dispatcher(turn: PipelineTurn | undefined): Promise<ExchangeDispatcher> {
    if (this.#isClosed) throw clientClosed()
    if (turn) return turn.pipeline.get()
    return this.#settings.dispatcher ?? this.#ownAgent.get()
  }
}

/** A complete 404 of OSS about the object, not about its bucket. */
function isAbsent(reply: Reply): boolean {
  const { status, headers, failure } = reply
  if (status !== 404 || failure || header(headers, 'x-oss-request-id') === undefined) return false
  const { code = 'NoSuchKey' } = errorDocumentOf(reply)
  return code === 'NoSuchKey'
}

function errorDocumentOf({ headers, text, redact }: Reply): ErrorDocument {
  return readErrorDocument(headers, text, redact)
}

function clientClosed(): OssError {
  return new OssError('OSS_ERR_ABORTED', 'the client is closed', { isUnsent: true })
}
