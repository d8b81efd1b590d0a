/**
 * The promises of `append()`: each resolves with the address of its record. Bytes are counted from the first
 * one of the stream. The count before a record is known once the chunks before it are accepted; its position
 * in an object, once it is acknowledged. A record never goes on in another append.
 *
 *      stream     |.......|record|...|record|.....
 *                         ^ start
 *      append          |.........|                 from `from` on, to `position` of `key`
 *      address            |record|                 at `position + start - from`
 */

import type { AppendInfo } from '../append/destination.ts'

/** Where a record is: its bytes are those from `position` on, in the object `key` of the stream's bucket. */
export interface RecordAddress {
  /** Key of the object. */
  readonly key: string
  /** Position of its first byte in the object. */
  readonly position: number
  /** Bytes of the record. */
  readonly length: number
}

interface PendingRecord {
  /** How many chunks were written before it. */
  readonly chunks: number
  /** Bytes. */
  readonly length: number
  /** Count of the stream's bytes before it; 0 until it is located. */
  start: number
  readonly promise: Promise<RecordAddress>
  /** There is no `reject`: a full batch may have 40,000 records, and each function costs memory. */
  readonly resolve: (address: RecordAddress | Promise<never>) => void
}

export class RecordAddresses {
  /** In order. The first `#located` of them know their `start`. */
  readonly #records: PendingRecord[] = []
  #located = 0

  /** A record that `chunks` chunks precede. */
  add(chunks: number, length: number): Promise<RecordAddress> {
    let resolve!: PendingRecord['resolve']
    const promise = new Promise<RecordAddress>(onAddress => {
      resolve = onAddress
    })
    this.#records.push({ chunks, length, start: 0, promise, resolve })
    return promise
  }

  /** Whether the next chunk to be accepted is a record of these. `chunks`: how many are accepted. */
  isNext(chunks: number): boolean {
    return this.#located < this.#records.length && this.#records[this.#located]?.chunks === chunks
  }

  /** The next record starts behind `start` bytes of the stream. */
  locate(start: number): void {
    const record = this.#records[this.#located++]
    if (record) record.start = start
  }

  /** The next record has no address. */
  refuse(error: Error): void {
    rejectAll(this.#records.splice(this.#located, 1), error)
  }

  /** The `length` bytes behind the first `from` bytes of the stream are at `position` of the object `key`. */
  acknowledge(from: number, { key, position, length }: AppendInfo): void {
    let count = 0
    while (count < this.#located) {
      const record = this.#records[count] as PendingRecord
      if (record.start + record.length > from + length) break
      count += 1
    }
    if (count === 0) return
    this.#located -= count
    // In a tick of its own: after the 'append' event that says so.
    process.nextTick(resolveAll, this.#records.splice(0, count), key, position - from)
  }

  reject(error: Error): void {
    this.#located = 0
    rejectAll(this.#records.splice(0), error)
  }
}

/** `offset`: what to add to a count of the stream's bytes, to get a position in the object. */
function resolveAll(records: readonly PendingRecord[], key: string, offset: number): void {
  for (const { start, length, resolve } of records) {
    resolve({ key, position: start + offset, length })
  }
}

/** A caller that ignores the promise gets the stream's 'error', and no unhandled rejection as well. */
function rejectAll(records: readonly PendingRecord[], error: Error): void {
  for (const { promise, resolve } of records) {
    promise.catch(() => {})
    resolve(Promise.reject(error))
  }
}
