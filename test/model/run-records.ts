/**
 * The second part of the model: numbered records in one object after another. A seed runs several sessions,
 * each a stream that goes on where the one before was ended, destroyed or failed. In the end the objects
 * hold each record at most once, in order, and none is torn.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import {
  type AppendStreamOptions,
  createAppendStream,
  type OssAppendStream,
  OssError,
  RollingAppendStream,
} from '../../lib/index.ts'
import type { Align } from '../../lib/options.ts'
import { createOssServer, type Fault, type OssServer } from '../../lib/server/index.ts'
import { withInternals } from '../../lib/stream/internals.ts'
import { createRandom, type Random } from '../helpers/random.ts'
import { send } from '../helpers/raw-client.ts'
import { BUCKET, networkOptions } from '../helpers/test-oss.ts'
import {
  BAD_CONNECTIONS,
  DAMAGE,
  FALSE_409,
  LANDED_UNCONFIRMED,
  makeFault,
  REFUSALS,
  RIVALS,
  TRANSIENT,
  WRONG_ACKNOWLEDGEMENTS,
} from './faults.ts'
import {
  HOUR,
  type KeyStyle,
  keyOf,
  type RecordStyle,
  readObjects,
  recordsOf,
  START,
} from './numbered-records.ts'
import { RecordObserver } from './record-observer.ts'

/** The result of a seed. */
export interface RecordReport {
  readonly seed: number
  readonly theme: string
  readonly align: Align
  readonly complaints: readonly string[]
  readonly transcript: readonly string[]
  readonly fired: Readonly<Record<string, number>>
  readonly sessions: number
  readonly records: number
  readonly rolls: number
  /** Sessions that began in an existing object. */
  readonly resumed: number
  /** The number of strings written. */
  readonly texts: number
  readonly corks: number
}

type Ending = 'end' | 'destroy' | 'destroy with an error' | 'fatal'

export interface RecordScenario extends RecordStyle {
  readonly keys: KeyStyle
  readonly maxBytes: number
  readonly highWaterMark: number
  /** Bytes of the least size of attempts. */
  readonly attemptFloor: number
  readonly flushInterval: number
  readonly sealOnRoll: boolean
  readonly mayRead: boolean
  readonly contentMd5: boolean
  readonly requestTimeout: number
  /** Whether the wall clock may go back. */
  readonly canClockGoBack: boolean
  readonly endings: readonly Ending[]
  /** The most records of a session. */
  readonly maxRecords: number
}

/** Milliseconds after which a connection that should close counts as left open. */
const MAX_CLOSING_TIME = 20_000

function createRecordScenario(random: Random, seed: number): RecordScenario {
  const isText = random.integer(1, 3) === 1
  const size = isText ? 2 * random.integer(6, 30) : random.integer(6, 60)
  const align = random.pick(['\n', '\n', 'chunk', 'chunk', size] as const)
  const keys = random.pick<KeyStyle>([
    'index',
    'index',
    'index',
    'hour and index',
    'hour and index',
    'function',
    'plain',
  ])
  const maxBytes = keys === 'plain' ? 1e9 : random.pick([60, 100, 200, random.integer(40, 400)])
  const endings = Array.from({ length: random.integer(1, 3) }, () =>
    random.pick<Ending>(['end', 'destroy', 'destroy with an error', 'fatal', 'fatal']),
  )
  return {
    seed,
    align,
    longest: typeof align === 'number' ? align : random.pick([120, 300, 600]),
    isText,
    keys,
    maxBytes,
    highWaterMark: random.pick([20, 60, 100, random.integer(10, 300)]),
    attemptFloor: random.pick([1, 10, 40, 65_536]),
    flushInterval: random.pick([0, 1, 1000]),
    sealOnRoll: random.integer(1, 4) === 1 && keys !== 'plain',
    mayRead: random.integer(1, 4) > 1,
    contentMd5: random.integer(1, 2) === 1,
    requestTimeout: random.integer(1, 8) === 1 ? 100 : 5_000,
    canClockGoBack: random.integer(1, 4) === 1,
    endings: [...endings, 'end'],
    // One scenario in twenty is long.
    maxRecords: random.integer(1, 20) === 1 ? 600 : random.integer(20, 120),
  }
}

