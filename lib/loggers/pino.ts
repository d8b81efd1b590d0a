/**
 * A transport for pino: NDJSON lines to an appendable object. pino's worker runs the default export, as in
 * `pino.transport({ target: 'oss-append-stream/pino', options })`. `createTransport` makes one for the same
 * thread. It does not load pino. Once made, a transport never emits `'error'`, which would end pino's worker
 * and lose all later records: a failure is a `'warn'`, and is retried without end.
 */

import { once } from 'node:events'
import { Writable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { isMainThread, parentPort, workerData } from 'node:worker_threads'
import type { RetryInfo } from '../append/retry-loop.ts'
import type { Credentials } from '../client/credentials.ts'
import { loadCredentialsModule } from '../client/credentials-module.ts'
import { systemClock } from '../clock.ts'
import { invalidOption, type OssError } from '../errors.ts'
import type { RollInfo } from '../rolling/rolling-stream.ts'
import type {
  AnyListener,
  EventName,
  Listener,
  OtherEvent,
  WritableEvents,
  WriteCallback,
} from '../stream/event-types.ts'
import { endLate, writeLate } from './late-writes.ts'
import { OutageNotice } from './outage-notice.ts'
import {
  type DropInfo,
  Outbox,
  type OutboxEvents,
  type TransportOptions,
  type TransportStats,
  UndeliveredError,
} from './outbox.ts'
import { writeStderr } from './stderr.ts'
import { codeOf } from './undelivered-error.ts'

export type { DropInfo, RollInfo, TransportOptions, TransportStats } from './outbox.ts'
export { UndeliveredError }

/** The options of a transport in a worker. They must be plain data, because they are copied to the worker. */
export interface WorkerOptions extends Omit<TransportOptions, 'credentials'> {
  /**
   * The keys, or the name of a module whose default export is a provider, a class of providers, or keys. The
   * name is a path or a package as seen from the working directory, or a `file:` URL. Default: the environment
   * as it was when the worker started.
   */
  readonly credentials?: string | Credentials | undefined
}

const LINE = /[^\n]*\n/g

export interface PinoTransport {
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

/** The stream that pino writes to. It never asks pino to wait: see `maxBuffered`. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: only methods that EventEmitter has are declared
export class PinoTransport extends Writable {
  readonly #outbox: Outbox
  readonly #decoder = new StringDecoder()
  /** A line whose end is not written yet. Undefined if the line is too long: the rest of it is dropped too. */
  #partialLine: string | undefined = ''

  /**
   * Opens the object at once, and queues records until it is open. Made by `createTransport`.
   *
   * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option.
   */
  constructor(options: TransportOptions) {
    // `_write` takes each chunk at once, so no chunk is too large, and `'drain'` is never needed.
    super({ decodeStrings: false, highWaterMark: Number.MAX_SAFE_INTEGER })
    this.#outbox = new Outbox(options, {
      formatDroppedRecord: records =>
        `{"level":40,"oss_append_stream":"dropped","records":${records}}\n`,
      emit: (event, info) => this.emitToListeners(event, info),
      onReached: () => this.onReached(),
    })
  }

  /** The records that were given up so far; undefined if there are none. Dropped records are not counted. */
  get failed(): UndeliveredError | undefined {
    return this.#outbox.loss
  }

  /** Bytes that are not acknowledged yet, without a line whose end is not written yet. */
  get bytesBuffered(): number {
    return this.#outbox.buffered
  }

  /** How far the records are, for a health check or for metrics. */
  stats(): TransportStats {
    return this.#outbox.stats()
  }

  /**
   * Resolves when everything written before is acknowledged, however long that takes. Rejects with an
   * `UndeliveredError` if records are given up. Does not wait for dropped records.
   */
  flush(): Promise<void>
  /** The same with a callback, which gets the error. */
  flush(callback: (error?: Error | null) => void): void
  flush(callback?: (error?: Error | null) => void): Promise<void> | undefined {
    const flushed = this.#outbox.flush()
    if (callback === undefined) return flushed
    flushed.then(
      () => process.nextTick(callback, null),
      error => process.nextTick(callback, error),
    )
    return undefined
  }

  /** As with any Writable, but a write after the end is no error: its records are counted as given up. */
  override write(chunk: unknown, callback?: WriteCallback): boolean
  override write(chunk: unknown, encoding: BufferEncoding, callback?: WriteCallback): boolean
  override write(
    chunk: unknown,
    encoding?: BufferEncoding | WriteCallback,
    callback?: WriteCallback,
  ): boolean {
    if (!this.#isEnded) return super.write(chunk, encoding as BufferEncoding, callback)
    const addLate = (done: WriteCallback) => {
      const isEncoding = typeof encoding === 'string'
      this.#addChunk(this.#decode(chunk as Buffer | string, isEncoding ? encoding : 'utf8'))
      this.#endPartialLine()
      done()
    }
    return writeLate(addLate, encoding, callback)
  }

  /**
   * As with any Writable, but a second end calls back when the transport has closed. Records that come with it
   * are counted as given up.
   */
  override end(callback?: () => void): this
  override end(chunk: unknown, callback?: () => void): this
  override end(chunk: unknown, encoding?: BufferEncoding, callback?: () => void): this
  override end(...args: unknown[]): this {
    if (!this.#isEnded) return super.end(...(args as [unknown]))
    const write = (chunk: unknown) => this.write(chunk)
    endLate(args, write, () => this.#outbox.close())
    return this
  }

  /** Ends the transport and waits for its close. Node's own method destroys it, which gives records up. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.end()
    if (!this.closed) await once(this, 'close')
  }

  override _write(chunk: Buffer | string, encoding: BufferEncoding, callback: () => void): void {
    const text = this.#decode(chunk, encoding)
    // In-process, each write is one line. A worker reads many lines at once, and the last may be incomplete.
    if (this.#partialLine === '' && text.indexOf('\n') === text.length - 1) this.#outbox.add(text)
    else this.#addChunk(text)
    callback()
  }

  override _final(callback: () => void): void {
    this.#endPartialLine()
    void this.#outbox.close().then(() => callback())
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#endPartialLine()
    void this.#outbox.abort().then(() => callback(error))
  }

  /** Emits an event. Returns whether it has a listener. */
  protected emitToListeners(event: keyof OutboxEvents, info: unknown): boolean {
    return this.emit(event, info)
  }

  /** OSS is reached: an object is ready, or records are acknowledged. */
  protected onReached(): void {}

  /** The object in use, as `oss://bucket/key`. */
  protected get url(): string {
    return this.#outbox.url
  }

  get #isEnded(): boolean {
    return this.writableEnded || this.destroyed
  }

  /** The text of a chunk, whose bytes are UTF-8. A character that is not complete yet waits for the next chunk. */
  #decode(chunk: Buffer | string, encoding: string): string {
    if (typeof chunk !== 'string') return this.#decoder.write(chunk)
    // Node accepts the encoding 'buffer' for a string. The text is kept, because a logger must lose no record.
    if (encoding === 'utf8' || !Buffer.isEncoding(encoding)) return chunk
    return this.#decoder.write(Buffer.from(chunk, encoding))
  }

  #addChunk(chunk: string): void {
    // The partial line is not searched again for each chunk: that would take quadratic time.
    if (this.#partialLine !== undefined && !chunk.includes('\n')) {
      this.#setPartialLine(this.#partialLine + chunk)
      return
    }
    const text =
      this.#partialLine === undefined ? textAfterNewline(chunk) : this.#partialLine + chunk
    if (text === undefined) return
    let from = 0
    let lines = 0
    for (let to = text.indexOf('\n') + 1; to > 0; to = text.indexOf('\n', to) + 1) {
      lines++
      if (to - from < this.#outbox.chunkLength) continue
      this.#addLines(text.slice(from, to), lines)
      from = to
      lines = 0
    }
    const end = text.lastIndexOf('\n') + 1
    if (lines > 0) this.#addLines(text.slice(from, end), lines)
    this.#setPartialLine(text.slice(end))
  }

  /** Adds lines joined in one text. One by one they would take as long as pino needs to log them. */
  #addLines(text: string, lines: number): void {
    if (this.#outbox.hasRoom(text)) this.#outbox.add(text, lines)
    else for (const line of text.match(LINE) ?? []) this.#outbox.add(line)
  }

  /** A line longer than `maxBuffered` is dropped before its end comes, so that it cannot fill the memory. */
  #setPartialLine(partialLine: string): void {
    this.#partialLine = partialLine
    if (partialLine.length <= this.#outbox.maxBuffered) return
    this.#outbox.add(partialLine)
    this.#partialLine = undefined
  }

  /** Adds the partial line with an end of line, because no more of it comes. */
  #endPartialLine(): void {
    const last = this.#decoder.end()
    const line = this.#partialLine === undefined ? '' : this.#partialLine + last
    this.#partialLine = ''
    if (line !== '') this.#outbox.add(`${line}\n`)
  }
}

