/**
 * `write()` and `end()` of a transport that has already ended. A logger may go on logging then, and Node's
 * Writable would emit an `'error'`, which ends the process. Both transports count such records as
 * undelivered instead.
 */

import type { WriteCallback } from '../stream/event-types.ts'

/**
 * A write after the end. `add` counts the chunk as undelivered. The caller's callback gets the error that `add`
 * passes on, else null, in a tick of its own.
 */
export function writeLate(
  add: (done: WriteCallback) => void,
  encoding: BufferEncoding | WriteCallback | undefined,
  callback: WriteCallback | undefined,
): true {
  const done = typeof encoding === 'function' ? encoding : callback
  add(error => {
    if (done) process.nextTick(done, error ?? null)
  })
  return true
}

/**
 * An end after the end. `write` gets the chunk that comes with it, if any. The caller's callback runs once
 * `closed()` resolves: a handler of SIGTERM that waits for it must not wait for ever.
 */
export function endLate(
  args: readonly unknown[],
  write: (chunk: unknown) => void,
  closed: () => Promise<unknown>,
): void {
  const [chunk] = args
  if (chunk !== undefined && chunk !== null && typeof chunk !== 'function') write(chunk)
  const callback = args.find(arg => typeof arg === 'function') as (() => void) | undefined
  if (callback) void closed().then(() => process.nextTick(callback))
}
