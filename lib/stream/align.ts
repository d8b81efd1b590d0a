/**
 * Where records end, pure. A record is a line, so many bytes, or what one `write()` was given; bytes
 * are always looked at from the end of one record on:
 *
 *      record | record | reco        part: bytes that came in; `at`: how far behind an end they begin
 *             ^ end    ^ end
 *
 * The ends of chunks do not lie in the bytes: who writes them knows.
 */

import { EVERY_BYTE, type RecordEnds } from '../append/tail.ts'
import type { Align } from '../options.ts'

/** A byte that is no part of another character in UTF-8, and in latin1 neither. */
const NEWLINE = 10

/** Where the last record in `part` ends, counted from the end that `part` lies `at` bytes behind. 0: nowhere. */
export function findLastRecordEnd(align: Align, bytes: Uint8Array, offset: number): number {
  if (align === 'chunk') return 0
  if (align === '\n') {
    const newline = bytes.lastIndexOf(NEWLINE)
    return newline < 0 ? 0 : offset + newline + 1
  }
  const length = offset + bytes.length
  return length - (length % align)
}

/** How many bytes of `part` belong to the record that `at` bytes have come of: all, if it goes on. */
export function findFirstRecordEnd(align: Align, bytes: Uint8Array, offset: number): number {
  if (align === 'chunk') return bytes.length
  if (align === '\n') return bytes.indexOf(NEWLINE) + 1 || bytes.length
  return Math.min(bytes.length, align - offset)
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