function textAfterNewline(text: string): string | undefined {
  const end = text.indexOf('\n')
  return end < 0 ? undefined : text.slice(end + 1)
}

/**
 * Makes a transport that runs in this thread: `pino(options, createTransport({ bucket, key }))`.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION` at once, naming the option.
 */
export function createTransport(options: TransportOptions): PinoTransport {
  return new PinoTransport(options)
}

/**
 * The function that pino calls in its worker. Does not wait for the network.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION`, as a rejection, naming the option.
 */
export default async function transport(options: WorkerOptions): Promise<PinoTransport> {
  // pino adds these two for its worker. The stream would refuse them as unknown options.
  const { $context, pinoWillSendConfig, ...transportOptions } = options as WorkerOptions &
    OptionsAddedByPino
  const credentials = await resolveCredentials(options)
  const isPinoWorker = !isMainThread && workerData?.stateBuf instanceof SharedArrayBuffer
  const TransportClass = isPinoWorker ? WorkerTransport : PinoTransport
  return new TransportClass({ ...transportOptions, credentials })
}

interface OptionsAddedByPino {
  readonly $context?: unknown
  readonly pinoWillSendConfig?: unknown
}

/** Milliseconds that pino waits for its worker to end. Then it terminates the worker. */
const PINO_WORKER_TIMEOUT = 10_000

/**
 * thread-stream, which runs pino's worker, passes events on from 2.1 and gives its version from 2.2. Older ones
 * fail on an event.
 */
const acceptsEvents = workerData?.workerData?.$context?.threadStreamVersion !== undefined

/** The transport in pino's worker. It emits its events on the stream in the main thread. */
class WorkerTransport extends PinoTransport {
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

async function resolveCredentials({
  credentials,
}: WorkerOptions): Promise<TransportOptions['credentials']> {
  if (typeof credentials !== 'string') return credentials
  return loadCredentialsModule(credentials, problem => invalidOption('credentials', problem))
}
