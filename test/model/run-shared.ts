/**
 * Runs one seed of the shared-writers model: 2 to 5 real streams with `shared: true`, a client for each, one
 * store, and a clock that jumps. There is no socket and no real timer, so a seed always runs the same way.
 *
 * The rules of `shared` are not repeated here. The model knows what OSS does and what is promised: each record
 * is in one object, once, whole and in the order of its writer, or it is reported.
 */

import { AttemptSize } from '../../lib/append/attempt-size.ts'
import type { Align } from '../../lib/options.ts'
import { createRandom, type Random } from '../helpers/random.ts'
import { VirtualClock } from '../helpers/simulated-oss.ts'
import type { SharedNetwork } from './shared-client.ts'
import { chance, createSharedScenario, type Lie, type SharedScenario } from './shared-scenario.ts'
import { SharedStore } from './shared-store.ts'
import { SharedWriter } from './shared-writer.ts'

/** The result of a seed. */
export interface SharedReport {
  readonly seed: number
  readonly theme: string
  readonly align: Align
  /** Violations of what is promised. */
  readonly complaints: readonly string[]
  /** The requests and the ends of streams, a line for each. */
  readonly transcript: readonly string[]
  /** How often each case occurred. */
  readonly counts: Readonly<Record<string, number>>
}

/** Requests after which nothing goes wrong any more, so that each run ends. */
const CALM_AFTER = 150
const MOST_REQUESTS = 5000
/** Turns of the event loop without a timer after which a run counts as stuck. */
const IDLE_TURNS = 100

export function reproduceShared(seed: number): string {
  return `npm run test:shared -- --seeds 1 --from ${seed}`
}

/** Does not reject if a stream misbehaves: the report has its complaints. */
export async function runShared(seed: number, lie: Lie = {}): Promise<SharedReport> {
  const scenario = createSharedScenario(seed, lie)
  const world = new World(scenario)
  const restoreSizes = scenario.hasRandomSizes ? randomizeSizes(world.random) : undefined
  try {
    await world.run()
  } finally {
    restoreSizes?.()
  }
  const { complaints, transcript, counts } = world
  const { theme, align } = scenario
  return { seed, theme, align, complaints: [...complaints], transcript, counts }
}

/** Attempts of any length, longer and shorter ones in turn: harsher than the real sizes. */
function randomizeSizes(random: Random): () => void {
  const real = Object.getOwnPropertyDescriptor(AttemptSize.prototype, 'bytes')!
  Object.defineProperty(AttemptSize.prototype, 'bytes', {
    configurable: true,
    get: () => random.integer(1, 60),
  })
  return () => Object.defineProperty(AttemptSize.prototype, 'bytes', real)
}

class World implements SharedNetwork {
  readonly clock: VirtualClock
  readonly store = new SharedStore()
  readonly random: Random
  readonly complaints = new Set<string>()
  readonly transcript: string[] = []
  readonly counts: Record<string, number> = {}
  readonly #scenario: SharedScenario
  readonly #writers: readonly SharedWriter[]
  #requests = 0
  /** Timers of the network, which outlive streams. */
  #pending = 0

  constructor(scenario: SharedScenario) {
    this.#scenario = scenario
    this.clock = new VirtualClock(scenario.seed)
    this.random = createRandom(-scenario.seed)
    this.#writers = scenario.writers.map(plan => new SharedWriter(plan, scenario, this))
  }

  get faultRate(): number {
    return this.#requests > CALM_AFTER ? 0 : this.#scenario.faultRate
  }

  readonly count = (name: string, hasOccurred = true): void => {
    if (hasOccurred) this.counts[name] = (this.counts[name] ?? 0) + 1
  }

  readonly log = (line: string): void => {
    this.transcript.push(`${this.clock.time.toFixed(1)} ${line}`)
  }

  readonly report = (problem: string): void => {
    this.complaints.add(problem)
    this.log(`PROBLEM: ${problem}`)
  }

