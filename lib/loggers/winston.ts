/**
 * A transport for winston 3: formatted records to an appendable object. Needs `winston-transport`, which
 * winston brings along, and is not loaded by the main entry.
 *
 * Its rules are winston's. A transport that makes winston wait loses the records that wait when the
 * logger ends, so everything is acknowledged at once, and the outbox is the queue. One that calls back
 * with an error is detached, and `'error'` ends the process, so there is only `'warn'`. And `'finish'`
 * comes after a failed end too: `failed` says whether it was one.
 *
 * (`transports.Stream` around a stream of ours keeps none of them: it ignores that the stream is full,
 * never ends it, and the logger's `'finish'` comes with nothing delivered.)
 */

import { EOL } from 'node:os'
import Transport from 'winston-transport'
import { invalidOption } from '../errors.ts'
import type { Listen } from '../stream/event-types.ts'
import {
  Outbox,
  type OutboxEvents,
  type TransportOptions,
  type UndeliveredError,
} from './outbox.ts'

export { type DropInfo, type RollInfo, type TransportOptions, UndeliveredError } from './outbox.ts'

type Format = NonNullable<Transport['format']>
type WinstonOptions = Pick<
  Transport.TransportStreamOptions,
  'format' | 'level' | 'silent' | 'handleExceptions' | 'handleRejections'
>

/** winston's options for any transport, and those of the object. */
export interface OssTransportOptions extends WinstonOptions, TransportOptions {
  /** What ends each record. Default: the system's end of line. */
  readonly eol?: string | undefined
}

type Callback = (error?: Error | null) => void

const LEVEL = Symbol.for('level')
const MESSAGE = Symbol.for('message')

/** A record on its way through the formats; its text is under a symbol (triple-beam, `MESSAGE`). */
type Info = Parameters<Format['transform']>[0] & { readonly [MESSAGE]?: unknown }

/** What others keep at a transport, and declare nowhere. */
interface TransportInternals {
  /** Of readable-stream 3, which has no `writableEnded`. */
  readonly _writableState: { readonly ending: boolean }
  /** winston's own listener (logger.js, `_onEvent`), which stays when we are removed. */
  readonly __winstonwarn?: unknown
}

type WinstonLogger = NodeJS.EventEmitter & { readonly format?: Format }

/** `winston.createLogger({ transports: [new OssTransport({ bucket, key })] })` */
export class OssTransport extends Transport {
  declare readonly on: Listen<OutboxEvents, this>
  declare readonly once: Listen<OutboxEvents, this>
  declare readonly off: Listen<OutboxEvents, this>
  readonly #outbox: Outbox
  readonly #eol: string
  /**
   * The logger that we were first piped from. winston-transport has it as `parent`, and forgets it when we
   * are removed; but what is owed then is still told to it, and in its format.
   */
  #logger: WinstonLogger | undefined

  /**
   * Opens the object at once, and holds records until that is done.
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
    } = options
    const winstonOptions = { format, level, silent, handleExceptions, handleRejections }
    super(winstonOptions as Transport.TransportStreamOptions)
    if (typeof eol !== 'string') throw invalidOption('eol', 'must be a string')
    this.#eol = eol
    this.on('pipe', logger => {
      this.#logger ??= logger as WinstonLogger
    })
    this.#outbox = new Outbox(outboxOptions, {
      formatDroppedRecord: records => this.#formatDroppedRecord(records),
      emit: (event, ...args) => this.#emitToListeners(event, ...args),
    })
  }

  /** The records that were given up so far; undefined if there were none. Dropped ones are not meant. */
  get failed(): UndeliveredError | undefined {
    return this.#outbox.loss
  }

  /** Bytes that are not acknowledged yet. */
  get bytesBuffered(): number {
    return this.#outbox.buffered
  }

  /**
   * Settles when everything logged before is acknowledged, however long that takes. Rejects with what
   * was given up, if anything was. Dropped records are not waited for.
   */
  flush(): Promise<void> {
    return this.#outbox.flush()
  }

  /**
   * As with any transport, but what comes after the end is no error, which would be the logger's, and end the
   * process: it is counted as given up.
   */
  override write(info: unknown, callback?: Callback): boolean
  override write(info: unknown, encoding: BufferEncoding, callback?: Callback): boolean
  override write(
    info: unknown,
    encoding?: BufferEncoding | Callback,
    callback?: Callback,
  ): boolean {
    if (!this.#internals._writableState.ending && !this.destroyed) {
      return super.write(info, encoding as BufferEncoding, callback)
    }
    const done = typeof encoding === 'function' ? encoding : callback
    this._write(info, 'utf8', error => {
      if (done) process.nextTick(done, error)
    })
    return true
  }

  /**
   * As with any transport, but who ends it again is told when it has ended: readable-stream would forget
   * him, and a handler of SIGTERM would wait for ever.
   */
  override end(callback?: () => void): this
  override end(info: unknown, callback?: () => void): this
  override end(info: unknown, encoding?: BufferEncoding, callback?: () => void): this
  override end(...args: unknown[]): this {
    if (!this.#internals._writableState.ending && !this.destroyed) {
      return super.end(...(args as [unknown])) as unknown as this
    }
    const [info] = args
    if (info !== undefined && info !== null && typeof info !== 'function') this.write(info)
    const callback = args.find(arg => typeof arg === 'function') as (() => void) | undefined
    if (callback) void this.#outbox.close().then(() => process.nextTick(callback))
    return this
  }

  override log(info: Info, callback?: Callback): void {
    this.#outbox.add(`${info[MESSAGE]}${this.#eol}`)
    if (this.listenerCount('logged') > 0) setImmediate(() => this.emit('logged', info))
    // winston will exit, and waits for us three seconds at most.
    if (info.exception || info.rejection) this.flush().catch(() => {})
    callback?.()
  }

  /**
   * Many at once, as after `cork()`. Here winston leaves the format to us. One that throws is the user's
   * to hear of, and costs no other record.
   */
  override logv(writes: readonly { readonly chunk: Info }[], callback: Callback): void {
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

  override _final(callback: Callback): void {
    void this.#outbox.close().then(() => callback())
  }

  override _destroy(error: Error | null, callback: Callback): void {
    void this.#outbox.abort().then(() => callback(error))
  }

  /** winston's word for our removal from a logger. What is owed is delivered as at an end. */
  override close(): void {
    this.end()
  }

  get #internals(): TransportInternals {
    return this as unknown as TransportInternals
  }

  /** In the user's own format, if that can be had. */
  #formatDroppedRecord(records: number): string {
    const fields = { level: 'warn', oss_append_stream: 'dropped', records }
    try {
      const message = `oss-append-stream: dropped ${records} records`
      const info = { ...fields, message, [LEVEL]: 'warn' }
      const shared = transform(this.#logger?.format, info)
      const own = shared && transform(this.format, shared)
      // Without a format that makes a text there is none.
      if (own && typeof own[MESSAGE] === 'string') return `${own[MESSAGE]}${this.#eol}`
    } catch {
      // A format that fails must not hide the gap.
    }
    return `${JSON.stringify(fields)}${this.#eol}`
  }

  #emitToListeners<E extends keyof OutboxEvents>(event: E, ...args: OutboxEvents[E]): boolean {
    // Before they hear it: one that listens once is gone then.
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
