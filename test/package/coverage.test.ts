/** What the figure of coverage leaves out is written down, and tested elsewhere (helpers/coverage-map.js). */

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import t from 'tap'
import ts from 'typescript'

const ROOT = join(import.meta.dirname, '../..')
const TESTS = join(ROOT, 'test')

/** Files that no test loads as source, and the test that runs each as built. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  'lib/cli/bin.ts': 'cli/process',
  // As WebAssembly.
  'lib/crc64/kernel/index.ts': 'crc64/engines',
}

/** Files that a file loads, now or later: not those of which it wants types alone. */
function loadedBy(file: string): string[] {
  const { outputText } = ts.transpileModule(readFileSync(file, 'utf8'), {
    compilerOptions: {
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ES2023,
      verbatimModuleSyntax: true,
    },
  })
  const paths = outputText.matchAll(/\b(?:from |import\(|import |URL\()['"](\.[^'"]+\.[tj]s)['"]/g)
  return [...paths]
    .map(([, path = '']) => resolve(file, '..', path))
    .filter(path => existsSync(path))
}

t.test('every source is loaded by a test, or named with the one that runs it as built', async t => {
  const found = new Set<string>()
  const queue = readdirSync(TESTS, { recursive: true, encoding: 'utf8' })
    .filter(name => /\.(test|slow)\.ts$/.test(name))
    .map(name => join(TESTS, name))
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (found.has(file)) continue
    found.add(file)
    if (/\.ts$/.test(file)) queue.push(...loadedBy(file))
  }
  const sources = readdirSync(join(ROOT, 'lib'), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .map(name => join(ROOT, 'lib', name))
  const left = sources
    .filter(file => !found.has(file) && !isTypes(file))
    .map(file => relative(ROOT, file))
  t.same(left.sort(), Object.keys(ELSEWHERE).sort())
  for (const test of Object.values(ELSEWHERE)) {
    t.ok(existsSync(join(TESTS, `${test}.test.ts`)), test)
  }
})

/** Nothing of it is left to run. */
function isTypes(file: string): boolean {
  const { outputText } = ts.transpileModule(readFileSync(file, 'utf8'), {
    compilerOptions: {
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
      removeComments: true,
    },
  })
  return outputText.trim() === 'export {};'
}
