/**
 * Simulates months in seconds: a clock that jumps to the next timer whenever nothing else can happen, and a
 * client for an OSS of one object that runs on that clock. The test decides how each exchange goes. There
 * is no HTTP and no socket: the simulation implements `Client`.
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
import { createRandom, type Random } from './random.ts'

interface VirtualTimer extends Timer {
  readonly at: number
  readonly fire: () => void
}

export class VirtualClock implements Clock {
  /** Milliseconds. */
  time = 0
  readonly timers = new Set<VirtualTimer>()
  readonly #random: Random

  constructor(seed = 1) {
    this.#random = createRandom(seed)
  }

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

  /** Fires timers, one after another, until the promise has settled. */
  async runUntilSettled<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false
    const onSettled = () => {
      isSettled = true
    }
    promise.then(onSettled, onSettled)
    for (;;) {
      await new Promise(setImmediate)
      if (isSettled) return promise
      if (!this.fireNext()) throw new Error('the promise is pending and no timer is left')
    }
  }

  /** Moves to the next timer and fires it. False: there is none. */
  fireNext(): boolean {
    const [first, ...others] = this.timers
    if (!first) return false
    const next = others.reduce((a, b) => (b.at < a.at ? b : a), first)
    this.timers.delete(next)
    this.time = Math.max(this.time, next.at)
    next.fire()
    return true
  }
}

/** How one exchange goes. */
export type NetworkCondition =
  | 'fine'
  /** The connection is refused. */
  | 'refused'
  /** The host name does not resolve. */
  | 'unknown'
  /** The connection breaks before the request arrives. */
  | 'reset'
  /** The request arrives, and its response is lost. */
  | 'lost'
  /** The request hangs until the deadline and arrives just before the next request. */
  | 'late'
  /** The request hangs until the deadline and never arrives. */
  | 'hang'
  | 'throttled'
  | 'broken'
  /** OSS refuses the request for a reason that the client corrects: its clock, its token. */
  | 'skewed'
  | 'expired'
  | 'damaged'
  /** A proxy responds, not OSS. */
  | 'foreign'

/** Milliseconds. */
const ROUND_TRIP = 20
const DEADLINE = 30_000

export class SimulatedOss implements Client {
  /** The tail of the object. */
  tail: Tail = EMPTY_TAIL
  exchanges = 0
  maxInFlight = 0
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
    this.maxInFlight = Math.max(this.maxInFlight, ++this.#inFlight)
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
          // The client has given up on this request, so its refusal has no receiver.
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
