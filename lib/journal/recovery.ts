/**
 * What the files of a dead process hold: the bytes that are still to be delivered, and where they were going.
 */

import type { Align } from '../options.ts'
import type { Anchor } from './segment.ts'

/** Bytes of a file that are not delivered. The file is kept, as `<name>.damaged`, and is never read again. */
export interface Damage {
  /** Absolute path of the file, as it is named once it is kept. */
  readonly file: string
  /** Where the bytes begin in the file. */
  readonly offset: number
  /** Their number, frames and all. */
  readonly bytes: number
  /**
   * `'broken'`: a frame is torn or damaged there. `'gap'`: the file follows bytes that are missing or broken.
   * `'unfinished'`: the last record has no end.
   */
  readonly reason: 'broken' | 'gap' | 'unfinished'
}

/** What a journal held when it was opened. */
export interface Recovered {
  /** Where the bytes go. Undefined: nothing was ever sent, so the bytes go where the options say. */
  readonly anchor: Anchor | undefined
  /** Stream offset of the first byte that is not known to be acknowledged: that of the anchor, if there is one. */
  readonly from: number
  /** Stream offset behind the last byte to deliver. The first new byte has this offset. */
  readonly end: number
  /** Where the records of these bytes end: the option of the process that wrote them. */
  readonly align: Align
  readonly damaged: readonly Damage[]
}
