/**
 * OSS in memory, and the network between it and streams whose process may be killed. A request travels, takes
 * effect, and its response travels back, if there is still a process. A late request may take effect at any later
 * time, also when its process is dead.
 */

import { Readable } from 'node:stream'
import type {
  AppendRequest,
  AppendResult,
  Client,
  Head,
  RangeRequest,
  Target,
} from '../../lib/append/client-interface.ts'
import {
  networkError,
  positionConflict,
  REQUEST_ID,
  serviceError,
  timeoutError,
} from '../helpers/errors.ts'
import type { Random } from '../helpers/random.ts'
import type { VirtualClock } from '../helpers/simulated-oss.ts'
import { AttemptWatch } from './attempt-watch.ts'
import { SharedStore } from './shared-store.ts'

/** Milliseconds after which a client gives up a request. */
const DEADLINE = 300

/** The fates of an append besides `fine`, and their weights. */
const APPEND_FATES = [
  ['response lost', 14],
  ['late', 25],
  ['dropped', 6],
  ['unsent', 3],
  ['500, stored', 3],
  ['500, not stored', 3],
  ['throttled', 2],
  ['not OSS, stored', 3],
  ['409 without a length', 2],
] as const
type AppendFate = 'fine' | (typeof APPEND_FATES)[number][0]
const WEIGHTED_FATES = APPEND_FATES.flatMap(([fate, weight]) =>
  Array<AppendFate>(weight).fill(fate),
)
const LOOKUP_FATES = ['timeout', 'reset', 'throttled'] as const

/** The process that sends. */
export interface Sender {
  readonly isDead: boolean
  /** A request is sent, arrives or is answered: the process may be killed there. */
  onExchange(): void
}

export interface NetworkPlan {
  readonly isHeadForbidden: boolean
  /** Percent of exchanges that go wrong. */
  readonly faultRate: number
}

export interface NetworkListener {
  readonly onLanded: (key: string, text: string) => void
  readonly count: (name: string) => void
  readonly log: (line: string) => void
}

export class StreamsNetwork {
  readonly store = new SharedStore()
  readonly clock: VirtualClock
  /** Nothing goes wrong any more, but for requests that are late. */
  isCalm = false
  readonly #plan: NetworkPlan
  readonly #random: Random
  readonly #listener: NetworkListener
  readonly #attempts = new AttemptWatch()

  constructor(plan: NetworkPlan, clock: VirtualClock, random: Random, listener: NetworkListener) {
    this.#plan = plan
    this.clock = clock
    this.#random = random
    this.#listener = listener
  }

  /** The client of one process. */
  client(sender: Sender, sendsOnce: boolean): Client {
    return {
      sendsOnce,
      head: ({ key }, { signal }) => this.#head(sender, key, signal),
      append: (target, request) => this.#append(sender, target, request),
      read: ({ key }, request) => this.#read(sender, key, request),
      seal: ({ key }, position, { signal }) => this.#seal(sender, key, position, signal),
      close: async () => {},
    }
  }

  /** An object that another program has made. */
  addForeign(key: string, text: string): void {
    this.store.append(key, 0, text, 0)
  }

