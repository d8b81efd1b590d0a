/**
 * A world in memory for the settlement model: one object, other writers, requests that come late, responses
 * that are lost. Above it a sender gives records to real appenders, one after another, as a logger does: when
 * one fails, the next goes on behind what was acknowledged or reported as unresolved. The oracle compares the
 * object with what the sender was told.
 */

import { Appender, type AppenderOptions } from '../../lib/append/appender.ts'
import { AttemptSize } from '../../lib/append/attempt-size.ts'
import type {
  AppendRequest,
  AppendResult,
  Client,
  Head,
  Target,
} from '../../lib/append/client-interface.ts'
import type { AppendInfo } from '../../lib/append/destination.ts'
import { StreamContext } from '../../lib/append/stream-context.ts'
import { Batch, type RecordEnds, type Tail } from '../../lib/append/tail.ts'
import type { Clock, Timer } from '../../lib/clock.ts'
import { crc64 } from '../../lib/crc64/index.ts'
import { OssError } from '../../lib/errors.ts'
import type { Align } from '../../lib/options.ts'
import { createRecordEnds } from '../../lib/stream/align.ts'
import { RETRY, TARGET } from '../helpers/appender-harness.ts'
import {
  networkError,
  positionConflict,
  REQUEST_ID,
  serviceError,
  timeoutError,
} from '../helpers/errors.ts'
import { createRandom, type Random } from '../helpers/random.ts'

/** Which troubles a world has, besides those of the network. */
export interface Troubles {
  /** Percent: another writer acts before an exchange. */
  readonly rival: number
  /** The other writer may append bytes that equal the next ones of ours. */
  readonly hasSameBytes?: boolean
  /** False: a layer below may send a request twice. */
  readonly sendsOnce: boolean
  /** The client says that requests are sent once, where they are not. */
  readonly isLiar?: boolean
}

/** What happened to a run: a problem, or numbers that show what it covered. */
export interface Outcome {
  readonly problem?: string
  readonly log: readonly string[]
  readonly counts: Readonly<Record<string, number>>
}

/** An attempt as it is on its way: some records for one position. */
interface Attempt {
  readonly position: number
  readonly text: string
  /** The records in it: from `first`, before `end`. */
  readonly first: number
  readonly end: number
}

/** Exchanges after which nothing goes wrong any more, so that each run comes to an end. */
const CALM_AFTER = 60
const MOST_EXCHANGES = 600

/** The fates of an append and their weights. */
const FATES = [
  ['stored', 40],
  ['responseLost', 14],
  ['late', 14],
  ['dropped', 7],
  ['unsent', 6],
  ['tooLarge', 4],
  ['serverError', 4],
  ['throttled', 2],
  ['expired', 2],
  ['resent', 4],
  ['innerRetry', 3],
  ['clientDefect', 1],
  ['abort', 1],
] as const
type Fate = (typeof FATES)[number][0]
const FATE_LIST: readonly Fate[] = FATES.flatMap(([fate, weight]) => Array(weight).fill(fate))

/** Attempts of any length, longer and shorter ones in turn: harsher than the real sizes. */
class RandomSize extends AttemptSize {
  readonly #random: Random

  constructor(random: Random) {
    super(1)
    this.#random = random
  }

  override get bytes(): number {
    return this.#random.integer(1, 24)
  }

  override onRefused(): boolean {
    return this.#random.integer(0, 9) > 0
  }
}

/** No wait takes longer than a microtask. */
class InstantClock implements Clock {
  time = 0
  readonly #random: Random

  constructor(random: Random) {
    this.#random = random
  }

  now(): number {
    return this.time
  }

  random(): number {
    return this.#random.integer(0, 999) / 1000
  }

  setTimeout(callback: () => void, delay: number): Timer {
    const timer = { ref: () => timer, unref: () => timer, isCleared: false }
    queueMicrotask(() => {
      if (timer.isCleared) return
      this.time += delay
      callback()
    })
    return timer
  }

  clearTimeout(timer: Timer): void {
    Object.assign(timer, { isCleared: true })
  }
}

/** The object, and which of its bytes are of this sender. */
class MemoryObject {
  /** Undefined: there is no object. */
  content: string | undefined
  readonly ownAppends: Attempt[] = []

  get length(): number {
    return this.content?.length ?? 0
  }

  get tail(): Tail {
    const { content = '' } = this
    return { position: content.length, crc64: crc64(Buffer.from(content, 'latin1')) }
  }

  /** False: the object does not end at `position`. */
  append(position: number, text: string): boolean {
    if (position !== this.length) return false
    this.content = (this.content ?? '') + text
    return true
  }

