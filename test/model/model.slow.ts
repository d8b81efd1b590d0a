/** The model with the seeds that the quick tests leave out. */

import { testSeeds } from './test-seeds.ts'

testSeeds({ seeds: [251, 1500], recordSeeds: [11, 75], minCount: 10, minRolls: 500 })
