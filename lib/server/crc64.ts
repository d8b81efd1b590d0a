/**
 * CRC-64/XZ of what the server stores, by the npm package crc64-ecma182.js. The client has an engine of its
 * own: if both shared one, they could be wrong together and still agree.
 *
 * A CRC is an unsigned decimal string, as on the wire: it does not fit a Number.
 */

import { crc64 } from 'crc64-ecma182.js'

/** crc64-ecma182.js 2.0: aborts the process on an input of more than about 12 MB. */
const SLICE_SIZE = 4 * 1024 * 1024

/** CRC of the bytes so far (`previous`, '0' for none) followed by `chunk`. */
export function updateCrc64(chunk: Buffer, previous: string): string {
  let crc = previous
  for (let start = 0; start < chunk.length; start += SLICE_SIZE) {
    crc = crc64(chunk.subarray(start, start + SLICE_SIZE), crc)
  }
  return crc
}

/** The same over a list of chunks. */
export function crc64OfChunks(chunks: Iterable<Buffer>, previous: string): string {
  let crc = previous
  for (const chunk of chunks) crc = updateCrc64(chunk, crc)
  return crc
}
