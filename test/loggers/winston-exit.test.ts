/** Processes that log through winston 3, and how they end. */

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

const winston: LoggerSetup = {
  name: 'winston',
  prologue: `
    import winston from 'winston'
    import { OssTransport } from 'oss-append-stream/winston'
    const transport = new OssTransport(JSON.parse(process.env.OPTIONS))
    const logger = winston.createLogger({ transports: [transport] })
    const log = n => logger.info('hello', { n })
    const end = () => logger.end()
    const leave = end
    const onSignal = () => transport.end(() => process.exit())
  `,
  isThread: false,
}

/** A stream of ours in winston's own transport. */
const wrapped: LoggerSetup = {
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

/** How many of 300 records are in the object, by many appends to a slow server, when the logger has finished. */
async function countAtFinish(t: Test, setup: LoggerSetup): Promise<number> {
  let atFinish = -1
  await runExitScenario(t, setup, {
    title: "the logger's 'finish'",
    total: 300,
    options: { highWaterMark: 1024 },
    code: `many(0, 300); logger.end(); await once(logger, 'finish'); console.log('finished'); await go()`,
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

const OWN: readonly ExitScenario[] = [
  {
    // The first half waits for the permission, the second shows that winston has not detached us.
    title: 'what fails is a warning of the logger, and the transport stays',
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
    title: "a failed end: 'finish' all the same, and failed says so",
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
    expected: 'told',
    exit: { code: 3, signal: null },
  },
]

const isFull = runsLongTests('the rows that take long')
t.jobs = 3

for (const scenario of [...EXIT_SCENARIOS, ...OWN]) {
  if (scenario.isLong && !isFull) continue
  t.test(scenario.title, t => runExitScenario(t, winston, scenario))
}

t.test("all is there at the logger's 'finish'", async t => {
  t.equal(await countAtFinish(t, winston), 300)
})

// README says not to do this.
t.test('with a stream in winston.transports.Stream it is not', async t => {
  const count = await countAtFinish(t, wrapped)
  t.ok(count < 300, `${count} of 300`)
})
