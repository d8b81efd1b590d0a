/** The package as it is published: what it holds, what it loads, and that README's example runs from it. */

import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import t, { type Test } from 'tap'
import { runsLongTests } from '../helpers/long-tests.ts'
import { findNode, MAJORS } from '../helpers/node-versions.ts'
import { execClean, MODULES, pack } from '../helpers/packed-package.ts'
import { example } from '../helpers/readme.ts'
import { BUCKET, type Oss, seededBytes, startOss } from '../helpers/test-oss.ts'

const { tarball, size, files, app, installed } = await pack(t)

t.test('it holds what it needs, and nothing else', async t => {
  t.ok(size < 300_000, `${size} bytes packed`)
  const outside = files.filter(file => !file.startsWith('dist/'))
  const pages = (await readdir(new URL('../../docs', import.meta.url))).map(name => `docs/${name}`)
  t.same(
    outside.sort(),
    [
      ...['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json', ...pages],
      ...['.github/CONTRIBUTING.md', '.github/terminal.svg'],
      ...['benchmarks/PROFILE.md', 'benchmarks/README.md', 'benchmarks/chart.svg'],
    ].sort(),
  )

  const { exports, bin } = JSON.parse(await readScript('package.json'))
  const entries = [...Object.values<{ default?: string }>(exports).map(entry => entry.default)]
  const needed = new Set<string>()
  for (const entry of [...entries, ...Object.values<string>(bin)]) {
    if (entry !== undefined) await follow(posix.normalize(entry), needed)
  }
  // A file that is gone from `lib` stays in `dist` until that is cleared, as it is before a release.
  const sources = new Set(await readdir(new URL('../../lib', import.meta.url), { recursive: true }))
  const packed = files.filter(file => file.endsWith('.js'))
  for (const file of packed.filter(file => sources.has(`${file.slice('dist/'.length, -3)}.ts`))) {
    const code = (await readScript(file)).replaceAll(/\/\*.*?\*\/|\/\/[^\n]*/gs, '')
    const isTypes = code.trim() === 'export {};'
    t.ok(needed.has(file) || isTypes, `${file} is imported by an entry, or types alone`)
  }
  const declared = new Set<string>()
  for (const entry of Object.values<{ types?: string }>(exports)) {
    if (entry.types) await follow(posix.normalize(entry.types), declared)
  }
  t.same(
    files.filter(file => file.endsWith('.d.ts') && !declared.has(file)),
    [],
    'each declaration is reached from an entry, or left out in package.json',
  )
  const others = files.filter(file => file.startsWith('dist/') && !/\.(js|d\.ts)$/.test(file))
  t.same(others, [], 'no sources, maps or tests')
})

function readScript(file: string): Promise<string> {
  return readFile(join(installed, file), 'utf8')
}

