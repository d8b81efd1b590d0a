/**
 * Observes one stream of records: compares each append and each roll with the object, and the ending with the
 * scenario. It collects complaints and does not throw.
 */

import {
  type AppendInfo,
  type OssAppendStream,
  OssError,
  type RetryInfo,
  type RollInfo,
} from '../../lib/index.ts'
import type { OssServer } from '../../lib/server/index.ts'
import { BUCKET } from '../helpers/test-oss.ts'
import { crcOf } from './stream-observer.ts'

export interface RecordObserverOptions {
  readonly server: OssServer
  readonly highWaterMark: number
  readonly maxBytes: number
  readonly longest: number
  readonly sealOnRoll: boolean
  /** All bytes that this stream is to write. */
  readonly source: Buffer
  /** The ends of the records in `source`. */
  readonly recordEnds: ReadonlySet<number>
  /** The name of the fault that may end the stream. */
  readonly fatal: string | undefined
  /** The test destroys the stream. */
  readonly isStopped: boolean
  /** No other writer has appended to the objects. */
  readonly isOnlyWriter: boolean
}

export class RecordObserver {
  readonly complaints: string[] = []
  readonly transcript: string[] = []
  readonly stream: OssAppendStream
  /** Bytes passed to `write()`. */
  written = 0
  acknowledged = 0
  rolls = 0
  retries = 0
  isFinished = false
  error: Error | undefined
  readonly #settings: RecordObserverOptions
  /** The key of the object in use, as far as events have told. */
  #key: string | undefined

  constructor(stream: OssAppendStream, settings: RecordObserverOptions) {
    this.stream = stream
    this.#settings = settings
    stream.on('ready', () => {
      this.#logLine(`ready at ${stream.position} of ${stream.key}`)
      this.#key = stream.key
    })
    stream.on('append', info => this.#onAppend(info))
    stream.on('roll', info => this.#onRoll(info))
    stream.on('retry', info => this.#onRetry(info))
    stream.on('finish', () => {
      this.#logLine('finish')
      this.isFinished = true
    })
    stream.on('error', error => {
      this.#logLine(`error ${(error as OssError).code}: ${error.message}`)
      this.error = error
    })
  }

  check(isRight: boolean, complaint: string): void {
    if (!isRight) this.complaints.push(complaint)
  }

  /** A flush has resolved. @param written Bytes written before its call. */
  onFlushed(written: number): void {
    const { recordEnds } = this.#settings
    let whole = written
    while (whole > 0 && !recordEnds.has(whole)) whole -= 1
    this.check(this.acknowledged >= whole, `flush of ${whole} resolved at ${this.acknowledged}`)
  }

  /** Compares the ending with the scenario, after the stream has closed. */
  checkEnding(): void {
    const { source, fatal, isStopped, server } = this.#settings
    if (this.isFinished) {
      this.check(this.error === undefined, 'an error and a finish')
      this.check(this.acknowledged === source.length, 'finished, and not all acknowledged')
      return
    }
    if (isStopped) return
    const { error } = this
    this.check(error !== undefined, 'neither a finish nor an error')
    this.check(fatal !== undefined, `an error without a fatal fault: ${error?.message}`)
    this.check(server.faults.fired[fatal ?? ''] !== undefined, `failed before ${fatal}`)
    const isOurs = error instanceof OssError && error.bucket === BUCKET && error.key !== undefined
    this.check(isOurs, 'an error without bucket and key')
    if (error instanceof OssError && error.tail) {
      this.check(
        error.tail.position === this.stream.position,
        'the tail of the error is not that of the object',
      )
      this.check(error.key === this.stream.key, 'the tail of the error is not of the object in use')
    }
  }

  #logLine(line: string): void {
    this.transcript.push(line)
  }

  #onAppend({ key, position, nextPosition, length, crc64 }: AppendInfo): void {
    this.#logLine(`append ${key} ${position}-${nextPosition}`)
    const { source, server, recordEnds, highWaterMark, maxBytes, longest } = this.#settings
    const end = this.acknowledged + length
    const ours = source.subarray(this.acknowledged, end)
    const object = server.read(BUCKET, key) ?? Buffer.alloc(0)
    this.check(
      object.subarray(position, nextPosition).equals(ours),
      'append: the object has its bytes',
    )
    this.check(crcOf(object.subarray(0, nextPosition)) === crc64, 'append: the CRC of the object')
    this.check(recordEnds.has(end), `append: it ends within a record, at ${end}`)
    this.check(length <= Math.max(highWaterMark, longest), `append: ${length} bytes`)
    const isOnlyRecord = position === 0 && length <= longest
    this.check(
      nextPosition <= maxBytes || isOnlyRecord,
      `append: up to ${nextPosition} of ${maxBytes}`,
    )
    // There is no roll event for an object that was never created.
    const isLeft = this.#key !== undefined && this.#key !== key && server.read(BUCKET, this.#key)
    this.check(!isLeft, 'append: another object without a roll')
    this.check(!this.error && !this.stream.closed, 'append: after the end')
    this.acknowledged = end
    this.check(this.stream.bytesWritten === end, 'bytesWritten is the sum of appends')
    this.#key = key
  }

  #onRoll({ key, bytes, crc64 }: RollInfo): void {
    this.#logLine(`roll ${key} ${bytes}`)
    const { server, sealOnRoll, isOnlyWriter } = this.#settings
    this.rolls += 1
    this.check(this.#key === undefined || this.#key === key, 'roll: of the object in use')
    const object = server.read(BUCKET, key) ?? Buffer.alloc(0)
    this.check(crcOf(object.subarray(0, bytes)) === crc64, 'roll: the CRC of the object')
    this.check(object.length === bytes || !isOnlyWriter, `roll: ${bytes} of ${object.length} bytes`)
    const isSealed = server.stat(BUCKET, key)?.sealedTime !== undefined
    this.check(isSealed === sealOnRoll, `roll: sealed ${isSealed}`)
    this.#key = undefined
  }

  #onRetry({ attempt, error, position }: RetryInfo): void {
    this.#logLine(`retry ${attempt} at ${position}: ${error.message}`)
    this.retries += 1
    this.check(!this.error && !this.stream.closed, 'retry: after the end')
  }
}