  #chance(percent: number): boolean {
    return this.#random.integer(0, 99) < percent
  }

  #hasFault(): boolean {
    return !this.isCalm && this.#chance(this.#plan.faultRate)
  }

  #pickLookupFate(): string {
    return this.#hasFault() ? this.#random.pick(LOOKUP_FATES) : 'fine'
  }

  async #head(sender: Sender, key: string, signal: AbortSignal): Promise<Head | null> {
    const fate = this.#pickLookupFate()
    return this.#exchange(sender, signal, fate, `HEAD ${key}`, () => {
      if (this.#plan.isHeadForbidden) throw serviceError('AccessDenied', { status: 403 })
      const object = this.store.get(key)
      if (!object) return null
      const { length, crc64, isSealed } = object
      const base = { type: 'Appendable', length, crc64, requestId: REQUEST_ID }
      if (isSealed) return { ...base, sealedTime: new Date(0).toUTCString() }
      return { ...base, position: length }
    })
  }

  async #read(sender: Sender, key: string, { start, end, signal }: RangeRequest) {
    const fate = this.#pickLookupFate()
    const line = `GET ${key} ${start}-${end}`
    const range = await this.#exchange(sender, signal, fate, line, () => {
      const object = this.store.get(key)
      if (!object) throw serviceError('NoSuchKey', { status: 404 })
      const { content, length, crc64 } = object
      if (start >= length) throw serviceError('InvalidRange', { status: 416 })
      return { length, crc64, bytes: Buffer.from(content.slice(start, end), 'latin1') }
    })
    const { bytes, ...tail } = range
    return { body: Readable.from([bytes]), requestId: REQUEST_ID, ...tail }
  }

  async #seal(sender: Sender, key: string, position: number, signal: AbortSignal): Promise<void> {
    const fate = this.#pickLookupFate()
    await this.#exchange(sender, signal, fate, `seal ${key}`, () => {
      const object = this.store.get(key)
      if (!object) throw serviceError('NoSuchKey', { status: 404 })
      if (object.length !== position) throw positionConflict(object.length)
      object.isSealed = true
      this.#listener.count('sealed')
    })
  }

  async #append(sender: Sender, { key }: Target, request: AppendRequest): Promise<AppendResult> {
    const { position, signal } = request
    const text = Buffer.from(request.body).toString('latin1')
    const fate = this.#hasFault() ? this.#random.pick(WEIGHTED_FATES) : 'fine'
    if (fate !== 'fine') this.#listener.count(fate)
    if (this.#attempts.isDifferent(key, position, text.length))
      this.#listener.count('two lengths at one position')
    const serve = (isLate: boolean) => this.#serveAppend(key, position, text, sender, isLate)
    const line = `append ${key}@${position} ${JSON.stringify(text)} ${fate}`
    const refuse = (error: Error) =>
      this.#exchange<never>(sender, signal, 'fine', line, () => throwError(error))
    const serveThen = (error: Error) =>
      this.#exchange<never>(sender, signal, 'fine', line, () => {
        tryTo(() => serve(false))
        throw error
      })
    switch (fate) {
      case 'fine':
        return this.#exchange(sender, signal, fate, line, () => serve(false))
      case 'response lost':
        return serveThen(networkError('ECONNRESET'))
      case 'late':
        this.clock.setTimeout(() => tryTo(() => serve(true)), this.#pickDelay())
        return this.#exchange<never>(sender, signal, 'timeout', line, () =>
          throwError(timeoutError()),
        )
      case 'dropped':
        return refuse(networkError('UND_ERR_SOCKET', { isBodyCut: true }))
      case 'unsent':
        return refuse(networkError('ECONNREFUSED'))
      case '500, stored':
        return serveThen(serviceError('InternalError', { status: 500 }))
      case '500, not stored':
        return refuse(serviceError('InternalError', { status: 500 }))
      case 'throttled':
        return refuse(serviceError('TotalQpsLimitExceeded', { status: 503 }))
      case 'not OSS, stored':
        return serveThen(networkError())
      case '409 without a length':
        // An object of unknown length counts as empty then, and is found to be another's.
        if (text === '' && position === 1)
          return this.#exchange(sender, signal, fate, line, () => serve(false))
        return refuse(positionConflict())
    }
  }

  /** Milliseconds until a late request takes effect. */
  #pickDelay(): number {
    return this.#random.integer(1, this.#random.pick([100, 500, 2000, 10_000, 100_000]))
  }

  #serveAppend(
    key: string,
    position: number,
    text: string,
    sender: Sender,
    isLate: boolean,
  ): AppendResult {
    const object = this.store.get(key)
    if (object?.isSealed) throw serviceError('AppendSealedObjectNotAllowed', { status: 400 })
    if (!this.store.append(key, position, text, 0)) throw positionConflict(object?.length ?? 0)
    if (text !== '') {
      if (sender.isDead) this.#listener.count('landed after the death of its process')
      if (isLate) this.#listener.count('landed late')
      const note = `${isLate ? ' late' : ''}${sender.isDead ? ' of a dead process' : ''}`
      this.#listener.log(`  landed${note}: ${key}@${position} ${JSON.stringify(text)}`)
      this.#listener.onLanded(key, text)
    }
    const { length, crc64 } = this.store.get(key)!
    return { position: length, crc64, requestId: REQUEST_ID }
  }

  /** One exchange. It goes on in the network if its signal is aborted, or its process dies. */
  #exchange<T>(
    sender: Sender,
    signal: AbortSignal,
    fate: string,
    line: string,
    serve: () => T,
  ): Promise<T> {
    if (sender.isDead) return new Promise(() => {})
    this.#listener.log(`  ${line}`)
    sender.onExchange()
    const half = () => this.#random.integer(1, 20)
    return new Promise((resolve, reject) => {
      const onAbort = () => reject(signal.reason)
      if (signal.aborted) onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      const answer = (settle: () => void, delay: number) =>
        this.clock.setTimeout(() => {
          if (sender.isDead) return
          sender.onExchange()
          if (sender.isDead) return
          signal.removeEventListener('abort', onAbort)
          settle()
        }, delay)
      if (fate === 'timeout') return void answer(() => reject(timeoutError()), DEADLINE)
      this.clock.setTimeout(() => {
        if (!sender.isDead) sender.onExchange()
        const settle = settleWith(resolve, reject, fate, serve)
        answer(settle, half())
      }, half())
    })
  }
}

/** What the response does, once it has come. The request takes effect now. */
function settleWith<T>(
  resolve: (value: T) => void,
  reject: (error: Error) => void,
  fate: string,
  serve: () => T,
): () => void {
  if (fate === 'reset') return () => reject(networkError('ECONNRESET'))
  if (fate === 'throttled') return () => reject(serviceError('SlowDown', { status: 503 }))
  try {
    const value = serve()
    return () => resolve(value)
  } catch (error) {
    return () => reject(error as Error)
  }
}

/** OSS may refuse a request whose response has no receiver. */
function tryTo(serve: () => unknown): void {
  try {
    serve()
  } catch {}
}

function throwError(error: Error): never {
  throw error
}
