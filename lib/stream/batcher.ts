/**
 * Two rotating buffers: one fills while the other is in flight. Each byte is copied once, here; after
 * that a batch is not touched until its append is settled. FlushTimer decides when a batch is due.
 *
 *      write() --> [ filling ] --full--> ( ready: CRC made, waits for its turn )
 *                       ^                       |
 *                       |      take()           v
 *                  [ spare ] <--release()-- ( in flight )
 *
 * Memory is bounded by two buffers of `highWaterMark`, and one more for each further append in flight. They
 * start small, for many idle streams, and are kept, so that a busy stream allocates nothing. A batch ends where
 * a record ends:
 *
 *      |record|record|rec|  -->  ( record|record )  +  |rec ...
 *
 * For a record longer than a buffer the buffer grows, up to `maxRecordBytes`.
 */

import { ok } from 'node:assert/strict'
import { createHash, type Hash } from 'node:crypto'
import { Batch, type RecordEnds } from '../append/tail.ts'
import { combine, update } from '../crc64/index.ts'
import type { Align } from '../options.ts'
import { createRecordEnds, findFirstRecordEnd, findLastRecordEnd } from './align.ts'

/** Bytes. Initial size of a buffer. */
const INITIAL_BYTES = 16_384
/** Bytes. Largest buffer that an idle batcher keeps. */
const IDLE_BYTES = 65_536
/** Bytes. Between two chunk ends that are remembered: the least that an append is cut to. */
const CHUNK_END_STEP = 65_536
/** Bytes. The CRC is updated in steps of this size: they are still in the cache, and none blocks for long. */
const DIGEST_STEP = 524_288
/** Bytes. To combine CRCs takes some microseconds, as long as to sum these. */
const SUMMED_BYTES = 32_768

/**
 * What `buffer.write()` calls. For a line of 100 bytes the checks of `write()` take as long as the copy. If a
 * future Node has no `utf8Write`, `write()` is used.
 */
const { utf8Write: writeUtf8 = Buffer.prototype.write } = Buffer.prototype as {
  utf8Write?: (text: string, offset: number, length: number) => number
}

export interface BatcherOptions {
  /** Bytes in a full batch. */
  readonly highWaterMark: number
  readonly contentMd5: boolean
  /** Where records end, and so batches. */
  readonly align: Align
  /** Bytes that a record may have. */
  readonly maxRecordBytes: number
  /** Batches in flight at most. Default 1. */
  readonly pipelining?: number | undefined
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
  /** Unless records are chunks: where they end. */
  readonly #ends: RecordEnds
  /** Begins with a record. After a batch was closed: the rest behind it, in the memory of that batch. */
  #filling: Buffer | undefined
  /** Bytes in `#filling`. */
  #length = 0
  /** Bytes of `#filling` that were searched for the end of a record, and bytes of whole records. */
  #scanned = 0
  #whole = 0
  /** Bytes of `#filling` that are in the CRC and the MD5. */
  #digested = 0
  #crc = 0n
  #md5: Hash | undefined
  /** The `#length` at which the last end of a record is to be found next. */
  #checkAt: number
  #isTooLong = false
  /** Free buffers: all of them at a time, where the network is faster than the source. */
  readonly #spares: Buffer[] = []
  #ready: BatchInMemory | undefined
  /** Of the filling buffer: the first end of a chunk behind each 64 KiB. */
  #chunkEnds: number[] = []
  /** Taken and not released, in order. */
  readonly #inFlight: BatchInMemory[] = []
  readonly #maxInFlight: number
  #accepted = 0

  constructor(options: BatcherOptions) {
    const { highWaterMark, contentMd5, align, maxRecordBytes, pipelining = 1 } = options
    this.#maxInFlight = pipelining
    this.#highWaterMark = highWaterMark
    this.#contentMd5 = contentMd5
    this.#align = align
    this.#maxRecordBytes = maxRecordBytes
    this.#isByChunk = align === 'chunk'
    this.#ends = createRecordEnds(align, [])
    this.#checkAt = Math.min(highWaterMark, maxRecordBytes, DIGEST_STEP)
  }

  /** Bytes copied since the beginning. */
  get accepted(): number {
    return this.#accepted
  }

  /** Bytes in the filling buffer, which are in no batch yet. */
  get filling(): number {
    return this.#length
  }

