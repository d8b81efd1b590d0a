/** The transport for winston with real loggers: formats, levels, warnings, dropped records, every way to end. */

import { once } from 'node:events'
import { EOL } from 'node:os'
import t from 'tap'
import winston from 'winston'
import { OssTransport, type OssTransportOptions } from '../../lib/loggers/winston.ts'
import { captureStderr } from '../helpers/capture-stderr.ts'
import { parseLossReports } from '../helpers/numbered-records.ts'
import { BUCKET, networkOptions, nextEvent, type Oss, startOss } from '../helpers/test-oss.ts'

const { combine, printf } = winston.format
const uppercase = winston.format(info => ({
  ...info,
  message: String(info.message).toUpperCase(),
}))
const plainFormat = printf(({ level, message }) => `${level}: ${message}`)

/** A logger with one transport to a new object. The default format is plain. */
function setUpLogger(
  oss: Oss,
  options: Partial<OssTransportOptions> = {},
  more: winston.LoggerOptions = {},
) {
  const key = oss.newKey()
  const transport = new OssTransport({
    bucket: BUCKET,
    key,
    ...networkOptions(oss.server),
    retry: { minDelay: 1, maxDelay: 5 },
    flushInterval: 5,
    ...options,
  })
  const logger = winston.createLogger({ format: plainFormat, transports: [transport], ...more })
  return {
    key,
    transport,
    logger,
    read: () => oss.server.read(BUCKET, key)?.toString() ?? '',
    async end() {
      logger.end()
      await once(logger, 'finish')
    },
  }
}

t.test("a record has the logger's format, and after it the transport's own", async t => {
  const oss = await startOss(t)
  const shared = setUpLogger(oss)
  shared.logger.info('hello')
  await shared.end()
  t.equal(shared.read(), 'info: hello\n')

  const json = setUpLogger(
    oss,
    {},
    { format: winston.format.json(), defaultMeta: { service: 'a' } },
  )
  json.logger.info('日志', { n: 1 })
  await json.end()
  t.same(JSON.parse(json.read()), { level: 'info', message: '日志', n: 1, service: 'a' })

  const own = setUpLogger(oss, { format: combine(uppercase(), plainFormat) })
  own.logger.info('hello')
  await own.end()
  t.equal(own.read(), 'info: HELLO\n')
})

t.test('a record that a format filters out is not stored', async t => {
  const oss = await startOss(t)
  const only = winston.format(info => (info.message === 'secret' ? false : info))
  const { logger, read, end } = setUpLogger(oss, { format: combine(only(), plainFormat) })
  logger.info('a')
  logger.info('secret')
  logger.info('b')
  await end()
  t.equal(read(), 'info: a\ninfo: b\n')
})

t.test("the transport has its own level or the logger's, and can be silent", async t => {
  const oss = await startOss(t)
  const own = setUpLogger(oss, { level: 'warn' }, { level: 'debug' })
  own.logger.debug('no')
  own.logger.info('no')
  own.logger.warn('yes')
  own.logger.error('yes')
  await own.end()
  t.equal(own.read(), 'warn: yes\nerror: yes\n')

  const inherited = setUpLogger(oss, {}, { level: 'info' })
  inherited.logger.debug('no')
  inherited.logger.info('yes')
  inherited.logger.level = 'debug'
  inherited.logger.debug('now')
  await inherited.end()
  t.equal(inherited.read(), 'info: yes\ndebug: now\n')

  const silent = setUpLogger(oss, { silent: true })
  silent.logger.info('no')
  silent.transport.silent = false
  silent.logger.info('yes')
  await silent.end()
  t.equal(silent.read(), 'info: yes\n')
})

t.test('eol ends each record, and a wrong option is named in the error', async t => {
  const oss = await startOss(t)
  const { logger, read, end } = setUpLogger(oss, { eol: '\r\n' })
  logger.info('a')
  logger.info('b')
  await end()
  t.equal(read(), 'info: a\r\ninfo: b\r\n')
  const eol = 5 as unknown as string
  t.throws(() => setUpLogger(oss, { eol }), {
    code: 'OSS_ERR_INVALID_OPTION',
    message: /^option eol: /,
  })
  t.throws(() => setUpLogger(oss, { bucket: 'B' }), { message: /^option bucket: / })
  t.throws(() => setUpLogger(oss, { colour: 1 } as object), {
    message: /^option colour: /,
  })
  t.throws(() => new OssTransport(undefined as unknown as OssTransportOptions), {
    code: 'OSS_ERR_INVALID_OPTION',
    message: /^option options: must be an object/,
  })
})

