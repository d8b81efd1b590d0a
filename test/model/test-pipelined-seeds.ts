/** What `pipelined-streams.test.ts` and `pipelined-streams.slow.ts` have in common: they run different seeds. */

import t from 'tap'
import type { SeedRange } from './for-each-seed.ts'
import { runPipelinedSeeds } from './pipelined-seeds.ts'

const REQUIRED = ['in a chain', 'alone'].flatMap(place =>
  ['reset', 'hang', 'status', 'rival', 'closed', 'late', 'lost'].map(kind => `${kind}: ${place}`),
)

/** Adds the test of a range of seeds. */
export function testPipelinedSeeds(seeds: SeedRange, minCount: number): void {
  t.test(`seeds ${seeds.join(' to ')} with 2 to 4 appends in flight end as specified`, async t => {
    const counts = await runPipelinedSeeds(seeds, ({ seed, theme, complaints, transcript }) => {
      const details = { repeat: `npm run test:pipelining -- ${seed}`, complaints, transcript }
      t.fail(`seed ${seed}, ${theme}: ${complaints[0]}`, details)
    })
    for (const name of REQUIRED) {
      t.ok((counts[name] ?? 0) >= minCount, `${name}: ${counts[name] ?? 0} times`)
    }
  })
}
