/** An outage is told when it begins and when it ends, however many attempts lie between. */

import type { RetryInfo } from '../index.ts'
import { causeMessageOf } from './failure.ts'

/** Where retries are reported. */
export interface RetryListener {
  /** A line of text for a person. */
  note(text: string): void
  /** The event for a program. */
  emitRetry(info: RetryInfo): void
}

export class RetryNotice {
  readonly #print: (text: string) => void
  #startedAt: number | undefined
  #retries = 0

  constructor(print: (text: string) => void) {
    this.#print = print
  }

  /** Retries since it began; 0 while there is none. */
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

  /** Something succeeded. */
  onSuccess(): void {
    if (this.#startedAt === undefined) return
    const seconds = ((performance.now() - this.#startedAt) / 1000).toFixed(1)
    const times = this.#retries === 1 ? '1 retry' : `${this.#retries} retries`
    this.#startedAt = undefined
    this.#retries = 0
    this.#print(`going on after ${seconds} s and ${times}`)
  }
}
