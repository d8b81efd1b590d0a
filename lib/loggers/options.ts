/** The options that both transports share: those of a rolling stream, and two of their own. */

import { invalidOption } from '../errors.ts'
import { MIB } from '../options.ts'
import type { RollingAppendStreamOptions } from '../rolling/rolling-stream.ts'
import { checkInteger, checkObject, checkRecord, MAX_DELAY } from '../validate.ts'

/** Stream options that a transport sets itself. */
const FIXED_OPTIONS = ['align', 'maxRecordBytes', 'signal'] as const

/** Options of both transports. Bytes and milliseconds. */
export interface TransportOptions
  extends Omit<RollingAppendStreamOptions, (typeof FIXED_OPTIONS)[number] | 'retry' | 'shared'> {
  /**
   * When to retry, as for a stream. But `maxElapsed` is Infinity by default, because a log must outlast any
   * outage.
   */
  readonly retry?: RollingAppendStreamOptions['retry']
  /**
   * As for a stream: processes that write to the same key share its objects. False: an append of another
   * writer ends the stream, and a new one goes on. Default true; false with `seal`, `sealOnRoll` or `journal`.
   */
  readonly shared?: boolean | undefined
  /**
   * Bytes that may wait in memory for their acknowledgement, or with `journal` until they are on disk. Records
   * that do not fit are dropped. 1 byte to 256 MiB, default 64 MiB.
   */
  readonly maxBuffered?: number | undefined
  /**
   * Milliseconds that an end waits for acknowledgements. Then it gives up the remaining records, or leaves them in
   * the `journal`. 0 does not wait. Default 8,000, because pino stops its worker after 10 s and reports nothing.
   */
  readonly closeTimeout?: number | undefined
}

export const TRANSPORT_DEFAULTS = {
  maxBuffered: 64 * MIB,
  closeTimeout: 8000,
  shared: true,
} as const

/** The options, checked and completed. */
export interface TransportSettings {
  readonly maxBuffered: number
  readonly closeTimeout: number
  /** Checked by the stream, apart from `retry` and the options that a transport sets itself. */
  readonly streamOptions: RollingAppendStreamOptions
}

/** @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option. */
export function resolveTransportOptions(given: TransportOptions): TransportSettings {
  const {
    maxBuffered = TRANSPORT_DEFAULTS.maxBuffered,
    closeTimeout = TRANSPORT_DEFAULTS.closeTimeout,
    retry = {},
    ...rest
  } = checkObject('options', given)
  checkInteger('maxBuffered', maxBuffered, 1, 256 * MIB)
  checkInteger('closeTimeout', closeTimeout, 0, MAX_DELAY)
  for (const name of FIXED_OPTIONS)
    if (rest[name as keyof typeof rest] !== undefined)
      throw invalidOption(name, 'is not an option of a logger; remove it')
  checkRecord('retry', retry)
  const { maxElapsed = Number.POSITIVE_INFINITY } = retry
  // A chunk holds whole records. The limit is above `maxBuffered`, so each record that the queue takes fits.
  const fixed = { align: 'chunk', maxRecordBytes: 1024 * MIB } as const
  // Loggers of several processes often meet on one key, if only during a restart.
  const isAlone = rest.seal || rest.sealOnRoll || rest.journal !== undefined
  const { shared = !isAlone && TRANSPORT_DEFAULTS.shared } = rest
  checkSlot(rest)
  const streamOptions = { ...rest, ...fixed, shared, retry: { ...retry, maxElapsed } }
  return { maxBuffered, closeTimeout, streamOptions }
}

/** Processes that log at the same time have a slot each, and so an object each. */
function checkSlot({ journal, key }: TransportOptions): void {
  if (journal === undefined || typeof key !== 'string' || key.includes('{slot}')) return
  throw invalidOption(
    'key',
    'needs {slot} with journal: each process writes to an object of its own',
  )
}
