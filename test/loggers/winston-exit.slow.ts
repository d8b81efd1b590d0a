/** Processes that log through winston 3, and how they end. `exit.test.ts` runs some of the scenarios in the quick set. */

import t, { type Test } from 'tap'
import { runsLongTests } from '../helpers/long-tests.ts'
import {
  afterHalf,
  EXIT_SCENARIOS,
  type ExitScenario,
  HALF,
  HALVES,
  type LoggerSetup,
  runExitScenario,
  TOTAL,
} from './exit-scenarios.ts'
import { winston } from './logger-setups.ts'

/** An append stream in winston's own transport. README says not to do this. */
const streamInTransport: LoggerSetup = {
  ...winston,
  name: 'winston.transports.Stream',
  prologue: `
    import winston from 'winston'
    import { createAppendStream } from 'oss-append-stream'
    const stream = createAppendStream(JSON.parse(process.env.OPTIONS))
    const logger = winston.createLogger({ transports: [new winston.transports.Stream({ stream })] })
    const log = n => logger.info('hello', { n })
  `,
}

/** How many of 300 records, which take many appends to a slow server, are in the object at the logger's `'finish'`. */
async function countAtFinish(t: Test, setup: LoggerSetup): Promise<number> {
  let atFinish = -1
  await runExitScenario(t, setup, {
    title: "the logger's 'finish'",
    total: 300,
    options: { highWaterMark: 1024 },
    code: `logMany(0, 300); logger.end(); await once(logger, 'finish'); console.log('finished'); await pause()`,
    prepare: oss => {
      oss.server.latency = 50
    },
    async during({ waitForLines, countRecords, resume }) {
      await waitForLines(1)
      atFinish = countRecords()
      resume()
    },
    expected: 'all',
  })
  return atFinish
}

const WINSTON_SCENARIOS: readonly ExitScenario[] = [
  {
    // The first half waits for the permission. The second half shows that winston has kept the transport.
    title: 'a refusal is a warning of the logger, and the logger keeps the transport',
    total: TOTAL,
    code: `logger.once('warn', ({ code }) => console.log(code)); ${HALVES}`,
    prepare: oss => oss.server.permissions.clear(),
    async during(control) {
      await control.waitForLines(1)
      for (const action of ['oss:GetObject', 'oss:PutObject'])
        control.oss.server.permissions.add(action)
      await afterHalf(control)
    },
    expected: 'all',
  },
  {
    title: "'finish' follows an end that gives records up, and failed holds them",
    total: TOTAL,
    options: { closeTimeout: 700 },
    code: `${HALVES}
      logger.once('warn', loss => {
        logger.once('finish', () => process.exit(loss === transport.failed ? 3 : 4))
      })
      logger.end()`,
    async during({ oss, waitForRecords, resume }) {
      await waitForRecords(HALF)
      oss.server.refuse()
      resume()
    },
    expected: 'reported',
    exit: { code: 3, signal: null },
  },
]

const isFull = runsLongTests('the long scenarios')
t.jobs = 3

for (const scenario of [...EXIT_SCENARIOS, ...WINSTON_SCENARIOS]) {
  if (scenario.isLong && !isFull) continue
  t.test(scenario.title, t => runExitScenario(t, winston, scenario))
}

t.test("all records are in the object at the logger's 'finish'", async t => {
  t.equal(await countAtFinish(t, winston), 300)
})

t.test("winston.transports.Stream emits 'finish' before all records are in the object", async t => {
  const count = await countAtFinish(t, streamInTransport)
  t.ok(count < 300, `${count} of 300`)
})
