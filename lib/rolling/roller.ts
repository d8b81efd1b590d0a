/**
 * One object after another, as the destination of a stream's batches. Before each batch the Roller computes
 * the key of the present time. If that differs from the key in use, or the batch would make the object too
 * long, the batch goes to the next object. A batch is never divided, and neither is a record.
 *
 *      batches   |---|---|---|---|---|---|---|---|---|
 *      objects   [ 00-0.log     ][ 00-1.log  ][ 01-0.log
 *                                ^ full       ^ next hour
 *
 * An object is left only when everything in it is acknowledged; no state of it is kept. Where other writers
 * append too, it is also left when it takes no more appends, and nothing of this stream is in doubt there.
 */

import { ok } from 'node:assert/strict'
import { Appender, type AppenderOptions } from '../append/appender.ts'
import type { AppendInfo, Destination } from '../append/destination.ts'
import { StreamContext } from '../append/stream-context.ts'
import type { Batch, Tail } from '../append/tail.ts'
import { checkTarget } from '../client/endpoint.ts'
import { OssError, objectFull, withContext } from '../errors.ts'
import { CLOSED_CODES, type FoundObject, ObjectFinder, withIndexHint } from './find-object.ts'
import type { KeyFunction } from './key-pattern.ts'

/** What all objects of a stream are appended with. */
export type ObjectOptions = Omit<
  AppenderOptions,
  'target' | 'position' | 'crc64' | 'exists' | 'maxBytes'
>

export interface RollerOptions {
  readonly objects: ObjectOptions
  readonly bucket: string
  readonly nameKey: KeyFunction
  /** Bytes of an object at which the next one begins. */
  readonly maxBytes: number
  /** Seal each object when it is left. */
  readonly sealOnRoll: boolean
  /** The wall clock. */
  readonly now: () => Date
  readonly onRoll: (info: RollInfo) => void
}

/** What `'roll'` carries: the object that was left. */
export interface RollInfo {
  /** Key of the object. */
  readonly key: string
  /** Length of the object in bytes. */
  readonly bytes: number
  /** CRC-64 of all its bytes, an unsigned decimal string. */
  readonly crc64: string
  /** When this stream began to use the object. */
  readonly startedAt: Date
  /** When its last append was acknowledged; the same as `startedAt` if this stream appended nothing to it. */
  readonly endedAt: Date
}

/** Codes of an object that takes no more appends of a shared stream. */
const LEFT_CODES: ReadonlySet<string> = new Set([
  ...CLOSED_CODES,
  'OSS_ERR_OBJECT_FULL',
  'OSS_ERR_OBJECT_REPLACED',
])

/** The object in use. */
interface CurrentObject {
  readonly appender: Appender
  readonly index: number
  readonly startedAt: Date
  endedAt: Date
}

export class Roller implements Destination {
  readonly #options: RollerOptions
  readonly #context: StreamContext
  #current: CurrentObject | undefined
  /** The latest time that keys were computed for, in milliseconds. */
  #latestTime = Number.NEGATIVE_INFINITY

  constructor(options: RollerOptions, context = new StreamContext(options.objects)) {
    this.#options = options
    this.#context = context
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
    this.#context.retryLoop.keepProcessAlive()
  }

  hurry(): void {
    this.#context.retryLoop.hurry()
  }

