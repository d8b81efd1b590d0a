/**
 * Logs `count` records. A turn returns to the event loop after every thousand, as a program with other work
 * does, and ends when all records are delivered. Parameters: `{ contender, count, sink }`.
 */

import { createWriteStream } from 'node:fs'
import { fileURLToPath } from 'node:url'
import pino from 'pino'
import winston from 'winston'
import { createTransport } from '../../dist/loggers/pino.js'
import { OssTransport } from '../../dist/loggers/winston.js'
import { IDENTITY } from './ours.js'

const TARGET = fileURLToPath(new URL('../../dist/loggers/pino.js', import.meta.url))
const AT_ONCE = 1000

/** Options that a worker can receive: plain data. */
function options({ port }) {
  return {
    ...IDENTITY,
    bucket: 'benchmark',
    key: `${process.pid}.log`,
    endpoint: `http://127.0.0.1:${port}`,
    contentMd5: false,
  }
}

/** Resolves when pino has passed on all records. */
function flushed(logger) {
  return new Promise((resolve, reject) =>
    logger.flush(error => (error ? reject(error) : resolve())),
  )
}

function withPino(stream) {
  const logger = pino(stream)
  return { log: n => logger.info({ n }, 'all is well'), flush: () => flushed(logger), stream }
}

/** A logger with a worker, after the worker has started. */
async function inWorker(target, options) {
  const stream = pino.transport({ target, options })
  await new Promise((resolve, reject) => stream.once('ready', resolve).once('error', reject))
  return withPino(stream)
}

function withWinston(transport, flush) {
  const logger = winston.createLogger({ transports: [transport] })
  return { log: n => logger.info('all is well', { n }), flush, stream: transport }
}

const contenders = {
  'pino-ours': sink => withPino(createTransport(options(sink))),
  // It writes each record at once. Its flush would be an fsync, which fails on /dev/null.
  'pino-destination': () => ({ ...withPino(pino.destination('/dev/null')), flush: async () => {} }),
  'worker-ours': sink => inWorker(TARGET, options(sink)),
  'worker-file': () => inWorker('pino/file', { destination: '/dev/null' }),
  'winston-ours': sink => {
    const transport = new OssTransport(options(sink))
    return withWinston(transport, () => transport.flush())
  },
  'winston-stream': () => {
    const stream = createWriteStream('/dev/null')
    const flush = () => new Promise(resolve => stream.write('', resolve))
    return withWinston(new winston.transports.Stream({ stream }), flush)
  },
}

export async function open({ contender, count, sink }) {
  const { log, flush, stream } = await contenders[contender](sink)
  let dropped = 0
  stream.on('drop', ({ records }) => (dropped += records))
  return async () => {
    for (let n = 0; n < count; ) {
      for (const end = Math.min(count, n + AT_ONCE); n < end; n++) log(n)
      await new Promise(setImmediate)
    }
    await flush()
    // A logger that drops records would have less to do.
    if (dropped > 0) throw new Error(`${dropped} records were dropped`)
    return { records: count }
  }
}
