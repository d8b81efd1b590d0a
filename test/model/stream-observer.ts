/**
 * Observes one stream: compares each event with the object. The stream emits an event in the turn in which the
 * response arrived, so the object cannot have changed in between. The observer collects complaints and does
 * not throw, since a listener that throws would change the run.
 */

import type { AppendInfo, OssAppendStream, ReadyInfo, RetryInfo, Tail } from '../../lib/index.ts'
import { crc64OfChunks } from '../../lib/server/crc64.ts'
import type { ObjectState, OssServer, RequestRecord } from '../../lib/server/index.ts'
import { BUCKET } from '../helpers/test-oss.ts'
import type { Scenario } from './scenario.ts'

export const KEY = 'model/日志.log'

/** An object at one moment. */
export interface Snapshot {
  readonly bytes: Buffer
  readonly state: ObjectState | undefined
}

/** The object when the stream opened. */
export interface OpenedObject extends ReadyInfo {
  readonly bytes: Buffer
  /** False if the object was different: its length came from an option or from a wrong response. */
  readonly isAccurate: boolean
}

/** A promise of `flush()`. */
export interface Flush {
  /** Bytes passed to `write()` before the call. */
  readonly written: number
  outcome: 'pending' | 'resolved' | 'rejected'
  error?: unknown
}

/** What the stream concluded about a batch in doubt. */
export interface Verdict {
  readonly verdict: 'landed' | 'absent' | 'conflict' | 'replaced' | 'integrity' | 'aborted'
  /** The batch has the last byte. */
  readonly isLast: boolean
}

export class StreamObserver {
  readonly complaints: string[] = []
  /** The events, printed for a failed seed. */
  readonly transcript: string[] = []
  readonly verdicts: Verdict[] = []
  readonly appends: AppendInfo[] = []
  readonly retries: RetryInfo[] = []
  readonly flushes: Flush[] = []
  readonly scenario: Scenario
  readonly server: OssServer
  readonly stream: OssAppendStream
  /** All bytes that the source is to write. */
  readonly source: Buffer
  /** Bytes passed to `write()` so far. */
  written = 0
  /** Callbacks of `write()` that were not called yet. */
  callbacksPending = 0
  opened: OpenedObject | undefined
  /** Acknowledged bytes of the source. */
  acknowledged = 0
  /** Retries since the last progress. */
  retriesSinceProgress = 0
  isFinished = false
  isClosed = false
  error: Error | undefined
  /** The requests of the stream, set after its end. */
  requests: readonly RequestRecord[] = []
  /** The object when the stream failed, finished or closed, whichever came first. */
  objectAtEnd: Snapshot | undefined

