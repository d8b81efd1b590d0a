/**
 * OSS and the network of the pipelining model: objects, one connection, requests that come late, another
 * writer. The client library behaves as undici 7.30 does: it pipelines, and after a close, a reset or an abort it
 * sends the queued requests again by itself, silently, on a new connection.
 *
 *     writer --send--> queue --connect--> wire --serve--> object
 *              <--receive-- responses <------+               ^
 *                 reset, close, abort: what is on the wire is lost, or late
 */

import type { Random } from '../helpers/random.ts'

/** The end of an object. The text of an object stands for its CRC. */
export interface Tail {
  readonly position: number
  readonly crc: string
}

/** Some records for one position. */
export interface Attempt {
  /** The number of the object. */
  readonly key: number
  readonly from: number
  readonly to: number
  readonly text: string
  /** The records in it: from `first`, before `end`. */
  readonly first: number
  readonly end: number
}

export type Result =
  | { readonly name: 'stored'; readonly tail: Tail }
  /** 409: the object does not end at `from`. */
  | { readonly name: 'positionRefused' }
  /** 403, and 400 to a sealed object: no attempt will go better. */
  | { readonly name: 'refused' }
  /** The body was damaged on its way. OSS stored nothing. */
  | { readonly name: 'damaged' }
  /** 5xx: stored or not. */
  | { readonly name: 'serverError' }
  | { readonly name: 'reset' }

/** A request in the library. */
export interface Request {
  readonly attempt: Attempt
  readonly onResult: (result: Result) => void
  /** How often it was written to a connection. */
  sent: number
  /** The writer has aborted a request in front of it or behind it. */
  isDisturbed: boolean
}

interface Response {
  readonly result: Result
  readonly isLast: boolean
}

/** The connection in use. */
interface Connection {
  /** What the server has not served yet. */
  readonly wire: Attempt[]
  readonly responses: Response[]
  /** The server answers nothing any more. */
  isHung: boolean
  /** The server has closed it behind its last response, and reads nothing of what is sent now. */
  isClosed: boolean
}

/** What the writer does in the middle of an event is seen by these. */
export interface NetworkObserver {
  onStored(attempt: Attempt): void
  onSent(request: Request): void
  count(name: string): void
  readonly log: string[]
}

/** The fates of a request at the server, and their weights. */
const FATES = [
  ['served', 60],
  ['served, then closed', 8],
  ['hung, served', 3],
  ['hung, not served', 3],
  ['hung, late', 4],
  ['5xx, served', 4],
  ['5xx, not served', 4],
  ['5xx, late', 4],
  ['refused', 2],
  ['damaged', 2],
] as const
type Fate = (typeof FATES)[number][0]
const FATE_LIST: readonly Fate[] = FATES.flatMap(([fate, weight]) => Array(weight).fill(fate))

export class Network {
  /** Text by number of the object; undefined: there is no object. */
  readonly objects: (string | undefined)[] = []
  readonly sealed = new Set<number>()
  /** Requests on their way: each may land, once, at any time. */
  readonly late: Attempt[] = []
  /** Requests without a result, in the order of sending. */
  queue: Request[] = []
  isCalm = false
  readonly #random: Random
  readonly #observer: NetworkObserver
  #connection: Connection | undefined

  constructor(random: Random, observer: NetworkObserver) {
    this.#random = random
    this.#observer = observer
  }

  /** Undefined: there is no object. */
  tailOf(key: number): Tail | undefined {
    const text = this.objects[key]
    return text === undefined ? undefined : { position: text.length, crc: text }
  }

