/**
 * A transport for pino: NDJSON lines to an appendable object. The default export is what
 * `pino.transport({ target: 'oss-append-stream/pino', options })` runs in its worker; `createTransport`
 * is for `pino(options, createTransport(...))` in-process. It does not load pino.
 *
 * After it is made it never emits `'error'`: pino's worker would die of it, and with it all later
 * records. An object that can't be written is a `'warn'`, and tried again without end.
 */

import { once } from 'node:events'
import { Writable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { isMainThread, parentPort, workerData } from 'node:worker_threads'
import type { Credentials } from '../client/credentials.ts'
import { loadCredentialsModule } from '../client/credentials-module.ts'
import { invalidOption } from '../errors.ts'
import type { Listen } from '../stream/event-types.ts'
import { Outbox, type OutboxEvents, type TransportOptions, UndeliveredError } from './outbox.ts'
import { writeStderr } from './stderr.ts'

export type { DropInfo, RollInfo, TransportOptions } from './outbox.ts'
export { UndeliveredError }

/** The options of a worker: plain data, since they are copied to it. */
export interface WorkerOptions extends Omit<TransportOptions, 'credentials'> {
  /**
   * The name of a module whose default export is a provider, a class of providers, or keys: a path or a
   * package as seen from the working directory, or a `file:` URL. Or the keys themselves. Default: the
   * environment as it was when the worker began.
   */
  readonly credentials?: string | Credentials | undefined
}

const LINE = /[^\n]*\n/g

type Callback = (error?: Error | null) => void

/** What `pino` writes to. Never says that it is full; see `maxBuffered`. */
export class PinoTransport extends Writable {
  declare readonly on: Listen<OutboxEvents, this>
  declare readonly once: Listen<OutboxEvents, this>
  declare readonly off: Listen<OutboxEvents, this>
  readonly #outbox: Outbox
  readonly #decoder = new StringDecoder()
  /** The beginning of a line whose end has not come yet. Undefined: it was too long, and is dropped. */
  #partialLine: string | undefined = ''

  /**
   * Opens the object at once, and holds records until that is done. Made by `createTransport`.
   *
   * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option.
   */
  constructor(options: TransportOptions) {
    // Everything is taken at once, so no size of a chunk is a reason to wait for 'drain'.
    super({ decodeStrings: false, highWaterMark: Number.MAX_SAFE_INTEGER })
    this.#outbox = new Outbox(options, {
      formatDroppedRecord: records =>
        `{"level":40,"oss_append_stream":"dropped","records":${records}}\n`,
      emit: (event, info) => this.emitToListeners(event, info),
    })
  }

  /** The records that were given up so far; undefined if there were none. Dropped ones are not meant. */
  get failed(): UndeliveredError | undefined {
    return this.#outbox.loss
  }

  /** Bytes that are not acknowledged yet, without the beginning of a line whose end has not been written. */
  get bytesBuffered(): number {
    return this.#outbox.buffered
  }

  /**
   * Settles when everything written before is acknowledged, however long that takes. Rejects with what
   * was given up, if anything was. Dropped records are not waited for.
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

  /** As with any Writable, but what comes after the end is no error: it is counted as given up. */
  override write(chunk: unknown, callback?: Callback): boolean
  override write(chunk: unknown, encoding: BufferEncoding, callback?: Callback): boolean
  override write(
    chunk: unknown,
    encoding?: BufferEncoding | Callback,
    callback?: Callback,
  ): boolean {
    // Node would destroy the stream for it, and what is being delivered would be lost too.
    if (this.writableEnded || this.destroyed) {
      this.#addChunk(this.#decode(chunk as Buffer | string))
      this.#endPartialLine()
      const done = typeof encoding === 'function' ? encoding : callback
      if (done) process.nextTick(done, null)
      return true
    }
    return super.write(chunk, encoding as BufferEncoding, callback)
  }

  /** As with any Writable, but who ends it again is told when it has ended, and what comes with that is counted. */
  override end(callback?: () => void): this
  override end(chunk: unknown, callback?: () => void): this
  override end(chunk: unknown, encoding?: BufferEncoding, callback?: () => void): this
  override end(...args: unknown[]): this {
    if (!this.writableEnded && !this.destroyed) return super.end(...(args as [unknown]))
    const [chunk] = args
    if (chunk !== undefined && chunk !== null && typeof chunk !== 'function') this.write(chunk)
    const callback = args.find(arg => typeof arg === 'function') as (() => void) | undefined
    if (callback) void this.#outbox.close().then(() => process.nextTick(callback))
    return this
  }

  /** Ends it and waits. Node's own would drop what is owed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.end()
    if (!this.closed) await once(this, 'close')
  }

  override _write(chunk: Buffer | string, _encoding: BufferEncoding, callback: () => void): void {
    const text = this.#decode(chunk)
    // In-process, a write is a line; out of the worker's buffer come many, and the last may be cut.
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

  /** Tells of an event; false if nobody has heard it. */
  protected emitToListeners(event: keyof OutboxEvents, info: unknown): boolean {
    return this.emit(event, info)
  }

  #decode(chunk: Buffer | string): string {
    return typeof chunk === 'string' ? chunk : this.#decoder.write(chunk)
  }

  #addChunk(chunk: string): void {
    // Not looked through again and again while no end of the line comes: that would take time squared.
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

  /** Many at once: to add each by itself would cost as much as to log it. */
  #addLines(text: string, lines: number): void {
    if (this.#outbox.hasRoom(text)) this.#outbox.add(text, lines)
    else for (const line of text.match(LINE) ?? []) this.#outbox.add(line)
  }

  /** No line is held that can't be taken. */
  #setPartialLine(partialLine: string): void {
    this.#partialLine = partialLine
    if (partialLine.length <= this.#outbox.maxBuffered) return
    this.#outbox.add(partialLine)
    this.#partialLine = undefined
  }

  /** No more of the line comes. */
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
 * Makes a transport for this very thread: `pino(options, createTransport({ bucket, key }))`.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION` at once, naming the option.
 */
export function createTransport(options: TransportOptions): PinoTransport {
  return new PinoTransport(options)
}

/**
 * What pino calls in its worker. Does not wait for the network.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION`, as a rejection, naming the option.
 */
