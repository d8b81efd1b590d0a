/**
 * Reads a followed file, generation after generation, and has it delivered. The file is source and journal in one:
 * after any death the newest object tells by length and CRC-64 where to go on. Each append is a part of the file,
 * so one of a dead process that arrives late is what the living one would have sent.
 */

import { basename } from 'node:path'
import { systemClock } from '../clock.ts'
import { formatCount } from '../errors.ts'
import type { UrlOptions } from '../index.ts'
import { DEFAULT_MAX_RECORD_BYTES } from '../options.ts'
import type { FollowCommand } from './commands.ts'
import { InterruptedError, NotContinuedError } from './failure.ts'
import type { FollowDelivery } from './follow-delivery.ts'
import { closeAll, type Generation, openIfExists, openRotated } from './follow-files.ts'
import { findStart, type ObjectSeries, type Start } from './follow-objects.ts'
import { FileWatcher } from './follow-watcher.ts'
import type { Reporter } from './reporter.ts'
import { DELIVERY_TIME, graceNotice, onAbort, type Signals } from './signals.ts'

/** Bytes. */
const READ_BYTES = 262_144
const NEWLINE = 10

export interface FollowerOptions {
  readonly command: FollowCommand
  readonly options: UrlOptions
  readonly series: ObjectSeries
  readonly delivery: FollowDelivery
  readonly reporter: Reporter
  readonly signals: Signals
  /** Aborted at the end of the grace. */
  readonly signal: AbortSignal
}

export class Follower {
  readonly #options: FollowerOptions
  readonly #delivery: FollowDelivery
  readonly #startTime = performance.now()
  #buffer = Buffer.allocUnsafe(READ_BYTES)
  #watcher: FileWatcher | undefined
  #isCut = false
  /** When reading stops, after the first signal. */
  #deadline = Number.POSITIVE_INFINITY

  constructor(options: FollowerOptions) {
    this.#options = options
    this.#delivery = options.delivery
  }

  /** Reading has begun, so a signal has to deliver what was read. */
  get isStarted(): boolean {
    return this.#watcher !== undefined
  }

  /** A file became shorter while it was read. */
  get isCut(): boolean {
    return this.#isCut
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
      this.#delivery.destroy()
      await this.#watcher?.close()
    }
  }

  #onSignal(): void {
    const { command, reporter, signals } = this.#options
    reporter.note(graceNotice(signals, command.grace))
    this.#deadline = signals.clock.now() + Math.max(0, command.grace - DELIVERY_TIME)
    this.#delivery.hurry()
    this.#watcher?.pollNow()
  }

  get #isStopping(): boolean {
    return this.#options.signals.first.aborted
  }

  #interrupted(): InterruptedError {
    const { command, signals } = this.#options
    const { position, unacknowledged: sent } = this.#delivery
    const generations = this.#watcher?.generations ?? []
    const unread = generations.reduce(
      (sum, { size, offset }) => sum + Math.max(0, size - offset),
      0,
    )
    const unacknowledged = sent + unread
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
    this.#delivery.use(generation, object)
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
      this.#delivery.throwIfFailed()
      const isComplete = watcher.isComplete || (this.#isStopping && watcher.isLeft)
      // Bytes that were written up to this decision belong to the generation.
      if (isComplete) await generation.refresh()
      await this.#send(generation, isComplete)
      if (!isComplete || generation.offset !== generation.size) {
        if (isLast) await this.#delivery.close(generation)
        return false
      }
      await this.#delivery.leave(generation)
      await watcher.shift()
    } catch (error) {
      if (!(await this.#delivery.isContinuable(error, generation))) throw error
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
    if (generation.offset < size) await this.#delivery.find(generation)
    while (generation.offset < size && clock.now() < this.#deadline) {
      const buffer = this.#buffer.subarray(0, size - generation.offset)
      const length = await generation.read(buffer, generation.offset)
      if (length === 0) return
      const bytes = buffer.subarray(0, length)
      const wholeLines = isByLine ? bytes.lastIndexOf(NEWLINE) + 1 : length
      // The stream refuses a line that is too long.
      const end = wholeLines === 0 && length > maxRecordBytes ? length : wholeLines
      if (end > 0) await this.#delivery.write(generation, bytes.subarray(0, end))
      else if (length < this.#buffer.length) return
      // The line is longer than the buffer.
      else this.#buffer = Buffer.allocUnsafe(length * 2)
    }
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
    await this.#delivery.leave(generation)
  }
}
