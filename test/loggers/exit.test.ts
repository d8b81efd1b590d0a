/**
 * Each way in which a process that logs can end, once for each kind of logger. The other scenarios, and older
 * versions of pino, are in the slow set.
 */

import t from 'tap'
import { EXIT_SCENARIOS, runExitScenario } from './exit-scenarios.ts'
import { pinoInProcess, pinoWorker, winston } from './logger-setups.ts'

t.jobs = 3

for (const scenario of EXIT_SCENARIOS) {
  if (!scenario.isQuick) continue
  for (const setup of [pinoWorker('pino'), pinoInProcess, winston])
    t.test(`${setup.name}: ${scenario.title}`, t => runExitScenario(t, setup, scenario))
}
