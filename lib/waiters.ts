/**
 * Who waits for bytes to be acknowledged, in the order of those. It counts bytes as the
 * batcher does, and knows neither time nor network. Each is told in a tick of its own.
 */

import type { Tail } from './tail.ts'

interface Waiter {
  /** Bytes accepted when it began to wait: all of these it wants to see acknowledged. */
  readonly accepted: number
  readonly resolve: (tail: Tail) => void
  readonly reject: (error: Error) => void
}

export class Waiters {
  #waiters: Waiter[] = []

  /** Most come last. But who waits for the end may come before a mark that Node still holds. */
  add(waiter: Waiter): void {
    const last = this.#waiters.findLastIndex(({ accepted }) => accepted <= waiter.accepted)
    this.#waiters.splice(last + 1, 0, waiter)
  }

  /** So many bytes are in the object, which ends at `tail`. */
  resolve(acknowledged: number, tail: Tail): void {
    const waiting = this.#waiters.findIndex(({ accepted }) => accepted > acknowledged)
    const count = waiting === -1 ? this.#waiters.length : waiting
    if (count === 0) return
    // At once: one by one, a thousand times a thousand waiters would be moved.
    for (const { resolve } of this.#waiters.splice(0, count)) process.nextTick(resolve, tail)
  }

  reject(error: Error): void {
    for (const { reject } of this.#waiters.splice(0)) reject(error)
  }
}
