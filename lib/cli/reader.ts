/**
 * Reads objects of OSS for the command: HEAD, ranged GET and lists, one exchange per call. Without retries:
 * those belong to `retrying-reader.ts`.
 */

import type { RangeRequest } from '../append/client-interface.ts'
import { createExchange } from '../client/create-exchange.ts'
import type { Exchange } from '../client/exchange.ts'
import { type ListRequest, listObjects, type ObjectPage } from '../client/list-objects.ts'
import { readRange } from '../client/read-range.ts'
import { type ResponseHeaders, readHead } from '../client/response.ts'
import type { ClientOptions, Head, Target } from '../index.ts'

/** The metadata of an object, as far as HEAD shows it. */
export interface ObjectHead extends Omit<Head, 'requestId'> {
  readonly headers: ResponseHeaders
}

export class ObjectReader {
  readonly #exchange: Exchange

  /** Takes the options of `OssClient`. */
  constructor(options: ClientOptions) {
    this.#exchange = createExchange(options)
  }

  /** Null if there is no such object. */
  async head(target: Target, signal: AbortSignal): Promise<ObjectHead | null> {
    this.#exchange.checkBucket(target.bucket)
    const response = await this.#exchange.head(target, { signal })
    return response && { ...readHead(response), headers: response.headers }
  }

  /** The bytes from `start` to before `end`. Leaving the loop early destroys the connection. */
  async *read(target: Target, range: RangeRequest): AsyncGenerator<Buffer> {
    this.#exchange.checkBucket(target.bucket)
    const { body } = await readRange(this.#exchange, target, range)
    yield* body
  }

  /** One page of the objects of a bucket. */
  async list(request: ListRequest): Promise<ObjectPage> {
    this.#exchange.checkBucket(request.bucket)
    return listObjects(this.#exchange, request)
  }

  /** Destroys all connections, unless they belong to a dispatcher of the caller. */
  close(): Promise<void> {
    return this.#exchange.close()
  }
}
