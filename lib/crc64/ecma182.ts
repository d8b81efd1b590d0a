/**
 * The engine on `crc64-ecma182.js`: C compiled to plain JavaScript, so it runs everywhere, at 5 µs a
 * call and some 2 s per GB. Not a place for logic: it only feeds that package what its small heap can
 * take.
 */

import { createRequire } from 'node:module'

/** The CRC of some bytes followed by `bytes`, from the CRC of the former (0 if there are none). */
export type Update = (previous: bigint, bytes: Uint8Array) => bigint

/**
 * Its heap is 16 MiB, and an input of over about 12 MB aborts the process; a slice is copied there
 * whole. At 1 MiB the cost of the call no longer shows.
 */
const SLICE = 1024 * 1024

/** The package is 900 KB of source: read here, when it is wanted, and not by an `import`. */
export function loadEcma182(): Update {
  const ecma182: typeof import('crc64-ecma182.js') = createRequire(import.meta.url)(
    'crc64-ecma182.js',
  )

  return (previous, bytes) => {
    // Only a Buffer will do (a string's length is read in characters), and not an empty one.
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    let crc = previous.toString()
    for (let start = 0; start < buffer.length; start += SLICE) {
      crc = ecma182.crc64(buffer.subarray(start, start + SLICE), crc)
    }
    return BigInt(crc)
  }
}
