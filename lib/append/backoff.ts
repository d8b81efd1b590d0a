/**
 * How long to wait before the next attempt, and when to stop. One `Backoff` lives from one
 * acknowledgement to the next, so that a stream of months never uses up its retries: whoever makes
 * progress starts afresh. Time and chance are arguments.
 */

import type { Clock } from '../clock.ts'
import type { RetryClass } from './classify-error.ts'

/** The option `retry`, complete: how long to wait before another attempt, and when to give up. */
export interface RetryPolicy {
  /** Retries since the last progress. Default Infinity. */
  readonly maxRetries: number
  /**
   * Milliseconds from the first failure since the last progress. Looked at before a wait: an attempt
   * is never cut. Default 300,000.
   */
  readonly maxElapsed: number
  /**
   * Milliseconds: the first wait is uniform in [0, minDelay], each next one in twice as much; all in five
   * times that while OSS throttles. Default 200.
   */
  readonly minDelay: number
  /** Milliseconds: no wait is longer, throttled or not. Default 20,000. */
  readonly maxDelay: number
}

/** Throttled appends wait longer: OSS lifts a limit in seconds, not in milliseconds. */
const THROTTLED_FACTOR = 5

/** How often an outcome that is mended at once may come up again; more means that it was not mended. */
const IMMEDIATE_RETRIES: Partial<Record<RetryClass, number>> = {
  clock: 1,
  credentials: 1,
  damaged: 2,
}

/** Attempts on a host name that does not resolve, while nothing ever came from that host. */
const UNKNOWN_HOST_RETRIES = 2

/** Doublings past every `maxDelay`. Without an end to them the factor becomes Infinity, and 0 times that is no delay. */
const MAX_DOUBLINGS = 40

export class Backoff {
  readonly #policy: RetryPolicy
  readonly #clock: Clock
  readonly #counts = new Map<RetryClass, number>()
  #retries = 0
  #firstFailure: number | undefined

  constructor(policy: RetryPolicy, clock: Clock) {
    this.#policy = policy
    this.#clock = clock
  }

  /**
   * Milliseconds to wait before the next attempt, or undefined: stop.
   * `hasReply`: whether the host has ever answered.
   */
  next(outcome: RetryClass, hasReply: boolean): number | undefined {
    const { maxRetries, maxElapsed, minDelay, maxDelay } = this.#policy
    const now = this.#clock.now()
    this.#firstFailure ??= now
    this.#retries += 1
    const count = (this.#counts.get(outcome) ?? 0) + 1
    this.#counts.set(outcome, count)

    if (outcome === 'final' || this.#retries > maxRetries) return undefined
    if (now - this.#firstFailure >= maxElapsed) return undefined
    if (outcome === 'unknownHost' && !hasReply && count > UNKNOWN_HOST_RETRIES) return undefined
    const atOnce = IMMEDIATE_RETRIES[outcome]
    if (atOnce !== undefined) return count > atOnce ? undefined : 0

    const base = outcome === 'throttled' ? minDelay * THROTTLED_FACTOR : minDelay
    const doublings = Math.min(this.#retries - 1, MAX_DOUBLINGS)
    return this.#clock.random() * Math.min(maxDelay, base * 2 ** doublings)
  }
}
