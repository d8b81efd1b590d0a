/**
 * The core: opens an object, then makes one append at a time, retried until its fate is certain. It
 * needs a client (the seam below) and a clock. It knows no streams, no HTTP and no `process`; who
 * decides what a batch is, and when, is above it.
 *
 * Invariants:
 * - One exchange is in flight at a time.
 * - The tail moves in `#commit` alone, and only forward.
 * - Success means that the bytes are in the object and that its CRC is what we computed.
 * - After a failure nothing is appended: `failed` is for good.
 * - A resend is byte-identical: same bytes, same position, same headers. That is why it is safe.
 */

import { ok } from 'node:assert/strict'
import type { Target } from './address.ts'
import { Backoff, type Clock, type RetryPolicy, type Timer } from './backoff.ts'
import type { AppendRequest, Client, Head } from './client.ts'
import {
  conflict,
  exhausted,
  integrity,
  notAppendable,
  OssError,
  OssServiceError,
  objectFull,
  replaced,
} from './errors.ts'
import { isAmbiguous, type Outcome, outcomeOf } from './outcome.ts'
import {
  advance,
  type Batch,
  EMPTY_TAIL,
  isSameTail,
  isShutOut,
  type Seen,
  settle,
  type Tail,
} from './tail.ts'

export interface AppenderOptions {
  readonly target: Target
  readonly client: Client
  readonly clock: Clock
  /** `'end'`, or the exact length in bytes that the object must have. */
  readonly position: 'end' | number
  /** The known CRC-64 of the first `position` bytes. */
  readonly crc64?: string | undefined
  /** Bytes. */
  readonly maxObjectBytes: number
  readonly retry: RetryPolicy
  /** Sent with every append. */
  readonly headers: Readonly<Record<string, string>>
  /** Sent with the append that creates the object, and its resends. */
  readonly creationHeaders: Readonly<Record<string, string>>
  readonly onRetry: (info: RetryInfo) => void
}

/** What `'retry'` carries: an attempt failed, and another follows after `delay`. */
export interface RetryInfo {
  /** The attempt that failed, from 1. */
  readonly attempt: number
  readonly error: Error
  /** Milliseconds until the next attempt. */
  readonly delay: number
  /** Where the append starts; undefined while the tail is not known. */
  readonly position: number | undefined
}

/** What `'append'` carries: one append acknowledged. */
export interface AppendInfo {
  /** Where it starts, in bytes. */
  readonly position: number
  /** Where it ends: the object's length now. */
  readonly nextPosition: number
  /** Bytes. */
  readonly length: number
  /** CRC-64 of the whole object. */
  readonly crc64: string
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
  | Flight
  | { readonly name: 'failed'; readonly tail: Tail | undefined; readonly error: Error }

/** `appending` and `reconciling` carry the same: the tails on both sides of the batch. */
interface Flight {
  readonly name: 'appending' | 'reconciling'
  readonly tail: Tail
  readonly after: Tail
  /** Some attempt may have landed, or may land yet. */
  readonly isAmbiguous: boolean
}

/** An acknowledgement, and how it was had. */
interface Receipt {
  readonly requestId: string
  readonly isReconciled: boolean
}

const NO_BYTES = new Uint8Array(0)
/** A rival that appends faster than we ask is not found out by asking more. */
const PROBE_ROUNDS = 3

export class Appender {
  readonly #options: AppenderOptions
  #state: State = { name: 'opening' }
  #exists = false
  /** OSS has answered at least once, so its host name is right. */
  #hasReply = false
  #isHeld = false
  #aborted: Error | undefined
  #controller: AbortController | undefined
  #wait: { readonly timer: Timer; readonly end: () => void } | undefined

