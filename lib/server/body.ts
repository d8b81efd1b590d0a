/**
 * The body of a request: read whole before anything is decided about it, so that a body that ends
 * early changes nothing. Its MD5 and its CRC are computed while it comes in. It can be read slowly,
 * stopped half-way or damaged, for the faults that ask for it. Needs a stream that throws when the
 * connection breaks off; it does not touch objects.
 */

import { createHash, type Hash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { update } from './crc64.ts'
import { tooLarge } from './errors.ts'

/** A body that has arrived. */
export interface Body {
  readonly chunks: readonly Buffer[]
  readonly length: number
  /** Base64, or undefined when nobody asked. */
  readonly md5: string | undefined
  /** CRC of the bytes with `seed` before them, where it was known when they came. */
  readonly crc64: string
  readonly seed: string
}

/** How to read a body. */
export interface Reading {
  /** CRC of what the bytes will probably follow. */
  readonly seed: string
  readonly wantsMd5: boolean
  /** Refuse more than this many bytes. */
  readonly maxBytes: number
  /** Bytes per second; Infinity for as they come. */
  readonly rate: number
  /** Stop, with what there is, after this many bytes. */
  readonly stopAfter?: number | undefined
  /** Damage the byte at this index. */
  readonly corruptAt?: number | undefined
  readonly signal: AbortSignal
}

/** Reads a body. Rejects when the connection breaks off before its end, or when it is too long. */
export async function receive(req: IncomingMessage, how: Reading): Promise<Body> {
  const hash: Hash | undefined = how.wantsMd5 ? createHash('md5') : undefined
  const chunks: Buffer[] = []
  const start = performance.now()
  let crc64 = how.seed
  let length = 0
  const incoming: AsyncIterable<Buffer> = req.iterator({ destroyOnReturn: false })
  for await (const chunk of incoming) {
    damage(chunk, how.corruptAt, length)
    length += chunk.length
    if (length > how.maxBytes) throw tooLarge(how.maxBytes, true)
    chunks.push(chunk)
    crc64 = update(chunk, crc64)
    hash?.update(chunk)
    if (how.stopAfter !== undefined && length >= how.stopAfter) break
    const ahead = (length / how.rate) * 1000 - (performance.now() - start)
    if (ahead > 1) await sleep(ahead, undefined, { signal: how.signal })
  }
  return { chunks, length, md5: hash?.digest('base64'), crc64, seed: how.seed }
}

function damage(chunk: Buffer, index: number | undefined, start: number): void {
  if (index === undefined || index < start || index >= start + chunk.length) return
  chunk[index - start]! ^= 0xff
}
