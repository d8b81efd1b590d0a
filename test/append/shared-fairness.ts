/**
 * Writers of one object over simulated time: real streams with `shared: true`, and an OSS that stores one
 * append after another. Each writer always has a record to append.
 */

import type {
  AppendRequest,
  AppendResult,
  Client,
  Head,
} from '../../lib/append/client-interface.ts'
import { EMPTY_TAIL, type Tail } from '../../lib/append/tail.ts'
import { crc64 } from '../../lib/crc64/index.ts'
import { createAppendStream } from '../../lib/index.ts'
import { withInternals } from '../../lib/stream/internals.ts'
import { positionConflict, REQUEST_ID } from '../helpers/errors.ts'
import { VirtualClock } from '../helpers/simulated-oss.ts'

export const ROUND_TRIPS = [1, 20, 100] as const
export const WRITERS = [1, 2, 4, 8, 16, 32] as const

/** What a number of writers did. */
export interface Contest {
  /** Appends of all writers in a second. */
  readonly rate: number
  /** Milliseconds: the longest that a record waited to be acknowledged. */
  readonly worstWait: number
  /** Appends of the writer that had the fewest. */
  readonly fewest: number
  /** Requests for each append. */
  readonly attempts: number
}

/** Milliseconds. */
const COMMIT_TIME = 10
const JITTER = 2

class ContestedObject implements Client {
  readonly sendsOnce = true
  tail: Tail = EMPTY_TAIL
  appends = 0
  attempts = 0
  readonly #clock: VirtualClock
  readonly #roundTrip: number
  /** Settles when the last request that has arrived is served. */
  #lastServed: Promise<unknown> = Promise.resolve()

  constructor(clock: VirtualClock, roundTrip: number) {
    this.#clock = clock
    this.#roundTrip = roundTrip
  }

  async head(): Promise<Head | null> {
    await this.#travel()
    const { position, crc64 } = this.tail
    const head = { type: 'Appendable', length: position, position, crc64, requestId: REQUEST_ID }
    await this.#travel()
    return position === 0 ? null : head
  }

  async append(_: unknown, { position, body }: AppendRequest): Promise<AppendResult> {
    this.attempts += 1
    await this.#travel()
    const result = await this.#exclusively(() => this.#store(position, body))
    await this.#travel()
    if (typeof result === 'number') throw positionConflict(result)
    return { ...result, requestId: REQUEST_ID }
  }

  /** The object's tail, or the length that a refusal tells. */
  async #store(position: number, body: Uint8Array): Promise<Tail | number> {
    if (position !== this.tail.position) return this.tail.position
    await this.#clock.sleep(COMMIT_TIME)
    this.appends += 1
    this.tail = { position: position + body.length, crc64: crc64(body, this.tail.crc64) }
    return this.tail
  }

  /** One request after another, in the order in which they arrive. */
  async #exclusively<T>(serve: () => Promise<T>): Promise<T> {
    const served = this.#lastServed.then(serve)
    this.#lastServed = served
    return served
  }

  async read(): Promise<never> {
    throw new Error('nothing is in doubt here')
  }

  async close(): Promise<void> {}

  #travel(): Promise<void> {
    return this.#clock.sleep(this.#roundTrip / 2 + this.#clock.random() * JITTER)
  }
}

/** Lets writers append for `duration` milliseconds of simulated time. */
export async function runContest(
  writers: number,
  roundTrip: number,
  duration: number,
): Promise<Contest> {
  const clock = new VirtualClock(writers)
  const client = new ContestedObject(clock, roundTrip)
  const waits: number[] = []
  const counts = Array.from({ length: writers }, () => 0)
  const write = async (writer: number) => {
    await clock.sleep(clock.random() * roundTrip)
    const options = { bucket: 'examplebucket', key: 'shared.log', client, flushInterval: 0 }
    const shared = { shared: true, align: '\n' } as const
    const stream = createAppendStream(withInternals({ ...options, ...shared }, { clock }))
    for (let n = 0; clock.now() < duration; n++) {
      const since = clock.now()
      stream.write(`${writer} ${n}\n`)
      await stream.flush()
      waits.push(clock.now() - since)
      if (clock.now() <= duration) counts[writer]! += 1
    }
    stream.destroy()
  }
  await clock.runUntilSettled(Promise.all(counts.map((_, writer) => write(writer))))
  return {
    rate: (counts.reduce((a, b) => a + b) * 1000) / duration,
    worstWait: Math.max(...waits),
    fewest: Math.min(...counts),
    attempts: client.attempts / client.appends,
  }
}
