/**
 * The core: opens an object, then makes one append at a time, until its fate is certain. It needs a client
 * and a clock, and knows no streams, no HTTP and no `process`. A caller decides what a batch is and when it
 * is due; the retry loop, how often to try; the tail finder, how to learn a tail.
 *
 *     opening --> ready <--> appending <--> reconciling        any --> failed
 *
 * Invariants:
 * - One exchange is in flight at a time.
 * - The tail moves in `#commit` alone, and only forward.
 * - What is sent is a prefix of the unacknowledged bytes, at the acknowledged position, and ends where a
 *   record ends. So attempts may differ in length, and the object's tail tells which one landed.
 * - Success means that the bytes are in the object and that its CRC is the computed one.
 * - After a failure nothing is appended: `failed` is for good.
 */

import { ok } from 'node:assert/strict'
import type { Clock } from '../clock.ts'
import {
  bodyRefused,
  conflict,
  integrity,
  OssConflictError,
  OssError,
  OssServiceError,
  objectFull,
  replaced,
  withContext,
} from '../errors.ts'
import { AttemptSize } from './attempt-size.ts'
import { AttemptsInDoubt } from './attempts-in-doubt.ts'
import type { RetryPolicy } from './backoff.ts'
import { classifyError, isInDoubt } from './classify-error.ts'
import type { Client, Target } from './client-interface.ts'
import { traceAttempt } from './diagnostics.ts'
import { type FoundTail, isPositionRefused, TailFinder, tellsLength } from './find-tail.ts'
import { type RetryInfo, RetryLoop } from './retry-loop.ts'
import { advance, Batch, EMPTY_TAIL, isSameTail, NO_BYTES, settle, type Tail } from './tail.ts'

export interface AppenderOptions {
  readonly target: Target
  readonly client: Client
  readonly clock: Clock
  /** `'end'`, or the exact length in bytes that the object must have. */
  readonly position: 'end' | number
  /** The CRC-64 of the first `position` bytes, where the caller knows it. */
  readonly crc64?: string | undefined
  /** The caller has found this tail, and whether the object exists. Default: nothing has been asked. */
  readonly exists?: boolean | undefined
  /** Bytes. */
  readonly maxObjectBytes: number
  /** Sent with every append. */
  readonly headers: Readonly<Record<string, string>>
  /** Sent with each append at position 0, which creates the object. */
  readonly creationHeaders: Readonly<Record<string, string>>
  /** Close the object for appends when it is complete. */
  readonly seal: boolean
  /** Bytes that an attempt has at most, unless one record is longer. */
  readonly highWaterMark: number
  /** Bytes of the least size of attempts. Undefined: that of AttemptSize. Only tests set it. */
  readonly attemptFloor?: number | undefined
  readonly retry: RetryPolicy
  readonly onRetry: (info: RetryInfo) => void
}

/** What the objects of one stream share: one exchange at a time, one end to all, one size of attempts. */
export interface AppendShared {
  readonly retryLoop: RetryLoop
  readonly attemptSize: AttemptSize
}

export function createShared(
  options: Pick<AppenderOptions, 'clock' | 'retry' | 'onRetry' | 'highWaterMark' | 'attemptFloor'>,
): AppendShared {
  return {
    retryLoop: new RetryLoop(options),
    attemptSize: new AttemptSize(options.highWaterMark, options.attemptFloor),
  }
}

/** Where the batches of a stream go: one object, or one after another. */
export interface Destination {
  /** Key of the object in use. */
  readonly key: string | undefined
  /** Its acknowledged tail; undefined until it is open. */
  readonly tail: Tail | undefined
  /** Whether the object is known to exist. */
  readonly exists: boolean
  /** Bytes are unacknowledged from now on, so waiting has to hold the process. */
  keepProcessAlive(): void
  /** The stream ends, so waits become short. */
  hurry(): void
  abort(reason: Error): void
  throwIfAborted(): void
  open(): Promise<Tail>
  /** Appends the first bytes of a batch, or all of it; the result tells how many. */
  append(batch: Batch): Promise<AppendInfo>
  create(): Promise<AppendInfo | undefined>
  complete(): Promise<void>
}

