/**
 * Compiles the kernel beside it and writes it, as base64 in a module, so that bundlers keep it:
 *
 *     node lib/crc64/kernel/build.js [FILE]        (lib/crc64/wasm.ts)
 *
 * The output depends on the source and the compiler's version alone: a test builds it again.
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
  `/** The kernel, WebAssembly in base64. Made by \`npm run build:kernel\` from \`kernel/\`: do not edit. */
export const CODE =
${lines.map(line => `  '${line}'`).join(' +\n')}
`,
)
