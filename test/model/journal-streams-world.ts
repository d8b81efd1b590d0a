/**
 * A random world around real streams with a journal: plain and rolling streams that write records, are killed, lose
 * power and start again, on a simulated disk and against an OSS in memory, in virtual time. The oracle compares what
 * was promised with what is in the objects.
 */

import type { RecoverInfo } from '../../lib/index.ts'
import { HEAD_BYTES } from '../../lib/journal/segment.ts'
import type { Align } from '../../lib/options.ts'
import { createRandom, type Random } from '../helpers/random.ts'
import { VirtualClock } from '../helpers/simulated-oss.ts'
import { type DiskTrouble, NO_TROUBLE, SimulatedDisk } from '../journal/simulated-disk.ts'
import { type Ending, type LastAct, Life, type LifePlan } from './journal-streams-life.ts'
import { StreamsNetwork } from './journal-streams-network.ts'
import { RECORD_BYTES, Records } from './journal-streams-records.ts'

/** Turns of the event loop after which a process counts as endless. */
const MAX_TURNS = 24_000
/** Turns after which an operator makes room on the disk. */
const ROOM_TURN = 2000
const NEVER = Number.POSITIVE_INFINITY

export interface StreamsReport {
  readonly seed: number
  readonly problem: string | undefined
  readonly log: readonly string[]
  readonly counts: Readonly<Record<string, number>>
  readonly align: Align
}

/** What all processes of a seed have in common. */
interface WorldPlan {
  readonly align: Align
  /** Each process has an `align` of its own. */
  readonly isMixed: boolean
  readonly isUnsynced: boolean
  readonly lives: number
  readonly losesPower: boolean
  readonly trouble: DiskTrouble
  /** Bytes of the disk. */
  readonly capacity: number
  readonly isHeadForbidden: boolean
  /** Percent of exchanges that go wrong. */
  readonly faultRate: number
  /** An operator seals objects. */
  readonly hasSeals: boolean
  /** A dead process may count as living for the time of the next. */
  readonly hasUndead: boolean
  /** Of all processes, where each byte is a record: those of two slots would mix, and each key may have a slot. */
  readonly isRolling: boolean | undefined
  /** Keys of rolling streams. */
  readonly pattern: string
}

export async function runStreams(seed: number): Promise<StreamsReport> {
  return new World(seed).run()
}

class World {
  readonly plan: WorldPlan
  readonly random: Random
  readonly clock: VirtualClock
  readonly disk: SimulatedDisk
  readonly network: StreamsNetwork
  readonly records: Records
  readonly #seed: number
  readonly #log: string[] = []
  readonly #counts: Record<string, number> = {}
  #problem: string | undefined
  /** Unsynced bytes were sent and lost, so a late request may bring bytes that the journal does not have. */
  #mayConflict = false
  /** Bytes that have landed since the process began. */
  #landed = 0
  #recovered = 0
  /** Keys that bytes have landed at since the process began, in the order of their first. */
  #landedKeys: string[] = []
  #plainKey = ''
  /** Of the processes so far. */
  readonly #aligns = new Set<Align>()
  #recoveries = 0
  #undead = -1
  #wasSealed = false
  /** Keys of objects that were there when the process began. */
  #oldKeys = new Set<string>()
  readonly #checkedReady = new Set<number>()

