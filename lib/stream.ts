/**
 * OssAppendStream: the Writable face. It copies what is written into the batcher, decides when a batch
 * is due, and runs the one loop that hands batches to the appender. `Writable` owns the life-cycle;
 * certainty is the appender's.
 *
 * There is no `_construct`: Node holds `_destroy` back until that calls back, so a slow opening could
 * not be aborted. Opening is the first step of the loop, and chunks are copied meanwhile.
 *
 * Whatever calls the user's code (listeners, callbacks) does so from a tick of its own: if it throws,
 * that is an uncaught exception of the user's, and never a failure of the loop.
 */

import { addAbortSignal, Writable } from 'node:stream'
import { Appender, type AppendInfo } from './appender.ts'
import type { Clock } from './backoff.ts'
import { Batcher } from './batcher.ts'
import { OssError } from './errors.ts'
import type { RetryInfo } from './line.ts'
import { type AppendStreamOptions, resolveOptions, type Settings } from './options.ts'
import { Schedule } from './schedule.ts'
import { type Batch, createBatch, type Tail } from './tail.ts'

/** What `'ready'` carries. */
export interface ReadyInfo {
  /** The object's length in bytes. */
  readonly position: number
  readonly crc64: string
  /**
   * The object was there before, so creation options had no effect. False where nobody asked or may
   * ask: `position: 0`, and an object of 0 bytes that we may not read.
   */
  readonly exists: boolean
}

export interface OssAppendStreamEvents {
  ready: [info: ReadyInfo]
  append: [info: AppendInfo]
  retry: [info: RetryInfo]
}

type Chunk = { readonly chunk: Buffer | string; readonly encoding: BufferEncoding }
type Callback = (error?: Error | null) => void

/** A write that found no room: what is left of it, and whom to tell when all of it is copied. */
interface HeldWrite {
  rest: Buffer | undefined
  readonly chunks: Chunk[]
  readonly callback: Callback
}

/** Who waits for the bytes before `accepted` to be acknowledged. */
interface Waiter {
  readonly accepted: number
  readonly resolve: (tail: Tail) => void
  readonly reject: (error: Error) => void
}

const NO_BYTES = Buffer.alloc(0)

/** Encodings that the batcher writes by itself, by all their names. */
const DIRECT: Readonly<Record<string, 'utf8' | 'latin1'>> = {
  utf8: 'utf8',
  'utf-8': 'utf8',
  latin1: 'latin1',
  binary: 'latin1',
}

const systemClock: Clock = {
  now: () => performance.now(),
  random: Math.random,
  setTimeout: (callback, delay) => setTimeout(callback, delay),
  clearTimeout: timer => clearTimeout(timer as NodeJS.Timeout),
}

/**
 * Opens an append stream to one object of OSS.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION` at once, naming the option.
 */