  /** Bytes of whole records in the filling buffer. */
  get whole(): number {
    if (this.#filling && this.#scanned < this.#length) {
      const part = this.#filling.subarray(this.#scanned, this.#length)
      this.#whole = Math.max(this.#whole, findLastRecordEnd(this.#align, part, this.#scanned))
      this.#scanned = this.#length
    }
    return this.#whole
  }

  /** The copied bytes end where a record ends. */
  get isAtRecordEnd(): boolean {
    // A byte at most is looked at: `whole` searches for ends, and is too slow for each record.
    if (this.#length === 0 || !this.#filling || this.#isByChunk) return true
    return this.#ends.isEnd(this.#filling, this.#length)
  }

  /** A record is longer than `maxRecordBytes`. No further byte is accepted, and none of that record is sent. */
  get isTooLong(): boolean {
    return this.#isTooLong
  }

  /** Bytes for which the buffers have room. */
  get free(): number {
    const inFlight = this.#inFlight.reduce((sum, { batch }) => sum + batch.length, 0)
    const taken = (this.#ready?.batch.length ?? 0) + inFlight
    return (this.#maxInFlight + 1) * this.#highWaterMark - taken - this.#length
  }

  /** False: as many batches are taken, and not released, as may be in flight. */
  get canTake(): boolean {
    return this.#inFlight.length < this.#maxInFlight
  }

  /** A full batch waits to be taken. */
  get hasReady(): boolean {
    return this.#ready !== undefined
  }

  /**
   * Copies as many of `bytes` as there is room for, and returns their number. If it is less than all of them,
   * both buffers are full (write the rest after `take()` or `release()`), or a record is too long. `isEnd`:
   * the chunk ends with these bytes. `crc64`: their CRC, if it is known.
   */
  write(bytes: Uint8Array, isEnd = true, crc64?: bigint): number {
    if (crc64 !== undefined && this.#isWhole(bytes, isEnd)) return this.#writeSummed(bytes, crc64)
    if (bytes.length > 0 && bytes.length <= this.#room()) {
      this.#reserve(bytes.length).set(bytes, this.#length)
      this.#advance(bytes.length, isEnd)
      return bytes.length
    }
    return this.#writeParts(bytes, isEnd)
  }

  #writeSummed(bytes: Uint8Array, crc64: bigint): number {
    const { length } = bytes
    this.#digest()
    this.#reserve(length).set(bytes, this.#length)
    this.#count(length, true)
    this.#digest(crc64)
    this.#check()
    return length
  }

  /** `bytes` are whole records behind whole records, and fit: they get into the same batch. */
  #isWhole(bytes: Uint8Array, isEnd: boolean): boolean {
    const { length } = bytes
    const most = Math.min(this.#highWaterMark - this.#length, this.#maxRecordBytes)
    if (length < SUMMED_BYTES || length > most || this.#isUsedUp()) return false
    if (this.whole < this.#length) return false
    if (this.#isByChunk) return isEnd
    return findLastRecordEnd(this.#align, bytes, this.#length) === this.#length + length
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
   * Encodes a string directly into the filling buffer, if it certainly fits. False: nothing was written; the
   * caller encodes it, and writes the bytes, which may be divided between batches.
   */
  writeText(text: string, encoding: 'utf8' | 'latin1'): boolean {
    // Nothing would also "fit" where both buffers are full, and allocate a third.
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

  /** No more bytes follow, so the last record is whole. */
  end(): void {
    this.#whole = this.#length
  }

  /** The next batch in order: the full one, or else the whole records so far. */
  take(): Batch | undefined {
    ok(this.canTake, 'batches in flight')
    if (!this.#ready && this.whole > 0) this.#close()
    const taken = this.#ready
    if (!taken) return undefined
    this.#inFlight.push(taken)
    this.#ready = undefined
    if (this.#isFull) this.#close()
    return taken.batch
  }

  /** The batch that was taken first is in the object, so its memory is free. `isWanted`: it will be used at once. */
  release(isWanted = false): void {
    const buffer = this.#inFlight.shift()?.buffer
    const isRestInIt = this.#length > 0 && this.#filling?.buffer === buffer?.buffer
    const isIdle = (this.#length === 0 || isRestInIt) && !this.#ready && !isWanted
    // An idle batcher frees what a burst has grown; a long record's buffer is freed in any case.
    const kept = isIdle ? IDLE_BYTES : this.#highWaterMark
    if (isIdle) this.#spares.length = 0
    if (buffer && buffer.length <= kept) this.#spares.push(buffer)
    if (isRestInIt) this.#grow(this.#length)
  }

  /** The filling buffer is full, and has a whole record. */
  get #isFull(): boolean {
    return this.#length >= this.#highWaterMark && this.#whole > 0
  }

  /** No buffer is left to be filled. A method: a private getter is a slow call in V8 11.3, and each write asks. */
  #isUsedUp(): boolean {
    return this.#ready !== undefined && this.#inFlight.length === this.#maxInFlight
  }

  /** Bytes that the filling buffer takes before the ends of records are to be found again. */
  #room(): number {
    return this.#isUsedUp() ? 0 : this.#checkAt - this.#length
  }

  /** How many of `bytes`, from `from` on, can be copied now. */
  #fit(bytes: Uint8Array, from: number): number {
    const room = this.#room()
    if (room > 0) return Math.min(bytes.length - from, room)
    if (this.#whole > 0 || this.#isUsedUp()) return 0
    // One record fills the whole buffer: the buffer takes the rest of it, and nothing behind its end.
    const part = bytes.subarray(from, from + this.#maxRecordBytes - this.#length)
    return findFirstRecordEnd(this.#align, part, this.#length)
  }

  /** The filling buffer, with room for `length` more bytes; larger if needed. */
  #reserve(length: number): Buffer {
    const needed = this.#length + length
    return this.#filling && this.#filling.length >= needed ? this.#filling : this.#grow(needed)
  }

  /** Moves the filling bytes to memory of at least `needed` bytes: the spare buffer, or a new one. */
  #grow(needed: number): Buffer {
    const old = this.#filling
    const spare = this.#spares.pop()
    let buffer = spare
    if (!buffer || buffer.length < needed) {
      const most = needed > this.#highWaterMark ? this.#maxRecordBytes : this.#highWaterMark
      const size = Math.max(needed, (old?.length ?? 0) * 4, (spare?.length ?? 0) * 4, INITIAL_BYTES)
      // Not from Node's shared pool: a small buffer that lives long would keep all of the pool alive.
      buffer = Buffer.allocUnsafeSlow(Math.min(most, size))
    }
    if (old) buffer.set(old.subarray(0, this.#length))
    this.#filling = buffer
    return buffer
  }

  /** Counts copied bytes. `isEnd`: the chunk ends with them. */
  #advance(length: number, isEnd: boolean): void {
    this.#count(length, isEnd)
    if (this.#length >= this.#checkAt) this.#check()
  }

  #count(length: number, isEnd: boolean): void {
    this.#length += length
    this.#accepted += length
    if (isEnd && this.#isByChunk) this.#endChunk()
  }

  /** Remembers some of the places at which a batch may be cut: they cannot be found in its bytes. */
  #endChunk(): void {
    const start = this.#whole
    this.#whole = this.#length
    const last = this.#chunkEnds.at(-1) ?? 0
    if (this.#length - last < CHUNK_END_STEP) return
    // A long chunk can then be sent apart from the short ones before it.
    if (this.#length - start >= CHUNK_END_STEP && start > last) this.#chunkEnds.push(start)
    this.#chunkEnds.push(this.#length)
  }

  #check(): void {
    this.#digest()
    // Close a full buffer at once, unless another batch waits: its CRC is then ready when it is taken.
    if (this.#isFull && !this.#ready) this.#close()
    this.#setCheck()
  }

  #setCheck(): void {
    const { whole } = this
    const stop = Math.min(this.#highWaterMark, whole + this.#maxRecordBytes)
    this.#checkAt = Math.min(stop, this.#length + DIGEST_STEP)
  }

  /**
   * Adds whole records to the CRC and the MD5. They will all be in the batch, wherever that ends. `crc64`: their CRC,
   * if it is known.
   */
  #digest(crc64?: bigint): void {
    const { whole } = this
    if (!this.#filling || whole === this.#digested) return
    const part = this.#filling.subarray(this.#digested, whole)
    this.#crc =
      crc64 === undefined ? update(this.#crc, part) : combine(this.#crc, crc64, part.length)
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
      ends: this.#isByChunk ? createRecordEnds(this.#align, this.#chunkEnds) : this.#ends,
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
