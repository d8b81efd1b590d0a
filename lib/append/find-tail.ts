/**
 * Finds out how an object ends: by HEAD, or by an append of no bytes where reading is forbidden. Position and
 * CRC of a result come from one response. Nothing is retried here, and nothing is settled.
 */

import {
  conflict,
  formatCount,
  integrity,
  notAppendable,
  type ObservedTail,
  OssError,
  OssServiceError,
  replaced,
} from '../errors.ts'
import { checkAppendResult, checkHead } from './check-client.ts'
import type { Client, Head, Target } from './client-interface.ts'
import { traceAttempt } from './diagnostics.ts'
import type { StreamContext } from './stream-context.ts'
import { EMPTY_TAIL, NO_BYTES, type Tail } from './tail.ts'

export interface TailFinderOptions {
  readonly target: Target
  readonly client: Client
  /** Sent with every append, also with those of no bytes. */
  readonly headers: Readonly<Record<string, string>>
}

/** What is found of an object. */
export interface FoundTail {
  readonly tail: Tail
  /** The object is known to exist. */
  readonly exists: boolean
  /** `x-oss-request-id` of the response that told. */
  readonly requestId?: string | undefined
}

/** How an object ends. */
export interface FoundEnd extends FoundTail {
  /** OSS appends nothing to it any more. */
  readonly isSealed: boolean
}

/** What one response told. */
interface TailResponse extends Tail {
  readonly requestId?: string | undefined
}

/** Another writer that appends faster than this asks would not be caught by asking more. */
const PROBE_ROUNDS = 3

export class TailFinder {
  readonly #options: TailFinderOptions
  readonly #context: StreamContext

  constructor(options: TailFinderOptions, context: StreamContext) {
    this.#options = options
    this.#context = context
  }

  /** The tail to append at. */
  find(): Promise<FoundTail> {
    return this.#trace(() => this.#find())
  }

  /**
   * Asks OSS whether the object is `position` bytes long, and has this CRC where it is given. Changes nothing.
   *
   * @throws {OssError} It is not.
   */
  confirm(position: number, crc64?: string): Promise<FoundTail> {
    return this.#trace(() => this.#confirm(position, crc64))
  }

  /** How the object ends, sealed or not. `known`: a length in bytes that it had. */
  findEnd(known: number): Promise<FoundEnd> {
    return this.#trace(() => this.#findEnd(known))
  }

  /** The tail after OSS refused an append that would have ended at `after`; `null`: there is no object. */
  async findAfterRefusal(
    after: ObservedTail,
    refusal: OssServiceError,
  ): Promise<ObservedTail | null> {
    const head = await this.#head()
    if (head === null) return null
    if (head !== 'forbidden') return this.#tailOf(head)
    // The refusal tells all of an empty or absent object.
    if (refusal.nextPosition === 0) return EMPTY_TAIL
    const from = refusal.nextPosition ?? after.position
    // An append of no bytes at 0 would create the object.
    if (from === 0) throw refusal
    return tailIn(await this.#probe(from))
  }

  async #tailOf(head: Head): Promise<ObservedTail> {
    try {
      return tailIn(await this.#withCrc64(head))
    } catch (error) {
      // A sealed object refuses the append of no bytes that would tell its CRC.
      if (isSealed(error)) return { position: head.length }
      throw error
    }
  }

  #trace<Found extends FoundTail>(attempt: () => Promise<Found>): Promise<Found> {
    const { bucket, key } = this.#options.target
    const { retryLoop } = this.#context
    return traceAttempt('open', () => ({ bucket, key, attempt: retryLoop.attempts }), attempt)
  }

  async #find(): Promise<FoundTail> {
    const head = await this.#head()
    if (head === 'forbidden') return this.#findByProbe()
    if (head === null) return { tail: EMPTY_TAIL, exists: false }
    checkAppendable(head)
    if (head.sealedTime !== undefined) throw notAppendable(head, 'AppendSealedObjectNotAllowed')
    return found(await this.#withCrc64(head), true)
  }

