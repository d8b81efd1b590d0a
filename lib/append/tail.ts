/**
 * The algebra of an appendable object, pure. An object's *tail* is its length and the CRC-64 of its bytes.
 * An append of a batch moves the tail; `settle` finds out from the tail that OSS shows how much of the
 * unacknowledged bytes landed. Attempts for one position may differ in length. Each is a prefix of the same
 * bytes, and ends where a record ends. So length and CRC tell them apart:
 *
 *      object           |####################|
 *      before                                ^ { position: 20, crc64: crc(####) }
 *      unacknowledged                        |rec1|rec2|rec3|
 *      attempts                              |rec1|rec2|rec3|   timed out
 *                                            |rec1|             timed out, landed
 *      seen                                       ^ { position: 24, crc64: combine(crc(####), crc(rec1), 4) }
 */

import { createHash } from 'node:crypto'
import { crc64, crc64Combine } from '../crc64/index.ts'
import type { ObservedTail } from '../errors.ts'

/** The end of an object: its length in bytes, and the CRC-64/XZ of all its bytes as an unsigned decimal string. */
export interface Tail {
  /** Length of the object in bytes, and so the position of the next append. */
  readonly position: number
  /** CRC-64/XZ of all its bytes, an unsigned decimal string; `'0'` of none. */
  readonly crc64: string
}

/** The tail of an object that is absent or empty. */
export const EMPTY_TAIL: Tail = { position: 0, crc64: '0' }

/** The body of an append that adds nothing. */
export const NO_BYTES: Uint8Array = new Uint8Array(0)

/** Where records end. Lengths are counted from the first of `bytes`, which begin with a record. */
export interface RecordEnds {
  /** Whether a record ends at `length`. */
  isEnd(bytes: Uint8Array, length: number): boolean
  /** The greatest record end that is not behind `length`; 0: none. */
  findLast(bytes: Uint8Array, length: number): number
  /** The end of the first record. */
  findFirst(bytes: Uint8Array): number
  /** The ends behind `length`, counted from there. */
  after(length: number): RecordEnds
}

/** Each byte is a record. */
export const EVERY_BYTE: RecordEnds = {
  isEnd: () => true,
  findLast: (_bytes, length) => length,
  findFirst: () => 1,
  after: () => EVERY_BYTE,
}

interface BatchDetails {
  /** Default: every byte is a record. */
  readonly ends?: RecordEnds
  /** Appends carry Content-MD5. Default false. */
  readonly hasMd5?: boolean
  /** CRC-64 of the bytes, where it is known already. */
  readonly crc64?: string
  /** Base64 of the MD5 of the bytes, where it is known already. */
  readonly contentMd5?: string | undefined
}

/** Bytes to append, whole records. They do not know their position, so digests can be made early. */
export class Batch {
  readonly bytes: Uint8Array
  readonly #ends: RecordEnds
  readonly #hasMd5: boolean
  #crc64: string | undefined
  #contentMd5: string | undefined

  constructor(bytes: Uint8Array, details: BatchDetails = {}) {
    this.bytes = bytes
    this.#ends = details.ends ?? EVERY_BYTE
    this.#hasMd5 = details.hasMd5 ?? false
    this.#crc64 = details.crc64
    this.#contentMd5 = details.contentMd5
  }

  get length(): number {
    return this.bytes.length
  }

  get crc64(): string {
    this.#crc64 ??= crc64(this.bytes)
    return this.#crc64
  }

  /** Base64 of the MD5 of `bytes`. */
  get md5(): string {
    this.#contentMd5 ??= createHash('md5').update(this.bytes).digest('base64')
    return this.#contentMd5
  }

  /** The same; undefined where appends do not carry it. */
  get contentMd5(): string | undefined {
    return this.#hasMd5 ? this.md5 : undefined
  }

  /** Whether an append may end at `length`: no record is cut there. */
  isRecordEnd(length: number): boolean {
    return length === this.length || this.#ends.isEnd(this.bytes, length)
  }

  /** The longest prefix of whole records that is not longer than `length`; at least one record. */
  prefix(length: number): Batch {
    if (length >= this.length) return this
    const end = this.#ends.findLast(this.bytes, length) || this.#ends.findFirst(this.bytes)
    return end >= this.length ? this : this.#part(this.bytes.subarray(0, end), this.#ends)
  }

  /** What is behind the first `length` bytes. */
  rest(length: number): Batch {
    return this.#part(this.bytes.subarray(length), this.#ends.after(length))
  }

  #part(bytes: Uint8Array, ends: RecordEnds): Batch {
    return new Batch(bytes, { ends, hasMd5: this.#hasMd5 })
  }
}

/** The tail that `before` becomes when `batch` lands at it. Its CRC is known where that of `before` is. */
export function advance(before: Tail, batch: Batch): Tail
export function advance(before: ObservedTail, batch: Batch): ObservedTail
export function advance(before: ObservedTail, batch: Batch): ObservedTail {
  const position = before.position + batch.length
  if (before.crc64 === undefined) return { position }
  return { position, crc64: crc64Combine(before.crc64, batch.crc64, batch.length) }
}

/** Both are known whole, and the same. */
export function isSameTail(a: ObservedTail, b: ObservedTail): boolean {
  return a.position === b.position && a.crc64 === b.crc64 && a.crc64 !== undefined
}

/** Whether an append that should make `after` made this tail. A CRC that could not be computed is believed. */
export function isProof(after: ObservedTail, seen: ObservedTail): seen is Tail {
  const { position, crc64 = seen.crc64 } = after
  return isSameTail({ position, crc64 }, seen)
}

export type Verdict =
  /** The first bytes are in the object; `after` is its tail, and nothing is behind them. */
  | { readonly name: 'landed'; readonly length: number; readonly after: Tail }
  /** The object ends where it did. An attempt may still land. */
  | { readonly name: 'absent' }
  /** The object is shorter than what was acknowledged, or gone. */
  | { readonly name: 'replaced' }
  /** The object has other bytes. */
  | { readonly name: 'conflict' }

/**
 * What became of the unacknowledged bytes, judged by the tail of one response. Position and CRC in `seen`
 * are never taken from two. `null`: there is no object.
 *
 * Length alone proves nothing: the append of another writer may be as long. A length inside a record is a
 * conflict even if the CRC agrees: another writer's bytes may equal the first of these, and the next append
 * would then begin inside a record.
 */
export function settle(before: Tail, unacknowledged: Batch, seen: ObservedTail | null): Verdict {
  if (seen === null) return { name: before.position === 0 ? 'absent' : 'replaced' }
  const length = seen.position - before.position
  if (length < 0) return { name: 'replaced' }
  if (length === 0) return { name: isSameTail(before, seen) ? 'absent' : 'conflict' }
  if (length > unacknowledged.length || !unacknowledged.isRecordEnd(length)) {
    return { name: 'conflict' }
  }
  const after = advance(before, unacknowledged.prefix(length))
  return isSameTail(after, seen) ? { name: 'landed', length, after } : { name: 'conflict' }
}
