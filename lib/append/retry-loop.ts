/**
 * One exchange at a time, attempted until it succeeds or no further attempt makes sense. Every wait and every
 * retry of a stream passes here. The loop knows errors, and not what they mean for an object.
 */

import { ok } from 'node:assert/strict'
import type { Clock, Timer } from '../clock.ts'
import { clientFailure, exhausted, OssError, OssServiceError } from '../errors.ts'
import { Backoff, HURRIED_DELAY, isHurriable, type RetryPolicy } from './backoff.ts'
import { classifyError, type RetryClass } from './classify-error.ts'

/** What `'retry'` carries: an attempt failed, and another follows after `delay`. */
export interface RetryInfo {
  /** The attempt that failed, from 1. */
  readonly attempt: number
  /** Why it failed. */
  readonly error: OssError
  /** Milliseconds until the next attempt, a whole number. */
  readonly delay: number
  /** Position of the append, in bytes; undefined while the tail is not known. */
  readonly position: number | undefined
}

export interface RetryLoopOptions {
  readonly clock: Clock
  readonly retry: RetryPolicy
  readonly onRetry: (info: RetryInfo) => void
}

/** A wait before the next attempt. */
interface Wait {
  readonly startedAt: number
  /** Milliseconds. */
  readonly delay: number
  readonly canHurry: boolean
  readonly resolve: () => void
  timer: Timer
}

export class RetryLoop {
  readonly #options: RetryLoopOptions
  /** OSS has answered at least once, so its host name is right. */
  #hasResponse = false
  #keepsProcessAlive = false
  #isHurried = false
  #aborted: Error | undefined
  #controller: AbortController | undefined
  #wait: Wait | undefined
  #attempts = 0
  #lostRaces = 0

  constructor(options: RetryLoopOptions) {
    this.#options = options
  }

  /** Attempts begun in the present or last operation. */
  get attempts(): number {
    return this.#attempts
  }

  /** How many of them lost a race against another writer of a shared object. */
  get lostRaces(): number {
    return this.#lostRaces
  }

  get aborted(): Error | undefined {
    return this.#aborted
  }

  /** Bytes are unacknowledged from now on, so a wait has to hold the process. */
  keepProcessAlive(): void {
    this.#keepsProcessAlive = true
    this.#wait?.timer.ref()
  }

  /**
   * The stream ends: no wait lasts longer than a second from now on, unless OSS asked for it. The server may
   * be back already, and the caller may wait for less than the longest delay.
   */
  hurry(): void {
    this.#isHurried = true
    const wait = this.#wait
    if (!wait?.canHurry || wait.delay <= HURRIED_DELAY) return
    const { clock } = this.#options
    const left = wait.startedAt + HURRIED_DELAY - clock.now()
    clock.clearTimeout(wait.timer)
    wait.timer = this.#setTimer(wait.resolve, Math.max(0, left))
  }

  /** Ends what is in flight, at once: it rejects with `reason`, and so does every later call. */
  abort(reason: Error): void {
    if (this.#aborted) return
    this.#aborted = reason
    this.#controller?.abort(reason)
    if (!this.#wait) return
    this.#options.clock.clearTimeout(this.#wait.timer)
    this.#wait.resolve()
  }

  /** Runs `attempt` until it succeeds. Throws the error to fail with. */
  async run<T>(position: number | undefined, attempt: () => Promise<T>): Promise<T> {
    const { clock, retry, onRetry } = this.#options
    const backoff = new Backoff(retry, clock)
    this.#attempts = 0
    this.#lostRaces = 0
    for (;;) {
      if (this.#aborted) throw this.#aborted
      this.#attempts += 1
      try {
        return await attempt()
      } catch (error) {
        if (this.#aborted) throw this.#aborted
        if (!(error instanceof OssError)) throw error
        const failed = {
          retryClass: classifyError(error),
          hasResponse: this.#hasResponse,
          retryAfter: readRetryAfter(error),
          isHurried: this.#isHurried,
        }
        const delay = backoff.next(failed)
        if (delay === undefined) throw finalError(error, failed.retryClass, this.#attempts)
        if (failed.retryClass === 'lostRace') {
          this.#lostRaces += 1
          continue
        }
        onRetry({ attempt: this.#attempts, error, delay, position })
        await this.#sleep(delay, isHurriable(failed))
      }
    }
  }

  /** One exchange, with an AbortController of its own: no listener is left on a longer life. */
  async exchange<T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    ok(!this.#controller, 'one exchange in flight')
    if (this.#aborted) throw this.#aborted
    this.#controller = new AbortController()
    try {
      const result = await call(this.#controller.signal)
      this.#hasResponse = true
      return result
    } catch (error) {
      this.#hasResponse ||= error instanceof OssServiceError
      if (this.#aborted || error instanceof OssError) throw error
      throw clientFailure(error)
    } finally {
      this.#controller = undefined
    }
  }

  /** Waits before an operation. Nothing but `abort()` shortens it. */
  async pause(delay: number): Promise<void> {
    if (delay > 0) await this.#sleep(delay, false)
  }

  async #sleep(delay: number, canHurry: boolean): Promise<void> {
    if (this.#aborted) return
    const { clock } = this.#options
    await new Promise<void>(resolve => {
      const timer = this.#setTimer(resolve, delay)
      this.#wait = { startedAt: clock.now(), delay, canHurry, resolve, timer }
    })
    this.#wait = undefined
  }

  /** A timer holds the process exactly while bytes are unacknowledged. */
  #setTimer(callback: () => void, delay: number): Timer {
    const timer = this.#options.clock.setTimeout(callback, delay)
    if (!this.#keepsProcessAlive) timer.unref()
    return timer
  }
}

/** Milliseconds, a whole number from 0. A client of other software may ask for NaN, which no timer waits. */
function readRetryAfter({ retryAfter }: OssError): number {
  return Math.ceil(Math.max(0, Number(retryAfter))) || 0
}

/**
 * The error to fail with. A final answer of OSS or of a provider stands as it is. A failure that another
 * attempt might have mended becomes the cause of giving up.
 */
function finalError(error: OssError, retryClass: RetryClass, attempts: number): OssError {
  const isTransient = ['wait', 'throttled', 'lostRace'].includes(retryClass)
  // `OSS_ERR_NETWORK` is for causes only, also where it is final: a bad certificate, an unknown host.
  const isCause = error.code === 'OSS_ERR_NETWORK'
  if (error.code === 'OSS_ERR_CREDENTIALS') return error
  return isTransient || isCause ? exhausted(error, attempts) : error
}
