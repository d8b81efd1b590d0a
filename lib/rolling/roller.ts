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
import {
  Appender,
  type AppenderOptions,
  type AppendInfo,
  type AppendShared,
  createShared,
  type Destination,
} from '../append/appender.ts'
import { RetryLoop } from '../append/retry-loop.ts'
import type { Batch, Tail } from '../append/tail.ts'
import { checkTarget } from '../client/endpoint.ts'
import { OssError, objectFull } from '../errors.ts'
import { type FoundObject, ObjectFinder, withHint } from './find-object.ts'
import type { KeyFunction } from './key-pattern.ts'

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
interface CurrentObject {
  readonly appender: Appender
  readonly index: number
  readonly startedAt: Date
  endedAt: Date
}

/** Milliseconds. An object that begins so soon is looked for now: about the time between two batches. */
const LOOKAHEAD_TIME = 2_000

export class Roller implements Destination {
  readonly #options: RollerOptions
  readonly #shared: AppendShared
  #current: CurrentObject | undefined
  #nextSearch: NextObjectSearch | undefined

  constructor(options: RollerOptions) {
    this.#options = options
    this.#shared = createShared(options)
  }

  get key(): string | undefined {
    return this.#current?.appender.key
  }

  get tail(): Tail | undefined {
    return this.#current?.appender.tail
  }

  get exists(): boolean {
    return this.#current?.appender.exists ?? false
  }

  keepProcessAlive(): void {
    this.#shared.retryLoop.keepProcessAlive()
  }

  hurry(): void {
    this.#shared.retryLoop.hurry()
  }

  abort(reason: Error): void {
    this.#nextSearch?.stop()
    if (this.#current) this.#current.appender.abort(reason)
    else this.#shared.retryLoop.abort(reason)
  }

  throwIfAborted(): void {
    this.#current?.appender.throwIfAborted()
  }

  /** Finds the object of the present date to go on with. */
  async open(): Promise<Tail> {
    const date = this.#options.now()
    return this.#switchTo(await this.#find(date, 0), date)
  }

  /** Appends one batch to the object in use, or to the next. */
  async append(batch: Batch): Promise<AppendInfo> {
    const date = this.#options.now()
    const { length } = batch.bytes
    let next = this.#hasKeyChanged(date) ? 0 : this.#nextIndex(date, this.#position, length)
    while (next !== undefined) {
      await this.#roll(date, next)
      next = this.#nextIndex(date, this.#position, length)
    }
    const { current } = this.#requireCurrent()
    const end = this.#position + length
    const appending = current.appender.append(batch)
    this.#searchAhead(date, end)
    const info = await appending
    current.endedAt = this.#options.now()
    return info
  }

  async create(): Promise<AppendInfo | undefined> {
    this.#nextSearch?.stop()
    return this.#current?.appender.create()
  }

  async complete(): Promise<void> {
    await this.#current?.appender.complete()
  }

  /** When nothing of ours is in flight beside the batch. */
  async whenIdle(): Promise<void> {
    await this.#nextSearch?.found
  }

  get #position(): number {
    return this.#requireCurrent().tail.position
  }

