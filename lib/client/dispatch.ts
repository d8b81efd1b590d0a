/**
 * One HTTP exchange over an undici Dispatcher, under a deadline and an AbortSignal. Knows HTTP, not OSS.
 * Uses `dispatch()`, the layer below `request()`, which wraps every response in a stream.
 * A timeout or an abort settles the promise at once and destroys the connection, so that an abandoned
 * append cannot take effect after its successor.
 */

import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { OssError } from '../errors.ts'
import type { Connection, ExchangeDispatcher } from './agent.ts'
import { Deadline } from './deadline.ts'
import { hostAndPort } from './endpoint.ts'
import { Pipeline, type PipelinedHandler } from './pipeline.ts'

interface HttpRequest {
  readonly origin: string
  /** The request target as it is sent. Never parsed: a URL parser would rewrite `..` and `\`. */
  readonly path: string
  readonly method: 'HEAD' | 'GET' | 'POST'
  readonly headers: Record<string, string>
  readonly body: Uint8Array | null
}

export interface HttpResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** The first 64 KiB of the body; empty if `body` is set. */
  readonly text: string
  /** Why the response ended early. */
  readonly failure?: unknown
  /** The body of a 2xx response to a request with `streamBody`. Read it to its end, or destroy it. */
  readonly body?: Readable | undefined
}

export interface DispatchOptions {
  /**
   * Milliseconds without progress. With `streamBody`: for the headers, then for each chunk. Over a
   * dispatcher that was passed in: for the whole exchange.
   */
  readonly timeout: number
  readonly signal: AbortSignal
  /** Hand over the body of a 2xx response as a stream. Bodies of other responses are collected. */
  readonly streamBody?: boolean | undefined
  /** Makes the error with which the promise rejects or the body fails. */
  readonly toError: (error: unknown, facts: ExchangeFacts) => unknown
}

/** What is certain about an exchange that failed. */
export interface ExchangeFacts {
  /** The dispatcher has not begun to send: no byte of the request has left. */
  readonly isUnsent: boolean
  /** Bytes of the request had not left this process. Known only of the client's own connections. */
  readonly isBodyCut: boolean
}

/**
 * Bytes. A collected body is read up to here; a longer one costs the connection. Error documents of OSS
 * have less than 2 KiB.
 */
const MAX_BODY = 65_536

/** Sends a request. Resolves with the response, whatever its status. */
export function dispatch(
  dispatcher: ExchangeDispatcher,
  request: HttpRequest,
  options: DispatchOptions,
): Promise<HttpResponse> {
  const handler = new ExchangeHandler(request, options)
  // The handler's own deadline replaces undici's, which do not cover the request.
  const timeouts = { headersTimeout: 0, bodyTimeout: 0 }
  try {
    if (!(dispatcher instanceof Pipeline)) handler.startDeadline()
    // undici 7.30 closes the connection after a HEAD, unless `reset` is false: the next append would
    // need a new connection.
    dispatcher.dispatch({ ...request, ...timeouts, reset: false }, handler)
  } catch (error) {
    handler.abort(error)
  }
  return handler.response
}

/** The callbacks that undici invokes for one request. */
class ExchangeHandler implements PipelinedHandler {
  readonly response: Promise<HttpResponse>
  #resolve!: (response: HttpResponse) => void
  #reject!: (reason: unknown) => void
  readonly #options: DispatchOptions
  readonly #peer: string
  readonly #deadline: Deadline
  /** Set by the client's own agent: the connection that the request begins on. */
  connection: Connection | undefined
  /** Set by a pipeline. */
  onSettled: PipelinedHandler['onSettled']
  #controller: Dispatcher.DispatchController | undefined
  #socket: Socket | undefined
  #isAborted = false
  #isUnsent = true
  #status = 0
  #headers: HttpResponse['headers'] = {}
  /** A collected body. */
  readonly #chunks: Buffer[] = []
  #length = 0
  /** A streamed body. */
  #body: Readable | undefined
  #isPaused = false

