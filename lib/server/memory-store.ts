/**
 * Objects kept in memory. Bytes are copied into blocks of 1 MiB, so that an object of a million small
 * appends does not hold a million socket buffers, and no append copies the bytes before it.
 */

import type { ObjectContent, Store, StoredObject } from './objects.ts'

const BLOCK_SIZE = 1024 * 1024
const FIRST_BLOCK_SIZE = 4 * 1024

/** A store that ends with the process. */
export class MemoryStore implements Store {
  load(): Iterable<StoredObject> {
    return []
  }

  create(): ObjectContent {
    return new MemoryContent()
  }

  commit(): void {}

  discard(): void {}
}

class MemoryContent implements ObjectContent {
  /** All are full but the last, which grows by doubling, so that small objects stay small. */
  readonly #blocks: Buffer[] = []

  append(length: number, chunks: readonly Buffer[]): void {
    let end = length
    for (const chunk of chunks) {
      for (let copied = 0; copied < chunk.length; ) {
        const space = this.#freeSpace(end, chunk.length - copied)
        const count = chunk.copy(space, 0, copied)
        copied += count
        end += count
      }
    }
  }

  truncate(): void {}

  remove(): void {}

  *read(start: number, end: number): Iterable<Buffer> {
    while (start < end) {
      const from = start % BLOCK_SIZE
      const to = Math.min(BLOCK_SIZE, from + end - start)
      yield this.#blocks[Math.floor(start / BLOCK_SIZE)]!.subarray(from, to)
      start += to - from
    }
  }

  /** The free part, from `end` on, of the block that contains `end`. */
  #freeSpace(end: number, wanted: number): Buffer {
    const index = Math.floor(end / BLOCK_SIZE)
    const used = end % BLOCK_SIZE
    const block = this.#blocks[index]
    if (block !== undefined && block.length > used) return block.subarray(used)
    const size = Math.min(BLOCK_SIZE, Math.max(FIRST_BLOCK_SIZE, used * 2, used + wanted))
    const grown = Buffer.allocUnsafeSlow(size)
    block?.copy(grown, 0, 0, used)
    this.#blocks[index] = grown
    return grown.subarray(used)
  }
}
