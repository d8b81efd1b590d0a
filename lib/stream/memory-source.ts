/**
 * A source of batches in memory: two buffers. A write that does not fit waits with its callback, and is copied
 * piece by piece as appends make room.
 */

import type { Destination } from '../append/destination.ts'
import type { Batch, Tail } from '../append/tail.ts'
import type { BatchSource, SourceListener } from './batch-source.ts'
import { Batcher, type BatcherOptions } from './batcher.ts'
import type { WriteCallback, WrittenChunk } from './event-types.ts'
import { FlushTimer } from './flush-timer.ts'
import { HeldWrite } from './held-write.ts'

/** Bytes. Copied and summed in 0.1 to 0.2 ms, and less than the send buffer of a socket holds. */
const PIECE_BYTES = 524_288

export interface SourceOptions extends BatcherOptions {
  /** Milliseconds; 0: no timer. */
  readonly flushInterval: number
}

export class MemorySource implements BatchSource {
  readonly #listener: SourceListener
  readonly #batcher: Batcher
  readonly #heldWrite: HeldWrite
  readonly #flushTimer: FlushTimer
  /** The turn of the event loop in which the copy of a held write goes on. */
  #refillTurn: NodeJS.Immediate | undefined
  #isClosed = false

  constructor(options: SourceOptions, listener: SourceListener) {
    this.#listener = listener
    this.#batcher = new Batcher(options)
    this.#heldWrite = new HeldWrite(this.#batcher, listener.onChunk)
    this.#flushTimer = new FlushTimer(this.#batcher, options.flushInterval, listener.onDue)
  }

  get accepted(): number {
    return this.#batcher.accepted
  }

  get isAtRecordEnd(): boolean {
    return this.#batcher.isAtRecordEnd
  }

  get isTooLong(): boolean {
    return this.#batcher.isTooLong
  }

  open(destination: Destination): Promise<Tail> {
    return destination.open()
  }

  write(chunk: Buffer | string, encoding: BufferEncoding, callback: WriteCallback): void {
    if (chunk.length > PIECE_BYTES) {
      this.#heldWrite.set([{ chunk, encoding }], callback)
      this.onSending()
      return
    }
    let isAll: boolean
    try {
      isAll = this.#heldWrite.write(chunk, encoding, callback)
      this.#onBytes()
    } catch (error) {
      // Node would wait for the callback of a `_write()` that throws, and never end the stream.
      this.#heldWrite.clear()
      callback(error as Error)
      return
    }
    if (isAll) callback()
  }

  writev(chunks: readonly WrittenChunk[], callback: WriteCallback): void {
    this.#heldWrite.set(chunks, callback)
    this.#refill()
  }

  flushNow(): number {
    return this.#flushTimer.flushNow()
  }

  end(): void {
    this.#batcher.end()
  }

  take(): Batch | undefined {
    // An acknowledged batch may not be released yet, when a follower is asked for.
    if (!this.#flushTimer.isDue || !this.#batcher.canTake) return undefined
    // A batch that is sent before it is full takes held bytes along, as far as there is room.
    if (!this.#batcher.hasReady) while (this.#heldWrite.copy(PIECE_BYTES));
    const batch = this.#batcher.take()
    this.#flushTimer.onBatch()
    return batch
  }

  /**
   * Copying and the CRC block the event loop. Wait two turns, so that undici can release the socket and
   * write the next request first.
   */
  onSending(): void {
    clearImmediate(this.#refillTurn)
    this.#refillTurn = setImmediate(() => {
      this.#refillTurn = setImmediate(() => this.#refill())
    })
  }

  acknowledge(): void {}

  release(): void {
    this.#batcher.release(this.#heldWrite.isPending)
  }

  complete(): undefined {
    return undefined
  }

  stop(): void {
    this.#isClosed = true
    this.#flushTimer.stop()
    clearImmediate(this.#refillTurn)
  }

  close(error: Error): undefined {
    this.#heldWrite.clear()?.(error)
  }

  /** Copies more of the held write, as far as there is room. */
  #refill(): void {
    if (this.#isClosed || !this.#heldWrite.isPending) return
    try {
      // One piece a turn: the socket is not written to meanwhile, and must not run dry.
      const hasMore = this.#heldWrite.copy(PIECE_BYTES)
      this.#onBytes()
      if (hasMore) {
        clearImmediate(this.#refillTurn)
        this.#refillTurn = setImmediate(() => this.#refill())
      }
    } catch (error) {
      this.#listener.onError(error as Error)
      return
    }
    const callback = this.#heldWrite.takeCallback()
    if (callback) process.nextTick(callback)
  }

  #onBytes(): void {
    this.#listener.onBytes()
    this.#flushTimer.onBytes()
  }
}
