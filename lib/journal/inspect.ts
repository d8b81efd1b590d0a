/** What a journal folder holds, for `oss-append journal DIR`. Locks nothing and changes nothing. */

import type { Recovered } from './recovery.ts'

export interface SlotReport {
  readonly index: number
  readonly folder: string
  /** The living process that has locked it. */
  readonly owner: { readonly host: string; readonly pid: number } | undefined
  /** Bytes of its segments on disk. */
  readonly bytesOnDisk: number
  /** As a start would find it; an owner at work goes on meanwhile. */
  readonly recovered: Recovered
  /** Files that an earlier start has kept: absolute paths, and bytes. */
  readonly kept: readonly { readonly file: string; readonly bytes: number }[]
}

export type InspectJournal = (dir: string) => Promise<SlotReport[]>