  constructor({ origin }: HttpRequest, options: DispatchOptions) {
    this.response = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#options = options
    this.#peer = hostAndPort(origin)
    options.signal.addEventListener('abort', this.#onAbort)
    this.#deadline = new Deadline(options.timeout, this.#onExpire)
  }

  /** The exchange is the next one to be answered on its connection. */
  startDeadline(): void {
    this.#deadline.restart()
  }

  /** Fails the exchange and destroys its connection. undici may assign that connection only later. */
  abort(reason: unknown): void {
    this.#cleanUp()
    this.#isAborted = true
    this.#fail(reason)
    this.#controller?.abort(new Error('aborted'))
    this.onSettled?.(reason)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    this.#isUnsent = false
    // undici writes nothing of a request that is aborted here.
    if (this.#isAborted) controller.abort(new Error('aborted'))
    else if (this.connection) {
      this.#socket = this.connection.socket
      this.#deadline.watch(this.connection)
    }
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: HttpResponse['headers'],
  ): void {
    this.#isUnsent = false
    // 1xx: the final response follows.
    if (status < 200) return
    this.#status = status
    this.#headers = headers
    if (!this.#options.streamBody || status >= 300) return
    this.#deadline.restart()
    this.#body = this.#createBody(controller)
    this.#resolve({ status, headers, text: '', body: this.#body })
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#body) {
      this.#collect(chunk)
      return
    }
    if (this.#body.push(chunk)) {
      this.#deadline.restart()
      return
    }
    // A slow reader is no timeout.
    this.#deadline.stop()
    this.#isPaused = true
    controller.pause()
  }

  onResponseEnd(): void {
    if (this.#body) {
      this.#cleanUp()
      this.#body.push(null)
    } else {
      this.#end()
      this.onSettled?.(this.#deadline.isSending ? new Error('the response came early') : undefined)
    }
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#cleanUp()
    if (this.#status === 0 || this.#body) this.#fail(error)
    else this.#end(this.#toError(error))
    this.onSettled?.(error)
  }

  readonly #onAbort = (): void => this.abort(this.#options.signal.reason)

  readonly #onExpire = (): void => {
    const problem = this.#isUnsent
      ? 'no connection'
      : this.#deadline.isSending
        ? 'no byte of the request was taken'
        : 'no answer'
    const delay = Math.round(this.#options.timeout)
    const message = `${problem} within ${delay} ms from ${this.#peer}`
    const error = new OssError('OSS_ERR_TIMEOUT', message)
    // The status says more than the timeout: a server in between may refuse the body by its length.
    if (this.#status !== 0 && !this.#body) this.#end(this.#toError(error))
    this.abort(error)
  }

  #createBody(controller: Dispatcher.DispatchController): Readable {
    const body = new Readable({
      read: () => {
        if (!this.#isPaused) return
        this.#isPaused = false
        this.#deadline.restart()
        controller.resume()
      },
      destroy: (error, callback) => {
        this.#cleanUp()
        // Without effect after the end of the response.
        controller.abort(new Error('aborted'))
        callback(error)
      },
    })
    // The error stays in the stream for its reader; without a listener it would end the process.
    return body.on('error', () => {})
  }

  #collect(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#length += chunk.length
    if (this.#length <= MAX_BODY) return
    this.#end()
    this.abort(undefined)
  }

  #end(failure?: unknown): void {
    this.#cleanUp()
    // The response came early. The memory of the body is the caller's again, so no more of it is sent.
    if (this.#deadline.isSending) this.#socket?.destroy()
    const text = Buffer.concat(this.#chunks).toString('utf8', 0, MAX_BODY)
    this.#resolve({ status: this.#status, headers: this.#headers, text, failure })
  }

  /** Has no effect on a promise that is settled, or on a body that has ended. */
  #fail(reason: unknown): void {
    const error = this.#toError(reason)
    // The reason of an AbortSignal may be any value, and Node passes it on as it is.
    if (this.#body) this.#body.destroy(error as Error)
    else this.#reject(error)
  }

  #toError(reason: unknown): unknown {
    return this.#options.toError(reason, {
      isUnsent: this.#isUnsent,
      isBodyCut: this.#deadline.isSending,
    })
  }

  #cleanUp(): void {
    this.#deadline.stop()
    this.#options.signal.removeEventListener('abort', this.#onAbort)
  }
}
