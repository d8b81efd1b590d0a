/** Where the batches of a stream go: one object, or one after another. */

import type { Batch, Tail } from './tail.ts'

export interface Destination {
  /** Key of the object in use. */
  readonly key: string | undefined
  /** Its acknowledged tail; undefined until it is open. */
  readonly tail: Tail | undefined
  /** Whether the object is known to exist. */
  readonly exists: boolean
  /** Bytes are unacknowledged from now on, so waiting has to hold the process. */
  keepProcessAlive(): void
  /** The stream ends, so waits become short. */
  hurry(): void
  /** Ends what is in flight, at once: it rejects with `reason`, and so does every later call. */
  abort(reason: Error): void
  throwIfAborted(): void
  /** Finds the tail to append at. */
  open(): Promise<Tail>
  /** Appends the first bytes of a batch, or all of it; the result tells how many. */
  append(batch: Batch): Promise<AppendInfo>
  /** The predicted tail at which a batch may be sent ahead; undefined: none may be sent now. */
  readonly ahead: Tail | undefined
  /**
   * Sends a batch ahead of the responses to those before it. False: it has to wait for them. In any case it is
   * appended in its turn by `append()`.
   */
  sendAhead(batch: Batch): boolean
  /** After the last batch: makes an empty object where there is none. Resolves with the append that this took. */
  create(): Promise<AppendInfo | undefined>
  /** After `create()`: the object is whole, and is sealed if that was asked for. */
  complete(): Promise<void>
}

/** What `'append'` carries: one append acknowledged. */
export interface AppendInfo {
  /** Key of the object. */
  readonly key: string
  /** Position of its first byte. */
  readonly position: number
  /** Where the next append starts: behind its last byte, and behind those that other writers appended since. */
  readonly nextPosition: number
  /** Bytes that landed: all that was sent, or a shorter attempt whose response was lost. */
  readonly length: number
  /** CRC-64 of the object up to `nextPosition`, an unsigned decimal string. */
  readonly crc64: string
  /** `x-oss-request-id` of the response that proved it, for Alibaba's support. */
  readonly requestId: string
  /** From 1. */
  readonly attempts: number
  /** How many of them OSS refused because another writer's append came first. 0 without `shared`. */
  readonly lostRaces: number
  /** Milliseconds from the start of the append to its acknowledgement, with all attempts and waits. */
  readonly duration: number
  /** The response of the attempt that landed was lost, and the tail proved it. */
  readonly reconciled: boolean
}
