/**
 * The queue of a logger in front of an append stream. `add()` takes a record at once, whatever the network does.
 * Each chunk stays here until it is acknowledged. If a stream fails, the next stream gets the same chunks,
 * except those that may already be in the object: these are given up and reported, so no record is sent twice.
 * No loss is silent: a line in the object reports dropped records, standard error those that are given up.
 *
 *              next turn, or 64 KiB         while the stream has room         'append'
 *     add() --> [ open chunk ] --> [ waiting chunks | chunks in flight ] --> removed
 *
 * With `journal` a chunk is removed once it is in the journal, which is the queue then: nothing in it is given up.
 */

import type { RetryInfo } from '../append/retry-loop.ts'
import { formatCount, type ObservedTail, OssError } from '../errors.ts'
import { describeDamage } from '../journal/describe-damage.ts'
import type { RecoverInfo } from '../journal/recover-info.ts'
import {
  createRollingAppendStream,
  type RollInfo,
  type RollingAppendStream,
} from '../rolling/rolling-stream.ts'
import { withInternals } from '../stream/internals.ts'
import type { JournalSource } from '../stream/journal-source.ts'
import { Waiters } from '../stream/waiters.ts'
import { ErrorHistory } from './error-history.ts'
import { addExitReport, isExiting, removeExitReport } from './exit-reports.ts'
import { Losses } from './losses.ts'
import { resolveTransportOptions, type TransportOptions } from './options.ts'
import { OutboxJournal } from './outbox-journal.ts'
import { addRecords, NO_RECORDS, RecordQueue, type RecordTotals } from './record-queue.ts'
import { ReopenTimer } from './reopen-timer.ts'
import { writeStderr } from './stderr.ts'
import { codeOf, UndeliveredError } from './undelivered-error.ts'

export { type RollInfo, type TransportOptions, UndeliveredError }

/**
 * What `'drop'` carries: the records that were dropped while the queue was full. A line in the object reports
 * the same number. If that line is given up, the loss counts these records too.
 */
export type DropInfo = RecordTotals

export interface OutboxEvents {
  /** Records were dropped. Emitted once the queue has room again, or when the transport ends. */
  drop: [info: DropInfo]
  /**
   * Records were given up, or a stream failed with an error that waiting alone may not solve. In the second
   * case another stream is opened.
   */
  warn: [error: OssError]
  /** An attempt failed. Another one follows after `delay`. */
  retry: [info: RetryInfo]
  /** An object is complete. The next records go to another one. */
  roll: [info: RollInfo]
}

/** What `stats()` tells: how far the records are. */
export interface TransportStats {
  /** Bytes in memory: not acknowledged, or with `journal` not in the journal yet. */
  readonly buffered: number
  /** Bytes in the journal that are not acknowledged; 0 without `journal`. */
  readonly journaled: number
  /** Records that were dropped since the start. */
  readonly dropped: number
  /** The last failure of an attempt or of a stream; undefined if there was none. */
  readonly lastError: { readonly name: string; readonly code: string } | undefined
  /** When the last append was acknowledged; undefined if none was. */
  readonly lastAcknowledgedAt: Date | undefined
}

/** The parts in which the two loggers differ. */
export interface LoggerAdapter {
  /** Formats the line that stands for this many dropped records. */
  readonly formatDroppedRecord: (records: number) => string
  /** Emits an event. Returns whether it has a listener. The outbox calls it in a tick of its own. */
  readonly emit: <E extends keyof OutboxEvents>(event: E, ...args: OutboxEvents[E]) => boolean
  /** Called when an object is ready, and when records are acknowledged. */
  readonly onReached?: () => void
}

/**
 * Characters at which an open chunk is closed. Smaller chunks cost time, because each is one `write()`. Larger
 * ones fill batches less, because a batch holds whole chunks; so a chunk has at most a 64th of a batch.
 */
const MAX_CHUNK_LENGTH = 65_536