  appendOwn(attempt: Attempt): boolean {
    const isStored = this.append(attempt.position, attempt.text)
    if (isStored && attempt.text !== '') this.ownAppends.push(attempt)
    return isStored
  }
}

const ALIGNS: readonly Align[] = ['\n', 'chunk', 4, 1]

/** Records that occur once each, of the form that `align` asks for. */
function createRecords(random: Random, align: Align): string[] {
  const count = random.integer(3, 8)
  return Array.from({ length: count }, (_, i) => {
    if (align === 1) return 'abcdefgh'[i]!
    return `<${i}${align === 4 ? '' : 'x'.repeat(random.integer(0, 4))}>\n`
  })
}

export class World implements Client {
  readonly sendsOnce: boolean
  readonly object = new MemoryObject()
  readonly log: string[] = []
  readonly counts: Record<string, number> = {}
  /** The first problem found. */
  problem: string | undefined
  readonly #random: Random
  readonly #troubles: Troubles
  readonly #clock: InstantClock
  readonly #align: Align
  readonly #records: readonly string[]
  readonly #isReadForbidden: boolean
  /** Requests on their way: each may land, once, at any time. */
  readonly #late: Attempt[] = []
  readonly #lengths: number[] = [1]
  readonly #acknowledged = new Set<number>()
  readonly #unresolved = new Set<number>()
  #exchanges = 0
  /** Records before this one are acknowledged, or given up as unresolved. */
  #next = 0
  #appender!: Appender
  /** An attempt since the last progress may have landed, or may land yet. */
  #isInDoubt = false

  constructor(seed: number, troubles: Troubles) {
    this.#random = createRandom(seed)
    this.#troubles = troubles
    this.sendsOnce = troubles.sendsOnce || troubles.isLiar === true
    this.#clock = new InstantClock(this.#random)
    this.#align = this.#random.pick(ALIGNS)
    this.#records = createRecords(this.#random, this.#align)
    this.#isReadForbidden = this.#random.integer(0, 4) === 0
    const base = this.#random.pick([undefined, '', 'B', 'BASE'])
    if (base !== undefined) this.object.append(0, base)
  }

