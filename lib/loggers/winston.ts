/**
 * A transport for winston 3: formatted records to an appendable object. The rules are winston's. Each write calls
 * back at once, because winston loses records that wait when the logger ends: the outbox is the queue. There is
 * only `'warn'`: winston removes a transport that calls back with an error, and `'error'` ends the process.
 * `'finish'` follows a failed end too, and `failed` holds the loss. (winston's `transports.Stream` around an
 * append stream ignores backpressure, never ends the stream, and finishes before anything is delivered.)
 */

import { EOL } from 'node:os'
import Transport from 'winston-transport'
import type { RetryInfo } from '../append/retry-loop.ts'
import { formatCount, invalidOption, type OssError } from '../errors.ts'
import type { RollInfo } from '../rolling/rolling-stream.ts'
import type {
  AnyListener,
  EventName,
  Listener,
  OtherEvent,
  WritableEvents,
  WriteCallback,
} from '../stream/event-types.ts'
import { checkObject } from '../validate.ts'
import { endLate, writeLate } from './late-writes.ts'
import {
  type DropInfo,
  Outbox,
  type OutboxEvents,
  type TransportOptions,
  type TransportStats,
  type UndeliveredError,
} from './outbox.ts'

export {
  type DropInfo,
  type RollInfo,
  type TransportOptions,
  type TransportStats,
  UndeliveredError,
} from './outbox.ts'

type Format = NonNullable<Transport['format']>
type WinstonOptions = Pick<
  Transport.TransportStreamOptions,
  'format' | 'level' | 'silent' | 'handleExceptions' | 'handleRejections'
>

/** winston's options for any transport, and those of this one. */
export interface OssTransportOptions extends WinstonOptions, TransportOptions {
  /** The text after each record. Default: the system's end of line. */
  readonly eol?: string | undefined
}

const LEVEL = Symbol.for('level')
const MESSAGE = Symbol.for('message')

/** A record as formats take it. Its text is under a symbol (triple-beam, `MESSAGE`). */
type Info = Parameters<Format['transform']>[0] & { readonly [MESSAGE]?: unknown }

/** Properties that readable-stream and winston set on a transport, without a declaration. */
interface TransportInternals {
  /** readable-stream 3 has no `writableEnded`. */
  readonly _writableState: { readonly ending: boolean }
  /** winston's own listener (logger.js, `_onEvent`). winston leaves it when it removes the transport. */
  readonly __winstonwarn?: unknown
}

type WinstonLogger = NodeJS.EventEmitter & { readonly format?: Format }

export interface OssTransport {
  /** Records were dropped: `records` and `bytes` say how many. The queue has room again, or the transport ends. */
  on(event: 'drop', listener: (info: DropInfo) => void): this
  /** Records were given up, or a stream failed; `error` says why. In the second case another stream is opened. */
  on(event: 'warn', listener: (error: OssError) => void): this
  /** An attempt failed: `error` says why. Another one follows after `delay` milliseconds. */
  on(event: 'retry', listener: (info: RetryInfo) => void): this
  /** An object was left, complete: `key` and `bytes` say which. The next one is in use. */
  on(event: 'roll', listener: (info: RollInfo) => void): this
  on<E extends keyof WritableEvents>(event: E, listener: Listener<WritableEvents, E>): this
  on<E extends EventName>(event: OtherEvent<E, OutboxEvents>, listener: AnyListener): this
  on<E extends keyof OutboxEvents>(event: E, listener: Listener<OutboxEvents, E>): this

  /** Records were dropped: `records` and `bytes` say how many. The queue has room again, or the transport ends. */
  once(event: 'drop', listener: (info: DropInfo) => void): this
  /** Records were given up, or a stream failed; `error` says why. In the second case another stream is opened. */
  once(event: 'warn', listener: (error: OssError) => void): this
  /** An attempt failed: `error` says why. Another one follows after `delay` milliseconds. */
  once(event: 'retry', listener: (info: RetryInfo) => void): this
  /** An object was left, complete: `key` and `bytes` say which. The next one is in use. */
  once(event: 'roll', listener: (info: RollInfo) => void): this
  once<E extends keyof WritableEvents>(event: E, listener: Listener<WritableEvents, E>): this
  once<E extends EventName>(event: OtherEvent<E, OutboxEvents>, listener: AnyListener): this
  once<E extends keyof OutboxEvents>(event: E, listener: Listener<OutboxEvents, E>): this

  off<E extends keyof WritableEvents>(event: E, listener: Listener<WritableEvents, E>): this
  off<E extends EventName>(event: OtherEvent<E, OutboxEvents>, listener: AnyListener): this
  off<E extends keyof OutboxEvents>(event: E, listener: Listener<OutboxEvents, E>): this
}

/** `winston.createLogger({ transports: [new OssTransport({ bucket, key })] })` */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: only methods that EventEmitter has are declared
export class OssTransport extends Transport {
  readonly #outbox: Outbox
  readonly #eol: string
  /**
   * The first logger of this transport. winston-transport clears its `parent` when a logger removes the
   * transport, but the queued records are still delivered, in this logger's format and with events on it.
   */
  #logger: WinstonLogger | undefined

