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

import type { RetryInfo } from './appender/line.ts'
import { type ErrorTail, OssError } from './errors.ts'
import { resolveTransportOptions, type TransportOptions } from './outbox/options.ts'
import { type Amount, Slabs } from './outbox/slabs.ts'
import { say } from './outbox/stderr.ts'
import { codeOf, together, UndeliveredError } from './outbox/undelivered.ts'
import { createRollingAppendStream, type RollInfo, type RollingAppendStream } from './rolling.ts'
import { Waiters } from './stream/waiters.ts'

export { type RollInfo, type TransportOptions, UndeliveredError }

/**
 * What `'drop'` carries: how much was dropped while the queue was full. The line in the object says the
 * same; if it is given up, these records are counted in the loss as well.
 */
export type DropInfo = Amount

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
export interface Logger {
  /** The record that stands for so many which were dropped. */
  readonly gapRecord: (records: number) => string
  /** Tells the user, from a tick of its own. False: nobody listens. */
  readonly emit: <E extends keyof OutboxEvents>(event: E, ...args: OutboxEvents[E]) => boolean
}

/**
 * Characters of a slab that grows no more. Much less, and the stream's cost per chunk shows; more gains
 * nothing, and batches, which take slabs whole, are less full: of a small batch it is a 64th.
 */
const SLAB = 65_536
/** Milliseconds before a failed stream is followed by another: doubled with each that brings nothing. */
const MIN_REOPEN = 1000
const MAX_REOPEN = 30_000

/** Those that owe records, for the last words of a process that does not wait for them. */
const owing = new Set<Outbox>()
const NOTHING: Amount = { records: 0, bytes: 0 }
/** Listeners of `'exit'` that come after ours may log, and nothing will be sent any more. */
let isExiting = false
process.on('exit', () => {
  isExiting = true
  for (const outbox of owing) outbox.confess()
})

export class Outbox {
  readonly #logger: Logger
  /** Makes a stream; called again when one has failed. */
  readonly #create: () => RollingAppendStream
  /** As the options have them; the key may be a pattern. */
  readonly #target: { readonly bucket: string | undefined; readonly key: string }
  /** Bytes that there is room for. */
  readonly maxBuffered: number
  /** Characters that are worth being added at once. */
  readonly slabSize: number
  readonly #closeTimeout: number
  readonly #slabs = new Slabs()
  #stream: RollingAppendStream
  #state: 'open' | 'ending' | 'cut' | 'closed' = 'open'
  /** The queue was full: what was dropped since. */
  #gap: Amount | undefined
  /** What came after the end, and is not told yet. */
  #late = NOTHING
  readonly #waiters = new Waiters<void>()
  /** How many slabs from the first one on somebody waits for, and the stream was told not to wait for. */
  #wanted = 0
  #hastened = 0
  #reopening: NodeJS.Timeout | undefined
  #failures = 0
  /** Of the object that was last in use: its key, and how it ended. */
  #known: { readonly key: string; readonly tail: ErrorTail } | undefined
  /** What went wrong since something was acknowledged: the last of it, and the code of the last warning. */
  #lastError: Error | undefined
  #warned: string | undefined
  #loss: UndeliveredError | undefined
  readonly #closed: Promise<UndeliveredError | undefined>
  #close: (loss: UndeliveredError | undefined) => void = () => {}

  /** @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option. */
  constructor(options: TransportOptions, logger: Logger) {
    const { maxBuffered, closeTimeout, streamOptions } = resolveTransportOptions(options)
    const { bucket, key } = streamOptions
    this.#logger = logger
    this.#target = {
      bucket,
      key: typeof key === 'string' ? key : 'an object that is not known yet',
    }
    this.maxBuffered = maxBuffered
    this.#closeTimeout = closeTimeout
    this.#create = () => createRollingAppendStream(streamOptions)
    this.#closed = new Promise(resolve => (this.#close = resolve))
    this.#stream = this.#open()
    this.slabSize = Math.min(SLAB, this.#stream.writableHighWaterMark / 64)
  }

  /** Bytes that are not acknowledged yet. */
  get buffered(): number {
    return this.#slabs.bytes
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
    else this.#onGrowth(this.#slabs.add(text, records), text)
    if (isExiting) this.confess()
  }

