/** The two CRC engines on random inputs, compared with each other and with `hash-wasm`. */

import { createCRC64 } from 'hash-wasm'
import t from 'tap'
import { combine } from '../../lib/crc64/combine.ts'
import { loadEcma182, type Update } from '../../lib/crc64/ecma182.ts'
import { loadSimd } from '../../lib/crc64/simd.ts'
import { randomBytes, randomCrc, randomSource } from '../helpers/crc64-reference.ts'

export const ecma182 = loadEcma182()
export const simd = loadSimd() as Update

const hasher = await createCRC64()

/** Whether `hash-wasm` gives the same CRC. */
export function agreesWithHashWasm(crc: bigint, bytes: Uint8Array): boolean {
  const bigEndian = Buffer.alloc(8)
  bigEndian.writeBigUInt64BE(crc)
  return bigEndian.equals(hasher.init().update(bytes).digest('binary'))
}

/** Throws for the first wrong CRC: after one there are thousands. */
export function check(isRight: boolean, label: string): void {
  if (!isRight) throw new Error(label)
}

/** Adds a test of `rounds` random inputs. `CRC64_SEED` replaces its seed. */
export function testRandomInputs(rounds: number): void {
  const seed = Number(process.env.CRC64_SEED ?? 182)
  t.test(`the engines agree on ${rounds} random inputs of seed ${seed}`, async t => {
    const random = randomSource(seed)
    const pool = randomBytes(random, 1024 * 1024)
    pool.fill(0, 300_000, 400_000) // as in a sparse file
    pool.fill(0xff, 500_000, 550_000)
    let round = 0
    for (; round < rounds; round++) {
      // Lengths between 2^k and 2^(k+1) are equally likely for each k. One input in a hundred may be long.
      const longest = round % 100 === 0 ? pool.length : 16_384
      const length = Math.floor(longest ** random())
      const start = Math.floor(random() * (pool.length - length + 1))
      const bytes = pool.subarray(start, start + length)
      const crc = simd(0n, bytes)
      let isRight = agreesWithHashWasm(crc, bytes)

      const previous = randomCrc(random)
      isRight &&= simd(previous, bytes) === combine(previous, crc, length)
      if (round % 10 === 0) isRight &&= simd(previous, bytes) === ecma182(previous, bytes)

      const cut = Math.floor(random() * (length + 1))
      const head = simd(previous, bytes.subarray(0, cut))
      isRight &&= simd(head, bytes.subarray(cut)) === combine(previous, crc, length)
      check(
        isRight,
        `round ${round}: ${length} bytes at ${start}, cut at ${cut}, after ${previous}`,
      )
    }
    t.equal(round, rounds)
  })
}
