/**
 * Carries the bytes of a followed file to its objects. The file is source and journal in one: after any death the
 * newest object tells by length and CRC-64 where to go on. Each append is a part of the file, so one of a dead
 * process that arrives late is what the living one would have sent.
 */

import { basename } from 'node:path'
import { EMPTY_TAIL } from '../append/tail.ts'
import { systemClock } from '../clock.ts'
import { update } from '../crc64/index.ts'
import { createAppendStream, type OssAppendStream, type Tail, type UrlOptions } from '../index.ts'
import { DEFAULT_MAX_RECORD_BYTES } from '../options.ts'
import type { FoundObject } from '../rolling/find-object.ts'
import { withInternals } from '../stream/internals.ts'
import type { FollowCommand } from './commands.ts'
import { InterruptedError, MismatchError, NotContinuedError } from './failure.ts'
import { closeAll, type Generation, openIfExists, openRotated } from './follow-files.ts'
import { findStart, type ObjectSeries, type Start } from './follow-objects.ts'
import { FileWatcher } from './follow-watcher.ts'
import { formatCount } from './progress.ts'
import type { Reporter } from './reporter.ts'
import { DELIVERY_TIME, graceNotice, onAbort, type Signals } from './signals.ts'

/** Bytes. */
const READ_BYTES = 262_144
const NEWLINE = 10

export interface FollowerOptions {
  readonly command: FollowCommand
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

export class Follower {
  readonly #options: FollowerOptions
  readonly #startTime = performance.now()
  #buffer = Buffer.allocUnsafe(READ_BYTES)
  #watcher: FileWatcher | undefined
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
  #isCut = false
  /** When reading stops, after the first signal. */
  #deadline = Number.POSITIVE_INFINITY

  constructor(options: FollowerOptions) {
    this.#options = options
  }

  /** Bytes have been read, so a signal has to deliver them. */
  get isStarted(): boolean {
    return this.#watcher !== undefined
  }

  /** A file became shorter while it was read. */
  get isCut(): boolean {
    return this.#isCut
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

  /** Milliseconds. */
  get duration(): number {
    return performance.now() - this.#startTime
  }

  /** Resolves after a signal, when everything that was read is acknowledged. */
  async run(): Promise<void> {
    const { reporter, signals, signal } = this.#options
    const stopListening = onAbort(signals.first, () => this.#onSignal())
    try {
      do {
        await this.#watcher?.close()
        this.#watcher = this.#watch(await this.#findStart())
      } while (await this.#followUntilTruncated(this.#watcher))
    } catch (error) {
      throw signal.aborted ? this.#interrupted() : error
    } finally {
      stopListening()
      reporter.stop()
      this.#stream?.destroy()
      await this.#watcher?.close()
    }
  }

  #onSignal(): void {
    const { command, reporter, signals } = this.#options
    reporter.note(graceNotice(signals, command.grace))
    this.#deadline = signals.clock.now() + Math.max(0, command.grace - DELIVERY_TIME)
    this.#hurryStream?.()
    this.#watcher?.pollNow()
  }

  get #isStopping(): boolean {
    return this.#options.signals.first.aborted
  }

  #interrupted(): InterruptedError {
    const { command, signals } = this.#options
    const position = this.#stream?.position
    const generations = this.#watcher?.generations ?? []
    const unread = generations.reduce(
      (sum, { size, offset }) => sum + Math.max(0, size - offset),
      0,
    )
    const unacknowledged = this.#bytesSent - (this.#stream?.bytesWritten ?? 0) + unread
    const limit = signals.second.aborted ? '' : `, and not done after ${command.grace / 1000} s`
    const end = position === undefined ? '' : `, which ends at ${position}`
    const count = formatCount(unacknowledged, 'byte')
    const message = `interrupted by ${signals.received}${limit}: ${count} of ${command.file} may not be in the object${end}`
    return new InterruptedError(signals.exitCode, message, { position, unacknowledged })
  }

  /** Which generations to read, the oldest first. */
  async #findStart(): Promise<Generation[]> {
    const { file } = this.#options.command
    const current = await openIfExists(file)
    const generations = current ? [current] : []
    try {
      generations.push(...(await openRotated(file, current)))
      const start = await this.#compare(generations)
      if (!start && generations.length > 1 && !this.#isCut) this.#noteNotSent(generations[1]!)
      const first = start?.generation ?? current
      const wanted = first ? generations.slice(0, generations.indexOf(first) + 1) : []
      await closeAll(generations.filter(each => !wanted.includes(each)))
      if (start) this.#goOn(start, current)
      return wanted.reverse()
    } catch (error) {
      await closeAll(generations)
      throw error
    }
  }

  /** After a file was truncated, no other need have the bytes of the object: the loss is noted already. */
  async #compare(generations: readonly Generation[]): Promise<Start | undefined> {
    const { series, signals } = this.#options
    try {
      return await findStart(generations, series, signals.first)
    } catch (error) {
      if (this.#isCut && error instanceof NotContinuedError) return undefined
      throw error
    }
  }

  #goOn({ generation, object }: Start, current: Generation | undefined): void {
    if (!object) return
    this.#use(generation, object)
    if (generation === current) return
    const name = basename(generation.path)
    this.#options.reporter.note(`${name} was rotated meanwhile, and is finished first`)
  }

