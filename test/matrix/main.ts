/**
 * `npm run test:matrix [-- FILE...]` runs all tests on each Node version with the oldest and the newest
 * undici that package.json allows, and prints a table. Each cell is a copy of the project. On the first
 * release of each Node version it runs a few files: a missing function shows at the first import or stream.
 * `CELLS=20/7,22/7` selects cells. Node and undici come from npm.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cleanEnv } from '../helpers/child-process.ts'
import { findNode, MAJORS } from '../helpers/node-versions.ts'
import { testFiles } from '../mutation/mutants.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const PARTS = ['lib', 'dist', 'test', 'benchmarks', 'docs', 'CHANGELOG.md', 'LICENSE']
const SETTINGS = [
  'README.md',
  'README.zh-CN.md',
  'package.json',
  '.taprc',
  'package-lock.json',
  'tsconfig.json',
  '.ci',
  '.github',
  '.gitignore',
]
const SMOKE = [
  'stream/written-bytes',
  'package/package-contents',
  'package/process-lifetime',
  'cli/append',
  'cli/process',
].flatMap(testFiles)

interface Cell {
  readonly node: string
  readonly undici: string
  /** Test files to run. Empty: all. */
  readonly files: readonly string[]
}

interface Result {
  /** Assertions, as tap counts them. */
  readonly pass: number
  readonly fail: number
  /** The files with failures. */
  readonly failedFiles: readonly string[]
  /** The lines of tap for the failures. */
  readonly failures: readonly string[]
  readonly seconds: number
}

const { dependencies, engines } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'))
/** package.json has a caret range: from this version to the end of its major version. */
const oldest: string = dependencies.undici.replace('^', '')
const newest = oldest.replace(/\..*/, '')
/** The first release of each range. */
const firstReleases: string[] = engines.node.match(/\d+\.\d+\.\d+/g)
const CELLS: Cell[] = [
  ...firstReleases.map(node => ({ node, undici: oldest, files: SMOKE })),
  ...MAJORS.flatMap(node => [oldest, newest].map(undici => ({ node, undici, files: [] }))),
]

/** Copies the project with a version of undici. */
async function copyWith(undici: string): Promise<string> {
  const copy = await realpath(await mkdtemp(join(tmpdir(), 'matrix-')))
  for (const part of [...PARTS, ...SETTINGS]) {
    const isOurs = (name: string) => !name.endsWith('/node_modules')
    if (!existsSync(join(ROOT, part))) continue
    await cp(join(ROOT, part), join(copy, part), { recursive: true, filter: isOurs })
  }
  const modules = join(copy, 'node_modules')
  await mkdir(modules)
  for (const name of await readdir(join(ROOT, 'node_modules'))) {
    if (name !== 'undici') await symlink(join(ROOT, 'node_modules', name), join(modules, name))
  }
  const own = join(copy, '.undici')
  const npm = ['npm', 'install', '--prefix', own, '--no-audit', '--no-fund', `undici@${undici}`]
  const code = await run(npm, { cwd: copy, env: cleanEnv(), onText: () => {} })
  if (code !== 0) throw new Error(`npm cannot install undici@${undici}`)
  await symlink(join(own, 'node_modules/undici'), join(modules, 'undici'))
  return copy
}

interface RunOptions {
  readonly cwd: string
  readonly env: NodeJS.ProcessEnv
  readonly onText: (text: string) => void
}

/** Runs a command and resolves with its exit code. */
async function run(command: readonly string[], { cwd, env, onText }: RunOptions): Promise<number> {
  const [name = '', ...args] = command
  const child = spawn(name, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', onText)
  const [code] = await once(child, 'close')
  return code ?? 1
}

async function runTests(node: string, copy: string, files: readonly string[]): Promise<Result> {
  const tap = join(copy, 'node_modules/tap/dist/esm/run.mjs')
  const env = cleanEnv({ PATH: [dirname(node), process.env.PATH].join(delimiter) })
  let text = ''
  const started = performance.now()
  const all = '--include=test/**/*.{test,slow}.ts'
  const args = [tap, 'run', '--reporter=tap', '--timeout=600', all, ...files]
  const code = await run([node, ...args], { cwd: copy, env, onText: more => (text += more) })
  const seconds = Math.round((performance.now() - started) / 1000)
  const [totals = ''] = text.match(/^# \{ total: .*\}$/m) ?? []
  const count = (word: string) => Number(new RegExp(`${word}: (\\d+)`).exec(totals)?.[1] ?? 0)
  const failedFiles = [...text.matchAll(/^not ok \d+ - (\S+)/gm)].map(([, file = '']) => file)
  const failures = text.match(/^ +not ok .*$/gm) ?? []
  // A run that ends early has no totals.
  const fail = Math.max(count('fail'), code === 0 ? 0 : 1)
  return { pass: count('pass'), fail, failedFiles, failures, seconds }
}

const wanted = process.env.CELLS?.split(',')
const nameOf = ({ node, undici }: Cell) => `${node}/${undici}`
const cells = CELLS.filter(cell => wanted?.includes(nameOf(cell)) ?? true)
if (cells.length === 0) throw new Error(`CELLS names no cell, use ${CELLS.map(nameOf).join(', ')}`)

const copies = new Map<string, string>()
let hasFailed = false
try {
  console.log('| Node | undici | passed | failed | s | files that failed |')
  console.log('| --- | --- | --- | --- | --- | --- |')
  const files = process.argv.slice(2)
  for (const { node, undici, files: own } of cells) {
    const copy = copies.get(undici) ?? (await copyWith(undici))
    copies.set(undici, copy)
    const program = await findNode(node)
    const result = await runTests(program, copy, files.length > 0 ? files : own)
    hasFailed ||= result.fail > 0
    const { version } = JSON.parse(
      await readFile(join(copy, 'node_modules/undici/package.json'), 'utf8'),
    )
    const { pass, fail, failedFiles, failures, seconds } = result
    console.log(`| ${[node, version, pass, fail, seconds, failedFiles.join(' ')].join(' | ')} |`)
    for (const failure of failures) console.error(failure)
  }
} finally {
  for (const copy of copies.values()) await rm(copy, { recursive: true, force: true })
}
process.exitCode = hasFailed ? 1 : 0