export class Outbox {
  readonly #adapter: LoggerAdapter
  /** Opens a stream: at the start, and after each failure. */
  readonly #createStream: () => RollingAppendStream
  /** From the options. The key may be a pattern. */
  readonly #target: { readonly bucket: string | undefined; readonly key: string }
  /** Bytes that the queue may hold. */
  readonly maxBuffered: number
  /** Characters at which a chunk is closed. Shorter texts are better added together. */
  readonly chunkLength: number
  readonly #closeTimeout: number
  readonly #queue = new RecordQueue()
  #stream: RollingAppendStream
  /** Undefined without `journal`. */
  #journal: OutboxJournal | undefined
  /** The folder of the journal. */
  readonly #journalFolder: string | undefined
  #state: 'open' | 'ending' | 'aborting' | 'closed' = 'open'
  /** Set while the queue is full: the records dropped since then. */
  #dropped: RecordTotals | undefined
  readonly #waiters = new Waiters<void>()
  /** Chunks, counted from the first one ever: how many to flush, and how many the stream was asked to flush. */
  #flushWanted = 0
  #flushRequested = 0
  readonly #reopenTimer = new ReopenTimer(() => this.#reopen())
  /** While the outbox aborts: no further stream is opened. */
  #isLastStream = false
  /** The object last in use. A new stream has no key and no tail at first. */
  #lastObject: { readonly key: string; readonly tail: ObservedTail } | undefined
  readonly #errors = new ErrorHistory()
  /** Of `stats()`: when the last append was acknowledged, and all records dropped. */
  #lastAcknowledgedAt: Date | undefined
  #droppedRecords = 0
  /** Why the slot that was set aside last cannot be delivered. */
  #lastSetAside: OssError | undefined
  /** Calls of `flush()` that wait for the next stream, or for the close. */
  readonly #reopenWaiters: (() => void)[] = []
  readonly #losses = new Losses()
  readonly #closed: Promise<UndeliveredError | undefined>
  #resolveClosed: (loss: UndeliveredError | undefined) => void = () => {}

  /** @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option. */
  constructor(options: TransportOptions, adapter: LoggerAdapter) {
    const { maxBuffered, closeTimeout, streamOptions } = resolveTransportOptions(options)
    const { bucket, key } = streamOptions
    this.#adapter = adapter
    this.#target = { bucket, key: typeof key === 'string' ? key : '(unknown key)' }
    this.maxBuffered = maxBuffered
    this.#closeTimeout = closeTimeout
    this.#journalFolder = folderOf(streamOptions.journal)
    const internals = {
      onJournal: (source: JournalSource) => this.#useJournal(source),
      onSetAside: (error: OssError) => this.#onSetAside(error),
    }
    this.#createStream = () =>
      createRollingAppendStream(withInternals({ ...streamOptions }, internals))
    this.#closed = new Promise(resolve => (this.#resolveClosed = resolve))
    this.#stream = this.#open()
    this.chunkLength = Math.min(MAX_CHUNK_LENGTH, this.#stream.writableHighWaterMark / 64)
  }

  /** Bytes that are not acknowledged yet. */
  get buffered(): number {
    return this.#queue.bytes + this.#journaled
  }

  stats(): TransportStats {
    const { latest } = this.#errors
    return {
      buffered: this.#queue.bytes,
      journaled: this.#journaled,
      dropped: this.#droppedRecords,
      lastError: latest && { name: latest.name, code: codeOf(latest) },
      lastAcknowledgedAt: this.#lastAcknowledgedAt,
    }
  }

  /** Bytes in the journal that are not acknowledged. */
  get #journaled(): number {
    return this.#journal?.bytes ?? 0
  }

