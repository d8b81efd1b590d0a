/** The progress line, redrawn in place on a terminal, and the text in it. Elsewhere only notes are printed. */

import { formatCount } from '../errors.ts'

/** The part of `OutputStream` that is used, so that tests can replace it. */
export interface Output {
  readonly isTTY?: boolean
  readonly columns?: number
  /** Bytes written and not yet passed on. */
  readonly writableLength?: number
  write(text: string, callback?: () => void): unknown
}

/** Milliseconds between two drawings. */
const REDRAW_INTERVAL = 100
const CLEAR_LINE = '\r\x1b[K'

export class Progress {
  readonly #output: Output
  readonly #describe: (width: number) => string
  readonly #timer: NodeJS.Timeout | undefined

  /** `describe` returns the text of a drawing, `width` columns at most. */
  constructor(describe: (width: number) => string, output: Output) {
    this.#describe = describe
    this.#output = output
    if (output.isTTY) this.#timer = setInterval(() => this.draw(), REDRAW_INTERVAL)
  }

  draw(): void {
    // On a terminal that has stopped (Ctrl-S) drawings would pile up in memory.
    if (!this.#output.isTTY || this.#output.writableLength) return
    // A line that wraps cannot be cleared: each drawing would leave its upper part behind.
    const width = (this.#output.columns || 80) - 1
    this.#output.write(CLEAR_LINE + this.#describe(width).slice(0, width))
  }

  /** Prints a line of text that stays, above the progress line. */
  note(text: string): void {
    this.#output.write(`${this.#output.isTTY ? CLEAR_LINE : ''}${wrapFor(this.#output, text)}\n`)
  }

  /** Removes the progress line. */
  stop(): void {
    clearInterval(this.#timer)
    if (this.#output.isTTY) this.#output.write(CLEAR_LINE)
  }
}

/** On a terminal breaks lines between words, so that each fits. Elsewhere a line stays one line, for `grep`. */
export function wrapFor({ isTTY = false, columns }: Output, text: string): string {
  if (!isTTY) return text
  const width = columns || 80
  return text
    .split('\n')
    .map(line => wrap(line, width))
    .join('\n')
}

/** A line that is continued is indented below its own beginning. */
function wrap(line: string, width: number): string {
  const indent = `${/^ */.exec(line)?.[0]}  `
  let column = 0
  return line
    .split(/(?<=\S)(?= )/)
    .map(word => {
      column += word.length
      if (column <= width || column === word.length) return word
      const moved = indent + word.trimStart()
      column = moved.length
      return `\n${moved}`
    })
    .join('')
}

/** What the progress line shows. */
export interface ProgressState {
  /** Bytes acknowledged. */
  readonly acknowledged: number
  /** Bytes in all. Undefined: unknown. */
  readonly length: number | undefined
  /** Bytes per second, over the last seconds. */
  readonly rate: number
  readonly appends: number
  /** The acknowledged end of the object. Undefined: not known yet. */
  readonly position: number | undefined
  /** Bytes read and not acknowledged. */
  readonly waiting: number
  /** Retries since the last acknowledgement. */
  readonly retries: number
  /** Milliseconds until the next attempt, during an outage. 0: it is on its way. */
  readonly nextAttempt: number
  /** Milliseconds since the last acknowledgement. Undefined: there was none. */
  readonly ackAge: number | undefined
}

const BAR_WIDTH = 10

/**
 * `[####------] 41%  412.0 MiB  103.0 MiB/s  ETA 6 s  8.0 MiB waiting  ack 0.3 s ago  103 appends  at 412.0 MiB`,
 * and in an outage `3 retries, next in 4 s` in place of rate and ETA. Parts that do not fit are left out, from the
 * first such part on.
 */
export function describeProgress(state: ProgressState, width: number): string {
  const { acknowledged, length, rate, appends, position, waiting, retries, nextAttempt } = state
  const { ackAge } = state
  const parts: string[] = []
  if (length) {
    const fraction = Math.min(1, acknowledged / length)
    const bar = '#'.repeat(Math.floor(fraction * BAR_WIDTH)).padEnd(BAR_WIDTH, '-')
    parts.push(`[${bar}] ${Math.floor(fraction * 100)}%`)
  }
  parts.push(formatBytes(acknowledged))
  if (retries > 0) {
    const next = nextAttempt > 0 ? `next in ${formatTime(nextAttempt / 1000)}` : 'trying'
    parts.push(`${formatCount(retries, 'retry', 'retries')}, ${next}`)
  } else {
    parts.push(`${formatBytes(rate)}/s`)
    if (length && rate > 0 && acknowledged < length) {
      parts.push(`ETA ${formatTime((length - acknowledged) / rate)}`)
    }
  }
  if (waiting > 0) parts.push(`${formatBytes(waiting)} waiting`)
  if (ackAge !== undefined) parts.push(`ack ${(ackAge / 1000).toFixed(1)} s ago`)
  parts.push(formatCount(appends, 'append'))
  if (position !== undefined) parts.push(`at ${formatBytes(position)}`)
  return parts.reduce((line, part) => {
    const longer = `${line}  ${part}`
    return longer.length > width ? line : longer
  })
}

/** Bytes per second over the last five seconds. */
export class RateMeter {
  readonly #samples: { readonly at: number; readonly bytes: number }[] = []

  /** Takes the time in milliseconds and the bytes acknowledged by then. Returns bytes per second. */
  update(now: number, bytes: number): number {
    const samples = this.#samples
    samples.push({ at: now, bytes })
    while (samples.length > 2 && now - samples[1]!.at >= RATE_WINDOW) samples.shift()
    const [first] = samples
    const elapsed = now - first!.at
    return elapsed > 0 ? ((bytes - first!.bytes) * 1000) / elapsed : 0
  }
}

/** Milliseconds. */
const RATE_WINDOW = 5_000

/** `0 B`, `1.5 KiB`, `64.0 MiB`, `5.0 GiB`. */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${Math.round(bytes)} B`
  const exponent = Math.min(3, Math.floor(Math.log2(bytes) / 10))
  return `${(bytes / 1024 ** exponent).toFixed(1)} ${['KiB', 'MiB', 'GiB'][exponent - 1]}`
}

/** `12 s`, `4 min`, `2.5 h`. */
function formatTime(seconds: number): string {
  if (seconds < 120) return `${Math.ceil(seconds)} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  return `${(seconds / 3600).toFixed(1)} h`
}