/** Adds a script of the package and all that it imports, now or later. */
async function follow(file: string, found: Set<string>): Promise<void> {
  if (found.has(file)) return
  found.add(file)
  const code = await readScript(file)
  for (const [, path = ''] of code.matchAll(/\b(?:from |import\(|import )['"](\.[^'"]+)/g)) {
    const isDeclaration = file.endsWith('.d.ts')
    const next = isDeclaration ? path.replace(/\.[jt]s$/, '.d.ts') : path
    await follow(posix.join(posix.dirname(file), next), found)
  }
}

t.test('publint and attw have nothing to say', async t => {
  const { messages, pkg } = await publint({ pkgDir: installed, strict: true, pack: false })
  t.same(
    messages.map(message => formatMessage(message, pkg)),
    [],
  )
  const attw = join(MODULES, '@arethetypeswrong/cli/dist/index.js')
  const args = [attw, tarball, '--profile', 'esm-only', '--format', 'json']
  const { stdout, code } = await execClean([process.execPath, ...args])
  t.equal(code, 0, 'attw')
  const { analysis } = JSON.parse(stdout)
  t.same(Object.keys(analysis.entrypoints).sort(), [
    '.',
    './package.json',
    './pino',
    './server',
    './winston',
  ])
})

/** The files that a module of text loads in the end, as V8 lists them; of packages, what follows their names. */
async function loaded(t: Test, code: string): Promise<string[]> {
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

t.test('the main entry loads nothing but its own, and no other entry of that', async t => {
  const heavy =
    /^(undici|crc64-ecma182\.js|pino|winston(-transport)?)\/|dist\/(server|pino|winston|cli)\b/
  const all = await loaded(t, "import 'oss-append-stream'")
  t.ok(all.includes('oss-append-stream/dist/stream/append-stream.js'), 'it is seen what is loaded')
  t.same(
    all.filter(file => !file.startsWith('oss-append-stream/dist/') || heavy.test(file)),
    [],
  )

  const packages = ['undici', 'crc64-ecma182.js', 'pino', 'winston-transport']
  const entries = ['server', 'pino', 'winston'].map(name => `oss-append-stream/${name}`)
  for (const module of [...packages, ...entries]) {
    const seen = await loaded(t, `import '${module}'`)
    t.ok(
      seen.some(file => heavy.test(file)),
      `${module} would be seen`,
    )
  }
})

const BYTES = seededBytes(100_000)
const TOLD = /^100000 bytes, the object has 100000, CRC-64 \d+\n$/

/** README's first example, in the two ways that Node has. */
const PROGRAMS: Readonly<Record<string, string>> = {
  'main.mjs': example('ten lines'),
  'main.cjs': `void (async () => {
    ${example('ten lines').replace(/import (\{.*?\}) from ('.*?')/g, 'const $1 = require($2)')}
  })()`,
}

/** Nothing, or what Node 22.12 alone says of each `require()` of an ES module; 22.13 does no more. */
const QUIET = /^(\(node:\d+\) ExperimentalWarning: CommonJS module .*\n.*\n\(Use .*\)\n)?$/

async function runs(t: Test, oss: Oss, command: readonly string[], cwd: string): Promise<void> {
  const { accessKeyId, accessKeySecret } = oss.server.credentials
  oss.server.delete(BUCKET, 'logs/app.log')
  await writeFile(join(cwd, 'app.log'), BYTES)
  const env = {
    OSS_ENDPOINT: oss.server.url,
    OSS_ACCESS_KEY_ID: accessKeyId,
    OSS_ACCESS_KEY_SECRET: accessKeySecret,
  }
  t.match(await execClean(command, { cwd, env }), { stderr: QUIET, stdout: TOLD, code: 0 })
  t.ok(oss.read('logs/app.log').equals(BYTES))
}

t.test("README's first example, imported and required", async t => {
  const oss = await startOss(t)
  for (const [file, code] of Object.entries(PROGRAMS)) {
    t.match(code, /(import|const) \{ createAppendStream \}/)
    await writeFile(join(app, file), code)
    await t.test(file, t => runs(t, oss, [process.execPath, file], app))
  }
})

t.test('a bundle of it, with no package beside it', async t => {
  const oss = await startOss(t)
  const alone = await mkdtemp(join(app, '../../alone-'))
  t.teardown(() => rm(alone, { recursive: true }))
  for (const [file, code] of Object.entries(PROGRAMS)) {
    await t.test(file, async t => {
      await writeFile(join(app, file), code)
      const format = file.endsWith('.mjs') ? 'esm' : 'cjs'
      // undici is CommonJS and requires Node's own modules, which esbuild leaves to the bundle.
      const banner = `import { createRequire as from } from 'node:module'; const require = from(import.meta.url)`
      const bundle = join(alone, file)
      const args = [
        file,
        '--bundle',
        '--platform=node',
        `--format=${format}`,
        `--outfile=${bundle}`,
      ]
      if (format === 'esm') args.push(`--banner:js=${banner}`)
      const built = await execClean([join(MODULES, '.bin/esbuild'), '--log-level=error', ...args], {
        cwd: app,
      })
      t.match(built, { code: 0, stderr: '' })
      await runs(t, oss, [process.execPath, bundle], alone)
    })
  }
})

t.test('installed by npm in an empty folder, run by every Node', async t => {
  const oss = await startOss(t)
  const folder = await mkdtemp(join(app, '../../empty-'))
  t.teardown(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'package.json'), '{}')
  const npm = ['npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', tarball]
  t.match(await execClean(npm, { cwd: folder }), { code: 0 })
  t.same(
    (await readdir(join(folder, 'node_modules'))).filter(name => !name.startsWith('.')),
    ['crc64-ecma182.js', 'oss-append-stream', 'undici'],
  )
  const { node: running } = process.versions
  const others = MAJORS.filter(major => !running.startsWith(`${major}.`))
  for (const version of runsLongTests(`by Node ${others.join(' and ')}`)
    ? [running, ...others]
    : [running]) {
    const node = await findNode(version)
    for (const [file, code] of Object.entries(PROGRAMS)) {
      await writeFile(join(folder, file), code)
      await t.test(`Node ${version}, ${file}`, t => runs(t, oss, [node, file], folder))
    }
    const command = [node, 'node_modules/.bin/oss-append', '--version']
    t.match(await execClean(command, { cwd: folder }), { code: 0, stdout: /^\d+\.\d+\.\d+\n$/ })
  }
})

// A matter of speed: that of what is loaded, above, is none.
if (runsLongTests('what an import costs')) {
  t.test('an import costs at most half of what undici costs', async t => {
    const times: Record<string, number[]> = { 'oss-append-stream': [], undici: [] }
    for (let round = 0; round < 15; round++) {
      for (const [module, list] of Object.entries(times)) {
        // Not by the clock, which counts what else the machine does.
        const code = `
          const before = process.cpuUsage()
          await import('${module}')
          const { user, system } = process.cpuUsage(before)
          console.log((user + system) / 1000)`
        const node = [process.execPath, '--input-type=module', '-e', code]
        list.push(Number((await execClean(node, { cwd: app })).stdout))
      }
    }
    const [ours = Number.NaN, theirs = Number.NaN] = Object.values(times).map(median)
    t.comment(`an import, CPU time: ${ours.toFixed(1)} ms, undici ${theirs.toFixed(1)} ms`)
    t.ok(ours <= theirs / 2, `${ours.toFixed(1)} of ${theirs.toFixed(1)} ms`)
  })
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN
}
