/**
 * The promise of the package, tested at random: seeded sources and seeded faults, the real stream over
 * real HTTP, and an oracle that compares every event with the object. `model.slow.ts` runs more seeds,
 * and `npm run test:model -- --seeds 100000` any number of them in parallel.
 *
 * A seed decides the object, the options, the steps of the source and the faults. It does not decide when
 * bytes travel, so a seed that failed once may need several runs to fail again.
 */

import t from 'tap'
import { runSeed } from './run-seed.ts'
import { testSeeds } from './test-seeds.ts'

testSeeds({ seeds: [1, 250], recordSeeds: [1, 10], minCount: 1, minRolls: 100 })
t.test('a stream that was to begin where a deleted object had ended: seed 7701', async t => {
  t.same((await runSeed(7701)).complaints, [])
})
