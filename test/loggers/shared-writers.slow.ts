/** Processes that log to one object with the default options, through each kind of logger. */

import t from 'tap'
import { pinoInProcess, pinoWorker, winston } from './logger-setups.ts'
import {
  checkTally,
  plainStream,
  runCluster,
  runConfigures,
  runReloads,
  runRestarts,
} from './shared-scenarios.ts'

t.jobs = 2

for (const setup of [pinoWorker('pino'), pinoInProcess, winston, plainStream]) {
  t.test(`${setup.name}: six restarts that overlap lose and double no record`, async t => {
    checkTally(t, await runRestarts(t, setup, { count: 6, apart: 2000, lines: 500 }))
  })

  t.test(`${setup.name}: four cluster workers lose and double no record`, async t => {
    checkTally(t, await runCluster(t, setup, { count: 4, lines: 500 }))
  })

  t.test(`${setup.name}: a reload with SIGTERM loses and doubles no record`, async t => {
    checkTally(t, await runReloads(t, setup, { count: 4, apart: 1500, lines: 10_000 }))
  })

  t.test(`${setup.name}: cluster workers whose objects are full after 20 kB`, async t => {
    const options = { maxBytes: 20_000, flushInterval: 100 }
    checkTally(t, await runCluster(t, setup, { count: 4, lines: 500, options }))
  })
}

t.test('ten winston.configure() lose and double no record', async t => {
  checkTally(t, await runConfigures(t, { count: 11, lines: 1100 }))
})

t.test('with shared: false cluster workers get in the way of each other, and say so', async t => {
  const options = { shared: false, flushInterval: 100 }
  const { stderr, doubled, torn } = await runCluster(t, winston, { count: 4, lines: 300, options })
  t.match(stderr, 'PositionNotEqualToLength: another writer changed the object')
  t.strictSame([doubled, torn], [0, 0])
})