/** What `'append'` carries: one append acknowledged. */
export interface AppendInfo {
  /** Key of the object. */
  readonly key: string
  /** Position of its first byte. */
  readonly position: number
  /** Position behind its last byte: the object's length now. */
  readonly nextPosition: number
  /** Bytes that landed: all that was sent, or a shorter attempt whose response was lost. */
  readonly length: number
  /** CRC-64 of the whole object, an unsigned decimal string. */
  readonly crc64: string
  /** `x-oss-request-id` of the response that proved it, for Alibaba's support. */
  readonly requestId: string
  /** From 1. */
  readonly attempts: number
  /** Milliseconds from the first attempt to the acknowledgement. */
  readonly duration: number
  /** The response of the attempt that landed was lost, and the tail proved it. */
  readonly reconciled: boolean
}

type State =
  | { readonly name: 'opening' }
  | { readonly name: 'ready'; readonly tail: Tail }
  /** An attempt is in flight, or failed and is to be followed by another. */
  | { readonly name: 'appending'; readonly tail: Tail }
  /** OSS refused the position, and the tail is being asked for. */
  | { readonly name: 'reconciling'; readonly tail: Tail }
  | { readonly name: 'failed'; readonly tail: Tail | undefined; readonly error: Error }

/** How much of a batch is acknowledged, and how that is known. */
interface Acknowledgement {
  readonly after: Tail
  readonly requestId: string
  readonly isReconciled: boolean
}

/** OSS did not receive the whole body in time (OSS, "Error codes"). */
const CUT_BODY: ReadonlySet<string> = new Set(['RequestTimeout', 'IncompleteBody'])

export class Appender implements Destination {
  readonly #options: AppenderOptions
  readonly #retryLoop: RetryLoop
  readonly #attemptSize: AttemptSize
  readonly #tailFinder: TailFinder
  readonly #inDoubt = new AttemptsInDoubt()
  #state: State = { name: 'opening' }
  #exists = false
  /** OSS has shown the tail at least once. */
  #isProven = false

  constructor(options: AppenderOptions, shared: AppendShared = createShared(options)) {
    this.#options = options
    this.#retryLoop = shared.retryLoop
    this.#attemptSize = shared.attemptSize
    this.#tailFinder = new TailFinder(options, shared.retryLoop)
  }

  get key(): string {
    return this.#options.target.key
  }

  /** The acknowledged tail; undefined until the object is open. */
  get tail(): Tail | undefined {
    return this.#state.name === 'opening' ? undefined : this.#state.tail
  }

  /** Whether the object is known to exist: it was found, or created. */
  get exists(): boolean {
    return this.#exists
  }

  keepProcessAlive(): void {
    this.#retryLoop.keepProcessAlive()
  }

  hurry(): void {
    this.#retryLoop.hurry()
  }