  /** What can happen next, each as often as it is likely. */
  get events(): (() => void)[] {
    const connection = this.#connection
    if (!connection) return this.queue.length > 0 ? Array(4).fill(() => this.#connect()) : []
    const { wire, responses, isHung } = connection
    const events: (() => void)[] = []
    if (wire.length > 0 && !isHung) events.push(...Array(4).fill(() => this.#serve(connection)))
    if (responses.length > 0) events.push(...Array(4).fill(() => this.#receive(connection)))
    if (!this.isCalm && this.#random.integer(0, 9) === 0) events.push(() => this.#reset())
    return events
  }

  /** True: only the deadline of a request helps. */
  get isHung(): boolean {
    return this.#connection?.isHung === true && this.#connection.responses.length === 0
  }

  send(attempt: Attempt, onResult: (result: Result) => void): Request {
    const request = { attempt, onResult, sent: 0, isDisturbed: false }
    this.queue.push(request)
    if (this.#connection) this.#write(this.#connection, request)
    return request
  }

  /** Aborts requests. Those without an abort are sent again on a new connection. */
  abort(requests: readonly Request[]): void {
    const isAborted = (each: Request) => requests.includes(each)
    if (!this.queue.some(isAborted)) return
    this.queue = this.queue.filter(each => !isAborted(each))
    for (const request of this.queue) request.isDisturbed = true
    this.#disconnect()
  }

  /** False: the object does not end at `from`, or is sealed. */
  land(attempt: Attempt): boolean {
    const { key, from, text } = attempt
    const content = this.objects[key]
    if (this.sealed.has(key) || from !== (content?.length ?? 0)) return false
    this.objects[key] = (content ?? '') + text
    this.#observer.onStored(attempt)
    return true
  }

  landLate(): void {
    const [attempt] = this.late.splice(this.#random.integer(0, this.late.length - 1), 1)
    const isStored = this.land(attempt!)
    this.#log(`late ${describe(attempt!)} ${isStored ? 'lands' : 'is refused'}`)
    if (isStored) this.#observer.count('late lands')
  }

  #connect(): void {
    this.#connection = { wire: [], responses: [], isHung: false, isClosed: false }
    for (const request of this.queue) this.#write(this.#connection, request)
  }

  #write(connection: Connection, request: Request): void {
    request.sent += 1
    this.#log(`${request.sent > 1 ? 'sent again' : 'sent'} ${describe(request.attempt)}`)
    if (request.sent > 1) this.#observer.count('sent again by the library')
    if (!connection.isClosed) connection.wire.push(request.attempt)
    this.#observer.onSent(request)
  }

  /** The server takes up the next request, after the response to the one before. */
  #serve(connection: Connection): void {
    const attempt = connection.wire.shift()!
    const fate = this.isCalm ? 'served' : this.#random.pick(FATE_LIST)
    this.#log(`${fate}: ${describe(attempt)}, the object has ${this.objects[attempt.key]?.length}`)
    this.#observer.count(`${this.queue.length > 1 ? 'chain' : 'alone'}: ${fate}`)
    const respond = (result: Result, isLast = false) =>
      connection.responses.push({ result, isLast })
    switch (fate) {
      case 'served':
        respond(this.#resultOf(attempt))
        return
      case 'served, then closed':
        respond(this.#resultOf(attempt), true)
        connection.isClosed = true
        this.#lose(connection.wire.splice(0))
        return
      case 'hung, served':
        this.land(attempt)
        connection.isHung = true
        return
      case 'hung, not served':
        connection.isHung = true
        return
      case 'hung, late':
        this.late.push(attempt)
        connection.isHung = true
        return
      case '5xx, served':
        this.land(attempt)
        respond({ name: 'serverError' })
        return
      case '5xx, not served':
        respond({ name: 'serverError' })
        return
      case '5xx, late':
        this.late.push(attempt)
        respond({ name: 'serverError' })
        return
      case 'refused':
      case 'damaged':
        respond({ name: fate })
    }
  }

  #resultOf(attempt: Attempt): Result {
    if (this.sealed.has(attempt.key)) return { name: 'refused' }
    if (!this.land(attempt)) return { name: 'positionRefused' }
    return { name: 'stored', tail: this.tailOf(attempt.key)! }
  }

  /** Some responses come in one read: all requests are settled before the writer can act. */
  #receive(connection: Connection): void {
    const count = this.#random.integer(1, connection.responses.length)
    const received = connection.responses.splice(0, count)
    const settled = this.queue.splice(0, count)
    if (received.some(({ isLast }) => isLast)) this.#disconnect()
    if (count > 1) this.#observer.count('several responses in one read')
    for (const [i, { result }] of received.entries()) {
      this.#log(`${result.name} ${describe(settled[i]!.attempt)}`)
      settled[i]!.onResult(result)
    }
  }

  #reset(): void {
    this.#log('reset')
    const head = this.queue.shift()
    this.#observer.count(this.queue.length > 0 ? 'reset in a chain' : 'reset')
    this.#disconnect()
    head?.onResult({ name: 'reset' })
  }

  #disconnect(): void {
    this.#lose(this.#connection?.wire.splice(0) ?? [])
    this.#connection = undefined
  }

  /** The connection is closed with these requests on it. The server may have read some, and serve them yet. */
  #lose(attempts: readonly Attempt[]): void {
    this.late.push(...attempts.filter(() => !this.isCalm && this.#random.integer(0, 3) === 0))
  }

  #log(line: string): void {
    this.#observer.log.push(line)
  }
}

export function describe({ key, from, to, first, end }: Attempt): string {
  return `records ${first} to ${end - 1} at ${key}:${from}-${to}`
}
