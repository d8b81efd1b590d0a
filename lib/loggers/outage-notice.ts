/**
 * One line when attempts have failed for 10 s, and one when OSS is reached again. In pino's worker nothing
 * else shows an outage before records are given up.
 */

import type { Clock, Timer } from '../clock.ts'
import { formatCount } from '../errors.ts'

/** Milliseconds. Shorter outages are usual. */
const MIN_OUTAGE = 10_000

export interface OutageNoticeOptions {
  readonly clock: Pick<Clock, 'now' | 'setTimeout' | 'clearTimeout'>
  readonly print: (text: string) => void
  /** Bytes that are not acknowledged. */
  readonly bytesWaiting: () => number
}

export class OutageNotice {
  readonly #options: OutageNoticeOptions
  #startedAt: number | undefined
  #timer: Timer | undefined
  #isPrinted = false
  #lastCode = ''

  constructor(options: OutageNoticeOptions) {
    this.#options = options
  }

  /** An attempt failed with this code. */
  onFailure(code: string): void {
    this.#lastCode = code
    if (this.#startedAt !== undefined) return
    const { clock } = this.#options
    this.#startedAt = clock.now()
    this.#timer = clock.setTimeout(() => this.#onTimer(), MIN_OUTAGE)
    this.#timer.unref()
  }

  /** OSS has answered an attempt as it should. */
  onSuccess(): void {
    if (this.#startedAt === undefined) return
    const { clock, print } = this.#options
    const seconds = Math.round((clock.now() - this.#startedAt) / 1000)
    if (this.#isPrinted) print(`an outage of ${seconds} s is over`)
    this.end()
  }

  /** Forgets the outage. Leaves no timer. */
  end(): void {
    if (this.#timer) this.#options.clock.clearTimeout(this.#timer)
    this.#timer = undefined
    this.#startedAt = undefined
    this.#isPrinted = false
  }

  #onTimer(): void {
    this.#isPrinted = true
    const seconds = MIN_OUTAGE / 1000
    const { print, bytesWaiting } = this.#options
    const bytes = formatCount(bytesWaiting(), 'byte')
    print(
      `all attempts have failed for ${seconds} s (${this.#lastCode}); ${bytes} not acknowledged`,
    )
  }
}
