/**
 * A random world around real journals: processes that write records, send them to objects, roll, and are killed;
 * a disk that fails and loses power; a network that loses replies and delivers requests late. An oracle compares
 * what was promised with what is in the objects. Nothing waits for real time.
 */

import { EMPTY_TAIL, type Tail } from '../../lib/append/tail.ts'
import type { Clock, Timer } from '../../lib/clock.ts'
import { crc64 } from '../../lib/crc64/index.ts'
import { OssError } from '../../lib/errors.ts'
import { Journal, type JournalOptions, type JournalSync } from '../../lib/journal/journal.ts'
import { settleJournal } from '../../lib/journal/settle-journal.ts'
import type { Align } from '../../lib/options.ts'
import { createRandom, type Random } from '../helpers/random.ts'
import { type DiskTrouble, NO_TROUBLE, SimulatedDisk } from '../journal/simulated-disk.ts'

const FOLDER = '/journal/0'
const HEAD_BYTES = 12_288
/** Steps after which nothing fails any more. */
const CALM_AFTER = 150
/** Steps after which a run counts as endless. */
const MAX_STEPS = 3000

export interface Report {
  readonly seed: number
  readonly problem: string | undefined
  readonly log: readonly string[]
  readonly counts: Readonly<Record<string, number>>
  readonly align: Align
}

/** What a process is: how it ended. */
type Ending = 'done' | 'suspended' | 'failed' | 'conflict'

/** A record that was given to `write()`. */
interface GivenRecord {
  readonly text: string
  /** Stream offset. */
  readonly offset: number
  /** It has to be in an object in the end. */
  isPromised: boolean
  /** No power loss takes it. */
  isSafe: boolean
  /** It has no end of its own, and the journal was not told that it is whole. */
  isOpen: boolean
}

interface Request {
  readonly key: string
  readonly position: number
  readonly text: string
}

type Reply =
  | { readonly name: 'stored'; readonly tail: Tail }
  | { readonly name: 'refused' | 'unknown' }

interface Plan {
  readonly sync: JournalSync
  readonly align: Align
  readonly records: number
  readonly losesPower: boolean
  readonly trouble: DiskTrouble
  /** Bytes of the disk. */
  readonly capacity: number
  /** Bytes of an object at which the next one begins. */
  readonly rollAt: number
  readonly highWaterMark: number
  readonly segmentBytes: number
  readonly frameBytes: number
  readonly maxBytes: number
}

export function addCounts(totals: Map<string, number>, { counts }: Report): void {
  for (const [name, count] of Object.entries(counts)) {
    totals.set(name, (totals.get(name) ?? 0) + count)
  }
}

export async function runSeed(seed: number): Promise<Report> {
  return new World(seed).run()
}

class World {
  readonly plan: Plan
  readonly random: Random
  readonly log: string[] = []
  readonly #seed: number
  readonly #disk: SimulatedDisk
  readonly #objects = new Map<string, string>()
  readonly #late: Request[] = []
  /** Records of the journal, in order. */
  #given: GivenRecord[] = []
  /** Records that a recovery did not find. */
  readonly #gone: GivenRecord[] = []
  readonly #counts: Record<string, number> = {}
  #named = 0
  #steps = 0
  #problem: string | undefined
  /** Unsynced bytes were sent and lost: a late request may bring bytes that the journal does not have. */
  #mayConflict = false

  constructor(seed: number) {
    this.#seed = seed
    this.random = createRandom(seed)
    this.plan = makePlan(this.random)
    this.#disk = new SimulatedDisk(this.random)
    for (const key of ['k0', 'k1', 'k2']) if (this.chance(0.3)) this.#objects.set(key, 'BB')
  }

