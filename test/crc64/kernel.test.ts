/**
 * The kernel as a piece of the package: what is in `wasm.ts` is what `kernel/` says, and a machine
 * without SIMD gets the same numbers from the other engine. Children are clean: no loader of the tests,
 * the built package only.
 */

import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { update } from '../../lib/crc64/index.ts'
import { randomBytes, randomSource } from '../helpers/crc64-reference.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(NODE_OPTIONS$|_TAPJS_)/.test(name)),
)

t.test('building the kernel again gives the same file', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'crc64-'))
  t.teardown(() => rm(folder, { recursive: true }))
  const file = join(folder, 'wasm.ts')
  await run(process.execPath, [join(root, 'lib/crc64/kernel/build.js'), file], { env })
  const [built, kept] = await Promise.all([
    readFile(file, 'utf8'),
    readFile(join(root, 'lib/crc64/wasm.ts'), 'utf8'),
  ])
  t.equal(built, kept)
})

const LENGTHS = [0, 1, 100, 5000, 200_000]

/** Prints the CRC of the first so many bytes of stdin, each, and whether the package was loaded. */
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

const machines: [string, string[], boolean][] = [
  ['as it is', [], false],
  ['no WebAssembly', ['--jitless'], true],
]
// A flag of V8 for x64 only: the other machines' SIMD can't be switched off alone.
if (process.arch === 'x64') machines.push(['no SIMD', ['--no-enable-sse4-1'], true])

t.test('the same numbers on every machine', async t => {
  const bytes = randomBytes(randomSource(6), 200_000)
  const crcs = LENGTHS.map(length => `${update(7n, bytes.subarray(0, length))}`)
  for (const [name, flags, ecma182] of machines) {
    const child = run(process.execPath, [...flags, '--input-type=module', '-e', SCRIPT], {
      cwd: root,
      env,
    })
    child.child.stdin?.end(bytes)
    const { stdout } = await child
    t.same(JSON.parse(stdout), { crcs, ecma182 }, name)
  }
})
