/** The model of streams with a journal, with the seeds that the quick test leaves out. */

import { testStreamSeeds } from './journal-streams-cases.ts'

testStreamSeeds(119, 1118, 5)
