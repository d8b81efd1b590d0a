/**
 * Reports losses on standard error, synchronously and completely. `process.stderr` cannot do that: in a worker
 * it needs the main thread, which may be blocked by pino, and what it has not written at exit is lost.
 */

import { writeSync } from 'node:fs'

/** Milliseconds that a full pipe may block the thread in a row, and between two attempts to write. */
const MAX_BLOCKED = 1000
const POLL_INTERVAL = 10

/** What is left of `MAX_BLOCKED` since the last whole line, so that a pipe that is never read costs it only once. */
let blockedTimeLeft = MAX_BLOCKED
const sleepCell = new Int32Array(new SharedArrayBuffer(4))

/** Prints a line. */
export function writeStderr(text: string): void {
  let remaining: Uint8Array = Buffer.from(`oss-append-stream: ${text}\n`)
  while (remaining.length > 0) {
    const written = writeSome(remaining)
    if (written === undefined) return
    remaining = remaining.subarray(written)
  }
  blockedTimeLeft = MAX_BLOCKED
}

/** The number of bytes written. Undefined if standard error is closed or stays full. */
function writeSome(bytes: Uint8Array): number | undefined {
  for (;;) {
    try {
      return writeSync(2, bytes)
    } catch (error) {
      // Any use of `process.stderr` makes a pipe non-blocking, and a full pipe then fails with EAGAIN.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || blockedTimeLeft <= 0)
        return undefined
      blockedTimeLeft -= POLL_INTERVAL
      Atomics.wait(sleepCell, 0, 0, POLL_INTERVAL)
    }
  }
}
