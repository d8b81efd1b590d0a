/**
 * What became of the bytes of a journal, judged by the tail that OSS shows: the rule of `settle()` in
 * append/tail.ts, over bytes on disk.
 */

import { Batch, isSameTail, NO_BYTES, settle, type Tail, type Verdict } from '../append/tail.ts'
import { update } from '../crc64/index.ts'
import type { ObservedTail } from '../errors.ts'
import type { Align } from '../options.ts'
import { createRecordEnds } from '../stream/align.ts'
import type { JournalPiece } from './frame-layout.ts'
import type { Journal } from './journal.ts'

/** Bytes of one read. */
const READ_BYTES = 1_048_576

export type JournalVerdict =
  | Verdict
  /** The object is longer than the journal, by `bytes`. Its CRC cannot prove the journal; a ranged read can. */
  | { readonly name: 'beyond'; readonly bytes: number }

/**
 * Settles the journal's bytes from `offset` on; `before` is the tail of the object without them. Each record
 * end is a possible length: a process that died may have sent any. Reads as many bytes as the object is
 * longer than `before`. `end`: stream offset behind the last byte that may have been sent; by default the last that
 * was recovered.
 */
export async function settleJournal(
  journal: Journal,
  offset: number,
  before: Tail,
  seen: ObservedTail | null,
  end = journal.recovered.end,
): Promise<JournalVerdict> {
  const length = (seen?.position ?? 0) - before.position
  if (seen === null || length <= 0) return settle(before, new Batch(NO_BYTES), seen)
  const beyond = length - (end - offset)
  if (beyond > 0) return { name: 'beyond', bytes: beyond }
  const { tail: after, isRecordEnd } = await advanceOver(journal, offset, before, length)
  const isLanded = isRecordEnd && isSameTail(after, seen)
  return isLanded ? { name: 'landed', length, after } : { name: 'conflict' }
}

/** The tail that `before` becomes when `length` bytes of the journal from `offset` on land at it. */
export async function advanceOver(
  journal: Journal,
  offset: number,
  before: Tail,
  length: number,
): Promise<{ readonly tail: Tail; readonly isRecordEnd: boolean }> {
  const end = offset + length
  let crc = BigInt(before.crc64)
  let isRecordEnd = false
  let start = offset
  for (let at = offset; at < end; ) {
    const part = journal.parts.find(each => each.end > at)
    const stop = Math.min(end, part?.end ?? end)
    const pieces = await journal.read(at, Math.min(READ_BYTES, stop - at))
    for (const { bytes } of pieces) {
      crc = update(crc, bytes)
      at += bytes.length
    }
    const isPartEnd = at === part?.end
    isRecordEnd = isPartEnd || endsRecord(part?.align ?? journal.align, pieces.at(-1), at - start)
    if (isPartEnd) start = at
  }
  return { tail: { position: before.position + length, crc64: crc.toString() }, isRecordEnd }
}

/** Whether a record ends with `piece`, the last of `length` bytes that begin with a record. */
function endsRecord(align: Align, piece: JournalPiece | undefined, length: number): boolean {
  if (!piece) return false
  if (align === 'chunk') return piece.isEnd
  const { bytes } = piece
  return createRecordEnds(align, []).isEnd(bytes, align === '\n' ? bytes.length : length)
}
