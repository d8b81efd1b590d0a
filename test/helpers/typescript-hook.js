/**
 * A loader hook that removes types with esbuild. `npm run types` checks the types.
 *
 * The output is cached by the content of the file: each test file runs in its own process, and esbuild takes
 * a while to start. The source maps are inline, so that coverage counts the lines of `lib/*.ts`.
 */

import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

const CACHE = new URL('../../node_modules/.cache/typescript/', import.meta.url)

export async function load(url, context, nextLoad) {
  if (!url.startsWith('file:') || !new URL(url).pathname.endsWith('.ts')) {
    return nextLoad(url, context)
  }
  const file = fileURLToPath(url)
  const source = await compile(file, await readFile(file, 'utf8'))
  return { format: 'module', shortCircuit: true, source }
}

export async function compile(file, text) {
  // The path is part of the source map.
  const name = createHash('sha256').update(`${file}\n${text}`).digest('hex')
  const cached = new URL(`${name}.js`, CACHE)
  const known = await readFile(cached, 'utf8').catch(() => undefined)
  if (known !== undefined) return known
  const { transform } = await import('esbuild')
  const { code } = await transform(text, {
    loader: 'ts',
    format: 'esm',
    target: 'node20',
    sourcefile: file,
    sourcemap: 'inline',
  })
  await mkdir(CACHE, { recursive: true })
  // Test files run at the same time, and none may read a half-written file.
  const part = new URL(`${name}.${process.pid}`, CACHE)
  await writeFile(part, code)
  await rename(part, cached)
  return code
}
