/** What the quick and the slow test of the journal's model have in common: they run different seeds. */

import t from 'tap'
import { addCounts, runSeed } from './journal-world.ts'

/** What the seeds must have met, or they prove little. */
const REQUIRED = [
  ...['done', 'killed', 'power lost', 'suspended', 'failed', 'process.exit()', 'full'],
  ...['anchored', 'landed', 'absent', 'beyond', 'a late request landed'],
  ...['an fdatasync failed', 'the disk is full', 'a removed file is back'],
  ...['damaged: broken', 'damaged: unfinished', 'an end was marked'],
]

/** Adds a test: each promise is kept in these seeds, and they meet each case `minCount` times. */
export function testJournalSeeds(first: number, last: number, minCount: number): void {
  t.test(`seeds ${first} to ${last}: what was promised is there once, in order`, async t => {
    const totals = new Map<string, number>()
    for (let seed = first; seed <= last; seed++) {
      const report = await runSeed(seed)
      addCounts(totals, report)
      if (report.problem) t.fail(`seed ${seed}: ${report.problem}`, { log: report.log })
    }
    for (const name of REQUIRED) t.ok((totals.get(name) ?? 0) >= minCount, name)
  })
}
