/**
 * A thousand streams that have each sent something and are idle: bytes of memory each, over the same
 * process before them. `{ bytes, atOnce, sink }`: what each sends, and how many do so at a time. Needs
 * `--expose-gc`.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { createClient, createStream } from './ours.js'

const STREAMS = 1000
/** Milliseconds after which an unused connection is closed, and some. */
const KEEP_ALIVE = 16_500

export async function open({ bytes, atOnce, sink }) {
  return async () => {
    const cold = rss()
    const client = createClient(sink)
    const data = Buffer.alloc(bytes, 'x')
    const streams = []
    const send = async () => {
      const stream = createStream(client)
      streams.push(stream)
      stream.write(data)
      await stream.flush()
    }
    // The first loads undici, and is not one of the thousand.
    await send()
    const warm = await settled()
    const lane = async () => {
      for (let i = 0; i < STREAMS / atOnce; i++) await send()
    }
    await Promise.all(Array.from({ length: atOnce }, lane))
    const connected = await settled()
    await sleep(KEEP_ALIVE)
    const alone = await settled()
    for (const stream of streams) stream.destroy()
    return {
      idle: {
        'with their connections': (connected - warm) / STREAMS,
        'connections closed': (alone - warm) / STREAMS,
        'connections closed, undici itself counted': (alone - cold) / STREAMS,
      },
    }
  }
}

function rss() {
  globalThis.gc()
  return process.memoryUsage.rss()
}

/** Freed memory goes back to the system in steps. */
async function settled() {
  for (let i = 0; i < 3; i++) {
    globalThis.gc()
    await sleep(100)
  }
  return rss()
}
