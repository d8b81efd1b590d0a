/** Programs that log through winston: exceptions, rejections, keys in the environment. */

import t, { type Test } from 'tap'
import { runModule } from '../helpers/child-process.ts'
import { parseLossReports } from '../helpers/numbered-records.ts'
import { BUCKET, startOss } from '../helpers/test-oss.ts'

t.jobs = 3

/** The beginning of a program that logs through winston, in JSON. */
const PROGRAM = `
  import winston from 'winston'
  import { OssTransport } from 'oss-append-stream/winston'
  const options = JSON.parse(process.env.OPTIONS)
  const make = more => new OssTransport({ ...options, ...more })
  const create = (transport, more) => winston.createLogger({ transports: [transport], ...more })
`
/** Runs a program that begins with `PROGRAM`, and reads its object. */
async function runLogProgram(t: Test, code: string, more = {}) {
  const oss = await startOss(t)
  const key = oss.newKey()
  const { url, region, credentials } = oss.server
  const ended = await runModule(t, PROGRAM + code, {
    OPTIONS: JSON.stringify({ bucket: BUCKET, key, ...more }),
    OSS_ENDPOINT: url,
    OSS_REGION: region,
    OSS_ACCESS_KEY_ID: credentials.accessKeyId,
    OSS_ACCESS_KEY_SECRET: credentials.accessKeySecret,
  })
  const text = oss.server.read(BUCKET, key)?.toString() ?? ''
  const infos = text
    .split('\n')
    .slice(0, -1)
    .map(line => JSON.parse(line))
  return { ...ended, infos, oss, key }
}

// A batch would wait for ever, so records in the object were sent because of the exception.
const noTimedFlush = { flushInterval: 0 }

t.test('handleExceptions stores the exception before winston exits', async t => {
  const code = `const logger = create(make({ handleExceptions: true }))
    logger.info('before')
    setTimeout(() => { throw new Error('thrown') }, 10)`
  const { code: exit, infos, stderr } = await runLogProgram(t, code, noTimedFlush)
  t.equal(exit, 1)
  t.match(infos, [{ message: 'before' }, { level: 'error', exception: true, message: /thrown/ }])
  t.notMatch(stderr, /oss-append-stream/)
})

t.test(
  'without handleExceptions an exception ends the process, and lost records are reported',
  async t => {
    const code = `const logger = create(make())
    logger.info('before')
    throw new Error('thrown')`
    const { code: exit, infos, stderr } = await runLogProgram(t, code, noTimedFlush)
    t.equal(exit, 1)
    t.same(infos, [])
    t.match(parseLossReports(stderr), [{ records: 1 }])
  },
)

t.test(
  'a transport in exceptionHandlers stores exceptions, also with exitOnError: false',
  async t => {
    const code = `const logger = create(new winston.transports.Console({ silent: true }), {
      exceptionHandlers: [make()], exitOnError: false,
    })
    setTimeout(() => { throw new Error('thrown') }, 10)`
    const { code: exit, infos } = await runLogProgram(t, code, noTimedFlush)
    t.equal(exit, 0)
    t.match(infos, [{ level: 'error', exception: true, message: /thrown/ }])
  },
)

t.test('handleRejections stores the rejection before winston exits', async t => {
  const code = `const logger = create(make({ handleRejections: true }))
    setTimeout(() => { Promise.reject(new Error('rejected')) }, 10)`
  const { code: exit, infos } = await runLogProgram(t, code, noTimedFlush)
  t.equal(exit, 1)
  t.match(infos, [{ level: 'error', rejection: true, message: /rejected/ }])
})

t.test('keys that the program changes in its environment are read again', async t => {
  const code = `const transport = make({ flushInterval: 5 })
    const logger = create(transport)
    logger.info('a', { n: 0 })
    await transport.flush()
    process.env.OSS_ACCESS_KEY_ID = 'wrong-key'
    transport.on('warn', () => {})
    setTimeout(() => { process.env.OSS_ACCESS_KEY_ID = 'test-access-key' }, 300)
    logger.info('b', { n: 1 })
    await transport.flush()
    logger.end()`
  const { code: exit, infos, oss } = await runLogProgram(t, code)
  t.equal(exit, 0)
  t.same(
    infos.map(({ n }) => n),
    [0, 1],
  )
  t.ok(oss.server.requests.some(({ code }) => code === 'InvalidAccessKeyId'))
})
