/**
 * A client that answers when it is told, so that a test is a dialogue:
 *
 *     const request = await client.next()
 *     t.strictSame(request.asked, { kind: 'append', position: 3, text: 'new', headers: {} })
 *     request.reply({ position: 6, crc64 })
 *
 * As the interface asks, a request whose signal is aborted settles at once, with the signal's reason.
 */

import { Readable } from 'node:stream'
import type {
  AppendRequest,
  AppendResult,
  Client,
  Head,
  ObjectRange,
  RangeRequest,
  Target,
} from '../../lib/append/client-interface.ts'
import { crc64 } from '../../lib/crc64/index.ts'
import { REQUEST_ID } from './errors.ts'

interface Signalled {
  readonly signal: AbortSignal
}

type Kind = 'head' | 'append' | 'seal' | 'get'

type Details = Partial<AppendRequest> & Partial<RangeRequest> & Signalled

export class FakeRequest {
  readonly kind: Kind
  readonly target: Target
  readonly position: number | undefined
  readonly body: Uint8Array | undefined
  readonly deadlineFactor: number | undefined
  /** What was asked, as it was at that moment; to be compared strictly, and as a whole. */
  readonly asked: Readonly<Record<string, unknown>>
  readonly signal: AbortSignal
  /** What the client promised; resolves with whatever `reply` made. */
  readonly promise: Promise<unknown>
  isSettled = false
  #resolve!: (value: unknown) => void
  #reject!: (error: unknown) => void

  constructor(kind: Kind, target: Target, request: Details) {
    this.kind = kind
    this.target = target
    this.position = request.position
    this.body = request.body
    this.deadlineFactor = request.deadlineFactor
    this.asked = {
      kind,
      ...(request.position !== undefined && { position: request.position }),
      ...(request.start !== undefined && { start: request.start, end: request.end }),
      ...(request.body && { text: Buffer.from(request.body).toString('latin1') }),
      ...(request.headers && { headers: { ...request.headers } }),
    }
    this.signal = request.signal
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    if (this.signal.aborted) this.#abort()
    else this.signal.addEventListener('abort', this.#abort)
  }

  /**
   * The answer of OSS. Of a HEAD as of an append, `position` and `crc64` are enough to give: the
   * object is as long as its position says. `null`, of a HEAD: there is no object.
   */
  reply(answer: Partial<Head> | Partial<AppendResult> | null = {}): void {
    const { position } = answer ?? {}
    const usual =
      this.kind === 'head'
        ? { type: 'Appendable', length: position, requestId: REQUEST_ID }
        : { requestId: REQUEST_ID }
    this.#settle()
    this.#resolve(answer && { ...usual, ...answer })
  }

  /** The answer of OSS to a GET: the requested part of an object with this content, in 4 chunks. */
  replyWithRangeOf(content: string, details: Partial<ObjectRange> = {}): void {
    const { start = 0, end = 0 } = this.asked as { start?: number; end?: number }
    const bytes = Buffer.from(content, 'latin1')
    const part = bytes.subarray(start, end)
    const size = Math.ceil(part.length / 4)
    const chunks = [0, 1, 2, 3].map(i => part.subarray(i * size, (i + 1) * size))
    const tail = { length: bytes.length, crc64: crc64(bytes), requestId: REQUEST_ID }
    this.#settle()
    this.#resolve({ ...tail, body: Readable.from(chunks), ...details })
  }

  /** Resolves with any value. */
  resolve(value: unknown): void {
    this.#settle()
    this.#resolve(value)
  }

  fail(error: unknown): void {
    this.#settle()
    this.#reject(error)
  }

  #settle(): void {
    if (this.isSettled) throw new Error(`this ${this.kind} is settled already`)
    this.isSettled = true
    this.signal.removeEventListener('abort', this.#abort)
  }

  readonly #abort = (): void => this.fail(this.signal.reason)
}

export class FakeClient implements Client {
  /** As the real client over its own agent. A test may set it. */
  sendsOnce = true
  /** Every request there was, in order. */
  readonly requests: FakeRequest[] = []
  /** The most requests that were in flight together. */
  mostInFlight = 0
  readonly #unseen: FakeRequest[] = []
  #waiting: ((request: FakeRequest) => void) | undefined

  head(target: Target, request: Signalled): Promise<Head | null> {
    return this.#receive('head', target, request) as Promise<Head | null>
  }

  append(target: Target, request: AppendRequest): Promise<AppendResult> {
    return this.#receive('append', target, request) as Promise<AppendResult>
  }

  seal(target: Target, position: number, request: Signalled): Promise<void> {
    return this.#receive('seal', target, { ...request, position }) as Promise<void>
  }

  /** A test may delete it. */
  read? = (target: Target, request: RangeRequest): Promise<ObjectRange> =>
    this.#receive('get', target, request) as Promise<ObjectRange>

  async close(): Promise<void> {}

  /** The next request in order, as soon as there is one. */
  async next(): Promise<FakeRequest> {
    return (
      this.#unseen.shift() ??
      new Promise(resolve => {
        this.#waiting = resolve
      })
    )
  }

  #receive(kind: Kind, target: Target, details: Details): Promise<unknown> {
    const request = new FakeRequest(kind, target, details)
    this.requests.push(request)
    const inFlight = this.requests.filter(({ isSettled }) => !isSettled)
    this.mostInFlight = Math.max(this.mostInFlight, inFlight.length)
    if (this.#waiting) this.#waiting(request)
    else this.#unseen.push(request)
    this.#waiting = undefined
    return request.promise
  }
}
