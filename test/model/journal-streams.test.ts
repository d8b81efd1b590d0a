/**
 * Real streams with a journal against chance, in memory. `journal-streams.slow.ts` runs more seeds, and
 * `node --import=./test/helpers/typescript.js test/model/journal-streams-main.ts --seeds 30000` any number of them.
 */

import { testStreamSeeds } from './journal-streams-cases.ts'

testStreamSeeds(49, 118, 1)
