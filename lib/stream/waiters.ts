/**
 * Who waits for what is acknowledged, in the order of that. It counts as its owner does (a stream
 * bytes, an outbox slabs), and knows neither time nor network. Each is told in a tick of its own,
 * or by the promise that it made.
 */

interface Waiter<T> {
  /** How much there was when it began to wait: all of that it wants to see acknowledged. */
  readonly accepted: number
  readonly resolve: (value: T) => void
  readonly reject: (error: Error) => void
}

export class Waiters<T> {
  #waiters: Waiter<T>[] = []

  /** Most come last. But who waits for the end may come before a mark that Node still holds. */
  add(waiter: Waiter<T>): void {
    const last = this.#waiters.findLastIndex(({ accepted }) => accepted <= waiter.accepted)
    this.#waiters.splice(last + 1, 0, waiter)
  }

  /** So much is acknowledged, and `value` is what those who waited for it are told. */
  resolve(acknowledged: number, value: T): void {
    const waiting = this.#waiters.findIndex(({ accepted }) => accepted > acknowledged)
    const count = waiting === -1 ? this.#waiters.length : waiting
    if (count === 0) return
    // At once: one by one, a thousand times a thousand waiters would be moved.
    for (const { resolve } of this.#waiters.splice(0, count)) process.nextTick(resolve, value)
  }

  reject(error: Error): void {
    for (const { reject } of this.#waiters.splice(0)) reject(error)
  }
}
