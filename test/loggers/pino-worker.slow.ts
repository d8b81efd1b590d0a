/** The tests of pino's worker with the older versions of pino. */

import t from 'tap'
import { testRenewedKeys } from './pino-worker.ts'

t.jobs = 2

testRenewedKeys('pino9')
testRenewedKeys('pino8')
