/**
 * Runs many seeds of the shared-writers model:
 *
 *     npm run test:shared -- [--seeds 1000] [--from 1]
 *
 * A single seed prints its transcript.
 */

import { parseArgs } from 'node:util'
import { reproduceShared, runShared, type SharedReport } from './run-shared.ts'
import { REQUIRED_SHARED_CASES, SharedCounts } from './shared-cases.ts'

process.exitCode = await main()

async function main(): Promise<number> {
  const text = { type: 'string' } as const
  const { values } = parseArgs({ options: { seeds: text, from: text } })
  const from = readNumber('from', values.from ?? '1')
  const to = from + readNumber('seeds', values.seeds ?? '1000')
  const totals = new SharedCounts()
  let failures = 0
  for (let seed = from; seed < to; seed++) {
    const report = await runShared(seed)
    totals.add(report)
    if (to === from + 1) console.log(report.transcript.join('\n'))
    if (seed % 1000 === 0) console.log(`seeds up to ${seed}: ${failures} failed`)
    if (report.complaints.length === 0) continue
    failures += 1
    if (failures <= 20) printFailure(report)
  }
  for (const name of REQUIRED_SHARED_CASES) {
    console.log(String(totals.counts[name] ?? 0).padStart(8), name)
  }
  for (const [name, count] of Object.entries(totals.counts)) {
    if (!REQUIRED_SHARED_CASES.includes(name)) console.log(String(count).padStart(8), `(${name})`)
  }
  console.log(`seeds ${from} to ${to - 1}: ${failures} failed`)
  return failures === 0 ? 0 : 1
}

function readNumber(name: string, text: string): number {
  if (/^\d{1,12}$/.test(text)) return Number(text)
  throw new Error(`--${name} must be a whole number, not ${JSON.stringify(text)}`)
}

function printFailure({ seed, theme, complaints }: SharedReport): void {
  console.log(`seed ${seed}, ${theme}:\n  ${complaints.slice(0, 4).join('\n  ')}`)
  console.log(`  repeat: ${reproduceShared(seed)}`)
}