  constructor(options: AppenderOptions) {
    this.#options = options
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
  hold(): void {
    this.#isHeld = true
    this.#wait?.timer.ref()
  }

  /** Ends what is in flight, at once: it rejects with `reason`, and so does all that follows. */
  abort(reason: Error): void {
    if (this.#aborted) return
    this.#aborted = reason
    if (this.#controller) this.#doubt()
    this.#controller?.abort(reason)
    this.#wait?.end()
  }

  throwIfAborted(): void {
    if (this.#aborted) throw this.#fail(this.#aborted, 0)
  }

  /** Finds the tail to append at. */
  async open(): Promise<Tail> {
    ok(this.#state.name === 'opening')
    const { position, crc64 } = this.#options
    const tail = await this.#persist(() => {
      if (position === 'end') return this.#find()
      if (position === 0) return Promise.resolve(EMPTY_TAIL)
      return crc64 === undefined ? this.#confirm(position) : Promise.resolve({ position, crc64 })
    })
    this.#exists ||= tail.position > 0
    this.#state = { name: 'ready', tail }
    return tail
  }

  /** Appends one batch; settles when its fate is certain. */
  async append(batch: Batch): Promise<AppendInfo> {
    const before = this.#readyTail()
    const after = advance(before, batch)
    const { clock, headers, creationHeaders, maxObjectBytes } = this.#options
    if (after.position > maxObjectBytes) {
      throw this.#fail(objectFull(after.position, maxObjectBytes), 0)
    }

    this.#state = { name: 'appending', tail: before, after, isAmbiguous: false }
    const startedAt = clock.now()
    const request = {
      position: before.position,
      body: batch.bytes,
      headers: {
        ...headers,
        ...(this.#exists ? undefined : creationHeaders),
        ...(batch.contentMd5 === undefined ? undefined : { 'content-md5': batch.contentMd5 }),
      },
    }
    let attempts = 0
    const { requestId, isReconciled } = await this.#persist(attempt => {
      attempts = attempt
      return this.#attempt(request)
    })
    this.#commit(after)
    return {
      position: before.position,
      nextPosition: after.position,
      length: batch.bytes.length,
      crc64: after.crc64,
      requestId,
      attempts,
      duration: clock.now() - startedAt,
      reconciled: isReconciled,
    }
  }

  /** Closes the object for appends, for good. Sealing twice is harmless, so a lost reply is too. */
  async seal(): Promise<void> {
    const tail = this.#readyTail()
    const { client, target } = this.#options
    await this.#persist(async () => {
      try {
        await this.#exchange(signal => client.seal?.(target, tail.position, { signal }))
      } catch (error) {
        if (!tellsLength(error)) throw error
        const seen = { position: error.nextPosition }
        const isReplaced = settle(tail, tail, seen) === 'replaced'
        throw isReplaced ? replaced(tail, seen, error) : conflict(tail, tail, seen, error)
      }
    })
  }

  /**
   * Runs `attempt` until it succeeds or no further attempt makes sense. Every wait, every retry and
   * every final failure passes here.
   */
  async #persist<T>(attempt: (attempt: number) => Promise<T>): Promise<T> {
    const { clock, retry, onRetry } = this.#options
    const backoff = new Backoff(retry, clock)
    for (let count = 1; ; count++) {
      if (this.#aborted) throw this.#fail(this.#aborted, count - 1)
      try {
        return await attempt(count)
      } catch (cause) {
        const error = cause as Error
        // Before we look for an abort: what failed just before it may have landed all the same.
        if (isAmbiguous(error)) this.#doubt()
        if (this.#aborted) throw this.#fail(this.#aborted, count)
        const outcome = outcomeOf(error)
        const delay = backoff.next(outcome, this.#hasReply)
        if (delay === undefined) throw this.#fail(finalError(error, outcome, count), count)
        onRetry({ attempt: count, error, delay, position: this.tail?.position })
        await this.#sleep(delay)
      }
    }
  }

  /** One attempt at an append: a receipt, or an error that says whether to try again. */
  async #attempt(request: Omit<AppendRequest, 'signal'>): Promise<Receipt> {
    const { client, target } = this.#options
    const flight = this.#flight()
    try {
      const reply = await this.#exchange(signal => client.append(target, { ...request, signal }))
      if (isSameTail(flight.after, reply))
        return { requestId: reply.requestId, isReconciled: false }
      throw integrity(flight.after, reply)
    } catch (error) {
      if (!isPositionRefused(error)) throw error
      return await this.#reconcile(flight, error)
    }
  }

  /**
   * OSS says that the object does not end where we append: a rival wrote, or an earlier attempt of ours
   * landed and its reply was lost (perhaps in a layer below that resends by itself, so even a first
   * attempt may). Only the tail tells which.
   */
  async #reconcile(flight: Flight, refusal: OssServiceError): Promise<Receipt> {
    const { tail: before, after } = flight
    // Until the tail has told, nobody knows, whatever ends the asking.
    this.#state = { ...flight, name: 'reconciling', isAmbiguous: true }
    const seen = await this.#see(flight, refusal)
    this.#state = flight
    switch (settle(before, after, seen)) {
      case 'landed':
        return { requestId: refusal.requestId, isReconciled: true }
      case 'absent':
        throw refusal
      case 'replaced':
        this.#state = { ...flight, isAmbiguous: false }
        throw replaced(before, seen, refusal)
      case 'conflict': {
        const rival = seen ?? EMPTY_TAIL
        this.#state = { ...flight, isAmbiguous: !isShutOut(before, after, rival) }
        throw conflict(before, after, rival, refusal)
      }
    }
  }

