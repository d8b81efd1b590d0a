/**
 * The appends that are sent ahead: each starts at the tail that the one before it will make, and leaves without
 * waiting for the response to it. A chain keeps batches, predicted tails and promises; the appender sends.
 *
 *      object    |####################|
 *      head                           |batch 1|                  append() waits for it
 *      links                                  |batch 2|batch 3|  wait for their append()
 *      end                                                    ^  predicted
 *
 * The CRC of a response is that of the whole object, so a success proves all appends before it. After a failure
 * nothing is in flight, and the batches of the links are kept: any of them may have landed.
 */

import type { ObservedTail } from '../errors.ts'
import type { AppendResult } from './client-interface.ts'
import { advance, type Batch, isProof, settle, type Tail, type Verdict } from './tail.ts'

/** What became of an append: its response, or what a later tail proves. */
export interface ChainResult extends AppendResult {
  /** Its own response is lost. */
  readonly isReconciled?: boolean
}

/** One append of the chain. */
interface Link {
  readonly batch: Batch
  readonly before: Tail
  readonly after: Tail
  /** Milliseconds. */
  readonly sentAt: number
  /** Undefined: it is not in flight, and nothing proves it. */
  result: Promise<ChainResult> | undefined
}

export class Chain {
  readonly #depth: number
  /** The append that `append()` waits for, while it is in flight. */
  #head: Link | undefined
  #links: Link[] = []
  /** Ends all links at once. */
  #controller = new AbortController()
  /** The last append succeeded. */
  #isReady = false

  /** `depth`: appends in flight at most. */
  constructor(depth: number) {
    this.#depth = depth
  }

  /** The tail that all in flight will make, where one more may be sent; undefined: none may be sent now. */
  get end(): Tail | undefined {
    const { inFlight } = this
    return this.#isReady && inFlight.length < this.#depth ? inFlight.at(-1)?.after : undefined
  }

  /** The appends in flight, in order. */
  get inFlight(): Link[] {
    const links = this.#links.filter(({ result }) => result)
    return this.#head ? [this.#head, ...links] : links
  }

  /** Batches that were sent ahead, and are still to be appended, in order. */
  get batches(): Batch[] {
    return this.#links.map(({ batch }) => batch)
  }

  /** The result of the head that was sent ahead. */
  get headResult(): Promise<ChainResult> | undefined {
    return this.#head?.result
  }

  /** Whether the batch is in flight already. */
  isInFlight(batch: Batch): boolean {
    return this.#links.some(link => link.batch === batch && link.result)
  }

  /** All of `batch` was sent, and its append waits for the response. */
  startHead(batch: Batch, before: Tail, sentAt: number): void {
    this.#head = { batch, before, after: advance(before, batch), sentAt, result: undefined }
  }

  /** An append of `batch` begins. If it was sent ahead it is the head now: returns when it was sent. */
  takeHead(batch: Batch): number | undefined {
    if (this.#links[0]?.batch !== batch) return undefined
    const link = this.#links.shift() as Link
    if (!link.result) return undefined
    this.#head = link
    return link.sentAt
  }

  /** Sends a batch ahead, at `end`. */
  send(
    batch: Batch,
    sentAt: number,
    append: (before: Tail, signal: AbortSignal) => Promise<AppendResult>,
  ): void {
    const before = this.end as Tail
    const result = append(before, this.#controller.signal)
    // Its failure is dealt with when it is the head, or the head fails.
    result.catch(() => {})
    const known = this.#links.find(link => link.batch === batch)
    if (known) known.result = result
    else this.#links.push({ batch, before, after: advance(before, batch), sentAt, result })
  }

  /** The head is acknowledged; with `isSuccess` by its own response, so batches may be sent ahead again. */
  finishHead(isSuccess: boolean): void {
    this.#head = undefined
    if (isSuccess) this.#isReady = true
  }

  /** The object ends at `position`, and its CRC agrees: links that end there or before have landed. */
  prove(position: number, requestId: string): void {
    for (const link of this.#links) {
      if (link.after.position > position) break
      link.result = Promise.resolve({ ...link.after, requestId, isReconciled: true })
    }
  }

  /** The stream is destroyed: ends the links. */
  abort(reason: Error): void {
    this.#isReady = false
    this.#controller.abort(reason)
  }

  /**
   * The head failed: ends the links, and resolves when none is in flight. Nothing is sent ahead until an append
   * succeeds. Resolves with the result of a link that has succeeded meanwhile: it proves the head.
   */
  async breakUp(reason: unknown): Promise<AppendResult | undefined> {
    this.#isReady = false
    this.#head = undefined
    this.#controller.abort(reason)
    this.#controller = new AbortController()
    const outcomes = await Promise.allSettled(this.#links.map(({ result }) => result))
    let proof: (AppendResult & Tail) | undefined
    for (const [index, outcome] of outcomes.entries()) {
      const link = this.#links[index] as Link
      link.result = undefined
      if (outcome.status === 'rejected' || !outcome.value) continue
      if (isProof(link.after, outcome.value)) proof = { ...outcome.value, ...link.after }
    }
    if (proof) this.prove(proof.position, proof.requestId)
    return proof
  }
}

/** `settle()` of a batch that others follow: the object may end in any of them. The verdict is about `batch`. */
export function settleChain(
  before: Tail,
  batch: Batch,
  [next, ...others]: readonly Batch[],
  seen: ObservedTail | null,
): Verdict {
  const isBehind = seen !== null && seen.position > before.position + batch.length
  if (!isBehind || !next) return settle(before, batch, seen)
  const after = advance(before, batch)
  const verdict = settleChain(after, next, others, seen)
  return verdict.name === 'landed' ? { ...verdict, length: batch.length, after } : verdict
}
