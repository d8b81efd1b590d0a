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
 * No loss is silent: dropped records are told by a line in the object, and records that were given up
 * on standard error.
 */

import { writeSync } from 'node:fs'
import { checkInteger, MAX_DELAY } from './check.ts'
import { invalidOption, OssError } from './errors.ts'
import type { RetryInfo } from './line.ts'
import {
  createRollingAppendStream,
  type RollInfo,
  type RollingAppendStream,
  type RollingAppendStreamOptions,
} from './rolling.ts'
import { type Amount, Slabs } from './slabs.ts'

/** Options of a stream that are decided here. */
const OURS = ['align', 'maxRecordBytes', 'signal'] as const

/** The options that both transports have. Bytes and milliseconds. */
export interface TransportOptions extends Omit<RollingAppendStreamOptions, (typeof OURS)[number]> {
  /** Bytes that may wait for their acknowledgement: what comes then is dropped. 1 to 256 MiB, default 64. */
  readonly maxBuffered?: number | undefined
  /**
   * How long an end waits for what is owed, before it is given up. Default 8,000: pino kills its worker
   * after 10 s, without a word.
   */
  readonly closeTimeout?: number | undefined
}

/** What `'drop'` carries: how much was dropped while the queue was full. The line in the object says the same. */
export type DropInfo = Amount

export type { RollInfo }

export interface OutboxEvents {
  /** Room has returned, or the outbox closes: so much was dropped before that. */
  drop: [info: DropInfo]
  /** Records were given up, or something is wrong that waiting alone may not mend; we go on trying. */
  warn: [error: Error]
  retry: [info: RetryInfo]
  roll: [info: RollInfo]
}

/** What the two loggers do each in their own way. */
export interface Logger {
  /** The record that stands for so many which were dropped. */
  readonly gapRecord: (records: number) => string
  /** Tells the user, from a tick of its own. False: nobody listens. */
  readonly emit: <E extends keyof OutboxEvents>(event: E, ...args: OutboxEvents[E]) => boolean
}

/** Records that were given up. Its `code` is `OSS_ERR_ABORTED`, its `cause` what went wrong last. */
export class UndeliveredError extends OssError {
  /** How many were not acknowledged. */
  readonly records: number
  /** How many bytes those have. */
  readonly bytes: number
  /** How many of them may be in the object all the same: nobody could tell. */
  readonly unresolvedRecords: number

  /** Made by transports. */
  constructor(message: string, { records, bytes, unresolvedRecords, ...details }: Undelivered) {
    super('OSS_ERR_ABORTED', message, details)
    this.records = records
    this.bytes = bytes
    this.unresolvedRecords = unresolvedRecords
  }
}
Object.defineProperty(UndeliveredError.prototype, 'name', { value: 'UndeliveredError' })

interface Undelivered extends Amount {
  readonly unresolvedRecords: number
  readonly bucket: string | undefined
  readonly key: string
  readonly cause: Error | undefined
}

interface Waiter {
  /** How many slabs have left when this one is served. */
  readonly end: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/**
 * Characters of a slab that grows no more. Much less, and the stream's cost per chunk shows; more gains
 * nothing, and batches, which take slabs whole, are less full: of a small batch it is a 64th.
 */
const SLAB = 65_536
const MIB = 1_048_576
export const DEFAULTS = { maxBuffered: 64 * MIB, closeTimeout: 8000 } as const
/** Milliseconds before a failed stream is followed by another: doubled with each that brings nothing. */
const MIN_REOPEN = 1000
const MAX_REOPEN = 30_000

/** Those that owe records, for the last words of a process that does not wait for them. */
const owing = new Set<Outbox>()
process.on('exit', () => {
  for (const outbox of owing) outbox.confess()
})

export class Outbox {
  readonly #logger: Logger
  /** Makes a stream; called again when one has failed. */
  readonly #create: () => RollingAppendStream
  /** As the options have them; the key may be a pattern. */
  readonly #target: { readonly bucket: string | undefined; readonly key: string }
  readonly #maxBuffered: number
  readonly #closeTimeout: number
  readonly #slabSize: number
  readonly #slabs = new Slabs()
  #stream: RollingAppendStream
  #state: 'open' | 'ending' | 'cut' | 'closed' = 'open'
  /** The queue was full: what was dropped since. */
  #gap: { records: number; bytes: number } | undefined
  #waiters: Waiter[] = []
  #reopening: NodeJS.Timeout | undefined
  #failures = 0
  /** Why nothing was acknowledged lately. */
  #lastError: Error | undefined
  #loss: UndeliveredError | undefined
  readonly #closed: Promise<UndeliveredError | undefined>
  #close: (loss: UndeliveredError | undefined) => void = () => {}