  #noteNotSent({ path }: Generation): void {
    const { reporter } = this.#options
    reporter.note(`there is no object yet: ${basename(path)} is older, and is not sent`)
  }

  #watch(generations: readonly Generation[]): FileWatcher {
    const { command, reporter } = this.#options
    const { file, interval } = command
    const note = (text: string) => reporter.note(text)
    return new FileWatcher({ file, interval, clock: systemClock, note }, generations)
  }

  /** Resolves to true if a file was truncated: the files have to be compared with the object again. */
  async #followUntilTruncated(watcher: FileWatcher): Promise<boolean> {
    for (;;) {
      const isLast = this.#isStopping
      if (isLast) watcher.pollNow()
      await watcher.nextPoll()
      const generation = watcher.oldest
      if (generation && generation.size < generation.offset) {
        const isRotated = watcher.generations.length > 1
        await this.#onTruncated(generation)
        if (!isRotated) return true
        await watcher.shift()
        continue
      }
      const isAgain = generation && (await this.#step(generation, watcher, isLast))
      if (isLast && !isAgain) return false
    }
  }

  /** Sends the bytes there are; the last time, waits until they are acknowledged. Resolves to true if more follow. */
  async #step(generation: Generation, watcher: FileWatcher, isLast: boolean): Promise<boolean> {
    try {
      this.#throwIfFailed()
      const isComplete = watcher.isComplete || (this.#isStopping && watcher.isLeft)
      // Bytes that were written up to this decision belong to the generation.
      if (isComplete) await generation.refresh()
      await this.#send(generation, isComplete)
      if (!isComplete || generation.offset !== generation.size) {
        if (isLast) await this.#closeStream(generation)
        return false
      }
      await this.#leave(generation)
      await watcher.shift()
    } catch (error) {
      if (!(await this.#isContinuable(error, generation))) throw error
    }
    watcher.pollNow()
    return true
  }

  /** Sends the bytes up to the known size; with `--align line` the last line only if it is whole, or the last of all. */
  async #send(generation: Generation, isComplete: boolean): Promise<void> {
    const { align, maxRecordBytes = DEFAULT_MAX_RECORD_BYTES } = this.#options.options
    const isByLine = align === '\n' && !isComplete
    const { clock } = this.#options.signals
    const { size } = generation
    if (generation.offset < size) await this.#findObject(generation)
    while (generation.offset < size && clock.now() < this.#deadline) {
      const buffer = this.#buffer.subarray(0, size - generation.offset)
      const length = await generation.read(buffer, generation.offset)
      if (length === 0) return
      const bytes = buffer.subarray(0, length)
      const isTooLong = length > maxRecordBytes
      const end = isByLine && !isTooLong ? bytes.lastIndexOf(NEWLINE) + 1 : length
      if (end > 0) await this.#write(generation, bytes.subarray(0, end))
      else if (length < this.#buffer.length) return
      // The line is longer than the buffer.
      else this.#buffer = Buffer.allocUnsafe(length * 2)
    }
  }

  /** Finds the object of a generation, behind that of the generation before. */
  async #findObject(generation: Generation): Promise<void> {
    if (this.#current?.generation === generation) return
    const { series, signal } = this.#options
    const previous = this.#previous
    const isSameDate = previous && series.keyOf(generation, previous.index) === previous.key
    const object = await series.next(generation, isSameDate ? previous.index + 1 : 0)
    const { tail, index } = object
    if (tail.position === 0 || (await generation.beginsWith(tail, signal))) {
      this.#use(generation, object)
      return
    }
    const key = series.keyOf(generation, index + 1)
    this.#use(generation, { key, index: index + 1, tail: EMPTY_TAIL, exists: false })
  }

  /** The object has the first bytes of the generation. */
  #use(generation: Generation, object: FoundObject): void {
    this.#current = { generation, object, startedAt: new Date() }
    skipTo(generation, object.tail)
  }

  async #write(generation: Generation, bytes: Buffer): Promise<void> {
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
    const { bucket, options, reporter } = this.#options
    const { key, tail } = this.#current!.object
    const onHurry = (hurry: () => void) => {
      this.#hurryStream = hurry
      if (this.#isStopping) hurry()
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

  #throwIfFailed(): void {
    if (this.#stream?.errored) throw this.#stream.errored
  }

  /** The generation is complete, so the next one follows. */
  async #leave(generation: Generation): Promise<void> {
    const endedAt = new Date()
    const isWritten = this.#stream !== undefined
    await this.#closeStream(generation)
    const { object, startedAt } = this.#current ?? {}
    if (isWritten && object && startedAt) {
      const { position: bytes, crc64 } = object.tail
      this.#options.reporter.onRoll({ key: object.key, bytes, crc64, startedAt, endedAt })
    }
    this.#previous = object ?? this.#previous
    this.#current = undefined
  }

  /**
   * A copy that was made before (`copytruncate`) has the bytes that were not read. It is found by comparing all
   * files with the object again, unless a newer generation is waiting already.
   */
  async #onTruncated(generation: Generation): Promise<void> {
    const { size, offset, path } = generation
    this.#isCut = true
    const lengths = `${size} bytes, of which ${offset} were read`
    const consequence = 'bytes that no rotated file has are lost'
    this.#options.reporter.note(
      `${path} became shorter while it was read (${lengths}): ${consequence}`,
    )
    await this.#leave(generation)
  }

  /** Another process, perhaps a dead one, has appended the same bytes of the file. Then reading goes on behind them. */
  async #isContinuable(error: unknown, generation: Generation): Promise<boolean> {
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
  async #closeStream({ offset, crc }: Generation): Promise<void> {
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
