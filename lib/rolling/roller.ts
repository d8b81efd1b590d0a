/**
 * One object after another, as the destination of a stream's batches. Before each batch it asks what
 * the key is now; when that is another one, or the batch would make the object too long, it leaves the
 * object and goes on in the next. A batch is never cut, so neither is a record.
 *
 *      batches   |---|---|---|---|---|---|---|---|---|
 *      objects   [ 00-0.log     ][ 00-1.log  ][ 01-0.log
 *                                ^ full       ^ another hour
 *
 * - An object is appended to only when everything in the one before is acknowledged.
 * - Nothing is kept of an object that was left, however many there were.
 * - The next object is looked for while a batch is on its way to this one, in a single attempt. Where
 *   that fails it is looked for again when it is needed, then with the stream's patience.
 */

import { ok } from 'node:assert/strict'
import { checkTarget } from '../address.ts'
import { Line } from '../appender/line.ts'
import { Appender, type AppenderOptions, type AppendInfo, type Destination } from '../appender.ts'
import { OssError, objectFull } from '../errors.ts'
import type { Batch, Tail } from '../tail.ts'
import { Finder, type Found, withMend } from './finder.ts'
import type { KeyFunction } from './naming.ts'

export interface RollerOptions extends Omit<AppenderOptions, 'target' | 'position' | 'crc64'> {
  readonly bucket: string
  readonly nameKey: KeyFunction
  /** Bytes of an object at which the next begins. */
  readonly maxBytes: number
  /** Bytes of a full batch. */
  readonly highWaterMark: number
  /** Close each object for appends when it is left. */
  readonly sealOnRoll: boolean
  readonly now: () => Date
  readonly onRoll: (info: RollInfo) => void
}

/** What `'roll'` carries: the object that was left. */
export interface RollInfo {
  /** Its key. */
  readonly key: string
  /** Its length in bytes. */
  readonly bytes: number
  /** CRC-64 of all of it, an unsigned decimal string. */
  readonly crc64: string
  /** When this stream took it into use. */
  readonly startedAt: Date
  /** When its last append was acknowledged; if this stream made none, as `startedAt`. */
  readonly endedAt: Date
}

/** The object in use. */
interface InUse {
  readonly appender: Appender
  readonly index: number
  readonly startedAt: Date
  endedAt: Date
}

/** Milliseconds. An object that begins so soon is looked for now: about the time between two batches. */
const SOON = 2_000

export class Roller implements Destination {
  readonly #options: RollerOptions
  readonly #line: Line
  #inUse: InUse | undefined
  #ahead: Ahead | undefined

  constructor(options: RollerOptions) {
    this.#options = options
    this.#line = new Line(options)
  }

  get key(): string | undefined {
    return this.#inUse?.appender.key
  }

  get tail(): Tail | undefined {
    return this.#inUse?.appender.tail
  }

  get exists(): boolean {
    return this.#inUse?.appender.exists ?? false
  }

  hold(): void {
    this.#line.hold()
  }

  abort(reason: Error): void {
    this.#ahead?.stop()
    if (this.#inUse) this.#inUse.appender.abort(reason)
    else this.#line.abort(reason)
  }

  throwIfAborted(): void {
    this.#inUse?.appender.throwIfAborted()
  }

  /** Finds the object of the present date to go on with. */
  async open(): Promise<Tail> {
    const date = this.#options.now()
    return this.#use(await this.#find(date, 0), date)
  }

  /** Appends one batch to the object in use, or to the next. */
  async append(batch: Batch): Promise<AppendInfo> {
    const date = this.#options.now()
    const { length } = batch.bytes
    let next = this.#isMoved(date) ? 0 : this.#indexAfter(date, this.#position, length)
    while (next !== undefined) {
      await this.#roll(date, next)
      next = this.#indexAfter(date, this.#position, length)
    }
    const { inUse } = this.#present()
    const end = this.#position + length
    const appending = inUse.appender.append(batch)
    this.#lookAhead(date, end)
    const info = await appending
    inUse.endedAt = this.#options.now()
    return info
  }

  async create(): Promise<AppendInfo | undefined> {
    this.#ahead?.stop()
    return this.#inUse?.appender.create()
  }

  async complete(): Promise<void> {
    await this.#inUse?.appender.complete()
  }

  /** When nothing of ours is in flight beside the batch. */
  async settled(): Promise<void> {
    await this.#ahead?.found
  }

  get #position(): number {
    return this.#present().tail.position
  }

