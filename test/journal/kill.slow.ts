/** A process with journals is killed 100 times, and 1,000 times in `npm run test:full`. */

import t from 'tap'
import { runsLongTests } from '../helpers/long-tests.ts'
import { testKills } from './kill.ts'

const KILLS = 25
const runs = runsLongTests('1,000 kills instead of 100') ? 40 : 4
const first = Number(process.env.SEED ?? 101)

t.jobs = 2
for (let seed = first; seed < first + runs; seed++) {
  t.test(`what a killed process has accepted arrives once: seed ${seed}`, t => {
    return testKills(t, { seed, kills: KILLS })
  })
}
