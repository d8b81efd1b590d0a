/**
 * CRC-64/XZ (ECMA-182), which OSS computes for every object. `crc64()` and `crc64Combine()` are public and take
 * decimal strings, as in the headers of OSS. `update()` and `combine()` take bigints, which are faster for many small
 * inputs.
 */

import { combine } from './combine.ts'
import { loadEcma182, type Update } from './ecma182.ts'
import { loadSimd } from './simd.ts'

export { combine }

/** Selected at the first use. */
let engine: Update | undefined

const LARGEST = 0xffff_ffff_ffff_ffffn

/**
 * The CRC-64/XZ of `data`, as OSS reports it in `x-oss-hash-crc64ecma`.
 *
 * @param data Bytes, or a string in place of its UTF-8 bytes.
 * @param previous The CRC of the bytes before `data`. The result covers both. Default `'0'`, the CRC of no
 *   bytes.
 * @returns An unsigned decimal string of at most 20 digits. A Number cannot hold all of them.
 * @throws {TypeError} `data` is neither bytes nor a string, or `previous` is not a CRC.
 */
export function crc64(data: Uint8Array | string, previous = '0'): string {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data
  if (!(bytes instanceof Uint8Array)) {
    throw new TypeError(`crc64: data must be a Uint8Array or a string, not ${describe(data)}`)
  }
  return update(requireCrc64(previous, 'crc64: previous'), bytes).toString()
}

/**
 * The CRC-64/XZ of A followed by B, computed from their CRCs and the length of B. Takes some microseconds for
 * any length.
 *
 * @param a CRC of A, an unsigned decimal string.
 * @param b CRC of B, an unsigned decimal string.
 * @param lengthB Bytes in B, 0 to `Number.MAX_SAFE_INTEGER`.
 * @throws {TypeError} `a` or `b` is not a CRC, or `lengthB` is not a number.
 * @throws {RangeError} `lengthB` is negative, fractional or not a safe integer.
 */
export function crc64Combine(a: string, b: string, lengthB: number): string {
  const first = requireCrc64(a, 'crc64Combine: a')
  const second = requireCrc64(b, 'crc64Combine: b')
  if (typeof lengthB !== 'number') {
    throw new TypeError(`crc64Combine: lengthB must be a number, not ${describe(lengthB)}`)
  }
  if (!Number.isSafeInteger(lengthB) || lengthB < 0) {
    throw new RangeError(`crc64Combine: lengthB must be a whole number of bytes, not ${lengthB}`)
  }
  return combine(first, second, lengthB).toString()
}

/**
 * The CRC of a message followed by `bytes`. `previous` is the CRC of the message, 0 for an empty one. `bytes` may
 * be a view of any buffer, also of shared memory, and are not kept.
 */
export function update(previous: bigint, bytes: Uint8Array): bigint {
  if (bytes.length === 0) return previous
  engine ??= loadSimd() ?? loadEcma182()
  return engine(previous, bytes)
}

/** Parses a CRC as OSS writes it. Undefined if the text is not a CRC. */
export function parseCrc64(text: string): bigint | undefined {
  if (!/^\d{1,20}$/.test(text)) return undefined
  const value = BigInt(text)
  return value > LARGEST ? undefined : value
}

function requireCrc64(text: string, name: string): bigint {
  const value = typeof text === 'string' ? parseCrc64(text) : undefined
  if (value === undefined) {
    const range = `'0' to '${LARGEST}'`
    throw new TypeError(`${name} must be a decimal string from ${range}, not ${describe(text)}`)
  }
  return value
}

/** A wrong value for an error message: its text if it is short, else its type. */
function describe(value: unknown): string {
  if (typeof value === 'string' && value.length <= 40) return JSON.stringify(value)
  if (typeof value === 'number' || typeof value === 'bigint') return `the ${typeof value} ${value}`
  return value === null ? 'null' : `a value of type ${typeof value}`
}