  /** Ends what is in flight, at once: it rejects with `reason`, and so does every later call. */
  abort(reason: Error): void {
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

  /** Appends a prefix of a batch; settles when its fate is certain. */
  async append(batch: Batch): Promise<AppendInfo> {
    const before = this.#readyTail()
    const { clock, maxObjectBytes } = this.#options
    const end = before.position + batch.length
    if (end > maxObjectBytes) throw this.#fail(objectFull(end, maxObjectBytes), 0)
    const startedAt = clock.now()
    const { after, requestId, isReconciled } = await this.#run(() => this.#attempt(before, batch))
    this.#commit(after)
    return {
      key: this.key,
      position: before.position,
      nextPosition: after.position,
      length: after.position - before.position,
      crc64: after.crc64,
      requestId,
      attempts: this.#retryLoop.attempts,
      duration: clock.now() - startedAt,
      reconciled: isReconciled,
    }
  }

  /**
   * After the last batch: makes an empty object, with its creation headers, where there is none. Resolves with
   * the append that this took.
   */
  async create(): Promise<AppendInfo | undefined> {
    return this.#exists ? undefined : this.append(new Batch(NO_BYTES))
  }

  /** The object is whole: proves a tail that only the caller knew, and seals it if that was asked for. */
  async complete(): Promise<void> {
    const { position, crc64 } = this.#readyTail()
    if (!this.#isProven) await this.#run(() => this.#tailFinder.confirm(position, crc64))
    if (this.#options.seal) await this.seal()
  }

  /** Closes the object for appends, for good. Sealing twice is harmless, so a lost response is too. */
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
        const isShorter = seen.position < tail.position
        throw isShorter ? replaced(tail, seen, error) : conflict(tail, tail, seen, error)
      }
    })
  }

  /** Runs an operation in the retry loop; its failure is the appender's, for good. */
  async #run<T>(attempt: () => Promise<T>): Promise<T> {
    try {
      return await this.#retryLoop.run(this.tail?.position, attempt)
    } catch (error) {
      throw this.#fail(error as Error, this.#retryLoop.attempts)
    }
  }

  async #find(): Promise<FoundTail> {
    const { position, crc64, exists } = this.#options
    this.#isProven = exists !== undefined || crc64 === undefined
    if (position === 'end') return this.#tailFinder.find()
    if (position === 0) return { tail: EMPTY_TAIL, exists: exists ?? false }
    if (crc64 === undefined) return this.#tailFinder.confirm(position)
    return { tail: { position, crc64 }, exists: true }
  }

  /** One attempt at an append: an acknowledgement, or an error that says whether to try again. */
  async #attempt(before: Tail, batch: Batch): Promise<Acknowledgement> {
    const part = batch.prefix(this.#attemptSize.bytes)
    const { bucket, key } = this.#options.target
    const { position } = before
    const { length } = part
    return traceAttempt(
      'append',
      () => ({ bucket, key, attempt: this.#retryLoop.attempts, position, length }),
      () => this.#send(before, part, batch),
    )
  }

  async #send(before: Tail, part: Batch, batch: Batch): Promise<Acknowledgement> {
    const { client, target } = this.#options
    const after = advance(before, part)
    this.#state = { name: 'appending', tail: before }
    try {
      const result = await this.#retryLoop.exchange(signal =>
        client.append(target, {
          position: before.position,
          body: part.bytes,
          headers: this.#headersOf(before, part),
          deadlineFactor: this.#attemptSize.deadlineFactorOf(part.length),
          signal,
        }),
      )
      if (!isSameTail(after, result)) throw integrity(after, result)
      this.#attemptSize.onSuccess(part.length)
      return { after, requestId: result.requestId, isReconciled: false }
    } catch (error) {
      if (isInDoubt(error, client)) this.#inDoubt.add(before.position, after.position)
      if (isPositionRefused(error)) return this.#reconcile(before, after, batch, error)
      throw error instanceof OssError ? this.#resize(error, part.length) : error
    }
  }

  #headersOf(before: Tail, { contentMd5 }: Batch): Record<string, string> {
    const { headers, creationHeaders } = this.#options
    return {
      ...headers,
      ...(before.position === 0 ? creationHeaders : undefined),
      ...(contentMd5 === undefined ? undefined : { 'content-md5': contentMd5 }),
    }
  }

  /** After an attempt of `length` bytes failed: the next is shorter, if that may help. */
  #resize(error: OssError, length: number): OssError {
    if (classifyError(error) === 'tooLarge') {
      return this.#attemptSize.onRefused(length) ? error : bodyRefused(length, error)
    }
    if (error.code === 'OSS_ERR_TIMEOUT') this.#attemptSize.onTimeout(length)
    else if (error.isBodyCut || CUT_BODY.has(error.code)) this.#attemptSize.onCut(length)
    return error
  }

  /**
   * OSS says that the object does not end where the append starts: another writer appended, or an attempt
   * landed and its response was lost. Only the tail tells which.
   */
  async #reconcile(
    before: Tail,
    after: Tail,
    batch: Batch,
    refusal: OssServiceError,
  ): Promise<Acknowledgement> {
    this.#state = { name: 'reconciling', tail: before }
    const seen = await this.#tailFinder.findAfterRefusal(after, refusal)
    const verdict = settle(before, batch, seen)
    switch (verdict.name) {
      case 'landed':
        return { after: verdict.after, requestId: refusal.requestId, isReconciled: true }
      case 'absent':
        throw refusal
      case 'replaced':
        throw replaced(before, seen, refusal)
      case 'conflict':
        throw conflict(before, after, seen ?? EMPTY_TAIL, refusal)
    }
  }

  #commit(after: Tail): void {
    ok(after.position >= (this.tail?.position ?? 0))
    this.#inDoubt.forgetBefore(after.position)
    this.#exists = true
    this.#isProven = true
    this.#state = { name: 'ready', tail: after }
  }

  /** Fails for good, with all that is known. */
  #fail(error: Error, attempts: number): Error {
    const { tail } = this
    const seen = error instanceof OssConflictError ? error.seen.position : undefined
    const failure = withContext(error, {
      ...this.#options.target,
      attempts: attempts > 0 ? attempts : undefined,
      tail,
      unresolved: tail && this.#inDoubt.unresolved(tail.position, seen),
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
}
