/** Streams with several appends in flight, over real HTTP, with seeded faults. The slow set runs more seeds. */

import t from 'tap'
import { runSeed } from './run-seed.ts'
import { testPipelinedSeeds } from './test-pipelined-seeds.ts'

testPipelinedSeeds([1, 100], 1)

t.test(
  'a batch that was sent ahead and has landed is whole, though attempts are shorter by now',
  async t => {
    const reports = await repeat(8872, 3)
    t.strictSame(
      reports.flatMap(({ complaints }) => complaints),
      [],
    )
  },
)

t.test('a held write that goes on while a batch is taken loses no bytes', async t => {
  // With `#sendAhead` in the midst of a copy, each run of the one and a third of the other end with bytes missing.
  const reports = [...(await repeat(3379, 15)), ...(await repeat(8542, 2))]
  t.strictSame(
    reports.flatMap(({ complaints }) => complaints),
    [],
  )
})

function repeat(seed: number, times: number) {
  return Promise.all(Array.from({ length: times }, () => runSeed(seed, 3)))
}
