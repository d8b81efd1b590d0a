/**
 * OssAppendStream: a Writable whose loop hands batches to a destination. The file reads in the order of a
 * stream's life: open, accept, send, flush, end, destroy.
 *
 * There is no `_construct()`: Node delays `_destroy()` until it calls back, so a slow opening could not be
 * aborted. Listeners and callbacks run in ticks of their own, so what they throw does not end the loop.
 */

import { AsyncResource } from 'node:async_hooks'
import { Writable } from 'node:stream'
import { Appender, type AppenderOptions } from '../append/appender.ts'
import type { AppendInfo, Destination } from '../append/destination.ts'
import type { RetryInfo } from '../append/retry-loop.ts'
import { StreamContext } from '../append/stream-context.ts'
import type { Tail } from '../append/tail.ts'
import { systemClock } from '../clock.ts'
import { invalidOption, invalidRecord, OssError, recordTooLarge } from '../errors.ts'
import type { RecoverInfo } from '../journal/recover-info.ts'
import { createTarget } from '../journal/segment.ts'
import {
  type AppendStreamOptions,
  resolveOptions,
  type Settings,
  type UrlOptions,
} from '../options.ts'
import { destroyOnAbort } from './abort-signal.ts'
import { recordProblem } from './align.ts'
import type { BatchSource } from './batch-source.ts'
import { ChunkAcceptance } from './chunk-acceptance.ts'
import type {
  AnyListener,
  EventName,
  Listener,
  OtherEvent,
  WritableEvents,
  WriteCallback,
  WrittenChunk,
} from './event-types.ts'
import { internalsOf, type StreamInternals } from './internals.ts'
import { JournalSource, type JournalSourceListener } from './journal-source.ts'
import { MemorySource } from './memory-source.ts'
import { type RecordAddress, RecordAddresses } from './record-addresses.ts'
import { SendLoop } from './send-loop.ts'
import { inOwnTick, throwInNextTick, throwLater } from './user-code.ts'
import { Waiters } from './waiters.ts'

/** What `'ready'` carries. */
export interface ReadyInfo {
  /** The object's length in bytes. */
  readonly position: number
  /** CRC-64 of all its bytes, an unsigned decimal string. */
  readonly crc64: string
  /**
   * The object existed before, so creation options have no effect. False where OSS was not asked
   * (`position: 0`), and for an object of 0 bytes that may not be read.
   */
  readonly exists: boolean
}

/** The events of an OssAppendStream besides a Writable's, and what their listeners are given. */
export interface OssAppendStreamEvents {
  /** The tail is known. */
  ready: [info: ReadyInfo]
  /** One append is acknowledged: its bytes are in the object, position and CRC agreed. */
  append: [info: AppendInfo]
  /** An attempt failed. Another one follows after `delay`. */
  retry: [info: RetryInfo]
  /** What an earlier process left in a journal is in its object. Before `'ready'`, once for each journal. */
  recover: [info: RecoverInfo]
}

/** Why a record of `append()` has no address of its own. */
const AFTER_PART = 'a part of a record was written before it: write the rest of that first'

/**
 * Opens an append stream to one object of OSS: that of `bucket` and `key`, or that of a url,
 * `oss://bucket/key`. The key is everything behind the third slash, byte for byte: nothing is decoded, and
 * `?` and `#` are part of it.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION` at once, naming the option.
 */
export function createAppendStream(
  first: string | AppendStreamOptions,
  options?: UrlOptions,
): OssAppendStream {
  return new OssAppendStream(first, options)
}

