/**
 * Delivers the bytes of one generation of a followed file after the other, each to an object of its own, over one
 * stream at a time.
 */

import { EMPTY_TAIL } from '../append/tail.ts'
import { update } from '../crc64/index.ts'
import { createAppendStream, type OssAppendStream, type Tail, type UrlOptions } from '../index.ts'
import type { FoundObject } from '../rolling/find-object.ts'
import { withInternals } from '../stream/internals.ts'
import { MismatchError } from './failure.ts'
import type { Generation } from './follow-files.ts'
import type { ObjectSeries } from './follow-objects.ts'
import type { Reporter } from './reporter.ts'
import type { Signals } from './signals.ts'

export interface FollowDeliveryOptions {
  readonly bucket: string
  readonly options: UrlOptions
  readonly series: ObjectSeries
  readonly reporter: Reporter
  readonly signals: Signals
  /** Aborted at the end of the grace. */
  readonly signal: AbortSignal
}

interface CurrentObject {
  readonly generation: Generation
  object: FoundObject
  readonly startedAt: Date
}

export class FollowDelivery {
  readonly #options: FollowDeliveryOptions
  /** The object of the generation that is read. Undefined: it is still to be found. */
  #current: CurrentObject | undefined
  /** The object of the generation before that. */
  #previous: FoundObject | undefined
  /** Opened at the first byte: the end of a stream would create an empty object. */
  #stream: OssAppendStream | undefined
  /** Makes the waits of that stream short. */
  #hurryStream: (() => void) | undefined
  /** Bytes given to that stream. */
  #bytesSent = 0
  /** Bytes acknowledged by the streams before. */
  #acknowledged = 0
  #objects = 0

  constructor(options: FollowDeliveryOptions) {
    this.#options = options
  }

  /** The last object, as acknowledged. */
  get object(): { url: string; position: number; crc64: string } | undefined {
    const object = this.#current?.object ?? this.#previous
    return object && { url: this.#options.series.urlOf(object), ...object.tail }
  }

  /** Objects that got bytes. */
  get objects(): number {
    return this.#objects
  }

  /** Bytes acknowledged. */
  get bytes(): number {
    return this.#acknowledged + (this.#stream?.bytesWritten ?? 0)
  }

  /** Bytes given to the stream in use, and not acknowledged. */
  get unacknowledged(): number {
    return this.#stream ? this.#bytesSent - this.#stream.bytesWritten : 0
  }

  /** The acknowledged end of the object, if a stream is open. */
  get position(): number | undefined {
    return this.#stream?.position
  }

  /** Makes the waits between attempts short. */
  hurry(): void {
    this.#hurryStream?.()
  }

  destroy(): void {
    this.#stream?.destroy()
  }

  throwIfFailed(): void {
    if (this.#stream?.errored) throw this.#stream.errored
  }

  /** Finds the object of a generation, behind that of the generation before. */
  async find(generation: Generation): Promise<void> {
    if (this.#current?.generation === generation) return
    const { series, signal } = this.#options
    const previous = this.#previous
    const isSameDate = previous && series.keyOf(generation, previous.index) === previous.key
    const object = await series.next(generation, isSameDate ? previous.index + 1 : 0)
    const { tail, index } = object
    if (tail.position === 0 || (await generation.beginsWith(tail, signal))) {
      this.use(generation, object)
      return
    }
    const key = series.keyOf(generation, index + 1)
    this.use(generation, { key, index: index + 1, tail: EMPTY_TAIL, exists: false })
  }

  /** The object has the first bytes of the generation. */
  use(generation: Generation, object: FoundObject): void {
    this.#current = { generation, object, startedAt: new Date() }
    skipTo(generation, object.tail)
  }

  async write(generation: Generation, bytes: Buffer): Promise<void> {
    this.#stream ??= this.#openStream()
    const stream = this.#stream
    // The callback means that the bytes are copied.
    await new Promise<void>((resolve, reject) => {
      stream.write(bytes, error => (error ? reject(stream.errored ?? error) : resolve()))
    })
    this.#bytesSent += bytes.length
    generation.offset += bytes.length
    generation.crc = update(generation.crc, bytes)
  }

  #openStream(): OssAppendStream {
    const { bucket, options, reporter, signals } = this.#options
    const { key, tail } = this.#current!.object
    const onHurry = (hurry: () => void) => {
      this.#hurryStream = hurry
      if (signals.first.aborted) hurry()
    }
    const stream = createAppendStream(
      withInternals({ ...options, bucket, key, ...tail }, { onHurry }),
    )
    // The next step throws it.
    stream.on('error', () => {})
    this.#objects += 1
    this.#bytesSent = 0
    reporter.watch({
      stream,
      bytesDone: () => this.bytes,
      bytesSent: () => this.#bytesSent,
    })
    return stream
  }

  /** The generation is complete, so the next one follows. */
  async leave(generation: Generation): Promise<void> {
    const endedAt = new Date()
    const isWritten = this.#stream !== undefined
    await this.close(generation)
    const { object, startedAt } = this.#current ?? {}
    if (isWritten && object && startedAt) {
      const { position: bytes, crc64 } = object.tail
      this.#options.reporter.onRoll({ key: object.key, bytes, crc64, startedAt, endedAt })
    }
    this.#previous = object ?? this.#previous
    this.#current = undefined
  }

  /** Another process, perhaps a dead one, has appended the same bytes of the file. Then reading goes on behind them. */
  async isContinuable(error: unknown, generation: Generation): Promise<boolean> {
    const { series, signal, reporter } = this.#options
    const current = this.#current
    const stream = this.#stream
    if (!current || !stream || !isConflict(error)) return false
    const { position = 0 } = stream
    this.#dropStream(stream)
    const tail = await series.tailAt(generation, current.object.index)
    const hasGrown = tail.position > position
    if (!hasGrown || !(await generation.beginsWith(tail, signal))) return false
    reporter.note(
      `the object has more bytes of the file than were sent: going on at ${tail.position}`,
    )
    current.object = { ...current.object, tail, exists: true }
    skipTo(generation, tail)
    return true
  }

  /** Ends the stream, and compares what OSS acknowledged with what was read. */
  async close({ offset, crc }: Generation): Promise<void> {
    const stream = this.#stream
    const current = this.#current
    if (!stream || !current) return
    await new Promise<void>((resolve, reject) => {
      stream.close(error => (error ? reject(error) : resolve()))
    })
    this.#dropStream(stream)
    const tail = { position: stream.position!, crc64: stream.crc64! }
    current.object = { ...current.object, tail, exists: true }
    if (tail.position === offset && tail.crc64 === crc.toString()) return
    const sent = `the bytes that were read (length ${offset}, CRC-64 ${crc})`
    const acknowledged = `length ${tail.position}, CRC-64 ${tail.crc64}`
    throw new MismatchError([`OSS acknowledged ${acknowledged}, and not ${sent}`])
  }

  #dropStream(stream: OssAppendStream): void {
    this.#options.reporter.stop()
    this.#acknowledged += stream.bytesWritten
    this.#stream = undefined
  }
}

/** The object has these first bytes of the generation. */
function skipTo(generation: Generation, { position, crc64 }: Tail): void {
  generation.offset = position
  generation.crc = BigInt(crc64)
}

function isConflict(error: unknown): boolean {
  return (error as { code?: unknown }).code === 'PositionNotEqualToLength'
}
