/** The packed package: the files in it, the modules that it loads, and README's first example run from it. */

import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import t, { type Test } from 'tap'
import { execClean, pack } from '../helpers/packed-package.ts'
import { startOss } from '../helpers/test-oss.ts'
import { checkExample, PROGRAMS } from './example-programs.ts'

const { size, files, app, installed } = await pack(t)

t.test('the package holds what its entries need, and nothing else', async t => {
  t.ok(size < 300_000, `${size} bytes packed`)
  const outside = files.filter(file => !file.startsWith('dist/'))
  const names = await readdir(new URL('../../docs', import.meta.url))
  const pages = names.filter(name => name !== 'design.md').map(name => `docs/${name}`)
  t.same(
    outside.sort(),
    [
      ...['CHANGELOG.md', 'LICENSE', 'README.md', 'README.zh-CN.md', 'package.json', ...pages],
      ...['.github/terminal.svg', 'benchmarks/README.md', 'benchmarks/chart.svg'],
    ].sort(),
  )

  const { exports, bin } = JSON.parse(await readInstalled('package.json'))
  const entries = [...Object.values<{ default?: string }>(exports).map(entry => entry.default)]
  const needed = new Set<string>()
  for (const entry of [...entries, ...Object.values<string>(bin)]) {
    if (entry !== undefined) await follow(posix.normalize(entry), needed)
  }
  for (const file of files.filter(name => name.endsWith('.js'))) {
    const code = (await readInstalled(file)).replaceAll(/\/\*.*?\*\/|\/\/[^\n]*/gs, '')
    const isTypes = code.trim() === 'export {};'
    t.ok(needed.has(file) || isTypes, `${file} is imported by an entry, or had types alone`)
  }
  const declared = new Set<string>()
  for (const entry of Object.values<{ types?: string }>(exports)) {
    if (entry.types) await follow(posix.normalize(entry.types), declared)
  }
  t.same(
    [...needed, ...declared].filter(file => !files.includes(file)),
    [],
    'each file that another imports is packed',
  )
  t.same(
    files.filter(file => file.endsWith('.d.ts') && !declared.has(file)),
    [],
    'each declaration is reached from an entry: package.json leaves out the others',
  )
  const others = files.filter(file => file.startsWith('dist/') && !/\.(js|d\.ts)$/.test(file))
  t.same(others, [], 'no sources, source maps or tests')
})

function readInstalled(file: string): Promise<string> {
  return readFile(join(installed, file), 'utf8')
}

/** Adds a file of the package and all files that it imports, statically or dynamically. */
async function follow(file: string, found: Set<string>): Promise<void> {
  if (found.has(file)) return
  found.add(file)
  if (!files.includes(file)) return
  const code = await readInstalled(file)
  for (const [, path = ''] of code.matchAll(/\b(?:from |import\(|import )['"](\.[^'"]+)/g)) {
    const isDeclaration = file.endsWith('.d.ts')
    const next = isDeclaration ? path.replace(/\.[jt]s$/, '.d.ts') : path
    await follow(posix.join(posix.dirname(file), next), found)
  }
}

t.test('publint finds no problem', async t => {
  const { messages, pkg } = await publint({ pkgDir: installed, strict: true, pack: false })
  t.same(
    messages.map(message => formatMessage(message, pkg)),
    [],
  )
})

/** The files that a module loads, as V8 lists them. Paths in packages begin with the name of the package. */
async function loadedFiles(t: Test, code: string): Promise<string[]> {
  const folder = await mkdtemp(join(app, 'loaded-'))
  t.teardown(() => rm(folder, { recursive: true }))
  const node = [process.execPath, '--input-type=module', '-e', code]
  t.match(await execClean(node, { cwd: app, env: { NODE_V8_COVERAGE: folder } }), {
    code: 0,
    stderr: '',
  })
  const [report = ''] = await readdir(folder)
  const { result } = JSON.parse(await readFile(join(folder, report), 'utf8'))
  return result
    .map(({ url }: { url: string }) => url)
    .filter((url: string) => /^file:.*\.\w+$/.test(url))
    .map((url: string) => fileURLToPath(url).replace(/^.*\/node_modules\//, ''))
}

t.test('the main entry loads no package and no other entry', async t => {
  const forbidden =
    /^(undici|crc64-ecma182\.js|pino|winston(-transport)?)\/|dist\/(server|loggers|cli)\//
  const files = await loadedFiles(t, "import 'oss-append-stream'")
  t.ok(files.includes('oss-append-stream/dist/stream/append-stream.js'), 'the list has its files')
  t.same(
    files.filter(file => !file.startsWith('oss-append-stream/dist/') || forbidden.test(file)),
    [],
  )

  const packages = ['undici', 'crc64-ecma182.js', 'pino', 'winston-transport']
  const entries = ['server', 'pino', 'winston'].map(name => `oss-append-stream/${name}`)
  await Promise.all(
    [...packages, ...entries].map(async module => {
      const loaded = await loadedFiles(t, `import '${module}'`)
      t.ok(
        loaded.some(file => forbidden.test(file)),
        `${module} would be noticed`,
      )
    }),
  )
})

t.test("README's first example runs when imported and when required", async t => {
  const oss = await startOss(t)
  for (const [file, code] of Object.entries(PROGRAMS)) {
    t.match(code, /(import|const) \{ createAppendStream \}/)
    await writeFile(join(app, file), code)
    await t.test(file, t => checkExample(t, oss, [process.execPath, file], app))
  }
})
