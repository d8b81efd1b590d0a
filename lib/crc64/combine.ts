/**
 * The CRC of A followed by B: `crc(A B) = crc(A) * x^(8 |B|) + crc(B)` over GF(2), modulo the polynomial P
 * of the CRC. The power is a product of precomputed x^(8 * 2^k), one for each set bit of |B|.
 *
 *     high, 32 bits:  x^0 ... x^31       low, 32 bits:  x^32 ... x^63       (top bit first)
 *
 * A polynomial is two numbers, bit-reflected like the CRC. Multiplication by x is a shift to the right. A bit
 * that leaves `low` is x^64, which equals the other terms of P.
 */

const POLYNOMIAL_HIGH = 0xc96c5795 | 0
const POLYNOMIAL_LOW = 0xd7870f42 | 0

/** The bits of a safe integer. */
const POWERS = 53

/** x^(8 * 2^k) at 2k (high) and 2k + 1 (low). Computed at the first use, in half a millisecond. */
let powers: Int32Array | undefined

/**
 * @param a CRC of A.
 * @param b CRC of B.
 * @param lengthB Bytes in B, a safe integer from 0. The caller checks it.
 */
export function combine(a: bigint, b: bigint, lengthB: number): bigint {
  powers ??= computePowers()
  const product = new Int32Array([Number(a >> 32n), Number(a & 0xffff_ffffn)])
  // Division, since shifts take 32 bits and a length has up to 53.
  for (let k = 0, rest = lengthB; rest > 0; k++, rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) multiply(product, powers[2 * k]!, powers[2 * k + 1]!)
  }
  return join(product) ^ b
}

/** `product *= (high, low)` modulo P. */
function multiply(product: Int32Array, high: number, low: number): void {
  let sumHigh = 0
  let sumLow = 0
  for (let half = 0; half < 2; half++) {
    for (let bits = product[half]!, n = 0; n < 32; n++, bits <<= 1) {
      // Masks in place of branches: the bits are random, so the processor would predict half of them wrong.
      const taken = bits >> 31
      sumHigh ^= high & taken
      sumLow ^= low & taken
      const carry = -(low & 1)
      low = ((low >>> 1) | (high << 31)) ^ (POLYNOMIAL_LOW & carry)
      high = (high >>> 1) ^ (POLYNOMIAL_HIGH & carry)
    }
  }
  product[0] = sumHigh
  product[1] = sumLow
}

function computePowers(): Int32Array {
  const table = new Int32Array(2 * POWERS)
  const power = new Int32Array([1 << (31 - 8), 0]) // x^8
  for (let k = 0; k < POWERS; k++) {
    table.set(power, 2 * k)
    multiply(power, power[0]!, power[1]!)
  }
  return table
}

function join(halves: Int32Array): bigint {
  return (BigInt(halves[0]! >>> 0) << 32n) | BigInt(halves[1]! >>> 0)
}
