/**
 * Tells what an append stream does while it does it, and what came of it: to people on standard error
 * and in a report on standard output, to programs as JSON on standard output in place of that report.
 * It listens, and decides nothing.
 */

import type { OssAppendStream, ReadyInfo, RetryInfo, RollInfo } from '../index.ts'
import type { Voice } from './commands.ts'
import { errorFields, exitCodeOf } from './failure.ts'
import { Outage } from './outage.ts'
import { describeProgress, type Output, Progress, Speedometer } from './progress.ts'
import { describeDelivery, type Findings } from './report.ts'

export interface Outputs {
  readonly stdout: Output
  readonly stderr: Output
}

/** What is watched. */
export interface Watched {
  readonly stream: OssAppendStream
  /** Bytes that the object or the stream will have at the end, and have now, where both are known. */
  readonly length?: number | undefined
  readonly done: () => number
}

export class Reporter {
  readonly #voice: Voice
  readonly #outputs: Outputs
  readonly #outage = new Outage(text => this.note(text))
  #progress: Progress | undefined
  #appends = 0
  #rolls = 0

  constructor(voice: Voice, outputs: Outputs = process) {
    this.#voice = voice
    this.#outputs = outputs
  }

  /** Appends that are acknowledged. */
  get appends(): number {
    return this.#appends
  }

  /** Objects that were left for the next one. */
  get rolls(): number {
    return this.#rolls
  }

  /** Follows a stream until `stop()`. */
  watch({ stream, length, done }: Watched): void {
    const speedometer = new Speedometer()
    let last: number | undefined
    const describe = (width: number) => {
      const now = performance.now()
      const acknowledged = done()
      const state = {
        acknowledged,
        length,
        rate: speedometer.read(now, acknowledged),
        appends: this.#appends,
        position: stream.position,
        retries: this.#outage.retries,
        age: last === undefined ? undefined : now - last,
      }
      return describeProgress(state, width)
    }
    const { stderr } = this.#outputs
    // A dumb terminal prints what should move it.
    const isMovable = stderr.isTTY && process.env.TERM !== 'dumb'
    const isDrawn = isMovable && !this.#voice.isQuiet && !this.#voice.isJson
    this.#progress = new Progress(
      describe,
      isDrawn ? stderr : { write: text => stderr.write(text) },
    )

    stream.on('ready', (info: ReadyInfo) => {
      this.#outage.ended()
      this.emit('ready', { key: stream.key, ...info })
    })
    stream.on('append', info => {
      last = performance.now()
      this.#appends++
      this.#outage.ended()
      this.emit('append', { ...info })
    })
    stream.on('roll', (info: RollInfo) => {
      this.#rolls++
      this.emit('roll', { ...info })
    })
    stream.on('retry', (info: RetryInfo) => {
      this.#outage.failed(info.error)
      this.emitRetry(info)
    })
  }

  emitRetry({ error, ...info }: RetryInfo): void {
    this.emit('retry', { ...info, error: errorFields(error) })
  }

  /** A line for people, which stays. */
  note(text: string): void {
    if (this.#voice.isQuiet) return
    const line = `oss-append: ${text}`
    if (this.#progress) this.#progress.note(line)
    else this.#outputs.stderr.write(`${line}\n`)
  }

  /** One object for programs. */
  emit(event: string, fields: Readonly<Record<string, unknown>>): void {
    if (!this.#voice.isJson) return
    const time = new Date().toISOString()
    this.#outputs.stdout.write(`${JSON.stringify({ event, time, ...fields })}\n`)
  }

  /**
   * Resolves when people's part is out, or at the signal: a terminal that has stopped (Ctrl-S) would show it
   * behind the report, which comes by another way.
   */
  drained(signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      if (signal.aborted) resolve()
      signal.addEventListener('abort', () => resolve())
      this.#outputs.stderr.write('', () => resolve())
    })
  }

  /** Everything is acknowledged. `differences` are what the proof found; nothing means verified. */
  finish(findings: Findings, differences: readonly string[]): void {
    // What failed last may have been the seal, which no event tells of.
    this.#outage.ended()
    const { delivery, url } = findings
    const { bytes, sha256, input, isCut: cut, appends, rolls, duration, after } = delivery
    const isVerified = differences.length === 0
    const fields = { url, bytes, sha256, input, cut, appends, rolls, duration, ...after }
    this.emit('finish', { ...fields, verified: isVerified })
    const { isJson, isQuiet } = this.#voice
    if (isJson || isQuiet) return
    this.#outputs.stdout.write(describeDelivery(findings))
    if (isVerified) this.#outputs.stdout.write('verified\n')
  }

  /** It failed. What people read of it is main's. */
  fail(error: unknown): void {
    this.emit('error', { ...errorFields(error), exitCode: exitCodeOf(error) })
  }

  /** Ends the line on the terminal. */
  stop(): void {
    this.#progress?.stop()
    this.#progress = undefined
  }
}
