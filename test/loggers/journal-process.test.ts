/** Processes that log with a journal: each kind of logger is killed once. `journal-process.slow.ts` has all scenarios. */

import t from 'tap'
import { JOURNAL_SCENARIOS, runJournalScenario } from './journal-scenarios.ts'
import { pinoInProcess, pinoWorker, winston } from './logger-setups.ts'

t.jobs = 3

const [kill] = JOURNAL_SCENARIOS
for (const setup of [pinoWorker('pino'), pinoInProcess, winston]) {
  for (const scenario of [kill!]) {
    t.test(`${setup.name}: ${scenario.title} while OSS is down, and the next start`, t =>
      runJournalScenario(t, setup, scenario),
    )
  }
}
