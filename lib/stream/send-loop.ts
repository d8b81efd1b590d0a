/**
 * The loop of a stream: takes batches from its source as they become due, and appends them to its destination,
 * one after another. With `pipelining` it also sends batches ahead of their turn.
 *
 *      source --take()--> [ following: sent ahead ] --> append(), in order --> destination
 */

import { AsyncResource } from 'node:async_hooks'
import type { AppendInfo, Destination } from '../append/destination.ts'
import type { Batch, Tail } from '../append/tail.ts'
import { recordTooLarge } from '../errors.ts'
import type { BatchSource } from './batch-source.ts'

export interface SendLoopOptions {
  readonly source: BatchSource
  readonly destination: Destination
  /** Bytes that a record may have. */
  readonly maxRecordBytes: number
  /** The destination is open. */
  readonly onOpen: (tail: Tail) => void
  /** The first bytes of a batch, or all of it, are in the object. */
  readonly onAppend: (info: AppendInfo) => void
}

export class SendLoop {
  readonly #options: SendLoopOptions
  /** Batches that were taken to be sent ahead, in order. The loop appends them in their turn. */
  readonly #following: Batch[] = []
  #willSendAhead = false
  /** Runs in the async context of the stream, as the loop: functions of the caller are called there. */
  readonly #sendAheadInContext = AsyncResource.bind(() => {
    this.#willSendAhead = false
    this.sendAhead()
  })
  /** There may be work since the loop has last looked. */
  #isNotified = false
  /** Ends the loop's wait for work. */
  #resume: (() => void) | undefined
  #isEnded = false

  constructor(options: SendLoopOptions) {
    this.#options = options
  }

  /** Opens the object, appends batches until the end, completes the object. Rejects with why it failed. */
  async run(): Promise<void> {
    const { source, destination, onOpen } = this.#options
    onOpen(await source.open(destination))
    for (;;) {
      destination.throwIfAborted()
      this.#isNotified = false
      const batch = this.#following.shift() ?? (await source.take())
      if (batch) await this.#send(batch)
      else if (source.isTooLong) this.#failOnLongRecord()
      // Bytes may have become due, or the stream ended, since `take()` looked.
      else if (this.#isNotified) continue
      else if (this.#isEnded) break
      else await new Promise<void>(resolve => (this.#resume = resolve))
    }
    await this.#complete()
  }

  /** A batch may be due, the stream has ended, or it is destroyed. */
  notify(): void {
    this.#isNotified = true
    this.#resume?.()
    this.#resume = undefined
    this.#sendAheadSoon()
  }

  /** No bytes follow those that the source has. Takes effect at the next `notify()`. */
  end(): void {
    this.#isEnded = true
  }

  /** With `pipelining`: takes batches that are due, and sends them without waiting for the ones before them. */
  sendAhead(): void {
    const { source, destination } = this.#options
    for (let next = 0; destination.ahead; next++) {
      // A journal, which reads batches from a disk, excludes `pipelining`.
      const batch = this.#following[next] ?? (source.take() as Batch | undefined)
      if (!batch) return
      this.#following[next] = batch
      if (!destination.sendAhead(batch)) return
      source.onSending()
    }
  }

  /** In a microtask, as the loop: the source may be in the middle of a copy, and `take()` copies too. */
  #sendAheadSoon(): void {
    if (this.#willSendAhead || !this.#options.destination.ahead) return
    this.#willSendAhead = true
    queueMicrotask(this.#sendAheadInContext)
  }

  async #send(batch: Batch): Promise<void> {
    const { source, destination, onAppend } = this.#options
    let rest = batch
    let appending = destination.append(rest)
    source.onSending()
    for (;;) {
      const info = await appending
      onAppend(info)
      // On a slow network an append carries less than a batch.
      if (info.length === rest.length) break
      rest = rest.rest(info.length)
      appending = destination.append(rest)
    }
    source.release()
    this.sendAhead()
  }

  /** Called once the records before the one that is too long are acknowledged. */
  #failOnLongRecord(): void {
    const { destination, maxRecordBytes } = this.#options
    destination.abort(recordTooLarge(maxRecordBytes))
    destination.throwIfAborted()
  }

  /** After the last batch: creates the object if there is none, and seals it if asked. */
  async #complete(): Promise<void> {
    const { source, destination, onAppend } = this.#options
    const info = await destination.create()
    if (info) onAppend(info)
    await source.complete()
    await destination.complete()
  }
}
