/**
 * Reads objects over unreliable networks: the exchanges of an `ObjectReader`, retried by the same rules as
 * appends. A range that breaks off is requested again from where it stopped.
 */

import { classifyError } from '../append/classify-error.ts'
import { RetryLoop } from '../append/retry-loop.ts'
import type { ListedObject } from '../client/list-objects.ts'
import { systemClock } from '../clock.ts'
import { OssError } from '../errors.ts'
import type { ClientOptions, Target } from '../index.ts'
import { DEFAULT_RETRY } from '../options.ts'
import { type ObjectHead, ObjectReader } from './reader.ts'
import { type RetryListener, RetryNotice } from './retry-notice.ts'

export interface RetryingReaderOptions {
  readonly signal: AbortSignal
  /** Milliseconds of retrying, from the first failure since the last success, or Infinity. */
  readonly maxElapsed: number
  readonly listener: RetryListener
}

export class RetryingReader {
  readonly #reader: ObjectReader
  readonly #signal: AbortSignal
  readonly #retryLoop: RetryLoop
  readonly #retryNotice: RetryNotice

  constructor(options: ClientOptions, { signal, maxElapsed, listener }: RetryingReaderOptions) {
    this.#retryNotice = new RetryNotice(text => listener.note(text))
    this.#reader = new ObjectReader(options)
    this.#signal = signal
    this.#retryLoop = new RetryLoop({
      clock: systemClock,
      retry: { ...DEFAULT_RETRY, maxElapsed },
      onRetry: info => {
        this.#retryNotice.onRetry(info.error)
        listener.emitRetry?.(info)
      },
    })
    this.#retryLoop.keepProcessAlive()
    if (signal.aborted) this.#retryLoop.abort(signal.reason)
    else
      signal.addEventListener('abort', () => this.#retryLoop.abort(signal.reason), { once: true })
  }

  /** Null if the object does not exist. */
  head(target: Target): Promise<ObjectHead | null> {
    return this.#retry(() => this.#reader.head(target, this.#signal))
  }

  /** The bytes from `start` up to, and without, `end`. */
  async *read(target: Target, start: number, end: number): AsyncGenerator<Buffer> {
    for (let position = start; position < end; ) {
      const { chunks, first } = await this.#retry(() => this.#openRange(target, position, end))
      yield first
      position += first.length
      try {
        for await (const chunk of chunks) {
          yield chunk
          position += chunk.length
        }
      } catch (error) {
        // Bytes have arrived, so the next request is a new operation, and not a retry of this one.
        if (this.#signal.aborted || classifyError(error) === 'final') throw error
      }
    }
  }

  /** The objects of a bucket whose keys begin with `prefix`, in the order of their keys. */
  async *list(bucket: string, prefix: string): AsyncGenerator<ListedObject> {
    let token: string | undefined
    do {
      const request = { bucket, prefix, token, signal: this.#signal }
      const page = await this.#retry(() => this.#reader.list(request))
      yield* page.objects
      // A server that repeats its token sends the same page for ever.
      if (token !== undefined && page.next === token) throw repeatedPageError()
      token = page.next
    } while (token !== undefined)
  }

  close(): Promise<void> {
    return this.#reader.close()
  }

  async #retry<T>(attempt: () => Promise<T>): Promise<T> {
    const result = await this.#retryLoop.run(undefined, () => this.#retryLoop.exchange(attempt))
    this.#retryNotice.onSuccess()
    return result
  }

  /** Resolves with the first bytes: a response counts as a success only when they have arrived. */
  async #openRange(target: Target, start: number, end: number) {
    const chunks = this.#reader.read(target, { start, end, signal: this.#signal })
    const { value: first } = await chunks.next()
    if (first) return { chunks, first }
    throw new OssError('OSS_ERR_NETWORK', 'a response without the bytes that it announced')
  }
}

function repeatedPageError(): OssError {
  const problem =
    'a list of objects that does not end: the token of a page is that of the page before'
  return new OssError('OSS_ERR_NETWORK', problem)
}
