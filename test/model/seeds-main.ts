/**
 * Runs seeds of all models, with the lowest priority, and tells how they spread over the features:
 *
 *     npm run test:seeds -- [--total 300000] [--file node_modules/.cache/oss-append-stream/seeds.jsonl] [--model NAME]...
 *
 * `--model`: only these, so that several processes with one file share the work. A report has all of them.
 *
 * Each finished range is a line of the file, with its commit. Ranges that ran with the same code of `lib` are not run
 * again, so a run that was stopped goes on with the same command. `--report` runs nothing.
 */

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { setPriority } from 'node:os'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import {
  canCombine,
  FEATURES,
  MODELS,
  type Model,
  pairName,
  REQUIRED_PAIRS,
} from './seed-features.ts'
import { readNumber } from './seed-program.ts'

/** A range of seeds that has run: a line of the file. */
interface Chunk {
  readonly model: string
  /** The first and the last seed. */
  readonly from: number
  readonly to: number
  /** Digest of `lib`, apart from the command. */
  readonly code: string
  readonly commit: string
  readonly finished: string
  /** Of the processor. */
  readonly seconds: number
  readonly failures: readonly { readonly seed: number; readonly problem: string }[]
  /** How many seeds met each feature, and each pair of features. */
  readonly counts: Readonly<Record<string, number>>
}

process.exitCode = await main()

async function main(): Promise<number> {
  const text = { type: 'string' } as const
  const model = { type: 'string', multiple: true } as const
  const options = { total: text, file: text, model, report: { type: 'boolean' } } as const
  const { values } = parseArgs({ options })
  const total = readNumber('total', values.total ?? '300000')
  const file = values.file ?? 'node_modules/.cache/oss-append-stream/seeds.jsonl'
  const names = values.model ?? Object.keys(MODELS)
  const unknown = names.find(name => !(name in MODELS))
  if (unknown) throw new Error(`--model ${unknown}: there is none. Models: ${Object.keys(MODELS)}`)
  const code = digestOfLib()
  const ran = readChunks(file).filter(chunk => chunk.code === code)
  // What failed runs again: the fault may have been one of the model.
  const done = values.report ? ran : ran.filter(({ failures }) => failures.length === 0)
  if (!values.report) await runAll(total, file, names, done, code)
  printModels(done)
  // A run of some models says nothing about the matrix of all.
  const missing = values.model ? [] : printPairs(done)
  const failures = done.flatMap(({ model, failures }) =>
    failures.map(
      ({ seed, problem }) => `${model} ${seed}: ${problem}\n  ${commandOf(model, seed)}`,
    ),
  )
  for (const line of [...failures, ...missing.map(pair => `no seed has ${pair}`)]) console.log(line)
  return failures.length + missing.length === 0 ? 0 : 1
}

async function runAll(
  total: number,
  file: string,
  names: readonly string[],
  done: Chunk[],
  code: string,
): Promise<void> {
  setPriority(19)
  mkdirSync(dirname(file), { recursive: true })
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  for (let next = nextChunk(total, names, done); next; next = nextChunk(total, names, done)) {
    const { name, from } = next
    const ran = await runChunk(MODELS[name]!, from)
    const chunk = { model: name, from, ...ran, code, commit, finished: new Date().toISOString() }
    done.push(chunk)
    appendFileSync(file, `${JSON.stringify(chunk)}\n`)
    const failed = chunk.failures.map(({ seed }) => seed)
    const result = failed.length === 0 ? '0 failed' : `failed: ${failed}`
    console.log(`${name} ${from} to ${chunk.to}: ${result}, ${chunk.seconds} s`)
  }
}

