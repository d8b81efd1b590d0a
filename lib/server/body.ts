/**
 * The body of a request. It is read whole before the request is served, so that a body that ends early
 * changes nothing. Its MD5 and CRC are computed as it arrives. Faults have it read slowly, stopped half-way
 * or damaged.
 */

import { createHash, type Hash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { MAX_DELAY } from '../validate.ts'
import { updateCrc64 } from './crc64.ts'
import { entityTooLarge, OssRefusal } from './errors.ts'
import type { OssRequest } from './request.ts'

/** A body that has arrived. */
export interface RequestBody {
  readonly chunks: readonly Buffer[]
  readonly length: number
  /** Base64; undefined without `wantsMd5`. */
  readonly md5: string | undefined
  /** CRC of the object up to `initialCrc64` and these bytes. */
  readonly crc64: string
  /** As in the options. */
  readonly initialCrc64: string
}

/** How to read a body. */
export interface ReadBodyOptions {
  /** CRC of the object that the bytes will probably follow, as it is when they begin to arrive. */
  readonly initialCrc64: string
  readonly wantsMd5: boolean
  /** Refuse more than this many bytes. */
  readonly maxBytes: number
  /** Bytes per second, or Infinity; 0: the link stands still. */
  readonly rate: number
  /** Stop after this many bytes. */
  readonly stopAfter?: number | undefined
  /** Damage the byte at this index. */
  readonly corruptAt?: number | undefined
  readonly signal: AbortSignal
}

/** Reads a body. Rejects if the connection breaks before its end, or if it is longer than `maxBytes`. */
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
    if (delay > 1)
      await sleep(Math.min(delay, MAX_DELAY), undefined, { signal: options.signal, ref: false })
  }
  return { chunks, length, md5: hash?.digest('base64'), crc64, initialCrc64: options.initialCrc64 }
}

/** Refuses a body that differs from its Content-MD5. */
export function checkMd5({ headers }: OssRequest, body: RequestBody): void {
  const md5 = headers.get('content-md5')
  if (md5 === undefined) return
  if (!/^[A-Za-z0-9+/]{22}==$/.test(md5)) {
    const message = 'The Content-MD5 you specified is not valid.'
    throw new OssRefusal(400, 'InvalidDigest', message, { ec: '0017-00000502' })
  }
  if (md5 !== body.md5) {
    const message = 'The Content-MD5 you specified did not match what we received.'
    throw new OssRefusal(400, 'InvalidDigest', message, { ec: '0017-00000503' })
  }
}

function corruptByte(chunk: Buffer, index: number | undefined, start: number): void {
  if (index === undefined || index < start || index >= start + chunk.length) return
  chunk[index - start]! ^= 0xff
}
