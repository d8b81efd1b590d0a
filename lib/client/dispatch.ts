/**
 * One request and its answer over an undici Dispatcher, under a deadline and the caller's signal. It
 * knows HTTP, and nothing of OSS. Below `request()`, which wraps every answer in a stream and would
 * have it read by somebody: ours have no body worth a stream.
 *
 * A promise settles at once when its time is over or its signal aborted, and its connection is
 * destroyed then: a request that nobody waits for must not be obeyed later than its successor.
 */

import type { Dispatcher } from 'undici'
import { invalidOption, OssError } from '../errors.ts'
import { MAX_DELAY } from '../validate.ts'

interface HttpRequest {
  readonly origin: string
  /** The request target as it is written: never parsed, since that would rewrite `..` and `\`. */
  readonly path: string
  readonly method: 'HEAD' | 'POST'
  readonly headers: Record<string, string>
  readonly body: Uint8Array | null
}

export interface HttpResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** The body's first bytes. */
  readonly text: string
  /** The answer broke off before its end. */
  readonly failure?: Error | undefined
}

interface ExchangeLimits {
  /** Milliseconds from now to the end of the answer. */
  readonly timeout: number
  readonly signal: AbortSignal
}

/** Bytes of a body that are read; the connection of a longer one is cut. OSS's errors are under 2 KiB. */
const MAX_BODY = 65_536

/** Sends a request; resolves with its answer, of whatever status. */
export function dispatch(
  dispatcher: Dispatcher,
  request: HttpRequest,
  limits: ExchangeLimits,
): Promise<HttpResponse> {
  const conversation = new ExchangeHandler(limits)
  // Ours counts for the whole exchange, and knows how long the body is.
  const timeouts = { headersTimeout: 0, bodyTimeout: 0 }
  try {
    // `reset`: else undici closes the connection of a HEAD, and the append behind it waits for another.
    dispatcher.dispatch({ ...request, ...timeouts, reset: false }, conversation)
  } catch (error) {
    conversation.abort(isMisuse(error) ? incompatibleDispatcher() : error)
  }
  return conversation.response
}

/** What undici's dispatchers throw at once where they do not understand what calls them, and always will. */
function isMisuse(error: unknown): boolean {
  return (error as { code?: unknown } | undefined)?.code === 'UND_ERR_INVALID_ARG'
}

function incompatibleDispatcher(): OssError {
  const problem = 'it does not understand our requests: it must be of undici 7 or later'
  return invalidOption('dispatcher', problem)
}

/** What undici calls while it sends one request and reads its answer. */
class ExchangeHandler implements Dispatcher.DispatchHandler {
  readonly response: Promise<HttpResponse>
  #resolve!: (answer: HttpResponse) => void
  #reject!: (reason: unknown) => void
  readonly #signal: AbortSignal
  readonly #timer: NodeJS.Timeout
  #controller: Dispatcher.DispatchController | undefined
  #isAborted = false
  #status = 0
  #headers: HttpResponse['headers'] = {}
  readonly #chunks: Buffer[] = []
  #length = 0

  constructor({ timeout, signal }: ExchangeLimits) {
    this.response = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#signal = signal
    signal.addEventListener('abort', this.#onAbort)
    this.#timer = setTimeout(
      () =>
        this.abort(new OssError('OSS_ERR_TIMEOUT', `no answer within ${Math.round(timeout)} ms`)),
      Math.min(timeout, MAX_DELAY),
    )
  }

  /** Ends it now, and its connection; undici keeps a request until it has one, so that may come later. */
  abort(reason: unknown): void {
    this.#cleanUp()
    this.#reject(reason)
    this.#isAborted = true
    this.#controller?.abort(new Error('cut'))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#isAborted) controller.abort(new Error('cut'))
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: HttpResponse['headers'],
  ): void {
    // 1xx: the answer is still to come.
    if (status < 200) return
    this.#status = status
    this.#headers = headers
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#length += chunk.length
    if (this.#length <= MAX_BODY) return
    this.#end()
    this.abort(undefined)
  }

  onResponseEnd(): void {
    this.#end()
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#cleanUp()
    if (this.#status === 0) this.#reject(error)
    else this.#end(error)
  }

  readonly #onAbort = (): void => this.abort(this.#signal.reason)

  #end(failure?: Error): void {
    this.#cleanUp()
    const text = Buffer.concat(this.#chunks).toString('utf8', 0, MAX_BODY)
    this.#resolve({ status: this.#status, headers: this.#headers, text, failure })
  }

  /** Nothing of ours is left; a second end changes nothing. */
  #cleanUp(): void {
    clearTimeout(this.#timer)
    this.#signal.removeEventListener('abort', this.#onAbort)
  }
}
