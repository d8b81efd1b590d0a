/**
 * CRC-64/XZ (ECMA-182), which OSS keeps of every object: `crc64()` and `crc64Combine()`
 * for everybody, with decimal strings as on the wire, and `update()` on bigints for whoever sums as bytes come.
 * A leaf: it knows no other part of the library.
 */

import { combine } from './combine.ts'
import { loadEcma182, type Update } from './ecma182.ts'
import { loadSimd } from './simd.ts'

/** Chosen at the first use. */
let engine: Update | undefined

const LARGEST = 0xffff_ffff_ffff_ffffn

/**
 * The CRC-64/XZ of `data`, as OSS reports it in `x-oss-hash-crc64ecma`.
 *
 * @param data Bytes, or a string, which stands for its UTF-8 bytes.
 * @param previous The CRC of the bytes before `data`; the result then covers both. Default `'0'`,
 *   the CRC of nothing.
 * @returns An unsigned decimal string of at most 20 digits (a Number can't hold it).
 * @throws {TypeError} `data` is neither, or `previous` is not such a string.
 */
export function crc64(data: Uint8Array | string, previous = '0'): string {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data
  if (!(bytes instanceof Uint8Array)) {
    throw new TypeError('crc64: data must be a Uint8Array or a string')
  }
  return update(read(previous, 'crc64: previous'), bytes).toString()
}

/**
 * The CRC-64/XZ of A followed by B, from the CRC of each and the length of B alone. Takes about a
 * microsecond, however long they are.
 *
 * @param a CRC of A, an unsigned decimal string.
 * @param b CRC of B, the same.
 * @param lengthB Bytes in B, 0 to `Number.MAX_SAFE_INTEGER`.
 * @throws {TypeError} `a` or `b` is not a CRC, or `lengthB` not a number.
 * @throws {RangeError} `lengthB` is negative, fractional or too large to be exact.
 */
export function crc64Combine(a: string, b: string, lengthB: number): string {
  const first = read(a, 'crc64Combine: a')
  const second = read(b, 'crc64Combine: b')
  if (typeof lengthB !== 'number') throw new TypeError('crc64Combine: lengthB must be a number')
  if (!Number.isSafeInteger(lengthB) || lengthB < 0) {
    throw new RangeError(`crc64Combine: lengthB must be a whole number of bytes, not ${lengthB}`)
  }
  return combine(first, second, lengthB).toString()
}

/**
 * The CRC of some bytes followed by `bytes`, from the CRC of the former (0 if there are none). `bytes`
 * may be a view of anything, shared memory too; they are not kept.
 */
export function update(previous: bigint, bytes: Uint8Array): bigint {
  if (bytes.length === 0) return previous
  engine ??= loadSimd() ?? loadEcma182()
  return engine(previous, bytes)
}

/** Reads a CRC as OSS writes it; undefined if the text is none. */
export function parseCrc64(text: string): bigint | undefined {
  if (!/^\d{1,20}$/.test(text)) return undefined
  const value = BigInt(text)
  return value > LARGEST ? undefined : value
}

function read(text: string, name: string): bigint {
  const value = typeof text === 'string' ? parseCrc64(text) : undefined
  if (value === undefined) {
    throw new TypeError(`${name} must be a decimal string from '0' to '${LARGEST}'`)
  }
  return value
}
