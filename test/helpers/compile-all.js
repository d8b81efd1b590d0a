/**
 * Compiles all files of `lib` and `test` into the cache of the loader hook, in one process. Otherwise each
 * test file of a fresh clone would start an esbuild of its own.
 */

import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { compile } from './typescript-hook.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const files = ['lib', 'test'].flatMap(folder => {
  const names = readdirSync(`${root}${folder}`, { recursive: true })
  // The kernel is AssemblyScript.
  const sources = names.filter(name => name.endsWith('.ts') && !name.includes('kernel/'))
  return sources.map(name => `${root}${folder}/${name}`)
})
await Promise.all(files.map(file => compile(file, readFileSync(file, 'utf8'))))
