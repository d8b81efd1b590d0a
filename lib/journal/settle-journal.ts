/**
 * What became of the bytes of a journal, judged by the tail that OSS shows: the rule of `settle()` in
 * append/tail.ts, over bytes on disk.
 */

import type { Tail, Verdict } from '../append/tail.ts'
import type { ObservedTail } from '../errors.ts'
import type { Journal } from './journal.ts'

export type JournalVerdict =
  | Verdict
  /** The object is longer than the journal's bytes, by `bytes`. Its CRC cannot prove them; a ranged read can. */
  | { readonly name: 'beyond'; readonly bytes: number }

/**
 * Settles the journal's bytes from `offset` on, of which `before` is the tail. Each record end is a possible
 * length: a dead process may have sent any. Reads as many bytes as the object is longer than `before`.
 */
export type SettleJournal = (
  journal: Journal,
  offset: number,
  before: Tail,
  seen: ObservedTail | null,
) => Promise<JournalVerdict>
