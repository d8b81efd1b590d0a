/**
 * Each way in which a process that logs can end, with one kind of logger. All scenarios with each kind of logger, and
 * with older versions of pino, are in the slow set.
 */

import t from 'tap'
import { EXIT_SCENARIOS, runExitScenario } from './exit-scenarios.ts'
import { pinoInProcess, pinoWorker, winston } from './logger-setups.ts'

t.jobs = 3

const SETUPS = [pinoWorker('pino'), pinoInProcess, winston]

for (const [i, scenario] of EXIT_SCENARIOS.filter(({ isQuick }) => isQuick).entries()) {
  const setup = SETUPS[i % SETUPS.length]!
  t.test(`${setup.name}: ${scenario.title}`, t => runExitScenario(t, setup, scenario))
}
