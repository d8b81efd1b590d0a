/**
 * Counts the chunks of a stream: those that `write()` was given, and those of them that are accepted. Node queues
 * the others. Calls that need all chunks before them, such as `flush()`, wait here.
 */

/** A call that waits until chunks are accepted. */
interface PendingCall {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export class ChunkAcceptance {
  #written = 0
  #accepted = 0
  /**
   * By the number of chunks that were written before them. In an array of all, a `shift()` for each of 100,000 calls
   * would take seconds.
   */
  readonly #pending = new Map<number, PendingCall[]>()

  /** Chunks that `write()` was given. */
  get written(): number {
    return this.#written
  }

  /** Those of them that are accepted. */
  get accepted(): number {
    return this.#accepted
  }

  /** Node queues none. */
  get isComplete(): boolean {
    return this.#accepted === this.#written
  }

  /** A chunk is about to be written. */
  onWrite(): void {
    this.#written += 1
  }

  /** Node has refused that chunk: it was none. */
  onRefused(): void {
    this.#written -= 1
  }

  /** All of one more chunk is accepted, and nothing behind it yet. */
  onAccepted(): void {
    this.#accepted += 1
    const calls = this.#pending.get(this.#accepted)
    if (!calls) return
    this.#pending.delete(this.#accepted)
    for (const { resolve } of calls) resolve()
  }

  /** Calls `resolve` once all chunks that are written by now are accepted, before any later one is. */
  wait(resolve: () => void, reject: (error: Error) => void): void {
    if (this.isComplete) {
      resolve()
      return
    }
    const calls = this.#pending.get(this.#written)
    if (calls) calls.push({ resolve, reject })
    else this.#pending.set(this.#written, [{ resolve, reject }])
  }

  reject(error: Error): void {
    const calls = [...this.#pending.values()].flat()
    this.#pending.clear()
    for (const { reject } of calls) reject(error)
  }
}
