/**
 * When a batch leaves: when it is full, when its oldest byte has waited long enough, or when somebody
 * asked for it. One timer at most, and only while bytes wait for it: they are owed, so it holds the
 * process.
 */

import type { Batcher } from './batcher.ts'

export class Schedule {
  readonly #batcher: Batcher
  /** Milliseconds; 0: time alone sends nothing. */
  readonly #flushInterval: number
  readonly #onDue: () => void
  /** Bytes before this count of accepted ones are to leave without waiting for a full batch. */
  #due = 0
  #timer: NodeJS.Timeout | undefined
  /** The count of accepted bytes at which the filling buffer begins, and when its first one came. */
  #fillingFrom = -1
  #fillingSince = 0

  constructor(batcher: Batcher, flushInterval: number, onDue: () => void) {
    this.#batcher = batcher
    this.#flushInterval = flushInterval
    this.#onDue = onDue
  }

  /** Whether the next batch should leave as soon as the line is free. */
  get isDue(): boolean {
    const { hasReady, accepted, filling } = this.#batcher
    return hasReady || (filling > 0 && this.#due > accepted - filling)
  }

  /** Bytes came in: a batch is full, or the time of those that wait begins to run. */
  arrived(): void {
    const { hasReady, accepted, filling } = this.#batcher
    if (hasReady) this.#onDue()
    else if (this.#timer) return
    if (filling === 0 || this.#flushInterval === 0) return
    if (accepted - filling !== this.#fillingFrom) {
      this.#fillingFrom = accepted - filling
      this.#fillingSince = performance.now()
    }
    this.#timer ??= setTimeout(this.#onTime, this.#flushInterval)
  }

  /** All that is accepted by now is to leave. */
  hasten(): void {
    this.#due = this.#batcher.accepted
    this.#onDue()
  }

  /** A batch has left. */
  departed(): void {
    if (this.#batcher.filling === 0) this.stop()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** The time of some batch is over; if that one has left, the present one may have some more. */
  readonly #onTime = (): void => {
    this.#timer = undefined
    if (this.#batcher.filling === 0) return
    const rest = this.#fillingSince + this.#flushInterval - performance.now()
    if (rest > 0) this.#timer = setTimeout(this.#onTime, rest)
    else this.hasten()
  }
}
