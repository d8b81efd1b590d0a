/** The whole table of attempts for each append, with 1 to 32 writers. SHOW=1 prints its rows. */

import t from 'tap'
import { table } from '../helpers/readme.ts'
import { ROUND_TRIPS, runContest, WRITERS } from './shared-fairness.ts'

/** Milliseconds of simulated time. */
const DURATION = 20_000

t.test('the documented attempts for each append are those of 1 to 32 writers', async t => {
  const rows = table('attempts for each append')
  t.same(
    rows.map(([writers]) => Number(writers)),
    WRITERS,
  )
  for (const [i, writers] of WRITERS.entries()) {
    const cells: string[] = []
    for (const [column, roundTrip] of ROUND_TRIPS.entries()) {
      const { attempts, rate, worstWait, fewest } = await runContest(writers, roundTrip, DURATION)
      const documented = Number(rows[i]?.[column + 1])
      const measured = `${writers} writers, ${roundTrip} ms: ${attempts.toFixed(2)} attempts`
      t.comment(`${measured}, ${rate.toFixed(1)} a second, ${worstWait.toFixed(0)} ms, ${fewest}`)
      t.ok(Math.abs(documented - attempts) <= 0.2 * attempts, `${measured}, not ${documented}`)
      t.ok(fewest > 0, `each of ${writers} writers appends at ${roundTrip} ms`)
      cells.push(attempts.toFixed(1))
    }
    t.comment(`| ${[writers, ...cells].join(' | ')} |`)
  }
})
