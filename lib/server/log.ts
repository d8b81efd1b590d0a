/**
 * The log of requests, for tests and benchmarks. A record begins when the headers of a request arrive, and
 * is completed as the request goes on. The oldest records are dropped. No secret is kept: neither the
 * Authorization header nor a security token.
 */

import type { IncomingMessage } from 'node:http'
import type { Operation, OssRequest } from './request.ts'

/** One request. Times are `performance.now()`, lengths are bytes. */
export interface RequestRecord {
  /** The response's `x-oss-request-id`. */
  readonly requestId: string
  /** `POST`, `HEAD`, ... */
  readonly method: string
  /** Path and query as they arrived, still encoded. */
  readonly target: string
  /** Lower-case names, without `authorization` and `x-oss-security-token`. */
  readonly headers: Readonly<Record<string, string>>
  /** The client's port: the same for all requests of one connection. */
  readonly remotePort: number
  /** When the headers had arrived. */
  readonly received: number
  /** What the request asks for. Absent, as the next three are, if the request could not be parsed. */
  operation?: Operation
  /** From the host or the path. */
  bucket?: string
  /** Decoded. */
  key?: string
  /** Decoded; a bare name has the value ''. Without token and signature. */
  query?: Readonly<Record<string, string>>
  /** Of an append or a seal; NaN if it is not a number. */
  position?: number
  /** The access key that signed the request. */
  accessKeyId?: string
  /** Bytes of the body that were read. */
  length: number
  /** When the whole body had arrived. */
  bodyRead?: number
  /** The faults that struck, each by its name or else its kind. */
  faults?: readonly string[]
  /** The status by the rules. It differs from `status` if a fault hid, changed or delayed it. */
  outcome?: number
  /** The status that was sent; absent if none was, or no HTTP. */
  status?: number
  /** The OSS error code that was sent, if any. */
  code?: string
  /** When the last byte of the response had left, or the connection had closed. */
  answered?: number
}

const MAX_RECORDS = 10_000
const SECRET_HEADERS = ['authorization', 'x-oss-security-token']
/** The names of V4 and of V1. */
const SECRET_PARAMETERS = ['x-oss-security-token', 'security-token', 'x-oss-signature', 'Signature']
const SECRET_IN_TARGET = new RegExp(`((?:${SECRET_PARAMETERS.join('|')})=)[^&]*`, 'gi')

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
    target: (req.url ?? '').replace(SECRET_IN_TARGET, '$1...'),
    headers,
    remotePort: req.socket.remotePort ?? 0,
    received: performance.now(),
    length: 0,
  }
  log.push(record)
  if (log.length > MAX_RECORDS) log.shift()
  return record
}

/** Adds what a request asks for to its record. */
export function recordRequest(record: RequestRecord, request: OssRequest): void {
  const { operation, bucket, key, query } = request
  const visible = [...query].filter(([name]) => !SECRET_PARAMETERS.includes(name))
  Object.assign(record, { operation, bucket, key, query: Object.fromEntries(visible) })
  const position = query.get('position')
  if (position !== undefined) record.position = position === '' ? Number.NaN : Number(position)
}
