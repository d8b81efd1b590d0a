/**
 * The slots of a journal folder: `0/`, `1/`, ... Each stream locks one, so that cluster workers and
 * overlapping restarts never share one. Slots whose owner is dead are locked too, for delivery.
 */

/** A slot that this process has locked. */
export interface Slot {
  /** For `{slot}` in the pattern of a key. */
  readonly index: number
  /** Absolute path. */
  readonly folder: string
  /** Unlocks the folder. */
  release(): Promise<void>
}

export interface ClaimedSlots {
  /** The slot of the stream: the first that was free. */
  readonly own: Slot
  /** Other slots that hold bytes, and whose owner is dead. Open, deliver, close and release each. */
  readonly abandoned: readonly Slot[]
}

/**
 * Locks slots of `dir`, which is made if it does not exist. Rejects with `OSS_ERR_JOURNAL` if the folder is
 * read-only, full or not local.
 */
export type ClaimSlots = (dir: string) => Promise<ClaimedSlots>
