/**
 * The engine on `crc64-ecma182.js`, which is C compiled to plain JavaScript. It runs everywhere, and takes
 * 5 µs per call and about 2 s per GB.
 */

import { createRequire } from 'node:module'

/** The CRC of a message followed by `bytes`. `previous` is the CRC of the message, 0 for an empty one. */
export type Update = (previous: bigint, bytes: Uint8Array) => bigint

/**
 * Bytes per call. crc64-ecma182.js 2.0.2 copies the input to a heap of 16 MiB, and more than about 12 MB abort
 * the process. At 1 MiB the cost of a call does not matter.
 */
const SLICE = 1024 * 1024

/** Loads the package here and not by an `import`: it is 900 KB of source, and machines with SIMD need none of it. */
export function loadEcma182(): Update {
  const ecma182: typeof import('crc64-ecma182.js') = createRequire(import.meta.url)(
    'crc64-ecma182.js',
  )

  return (previous, bytes) => {
    // The package takes a Buffer that is not empty. It reads the length of a string in characters.
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    let crc = previous.toString()
    for (let start = 0; start < buffer.length; start += SLICE) {
      crc = ecma182.crc64(buffer.subarray(start, start + SLICE), crc)
    }
    return BigInt(crc)
  }
}
