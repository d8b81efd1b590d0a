/**
 * What a logger writes into: a bounded queue of records in front of an append stream, which takes
 * records at once whatever the network does. It needs to be told how to open a stream, and what line
 * stands for records that found no room. It is no stream itself, and knows no logger.
 *
 *              a turn of the loop, or 64 KiB     while it takes them            'append'
 *     add() --> [ slab that grows ] --> [ slabs that wait | slabs handed to the stream ] --> gone
 *
 * A slab is whole records, and stays here until it is acknowledged: a stream that fails for good is
 * followed by a new one, which gets the same slabs again. Only what the failed one may have delivered
 * is not sent twice, but reported. All that is here counts against `maxBuffered`.
 *
 * No loss is silent: dropped records are told by a line in the object, and records that were given up,
 * or came after the end, on standard error.
 */

import type { RetryInfo } from '../append/retry-loop.ts'
import { type ObservedTail, OssError } from '../errors.ts'
import {
  createRollingAppendStream,
  type RollInfo,
  type RollingAppendStream,
} from '../rolling/rolling-stream.ts'
import { Waiters } from '../stream/waiters.ts'
import { resolveTransportOptions, type TransportOptions } from './options.ts'
import { RecordQueue, type RecordTotals } from './record-queue.ts'
import { writeStderr } from './stderr.ts'
import { codeOf, mergeLosses, UndeliveredError } from './undelivered-error.ts'

export { type RollInfo, type TransportOptions, UndeliveredError }

/**
 * What `'drop'` carries: how much was dropped while the queue was full. The line in the object says the
 * same; if it is given up, these records are counted in the loss as well.
 */
export type DropInfo = RecordTotals

export interface OutboxEvents {
  /** Room has returned, or the outbox closes: so much was dropped before that. */
  drop: [info: DropInfo]
  /** Records were given up, or something is wrong that waiting alone may not mend; we go on trying. */
  warn: [error: Error]
  /** An attempt failed, and will be made again after the delay. */
  retry: [info: RetryInfo]
  /** An object was left, complete, for the next one. */
  roll: [info: RollInfo]
}

/** What the two loggers do each in their own way. */
export interface LoggerAdapter {
  /** The record that stands for so many which were dropped. */
  readonly formatDroppedRecord: (records: number) => string
  /** Tells the user, from a tick of its own. False: nobody listens. */
  readonly emit: <E extends keyof OutboxEvents>(event: E, ...args: OutboxEvents[E]) => boolean
}

/**
 * Characters of a slab that grows no more. Much less, and the stream's cost per chunk shows; more gains
 * nothing, and batches, which take slabs whole, are less full: of a small batch it is a 64th.
 */
const MAX_CHUNK_LENGTH = 65_536
/** Milliseconds before a failed stream is followed by another: doubled with each that brings nothing. */
const MIN_REOPEN_DELAY = 1000
const MAX_REOPEN_DELAY = 30_000

/** Those that owe records, for the last words of a process that does not wait for them. */
const outboxesToReport = new Set<Outbox>()
const NO_RECORDS: RecordTotals = { records: 0, bytes: 0 }
/** Listeners of `'exit'` that come after ours may log, and nothing will be sent any more. */
let isExiting = false
process.on('exit', () => {
  isExiting = true
  for (const outbox of outboxesToReport) outbox.reportOnExit()
})

export class Outbox {
  readonly #adapter: LoggerAdapter
  /** Makes a stream; called again when one has failed. */
  readonly #createStream: () => RollingAppendStream
  /** As the options have them; the key may be a pattern. */
  readonly #target: { readonly bucket: string | undefined; readonly key: string }
  /** Bytes that there is room for. */
  readonly maxBuffered: number
  /** Characters that are worth being added at once. */
  readonly chunkLength: number
  readonly #closeTimeout: number
  readonly #queue = new RecordQueue()
  #stream: RollingAppendStream
  #state: 'open' | 'ending' | 'cut' | 'closed' = 'open'
  /** The queue was full: what was dropped since. */
  #dropped: RecordTotals | undefined
  /** What came after the end, and is not told yet. */
  #lateTotals = NO_RECORDS
  readonly #waiters = new Waiters<void>()
  /** How many slabs from the first one on somebody waits for, and the stream was told not to wait for. */
  #flushWanted = 0
  #flushRequested = 0
  #reopenTimer: NodeJS.Timeout | undefined
  #failures = 0
  /** Of the object that was last in use: its key, and how it ended. */
  #lastObject: { readonly key: string; readonly tail: ObservedTail } | undefined
  /** What went wrong since something was acknowledged: the last of it, and the code of the last warning. */
  #lastError: Error | undefined
  #lastWarningCode: string | undefined
  #loss: UndeliveredError | undefined
  readonly #closed: Promise<UndeliveredError | undefined>
  #resolveClosed: (loss: UndeliveredError | undefined) => void = () => {}

