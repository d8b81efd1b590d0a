/** Up to 8 writers of one object: none starves, and all together are about as fast as one. */

import t from 'tap'
import { table } from '../helpers/readme.ts'
import { type Contest, ROUND_TRIPS, runContest, WRITERS } from './shared-fairness.ts'

/** Milliseconds of simulated time. */
const DURATION = 10_000

for (const [column, roundTrip] of ROUND_TRIPS.entries()) {
  t.test(`at a round trip of ${roundTrip} ms each of 8 writers gets its turn`, async t => {
    const one = await runContest(1, roundTrip, DURATION)
    t.equal(one.attempts, 1, 'a writer alone never loses a race')
    for (const writers of [2, 8] as const) {
      const all = await runContest(writers, roundTrip, DURATION)
      t.comment(describe(writers, all, one))
      t.ok(all.worstWait <= 5000, `${writers} writers: the longest wait is ${all.worstWait} ms`)
      t.ok(all.rate >= 0.8 * one.rate, `${writers} writers: ${all.rate / one.rate} of one`)
      t.ok(all.fewest > 0)
      const row = table('attempts for each append')[WRITERS.indexOf(writers)]
      const documented = Number(row?.[column + 1])
      t.ok(
        Math.abs(documented - all.attempts) <= 0.2 * all.attempts,
        `documented: ${documented}, measured: ${all.attempts.toFixed(2)}`,
      )
    }
  })
}

function describe(writers: number, all: Contest, one: Contest): string {
  const { rate, worstWait, fewest, attempts } = all
  const share = (rate / one.rate).toFixed(2)
  return `${writers} writers: ${share} of one, at most ${worstWait.toFixed(0)} ms, at least ${fewest} appends, ${attempts.toFixed(2)} attempts`
}
