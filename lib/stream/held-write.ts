/**
 * Copies written chunks into the batcher. If a write does not fit, the rest of it is held, together with its
 * callback. While the callback is held, Node queues further writes: that is the backpressure. MemorySource
 * decides when to go on, and calls back.
 */

import type { Batcher } from './batcher.ts'
import type { WriteCallback, WrittenChunk } from './event-types.ts'

/** The write that did not fit. */
interface PendingWrite {
  /** The rest of the chunk that is partly copied. */
  rest: Buffer | undefined
  readonly chunks: readonly WrittenChunk[]
  /** Index of the first chunk of which nothing is copied. */
  next: number
  readonly callback: WriteCallback
}

/** Encodings that the batcher writes without an intermediate buffer, by their names in lower case. */
const DIRECT: Readonly<Record<string, 'utf8' | 'latin1'>> = {
  utf8: 'utf8',
  'utf-8': 'utf8',
  latin1: 'latin1',
  binary: 'latin1',
}

export class HeldWrite {
  readonly #batcher: Batcher
  readonly #onChunk: () => void
  #pending: PendingWrite | undefined

  /** `onChunk` is called when all of a chunk is copied, and nothing behind it yet. */
  constructor(batcher: Batcher, onChunk: () => void) {
    this.#batcher = batcher
    this.#onChunk = onChunk
  }

  /** A write waits for room. */
  get isPending(): boolean {
    return this.#pending !== undefined
  }

  /** Copies a chunk. False: the rest of it is held, with the callback. */
  write(chunk: Buffer | string, encoding: BufferEncoding, callback: WriteCallback): boolean {
    const bytes = this.#encode(chunk, encoding)
    const length = bytes ? this.#batcher.write(bytes) : 0
    if (bytes && length < bytes.length) {
      this.#pending = { rest: bytes.subarray(length), chunks: [], next: 0, callback }
      return false
    }
    this.#onChunk()
    return true
  }

  /** Holds chunks, for `copy()`. */
  set(chunks: readonly WrittenChunk[], callback: WriteCallback): void {
    this.#pending = { rest: undefined, chunks, next: 0, callback }
  }

  /** Copies at most `most` held bytes. True: that many are copied, and there are more, and room for them. */
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
      if (!held.rest) this.#onChunk()
      if (length < part.length) return false
      if (left === 0) return held.rest !== undefined || held.next < held.chunks.length
    }
    return false
  }

  /** The callback, once, when all of the write is copied. */
  takeCallback(): WriteCallback | undefined {
    const held = this.#pending
    return held && !held.rest && held.next === held.chunks.length ? this.clear() : undefined
  }

  /** Drops the write, and returns its callback. */
  clear(): WriteCallback | undefined {
    const callback = this.#pending?.callback
    this.#pending = undefined
    return callback
  }

  /** The bytes of the next chunk that is still to be copied. */
  #next(held: PendingWrite): Buffer | undefined {
    while (held.next < held.chunks.length) {
      const { chunk, encoding } = held.chunks[held.next++] as WrittenChunk
      const bytes = this.#encode(chunk, encoding)
      if (bytes) return bytes
      this.#onChunk()
    }
    return undefined
  }

  /** The bytes of a chunk; undefined if the batcher has already written them, as it does with short text. */
  #encode(chunk: Buffer | string, encoding: BufferEncoding): Buffer | undefined {
    if (typeof chunk !== 'string') return chunk
    const direct = DIRECT[encoding]
    if (direct && this.#batcher.writeText(chunk, direct)) return undefined
    return Buffer.from(chunk, encoding)
  }
}
