/** The seeds of loggers that the quick tests leave out. */

import { testLoggerSeeds } from './test-logger-seeds.ts'

testLoggerSeeds(81, 1000, 10)
