/**
 * Finds the ends of records in bytes. Pure. A record is a line, a number of bytes, or one chunk; the ends of
 * chunks are not in the bytes, so the batcher notes them itself.
 *
 *      ... record | record | reco
 *                 |<-------------- offset: bytes since the last end, before `bytes`
 *                          ^ end
 */

import { EVERY_BYTE, type RecordEnds } from '../append/tail.ts'
import { formatCount } from '../errors.ts'
import type { Align } from '../options.ts'

/** In UTF-8 and latin1 this byte is never a part of another character. */
export const NEWLINE = 10

/**
 * Where the last record in `bytes` ends, counted from the last end before them. 0: no record ends.
 * `offset`: bytes from that end to `bytes`.
 */
export function findLastRecordEnd(align: Align, bytes: Uint8Array, offset: number): number {
  if (align === 'chunk') return 0
  if (align === '\n') {
    const newline = bytes.lastIndexOf(NEWLINE)
    return newline < 0 ? 0 : offset + newline + 1
  }
  const length = offset + bytes.length
  return length - (length % align)
}

/**
 * How many of `bytes` belong to the record that is not yet whole; all of them, if it does not end there.
 * `offset`: bytes of the record before them.
 */
export function findFirstRecordEnd(align: Align, bytes: Uint8Array, offset: number): number {
  if (align === 'chunk') return bytes.length
  if (align === '\n') return bytes.indexOf(NEWLINE) + 1 || bytes.length
  return Math.min(bytes.length, align - offset)
}

/** Why `record` is not one whole record; undefined: it is one. */
export function recordProblem(align: Align, record: unknown): string | undefined {
  const isText = typeof record === 'string'
  if (!isText && !(record instanceof Uint8Array)) return 'it must be a string or a Uint8Array'
  if (record.length === 0) return 'it is empty'
  if (align === 'chunk') return undefined
  if (align === '\n') {
    const newline = isText ? record.indexOf('\n') : record.indexOf(NEWLINE)
    return newline === record.length - 1 ? undefined : 'it must end with its only newline'
  }
  const length = Buffer.byteLength(record)
  return length === align
    ? undefined
    : `it has ${formatCount(length, 'byte')}, and align is ${align}`
}

/** Where a batch may be cut. `chunkEnds`: for `'chunk'`, ends that were seen as the chunks came, upward. */
export function createRecordEnds(align: Align, chunkEnds: readonly number[]): RecordEnds {
  if (align === 1) return EVERY_BYTE
  if (align === 'chunk') return endsOfChunks(chunkEnds)
  const ends: RecordEnds =
    align === '\n'
      ? {
          isEnd: (bytes, length) => bytes[length - 1] === NEWLINE,
          findLast: (bytes, length) => bytes.subarray(0, length).lastIndexOf(NEWLINE) + 1,
          findFirst: bytes => findFirstRecordEnd(align, bytes, 0),
          after: () => ends,
        }
      : {
          isEnd: (_bytes, length) => length % align === 0,
          findLast: (_bytes, length) => length - (length % align),
          findFirst: () => align,
          after: () => ends,
        }
  return ends
}

function endsOfChunks(chunkEnds: readonly number[]): RecordEnds {
  return {
    isEnd: (_bytes, length) => chunkEnds.includes(length),
    findLast: (_bytes, length) => chunkEnds.findLast(end => end <= length) ?? 0,
    findFirst: bytes => chunkEnds[0] ?? bytes.length,
    after: length => endsOfChunks(chunkEnds.filter(end => end > length).map(end => end - length)),
  }
}
