/**
 * The OSS V4 signature (`OSS4-HMAC-SHA256`) in its header form. ("Include a V4 signature in the
 * Authorization header", Alibaba Cloud.)
 *
 * Pure: clock and credentials are arguments. Three texts lead to the signature:
 *
 *     canonical request --SHA-256--> string to sign --HMAC with the signing key--> signature
 *
 * The body is not signed (`UNSIGNED-PAYLOAD`, as in every SDK); the CRC-64 proves it.
 */

import { createHash, createHmac } from 'node:crypto'
import type { Target } from '../append/client-interface.ts'
import type { Credentials } from './credentials.ts'
import { encodePath, encodeText } from './endpoint.ts'

/** A request to be signed. */
export interface SignableRequest {
  readonly method: string
  readonly target: Target
  /** An empty value means a bare name: `{ append: '', position: '0' }`. */
  readonly query: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>
}

/** Keys, region and time of a signature. */
export interface Identity {
  readonly credentials: Credentials
  readonly region: string
  /** The time of the server. OSS refuses a difference of 15 minutes. */
  readonly date: Date
}

const ALGORITHM = 'OSS4-HMAC-SHA256'
const UNSIGNED_PAYLOAD = 'UNSIGNED-PAYLOAD'
/** Headers that are signed besides those that OSS requires to be: none. */
const ADDITIONAL_HEADERS = ''
const PRODUCT = 'oss'
const REQUEST_TYPE = 'aliyun_v4_request'

/**
 * Signs a request. Returns the headers to send, as a new record with lower-case names and trimmed values.
 * Send exactly these: a header that is added or changed later breaks the signature.
 */
export function sign(request: SignableRequest, identity: Identity): Record<string, string> {
  const { credentials, region } = identity
  const time = formatTime(identity.date)
  const scope = `${time.slice(0, 8)}/${region}/${PRODUCT}/${REQUEST_TYPE}`
  const headers = normalizeHeaders(request.headers)
  headers['x-oss-date'] = time
  headers['x-oss-content-sha256'] = UNSIGNED_PAYLOAD
  if (credentials.securityToken) headers['x-oss-security-token'] = credentials.securityToken

  const text = stringToSign(time, scope, canonicalRequest(request, headers))
  const signature = hmac(cachedKey(credentials.accessKeySecret, scope), text).toString('hex')
  headers.authorization = `${ALGORITHM} Credential=${credentials.accessKeyId}/${scope},Signature=${signature}`
  return headers
}

/** The query string, as it is signed and sent: `append&position=0`. */
export function encodeQuery(query: Readonly<Record<string, string>>): string {
  return (
    Object.entries(query)
      .map(([name, value]) => [encodeText(name), encodeText(value)] as const)
      // Sort by encoded name only. `=` sorts after `-`, so sorting pairs would swap `a=1` and `a-b=2`.
      .sort(([a], [b]) => compare(a, b))
      .map(([name, value]) => (value === '' ? name : `${name}=${value}`))
      .join('&')
  )
}

/**
 * The canonical request. `headers` must have lower-case names and trimmed values. The path begins with
 * the bucket, in every style of URL.
 */
export function canonicalRequest(
  { method, target, query }: SignableRequest,
  headers: Readonly<Record<string, string>>,
): string {
  const lines = Object.entries(headers)
    .filter(([name]) => isSigned(name))
    .sort(([a], [b]) => compare(a, b))
    .map(([name, value]) => `${name}:${value}\n`)
  return [
    method,
    encodePath(`/${target.bucket}/${target.key}`),
    encodeQuery(query),
    lines.join(''),
    ADDITIONAL_HEADERS,
    UNSIGNED_PAYLOAD,
  ].join('\n')
}

/** `time` is the value of `x-oss-date`. */
export function stringToSign(time: string, scope: string, canonical: string): string {
  // Header values are sent as latin1; UTF-8 would sign two bytes for a character that is sent as one.
  const digest = createHash('sha256').update(canonical, 'latin1').digest('hex')
  return `${ALGORITHM}\n${time}\n${scope}\n${digest}`
}

/** The signing key of one secret for one scope (`day/region/product/type`). */
export function signingKey(secret: string, scope: string): Buffer {
  return scope.split('/').reduce<Buffer>(hmac, Buffer.from(`aliyun_v4${secret}`))
}

// Saves four HMACs for each request but the first of a day. One entry: most processes have one identity,
// and a second one costs microseconds. A variable of the module, so that no inspected object shows it.
let lastKey: { secret: string; scope: string; key: Buffer } | undefined

function cachedKey(secret: string, scope: string): Buffer {
  if (lastKey?.secret !== secret || lastKey.scope !== scope) {
    lastKey = { secret, scope, key: signingKey(secret, scope) }
  }
  return lastKey.key
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

/** `20240102T030405Z`. */
function formatTime(date: Date): string {
  return date.toISOString().replace(/[-:]|\.\d+/g, '')
}

function normalizeHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  // Object.fromEntries() defines properties. An assignment would lose the name `__proto__`.
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value.trim()]),
  )
}

function isSigned(name: string): boolean {
  return name.startsWith('x-oss-') || name === 'content-type' || name === 'content-md5'
}

/** Byte order, which `<` is for ASCII. The order of a locale would sign another text. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
