/**
 * When a batch leaves: when it is full, when its oldest byte has waited long enough, or when somebody
 * asked for it. One timer at most, and only while whole records wait for it: they are owed, so it holds
 * the process. What there is of a record that is not whole yet can't leave at any time, so no time is
 * set for it.
 */

import type { Batcher } from './batcher.ts'

export class FlushTimer {
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

  /** Whether the next batch should leave as soon as the line is free; what is stuck, to be told so. */
  get isDue(): boolean {
    const { hasReady, isTooLong: isStuck, accepted, filling } = this.#batcher
    return hasReady || isStuck || this.#due > accepted - filling
  }

  /** Bytes came in: a batch is full, or the time of those that wait begins to run. */
  onBytes(): void {
    const { hasReady, isTooLong: isStuck } = this.#batcher
    if (hasReady || isStuck) this.#onDue()
    else if (this.#timer) return
    this.#wait()
  }

  /** All records that are whole by now are to leave. Returns the count of accepted bytes that they end at. */
  flushNow(): number {
    const { accepted, filling, whole } = this.#batcher
    this.#due = accepted - filling + whole
    this.#onDue()
    return this.#due
  }

  /** A batch has left, and what was behind its last record is the oldest now. */
  onBatch(): void {
    if (this.#batcher.whole === 0) this.stop()
    this.#wait()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** The filling buffer waits: from its first byte on, and by a timer from its first whole record on. */
  #wait(): void {
    const { accepted, filling } = this.#batcher
    if (filling === 0 || this.#flushInterval === 0) return
    if (accepted - filling !== this.#fillingFrom) {
      this.#fillingFrom = accepted - filling
      this.#fillingSince = performance.now()
    }
    // What is due takes along all records that are whole when it leaves.
    if (this.#timer || this.isDue || this.#batcher.whole === 0) return
    this.#timer = setTimeout(this.#onTime, Math.ceil(this.#timeLeft))
  }

  get #timeLeft(): number {
    return this.#fillingSince + this.#flushInterval - performance.now()
  }

  /** The time of some batch is over; if that one has left, the present one may have some more. */
  readonly #onTime = (): void => {
    this.#timer = undefined
    if (this.#timeLeft > 0) this.#wait()
    else this.flushNow()
  }
}
