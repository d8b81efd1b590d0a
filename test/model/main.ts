/**
 * Runs many seeds of the model in parallel processes:
 *
 *     npm run test:model -- [--seeds 1000] [--from 1] [--jobs 2]
 *
 * Seeds that passed are kept in `.model-seeds.json` and skipped next time, unless `lib` or the model has
 * changed: a range that was interrupted goes on with the same command. A single seed always runs, and prints
 * its transcript.
 */

import { type ChildProcess, fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { CaseCounts, REQUIRED_CASES } from './case-counts.ts'
import { forEachSeed } from './for-each-seed.ts'
import { type RecordReport, runRecords } from './run-records.ts'
import { type Report, reproduceCommand, runSeed } from './run-seed.ts'
import { readNumber } from './seed-program.ts'

/** Seeds [from, to). */
type Range = readonly [from: number, to: number]

interface Progress {
  /** Digest of the code that the seeds ran with. */
  readonly digest: string
  readonly ranges: readonly Range[]
}

const FILE = '.model-seeds.json'
/** The number of seeds after which a process saves its progress. */
const CHUNK = 100
/** Every twentieth seed also runs with records, which takes as long as ten byte streams. */
const RECORDS_EVERY = 20

interface Reports {
  readonly bytes: Report
  readonly records: RecordReport | undefined
}

if (process.send) process.on('message', (range: Range) => void runRange(range))
else process.exitCode = await main()

/** Runs a range in a child process, and sends its reports to the parent. */
async function runRange([from, to]: Range): Promise<void> {
  await forEachSeed([from, to - 1], async seed => {
    const bytes = await runSeed(seed)
    const records = seed % RECORDS_EVERY === 0 ? await runRecords(seed) : undefined
    process.send?.({ bytes, records } satisfies Reports)
  })
}

async function main(): Promise<number> {
  const text = { type: 'string' } as const
  const { values } = parseArgs({ options: { seeds: text, from: text, jobs: text } })
  const from = readNumber('from', values.from ?? '1')
  const to = from + readNumber('seeds', values.seeds ?? '1000')
  if (to === from + 1) return runOneSeed(from)
  const done = readProgress()
  const chunks = splitRange(from, to).flatMap(chunk => subtract(chunk, done.ranges))
  const counts = new CaseCounts()
  let ranges = done.ranges
  let failures = 0
  const runChunks = async () => {
    const child = fork(fileURLToPath(import.meta.url))
    for (let chunk = chunks.shift(); chunk; chunk = chunks.shift()) {
      const reports = await runChunk(child, chunk)
      for (const { bytes, records } of reports) {
        counts.add(bytes)
        if (records) counts.addRecords(records)
      }
      const isBad = ({ bytes, records }: Reports) =>
        bytes.complaints.length + (records?.complaints.length ?? 0) > 0
      const failed = reports.filter(isBad)
      failures += failed.length
      for (const { bytes, records } of failed) {
        printFailure(bytes)
        if (records) printFailure(records)
      }
      const good = reports.filter(each => !isBad(each))
      ranges = merge([...ranges, ...good.map(({ bytes: { seed } }): Range => [seed, seed + 1])])
      writeFileSync(FILE, `${JSON.stringify({ ...done, ranges })}\n`)
    }
    child.disconnect()
  }
  await Promise.all(Array.from({ length: Number(values.jobs ?? 2) }, runChunks))
  for (const caseName of REQUIRED_CASES)
    console.log(String(counts.counts[caseName]).padStart(8), caseName)
  console.log(counts.outcomes)
  console.log(
    `seeds ${from} to ${to - 1}: ${failures} failed; done so far: ${JSON.stringify(ranges)}`,
  )
  return failures === 0 ? 0 : 1
}

async function runOneSeed(seed: number): Promise<number> {
  const report = await runSeed(seed)
  console.log(report.transcript.join('\n'))
  console.log(`seed ${seed}, ${report.theme}: ${report.outcome}`)
  const records = await runRecords(seed)
  console.log(records.transcript.join('\n'))
  console.log(`seed ${seed}, ${records.theme}: ${records.records} records, ${records.rolls} rolls`)
  printFailure(report)
  printFailure(records)
  return report.complaints.length + records.complaints.length === 0 ? 0 : 1
}

function printFailure({ seed, theme, complaints }: Report | RecordReport): void {
  if (complaints.length === 0) return
  console.log(
    `seed ${seed}, ${theme}:\n  ${complaints.join('\n  ')}\n  repeat: ${reproduceCommand(seed)}`,
  )
}

/** Runs a range in a child process. Rejects if the child exits, and so fails the program. */
function runChunk(child: ChildProcess, [from, to]: Range): Promise<Reports[]> {
  const reports: Reports[] = []
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null) => {
      reject(new Error(`a process ended with code ${code} in seeds ${from} to ${to - 1}`))
    }
    const onMessage = (report: Reports) => {
      reports.push(report)
      if (reports.length < to - from) return
      child.off('message', onMessage).off('exit', onExit)
      resolve(reports)
    }
    child.on('message', onMessage).on('exit', onExit)
    child.send([from, to])
  })
}

function readProgress(): Progress {
  const digest = digestOfSources()
  try {
    const done = JSON.parse(readFileSync(FILE, 'utf8')) as Progress
    if (done.digest === digest) return done
  } catch {
    // There is no file, or it is incomplete: all seeds run again.
  }
  return { digest, ranges: [] }
}

/** The digest of `lib` and of the model. */
function digestOfSources(): string {
  const hash = createHash('sha256')
  for (const folder of [new URL('../../lib/', import.meta.url), new URL('./', import.meta.url)]) {
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    for (const file of files.filter(name => name.endsWith('.ts')).sort()) {
      hash.update(file).update(readFileSync(new URL(file, folder)))
    }
  }
  return hash.digest('hex')
}

function splitRange(from: number, to: number): Range[] {
  const chunks: Range[] = []
  for (let start = from; start < to; start += CHUNK) {
    chunks.push([start, Math.min(start + CHUNK, to)])
  }
  return chunks
}

function subtract([from, to]: Range, ranges: readonly Range[]): Range[] {
  let rest: Range[] = [[from, to]]
  for (const [start, end] of ranges) {
    const parts = rest.flatMap(([a, b]): Range[] => [
      [a, Math.min(b, start)],
      [Math.max(a, end), b],
    ])
    rest = parts.filter(([a, b]) => a < b)
  }
  return rest
}

function merge(ranges: readonly Range[]): Range[] {
  const merged: Range[] = []
  for (const [from, to] of [...ranges].sort(([a], [b]) => a - b)) {
    const last = merged.at(-1)
    if (last && from <= last[1]) merged[merged.length - 1] = [last[0], Math.max(last[1], to)]
    else merged.push([from, to])
  }
  return merged
}