export default async function transport(options: WorkerOptions): Promise<PinoTransport> {
  // pino's own words to its worker.
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

/** Milliseconds that pino waits for its worker to end. */
const PINO_WORKER_TIMEOUT = 10_000

/** pino's threads before thread-stream 2.2, which says its version, may take an event for a fault of theirs. */
const acceptsEvents = workerData?.workerData?.$context?.threadStreamVersion !== undefined

/** Within pino's worker, where nobody listens: what happens is told to the stream in the main thread. */
class WorkerTransport extends PinoTransport {
  constructor(options: TransportOptions) {
    super(options)
    const { closeTimeout = 0 } = options
    if (closeTimeout < PINO_WORKER_TIMEOUT) return
    const problem = `closeTimeout is ${closeTimeout}, and pino ends its worker after ${PINO_WORKER_TIMEOUT} ms`
    writeStderr(`${problem}: what is owed then is lost without a word`)
  }

  protected override emitToListeners(name: keyof OutboxEvents, info: unknown): boolean {
    if (acceptsEvents) parentPort?.postMessage({ code: 'EVENT', name, args: [toCloneable(info)] })
    return false
  }

  /** An error here would be an `'error'` there, which the app may not expect of a log. */
  override flush(): Promise<void>
  override flush(callback: () => void): void
  override flush(callback?: () => void): Promise<void> | undefined {
    if (callback === undefined) return super.flush()
    super.flush(() => callback())
    return undefined
  }
}

/** Fit for the way to another thread, on which an error would lose all but its words. */
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
