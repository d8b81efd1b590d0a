/**
 * The promise of `shared`, tested at random: several real streams, an OSS in memory, faults, and an oracle that
 * knows where each record landed. `shared-writers.slow.ts` runs more seeds, and
 * `npm run test:shared -- --seeds 30000` any number of them. A seed always runs the same way.
 */

import t from 'tap'
import { runShared } from './run-shared.ts'
import { testSharedSeeds } from './test-shared-seeds.ts'

testSharedSeeds([1, 120], 2)
// Records in doubt whose object was deleted, and one whose late request made the next object.
testSharedSeeds([50136, 50136], 0)
testSharedSeeds([100771, 100771], 0)

t.test('the oracle sees requests that a layer below sends twice and the client denies', async t => {
  const problems = new Set<string>()
  for (let seed = 1; seed <= 60; seed++) {
    const { complaints } = await runShared(seed, { isLiar: true })
    for (const complaint of complaints) problems.add(complaint.replace(/<.*>/, 'a record'))
  }
  t.ok(problems.has('a record is there 2 times'), [...problems].join('\n'))
})
