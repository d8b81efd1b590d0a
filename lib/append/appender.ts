/**
 * The core: opens an object, then makes one append at a time, until its fate is certain. It needs a client
 * and a clock, and knows no streams, no HTTP and no `process`. The caller has the batches, the retry loop the waits.
 *
 *     append() --> attempt --200, the tail is the computed one--> acknowledged
 *        ^            |------409, and the tail proves it---------> acknowledged
 *        |            |------no other attempt can go better-----> failed, for good
 *        +----wait----+      absent, lost to another writer, or a failure that may pass
 *
 * An attempt is a prefix of the unacknowledged bytes, and ends where a record ends. So attempts may differ in
 * length, and the object tells which one landed.
 */

import type { Clock } from '../clock.ts'
import {
  bodyRefused,
  conflict,
  integrity,
  lostRace,
  type ObservedTail,
  OssError,
  OssServiceError,
  objectFull,
  replaced,
} from '../errors.ts'
import type { RetryPolicy } from './backoff.ts'
import { Chain, type ChainResult, settleChain } from './chain.ts'
import { checkAppendResult } from './check-client.ts'
import { classifyError, isBodyCut, isInDoubt } from './classify-error.ts'
import type { AppendPipeline, Client, Target } from './client-interface.ts'
import type { AppendInfo, Destination } from './destination.ts'
import { traceAttempt } from './diagnostics.ts'
import {
  type FoundTail,
  isPositionRefused,
  isSealed,
  TailFinder,
  tellsLength,
  wrongEnd,
} from './find-tail.ts'
import { ObjectState } from './object-state.ts'
import type { RetryInfo } from './retry-loop.ts'
import { SharedSettler } from './settle-shared.ts'
import { StreamContext } from './stream-context.ts'
import { advance, Batch, EMPTY_TAIL, isProof, NO_BYTES, type Tail } from './tail.ts'

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
  /** Other writers append to the object too, so a refused position is no failure. Default false. */
  readonly shared?: boolean | undefined
  /** Bytes. A batch that would end behind them belongs into another object. Default: `maxObjectBytes`. */
  readonly maxBytes?: number | undefined
  /** Bytes that an attempt has at most, unless one record is longer. */
  readonly highWaterMark: number
  /** Bytes of the least size of attempts. Undefined: that of AttemptSize. Only tests set it. */
  readonly attemptFloor?: number | undefined
  /** Appends in flight at most. Default 1. More exclude `shared`. */
  readonly pipelining?: number | undefined
  /** Sends the appends, so that more than one can be in flight. Default: the client. */
  readonly pipeline?: Pick<AppendPipeline, 'append'> | undefined
  /** An append is in flight, so that another one may be sent ahead of its response. */
  readonly onInFlight?: (() => void) | undefined
  readonly retry: RetryPolicy
  readonly onRetry: (info: RetryInfo) => void
  /** Each append to an object, at this tail, waits for it. Its failure is the appender's. */
  readonly beforeAppend?: ((target: Target, tail: Tail) => Promise<void>) | undefined
}

/** How much of a batch is acknowledged, and how that is known. */
interface Acknowledgement {
  readonly length: number
  /** The object's tail. */
  readonly tail: Tail
  readonly requestId: string
  readonly isReconciled: boolean
}

export class Appender implements Destination {
  readonly #options: AppenderOptions
  readonly #context: StreamContext
  readonly #tailFinder: TailFinder
  readonly #object: ObjectState
  readonly #sharedSettler: SharedSettler | undefined
  /** With `pipelining`. */
  readonly #chain: Chain | undefined