  constructor(seed: number) {
    this.#seed = seed
    this.random = createRandom(seed * 7919 + 17)
    this.plan = makePlan(this.random)
    this.clock = new VirtualClock(seed)
    this.disk = new SimulatedDisk(this.random)
    this.records = new Records(this.plan.align, this.random, this.report)
    this.network = new StreamsNetwork(this.plan, this.clock, this.random, {
      onLanded: (key, text) => {
        this.#landed += text.length
        if (!this.#landedKeys.includes(key)) this.#landedKeys.push(key)
        this.records.onLanded(key, text)
      },
      count: this.count,
      log: this.log,
    })
    for (const key of [
      's0-p0',
      's0-p1',
      this.plan.pattern.replaceAll(/\{slot\}|\{index\}/g, '0'),
    ]) {
      if (this.random.integer(0, 2) === 0) this.network.addForeign(key, '##\n')
    }
  }

  readonly count = (name: string): void => {
    this.#counts[name] = (this.#counts[name] ?? 0) + 1
  }

  readonly log = (line: string): void => {
    this.#log.push(`${String(Math.round(this.clock.time)).padStart(7)} ${line}`)
  }

  readonly report = (problem: string): void => {
    this.log(`PROBLEM ${problem}`)
    this.#problem ??= problem
  }

  async run(): Promise<StreamsReport> {
    this.log(JSON.stringify(this.plan))
    try {
      for (let number = 0; number < this.plan.lives && !this.#problem; number++) {
        if (await this.#live(this.#planLife(number))) break
        this.#betweenLives(number)
      }
      if (!this.#problem) await this.#endCalmly()
    } catch (error) {
      this.report(String((error as Error).stack))
    }
    const counts = { ...this.disk.counts, ...this.#counts }
    const { align } = this.plan
    return { seed: this.#seed, problem: this.#problem, log: this.#log, counts, align }
  }

  // ---- Processes

  /** One process. True: nothing can follow it. */
  async #live(plan: LifePlan): Promise<boolean> {
    this.log(`--- process ${plan.number}: ${JSON.stringify(plan)}`)
    this.#landed = 0
    this.#landedKeys = []
    this.#oldKeys = new Set(this.network.store.objects.map(({ key }) => key))
    this.#recovered = 0
    this.#recoveries = 0
    if (this.plan.isHeadForbidden) this.count('HEAD forbidden')
    if (!plan.isRolling && this.#plainKey !== plan.key) this.count('another plain key')
    if (!plan.isRolling) this.#plainKey = plan.key
    const life = new Life(plan, this)
    if (this.#aligns.size > 0 && !this.#aligns.has(plan.align)) this.count('another align')
    this.#aligns.add(plan.align)
    const ending = await this.#runLife(life)
    this.log(`--- ${ending}`)
    this.count(ending)
    life.bury()
    this.disk.kill()
    if (ending === 'failed') this.#checkFailure(life)
    if (ending === 'finished' && plan.seal) this.count('finished with a seal')
    if (ending === 'finished' && plan.lastAct === 'end open')
      this.count('finished behind an open record')
    return life.isConflict
  }

  async #runLife(life: Life): Promise<Ending> {
    for (let turn = 0; turn < MAX_TURNS; turn++) {
      await new Promise(setImmediate)
      life.onTurn()
      const { ending } = life
      if (ending) return ending
      if (turn === ROOM_TURN) this.#makeRoom()
      if (!this.clock.fireNext()) throw new Error('the process waits for nothing')
    }
    throw new Error(
      `the process does not end: ${this.disk.paths.map(path => `${path} ${this.disk.read(path).length}`)}`,
    )
  }

  /** Damaged files may have all of a small disk, until an operator looks at them. */
  #makeRoom(): void {
    const hasDamaged = this.disk.paths.some(path => path.endsWith('.damaged'))
    const isReported = Object.keys(this.#counts).some(name => name.startsWith('damaged'))
    if (!hasDamaged && !isReported) return
    this.disk.capacity = NEVER
    this.count('an operator makes room')
  }

  onReady = (life: Life): void => {
    const { slot, number } = life
    for (const record of this.records.all) {
      if (record.owner === life || !this.#isClaimed(record.owner.slot)) continue
      if (!life.isReady) {
        // Slots of other processes are opened later.
        if (record.owner.slot === slot) record.isSafe ||= record.isPromised
        continue
      }
      if (record.copies > 0 || record.isGone) continue
      if (record.isPromised) this.report(`${record.text.trim()} is lost: the stream is ready`)
      record.isGone = !this.#mayConflict
    }
    if (life.isReady && !this.#checkedReady.has(number)) this.#checkRecovered(number)
  }

  /** What was recovered is what has landed since the start, less what the dead process had sent. */
  #checkRecovered(number: number): void {
    this.#checkedReady.add(number)
    this.#countRecovery()
    if (this.#recovered > this.#landed) {
      this.report(`${this.#recovered} bytes were recovered, and ${this.#landed} landed`)
    }
  }

  #countRecovery(): void {
    if (this.#recovered === 0) return
    const [first = ''] = this.#landedKeys
    if (this.#oldKeys.has(first)) this.count('recovered into an old object')
    if (this.#oldKeys.has(first) && this.#landedKeys.length > 1) {
      this.count('an object was left at a start, since it was full')
    }
  }

  onRecover = ({ key, bytes, bytesBehind, damaged }: RecoverInfo): void => {
    this.count('recovered')
    if (bytes > 0) this.count('recovered bytes')
    if (bytes > 0 && ++this.#recoveries === 2) this.count('two slots delivered')
    if (bytesBehind > 0) this.count('recovered behind the journal')
    for (const { reason } of damaged) this.count(`damaged: ${reason}`)
    this.#recovered += bytes
    if (bytes > 0 && !(key && this.network.store.get(key))) this.report(`recovered into ${key}`)
  }

  /** The slot that another process counts as living in is not claimed. */
  #isClaimed(slot: number | undefined): boolean {
    return slot === undefined || !this.#lockedSlots().has(slot)
  }

  /** Slots that are locked by the dead process that counts as living. */
  #lockedSlots(): Set<number> {
    const slots = new Set<number>()
    for (const path of this.disk.paths) {
      const [, slot, pid] = /^\/journal\/(\d+)\/lock~h~(\d+)~/.exec(path) ?? []
      if (pid !== undefined && Number(pid) === this.#undead) slots.add(Number(slot))
    }
    return slots
  }

  #checkFailure(life: Life): void {
    const { error } = life
    this.count(`failed: ${(error as { code?: string }).code}`)
    if (!this.#hasCause(life)) this.report(`the stream failed: ${error?.message}`)
  }

  /** Whether the world explains why the stream has failed. */
  #hasCause({ isConflict, error, plan }: Life): boolean {
    const { code, message } = error as Error & { code?: string }
    const { trouble, capacity, isHeadForbidden } = this.plan
    if (isConflict) return this.#mayConflict
    if (this.network.isCalm) return false
    if (code === 'AppendSealedObjectNotAllowed') return this.#wasSealed && !isHeadForbidden
    if (message.includes('for the key pattern')) return !plan.isRolling
    if (code !== 'OSS_ERR_JOURNAL' || message.includes('anchor is damaged')) return false
    if (message.includes('is full')) return plan.lastAct === 'suspend'
    return capacity < NEVER || trouble.shortWrite + trouble.writeError + trouble.syncError > 0
  }

  // ---- Between processes

  #betweenLives(number: number): void {
    const { losesPower, hasUndead, hasSeals } = this.plan
    const { random } = this
    if (losesPower && random.integer(0, 9) < 5) this.#losePower()
    this.#undead = hasUndead && random.integer(0, 1) === 0 ? number : -1
    if (this.#lockedSlots().size > 0) this.count('a dead process counts as living')
    if (hasSeals && random.integer(0, 3) === 0) this.#sealOne()
    if (random.integer(0, 1) === 0)
      this.#passTime(random.integer(1, random.pick([100, 1000, 20_000])))
  }

  #losePower(): void {
    this.log('--- power lost')
    this.count('power lost')
    this.disk.losePower()
    if (this.plan.isUnsynced) {
      this.#mayConflict = true
      this.records.mayBeTorn = this.plan.align === 1
    }
    this.records.forgetUnsafe()
  }

  #sealOne(): void {
    const objects = this.network.store.living.filter(({ isSealed }) => !isSealed)
    const object = objects.at(-1)
    if (!object) return
    object.isSealed = true
    this.#wasSealed = true
    this.count('an operator seals')
    this.log(`--- sealed ${object.key}`)
  }

  #passTime(delay: number): void {
    let isOver = false
    this.clock.setTimeout(() => (isOver = true), delay)
    while (!isOver) this.clock.fireNext()
  }

  // ---- The end

  /** A process on a sound disk and network delivers all. Then the last late requests land. */
  async #endCalmly(): Promise<void> {
    if (this.#counts.conflict) return
    this.#undead = -1
    this.network.isCalm = true
    this.disk.trouble = NO_TROUBLE
    this.disk.capacity = NEVER
    this.#replaceSealed()
    const plan = this.#planLife(this.plan.lives, this.plan.isRolling ?? true)
    const isConflict = await this.#live({
      ...{ ...plan, key: plan.isRolling ? plan.key : 'last', sealOnRoll: false, seal: false },
      ...{
        lastAct: 'end',
        isLast: true,
        operationsToLive: NEVER,
        exchangesToLive: NEVER,
        turnsToLive: NEVER,
      },
    })
    while (this.clock.fireNext());
    this.log(JSON.stringify(this.network.store.objects.map(({ key, content }) => [key, content])))
    if (isConflict || this.#problem) return
    this.records.checkWhole()
    const promised = this.records.all.filter(({ isPromised }) => isPromised)
    this.records.require(promised, 'all is over')
    this.#checkFolder()
  }

  /** What is for a plain key, and whose object is sealed, needs an operator: a copy takes appends. */
  #replaceSealed(): void {
    for (const object of this.network.store.objects) {
      if (/-p\d$/.test(object.key)) object.isSealed = false
    }
  }

  /** The folder of a stream that has ended holds one small file. */
  #checkFolder(): void {
    const { paths } = this.disk
    const segments = paths.filter(path => path.endsWith('.journal'))
    // A slot without segments is left as its dead owner left it. The next owner clears it.
    const isEmptySlot = (path: string) => /\/journal\/[1-9]\d*\/(lock~|.*\.new$)/.test(path)
    const others = paths.filter(path => !/\.journal(\.damaged)?$/.test(path) && !isEmptySlot(path))
    if (segments.length > 1) this.report(`left: ${segments}`)
    if (others.length > 0) this.report(`left: ${others}`)
  }

