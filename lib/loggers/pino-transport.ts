/**
 * The stream that pino writes to. Once made it never emits `'error'`, which would end pino's worker and lose all
 * later records: a failure is a `'warn'`, and is retried without end.
 */

import { once } from 'node:events'
import { Writable } from 'node:stream'
import type { RetryInfo } from '../append/retry-loop.ts'
import type { OssError } from '../errors.ts'
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
import { LineSplitter } from './line-splitter.ts'
import {
  type DropInfo,
  Outbox,
  type OutboxEvents,
  type TransportOptions,
  type TransportStats,
  type UndeliveredError,
} from './outbox.ts'

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
  readonly #lines: LineSplitter

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
    this.#lines = new LineSplitter(this.#outbox)
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
      this.#lines.write(chunk as Buffer | string, isEncoding ? encoding : 'utf8')
      this.#lines.end()
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
    this.#lines.write(chunk, encoding)
    callback()
  }

  override _final(callback: () => void): void {
    this.#lines.end()
    void this.#outbox.close().then(() => callback())
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#lines.end()
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
}