export function createAppendStream(options: AppendStreamOptions): OssAppendStream
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
  readonly #settings: Settings
  readonly #batcher: Batcher
  readonly #schedule: Schedule
  readonly #appender: Appender
  readonly #waiters: Waiter[] = []
  /** Settles, and never rejects, when the loop has ended and nothing of ours is in flight. */
  readonly #ended: Promise<Error | undefined>
  #acknowledged = 0
  #held: HeldWrite | undefined
  #finish: Callback | undefined
  #isComplete = false
  /** Why nobody who waits from now on will see the finish; everybody who did wait has been told. */
  #cutShortBy: Error | undefined
  #wake: (() => void) | undefined

  constructor(settings: Settings) {
    const { highWaterMark, flushInterval, signal } = settings
    super({ highWaterMark, decodeStrings: false })
    this.#settings = settings
    this.#batcher = new Batcher(settings)
    this.#schedule = new Schedule(this.#batcher, flushInterval, () => this.#notify())
    this.#appender = new Appender({
      ...settings,
      clock: systemClock,
      onRetry: info => this.#emitLater('retry', info),
    })
    this.#ended = this.#run()
    // Not by Writable's own option: a signal aborted already would destroy us half made.
    if (signal) addAbortSignal(signal, this)
  }

  /** The acknowledged end of the object, in bytes; undefined while `pending`. */
  get position(): number | undefined {
    return this.#appender.tail?.position
  }

  /** CRC-64 of the object up to `position`, an unsigned decimal string; undefined while `pending`. */
  get crc64(): string | undefined {
    return this.#appender.tail?.crc64
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
    return this.#appender.tail === undefined
  }

  /**
   * Sends everything written before this call, without waiting for a full batch, and resolves with the
   * tail when it is acknowledged. With nothing owed it resolves as soon as the tail is known, and
   * creates nothing. After `end()` it resolves with the finish. Rejects with the stream's error.
   *
   * With a callback it returns nothing (pino asks for that form by the function's arity).
   */
  flush(): Promise<Tail>
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
      const done = () => callback(this.errored)
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
    const rest = this.#copy(chunk, encoding)
    if (rest) this.#held = { rest, chunks: [], callback }
    this.#arrived()
    if (!rest) callback()
  }

  override _writev(chunks: Chunk[], callback: Callback): void {
    this.#held = { rest: undefined, chunks: chunks.reverse(), callback }
    this.#refill()
  }

  override _final(callback: Callback): void {
    this.#finish = callback
    this.#hasten()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#schedule.stop()
    this.#appender.abort(destroyed())
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
      if (!this.#isComplete) this.#cutShortBy = why
      for (const { reject } of this.#waiters.splice(0)) reject(why)
      this.#held?.callback(why)
      callback(reason)
    })
  }

  /** Copies a chunk into the batcher; returns what found no room. */
  #copy(chunk: Buffer | string, encoding: BufferEncoding): Buffer | undefined {
    let bytes = chunk
    if (typeof bytes === 'string') {
      const direct = DIRECT[encoding]
      if (direct && this.#batcher.writeText(bytes, direct)) return undefined
      bytes = Buffer.from(bytes, encoding)
    }
    const length = this.#batcher.write(bytes)
    return length === bytes.length ? undefined : bytes.subarray(length)
  }

  /** Goes on with the write that is held, as far as there is room. */
  #refill(): void {
    const held = this.#held
    if (!held || this.destroyed) return
    if (held.rest) held.rest = this.#copy(held.rest, 'binary')
    while (!held.rest) {
      const next = held.chunks.pop()
      if (!next) break
      held.rest = this.#copy(next.chunk, next.encoding)
    }
    this.#arrived()
    if (held.rest) return
    this.#held = undefined
    process.nextTick(held.callback)
  }

  #arrived(): void {
    this.#appender.hold()
    this.#schedule.arrived()
  }

  /** All that is accepted is owed now, and not to wait for more. */
  #hasten(): void {
    this.#appender.hold()
    this.#schedule.hasten()
  }

  #notify(): void {
    this.#wake?.()
    this.#wake = undefined
  }

  /** The loop: opens, appends in order what is due, completes. Tells how it ended, and never rejects. */
  async #run(): Promise<Error | undefined> {
    try {
      const tail = await this.#appender.open()
      this.#emitLater('ready', { ...tail, exists: this.#appender.exists })
      this.#resolveWaiters()
      for (;;) {
        this.#appender.throwIfAborted()
        const batch = this.#next()
        if (batch) await this.#send(batch)
        else if (this.#finish) break
        else await new Promise<void>(resolve => (this.#wake = resolve))
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
  #next(): Batch | undefined {
    if (!this.#schedule.isDue) return undefined
    const batch = this.#batcher.take()
    this.#schedule.departed()
    return batch
  }

  async #send(batch: Batch): Promise<void> {
    const appending = this.#appender.append(batch)
    // Taking the batch has made room. It is filled when the request has left, lest copy and CRC keep the
    // line idle: undici writes to a socket that it uses again a turn of the event loop later.
    setImmediate(() => setImmediate(() => this.#refill()))
    this.#acknowledge(await appending)
    this.#batcher.release()
  }

  #acknowledge(info: AppendInfo): void {
    this.#acknowledged += info.length
    this.#emitLater('append', info)
    this.#resolveWaiters()
  }

  /** After the last batch: an empty source makes an empty object, with its creation headers. */
  async #complete(): Promise<void> {
    if (!this.#appender.exists) {
      this.#acknowledge(await this.#appender.append(createBatch(NO_BYTES)))
    }
    if (this.#settings.seal) await this.#appender.seal()
    this.#isComplete = true
    this.#resolveWaiters()
    if (this.#finish) process.nextTick(this.#finish)
  }

  #flush(): Promise<Tail> {
    const flushed = new Promise<Tail>((resolve, reject) => {
      const wait = (accepted: number) => {
        // Node may call back for a write after the destruction that came between.
        if (this.#cutShortBy) return reject(this.#cutShortBy)
        this.#waiters.push({ accepted, resolve, reject })
        this.#resolveWaiters()
      }
      if (this.#isComplete) wait(0)
      else if (this.destroyed) reject(this.errored ?? destroyed())
      else if (this.writableEnded) wait(Number.POSITIVE_INFINITY)
      else {
        this.#appender.hold()
        // Node keeps the order of writes, so an empty one marks the end of all that came before it.
        this.write(NO_BYTES, error => {
          if (error) return reject(this.errored ?? error)
          this.#hasten()
          wait(this.#batcher.accepted)
        })
      }
    })
    // Who does not look at the promise still gets the stream's 'error', and no second one.
    flushed.catch(() => {})
    return flushed
  }

  /** Tells those whose bytes are in the object, after the `'append'` that told everybody. */
  #resolveWaiters(): void {
    const tail = this.#appender.tail
    if (!tail) return
    const acknowledged = this.#isComplete ? Number.POSITIVE_INFINITY : this.#acknowledged
    while (this.#waiters[0] && this.#waiters[0].accepted <= acknowledged) {
      process.nextTick(this.#waiters[0].resolve, tail)
      this.#waiters.shift()
    }
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
