/**
 * Reading that outlasts bad networks: the exchanges of an `ObjectReader`, tried again by the rules of
 * every append, and a range taken up where it broke off.
 */

import { classifyError } from '../append/classify-error.ts'
import { RetryLoop } from '../append/retry-loop.ts'
import { systemClock } from '../clock.ts'
import { OssError } from '../errors.ts'
import type { ClientOptions, Target } from '../index.ts'
import { DEFAULT_RETRY } from '../options.ts'
import { type ObjectHead, ObjectReader } from './reader.ts'
import { type RetryListener, RetryNotice } from './retry-notice.ts'

export interface RetryingReaderOptions {
  readonly signal: AbortSignal
  /** Milliseconds from the first failure since the last success, or Infinity. */
  readonly maxElapsed: number
  /** Who is told of outages. Default: whoever reads standard error. */
  readonly reporter?: RetryListener
}

export class RetryingReader {
  readonly #reader: ObjectReader
  readonly #signal: AbortSignal
  readonly #retryLoop: RetryLoop
  readonly #retryNotice: RetryNotice

  constructor(options: ClientOptions, { signal, maxElapsed, reporter }: RetryingReaderOptions) {
    this.#retryNotice = new RetryNotice(text => {
      if (reporter) reporter.note(text)
      else process.stderr.write(`oss-append: ${text}\n`)
    })
    this.#reader = new ObjectReader(options)
    this.#signal = signal
    this.#retryLoop = new RetryLoop({
      clock: systemClock,
      retry: { ...DEFAULT_RETRY, maxElapsed },
      onRetry: info => {
        this.#retryNotice.onRetry(info.error)
        reporter?.emitRetry(info)
      },
    })
    this.#retryLoop.keepProcessAlive()
    if (signal.aborted) this.#retryLoop.abort(signal.reason)
    else
      signal.addEventListener('abort', () => this.#retryLoop.abort(signal.reason), { once: true })
  }

  /** Null where there is no such object. */
  head(target: Target): Promise<ObjectHead | null> {
    return this.retry(() => this.#reader.head(target, this.#signal))
  }

  /** The bytes from `start` to before `end`, all of them. */
  async *read(target: Target, start: number, end: number): AsyncGenerator<Buffer> {
    for (let position = start; position < end; ) {
      const { chunks, first } = await this.retry(() => this.#openRange(target, position, end))
      yield first
      position += first.length
      try {
        for await (const chunk of chunks) {
          yield chunk
          position += chunk.length
        }
      } catch (error) {
        // It has come further, so this is no failed attempt but a new start.
        if (this.#signal.aborted || classifyError(error) === 'final') throw error
      }
    }
  }

  close(): Promise<void> {
    return this.#reader.close()
  }

  /** Any exchange, tried again by the same rules. */
  async retry<T>(attempt: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const result = await this.#retryLoop.run(undefined, () => this.#retryLoop.exchange(attempt))
    this.#retryNotice.onSuccess()
    return result
  }

  /** An answer counts from its first byte. */
  async #openRange(target: Target, start: number, end: number) {
    const chunks = this.#reader.read(target, { start, end, signal: this.#signal })
    const { value: first } = await chunks.next()
    if (first) return { chunks, first }
    throw new OssError('OSS_ERR_NETWORK', 'an answer without the bytes that it announced')
  }
}
