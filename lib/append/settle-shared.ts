/**
 * What became of the attempts in doubt, where other writers append to the object too. Once the object has grown,
 * OSS can take none of them any more. So its bytes give a final answer, whatever is behind them:
 *
 *      object       |####################|rec1|rec2|other|other|
 *      before                            ^
 *      in doubt                          |rec1|rec2|rec3|      its last bytes are not there
 *                                        |rec1|rec2|           landed: all of its bytes are there
 *      tail                                                    ^ that of the response with the bytes
 *
 * The tail alone decides where that is enough. Only an object that may not be read leaves a doubt.
 */

import { formatCount, type ObservedTail, OssError, OssServiceError } from '../errors.ts'
import type { AttemptsInDoubt } from './attempts-in-doubt.ts'
import { checkRange } from './check-client.ts'
import type { Client, ObjectRange, Target } from './client-interface.ts'
import { isReadForbidden, isSealed, type TailFinder } from './find-tail.ts'
import type { StreamContext } from './stream-context.ts'
import { advance, type Batch, isSameTail, type Tail } from './tail.ts'

export type SharedVerdict =
  /** The first `length` bytes are in the object. `tail`: the object's, behind the bytes of others too. */
  | {
      readonly name: 'landed'
      readonly length: number
      readonly tail: Tail
      readonly requestId: string
    }
  /** The object ends where it did. An attempt may still land. */
  | { readonly name: 'absent' }
  /** No attempt landed, and none can land any more. The next one starts at `tail`. */
  | { readonly name: 'lost'; readonly tail: ObservedTail }
  /** The object is shorter than it was, other than it was, or gone (`seen` is null). */
  | { readonly name: 'replaced'; readonly seen: ObservedTail | null }
  /** The bytes of others hide whether an attempt landed. */
  | { readonly name: 'hidden'; readonly seen: ObservedTail }

export interface SharedSettlerOptions {
  readonly target: Target
  readonly client: Client
}

/** Codes of OSS for a range that the object does not have. */
const NO_RANGE: ReadonlySet<string> = new Set(['NoSuchKey', 'InvalidRange'])

export class SharedSettler {
  readonly #options: SharedSettlerOptions
  readonly #context: StreamContext
  readonly #tailFinder: TailFinder
  readonly #inDoubt: AttemptsInDoubt

  constructor(
    options: SharedSettlerOptions,
    context: StreamContext,
    tailFinder: TailFinder,
    inDoubt: AttemptsInDoubt,
  ) {
    this.#options = options
    this.#context = context
    this.#tailFinder = tailFinder
    this.#inDoubt = inDoubt
  }

  /**
   * After OSS refused an append of the first bytes of `batch`. `before`: where the append started; `after`:
   * where it would have ended.
   */
  async settle(
    before: ObservedTail,
    after: ObservedTail,
    batch: Batch,
    refusal: OssServiceError,
  ): Promise<SharedVerdict> {
    const seen = await this.#observe(before, after, refusal)
    const grown = (seen?.position ?? 0) - before.position
    if (seen === null || grown < 0) {
      return before.position === 0 ? { name: 'absent' } : { name: 'replaced', seen }
    }
    if (grown === 0) return this.#settleSameLength(before, seen, refusal)
    const lengths = this.#inDoubt.lengths(before.position, seen.position)
    if (lengths.length === 0) return { name: 'lost', tail: seen }
    if (lengths[0] === grown && isWhole(seen)) {
      const tail = advance(before, batch.prefix(grown))
      const { requestId } = refusal
      if (isSameTail(tail, seen)) return { name: 'landed', length: grown, tail: seen, requestId }
    }
    return this.#canRead ? this.#read(before, batch, lengths, seen) : { name: 'hidden', seen }
  }

