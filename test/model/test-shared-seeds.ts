/** What `shared-writers.test.ts` and `shared-writers.slow.ts` have in common: they run different seeds. */

import t from 'tap'
import type { SeedRange } from './for-each-seed.ts'
import { reproduceShared, runShared } from './run-shared.ts'
import { REQUIRED_SHARED_CASES, SharedCounts } from './shared-cases.ts'

/** `minCount`: how often the seeds have to reach each required case. */
export function testSharedSeeds([first, last]: SeedRange, minCount: number): void {
  t.test(
    `seeds ${first} to ${last} lose, double and tear no record, and reach every case`,
    async t => {
      const totals = new SharedCounts()
      for (let seed = first; seed <= last; seed++) {
        const report = await runShared(seed)
        totals.add(report)
        const { theme, complaints, transcript } = report
        if (complaints.length === 0) continue
        const details = { repeat: reproduceShared(seed), complaints, transcript }
        t.fail(`seed ${seed}, ${theme}: ${complaints[0]}`, details)
      }
      for (const name of REQUIRED_SHARED_CASES) {
        const count = totals.counts[name] ?? 0
        t.ok(count >= minCount, `${name}: ${count} times`)
      }
    },
  )
}
