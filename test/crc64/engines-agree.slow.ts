/** The two CRC engines, compared with each other, with `hash-wasm` and with the definition. */

import t from 'tap'
import { combine } from '../../lib/crc64/combine.ts'
import { update } from '../../lib/crc64/index.ts'
import { bitwise, randomBytes, randomCrc, randomSource } from '../helpers/crc64-reference.ts'
import { agreesWithHashWasm, check, ecma182, simd, testRandomInputs } from './random-inputs.ts'

const engines = { ecma182, simd }

/** Lengths at which the kernel changes its method. The tests try every length around each of them. */
const THRESHOLDS = [1408, 1792, 65_536, 65_536 + 1792, 2 * 65_536, 2 * 65_536 + 1792]

t.test('this machine has WebAssembly SIMD, which the other tests need', async t => {
  t.type(simd, 'function')
})

t.test('the engines follow the definition for every length and every single byte', async t => {
  const random = randomSource(1)
  const bytes = randomBytes(random, 150_000)
  const lengths = new Set(Array.from({ length: 8193 }, (_, length) => length))
  for (const length of THRESHOLDS) for (let i = -40; i <= 40; i++) lengths.add(length + i)
  for (let i = 0; i < 500; i++) lengths.add(Math.floor(random() * bytes.length))

  // One pass over the bytes gives the CRC of every prefix.
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

t.test('the engines agree at every alignment', async t => {
  const random = randomSource(2)
  const whole = new Uint8Array(200_000)
  for (const length of [
    1, 7, 8, 9, 15, 16, 17, 100, 1403, 1791, 1792, 2100, 5000, 70_000, 140_001,
  ]) {
    const bytes = randomBytes(random, length)
    const expected = ecma182(0n, bytes)
    t.ok(agreesWithHashWasm(expected, bytes), `${length} bytes`)
    for (let offset = 0; offset < 64; offset++) {
      whole.fill(0xa5)
      whole.set(bytes, offset)
      const view = whole.subarray(offset, offset + length)
      check(simd(0n, view) === expected, `simd: ${length} bytes at ${offset}`)
      if (offset < 8) check(ecma182(0n, view) === expected, `ecma182: ${length} at ${offset}`)
    }
  }
})

t.test('a CRC in two parts is that of the whole, by previous and by combine', async t => {
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

testRandomInputs(20_000)

t.test('the engines take inputs larger than the heap of crc64-ecma182.js', async t => {
  const bytes = Buffer.alloc(20 * 1024 * 1024 + 5, randomBytes(randomSource(4), 99_991))
  for (const length of [bytes.length, 16 * 1024 * 1024, 1024 * 1024 + 1, 1024 * 1024]) {
    const input = bytes.subarray(0, length)
    for (const [name, engine] of Object.entries(engines)) {
      t.ok(agreesWithHashWasm(engine(0n, input), input), `${name}: ${length} bytes`)
    }
  }
})

t.test('the memory of one call does not change the CRC of the next', async t => {
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
  t.same(bytes, randomBytes(randomSource(5), 300_000), 'the input is unchanged')
})
