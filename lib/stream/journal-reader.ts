/** Moves bytes of a journal into the memory of a batcher. */

import type { JournalPiece } from '../journal/frame-layout.ts'
import type { Journal } from '../journal/journal.ts'
import type { Batcher } from './batcher.ts'

/** Bytes of one read. */
const READ_BYTES = 1_048_576

/** Copies as much as there is room for. Returns the number of bytes. */
export function copyPieces(batcher: Batcher, pieces: readonly JournalPiece[]): number {
  let copied = 0
  for (const { bytes, isEnd, crc64 } of pieces) {
    const length = batcher.write(bytes, isEnd, crc64)
    copied += length
    if (length < bytes.length) break
  }
  return copied
}

/**
 * Reads until the batcher is full, or has all bytes before `end()`. `base`: offset in the journal of the first
 * byte that the batcher was given. Returns the number of bytes.
 */
export async function fillBatcher(
  batcher: Batcher,
  journal: Journal,
  base: number,
  end: () => number,
): Promise<number> {
  const start = batcher.accepted
  while (!batcher.hasReady) {
    const left = end() - batcher.accepted
    if (left === 0) break
    const offset = base + batcher.accepted
    const pieces = await journal.read(offset, Math.min(left, READ_BYTES))
    if (copyPieces(batcher, pieces) === 0) break
  }
  return batcher.accepted - start
}
