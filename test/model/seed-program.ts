/** The program of a model: runs `--seeds N` seeds `--from N` on, and prints what they reached. */

import { parseArgs } from 'node:util'

export interface SeedReport {
  /** What is wrong, one line each. */
  readonly complaints: readonly string[]
  /** What happened. Printed for a single seed. */
  readonly transcript: readonly string[]
  readonly counts: Readonly<Record<string, number>>
}

export interface SeedProgram {
  /** Seeds without `--seeds`. */
  readonly seeds: number
  readonly run: (seed: number) => Promise<SeedReport>
  /** Names of counts that are printed even if they are 0. */
  readonly required?: readonly string[]
}

/** The exit code of the process is 1 if a seed failed. */
export async function runSeedProgram({ seeds, run, required = [] }: SeedProgram): Promise<void> {
  const text = { type: 'string' } as const
  const { values } = parseArgs({ options: { seeds: text, from: text } })
  const from = readNumber('from', values.from ?? '1')
  const to = from + readNumber('seeds', values.seeds ?? String(seeds))
  const totals = new Map(required.map(name => [name, 0]))
  let failures = 0
  for (let seed = from; seed < to; seed++) {
    const { complaints, transcript, counts } = await run(seed)
    for (const [name, count] of Object.entries(counts)) {
      totals.set(name, (totals.get(name) ?? 0) + count)
    }
    if (to === from + 1) console.log(transcript.join('\n'))
    if (seed % 1000 === 0) console.log(`seeds up to ${seed}: ${failures} failed`)
    if (complaints.length === 0) continue
    failures += 1
    console.log(`seed ${seed}:\n  ${complaints.slice(0, 4).join('\n  ')}`)
  }
  for (const [name, count] of [...totals].sort()) console.log(String(count).padStart(8), name)
  console.log(`seeds ${from} to ${to - 1}: ${failures} failed`)
  process.exitCode = failures === 0 ? 0 : 1
}

export function readNumber(name: string, text: string): number {
  if (/^\d{1,12}$/.test(text)) return Number(text)
  throw new Error(`--${name} must be a whole number, not ${JSON.stringify(text)}`)
}
