/**
 * Parts of a stream that RollingAppendStream and tests replace. They belong to an options object without
 * being its members, so neither constructors nor declarations show them. The package does not export this.
 */

import type { AppenderOptions } from '../append/appender.ts'
import type { Destination } from '../append/destination.ts'
import type { StreamContext } from '../append/stream-context.ts'
import type { Clock } from '../clock.ts'
import type { OssError } from '../errors.ts'
import type { Machine } from '../journal/slots.ts'
import type { Settings } from '../options.ts'
import type { JournalSizes, JournalSource } from './journal-source.ts'

export interface StreamInternals {
  /** Used in place of what the options resolve to. */
  readonly settings?: Settings
  /** Monotonic time and chance. */
  readonly clock?: Clock
  /** The wall clock by which a rolling stream computes keys. */
  readonly now?: () => Date
  /** Bytes of the least size of attempts. Tests make it small, so that short attempts are cheap. */
  readonly attemptFloor?: number | undefined
  /** The machine that the journal is on. */
  readonly machine?: Machine | undefined
  /** Sizes of the journal that options cannot make so small. */
  readonly journalSizes?: JournalSizes | undefined
  /** Of a rolling stream: the pattern of its keys, empty if a function makes them. */
  readonly keyPattern?: string | undefined
  /** Gets the source of a stream with `journal`, when that is made. */
  readonly onJournal?: (journal: JournalSource) => void
  /**
   * Called for a slot that can never be delivered as it is: the folder is renamed, and its files are kept. Without
   * it the stream fails, now and at each start.
   */
  readonly onSetAside?: (error: OssError) => void
  /**
   * Gets a function that makes waits between attempts short, as `end()` does. Where full buffers delay the end,
   * it can be called before.
   */
  readonly onHurry?: (hurry: () => void) => void
  readonly createDestination?: (options: AppenderOptions, context: StreamContext) => Destination
}

const internals = new WeakMap<object, StreamInternals>()

/** Gives an options object internals; the stream that is constructed with that object uses them. */
export function withInternals<Options extends object>(
  options: Options,
  replaced: StreamInternals,
): Options {
  internals.set(options, replaced)
  return options
}

export function internalsOf(options: unknown): StreamInternals {
  return internals.get(options as object) ?? {}
}
