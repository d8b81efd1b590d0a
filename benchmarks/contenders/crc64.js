/**
 * Nanoseconds per call of a CRC engine, by size. Ours also times `crc64Combine()` by the length of its second
 * part. Parameters: `{ contender }`.
 */

import ecma182 from 'crc64-ecma182.js'
import { createCRC64 } from 'hash-wasm'
import { crc64, crc64Combine } from '../../dist/crc64/index.js'
import { LENGTHS, SIZES } from './sizes.js'

/** Milliseconds per size. */
const TURN = 10
const MIB = 1024 * 1024

const engines = {
  ours: () => bytes => crc64(bytes),
  // The fastest form of its result, without hexadecimal text.
  'hash-wasm': async () => {
    const hasher = await createCRC64()
    return bytes => hasher.init().update(bytes).digest('binary')
  },
  'crc64-ecma182.js': () => bytes => ecma182.crc64(bytes),
}

export async function open({ contender }) {
  const sum = await engines[contender]()
  const pool = Buffer.alloc(8 * MIB)
  for (let i = 0; i < pool.length; i += 4) pool.writeInt32LE(Math.imul(i, 0x9e3779b1), i)
  // The first calls run in the interpreter, unlike those of a long-lived process.
  for (let i = 0; i < 20_000; i++) sum(pool.subarray(0, 64))
  for (let i = 0; i < 20; i++) sum(pool.subarray(0, MIB))

  const tasks = Object.entries(SIZES).map(([label, size]) => {
    const bytes = pool.subarray(0, size)
    return [label, () => sum(bytes)]
  })
  if (contender === 'ours') {
    const [a, b] = [crc64('a'), crc64('b')]
    for (const [label, length] of Object.entries(LENGTHS)) {
      tasks.push([label, () => crc64Combine(a, b, length)])
    }
  }
  return async () => ({
    calls: Object.fromEntries(tasks.map(([label, task]) => [label, time(task)])),
  })
}

/** Nanoseconds per call. */
function time(task) {
  let count = 1
  while (run(task, count) < TURN / 4) count *= 2
  count *= 2
  return (run(task, count) / count) * 1e6
}

function run(task, count) {
  const start = performance.now()
  for (let i = 0; i < count; i++) task()
  return performance.now() - start
}
