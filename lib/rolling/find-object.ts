/**
 * Finds the object to go on with among those of one date, which are counted by an index: the last that
 * is there, or the one after it where that takes no more. By galloping, so that a restart behind
 * thousands of objects asks for two dozen: 0, 1, 2, 4, 8, ... until one is absent, then by halves.
 *
 *     index       0  1  2  3  4  5  6  7  8
 *     there       #  #  #  #  #  #  .  .  .
 *     asked as    1. 2. 3.    4. 7. 6.    5.
 *
 * Where indices are missing in between (deleted by a lifecycle rule) it finds the end of some run.
 */

import type { Client } from '../append/client-interface.ts'
import { TailFinder } from '../append/find-tail.ts'
import type { RetryLoop } from '../append/retry-loop.ts'
import { EMPTY_TAIL, type Tail } from '../append/tail.ts'
import { invalidOption, OssError } from '../errors.ts'

export interface ObjectFinderOptions {
  readonly bucket: string
  readonly client: Client
  /** Sent with every append, those of nothing too. */
  readonly headers: Readonly<Record<string, string>>
  /** Bytes. An object of so many takes no more. */
  readonly maxBytes: number
}

/** An object to append to. */
export interface FoundObject {
  readonly key: string
  readonly index: number
  readonly tail: Tail
  /** It is known to be there. */
  readonly exists: boolean
}

interface InspectedObject extends FoundObject {
  /** Why OSS appends nothing to it. */
  readonly closedBy?: OssError
}

/** Past every use: so many objects are there only if the keys do not tell the indices apart. */
const MAX_INDEX = 2 ** 32

export class ObjectFinder {
  readonly #options: ObjectFinderOptions
  readonly #retryLoop: RetryLoop

  constructor(options: ObjectFinderOptions, retryLoop: RetryLoop) {
    this.#options = options
    this.#retryLoop = retryLoop
  }

  /** The object to go on with, of those whose indices are `from` or more. */
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

  async #inspect(keyOf: (index: number) => string, index: number): Promise<InspectedObject> {
    if (index > MAX_INDEX) throw invalidOption('key', 'must tell all indices apart')
    const { bucket, client, headers } = this.#options
    const key = keyOf(index)
    const tailFinder = new TailFinder({ target: { bucket, key }, client, headers }, this.#retryLoop)
    try {
      const { tail, exists } = await this.#retryLoop.run(undefined, () => tailFinder.find())
      return { key, index, tail, exists }
    } catch (error) {
      if (error instanceof OssError) {
        Object.assign(error, { bucket, key, attempts: this.#retryLoop.attempts })
        if (CLOSED_CODES.has(error.code)) {
          return { key, index, tail: EMPTY_TAIL, exists: true, closedBy: error }
        }
      }
      throw error
    }
  }
}

/** Codes of OSS for an object that is there and takes no appends. */
const CLOSED_CODES = new Set(['ObjectNotAppendable', 'AppendSealedObjectNotAllowed'])

/** Where reading is forbidden, an empty object looks absent, and is as good as that. */
function isAbsent({ exists, tail }: InspectedObject): boolean {
  return !exists && tail.position === 0
}

/** The only object there can be. One that is full is found so by the first batch. */
function requireAppendable(object: InspectedObject): FoundObject {
  if (object.closedBy) throw withHint(object.closedBy)
  return object
}

/** Says what would have let another object follow. */
export function withHint(error: OssError): OssError {
  error.message += ': put {index} into the key, so that another object can follow'
  return error
}
