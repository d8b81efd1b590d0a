/** The sizes of the CRC cases, in bytes. */

const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB

export const SIZES = {
  '64 B': 64,
  '256 B': 256,
  '1 KiB': KIB,
  '2 KiB': 2 * KIB,
  '4 KiB': 4 * KIB,
  '16 KiB': 16 * KIB,
  '64 KiB': 64 * KIB,
  '256 KiB': 256 * KIB,
  '1 MiB': MIB,
  '4 MiB': 4 * MIB,
  '8 MiB': 8 * MIB,
}

/** Lengths of the second part for `crc64Combine()`. */
export const LENGTHS = {
  'combine 4 MiB': 4 * MIB,
  'combine 4 MiB - 1': 4 * MIB - 1,
  'combine 5 GiB + 12,345': 5 * GIB + 12_345,
  'combine 2^53 - 1': Number.MAX_SAFE_INTEGER,
}