  /** @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option. */
  constructor(options: TransportOptions, adapter: LoggerAdapter) {
    const { maxBuffered, closeTimeout, streamOptions } = resolveTransportOptions(options)
    const { bucket, key } = streamOptions
    this.#adapter = adapter
    this.#target = {
      bucket,
      key: typeof key === 'string' ? key : 'an object that is not known yet',
    }
    this.maxBuffered = maxBuffered
    this.#closeTimeout = closeTimeout
    this.#createStream = () => createRollingAppendStream(streamOptions)
    this.#closed = new Promise(resolve => (this.#resolveClosed = resolve))
    this.#stream = this.#open()
    this.chunkLength = Math.min(MAX_CHUNK_LENGTH, this.#stream.writableHighWaterMark / 64)
  }

  /** Bytes that are not acknowledged yet. */
  get buffered(): number {
    return this.#queue.bytes
  }

  /** The records that were given up so far, if any were. */
  get loss(): UndeliveredError | undefined {
    return this.#loss
  }

  /**
   * Takes a whole record, or so many in one text, or drops all of it if there is no room. Costs no system
   * call, and never throws.
   */
  add(text: string, records = 1): void {
    // No append would ever acknowledge it.
    if (text === '') return
    if (this.#state !== 'open') this.#addLate(text, records)
    else if (!this.hasRoom(text)) this.#drop(text, records)
    else this.#onAdded(this.#queue.add(text, records), text)
    if (isExiting) this.reportOnExit()
  }

  /** Whether `add()` would drop nothing of it. */
  hasRoom(text: string): boolean {
    return !this.#dropped && this.#queue.fits(text, this.maxBuffered)
  }

  /**
   * Settles when all that was taken before is acknowledged, however long that may be. Rejects with the
   * loss if some of it was given up.
   */
  async flush(): Promise<void> {
    if (this.#state !== 'open') {
      const loss = await this.#closed
      if (loss) throw loss
    } else if (this.#queue.length > 0) {
      const flushed = new Promise<void>((resolve, reject) => {
        this.#waiters.add({ accepted: this.#queue.removed + this.#queue.length, resolve, reject })
      })
      this.#flushQueue()
      await flushed
    }
  }

  /** Delivers what is owed within `closeTimeout`. Resolves, in any case, with what could not be. */
  close(): Promise<UndeliveredError | undefined> {
    if (this.#state === 'open') {
      this.#state = 'ending'
      this.#reportDropped()
      const timer = setTimeout(() => this.abort(), this.#closeTimeout)
      void this.#closed.then(() => clearTimeout(timer))
      if (!this.#reopenTimer) this.#pump()
      else if (this.#queue.length === 0) this.abort()
      else this.#reopen()
    }
    return this.#closed
  }

  /** Gives up at once what is not acknowledged. */
  abort(): Promise<UndeliveredError | undefined> {
    if (this.#state === 'open' || this.#state === 'ending') {
      this.#state = 'cut'
      this.#reportDropped()
      clearTimeout(this.#reopenTimer)
      if (this.#stream.closed) {
        this.#finish(null)
      } else {
        // Ended, so that its error says what it leaves in doubt.
        this.#stream.end()
        this.#stream.destroy()
      }
    }
    return this.#closed
  }

  /** The process exits without waiting. All that can still be done is to say so. */
  reportOnExit(): void {
    this.#reportDropped()
    this.#queue.closeChunk()
    // What the stream has may be on its way, unless it has not even found the object.
    this.#giveUp(this.#stream.pending ? 0 : this.#queue.inFlight)
  }

  /** The slab that grows has so many characters, with this text at its end. */
  #onAdded(length: number, text: string): void {
    const isFirst = length === text.length
    if (isFirst) {
      outboxesToReport.add(this)
      this.#reopenTimer?.ref()
    }
    if (length >= this.chunkLength) {
      this.#queue.closeChunk()
      this.#pump()
    } else if (isFirst) setImmediate(this.#onImmediate)
  }

  readonly #onImmediate = (): void => this.#pump()

  #drop(text: string, records: number): void {
    if (!this.#dropped) {
      outboxesToReport.add(this)
      this.#flushQueue()
    }
    this.#dropped = addRecords(this.#dropped ?? NO_RECORDS, text, records)
    const isTooLarge = Buffer.byteLength(text) > this.maxBuffered
    // There is no acknowledgement to come that would make room for it.
    const canNeverFit = isTooLarge && this.#queue.bytes < this.maxBuffered
    if (canNeverFit || this.#queue.length === 0) this.#reportDropped()
  }

  /** Records that were dropped leave a line in their place. */
  #reportDropped(): void {
    const dropped = this.#dropped
    if (!dropped) return
    this.#dropped = undefined
    this.#emitLater('drop', dropped)
    const record = this.#adapter.formatDroppedRecord(dropped.records)
    this.#onAdded(this.#queue.addPlaceholder(record, dropped), record)
  }

  /** The end does not wait for what comes after it: an application that goes on logging has no other. */
  #addLate(text: string, records: number): void {
    // Else it is told when all has been closed.
    if (this.#state === 'closed' && this.#lateTotals === NO_RECORDS)
      this.#emitOrReport(this.#createLateError())
    this.#lateTotals = addRecords(this.#lateTotals, text, records)
    outboxesToReport.add(this)
  }

  /** All that is here is to go without waiting for more. */
  #flushQueue(): void {
    this.#flushWanted = this.#queue.removed + this.#queue.length
    this.#queue.closeChunk()
    this.#pump()
  }

  /** Hands over what there is, as long as the stream takes it. */
  #pump(): void {
    const stream = this.#stream
    const queue = this.#queue
    if (stream.destroyed || stream.writableEnded) return
    while (!stream.writableNeedDrain) {
      const bytes = queue.next()
      if (bytes === undefined) break
      stream.write(bytes)
    }
    if (queue.inFlight < queue.length) return
    // A stream that got nothing is not ended: it would create an object.
    if (this.#state === 'ending') queue.hasStarted ? stream.end() : stream.destroy()
    else if (this.#flushWanted > this.#flushRequested) {
      this.#flushRequested = this.#flushWanted
      this.#flushStream()
    }
  }

  #flushStream(): void {
    this.#stream.flush().catch(() => {})
  }

  #open(): RollingAppendStream {
    const stream = this.#createStream()
    this.#flushRequested = 0
    stream.on('append', () => this.#onAcknowledged(stream))
    stream.on('drain', () => this.#pump())
    stream.on('retry', info => {
      this.#lastError = info.error
      this.#emitLater('retry', info)
    })
    stream.on('roll', info => this.#emitLater('roll', info))
    // All is known at 'close', and told then.
    stream.on('error', () => {})
    stream.on('close', () => this.#onClose(stream))
    return stream
  }

  #reopen(): void {
    clearTimeout(this.#reopenTimer)
    this.#reopenTimer = undefined
    try {
      this.#stream = this.#open()
      this.#pump()
    } catch (error) {
      this.#onStreamFailed(error as Error)
    }
  }

  #onAcknowledged(stream: RollingAppendStream): void {
    this.#rememberObject(stream)
    if (!this.#queue.acknowledge(stream.bytesWritten)) return
    this.#failures = 0
    this.#lastError = undefined
    this.#lastWarningCode = undefined
    this.#onRoom()
  }

  /** One that follows knows no object at first. */
  #rememberObject({ key, position, crc64 }: RollingAppendStream): void {
    if (key === undefined || position === undefined) return
    this.#lastObject = { key, tail: { position, crc64 } }
  }

  #onRoom(): void {
    this.#reportDropped()
    if (this.#queue.length === 0 && this.#lateTotals === NO_RECORDS) outboxesToReport.delete(this)
    this.#waiters.resolve(this.#queue.removed, undefined)
  }

  #onClose(stream: RollingAppendStream): void {
    this.#onAcknowledged(stream)
    if (this.#state === 'cut') this.#finish(stream.errored)
    else this.#onStreamFailed(stream.errored)
  }

  /** The stream is gone. What it leaves in doubt is lost to us; with the rest a new one goes on. */
  #onStreamFailed(error: Error | null): void {
    const unresolved = this.#countUnresolved(error)
    if (error) {
      if (codeOf(error) !== this.#lastWarningCode) this.#emitOrReport(error)
      this.#lastWarningCode = codeOf(error)
      this.#lastError = error
    }
    if (unresolved > 0) {
      const loss = this.#reportLoss(unresolved, unresolved)
      // They are the oldest: whoever waits, waits for them too.
      this.#waiters.reject(loss)
      this.#onRoom()
    }
    this.#queue.rewind()
    if (this.#state === 'ending' && this.#queue.length === 0) {
      this.#finish(null)
    } else {
      // At the end there is not the time to wait longer.
      const failures = this.#state === 'ending' ? 0 : this.#failures++
      const delay = Math.min(MAX_REOPEN_DELAY, MIN_REOPEN_DELAY * 2 ** failures)
      this.#reopenTimer = setTimeout(() => this.#reopen(), delay)
      if (this.#queue.length === 0) this.#reopenTimer.unref()
    }
  }

  /** How many slabs from the front may or may not be in the object. */
  #countUnresolved(error: Error | null): number {
    const length = error instanceof OssError ? error.unresolved?.length : undefined
    return this.#queue.countChunks(length ?? 0)
  }

  #finish(error: Error | null): void {
    this.#state = 'closed'
    this.#queue.closeChunk()
    const loss = this.#giveUp(this.#countUnresolved(error))
    outboxesToReport.delete(this)
    if (loss) this.#waiters.reject(loss)
    else this.#waiters.resolve(Number.POSITIVE_INFINITY, undefined)
    this.#resolveClosed(loss)
  }

  /** Gives up all that is here, and all that came after the end. */
  #giveUp(unresolved: number): UndeliveredError | undefined {
    const { length } = this.#queue
    return length > 0 || this.#lateTotals !== NO_RECORDS
      ? this.#reportLoss(length, unresolved)
      : undefined
  }

  /** So many slabs from the front are lost, and of those so many may be in the object. */
  #reportLoss(count: number, unresolved: number): UndeliveredError {
    const { records, bytes } = this.#queue.totals(count)
    const lateTotals = this.#lateTotals
    this.#rememberObject(this.#stream)
    const loss = new UndeliveredError({
      records: records + lateTotals.records,
      bytes: bytes + lateTotals.bytes,
      unresolvedRecords: this.#queue.totals(unresolved).records,
      lateRecords: lateTotals.records,
      ...this.#objectName,
      tail: this.#lastObject?.tail,
      cause: this.#lastError,
    })
    this.#queue.remove(count)
    this.#lateTotals = NO_RECORDS
    this.#loss = this.#loss ? mergeLosses(this.#loss, loss) : loss
    this.#emitLater('warn', loss)
    writeStderr(loss.message)
    return loss
  }

  get #objectName(): { readonly bucket: string | undefined; readonly key: string } {
    const { bucket, key } = this.#target
    return { bucket, key: this.#stream.key ?? this.#lastObject?.key ?? key }
  }

  #createLateError(): OssError {
    const message = 'logged after the end: this and what follows is not delivered, only counted'
    return new OssError('OSS_ERR_ABORTED', message, this.#objectName)
  }

  /** Nobody may be listening, and then logs would end without a word. */
  #emitOrReport(error: Error): void {
    process.nextTick(() => {
      if (this.#adapter.emit('warn', error)) return
      const { bucket, key } = this.#objectName
      writeStderr(`oss://${bucket}/${key}: ${codeOf(error)}: ${error.message}`)
    })
  }

  #emitLater<E extends keyof OutboxEvents>(event: E, ...args: OutboxEvents[E]): void {
    process.nextTick(this.#adapter.emit, event, ...args)
  }
}

function addRecords({ records, bytes }: RecordTotals, text: string, count: number): RecordTotals {
  return { records: records + count, bytes: bytes + Buffer.byteLength(text) }
}
