/**
 * The objects of a followed file, one for each generation, and which generation the newest object belongs to.
 * There is no state file: length and CRC-64 of the object tell where a dead process stopped.
 */

import type { Client } from '../append/client-interface.ts'
import type { StreamContext } from '../append/stream-context.ts'
import type { Tail } from '../index.ts'
import { type FoundObject, ObjectFinder } from '../rolling/find-object.ts'
import type { KeyFunction } from '../rolling/key-pattern.ts'
import { NotContinuedError } from './failure.ts'
import type { Generation } from './follow-files.ts'
import { UsageError } from './usage-error.ts'

export interface ObjectSeriesOptions {
  /** The followed file, as the user names it. */
  readonly file: string
  readonly bucket: string
  readonly nameKey: KeyFunction
  /** The key has a date: that of the creation of each generation. */
  readonly isDated: boolean
  readonly client: Client
  readonly headers: Readonly<Record<string, string>>
  /** Called after each search. */
  readonly onFound: () => void
}

export class ObjectSeries {
  readonly #options: ObjectSeriesOptions
  readonly #finder: ObjectFinder

  constructor(options: ObjectSeriesOptions, context: StreamContext) {
    const { bucket, client, headers } = options
    this.#options = options
    // Each object is for one generation, so a full one does not send the search to the next index.
    const maxBytes = Number.POSITIVE_INFINITY
    this.#finder = new ObjectFinder({ bucket, client, headers, maxBytes }, context)
    // Nothing else holds the process while an object is looked for.
    context.retryLoop.keepProcessAlive()
  }

  urlOf({ key }: { readonly key: string }): string {
    return `oss://${this.#options.bucket}/${key}`
  }

  /** Key of the object with this index among those of the same date. */
  keyOf({ path, createdAt }: Generation, index: number): string {
    const { nameKey, isDated } = this.#options
    if (isDated && createdAt === undefined) {
      throw new UsageError(
        `the file system does not tell when ${path} was created: leave dates out of the key`,
      )
    }
    return nameKey({ date: createdAt ?? new Date(0), index })
  }

  get file(): string {
    return this.#options.file
  }

  /**
   * The newest object of this generation's date. Undefined: there is none.
   *
   * @throws {NotContinuedError} It takes no appends, and tells no length to compare files with.
   */
  async newest(generation: Generation): Promise<FoundObject | undefined> {
    const found = await this.next(generation, 0)
    if (found.exists) return found
    if (found.index === 0) return undefined
    const url = this.urlOf({ key: this.keyOf(generation, found.index - 1) })
    const remedy = 'follow the file with another key'
    throw new NotContinuedError(`the newest object, ${url}, is sealed or not appendable: ${remedy}`)
  }

  /** The last object from this index on, or the absent one behind it. */
  next(generation: Generation, index: number): Promise<FoundObject> {
    return this.#find(each => this.keyOf(generation, each), index)
  }

  /** The tail of the object with this index. Rejects if OSS appends nothing to it. */
  async tailAt(generation: Generation, index: number): Promise<Tail> {
    const key = this.keyOf(generation, index)
    // A key that is the same for all indices is that of a single object.
    return (await this.#find(() => key, 0)).tail
  }

  async #find(keyOf: (index: number) => string, from: number): Promise<FoundObject> {
    const found = await this.#finder.find(keyOf, from)
    this.#options.onFound()
    return found
  }
}

/** Where to go on. */
export interface Start {
  readonly generation: Generation
  /** The object that has the first bytes of `generation`. Undefined: it has none yet. */
  readonly object: FoundObject | undefined
}

/**
 * Finds the generation that begins with the newest object. `generations`: the newest first. Undefined: there is
 * no object yet.
 *
 * @throws {NotContinuedError} No generation does.
 */
export async function findStart(
  generations: readonly Generation[],
  series: ObjectSeries,
  signal: AbortSignal,
): Promise<Start | undefined> {
  for (const group of groupByDate(generations, series)) {
    const [first] = group
    const object = first && (await series.newest(first))
    if (!object) continue
    if (object.tail.position === 0) return startAtEmpty(object, first, generations)
    // A generation without bytes has no object.
    const written = group.filter(({ size }) => size > 0)
    const matching = await filter(written, each => each.beginsWith(object.tail, signal))
    const generation = await resolveMatch(matching, written, object, series, signal)
    if (generation) return { generation, object }
    throw new NotContinuedError(noMatchMessage(first, object, series))
  }
  return undefined
}

/** An empty object begins every file, so it is meant for the newest one: see the remedy of `NotContinuedError`. */
function startAtEmpty(
  object: FoundObject,
  first: Generation,
  generations: readonly Generation[],
): Start {
  const [generation = first] = generations
  return { generation, object: generation === first ? object : undefined }
}

/**
 * Several generations may begin with the same bytes, such as a banner. Then the objects before the newest are
 * compared with the files before each of them. If that does not tell, the oldest is taken: that may double
 * lines, and loses none.
 */
async function resolveMatch(
  matching: readonly Generation[],
  written: readonly Generation[],
  object: FoundObject,
  series: ObjectSeries,
  signal: AbortSignal,
): Promise<Generation | undefined> {
  let candidates = matching
  const depth = Math.min(object.index, written.length - 1)
  for (let step = 1; candidates.length > 1 && step <= depth; step++) {
    const tail = await series.tailAt(written[0]!, object.index - step)
    const before = (each: Generation) => written[written.indexOf(each) + step]
    const known = candidates.filter(each => before(each) !== undefined)
    const right = await filter(known, async each => before(each)!.equals(tail, signal))
    candidates = right.length > 0 ? right : candidates.filter(each => !known.includes(each))
  }
  return candidates.at(-1) ?? matching.at(-1)
}

function noMatchMessage(first: Generation, object: FoundObject, series: ObjectSeries): string {
  const { file } = series
  const { position } = object.tail
  const next = series.urlOf({ key: series.keyOf(first, object.index + 1) })
  return (
    `neither ${file} nor a rotated file begins with the ${position} bytes of the newest object, ` +
    `${series.urlOf(object)}: restore the file that does as ${file}.1 (uncompressed), ` +
    `or leave its rest out by an empty object: oss-append ${next} /dev/null`
  )
}

/** Consecutive generations whose objects have the same date. */
function groupByDate(generations: readonly Generation[], series: ObjectSeries): Generation[][] {
  const groups: Generation[][] = []
  let key: string | undefined
  for (const generation of generations) {
    const own = series.keyOf(generation, 0)
    if (own === key) groups.at(-1)?.push(generation)
    else groups.push([generation])
    key = own
  }
  return groups
}

/** One after the other: each may read a whole file. */
async function filter<T>(items: readonly T[], test: (item: T) => Promise<boolean>): Promise<T[]> {
  const kept: T[] = []
  for (const item of items) if (await test(item)) kept.push(item)
  return kept
}
