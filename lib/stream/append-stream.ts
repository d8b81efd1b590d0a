/**
 * OssAppendStream: the Writable face. It puts intake, schedule and batcher together, and runs the one
 * loop that hands batches to a destination. `Writable` owns the life-cycle; certainty is the appender's.
 *
 * There is no `_construct`: Node holds `_destroy` back until that calls back, so a slow opening could
 * not be aborted. Opening is the first step of the loop, and chunks are copied meanwhile.
 *
 * Whatever calls the user's code (listeners, callbacks) does so from a tick of its own: if it throws,
 * that is an uncaught exception of the user's, and never a failure of the loop.
 */

import { AsyncResource } from 'node:async_hooks'
import { addAbortSignal, Writable } from 'node:stream'
import {
  Appender,
  type AppenderOptions,
  type AppendInfo,
  type Destination,
} from '../append/appender.ts'
import type { RetryInfo } from '../append/retry-loop.ts'
import type { Batch, Tail } from '../append/tail.ts'
import { systemClock } from '../clock.ts'
import { OssError, recordTooLarge } from '../errors.ts'
import { type AppendStreamOptions, resolveOptions, type Settings } from '../options.ts'
import { Batcher } from './batcher.ts'
import type { Emit, Listen } from './event-types.ts'
import { FlushTimer } from './flush-timer.ts'
import { type Callback, type Chunk, HeldWrite } from './held-write.ts'
import { Waiters } from './waiters.ts'

/** What `'ready'` carries. */
export interface ReadyInfo {
  /** The object's length in bytes. */
  readonly position: number
  /** CRC-64 of all of it, an unsigned decimal string. */
  readonly crc64: string
  /**
   * The object was there before, so creation options had no effect. False where nobody asked or may
   * ask: `position: 0`, and an object of 0 bytes that we may not read.
   */
  readonly exists: boolean
}

/** The events of an OssAppendStream besides a Writable's, and what their listeners are given. */
export interface OssAppendStreamEvents {
  /** The tail is known. */
  ready: [info: ReadyInfo]
  /** One append is acknowledged: its bytes are in the object, position and CRC agreed. */
  append: [info: AppendInfo]
  /** An attempt failed, and will be made again after the delay. */
  retry: [info: RetryInfo]
}

const NO_BYTES = Buffer.alloc(0)
/** Bytes: a tenth of a millisecond's work or two, and less than a socket holds. */
const PIECE = 524_288

/**
 * Opens an append stream to one object of OSS.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION` at once, naming the option.
 */
export function createAppendStream(options: AppendStreamOptions): OssAppendStream
/**
 * Opens an append stream to `oss://bucket/key`. The key is everything behind the third slash, byte for
 * byte: nothing is decoded, and `?` and `#` are part of it.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION` at once, naming the option.
 */
export function createAppendStream(url: string, options?: AppendStreamOptions): OssAppendStream
export function createAppendStream(
  first: string | AppendStreamOptions,
  second: AppendStreamOptions = {},
): OssAppendStream {
  const settings = typeof first === 'string' ? resolveOptions(second, first) : resolveOptions(first)
  return new OssAppendStream(settings)
}

/**
 * A Writable whose bytes end up in one appendable object, in order, once each. A write's callback
 * means *accepted*: copied, so that the caller may reuse its buffer. *Durable* are `flush()`,
 * `'append'` and `'finish'`. Made by `createAppendStream`.
 */
export class OssAppendStream extends Writable {
  declare readonly on: Listen<OssAppendStreamEvents, this>
  declare readonly once: Listen<OssAppendStreamEvents, this>
  declare readonly off: Listen<OssAppendStreamEvents, this>
  declare readonly addListener: Listen<OssAppendStreamEvents, this>
  declare readonly removeListener: Listen<OssAppendStreamEvents, this>
  declare readonly prependListener: Listen<OssAppendStreamEvents, this>
  declare readonly prependOnceListener: Listen<OssAppendStreamEvents, this>
  declare readonly emit: Emit<OssAppendStreamEvents>

  readonly #settings: Settings
  readonly #batcher: Batcher
  readonly #heldWrite: HeldWrite
  readonly #flushTimer: FlushTimer
  readonly #destination: Destination
  readonly #waiters = new Waiters<Tail>()
  /** Settles, and never rejects, when the loop has ended and nothing of ours is in flight. */
  readonly #ended: Promise<Error | undefined>
  #acknowledged = 0
  /** The turn of the event loop in which a held write goes on. */
  #refillTurn: NodeJS.Immediate | undefined
  #finish: Callback | undefined
  #isComplete = false
  /** What Node was told at the end. Its own `errored` is also what a held write was told. */
  #failure: Error | null = null
  /** Why nobody who waits from now on will see the finish; everybody who did wait has been told. */
  #failedWith: Error | undefined
  #resumeLoop: (() => void) | undefined

