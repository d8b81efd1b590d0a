/**
 * Appends through a link with a round trip and a bandwidth, at several sizes in a turn. Parameters:
 * `{ link: { roundTrip, rate }, appends: { '1 MiB': 32 }, depth, memory, sink }`; `memory`: `highWaterMark` by size.
 */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { feed } from './feed.js'
import { createClient, createStream } from './ours.js'
import { SIZES } from './sizes.js'

export async function open({ link, appends, depth = 1, memory = 1, sink }) {
  const settings = JSON.stringify({ ...link, port: sink.port })
  const relay = fork(new URL('../relay.js', import.meta.url), [settings])
  const [{ port }] = await once(relay, 'message')
  const client = createClient({ port })
  const sizes = Object.entries(appends).map(([name, count]) => {
    const chunk = Buffer.alloc(SIZES[name] / 2)
    for (let i = 0; i + 4 <= chunk.length; i += 4) chunk.writeInt32LE(Math.imul(i, 0x9e3779b1), i)
    return { name, chunk, count: 2 * count }
  })
  // Without an option that a version does not know, the serial loops run there too.
  const pipelining = depth > 1 ? { pipelining: depth } : {}
  return async () => {
    const speeds = {}
    let bytes = 0
    for (const { name, chunk, count } of sizes) {
      const highWaterMark = SIZES[name] * memory
      // From a known position, so that no HEAD is a part of the time.
      const options = { position: 0, highWaterMark, contentMd5: false, ...pipelining }
      const start = performance.now()
      await feed(createStream(client, options), count, stream => stream.write(chunk))
      speeds[name] = (chunk.length * count) / ((performance.now() - start) / 1000)
      bytes += chunk.length * count
    }
    return { bytes, speeds }
  }
}
