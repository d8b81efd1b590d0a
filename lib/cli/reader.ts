/**
 * Reads objects of OSS: HEAD and ranged GET, one exchange per call, signed by the same signer as appends.
 * The client has no GET, since an append stream needs none. Without retries: those are the caller's.
 */

import type { Dispatcher } from 'undici'
import { OwnAgent } from '../client/agent.ts'
import { checkTimeouts, findEndpoint } from '../client/client.ts'
import { checkEndpointHost, type Endpoint, locate } from '../client/endpoint.ts'
import { type Redact, redactNamed } from '../client/redact.ts'
import { RequestSigner } from '../client/request-signer.ts'
import {
  header,
  networkError,
  notOssResponse,
  type ResponseHeaders,
  readErrorDocument,
  readHead,
  serviceError,
} from '../client/response.ts'
import { OssError } from '../errors.ts'
import type { ClientOptions, Head, Target } from '../index.ts'

/** What an object says of itself. */
export interface ObjectHead extends Omit<Head, 'requestId'> {
  readonly headers: ResponseHeaders
}

/** Bytes of an error document that are looked at. */
const MAX_ERROR_BODY = 65_536

export class ObjectReader {
  readonly #endpoint: Endpoint
  readonly #requestSigner: RequestSigner
  readonly #timeouts: ReturnType<typeof checkTimeouts>
  readonly #givenDispatcher: Dispatcher | undefined
  readonly #ownAgent: OwnAgent

  /** Takes what `OssClient` takes. */
  constructor(options: ClientOptions) {
    this.#endpoint = findEndpoint(options)
    this.#requestSigner = new RequestSigner(options.credentials, this.#endpoint.region)
    this.#timeouts = checkTimeouts(options)
    this.#ownAgent = new OwnAgent(this.#timeouts.connectTimeout)
    this.#givenDispatcher = options.dispatcher
  }

  /** Null where there is no such object. */
  async head(target: Target, signal: AbortSignal): Promise<ObjectHead | null> {
    const response = await this.#request('HEAD', target, { headers: {}, signal })
    if (response === null) return null
    const { headers, body } = response
    await body.dump()
    return { ...readHead(headers), headers }
  }

  /**
   * The bytes from `start` to before `end`, both inside the object. Without `standard`, OSS answers a
   * range that is not with the whole object (Alibaba Cloud, "HTTP Range requests").
   */
  async *read(
    target: Target,
    { start, end, signal }: { start: number; end: number; signal: AbortSignal },
  ): AsyncGenerator<Buffer> {
    const headers = { range: `bytes=${start}-${end - 1}`, 'x-oss-range-behavior': 'standard' }
    const response = await this.#request('GET', target, { headers, signal })
    if (response === null) throw notOssResponse(404)
    const { statusCode, body } = response
    const range = header(response.headers, 'content-range')
    if (statusCode !== 206 || !range?.startsWith(`bytes ${start}-${end - 1}/`)) {
      body.on('error', () => {}).destroy()
      throw new OssError('OSS_ERR_NETWORK', `HTTP ${statusCode} to a request for a range`)
    }
    try {
      for await (const chunk of body as AsyncIterable<Buffer>) yield chunk
    } catch (error) {
      const { requestTimeout } = this.#timeouts
      throw signal.aborted ? signal.reason : exchangeError(error, requestTimeout, redactNamed)
    }
  }

  /** Cuts every connection of our own. */
  close(): Promise<void> {
    return this.#ownAgent.close(new OssError('OSS_ERR_ABORTED', 'the reader is closed'))
  }

  /** Null for a HEAD that finds nothing. Throws what is no success. */
  async #request(
    method: 'HEAD' | 'GET',
    target: Target,
    { headers, signal }: { headers: Readonly<Record<string, string>>; signal: AbortSignal },
  ): Promise<Dispatcher.ResponseData | null> {
    checkEndpointHost(this.#endpoint, target.bucket)
    const dispatcher = this.#givenDispatcher ?? (await this.#ownAgent.get())
    const { requestTimeout: timeout } = this.#timeouts
    const unsigned = { method, target, query: {}, headers }
    const { headers: signed, conceal } = await this.#requestSigner.sign(unsigned, signal)
    let response: Dispatcher.ResponseData
    let text = ''
    try {
      response = await dispatcher.request({
        ...locate(this.#endpoint, target),
        method,
        headers: signed,
        signal,
        headersTimeout: timeout,
        bodyTimeout: timeout,
      })
      if (response.statusCode >= 300) text = await readErrorBody(response.body)
    } catch (error) {
      throw signal.aborted ? signal.reason : exchangeError(error, timeout, conceal)
    }
    const { statusCode, headers: responseHeaders } = response
    if (header(responseHeaders, 'x-oss-request-id') === undefined) throw notOssResponse(statusCode)
    if (statusCode < 300) return response
    const document = readErrorDocument(responseHeaders, text, conceal)
    const { code = 'NoSuchKey' } = document
    if (method === 'HEAD' && statusCode === 404 && code === 'NoSuchKey') return null
    const isCurable = this.#requestSigner.refresh(statusCode, responseHeaders, document)
    throw serviceError(statusCode, responseHeaders, document, isCurable)
  }
}

/** Why there was no answer, in the words of the client. */
function exchangeError(error: unknown, timeout: number, conceal: Redact): OssError {
  const { code } = error as { code?: unknown }
  const isTimeout = code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT'
  return isTimeout
    ? new OssError('OSS_ERR_TIMEOUT', `no answer within ${timeout} ms`)
    : networkError(error, conceal)
}

async function readErrorBody(body: Dispatcher.ResponseData['body']): Promise<string> {
  let text = ''
  // Leaving the loop early destroys the body, and its connection with it.
  for await (const chunk of body as AsyncIterable<Buffer>) {
    text += chunk.toString()
    if (text.length > MAX_ERROR_BODY) break
  }
  return text
}
