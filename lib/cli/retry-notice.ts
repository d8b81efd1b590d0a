/** One line when an outage begins and one when it ends, however many attempts fail in between. */

import { formatCount } from '../errors.ts'
import type { RetryInfo } from '../index.ts'
import { causeMessageOf } from './failure.ts'

/** Where retries are reported. */
export interface RetryListener {
  /** Prints a line of text. */
  note(text: string): void
  /** Prints the event `'retry'`, where events are printed. */
  emitRetry?(info: RetryInfo): void
}

export class RetryNotice {
  readonly #print: (text: string) => void
  #startedAt: number | undefined
  #retries = 0

  constructor(print: (text: string) => void) {
    this.#print = print
  }

  /** Retries since the outage began; 0 outside one. */
  get retries(): number {
    return this.#retries
  }

  /** An attempt failed, and another one follows. */
  onRetry(error: Error): void {
    this.#retries++
    if (this.#startedAt !== undefined) return
    this.#startedAt = performance.now()
    const reason = causeMessageOf(error)
    this.#print(`trying again: ${error.message}${reason === undefined ? '' : ` (${reason})`}`)
  }

  /** An attempt succeeded. */
  onSuccess(): void {
    if (this.#startedAt === undefined) return
    const seconds = ((performance.now() - this.#startedAt) / 1000).toFixed(1)
    const count = formatCount(this.#retries, 'retry', 'retries')
    this.#startedAt = undefined
    this.#retries = 0
    this.#print(`going on after ${seconds} s and ${count}`)
  }
}
