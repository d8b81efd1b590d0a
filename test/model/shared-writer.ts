/**
 * One writer of a shared-writers run. It gives its records to a real stream, and to another one when that
 * fails or is destroyed, as a logger does: records that are neither acknowledged nor reported as unresolved
 * are written again. So an `unresolved` that says too little doubles records, and the oracle sees it.
 */

import {
  type AppendInfo,
  type AppendStreamOptions,
  createAppendStream,
  createRollingAppendStream,
  type OssAppendStream,
  OssError,
} from '../../lib/index.ts'
import { withInternals } from '../../lib/stream/internals.ts'
import { BUCKET } from '../helpers/test-oss.ts'
import { SharedClient, type SharedNetwork } from './shared-client.ts'
import { chance, type SharedScenario, type WriterPlan } from './shared-scenario.ts'
import type { StoredObject } from './shared-store.ts'

/** What became of a record: acknowledged in an object, or reported as unresolved. */
export type RecordFate = { readonly object: StoredObject } | 'unresolved'

/** Milliseconds since the epoch when a run begins. */
const START = Date.UTC(2026, 10, 28, 12)
/** Milliseconds of the wall clock for each millisecond of a run, so that dates change within one. */
const TIME_FACTOR = 100
/** Streams after which a plain writer gives up: its object may be sealed for good. */
const MOST_FAILURES = 12

/** Codes of a plain object that takes no more appends. */
const CLOSED = new Set(['AppendSealedObjectNotAllowed', 'ObjectNotAppendable'])

export class SharedWriter {
  readonly plan: WriterPlan
  /** Of the first records, in order. Those behind them were never acknowledged nor reported. */
  readonly fates: RecordFate[] = []
  readonly #scenario: SharedScenario
  readonly #network: SharedNetwork
  readonly #client: SharedClient
  /** Promises of `append()`. */
  #unsettled = 0
  #failures = 0
  #isClosed = false
  /** Keys that the present stream has left. */
  readonly #leftKeys = new Set<string>()
  #key: string | undefined

  constructor(plan: WriterPlan, scenario: SharedScenario, network: SharedNetwork) {
    this.plan = plan
    this.#scenario = scenario
    this.#network = network
    this.#client = new SharedClient(plan, network)
  }

