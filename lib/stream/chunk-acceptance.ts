/**
 * Counts the chunks of a stream: those that `write()` was given, and those of them that are accepted. Node queues
 * the others. Calls that need all chunks before them, such as `flush()`, wait here.
 */

/** Waits until chunks are accepted. */
interface PendingAcceptance {
  /** How many chunks were written before it. */
  readonly chunks: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export class ChunkAcceptance {
  #written = 0
  #accepted = 0
  /** In order. */
  readonly #pending: PendingAcceptance[] = []

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
    if (this.#pending.length > 0) this.#resolve()
  }

  /** Calls `resolve` once all chunks that are written by now are accepted, before any later one is. */
  wait(resolve: () => void, reject: (error: Error) => void): void {
    if (this.isComplete) resolve()
    else this.#pending.push({ chunks: this.#written, resolve, reject })
  }

  reject(error: Error): void {
    for (const { reject } of this.#pending.splice(0)) reject(error)
  }

  #resolve(): void {
    const later = this.#pending.findIndex(({ chunks }) => chunks > this.#accepted)
    const count = later === -1 ? this.#pending.length : later
    // One splice: a shift for each of 100,000 calls would take seconds.
    for (const { resolve } of this.#pending.splice(0, count)) resolve()
  }
}
