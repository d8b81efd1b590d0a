/** Streams with several appends in flight, over real HTTP, with seeded faults. The slow set runs more seeds. */

import { testPipelinedSeeds } from './test-pipelined-seeds.ts'

testPipelinedSeeds([1, 120], 1)
