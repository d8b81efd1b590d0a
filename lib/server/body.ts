/**
 * The body of a request: read whole before anything is decided about it, so that a body that ends
 * early changes nothing. Its MD5 and its CRC are computed while it comes in. It can be read slowly,
 * stopped half-way or damaged, for the faults that ask for it. Needs a stream that throws when the
 * connection breaks off; it does not touch objects.
 */

import { createHash, type Hash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { updateCrc64 } from './crc64.ts'
import { entityTooLarge } from './errors.ts'

/** A body that has arrived. */
export interface RequestBody {
  readonly chunks: readonly Buffer[]
  readonly length: number
  /** Base64, or undefined when nobody asked. */
  readonly md5: string | undefined
  /** CRC of the bytes with `seed` before them, where it was known when they came. */
  readonly crc64: string
  readonly initialCrc64: string
}

/** How to read a body. */
export interface ReadBodyOptions {
  /** CRC of what the bytes will probably follow. */
  readonly initialCrc64: string
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
export async function readBody(
  req: IncomingMessage,
  options: ReadBodyOptions,
): Promise<RequestBody> {
  const hash: Hash | undefined = options.wantsMd5 ? createHash('md5') : undefined
  const chunks: Buffer[] = []
  const start = performance.now()
  let crc64 = options.initialCrc64
  let length = 0
  const incoming: AsyncIterable<Buffer> = req.iterator({ destroyOnReturn: false })
  for await (const chunk of incoming) {
    corruptByte(chunk, options.corruptAt, length)
    length += chunk.length
    if (length > options.maxBytes) throw entityTooLarge(options.maxBytes, true)
    chunks.push(chunk)
    crc64 = updateCrc64(chunk, crc64)
    hash?.update(chunk)
    if (options.stopAfter !== undefined && length >= options.stopAfter) break
    const delay = (length / options.rate) * 1000 - (performance.now() - start)
    if (delay > 1) await sleep(delay, undefined, { signal: options.signal })
  }
  return { chunks, length, md5: hash?.digest('base64'), crc64, initialCrc64: options.initialCrc64 }
}

function corruptByte(chunk: Buffer, index: number | undefined, start: number): void {
  if (index === undefined || index < start || index >= start + chunk.length) return
  chunk[index - start]! ^= 0xff
}
