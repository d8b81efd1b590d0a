/**
 * CRC-64/XZ of what the server stores, by the npm package crc64-ecma182.js and on purpose not by the
 * client's own engine: a client and a server that shared one could be wrong together and agree.
 *
 * A CRC is an unsigned decimal string everywhere here, as on the wire: it does not fit a Number.
 */

import { crc64 } from 'crc64-ecma182.js'

/**
 * The package copies its input into a fixed heap and aborts the process on more than about 12 MB.
 */
const SLICE_SIZE = 4 * 1024 * 1024

/** CRC of the bytes seen so far (`previous`, '0' for none) followed by `chunk`. */
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