  /** The tail as the server shows it in one reply; `null`: there is no object. */
  async #see({ tail: before, after }: Flight, refusal: OssServiceError): Promise<Seen | null> {
    const { client, target } = this.#options
    const length = refusal.nextPosition
    // A third length proves by itself that others wrote: nothing more to ask.
    if (length !== undefined && length !== before.position && length !== after.position) {
      return { position: length }
    }
    let head: Head | null
    try {
      head = await this.#exchange(signal => client.head(target, { signal }))
    } catch (error) {
      if (!isReadForbidden(error)) throw error
      const from = length ?? after.position
      // Refused at 0 and told nothing else: there is nothing to ask that would not create the object.
      if (from === 0) throw refusal
      return this.#probe(from)
    }
    if (head === null) return null
    const seen = appendableTail(head)
    return seen.crc64 === undefined ? this.#probe(seen.position) : seen
  }

  /** Opening at the end: HEAD, or without the right to read, what appends of nothing tell. */
  async #find(): Promise<Tail> {
    const { client, target } = this.#options
    let head: Head | null
    try {
      head = await this.#exchange(signal => client.head(target, { signal }))
    } catch (error) {
      if (!isReadForbidden(error)) throw error
      return withCrc(await this.#probe(1, EMPTY_TAIL.position))
    }
    if (head === null) return EMPTY_TAIL
    const seen = appendableTail(head)
    if (head.sealedTime !== undefined) throw notAppendable(head, 'AppendSealedObjectNotAllowed')
    this.#exists = true
    return withCrc(seen.crc64 === undefined ? await this.#probe(seen.position) : seen)
  }

  /** Opening at a given length: an append of nothing there changes nothing, and tells the CRC. */
  async #confirm(position: number): Promise<Tail> {
    try {
      return withCrc(await this.#appendNothing(position))
    } catch (error) {
      if (!tellsLength(error)) throw error
      const expected = { position }
      throw conflict(expected, expected, { position: error.nextPosition }, error)
    }
  }

  /**
   * Learns the tail by appends of nothing, which need no right to read. At a wrong position OSS refuses
   * and tells the length; at the right one it tells the CRC. Position 0 is never asked: on an absent
   * key it would create the object, without its metadata.
   *
   * `untold`: the length to go on with where OSS refuses and tells none; without it the attempt failed.
   */
  async #probe(from: number, untold?: number): Promise<Seen> {
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

  async #appendNothing(position: number): Promise<Seen> {
    const { client, target, headers } = this.#options
    const request = { position, body: NO_BYTES, headers }
    const reply = await this.#exchange(signal => client.append(target, { ...request, signal }))
    if (reply.position !== position) throw integrity({ position }, reply)
    return reply
  }

