/**
 * One seed of the model of loggers: outboxes that share a key or have one alone, as processes that log, restart, end
 * within `closeTimeout` or exit at once, over the unreliable network of the shared-writers model. Each logged record is
 * in an object once and in order, or it is counted: by a line in the object, or by a report on standard error.
 */

import { systemClock } from '../../lib/clock.ts'
import { Outbox, type UndeliveredError } from '../../lib/loggers/outbox.ts'
import { captureStderr } from '../helpers/capture-stderr.ts'
import { parseLossReports } from '../helpers/numbered-records.ts'
import { createRandom, type Random } from '../helpers/random.ts'
import { VirtualClock } from '../helpers/simulated-oss.ts'
import { BUCKET } from '../helpers/test-oss.ts'
import { SharedClient, type SharedNetwork } from './shared-client.ts'
import { chance, type WriterPlan } from './shared-scenario.ts'
import { SharedStore } from './shared-store.ts'

export interface LoggerReport {
  readonly seed: number
  /** Violations of what is promised. */
  readonly complaints: readonly string[]
  readonly transcript: readonly string[]
  readonly counts: Readonly<Record<string, number>>
  /** Several processes log to the same key. */
  readonly isShared: boolean
}

/** Requests after which nothing goes wrong any more. */
const CALM_AFTER = 120
/** Turns of the event loop after which a run counts as endless, and those without a timer after which it is stuck. */
const MAX_TURNS = 100_000
const IDLE_TURNS = 100
/** Milliseconds. Timers of others fire in the turns that an end takes after `closeTimeout`. */
const END_SLACK = 3000
/** Whole records, and lines for dropped ones: their life, their number, and the number of the line. */
const WHOLE = /^(?:<[A-Z]\d\dx*>\n|-[A-Z] \d+ \d+\n)*$/

interface LoggerPlan {
  readonly isShared: boolean
  readonly isRolling: boolean
  readonly faultRate: number
  readonly permissions: 'all' | 'no HEAD' | 'no GET'
  readonly resends: boolean
  readonly processes: number
}

/** Does not reject if an outbox misbehaves: the report has its complaints. */
export async function runLoggers(seed: number): Promise<LoggerReport> {
  const restores: (() => void)[] = []
  const stderr = captureStderr({ teardown: restore => restores.push(restore as () => void) })
  const world = new World(seed)
  restores.push(useVirtualTime(world.clock))
  try {
    await world.run()
    world.checkReports(stderr.join(''))
  } finally {
    for (const restore of restores) restore()
  }
  const { complaints, transcript, counts } = world
  const { isShared } = world.plan
  return { seed, complaints: [...complaints], transcript, counts, isShared }
}

/** An outbox has no clock of its own: for one seed, timers and the clock of streams are virtual. */
function useVirtualTime(clock: VirtualClock): () => void {
  const { setTimeout, clearTimeout } = globalThis
  const { now, random } = systemClock
  Object.assign(systemClock, { now: () => clock.now(), random: () => clock.random() })
  const replaced = {
    setTimeout: (callback: () => void, delay = 0) => clock.setTimeout(callback, delay),
    clearTimeout: (timer: never) => clock.clearTimeout(timer),
  }
  Object.assign(globalThis, replaced)
  return () => {
    Object.assign(systemClock, { now, random })
    Object.assign(globalThis, { setTimeout, clearTimeout })
  }
}

class World implements SharedNetwork {
  readonly plan: LoggerPlan
  readonly clock: VirtualClock
  readonly store = new SharedStore()
  readonly random: Random
  readonly complaints = new Set<string>()
  readonly transcript: string[] = []
  readonly counts: Record<string, number> = {}
  readonly lives: LoggerLife[] = []
  #requests = 0
  /** Timers of the network, which outlive outboxes. */
  #pending = 0

  constructor(seed: number) {
    this.random = createRandom(seed * 31 + 7)
    this.clock = new VirtualClock(seed)
    this.plan = makePlan(this.random)
    this.log(JSON.stringify(this.plan))
  }

  get faultRate(): number {
    return this.#requests > CALM_AFTER ? 0 : this.plan.faultRate
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
  }