t.test("'logged' is emitted as by winston's own transports", async t => {
  const oss = await startOss(t)
  const { logger, transport, end } = setUpLogger(oss)
  const logged = nextEvent(transport, 'logged')
  logger.info('hello', { n: 1 })
  t.match(await logged, { level: 'info', message: 'hello', n: 1 })
  await end()
})

/** A record as a logger passes it to a transport. */
function info(level: string, message: string) {
  return { [Symbol.for('level')]: level, level, message }
}

t.test(
  'corked records have the same formats and levels, and a format that throws loses no other record',
  async t => {
    const oss = await startOss(t)
    const throws = winston.format(info => {
      if (info.message === 'throws') throw new Error('format')
      return info
    })
    const { transport, read, logger } = setUpLogger(oss, {
      format: combine(throws(), plainFormat),
      level: 'info',
    })
    logger.exitOnError = false
    transport.cork()
    transport.write(info('info', 'a'))
    transport.write(info('debug', 'not this'))
    transport.write(info('info', 'throws'))
    transport.write(info('info', 'b'))
    t.throws(() => transport.uncork(), { message: 'format' })
    await transport.flush()
    t.equal(read(), 'info: a\ninfo: b\n')
    transport.destroy()
  },
)

// listeners of 'warn' -> whether the warning is printed on standard error
const warningListeners: [string, (setup: ReturnType<typeof setUpLogger>) => void, boolean][] = [
  ['no listener', () => {}, true],
  ['a listener of the transport', ({ transport }) => transport.on('warn', () => {}), false],
  [
    'a listener of the transport by once()',
    ({ transport }) => transport.once('warn', () => {}),
    false,
  ],
  ['a listener of the logger', ({ logger }) => logger.on('warn', () => {}), false],
  ['a listener of the logger by once()', ({ logger }) => logger.once('warn', () => {}), false],
]
for (const [title, listen, isReported] of warningListeners) {
  for (const isRemoved of [false, true]) {
    const when = isRemoved ? ', after its logger has removed the transport' : ''
    t.test(`a warning with ${title}${when}`, async t => {
      const oss = await startOss(t)
      const stderr = captureStderr(t)
      oss.server.permissions.clear()
      // The refusal has to come before the end of the wait, also on a busy machine.
      const setup = setUpLogger(oss, { closeTimeout: 30_000 })
      const { logger, transport } = setup
      logger.info('a')
      if (isRemoved) logger.remove(transport)
      listen(setup)
      const warned = new Promise(resolve => {
        const { emit } = transport
        transport.emit = (event: string, ...args: unknown[]) => {
          if (event === 'warn') setImmediate(resolve)
          return emit.call(transport, event, ...args)
        }
      })
      await warned
      t.equal(/: AccessDenied: /.test(stderr.join('')), isReported, stderr.join(''))
      transport.destroy()
    })
  }
}

// the formats -> the line that stands for dropped records
const jsonPattern = /^\{"level":"warn","oss_append_stream":"dropped","records":(\d+)\}$/m
const dropFormats: [string, Partial<OssTransportOptions>, winston.LoggerOptions, RegExp][] = [
  ["the logger's", {}, {}, /^warn: oss-append-stream: dropped (\d+) records$/m],
  [
    "the transport's",
    { format: combine(uppercase(), plainFormat) },
    {},
    /^warn: OSS-APPEND-STREAM: DROPPED (\d+) RECORDS$/m,
  ],
  [
    'JSON',
    {},
    { format: winston.format.json() },
    /^\{.*"oss_append_stream":"dropped","records":(\d+)\}$/m,
  ],
  [
    'one that throws',
    {
      format: winston.format(info => {
        if (info.records) throw new Error('format')
        return { ...info, [Symbol.for('message')]: `info: ${info.message}` }
      })(),
    },
    {},
    jsonPattern,
  ],
  ['one that makes no text', {}, { format: winston.format.timestamp() }, jsonPattern],
]
for (const [title, options, more, pattern] of dropFormats) {
  for (const isRemoved of [false, true]) {
    const when = isRemoved ? ', after the logger has removed the transport' : ''
    t.test(`dropped records leave a line in a format: ${title}${when}`, async t => {
      const oss = await startOss(t)
      const { logger, transport, read, end } = setUpLogger(
        oss,
        { maxBuffered: 500, ...options },
        more,
      )
      oss.server.refuse()
      const dropped = nextEvent<{ records: number }>(transport, 'drop')
      const finished = once(transport, 'finish')
      for (let n = 0; n < 200; n++) logger.info('hello')
      await new Promise(setImmediate)
      if (isRemoved) logger.remove(transport)
      await oss.server.listen()
      const { records } = await dropped
      if (!isRemoved) await end()
      await finished
      const [, reported] = pattern.exec(read()) ?? []
      t.equal(Number(reported), records)
      t.equal(read().split('\n').length, 200 - records + 2)
    })
  }
}

