/**
 * The transport in pino's worker, where neither a listener nor a console can be reached: events go to the main
 * thread as messages, and an outage is a line on standard error.
 */

import { parentPort, workerData } from 'node:worker_threads'
import type { RetryInfo } from '../append/retry-loop.ts'
import { systemClock } from '../clock.ts'
import { OutageNotice } from './outage-notice.ts'
import { type OutboxEvents, type TransportOptions, UndeliveredError } from './outbox.ts'
import { PinoTransport } from './pino-transport.ts'
import { writeStderr } from './stderr.ts'
import { codeOf } from './undelivered-error.ts'

/** Milliseconds that pino waits for its worker to end. Then it terminates the worker. */
const PINO_WORKER_TIMEOUT = 10_000

/**
 * thread-stream, which runs pino's worker, passes events on from 2.1 and gives its version from 2.2. Older ones
 * fail on an event.
 */
const acceptsEvents = workerData?.workerData?.$context?.threadStreamVersion !== undefined

/** The transport in pino's worker. It emits its events on the stream in the main thread. */
export class WorkerTransport extends PinoTransport {
  readonly #outageNotice = new OutageNotice({
    clock: systemClock,
    print: text => writeStderr(`${this.url}: ${text}`),
    bytesWaiting: () => this.bytesBuffered,
  })

  constructor(options: TransportOptions) {
    super(options)
    this.once('close', () => this.#outageNotice.end())
    const { closeTimeout = 0 } = options
    if (closeTimeout < PINO_WORKER_TIMEOUT) return
    writeStderr(
      `closeTimeout is ${closeTimeout} ms, but pino terminates its worker after ${PINO_WORKER_TIMEOUT} ms, ` +
        'and then records are lost without a report; set closeTimeout to less',
    )
  }

  protected override emitToListeners(name: keyof OutboxEvents, info: unknown): boolean {
    if (name === 'retry') this.#outageNotice.onFailure(codeOf((info as RetryInfo).error))
    if (acceptsEvents) parentPort?.postMessage({ code: 'EVENT', name, args: [toCloneable(info)] })
    return false
  }

  protected override onReached(): void {
    this.#outageNotice.onSuccess()
  }

  /** Calls back without an error: thread-stream would emit it as `'error'` in the main thread. */
  override flush(): Promise<void>
  override flush(callback: () => void): void
  override flush(callback?: () => void): Promise<void> | undefined {
    if (callback === undefined) return super.flush()
    super.flush(() => callback())
    return undefined
  }
}

/** Errors as plain objects: a structured clone of an error keeps little more than its message. */
function toCloneable(info: unknown): unknown {
  if (info instanceof UndeliveredError)
    return { ...errorToObject(info), cause: errorToObject(info.cause) }
  if (info instanceof Error) return errorToObject(info)
  const { error } = info as { error?: unknown }
  return error === undefined ? info : { ...(info as object), error: toCloneable(error) }
}

function errorToObject(error: unknown): object | undefined {
  return error instanceof Error ? { ...error, name: error.name, message: error.message } : undefined
}