/** Does not reject if a stream misbehaves: the report has its complaints. */
export async function runRecords(seed: number): Promise<RecordReport> {
  const server = await createOssServer()
  try {
    return await new RecordRun(seed, server).run()
  } finally {
    await server.close()
  }
}

class RecordRun {
  readonly #random: Random
  readonly #scenario: RecordScenario
  readonly #server: OssServer
  readonly #complaints: string[] = []
  readonly #transcript: string[] = []
  #time = START
  #rolls = 0
  #resumed = 0
  #texts = 0
  #corks = 0
  #isOnlyWriter = true

  constructor(seed: number, server: OssServer) {
    this.#random = createRandom(seed * 7919 + 5)
    this.#scenario = createRecordScenario(this.#random, seed)
    this.#server = server
    if (!this.#scenario.mayRead) server.permissions.delete('oss:GetObject')
  }

  async run(): Promise<RecordReport> {
    const { endings, seed, align } = this.#scenario
    this.#transcript.push(JSON.stringify(this.#scenario))
    let records = 0
    for (const ending of endings) {
      const observer = await this.#runSession(records, ending)
      await this.#waitUntilQuiet()
      records = this.#checkObjects(observer, records)
      if (this.#complaints.length > 0) break
    }
    return {
      seed,
      theme: `${this.#scenario.keys}, ${JSON.stringify(align)}: ${endings.join(', ')}`,
      align,
      complaints: this.#complaints,
      transcript: this.#transcript,
      fired: this.#server.faults.fired,
      sessions: endings.length,
      records,
      rolls: this.#rolls,
      resumed: this.#resumed,
      texts: this.#texts,
      corks: this.#corks,
    }
  }

  async #runSession(from: number, ending: Ending): Promise<RecordObserver> {
    const random = this.#random
    const count = random.integer(
      Math.floor(this.#scenario.maxRecords / 3),
      this.#scenario.maxRecords,
    )
    const { highWaterMark, maxBytes, longest, sealOnRoll } = this.#scenario
    const records = Array.from({ length: count }, (_, i) =>
      recordsOf(this.#scenario, from + i, from + i + 1),
    )
    const fatal = ending === 'fatal' ? this.#pickFatalFault() : undefined
    this.#server.faults.push(...this.#makeBackgroundFaults(count), ...(fatal ? [fatal] : []))
    const stream = this.#open()
    const recordEnds = new Set<number>([0])
    let end = 0
    for (const { length } of records) {
      end += length
      recordEnds.add(end)
    }
    const isStopped = ending.startsWith('destroy')
    const observer = new RecordObserver(stream, {
      server: this.#server,
      highWaterMark,
      maxBytes,
      longest,
      sealOnRoll,
      source: Buffer.concat(records),
      recordEnds,
      fatal: fatal?.name,
      isStopped,
      isOnlyWriter: this.#isOnlyWriter,
    })
    stream.once('ready', ({ position }) => (this.#resumed += position > 0 ? 1 : 0))
    const closed = new Promise(resolve => stream.once('close', resolve))
    if (isStopped) this.#scheduleStop(stream, ending)
    await this.#write(observer, records)
    if (!stream.destroyed) stream.end()
    await closed
    observer.checkEnding()
    this.#rolls += observer.rolls
    this.#complaints.push(...observer.complaints)
    this.#transcript.push(
      `session from record ${from}: ${count} records, ${ending} ${fatal?.name ?? ''}`,
      ...observer.transcript,
    )
    return observer
  }

  #open(): OssAppendStream {
    const { keys, align, maxBytes, sealOnRoll, attemptFloor } = this.#scenario
    const { highWaterMark, flushInterval, contentMd5, requestTimeout } = this.#scenario
    const options: Omit<AppendStreamOptions, 'key'> = {
      bucket: BUCKET,
      ...networkOptions(this.#server),
      align,
      highWaterMark,
      flushInterval,
      contentMd5,
      requestTimeout,
      retry: { minDelay: 0, maxDelay: 2 },
    }
    if (keys === 'plain') {
      const plain = { ...options, key: keyOf(keys, new Date(), 0) }
      return createAppendStream(withInternals(plain, { attemptFloor }))
    }
    const patterns = {
      index: 'records/日志-{index}.log',
      'hour and index': 'records/{HH}/{index}.log',
    }
    const key =
      keys === 'function'
        ? ({ date, index }: { date: Date; index: number }) => keyOf(keys, date, index)
        : patterns[keys]
    const rolling = { ...options, key, maxBytes, sealOnRoll }
    return new RollingAppendStream(
      withInternals(rolling, { now: () => new Date(this.#time), attemptFloor }),
    )
  }

  /** Faults that the stream must survive: at most one for every five records. */
  #makeBackgroundFaults(records: number): Fault[] {
    const random = this.#random
    const { contentMd5, mayRead, requestTimeout, sealOnRoll } = this.#scenario
    const all = {
      ...TRANSIENT,
      ...LANDED_UNCONFIRMED,
      ...FALSE_409,
      ...BAD_CONNECTIONS,
      ...(contentMd5 ? DAMAGE : {}),
    }
    const isSlow = requestTimeout > 100
    const names = Object.keys(all).filter(name => !(isSlow && name.includes('hang')))
    // A HEAD without a position means that the object is corrupt, which is final.
    const isLookupFault = (name: string) => !name.includes('position') && names.includes(name)
    const lookups = Object.keys({ ...TRANSIENT, ...LANDED_UNCONFIRMED }).filter(isLookupFault)
    const faults = Array.from({ length: random.integer(0, Math.ceil(records / 5)) }, () =>
      makeFault(random, random.pick(names), { skip: random.integer(0, records) }),
    )
    const on = mayRead ? 'head' : 'probe'
    for (let i = random.integer(0, Math.ceil(records / 10)); i > 0; i--) {
      faults.push(makeFault(random, random.pick(lookups), { on, skip: random.integer(0, records) }))
    }
    for (let i = sealOnRoll ? random.integer(0, 5) : 0; i > 0; i--) {
      faults.push(
        makeFault(random, random.pick(lookups), { on: 'seal', skip: random.integer(0, 9) }),
      )
    }
    return faults
  }

  #pickFatalFault(): Fault {
    const random = this.#random
    const { align, keys } = this.#scenario
    // The bytes of a rival are made from ours, and could contain our newline.
    const tables = [WRONG_ACKNOWLEDGEMENTS, REFUSALS, ...(align === '\n' ? [] : [RIVALS])]
    const names = tables.flatMap(Object.keys)
    const name = random.pick(keys === 'plain' ? names : [...names, 'sealed', 'sealed'])
    if (Object.hasOwn(RIVALS, name)) this.#isOnlyWriter = false
    return makeFault(random, name, { skip: random.integer(0, 12) })
  }

  /** Destroys the stream after some events. */
  #scheduleStop(stream: OssAppendStream, ending: Ending): void {
    const left = { events: this.#random.integer(0, 30), turns: this.#random.integer(0, 6) }
    const act = async () => {
      if (left.events-- !== 0) return
      await turns(left.turns)
      stream.destroy(ending === 'destroy' ? undefined : new Error('destroyed by the user'))
    }
    for (const event of ['ready', 'append', 'retry', 'roll']) stream.on(event, act)
  }

  async #write(observer: RecordObserver, records: readonly Buffer[]): Promise<void> {
    const random = this.#random
    const { stream } = observer
    for (let n = 0; n < records.length; ) {
      const some = records.slice(n, n + random.integer(1, 5))
      n += some.length
      const isCorked = random.integer(1, 5) === 1
      if (isCorked) stream.cork()
      for (const piece of this.#splitIntoChunks(some)) {
        if (stream.destroyed) return
        observer.written += piece.length
        const accepted = this.#writePiece(stream, piece)
        // A corked write is not accepted before `uncork()`.
        if (!isCorked && random.integer(1, 3) > 1) await accepted
      }
      if (isCorked) {
        this.#corks += 1
        await turns(random.integer(0, 2))
        stream.uncork()
      }
      await this.#pause(observer)
    }
  }

  /** Writes a chunk as bytes or as a string. */
  #writePiece(stream: OssAppendStream, piece: Buffer): Promise<unknown> {
    const random = this.#random
    const isText = random.integer(1, 2) === 1
    const encodings = this.#scenario.isText ? (['utf8'] as const) : (['latin1', 'hex'] as const)
    const encoding = random.pick<BufferEncoding>(encodings)
    if (isText) this.#texts += 1
    return new Promise(resolve => {
      if (isText) stream.write(piece.toString(encoding), encoding, resolve)
      else stream.write(piece, resolve)
    })
  }

  /** Cuts records into chunks: one per record, or at any byte. Chunks of text hold whole characters. */
  #splitIntoChunks(records: readonly Buffer[]): Buffer[] {
    if (this.#scenario.align === 'chunk') return [...records]
    const bytes = Buffer.concat(records)
    let at = this.#random.integer(0, bytes.length)
    while (this.#scenario.isText && isWithinCharacter(bytes[at])) at -= 1
    return [bytes.subarray(0, at), bytes.subarray(at)]
  }

  async #pause(observer: RecordObserver): Promise<void> {
    const random = this.#random
    if (random.integer(1, 20) === 1) {
      const isBack = this.#scenario.canClockGoBack && random.integer(1, 2) === 1
      const step = random.pick([HOUR, HOUR, HOUR - 1000, 1000, 500])
      const time = this.#time + (isBack ? -step : step)
      // Stays within one day, since a key holds only the hour.
      if (time >= START && time < START + 23 * HOUR) this.#time = time
    }
    const chance = random.integer(1, 10)
    if (chance <= 2) await turns(random.integer(1, 5))
    if (chance === 3 || chance === 4) {
      const { written } = observer
      const flushed = observer.stream.flush().then(
        () => observer.onFlushed(written),
        () => {},
      )
      if (chance === 3) await flushed
    }
  }

  /** Waits until connections are closed and late appends have landed. */
  async #waitUntilQuiet(): Promise<void> {
    const server = this.#server
    const end = performance.now() + MAX_CLOSING_TIME
    while (server.openConnections > 0 && performance.now() < end) await sleep(1)
    if (server.openConnections > 0) this.#complaints.push('a connection is left open')
    server.faults.clear()
    const keys = new Set(server.requests.splice(0).map(({ key }) => key ?? ''))
    while (server.delayedAppends.length > 0) {
      for (const key of keys) await this.#sendHead(key)
    }
    // The server may have read all of a request just before its connection closed.
    await turns(3)
  }

  /** Sends a HEAD, for which late appends wait. A fault may still keep the port closed. */
  async #sendHead(key: string): Promise<void> {
    const { credentials } = networkOptions(this.#server)
    const request = { method: 'HEAD', bucket: BUCKET, key, credentials }
    await send(this.#server, request).catch(() => undefined)
  }

  /** Compares the objects with the records. Returns the number of records in the objects. */
  #checkObjects(observer: RecordObserver, from: number): number {
    const { canClockGoBack, maxBytes, highWaterMark, longest } = this.#scenario
    const check = (isRight: boolean, complaint: string) => {
      if (!isRight) this.#complaints.push(complaint)
    }
    const objects = readObjects(this.#server, this.#scenario, each => this.#complaints.push(each))
    const isAscending = (numbers: readonly number[]) =>
      numbers.every((n, i) => i === 0 || n > (numbers[i - 1] ?? 0))
    for (const { key, bytes, numbers } of objects) {
      check(isAscending(numbers), `${key}: out of order`)
      const isFit = bytes.length <= maxBytes || numbers.length === 1 || !this.#isOnlyWriter
      check(isFit, `${key}: ${bytes.length} bytes`)
    }
    const all = objects.flatMap(({ numbers }) => numbers)
    check(canClockGoBack || isAscending(all), 'the objects are out of order')
    const isEach = [...all].sort((a, b) => a - b).every((n, i) => n === i)
    check(isEach, `not each record once: ${all.length}, up to ${Math.max(...all)}`)
    const unacknowledged =
      recordsOf(this.#scenario, from, all.length).length - observer.acknowledged
    const isBatch =
      unacknowledged === 0 ||
      (unacknowledged > 0 && unacknowledged <= Math.max(highWaterMark, longest))
    check(isBatch, `${unacknowledged} bytes are there, and were not acknowledged`)
    check(unacknowledged === 0 || !observer.isFinished, 'finished, and more is there')
    const { error } = observer
    if (unacknowledged > 0 && error instanceof OssError) {
      check(
        (error.unresolved?.length ?? 0) >= unacknowledged,
        `${unacknowledged} bytes are there, and unresolved are ${error.unresolved?.length}`,
      )
    }
    return all.length
  }
}

/** Whether a byte is the second one of a UTF-8 character. */
function isWithinCharacter(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise(setImmediate)
}