  async run(): Promise<void> {
    const processes = Array.from({ length: this.plan.processes }, () => this.#runProcess())
    if (!(await this.#runUntilSettled(Promise.all(processes)))) return
    if (this.clock.timers.size > this.#pending) this.report('a timer is left')
    while (this.clock.fireNext());
    for (const { key, content } of this.store.objects) {
      this.log(`${key}: ${JSON.stringify(content)}`)
      if (!WHOLE.test(content)) this.report(`a record is torn in ${key}`)
    }
    for (const life of this.lives) life.judge()
  }

  /** A process and its restarts. */
  async #runProcess(): Promise<void> {
    for (let restarts = this.random.integer(1, 3); restarts > 0; restarts--) {
      const life = new LoggerLife(String.fromCharCode(65 + this.lives.length), this)
      this.lives.push(life)
      await life.run()
    }
  }

  /** False: it never settles, or rejects. */
  async #runUntilSettled(promise: Promise<unknown>): Promise<boolean> {
    let isSettled = false
    promise
      .catch(error => this.report(`the model failed: ${error.stack}`))
      .finally(() => (isSettled = true))
    let idle = 0
    for (let turn = 0; !isSettled; turn++) {
      await new Promise(setImmediate)
      idle = this.clock.fireNext() ? 0 : idle + 1
      if (idle <= IDLE_TURNS && turn <= MAX_TURNS) continue
      this.report(idle > IDLE_TURNS ? 'an outbox waits for ever' : 'an outbox never ends')
      return false
    }
    return true
  }

  /** Standard error has every loss, once. */
  checkReports(stderr: string): void {
    const sum = (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0)
    const printed = sum(parseLossReports(stderr).map(({ records }) => records))
    const lost = sum(this.lives.map(({ loss }) => loss?.records ?? 0))
    if (printed !== lost) this.report(`${lost} records were given up, and ${printed} are reported`)
  }
}

/** One process: an outbox from its start to its end. */
class LoggerLife {
  readonly #name: string
  readonly #world: World
  readonly #outbox: Outbox
  /** Texts of the records, and whether each was dropped. */
  readonly #records: { readonly id: string; readonly isDropped: boolean }[] = []
  #late = 0
  #droppedLines = 0
  #droppedByEvents = 0
  readonly #closeTimeout: number

  constructor(name: string, world: World) {
    this.#name = name
    this.#world = world
    const { random, plan, log, count } = world
    const { integer, pick } = random
    this.#closeTimeout = pick([0, 50, 1000, 8000])
    const options = {
      ...{ bucket: BUCKET, key: plan.isRolling ? 'r{index}' : 'one', shared: plan.isShared },
      ...{ client: new SharedClient(this.#clientPlan(), world), contentMd5: chance(random, 50) },
      ...(plan.isRolling && { maxBytes: pick([30, 60, 120]) }),
      highWaterMark: pick([16, 40, 100, 400]),
      flushInterval: pick([1, 50, 1000]),
      maxBuffered: pick([integer(20, 200), integer(100, 400), 1e6]),
      closeTimeout: this.#closeTimeout,
      retry: {
        minDelay: 1,
        maxDelay: 50,
        maxRetries: chance(random, 70) ? Number.POSITIVE_INFINITY : integer(1, 4),
      },
    }
    this.#outbox = new Outbox(options, {
      formatDroppedRecord: records => `-${name} ${records} ${this.#droppedLines++}\n`,
      emit: (event, info) => {
        if (event === 'drop') this.#droppedByEvents += (info as { records: number }).records
        if (event === 'roll') count('rolled')
        log(`${name} ${event}: ${event === 'warn' ? (info as Error).message : ''}`)
        return true
      },
    })
  }

  get loss(): UndeliveredError | undefined {
    return this.#outbox.loss
  }

  #clientPlan(): WriterPlan {
    const { random, plan } = this.#world
    return {
      ...{ name: this.#name, records: [], highWaterMark: 0, maxRetries: 0, clockSkew: 0 },
      ...{ contentMd5: false, hasNoRead: false, resends: plan.resends, sendsOnce: !plan.resends },
      isHeadForbidden: plan.permissions === 'no HEAD',
      isGetForbidden: plan.permissions !== 'all',
      roundTrip: random.pick([1, 5, 20, 60]),
    }
  }

  async run(): Promise<void> {
    const { random, clock, count, log } = this.#world
    for (let acts = random.integer(1, 8); acts > 0; acts--) {
      this.#add(random.integer(0, 8))
      switch (random.pick(['go on', 'turn', 'sleep', 'sleep long', 'flush', 'wait'])) {
        case 'turn':
          await new Promise(setImmediate)
          break
        case 'sleep':
          await clock.sleep(random.integer(0, 100))
          break
        case 'sleep long':
          await clock.sleep(random.integer(0, 5000))
          break
        case 'flush':
          void this.#flush()
          break
        case 'wait':
          await this.#flush()
      }
    }
    const isExit = chance(random, 20)
    log(`${this.#name} ${isExit ? 'exits' : 'closes'}`)
    count(isExit ? 'process.exit()' : 'closed')
    if (isExit) {
      // The process is gone. `abort()` stands for that: nothing is sent any more.
      this.#outbox.reportOnExit()
      await this.#outbox.abort()
    } else await this.#close()
    this.#outbox.reportOnExit()
    // Events come in a tick of their own.
    await new Promise(setImmediate)
    if (this.#outbox.buffered > 0) this.#world.report(`${this.#name} keeps records after its end`)
  }

  async #close(): Promise<void> {
    const { random, clock, report, count } = this.#world
    const begin = clock.time
    const closed = this.#outbox.close()
    this.#late = chance(random, 30) ? random.integer(1, 3) : 0
    for (let n = 0; n < this.#late; n++) this.#outbox.add('late\n')
    await closed
    const duration = clock.time - begin
    if (duration > this.#closeTimeout + END_SLACK) report(`${this.#name} closes in ${duration} ms`)
    count('late records', this.#late > 0)
    count('given up at the end', this.#outbox.loss !== undefined)
  }

  #add(count: number): void {
    for (let i = 0; i < count && this.#records.length < 100; i++) {
      const id = this.#name + String(this.#records.length).padStart(2, '0')
      const text = `<${id}${'x'.repeat(this.#world.random.integer(0, 20))}>\n`
      this.#records.push({ id, isDropped: !this.#outbox.hasRoom(text) })
      this.#outbox.add(text)
    }
  }

  async #flush(): Promise<void> {
    const before = [...this.#records]
    try {
      await this.#outbox.flush()
    } catch {
      return
    }
    const missing = before.filter(({ id, isDropped }) => !isDropped && this.#copies(id) === 0)
    const lost = this.#outbox.loss?.records ?? 0
    if (missing.length > lost)
      this.#world.report(`${this.#name}: flushed without ${missing[0]?.id}`)
    this.#world.count('flushed')
  }

  #copies(id: string): number {
    return this.#world.store.landings.filter(({ record }) => record === id).length
  }

  /** Without HEAD, an object whose length a 409 does not tell counts as empty. So a restart may begin before it. */
  get #mayGoBack(): boolean {
    const { plan, counts } = this.#world
    return plan.permissions === 'no HEAD' && (counts['409 without a length'] ?? 0) > 0
  }

  judge(): void {
    const { store, report, count } = this.#world
    const name = this.#name
    // In the order of the objects. A record in doubt may land after later ones, in an object before theirs.
    const text = store.objects.map(({ content }) => content).join('')
    const stored = [...text.matchAll(/^<([A-Z]\d\d)x*>$/gm)].map(([, id = '']) => id)
    const landed = stored.filter(id => id.startsWith(name))
    const numbers = landed.map(id => Number(id.slice(1)))
    if (new Set(landed).size < landed.length) report(`${name}: a record is there twice`)
    const lines = [...text.matchAll(/^-([A-Z]) (\d+) (\d+)$/gm)].filter(([, life]) => life === name)
    if (new Set(lines.map(([line]) => line)).size < lines.length)
      report(`${name}: a line is doubled`)
    const inLines = lines.reduce((sum, [, , records]) => sum + Number(records), 0)
    const {
      records: given = 0,
      unresolvedRecords: unresolved = 0,
      lateRecords = 0,
    } = this.loss ?? {}
    // One in doubt may also land behind later ones: the stream after it finds no object there, and goes on before.
    const strayed = numbers.length - longestRise(numbers)
    if (strayed > unresolved && !this.#mayGoBack) report(`${name}: out of order`)
    count('landed behind later ones', strayed > 0)
    const missing = this.#records.length + this.#late - landed.length
    const reported = given + inLines
    if (missing > reported || missing < reported - unresolved)
      report(
        `${name}: ${missing} missing, ${reported} reported, ${unresolved} of them may be there`,
      )
    if (lateRecords !== this.#late) report(`${name}: ${lateRecords} late, not ${this.#late}`)
    const dropped = this.#records.filter(({ isDropped }) => isDropped).length
    for (const told of [this.#droppedByEvents, this.#outbox.stats().dropped]) {
      if (told !== dropped) report(`${name}: ${told} dropped, not ${dropped}`)
    }
    count('dropped', dropped > 0)
    count('a line for dropped records', lines.length > 0)
    count('unresolved', unresolved > 0)
  }
}

/** The most numbers that rise, if others between them are left out. */
function longestRise(numbers: readonly number[]): number {
  const lengths: number[] = []
  for (const [i, number] of numbers.entries()) {
    const before = lengths.filter((_, at) => at < i && numbers[at]! < number)
    lengths.push(1 + Math.max(0, ...before))
  }
  return Math.max(0, ...lengths)
}

function makePlan(random: Random): LoggerPlan {
  const isShared = chance(random, 60)
  return {
    isShared,
    isRolling: chance(random, 60),
    faultRate: random.pick([0, 20, 40, 60, 95]),
    permissions: random.pick(['all', 'all', 'no HEAD', 'no GET']),
    resends: chance(random, 20),
    processes: isShared ? random.integer(2, 3) : 1,
  }
}
