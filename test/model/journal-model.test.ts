/**
 * The journal against chance: real journals on a simulated disk. `journal-model.slow.ts` runs more seeds, and
 * `node --import=./test/helpers/typescript.js test/model/journal-main.ts --seeds 30000` any number of them.
 */

import { testJournalSeeds } from './journal-seeds.ts'

testJournalSeeds(1, 250, 2)
