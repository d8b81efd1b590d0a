/**
 * What an appender knows of its object: how far it is acknowledged, where the next append starts, and which
 * attempts are in doubt.
 *
 *      opening --open()--> ready --begin()--> appending --commit()--> ready
 *                                          |       ^
 *                                          +-------+ moveTo(), after a lost race
 *      any --fail()--> failed
 *
 * The tail moves in `commit()` and in `moveTo()`, and only forward; in `moveTo()` only while nothing is in doubt.
 */

import { ok } from 'node:assert/strict'
import { type ObservedTail, OssConflictError, withContext } from '../errors.ts'
import { AttemptsInDoubt } from './attempts-in-doubt.ts'
import type { Target } from './client-interface.ts'
import type { Tail } from './tail.ts'

/** How far the object is known. */
export interface ObjectEnd {
  /** The last known tail. */
  readonly tail: Tail
  /** Where the next append starts: at the tail, or where a lost race told that the object ends, without a CRC. */
  readonly next: ObservedTail
}

type State =
  | { readonly name: 'opening' }
  | ({ readonly name: 'ready' } & ObjectEnd)
  /** An append is begun, and its fate is not certain. */
  | ({ readonly name: 'appending' } & ObjectEnd)
  | { readonly name: 'failed'; readonly tail: Tail | undefined; readonly error: Error }

export class ObjectState {
  readonly #target: Target
  readonly inDoubt = new AttemptsInDoubt()
  #state: State = { name: 'opening' }
  #exists = false
  #isProven = false

  constructor(target: Target) {
    this.#target = target
  }

  /** The last known tail; undefined until the object is open. */
  get tail(): Tail | undefined {
    return this.#state.name === 'opening' ? undefined : this.#state.tail
  }

  /** Whether the object is known to exist: it was found, or created. */
  get exists(): boolean {
    return this.#exists
  }

  /** Whether OSS has shown the tail. False: a caller has told it. */
  get isProven(): boolean {
    return this.#isProven
  }

  /** The end of the object, between appends. Throws the error of the failure, if there is one. */
  get readyEnd(): ObjectEnd {
    const state = this.#state
    if (state.name === 'failed') throw state.error
    ok(state.name === 'ready', 'one append in flight')
    return state
  }

  /** The end of the object, during an append or between two. */
  get openEnd(): ObjectEnd {
    const state = this.#state
    ok(state.name === 'ready' || state.name === 'appending', 'an object is open')
    return state
  }

  open(tail: Tail, exists: boolean, isProven: boolean): void {
    ok(this.#state.name === 'opening')
    this.#exists = exists
    this.#isProven = isProven
    this.#state = { name: 'ready', tail, next: tail }
  }

  /** An append begins. Until it is committed, no other one can begin. */
  begin(): void {
    const { tail, next } = this.readyEnd
    this.#state = { name: 'appending', tail, next }
  }

  /** The object ends at `tail`, which is proven: all of the append before it has landed. */
  commit(tail: Tail): void {
    ok(tail.position >= (this.tail?.position ?? 0))
    this.inDoubt.forgetBefore(tail.position)
    this.#exists = true
    this.#isProven = true
    this.#state = { name: 'ready', tail, next: tail }
  }

  /** The object goes on at `next`, behind bytes of others. Nothing of this stream is in doubt. */
  moveTo(next: ObservedTail): void {
    const { tail } = this.openEnd
    const { position, crc64 } = next
    ok(position >= tail.position)
    this.inDoubt.clear()
    this.#exists = true
    const isWhole = crc64 !== undefined
    this.#state = { name: 'appending', tail: isWhole ? { position, crc64 } : tail, next }
  }

  /** Returns the error with all that is known. `attempts`: from 1; 0: nothing was attempted. */
  fail(error: Error, attempts: number): Error {
    const { tail } = this
    const { next } = { next: tail, ...this.#state }
    const seen = error instanceof OssConflictError ? error.seen.position : undefined
    const failure = withContext(error, {
      ...this.#target,
      attempts: attempts > 0 ? attempts : undefined,
      tail,
      unresolved: next && this.inDoubt.unresolved(next.position, seen),
    })
    this.#state = { name: 'failed', tail, error: failure }
    return failure
  }
}
