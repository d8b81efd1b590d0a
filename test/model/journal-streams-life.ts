/**
 * One process of the model of streams with a journal: it writes records to a real stream, and is killed or ends. A
 * killed process goes on in memory, but its disk, its network and its timers never answer.
 */

import type { Clock, Timer } from '../../lib/clock.ts'
import {
  createAppendStream,
  type OssAppendStream,
  OssConflictError,
  type RecoverInfo,
  RollingAppendStream,
} from '../../lib/index.ts'
import type { FileSystem, JournalFile } from '../../lib/journal/file-system.ts'
import type { LockOwner } from '../../lib/journal/lock.ts'
import type { Machine } from '../../lib/journal/slots.ts'
import type { Align } from '../../lib/options.ts'
import { setExitListener } from '../../lib/stream/exit-listeners.ts'
import { withInternals } from '../../lib/stream/internals.ts'
import type { JournalSizes, JournalSource } from '../../lib/stream/journal-source.ts'
import type { Random } from '../helpers/random.ts'
import type { VirtualClock } from '../helpers/simulated-oss.ts'
import type { SimulatedDisk } from '../journal/simulated-disk.ts'
import type { Sender, StreamsNetwork } from './journal-streams-network.ts'
import type { GivenRecord, Records } from './journal-streams-records.ts'

export const FOLDER = '/journal'
export const BUCKET = 'examplebucket'
const START = Date.parse('2026-11-23T00:00:00Z')
/** Milliseconds of the wall clock in one of the virtual clock. */
const WALL_SPEED = 10
/** Milliseconds in which a sync that is due has ended, if the disk is sound. */
const SYNC_SLACK = 1000

/** What the process does when it has written its records. */
export type LastAct = 'end' | 'end open' | 'suspend' | 'destroy' | 'exit' | 'idle'

export interface LifePlan {
  readonly number: number
  readonly slot: number
  /** A plain stream's key, or a rolling stream's pattern. */
  readonly key: string
  readonly isRolling: boolean
  readonly maxBytes: number
  readonly sealOnRoll: boolean
  /** It seals its last object at its end. */
  readonly seal: boolean
  readonly align: Align
  readonly sync: 'always' | 'never' | number
  readonly highWaterMark: number
  readonly flushInterval: number
  readonly attemptFloor: number
  readonly sendsOnce: boolean
  readonly sizes: JournalSizes
  /** Acts before the last. */
  readonly acts: number
  /** It writes at least one record. */
  readonly isLast: boolean
  readonly lastAct: LastAct
  /** Operations of the disk, exchanges, and turns after which the process is killed. */
  readonly operationsToLive: number
  readonly exchangesToLive: number
  readonly turnsToLive: number
  /** Number of a process that is dead, and counts as living. */
  readonly undead: number
}

/** The disk, as a process uses it. */
export type LifeDisk = Pick<
  SimulatedDisk,
  'process' | 'operationsToLive' | 'trouble' | 'capacity' | 'kill' | 'fileSystem'
>

/** What a process needs of the world. */
export interface LifeWorld {
  readonly disk: LifeDisk
  readonly network: StreamsNetwork
  readonly clock: VirtualClock
  readonly random: Random
  readonly records: Records
  readonly count: (name: string) => void
  readonly log: (line: string) => void
  readonly report: (problem: string) => void
  readonly onReady: (life: Life) => void
  readonly onRecover: (info: RecoverInfo) => void
  /** Whether another process with this number lives. Default: it is alone. */
  readonly isLiving?: (number: number) => boolean
}

/** How a process ended. */
export type Ending = 'killed' | 'finished' | 'suspended' | 'destroyed' | 'failed'

export class Life implements Sender {
  readonly plan: LifePlan
  readonly #world: LifeWorld
  readonly #clock: LifeClock
  readonly #process: number
  readonly #stream: OssAppendStream
  readonly #given: GivenRecord[] = []
  #source!: JournalSource
  #exchanges: number
  #turns: number
  #ending: Ending | undefined
  /** Why the stream failed. */
  error: Error | undefined
  isReady = false
  #lastWrite: Promise<void> = Promise.resolve()