export interface OssAppendStream {
  /** The tail is known: `{ position, crc64, exists }`. */
  on(event: 'ready', listener: (info: ReadyInfo) => void): this
  /** One append is acknowledged: its bytes are in the object, position and CRC agreed. */
  on(event: 'append', listener: (info: AppendInfo) => void): this
  /** An attempt failed: `error` says why. Another one follows after `delay` milliseconds. */
  on(event: 'retry', listener: (info: RetryInfo) => void): this
  /** The journal of an earlier process is delivered: `bytes` of it were not in its object yet. */
  on(event: 'recover', listener: (info: RecoverInfo) => void): this
  on<E extends keyof WritableEvents>(event: E, listener: Listener<WritableEvents, E>): this
  on<E extends EventName>(event: OtherEvent<E, OssAppendStreamEvents>, listener: AnyListener): this
  on<E extends keyof OssAppendStreamEvents>(
    event: E,
    listener: Listener<OssAppendStreamEvents, E>,
  ): this

  /** The tail is known: `{ position, crc64, exists }`. */
  once(event: 'ready', listener: (info: ReadyInfo) => void): this
  /** One append is acknowledged: its bytes are in the object, position and CRC agreed. */
  once(event: 'append', listener: (info: AppendInfo) => void): this
  /** An attempt failed: `error` says why. Another one follows after `delay` milliseconds. */
  once(event: 'retry', listener: (info: RetryInfo) => void): this
  /** The journal of an earlier process is delivered: `bytes` of it were not in its object yet. */
  once(event: 'recover', listener: (info: RecoverInfo) => void): this
  once<E extends keyof WritableEvents>(event: E, listener: Listener<WritableEvents, E>): this
  once<E extends EventName>(
    event: OtherEvent<E, OssAppendStreamEvents>,
    listener: AnyListener,
  ): this
  once<E extends keyof OssAppendStreamEvents>(
    event: E,
    listener: Listener<OssAppendStreamEvents, E>,
  ): this

  off<E extends keyof WritableEvents>(event: E, listener: Listener<WritableEvents, E>): this
  off<E extends EventName>(event: OtherEvent<E, OssAppendStreamEvents>, listener: AnyListener): this
  off<E extends keyof OssAppendStreamEvents>(
    event: E,
    listener: Listener<OssAppendStreamEvents, E>,
  ): this

  addListener<E extends keyof WritableEvents>(event: E, listener: Listener<WritableEvents, E>): this
  addListener<E extends EventName>(
    event: OtherEvent<E, OssAppendStreamEvents>,
    listener: AnyListener,
  ): this
  addListener<E extends keyof OssAppendStreamEvents>(
    event: E,
    listener: Listener<OssAppendStreamEvents, E>,
  ): this

  removeListener<E extends keyof WritableEvents>(
    event: E,
    listener: Listener<WritableEvents, E>,
  ): this
  removeListener<E extends EventName>(
    event: OtherEvent<E, OssAppendStreamEvents>,
    listener: AnyListener,
  ): this
  removeListener<E extends keyof OssAppendStreamEvents>(
    event: E,
    listener: Listener<OssAppendStreamEvents, E>,
  ): this

  prependListener<E extends keyof WritableEvents>(
    event: E,
    listener: Listener<WritableEvents, E>,
  ): this
  prependListener<E extends EventName>(
    event: OtherEvent<E, OssAppendStreamEvents>,
    listener: AnyListener,
  ): this
  prependListener<E extends keyof OssAppendStreamEvents>(
    event: E,
    listener: Listener<OssAppendStreamEvents, E>,
  ): this

  prependOnceListener<E extends keyof WritableEvents>(
    event: E,
    listener: Listener<WritableEvents, E>,
  ): this
  prependOnceListener<E extends EventName>(
    event: OtherEvent<E, OssAppendStreamEvents>,
    listener: AnyListener,
  ): this
  prependOnceListener<E extends keyof OssAppendStreamEvents>(
    event: E,
    listener: Listener<OssAppendStreamEvents, E>,
  ): this
}

