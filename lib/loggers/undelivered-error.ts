/** The error for records that a transport gave up: how many, of which object, and why. */

import { formatCount, type ObservedTail, OssError } from '../errors.ts'
import type { RecordTotals } from './record-queue.ts'

/** What is known about records that were given up. */
interface LossDetails extends RecordTotals {
  readonly unresolvedRecords: number
  readonly lateRecords: number
  readonly bucket?: string | undefined
  readonly key?: string | undefined
  readonly tail?: ObservedTail | undefined
  readonly cause?: unknown
}

/**
 * Records that were given up. `code` is `OSS_ERR_ABORTED`, `tail` the acknowledged end of the object. `cause`
 * is the last error since an append was acknowledged; it is undefined if there was none, as when a process
 * exits while an append is in flight.
 */
export class UndeliveredError extends OssError {
  /**
   * Records that were not acknowledged. If the line that reports dropped records is given up, those records
   * are counted too.
   */
  readonly records: number
  /** Bytes of these records. */
  readonly bytes: number
  /** How many of these records may be in the object: their append was sent, and its outcome is unknown. */
  readonly unresolvedRecords: number
  /** How many of these records were logged after the end. */
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

/** The message, which is also the report on standard error. */
function formatLoss({
  records,
  bytes,
  unresolvedRecords,
  lateRecords,
  ...details
}: LossDetails): string {
  const part = (count: number) => (records === 1 ? 'it' : `${count} of them`)
  return [
    `${formatCount(records, 'record')} (${formatCount(bytes, 'byte')}) ${wasOrWere(records)} ` +
      `not acknowledged by oss://${details.bucket}/${details.key}, ` +
      `which ends at ${details.tail ? `position ${details.tail.position}` : 'an unknown position'}`,
    ...(unresolvedRecords > 0 ? [`${part(unresolvedRecords)} may be there`] : []),
    ...(lateRecords > 0
      ? [`${part(lateRecords)} ${wasOrWere(lateRecords)} logged after the end`]
      : []),
    ...(details.cause instanceof Error ? [`the last error was ${codeOf(details.cause)}`] : []),
  ].join('; ')
}

function wasOrWere(count: number): string {
  return count === 1 ? 'was' : 'were'
}

/** One loss from two. The object and the cause are those of the later one. */
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

/** The code of an error of this package, the name of any other. */
export function codeOf(error: Error): string {
  return error instanceof OssError ? error.code : error.name
}
