/**
 * The core: opens an object, then makes one append at a time, until its fate is certain. It needs a
 * client and a clock; it knows no streams, no HTTP and no `process`. Who decides what a batch is, and
 * when, is above it; how often to try is the line's, and how to learn a tail the scout's.
 *
 *     opening --> ready <--> appending <--> reconciling        any --> failed
 *
 * Invariants:
 * - One exchange is in flight at a time.
 * - The tail moves in `#commit` alone, and only forward.
 * - Success means that the bytes are in the object and that its CRC is what we computed.
 * - After a failure nothing is appended: `failed` is for good.
 * - A resend is byte-identical: same bytes, same position, same headers. That is why it is safe.
 */

import { ok } from 'node:assert/strict'
import {
  conflict,
  integrity,
  OssServiceError,
  objectFull,
  replaced,
  withContext,
} from '../errors.ts'
import { isAmbiguous } from './classify-error.ts'
import type { AppendRequest, Client } from './client-interface.ts'
import { traceAttempt } from './diagnostics.ts'
import {
  type FoundTail,
  isPositionRefused,
  TailFinder,
  type TailFinderOptions,
  tellsLength,
} from './find-tail.ts'
import { RetryLoop, type RetryLoopOptions } from './retry-loop.ts'
import {
  advance,
  type Batch,
  createBatch,
  EMPTY_TAIL,
  isSameTail,
  isShutOut,
  settle,
  type Tail,
} from './tail.ts'

const NO_BYTES = new Uint8Array()

export interface AppenderOptions extends TailFinderOptions, RetryLoopOptions {
  readonly client: Client
  /** `'end'`, or the exact length in bytes that the object must have. */
  readonly position: 'end' | number
  /** The known CRC-64 of the first `position` bytes. */
  readonly crc64?: string | undefined
  /** With position 0: the object is known to be there, empty. */
  readonly exists?: boolean | undefined
  /** Bytes. */
  readonly maxObjectBytes: number
  /** Sent with the append that creates the object, and its resends. */
  readonly creationHeaders: Readonly<Record<string, string>>
  /** Close the object for appends when it is complete. */
  readonly seal: boolean
}

/** Where the batches of a stream go: one object, or one after another. */
export interface Destination {
  /** Key of the object in use. */
  readonly key: string | undefined
  /** Its acknowledged tail; undefined until it is open. */
  readonly tail: Tail | undefined
  /** Whether it is known to be there. */
  readonly exists: boolean
  keepProcessAlive(): void
  abort(reason: Error): void
  throwIfAborted(): void
  open(): Promise<Tail>
  append(batch: Batch): Promise<AppendInfo>
  create(): Promise<AppendInfo | undefined>
  complete(): Promise<void>
}

/** What `'append'` carries: one append acknowledged. */
export interface AppendInfo {
  /** Key of the object. */
  readonly key: string
  /** Where it starts, in bytes. */
  readonly position: number
  /** Where it ends: the object's length now. */
  readonly nextPosition: number
  /** Bytes. */
  readonly length: number
  /** CRC-64 of the whole object. */
  readonly crc64: string
  /** `x-oss-request-id` of the reply that proved it: what Alibaba's support asks for. */
  readonly requestId: string
  /** From 1. */
  readonly attempts: number
  /** Milliseconds from the first attempt to the acknowledgement. */
  readonly duration: number
  /** The reply was lost, and the tail proved that the bytes are in. */
  readonly reconciled: boolean
}

type State =
  | { readonly name: 'opening' }
  | { readonly name: 'ready'; readonly tail: Tail }
  | AppendInFlight
  | { readonly name: 'failed'; readonly tail: Tail | undefined; readonly error: Error }

/** A batch on its way: the tails on both sides of it. */
interface AppendInFlight {
  readonly name: 'appending' | 'reconciling'
  readonly tail: Tail
  readonly after: Tail
  /** Some attempt may have landed, or may land yet. */
  readonly isInDoubt: boolean
}

/** An acknowledgement, and how it was had. */
interface Acknowledgement {
  readonly requestId: string
  readonly isReconciled: boolean
}