  /** Nothing is left to deliver. */
  get #isEmpty(): boolean {
    return this.#queue.length === 0 && !this.#mayBeJournaled
  }

  get #mayBeJournaled(): boolean {
    return this.#journal?.mayHaveBytes ?? false
  }

  /** The object in use. */
  get url(): string {
    const { bucket, key } = this.#objectName
    return `oss://${bucket}/${key}`
  }

  /** All records that were given up so far; undefined if there are none. */
  get loss(): UndeliveredError | undefined {
    return this.#losses.total
  }

  /**
   * Takes one record, or `records` whole records joined in one text. Drops them if the queue has no room for
   * all of them. Makes no system call, and never throws.
   */
  add(text: string, records = 1): void {
    // An append of 0 bytes would never be acknowledged.
    if (text === '') return
    if (this.#state !== 'open') this.#addLate(text, records)
    else if (!this.hasRoom(text)) this.#drop(text, records)
    else this.#onAdded(this.#queue.add(text, records), text)
    if (!isExiting()) return
    if (this.#journal) this.#keepOnExit(this.#journal)
    else this.reportOnExit()
  }

  /** Whether `add()` would take this text. */
  hasRoom(text: string): boolean {
    return !this.#dropped && this.#queue.fits(text, this.maxBuffered)
  }

  /**
   * Resolves when all records added before are acknowledged, however long that takes. Rejects with the loss
   * if some of them are given up.
   */
  async flush(): Promise<void> {
    if (this.#state !== 'open') {
      const loss = await this.#closed
      if (loss) throw loss
      if (this.#journaled > 0) throw this.#createKeptError()
    } else if (!this.#isEmpty) {
      const setAside = this.#lastSetAside
      if (this.#queue.length > 0) await this.#waitForQueue()
      if (this.#journal) await this.#flushJournal(setAside)
    }
  }

  async #waitForQueue(): Promise<void> {
    const flushed = new Promise<void>((resolve, reject) => {
      this.#waiters.add({ accepted: this.#queue.removed + this.#queue.length, resolve, reject })
    })
    this.#flushQueue()
    await flushed
  }

  /** A stream that opens delivers first what the last one has left in the journal. */
  async #flushJournal(setAside: OssError | undefined): Promise<void> {
    for (;;) {
      const stream = this.#stream
      const isFlushed = await stream.flush().then(
        () => true,
        () => false,
      )
      if (this.#lastSetAside && this.#lastSetAside !== setAside) throw this.#lastSetAside
      if (isFlushed) return
      if (this.#state !== 'open') return this.flush()
      if (stream === this.#stream) await this.#waitForReopen()
    }
  }

  #waitForReopen(): Promise<void> {
    return new Promise(resolve => this.#reopenWaiters.push(resolve))
  }

  /**
   * Ends the outbox. Delivers what is unacknowledged, within `closeTimeout`, and gives up the rest, or leaves it in
   * the journal. Resolves with the loss, and never rejects.
   */
  close(): Promise<UndeliveredError | undefined> {
    if (this.#state === 'open') {
      this.#state = 'ending'
      this.#reportDropped()
      const timer = setTimeout(() => this.abort(), this.#closeTimeout)
      void this.#closed.then(() => clearTimeout(timer))
      if (!this.#reopenTimer.isRunning) this.#pump()
      else if (this.#isEmpty) this.abort()
      else this.#reopen()
    }
    return this.#closed
  }

  /** Gives up at once what is unacknowledged, or leaves it in the journal. Resolves as `close()` does. */
  abort(): Promise<UndeliveredError | undefined> {
    if (this.#state === 'open' || this.#state === 'ending') {
      this.#state = 'aborting'
      this.#reportDropped()
      this.#reopenTimer.stop()
      if (this.#journal) {
        this.#suspend()
      } else if (this.#stream.closed) {
        this.#finish(0)
      } else {
        // An ended stream closes with an error, which says what is unresolved. `destroy()` alone gives none.
        this.#stream.end()
        this.#stream.destroy()
      }
    }
    return this.#closed
  }

  /** Writes what is not in the journal yet, and ends sending. */
  #suspend(): void {
    if (this.#stream.closed && this.#queue.length > 0) this.#reopen()
    if (this.#stream.closed) {
      this.#finish(0)
    } else {
      this.#pump()
      // `'close'` follows. A stream that has failed has nothing to suspend.
      this.#stream.suspend().catch(() => {})
    }
  }

  /** Reports what is unacknowledged when the process exits: nothing can be sent any more. */
  reportOnExit(): void {
    this.#reportDropped()
    if (this.#journal) this.#keepOnExit(this.#journal)
    else this.#giveUpOnExit()
    this.#reportKept()
  }

  #giveUpOnExit(): void {
    this.#queue.closeChunk()
    // The stream may have sent what it has accepted, unless it does not know the tail yet.
    const { pending, bytesBuffered } = this.#stream
    this.#giveUp(pending ? 0 : this.#queue.countChunks(bytesBuffered))
  }

  #keepOnExit(journal: OutboxJournal): void {
    journal.keepOnExit(this.#queue)
    this.#queue.closeChunk()
    this.#giveUp(0)
  }

  /** The open chunk has `length` characters. `text` is the last of them. */
  #onAdded(length: number, text: string): void {
    const isFirst = length === text.length
    if (isFirst) {
      addExitReport(this)
      this.#reopenTimer.ref()
    }
    if (length >= this.chunkLength) {
      this.#queue.closeChunk()
      this.#pump()
    } else if (isFirst) setImmediate(this.#onImmediate)
  }

  readonly #onImmediate = (): void => this.#pump()

  #drop(text: string, records: number): void {
    if (!this.#dropped) {
      addExitReport(this)
      this.#flushQueue()
    }
    this.#dropped = addRecords(this.#dropped ?? NO_RECORDS, text, records)
    this.#droppedRecords += records
    const isTooLarge = Buffer.byteLength(text) > this.maxBuffered
    // The queue is not full, and may be empty: no acknowledgement will come and call `#onRoom()`.
    const canNeverFit = isTooLarge && this.#queue.bytes < this.maxBuffered
    if (canNeverFit || this.#queue.length === 0) this.#reportDropped()
  }

  /** Adds the line that stands for the dropped records, in their place. */
  #reportDropped(): void {
    const dropped = this.#dropped
    if (!dropped) return
    this.#dropped = undefined
    this.#emitLater('drop', dropped)
    const record = this.#adapter.formatDroppedRecord(dropped.records)
    this.#onAdded(this.#queue.addPlaceholder(record, dropped), record)
  }

  /**
   * Counts records logged after the end as undelivered. To deliver them would prolong the end for as long as the
   * application logs.
   */
  #addLate(text: string, records: number): void {
    // While the outbox ends, the loss at the close reports them.
    if (this.#state === 'closed' && !this.#losses.hasLate)
      this.#emitOrReport(this.#createLateError())
    this.#losses.addLate(text, records)
    addExitReport(this)
  }

  /** Sends the whole queue without waiting for full batches. */
  #flushQueue(): void {
    this.#flushWanted = this.#queue.removed + this.#queue.length
    this.#queue.closeChunk()
    this.#pump()
  }

  /**
   * Writes chunks while the stream has room. After the last one it ends or flushes the stream, if needed.
   * At the end it writes all chunks at once, because the end of the stream cuts a running backoff short.
   */
  #pump(): void {
    const stream = this.#stream
    const queue = this.#queue
    if (stream.destroyed || stream.writableEnded) return
    while (this.#state !== 'open' || !stream.writableNeedDrain) {
      const chunk = queue.next()
      if (chunk === undefined) break
      stream.write(chunk, this.#journal && (() => this.#onJournaled(stream)))
    }
    if (queue.inFlight < queue.length) return
    const hasRecords = queue.hasStarted || this.#mayBeJournaled
    if (this.#state === 'ending') hasRecords ? stream.end() : stream.destroy()
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
    stream.on('ready', () => this.#adapter.onReached?.())
    stream.on('append', () => this.#onAcknowledged(stream))
    stream.on('drain', () => this.#pump())
    stream.on('retry', info => {
      this.#errors.add(info.error)
      this.#emitLater('retry', info)
    })
    stream.on('roll', info => this.#emitLater('roll', info))
    stream.on('recover', info => this.#onRecover(info))
    // `'close'` follows, with the same error in `errored`.
    stream.on('error', () => {})
    stream.on('close', () => this.#onClose(stream))
    return stream
  }

  #useJournal(source: JournalSource): void {
    if (this.#journal) this.#journal.use(source)
    else this.#journal = new OutboxJournal(source, error => this.#errors.add(error))
  }

  #reopen(): void {
    this.#reopenTimer.stop()
    try {
      this.#stream = this.#open()
      this.#queue.rewind()
      for (const resolve of this.#reopenWaiters.splice(0)) resolve()
      this.#pump()
    } catch (error) {
      this.#onStreamFailed(error as Error, 0)
    }
  }

  #onAcknowledged(stream: RollingAppendStream): void {
    this.#rememberObject(stream)
    const isRemoved = this.#queue.acknowledge(this.#journal?.journaled ?? stream.bytesWritten)
    // With a journal, the chunks of an append were removed before.
    if (!isRemoved && !this.#journal) return
    this.#lastAcknowledgedAt = new Date()
    this.#adapter.onReached?.()
    this.#reopenTimer.onAcknowledged()
    this.#errors.onAcknowledged()
    this.#onRoom()
  }

  #onJournaled(stream: RollingAppendStream): void {
    if (stream === this.#stream && this.#queue.acknowledge(this.#journal?.journaled ?? 0))
      this.#onRoom()
  }

  #rememberObject({ key, position, crc64 }: RollingAppendStream): void {
    if (key === undefined || position === undefined) return
    this.#lastObject = { key, tail: { position, crc64 } }
  }

  /** Chunks were removed from the queue. */
  #onRoom(): void {
    this.#reportDropped()
    if (this.#isEmpty && !this.#losses.hasLate) removeExitReport(this)
    this.#waiters.resolve(this.#queue.removed, undefined)
  }

  #onClose(stream: RollingAppendStream): void {
    // With a journal, the next stream finds out what became of bytes in doubt.
    if (this.#journal) this.#onJournaled(stream)
    else this.#onAcknowledged(stream)
    const inDoubt = this.#journal ? 0 : (stream.unresolved?.length ?? 0)
    const unresolved = this.#queue.countChunks(inDoubt)
    if (this.#state === 'aborting') this.#onAborted(unresolved, stream.errored)
    else this.#onStreamFailed(stream.errored, unresolved)
  }

  #onAborted(unresolved: number, error: Error | null): void {
    if (this.#journal && error) this.#errors.add(error)
    // The stream failed before all was in the journal. One more stream tries it.
    const isTriedAgain = this.#journal && this.#queue.length > 0 && !this.#isLastStream
    if (isTriedAgain) {
      this.#isLastStream = true
      this.#suspend()
    } else this.#finish(unresolved)
  }

  /** Parts of the journal that are not valid: they are kept, and no stream delivers them. */
  #onRecover({ damaged }: RecoverInfo): void {
    for (const damage of damaged) {
      const message = describeDamage(damage)
      this.#emitOrReport(new OssError('OSS_ERR_JOURNAL', message, this.#objectName))
    }
  }

  /** The next stream has a slot of its own. */
  #onSetAside(error: OssError): void {
    this.#lastSetAside = error
    this.#errors.addWarning(error)
    this.#emitOrReport(error)
  }

  /** Gives up the chunks that the stream left in doubt. A new stream gets the rest. */
  #onStreamFailed(error: Error | null, unresolved: number): void {
    if (error && this.#errors.addWarning(error)) this.#emitOrReport(toOssError(error))
    if (unresolved > 0) {
      const loss = this.#reportLoss(unresolved, unresolved)
      // The chunks in doubt are the oldest, so each waiter waits for them.
      this.#waiters.reject(loss)
      this.#onRoom()
    }
    if (this.#state === 'aborting' || (this.#state === 'ending' && this.#isEmpty)) {
      this.#finish(0)
    } else {
      const isEnding = this.#state === 'ending'
      this.#reopenTimer.start({ isEnding, holdsProcess: !this.#isEmpty })
    }
  }

  /** `unresolved`: the first chunks of the queue that the last stream left in doubt. */
  #finish(unresolved: number): void {
    this.#state = 'closed'
    this.#queue.closeChunk()
    const loss = this.#giveUp(unresolved)
    this.#reportKept()
    removeExitReport(this)
    if (loss) this.#waiters.reject(loss)
    else this.#waiters.resolve(Number.POSITIVE_INFINITY, undefined)
    for (const resolve of this.#reopenWaiters.splice(0)) resolve()
    this.#resolveClosed(loss)
  }

  /** Gives up the whole queue and all late records. The first `unresolved` chunks may be in the object. */
  #giveUp(unresolved: number): UndeliveredError | undefined {
    const { length } = this.#queue
    return length > 0 || this.#losses.hasLate ? this.#reportLoss(length, unresolved) : undefined
  }

  /** Gives up the first `count` chunks and all late records. The first `unresolved` chunks may be in the object. */
  #reportLoss(count: number, unresolved: number): UndeliveredError {
    this.#rememberObject(this.#stream)
    const loss = this.#losses.add({
      ...this.#queue.totals(count),
      unresolvedRecords: this.#queue.totals(unresolved).records,
      ...this.#objectName,
      tail: this.#lastObject?.tail,
      cause: this.#errors.cause,
    })
    this.#queue.remove(count)
    this.#emitLater('warn', loss)
    writeStderr(loss.message)
    return loss
  }

  /** A line on standard error: nothing is lost, but the object is not complete yet. */
  #reportKept(): void {
    if (this.#journaled > 0) writeStderr(this.#createKeptError().message)
  }

  #createKeptError(): OssError {
    const bytes = formatCount(this.#journaled, 'byte')
    const { bucket, key } = this.#objectName
    const message =
      `${bytes} for oss://${bucket}/${key} stay in the journal ${this.#journalFolder}; ` +
      'the next start delivers them'
    return new OssError('OSS_ERR_ABORTED', message, { bucket, key })
  }

  get #objectName(): { readonly bucket: string | undefined; readonly key: string } {
    const { bucket, key } = this.#target
    return { bucket, key: this.#stream.key ?? this.#lastObject?.key ?? key }
  }

  #createLateError(): OssError {
    const message =
      'a record was logged after the end: it and all later records are counted and not delivered; ' +
      'end the logger after its last record'
    return new OssError('OSS_ERR_ABORTED', message, this.#objectName)
  }

  /** Emits a warning. Without a listener it goes to standard error, so that a log never stops silently. */
  #emitOrReport(error: OssError): void {
    process.nextTick(() => {
      if (this.#adapter.emit('warn', error)) return
      writeStderr(`${this.url}: ${error.code}: ${error.message}`)
    })
  }

  #emitLater<E extends keyof OutboxEvents>(event: E, ...args: OutboxEvents[E]): void {
    process.nextTick(this.#adapter.emit, event, ...args)
  }
}

function folderOf(journal: TransportOptions['journal']): string | undefined {
  return typeof journal === 'object' ? journal.dir : journal
}

/** What ended a stream may be an error of Node, as a failed allocation. `'warn'` carries one with a code. */
function toOssError(error: Error): OssError {
  if (error instanceof OssError) return error
  return new OssError('OSS_ERR_ABORTED', `${error.name}: ${error.message}`, { cause: error })
}
