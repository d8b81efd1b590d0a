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

import type { Line } from '../appender/line.ts'
import { Scout } from '../appender/scout.ts'
import { invalidOption, OssError } from '../errors.ts'
import type { Client } from '../seam.ts'
import { EMPTY_TAIL, type Tail } from '../tail.ts'

export interface FinderOptions {
  readonly bucket: string
  readonly client: Client
  /** Sent with every append, those of nothing too. */
  readonly headers: Readonly<Record<string, string>>
  /** Bytes. An object of so many takes no more. */
  readonly maxBytes: number
}

/** An object to append to. */
export interface Found {
  readonly key: string
  readonly index: number
  readonly tail: Tail
  /** It is known to be there. */
  readonly exists: boolean
}

interface Look extends Found {
  /** Why OSS appends nothing to it. */
  readonly closedBy?: OssError
}

/** Past every use: so many objects are there only if the keys do not tell the indices apart. */
const MAX_INDEX = 2 ** 32

export class Finder {
  readonly #options: FinderOptions
  readonly #line: Line

  constructor(options: FinderOptions, line: Line) {
    this.#options = options
    this.#line = line
  }

  /** The object to go on with, of those whose indices are `from` or more. */
  async find(keyOf: (index: number) => string, from: number): Promise<Found> {
    let low = await this.#look(keyOf, from)
    if (isAbsent(low)) return low
    if (keyOf(from) === keyOf(from + 1)) return open(low)
    let high = await this.#look(keyOf, from + 1)
    for (let step = 2; !isAbsent(high); step *= 2) {
      low = high
      high = await this.#look(keyOf, from + step)
    }
    while (high.index - low.index > 1) {
      const middle = await this.#look(keyOf, Math.floor((low.index + high.index) / 2))
      if (isAbsent(middle)) high = middle
      else low = middle
    }
    const isFull = low.tail.position >= this.#options.maxBytes
    return low.closedBy || isFull ? high : low
  }

  async #look(keyOf: (index: number) => string, index: number): Promise<Look> {
    if (index > MAX_INDEX) throw invalidOption('key', 'must tell all indices apart')
    const { bucket, client, headers } = this.#options
    const key = keyOf(index)
    const scout = new Scout({ target: { bucket, key }, client, headers }, this.#line)
    try {
      const { tail, exists } = await this.#line.persist(undefined, () => scout.find())
      return { key, index, tail, exists }
    } catch (error) {
      if (error instanceof OssError) {
        Object.assign(error, { bucket, key, attempts: this.#line.attempts })
        if (CLOSED.has(error.code)) {
          return { key, index, tail: EMPTY_TAIL, exists: true, closedBy: error }
        }
      }
      throw error
    }
  }
}

/** Codes of OSS for an object that is there and takes no appends. */
const CLOSED = new Set(['ObjectNotAppendable', 'AppendSealedObjectNotAllowed'])

/** Where reading is forbidden, an empty object looks absent, and is as good as that. */
function isAbsent({ exists, tail }: Look): boolean {
  return !exists && tail.position === 0
}

/** The only object there can be. One that is full is found so by the first batch. */
function open(look: Look): Found {
  if (look.closedBy) throw withMend(look.closedBy)
  return look
}

/** Says what would have let another object follow. */
export function withMend(error: OssError): OssError {
  error.message += ': put {index} into the key, so that another object can follow'
  return error
}
