/** The error for records that a transport gave up: how many, of which object, and why. */

import { type ObservedTail, OssError } from '../errors.ts'
import type { RecordTotals } from './record-queue.ts'

/** What is known of records that were given up. */
interface LossDetails extends RecordTotals {
  readonly unresolvedRecords: number
  readonly lateRecords: number
  readonly bucket?: string | undefined
  readonly key?: string | undefined
  readonly tail?: ObservedTail | undefined
  readonly cause?: unknown
}

/**
 * Records that were given up. Its `code` is `OSS_ERR_ABORTED`, its `tail` the acknowledged end of the object,
 * and its `cause` what went wrong last, if anything did: a process that exits gives up what is on its way.
 */
export class UndeliveredError extends OssError {
  /** How many were not acknowledged. Those that a line stands for, which is given up too, are among them. */
  readonly records: number
  /** How many bytes those have. */
  readonly bytes: number
  /** How many of them may be in the object all the same: nobody could tell. */
  readonly unresolvedRecords: number
  /** How many of them were logged after the end. */
  readonly lateRecords: number

  /** Made by transports. */
  constructor(details: LossDetails) {
    super('OSS_ERR_ABORTED', formatLoss(details), details)
    this.records = details.records
    this.bytes = details.bytes
    this.unresolvedRecords = details.unresolvedRecords
    this.lateRecords = details.lateRecords
  }
}
Object.defineProperty(UndeliveredError.prototype, 'name', { value: 'UndeliveredError' })

/** As on standard error. */
function formatLoss({
  records,
  bytes,
  unresolvedRecords,
  lateRecords,
  ...details
}: LossDetails): string {
  return [
    `${records} records (${bytes} bytes) were not acknowledged by oss://${details.bucket}/${details.key}, ` +
      `which ends at ${details.tail ? `position ${details.tail.position}` : 'an unknown position'}`,
    ...(unresolvedRecords > 0 ? [`${unresolvedRecords} of them may be there`] : []),
    ...(lateRecords > 0 ? [`${lateRecords} of them were logged after the end`] : []),
    ...(details.cause instanceof Error ? [`the last error was ${codeOf(details.cause)}`] : []),
  ].join('; ')
}

/** Both losses as one, with the object and the cause of the later. */
export function mergeLosses(earlier: UndeliveredError, later: UndeliveredError): UndeliveredError {
  const { bucket, key, tail, cause } = later
  return new UndeliveredError({
    records: earlier.records + later.records,
    bytes: earlier.bytes + later.bytes,
    unresolvedRecords: earlier.unresolvedRecords + later.unresolvedRecords,
    lateRecords: earlier.lateRecords + later.lateRecords,
    ...{ bucket, key, tail, cause },
  })
}

/** What tells an error from others. */
export function codeOf(error: Error): string {
  return error instanceof OssError ? error.code : error.name
}
