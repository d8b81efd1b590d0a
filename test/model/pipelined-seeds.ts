/**
 * The model of run-seed.ts with 2 to 4 appends in flight. `npm run test:pipelining -- FIRST LAST` runs a
 * range of seeds, and prints the transcript of each that fails.
 */

import { forEachSeed, type SeedRange } from './for-each-seed.ts'
import { type Report, runSeed } from './run-seed.ts'

/** Appends in flight at most. */
export const depthOf = (seed: number): number => 2 + (seed % 3)

/** Where faults struck. */
export type ChainCounts = Record<string, number>

/** Runs the seeds. Resolves with where faults struck. */
export async function runPipelinedSeeds(
  seeds: SeedRange,
  onFailed: (report: Report) => void,
): Promise<ChainCounts> {
  const counts: ChainCounts = {}
  await forEachSeed(seeds, async seed => {
    const report = await runSeed(seed, depthOf(seed))
    for (const [name, times] of Object.entries(report.chainFaults)) {
      counts[name] = (counts[name] ?? 0) + times
    }
    if (report.complaints.length > 0) onFailed(report)
  })
  return counts
}
