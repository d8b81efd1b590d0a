/**
 * Processes that log through pino, and how they end: pino 8, 9 and 10 with the transport in their worker,
 * and pino 10 in-process.
 */

import t from 'tap'
import { type Kind, play, ROWS } from './fixtures/endings.ts'
import { full } from './fixtures/full.ts'

function worker(module: string): Kind {
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

const inProcess: Kind = {
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
const renewed: Kind = {
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

const isFull = full('pino 8 and 9 in all rows, and the rows that take long')
t.jobs = 3

for (const kind of [worker('pino'), worker('pino9'), worker('pino8'), inProcess]) {
  for (const row of ROWS) {
    const isOld = /[89]/.test(kind.name) && !/exit|throw|documented/.test(row.title)
    if ((row.isLong || isOld) && !isFull) continue
    t.test(`${kind.name}: ${row.title}`, t => play(t, kind, row))
  }
}

t.test(`${renewed.name}: natural exit`, t => play(t, renewed, ROWS[0]!))