  async run(): Promise<void> {
    await this.#network.clock.sleep(this.#network.random.integer(0, 40))
    while (this.fates.length < this.plan.records.length && !this.#isClosed) await this.#runStream()
  }

  /** One stream, from its opening to its close. */
  async #runStream(): Promise<void> {
    const { random, clock } = this.#network
    this.#client.isInDoubt = false
    this.#leftKeys.clear()
    this.#key = undefined
    const from = this.fates.length
    const stream = this.#open()
    const closed = new Promise(resolve => stream.once('close', resolve))
    let failure: Error | undefined
    stream.on('error', error => (failure = error))
    stream.on('append', info => this.#onAppend(stream, info))
    stream.on('retry', ({ error }) => this.#checkRetry(error))
    await this.#write(stream)
    if (!stream.destroyed) stream.end()
    await closed
    await new Promise(setImmediate)
    if (this.#unsettled > 0) this.#network.report(`${this.plan.name}: a promise never settles`)
    this.#network.log(`${this.plan.name} closed: ${failure && describe(failure)}`)
    this.#checkBytesWritten(stream, from)
    this.#onClosed(stream, failure)
    if (failure) await clock.sleep(random.integer(0, 100))
  }

  #open(): OssAppendStream {
    const { align, rolling } = this.#scenario
    const { highWaterMark, maxRetries, clockSkew, contentMd5 } = this.plan
    const { clock } = this.#network
    const options = {
      ...{ bucket: BUCKET, client: this.#client, shared: true, align, highWaterMark, contentMd5 },
      flushInterval: 0,
      retry: {
        ...{ minDelay: 1, maxDelay: 50, maxElapsed: Number.POSITIVE_INFINITY },
        maxRetries: this.#network.faultRate === 0 ? Number.POSITIVE_INFINITY : maxRetries,
      },
    }
    const now = () => new Date(START + clockSkew + clock.now() * TIME_FACTOR)
    if (!rolling) {
      const plain: AppendStreamOptions = { ...options, key: 'one' }
      return createAppendStream(withInternals(plain, { clock }))
    }
    return createRollingAppendStream(withInternals({ ...options, ...rolling }, { clock, now }))
  }

  /** Writes the rest of the records, with flushes and pauses between them. */
  async #write(stream: OssAppendStream): Promise<void> {
    const { random, clock, count, faultRate } = this.#network
    const records = this.plan.records.slice(this.fates.length)
    while (records.length > 0 && !stream.destroyed) {
      const some = records.splice(0, random.integer(1, 4))
      this.#writeSome(stream, some)
      switch (random.pick(['flush', 'flush', 'wait', 'sleep', 'go on', 'stop'])) {
        case 'flush':
          stream.flush().catch(() => {})
          break
        case 'wait':
          await stream.flush().then(
            () => this.#checkFlushed(stream, records.length),
            () => {},
          )
          break
        case 'sleep':
          stream.flush().catch(() => {})
          await clock.sleep(random.integer(0, 200))
          break
        case 'stop':
          if (faultRate === 0 || chance(random, 60)) break
          await clock.sleep(random.integer(0, 60))
          count('destroyed')
          stream.destroy()
      }
    }
  }

  /** By `append()`, which tells where a record is, or by `write()`. */
  #writeSome(stream: OssAppendStream, records: readonly string[]): void {
    if (chance(this.#network.random, 40)) for (const each of records) this.#append(stream, each)
    else for (const piece of this.#cut(records)) stream.write(piece, 'latin1')
  }

  #append(stream: OssAppendStream, record: string): void {
    const { store, report, count } = this.#network
    this.#unsettled += 1
    stream
      .append(record)
      .then(
        ({ key, position, length }) => {
          const isThere = store.objects.some(
            object =>
              object.key === key && object.content.slice(position, position + length) === record,
          )
          if (!isThere) report(`${this.plan.name}: ${record.trim()} is not at ${key} ${position}`)
          count('address of a record')
        },
        () => count('no address'),
      )
      .finally(() => (this.#unsettled -= 1))
  }

  /** A record is one chunk, or bytes cut anywhere. */
  #cut(records: readonly string[]): readonly string[] {
    const { random } = this.#network
    if (this.#scenario.align === 'chunk' || chance(random, 70)) return records
    const text = records.join('')
    const middle = random.integer(1, text.length - 1)
    return [text.slice(0, middle), text.slice(middle)]
  }

  #onAppend(stream: OssAppendStream, info: AppendInfo): void {
    const { store, report, count } = this.#network
    this.#client.isInDoubt = false
    const { name } = this.plan
    const records = this.#recordsOf(info.length)
    const text = this.#textOf(records)
    // At the end a plain stream creates an object where there is none.
    if (info.length === 0) return
    if (records === undefined) {
      report(`${name}: acknowledged ${info.length} bytes`)
      return
    }
    const object = store.objects.findLast(
      ({ key, content }) =>
        key === info.key && content.slice(info.position, info.position + info.length) === text,
    )
    if (!object) {
      report(`${name}: ${text} is not in ${info.key} at ${info.position}`)
      return
    }
    for (let i = 0; i < records; i++) this.fates.push({ object })
    this.#failures = 0
    if (info.reconciled) count('settled by the tail')
    this.#checkKey(info.key)
    this.#checkTail(stream, info)
  }

  /** A lost race is no retry, and in some runs nothing else goes wrong. */
  #checkRetry(error: Error): void {
    const { faultRate, seals, deletes } = this.#scenario
    // Without HEAD, empty appends that ask for the tail lose races too, and are retried.
    if (faultRate > 0 || seals || deletes || this.plan.isHeadForbidden) return
    this.#network.report(`${this.plan.name}: a retry after ${describe(error)}`)
  }

  #checkKey(key: string): void {
    if (this.#leftKeys.has(key)) this.#network.report(`${this.plan.name} went back to ${key}`)
    if (this.#key !== undefined && this.#key !== key) {
      this.#leftKeys.add(this.#key)
      const [date] = key.split('-')
      const isDate = this.#scenario.rolling?.key !== '{index}' && !this.#key.startsWith(`${date}-`)
      this.#network.count(isDate ? 'rolled by date' : 'rolled by index')
    }
    this.#key = key
  }

  /** The tail of the stream is one that the object had, and its CRC that of all bytes before it. */
  #checkTail({ key, position, crc64 }: OssAppendStream, info: AppendInfo): void {
    const { store, report } = this.#network
    const tails = [
      ...(crc64 === undefined ? [] : [{ key, position: position ?? 0, crc64 }]),
      { key: info.key, position: info.nextPosition, crc64: info.crc64 },
    ]
    for (const tail of tails) {
      const isSeen = store.objects.some(
        object => object.key === tail.key && object.crc64Of(tail.position) === tail.crc64,
      )
      if (!isSeen) report(`${this.plan.name}: ${tail.key} never ended at ${tail.position}`)
    }
  }

  /** `left`: records that were not written yet. */
  #checkFlushed({ destroyed }: OssAppendStream, left: number): void {
    const missing = this.plan.records.length - left - this.fates.length
    if (missing > 0 && !destroyed) {
      this.#network.report(`${this.plan.name}: flushed, and ${missing} are not acknowledged`)
    }
  }

  #checkBytesWritten({ bytesWritten }: OssAppendStream, from: number): void {
    const { length } = this.plan.records.slice(from, this.fates.length).join('')
    if (bytesWritten !== length) {
      this.#network.report(`${this.plan.name}: bytesWritten is ${bytesWritten}, not ${length}`)
    }
  }

