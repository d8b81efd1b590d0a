/**
 * Watches a file as `tail -F` does: by inode, over rotation by rename. It polls: `fs.watch()` misses events
 * on network file systems, and says nothing of inodes.
 *
 * A rotated generation may still grow, since its writer keeps the old descriptor until it reopens the file. It
 * is complete when a newer generation has bytes, which shows that the writer has reopened, and when it has not
 * grown for `QUIET_POLLS` polls since. The wait is for files with several writers, which reopen one by one.
 */

import type { Clock, Timer } from '../clock.ts'
import {
  closeAll,
  type Generation,
  isSameFile,
  MAX_GENERATIONS,
  openIfExists,
  openRotated,
  statIfExists,
} from './follow-files.ts'

/** Polls in which a rotated generation must not grow. */
const QUIET_POLLS = 5
/** Polls that look for the newest generation among the rotated files. A rotation may still be renaming them. */
const MAX_SEARCHES = 3

export interface FileWatcherOptions {
  readonly file: string
  readonly clock: Clock
  /** Milliseconds between two polls. */
  readonly interval: number
  /** Prints a line of text. */
  readonly note: (text: string) => void
}

export class FileWatcher {
  readonly #options: FileWatcherOptions
  /** The oldest first. A generation leaves only when a newer one is here. */
  readonly #generations: Generation[]
  #timer: Timer | undefined
  #polling: Promise<void> | undefined
  #failure: unknown
  #waiters: (() => void)[] = []
  #searches = 0
  /** Why the file cannot be opened, as it was last noted. */
  #problem: string | undefined
  #missingPolls = 0
  #isFullNoted = false
  #isClosed = false

  /** Takes over open generations, the oldest first. */
  constructor(options: FileWatcherOptions, generations: readonly Generation[] = []) {
    this.#options = options
    this.#generations = [...generations]
    this.pollNow()
  }

  /** The generation to read. Undefined: the file has not existed yet. */
  get oldest(): Generation | undefined {
    return this.#generations[0]
  }

  get generations(): readonly Generation[] {
    return this.#generations
  }

  /** A newer generation than the oldest has bytes, so the writer has reopened the file. */
  get isLeft(): boolean {
    return this.#generations.slice(1).some(({ size }) => size > 0)
  }

  /** The oldest generation will not grow any more. */
  get isComplete(): boolean {
    const { clock, interval } = this.#options
    const quietSince = this.oldest?.quietSince
    return quietSince !== undefined && clock.now() - quietSince >= QUIET_POLLS * interval
  }

  /** Closes the oldest generation. */
  async shift(): Promise<void> {
    await this.#polling
    await this.#generations.shift()?.close()
  }

  /** Resolves after the next poll. Rejects if the file cannot be looked at. */
  async nextPoll(): Promise<void> {
    if (this.#failure === undefined) {
      await new Promise<void>(resolve => this.#waiters.push(resolve))
    }
    if (this.#failure !== undefined) throw this.#failure
  }

  /** Polls without waiting for the time. */
  pollNow(): void {
    if (this.#isClosed || this.#polling) return
    this.#clearTimer()
    this.#polling = this.#poll()
  }

  /** Closes all descriptors. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#clearTimer()
    await this.#polling
    await closeAll(this.#generations.splice(0))
  }

  #clearTimer(): void {
    if (this.#timer) this.#options.clock.clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Never rejects. */
  async #poll(): Promise<void> {
    const { clock, interval } = this.#options
    try {
      await this.#refresh()
      await this.#findNewer()
    } catch (error) {
      this.#failure ??= error
    }
    this.#polling = undefined
    if (!this.#isClosed) this.#timer = clock.setTimeout(() => this.pollNow(), interval)
    for (const resolve of this.#waiters.splice(0)) resolve()
  }

  /** Looks at the sizes, from the newest generation on. */
  async #refresh(): Promise<void> {
    const { clock } = this.#options
    let isNewerWritten = false
    for (const generation of [...this.#generations].reverse()) {
      const { size } = generation
      await generation.refresh()
      const isQuiet = isNewerWritten && generation.size === size
      generation.quietSince = isQuiet ? (generation.quietSince ?? clock.now()) : undefined
      isNewerWritten ||= generation.size > 0
    }
  }

  /** Opens the file, if it is another than before, and those that were rotated between two polls. */
  async #findNewer(): Promise<void> {
    const { file, note } = this.#options
    if (this.#generations.length >= MAX_GENERATIONS) {
      if (!this.#isFullNoted) note(`${this.#generations.length} rotated files wait to be sent`)
      this.#isFullNoted = true
      return
    }
    const newest = this.#generations.at(-1)
    const stats = await statIfExists(file)
    if (stats && newest && isSameFile(stats, newest)) return
    const current = stats && (await this.#open())
    if (!stats) this.#onMissing()
    if (!current) return
    this.#missingPolls = 0
    this.#problem = undefined
    let between: Generation[] | undefined
    try {
      between = newest ? await this.#openBetween(newest, current) : []
    } finally {
      if (between) this.#generations.push(...between, current)
      else await current.close()
    }
  }

  /** Undefined: it has been removed, or it may not be read yet, as while logrotate sets its owner. */
  async #open(): Promise<Generation | undefined> {
    try {
      return await openIfExists(this.#options.file)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error
      this.#noteProblem('may not be read (EACCES)')
      return undefined
    }
  }

  /** During a rotation the file is missing for a moment, which is worth no line. */
  #onMissing(): void {
    this.#missingPolls += 1
    if (this.#missingPolls > 1) this.#noteProblem('does not exist')
  }

  #noteProblem(problem: string): void {
    const { file, note } = this.#options
    if (this.#problem !== problem) note(`waiting for ${file}, which ${problem}`)
    this.#problem = problem
  }

  /** The generations between two others, the oldest first. Undefined: they are to be looked for again. */
  async #openBetween(older: Generation, newer: Generation): Promise<Generation[] | undefined> {
    const rotated = await openRotated(this.#options.file)
    const indexOf = (wanted: Generation) => rotated.findIndex(each => isSameFile(each, wanted))
    const to = indexOf(older)
    if (to === -1) {
      await closeAll(rotated)
      this.#searches += 1
      // Renamed at this moment, or by another scheme, or removed.
      const isHopeless = this.#searches >= MAX_SEARCHES || (await older.isRemoved())
      if (!isHopeless) return undefined
      this.#searches = 0
      return []
    }
    this.#searches = 0
    // `newer` may be rotated already: what is newer than that is found by a later poll.
    const between = rotated.slice(indexOf(newer) + 1, to)
    await closeAll(rotated.filter(each => !between.includes(each)))
    return between.reverse()
  }
}