  async run(): Promise<Outcome> {
    while (this.#next < this.#records.length && !this.problem) {
      await this.#runAppender()
      if (this.#exchanges > MOST_EXCHANGES) this.#report('it never ends')
    }
    while (this.#late.length > 0) this.#landLate()
    this.#judge()
    const { problem, log, counts } = this
    return { ...(problem !== undefined && { problem }), log, counts }
  }

  /** One appender, from its opening to its failure or the last record. */
  async #runAppender(): Promise<void> {
    this.#isInDoubt = false
    const options: AppenderOptions = {
      ...{ target: TARGET, client: this, clock: this.#clock, headers: {}, creationHeaders: {} },
      ...{ position: 'end', maxObjectBytes: 1e9, seal: false, highWaterMark: 1 },
      retry: { ...RETRY, maxElapsed: Number.POSITIVE_INFINITY, maxRetries: this.#pickRetries() },
      onRetry: () => {},
    }
    const attemptSize = new RandomSize(this.#random)
    const context = Object.assign(new StreamContext(options), { attemptSize })
    this.#appender = new Appender(options, context)
    try {
      await this.#appender.open()
      while (this.#next < this.#records.length && !this.problem) await this.#appendBatch()
    } catch (error) {
      this.#fail(error)
    }
  }

  #pickRetries(): number {
    return this.#isCalm || this.#random.integer(0, 2) > 0 ? Number.POSITIVE_INFINITY : 3
  }

  /** Some records as one batch. As the stream does, what is left of it goes on as its rest. */
  async #appendBatch(): Promise<void> {
    let batch = this.#createBatch(this.#random.integer(1, 5))
    for (;;) {
      const info = await this.#appender.append(batch)
      this.#acknowledge(info)
      if (info.length === batch.length || this.problem) return
      batch = batch.rest(info.length)
    }
  }

  #createBatch(count: number): Batch {
    const records = this.#records.slice(this.#next, this.#next + count)
    let length = 0
    const ends = records.map(record => (length += record.length))
    // Of chunks only some ends are remembered.
    const known = ends.filter(() => this.#random.integer(0, 3) > 0)
    const recordEnds: RecordEnds = createRecordEnds(this.#align, known)
    return new Batch(Buffer.from(records.join(''), 'latin1'), { ends: recordEnds })
  }

  #acknowledge({ position, length, nextPosition, reconciled }: AppendInfo): void {
    const end = this.#recordAt(length)
    this.log.push(`acknowledged ${position}+${length}${reconciled ? ' by the tail' : ''}`)
    this.#count(reconciled ? 'reconciled' : 'acknowledged')
    if (end === undefined) {
      this.#report(`acknowledged ${length} bytes: inside a record`)
      return
    }
    const text = this.#records.slice(this.#next, end).join('')
    const stored = this.object.content?.slice(position, nextPosition)
    if (stored !== text) this.#report(`acknowledged ${text}, and the object has ${stored}`)
    for (let record = this.#next; record < end; record++) this.#acknowledged.add(record)
    this.#next = end
    this.#isInDoubt = false
  }

  /** The appender has failed: what it says is in doubt is not sent again. */
  #fail(error: unknown): void {
    if (!(error instanceof OssError)) {
      this.#report(`failed with ${error}`)
      return
    }
    const { code, unresolved, tail } = error
    this.log.push(`failed: ${code}, unresolved ${unresolved?.position}+${unresolved?.length}`)
    this.#count(code)
    const isAlone = this.#troubles.rival === 0 && this.#unresolved.size === 0
    if (isAlone && code === 'PositionNotEqualToLength') this.#report('a conflict with itself')
    if (!unresolved) return
    this.#count('unresolved')
    if (!this.#isInDoubt) this.#report('unresolved, and nothing was in doubt')
    if (unresolved.position !== tail?.position) this.#report('unresolved begins behind the tail')
    let length = 0
    while (this.#next < this.#records.length && length < unresolved.length) {
      length += this.#records[this.#next]!.length
      this.#unresolved.add(this.#next++)
    }
    if (length !== unresolved.length) this.#report('unresolved ends inside a record')
  }

  /** The index of the record that begins `length` bytes behind the next; undefined: none begins there. */
  #recordAt(length: number): number | undefined {
    let index = this.#next
    let left = length
    while (left > 0 && index < this.#records.length) left -= this.#records[index++]!.length
    return left === 0 ? index : undefined
  }

  /** Compares the object with what the sender was told. */
  #judge(): void {
    const { content = '', ownAppends } = this.object
    for (const [index, record] of this.#records.entries()) {
      const copies = ownAppends.filter(({ first, end }) => first <= index && index < end).length
      const isAcknowledged = this.#acknowledged.has(index)
      const isUnresolved = this.#unresolved.has(index)
      if (copies > 1) this.#report(`record ${index} was stored ${copies} times`)
      if (isAcknowledged && !content.includes(record)) this.#report(`record ${index} is absent`)
      if (!isAcknowledged && !isUnresolved) {
        this.#report(
          copies > 0 ? `record ${index} is silently there` : `record ${index} is forgotten`,
        )
      }
    }
    if (this.#troubles.hasSameBytes) return
    const known = this.#records.map(record => record.replace('\n', '\\n')).join('|')
    if (!new RegExp(`^B?(ASE)?(~|${known})*$`).test(content)) this.#report('a record is torn')
  }

  #report(problem: string): void {
    this.problem ??= problem
  }

  #count(name: string): void {
    this.counts[name] = (this.counts[name] ?? 0) + 1
  }

  get #isCalm(): boolean {
    return this.#exchanges > CALM_AFTER
  }

  // ---- OSS and the network

