/** The memory of one long stream. Parameters: `{ total, options, sink }`. */

import { feed } from './feed.js'
import { createClient, createStream } from './ours.js'

const GIB = 1024 ** 3
const CHUNK = 64 * 1024

export async function open({ total, options, sink }) {
  const client = createClient(sink)
  const bytes = Buffer.alloc(CHUNK, 'x')
  return async () => {
    const stream = createStream(client, { maxObjectBytes: 2 * total, ...options })
    /** The highest memory within each GiB. */
    const peaks = []
    const timer = setInterval(() => {
      const i = Math.floor(stream.bytesWritten / GIB)
      peaks[i] = Math.max(peaks[i] ?? 0, process.memoryUsage.rss())
    }, 20)
    await feed(stream, total / CHUNK, stream => stream.write(bytes))
    clearInterval(timer)
    return { bytes: total, peaks: peaks.slice(0, Math.max(1, total / GIB)) }
  }
}