/** The first range that is missing, of the model that is most behind. */
function nextChunk(total: number, names: readonly string[], done: readonly Chunk[]) {
  const behind = names.map(name => {
    const { share, chunk } = MODELS[name]!
    const ran = new Set(done.filter(({ model }) => model === name).map(({ from }) => from))
    let from = 1
    while (ran.has(from)) from += chunk
    return { name, from, part: (from - 1) / ((total * share) / 1000) }
  })
  const [first] = behind.sort((a, b) => a.part - b.part)
  return first && first.part < 1 ? first : undefined
}

async function runChunk({ chunk, run }: Model, from: number) {
  const counts: Record<string, number> = {}
  const failures: { seed: number; problem: string }[] = []
  const begin = process.cpuUsage()
  const to = from + chunk - 1
  for (let seed = from; seed <= to; seed++) {
    const { problem, features } = await run(seed)
    if (problem !== undefined) failures.push({ seed, problem })
    for (const [a, b] of REQUIRED_PAIRS) {
      if (!features.has(a) || !features.has(b)) continue
      counts[pairName(a, b)] = (counts[pairName(a, b)] ?? 0) + 1
    }
  }
  const { user, system } = process.cpuUsage(begin)
  return { to, failures, counts, seconds: Math.round((user + system) / 1e5) / 10 }
}

/** A line for each model. A feature that the model has and no seed meets shows as 0, and fails the pairs below. */
function printModels(done: readonly Chunk[]): void {
  for (const [name, { features }] of Object.entries(MODELS)) {
    const chunks = done.filter(({ model }) => model === name)
    const seeds = sum(chunks, ({ from, to }) => to - from + 1)
    const failed = sum(chunks, ({ failures }) => failures.length)
    const seconds = Math.round(sum(chunks, chunk => chunk.seconds))
    const met = features.map(each => `${each} ${sum(chunks, ({ counts }) => counts[each] ?? 0)}`)
    console.log(`${name}: ${seeds} seeds, ${failed} failed, ${seconds} s; ${met.join(', ')}`)
  }
  console.log(`all: ${sum(done, ({ from, to }) => to - from + 1)} seeds`)
}

/** The matrix of features that seeds had together. Returns the pairs that no seed had. */
function printPairs(done: readonly Chunk[]): string[] {
  const countOf = (name: string) => sum(done, ({ counts }) => counts[name] ?? 0)
  console.log(`${' '.repeat(24)}${FEATURES.map((_, i) => String(i + 1).padStart(8)).join('')}`)
  for (const [row, a] of FEATURES.entries()) {
    const cells = FEATURES.slice(0, row + 1).map(b =>
      (canCombine(b, a) ? String(countOf(pairName(b, a))) : '-').padStart(8),
    )
    console.log(`${String(row + 1).padStart(2)} ${a.padEnd(21)}${cells.join('')}`)
  }
  return REQUIRED_PAIRS.map(([a, b]) => pairName(a, b)).filter(name => countOf(name) === 0)
}

function commandOf(model: string, seed: number): string {
  return `${MODELS[model]?.repeat} ${seed}`
}

function sum(chunks: readonly Chunk[], value: (chunk: Chunk) => number): number {
  return chunks.reduce((total, chunk) => total + value(chunk), 0)
}

function readChunks(file: string): Chunk[] {
  if (!existsSync(file)) return []
  // A run that was killed may have left a last line without its end.
  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1)
  const chunks = lines.map(line => JSON.parse(line) as Chunk)
  // Of a range that ran more than once with the same code, the last run counts.
  const latest = new Map(chunks.map(chunk => [`${chunk.code} ${chunk.model} ${chunk.from}`, chunk]))
  return [...latest.values()].filter(({ model }) => model in MODELS)
}

/** No model runs the command. */
function digestOfLib(): string {
  const root = new URL('../../lib/', import.meta.url)
  const hash = createHash('sha256')
  for (const name of readdirSync(root, { recursive: true, encoding: 'utf8' }).sort()) {
    if (name.endsWith('.ts') && !name.startsWith('cli'))
      hash.update(name).update(readFileSync(new URL(name, root)))
  }
  return hash.digest('hex').slice(0, 16)
}
