/** Cluster workers share an object. `shared-writers.slow.ts` has more ways to meet, and all loggers. */

import t from 'tap'
import { pinoInProcess } from './logger-setups.ts'
import { checkTally, runCluster } from './shared-scenarios.ts'

t.test('two cluster workers lose and double no record', async t => {
  const options = { flushInterval: 50 }
  checkTally(t, await runCluster(t, pinoInProcess, { count: 2, lines: 200, options }))
})