  constructor(options: AppenderOptions, context = new StreamContext(options)) {
    this.#options = options
    this.#context = context
    this.#object = new ObjectState(options.target)
    this.#tailFinder = new TailFinder(options, context)
    const { pipelining = 1 } = options
    if (pipelining > 1) this.#chain = new Chain(pipelining)
    if (!options.shared) return
    this.#sharedSettler = new SharedSettler(
      options,
      context,
      this.#tailFinder,
      this.#object.inDoubt,
    )
  }

  get key(): string {
    return this.#options.target.key
  }

  get tail(): Tail | undefined {
    return this.#object.tail
  }

  get exists(): boolean {
    return this.#object.exists
  }

  keepProcessAlive(): void {
    this.#context.retryLoop.keepProcessAlive()
  }

  hurry(): void {
    this.#context.retryLoop.hurry()
  }

  abort(reason: Error): void {
    this.#context.retryLoop.abort(reason)
    this.#chain?.abort(reason)
  }

  throwIfAborted(): void {
    if (this.#context.retryLoop.aborted) throw this.#object.fail(this.#context.retryLoop.aborted, 0)
  }

  async open(): Promise<Tail> {
    const { exists, crc64 } = this.#options
    const found = await this.#run(() => this.#find())
    const isProven = exists !== undefined || crc64 === undefined
    this.#object.open(found.tail, found.exists, isProven)
    return found.tail
  }

  /** An attempt of unknown outcome may land in this object yet. */
  get hasDoubt(): boolean {
    return !this.#object.inDoubt.isEmpty
  }

  get ahead(): Tail | undefined {
    return this.#context.retryLoop.aborted ? undefined : this.#chain?.end
  }

  sendAhead(batch: Batch): boolean {
    const chain = this.#chain
    if (!chain) return false
    if (chain.isInFlight(batch)) return true
    const { ahead } = this
    const isWhole = batch.prefix(this.#context.attemptSize.bytes) === batch
    if (!ahead || !isWhole || this.#findFull(ahead, batch)) return false
    chain.send(batch, this.#options.clock.now(), (before, signal) =>
      this.#request(before, batch, signal),
    )
    // A success of the last one alone proves those before it, so all are in doubt from now on.
    for (const { before, after } of chain.inFlight) {
      this.#object.inDoubt.add(before.position, after.position)
    }
    return true
  }

  /** Appends a prefix of a batch; settles when its fate is certain. */
  async append(batch: Batch): Promise<AppendInfo> {
    const { clock } = this.#options
    const { retryLoop, winnerPause } = this.#context
    const { tail: before, next } = this.#object.readyEnd
    const full = this.#findFull(next, batch)
    if (full) throw this.#object.fail(full, 0)
    this.#object.begin()
    const startedAt = this.#chain?.takeHead(batch) ?? clock.now()
    await this.#prepare(before)
    await retryLoop.pause(winnerPause.left)
    const { length, tail, requestId, isReconciled } = await this.#run(() => this.#attempt(batch))
    const { position } = this.#object.openEnd.next
    this.#object.commit(tail)
    return {
      key: this.key,
      position,
      nextPosition: tail.position,
      length,
      crc64: tail.crc64,
      requestId,
      attempts: retryLoop.attempts,
      lostRaces: retryLoop.lostRaces,
      duration: clock.now() - startedAt,
      reconciled: isReconciled,
    }
  }

  async #prepare(tail: Tail): Promise<void> {
    const { beforeAppend, target } = this.#options
    if (!beforeAppend) return
    try {
      await beforeAppend(target, tail)
    } catch (error) {
      throw this.#object.fail(error as Error, 0)
    }
  }

  /** An append of no bytes at position 0, which has the creation headers. */
  async create(): Promise<AppendInfo | undefined> {
    return this.#object.exists ? undefined : this.append(new Batch(NO_BYTES))
  }

  /** Also proves a tail that only the caller knew. */
  async complete(): Promise<void> {
    const { position, crc64 } = this.#object.readyEnd.tail
    if (!this.#object.isProven) await this.#run(() => this.#tailFinder.confirm(position, crc64))
    if (this.#options.seal) await this.seal()
  }

  /** Closes the object for appends, for good. Sealing twice is harmless, so a seal is retried like any exchange. */
  async seal(): Promise<void> {
    const { tail } = this.#object.readyEnd
    const { client, target } = this.#options
    await this.#run(async () => {
      try {
        await this.#context.retryLoop.exchange(async signal =>
          client.seal?.(target, tail.position, { signal }),
        )
      } catch (error) {
        const isGone = error instanceof OssServiceError && error.code === 'NoSuchKey'
        if (isGone) throw replaced(tail, null, error)
        if (!tellsLength(error)) throw error
        throw wrongEnd(tail, error.nextPosition, error)
      }
    })
  }

  /** Runs an operation in the retry loop; its failure is the appender's, for good. */
  async #run<T>(attempt: () => Promise<T>): Promise<T> {
    try {
      return await this.#context.retryLoop.run(this.tail?.position, attempt)
    } catch (error) {
      throw this.#object.fail(error as Error, this.#context.retryLoop.attempts)
    }
  }

  async #find(): Promise<FoundTail> {
    const { position, crc64, exists } = this.#options
    if (position === 'end') return this.#tailFinder.find()
    if (position === 0) return { tail: EMPTY_TAIL, exists: exists ?? false }
    if (crc64 === undefined) return this.#tailFinder.confirm(position)
    return { tail: { position, crc64 }, exists: true }
  }

  /** One attempt at an append: an acknowledgement, or an error that says whether to try again. */
  async #attempt(batch: Batch): Promise<Acknowledgement> {
    const { attemptSize, retryLoop } = this.#context
    const { next } = this.#object.openEnd
    // A batch that was sent ahead was sent whole. The size of others grows with successes alone, so no attempt is
    // longer than those in doubt.
    const part = this.#chain?.headResult ? batch : batch.prefix(attemptSize.bytes)
    const { bucket, key } = this.#options.target
    const { position } = next
    const { length } = part
    return traceAttempt(
      'append',
      () => ({ bucket, key, attempt: retryLoop.attempts, position, length }),
      () => this.#send(next, part, batch),
    )
  }

  async #send(before: ObservedTail, part: Batch, batch: Batch): Promise<Acknowledgement> {
    const { client, clock } = this.#options
    const { attemptSize, retryLoop, winnerPause } = this.#context
    const { length } = part
    const after = advance(before, part)
    const sentAt = clock.now()
    try {
      const result = await retryLoop.exchange(signal =>
        this.#chain
          ? this.#exchangeInChain(this.#chain, part, batch, signal)
          : this.#request(before, part, signal),
      )
      const { position, crc64 } = result
      const tail = { position, crc64 }
      if (!isProof(after, tail)) throw integrity(after, result)
      const { requestId, isReconciled = false } = result
      this.#chain?.finishHead(!isReconciled)
      attemptSize.onSuccess(length)
      if (retryLoop.lostRaces > 0) winnerPause.start(clock.now() - sentAt)
      return { length, tail, requestId, isReconciled }
    } catch (error) {
      const proof = await this.#chain?.breakUp(error)
      if (proof) {
        return { length, tail: after as Tail, requestId: proof.requestId, isReconciled: true }
      }
      if (isInDoubt(error, client)) this.#object.inDoubt.add(before.position, after.position)
      if (isPositionRefused(error) || this.#isSealedInDoubt(error)) {
        return this.#settle(before, after, batch, error)
      }
      throw error instanceof OssError ? this.#resize(error, length) : error
    }
  }

  async #request(before: ObservedTail, part: Batch, signal: AbortSignal): Promise<ChainResult> {
    const { client, pipeline = client, target } = this.#options
    const result = await pipeline.append(target, {
      position: before.position,
      body: part.bytes,
      headers: this.#headersOf(before, part),
      deadlineFactor: this.#context.attemptSize.deadlineFactorOf(part.length),
      signal,
    })
    return checkAppendResult(result)
  }

  /** Sends the head of the chain, unless it was sent ahead. Others may follow it if it carries a whole batch. */
  #exchangeInChain(
    chain: Chain,
    part: Batch,
    batch: Batch,
    signal: AbortSignal,
  ): Promise<ChainResult> {
    if (chain.headResult) return chain.headResult
    const { tail } = this.#object.openEnd
    const response = this.#request(tail, part, signal)
    if (part !== batch) return response
    chain.startHead(batch, tail, this.#options.clock.now())
    this.#options.onInFlight?.()
    return response
  }

  #headersOf({ position, crc64 }: ObservedTail, part: Batch): Record<string, string> {
    const { headers, creationHeaders } = this.#options
    // Where the CRC of the object is not known, the MD5 proves the bytes: OSS checks it before it stores them.
    const contentMd5 = crc64 === undefined ? part.md5 : part.contentMd5
    return {
      ...headers,
      ...(position === 0 ? creationHeaders : undefined),
      ...(contentMd5 === undefined ? undefined : { 'content-md5': contentMd5 }),
    }
  }

  /** After an attempt of `length` bytes failed: the next is shorter, if that may help. */
  #resize(error: OssError, length: number): OssError {
    if (classifyError(error) === 'tooLarge') {
      return this.#context.attemptSize.onRefused(length) ? error : bodyRefused(length, error)
    }
    if (error.code === 'OSS_ERR_TIMEOUT') this.#context.attemptSize.onTimeout(length)
    else if (isBodyCut(error)) this.#context.attemptSize.onCut(length)
    return error
  }

  /** A shared object was sealed while an attempt was in doubt. Its tail is final, so it settles the attempt. */
  #isSealedInDoubt(error: unknown): error is OssServiceError {
    return this.#sharedSettler !== undefined && isSealed(error) && this.hasDoubt
  }

  /** After OSS refused an attempt because of what the object is, and not for another reason. */
  #settle(
    before: ObservedTail,
    after: ObservedTail,
    batch: Batch,
    refusal: OssServiceError,
  ): Promise<Acknowledgement> {
    if (this.#sharedSettler) return this.#settleShared(before, after, batch, refusal)
    return this.#reconcile(this.#object.openEnd.tail, after, batch, refusal)
  }

  /**
   * OSS says that the object does not end where the append starts: another writer appended, or an attempt
   * landed and its response was lost. Only the tail tells which.
   */
  async #reconcile(
    before: Tail,
    after: ObservedTail,
    batch: Batch,
    refusal: OssServiceError,
  ): Promise<Acknowledgement> {
    const seen = await this.#tailFinder.findAfterRefusal(after, refusal)
    const verdict = settleChain(before, batch, this.#chain?.batches ?? [], seen)
    switch (verdict.name) {
      case 'landed': {
        const { length, after: tail } = verdict
        this.#chain?.prove(seen?.position ?? 0, refusal.requestId)
        return { length, tail, requestId: refusal.requestId, isReconciled: true }
      }
      case 'absent':
        throw refusal
      case 'replaced':
        throw replaced(before, seen, refusal)
      case 'conflict':
        throw conflict(before, after, seen ?? EMPTY_TAIL, refusal)
    }
  }

  /** As `#reconcile()`, with other writers. A position is given up only when nothing is in doubt there. */
  async #settleShared(
    before: ObservedTail,
    after: ObservedTail,
    batch: Batch,
    refusal: OssServiceError,
  ): Promise<Acknowledgement> {
    const settler = this.#sharedSettler as SharedSettler
    const verdict = await settler.settle(before, after, batch, refusal)
    switch (verdict.name) {
      case 'landed': {
        const { length, tail, requestId } = verdict
        return { length, tail, requestId, isReconciled: true }
      }
      case 'absent':
        throw refusal
      case 'lost':
        this.#object.moveTo(verdict.tail)
        if (isSealed(refusal)) throw refusal
        throw this.#findFull(verdict.tail, batch) ?? lostRace(before, after, verdict.tail, refusal)
      case 'replaced':
        throw replaced(before, verdict.seen, refusal)
      case 'hidden':
        throw conflict(before, after, verdict.seen, refusal)
    }
  }

  /** The error of an object that has no room for the batch. */
  #findFull({ position }: ObservedTail, { length }: Batch): OssError | undefined {
    const { maxObjectBytes, maxBytes = maxObjectBytes } = this.#options
    const end = position + length
    if (end > maxObjectBytes) return objectFull(end, maxObjectBytes)
    // A batch that is longer than `maxBytes` has an object of its own.
    return position > 0 && end > maxBytes ? objectFull(end, maxBytes) : undefined
  }
}