  async #findEnd(known: number): Promise<FoundEnd> {
    const head = await this.#head()
    if (head === 'forbidden') return { ...(await this.#findByProbe(known)), isSealed: false }
    if (head === null) return { tail: EMPTY_TAIL, exists: false, isSealed: false }
    const isSealed = head.sealedTime !== undefined
    return { ...found(await this.#withCrc64(head), true), isSealed }
  }

  /**
   * `known`: a length in bytes that the object had. A response that tells no length must not look as if that
   * object were gone; without a known one it counts as empty.
   */
  async #findByProbe(known = 0): Promise<FoundTail> {
    const tail = await (known > 0 ? this.#probe(known) : this.#probe(1, EMPTY_TAIL.position))
    return found(tail, tail.position > 0)
  }

  async #confirm(position: number, crc64?: string): Promise<FoundTail> {
    const expected = { position, crc64 }
    try {
      const seen = await this.#appendNothing(position)
      if (crc64 !== undefined && seen.crc64 !== crc64) throw integrity(expected, seen)
      return found(seen, true)
    } catch (error) {
      if (!tellsLength(error)) throw error
      throw wrongEnd(expected, error.nextPosition, error)
    }
  }

  async #head(): Promise<Head | null | 'forbidden'> {
    const { client, target } = this.#options
    try {
      return await this.#context.retryLoop.exchange(async signal =>
        checkHead(await client.head(target, { signal })),
      )
    } catch (error) {
      if (!isReadForbidden(error)) throw error
      this.#context.isReadForbidden = true
      return 'forbidden'
    }
  }

  /** The tail that HEAD shows. The HEAD of an old object has no CRC; an append of no bytes tells it. */
  async #withCrc64(head: Head): Promise<TailResponse> {
    checkAppendable(head)
    const { length: position, crc64, requestId } = head
    return crc64 === undefined ? this.#probe(position) : { position, crc64, requestId }
  }

  /**
   * Asks by appends of no bytes. At a wrong position OSS refuses and tells the length; at the right one it
   * tells the CRC. Position 0 is never asked: on an absent key that would create the object, without its
   * metadata. `assumed`: the length that a first refusal without one stands for; by default it is an error.
   */
  async #probe(from: number, assumed?: number): Promise<TailResponse> {
    let position = from
    for (let round = 1; position > 0; round++) {
      try {
        return await this.#appendNothing(position)
      } catch (error) {
        const untold = round === 1 ? assumed : undefined
        const length = isPositionRefused(error) ? (error.nextPosition ?? untold) : undefined
        if (length === undefined || round === PROBE_ROUNDS) throw error
        position = length
      }
    }
    return EMPTY_TAIL
  }

  async #appendNothing(position: number): Promise<TailResponse & { readonly requestId: string }> {
    const { client, target, headers } = this.#options
    const request = { position, body: NO_BYTES, headers }
    const result = await this.#context.retryLoop.exchange(async signal =>
      checkAppendResult(await client.append(target, { ...request, signal })),
    )
    const { crc64, requestId } = result
    if (result.position !== position) throw integrity({ position }, result)
    if (crc64 === undefined) {
      // Nothing is wrong with the object: the response says too little, and the next may say more.
      const message = `OSS tells no CRC-64 of the object's ${formatCount(position, 'byte')}, so nothing could be proven`
      throw new OssError('OSS_ERR_NETWORK', message, { requestId })
    }
    return { position, crc64, requestId }
  }
}

/** OSS appends nothing to the object any more. */
export function isSealed(error: unknown): error is OssServiceError {
  return error instanceof OssServiceError && error.code === 'AppendSealedObjectNotAllowed'
}

export function isPositionRefused(error: unknown): error is OssServiceError {
  return error instanceof OssServiceError && error.code === 'PositionNotEqualToLength'
}

/** A 409 with its header. Without that it says nothing of the object, and the attempt failed. */
export function tellsLength(
  error: unknown,
): error is OssServiceError & { readonly nextPosition: number } {
  return isPositionRefused(error) && error.nextPosition !== undefined
}

/** The error of an object that ends at `position`, and not at `expected`. */
export function wrongEnd(expected: ObservedTail, position: number, cause: Error): OssError {
  const seen = { position }
  return position < expected.position
    ? replaced(expected, seen, cause)
    : conflict(expected, expected, seen, cause)
}

/** The identity may append and not read, as OSS allows. `BadErrorResponse`: a 403 without a code. */
export function isReadForbidden(error: unknown): boolean {
  if (!(error instanceof OssServiceError) || error.status !== 403) return false
  return error.code === 'AccessDenied' || error.code === 'BadErrorResponse'
}

function checkAppendable(head: Head): void {
  if (head.type !== 'Appendable') throw notAppendable(head, 'ObjectNotAppendable')
  // A sealed object has no next position.
  if (head.position === head.length || head.sealedTime !== undefined) return
  const next = head.position === undefined ? 'names no position' : `goes on at ${head.position}`
  const message = `OSS says that the object has ${formatCount(head.length, 'byte')} and ${next}`
  throw new OssError('OSS_ERR_INTEGRITY', message, { requestId: head.requestId })
}

function found(response: TailResponse, exists: boolean): FoundTail {
  return { tail: tailIn(response), exists, requestId: response.requestId }
}

/** The tail alone: errors show it. */
function tailIn({ position, crc64 }: TailResponse): Tail {
  return { position, crc64 }
}
