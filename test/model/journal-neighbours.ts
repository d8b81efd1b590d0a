/**
 * Two streams that live at the same time in one folder: in one process or in two, each with slots of its own. They
 * write, are killed, lose power and start again, beside each other. What each was promised is in the end in its own
 * object, once and in order. With keys that `{slot}` does not keep apart, a conflict may keep it in the journal.
 */

import type { FileSystem, JournalFile } from '../../lib/journal/file-system.ts'
import { HEAD_BYTES } from '../../lib/journal/segment.ts'
import type { Align } from '../../lib/options.ts'
import { createRandom, type Random } from '../helpers/random.ts'
import { VirtualClock } from '../helpers/simulated-oss.ts'
import { SimulatedDisk } from '../journal/simulated-disk.ts'
import { type LastAct, Life, type LifeDisk, type LifePlan } from './journal-streams-life.ts'
import { StreamsNetwork } from './journal-streams-network.ts'
import { type RecordOwner, Records } from './journal-streams-records.ts'

/** Turns of the event loop after which a run counts as endless. */
const MAX_TURNS = 24_000
const NEVER = Number.POSITIVE_INFINITY

export interface NeighboursReport {
  readonly problem: string | undefined
  readonly log: readonly string[]
  readonly counts: Readonly<Record<string, number>>
}

/** What runs at one time: a stream and the lives that it has left. */
interface Neighbour {
  /** A plain stream's key, or a rolling stream's pattern. */
  readonly key: string
  readonly disk: ProcessDisk
  lives: number
  life: Life | undefined
}

export async function runNeighbours(seed: number): Promise<NeighboursReport> {
  return new Neighbours(seed).run()
}

class Neighbours {
  readonly #random: Random
  readonly #clock: VirtualClock
  readonly #disk: SimulatedDisk
  readonly #network: StreamsNetwork
  readonly #records: Records
  readonly #log: string[] = []
  readonly #counts: Record<string, number> = {}
  readonly #isRolling: boolean
  readonly #losesPower: boolean
  readonly #align: Align
  readonly #neighbours: readonly Neighbour[]
  #isCalm = false
  #number = 0
  #problem: string | undefined

