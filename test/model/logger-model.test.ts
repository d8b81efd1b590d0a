/** The model of loggers, with few seeds. logger-model.slow.ts runs more. */

import { testLoggerSeeds } from './test-logger-seeds.ts'

testLoggerSeeds(1, 80, 1)
// Records in doubt that land in an object behind that of later ones.
testLoggerSeeds(7379, 7379, 0)