  /** Two streams that count as living do not write to one key. Their slots alone do not tell them apart. */
  #pickPlainKey(slot: number): string {
    const { hasUndead, isRolling } = this.plan
    const index = hasUndead || isRolling === false ? 0 : this.random.integer(0, 1)
    const key = `s${slot}-p${index}`
    return this.#undead >= 0 && key === this.#plainKey ? `s${slot}-p1` : key
  }

  #planLife(number: number, isLastRolling?: boolean): LifePlan {
    const { random, plan } = this
    const { integer, pick } = random
    const locked = this.#lockedSlots()
    let slot = 0
    while (locked.has(slot)) slot += 1
    this.disk.trouble = this.network.isCalm ? NO_TROUBLE : plan.trouble
    this.disk.capacity = this.network.isCalm ? NEVER : plan.capacity
    const isRolling = isLastRolling ?? plan.isRolling ?? integer(0, 9) < 6
    const align = plan.isMixed ? pick<Align>(['\n', 'chunk', RECORD_BYTES]) : plan.align
    const hasOpen = align === '\n' || align === RECORD_BYTES
    // Each process has to fill a small disk.
    const isSmall = plan.capacity < NEVER
    const highWaterMark = pick([integer(20, 100), integer(20, 200), 4000])
    return {
      ...{ number, slot, isRolling, align },
      key: isRolling ? plan.pattern : this.#pickPlainKey(slot),
      maxBytes: pick([integer(20, 100), integer(20, 100), integer(40, 300), 1e6]),
      sealOnRoll: isRolling && integer(0, 2) === 0,
      seal: isRolling && !plan.isHeadForbidden && integer(0, 4) === 0,
      sync: plan.isUnsynced ? 'never' : pick(['always', 1, 50, 200, 200]),
      highWaterMark,
      flushInterval: isSmall ? pick([0, 0, 50]) : pick([0, 1, 50, 1000]),
      attemptFloor: pick([1, 10, 40, 65_536]),
      sendsOnce: integer(0, 1) === 0,
      sizes: {
        maxBytes: pick([HEAD_BYTES * 12, 1e9, 1e9]),
        segmentBytes: HEAD_BYTES + pick([integer(40, 200), 1000, 1e6]),
        // Where each byte is a record, a record of this model must not be cut.
        frameBytes: plan.align === 1 ? 1_048_576 : pick([8, 20, 1_048_576, 1_048_576]),
      },
      acts: integer(0, isSmall ? 16 : pick([3, 8, 12])),
      isLast: false,
      lastAct: pick<LastAct>([
        ...(['end', 'suspend', 'destroy', 'exit', 'idle', 'idle', 'idle'] as const),
        hasOpen ? 'end open' : 'end',
      ]),
      operationsToLive: integer(0, 9) < (isSmall ? 1 : 4) ? integer(0, pick([20, 60, 200])) : NEVER,
      exchangesToLive:
        integer(0, 9) < (plan.hasUndead ? 8 : 5) ? integer(0, pick([4, 12, 40])) : NEVER,
      turnsToLive: integer(0, 9) < 2 ? integer(0, pick([20, 100, 400])) : NEVER,
      undead: this.#undead,
    }
  }
}

