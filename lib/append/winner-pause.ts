/**
 * Fairness between the writers of one object. A writer that lost races and then succeeded waits a random part
 * of one round trip before its next append; the others send at once, at the length that OSS told them. Without
 * the wait one writer would win again and again: it alone knows the new length half a round trip earlier.
 */

import type { Clock } from '../clock.ts'

export class WinnerPause {
  readonly #clock: Clock
  #until = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** A contended append has succeeded, and its request took `roundTrip` milliseconds. */
  start(roundTrip: number): void {
    this.#until = this.#clock.now() + this.#clock.random() * roundTrip
  }

  /** Milliseconds; 0 or less: it is over. */
  get left(): number {
    return this.#until - this.#clock.now()
  }
}
