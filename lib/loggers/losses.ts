/** The records that an outbox gave up: those of its queue, and those that were logged after its end. */

import type { ObservedTail } from '../errors.ts'
import { addRecords, NO_RECORDS, type RecordTotals } from './record-queue.ts'
import { mergeLosses, UndeliveredError } from './undelivered-error.ts'

/** The records of one loss, without late ones. */
export interface GivenUp extends RecordTotals {
  readonly unresolvedRecords: number
  readonly bucket: string | undefined
  readonly key: string
  readonly tail: ObservedTail | undefined
  readonly cause: Error | undefined
}

export class Losses {
  #total: UndeliveredError | undefined
  /** Records logged after the end that no loss has counted yet. */
  #late = NO_RECORDS

  /** All losses so far as one; undefined if there are none. */
  get total(): UndeliveredError | undefined {
    return this.#total
  }

  get hasLate(): boolean {
    return this.#late !== NO_RECORDS
  }

  addLate(text: string, records: number): void {
    this.#late = addRecords(this.#late, text, records)
  }

  /** The loss of these records and of all late ones. */
  add({ records, bytes, ...details }: GivenUp): UndeliveredError {
    const late = this.#late
    this.#late = NO_RECORDS
    const loss = new UndeliveredError({
      ...details,
      records: records + late.records,
      bytes: bytes + late.bytes,
      lateRecords: late.records,
    })
    this.#total = this.#total ? mergeLosses(this.#total, loss) : loss
    return loss
  }
}