export class Appender implements Destination {
  readonly #options: AppenderOptions
  readonly #retryLoop: RetryLoop
  readonly #tailFinder: TailFinder
  #state: State = { name: 'opening' }
  #exists = false

  /** Objects that follow one another share a `line`: one exchange at a time, and one end to all. */
  constructor(options: AppenderOptions, line: RetryLoop = new RetryLoop(options)) {
    this.#options = options
    this.#retryLoop = line
    this.#tailFinder = new TailFinder(options, line)
  }

  get key(): string {
    return this.#options.target.key
  }

  /** The acknowledged tail; undefined until the object is open. */
  get tail(): Tail | undefined {
    return this.#state.name === 'opening' ? undefined : this.#state.tail
  }

  /** Whether the object is known to be there: it was found, or we created it. */
  get exists(): boolean {
    return this.#exists
  }

  /**
   * Something is owed from now on, so that waiting has to hold the process. Only an opening with
   * nothing to send ever waits without it.
   */
  keepProcessAlive(): void {
    this.#retryLoop.keepProcessAlive()
  }

  /** Ends what is in flight, at once: it rejects with `reason`, and so does all that follows. */
  abort(reason: Error): void {
    if (this.#retryLoop.isBusy) this.#setInDoubt()
    this.#retryLoop.abort(reason)
  }

  throwIfAborted(): void {
    if (this.#retryLoop.aborted) throw this.#fail(this.#retryLoop.aborted, 0)
  }

  /** Finds the tail to append at. */
  async open(): Promise<Tail> {
    ok(this.#state.name === 'opening')
    const { tail, exists } = await this.#run(() => this.#find())
    this.#exists = exists
    this.#state = { name: 'ready', tail }
    return tail
  }

  /** Appends one batch; settles when its fate is certain. */
  async append(batch: Batch): Promise<AppendInfo> {
    const before = this.#readyTail()
    const after = advance(before, batch)
    const { clock, headers, creationHeaders, maxObjectBytes, target } = this.#options
    if (after.position > maxObjectBytes) {
      throw this.#fail(objectFull(after.position, maxObjectBytes), 0)
    }
    this.#state = { name: 'appending', tail: before, after, isInDoubt: false }
    const request = {
      position: before.position,
      body: batch.bytes,
      headers: {
        ...headers,
        ...(this.#exists ? undefined : creationHeaders),
        ...(batch.contentMd5 === undefined ? undefined : { 'content-md5': batch.contentMd5 }),
      },
    }
    const startedAt = clock.now()
    const { position } = before
    const { length } = batch.bytes
    const { bucket, key } = target
    const { requestId, isReconciled } = await this.#run(() =>
      traceAttempt(
        'append',
        () => ({ bucket, key, attempt: this.#retryLoop.attempts, position, length }),
        () => this.#attempt(request),
      ),
    )
    this.#commit(after)
    return {
      key,
      position,
      nextPosition: after.position,
      length,
      crc64: after.crc64,
      requestId,
      attempts: this.#retryLoop.attempts,
      duration: clock.now() - startedAt,
      reconciled: isReconciled,
    }
  }

  /**
   * After the last batch: makes an empty object, with its creation headers, where there is none. Tells of
   * the append that this took.
   */
  async create(): Promise<AppendInfo | undefined> {
    return this.#exists ? undefined : this.append(createBatch(NO_BYTES))
  }

  /** The object is whole: seals it, if that was asked for. */
  async complete(): Promise<void> {
    if (this.#options.seal) await this.seal()
  }

  /** Closes the object for appends, for good. Sealing twice is harmless, so a lost reply is too. */
  async seal(): Promise<void> {
    const tail = this.#readyTail()
    const { client, target } = this.#options
    await this.#run(async () => {
      try {
        await this.#retryLoop.exchange(async signal =>
          client.seal?.(target, tail.position, { signal }),
        )
      } catch (error) {
        const isGone = error instanceof OssServiceError && error.code === 'NoSuchKey'
        if (isGone) throw replaced(tail, null, error)
        if (!tellsLength(error)) throw error
        const seen = { position: error.nextPosition }
        const isReplaced = settle(tail, tail, seen) === 'replaced'
        throw isReplaced ? replaced(tail, seen, error) : conflict(tail, tail, seen, error)
      }
    })
  }

  /** Runs an operation on the line; its failure is ours, for good. */
  async #run<T>(attempt: () => Promise<T>): Promise<T> {
    try {
      return await this.#retryLoop.run(this.tail?.position, attempt)
    } catch (error) {
      throw this.#fail(error as Error, this.#retryLoop.attempts)
    }
  }

  async #find(): Promise<FoundTail> {
    const { position, crc64, exists = false } = this.#options
    if (position === 'end') return this.#tailFinder.find()
    if (position === 0) return { tail: EMPTY_TAIL, exists }
    if (crc64 === undefined) return this.#tailFinder.confirm(position)
    return { tail: { position, crc64 }, exists: true }
  }

  /** One attempt at an append: a receipt, or an error that says whether to try again. */
  async #attempt(request: Omit<AppendRequest, 'signal'>): Promise<Acknowledgement> {
    const { client, target } = this.#options
    const flight = this.#flight()
    const { after } = flight
    this.#state = { ...flight, name: 'appending' }
    try {
      const reply = await this.#retryLoop.exchange(signal =>
        client.append(target, { ...request, signal }),
      )
      if (!isSameTail(after, reply)) throw integrity(after, reply)
      return { requestId: reply.requestId, isReconciled: false }
    } catch (error) {
      if (isPositionRefused(error)) return this.#reconcile(error)
      if (isAmbiguous(error)) this.#setInDoubt()
      throw error
    }
  }

  /**
   * OSS says that the object does not end where we append: a rival wrote, or an earlier attempt of ours
   * landed and its reply was lost (perhaps in a layer below that resends by itself, so even a first
   * attempt may). Only the tail tells which.
   */
  async #reconcile(refusal: OssServiceError): Promise<Acknowledgement> {
    const flight = this.#flight()
    const { tail: before, after } = flight
    // Until the tail has told, nobody knows, whatever ends the asking.
    this.#state = { ...flight, name: 'reconciling', isInDoubt: true }
    const seen = await this.#tailFinder.resolveDispute(before, after, refusal)
    this.#state = flight
    switch (settle(before, after, seen)) {
      case 'landed':
        return { requestId: refusal.requestId, isReconciled: true }
      case 'absent':
        throw refusal
      case 'replaced':
        throw replaced(before, seen, refusal)
      case 'conflict':
        this.#setInDoubt(!isShutOut(before, after, seen ?? EMPTY_TAIL))
        throw conflict(before, after, seen ?? EMPTY_TAIL, refusal)
    }
  }

  #commit(after: Tail): void {
    ok(after.position >= this.#flight().tail.position)
    this.#exists = true
    this.#state = { name: 'ready', tail: after }
  }

  /** Remembers that an attempt may have landed; only proof takes that back. */
  #setInDoubt(isInDoubt = true): void {
    const state = this.#state
    if ('after' in state) this.#state = { ...state, isInDoubt }
  }

  /** Fails for good, with all that is known. */
  #fail(error: Error, attempts: number): Error {
    const state = this.#state
    const { tail } = this
    const isInDoubt = 'after' in state && state.isInDoubt
    const failure = withContext(error, {
      ...this.#options.target,
      attempts: attempts > 0 ? attempts : undefined,
      tail,
      unresolved: isInDoubt
        ? { position: state.tail.position, length: state.after.position - state.tail.position }
        : undefined,
    })
    this.#state = { name: 'failed', tail, error: failure }
    return failure
  }

  #readyTail(): Tail {
    const state = this.#state
    if (state.name === 'failed') throw state.error
    ok(state.name === 'ready', 'one append in flight')
    return state.tail
  }

  #flight(): AppendInFlight {
    const state = this.#state
    ok(state.name === 'appending' || state.name === 'reconciling')
    return state
  }
}
