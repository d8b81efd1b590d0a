/**
 * Finds the ends of records in bytes. Pure. A record is a line, a number of bytes, or one chunk; the ends of
 * chunks are not in the bytes, so the batcher notes them itself.
 *
 *      ... record | record | reco
 *                 |<-------------- offset: bytes since the last end, before `bytes`
 *                          ^ end
 */

import type { Align } from '../options.ts'

/** In UTF-8 and latin1 this byte is never a part of another character. */
const NEWLINE = 10

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
