/**
 * A process of the soak: writes numbered records at a steady rate, through what a user would import. It obeys messages
 * of main.ts: 'pause' waits until all records are delivered, and tells its resources then; 'end' ends the writer.
 * With a journal each accepted number is a line on standard output, so that a kill loses none.
 */

import { writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { createAppendStream, createRollingAppendStream } from 'oss-append-stream'

const { kind, from, interval, options } = JSON.parse(process.env.SOAK_PLAN)
const counts = { records: 0, appends: 0, retries: 0, rolls: 0, lostRaces: 0, drops: 0 }

/** A number and a filler: lengths differ from record to record. */
const fillerOf = n => 'x'.repeat((n * 7919) % 300)
const lineOf = n => `${JSON.stringify({ n, filler: fillerOf(n) })}\n`

function countEvents(emitter) {
  emitter.on('append', ({ lostRaces }) => {
    counts.appends += 1
    counts.lostRaces += lostRaces
  })
  emitter.on('retry', () => (counts.retries += 1))
  emitter.on('roll', () => (counts.rolls += 1))
  emitter.on('drop', ({ records }) => (counts.drops += records))
}

function openStream(create) {
  const stream = create({ ...options, align: '\n' })
  countEvents(stream)
  // A stream that fails has lost the soak: the process ends with the error.
  stream.on('error', error => {
    throw error
  })
  const onAccepted = n => error => {
    if (!error && options.journal) writeSync(1, `${n}\n`)
  }
  return {
    write: n => stream.write(lineOf(n), onAccepted(n)),
    flush: () => stream.flush(),
    end: () => new Promise(resolve => stream.once('close', resolve).end()),
  }
}

async function openPino() {
  const { default: pino } = await import('pino')
  const transport = pino.transport({ target: 'oss-append-stream/pino', options })
  countEvents(transport)
  transport.on('warn', error => console.error(error))
  const logger = pino({ base: null, timestamp: false }, transport)
  return {
    write: n => logger.info({ n, filler: fillerOf(n) }),
    flush: () => new Promise(resolve => logger.flush(resolve)),
    end: () => new Promise(resolve => transport.once('close', resolve).end()),
  }
}

async function openWinston() {
  const { default: winston } = await import('winston')
  const { OssTransport } = await import('oss-append-stream/winston')
  const transport = new OssTransport(options)
  countEvents(transport)
  transport.on('warn', error => console.error(error))
  const logger = winston.createLogger({ transports: [transport] })
  return {
    write: n => logger.info('soak', { n, filler: fillerOf(n) }),
    flush: () => transport.flush(),
    end: () => new Promise(resolve => transport.once('finish', resolve).end()),
  }
}

const OPEN = {
  plain: () => openStream(createAppendStream),
  rolling: () => openStream(createRollingAppendStream),
  pino: openPino,
  winston: openWinston,
}

const writer = await OPEN[kind]()
let n = from
let timer

function start() {
  timer = setInterval(() => {
    writer.write(n++)
    counts.records += 1
  }, interval)
}

/** Of this process: kinds of active resources, and listeners on `process`. */
function resources() {
  const kinds = {}
  for (const name of process.getActiveResourcesInfo()) kinds[name] = (kinds[name] ?? 0) + 1
  const listeners = process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0)
  return { kinds, listeners }
}

process.on('message', async message => {
  clearInterval(timer)
  if (message === 'resume') return start()
  await (message === 'end' ? writer.end() : writer.flush())
  // What the last request needed is released some turns later.
  await sleep(1000)
  process.send({ message, counts, ...resources() })
  if (message === 'end') process.disconnect()
})
process.on('disconnect', () => clearInterval(timer))
start()