  readonly after = (delay: number, action: () => void): void => {
    this.#pending += 1
    this.clock.setTimeout(() => {
      this.#pending -= 1
      action()
    }, delay)
  }

  readonly disturb = (): void => {
    this.#requests += 1
    if (this.#requests > CALM_AFTER || !chance(this.random, 6)) return
    const { living } = this.store
    if (living.length === 0) return
    const object = this.random.pick(living)
    if (this.#scenario.seals && chance(this.random, 50)) {
      object.isSealed = true
      this.count('sealed meanwhile')
      this.log(`another client seals ${object.key}`)
    } else if (this.#scenario.deletes) {
      this.store.delete(object)
      this.count('deleted meanwhile')
      this.log(`another client deletes ${object.key}`)
      if (chance(this.random, 30)) this.#replace(object.key, object.length)
    }
  }

  /** Puts another object in the place of a deleted one, of the same length now and then. */
  #replace(key: string, length: number): void {
    const size = this.random.pick([length, this.random.integer(1, length + 1)])
    this.store.append(key, 0, `${'#'.repeat(Math.max(0, size - 1))}\n`, this.store.deletionsOf(key))
    this.count('replaced meanwhile')
  }

  async run(): Promise<void> {
    const ended = await this.#runUntilSettled(Promise.all(this.#writers.map(each => each.run())))
    if (!ended) return
    if (this.clock.timers.size > this.#pending) this.report('a timer is left')
    // Late requests take effect after the end too.
    while (this.clock.fireNext());
    this.#judge()
  }

  /** False: it never settles, or rejects. */
  async #runUntilSettled(promise: Promise<unknown>): Promise<boolean> {
    let isSettled = false
    let hasFailed = false
    promise
      .catch(error => {
        hasFailed = true
        this.report(`the model failed: ${error.stack}`)
      })
      .finally(() => (isSettled = true))
    for (let idle = 0; !isSettled; ) {
      await new Promise(setImmediate)
      idle = this.clock.fireNext() ? 0 : idle + 1
      const isStuck = idle > IDLE_TURNS
      if (!isStuck && this.#requests <= MOST_REQUESTS) continue
      this.report(isStuck ? 'a stream waits for ever' : 'the requests never end')
      return false
    }
    return !hasFailed
  }

  /** Compares the objects, also the deleted ones, with what the writers were told. */
  #judge(): void {
    for (const object of this.store.objects) {
      if (!object.isWhole) this.report(`a record is torn in ${object.key}`)
    }
    for (const writer of this.#writers) this.#judgeWriter(writer)
    this.count(`${this.#writers.length} writers`)
  }

  #judgeWriter({ plan, fates }: SharedWriter): void {
    const { records } = plan
    const places = records.map(record => {
      const id = record.slice(1, 4)
      return this.store.landings.filter(landing => landing.record === id)
    })
    let last = -1
    for (const [i, record] of records.entries()) {
      const fate = fates[i]
      const found = places[i]!
      // Deleting an object opens its positions again: a late request may land a second time, and what landed
      // in a deleted object may be written to the next.
      const copies = found.filter(({ isReopened }) => !isReopened)
      const objects = new Set(copies.map(({ object }) => object))
      const living = copies.filter(({ object }) => !object.isDeleted)
      const isDoubled = objects.size < copies.length || living.length > 1
      if (isDoubled) this.report(`${record.trim()} is there ${copies.length} times`)
      if (fate === undefined) {
        // What was deleted with its object is not there, and a late request behind it counts for none.
        const isOpen = living.length > 0 || this.#scenario.rolling !== undefined
        if (isOpen) this.report(`${record.trim()} is forgotten, with ${living.length} copies`)
        continue
      }
      if (fate === 'unresolved') continue
      const index = this.store.landings.findIndex(
        landing => landing.record === record.slice(1, 4) && landing.object === fate.object,
      )
      if (index < 0) this.report(`${record.trim()} is acknowledged and absent`)
      if (index < last) this.report(`${record.trim()} is out of order`)
      last = Math.max(last, index)
    }
  }
}
