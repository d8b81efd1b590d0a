/**
 * Processes that log through pino, and how they end: pino 8, 9 and 10 with the transport in their worker,
 * and pino 10 in-process.
 */

import t from 'tap'
import { runsLongTests } from '../helpers/long-tests.ts'
import { EXIT_SCENARIOS, type LoggerSetup, runExitScenario } from './exit-scenarios.ts'

function worker(module: string): LoggerSetup {
  return {
    name: `${module}, worker`,
    prologue: `
      import pino from '${module}'
      const options = JSON.parse(process.env.OPTIONS)
      const transport = pino.transport({ target: 'oss-append-stream/pino', options })
      const logger = pino({ base: null, timestamp: false }, transport)
      const log = n => logger.info({ n })
      const end = () => transport.end()
      const leave = () => {}
      const onSignal = () => process.exit()
    `,
    isThread: true,
  }
}

const inProcess: LoggerSetup = {
  name: 'pino, in-process',
  prologue: `
    import pino from 'pino'
    import { createTransport } from 'oss-append-stream/pino'
    const transport = createTransport(JSON.parse(process.env.OPTIONS))
    const logger = pino({ base: null, timestamp: false }, transport)
    const log = n => logger.info({ n })
    const end = () => transport.end()
    const leave = end
    const onSignal = () => transport.end(() => process.exit())
  `,
  isThread: false,
}

/** The first keys that its provider gives are none. */
const renewed: LoggerSetup = {
  ...inProcess,
  name: 'pino, in-process, keys that are renewed',
  prologue: `
    let calls = 0
    const credentials = () => ({
      accessKeyId: calls++ === 0 ? 'of-yesterday' : process.env.OSS_ACCESS_KEY_ID,
      accessKeySecret: process.env.OSS_ACCESS_KEY_SECRET,
    })
    ${inProcess.prologue.replace('JSON.parse(process.env.OPTIONS)', '{ ...$&, credentials }')}
  `,
}

const isFull = runsLongTests('pino 8 and 9 in all rows, and the rows that take long')
t.jobs = 3

for (const setup of [worker('pino'), worker('pino9'), worker('pino8'), inProcess]) {
  for (const scenario of EXIT_SCENARIOS) {
    const isOld = /[89]/.test(setup.name) && !/exit|throw|documented/.test(scenario.title)
    if ((scenario.isLong || isOld) && !isFull) continue
    t.test(`${setup.name}: ${scenario.title}`, t => runExitScenario(t, setup, scenario))
  }
}

t.test(`${renewed.name}: natural exit`, t => runExitScenario(t, renewed, EXIT_SCENARIOS[0]!))