/**
 * A Writable whose bytes end up in one appendable object, in order, once each. A write's callback
 * means *accepted*: the bytes are copied, so the caller may reuse its buffer. `flush()`, `'append'` and
 * `'finish'` mean *acknowledged*.
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: only methods that EventEmitter has are declared
export class OssAppendStream extends Writable {
  readonly #settings: Settings
  readonly #source: BatchSource
  /** The source, if it is a journal. */
  readonly #journal: JournalSource | undefined
  readonly #destination: Destination
  readonly #loop: SendLoop
  /** Calls of `flush()`, `journaled()` and `suspend()` wait here first, for the chunks before them. */
  readonly #chunks = new ChunkAcceptance()
  /** Calls of `flush()` whose chunks are accepted, by the count of accepted bytes that they wait for. */
  readonly #waiters = new Waiters<Tail>()
  /** Calls of `append()` whose records are not acknowledged. */
  readonly #addresses = new RecordAddresses()
  /** Settles, and never rejects, when the loop has ended and no request of it is in flight. */
  readonly #ended: Promise<Error | undefined>
  #acknowledged = 0
  /** Set once the stream has been ended. */
  #finalCallback: WriteCallback | undefined
  #isComplete = false
  /** The stream closes without an error, though bytes are unacknowledged: the journal has them. */
  #isSuspended = false
  /** Set once the stream cannot finish. Later `flush()` calls reject with it. */
  #failedWith: Error | undefined
  #unresolved: OssError['unresolved']
  /** What `close()` callbacks get. `errored` is no substitute: Node sets it for a failed write callback too. */
  #closeError: Error | null = null

  /**
   * The same as `createAppendStream`.
   *
   * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option.
   */
  constructor(first: string | AppendStreamOptions, options?: UrlOptions) {
    const {
      settings = resolveOptions(first, options),
      clock = systemClock,
      createDestination = (options, context) => new Appender(options, context),
      attemptFloor,
      onJournal,
      onSetAside,
      onHurry,
      machine,
      journalSizes,
      keyPattern,
    } = internalsOf(first)
    const { highWaterMark, signal } = settings
    super({ highWaterMark, decodeStrings: false })
    this.#settings = settings
    const listener = {
      onChunk: () => this.#onChunk(),
      onBytes: () => this.#destination.keepProcessAlive(),
      onDue: () => this.#loop.notify(),
      onError: (error: Error) => this.destroy(error),
      onRecover: (info: RecoverInfo) => this.#emitLater('recover', info),
      onSetAside,
      queuedChunks: () => (this as unknown as QueueOwner).writableBuffer ?? [],
    }
    const onRetry = (info: RetryInfo) => this.#emitLater('retry', info)
    const onInFlight = () => this.#loop.sendAhead()
    const objects: AppenderOptions = { ...settings, attemptFloor, clock, onRetry, onInFlight }
    const context = new StreamContext(objects)
    this.#journal = createJournalSource(
      { ...settings, machine, journalSizes, keyPattern },
      objects,
      context,
      listener,
    )
    if (this.#journal) onJournal?.(this.#journal)
    this.#source = this.#journal ?? new MemorySource(settings, listener)
    const beforeAppend = this.#journal?.beforeAppend
    this.#destination = createDestination({ ...objects, beforeAppend }, context)
    onHurry?.(() => this.#destination.hurry())
    this.#loop = new SendLoop({
      source: this.#source,
      destination: this.#destination,
      maxRecordBytes: settings.maxRecordBytes,
      onOpen: tail => this.#onOpen(tail),
      onAppend: info => this.#acknowledge(info),
    })
    this.#ended = this.#run()
    // Not by Writable's own option: with an aborted signal it destroys the stream before its fields exist.
    if (signal) destroyOnAbort(this, signal)
  }

  /** Key of the object in use. Of a rolling stream, undefined until the object is found. */
  get key(): string | undefined {
    return this.#destination.key
  }

  /** The acknowledged end of the object, in bytes; with `shared` its last known end. Undefined while `pending`. */
  get position(): number | undefined {
    return this.#destination.tail?.position
  }

  /** CRC-64 of the object up to `position`, an unsigned decimal string; undefined while `pending`. */
  get crc64(): string | undefined {
    return this.#destination.tail?.crc64
  }

  /** Bytes of this stream that are acknowledged. */
  get bytesWritten(): number {
    return this.#acknowledged
  }

  /** Bytes accepted and not yet acknowledged, without those that Node queues (`writableLength`). */
  get bytesBuffered(): number {
    return this.#source.accepted - this.#acknowledged
  }

  /**
   * The bytes whose fate is unknown after the stream was destroyed: see {@link OssError.unresolved}. An error
   * of other code, given to `destroy()`, cannot carry it.
   */
  get unresolved(): OssError['unresolved'] {
    return this.#unresolved
  }

  /** True until the tail is known. */
  get pending(): boolean {
    return this.#destination.tail === undefined
  }

  /** Runs the loop to its end. Resolves with why it failed. */
  async #run(): Promise<Error | undefined> {
    try {
      await this.#loop.run()
      this.#onComplete()
      return undefined
    } catch (cause) {
      const error = cause as Error
      if (!this.destroyed) process.nextTick(() => this.destroy(error))
      return error
    }
  }

  #onOpen(tail: Tail): void {
    this.#emitLater('ready', { ...tail, exists: this.#destination.exists })
    this.#resolveWaiters()
  }

  #onComplete(): void {
    this.#isComplete = true
    this.#resolveWaiters()
    if (this.#finalCallback) process.nextTick(this.#finalCallback)
  }

  override write(chunk: unknown, callback?: WriteCallback): boolean
  override write(chunk: unknown, encoding: BufferEncoding, callback?: WriteCallback): boolean
  override write(
    chunk: unknown,
    encoding?: BufferEncoding | WriteCallback,
    callback?: WriteCallback,
  ): boolean {
    const isShort = typeof encoding === 'function'
    const given = isShort ? encoding : callback
    const done = typeof given === 'function' ? inOwnTick(given) : undefined
    if (this.#journal) this.#corkForTick()
    this.#chunks.onWrite()
    try {
      return super.write(chunk, (isShort ? undefined : encoding) as BufferEncoding, done)
    } catch (error) {
      this.#chunks.onRefused()
      throw error
    }
  }

  /** The journal takes all chunks that are written in a row with one write to the disk. */
  #corkForTick(): void {
    if (this.writableCorked > 0) return
    this.cork()
    process.nextTick(() => this.uncork())
  }

  override _write(chunk: Buffer | string, encoding: BufferEncoding, callback: WriteCallback): void {
    this.#source.write(chunk, encoding, callback)
  }

  override _writev(chunks: WrittenChunk[], callback: WriteCallback): void {
    this.#source.writev(chunks, callback)
  }

  /** All of one more chunk is accepted: the flushes that wait for it now know how many bytes they wait for. */
  #onChunk(): void {
    this.#chunks.onAccepted()
    if (this.#addresses.isNext(this.#chunks.accepted)) this.#locateRecord()
  }

  /** All bytes before the next record of `append()` are accepted, and none of its own. */
  #locateRecord(): void {
    const { accepted, isAtRecordEnd } = this.#source
    if (isAtRecordEnd) this.#addresses.locate(accepted)
    else this.#addresses.refuse(invalidRecord(AFTER_PART))
  }

  #acknowledge(info: AppendInfo): void {
    const from = this.#acknowledged
    this.#acknowledged += info.length
    this.#source.acknowledge(info)
    this.#emitLater('append', info)
    this.#addresses.acknowledge(from, info)
    this.#resolveWaiters()
  }

  /** Resolves the flushes whose bytes are in the object, after the `'append'` event that says so. */
  #resolveWaiters(): void {
    const tail = this.#destination.tail
    if (!tail) return
    const acknowledged = this.#isComplete ? Number.POSITIVE_INFINITY : this.#acknowledged
    this.#waiters.resolve(acknowledged, tail)
  }

  /**
   * Sends everything written before this call, without waiting for a full batch. Resolves with the tail when
   * that is acknowledged, whatever is written later. With `align` it sends all whole records; the rest waits for
   * its end. A corked stream is uncorked. If nothing is unacknowledged it resolves as soon as the tail is known,
   * and creates no object. After `end()` it resolves when the stream finishes. Rejects with the stream's error.
   *
   * With a callback it returns nothing (pino detects that form by the function's arity).
   */
  flush(): Promise<Tail>
  /** The same with a callback, which gets the error or the tail. */
  flush(callback: (error: Error | null, tail?: Tail) => void): void
  flush(callback?: (error: Error | null, tail?: Tail) => void): Promise<Tail> | undefined {
    const flushed = this.#flush()
    if (typeof callback !== 'function') return flushed
    flushed.then(
      tail => process.nextTick(callback, null, tail),
      error => process.nextTick(callback, error),
    )
    return undefined
  }

  #flush(): Promise<Tail> {
    const flushed = new Promise<Tail>((resolve, reject) => {
      const flush = { resolve, reject }
      if (this.#failedWith) reject(this.#failedWith)
      else if (this.destroyed || this.writableEnded) this.#waitFor(Number.POSITIVE_INFINITY, flush)
      else {
        this.#destination.keepProcessAlive()
        this.#whenAccepted(() => this.#waitFor(this.#flushNow(), flush), reject)
      }
    })
    // A caller that ignores the promise gets the stream's 'error', and no unhandled rejection as well.
    flushed.catch(() => {})
    return flushed
  }

  /** Calls back once all chunks that are written by now are accepted, before any later one is. */
  #whenAccepted(resolve: () => void, reject: (error: Error) => void): void {
    while (this.writableCorked > 0) this.uncork()
    if (this.#failedWith && !this.#chunks.isComplete) reject(this.#failedWith)
    else this.#chunks.wait(resolve, reject)
  }

  /** Settles a flush when the first `accepted` bytes are acknowledged. */
  #waitFor(
    accepted: number,
    { resolve, reject }: { resolve: (tail: Tail) => void; reject: (error: Error) => void },
  ): void {
    this.#waiters.add({ accepted, resolve, reject })
    this.#resolveWaiters()
  }

  /**
   * Resolves when all that was written before this call is on stable storage, in the journal. Costs a sync of
   * the disk. Rejects with the stream's error, and without `journal` with `OSS_ERR_INVALID_OPTION`.
   */
  async journaled(): Promise<void> {
    const journal = this.#requireJournal('journaled')
    if (this.#failedWith) throw this.#failedWith
    if (this.#isComplete) return
    await new Promise<void>((resolve, reject) => this.#whenAccepted(resolve, reject))
    try {
      await journal.sync()
    } catch (error) {
      throw this.#failedWith ?? error
    }
  }

  /**
   * Ends sending, and closes the stream without an error. What is not acknowledged stays in the journal, and the
   * next start delivers it. Resolves after `'close'`. Rejects if a written chunk found no room in the journal, and
   * without `journal` with `OSS_ERR_INVALID_OPTION`.
   */
  async suspend(): Promise<void> {
    const journal = this.#requireJournal('suspend')
    if (this.closed) return
    journal.refuseWhenFull()
    this.#isSuspended = true
    await new Promise<void>((resolve, reject) => this.#whenAccepted(resolve, reject))
    const closed = new Promise<void>(resolve => this.once('close', resolve))
    this.destroy()
    await closed
  }

  #requireJournal(method: string): JournalSource {
    if (this.#journal) return this.#journal
    throw invalidOption('journal', `${method}() needs it`)
  }

  /**
   * Writes one record, and resolves with its address once it is acknowledged: `length` bytes at `position` of
   * the object `key`. Needs `align`. The record is whole: with `'\n'` it ends with its only newline, with a
   * number it has that many bytes. A string is written as UTF-8.
   *
   * Ordered with `write()`, and with the same backpressure: while `writableNeedDrain` is true, await
   * `'drain'`. It sends nothing early: `flush()` does. Rejects like `flush()`.
   *
   * @throws {OssError} `OSS_ERR_INVALID_OPTION` without `align`; `OSS_ERR_INVALID_RECORD` or
   * `OSS_ERR_RECORD_TOO_LARGE` if it is not one record. Nothing is written then.
   */
  append(record: string | Uint8Array): Promise<RecordAddress> {
    const length = this.#checkRecord(record)
    if (this.#failedWith || this.writableEnded) return this.#refuseRecord(record)
    // Otherwise Node queues it, and it is located when the chunks before it are accepted.
    const isNext = this.#chunks.isComplete
    if (isNext && !this.#source.isAtRecordEnd) throw invalidRecord(AFTER_PART)
    const address = this.#addresses.add(this.#chunks.written, length)
    // The stream rejects the promise once it is closed.
    if (this.destroyed) return address
    if (isNext) this.#addresses.locate(this.#source.accepted)
    this.write(record, 'utf8')
    return address
  }

  /** Returns the record's length in bytes. */
  #checkRecord(record: string | Uint8Array): number {
    const { align, maxRecordBytes } = this.#settings
    if (align === 1)
      throw invalidOption('align', 'append() needs records: lines, chunks or a size above 1')
    const problem = recordProblem(align, record)
    if (problem) throw invalidRecord(problem)
    const length = Buffer.byteLength(record)
    if (length > maxRecordBytes) throw recordTooLarge(maxRecordBytes)
    return length
  }

  /** Rejects with why the stream cannot take a record. */
  #refuseRecord(record: string | Uint8Array): Promise<RecordAddress> {
    const refused = new Promise<RecordAddress>((_, reject) => {
      if (this.#failedWith) reject(this.#failedWith)
      else this.write(record, 'utf8', error => reject(error))
    })
    refused.catch(() => {})
    return refused
  }

  /** Makes all accepted records due. Returns the count of accepted bytes that they end at. */
  #flushNow(): number {
    this.#destination.keepProcessAlive()
    return this.#source.flushNow()
  }

  /**
   * Ends the stream, as in Node. No wait between attempts lasts longer than a second from now on, unless OSS
   * asked for it: the server may be back already.
   */
  override end(callback?: () => void): this
  override end(chunk: unknown, callback?: () => void): this
  override end(chunk: unknown, encoding: BufferEncoding, callback?: () => void): this
  override end(...args: unknown[]): this {
    const [chunk] = args
    const hasChunk = typeof chunk !== 'function' && chunk !== undefined && chunk !== null
    // Node does not call `write()` for it.
    const isWritten = hasChunk && !this.writableEnded && !this.destroyed
    if (isWritten) this.#chunks.onWrite()
    try {
      // Node calls it before 'finish': one that throws would prevent that, and the close.
      const own = args.map(arg =>
        typeof arg === 'function' ? throwLater(arg as WriteCallback) : arg,
      )
      super.end(...(own as [unknown, BufferEncoding, () => void]))
    } catch (error) {
      if (isWritten) this.#chunks.onRefused()
      throw error
    }
    // Not in `_final()`, which Node calls when the last byte is accepted: full buffers delay it.
    this.#destination.hurry()
    return this
  }

  override _final(callback: WriteCallback): void {
    this.#finalCallback = callback
    this.#loop.end()
    this.#source.end()
    this.#flushNow()
  }

  /** Ends the stream, and calls back after `'close'`, with the error if it failed. */
  close(callback?: (error?: Error | null) => void): void {
    if (typeof callback === 'function') {
      // Node runs a listener in the async context of the emitter; a callback belongs to its caller's.
      const done = AsyncResource.bind(() => callback(this.#closeError))
      // First among the listeners, and in a tick of its own: none that throws prevents another.
      if (this.closed) process.nextTick(done)
      else this.prependOnceListener('close', () => process.nextTick(done))
    }
    this.destroySoon()
  }

  /** Ends the stream; it is destroyed when everything is acknowledged. */
  destroySoon(): void {
    if (!this.writableEnded && !this.destroyed) this.end()
  }

  /** Ends the stream and waits. Node's own would drop unsent bytes. Rejects if the stream failed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.close(error => (error ? reject(error) : resolve()))
    })
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#destination.abort(destroyed())
    this.#source.stop()
    this.#loop.notify()
    void this.#ended.then(async failure => {
      const { client, isOwnClient, pipeline } = this.#settings
      if (failure instanceof OssError) this.#unresolved = failure.unresolved
      pipeline?.close()
      if (isOwnClient) await client.close()
      // After end(), pipeline() resolves here with bytes undelivered, unless _destroy() fails. In other states
      // it rejects by itself, and an error would crash a plain destroy(). Evaluated after the client has
      // closed, since the source may end meanwhile.
      const isCutShort = this.writableEnded && !this.#isComplete && !this.#isSuspended
      let reason = error ?? (isCutShort ? failure : undefined)
      const why = reason ?? failure ?? destroyed()
      if (!this.#isComplete) this.#failedWith = why
      this.#waiters.reject(why)
      this.#addresses.reject(why)
      this.#chunks.reject(why)
      // Node does not call `_final()` any more.
      if (this.writableEnded && this.#chunks.isComplete) this.#source.end()
      const unsaved = await this.#source.close(why)
      // What a suspended stream has accepted is in the journal alone.
      if (this.#isSuspended && !this.#isComplete) reason ??= unsaved
      this.#closeError = reason ?? null
      callback(reason)
    })
  }

  /**
   * Node counts a write as done after 'drain', destroys a finished stream after 'finish', and closes it after
   * 'error'. What a listener of these throws is thrown in a tick of its own, so that it prevents nothing.
   */
  override emit<E extends EventName>(
    event: OtherEvent<E, OssAppendStreamEvents>,
    ...args: unknown[]
  ): boolean
  override emit<E extends keyof OssAppendStreamEvents>(
    event: E,
    ...args: OssAppendStreamEvents[E]
  ): boolean
  override emit(event: EventName, ...args: unknown[]): boolean {
    // Without a listener Node throws the error itself, with a message of its own.
    if (!NODE_EVENTS.has(event) || this.listenerCount(event) === 0)
      return super.emit(event, ...args)
    try {
      return super.emit(event, ...args)
    } catch (error) {
      throwInNextTick(error)
      return true
    }
  }

  #emitLater<E extends keyof OssAppendStreamEvents>(
    event: E,
    ...args: OssAppendStreamEvents[E]
  ): void {
    process.nextTick(() => this.emit(event, ...args))
  }
}

/** What Node's Writable has, and its types do not. */
interface QueueOwner {
  readonly writableBuffer?: readonly WrittenChunk[]
}

/** Events that Node emits in the middle of its own work. */
const NODE_EVENTS: ReadonlySet<EventName> = new Set(['drain', 'prefinish', 'finish', 'error'])

function createJournalSource(
  settings: Settings & Pick<StreamInternals, 'machine' | 'journalSizes' | 'keyPattern'>,
  objects: AppenderOptions,
  context: StreamContext,
  listener: JournalSourceListener,
): JournalSource | undefined {
  const { journal, contentMd5, keyPattern } = settings
  if (!journal) return undefined
  const { bucket, key } = objects.target
  const journalTarget = createTarget(bucket, keyPattern ?? key, keyPattern !== undefined)
  const recovery = { ...objects, bucket, contentMd5, isUnsynced: journal.sync === 'never' }
  return new JournalSource({ ...settings, journal, journalTarget }, recovery, context, listener)
}

function destroyed(): OssError {
  return new OssError(
    'OSS_ERR_ABORTED',
    'the stream was destroyed before everything was acknowledged',
  )
}
