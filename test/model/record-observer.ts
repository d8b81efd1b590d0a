/**
 * Watches one life of a stream of records from the outside: each acknowledgement against the object it
 * tells of, each roll against the object that was left, and the ending against what was to end it.
 * Complaints are collected, never thrown.
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
  /** What this life will write, if it comes to that. */
  readonly source: Buffer
  /** Where records end in it. */
  readonly recordEnds: ReadonlySet<number>
  /** The name of the fault that may end it. */
  readonly fatal: string | undefined
  /** The user ends it before its time. */
  readonly isStopped: boolean
  /** Nobody else has put bytes into the objects. */
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
  /** The object that is in use, as far as was told. */
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

  /** A flush that was asked for when so much was written has resolved. */
  onFlushed(written: number): void {
    const { recordEnds } = this.#settings
    let whole = written
    while (whole > 0 && !recordEnds.has(whole)) whole -= 1
    this.check(this.acknowledged >= whole, `flush of ${whole} resolved at ${this.acknowledged}`)
  }

  /** After its end: it came as it was to come. */
  checkEnding(): void {
    const { source, fatal, isStopped, server } = this.#settings
    if (this.isFinished) {
      this.check(this.error === undefined, 'an error and a finish')
      this.check(this.acknowledged === source.length, 'finished, and not all acknowledged')
      return
    }
    if (isStopped) return
    const { error } = this
    this.check(error !== undefined, 'neither finish nor error')
    this.check(fatal !== undefined, `an error, and nothing was to be fatal: ${error?.message}`)
    this.check(server.faults.fired[fatal ?? ''] !== undefined, `failed before ${fatal}`)
    const isOurs = error instanceof OssError && error.bucket === BUCKET && error.key !== undefined
    this.check(isOurs, 'an error that does not say which object')
    if (error instanceof OssError && error.tail) {
      this.check(error.tail.position === this.stream.position, 'its tail is not that of the object')
      this.check(error.key === this.stream.key, 'a tail, and not of the object in use')
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
    this.check(object.subarray(position, nextPosition).equals(ours), 'append: its bytes are there')
    this.check(crcOf(object.subarray(0, nextPosition)) === crc64, 'append: the CRC of the object')
    this.check(recordEnds.has(end), `append: it ends within a record, at ${end}`)
    this.check(length <= Math.max(highWaterMark, longest), `append: ${length} bytes`)
    const isOnlyRecord = position === 0 && length <= longest
    this.check(
      nextPosition <= maxBytes || isOnlyRecord,
      `append: up to ${nextPosition} of ${maxBytes}`,
    )
    // An object that never came to be is left in silence.
    const isLeft = this.#key !== undefined && this.#key !== key && server.read(BUCKET, this.#key)
    this.check(!isLeft, 'append: another object, and no roll')
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
