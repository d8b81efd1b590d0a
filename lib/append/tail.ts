/**
 * The algebra of an appendable object, pure. An object's *tail* says all that an appender needs to
 * know of it: how long it is, and the CRC-64 of its bytes. A batch moves a tail; `settle` compares
 * what we would have made with what the server shows.
 *
 *      object   |####################|
 *      before                        ^ { position: 20, crc64: crc(####) }
 *      batch                         |++++++|
 *      after                                ^ { position: 26, crc64: combine(crc(####), crc(++), 6) }
 */

import { crc64, crc64Combine } from '../crc64/index.ts'

/** The end of an object: its length in bytes, and the CRC-64/XZ of all its bytes as an unsigned decimal string. */
export interface Tail {
  /** Length of the object in bytes, and so where the next append starts. */
  readonly position: number
  /** CRC-64/XZ of all its bytes, an unsigned decimal string; `'0'` of none. */
  readonly crc64: string
}

/** The bytes of one append. They do not know where they will land, so their CRC can be made early. */
export interface Batch {
  readonly bytes: Uint8Array
  readonly crc64: string
  /** Base64 of the MD5 of `bytes`, where the stream sends it. */
  readonly contentMd5?: string | undefined
}

/** What one reply of the server told. A 409's header alone tells no CRC. */
export interface Seen {
  readonly position: number
  readonly crc64?: string | undefined
}

export type Verdict = 'landed' | 'absent' | 'replaced' | 'conflict'

/** The tail of an object that is absent or empty. */
export const EMPTY_TAIL: Tail = { position: 0, crc64: '0' }

export function createBatch(bytes: Uint8Array, contentMd5?: string): Batch {
  return { bytes, crc64: crc64(bytes), contentMd5 }
}

/** The tail that `before` becomes when `batch` lands behind it. */
export function advance(before: Tail, batch: Batch): Tail {
  const { length } = batch.bytes
  return {
    position: before.position + length,
    crc64: crc64Combine(before.crc64, batch.crc64, length),
  }
}

export function isSameTail(a: Tail, b: Seen): boolean {
  return a.position === b.position && a.crc64 === b.crc64
}

/**
 * What became of a batch, judged by one reply of the server. `seen` is one reply's pair, never mixed
 * from two; `null`: there is no object. Length alone never proves that a batch landed: a rival's
 * append of the same length has the same length.
 */
export function settle(before: Tail, after: Tail, seen: Seen | null): Verdict {
  if (seen === null) return before.position === 0 ? 'absent' : 'replaced'
  if (seen.position < before.position) return 'replaced'
  if (isSameTail(after, seen)) return 'landed'
  if (isSameTail(before, seen)) return 'absent'
  return 'conflict'
}

/**
 * Whether a conflict also proves that the batch is not in the object and can never come to be in it.
 * An object as long as ours or longer may hold our bytes: under a rival's, or behind the bytes of
 * another object that was put in the place of ours. One of the length before us would still take a
 * late attempt. What ends in between is closed to us, since an append lands at its exact position only.
 */
export function isShutOut(before: Tail, after: Tail, seen: Seen): boolean {
  return seen.position > before.position && seen.position < after.position
}
