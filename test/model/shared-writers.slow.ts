/** The model of several writers with the seeds that the quick tests leave out. */

import { testSharedSeeds } from './test-shared-seeds.ts'

testSharedSeeds([121, 1750], 30)
