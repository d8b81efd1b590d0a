/**
 * How many bytes one attempt carries, pure. A batch that cannot get through a slow link or a proxy with a
 * body limit is sent in shorter appends. One object of this class lives as long as a stream.
 *
 *      size      4M --timeout--> 2M --timeout--> 1M ..... 1M --16 successes--> 2M ...
 *      ceiling                   4M              2M           none
 *
 * A size that fails becomes the ceiling: plain doubling would fail again after each success. The ceiling is
 * lifted after 16 appends of the present size, then after 32, 64, ... A size that was refused with 413 is
 * never tried again.
 */

/** Bytes. Shorter appends would cost more requests than they save. */
const FLOOR = 65_536
/** Appends of one size before a size that failed is tried again. */
const FIRST_TRIAL = 16
/**
 * Bytes. The usual deadline is long enough for an attempt of this length on any link that works. If it times out,
 * the link is down, and a longer deadline would only delay the news. So the factor is at most length / FACTOR_STEP.
 */
const FACTOR_STEP = 4096

export class AttemptSize {
  readonly #highWaterMark: number
  readonly #floor: number
  #bytes: number
  /** Sizes from here on are not tried until enough appends have succeeded. */
  #ceiling = Number.POSITIVE_INFINITY
  /** Sizes from here on are never tried again. */
  #refused = Number.POSITIVE_INFINITY
  /** Appends of the present size. */
  #successes = 0
  #trial = FIRST_TRIAL
  #deadlineFactor = 1
  /** Appends of any size. */
  #successesSinceTimeout = 0

  /** `highWaterMark`: bytes of a full batch. `floor`: bytes of the least size. */
  constructor(highWaterMark: number, floor: number = FLOOR) {
    this.#highWaterMark = highWaterMark
    this.#floor = Math.min(floor, highWaterMark)
    this.#bytes = highWaterMark
  }

  /** Bytes that the next attempt has at most, unless one record is longer. */
  get bytes(): number {
    return this.#bytes
  }

  /** How many times longer than usual an attempt may take: more than 1 only where it cannot be shorter. */
  deadlineFactorOf(length: number): number {
    return this.#canHalve(length) ? 1 : Math.min(this.#deadlineFactor, maxFactor(length))
  }

  /** An attempt of `length` bytes has succeeded. */
  onSuccess(length: number): void {
    this.#successesSinceTimeout += 1
    if (this.#successesSinceTimeout >= FIRST_TRIAL) this.#deadlineFactor = 1
    // A short batch says nothing about a full one. One that is cut at a record's end is a little shorter.
    if (length * 2 < this.#bytes) return
    this.#successes += 1
    const next = this.#bytes * 2
    if (next >= this.#ceiling) {
      if (this.#successes < this.#trial) return
      this.#ceiling = Number.POSITIVE_INFINITY
      this.#trial *= 2
    }
    if (next >= this.#refused || this.#bytes === this.#highWaterMark) return
    this.#bytes = Math.min(this.#highWaterMark, next)
    this.#successes = 0
  }

  /** An attempt of `length` bytes timed out. */
  onTimeout(length: number): void {
    this.#successesSinceTimeout = 0
    if (this.onCut(length)) return
    const most = Math.max(this.#deadlineFactor, maxFactor(length))
    this.#deadlineFactor = Math.min(this.#deadlineFactor * 2, most)
  }

  /** The connection broke while a body of `length` bytes was leaving. False: no attempt can be shorter. */
  onCut(length: number): boolean {
    if (!this.#halve(length)) return false
    this.#ceiling = length
    return true
  }

  /** A body of `length` bytes was refused for its size. False: no attempt can be shorter. */
  onRefused(length: number): boolean {
    if (!this.#halve(length)) return false
    this.#refused = Math.min(this.#refused, length)
    return true
  }

  #halve(length: number): boolean {
    if (!this.#canHalve(length)) return false
    this.#bytes = Math.max(this.#floor, Math.floor(length / 2))
    this.#successes = 0
    return true
  }

  /** False: at the floor, or one record that is longer than the size asks for. */
  #canHalve(length: number): boolean {
    return length > this.#floor && length <= this.#bytes
  }
}

function maxFactor(length: number): number {
  return Math.max(1, Math.floor(length / FACTOR_STEP))
}