  /** One exchange with the server, with an AbortController of its own: nothing is left listening. */
  async #exchange<T>(call: (signal: AbortSignal) => Promise<T> | undefined): Promise<T> {
    ok(!this.#controller, 'one exchange in flight')
    if (this.#aborted) throw this.#aborted
    this.#controller = new AbortController()
    try {
      const reply = (await call(this.#controller.signal)) as T
      this.#hasReply = true
      return reply
    } catch (error) {
      this.#hasReply ||= error instanceof OssServiceError
      throw error
    } finally {
      this.#controller = undefined
    }
  }

  /** A timer holds the process exactly while something is owed. */
  async #sleep(delay: number): Promise<void> {
    const { clock } = this.#options
    if (this.#aborted) return
    await new Promise<void>(resolve => {
      const timer = clock.setTimeout(resolve, delay)
      if (!this.#isHeld) timer.unref()
      this.#wait = {
        timer,
        end: () => {
          clock.clearTimeout(timer)
          resolve()
        },
      }
    })
    this.#wait = undefined
  }

  #commit(after: Tail): void {
    ok(after.position >= this.#flight().tail.position)
    this.#exists = true
    this.#state = { name: 'ready', tail: after }
  }

  /** Remembers that an attempt may have landed; only proof takes that back. */
  #doubt(): void {
    const state = this.#state
    if ('after' in state) this.#state = { ...state, isAmbiguous: true }
  }

  /** Fails for good, with all that is known. */
  #fail(error: Error, attempts: number): Error {
    const state = this.#state
    if (error instanceof OssError) {
      const { target } = this.#options
      error.bucket = target.bucket
      error.key = target.key
      if (attempts > 0) error.attempts = attempts
      if (this.tail) error.tail = this.tail
      if ('after' in state && state.isAmbiguous) {
        const { position } = state.tail
        error.unresolved = { position, length: state.after.position - position }
      }
    }
    this.#state = { name: 'failed', tail: this.tail, error }
    return error
  }

  #readyTail(): Tail {
    const state = this.#state
    if (state.name === 'failed') throw state.error
    ok(state.name === 'ready', 'one append in flight')
    return state.tail
  }

  #flight(): Flight {
    const state = this.#state
    ok(state.name === 'appending' || state.name === 'reconciling')
    return state
  }
}

function isPositionRefused(error: unknown): error is OssServiceError {
  return error instanceof OssServiceError && error.code === 'PositionNotEqualToLength'
}

/** A 409 with its header; without it nothing can be said of the object, and the attempt failed. */
function tellsLength(error: unknown): error is OssServiceError & { readonly nextPosition: number } {
  return isPositionRefused(error) && error.nextPosition !== undefined
}

/** The identity may append and not read, as the OSS guide allows. `BadErrorResponse`: a 403 without a code. */
function isReadForbidden(error: unknown): boolean {
  if (!(error instanceof OssServiceError) || error.status !== 403) return false
  return error.code === 'AccessDenied' || error.code === 'BadErrorResponse'
}

function appendableTail(head: Head): Seen {
  if (head.type !== 'Appendable') throw notAppendable(head, 'ObjectNotAppendable')
  // A sealed object goes on nowhere.
  if (head.position !== head.length && head.sealedTime === undefined) {
    const message = `OSS says the object has ${head.length} bytes and goes on at ${head.position}`
    throw new OssError('OSS_ERR_INTEGRITY', message)
  }
  return { position: head.length, crc64: head.crc64 }
}

function withCrc({ position, crc64 }: Seen): Tail {
  if (crc64 !== undefined) return { position, crc64 }
  const message = `OSS tells no CRC-64 of the object's ${position} bytes: nothing could be proven of it`
  throw new OssError('OSS_ERR_INTEGRITY', message)
}

/**
 * The error to fail with. What OSS or the provider said for good stands as it is; what another attempt
 * might have mended becomes the reason why we gave up.
 */
function finalError(error: Error, outcome: Outcome, attempts: number): Error {
  if (!(error instanceof OssError)) return error
  if (error.code === 'OSS_ERR_CREDENTIALS') {
    // One call of the provider may fail many streams, and each adds what is its own to the error.
    return new OssError(error.code, error.message, { cause: error.cause })
  }
  const isTransient = outcome === 'wait' || outcome === 'throttled' || outcome === 'unknownHost'
  // A bad certificate is final, and still a failure of the network: that code is for causes only.
  return isTransient || error.code === 'OSS_ERR_NETWORK' ? exhausted(error, attempts) : error
}
