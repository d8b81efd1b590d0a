/**
 * Finds out how an object ends: by HEAD, or where reading is forbidden, by appends of nothing, which
 * need no right but `oss:PutObject`. One reply's position and CRC at a time, never mixed from two.
 * Retries nothing, and settles nothing.
 */

import { conflict, integrity, notAppendable, OssError, OssServiceError } from '../errors.ts'
import type { Client, Head, Target } from './client-interface.ts'
import { traceAttempt } from './diagnostics.ts'
import type { RetryLoop } from './retry-loop.ts'
import { EMPTY_TAIL, type Seen, type Tail } from './tail.ts'

export interface TailFinderOptions {
  readonly target: Target
  readonly client: Client
  /** Sent with every append, these too. */
  readonly headers: Readonly<Record<string, string>>
}

/** What is found of an object. */
export interface FoundTail {
  readonly tail: Tail
  /** It is known to be there. */
  readonly exists: boolean
  /** Of the request that told. */
  readonly requestId?: string | undefined
}

/** What one reply told, and which. */
interface TailResponse extends Seen {
  readonly requestId?: string | undefined
}

const NO_BYTES = new Uint8Array(0)
/** A rival that appends faster than we ask is not found out by asking more. */
const PROBE_ROUNDS = 3

export class TailFinder {
  readonly #options: TailFinderOptions
  readonly #retryLoop: RetryLoop

  constructor(options: TailFinderOptions, line: RetryLoop) {
    this.#options = options
    this.#retryLoop = line
  }

  /** The tail to append at. */
  find(): Promise<FoundTail> {
    return this.#trace(() => this.#find())
  }

  /** The tail of an object that must be `position` bytes long. Nothing is changed. */
  confirm(position: number): Promise<FoundTail> {
    return this.#trace(() => this.#confirm(position))
  }

  #trace(attempt: () => Promise<FoundTail>): Promise<FoundTail> {
    const { bucket, key } = this.#options.target
    return traceAttempt('open', () => ({ bucket, key, attempt: this.#retryLoop.attempts }), attempt)
  }

  async #find(): Promise<FoundTail> {
    const head = await this.#head()
    if (head === 'forbidden') {
      const seen = await this.#probe(1, EMPTY_TAIL.position)
      return foundTail(seen, seen.position > 0)
    }
    if (head === null) return { tail: EMPTY_TAIL, exists: false }
    const seen = appendableTail(head)
    if (head.sealedTime !== undefined) throw notAppendable(head, 'AppendSealedObjectNotAllowed')
    return foundTail(await this.#complete(seen), true)
  }

  async #confirm(position: number): Promise<FoundTail> {
    try {
      return foundTail(await this.#appendNothing(position), true)
    } catch (error) {
      if (!tellsLength(error)) throw error
      const expected = { position }
      throw conflict(expected, expected, { position: error.nextPosition }, error)
    }
  }

  /**
   * The tail as the server shows it after it refused an append from `before` to `after`; `null`: there
   * is no object.
   */
  async resolveDispute(before: Tail, after: Tail, refusal: OssServiceError): Promise<Seen | null> {
    const length = refusal.nextPosition
    // A third length proves by itself that others wrote: nothing more to ask.
    if (length !== undefined && length !== before.position && length !== after.position) {
      return { position: length }
    }
    const head = await this.#head()
    if (head === 'forbidden') {
      const from = length ?? after.position
      // Refused at 0 and told nothing else: there is nothing to ask that would not create the object.
      if (from === 0) throw refusal
      return observedTail(await this.#probe(from))
    }
    return head && observedTail(await this.#complete(appendableTail(head)))
  }

  async #head(): Promise<Head | null | 'forbidden'> {
    const { client, target } = this.#options
    try {
      return await this.#retryLoop.exchange(signal => client.head(target, { signal }))
    } catch (error) {
      if (isReadForbidden(error)) return 'forbidden'
      throw error
    }
  }

  /** Old objects have no CRC in their HEAD; an append of nothing tells it. */
  async #complete(seen: TailResponse): Promise<TailResponse> {
    return seen.crc64 === undefined ? this.#probe(seen.position) : seen
  }

  /**
   * Asks by appends of nothing. At a wrong position OSS refuses and tells the length; at the right one it
   * tells the CRC. Position 0 is never asked: on an absent key it would create the object, without its
   * metadata. `untold`: the length to go on with where OSS refuses and tells none; without it the
   * attempt failed.
   */
  async #probe(from: number, untold?: number): Promise<TailResponse> {
    let position = from
    for (let round = 1; position > 0; round++) {
      try {
        return await this.#appendNothing(position)
      } catch (error) {
        const length = isPositionRefused(error) ? (error.nextPosition ?? untold) : undefined
        if (length === undefined || round === PROBE_ROUNDS) throw error
        position = length
      }
    }
    return EMPTY_TAIL
  }

  async #appendNothing(position: number): Promise<TailResponse> {
    const { client, target, headers } = this.#options
    const request = { position, body: NO_BYTES, headers }
    const reply = await this.#retryLoop.exchange(signal =>
      client.append(target, { ...request, signal }),
    )
    if (reply.position !== position) throw integrity({ position }, reply)
    return reply
  }
}

export function isPositionRefused(error: unknown): error is OssServiceError {
  return error instanceof OssServiceError && error.code === 'PositionNotEqualToLength'
}

/** A 409 with its header; without it nothing can be said of the object, and the attempt failed. */
export function tellsLength(
  error: unknown,
): error is OssServiceError & { readonly nextPosition: number } {
  return isPositionRefused(error) && error.nextPosition !== undefined
}

/** The identity may append and not read, as the OSS guide allows. `BadErrorResponse`: a 403 without a code. */
function isReadForbidden(error: unknown): boolean {
  if (!(error instanceof OssServiceError) || error.status !== 403) return false
  return error.code === 'AccessDenied' || error.code === 'BadErrorResponse'
}

function appendableTail(head: Head): TailResponse {
  if (head.type !== 'Appendable') throw notAppendable(head, 'ObjectNotAppendable')
  // A sealed object goes on nowhere.
  if (head.position === head.length || head.sealedTime !== undefined) {
    return { position: head.length, crc64: head.crc64, requestId: head.requestId }
  }
  const message = `OSS says that the object has ${head.length} bytes and goes on at ${head.position}`
  throw new OssError('OSS_ERR_INTEGRITY', message, { requestId: head.requestId })
}

/** Without the request: what is compared, and shown in errors. */
function observedTail({ position, crc64 }: TailResponse): Seen {
  return { position, crc64 }
}

function foundTail({ position, crc64, requestId }: TailResponse, exists: boolean): FoundTail {
  if (crc64 !== undefined) return { tail: { position, crc64 }, exists, requestId }
  const message = `OSS tells no CRC-64 of the object's ${position} bytes: nothing could be proven of it`
  throw new OssError('OSS_ERR_INTEGRITY', message, { requestId })
}
