/**
 * The way into the batcher: what was written becomes bytes there, and what finds no room is held,
 * together with the callback that lets the writer go on. That is the backpressure. It knows no time and
 * calls nobody back.
 */

import type { Batcher } from './batcher.ts'
import type { WriteCallback, WrittenChunk } from './event-types.ts'

/** A write that found no room: what is left of it, and whom to tell when all of it is copied. */
interface PendingWrite {
  rest: Buffer | undefined
  readonly chunks: readonly WrittenChunk[]
  /** The first of `chunks` that is not copied, not even in part. */
  next: number
  readonly callback: WriteCallback
}

/** Encodings that the batcher writes by itself, by all their names. */
const DIRECT: Readonly<Record<string, 'utf8' | 'latin1'>> = {
  utf8: 'utf8',
  'utf-8': 'utf8',
  latin1: 'latin1',
  binary: 'latin1',
}

export class HeldWrite {
  readonly #batcher: Batcher
  #pending: PendingWrite | undefined

  constructor(batcher: Batcher) {
    this.#batcher = batcher
  }

  /** Something waits for room. */
  get isPending(): boolean {
    return this.#pending !== undefined
  }

  /** Copies a chunk. False: not all of it, and the callback is held with the rest. */
  write(chunk: Buffer | string, encoding: BufferEncoding, callback: WriteCallback): boolean {
    const bytes = this.#encode(chunk, encoding)
    if (!bytes) return true
    const length = this.#batcher.write(bytes)
    if (length === bytes.length) return true
    this.#pending = { rest: bytes.subarray(length), chunks: [], next: 0, callback }
    return false
  }

  /** Holds many chunks, for `resume` to copy. */
  set(chunks: readonly WrittenChunk[], callback: WriteCallback): void {
    this.#pending = { rest: undefined, chunks, next: 0, callback }
  }

  /** Goes on with what is held. True: so far as `most` bytes; there is more, and room for it. */
  copy(most: number): boolean {
    const held = this.#pending
    let left = most
    while (held) {
      held.rest ??= this.#next(held)
      const { rest } = held
      if (!rest) return false
      const isEnd = rest.length <= left
      const part = isEnd ? rest : rest.subarray(0, left)
      const length = this.#batcher.write(part, isEnd)
      left -= length
      held.rest = length === rest.length ? undefined : rest.subarray(length)
      if (length < part.length) return false
      if (left === 0) return held.rest !== undefined || held.next < held.chunks.length
    }
    return false
  }

  /** Whom to tell that all that was held is copied; once. */
  takeCallback(): WriteCallback | undefined {
    const held = this.#pending
    return held && !held.rest && held.next === held.chunks.length ? this.clear() : undefined
  }

  /** Holds no more; gives back whom to tell. */
  clear(): WriteCallback | undefined {
    const callback = this.#pending?.callback
    this.#pending = undefined
    return callback
  }

  /** The bytes of the next chunk that has to be copied. */
  #next(held: PendingWrite): Buffer | undefined {
    while (held.next < held.chunks.length) {
      const { chunk, encoding } = held.chunks[held.next++] as WrittenChunk
      const bytes = this.#encode(chunk, encoding)
      if (bytes) return bytes
    }
    return undefined
  }

  /** The bytes of a chunk, if they are still to be copied: short text goes into the batch by itself. */
  #encode(chunk: Buffer | string, encoding: BufferEncoding): Buffer | undefined {
    if (typeof chunk !== 'string') return chunk
    const direct = DIRECT[encoding]
    if (direct && this.#batcher.writeText(chunk, direct)) return undefined
    return Buffer.from(chunk, encoding)
  }
}
