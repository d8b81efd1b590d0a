/**
 * Processes that log through pino, and how they end: pino 8, 9 and 10 with the transport in their worker, and pino
 * 10 in-process. `exit.test.ts` runs some of the scenarios in the quick set.
 */

import t from 'tap'
import { runsLongTests } from '../helpers/long-tests.ts'
import { EXIT_SCENARIOS, type LoggerSetup, runExitScenario } from './exit-scenarios.ts'
import { pinoInProcess, pinoWorker } from './logger-setups.ts'

/** OSS does not know the first keys that the provider gives. */
const renewedKeys: LoggerSetup = {
  ...pinoInProcess,
  name: 'pino, in-process, with renewed keys',
  prologue: `
    let calls = 0
    const credentials = () => ({
      accessKeyId: calls++ === 0 ? 'expired-key' : process.env.OSS_ACCESS_KEY_ID,
      accessKeySecret: process.env.OSS_ACCESS_KEY_SECRET,
    })
    ${pinoInProcess.prologue.replace('JSON.parse(process.env.OPTIONS)', '{ ...$&, credentials }')}
  `,
}

const isFull = runsLongTests('all scenarios with pino 8 and 9, and the long scenarios')
t.jobs = 3

for (const setup of [pinoWorker('pino'), pinoInProcess]) {
  for (const scenario of EXIT_SCENARIOS) {
    if (scenario.isLong && !isFull) continue
    t.test(`${setup.name}: ${scenario.title}`, t => runExitScenario(t, setup, scenario))
  }
}

for (const setup of [pinoWorker('pino9'), pinoWorker('pino8')]) {
  for (const scenario of EXIT_SCENARIOS) {
    const isAboutTheEnd = /exit|throw|documented/.test(scenario.title)
    if ((scenario.isLong || !isAboutTheEnd) && !isFull) continue
    t.test(`${setup.name}: ${scenario.title}`, t => runExitScenario(t, setup, scenario))
  }
}

t.test(`${renewedKeys.name}: natural exit`, t => {
  const [naturalExit] = EXIT_SCENARIOS
  return runExitScenario(t, renewedKeys, naturalExit!)
})
