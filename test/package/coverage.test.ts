/** Every source file is loaded by a test, or runs as built in a test that is named here. */

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { transformSync } from 'esbuild'
import t from 'tap'

const ROOT = join(import.meta.dirname, '../..')
const TESTS = join(ROOT, 'test')

/** Files that no test loads as source, and the test that runs each as built. */
const RUN_AS_BUILT: Readonly<Record<string, string>> = {
  'lib/cli/bin.ts': 'cli/process',
  // Compiled to WebAssembly.
  'lib/crc64/kernel/index.ts': 'crc64/engines-agree',
}

/** The code of a file without its types and without the imports of types. */
function codeOf(file: string): string {
  const tsconfigRaw = { compilerOptions: { verbatimModuleSyntax: true } }
  return transformSync(readFileSync(file, 'utf8'), { loader: 'ts', tsconfigRaw }).code
}

/** The files that a file loads, by static and by dynamic imports. */
function loadedBy(file: string): string[] {
  const paths = codeOf(file).matchAll(
    /\b(?:from |import\(|import |URL\()['"](\.[^'"]+\.[tj]s)['"]/g,
  )
  return [...paths]
    .map(([, path = '']) => resolve(file, '..', path))
    .filter(path => existsSync(path))
}

t.test('every source file is loaded by a test, or run as built by a named one', async t => {
  const found = new Set<string>()
  const queue = readdirSync(TESTS, { recursive: true, encoding: 'utf8' })
    .filter(name => /\.(test|slow)\.ts$/.test(name))
    .map(name => join(TESTS, name))
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (found.has(file)) continue
    found.add(file)
    if (file.endsWith('.ts')) queue.push(...loadedBy(file))
  }
  const unused = readdirSync(join(ROOT, 'lib'), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts') && !found.has(join(ROOT, 'lib', name)))
    .map(name => `lib/${name}`)
  const named = Object.keys(RUN_AS_BUILT)
  t.same(
    named,
    named.filter(name => unused.includes(name)),
    'no test loads a named file',
  )
  const isCode = (name: string) => codeOf(join(ROOT, name)).trim() !== ''
  t.same(
    unused.filter(name => !named.includes(name) && isCode(name)),
    [],
    'no other file is left',
  )
  for (const test of Object.values(RUN_AS_BUILT)) {
    const names = ['test', 'slow'].map(set => join(TESTS, `${test}.${set}.ts`))
    t.ok(names.some(existsSync), `${test} exists`)
  }
})