function makePlan({ integer, pick }: Random): WorldPlan {
  const capacity = integer(0, 9) < 3 ? HEAD_BYTES * pick([3, 4]) + integer(100, 600) : NEVER
  // What a failing disk has not synced needs room in a new file.
  const hasTrouble = capacity === NEVER && integer(0, 9) < 3
  const rate = () => (hasTrouble ? pick([0, 0.02, 0.1]) : 0)
  const align = pick<Align>(['\n', '\n', 'chunk', 'chunk', 1, RECORD_BYTES])
  const isHeadForbidden = integer(0, 4) === 0
  return {
    align,
    isMixed: align !== 1 && integer(0, 1) === 0,
    isUnsynced: integer(0, 4) === 0,
    lives: integer(1, 9),
    losesPower: integer(0, 1) === 0,
    trouble: { shortWrite: rate(), writeError: rate(), syncError: rate() },
    capacity,
    isHeadForbidden,
    faultRate: pick([0, 10, 30, 50]),
    hasSeals: !isHeadForbidden && integer(0, 3) === 0,
    // The other slots may have all of a small disk.
    hasUndead: capacity === NEVER && align !== 1 && integer(0, 2) === 0,
    isRolling: align === 1 ? integer(0, 9) < 6 : undefined,
    pattern: pick(['s{slot}-r{index}', 's{slot}-r{index}', 's{slot}-{HH}{mm}-{index}']),
  }
}
