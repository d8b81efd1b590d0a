/**
 * How long to wait before the next attempt, and when to stop. One `Backoff` lives from one acknowledgement
 * to the next: progress starts all counters afresh, so a stream of months never uses up its retries. Time
 * and chance are arguments.
 */

import type { Clock } from '../clock.ts'
import type { RetryClass } from './classify-error.ts'

/** The option `retry`, complete: how long to wait before another attempt, and when to give up. */
export interface RetryPolicy {
  /** Retries since the last progress. Default Infinity. */
  readonly maxRetries: number
  /**
   * Milliseconds from the first failure since the last progress. It is compared before a wait: an attempt
   * is never cut. Default 300,000; with `journal` Infinity.
   */
  readonly maxElapsed: number
  /**
   * Milliseconds. The first wait is uniform in [0, minDelay], and each next range is twice as long; while
   * OSS throttles, all are five times as long. Default 200.
   */
  readonly minDelay: number
  /** Milliseconds. No wait is longer, throttled or not. Default 20,000. */
  readonly maxDelay: number
}

/** What is known of a failed attempt. */
interface FailedAttempt {
  readonly retryClass: RetryClass
  /** The host has answered at least once, so its name and certificate were right. */
  readonly hasResponse: boolean
  /** Milliseconds. `Retry-After` of the response; 0: none. */
  readonly retryAfter?: number
  /** The caller waits for the end of the stream. */
  readonly isHurried?: boolean
}

/** Throttled appends wait longer: OSS lifts a limit in seconds, not in milliseconds. */
const THROTTLED_FACTOR = 5

/**
 * Milliseconds. The same answer for as long is final, also where the policy has no end: keys that are
 * refused for five minutes will not be accepted, and an endless retry would be a silent outage.
 */
const PERMANENT_AFTER = 300_000

/** Retries on a host name that does not resolve, while that host has never answered. */
const UNKNOWN_HOST_RETRIES = 2

/** Milliseconds. Once the stream ends no wait is longer: a close timeout is shorter than `maxDelay`. */
export const HURRIED_DELAY = 1000

/** Doublings past every `maxDelay`. Without an end to them the factor becomes Infinity, and 0 times that is no delay. */
const MAX_DOUBLINGS = 40

/** The first such failure is followed by an attempt at once: the request is made afresh. */
const AT_ONCE: ReadonlySet<RetryClass> = new Set(['clock', 'credentials', 'damaged'])

/** Answers that only the user's own change mends, if they stay the same. */
const PERMANENT: ReadonlySet<RetryClass> = new Set([
  'clock',
  'credentials',
  'damaged',
  'certificate',
  'certificateDate',
])

export class Backoff {
  readonly #policy: RetryPolicy
  readonly #clock: Clock
  #retries = 0
  #firstFailure: number | undefined
  /** Failures of one class in a row: the class, their count, and when they began. */
  #row: { readonly retryClass: RetryClass; readonly since: number; count: number } | undefined

  constructor(policy: RetryPolicy, clock: Clock) {
    this.#policy = policy
    this.#clock = clock
  }

  /** Milliseconds to wait before the next attempt, or undefined: stop. */
  next(failed: FailedAttempt): number | undefined {
    // No retry of the same bytes: the next attempt is shorter, and attempts cannot become shorter for ever.
    if (failed.retryClass === 'tooLarge') return this.#atLeast(failed, 0)
    const { maxRetries, maxElapsed } = this.#policy
    const now = this.#clock.now()
    this.#firstFailure ??= now
    const isElapsed = now - this.#firstFailure >= maxElapsed
    if (failed.retryClass === 'lostRace') {
      // No retry: OSS works, and longer waits would leave the object to the other writers.
      this.#row = undefined
      return isElapsed ? undefined : 0
    }
    this.#retries += 1
    if (this.#row?.retryClass !== failed.retryClass) {
      this.#row = { retryClass: failed.retryClass, since: now, count: 0 }
    }
    this.#row.count += 1
    if (this.#retries > maxRetries || isElapsed) return undefined
    if (this.#isFinal(failed, this.#row.count, now - this.#row.since)) return undefined
    const isAtOnce = AT_ONCE.has(failed.retryClass) && this.#row.count === 1
    return isAtOnce ? this.#atLeast(failed, 0) : this.#delay(failed)
  }

  #isFinal({ retryClass, hasResponse }: FailedAttempt, count: number, elapsed: number): boolean {
    switch (retryClass) {
      case 'final':
        return true
      case 'unknownHost':
        return !hasResponse && count > UNKNOWN_HOST_RETRIES
      case 'certificate':
        return !hasResponse || elapsed >= PERMANENT_AFTER
      default:
        return PERMANENT.has(retryClass) && elapsed >= PERMANENT_AFTER
    }
  }

  #delay(failed: FailedAttempt): number {
    const { minDelay, maxDelay } = this.#policy
    const isThrottled = failed.retryClass === 'throttled'
    const base = isThrottled ? minDelay * THROTTLED_FACTOR : minDelay
    const doublings = Math.min(this.#retries - 1, MAX_DOUBLINGS)
    const range = Math.min(maxDelay, base * 2 ** doublings)
    const delay = this.#atLeast(failed, Math.round(this.#clock.random() * range))
    if (!failed.isHurried || !isHurriable(failed) || delay <= HURRIED_DELAY) return delay
    // An attempt that the policy would have made later, or not at all.
    this.#retries -= 1
    return HURRIED_DELAY
  }

  /** `Retry-After` is a lower bound (RFC 9110, 10.2.3), within what the caller accepts. */
  #atLeast({ retryAfter = 0 }: FailedAttempt, delay: number): number {
    return Math.max(delay, Math.min(retryAfter, this.#policy.maxDelay))
  }
}

/** Whether a wait may be cut short: no server has asked for it. */
export function isHurriable({ retryClass, retryAfter = 0 }: FailedAttempt): boolean {
  return retryClass !== 'throttled' && retryAfter === 0
}
