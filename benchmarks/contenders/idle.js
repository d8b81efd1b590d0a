/**
 * A thousand streams that have each sent something and are idle: bytes of memory each, over the same
 * process before them. `{ bytes, atOnce, sink }`: what each sends, and how many do so at a time. Needs
 * `--expose-gc`.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { createClient, createStream } from './ours.js'

const STREAMS = 1000
const WARM = 64
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
    const sendAll = async (count, lanes) => {
      const lane = async () => {
        for (let i = 0; i < count / lanes; i++) await send()
      }
      await Promise.all(Array.from({ length: lanes }, lane))
    }
    // These load undici and give malloc its shape, and are not of the thousand.
    await sendAll(WARM, Math.min(WARM, atOnce))
    const warm = await settled()
    await sendAll(STREAMS, atOnce)
    const connected = await settled()
    await sleep(KEEP_ALIVE)
    const alone = await settled()
    for (const stream of streams) stream.destroy()
    return {
      idle: {
        'with their connections': (connected - warm) / STREAMS,
        'connections closed': (alone - warm) / STREAMS,
        'the same, over the process before its first append': (alone - cold) / STREAMS,
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