  /** @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option. */
  constructor(options: TransportOptions, logger: Logger) {
    const {
      maxBuffered = DEFAULTS.maxBuffered,
      closeTimeout = DEFAULTS.closeTimeout,
      ...rest
    } = options
    this.#logger = logger
    this.#target = {
      bucket: rest.bucket,
      key: typeof rest.key === 'string' ? rest.key : 'an object that is not known yet',
    }
    this.#maxBuffered = checkInteger('maxBuffered', maxBuffered, 1, 256 * MIB)
    this.#closeTimeout = checkInteger('closeTimeout', closeTimeout, 0, MAX_DELAY)
    for (const name of OURS) if (name in rest) throw invalidOption(name, 'is not for a log')
    const retry = { maxElapsed: Number.POSITIVE_INFINITY, ...rest.retry }
    // Slabs are whole records; and none is too long that the queue has taken.
    const whole = { align: 'chunk', maxRecordBytes: 1024 * MIB } as const
    this.#create = () => createRollingAppendStream({ ...rest, ...whole, retry })
    this.#closed = new Promise(resolve => (this.#close = resolve))
    this.#stream = this.#open()
    this.#slabSize = Math.min(SLAB, this.#stream.writableHighWaterMark / 64)
  }

  /** Bytes that are not acknowledged yet. */
  get buffered(): number {
    return this.#slabs.bytes
  }

  /** The records that were given up last, if any were. */
  get loss(): UndeliveredError | undefined {
    return this.#loss
  }

