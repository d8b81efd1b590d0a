/** The model of the journal with the seeds that the quick test leaves out. */

import { testJournalSeeds } from './journal-seeds.ts'

testJournalSeeds(251, 2250, 10)
