/** The seeds of pipelined streams that the quick tests leave out. */

import { testPipelinedSeeds } from './test-pipelined-seeds.ts'

testPipelinedSeeds([121, 800], 3)
