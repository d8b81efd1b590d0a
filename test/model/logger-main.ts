/**
 * Runs seeds of the model of loggers. One seed alone prints what happened:
 *
 *     node --import=./test/helpers/typescript.js test/model/logger-main.ts [--seeds 1000] [--from 1]
 */

import { parseArgs } from 'node:util'
import { runLoggers } from './logger-world.ts'

const text = { type: 'string' } as const
const { values } = parseArgs({ options: { seeds: text, from: text } })
const from = Number(values.from ?? 1)
const seeds = Number(values.seeds ?? 1000)
const totals = new Map<string, number>()
let failures = 0
for (let seed = from; seed < from + seeds; seed++) {
  const { complaints, transcript, counts } = await runLoggers(seed)
  for (const [name, count] of Object.entries(counts)) {
    totals.set(name, (totals.get(name) ?? 0) + count)
  }
  if (seeds === 1) console.log(transcript.join('\n'))
  if (complaints.length === 0) continue
  failures += 1
  console.log(`seed ${seed}: ${complaints[0]}`)
}
for (const [name, count] of [...totals].sort()) console.log(String(count).padStart(8), name)
console.log(`seeds ${from} to ${from + seeds - 1}: ${failures} failed`)
process.exitCode = failures === 0 ? 0 : 1
