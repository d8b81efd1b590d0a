/**
 * Tells what an append stream does while it does it, and what came of it: to people on standard error
 * and in a report on standard output, to programs as JSON on standard output in place of that report.
 * It listens, and decides nothing.
 */

import type { OssAppendStream, ReadyInfo, RetryInfo, RollInfo } from '../index.ts'
import type { OutputMode } from './commands.ts'
import { errorFields, exitCodeOf } from './failure.ts'
import { describeProgress, type Output, Progress, RateMeter } from './progress.ts'
import { type AppendReport, formatReport } from './report.ts'
import { RetryNotice } from './retry-notice.ts'

export interface Outputs {
  readonly stdout: Output
  readonly stderr: Output
}

/** What is watched. */
export interface WatchOptions {
  readonly stream: OssAppendStream
  /** Bytes that the object or the stream will have at the end, and have now, where both are known. */
  readonly length?: number | undefined
  readonly bytesDone: () => number
}

export class Reporter {
  readonly #outputMode: OutputMode
  readonly #outputs: Outputs
  readonly #retryNotice = new RetryNotice(text => this.note(text))
  #progress: Progress | undefined
  #appends = 0
  #rolls = 0

  constructor(outputMode: OutputMode, outputs: Outputs = process) {
    this.#outputMode = outputMode
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
  watch({ stream, length, bytesDone }: WatchOptions): void {
    const rateMeter = new RateMeter()
    let lastAckAt: number | undefined
    const describe = (width: number) => {
      const now = performance.now()
      const acknowledged = bytesDone()
      const state = {
        acknowledged,
        length,
        rate: rateMeter.update(now, acknowledged),
        appends: this.#appends,
        position: stream.position,
        retries: this.#retryNotice.retries,
        ackAge: lastAckAt === undefined ? undefined : now - lastAckAt,
      }
      return describeProgress(state, width)
    }
    const { stderr } = this.#outputs
    // A dumb terminal prints what should move it.
    const canRedraw = stderr.isTTY && process.env.TERM !== 'dumb'
    const showsProgress = canRedraw && !this.#outputMode.isQuiet && !this.#outputMode.isJson
    this.#progress = new Progress(
      describe,
      showsProgress ? stderr : { write: text => stderr.write(text) },
    )

    stream.on('ready', (info: ReadyInfo) => {
      this.#retryNotice.onSuccess()
      this.emit('ready', { key: stream.key, ...info })
    })
    stream.on('append', info => {
      lastAckAt = performance.now()
      this.#appends++
      this.#retryNotice.onSuccess()
      this.emit('append', { ...info })
    })
    stream.on('roll', (info: RollInfo) => {
      this.#rolls++
      this.emit('roll', { ...info })
    })
    stream.on('retry', (info: RetryInfo) => {
      this.#retryNotice.onRetry(info.error)
      this.emitRetry(info)
    })
  }

  emitRetry({ error, ...info }: RetryInfo): void {
    this.emit('retry', { ...info, error: errorFields(error) })
  }

  /** A line for people, which stays. */
  note(text: string): void {
    if (this.#outputMode.isQuiet) return
    const line = `oss-append: ${text}`
    if (this.#progress) this.#progress.note(line)
    else this.#outputs.stderr.write(`${line}\n`)
  }

  /** One object for programs. */
  emit(event: string, fields: Readonly<Record<string, unknown>>): void {
    if (!this.#outputMode.isJson) return
    const time = new Date().toISOString()
    this.#outputs.stdout.write(`${JSON.stringify({ event, time, ...fields })}\n`)
  }

  /**
   * Resolves when people's part is out, or at the signal: a terminal that has stopped (Ctrl-S) would show it
   * behind the report, which comes by another way.
   */
  drainStderr(signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      if (signal.aborted) resolve()
      signal.addEventListener('abort', () => resolve())
      this.#outputs.stderr.write('', () => resolve())
    })
  }

  /** Everything is acknowledged. `differences` are what the proof found; nothing means verified. */
  finish(report: AppendReport, differences: readonly string[]): void {
    // What failed last may have been the seal, which no event tells of.
    this.#retryNotice.onSuccess()
    const { delivery, url } = report
    const { bytes, sha256, input, isCut: cut, appends, rolls, duration, after } = delivery
    const isVerified = differences.length === 0
    const fields = { url, bytes, sha256, input, cut, appends, rolls, duration, ...after }
    this.emit('finish', { ...fields, verified: isVerified })
    const { isJson, isQuiet } = this.#outputMode
    if (isJson || isQuiet) return
    this.#outputs.stdout.write(formatReport(report))
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
