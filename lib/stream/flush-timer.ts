/**
 * Decides when a batch is due: when it is full, when its first byte has waited for `flushInterval`, or when
 * a flush or the end asks for it. At most one timer runs, and only while a whole record waits: that record is
 * unacknowledged, so the timer holds the process. A record that is not whole cannot be sent, and sets none.
 */

import { type Clock, systemClock, type Timer } from '../clock.ts'
import type { Batcher } from './batcher.ts'

export class FlushTimer {
  readonly #batcher: Batcher
  /** Milliseconds; 0: no timer. */
  readonly #flushInterval: number
  readonly #onDue: () => void
  readonly #clock: Clock
  /** Count of accepted bytes. Bytes before it are due without a full batch. */
  #due = 0
  #timer: Timer | undefined
  /** Count of accepted bytes at which the filling buffer begins, and the time of its first byte. */
  #fillingFrom = -1
  #fillingSince = 0

  constructor(batcher: Batcher, flushInterval: number, onDue: () => void, clock = systemClock) {
    this.#batcher = batcher
    this.#flushInterval = flushInterval
    this.#onDue = onDue
    this.#clock = clock
  }

  /** Whether the next batch should be sent as soon as no append is in flight; also true if a record is too long. */
  get isDue(): boolean {
    const { hasReady, isTooLong, accepted, filling } = this.#batcher
    return hasReady || isTooLong || this.#due > accepted - filling
  }

  /** Bytes were accepted: either a batch is full, or the time of its first byte begins to run. */
  onBytes(): void {
    const { hasReady, isTooLong } = this.#batcher
    if (hasReady || isTooLong) this.#onDue()
    else if (this.#timer) return
    this.#wait()
  }

  /** Makes all whole records due. Returns the count of accepted bytes that they end at. */
  flushNow(): number {
    const { accepted, filling, whole } = this.#batcher
    const due = accepted - filling + whole
    this.makeDue(due)
    return due
  }

  /** Makes the first `due` bytes due, whether the batcher has them all by now or not. */
  makeDue(due: number): void {
    this.#due = Math.max(this.#due, due)
    this.#onDue()
  }

  /** A batch was taken: the first byte behind it is the oldest now. */
  onBatch(): void {
    if (this.#batcher.whole === 0) this.stop()
    this.#wait()
  }

  stop(): void {
    if (this.#timer) this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Notes the time of the filling buffer's first byte, and starts the timer once a whole record waits. */
  #wait(): void {
    const { accepted, filling } = this.#batcher
    if (filling === 0 || this.#flushInterval === 0) return
    if (accepted - filling !== this.#fillingFrom) {
      this.#fillingFrom = accepted - filling
      this.#fillingSince = this.#clock.now()
    }
    // A due batch takes along all records that are whole when it is sent.
    if (this.#timer || this.isDue || this.#batcher.whole === 0) return
    this.#timer = this.#clock.setTimeout(this.#onTime, Math.ceil(this.#timeLeft))
  }

  get #timeLeft(): number {
    return this.#fillingSince + this.#flushInterval - this.#clock.now()
  }

  /** The timer may have been set for an earlier batch; then the present one still has time. */
  readonly #onTime = (): void => {
    this.#timer = undefined
    if (this.#timeLeft > 0) this.#wait()
    else this.flushNow()
  }
}
