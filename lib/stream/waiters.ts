/**
 * Flush callbacks, ordered by the count that they wait for. The owner decides what is counted: a stream
 * counts bytes, an outbox chunks of records. Each `resolve` runs in a tick of its own.
 */

interface Waiter<T> {
  /** The count that it waits for. */
  readonly accepted: number
  readonly resolve: (value: T) => void
  readonly reject: (error: Error) => void
}

export class Waiters<T> {
  #waiters: Waiter<T>[] = []

  /** Keeps the order: a `flush()` after `end()` waits for all, and may be added before one that waits for less. */
  add(waiter: Waiter<T>): void {
    const last = this.#waiters.findLastIndex(({ accepted }) => accepted <= waiter.accepted)
    this.#waiters.splice(last + 1, 0, waiter)
  }

  /** Calls back every waiter whose count is acknowledged, with `value`. */
  resolve(acknowledged: number, value: T): void {
    const waiting = this.#waiters.findIndex(({ accepted }) => accepted > acknowledged)
    const count = waiting === -1 ? this.#waiters.length : waiting
    if (count === 0) return
    // One splice for all: with one for each, 1,000 waiters would be moved 1,000 times.
    for (const { resolve } of this.#waiters.splice(0, count)) process.nextTick(resolve, value)
  }

  reject(error: Error): void {
    for (const { reject } of this.#waiters.splice(0)) reject(error)
  }
}
