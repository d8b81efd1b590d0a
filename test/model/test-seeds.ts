/** What `model.test.ts` and `model.slow.ts` have in common: they run different seeds. */

import t from 'tap'
import { CaseCounts, REQUIRED_CASES } from './case-counts.ts'
import { forEachSeed, type SeedRange } from './for-each-seed.ts'
import { type RecordReport, runRecords } from './run-records.ts'
import { type Report, reproduceCommand, runSeed } from './run-seed.ts'

export interface SeedPlan {
  /** Seeds of byte streams (run-seed.ts). */
  readonly seeds: SeedRange
  /** Seeds of record streams (run-records.ts). One takes as long as ten of the others. */
  readonly recordSeeds: SeedRange
  /** How often the seeds have to reach each required case. */
  readonly minCount: number
  /** How often record streams have to roll. */
  readonly minRolls: number
}

/** Adds the tests: each seed ends as specified, the seeds reach every case, and nothing stays open. */
export function testSeeds({ seeds, recordSeeds, minCount, minRolls }: SeedPlan): void {
  t.test(`seeds ${seeds.join(' to ')} end as specified and reach every case`, async t => {
    const counts = new CaseCounts()
    const failIfWrong = ({ seed, theme, complaints, transcript }: Report | RecordReport) => {
      if (complaints.length === 0) return
      const details = { repeat: reproduceCommand(seed), complaints, transcript }
      t.fail(`seed ${seed}, ${theme}: ${complaints[0]}`, details)
    }
    await forEachSeed(recordSeeds, async seed => {
      const report = await runRecords(seed)
      counts.addRecords(report)
      failIfWrong(report)
    })
    await forEachSeed(seeds, async seed => {
      const report = await runSeed(seed)
      counts.add(report)
      failIfWrong(report)
    })
    for (const name of REQUIRED_CASES) {
      const count = counts.counts[name] ?? 0
      t.ok(count >= (name === 'records: rolls' ? minRolls : minCount), `${name}: ${count} times`)
    }
  })

  t.test('no timer and no socket of a seed stays open', async t => {
    const isOurs = (name: string) => name === 'Timeout' || name === 'TCPSocketWrap'
    const open = () => process.getActiveResourcesInfo().filter(isOurs)
    // Sockets take some turns of the event loop to close.
    for (let turn = 0; turn < 100_000 && open().length > 0; turn++) await new Promise(setImmediate)
    t.same(open(), [])
  })
}