  get #canRead(): boolean {
    return this.#options.client.read !== undefined && !this.#context.isReadForbidden
  }

  /** The length that the refusal tells, or the whole tail where that can decide more. */
  async #observe(
    before: ObservedTail,
    after: ObservedTail,
    refusal: OssServiceError,
  ): Promise<ObservedTail | null> {
    const { nextPosition: position } = refusal
    if (position === undefined) return this.#tailFinder.findAfterRefusal(after, refusal)
    // One attempt, and nothing else, may have made the object that long.
    const isEndInDoubt =
      this.#inDoubt.lengths(before.position, position)[0] === position - before.position
    const isDecisive = isEndInDoubt && isWhole(before)
    // Without its CRC a tail could never be settled where reading is forbidden.
    if (this.#canRead && !isDecisive) return { position }
    return this.#tailFinder.findAfterRefusal(after, refusal)
  }

  #settleSameLength(
    before: ObservedTail,
    seen: ObservedTail,
    refusal: OssServiceError,
  ): SharedVerdict {
    if (isWhole(before) && isWhole(seen) && !isSameTail(before, seen)) {
      return { name: 'replaced', seen }
    }
    return isSealed(refusal) ? { name: 'lost', tail: before } : { name: 'absent' }
  }

  /** Compares the bytes of the object with the longest attempt that it may hold. `lengths`: longest first. */
  async #read(
    before: ObservedTail,
    batch: Batch,
    lengths: readonly number[],
    seen: ObservedTail,
  ): Promise<SharedVerdict> {
    const { target, client } = this.#options
    const expected = batch.bytes.subarray(0, lengths[0])
    const start = before.position
    const end = start + expected.length
    try {
      const { range, equal } = await this.#context.retryLoop.exchange(async signal => {
        const read = (client as Required<Client>).read(target, { start, end, signal })
        const range = checkRange(await read)
        return { range, equal: await countEqual(range, expected) }
      })
      const tail = requireTail(range)
      const length = lengths.find(length => length <= equal)
      if (length === undefined) return { name: 'lost', tail }
      return { name: 'landed', length, tail, requestId: range.requestId }
    } catch (error) {
      if (isReadForbidden(error)) return { name: 'hidden', seen }
      const isGone = error instanceof OssServiceError && NO_RANGE.has(error.code)
      if (isGone) return { name: 'replaced', seen: null }
      throw error
    }
  }
}

function isWhole(tail: ObservedTail): tail is Tail {
  return tail.crc64 !== undefined
}

/**
 * How many bytes are equal, from the first one on. A body of another length is an error, also where its first bytes
 * differ: a proxy that decompresses (nginx, `gunzip on`) sends it. Its bytes would look like those of another writer.
 */
async function countEqual({ body }: ObjectRange, expected: Uint8Array): Promise<number> {
  let equal = 0
  let length = 0
  for await (const chunk of body) {
    if (equal === length) equal += countEqualBytes(chunk, expected.subarray(length))
    length += chunk.length
    if (length > expected.length) break
  }
  if (length === expected.length) return equal
  const bytes = formatCount(expected.length, 'byte')
  const problem =
    length < expected.length
      ? `the response ends after ${length} of ${bytes}`
      : `the response to a range of ${bytes} has more: leave out a dispatcher or a proxy that decompresses`
  throw new OssError('OSS_ERR_NETWORK', problem)
}

/** How many bytes are equal, up to the end of the shorter one. */
function countEqualBytes(a: Uint8Array, b: Uint8Array): number {
  const end = Math.min(a.length, b.length)
  if (Buffer.compare(a.subarray(0, end), b.subarray(0, end)) === 0) return end
  for (let i = 0; i < end; i++) if (a[i] !== b[i]) return i
  return end
}

function requireTail({ length: position, crc64, requestId }: ObjectRange): Tail {
  if (crc64 !== undefined) return { position, crc64 }
  const message = `OSS tells no CRC-64 of the object's ${formatCount(position, 'byte')}, so nothing could be proven`
  throw new OssError('OSS_ERR_NETWORK', message, { requestId })
}
