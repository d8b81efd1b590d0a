/**
 * Prints what an append stream does, and the result. For people: notes and progress on standard error, a
 * report on standard output. With `--json`: events on standard output in place of the report.
 */

import { formatCount } from '../errors.ts'
import type { OssAppendStream, ReadyInfo, RecoverInfo, RetryInfo, RollInfo } from '../index.ts'
import { describeDamage } from '../journal/describe-damage.ts'
import type { OutputMode } from './commands.ts'
import { type ErrorContext, errorEvent, errorFields } from './failure.ts'
import { describeProgress, type Output, Progress, RateMeter, wrapFor } from './progress.ts'
import { type AppendReport, formatReport, type Suspension } from './report.ts'
import { type RetryListener, RetryNotice } from './retry-notice.ts'

export interface Outputs {
  readonly stdout: Output
  readonly stderr: Output
  readonly env: NodeJS.ProcessEnv
}

export interface WatchOptions {
  readonly stream: OssAppendStream
  /** Bytes that `bytesDone` will return at the end. Undefined: unknown. */
  readonly length?: number | undefined
  readonly bytesDone: () => number
  /** Bytes given to the stream. */
  readonly bytesSent: () => number
}

/** Prints retries on standard error, for commands without a reporter. */
export function stderrListener(stderr: Output): RetryListener {
  return { note: text => stderr.write(`${wrapFor(stderr, `oss-append: ${text}`)}\n`) }
}

export class Reporter implements RetryListener {
  readonly #outputMode: OutputMode
  readonly #outputs: Outputs
  readonly #retryNotice = new RetryNotice(text => this.note(text))
  #progress: Progress | undefined
  #appends = 0
  #rolls = 0
  #recovered = 0

  constructor(outputMode: OutputMode, outputs: Outputs) {
    this.#outputMode = outputMode
    this.#outputs = outputs
  }

  /** Number of acknowledged appends. */
  get appends(): number {
    return this.#appends
  }

  /** Number of times that the stream went on to another object. */
  get rolls(): number {
    return this.#rolls
  }

  /** Bytes of earlier runs that came out of the journal. */
  get recovered(): number {
    return this.#recovered
  }

  /** Prints the progress of a stream until `stop()`, and its events. */
  watch({ stream, length, bytesDone, bytesSent }: WatchOptions): void {
    const rateMeter = new RateMeter()
    let lastAckAt: number | undefined
    let nextAttemptAt = 0
    const describe = (width: number) => {
      const now = performance.now()
      const acknowledged = bytesDone()
      const state = {
        acknowledged,
        length,
        rate: rateMeter.update(now, acknowledged),
        appends: this.#appends,
        position: stream.position,
        waiting: bytesSent() - stream.bytesWritten,
        retries: this.#retryNotice.retries,
        nextAttempt: Math.max(0, nextAttemptAt - now),
        ackAge: lastAckAt === undefined ? undefined : now - lastAckAt,
      }
      return describeProgress(state, width)
    }
    const { stderr, env } = this.#outputs
    // A dumb terminal prints control sequences as text.
    const canRedraw = stderr.isTTY && env.TERM !== 'dumb'
    const showsProgress = canRedraw && !this.#outputMode.isQuiet && !this.#outputMode.isJson
    this.#progress = new Progress(
      describe,
      showsProgress ? stderr : { write: text => stderr.write(text) },
    )

    stream.on('ready', (info: ReadyInfo) => {
      this.#retryNotice.onSuccess()
      this.emit('ready', { key: stream.key, ...info })
    })
    stream.on('recover', (info: RecoverInfo) => this.#onRecover(info))
    stream.on('append', info => {
      lastAckAt = performance.now()
      this.#appends++
      this.#retryNotice.onSuccess()
      this.emit('append', { ...info })
    })
    stream.on('roll', (info: RollInfo) => this.onRoll(info))
    stream.on('retry', (info: RetryInfo) => {
      nextAttemptAt = performance.now() + info.delay
      this.#retryNotice.onRetry(info.error)
      this.emitRetry(info)
    })
  }

  #onRecover(info: RecoverInfo): void {
    const { key, bytes, damaged } = info
    this.#recovered += bytes
    this.#retryNotice.onSuccess()
    if (bytes > 0) this.note(`${formatCount(bytes, 'byte')} of an earlier run delivered, to ${key}`)
    for (const damage of damaged) this.note(describeDamage(damage))
    this.emit('recover', { ...info })
  }

  /** The command ends, and the rest stays in the journal. `earlier`: bytes of earlier runs that stay, too. */
  suspend({ journal, bytes, position }: Suspension, earlier: number): void {
    const count = `${formatCount(bytes, 'byte')} of the input`
    const left = earlier > 0 ? `${count} and ${earlier} of earlier runs` : count
    this.note(`${left} stay in ${journal}: the next start delivers them`)
    this.emit('suspend', { journal, bytes, position })
  }

  /** An object was left, complete. */
  onRoll(info: RollInfo): void {
    this.#rolls++
    this.emit('roll', { ...info })
  }

  emitRetry({ error, ...info }: RetryInfo): void {
    this.emit('retry', { ...info, error: errorFields(error) })
  }

  /** Prints a line of text that stays on the terminal. */
  note(text: string): void {
    if (this.#outputMode.isQuiet) return
    const line = `oss-append: ${text}`
    if (this.#progress) this.#progress.note(line)
    else this.#outputs.stderr.write(`${wrapFor(this.#outputs.stderr, line)}\n`)
  }

  /** Prints an event as one line of JSON. */
  emit(event: string, fields: Readonly<Record<string, unknown>>): void {
    if (!this.#outputMode.isJson) return
    const time = new Date().toISOString()
    this.#outputs.stdout.write(`${JSON.stringify({ event, time, ...fields })}\n`)
  }

  /**
   * Resolves when standard error is written, or at the signal. Otherwise a terminal that had stopped
   * (Ctrl-S) would show the notes behind the report, which is another stream.
   */
  drainStderr(signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      if (signal.aborted) resolve()
      signal.addEventListener('abort', () => resolve())
      this.#outputs.stderr.write('', () => resolve())
    })
  }

  /** Prints the result. `differences`: what the object has other than what was sent. Empty: verified. */
  finish(report: AppendReport, differences: readonly string[]): void {
    // The seal may have been retried, and no event follows its success.
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

  /** Prints the event `'error'`. `main` prints the text for people. */
  fail(error: unknown, context: ErrorContext = {}): void {
    this.emit('error', errorEvent(error, context))
  }

  /** Removes the progress line. */
  stop(): void {
    this.#progress?.stop()
    this.#progress = undefined
  }
}
