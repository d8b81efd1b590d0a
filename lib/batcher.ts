/**
 * Two rotating buffers: one fills while the other is in flight. A byte is copied once, here; after
 * that a batch is never touched until its fate is known. Knows neither streams nor time: when a batch
 * is due is decided above.
 *
 *      write() --> [ filling ] --full--> ( ready: CRC made, waits for its turn )
 *                       ^                       |
 *                       |      take()           v
 *                  [ spare ] <--release()-- ( in flight )
 *
 * Two buffers of `highWaterMark` are the bound. They grow from small, since a thousand idle streams
 * should cost little, and are kept, since a busy one should allocate nothing.
 */

import { ok } from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { type Batch, createBatch } from './tail.ts'

/** Bytes. What a buffer starts with. */
const SMALL = 16_384
/** Bytes. The most that an idle batcher keeps. */
const KEPT = 65_536

export interface BatcherOptions {
  /** Bytes in a full batch. */
  readonly highWaterMark: number
  readonly contentMd5: boolean
}

/** A batch, and the memory that it lies in. */
interface Loaded {
  readonly batch: Batch
  readonly buffer: Buffer
}

export class Batcher {
  readonly #highWaterMark: number
  readonly #contentMd5: boolean
  #filling: Buffer | undefined
  /** Bytes in `#filling`. */
  #length = 0
  #spare: Buffer | undefined
  #ready: Loaded | undefined
  #inFlight: Loaded | undefined
  #accepted = 0

  constructor({ highWaterMark, contentMd5 }: BatcherOptions) {
    this.#highWaterMark = highWaterMark
    this.#contentMd5 = contentMd5
  }

  /** Bytes copied in since the beginning. */
  get accepted(): number {
    return this.#accepted
  }

  /** Bytes in the filling buffer: no batch has taken them up yet. */
  get filling(): number {
    return this.#length
  }

  /** A full batch waits for its turn. */
  get hasReady(): boolean {
    return this.#ready !== undefined
  }

  /**
   * Copies as much of `bytes` as there is room for, and says how much that was. Less than all of it:
   * both buffers are full, come again after `take` or `release`.
   */
  write(bytes: Uint8Array): number {
    let taken = 0
    while (taken < bytes.length) {
      const length = Math.min(bytes.length - taken, this.#room())
      if (length === 0) break
      const part = length === bytes.length ? bytes : bytes.subarray(taken, taken + length)
      this.#reserve(length).set(part, this.#length)
      this.#advance(length)
      taken += length
    }
    return taken
  }

  /**
   * Encodes a string straight into the batch, if it is sure to fit; false: nothing was done, and the
   * caller has to make bytes of it, which may be cut anywhere.
   */
  writeText(text: string, encoding: 'utf8' | 'latin1'): boolean {
    // It would fit where both buffers are full, and take a third.
    if (text === '') return true
    const most = encoding === 'utf8' ? text.length * 3 : text.length
    if (most > this.#room()) return false
    this.#advance(this.#reserve(most).write(text, this.#length, encoding))
    return true
  }

  /** The next batch in order: the full one that waits, else what has come together so far. */
  take(): Batch | undefined {
    ok(!this.#inFlight, 'one batch in flight')
    if (!this.#ready && this.#length > 0) this.#close()
    this.#inFlight = this.#ready
    this.#ready = undefined
    if (this.#length === this.#highWaterMark) this.#close()
    return this.#inFlight?.batch
  }

  /** The batch that was taken is in the object: its memory may be written over. */
  release(): void {
    const buffer = this.#inFlight?.buffer
    const isIdle = this.#length === 0 && !this.#ready
    // Nothing is owed: give back what a burst has grown.
    this.#spare = isIdle && buffer && buffer.length > KEPT ? undefined : buffer
    this.#inFlight = undefined
  }

  /** Bytes that can be accepted into the present buffer. */
  #room(): number {
    return this.#ready && this.#inFlight ? 0 : this.#highWaterMark - this.#length
  }

  /** The filling buffer, with room for `length` more bytes. */
  #reserve(length: number): Buffer {
    const needed = this.#length + length
    if (!this.#filling) {
      this.#filling = this.#spare
      this.#spare = undefined
    }
    if (!this.#filling || this.#filling.length < needed) {
      this.#filling = this.#grow(this.#filling, needed)
    }
    return this.#filling
  }

  #grow(old: Buffer | undefined, needed: number): Buffer {
    const size = Math.min(this.#highWaterMark, Math.max(needed, (old?.length ?? 0) * 4, SMALL))
    // Slow: apart from Node's shared pool, which a small buffer that lives long would keep whole.
    const buffer = Buffer.allocUnsafeSlow(size)
    if (old) buffer.set(old.subarray(0, this.#length))
    return buffer
  }

  #advance(length: number): void {
    this.#length += length
    this.#accepted += length
    // Full: close it at once unless another waits before it. Its CRC is then ready before its turn.
    if (this.#length === this.#highWaterMark && !this.#ready) this.#close()
  }

  /** The filling buffer becomes a batch. */
  #close(): void {
    const buffer = this.#filling
    ok(buffer && !this.#ready)
    const bytes = buffer.subarray(0, this.#length)
    const md5 = this.#contentMd5 ? createHash('md5').update(bytes).digest('base64') : undefined
    this.#ready = { batch: createBatch(bytes, md5), buffer }
    this.#filling = undefined
    this.#length = 0
  }
}
