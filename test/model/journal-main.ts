/**
 * Runs seeds of the model of the journal. One seed alone prints what happened:
 *
 *     node --import=./test/helpers/typescript.js test/model/journal-main.ts [--seeds 30000] [--from 1]
 */

import { parseArgs } from 'node:util'
import { addCounts, runSeed } from './journal-world.ts'

const text = { type: 'string' } as const
const { values } = parseArgs({ options: { seeds: text, from: text } })
const from = Number(values.from ?? 1)
const seeds = Number(values.seeds ?? 30_000)
const totals = new Map<string, number>()
let failures = 0
for (let seed = from; seed < from + seeds; seed++) {
  const report = await runSeed(seed)
  addCounts(totals, report)
  if (seeds === 1 || report.problem) console.log(report.log.join('\n'))
  if (!report.problem) continue
  failures += 1
  console.log(`seed ${seed}: ${report.problem}`)
}
for (const [name, count] of [...totals].sort()) console.log(String(count).padStart(8), name)
console.log(`seeds ${from} to ${from + seeds - 1}: ${failures} failed`)
process.exitCode = failures === 0 ? 0 : 1
