/**
 * The client of one writer, and the network between it and the store. A request travels half a round trip,
 * takes effect, and its response travels back. Fates decide what goes wrong; a request that the client gave up
 * may take effect later. What OSS answers follows OSS's documentation, and not lib.
 */

import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import type {
  AppendRequest,
  AppendResult,
  Client,
  Head,
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
import { chance, type WriterPlan } from './shared-scenario.ts'
import type { SharedStore } from './shared-store.ts'

/** The fates of an append besides `fine`, and their weights. */
const APPEND_FATES = [
  ['response lost', 14],
  ['late', 16],
  ['dropped', 6],
  ['unsent', 5],
  ['500, stored', 4],
  ['500, not stored', 4],
  ['throttled', 3],
  ['not OSS, stored', 3],
  ['too large', 2],
  ['expired', 2],
  ['damaged', 3],
  ['409 without a length', 3],
  ['resent', 10],
] as const
type AppendFate = 'fine' | (typeof APPEND_FATES)[number][0]
const LOOKUP_FATES = ['timeout', 'reset', 'throttled', 'no CRC'] as const
const READ_FATES = ['timeout', 'reset', 'throttled', 'body breaks', 'no CRC'] as const

/** All fates, for the count of what seeds reach. */
export const ALL_FATES: readonly string[] = [
  ...APPEND_FATES.map(([fate]) => fate),
  ...LOOKUP_FATES.map(fate => `HEAD: ${fate}`),
  ...READ_FATES.map(fate => `GET: ${fate}`),
]

/** Milliseconds after which a client gives up a request. */
const DEADLINE = 300

/** What a client needs of the run that it belongs to. */
export interface SharedNetwork {
  readonly clock: VirtualClock
  readonly store: SharedStore
  readonly random: Random
  /** Percent of exchanges that go wrong. */
  readonly faultRate: number
  /** Something else may happen to an object before a request takes effect. */
  disturb(): void
  /** Counts a case, unless it did not occur. */
  count(name: string, hasOccurred?: boolean): void
  log(line: string): void
  report(problem: string): void
  /** As the clock's, for what happens in the network: it may outlive a stream. */
  after(delay: number, action: () => void): void
}

interface ReadRequest {
  readonly start: number
  readonly end: number
  readonly signal: AbortSignal
}

/** How an exchange ends for its client: with a value or with an error. */
type Outcome<T> = { readonly value: T } | { readonly error: Error }

export class SharedClient implements Client {
  readonly isSecure = true
  readonly sendsOnce: boolean
  /** An attempt of the stream in use may have landed, or may land yet. */
  isInDoubt = false
  readonly #plan: WriterPlan
  readonly #network: SharedNetwork
  /** The length that a 409 without anything in doubt told: the next append there carries an MD5. */
  #toldLength: number | undefined
  readonly #attempts = new AttemptWatch()

  constructor(plan: WriterPlan, network: SharedNetwork) {
    this.#plan = plan
    this.#network = network
    this.sendsOnce = plan.sendsOnce
    // `read` is optional, so that clients of other kinds stay small.
    if (plan.hasNoRead) Object.assign(this, { read: undefined })
  }

  async head({ key }: Target, { signal }: { readonly signal: AbortSignal }): Promise<Head | null> {
    const fate = this.#pickFate(LOOKUP_FATES, 'HEAD')
    const head = await this.#exchange(signal, fate, () => {
      if (this.#plan.isHeadForbidden) throw this.#forbid('HEAD')
      const object = this.#network.store.get(key)
      if (!object) return null
      const { length, crc64, isSealed } = object
      return {
        ...{ type: 'Appendable', length, requestId: REQUEST_ID },
        ...(isSealed ? { sealedTime: new Date(0).toUTCString() } : { position: length }),
        // Only objects older than the feature have no CRC, and none of them is sealed.
        ...(fate === 'no CRC' && !isSealed ? {} : { crc64 }),
      }
    })
    this.#toldLength = undefined
    this.#network.log(`${this.#plan.name} HEAD ${key} -> ${head?.length}`)
    return head
  }

  async read({ key }: Target, { start, end, signal }: ReadRequest) {
    const fate = this.#pickFate(READ_FATES, 'GET')
    if (start >= end) this.#network.report(`a read of ${start} to ${end}`)
    const range = await this.#exchange(signal, fate, () => {
      if (this.#plan.isGetForbidden) throw this.#forbid('GET')
      const object = this.#network.store.get(key)
      if (!object) throw serviceError('NoSuchKey', { status: 404 })
      const { content, length, crc64 } = object
      if (start >= length) throw serviceError('InvalidRange', { status: 416 })
      return { length, crc64, bytes: Buffer.from(content.slice(start, end), 'latin1') }
    })
    this.#toldLength = undefined
    this.#network.log(`${this.#plan.name} GET ${key} ${start}-${end} -> ${range.bytes}`)
    this.#network.count('GET')
    const { bytes, length, crc64 } = range
    const body = Readable.from(this.#splitBody(bytes, fate === 'body breaks'))
    return { body, length, requestId: REQUEST_ID, ...(fate === 'no CRC' ? {} : { crc64 }) }
  }

  #forbid(method: string): Error {
    this.#network.count(`${method}: forbidden`)
    return serviceError('AccessDenied', { status: 403 })
  }

  async *#splitBody(bytes: Buffer, isBroken: boolean) {
    const middle = this.#network.random.integer(0, bytes.length)
    yield bytes.subarray(0, middle)
    if (isBroken) throw networkError('ECONNRESET')
    yield bytes.subarray(middle)
  }

  async append({ key }: Target, request: AppendRequest): Promise<AppendResult> {
    const { position, headers, signal } = request
    const text = Buffer.from(request.body).toString('latin1')
    const { log, store } = this.#network
    const { name } = this.#plan
    this.#checkMd5(position, text, headers)
    const isDifferent = this.#attempts.isDifferent(key, position, text.length)
    this.#network.count('two lengths at one position', isDifferent)
    const fate = this.#pickAppendFate(headers)
    const deletions = store.deletionsOf(key)
    const serve = () => this.#serveAppend(key, position, text, deletions)
    const line = `${name} ${key}@${position} ${JSON.stringify(text)} ${fate}`
    const wasInDoubt = this.isInDoubt
    try {
      const result = await this.#deliver(fate, signal, serve)
      log(`${line} -> ${result.position}`)
      this.#toldLength = undefined
      if (text !== '') this.isInDoubt = false
      return result
    } catch (error) {
      const { code, status, nextPosition, isUnsent } = error as ReturnType<typeof serviceError>
      log(`${line} -> ${code} ${nextPosition ?? ''}`)
      if (status === 409 && nextPosition !== undefined) {
        this.#network.count(wasInDoubt ? 'a 409 in doubt' : 'a 409 without doubt')
        if (!wasInDoubt && this.sendsOnce && text !== '') this.#toldLength = nextPosition
      }
      const isRefused = status !== undefined && status < 500 && this.sendsOnce
      if (text !== '' && !isRefused && !isUnsent) this.isInDoubt = true
      throw error
    }
  }

  async close(): Promise<void> {}

  /** Where the CRC of the tail is not known, only Content-MD5 proves what OSS stores. */
  #checkMd5(position: number, text: string, headers: Readonly<Record<string, string>>): void {
    const given = headers['content-md5']
    const md5 = createHash('md5').update(text, 'latin1').digest('base64')
    if (given !== undefined && given !== md5) this.#network.report('a wrong Content-MD5')
    const isBlind = text !== '' && position > 0 && position === this.#toldLength
    if (isBlind && given === undefined) this.#network.report('an unproven append without MD5')
    if (text !== '') this.#toldLength = undefined
  }

  #pickFate<Fate extends string>(fates: readonly Fate[], kind: string): Fate | 'fine' {
    const { random, faultRate, count } = this.#network
    if (!chance(random, faultRate)) return 'fine'
    const fate = random.pick(fates)
    count(`${kind}: ${fate}`)
    return fate
  }

  #pickAppendFate(headers: Readonly<Record<string, string>>): AppendFate {
    const { random, faultRate, count } = this.#network
    if (!chance(random, faultRate)) return 'fine'
    const fate = random.pick(APPEND_FATES.flatMap(([fate, weight]) => Array(weight).fill(fate)))
    if (fate === 'resent' && !this.#plan.resends) return 'fine'
    if (fate === 'damaged' && headers['content-md5'] === undefined) return 'fine'
    count(fate)
    return fate
  }

  #serveAppend(key: string, position: number, text: string, deletions: number): AppendResult {
    const { store } = this.#network
    const object = store.get(key)
    if (object?.isSealed) throw serviceError('AppendSealedObjectNotAllowed', { status: 400 })
    if (!store.append(key, position, text, deletions)) throw positionConflict(object?.length ?? 0)
    const { length, crc64 } = store.get(key)!
    return { position: length, crc64, requestId: REQUEST_ID }
  }

  async #deliver(
    fate: AppendFate,
    signal: AbortSignal,
    serve: () => AppendResult,
  ): Promise<AppendResult> {
    const { random, after } = this.#network
    const refuse = (error: Error) => this.#exchange<never>(signal, 'fine', () => throwError(error))
    const serveThen = (error: Error) =>
      this.#exchange<never>(signal, 'fine', () => {
        tryToServe(serve)
        throw error
      })
    switch (fate) {
      case 'fine':
        return this.#exchange(signal, fate, serve)
      case 'response lost':
        return serveThen(networkError('ECONNRESET'))
      case 'late':
        after(random.integer(1, 2500), () => {
          this.#network.count('landed late', tryToServe(serve))
        })
        return this.#exchange(signal, 'timeout', serve)
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
      case 'too large':
        return refuse(serviceError('BadErrorResponse', { status: 413 }))
      case 'expired':
        return refuse(serviceError('SecurityTokenExpired', { status: 403, isRefreshable: true }))
      case 'damaged':
        return refuse(serviceError('InvalidDigest'))
      case '409 without a length':
        return refuse(positionConflict())
      case 'resent':
        // The first response is lost below the client.
        return this.#exchange(signal, fate, () => tryToServe(serve)).then(() =>
          this.#exchange(signal, fate, serve),
        )
    }
  }

  /** One exchange. It goes on in the network if its signal is aborted. */
  #exchange<T>(signal: AbortSignal, fate: string, serve: () => T): Promise<T> {
    const { random, after, disturb } = this.#network
    const half = (this.#plan.roundTrip * (50 + random.integer(0, 50))) / 100
    return new Promise((resolve, reject) => {
      const onAbort = () => reject(signal.reason)
      if (signal.aborted) onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      const settle = (outcome: Outcome<T>, delay = half) =>
        after(delay, () => {
          signal.removeEventListener('abort', onAbort)
          if ('value' in outcome) resolve(outcome.value)
          else reject(outcome.error)
        })
      if (fate === 'timeout') return settle({ error: timeoutError() }, DEADLINE)
      after(half, () => {
        disturb()
        if (fate === 'reset') settle({ error: networkError('ECONNRESET') })
        else if (fate === 'throttled') settle({ error: serviceError('SlowDown', { status: 503 }) })
        else settle(outcomeOf(serve))
      })
    })
  }
}

function outcomeOf<T>(serve: () => T): Outcome<T> {
  try {
    return { value: serve() }
  } catch (error) {
    return { error: error as Error }
  }
}

/** Whether OSS accepted a request whose response has no receiver. */
function tryToServe(serve: () => unknown): boolean {
  return 'value' in outcomeOf(serve)
}

function throwError(error: Error): never {
  throw error
}
