/** The options that both loggers' transports have: those of a rolling stream, and two of their own. */

import { invalidOption } from '../errors.ts'
import type { RollingAppendStreamOptions } from '../rolling/rolling-stream.ts'
import { checkInteger, checkRecord, MAX_DELAY } from '../validate.ts'

/** Options of a stream that are decided here. */
const FIXED_OPTIONS = ['align', 'maxRecordBytes', 'signal'] as const

/** The options that both transports have. Bytes and milliseconds. */
export interface TransportOptions
  extends Omit<RollingAppendStreamOptions, (typeof FIXED_OPTIONS)[number] | 'retry'> {
  /**
   * When to try again, as for a stream; but `maxElapsed` is Infinity by default: nobody is there to start
   * a log again.
   */
  readonly retry?: RollingAppendStreamOptions['retry']
  /**
   * Bytes that may wait for their acknowledgement: what comes then is dropped. 1 byte to 256 MiB, default
   * 64 MiB.
   */
  readonly maxBuffered?: number | undefined
  /**
   * Milliseconds that an end waits for what is owed, before it is given up; 0: not at all. Default 8,000:
   * pino kills its worker after 10 s, without a word.
   */
  readonly closeTimeout?: number | undefined
}

const MIB = 1_048_576
export const TRANSPORT_DEFAULTS = { maxBuffered: 64 * MIB, closeTimeout: 8000 } as const

/** The options as checked and completed. */
export interface TransportSettings {
  readonly maxBuffered: number
  readonly closeTimeout: number
  /** What is not checked here, the stream's own resolver checks. */
  readonly streamOptions: RollingAppendStreamOptions
}

/** @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option. */
export function resolveTransportOptions(given: TransportOptions): TransportSettings {
  const {
    maxBuffered = TRANSPORT_DEFAULTS.maxBuffered,
    closeTimeout = TRANSPORT_DEFAULTS.closeTimeout,
    retry = {},
    ...rest
  } = given
  checkInteger('maxBuffered', maxBuffered, 1, 256 * MIB)
  checkInteger('closeTimeout', closeTimeout, 0, MAX_DELAY)
  for (const name of FIXED_OPTIONS) if (name in rest) throw invalidOption(name, 'is not for a log')
  checkRecord('retry', retry)
  const { maxElapsed = Number.POSITIVE_INFINITY } = retry
  // Chunks are whole records; and none is too long that the queue has taken.
  const fixed = { align: 'chunk', maxRecordBytes: 1024 * MIB } as const
  const streamOptions = { ...rest, ...fixed, retry: { ...retry, maxElapsed } }
  return { maxBuffered, closeTimeout, streamOptions }
}