  constructor(seed: number) {
    this.#random = createRandom(seed * 6007 + 5)
    const { integer, pick } = this.#random
    this.#clock = new VirtualClock(seed)
    this.#disk = new SimulatedDisk(this.#random)
    this.#align = pick<Align>(['\n', 'chunk'])
    // A stream may be given records, and then get the slot of another that was given some later.
    this.#records = new Records(
      this.#align,
      this.#random,
      this.#report,
      ({ number }: RecordOwner) => number,
    )
    this.#isRolling = integer(0, 1) === 0
    this.#losesPower = integer(0, 1) === 0
    const plan = { isHeadForbidden: integer(0, 4) === 0, faultRate: pick([0, 10, 30]) }
    this.#network = new StreamsNetwork(plan, this.#clock, this.#random, {
      onLanded: (key, text) => this.#records.onLanded(key, text),
      ...{ count: this.#count, log: this.#note },
    })
    const isOneProcess = integer(0, 1) === 0
    this.#count(isOneProcess ? 'one process' : 'two processes')
    const first = new ProcessDisk(this.#disk)
    const second = isOneProcess ? first : new ProcessDisk(this.#disk)
    const keys = this.#isRolling ? ['s{slot}-r{index}', 's{slot}-r{index}'] : ['first', 'second']
    this.#neighbours = [first, second].map((disk, i) => {
      return { key: keys[i]!, disk, lives: integer(1, 4), life: undefined }
    })
  }

  readonly #count = (name: string): void => {
    this.#counts[name] = (this.#counts[name] ?? 0) + 1
  }

  readonly #note = (line: string): void => {
    this.#log.push(`${String(Math.round(this.#clock.time)).padStart(7)} ${line}`)
  }

  readonly #report = (problem: string): void => {
    this.#note(`PROBLEM ${problem}`)
    this.#problem ??= problem
  }

  async run(): Promise<NeighboursReport> {
    try {
      await this.#liveTogether()
      if (!this.#problem) await this.#endCalmly()
    } catch (error) {
      this.#report(String((error as Error).stack))
    }
    return { problem: this.#problem, log: this.#log, counts: this.#counts }
  }

  async #liveTogether(): Promise<void> {
    for (let turn = 0; this.#neighbours.some(isActive) && !this.#problem; turn++) {
      if (turn > MAX_TURNS) throw new Error('the streams do not end')
      for (const neighbour of this.#neighbours) this.#onTurn(neighbour)
      const [first, second] = this.#neighbours
      if (first?.life?.isReady && second?.life?.isReady) this.#counts['both are ready'] = 1
      if (this.#losesPower && this.#random.integer(0, 400) === 0) this.#losePower()
      await new Promise(setImmediate)
      this.#clock.fireNext()
    }
  }

  #onTurn(neighbour: Neighbour): void {
    const { life } = neighbour
    if (!life) {
      if (neighbour.lives === 0 || this.#random.integer(0, 20) > 0) return
      neighbour.lives -= 1
      neighbour.life = this.#start(neighbour)
      return
    }
    life.onTurn()
    const { ending } = life
    if (!ending) return
    this.#note(`--- ${life.number}: ${ending}`)
    this.#count(ending)
    if (ending === 'failed') this.#checkFailure(life)
    life.bury()
    neighbour.life = undefined
  }

  /**
   * A start delivers what a dead stream has left for another key. The stream of that key may start meanwhile, and has
   * a slot of its own: two writers of one object. What they have then stays in the journal.
   */
  #checkFailure({ error, isConflict }: Life): void {
    if (isConflict && !this.#isRolling) this.#count('two writers of one object')
    else this.#report(`the stream failed: ${error?.message}`)
  }

  #losePower(): void {
    for (const { disk } of this.#neighbours) disk.kill()
    this.#disk.kill()
    this.#disk.losePower()
    this.#records.forgetUnsafe()
    this.#count('power lost')
    this.#note('--- power lost')
  }

  /** One stream after the other, on a sound network. */
  async #endCalmly(): Promise<void> {
    this.#isCalm = true
    this.#network.isCalm = true
    for (const neighbour of this.#neighbours) {
      neighbour.life = this.#start(neighbour)
      for (let turn = 0; neighbour.life; turn++) {
        if (turn > MAX_TURNS) throw new Error('the last stream does not end')
        this.#onTurn(neighbour)
        await new Promise(setImmediate)
        this.#clock.fireNext()
      }
    }
    while (this.#clock.fireNext());
    this.#records.checkWhole()
    if (this.#counts['two writers of one object']) return
    const promised = this.#records.all.filter(({ isPromised }) => isPromised)
    this.#records.require(promised, 'all is over')
    this.#count(
      `ended exactly, with ${this.#isRolling ? 'keys that {slot} keeps apart' : 'other keys'}`,
    )
  }

  #start({ key, disk }: Neighbour): Life {
    const plan = this.#planLife(key)
    this.#note(`--- ${plan.number} starts: ${JSON.stringify(plan)}`)
    return new Life(plan, {
      ...{ disk, network: this.#network, clock: this.#clock, random: this.#random },
      ...{ records: this.#records, count: this.#count, report: this.#report },
      log: line => this.#note(`${plan.number}: ${line}`),
      onReady: () => {},
      onRecover: ({ bytes }) => bytes > 0 && this.#count('recovered bytes'),
      isLiving: number =>
        this.#neighbours.some(({ life }) => life?.number === number && !life.ending),
    })
  }

  #planLife(key: string): LifePlan {
    const { integer, pick } = this.#random
    const isCalm = this.#isCalm
    return {
      ...{ number: this.#number++, slot: 0, key, isRolling: this.#isRolling, align: this.#align },
      ...{ maxBytes: pick([integer(20, 100), 1e6]), sealOnRoll: false, seal: false, undead: -1 },
      sync: pick(['always', 50, 200]),
      highWaterMark: pick([integer(20, 200), 4000]),
      flushInterval: pick([0, 1, 50]),
      attemptFloor: pick([1, 40, 65_536]),
      sendsOnce: integer(0, 1) === 0,
      sizes: { segmentBytes: HEAD_BYTES + pick([integer(40, 200), 1e6]) },
      acts: integer(0, 10),
      isLast: isCalm,
      lastAct: isCalm ? 'end' : pick<LastAct>(['end', 'suspend', 'destroy', 'idle', 'idle']),
      operationsToLive: !isCalm && integer(0, 9) < 4 ? integer(0, 100) : NEVER,
      exchangesToLive: !isCalm && integer(0, 9) < 4 ? integer(0, 20) : NEVER,
      turnsToLive: !isCalm && integer(0, 9) < 3 ? integer(0, 200) : NEVER,
    }
  }
}

function isActive({ life, lives }: Neighbour): boolean {
  return life !== undefined || lives > 0
}

type Operation = (...args: never[]) => Promise<unknown>

/** The disk, as one of several processes uses it. A kill leaves the others alone, and the page cache. */
class ProcessDisk implements LifeDisk {
  operationsToLive = NEVER
  readonly #disk: SimulatedDisk
  #process = 0

  constructor(disk: SimulatedDisk) {
    this.#disk = disk
  }

  get process(): number {
    return this.#process
  }

  get trouble() {
    return this.#disk.trouble
  }

  get capacity(): number {
    return this.#disk.capacity
  }

  kill(): void {
    this.#process += 1
    this.operationsToLive = NEVER
  }

  fileSystem(): FileSystem {
    const owner = this.#process
    const gate =
      <F extends Operation>(operation: F) =>
      async (...args: Parameters<F>): Promise<unknown> => {
        if (owner === this.#process && --this.operationsToLive < 0) this.kill()
        const result = owner === this.#process ? await operation(...args) : undefined
        return owner === this.#process ? result : new Promise(() => {})
      }
    const fileSystem = gateAll(this.#disk.fileSystem(), gate)
    const { open, create } = fileSystem
    return {
      ...fileSystem,
      open: async (...args) => gateAll(await open(...args), gate),
      create: async path => gateAll(await create(path), gate),
    }
  }
}

/** Without those that are synchronous. */
function gateAll<T extends FileSystem | JournalFile>(
  functions: T,
  gate: (operation: Operation) => Operation,
): T {
  const gated = Object.entries(functions).map(([name, operation]) => {
    return [name, name.endsWith('Sync') ? operation : gate(operation)]
  })
  return Object.fromEntries(gated)
}