  /** Whether the objects of this date have other keys than the one in use. */
  #hasKeyChanged(date: Date): boolean {
    const { current } = this.#requireCurrent()
    return this.#keyOf(date, current.index) !== current.appender.key
  }

  /** The index of the object to follow, where `length` bytes more are too many for this one. */
  #nextIndex(date: Date, position: number, length: number): number | undefined {
    const { maxBytes } = this.#options
    // What is too much for any object has one of its own.
    if (position === 0 || position + length <= maxBytes) return undefined
    const { current } = this.#requireCurrent()
    const next = current.index + 1
    if (this.#keyOf(date, next) !== current.appender.key) return next
    throw this.#withObject(withHint(objectFull(position + length, maxBytes)))
  }

  /** Leaves the object in use, complete as it is, for the next. */
  async #roll(date: Date, index: number): Promise<void> {
    const found = await this.#find(date, index)
    const { current, tail } = this.#requireCurrent()
    const { appender, startedAt, endedAt } = current
    const exists = appender.exists
    if (exists && this.#options.sealOnRoll) await appender.seal()
    await this.#switchTo(found, date)
    const { position: bytes, crc64 } = tail
    if (exists) this.#options.onRoll({ key: appender.key, bytes, crc64, startedAt, endedAt })
  }

  async #switchTo({ key, index, tail, exists }: FoundObject, date: Date): Promise<Tail> {
    const target = { bucket: this.#options.bucket, key }
    const appender = new Appender({ ...this.#options, target, ...tail, exists }, this.#shared)
    await appender.open()
    this.#current = { appender, index, startedAt: date, endedAt: date }
    return tail
  }

  async #find(date: Date, from: number): Promise<FoundObject> {
    const keyOf = (index: number) => this.#keyOf(date, index)
    const search = this.#nextSearch
    const isNeeded = search?.key === keyOf(from)
    if (!isNeeded) search?.stop()
    const found = await search?.found
    this.#nextSearch = undefined
    return isNeeded && found
      ? found
      : new ObjectFinder(this.#options, this.#shared.retryLoop).find(keyOf, from)
  }

  /** While a batch that ends at `position` is on its way: looks for the next object, if its time is near. */
  #searchAhead(date: Date, position: number): void {
    try {
      const soon = new Date(date.getTime() + LOOKAHEAD_TIME)
      if (this.#hasKeyChanged(soon)) {
        this.#startSearch(soon, 0)
        return
      }
      const next = this.#nextIndex(date, position, this.#options.highWaterMark)
      if (next !== undefined) this.#startSearch(date, next)
    } catch {
      // Whatever it is, it comes up again when the object is needed.
    }
  }

  #startSearch(date: Date, from: number): void {
    const keyOf = (index: number) => this.#keyOf(date, index)
    if (this.#nextSearch?.key === keyOf(from)) return
    const search = new NextObjectSearch(this.#options, keyOf, from, this.#nextSearch)
    this.#nextSearch = search
    // One that failed is over: beside the next batch there can be another.
    void search.found.then(found => {
      if (!found && this.#nextSearch === search) this.#nextSearch = undefined
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
      if (error instanceof OssError) throw this.#withObject(error)
      const details = { cause: error }
      throw this.#withObject(
        new OssError('OSS_ERR_INVALID_OPTION', 'option key: it threw', details),
      )
    }
  }

  #requireCurrent(): { current: CurrentObject; tail: Tail } {
    const current = this.#current
    const tail = current?.appender.tail
    ok(current && tail, 'an object is in use')
    return { current, tail }
  }

  /** With what is known of the object in use. */
  #withObject(error: OssError): OssError {
    const { key, tail } = this
    return Object.assign(error, { bucket: this.#options.bucket }, key && { key }, tail && { tail })
  }
}

/** A search for the object that will probably be next, by one attempt. It never rejects. */
class NextObjectSearch {
  /** Of the first object that it asks for. */
  readonly key: string
  /** Undefined: nobody knows. */
  readonly found: Promise<FoundObject | undefined>
  readonly #retryLoop: RetryLoop

  constructor(
    options: RollerOptions,
    keyOf: (index: number) => string,
    from: number,
    previous: NextObjectSearch | undefined,
  ) {
    const { clock, retry } = options
    this.key = keyOf(from)
    this.#retryLoop = new RetryLoop({
      clock,
      retry: { ...retry, maxRetries: 0 },
      onRetry: () => {},
    })
    const finder = new ObjectFinder(options, this.#retryLoop)
    previous?.stop()
    this.found = Promise.resolve(previous?.found)
      .then(() => finder.find(keyOf, from))
      .catch(() => undefined)
  }

  stop(): void {
    this.#retryLoop.abort(new OssError('OSS_ERR_ABORTED', 'this object is not looked for any more'))
  }
}