  constructor(scenario: Scenario, server: OssServer, stream: OssAppendStream) {
    this.scenario = scenario
    this.server = server
    this.stream = stream
    const writes = scenario.steps.flatMap(step => (step.do === 'write' ? [step.bytes] : []))
    this.source = Buffer.concat(writes)
    stream.on('ready', info => this.#onReady(info))
    stream.on('append', info => this.#onAppend(info))
    stream.on('retry', info => this.#onRetry(info))
    stream.on('finish', () => this.#onFinish())
    stream.on('error', error => this.#onError(error))
    stream.on('close', () => this.#onClose())
  }

  check(isRight: boolean, complaint: string): void {
    if (!isRight) this.complaints.push(complaint)
  }

  logLine(line: string): void {
    this.transcript.push(line)
  }

  snapshot(): Snapshot {
    const bytes = this.server.read(BUCKET, KEY) ?? Buffer.alloc(0)
    return { bytes, state: this.server.stat(BUCKET, KEY) }
  }

  /** The object that has to exist when it holds `acknowledged` bytes of the source. */
  expected(acknowledged: number): Buffer {
    const before = this.opened?.bytes ?? Buffer.alloc(0)
    return Buffer.concat([before, this.source.subarray(0, acknowledged)])
  }

  /** Whether the latest append has the last byte. */
  get isLast(): boolean {
    const { opened, source, stream } = this
    const last = this.server.requests.findLast(each => each.operation === 'append')
    if (!opened || !last || !stream.writableEnded) return false
    const end = (last.position ?? 0) + Number(last.headers['content-length'])
    return end === opened.position + source.length
  }

  onFlushed(tail: Tail, flush: Flush): void {
    flush.outcome = 'resolved'
    const { opened } = this
    this.logLine(`flush of ${flush.written} resolved at ${tail.position}`)
    if (!opened) {
      this.check(false, 'flush resolved before the tail was known')
      return
    }
    const length = tail.position - opened.position
    this.check(length >= flush.written, `flush of ${flush.written} resolved with ${length}`)
    this.check(length <= this.acknowledged, 'flush resolved before the append event')
    if (opened.isAccurate) this.#checkPrefix('flush', tail)
  }

  checkBuffered(): void {
    const { highWaterMark, pipelining } = this.scenario
    const { bytesBuffered } = this.stream
    const isBounded = bytesBuffered >= 0 && bytesBuffered <= (pipelining + 1) * highWaterMark
    this.check(isBounded, `${bytesBuffered} bytes buffered, mark ${highWaterMark}`)
  }

  #onReady(info: ReadyInfo): void {
    this.logLine(`ready at ${info.position}, exists ${info.exists}`)
    this.check(
      !this.opened && this.appends.length === 0,
      'ready is not the first event, or comes twice',
    )
    const { bytes, state } = this.snapshot()
    const before = bytes.subarray(0, info.position)
    const isAccurate = before.length === info.position && crcOf(before) === info.crc64
    this.opened = { ...info, bytes: before, isAccurate }
    this.retriesSinceProgress = 0
    this.check(
      !info.exists || state !== undefined || info.position > 0,
      'ready says that a missing object exists',
    )
  }

  #onAppend(info: AppendInfo): void {
    this.logLine(
      `append ${info.position}-${info.nextPosition}${info.reconciled ? ' reconciled' : ''}`,
    )
    const { opened, stream, scenario } = this
    if (!opened) {
      this.check(false, 'append before ready')
      return
    }
    this.check(!this.error && !this.isClosed, 'append after the end')
    this.check(opened.isAccurate, 'append acknowledged after a wrong tail')
    this.check(info.position === opened.position + this.acknowledged, 'append: a gap or an overlap')
    this.check(info.nextPosition === info.position + info.length, 'append: wrong length')
    this.check(info.length <= scenario.highWaterMark, 'append: longer than highWaterMark')
    this.check(info.length > 0 || this.source.length === 0, 'append of no bytes')
    this.acknowledged += info.length
    this.check(this.acknowledged <= this.written, 'acknowledged more than was written')
    // Two responses in one read move the stream on before the first event.
    const isBetween = scenario.pipelining > 1 && stream.bytesWritten > this.acknowledged
    this.check(
      isBetween || stream.bytesWritten === this.acknowledged,
      'bytesWritten is not the sum of the appends',
    )
    this.check(
      isBetween || stream.position === info.nextPosition,
      'position is not that of the last append',
    )
    this.check(isBetween || stream.crc64 === info.crc64, 'crc64 is not that of the last append')
    this.check(
      info.attempts === this.retriesSinceProgress + 1,
      `${info.attempts} attempts, ${this.retriesSinceProgress} retries`,
    )
    const response = this.server.requests.find(each => each.requestId === info.requestId)
    const isRefused = response?.code === 'PositionNotEqualToLength'
    // In a chain the success of a later append may prove an earlier one.
    const isKnown = info.reconciled === isRefused || (scenario.pipelining > 1 && info.reconciled)
    this.check(isKnown, `reconciled ${info.reconciled}`)
    this.#checkPrefix('append', { position: info.nextPosition, crc64: info.crc64 })
    this.checkBuffered()
    if (info.reconciled) this.verdicts.push({ verdict: 'landed', isLast: this.isLast })
    this.appends.push(info)
    this.retriesSinceProgress = 0
  }

  #onRetry(info: RetryInfo): void {
    const { code } = info.error as Error & { code?: string }
    this.logLine(`retry ${info.attempt} at ${info.position}: ${code} ${info.error.message}`)
    this.check(!this.error && !this.isClosed, 'retry after the end')
    this.retriesSinceProgress += 1
    this.check(
      info.attempt === this.retriesSinceProgress,
      `retry of attempt ${info.attempt}, not ${this.retriesSinceProgress}`,
    )
    const tail = this.opened && this.opened.position + this.acknowledged
    this.check(info.position === tail, `retry at ${info.position}, the tail is ${tail}`)
    this.check(info.delay >= 0 && info.delay <= 3, `retry in ${info.delay} ms`)
    if (code === 'PositionNotEqualToLength' && info.position !== undefined) {
      this.verdicts.push({ verdict: 'absent', isLast: this.isLast })
      this.#checkAbsent()
    }
    this.retries.push(info)
  }

  /** After the verdict "absent" the object is as before, or holds the batch if that arrived late. */
  #checkAbsent(): void {
    const { fired } = this.server.faults
    const isUnseen = !this.scenario.mayRead || fired['HEAD stale'] || fired['HEAD forbidden']
    if (isUnseen || !this.opened?.isAccurate) return
    const { bytes } = this.snapshot()
    const ours = this.expected(
      this.acknowledged + this.scenario.pipelining * this.scenario.highWaterMark,
    )
    const isComplete = bytes.length >= this.expected(this.acknowledged).length
    const isSame = isComplete && bytes.equals(ours.subarray(0, bytes.length))
    this.check(isSame, 'absent, and the object is another one')
  }

  #onFinish(): void {
    this.logLine('finish')
    this.check(!this.error && !this.isFinished, 'finish comes twice, or after an error')
    this.isFinished = true
    this.objectAtEnd = this.snapshot()
    const { bytes, state } = this.objectAtEnd
    this.check(state !== undefined, 'finish without an object')
    const expected = this.expected(this.source.length)
    // A stale HEAD does not show later appends of other writers.
    const isUnseen = this.server.faults.fired['HEAD stale'] !== undefined
    const ours = isUnseen ? bytes.subarray(0, expected.length) : bytes
    this.check(ours.equals(expected), 'finish: the object is not byte-identical')
    this.check(this.acknowledged === this.source.length, 'finish: not all bytes are acknowledged')
    this.check(
      (state?.sealedTime !== undefined) === this.scenario.seal,
      'finish: not sealed as the option says',
    )
  }

  #onError(error: Error): void {
    const { code } = error as Error & { code?: string }
    this.logLine(`error ${code}: ${error.message}`)
    this.check(!this.error && !this.isFinished, 'an error comes twice, or after finish')
    this.error = error
    this.objectAtEnd = this.snapshot()
  }

  #onClose(): void {
    this.logLine('close')
    this.isClosed = true
    this.objectAtEnd ??= this.snapshot()
    this.checkBuffered()
  }

  #checkPrefix(what: string, tail: Tail): void {
    const { opened } = this
    if (!opened) return
    const expected = this.expected(tail.position - opened.position)
    const { bytes } = this.snapshot()
    const prefix = bytes.subarray(0, tail.position)
    // An event in a chain comes later than its response.
    const { fired } = this.server.faults
    const isChanged = Object.keys(fired).some(name => /deleted|replaced/.test(name))
    this.check(
      prefix.equals(expected) || (isChanged && this.scenario.pipelining > 1),
      `${what}: the object differs within its first ${tail.position} bytes`,
    )
    this.check(
      crcOf(expected) === tail.crc64,
      `${what}: wrong CRC of the first ${tail.position} bytes`,
    )
  }
}

export function crcOf(bytes: Buffer): string {
  return crc64OfChunks([bytes], '0')
}
