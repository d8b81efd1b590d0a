/** The model with the seeds that the quick tests leave out. */

import { testSeeds } from './test-seeds.ts'

testSeeds({ seeds: [301, 1500], recordSeeds: [14, 75], minCount: 15, minRolls: 500 })