  /** Whether `add()` would drop nothing of it. */
  hasRoom(text: string): boolean {
    return !this.#gap && this.#slabs.fits(text, this.maxBuffered)
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
        this.#waiters.add({ accepted: this.#slabs.gone + this.#slabs.length, resolve, reject })
      })
      this.#push()
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
    this.#slabs.seal()
    // What the stream has may be on its way, unless it has not even found the object.
    this.#giveUp(this.#stream.pending ? 0 : this.#slabs.handed)
  }

  /** The slab that grows has so many characters, with this text at its end. */
  #onGrowth(length: number, text: string): void {
    const isFirst = length === text.length
    if (isFirst) {
      owing.add(this)
      this.#reopening?.ref()
    }
    if (length >= this.slabSize) {
      this.#slabs.seal()
      this.#pump()
    } else if (isFirst) setImmediate(this.#onTurn)
  }

  readonly #onTurn = (): void => this.#pump()

  #drop(text: string, records: number): void {
    if (!this.#gap) {
      owing.add(this)
      this.#push()
    }
    this.#gap = plus(this.#gap ?? NOTHING, text, records)
    const isTooLarge = Buffer.byteLength(text) > this.maxBuffered
    // There is no acknowledgement to come that would make room for it.
    const isHopeless = isTooLarge && this.#slabs.bytes < this.maxBuffered
    if (isHopeless || this.#slabs.length === 0) this.#endGap()
  }

  /** Records that were dropped leave a line in their place. */
  #endGap(): void {
    const gap = this.#gap
    if (!gap) return
    this.#gap = undefined
    this.#emitLater('drop', gap)
    const line = this.#logger.gapRecord(gap.records)
    this.#onGrowth(this.#slabs.addInstead(line, gap), line)
  }

  /** The end does not wait for what comes after it: an application that goes on logging has no other. */
  #addLate(text: string, records: number): void {
    // Else it is told when all has been closed.
    if (this.#state === 'closed' && this.#late === NOTHING) this.#warn(this.#lateError())
    this.#late = plus(this.#late, text, records)
    owing.add(this)
  }

  /** All that is here is to go without waiting for more. */
  #push(): void {
    this.#wanted = this.#slabs.gone + this.#slabs.length
    this.#slabs.seal()
    this.#pump()
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
    else if (this.#wanted > this.#hastened) {
      this.#hastened = this.#wanted
      this.#hasten()
    }
  }

  #hasten(): void {
    this.#stream.flush().catch(() => {})
  }

  #open(): RollingAppendStream {
    const stream = this.#create()
    this.#hastened = 0
    stream.on('append', () => this.#settle(stream))
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
    this.#learn(stream)
    if (!this.#slabs.settle(stream.bytesWritten)) return
    this.#failures = 0
    this.#lastError = undefined
    this.#warned = undefined
    this.#onRoom()
  }

  /** One that follows knows no object at first. */
  #learn({ key, position, crc64 }: RollingAppendStream): void {
    if (key === undefined || position === undefined) return
    this.#known = { key, tail: { position, crc64 } }
  }

  #onRoom(): void {
    this.#endGap()
    if (this.#slabs.length === 0 && this.#late === NOTHING) owing.delete(this)
    this.#waiters.resolve(this.#slabs.gone, undefined)
  }

  #onClose(stream: RollingAppendStream): void {
    this.#settle(stream)
    if (this.#state === 'cut') this.#finish(stream.errored)
    else this.#fail(stream.errored)
  }

  /** The stream is gone. What it leaves in doubt is lost to us; with the rest a new one goes on. */
  #fail(error: Error | null): void {
    const inDoubt = this.#inDoubt(error)
    if (error) {
      if (codeOf(error) !== this.#warned) this.#warn(error)
      this.#warned = codeOf(error)
      this.#lastError = error
    }
    if (inDoubt > 0) {
      const loss = this.#report(inDoubt, inDoubt)
      // They are the oldest: whoever waits, waits for them too.
      this.#waiters.reject(loss)
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
    const loss = this.#giveUp(this.#inDoubt(error))
    owing.delete(this)
    if (loss) this.#waiters.reject(loss)
    else this.#waiters.resolve(Number.POSITIVE_INFINITY, undefined)
    this.#close(loss)
  }

  /** Gives up all that is here, and all that came after the end. */
  #giveUp(inDoubt: number): UndeliveredError | undefined {
    const { length } = this.#slabs
    return length > 0 || this.#late !== NOTHING ? this.#report(length, inDoubt) : undefined
  }

  /** So many slabs from the front are lost, and of those so many may be in the object. */
  #report(count: number, inDoubt: number): UndeliveredError {
    const { records, bytes } = this.#slabs.sum(count)
    const late = this.#late
    this.#learn(this.#stream)
    const loss = new UndeliveredError({
      records: records + late.records,
      bytes: bytes + late.bytes,
      unresolvedRecords: this.#slabs.sum(inDoubt).records,
      lateRecords: late.records,
      ...this.#object,
      tail: this.#known?.tail,
      cause: this.#lastError,
    })
    this.#slabs.remove(count)
    this.#late = NOTHING
    this.#loss = this.#loss ? together(this.#loss, loss) : loss
    this.#emitLater('warn', loss)
    say(loss.message)
    return loss
  }

  get #object(): { readonly bucket: string | undefined; readonly key: string } {
    const { bucket, key } = this.#target
    return { bucket, key: this.#stream.key ?? this.#known?.key ?? key }
  }

  #lateError(): OssError {
    const message = 'logged after the end: this and what follows is not delivered, only counted'
    return new OssError('OSS_ERR_ABORTED', message, this.#object)
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

function plus({ records, bytes }: Amount, text: string, more: number): Amount {
  return { records: records + more, bytes: bytes + Buffer.byteLength(text) }
}
