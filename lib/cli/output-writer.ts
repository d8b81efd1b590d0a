/** Writes to standard output as fast as its reader reads. */

import type { OutputStream } from './commands.ts'
import { OutputError } from './failure.ts'

/** Listens to the output until `dispose()`. */
export class OutputWriter {
  readonly #output: OutputStream
  readonly #signal: AbortSignal
  #error: NodeJS.ErrnoException | undefined
  #resume: (() => void) | undefined

  constructor(output: OutputStream, signal: AbortSignal) {
    this.#output = output
    this.#signal = signal
    output.on('error', this.#onError)
    output.on('drain', this.#onWake)
    signal.addEventListener('abort', this.#onWake)
  }

  /** False if the reader has closed its end. Rejects when the signal is aborted, and with `OutputError`. */
  async write(chunk: Buffer | string): Promise<boolean> {
    const isFree = this.#output.write(chunk)
    const isOver = this.#error || this.#output.destroyed || this.#signal.aborted
    if (!isFree && !isOver) await new Promise<void>(resolve => (this.#resume = resolve))
    this.#signal.throwIfAborted()
    if (this.#error && this.#error.code !== 'EPIPE') throw new OutputError(this.#error)
    return this.#error === undefined && !this.#output.destroyed
  }

  dispose(): void {
    this.#output.off('error', this.#onError)
    this.#output.off('drain', this.#onWake)
    this.#signal.removeEventListener('abort', this.#onWake)
  }

  readonly #onWake = () => this.#resume?.()

  readonly #onError = (error: NodeJS.ErrnoException) => {
    this.#error = error
    this.#onWake()
  }
}
