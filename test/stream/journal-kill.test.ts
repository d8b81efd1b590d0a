/** A process with journals is killed 20 times. `SEED=n` runs one seed. */

import t from 'tap'
import { testKills } from './journal-kill.ts'

const SEEDS = process.env.SEED ? [Number(process.env.SEED)] : [1, 2, 3, 4]

t.jobs = SEEDS.length
for (const seed of SEEDS) {
  t.test(`what a killed process has accepted arrives once: seed ${seed}`, t => {
    return testKills(t, { seed, kills: 5 })
  })
}
