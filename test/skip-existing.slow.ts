/** skipExisting(): longer copies that are killed more often. `SEED` selects the moments of the kills. */

import { runsLongTests } from './helpers/long-tests.ts'
import { MIB, testKilledCopy } from './killed-copy.ts'

const seed = Number(process.env.SEED ?? 1)
testKilledCopy({ size: 24 * MIB, batch: 128 * 1024, kills: 10, seed })
if (runsLongTests('a copy of 256 MiB that is killed ten times')) {
  testKilledCopy({ size: 256 * MIB, batch: MIB, kills: 10, seed })
}