  abort(reason: Error): void {
    if (this.#current) this.#current.appender.abort(reason)
    else this.#context.retryLoop.abort(reason)
  }

  throwIfAborted(): void {
    this.#current?.appender.throwIfAborted()
  }

  /** Finds the object of the present time. */
  async open(): Promise<Tail> {
    const date = this.#now()
    return this.#switchTo(await this.#find(date, 0), date)
  }

  get ahead(): Tail | undefined {
    return this.#current?.appender.ahead
  }

  sendAhead(batch: Batch): boolean {
    const { current, ahead } = { current: this.#current, ahead: this.ahead }
    if (!current || !ahead) return false
    return this.#isForCurrent(batch, ahead) && current.appender.sendAhead(batch)
  }

  /** Whether the batch belongs into the object in use, once that has the tail `ahead`. */
  #isForCurrent({ length }: Batch, ahead: Tail): boolean {
    const date = this.#now()
    try {
      return !this.#hasKeyChanged(date) && this.#nextIndex(date, length, ahead) === undefined
    } catch {
      // The append of the batch in its turn fails with it.
      return false
    }
  }

  /** Appends one batch to the object in use, or to a next one. */
  async append(batch: Batch): Promise<AppendInfo> {
    for (;;) {
      // An attempt that may land yet binds the batch to its object.
      if (!this.#current?.appender.hasDoubt) await this.#rollFor(batch)
      const { current } = this.#requireCurrent()
      try {
        const info = await current.appender.append(batch)
        current.endedAt = this.#now()
        return info
      } catch (error) {
        await this.#leave(error)
      }
    }
  }

  /** Goes on to the object of the present time that has room for the batch. */
  async #rollFor({ length }: Batch): Promise<void> {
    const date = this.#now()
    let next = this.#hasKeyChanged(date) ? 0 : this.#nextIndex(date, length)
    while (next !== undefined) {
      await this.#roll(date, next)
      next = this.#nextIndex(date, length)
    }
  }

  /**
   * Leaves a shared object that another writer has filled, sealed or deleted, if nothing of this stream is in
   * doubt there. Never goes on at the same key: an append that was sent to it could land again.
   *
   * @throws `error`, in all other cases.
   */
  async #leave(error: unknown): Promise<void> {
    const isLeft = error instanceof OssError && LEFT_CODES.has(error.code) && !error.unresolved
    // A batch that was not even sent is too long for any object.
    if (!this.#options.objects.shared || !isLeft || error.attempts === undefined) throw error
    const date = this.#now()
    const { current } = this.#requireCurrent()
    const next = this.#hasKeyChanged(date) ? 0 : current.index + 1
    if (this.#keyOf(date, next) === current.appender.key) throw withIndexHint(error)
    await this.#roll(date, next)
  }

  /** Creates nothing: an object of a date exists only if bytes of that date do. */
  async create(): Promise<undefined> {}

  async complete(): Promise<void> {
    if (this.exists) await this.#current?.appender.complete()
  }

  /**
   * The present time, which does not go back when the clock does. Otherwise a stream would return to an
   * object that is left, and fail if that is sealed.
   */
  #now(): Date {
    this.#latestTime = Math.max(this.#latestTime, this.#options.now().getTime())
    return new Date(this.#latestTime)
  }

  /** Whether the objects of this date have other keys than the one in use. */
  #hasKeyChanged(date: Date): boolean {
    const { current } = this.#requireCurrent()
    return this.#keyOf(date, current.index) !== current.appender.key
  }

  /** The index of the next object, if `length` more bytes are too many for the one in use. */
  #nextIndex(
    date: Date,
    length: number,
    { position } = this.#requireCurrent().tail,
  ): number | undefined {
    const { maxBytes } = this.#options
    const { current } = this.#requireCurrent()
    // A batch that is too long for any object has one of its own.
    if (position === 0 || position + length <= maxBytes) return undefined
    const next = current.index + 1
    if (this.#keyOf(date, next) !== current.appender.key) return next
    throw this.#withObject(withIndexHint(objectFull(position + length, maxBytes)))
  }

  /** Leaves the object in use, and continues with the next one. */
  async #roll(date: Date, index: number): Promise<void> {
    const found = await this.#find(date, index)
    const { current, tail } = this.#requireCurrent()
    const { appender, startedAt, endedAt } = current
    const { exists, key } = appender
    if (exists && this.#options.sealOnRoll) {
      const { bucket, objects } = this.#options
      const { beforeAppend } = objects
      // A later process learns nothing from a sealed object where HEAD is forbidden.
      await beforeAppend?.({ bucket, key: found.key }, found.tail)
      await appender.seal()
    }
    await this.#switchTo(found, date)
    const { position: bytes, crc64 } = tail
    if (exists) this.#options.onRoll({ key, bytes, crc64, startedAt, endedAt })
  }

  async #switchTo({ key, index, tail, exists }: FoundObject, date: Date): Promise<Tail> {
    const { bucket, objects, maxBytes } = this.#options
    const options = { ...objects, maxBytes, target: { bucket, key }, ...tail, exists }
    const appender = new Appender(options, this.#context)
    await appender.open()
    this.#current = { appender, index, startedAt: date, endedAt: date }
    return tail
  }

  #find(date: Date, from: number): Promise<FoundObject> {
    const { bucket, maxBytes, objects } = this.#options
    const { client, headers } = objects
    const options = { bucket, maxBytes, client, headers }
    const finder = new ObjectFinder(options, this.#context)
    return finder.find(index => this.#keyOf(date, index), from)
  }

  #keyOf(date: Date, index: number): string {
    const { bucket, nameKey } = this.#options
    try {
      // A Date of its own, since a key function may change it.
      const key = nameKey({ date: new Date(date), index, slot: this.#context.slot })
      // A promise is refused below. If it rejects later, the rejection must not end the process.
      if (typeof key !== 'string') Promise.resolve(key).catch(() => {})
      checkTarget({ bucket, key })
      return key
    } catch (error) {
      if (error instanceof OssError) throw this.#withObject(error)
      const details = { cause: error }
      throw this.#withObject(
        new OssError('OSS_ERR_INVALID_OPTION', 'option key: the function threw', details),
      )
    }
  }

  #requireCurrent(): { current: CurrentObject; tail: Tail } {
    const current = this.#current
    const tail = current?.appender.tail
    ok(current && tail, 'an object is in use')
    return { current, tail }
  }

  /** Adds the object in use to an error. */
  #withObject(error: OssError): OssError {
    const { key, tail } = this
    return withContext(error, { bucket: this.#options.bucket, key, tail })
  }
}
