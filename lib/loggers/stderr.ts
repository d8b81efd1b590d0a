/**
 * Standard error, for what nobody may miss. It writes at once and to the end, and not by `process.stderr`:
 * a worker's needs the main thread, which may wait for us, and what a process has not written when it
 * exits is gone.
 */

import { writeSync } from 'node:fs'

/** Milliseconds for which a pipe that is full may hold us up, and from one look at it to the next. */
const MAX_BLOCKED = 1000
const POLL_INTERVAL = 10

/** What is left of it: a reader that reads no more costs it once, and not once for each line. */
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

/** How many bytes it took. Undefined: it is closed, or stays full, and there is nobody left to tell. */
function writeSome(bytes: Uint8Array): number | undefined {
  for (;;) {
    try {
      return writeSync(2, bytes)
    } catch (error) {
      // A pipe does not block once `process.stderr` was touched: that it is full looks like a failure.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || blockedTimeLeft <= 0)
        return undefined
      blockedTimeLeft -= POLL_INTERVAL
      Atomics.wait(sleepCell, 0, 0, POLL_INTERVAL)
    }
  }
}
