/** The built package gives the same CRCs on a machine with SIMD, without it, and without WebAssembly. */

import t from 'tap'
import { update } from '../../lib/crc64/index.ts'
import { cleanEnv, spawnClean, waitForChild } from '../helpers/child-process.ts'
import { randomBytes, randomSource } from '../helpers/crc64-reference.ts'

const LENGTHS = [0, 1, 100, 5000, 200_000]

/** Prints the CRC of each length of stdin, and whether crc64-ecma182.js was loaded. */
const SCRIPT = `
import { createRequire } from 'node:module'
import { crc64 } from './dist/crc64/index.js'
const chunks = []
for await (const chunk of process.stdin) chunks.push(chunk)
const bytes = Buffer.concat(chunks)
const crcs = ${JSON.stringify(LENGTHS)}.map(length => crc64(bytes.subarray(0, length), '7'))
const loaded = Object.keys(createRequire(import.meta.url).cache)
console.log(JSON.stringify({ crcs, ecma182: loaded.some(file => /crc64-ecma182/.test(file)) }))
`

const machines: [label: string, flags: string[], usesEcma182: boolean][] = [
  ['with SIMD', [], false],
  ['without WebAssembly', ['--jitless'], true],
]
// V8 can switch off SIMD alone on x64 only.
if (process.arch === 'x64') machines.push(['without SIMD', ['--no-enable-sse4-1'], true])

t.test('the CRCs are the same on every machine', async t => {
  const bytes = randomBytes(randomSource(6), 200_000)
  const crcs = LENGTHS.map(length => `${update(7n, bytes.subarray(0, length))}`)
  for (const [label, flags, ecma182] of machines) {
    const node = [process.execPath, ...flags, '--input-type=module', '-e', SCRIPT]
    const child = spawnClean(node, cleanEnv())
    child.stdin?.end(bytes)
    const { code, stdout } = await waitForChild(child)
    t.equal(code, 0, label)
    t.same(JSON.parse(stdout), { crcs, ecma182 }, label)
  }
})