  /**
   * Opens the object at once, and queues records until it is open.
   *
   * @throws {OssError} `OSS_ERR_INVALID_OPTION` at once, naming the option.
   */
  constructor(options: OssTransportOptions) {
    const {
      format,
      level,
      silent,
      handleExceptions,
      handleRejections,
      eol = EOL,
      ...outboxOptions
    } = checkObject('options', options)
    const winstonOptions = { format, level, silent, handleExceptions, handleRejections }
    super(winstonOptions as Transport.TransportStreamOptions)
    if (typeof eol !== 'string') throw invalidOption('eol', 'must be a string')
    this.#eol = eol
    // Each logger adds listeners. Node's limit of 10 would print a warning when several loggers share a transport.
    this.setMaxListeners(0)
    this.on('pipe', logger => {
      this.#logger ??= logger as WinstonLogger
    })
    this.#outbox = new Outbox(outboxOptions, {
      formatDroppedRecord: records => this.#formatDroppedRecord(records),
      emit: (event, ...args) => this.#emitToListeners(event, ...args),
    })
  }

  /** The records that were given up so far; undefined if there are none. Dropped records are not counted. */
  get failed(): UndeliveredError | undefined {
    return this.#outbox.loss
  }

  /** Bytes that are not acknowledged yet. */
  get bytesBuffered(): number {
    return this.#outbox.buffered
  }

  /** How far the records are, for a health check or for metrics. */
  stats(): TransportStats {
    return this.#outbox.stats()
  }

  /**
   * Resolves when everything logged before is acknowledged, however long that takes. Rejects with an
   * `UndeliveredError` if records are given up. Does not wait for dropped records.
   */
  flush(): Promise<void> {
    return this.#outbox.flush()
  }

  /**
   * As with any transport, but a write after the end is no error: the record is counted as given up. winston
   * would emit the error on the logger, which ends the process.
   */
  override write(info: unknown, callback?: WriteCallback): boolean
  override write(info: unknown, encoding: BufferEncoding, callback?: WriteCallback): boolean
  override write(
    info: unknown,
    encoding?: BufferEncoding | WriteCallback,
    callback?: WriteCallback,
  ): boolean {
    if (!this.#isEnded) return super.write(info, encoding as BufferEncoding, callback)
    return writeLate(done => this._write(info, 'utf8', done), encoding, callback)
  }

  /**
   * As with any transport, but a second end calls back when the transport has closed. readable-stream 3 would
   * never call back, and a handler of SIGTERM would wait for ever.
   */
  override end(callback?: () => void): this
  override end(info: unknown, callback?: () => void): this
  override end(info: unknown, encoding?: BufferEncoding, callback?: () => void): this
  override end(...args: unknown[]): this {
    if (!this.#isEnded) return super.end(...(args as [unknown])) as unknown as this
    const write = (info: unknown) => this.write(info)
    endLate(args, write, () => this.#outbox.close())
    return this
  }

  override log(info: Info, callback?: WriteCallback): void {
    this.#outbox.add(`${info[MESSAGE]}${this.#eol}`)
    if (this.listenerCount('logged') > 0) setImmediate(() => this.emit('logged', info))
    // winston exits after an exception or rejection, and waits for its transports for three seconds at most.
    if (info.exception || info.rejection) this.flush().catch(() => {})
    callback?.()
  }

  /**
   * Logs many records at once, as after `cork()`. winston-transport formats no record on this path. An error
   * of the format is thrown after all other records are logged.
   */
  override logv(writes: readonly { readonly chunk: Info }[], callback: WriteCallback): void {
    const errors: unknown[] = []
    for (const { chunk } of writes) {
      try {
        const info = transform(this.format, { ...chunk })
        if (info) this.log(info)
      } catch (error) {
        errors.push(error)
      }
    }
    callback()
    if (errors.length > 0) throw errors[0]
  }

  override _final(callback: WriteCallback): void {
    void this.#outbox.close().then(() => callback())
  }

  override _destroy(error: Error | null, callback: WriteCallback): void {
    void this.#outbox.abort().then(() => callback(error))
  }

  /** winston calls it when a logger removes the transport. Queued records are delivered as at an end. */
  override close(): void {
    this.end()
  }

  get #isEnded(): boolean {
    return this.#internals._writableState.ending || this.destroyed
  }

  get #internals(): TransportInternals {
    return this as unknown as TransportInternals
  }

  /** Uses the formats of the logger and of the transport, if they make a text of it. */
  #formatDroppedRecord(records: number): string {
    const fields = { level: 'warn', oss_append_stream: 'dropped', records }
    try {
      const message = `oss-append-stream: dropped ${formatCount(records, 'record')}`
      const info = { ...fields, message, [LEVEL]: 'warn' }
      const shared = transform(this.#logger?.format, info)
      const own = shared && transform(this.format, shared)
      // Only a format that finalizes, such as `json()`, makes a text.
      if (own && typeof own[MESSAGE] === 'string') return `${own[MESSAGE]}${this.#eol}`
    } catch {
      // The line below must be written even if a format throws.
    }
    return `${JSON.stringify(fields)}${this.#eol}`
  }

  #emitToListeners<E extends keyof OutboxEvents>(event: E, ...args: OutboxEvents[E]): boolean {
    // Counted before the event is emitted, which removes listeners added by `once()`.
    const userListeners = this.listeners(event).filter(
      listener => listener !== this.#internals.__winstonwarn,
    )
    const hasListener = userListeners.length > 0 || (this.#logger?.listenerCount(event) ?? 0) > 0
    this.emit(event, ...args)
    return hasListener
  }
}

function transform(format: Format | undefined, info: Info): Info | false {
  return format ? (format.transform(info, format.options) as Info | false) : info
}
