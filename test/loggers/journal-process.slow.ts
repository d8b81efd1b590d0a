/** Processes that log with a journal, and how they end while OSS is down. */

import t from 'tap'
import { JOURNAL_SCENARIOS, runJournalScenario } from './journal-scenarios.ts'
import { pinoInProcess, pinoWorker, winston } from './logger-setups.ts'

t.jobs = 3

for (const setup of [pinoWorker('pino'), pinoInProcess, winston]) {
  for (const scenario of JOURNAL_SCENARIOS.slice(2)) {
    t.test(`${setup.name}: ${scenario.title} while OSS is down, and the next start`, t =>
      runJournalScenario(t, setup, scenario),
    )
  }
}