  async head(_target: Target, { signal }: { readonly signal: AbortSignal }): Promise<Head | null> {
    this.#beginExchange()
    await null
    const fate = this.#isCalm ? 9 : this.#random.integer(0, 9)
    if (fate === 0) throw this.#random.pick([timeoutError(), networkError('ECONNRESET')])
    if (fate === 1 && this.#random.integer(0, 4) === 0) throw this.#abort(signal)
    if (this.#isReadForbidden) throw serviceError('AccessDenied', { status: 403 })
    if (this.object.content === undefined) return null
    const { position, crc64 } = this.object.tail
    const head = { type: 'Appendable', length: position, position, requestId: REQUEST_ID }
    return fate === 2 ? head : { ...head, crc64 }
  }

  async append(_target: Target, request: AppendRequest): Promise<AppendResult> {
    this.#beginExchange()
    await null
    const { position, signal } = request
    const text = Buffer.from(request.body).toString('latin1')
    const end = this.#recordAt(text.length)
    const attempt = { position, text, first: this.#next, end: end ?? 0 }
    if (end === undefined) this.#report(`an attempt of ${text} cuts a record`)
    if (text === '') return this.#probe(attempt)
    this.#lengths.push(text.length)
    const fate = this.#isCalm ? 'stored' : this.#random.pick(FATE_LIST)
    this.log.push(`${fate} ${position}+${text.length}, the object has ${this.object.length}`)
    this.#count(fate)
    return this.#deliver(fate, attempt, signal)
  }

  async close(): Promise<void> {}

  #deliver(fate: Fate, attempt: Attempt, signal: AbortSignal): AppendResult {
    switch (fate) {
      case 'stored':
        return this.#respond(attempt)
      case 'unsent':
        throw networkError('ECONNREFUSED')
      case 'tooLarge':
        throw this.#refuse(serviceError('BadErrorResponse', { status: 413 }))
      case 'expired':
        throw this.#refuse(
          serviceError('SecurityTokenExpired', { status: 403, isRefreshable: true }),
        )
      case 'responseLost':
        this.object.appendOwn(attempt)
        throw this.#loseSight(networkError('ECONNRESET'))
      case 'late':
        this.#late.push(attempt)
        throw this.#loseSight(timeoutError())
      case 'dropped':
        throw this.#loseSight(networkError('UND_ERR_SOCKET', { isBodyCut: true }))
      case 'serverError':
        if (this.#random.integer(0, 1)) this.object.appendOwn(attempt)
        throw this.#loseSight(serviceError('InternalError', { status: 500 }))
      case 'throttled':
        throw this.#loseSight(serviceError('SlowDown', { status: 503 }))
      case 'clientDefect':
        if (this.#random.integer(0, 1)) this.object.appendOwn(attempt)
        throw this.#loseSight(new TypeError('fetch failed'))
      case 'abort':
        if (this.#random.integer(0, 1)) this.object.appendOwn(attempt)
        throw this.#loseSight(this.#abort(signal))
      case 'resent':
        return this.#resend(attempt)
      case 'innerRetry':
        if (this.#troubles.sendsOnce) return this.#respond(attempt)
        // The first request landed. The layer below sent it again, and that was refused a connection.
        this.object.appendOwn(attempt)
        throw this.#loseSight(networkError('ECONNREFUSED', { isUnsent: false }))
    }
  }

  /** A layer below sends the request twice, and shows the second response. */
  #resend(attempt: Attempt): AppendResult {
    if (this.#troubles.sendsOnce) return this.#respond(attempt)
    this.object.appendOwn(attempt)
    if (this.#troubles.rival > 0) this.#actAsRival()
    return this.#respond(attempt)
  }

  #respond(attempt: Attempt): AppendResult {
    if (this.object.appendOwn(attempt)) return { ...this.object.tail, requestId: REQUEST_ID }
    throw this.#refuse(positionConflict(this.object.length))
  }

  /** A refusal proves nothing where the layer below may have sent the request before. */
  #refuse<E>(error: E): E {
    return this.sendsOnce ? error : this.#loseSight(error)
  }

  #loseSight<E>(error: E): E {
    this.#isInDoubt = true
    return error
  }

  #abort(signal: AbortSignal): unknown {
    this.#appender.abort(new OssError('OSS_ERR_ABORTED', 'the stream was destroyed'))
    return signal.reason
  }

  /** An append of no bytes. At 0 it would create an object. */
  #probe({ position }: Attempt): AppendResult {
    if (position === 0) this.#report('an append of nothing at 0')
    if (!this.#isCalm && this.#random.integer(0, 9) === 0) throw timeoutError()
    if (position !== this.object.length) throw positionConflict(this.object.length)
    const isSilent = !this.#isCalm && this.#random.integer(0, 9) === 0
    const { crc64 } = this.object.tail
    return { position, requestId: REQUEST_ID, ...(!isSilent && { crc64 }) }
  }

  #beginExchange(): void {
    this.#exchanges += 1
    if (this.#isCalm) return
    if (this.#random.integer(0, 99) < this.#troubles.rival) this.#actAsRival()
    while (this.#late.length > 0 && this.#random.integer(0, 3) === 0) this.#landLate()
  }

  /** One of the late requests arrives. */
  #landLate(): void {
    const index = this.#random.integer(0, this.#late.length - 1)
    const [attempt] = this.#late.splice(index, 1)
    const isStored = this.object.appendOwn(attempt!)
    this.log.push(
      `late ${attempt!.position}+${attempt!.text.length} ${isStored ? 'lands' : 'is refused'}`,
    )
    if (isStored) this.#count('lateLanded')
  }

  /** Another writer appends: a few bytes, as many as one of our attempts, or our own next bytes. */
  #actAsRival(): void {
    const length = this.#random.pick([
      this.#random.integer(1, 4),
      this.#lengths.at(-1)!,
      this.#random.pick(this.#lengths),
    ])
    const isSame = this.#troubles.hasSameBytes && this.#random.integer(0, 1)
    const own = this.#records.slice(this.#next).join('').slice(0, this.#random.integer(1, 12))
    const text = isSame && own !== '' ? own : '~'.repeat(length)
    this.object.append(this.object.length, text)
    this.log.push(`the other writer appends ${text.length}, the object has ${this.object.length}`)
    this.#count('rival')
  }
}