  async run(): Promise<Report> {
    this.log.push(JSON.stringify(this.plan))
    try {
      while (!(await this.#live())) this.#die()
      while (this.#late.length > 0) this.#landLate()
      this.#judge()
    } catch (error) {
      this.report(String((error as Error).stack))
    }
    const counts = { ...this.#disk.counts, ...this.#counts }
    const { align } = this.plan
    return { seed: this.#seed, problem: this.#problem, log: this.log, counts, align }
  }

  get isCalm(): boolean {
    return this.#steps > CALM_AFTER
  }

  chance(chance: number): boolean {
    return this.random.integer(0, 999) < chance * 1000
  }

  count(name: string): void {
    this.#counts[name] = (this.#counts[name] ?? 0) + 1
  }

  report(problem: string): void {
    this.log.push(`PROBLEM ${problem}`)
    this.#problem ??= problem
  }

  /** One process. True: the world ends with it. */
  async #live(): Promise<boolean> {
    this.step()
    const disk = this.#disk
    const { capacity } = this.plan
    disk.trouble = NO_TROUBLE
    disk.capacity = this.isCalm ? Number.POSITIVE_INFINITY : capacity
    disk.operationsToLive = this.isCalm ? Number.POSITIVE_INFINITY : this.random.integer(0, 150)
    const killed = disk.nextKill().then(() => 'killed' as const)
    const ending = await Promise.race([killed, new Process(this, disk).run()])
    this.log.push(`--- ${ending}`)
    this.count(ending)
    if (ending === 'conflict' && !this.#mayConflict) this.report('a conflict without a rival')
    if (ending === 'conflict') await this.#checkKept()
    return ending === 'done' || ending === 'conflict' || this.#problem !== undefined
  }

  /** What a conflict leaves undelivered is still in the journal. */
  async #checkKept(): Promise<void> {
    this.#disk.kill()
    this.#disk.trouble = NO_TROUBLE
    const journal = await Journal.open(journalOptions(this.plan, this.#disk))
    await this.checkRecovered(journal)
    const { from } = journal.recovered
    for (const record of this.#given) record.isPromised &&= record.offset < from
  }

  #die(): void {
    this.#disk.kill()
    if (!this.plan.losesPower || this.chance(0.4)) return
    this.#disk.losePower()
    this.count('power lost')
    this.log.push('--- power lost')
    if (this.plan.sync === 'never') this.#mayConflict = true
    for (const record of this.#given) record.isPromised &&= record.isSafe
  }

  step(): void {
    this.#steps += 1
    if (this.#steps > MAX_STEPS) throw new Error('no end')
    while (!this.isCalm && this.#late.length > 0 && this.chance(0.2)) this.#landLate()
  }

  // ---- Records

  /** A new record, which is given to the journal at this stream offset. */
  give(offset: number, isOpen = false): GivenRecord | undefined {
    if (this.#named === this.plan.records) return undefined
    const index = this.#named++
    const { align } = this.plan
    const text = isOpen ? nameOpenRecord(index, align) : nameRecord(index, align, this.random)
    const record = { text, offset, isPromised: false, isSafe: false, isOpen }
    this.#given.push(record)
    this.log.push(`give ${text.trim()} at ${offset}`)
    return record
  }

  /** Records may lack their end, since the bytes tell where records end. */
  get hasOpenRecords(): boolean {
    return this.plan.align === '\n' || this.plan.align === 4
  }

  get hasRecords(): boolean {
    return this.#named < this.plan.records
  }

  accept(record: GivenRecord): void {
    record.isPromised = !record.isOpen
    if (this.plan.sync === 'always') record.isSafe = true
    this.log.push(`accepted ${record.text.trim()}`)
  }

  /** The journal knows that the last record is whole. */
  closeLastRecord(): void {
    const record = this.#given.at(-1)
    if (!record) return
    Object.assign(record, { isOpen: false, isPromised: true, isSafe: true })
    this.count('an end was marked')
    this.log.push(`marked the end of ${record.text}`)
  }

  /** What is before this stream offset is on stable storage. */
  noteSynced(end: number): void {
    for (const record of this.#given) record.isSafe ||= endOf(record) <= end
  }

  /** Compares what a journal has recovered with what was given. */
  async checkRecovered(journal: Journal): Promise<void> {
    const { from, end, anchor, damaged } = journal.recovered
    this.log.push(`recovered ${from} to ${end}, anchor ${anchor?.key}@${anchor?.position}`)
    for (const { reason } of damaged) this.count(`damaged: ${reason}`)
    const kept = this.#given.filter(record => endOf(record) <= end)
    this.#gone.push(...this.#given.filter(record => endOf(record) > end))
    this.#given = kept
    const expected = kept.filter(({ offset }) => offset >= from)
    const text = await readText(journal, from, end)
    if (text !== expected.map(record => record.text).join('')) this.report(`recovered ${text}`)
    // A start syncs what it has read, and sends it.
    for (const record of expected) {
      Object.assign(record, { isOpen: false, isPromised: true, isSafe: true })
    }
  }

  /** Ends of records behind an offset. */
  endsBehind(offset: number, limit: number): number[] {
    const closed = this.#given.filter(({ isOpen }) => !isOpen)
    return closed.map(endOf).filter(end => end > offset && end <= limit)
  }

  textOf(from: number, to: number): string {
    const records = this.#given.filter(record => record.offset >= from && endOf(record) <= to)
    return records.map(({ text }) => text).join('')
  }

  // ---- OSS and the network

  tailOf(key: string): Tail | null {
    const text = this.#objects.get(key)
    return text === undefined ? null : { position: text.length, crc64: crc64(text) }
  }

  has(key: string, position: number, text: string): boolean {
    return this.#objects.get(key)?.startsWith(text, position) ?? false
  }

  append(request: Request): Reply {
    const fates = ['stored', 'stored', 'stored', 'replyLost', 'late', 'dropped'] as const
    const fate = this.isCalm ? 'stored' : this.random.pick(fates)
    const { key, position, text } = request
    this.log.push(`${fate} ${key}@${position} ${text.replaceAll('\n', '')}`)
    if (fate === 'late') this.#late.push(request)
    if (fate === 'late' || fate === 'dropped') return { name: 'unknown' }
    const isStored = this.#store(request)
    if (fate === 'replyLost') return { name: 'unknown' }
    const tail = this.tailOf(key)
    return isStored && tail ? { name: 'stored', tail } : { name: 'refused' }
  }

  #store({ key, position, text }: Request): boolean {
    const content = this.#objects.get(key) ?? ''
    if (content.length !== position) return false
    this.#objects.set(key, content + text)
    return true
  }

  #landLate(): void {
    const [request] = this.#late.splice(this.random.integer(0, this.#late.length - 1), 1)
    if (!request || !this.#store(request)) return
    this.count('a late request landed')
    this.log.push(`landed late: ${request.key}@${request.position}`)
  }

  // ---- The end

  #judge(): void {
    const keys = [...this.#objects.keys()].sort((a, b) => Number(a.slice(1)) - Number(b.slice(1)))
    const text = keys.map(key => this.#objects.get(key)).join('|')
    this.log.push(text.replaceAll('\n', ''))
    let last = -1
    let rest = text
    for (const record of [...this.#given, ...this.#gone]) {
      const copies = text.split(record.text).length - 1
      if (copies > 1) this.report(`${record.text} is there ${copies} times`)
      if (copies === 0 && record.isPromised) this.report(`${record.text} is lost`)
      rest = rest.replace(record.text, '')
    }
    if (/[^B|]/.test(rest)) this.report(`a record is torn: ${rest}`)
    for (const { text: record } of this.#given) {
      const at = text.indexOf(record)
      if (at >= 0 && at < last) this.report(`${record} is out of order`)
      last = Math.max(last, at)
    }
    this.#checkFolder()
  }

  /** The folder of a stream that has ended holds one small file. */
  #checkFolder(): void {
    // On a full disk a damaged file keeps its name, and a segment is not replaced by a small one.
    if (this.#counts.conflict || this.plan.capacity < Number.POSITIVE_INFINITY) return
    const segments = this.#disk.paths.filter(path => path.endsWith('.journal'))
    if (segments.length > 1) this.report(`${segments.length} segments are left`)
    const others = this.#disk.paths.filter(path => !/\.journal(\.damaged)?$/.test(path))
    if (others.length > 0) this.report(`left: ${others}`)
  }
}

/** A process that writes records and sends them, as a stream does. */
class Process {
  readonly #world: World
  readonly #disk: SimulatedDisk
  /** Records that are not accepted whole, and what is left of the first. */
  #waiting: { readonly record: GivenRecord; rest: string }[] = []
  #key: string | undefined
  #tail: Tail = EMPTY_TAIL
  /** A request may still land at the tail: of this process, or of a dead one. */
  #isInDoubt = false
  /** `end()` was called behind a record without end. `'marked'`: the journal knows. */
  #ended: 'no' | 'accepting' | 'marked' = 'no'

  constructor(world: World, disk: SimulatedDisk) {
    this.#world = world
    this.#disk = disk
  }

  async run(): Promise<Ending> {
    try {
      const journal = await Journal.open(journalOptions(this.#world.plan, this.#disk))
      await this.#world.checkRecovered(journal)
      if (!this.#world.isCalm) this.#disk.trouble = this.#world.plan.trouble
      if (!(await this.#settle(journal))) return 'conflict'
      return await this.#work(journal)
    } catch (error) {
      if (error instanceof OssError && error.code === 'OSS_ERR_JOURNAL') {
        this.#world.log.push(error.message)
        return 'failed'
      }
      throw error
    }
  }

  /** What became of the bytes that a dead process has left. False: a conflict. */
  async #settle(journal: Journal): Promise<boolean> {
    const { anchor, end } = journal.recovered
    if (!anchor) return true
    this.#key = anchor.key
    this.#tail = { position: anchor.position, crc64: anchor.crc64 }
    const isSettled = await this.#settleTail(journal, this.#world.tailOf(anchor.key))
    // A request of the dead process may still land, at this very tail.
    this.#isInDoubt = journal.acknowledged < end
    return isSettled
  }

  /** Moves to the tail that the object has. False: a conflict. */
  async #settleTail(journal: Journal, seen: Tail | null): Promise<boolean> {
    const { acknowledged, end } = journal
    const verdict = await settleJournal(journal, acknowledged, this.#tail, seen, end)
    this.#world.count(verdict.name)
    this.#world.log.push(`settled: ${verdict.name}`)
    if (verdict.name === 'absent') return true
    if (verdict.name === 'landed') {
      this.#acknowledge(journal, acknowledged + verdict.length, verdict.after)
      return true
    }
    const rest = await readText(journal, acknowledged, end)
    const isProven = this.#world.has(this.#key ?? '', this.#tail.position, rest)
    if (verdict.name !== 'beyond' || !isProven || !seen) return false
    this.#acknowledge(journal, end, seen)
    return this.#world.plan.sync === 'never'
  }

  #acknowledge(journal: Journal, offset: number, tail: Tail): void {
    journal.acknowledge(offset, tail)
    this.#tail = tail
    this.#isInDoubt = false
  }

  async #work(journal: Journal): Promise<Ending> {
    const world = this.#world
    const { process } = this.#disk
    for (;;) {
      if (world.chance(0.1)) await new Promise(setImmediate)
      // A killed process does not run on, not even where it waits for no operation of the disk.
      if (this.#disk.process !== process) return new Promise(() => {})
      world.step()
      if (this.#ended === 'no' && world.hasOpenRecords && world.chance(0.05)) this.#end(journal)
      if (world.chance(0.5) || world.isCalm) await this.#write(journal)
      if (world.chance(0.5) || world.isCalm) {
        if (!(await this.#send(journal))) return 'conflict'
      }
      world.noteSynced(journal.syncedEnd)
      if (!world.isCalm && world.chance(0.01)) await this.#exit(journal)
      if (this.#ended === 'accepting' && this.#waiting.length === 0) {
        await journal.markEnd()
        this.#ended = 'marked'
        world.closeLastRecord()
      }
      const isSent = this.#waiting.length === 0 && !this.#hasUnsent(journal)
      const isDone = isSent && !world.hasRecords
      const isEnded = isSent && this.#ended === 'marked'
      if (!isDone && !isEnded && (world.isCalm || !world.chance(0.01))) continue
      await journal.close()
      world.noteSynced(journal.end)
      return isDone ? 'done' : 'suspended'
    }
  }

  #hasUnsent({ acknowledged, end }: Journal): boolean {
    return acknowledged < end
  }

  /** The stream ends behind a record without end, if no other record waits. */
  #end(journal: Journal): void {
    if (this.#waiting.length > 0) return
    const record = this.#world.give(journal.end, true)
    if (!record) return
    this.#waiting.push({ record, rest: record.text })
    this.#ended = 'accepting'
  }

  #giveMore(journal: Journal): void {
    if (this.#ended !== 'no') return
    let offset = journal.end
    for (const { rest } of this.#waiting) offset += rest.length
    for (let more = this.#world.random.integer(1, 4); more > 0; more--) {
      const record = this.#world.give(offset)
      if (!record) break
      this.#waiting.push({ record, rest: record.text })
      offset += record.text.length
    }
  }

  get #chunks() {
    return this.#waiting.map(({ rest }) => ({ chunk: rest, encoding: 'utf8' as const }))
  }

  async #write(journal: Journal): Promise<void> {
    if (this.#waiting.length === 0) this.#giveMore(journal)
    if (this.#waiting.length === 0) return
    const { process } = this.#disk
    const { chunks, rest, pieces, isFull } = await journal.write(this.#chunks)
    // Files are removed beside a write, so a process may be killed when its write has ended.
    if (this.#disk.process !== process) return new Promise(() => {})
    const length = pieces.reduce((sum, { bytes }) => sum + bytes.length, 0)
    if (isFull) this.#world.count('full')
    else if (length === 0) this.#world.report('a write accepts nothing, and is not full')
    for (const { record } of this.#waiting.splice(0, chunks)) this.#world.accept(record)
    const [first] = this.#waiting
    if (first && rest) first.rest = Buffer.from(rest.chunk).toString()
  }

  /** `process.exit()` while a write is in flight. */
  async #exit(journal: Journal): Promise<never> {
    this.#giveMore(journal)
    const chunks = this.#chunks
    const inFlight = this.#world.random.integer(0, chunks.length)
    if (inFlight > 0) journal.write(chunks.slice(0, inFlight)).catch(() => {})
    const accepted = journal.writeUnconfirmedSync(chunks.slice(inFlight))
    for (const { record } of this.#waiting.splice(0, accepted)) {
      this.#world.accept(record)
      if (this.#world.plan.sync !== 'never') record.isSafe = true
    }
    this.#world.count('process.exit()')
    this.#disk.kill()
    return new Promise(() => {})
  }

  /** One attempt at an append. False: a conflict. */
  async #send(journal: Journal): Promise<boolean> {
    const { sync, rollAt } = this.#world.plan
    if (!this.#hasUnsent(journal)) return true
    this.#key ??= await this.#open(journal, 0)
    if (sync !== 'never') await journal.sync()
    this.#world.noteSynced(journal.syncedEnd)
    const from = journal.acknowledged
    const limit = sync === 'never' ? journal.end : journal.syncedEnd
    const ends = this.#world.endsBehind(from, limit).slice(0, 3)
    // A record of several frames is not accepted whole.
    if (ends.length === 0) return true
    const to = this.#world.random.pick(ends)
    const isFull = this.#tail.position > 0 && this.#tail.position + to - from > rollAt
    if (isFull && !this.#isInDoubt) {
      this.#key = await this.#open(journal, Number(this.#key.slice(1)) + 1)
    }
    const text = await readText(journal, from, to)
    if (text !== this.#world.textOf(from, to)) this.#world.report(`read back ${text}`)
    return this.#append(journal, to, { key: this.#key, position: this.#tail.position, text })
  }

  async #append(journal: Journal, to: number, request: Request): Promise<boolean> {
    const reply = this.#world.append(request)
    // The object may then have bytes that the journal has lost.
    const { sync, losesPower } = this.#world.plan
    if (sync === 'never' && losesPower && this.#world.chance(0.1)) this.#disk.operationsToLive = 0
    // A process can be killed before the reply comes.
    await journal.read(journal.acknowledged, 1)
    if (reply.name === 'unknown') this.#isInDoubt = true
    if (reply.name === 'stored') this.#acknowledge(journal, to, reply.tail)
    return reply.name !== 'refused' || this.#settleTail(journal, this.#world.tailOf(request.key))
  }

  /** Goes on in the object with this index. */
  async #open(journal: Journal, index: number): Promise<string> {
    const key = `k${index}`
    this.#tail = this.#world.tailOf(key) ?? EMPTY_TAIL
    await journal.anchor({ offset: journal.acknowledged, bucket: 'b', key, ...this.#tail })
    this.#world.count('anchored')
    return key
  }
}

function journalOptions(plan: Plan, disk: SimulatedDisk): JournalOptions {
  const { sync, align, highWaterMark, segmentBytes, frameBytes, maxBytes } = plan
  return {
    ...{ folder: FOLDER, sync, align, highWaterMark, segmentBytes, frameBytes, maxBytes },
    fileSystem: disk.fileSystem(),
    clock: immediateClock,
  }
}

/** Timers fire in the next turn of the event loop. */
const immediateClock: Clock = {
  now: () => 0,
  random: () => 0.5,
  setTimeout: callback => {
    const immediate = setImmediate(callback)
    return Object.assign({ ref: () => {}, unref: () => {} }, { immediate })
  },
  clearTimeout: timer =>
    clearImmediate((timer as Timer & { immediate: NodeJS.Immediate }).immediate),
}

function makePlan({ integer, pick }: Random): Plan {
  const hasFaults = integer(0, 9) < 4
  const rate = () => (hasFaults ? pick([0, 0.02, 0.1]) : 0)
  const align = pick<Align>(['\n', 'chunk', 'chunk', 1, 4])
  const isSmall = integer(0, 9) < 3
  const sync = pick<JournalSync>(['always', 200, 200, 'never', 'never'])
  return {
    sync,
    align,
    records: integer(4, 16),
    losesPower: integer(0, 9) < 6,
    trouble: { shortWrite: rate(), writeError: rate(), syncError: rate() },
    capacity: isSmall ? HEAD_BYTES * 3 + integer(0, 300) : Number.POSITIVE_INFINITY,
    rollAt: pick([integer(8, 40), integer(8, 40), Number.POSITIVE_INFINITY]),
    highWaterMark: sync === 'never' ? 1000 : pick([integer(8, 80), 4, 1000]),
    segmentBytes: HEAD_BYTES + pick([integer(20, 150), 1000]),
    // Where each byte is a record, a record of this model must not be cut.
    frameBytes: align === 1 ? 1_048_576 : pick([4, 4, 12, 1_048_576]),
    // The longest record, each frame in a segment of its own, has to fit.
    maxBytes: pick([HEAD_BYTES * 12, 1e9, 1e9]),
  }
}

/** A text that no other record contains. */
function nameRecord(index: number, align: Align, random: Random): string {
  if (align === 4) return `${String(index).padStart(3, '0')};`
  const text = `<${index}${'z'.repeat(random.integer(0, 20))}>`
  return align === '\n' || random.integer(0, 3) === 0 ? `${text}\n` : text
}

/** A record without the end that `align` wants. */
function nameOpenRecord(index: number, align: Align): string {
  return align === 4 ? `${String(index).padStart(2, '0')}.` : `<${index}!>`
}

function endOf({ offset, text }: GivenRecord): number {
  return offset + text.length
}

async function readText(journal: Journal, from: number, to: number): Promise<string> {
  let text = ''
  while (from + text.length < to) {
    const pieces = await journal.read(from + text.length, to - from - text.length)
    text += pieces.map(({ bytes }) => bytes.toString()).join('')
  }
  return text
}
