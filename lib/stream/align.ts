/**
 * Where records end, pure. A record is a line, so many bytes, or what one `write()` was given; bytes
 * are always looked at from the end of one record on:
 *
 *      record | record | reco        part: bytes that came in; `at`: how far behind an end they begin
 *             ^ end    ^ end
 *
 * The ends of chunks do not lie in the bytes: who writes them knows.
 */

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
