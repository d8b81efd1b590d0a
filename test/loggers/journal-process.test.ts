/**
 * Processes that log with a journal, and end while OSS is down: one is killed, one exits. `journal-process.slow.ts` has
 * all scenarios with each kind of logger.
 */

import t from 'tap'
import { JOURNAL_SCENARIOS, runJournalScenario } from './journal-scenarios.ts'
import { pinoInProcess, pinoWorker } from './logger-setups.ts'

t.jobs = 2

for (const [i, setup] of [pinoWorker('pino'), pinoInProcess].entries()) {
  const scenario = JOURNAL_SCENARIOS[i]!
  t.test(`${setup.name}: ${scenario.title} while OSS is down, and the next start`, t =>
    runJournalScenario(t, setup, scenario),
  )
}
