/**
 * The line to OSS: one exchange at a time, attempted until it succeeds or no further attempt makes
 * sense. Every wait and every retry of a stream passes here. It knows errors, not what they mean for
 * an object: that is the appender's.
 */

import { ok } from 'node:assert/strict'
import type { Clock, Timer } from '../clock.ts'
import { exhausted, OssError, OssServiceError } from '../errors.ts'
import { Backoff, type RetryPolicy } from './backoff.ts'
import { classifyError, type RetryClass } from './classify-error.ts'

/** What `'retry'` carries: an attempt failed, and another follows after `delay`. */
export interface RetryInfo {
  /** The attempt that failed, from 1. */
  readonly attempt: number
  /** Why it failed: an `OssError`. */
  readonly error: Error
  /** Milliseconds until the next attempt. */
  readonly delay: number
  /** Where the append starts; undefined while the tail is not known. */
  readonly position: number | undefined
}

export interface RetryLoopOptions {
  readonly clock: Clock
  readonly retry: RetryPolicy
  readonly onRetry: (info: RetryInfo) => void
}

export class RetryLoop {
  readonly #options: RetryLoopOptions
  /** OSS has answered at least once, so its host name is right. */
  #hasReply = false
  #keepsProcessAlive = false
  #aborted: Error | undefined
  #controller: AbortController | undefined
  #wait: { readonly timer: Timer; readonly end: () => void } | undefined
  #attempts = 0

  constructor(options: RetryLoopOptions) {
    this.#options = options
  }

  /** Attempts begun in the present or last operation. */
  get attempts(): number {
    return this.#attempts
  }

  /** A request is on its way. */
  get isBusy(): boolean {
    return this.#controller !== undefined
  }

  get aborted(): Error | undefined {
    return this.#aborted
  }

  /** Something is owed from now on, so that waiting has to hold the process. */
  keepProcessAlive(): void {
    this.#keepsProcessAlive = true
    this.#wait?.timer.ref()
  }

  /** Ends what is in flight, at once: it rejects with `reason`, and so does all that follows. */
  abort(reason: Error): void {
    if (this.#aborted) return
    this.#aborted = reason
    this.#controller?.abort(reason)
    this.#wait?.end()
  }

  /** Runs `attempt` until it succeeds. Throws the error to fail with. */
  async run<T>(position: number | undefined, attempt: () => Promise<T>): Promise<T> {
    const { clock, retry, onRetry } = this.#options
    const backoff = new Backoff(retry, clock)
    for (this.#attempts = 0; ; ) {
      if (this.#aborted) throw this.#aborted
      this.#attempts += 1
      try {
        return await attempt()
      } catch (cause) {
        // A client of one's own may reject with nothing, which would pass for success further up.
        const error = (cause || new Error('the client threw what is no error')) as Error
        if (this.#aborted) throw this.#aborted
        const outcome = classifyError(error)
        const delay = backoff.next(outcome, this.#hasReply)
        if (delay === undefined) throw finalError(error, outcome, this.#attempts)
        onRetry({ attempt: this.#attempts, error, delay, position })
        await this.#sleep(delay)
      }
    }
  }

  /** One exchange, with an AbortController of its own: nothing is left listening to a longer life. */
  async exchange<T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    ok(!this.#controller, 'one exchange in flight')
    if (this.#aborted) throw this.#aborted
    this.#controller = new AbortController()
    try {
      const reply = await call(this.#controller.signal)
      this.#hasReply = true
      return reply
    } catch (error) {
      this.#hasReply ||= error instanceof OssServiceError
      throw error
    } finally {
      this.#controller = undefined
    }
  }

  /** A timer holds the process exactly while something is owed. */
  async #sleep(delay: number): Promise<void> {
    const { clock } = this.#options
    if (this.#aborted) return
    await new Promise<void>(resolve => {
      const timer = clock.setTimeout(resolve, delay)
      if (!this.#keepsProcessAlive) timer.unref()
      const end = () => {
        clock.clearTimeout(timer)
        resolve()
      }
      this.#wait = { timer, end }
    })
    this.#wait = undefined
  }
}

/**
 * The error to fail with. What OSS or the provider said for good stands as it is; what another attempt
 * might have mended becomes the reason why we gave up.
 */
function finalError(error: Error, outcome: RetryClass, attempts: number): Error {
  if (!(error instanceof OssError)) return error
  if (error.code === 'OSS_ERR_CREDENTIALS') {
    // One call of the provider may fail many streams, and each adds what is its own to the error.
    return new OssError(error.code, error.message, { cause: error.cause })
  }
  // `OSS_ERR_NETWORK` is for causes only, also where it is final: a bad certificate, an unknown host.
  const isTransient = outcome === 'wait' || outcome === 'throttled'
  return isTransient || error.code === 'OSS_ERR_NETWORK' ? exhausted(error, attempts) : error
}
