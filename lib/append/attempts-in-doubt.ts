/**
 * The attempts whose outcome is unknown, pure. Each may have landed, or may land yet, from one position of
 * the object to another. An attempt is forgotten only when the tail is past its start: it can never land
 * then, since OSS appends at the object's exact length only.
 *
 *      from          to
 *       |------------|      in doubt
 *            ^ seen         shut out: another writer's bytes begin at `from`, and end before `to`
 */

interface Attempt {
  readonly from: number
  readonly to: number
}

export class AttemptsInDoubt {
  /** No two are the same, so retries at one position do not make the list longer. */
  #attempts: Attempt[] = []

  get isEmpty(): boolean {
    return this.#attempts.length === 0
  }

  add(from: number, to: number): void {
    // The creation of an empty object leaves no byte in doubt.
    if (from === to) return
    if (this.#attempts.some(attempt => attempt.from === from && attempt.to === to)) return
    this.#attempts.push({ from, to })
  }

  /** Lengths of the attempts at `position` that an object of `end` bytes may hold; the longest first. */
  lengths(position: number, end: number): number[] {
    const fitting = this.#attempts.filter(({ from, to }) => from === position && to <= end)
    return fitting.map(({ to }) => to - position).sort((a, b) => b - a)
  }

  /** None of the attempts can land any more. */
  clear(): void {
    this.#attempts = []
  }

  /** The tail is at `position` now. */
  forgetBefore(position: number): void {
    this.#attempts = this.#attempts.filter(({ from }) => from >= position)
  }

  /**
   * The bytes behind `position` that may be in the object, now or later; undefined: none. `seen`: the
   * length of an object that has other bytes at `position`. An object that is as long as an attempt's end
   * or longer may hold its bytes, under or behind those of others. An object that ends at its start may
   * still take it.
   */
  unresolved(position: number, seen?: number): Span | undefined {
    const isShutOut = ({ from, to }: Attempt) => seen !== undefined && from < seen && seen < to
    if (this.isEmpty || this.#attempts.every(isShutOut)) return undefined
    const end = Math.max(...this.#attempts.map(({ to }) => to))
    return { position, length: end - position }
  }
}

/** Bytes of an object. */
interface Span {
  readonly position: number
  readonly length: number
}