  /** Whether the objects of this date have other keys than the one in use. */
  #isMoved(date: Date): boolean {
    const { inUse } = this.#present()
    return this.#keyOf(date, inUse.index) !== inUse.appender.key
  }

  /** The index of the object to follow, where `length` bytes more are too many for this one. */
  #indexAfter(date: Date, position: number, length: number): number | undefined {
    const { maxBytes } = this.#options
    // What is too much for any object has one of its own.
    if (position === 0 || position + length <= maxBytes) return undefined
    const { inUse } = this.#present()
    const next = inUse.index + 1
    if (this.#keyOf(date, next) !== inUse.appender.key) return next
    throw this.#ours(withMend(objectFull(position + length, maxBytes)))
  }

  /** Leaves the object in use, complete as it is, for the next. */
  async #roll(date: Date, index: number): Promise<void> {
    const found = await this.#find(date, index)
    const { inUse, tail } = this.#present()
    const { appender, startedAt, endedAt } = inUse
    const isThere = appender.exists
    if (isThere && this.#options.sealOnRoll) await appender.seal()
    await this.#use(found, date)
    const { position: bytes, crc64 } = tail
    if (isThere) this.#options.onRoll({ key: appender.key, bytes, crc64, startedAt, endedAt })
  }

  async #use({ key, index, tail, exists }: Found, date: Date): Promise<Tail> {
    const target = { bucket: this.#options.bucket, key }
    const appender = new Appender({ ...this.#options, target, ...tail, exists }, this.#line)
    await appender.open()
    this.#inUse = { appender, index, startedAt: date, endedAt: date }
    return tail
  }

  async #find(date: Date, from: number): Promise<Found> {
    const keyOf = (index: number) => this.#keyOf(date, index)
    const ahead = this.#ahead
    const isNeeded = ahead?.key === keyOf(from)
    if (!isNeeded) ahead?.stop()
    const found = await ahead?.found
    this.#ahead = undefined
    return isNeeded && found ? found : new Finder(this.#options, this.#line).find(keyOf, from)
  }

  /** While a batch that ends at `position` is on its way: looks for the next object, if its time is near. */
  #lookAhead(date: Date, position: number): void {
    try {
      const soon = new Date(date.getTime() + SOON)
      if (this.#isMoved(soon)) {
        this.#seek(soon, 0)
        return
      }
      const next = this.#indexAfter(date, position, this.#options.highWaterMark)
      if (next !== undefined) this.#seek(date, next)
    } catch {
      // Whatever it is, it comes up again when the object is needed.
    }
  }

  #seek(date: Date, from: number): void {
    const keyOf = (index: number) => this.#keyOf(date, index)
    if (this.#ahead?.key === keyOf(from)) return
    const ahead = new Ahead(this.#options, keyOf, from, this.#ahead)
    this.#ahead = ahead
    // One that failed is over: beside the next batch there can be another.
    void ahead.found.then(found => {
      if (!found && this.#ahead === ahead) this.#ahead = undefined
    })
  }

  #keyOf(date: Date, index: number): string {
    const { bucket, nameKey } = this.#options
    try {
      const key = nameKey({ date: new Date(date), index })
      // A promise is refused here; one that rejects as well must not end the process.
      if (typeof key !== 'string') Promise.resolve(key).catch(() => {})
      checkTarget({ bucket, key })
      return key
    } catch (error) {
      if (error instanceof OssError) throw this.#ours(error)
      const details = { cause: error }
      throw this.#ours(new OssError('OSS_ERR_INVALID_OPTION', 'option key: it threw', details))
    }
  }

  #present(): { inUse: InUse; tail: Tail } {
    const inUse = this.#inUse
    const tail = inUse?.appender.tail
    ok(inUse && tail, 'an object is in use')
    return { inUse, tail }
  }

  /** With what is known of the object in use. */
  #ours(error: OssError): OssError {
    const { key, tail } = this
    return Object.assign(error, { bucket: this.#options.bucket }, key && { key }, tail && { tail })
  }
}

/** A search for the object that will probably be next, by one attempt. It never rejects. */
class Ahead {
  /** Of the first object that it asks for. */
  readonly key: string
  /** Undefined: nobody knows. */
  readonly found: Promise<Found | undefined>
  readonly #line: Line

  constructor(
    options: RollerOptions,
    keyOf: (index: number) => string,
    from: number,
    before: Ahead | undefined,
  ) {
    const { clock, retry } = options
    this.key = keyOf(from)
    this.#line = new Line({ clock, retry: { ...retry, maxRetries: 0 }, onRetry: () => {} })
    const finder = new Finder(options, this.#line)
    before?.stop()
    this.found = Promise.resolve(before?.found)
      .then(() => finder.find(keyOf, from))
      .catch(() => undefined)
  }

  stop(): void {
    this.#line.abort(new OssError('OSS_ERR_ABORTED', 'this object is not looked for any more'))
  }
}
