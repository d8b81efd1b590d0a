/**
 * Objects kept in memory, gone with the process. Bytes are copied into blocks of 1 MiB: an object
 * of a million small appends is then a few blocks and not a million slices of socket buffers, and
 * no append copies what is already there. It never shrinks, and it is not shared.
 */

import type { Content, Shelf, StoredObject } from './objects.ts'

const BLOCK = 1024 * 1024
const FIRST_BLOCK = 4 * 1024

/** A shelf that forgets. */
export class MemoryShelf implements Shelf {
  load(): Iterable<StoredObject> {
    return []
  }

  create(): Content {
    return new MemoryContent()
  }

  commit(): void {}

  discard(): void {}
}

class MemoryContent implements Content {
  /** All full but the last, which grows by doubling: small objects are many and stay small. */
  readonly #blocks: Buffer[] = []

  append(length: number, chunks: readonly Buffer[]): void {
    let end = length
    for (const chunk of chunks) {
      for (let copied = 0; copied < chunk.length; ) {
        const room = this.#room(end, chunk.length - copied)
        const count = chunk.copy(room, 0, copied)
        copied += count
        end += count
      }
    }
  }

  *read(start: number, end: number): Iterable<Buffer> {
    while (start < end) {
      const from = start % BLOCK
      const to = Math.min(BLOCK, from + end - start)
      yield this.#blocks[Math.floor(start / BLOCK)]!.subarray(from, to)
      start += to - from
    }
  }

  /** The free part, from `end` on, of the block that `end` lies in. */
  #room(end: number, wanted: number): Buffer {
    const index = Math.floor(end / BLOCK)
    const used = end % BLOCK
    const block = this.#blocks[index]
    if (block !== undefined && block.length > used) return block.subarray(used)
    const size = Math.min(BLOCK, Math.max(FIRST_BLOCK, used * 2, used + wanted))
    const grown = Buffer.allocUnsafeSlow(size)
    block?.copy(grown, 0, 0, used)
    this.#blocks[index] = grown
    return grown.subarray(used)
  }
}
