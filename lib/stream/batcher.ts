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
 *
 * A batch ends where a record ends; what is behind that opens the next buffer. The end is looked for
 * when it is needed: now and then for the CRC, when the buffer is full, and when the batch is to leave.
 *
 *      |record|record|rec|  -->  ( record|record )  +  |rec ...
 *
 * A record that is longer than a buffer goes alone: the buffer grows with it, up to `maxRecordBytes`.
 * Where nothing else was asked for, each byte is a record.
 */

import { ok } from 'node:assert/strict'
import { createHash, type Hash } from 'node:crypto'
import { Batch } from '../append/tail.ts'
import { update } from '../crc64/index.ts'
import type { Align } from '../options.ts'
import { createRecordEnds, findFirstRecordEnd, findLastRecordEnd } from './align.ts'

/** Bytes. What a buffer starts with. */
const INITIAL_BYTES = 16_384
/** Bytes. The most that an idle batcher keeps. */
const IDLE_BYTES = 65_536
/** Bytes between two ends of chunks that are remembered: the least that an append is cut to. */
const CHUNK_END_STEP = 65_536
/** Bytes between two sums of a batch that fills: still in the cache, and no long stop at the end. */
const DIGEST_STEP = 262_144

/**
 * What `buffer.write()` comes down to. For a line of 100 bytes that one's look at its arguments takes as
 * long as the copy; where Node should no longer show it, that is what we pay.
 */
const { utf8Write: writeUtf8 = Buffer.prototype.write } = Buffer.prototype as {
  utf8Write?: (text: string, offset: number, length: number) => number
}

export interface BatcherOptions {
  /** Bytes in a full batch. */
  readonly highWaterMark: number
  readonly contentMd5: boolean
  /** What a record is: batches end where one ends. */
  readonly align: Align
  /** Bytes that a record may have. */
  readonly maxRecordBytes: number
}

/** A batch, and the memory that it lies in. */
interface BatchInMemory {
  readonly batch: Batch
  readonly buffer: Buffer
}

export class Batcher {
  readonly #highWaterMark: number
  readonly #contentMd5: boolean
  readonly #maxRecordBytes: number
  readonly #align: Align
  readonly #isByChunk: boolean
  /** Begins with a record. After a batch: what was left of its buffer, still in its memory. */
  #filling: Buffer | undefined
  /** Bytes in `#filling`. */
  #length = 0
  /** Of these, how many have been looked at, and how many of those are whole records. */
  #scanned = 0
  #whole = 0
  /** Of those, how many are in the digests. */
  #digested = 0
  #crc = 0n
  #md5: Hash | undefined
  /** At which `#length` somebody has to look next where the last record ends. */
  #checkAt: number
  #isTooLong = false
  #spare: Buffer | undefined
  #ready: BatchInMemory | undefined
  /** Of the filling buffer: the first end of a chunk behind each 64 KiB. */
  #chunkEnds: number[] = []
  #inFlight: BatchInMemory | undefined
  #accepted = 0

  constructor({ highWaterMark, contentMd5, align, maxRecordBytes }: BatcherOptions) {
    this.#highWaterMark = highWaterMark
    this.#contentMd5 = contentMd5
    this.#align = align
    this.#maxRecordBytes = maxRecordBytes
    this.#isByChunk = align === 'chunk'
    this.#checkAt = Math.min(highWaterMark, maxRecordBytes, DIGEST_STEP)
  }

  /** Bytes copied in since the beginning. */
  get accepted(): number {
    return this.#accepted
  }

  /** Bytes in the filling buffer: no batch has taken them up yet. */
  get filling(): number {
    return this.#length
  }

  /** Bytes in the filling buffer that a batch could take up: those of whole records. */
  get whole(): number {
    if (this.#filling && this.#scanned < this.#length) {
      const part = this.#filling.subarray(this.#scanned, this.#length)
      this.#whole = Math.max(this.#whole, findLastRecordEnd(this.#align, part, this.#scanned))
      this.#scanned = this.#length
    }
    return this.#whole
  }

  /** A record is longer than it may be: no byte more is accepted, and of that record none is sent. */
  get isTooLong(): boolean {
    return this.#isTooLong
  }

  /** A full batch waits for its turn. */
  get hasReady(): boolean {
    return this.#ready !== undefined
  }

  /**
   * Copies as much of `bytes` as there is room for, and says how much that was. Less than all of it:
   * both buffers are full, come again with the rest after `take` or `release`. Or it is stuck.
   * `isEnd`: the chunk ends with them.
   */
  write(bytes: Uint8Array, isEnd = true): number {
    if (bytes.length > 0 && bytes.length <= this.#room()) {
      this.#reserve(bytes.length).set(bytes, this.#length)
      this.#advance(bytes.length, isEnd)
      return bytes.length
    }
    return this.#writeParts(bytes, isEnd)
  }

