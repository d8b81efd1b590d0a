/**
 * The line on a terminal that says how far things are, redrawn in its place. On anything else it
 * prints nothing, apart from what `note` is told.
 */

/** The part of a terminal, or of what stands in for one, that is needed. */
export interface Output {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

/** Milliseconds between two drawings: often enough for an eye. */
const INTERVAL = 100
const CLEAR = '\r\x1b[K'

export class Progress {
  readonly #output: Output
  readonly #describe: () => string
  readonly #timer: NodeJS.Timeout | undefined

  /** `describe` makes the text, at each drawing. */
  constructor(describe: () => string, output: Output = process.stderr) {
    this.#describe = describe
    this.#output = output
    if (output.isTTY) this.#timer = setInterval(() => this.draw(), INTERVAL)
  }

  draw(): void {
    if (!this.#output.isTTY) return
    // A line that wraps cannot be redrawn: each drawing would leave its upper part behind.
    const width = (this.#output.columns || 80) - 1
    this.#output.write(CLEAR + this.#describe().slice(0, width))
  }

  /** Prints a line that stays. */
  note(text: string): void {
    this.#output.write(`${this.#output.isTTY ? CLEAR : ''}${text}\n`)
  }

  /** Removes the line. */
  stop(): void {
    clearInterval(this.#timer)
    if (this.#output.isTTY) this.#output.write(CLEAR)
  }
}

/** `412.0 MiB  103.0 MiB/s  103 appends  41%`; times in milliseconds. */
export function describeProgress(state: {
  readonly acknowledged: number
  readonly elapsed: number
  readonly appends: number
  readonly length: number | undefined
}): string {
  const { acknowledged, elapsed, appends, length } = state
  const parts = [
    formatBytes(acknowledged),
    `${formatBytes((acknowledged * 1000) / Math.max(elapsed, 1))}/s`,
    `${appends} ${appends === 1 ? 'append' : 'appends'}`,
  ]
  if (length) parts.push(`${Math.min(100, Math.floor((acknowledged / length) * 100))}%`)
  return parts.join('  ')
}

/** `0 B`, `1.5 KiB`, `64.0 MiB`, `5.0 GiB`. */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${Math.round(bytes)} B`
  const exponent = Math.min(3, Math.floor(Math.log2(bytes) / 10))
  return `${(bytes / 1024 ** exponent).toFixed(1)} ${['KiB', 'MiB', 'GiB'][exponent - 1]}`
}
