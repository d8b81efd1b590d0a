/**
 * Compiles `index.ts` and writes it as base64 in a module, which bundlers keep:
 *
 *     node lib/crc64/kernel/build.js [FILE]        (default: lib/crc64/wasm.ts)
 *
 * The output depends only on the source and the version of the compiler. A test builds it again.
 */

import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import asc from 'assemblyscript/asc'

const folder = fileURLToPath(new URL('.', import.meta.url))
const file = process.argv[2] ?? fileURLToPath(new URL('../wasm.ts', import.meta.url))

let code
const { error, stderr } = await asc.main(
  [
    'index.ts',
    ...['--baseDir', folder, '--outFile', 'kernel.wasm'],
    ...['-O3', '--noAssert', '--runtime', 'stub', '--enable', 'simd'],
    ...['--initialMemory', '2', '--maximumMemory', '2'],
  ],
  { writeFile: (_name, contents) => { code = Buffer.from(contents) } },
)
if (error) throw new Error(`${error.message}\n${stderr}`)

const lines = code.toString('base64').match(/.{1,92}/g)
writeFileSync(
  file,
  `/** The kernel as WebAssembly in base64, made from \`kernel/\` by \`npm run build:kernel\`. Do not edit. */
export const CODE =
${lines.map(line => `  '${line}'`).join(' +\n')}
`,
)
