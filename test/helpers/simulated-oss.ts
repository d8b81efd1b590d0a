/**
 * Months in seconds: a clock whose time jumps to the next timer whenever nothing else can happen, and
 * an OSS of one object that lives by it, with a network between that is as bad as a test says. Knows
 * the seam alone: no HTTP, no sockets.
 */

import type {
  AppendRequest,
  AppendResult,
  Client,
  Head,
} from '../../lib/append/client-interface.ts'
import { EMPTY_TAIL, type Tail } from '../../lib/append/tail.ts'
import type { Clock, Timer } from '../../lib/clock.ts'
import { crc64 } from '../../lib/crc64/index.ts'
import { networkError, positionConflict, REQUEST_ID, serviceError, timeoutError } from './errors.ts'
import { createRandom } from './random.ts'

interface VirtualTimer extends Timer {
  readonly at: number
  readonly fire: () => void
}

export class VirtualClock implements Clock {
  /** Milliseconds. */
  time = 0
  readonly timers = new Set<VirtualTimer>()
  readonly #random = createRandom(1)

  now(): number {
    return this.time
  }

  random(): number {
    return this.#random.integer(0, 999_999) / 1_000_000
  }

  setTimeout(fire: () => void, delay: number): VirtualTimer {
    const timer = { at: this.time + delay, fire, ref: () => timer, unref: () => timer }
    this.timers.add(timer)
    return timer
  }

  clearTimeout(timer: Timer): void {
    this.timers.delete(timer as VirtualTimer)
  }

  sleep(delay: number): Promise<void> {
    return new Promise(resolve => this.setTimeout(resolve, delay))
  }

  /** Lets time pass until a promise has settled. */
  async runUntilSettled<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false
    const settle = () => {
      isSettled = true
    }
    promise.then(settle, settle)
    for (;;) {
      await new Promise(setImmediate)
      if (isSettled) return promise
      const [first, ...others] = this.timers
      if (!first) throw new Error('nothing will ever happen')
      const next = others.reduce((a, b) => (b.at < a.at ? b : a), first)
      this.timers.delete(next)
      this.time = Math.max(this.time, next.at)
      next.fire()
    }
  }
}

/** What becomes of one exchange. */
export type NetworkCondition =
  | 'fine'
  /** No connection. */
  | 'refused'
  /** The name does not resolve. */
  | 'unknown'
  /** The connection breaks before the request has arrived. */
  | 'reset'
  /** It arrives, and the answer is lost. */
  | 'lost'
  /** It hangs until the deadline, and arrives just before the next request. */
  | 'late'
  /** It hangs until the deadline, and is never seen again. */
  | 'hang'
  | 'throttled'
  | 'broken'
  /** Refused for reasons that the client mends by itself: a clock, a token. */
  | 'skewed'
  | 'expired'
  | 'damaged'
  /** A proxy answers. */
  | 'foreign'

/** Milliseconds that an answer takes, and the deadline of one that never comes. */
const ROUND_TRIP = 20
const DEADLINE = 30_000

export class SimulatedOss implements Client {
  /** The object, as it is. */
  tail: Tail = EMPTY_TAIL
  exchanges = 0
  mostInFlight = 0
  readonly #clock: VirtualClock
  readonly #nextCondition: () => NetworkCondition
  #inFlight = 0
  #late: (() => void) | undefined

  constructor(clock: VirtualClock, nextCondition: () => NetworkCondition) {
    this.#clock = clock
    this.#nextCondition = nextCondition
  }

  head(): Promise<Head | null> {
    return this.#exchange(() => {
      const { position, crc64 } = this.tail
      if (position === 0) return null
      return { type: 'Appendable', length: position, position, crc64, requestId: REQUEST_ID }
    })
  }

  append(_: unknown, { position, body }: AppendRequest): Promise<AppendResult> {
    return this.#exchange(() => {
      const { tail } = this
      if (position !== tail.position) throw positionConflict(tail.position)
      this.tail = { position: position + body.length, crc64: crc64(body, tail.crc64) }
      return { ...this.tail, requestId: REQUEST_ID }
    })
  }

  async close(): Promise<void> {}

  async #exchange<T>(serve: () => T): Promise<T> {
    this.exchanges += 1
    this.mostInFlight = Math.max(this.mostInFlight, ++this.#inFlight)
    try {
      return await this.#transmit(serve)
    } finally {
      this.#inFlight -= 1
    }
  }

  async #transmit<T>(serve: () => T): Promise<T> {
    const condition = this.#nextCondition()
    const isSilent = condition === 'late' || condition === 'hang'
    await this.#clock.sleep(isSilent ? DEADLINE : ROUND_TRIP)
    this.#late?.()
    this.#late = undefined
    if (condition === 'fine') return serve()
    if (condition === 'lost') serve()
    if (condition === 'late') {
      this.#late = () => {
        try {
          serve()
        } catch {
          // By now it is refused, and nobody hears it.
        }
      }
    }
    throw CONDITION_ERRORS[condition]()
  }
}

const CONDITION_ERRORS = {
  refused: () => networkError('ECONNREFUSED'),
  unknown: () => networkError('ENOTFOUND'),
  reset: () => networkError('ECONNRESET'),
  lost: () => networkError('UND_ERR_SOCKET'),
  late: timeoutError,
  hang: timeoutError,
  throttled: () => serviceError('TotalQpsLimitExceeded', { status: 503 }),
  broken: () => serviceError('InternalError', { status: 500 }),
  skewed: () => serviceError('RequestTimeTooSkewed', { status: 403, isRefreshable: true }),
  expired: () => serviceError('SecurityTokenExpired', { status: 403, isRefreshable: true }),
  damaged: () => serviceError('InvalidDigest'),
  foreign: () => networkError(),
} as const

export const FAULT_CONDITIONS = Object.keys(CONDITION_ERRORS) as (keyof typeof CONDITION_ERRORS)[]