  constructor(plan: LifePlan, world: LifeWorld) {
    this.plan = plan
    this.#world = world
    const { disk } = world
    disk.operationsToLive = plan.operationsToLive
    this.#exchanges = plan.exchangesToLive
    this.#turns = plan.turnsToLive
    this.#process = disk.process
    this.#clock = new LifeClock(world.clock, () => !this.isDead)
    this.#stream = this.#open()
    this.#listen()
    void this.#act().catch(error => world.report(`the process failed: ${error.stack}`))
  }

  get number(): number {
    return this.plan.number
  }

  get slot(): number | undefined {
    return this.#source.slot
  }

  get align(): Align {
    return this.plan.align
  }

  get isDead(): boolean {
    return this.#world.disk.process !== this.#process
  }

  /** Undefined while it lives. */
  get ending(): Ending | undefined {
    return this.isDead ? 'killed' : this.#ending
  }

  onExchange(): void {
    if (this.#exchanges-- === 0) this.#kill('in an exchange')
  }

  /** Once in each turn of the event loop. */
  onTurn(): void {
    if (this.isDead) return
    // What a start has read is synced before the journal is open.
    if (this.#source.isOpen) this.#world.onReady(this)
    if (this.#turns-- === 0) this.#kill('in a turn')
  }

  get isOpen(): boolean {
    return this.#source.isOpen
  }

  /** Whether its records may be in the object of this key. */
  isFor(key: string): boolean {
    const { isRolling, key: own } = this.plan
    return isRolling ? new RegExp(`^${own.replaceAll(/\{\w+\}/g, '\\d+')}$`).test(key) : key === own
  }

  #kill(where: string): void {
    this.#world.log(`killed ${where}`)
    this.#world.count(`killed ${where}`)
    this.#world.disk.kill()
  }

  /** After the end: nothing of it happens any more. */
  bury(): void {
    this.#clock.clear()
    setExitListener(this.#source, undefined)
  }

  #open(): OssAppendStream {
    const { plan } = this
    const { align, sync, highWaterMark, flushInterval, attemptFloor, key, seal } = plan
    const options = {
      ...{ bucket: BUCKET, key, align, highWaterMark, flushInterval, seal },
      client: this.#world.network.client(this, plan.sendsOnce),
      retry: { minDelay: 1, maxDelay: 400 },
      journal: { dir: FOLDER, sync },
    }
    const internals = {
      clock: this.#clock,
      now: () => new Date(START + this.#clock.now() * WALL_SPEED),
      attemptFloor,
      machine: this.#machine(),
      journalSizes: plan.sizes,
      onJournal: (source: JournalSource) => (this.#source = source),
    }
    if (!plan.isRolling) return createAppendStream(withInternals(options, internals))
    const { maxBytes, sealOnRoll } = plan
    return new RollingAppendStream(withInternals({ ...options, maxBytes, sealOnRoll }, internals))
  }

  #machine(): Machine {
    const { number, undead } = this.plan
    const owner = { host: 'h', pid: number, start: '1', boot: 'b', nonce: `n${number}` }
    return {
      clock: this.#clock,
      fileSystem: slowFileSystem(this.#world.disk.fileSystem(), () => this.#waitForDisk()),
      newOwner: () => owner,
      isRunning: ({ pid }: LockOwner) =>
        pid === undead || pid === number || (this.#world.isLiving?.(pid) ?? false),
    }
  }

  /** Some operations of the disk take time, in which other things happen. */
  async #waitForDisk(): Promise<void> {
    const { random } = this.#world
    if (random.integer(0, 9) === 0) await this.#clock.sleep(random.integer(0, 30))
  }

  #listen(): void {
    const { log, count, onRecover } = this.#world
    this.#on('recover', info => {
      log(`recovered ${JSON.stringify(info)}`)
      onRecover(info as RecoverInfo)
    })
    this.#on('ready', () => {
      this.isReady = true
      log(`ready: ${this.#stream.key}@${this.#stream.position}`)
      this.#world.onReady(this)
    })
    this.#on('roll', () => count('rolled'))
    this.#on('error', error => {
      this.error = error as Error
      log(`error: ${this.error.message}`)
    })
    this.#on('finish', () => {
      log('finished')
      this.#world.records.require(this.#given, 'the stream has finished')
    })
    this.#on('close', () => {
      if (this.error) this.#ending = 'failed'
      else if (this.#stream.writableFinished) this.#ending = 'finished'
      else this.#ending = this.plan.lastAct === 'suspend' ? 'suspended' : 'destroyed'
    })
  }

  /** What a dead process hears is of no account. */
  #on(event: string, listener: (argument: unknown) => void): void {
    this.#stream.on(event, (argument: unknown) => {
      if (!this.isDead) listener(argument)
    })
  }

  async #act(): Promise<void> {
    const { random } = this.#world
    for (let left = this.plan.acts; left > 0; left--) {
      if (this.#isOver) return
      const choice = random.integer(0, 13)
      if (choice < 6) this.#write(random.integer(1, 4))
      else if (choice < 8) await this.#clock.sleep(random.integer(0, 60))
      else if (choice < 9) await this.#clock.sleep(random.integer(0, 1500))
      else if (choice < 10) void this.#flush()
      else if (choice < 11) await this.#flush()
      else if (choice < 12) await this.#journaled()
      else if (choice < 13) await this.#lastWrite
      else await this.#drain()
    }
    if (this.#isOver) return
    if (this.plan.isLast) this.#write(1)
    await this.#actLast()
  }

  /** A process that was killed in the turn in which a write ended must not go on. */
  get #isOver(): boolean {
    return this.isDead || this.#stream.destroyed
  }

  async #drain(): Promise<void> {
    if (!this.#stream.writableNeedDrain) return
    await new Promise<void>(resolve => this.#stream.once('drain', resolve).once('close', resolve))
  }

  async #actLast(): Promise<void> {
    const { log } = this.#world
    const { lastAct } = this.plan
    log(`last act: ${lastAct}`)
    switch (lastAct) {
      case 'end open':
        this.#writeRecord(true)
        this.#stream.end()
        return
      case 'end':
        this.#stream.end()
        return
      case 'suspend':
        return this.#suspend()
      case 'destroy':
        this.#stream.destroy()
        return
      case 'exit':
        return this.#exit()
      case 'idle':
        await this.#clock.sleep(this.#world.random.integer(0, this.#world.random.pick([100, 2000])))
        this.#kill('while idle')
        return
    }
  }

  async #suspend(): Promise<void> {
    const given = [...this.#given]
    try {
      await this.#stream.suspend()
    } catch (error) {
      this.#world.log(`suspend(): ${(error as Error).message}`)
      return
    }
    if (this.isDead || this.error) return
    for (const record of given) if (!record.isOpen) promise(record, true)
  }

  /** `process.exit()`: its listener runs, and then nothing does. */
  #exit(): void {
    const { count, disk } = this.#world
    const isOpen = this.#source.isOpen && !this.error
    for (const listener of process.listeners('exit')) if (listener.name === 'onExit') listener(0)
    count('process.exit()')
    if (isOpen && this.#isDiskSound) {
      count('process.exit() with an open journal')
      const isSafe = this.plan.sync !== 'never'
      for (const record of this.#given) if (!record.isOpen) promise(record, isSafe)
    }
    disk.kill()
  }

  get #isDiskSound(): boolean {
    const { disk } = this.#world
    const { shortWrite, writeError, syncError } = disk.trouble
    return disk.capacity === Number.POSITIVE_INFINITY && shortWrite + writeError + syncError === 0
  }

  #write(count: number): void {
    for (let left = count; left > 0; left--) this.#writeRecord(false)
  }

  #writeRecord(isOpen: boolean): void {
    const { records, random, log } = this.#world
    const { align } = this.plan
    const record = records.give(this, isOpen)
    this.#given.push(record)
    log(`write ${JSON.stringify(record.text)}`)
    const { text } = record
    const cut =
      align === 'chunk' || align === 1 || random.integer(0, 3) > 0
        ? 0
        : random.integer(1, text.length - 1)
    if (cut > 0) this.#stream.write(text.slice(0, cut), () => {})
    this.#lastWrite = new Promise(resolve => {
      this.#stream.write(text.slice(cut), error => {
        resolve()
        if (!error && !this.isDead) this.#onAccepted(record)
      })
    })
  }

  #onAccepted(record: GivenRecord): void {
    const { sync } = this.plan
    this.#world.log(`accepted ${JSON.stringify(record.text)}`)
    // An open record is whole once the journal says so, which no callback tells.
    if (record.isOpen) return
    promise(record, sync === 'always')
    if (typeof sync !== 'number' || !this.#isDiskSound) return
    this.#clock.setTimeout(() => promise(record, true), sync + SYNC_SLACK)
  }

  async #flush(): Promise<void> {
    const given = [...this.#given]
    try {
      await this.#stream.flush()
    } catch {
      return
    }
    if (this.isDead) return
    this.#world.count('flushed')
    this.#world.log(`flushed up to ${given.at(-1)?.text.trim()}`)
    this.#world.records.require(given, 'it was flushed')
  }

  async #journaled(): Promise<void> {
    const given = [...this.#given]
    try {
      await this.#stream.journaled()
    } catch {
      return
    }
    if (this.isDead) return
    this.#world.count('journaled')
    this.#world.log(`journaled up to ${given.at(-1)?.text.trim()}`)
    for (const record of given) promise(record, true)
  }

  get isConflict(): boolean {
    return this.error instanceof OssConflictError
  }
}

