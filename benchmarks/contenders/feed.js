/** Feeds a Writable as fast as it takes: what every contender that is a stream has in common. */

/** Calls `write(stream)` `count` times, waiting for `'drain'` where that says false; then ends. */
export async function feed(stream, count, write) {
  const closed = new Promise((resolve, reject) => {
    stream.once('error', reject)
    stream.once('close', resolve)
  })
  // Seen by the await below; until then it is nobody's.
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
