/** Writes to a stream as fast as it accepts. */

/** Calls `write(stream)` `count` times, waits for `'drain'` after each false, and ends the stream. */
export async function feed(stream, count, write) {
  const closed = new Promise((resolve, reject) => {
    stream.once('error', reject)
    stream.once('close', resolve)
  })
  // The `await` below handles a rejection. Until then it must not count as unhandled.
  closed.catch(() => {})
  for (let i = 0; i < count; i++) {
    if (write(stream) === false) await Promise.race([drained(stream), closed])
  }
  stream.end()
  await closed
}

function drained(stream) {
  return new Promise(resolve => stream.once('drain', resolve))
}
