/** Processes that log through winston 3, and how they end. */

import t from 'tap'
import { type Kind, play, ROWS } from './fixtures/endings.ts'
import { full } from './fixtures/full.ts'

const winston: Kind = {
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

const isFull = full('the rows that take long')
t.jobs = 3

for (const row of ROWS) {
  if (row.isLong && !isFull) continue
  t.test(row.title, t => play(t, winston, row))
}