  /** Options as `createAppendStream` resolves them: made by that. */
  constructor(
    settings: Settings,
    createDestination: (options: AppenderOptions) => Destination = options => new Appender(options),
  ) {
    const { highWaterMark, flushInterval, signal } = settings
    super({ highWaterMark, decodeStrings: false })
    this.#settings = settings
    this.#batcher = new Batcher(settings)
    this.#heldWrite = new HeldWrite(this.#batcher)
    this.#flushTimer = new FlushTimer(this.#batcher, flushInterval, () => this.#notify())
    this.#destination = createDestination({
      ...settings,
      clock: systemClock,
      onRetry: info => this.#emitLater('retry', info),
    })
    this.#ended = this.#run()
    // Not by Writable's own option: a signal aborted already would destroy us half made.
    if (signal) addAbortSignal(signal, this)
  }

  /** Key of the object in use; of a rolling stream undefined until that is found. */
  get key(): string | undefined {
    return this.#destination.key
  }

  /** The acknowledged end of the object, in bytes; undefined while `pending`. */
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

  /** Bytes accepted and not yet acknowledged, apart from Node's own queue (`writableLength`). */
  get bytesBuffered(): number {
    return this.#batcher.accepted - this.#acknowledged
  }

  /** True until the tail is known. */
  get pending(): boolean {
    return this.#destination.tail === undefined
  }

  /**
   * Sends everything written before this call, without waiting for a full batch, and resolves with the
   * tail when it is acknowledged. With `align` that is all whole records; the rest waits for its end.
   * With nothing owed it resolves as soon as the tail is known, and creates nothing. After `end()` it
   * resolves with the finish. Rejects with the stream's error.
   *
   * With a callback it returns nothing (pino asks for that form by the function's arity).
   */
  flush(): Promise<Tail>
  /** The same with a callback, which gets the error or the tail. */
  flush(callback: (error: Error | null, tail?: Tail) => void): void
  flush(callback?: (error: Error | null, tail?: Tail) => void): Promise<Tail> | undefined {
    const flushed = this.#flush()
    if (callback === undefined) return flushed
    flushed.then(
      tail => process.nextTick(callback, null, tail),
      error => process.nextTick(callback, error),
    )
    return undefined
  }

  /** Ends the stream, and calls back after `'close'`, with the error if it failed. */
  close(callback?: (error?: Error | null) => void): void {
    if (callback) {
      // A listener runs in the context of who emits, a callback in that of who asked.
      const done = AsyncResource.bind(() => callback(this.#failure))
      if (this.closed) process.nextTick(done)
      else this.once('close', done)
    }
    this.destroySoon()
  }

  /** Ends the stream; it is destroyed when everything is acknowledged. */
  destroySoon(): void {
    if (!this.writableEnded && !this.destroyed) this.end()
  }

  /** Ends the stream and waits. Node's own would drop what is not yet sent. Rejects if the stream failed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.close(error => (error ? reject(error) : resolve()))
    })
  }

  override _write(chunk: Buffer | string, encoding: BufferEncoding, callback: Callback): void {
    if (chunk.length > PIECE) {
      this.#heldWrite.set([{ chunk, encoding }], callback)
      this.#refillSoon()
      return
    }
    const isAll = this.#heldWrite.write(chunk, encoding, callback)
    this.#onBytes()
    if (isAll) callback()
  }

  override _writev(chunks: Chunk[], callback: Callback): void {
    this.#heldWrite.set(chunks, callback)
    this.#refill()
  }

  override _final(callback: Callback): void {
    this.#finish = callback
    this.#batcher.end()
    this.#flushNow()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#flushTimer.stop()
    clearImmediate(this.#refillTurn)
    this.#destination.abort(destroyed())
    this.#notify()
    void this.#ended.then(async failure => {
      const { client, isOwnClient } = this.#settings
      if (isOwnClient) await client.close()
      // Node alone would let pipeline() resolve here, with bytes undelivered. In other states it
      // rejects by itself, and an error of ours would crash a plain destroy(). Asked last, since a
      // source may come to its end while we close.
      const isCutShort = this.writableEnded && !this.#isComplete
      const reason = error ?? (isCutShort ? failure : undefined)
      const why = reason ?? failure ?? destroyed()
      if (!this.#isComplete) this.#failedWith = why
      this.#waiters.reject(why)
      this.#heldWrite.clear()?.(why)
      this.#failure = reason ?? null
      callback(reason)
    })
  }

  /**
   * When a request that is about to leave has left, lest copy and CRC keep the line idle: a connection
   * is taken back a turn of the event loop after its answer, and looked at for another turn, whether it
   * still stands.
   */
  #refillSoon(): void {
    clearImmediate(this.#refillTurn)
    this.#refillTurn = setImmediate(() => {
      this.#refillTurn = setImmediate(() => this.#refill())
    })
  }

  /** Goes on with the write that is held, as far as there is room. */
  #refill(): void {
    if (this.destroyed || !this.#heldWrite.isPending) return
    // By pieces: while we copy and sum nothing is written to the socket, and it must not run dry.
    const hasMore = this.#heldWrite.copy(PIECE)
    this.#onBytes()
    if (hasMore) {
      clearImmediate(this.#refillTurn)
      this.#refillTurn = setImmediate(() => this.#refill())
    }
    const callback = this.#heldWrite.takeCallback()
    if (callback) process.nextTick(callback)
  }

  #onBytes(): void {
    this.#destination.keepProcessAlive()
    this.#flushTimer.onBytes()
  }

  /** All records accepted are owed now, and not to wait for more. Returns the count of bytes they end at. */
  #flushNow(): number {
    this.#destination.keepProcessAlive()
    return this.#flushTimer.flushNow()
  }

  #notify(): void {
    this.#resumeLoop?.()
    this.#resumeLoop = undefined
  }

  /** The loop: opens, appends in order what is due, completes. Tells how it ended, and never rejects. */
  async #run(): Promise<Error | undefined> {
    try {
      const tail = await this.#destination.open()
      this.#emitLater('ready', { ...tail, exists: this.#destination.exists })
      this.#resolveWaiters()
      for (;;) {
        this.#destination.throwIfAborted()
        const batch = this.#nextBatch()
        if (batch) await this.#send(batch)
        else if (this.#finish) break
        else await new Promise<void>(resolve => (this.#resumeLoop = resolve))
      }
      await this.#complete()
      return undefined
    } catch (cause) {
      const error = cause as Error
      if (!this.destroyed) process.nextTick(() => this.destroy(error))
      return error
    }
  }

  /** The next batch in order, if it is due. */
  #nextBatch(): Batch | undefined {
    if (!this.#flushTimer.isDue) return undefined
    // One that leaves before it is full takes along what is held, as far as there is room.
    if (!this.#batcher.hasReady) while (this.#heldWrite.copy(PIECE));
    const batch = this.#batcher.take()
    this.#flushTimer.onBatch()
    if (!batch) this.#failOnLongRecord()
    return batch
  }

  /** What came before the record that is too long is in the object now. */
  #failOnLongRecord(): void {
    this.#destination.abort(recordTooLarge(this.#settings.maxRecordBytes))
    this.#destination.throwIfAborted()
  }

  async #send(batch: Batch): Promise<void> {
    let rest = batch
    let appending = this.#destination.append(rest)
    // Taking the batch has made room.
    this.#refillSoon()
    for (;;) {
      const info = await appending
      this.#acknowledge(info)
      // On a slow network an append carries less than a batch.
      if (info.length === rest.length) break
      rest = rest.rest(info.length)
      appending = this.#destination.append(rest)
    }
    this.#batcher.release(this.#heldWrite.isPending)
  }

  #acknowledge(info: AppendInfo): void {
    this.#acknowledged += info.length
    this.#emitLater('append', info)
    this.#resolveWaiters()
  }

  async #complete(): Promise<void> {
    const info = await this.#destination.create()
    if (info) this.#acknowledge(info)
    await this.#destination.complete()
    this.#isComplete = true
    this.#resolveWaiters()
    if (this.#finish) process.nextTick(this.#finish)
  }

  #flush(): Promise<Tail> {
    const flushed = new Promise<Tail>((resolve, reject) => {
      const wait = (accepted: number) => {
        // Node may call back for a write after the destruction that came between.
        if (this.#failedWith) return reject(this.#failedWith)
        this.#waiters.add({ accepted, resolve, reject })
        this.#resolveWaiters()
      }
      if (this.#isComplete) wait(0)
      else if (this.destroyed || this.writableEnded) wait(Number.POSITIVE_INFINITY)
      else {
        this.#destination.keepProcessAlive()
        // Node keeps the order of writes, so an empty one marks the end of all that came before it.
        this.write(NO_BYTES, error => {
          // Whatever ends the stream tells all who wait, with what is known of their bytes.
          wait(error ? Number.POSITIVE_INFINITY : this.#flushNow())
        })
      }
    })
    // Who does not look at the promise still gets the stream's 'error', and no second one.
    flushed.catch(() => {})
    return flushed
  }

  /** Tells those whose bytes are in the object, after the `'append'` that told everybody. */
  #resolveWaiters(): void {
    const tail = this.#destination.tail
    if (!tail) return
    const acknowledged = this.#isComplete ? Number.POSITIVE_INFINITY : this.#acknowledged
    this.#waiters.resolve(acknowledged, tail)
  }

  #emitLater<E extends keyof OssAppendStreamEvents>(
    event: E,
    ...args: OssAppendStreamEvents[E]
  ): void {
    process.nextTick(() => this.emit(event, ...args))
  }
}

function destroyed(): OssError {
  return new OssError(
    'OSS_ERR_ABORTED',
    'the stream was destroyed before everything was acknowledged',
  )
}
