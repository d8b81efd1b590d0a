/**
 * The CRC of two byte strings in a row, from the CRC of each: `crc(A B) = crc(A) * x^(8 |B|) + crc(B)`
 * over GF(2), modulo the CRC's polynomial P. The power is a product of precomputed x^(8 * 2^k), one for
 * each bit of |B|, so the cost is one multiplication per set bit, and none of it is in BigInt.
 *
 * A polynomial is two 32-bit halves, bit-reflected as the CRC itself: the top bit of `high` is the
 * coefficient of x^0, the bottom bit of `low` that of x^63. Hence multiplying by x is a shift to the
 * right, and a bit that falls out is x^64, which is P's other terms.
 */

const POLYNOMIAL_HIGH = 0xc96c5795 | 0
const POLYNOMIAL_LOW = 0xd7870f42 | 0

/** As many as a safe integer has bits. */
const POWERS = 53

/** x^(8 * 2^k) at 2k (high) and 2k + 1 (low); made at the first use, which takes half a millisecond. */
let powers: Int32Array | undefined

/**
 * @param a CRC of A.
 * @param b CRC of B.
 * @param lengthB Bytes in B; a safe integer from 0, which is the caller's duty to check.
 */
export function combine(a: bigint, b: bigint, lengthB: number): bigint {
  powers ??= computePowers()
  const product = new Int32Array([Number(a >> 32n), Number(a & 0xffff_ffffn)])
  // Not by shifts: a length has up to 53 bits.
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
      // Masks, not branches: the bits are as good as random, and every second guess would be wrong.
      const take = bits >> 31
      sumHigh ^= high & take
      sumLow ^= low & take
      const over = -(low & 1)
      low = ((low >>> 1) | (high << 31)) ^ (POLYNOMIAL_LOW & over)
      high = (high >>> 1) ^ (POLYNOMIAL_HIGH & over)
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
