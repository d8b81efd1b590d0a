/** A process with journals is killed 20 times. `SEED=n` runs another seed. */

import t from 'tap'
import { testKills } from './kill.ts'

const seed = Number(process.env.SEED ?? 1)

t.test(`what a killed process has accepted arrives once: seed ${seed}`, t => {
  return testKills(t, { seed, kills: 20 })
})
