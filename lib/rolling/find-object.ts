/**
 * Finds the object to continue with among those of one date, which have indices: the last one, or the one
 * after it if OSS appends nothing to that. The search gallops (0, 1, 2, 4, 8, ... until one is absent) and
 * then halves, so a restart behind thousands of objects sends two dozen requests. If indices are missing in
 * between (deleted by a lifecycle rule), it finds the end of some run.
 *
 *     index       0  1  2  3  4  5  6  7  8
 *     exists      #  #  #  #  #  #  .  .  .
 *     request     1. 2. 3.    4. 7. 6.    5.
 */

import type { Client } from '../append/client-interface.ts'
import { TailFinder } from '../append/find-tail.ts'
import type { StreamContext } from '../append/stream-context.ts'
import { EMPTY_TAIL, type Tail } from '../append/tail.ts'
import { invalidOption, OssError, withContext } from '../errors.ts'

export interface ObjectFinderOptions {
  readonly bucket: string
  readonly client: Client
  /** Sent with every append, also with one of 0 bytes. */
  readonly headers: Readonly<Record<string, string>>
  /** Bytes. An object of that length is full. */
  readonly maxBytes: number
}

/** One object of a date, as OSS shows it. */
export interface FoundObject {
  readonly key: string
  readonly index: number
  readonly tail: Tail
  /** OSS has shown that the object exists. */
  readonly exists: boolean
  /** Why OSS appends nothing to it; undefined if it does. */
  readonly closedBy?: OssError | undefined
}

/** More objects than any date has: only a key function that repeats its keys gets here. */
const MAX_INDEX = 2 ** 32

/** Codes of OSS for an object that exists and takes no appends. */
export const CLOSED_CODES: ReadonlySet<string> = new Set([
  'ObjectNotAppendable',
  'AppendSealedObjectNotAllowed',
])

const INDEX_HINT = ': put {index} into the key, so that another object can follow'

export class ObjectFinder {
  readonly #options: ObjectFinderOptions
  readonly #context: StreamContext

  constructor(options: ObjectFinderOptions, context: StreamContext) {
    this.#options = options
    this.#context = context
  }

  /** The object to continue with, among those with index `from` or higher. It takes appends. */
  async find(keyOf: (index: number) => string, from: number): Promise<FoundObject> {
    let low = await this.#inspect(keyOf, from)
    if (isAbsent(low)) return low
    if (keyOf(from) === keyOf(from + 1)) return requireAppendable(low)
    let high = await this.#inspect(keyOf, from + 1)
    for (let step = 2; !isAbsent(high); step *= 2) {
      low = high
      high = await this.#inspect(keyOf, from + step)
    }
    while (high.index - low.index > 1) {
      const middle = await this.#inspect(keyOf, Math.floor((low.index + high.index) / 2))
      if (isAbsent(middle)) high = middle
      else low = middle
    }
    const isFull = low.tail.position >= this.#options.maxBytes
    return low.closedBy || isFull ? high : low
  }

  async #inspect(keyOf: (index: number) => string, index: number): Promise<FoundObject> {
    if (index > MAX_INDEX) throw invalidOption('key', 'must differ for each index')
    const { bucket, client, headers } = this.#options
    const key = keyOf(index)
    const { retryLoop } = this.#context
    const tailFinder = new TailFinder({ target: { bucket, key }, client, headers }, this.#context)
    try {
      const { tail, exists } = await retryLoop.run(undefined, () => tailFinder.find())
      return { key, index, tail, exists }
    } catch (cause) {
      const { attempts } = retryLoop
      const error = withContext(cause as Error, { bucket, key, attempts })
      if (!(error instanceof OssError && CLOSED_CODES.has(error.code))) throw error
      return { key, index, tail: EMPTY_TAIL, exists: true, closedBy: error }
    }
  }
}

/** An empty object that may not be read looks absent. Both take the next append at position 0. */
function isAbsent({ exists, tail }: FoundObject): boolean {
  return !exists && tail.position === 0
}

/** For a date with a single object. If that is full, the first append says so. */
function requireAppendable(object: FoundObject): FoundObject {
  if (object.closedBy) throw withIndexHint(object.closedBy)
  return object
}

/** Adds the remedy of an error that `{index}` in the key would have avoided. */
export function withIndexHint(error: OssError): OssError {
  return withContext(error, {}, INDEX_HINT)
}
