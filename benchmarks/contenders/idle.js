/**
 * Bytes of memory per idle stream, over the same process without the streams. Each of a thousand streams has sent
 * `bytes`, `atOnce` streams at a time. Needs `--expose-gc`. Parameters: `{ bytes, atOnce, sink }`.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { createClient, createStream } from './ours.js'

const STREAMS = 1000
const WARM = 64
/** Milliseconds. A little more than the time after which an unused connection closes. */
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
    const sendAll = async (count, concurrency) => {
      const sendSome = async () => {
        for (let i = 0; i < count / concurrency; i++) await send()
      }
      await Promise.all(Array.from({ length: concurrency }, sendSome))
    }
    // These streams load undici and make malloc grow. They are not among the thousand.
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

/** The memory after the process has given back what it can, which it does in steps. */
async function settled() {
  for (let i = 0; i < 3; i++) {
    globalThis.gc()
    await sleep(100)
  }
  return rss()
}