  #onClosed(stream: OssAppendStream, failure: Error | undefined): void {
    const { report, count } = this.#network
    const { name } = this.plan
    const { length = 0 } = stream.unresolved ?? {}
    const isConflict = failure instanceof OssError && failure.code === 'PositionNotEqualToLength'
    if (failure && !(failure instanceof OssError)) report(`${name} failed: ${failure.stack}`)
    if (failure instanceof OssError) count(`failed: ${failure.code}`)
    if (isConflict && this.#canSettle) report(`${name}: a conflict, and everything can be read`)
    const isSealed = failure instanceof OssError && CLOSED.has(failure.code)
    if (isSealed && length > 0 && this.#canSettle) report(`${name}: in doubt in a sealed object`)
    if (length > 0) this.#giveUp(length, failure)
    if (!failure) return
    this.#failures += 1
    const { code } = failure as OssError
    const isStuck = CLOSED.has(code) || this.#failures > MOST_FAILURES
    if (!this.#scenario.rolling && isStuck) this.#isClosed = true
    else if (this.#failures > MOST_FAILURES * 3) {
      report(`${name} fails for ever: ${describe(failure)}`)
      this.#isClosed = true
    }
  }

  /** The stream says that this many bytes behind the acknowledged ones are in doubt. */
  #giveUp(length: number, failure: Error | undefined): void {
    const { report, count } = this.#network
    const { name } = this.plan
    // A 200 whose CRC is another one leaves its bytes in doubt.
    const isWrong = (failure as OssError | undefined)?.code === 'OSS_ERR_INTEGRITY'
    if (!this.#client.isInDoubt && !isWrong) report(`${name}: unresolved, and nothing was in doubt`)
    const records = this.#recordsOf(length)
    if (records === undefined) {
      report(`${name}: ${length} unresolved bytes cut a record`)
      return
    }
    for (let i = 0; i < records; i++) this.fates.push('unresolved')
    count('unresolved')
  }

  /** Nothing keeps this writer from learning what became of an append. */
  get #canSettle(): boolean {
    const { isGetForbidden, hasNoRead } = this.plan
    return !isGetForbidden && !hasNoRead && !this.#scenario.deletes
  }

  /** How many records have this many bytes, from the first that has no fate; undefined: one is cut. */
  #recordsOf(length: number): number | undefined {
    const { records } = this.plan
    let end = this.fates.length
    let left = length
    while (left > 0 && end < records.length) left -= records[end++]!.length
    return left === 0 ? end - this.fates.length : undefined
  }

  #textOf(records = 0): string {
    return this.plan.records.slice(this.fates.length, this.fates.length + records).join('')
  }
}

function describe(error: Error): string {
  const { code, unresolved } = error as OssError
  return `${code} ${error.message} ${unresolved ? `unresolved ${unresolved.length}` : ''}`
}