  /** Takes a whole record, or drops it if there is no room. Costs no system call, and never throws. */
  add(record: string): void {
    // No append would ever acknowledge it.
    if (record === '') return
    const isFull = this.#slabs.bytes + record.length > this.#maxBuffered
    if (isFull || this.#gap !== undefined || this.#state !== 'open') this.#drop(record)
    else this.#put(record, 1)
  }

  /**
   * Settles when all that was taken before is acknowledged, however long that may be. Rejects with the
   * loss if some of it was given up.
   */
  async flush(): Promise<void> {
    if (this.#state !== 'open') {
      const loss = await this.#closed
      if (loss) throw loss
    } else if (this.#slabs.length > 0) {
      const flushed = new Promise<void>((resolve, reject) => {
        const { gone, length } = this.#slabs
        this.#waiters.push({ end: gone + length, resolve, reject })
      })
      this.#slabs.seal()
      this.#pump()
      await flushed
    }
  }

  /** Delivers what is owed within `closeTimeout`. Resolves, in any case, with what could not be. */
  close(): Promise<UndeliveredError | undefined> {
    if (this.#state === 'open') {
      this.#state = 'ending'
      this.#endGap()
      const timer = setTimeout(() => this.cut(), this.#closeTimeout)
      void this.#closed.then(() => clearTimeout(timer))
      if (!this.#reopening) this.#pump()
      else if (this.#slabs.length === 0) this.cut()
      else this.#reopen()
    }
    return this.#closed
  }

  /** Gives up at once what is not acknowledged. */
  cut(): Promise<UndeliveredError | undefined> {
    if (this.#state === 'open' || this.#state === 'ending') {
      this.#state = 'cut'
      this.#endGap()
      clearTimeout(this.#reopening)
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
  confess(): void {
    this.#endGap()
    const slabs = this.#slabs
    slabs.seal()
    // What the stream has may be on its way, unless it has not even found the object.
    const inDoubt = this.#stream.pending ? 0 : slabs.handed
    if (slabs.length > 0) this.#report(this.#undelivered(slabs.length, inDoubt))
  }

  #put(text: string, records: number): void {
    const length = this.#slabs.add(text, records)
    const isFirst = length === text.length
    if (isFirst) {
      owing.add(this)
      this.#reopening?.ref()
    }
    if (length >= this.#slabSize) {
      this.#slabs.seal()
      this.#pump()
    } else if (isFirst) setImmediate(this.#onTurn)
  }

  readonly #onTurn = (): void => this.#pump()

  #drop(record: string): void {
    if (!this.#gap) {
      this.#gap = { records: 0, bytes: 0 }
      owing.add(this)
      this.#hasten()
    }
    this.#gap.records++
    this.#gap.bytes += Buffer.byteLength(record)
    // Too large for an empty queue: there is no acknowledgement to come.
    if (this.#slabs.length === 0) this.#endGap()
  }

  /** Records that were dropped leave a line in their place. */
  #endGap(): void {
    const gap = this.#gap
    if (!gap) return
    this.#gap = undefined
    this.#emitLater('drop', gap)
    this.#put(this.#logger.gapRecord(gap.records), gap.records)
  }

  /** Hands over what there is, as long as the stream takes it. */
  #pump(): void {
    const stream = this.#stream
    const slabs = this.#slabs
    if (stream.destroyed || stream.writableEnded) return
    while (!stream.writableNeedDrain) {
      const bytes = slabs.hand()
      if (bytes === undefined) break
      stream.write(bytes)
    }
    if (slabs.handed < slabs.length) return
    // A stream that got nothing is not ended: it would create an object.
    if (this.#state === 'ending') slabs.hasHanded ? stream.end() : stream.destroy()
    else if (this.#waiters.length > 0) this.#hasten()
  }

  #hasten(): void {
    this.#stream.flush().catch(() => {})
  }

  #open(): RollingAppendStream {
    const stream = this.#create()
    stream.on('append', () => this.#settle(stream))
    stream.on('drain', () => this.#pump())
    stream.on('retry', info => this.#emitLater('retry', info))
    stream.on('roll', info => this.#emitLater('roll', info))
    // All is known at 'close', and told then.
    stream.on('error', () => {})
    stream.on('close', () => this.#onClose(stream))
    return stream
  }

  #reopen(): void {
    clearTimeout(this.#reopening)
    this.#reopening = undefined
    try {
      this.#stream = this.#open()
      this.#pump()
    } catch (error) {
      this.#fail(error as Error)
    }
  }

  #settle(stream: RollingAppendStream): void {
    if (!this.#slabs.settle(stream.bytesWritten)) return
    this.#failures = 0
    this.#lastError = undefined
    this.#onRoom()
  }

  #onRoom(): void {
    this.#endGap()
    if (this.#slabs.length === 0) owing.delete(this)
    const { gone } = this.#slabs
    while (this.#waiters[0] && this.#waiters[0].end <= gone) this.#waiters.shift()?.resolve()
  }

  #onClose(stream: RollingAppendStream): void {
    this.#settle(stream)
    if (this.#state === 'cut') this.#finish(stream.errored)
    else this.#fail(stream.errored)
  }

  /** The stream is gone. What it leaves in doubt is lost to us; with the rest a new one goes on. */
  #fail(error: Error | null): void {
    const inDoubt = this.#inDoubt(error)
    if (error && codeOf(error) !== codeOf(this.#lastError)) this.#warn(error)
    this.#lastError = error ?? undefined
    if (inDoubt > 0) {
      const loss = this.#undelivered(inDoubt, inDoubt)
      this.#report(loss)
      this.#slabs.remove(inDoubt)
      // They are the oldest: whoever waits, waits for them too.
      for (const { reject } of this.#waiters.splice(0)) reject(loss)
      this.#onRoom()
    }
    this.#slabs.takeBack()
    if (this.#state === 'ending' && this.#slabs.length === 0) {
      this.#finish(null)
    } else {
      // At the end there is not the time to wait longer.
      const times = this.#state === 'ending' ? 0 : this.#failures++
      const delay = Math.min(MAX_REOPEN, MIN_REOPEN * 2 ** times)
      this.#reopening = setTimeout(() => this.#reopen(), delay)
      if (this.#slabs.length === 0) this.#reopening.unref()
    }
  }

  /** How many slabs from the front may or may not be in the object. */
  #inDoubt(error: Error | null): number {
    const length = error instanceof OssError ? error.unresolved?.length : undefined
    return this.#slabs.count(length ?? 0)
  }

  #finish(error: Error | null): void {
    this.#state = 'closed'
    this.#slabs.seal()
    const { length } = this.#slabs
    const loss = length > 0 ? this.#undelivered(length, this.#inDoubt(error)) : undefined
    if (loss) this.#report(loss)
    this.#slabs.remove(length)
    owing.delete(this)
    for (const { resolve, reject } of this.#waiters.splice(0)) loss ? reject(loss) : resolve()
    this.#close(loss)
  }

  #undelivered(count: number, inDoubt: number): UndeliveredError {
    const { records, bytes } = this.#slabs.sum(count)
    const unresolvedRecords = this.#slabs.sum(inDoubt).records
    const { bucket, key } = this.#object
    const { position } = this.#stream
    const message =
      `${records} records (${bytes} bytes) were not acknowledged by oss://${bucket}/${key}, ` +
      `which ends at ${position === undefined ? 'an unknown position' : `position ${position}`}` +
      (unresolvedRecords > 0 ? `; ${unresolvedRecords} of them may be there` : '')
    const cause = this.#lastError
    return new UndeliveredError(message, { records, bytes, unresolvedRecords, bucket, key, cause })
  }

  get #object(): { readonly bucket: string | undefined; readonly key: string } {
    const { bucket, key } = this.#target
    return { bucket, key: this.#stream.key ?? key }
  }

  #report(loss: UndeliveredError): void {
    this.#loss = loss
    this.#emitLater('warn', loss)
    say(loss.message)
  }

  /** Nobody may be listening, and then logs would end without a word. */
  #warn(error: Error): void {
    process.nextTick(() => {
      if (this.#logger.emit('warn', error)) return
      const { bucket, key } = this.#object
      say(`oss://${bucket}/${key}: ${codeOf(error)}: ${error.message}`)
    })
  }

  #emitLater<E extends keyof OutboxEvents>(event: E, ...args: OutboxEvents[E]): void {
    process.nextTick(this.#logger.emit, event, ...args)
  }
}

/** On standard error, and not by `process.stderr`: a worker's needs the main thread, which may wait for us. */
function say(text: string): void {
  try {
    writeSync(2, `oss-append-stream: ${text}\n`)
  } catch {
    // It is closed, or full and does not block: there is nobody left to tell.
  }
}

function codeOf(error: Error | undefined): string | undefined {
  return error instanceof OssError ? error.code : error?.name
}