  #writeParts(bytes: Uint8Array, isEnd: boolean): number {
    let taken = 0
    while (taken < bytes.length) {
      const length = this.#fit(bytes, taken)
      if (length === 0) {
        this.#isTooLong = this.#length - this.#whole === this.#maxRecordBytes
        break
      }
      this.#reserve(length).set(bytes.subarray(taken, taken + length), this.#length)
      taken += length
      this.#advance(length, isEnd && taken === bytes.length)
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
    const buffer = this.#reserve(most)
    const length =
      encoding === 'utf8'
        ? writeUtf8.call(buffer, text, this.#length, most)
        : buffer.write(text, this.#length, encoding)
    this.#advance(length, true)
    return true
  }

  /** No byte comes any more: what there is of the last record is all of it. */
  end(): void {
    this.#whole = this.#length
  }

  /** The next batch in order: the full one that waits, else the records that came together so far. */
  take(): Batch | undefined {
    ok(!this.#inFlight, 'one batch in flight')
    if (!this.#ready && this.whole > 0) this.#close()
    this.#inFlight = this.#ready
    this.#ready = undefined
    if (this.#isFull) this.#close()
    return this.#inFlight?.batch
  }

  /**
   * The batch that was taken is in the object: its memory may be written over. `isWanted`: it will be at
   * once.
   */
  release(isWanted = false): void {
    const buffer = this.#inFlight?.buffer
    const isRestInIt = this.#length > 0 && this.#filling?.buffer === buffer?.buffer
    const isIdle = (this.#length === 0 || isRestInIt) && !this.#ready && !isWanted
    // Nothing is owed: give back what a burst has grown. And in any case what a long record has.
    const kept = isIdle ? IDLE_BYTES : this.#highWaterMark
    this.#spare = buffer && buffer.length > kept ? undefined : buffer
    this.#inFlight = undefined
    if (isRestInIt) this.#grow(this.#length)
  }

  /** A batch of whole records that can't take any more. */
  get #isFull(): boolean {
    return this.#length >= this.#highWaterMark && this.#whole > 0
  }

  /** Bytes that can be accepted into the present buffer, wherever records end. */
  #room(): number {
    return this.#ready && this.#inFlight ? 0 : this.#checkAt - this.#length
  }

  /** How many bytes of `bytes`, from `from` on, can be accepted at once. */
  #fit(bytes: Uint8Array, from: number): number {
    const room = this.#room()
    if (room > 0) return Math.min(bytes.length - from, room)
    if (this.#whole > 0 || (this.#ready && this.#inFlight)) return 0
    // One record has taken the whole buffer: to its end it may have more, and nothing behind that.
    const part = bytes.subarray(from, from + this.#maxRecordBytes - this.#length)
    return findFirstRecordEnd(this.#align, part, this.#length)
  }

  /** The filling buffer, with room for `length` more bytes. */
  #reserve(length: number): Buffer {
    const needed = this.#length + length
    return this.#filling && this.#filling.length >= needed ? this.#filling : this.#grow(needed)
  }

  /** Moves the filling buffer to where it has room for `needed` bytes: the spare, or new memory. */
  #grow(needed: number): Buffer {
    const old = this.#filling
    const spare = this.#spare
    this.#spare = undefined
    let buffer = spare
    if (!buffer || buffer.length < needed) {
      const most = needed > this.#highWaterMark ? this.#maxRecordBytes : this.#highWaterMark
      const size = Math.max(needed, (old?.length ?? 0) * 4, (spare?.length ?? 0) * 4, INITIAL_BYTES)
      // Slow: apart from Node's shared pool, which a small buffer that lives long would keep whole.
      buffer = Buffer.allocUnsafeSlow(Math.min(most, size))
    }
    if (old) buffer.set(old.subarray(0, this.#length))
    this.#filling = buffer
    return buffer
  }

  /** `isEnd`: all of the chunk is in. */
  #advance(length: number, isEnd: boolean): void {
    this.#length += length
    this.#accepted += length
    if (isEnd && this.#isByChunk) this.#endChunk()
    if (this.#length >= this.#checkAt) this.#check()
  }

  /** Remembers some of the places at which a batch may be cut: they cannot be found in its bytes. */
  #endChunk(): void {
    this.#whole = this.#length
    const last = this.#chunkEnds.at(-1) ?? 0
    if (this.#length - last >= CHUNK_END_STEP) this.#chunkEnds.push(this.#length)
  }

  #check(): void {
    this.#digest()
    // Full: close it at once unless another waits before it. Its CRC is then ready before its turn.
    if (this.#isFull && !this.#ready) this.#close()
    this.#setCheck()
  }

  #setCheck(): void {
    const { whole } = this
    const stop = Math.min(this.#highWaterMark, whole + this.#maxRecordBytes)
    this.#checkAt = Math.min(stop, this.#length + DIGEST_STEP)
  }

  /** Sums the whole records that came since. They will all be in the batch, wherever that ends. */
  #digest(): void {
    const { whole } = this
    if (!this.#filling || whole === this.#digested) return
    const part = this.#filling.subarray(this.#digested, whole)
    this.#crc = update(this.#crc, part)
    if (this.#contentMd5) this.#md5 = (this.#md5 ?? createHash('md5')).update(part)
    this.#digested = whole
  }

  /** The whole records in the filling buffer become a batch; the rest stays. */
  #close(): void {
    const buffer = this.#filling
    ok(buffer && !this.#ready)
    this.#digest()
    const bytes = buffer.subarray(0, this.#whole)
    const contentMd5 = this.#md5?.digest('base64')
    const batch = new Batch(bytes, {
      ends: createRecordEnds(this.#align, this.#chunkEnds),
      hasMd5: this.#contentMd5,
      crc64: this.#crc.toString(),
      contentMd5,
    })
    this.#ready = { batch, buffer }
    this.#chunkEnds = []
    const isAll = this.#whole === this.#length
    this.#filling = isAll ? undefined : buffer.subarray(this.#whole, this.#length)
    this.#length -= this.#whole
    this.#scanned = this.#length
    this.#whole = 0
    this.#digested = 0
    this.#crc = 0n
    this.#md5 = undefined
    this.#setCheck()
  }
}
