/** The loggers whose processes the exit tests end: pino in its worker, pino in-process, winston. */

import type { LoggerSetup } from './exit-scenarios.ts'

/** A version of pino with the transport in its worker. */
export function pinoWorker(module: 'pino' | 'pino9' | 'pino8'): LoggerSetup {
  return {
    name: `${module}, worker`,
    prologue: `
      import pino from '${module}'
      const options = JSON.parse(process.env.OPTIONS)
      const transport = pino.transport({ target: 'oss-append-stream/pino', options })
      const logger = pino({ base: null, timestamp: false }, transport)
      const log = n => logger.info({ n })
      const end = () => transport.end()
      const endIfNeeded = () => {}
      const onSignal = () => process.exit()
    `,
    isThread: true,
  }
}

export const pinoInProcess: LoggerSetup = {
  name: 'pino, in-process',
  prologue: `
    import pino from 'pino'
    import { createTransport } from 'oss-append-stream/pino'
    const transport = createTransport(JSON.parse(process.env.OPTIONS))
    const logger = pino({ base: null, timestamp: false }, transport)
    const log = n => logger.info({ n })
    const end = () => transport.end()
    const endIfNeeded = end
    const onSignal = () => transport.end(() => process.exit())
  `,
  isThread: false,
}

export const winston: LoggerSetup = {
  name: 'winston',
  prologue: `
    import winston from 'winston'
    import { OssTransport } from 'oss-append-stream/winston'
    const transport = new OssTransport(JSON.parse(process.env.OPTIONS))
    const logger = winston.createLogger({ transports: [transport] })
    const log = n => logger.info('hello', { n })
    const end = () => logger.end()
    const endIfNeeded = end
    const onSignal = () => transport.end(() => process.exit())
  `,
  isThread: false,
}
