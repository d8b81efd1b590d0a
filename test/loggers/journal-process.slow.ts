/** Processes that log with a journal, and how they end while OSS is down. */

import t from 'tap'
import { runsLongTests } from '../helpers/long-tests.ts'
import { runKills } from './journal-kills.ts'
import { JOURNAL_SCENARIOS, runJournalScenario } from './journal-scenarios.ts'
import { pinoInProcess, pinoWorker, winston } from './logger-setups.ts'

t.jobs = 3

for (const setup of [pinoWorker('pino'), pinoInProcess, winston]) {
  for (const scenario of JOURNAL_SCENARIOS) {
    t.test(`${setup.name}: ${scenario.title} while OSS is down, and the next start`, t =>
      runJournalScenario(t, setup, scenario),
    )
  }
}

const rounds = runsLongTests('1,000 kills of a process that logs with a journal') ? 1000 : 10
t.test(`${rounds} kills: each record that was safe is in the objects once`, t =>
  runKills(t, rounds, 1),
)
