/**
 * CRC-64 by size: `crc64()` beside `hash-wasm` and `crc64-ecma182.js`, and `crc64Combine()` beside the
 * time that 4 MiB take. Needs `npm run build`; `node benchmarks/crc64.js [ROUNDS]`.
 *
 * The contenders take turns (A B C A B C ...), so that a busy moment of the machine hits them all. A
 * turn lasts some 10 ms; shown are the medians over all turns, with the slowest and the fastest turn.
 */

import ecma182 from 'crc64-ecma182.js'
import { createCRC64 } from 'hash-wasm'
import { crc64, crc64Combine } from '../dist/crc64/index.js'

const ROUNDS = Number(process.argv[2] ?? 31)
const TURN = 10e6 // nanoseconds

const KIB = 1024
const MIB = 1024 * KIB
const sizes = [
  ['64 B', 64],
  ['256 B', 256],
  ['1 KiB', KIB],
  ['2 KiB', 2 * KIB],
  ['4 KiB', 4 * KIB],
  ['16 KiB', 16 * KIB],
  ['64 KiB', 64 * KIB],
  ['256 KiB', 256 * KIB],
  ['1 MiB', MIB],
  ['4 MiB', 4 * MIB],
  ['8 MiB', 8 * MIB],
]

const hasher = await createCRC64()
const contenders = {
  ours: bytes => crc64(bytes),
  // Its fastest form: no hexadecimal text.
  'hash-wasm': bytes => hasher.init().update(bytes).digest('binary'),
  'crc64-ecma182.js': bytes => ecma182.crc64(bytes),
}

const pool = Buffer.alloc(8 * MIB)
for (let i = 0; i < pool.length; i += 4) pool.writeInt32LE(Math.imul(i, 0x9e3779b1), i)

console.log(
  `Node ${process.version}, ${process.arch}, ${ROUNDS} turns each, GB/s: median (min-max)\n`,
)
console.log(
  '| size | ours | hash-wasm | crc64-ecma182.js | ours / hash-wasm | ours / crc64-ecma182.js |',
)
console.log('| --- | --- | --- | --- | --- | --- |')
warmUp()
let wholeTime = 0
for (const [label, size] of sizes) {
  const bytes = pool.subarray(0, size)
  const times = inTurn(Object.values(contenders).map(sum => () => sum(bytes)))
  const [ours, wasm, ecma] = times.map(turns => turns.median)
  if (size === 4 * MIB) wholeTime = ours
  const speeds = times.map(
    ({ median, min, max }) => `${speed(size, median)} (${speed(size, max)}-${speed(size, min)})`,
  )
  console.log(`| ${label} | ${speeds.join(' | ')} | ${ratio(wasm, ours)} | ${ratio(ecma, ours)} |`)
}

console.log('\n| combine, length of B | time | of the time for 4 MiB |')
console.log('| --- | --- | --- |')
const [a, b] = [crc64('a'), crc64('b')]
const lengths = [4 * MIB, 4 * MIB - 1, 5 * 2 ** 30 + 12_345, Number.MAX_SAFE_INTEGER]
inTurn(lengths.map(length => () => crc64Combine(a, b, length))).forEach(({ median }, i) => {
  const part = `1/${Math.round(wholeTime / median)}`
  console.log(`| ${lengths[i]} | ${(median / 1000).toFixed(2)} µs | ${part} |`)
})

/** The first calls of each are interpreted, and not what a long-lived process sees. */
function warmUp() {
  for (const sum of Object.values(contenders)) {
    for (let i = 0; i < 20_000; i++) sum(pool.subarray(0, 64))
    for (let i = 0; i < 20; i++) sum(pool.subarray(0, MIB))
  }
}

/** Nanoseconds a call of each task. */
function inTurn(tasks) {
  const counts = tasks.map(task => {
    let count = 1
    while (time(task, count) < TURN / 2) count *= 2
    return count
  })
  const turns = tasks.map(() => [])
  for (let round = 0; round < ROUNDS; round++) {
    tasks.forEach((task, i) => {
      turns[i].push(time(task, counts[i]) / counts[i])
    })
  }
  return turns.map(values => {
    values.sort((x, y) => x - y)
    return { median: values[values.length >> 1], min: values[0], max: values.at(-1) }
  })
}

function time(task, count) {
  const start = process.hrtime.bigint()
  for (let i = 0; i < count; i++) task()
  return Number(process.hrtime.bigint() - start)
}

function speed(bytes, nanoseconds) {
  return (bytes / nanoseconds).toFixed(2)
}

function ratio(theirs, ours) {
  return `${(theirs / ours).toFixed(1)}x`
}
