/** A real bucket: streams to it, and single requests that no stream sends. */

import { randomUUID } from 'node:crypto'
import { type ClientRequest, request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { Agent, type Dispatcher } from 'undici'
import { findEndpoint } from '../../lib/client/create-exchange.ts'
import { createCredentialSource } from '../../lib/client/credentials.ts'
import { encodePath, locate } from '../../lib/client/endpoint.ts'
import { encodeQuery, sign } from '../../lib/client/sign-v4.ts'
import {
  type AppendStreamOptions,
  createAppendStream,
  type OssAppendStream,
  OssClient,
} from '../../lib/index.ts'

export interface BucketRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE'
  readonly key: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer | string
}

export interface BucketResponse {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** OSS's error code, from the body or from `x-oss-err`. */
  readonly code: string | undefined
}

export interface Bucket {
  readonly name: string
  /** The client that the streams share. */
  readonly client: OssClient
  /** For a stream or a client of its own: the statuses of its responses count too. */
  readonly dispatcher: Dispatcher
  /** The number of responses with each status, to `send()` and to the streams. */
  readonly statuses: ReadonlyMap<number, number>
  newKey(suffix?: string): string
  /** Adds a key that `clear()` deletes too. */
  trackKey(key: string): void
  /** Opens a stream. It has an `'error'` listener: a failure shows in what the stream was to do. */
  open(key: string, more?: Partial<AppendStreamOptions>): OssAppendStream
  send(options: BucketRequest): Promise<BucketResponse>
  /** Starts a request. The caller writes its body. */
  startRequest(options: BucketRequest): Promise<ClientRequest>
  read(key: string): Promise<Buffer>
  /** Destroys all streams and deletes all keys. Resolves with the keys that are left, each with the reason. */
  clear(): Promise<string[]>
}

function countStatuses(count: (status: number) => void): Dispatcher.DispatcherComposeInterceptor {
  return dispatch => (options, handler) =>
    dispatch(options, {
      onRequestStart: (controller, context) => handler.onRequestStart?.(controller, context),
      onResponseStart(controller, status, headers, message) {
        count(status)
        handler.onResponseStart?.(controller, status, headers, message)
      },
      onResponseData: (controller, chunk) => handler.onResponseData?.(controller, chunk),
      onResponseEnd: (controller, trailers) => handler.onResponseEnd?.(controller, trailers),
      onResponseError: (controller, error) => handler.onResponseError?.(controller, error),
    })
}

/** Opens a bucket with the settings of the environment. @throws {OssError} A setting is missing. */
export async function openBucket(name: string): Promise<Bucket> {
  const endpoint = findEndpoint({})
  const source = createCredentialSource(undefined)
  const folder = `oss-append-stream-live/${randomUUID()}`
  const keys: string[] = []
  const streams: OssAppendStream[] = []
  const statuses = new Map<number, number>()
  const count = (status: number) => void statuses.set(status, (statuses.get(status) ?? 0) + 1)
  const dispatcher = new Agent().compose(countStatuses(count))
  const client = new OssClient({ dispatcher })

  async function startRequest({
    method,
    key,
    query = {},
    headers = {},
  }: BucketRequest): Promise<ClientRequest> {
    const target = { bucket: name, key }
    const identity = { credentials: await source.get(), region: endpoint.region, date: new Date() }
    const { origin, path } = locate(endpoint, target)
    const text = encodeQuery(query)
    const request = origin.startsWith('https:') ? httpsRequest : httpRequest
    const { hostname, port } = new URL(origin)
    return request({
      host: hostname.replace(/^\[|\]$/g, ''),
      port,
      method,
      path: text === '' ? path : `${path}?${text}`,
      headers: { ...headers, ...sign({ method, target, query, headers }, identity) },
    })
  }

  async function send(options: BucketRequest): Promise<BucketResponse> {
    const body = Buffer.from(options.body ?? '')
    const length = options.body === undefined ? {} : { 'content-length': String(body.length) }
    const request = await startRequest({ ...options, headers: { ...length, ...options.headers } })
    const response = await new Promise<BucketResponse>((resolve, reject) => {
      request.on('error', reject).on('response', async response => {
        try {
          const chunks: Buffer[] = await response.toArray()
          const whole = Buffer.concat(chunks)
          const encoded = response.headers['x-oss-err']
          const xml = encoded === undefined ? whole : Buffer.from(String(encoded), 'base64')
          const code = /<Code>(.*?)<\/Code>/.exec(xml.toString('latin1', 0, 65_536))?.[1]
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: whole,
            code,
          })
        } catch (error) {
          reject(error)
        }
      })
      request.end(body)
    })
    count(response.status)
    return response
  }

  /** Deletes an object. Resolves with the reason if that fails. */
  async function remove(key: string): Promise<string | undefined> {
    try {
      const { status, code } = await send({ method: 'DELETE', key })
      const isGone = (status >= 200 && status < 300) || status === 404
      return isGone ? undefined : `${status} ${code}`
    } catch (error) {
      return (error as Error).message
    }
  }

  return {
    name,
    client,
    dispatcher,
    statuses,
    newKey(suffix = '.log') {
      keys.push(`${folder}/${keys.length}${suffix}`)
      return keys.at(-1) as string
    },
    trackKey: key => void keys.push(key),
    open(key, more) {
      const stream = createAppendStream({ bucket: name, key, client, ...more })
      streams.push(stream.on('error', () => {}))
      return stream
    },
    send,
    startRequest,
    async read(key) {
      const { status, code, body } = await send({ method: 'GET', key })
      if (status !== 200) throw new Error(`cannot read ${encodePath(key)}: ${status} ${code}`)
      return body
    },
    async clear() {
      // A stream that still retries would create its object again.
      for (const stream of streams) {
        // `once` of node:events would reject with the error of the destroyed stream.
        if (!stream.closed) await new Promise(resolve => stream.once('close', resolve).destroy())
      }
      const left: string[] = []
      for (const key of keys) {
        const reason = await remove(key)
        if (reason !== undefined) left.push(`${key}: ${reason}`)
      }
      await client.close()
      await dispatcher.close()
      return left
    },
  }
}
