/**
 * What the server has seen, for tests and benchmarks: one record for each request, begun when its
 * headers arrive and completed as it goes on. The oldest are dropped. No secret is kept: neither
 * the Authorization header nor a security token.
 */

import type { IncomingMessage } from 'node:http'
import type { Operation } from './request.ts'

/** One request. Times are `performance.now()`; lengths are bytes. */
export interface RequestRecord {
  /** As the answer's `x-oss-request-id`. */
  readonly requestId: string
  /** `POST`, `HEAD`, ... */
  readonly method: string
  /** As it came, still encoded. */
  readonly target: string
  /** Lower-case names, without `authorization` and `x-oss-security-token`. */
  readonly headers: Readonly<Record<string, string>>
  /** The client's port: the same for all requests of one connection. */
  readonly remotePort: number
  /** When the headers had come. */
  readonly received: number
  /** What was asked for; absent when the request made no sense, as the next three are. */
  operation?: Operation
  /** Of host or path. */
  bucket?: string
  /** Decoded. */
  key?: string
  /** Decoded; a bare name has the value ''. Without token and signature. */
  query?: Readonly<Record<string, string>>
  /** Of an append or a seal, as a number; NaN when it is none. */
  position?: number
  /** Who signed it. */
  accessKeyId?: string
  /** Bytes of body that were read. */
  length: number
  /** When the body had come. */
  bodyRead?: number
  /** The faults that struck, each by its name or else its kind. */
  faults?: readonly string[]
  /** Status by the rules; differs from `status` when a fault hid, changed or delayed it. */
  outcome?: number
  /** What was answered; absent when nothing was, or no HTTP. */
  status?: number
  /** OSS's error code, if the answer had one. */
  code?: string
  /** When the last byte of the answer had left, or the connection was gone. */
  answered?: number
}

const MAX_RECORDS = 10_000
const SECRET_HEADERS = ['authorization', 'x-oss-security-token']
/** V4's names and V1's. */
const SECRET_PARAMETER = /((?:x-oss-)?(?:security-token|signature)=)[^&]*/gi

/** Adds a record for a request to `log`, which keeps the last 10,000. */
export function addRecord(log: RequestRecord[], req: IncomingMessage, requestId: string) {
  const headers: Record<string, string> = {}
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    const name = req.rawHeaders[i]!.toLowerCase()
    if (!SECRET_HEADERS.includes(name)) headers[name] = req.rawHeaders[i + 1]!
  }
  const record: RequestRecord = {
    requestId,
    method: req.method ?? '',
    target: (req.url ?? '').replace(SECRET_PARAMETER, '$1...'),
    headers,
    remotePort: req.socket.remotePort ?? 0,
    received: performance.now(),
    length: 0,
  }
  log.push(record)
  if (log.length > MAX_RECORDS) log.shift()
  return record
}