t.test(
  'dropped records leave a JSON line if the transport has no logger and no format',
  async t => {
    const oss = await startOss(t)
    const { transport, read } = setUpLogger(oss, { maxBuffered: 100 }, { transports: [] })
    const record = { level: 'error', message: 'x', [Symbol.for('message')]: 'x'.repeat(101) }
    // winston calls `log()` of an exception handler, without a pipe.
    transport.log(record)
    transport.end()
    await once(transport, 'finish')
    t.match(read(), jsonPattern)
  },
)

t.test('a transport that its logger removes or closes delivers its records', async t => {
  const oss = await startOss(t)
  const { logger, transport, read } = setUpLogger(oss, { flushInterval: 0 })
  logger.info('a')
  logger.remove(transport)
  await once(transport, 'finish')
  t.equal(read(), 'info: a\n')
  const other = setUpLogger(oss, { flushInterval: 0 })
  other.logger.info('b')
  other.logger.close()
  await once(other.transport, 'finish')
  t.equal(other.read(), 'info: b\n')
})

// the ways in which a transport ends while its logger goes on
const endings: [string, (setup: ReturnType<typeof setUpLogger>) => void | winston.Logger][] = [
  ['the transport is ended', ({ transport }) => void transport.end()],
  ['the transport is destroyed', ({ transport }) => void transport.destroy()],
  [
    'the logger removes and adds it again',
    ({ logger, transport }) => {
      logger.remove(transport)
      logger.add(transport)
    },
  ],
  [
    'the logger is configured with it again',
    ({ logger, transport }) => logger.configure({ format: plainFormat, transports: [transport] }),
  ],
  [
    'it has two loggers, and one is closed',
    ({ logger, transport }) => {
      const other = winston.createLogger({ format: plainFormat, transports: [transport] })
      logger.close()
      return other
    },
  ],
]
for (const [title, end] of endings) {
  t.test(`records after the end cause no error and are counted as given up: ${title}`, async t => {
    const oss = await startOss(t)
    const stderr = captureStderr(t)
    oss.server.latency = 30
    const setup = setUpLogger(oss)
    const { transport, read } = setup
    setup.logger.on('error', error => t.fail(String(error)))
    transport.on('error', error => t.fail(String(error)))
    setup.logger.info('a')
    await transport.flush()
    setup.logger.info('b')
    const finished = once(transport, title === 'the transport is destroyed' ? 'close' : 'finish')
    const logger = end(setup) ?? setup.logger
    await new Promise(setImmediate)
    logger.info('c')
    logger.info('d')
    const written = new Promise(resolve => transport.write(info('info', 'e'), resolve))
    await finished
    t.notOk(await written)
    const isDestroyed = title === 'the transport is destroyed'
    t.equal(read(), isDestroyed ? 'info: a\n' : 'info: a\ninfo: b\n')
    t.match(transport.failed, { records: isDestroyed ? 4 : 3, lateRecords: 3 })
    t.match(parseLossReports(stderr.join('')), [{ late: 3 }])
  })
}

t.test('a record after the end has the same levels and formats', async t => {
  const oss = await startOss(t)
  captureStderr(t)
  const { transport, logger } = setUpLogger(oss, {
    level: 'warn',
    format: combine(uppercase(), plainFormat),
  })
  logger.warn('in time')
  const finished = once(transport, 'finish')
  transport.end()
  await new Promise(setImmediate)
  logger.info('no')
  logger.warn('yes')
  await finished
  t.match(transport.failed, { records: 1, bytes: Buffer.byteLength(`warn: YES${EOL}`) })
})

t.test('a transport of 30 loggers causes no MaxListenersExceededWarning', async t => {
  const oss = await startOss(t)
  const { transport, read } = setUpLogger(oss)
  const warnings: Error[] = []
  const onWarning = (warning: Error) => warnings.push(warning)
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const format = plainFormat
  for (let n = 0; n < 30; n++) winston.createLogger({ format, transports: [transport] }).info('a')
  await transport.flush()
  t.equal(read(), 'info: a\n'.repeat(30))
  t.same(warnings, [])
  transport.destroy()
})
