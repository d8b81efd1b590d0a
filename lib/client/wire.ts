/**
 * One request and its answer over an undici Dispatcher, under a deadline and the caller's signal. It
 * knows HTTP, and nothing of OSS. Below `request()`, which wraps every answer in a stream and would
 * have it read by somebody: ours have no body worth a stream.
 *
 * A promise settles at once when its time is over or its signal aborted, and its connection is
 * destroyed then: a request that nobody waits for must not be obeyed later than its successor.
 */

import type { Dispatcher } from 'undici'
import { MAX_DELAY } from '../check.ts'
import { invalidOption, OssError } from '../errors.ts'

interface WireRequest {
  readonly origin: string
  /** The request target as it is written: never parsed, since that would rewrite `..` and `\`. */
  readonly path: string
  readonly method: 'HEAD' | 'POST'
  readonly headers: Record<string, string>
  readonly body: Uint8Array | null
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** The body's first bytes. */
  readonly text: string
  /** The answer broke off before its end. */
  readonly failure?: Error | undefined
}

interface Limits {
  /** Milliseconds from now to the end of the answer. */
  readonly timeout: number
  readonly signal: AbortSignal
}

/** Bytes of a body that are read; the connection of a longer one is cut. OSS's errors are under 2 KiB. */
const MAX_BODY = 65_536

/** Sends a request; resolves with its answer, of whatever status. */
export function send(
  dispatcher: Dispatcher,
  request: WireRequest,
  limits: Limits,
): Promise<Answer> {
  const conversation = new Conversation(limits)
  // Ours counts for the whole exchange, and knows how long the body is.
  const timeouts = { headersTimeout: 0, bodyTimeout: 0 }
  try {
    // `reset`: else undici closes the connection of a HEAD, and the append behind it waits for another.
    dispatcher.dispatch({ ...request, ...timeouts, reset: false }, conversation)
  } catch (error) {
    conversation.cut(isMisuse(error) ? strangeDispatcher() : error)
  }
  return conversation.answer
}

/** What undici's dispatchers throw at once where they do not understand what calls them, and always will. */
function isMisuse(error: unknown): boolean {
  return (error as { code?: unknown } | undefined)?.code === 'UND_ERR_INVALID_ARG'
}

function strangeDispatcher(): OssError {
  const problem = 'it does not understand our requests: it must be of undici 7 or later'
  return invalidOption('dispatcher', problem)
}

/** What undici calls while it sends one request and reads its answer. */
class Conversation implements Dispatcher.DispatchHandler {
  readonly answer: Promise<Answer>
  #resolve!: (answer: Answer) => void
  #reject!: (reason: unknown) => void
  readonly #signal: AbortSignal
  readonly #timer: NodeJS.Timeout
  #controller: Dispatcher.DispatchController | undefined
  #isCut = false
  #status = 0
  #headers: Answer['headers'] = {}
  readonly #chunks: Buffer[] = []
  #length = 0

  constructor({ timeout, signal }: Limits) {
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#signal = signal
    signal.addEventListener('abort', this.#onAbort)
    this.#timer = setTimeout(
      () => this.cut(new OssError('OSS_ERR_TIMEOUT', `no answer within ${Math.round(timeout)} ms`)),
      Math.min(timeout, MAX_DELAY),
    )
  }

  /** Ends it now, and its connection; undici keeps a request until it has one, so that may come later. */
  cut(reason: unknown): void {
    this.#leave()
    this.#reject(reason)
    this.#isCut = true
    this.#controller?.abort(new Error('cut'))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#isCut) controller.abort(new Error('cut'))
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Answer['headers'],
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
    this.cut(undefined)
  }

  onResponseEnd(): void {
    this.#end()
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#leave()
    if (this.#status === 0) this.#reject(error)
    else this.#end(error)
  }

  readonly #onAbort = (): void => this.cut(this.#signal.reason)

  #end(failure?: Error): void {
    this.#leave()
    const text = Buffer.concat(this.#chunks).toString('utf8', 0, MAX_BODY)
    this.#resolve({ status: this.#status, headers: this.#headers, text, failure })
  }

  /** Nothing of ours is left; a second end changes nothing. */
  #leave(): void {
    clearTimeout(this.#timer)
    this.#signal.removeEventListener('abort', this.#onAbort)
  }
}
