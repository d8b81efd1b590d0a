/** The model of loggers, with few seeds. logger-model.slow.ts runs more. */

import { testLoggerSeeds } from './test-logger-seeds.ts'

testLoggerSeeds(1, 80, 1)