function promise(record: GivenRecord, isSafe: boolean): void {
  record.isPromised = true
  record.isSafe ||= isSafe
}

/** The timers of one process. */
class LifeClock implements Clock {
  readonly #clock: VirtualClock
  readonly #isLiving: () => boolean
  readonly #timers = new Set<Timer>()

  constructor(clock: VirtualClock, isLiving: () => boolean) {
    this.#clock = clock
    this.#isLiving = isLiving
  }

  now(): number {
    return this.#clock.now()
  }

  random(): number {
    return this.#clock.random()
  }

  setTimeout(callback: () => void, delay: number): Timer {
    const timer = this.#clock.setTimeout(() => {
      this.#timers.delete(timer)
      if (this.#isLiving()) callback()
    }, delay)
    this.#timers.add(timer)
    return timer
  }

  clearTimeout(timer: Timer): void {
    this.#timers.delete(timer)
    this.#clock.clearTimeout(timer)
  }

  sleep(delay: number): Promise<void> {
    return new Promise(resolve => this.setTimeout(resolve, delay))
  }

  clear(): void {
    for (const timer of this.#timers) this.clearTimeout(timer)
  }
}

/** Each operation waits first. */
function slowFileSystem(fileSystem: FileSystem, wait: () => Promise<void>): FileSystem {
  const slow =
    <Args extends unknown[], T>(operation: (...args: Args) => Promise<T>) =>
    async (...args: Args): Promise<T> => {
      await wait()
      return operation(...args)
    }
  const slowFile = (file: JournalFile): JournalFile => ({
    ...file,
    write: slow(file.write),
    read: slow(file.read),
    datasync: slow(file.datasync),
  })
  return {
    ...fileSystem,
    list: slow(fileSystem.list),
    rename: slow(fileSystem.rename),
    remove: slow(fileSystem.remove),
    syncFolder: slow(fileSystem.syncFolder),
    open: slow(async (path, isWritable) => slowFile(await fileSystem.open(path, isWritable))),
    create: slow(async path => slowFile(await fileSystem.create(path))),
  }
}
