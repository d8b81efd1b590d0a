/**
 * Functions of the caller run in ticks of their own, or throw there: an error in one of them must not end the
 * loop of a stream, or prevent the other callbacks of a write, 'finish' or 'close'.
 */

import type { WriteCallback } from './event-types.ts'

/**
 * Calls back in a tick of its own: Node calls several callbacks in a row, and one that throws would prevent the
 * others, 'finish' and 'error'. A closure in `write()` itself would cost each write a context, 50 ns.
 */
export function inOwnTick(callback: WriteCallback): WriteCallback {
  return error => process.nextTick(callback, error)
}

/** Calls back at once, and throws in a tick of its own. */
export function throwLater(callback: WriteCallback): WriteCallback {
  return error => {
    try {
      callback(error)
    } catch (thrown) {
      throwInNextTick(thrown)
    }
  }
}

export function throwInNextTick(error: unknown): void {
  process.nextTick(() => {
    throw error
  })
}
