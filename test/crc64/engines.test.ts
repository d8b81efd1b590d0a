/**
 * The two engines against each other, `hash-wasm` and the definition. `CRC64_ROUNDS=1000000` makes the
 * random part longer, `CRC64_SEED` another one.
 */

import { createCRC64 } from 'hash-wasm'
import t from 'tap'
import { combine } from '../../lib/crc64/combine.ts'
import { loadEcma182, type Update } from '../../lib/crc64/ecma182.ts'
import { update } from '../../lib/crc64/index.ts'
import { loadSimd } from '../../lib/crc64/simd.ts'
import { bitwise, randomBytes, randomCrc, randomSource } from '../helpers/crc64-reference.ts'

const ROUNDS = Number(process.env.CRC64_ROUNDS ?? 100_000)
const SEED = Number(process.env.CRC64_SEED ?? 182)

const ecma182 = loadEcma182()
const simd = loadSimd() as Update
const engines = { ecma182, simd }

/** Stops at the first, for where one input fails thousands do. */
function check(good: boolean, name: string): void {
  if (!good) throw new Error(name)
}

const hasher = await createCRC64()
const hashWasm = (bytes: Uint8Array) => hasher.init().update(bytes).digest('binary')
const bigEndian = (crc: bigint) => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(crc)
  return bytes
}

/** Where the kernel changes its way; every length around each of them is tried. */
const TURNS = [1408, 1792, 65_536, 65_536 + 1792, 2 * 65_536, 2 * 65_536 + 1792]

t.test('this machine has SIMD, or half of this file proves nothing', async t => {
  t.type(simd, 'function')
})

t.test('every length, and every first byte', async t => {
  const random = randomSource(1)
  const bytes = randomBytes(random, 150_000)
  const lengths = new Set(Array.from({ length: 8193 }, (_, length) => length))
  for (const turn of TURNS) for (let i = -40; i <= 40; i++) lengths.add(turn + i)
  for (let i = 0; i < 500; i++) lengths.add(Math.floor(random() * bytes.length))

  // One walk over the bytes gives what every prefix must be.
  let expected = 0n
  for (let length = 0; length <= bytes.length; length++) {
    if (length > 0) expected = bitwise(expected, bytes.subarray(length - 1, length))
    if (!lengths.has(length)) continue
    for (const [name, engine] of Object.entries(engines)) {
      check(engine(0n, bytes.subarray(0, length)) === expected, `${name}: ${length} bytes`)
    }
  }
  t.equal(simd(0n, bytes), expected)

  for (let byte = 0; byte < 256; byte++) {
    const one = Uint8Array.of(byte)
    const previous = randomCrc(random)
    const crc = bitwise(previous, one)
    for (const [name, engine] of Object.entries(engines)) {
      check(engine(previous, one) === crc, `${name}: byte ${byte}`)
    }
  }
})

t.test('every alignment', async t => {
  const random = randomSource(2)
  const whole = new Uint8Array(200_000)
  for (const length of [
    1, 7, 8, 9, 15, 16, 17, 100, 1403, 1791, 1792, 2100, 5000, 70_000, 140_001,
  ]) {
    const bytes = randomBytes(random, length)
    const expected = ecma182(0n, bytes)
    t.ok(bigEndian(expected).equals(hashWasm(bytes)), `${length} bytes`)
    for (let offset = 0; offset < 64; offset++) {
      whole.fill(0xa5)
      whole.set(bytes, offset)
      const view = whole.subarray(offset, offset + length)
      check(simd(0n, view) === expected, `simd: ${length} bytes at ${offset}`)
      if (offset < 8) check(ecma182(0n, view) === expected, `ecma182: ${length} at ${offset}`)
    }
  }
})

t.test('every split, by previous and by combine', async t => {
  const random = randomSource(3)
  for (const length of [64, 3000, 8192, 140_000]) {
    const bytes = randomBytes(random, length)
    const whole = ecma182(0n, bytes)
    const step = length > 8192 ? 61 : 1
    for (let cut = 0; cut <= length; cut += step) {
      const [head, rest] = [bytes.subarray(0, cut), bytes.subarray(cut)]
      const first = update(0n, head)
      check(update(first, rest) === whole, `${length} bytes, previous at ${cut}`)
      const joined = combine(first, update(0n, rest), rest.length)
      check(joined === whole, `${length} bytes, combine at ${cut}`)
    }
    t.equal(update(0n, bytes), whole)
  }
})

t.test(`${ROUNDS} random inputs, seed ${SEED}`, async t => {
  const random = randomSource(SEED)
  const pool = randomBytes(random, 1024 * 1024)
  pool.fill(0, 300_000, 400_000) // a file may be sparse
  pool.fill(0xff, 500_000, 550_000)
  let round = 0
  for (; round < ROUNDS; round++) {
    // As many lengths between 2^k and 2^(k+1) for each k; one in a hundred is long.
    const largest = round % 100 === 0 ? pool.length : 16_384
    const length = Math.floor(largest ** random())
    const start = Math.floor(random() * (pool.length - length + 1))
    const bytes = pool.subarray(start, start + length)
    const crc = simd(0n, bytes)
    let good = bigEndian(crc).equals(hashWasm(bytes))

    const previous = randomCrc(random)
    good &&= simd(previous, bytes) === combine(previous, crc, length)
    if (round % 10 === 0) good &&= simd(previous, bytes) === ecma182(previous, bytes)

    const cut = Math.floor(random() * (length + 1))
    const after = simd(previous, bytes.subarray(0, cut))
    good &&= simd(after, bytes.subarray(cut)) === combine(previous, crc, length)
    check(good, `round ${round}: ${length} bytes at ${start}, cut at ${cut}, after ${previous}`)
  }
  t.equal(round, ROUNDS)
})

t.test('inputs larger than the heap of crc64-ecma182.js', async t => {
  const bytes = Buffer.alloc(20 * 1024 * 1024 + 5, randomBytes(randomSource(4), 99_991))
  for (const length of [bytes.length, 16 * 1024 * 1024, 1024 * 1024 + 1, 1024 * 1024]) {
    const input = bytes.subarray(0, length)
    const expected = hashWasm(input)
    for (const [name, engine] of Object.entries(engines)) {
      t.ok(bigEndian(engine(0n, input)).equals(expected), `${name}: ${length} bytes`)
    }
  }
})

t.test('what one call leaves behind does not reach the next', async t => {
  const random = randomSource(5)
  const bytes = randomBytes(random, 300_000)
  const lengths = [300_000, 5, 140_000, 1792, 70_000, 1791, 67_328, 67_329, 0, 1, 132_865, 1793]
  const expected = new Map(lengths.map(length => [length, ecma182(0n, bytes.subarray(0, length))]))
  for (const first of lengths) {
    for (const second of lengths) {
      simd(0n, bytes.subarray(0, first))
      const crc = simd(0n, bytes.subarray(0, second))
      check(crc === expected.get(second), `${second} bytes after ${first}`)
    }
  }
  t.same(bytes, randomBytes(randomSource(5), 300_000), 'the input is left alone')
})
