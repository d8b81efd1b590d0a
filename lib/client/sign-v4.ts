/**
 * The OSS V4 signature (`OSS4-HMAC-SHA256`) in its header form. ("Include a V4 signature in the
 * Authorization header", Alibaba Cloud.)
 *
 * Pure: clock and credentials are arguments. A request goes through three texts:
 *
 *     canonical request --SHA-256--> string to sign --HMAC with the signing key--> signature
 *
 * The body is not part of it (`UNSIGNED-PAYLOAD`, as in every SDK): its integrity is what the
 * CRC-64 is for. Presigned URLs and the retired V1 are not made here.
 */

import { createHash, createHmac } from 'node:crypto'
import type { Target } from '../append/client-interface.ts'
import type { Credentials } from './credentials.ts'
import { encodePath, encodeText } from './endpoint.ts'

/** What is to be signed. */
export interface SignableRequest {
  readonly method: string
  readonly target: Target
  /** An empty value means a bare name: `{ append: '', position: '0' }`. */
  readonly query: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>
  /** Headers to sign beyond those that always are; what the request lacks is passed over. */
  readonly additionalHeaders?: readonly string[] | undefined
}

/** Who signs, for which region, and when. */
export interface Identity {
  readonly credentials: Credentials
  readonly region: string
  /** The moment of signing by the server's clock: OSS refuses 15 minutes of difference. */
  readonly date: Date
  /** Default `oss`. */
  readonly product?: string | undefined
}

const ALGORITHM = 'OSS4-HMAC-SHA256'
const UNSIGNED_PAYLOAD = 'UNSIGNED-PAYLOAD'
const REQUEST_TYPE = 'aliyun_v4_request'

/**
 * Sign a request: returns the headers to send, as a new record with lower-case names and trimmed
 * values. Send exactly these: a header added or changed later breaks the signature.
 */
export function sign(request: SignableRequest, identity: Identity): Record<string, string> {
  const { credentials, region, product = 'oss' } = identity
  const time = formatTime(identity.date)
  const scope = `${time.slice(0, 8)}/${region}/${product}/${REQUEST_TYPE}`
  const headers = normalizeHeaders(request.headers)
  headers['x-oss-date'] = time
  headers['x-oss-content-sha256'] = UNSIGNED_PAYLOAD
  if (credentials.securityToken) headers['x-oss-security-token'] = credentials.securityToken

  const additional = additionalNames(request.additionalHeaders, headers)
  const text = stringToSign(time, scope, canonicalRequest(request, headers, additional))
  const signature = hmac(cachedKey(credentials.accessKeySecret, scope), text).toString('hex')
  const listed = additional.length === 0 ? '' : `,AdditionalHeaders=${additional.join(';')}`
  headers.authorization = `${ALGORITHM} Credential=${credentials.accessKeyId}/${scope}${listed},Signature=${signature}`
  return headers
}

/** The query string of the request line, exactly as it is signed: `append&position=0`. */
export function encodeQuery(query: Readonly<Record<string, string>>): string {
  return (
    Object.entries(query)
      .map(([name, value]) => [encodeText(name), encodeText(value)] as const)
      // By encoded name alone: `=` sorts after `-`, so sorted pairs would swap `a=1` and `a-b=2`.
      .sort(([a], [b]) => compare(a, b))
      .map(([name, value]) => (value === '' ? name : `${name}=${value}`))
      .join('&')
  )
}

/**
 * The canonical request. `headers` must be normal: lower-case names, trimmed values. The bucket
 * opens the path whatever the style of the URL.
 */
export function canonicalRequest(
  { method, target, query }: SignableRequest,
  headers: Readonly<Record<string, string>>,
  additional: readonly string[],
): string {
  const lines = Object.entries(headers)
    .filter(([name]) => isAlwaysSigned(name) || additional.includes(name))
    .sort(([a], [b]) => compare(a, b))
    .map(([name, value]) => `${name}:${value}\n`)
  return [
    method,
    encodePath(`/${target.bucket}/${target.key}`),
    encodeQuery(query),
    lines.join(''),
    additional.join(';'),
    UNSIGNED_PAYLOAD,
  ].join('\n')
}

/** The text that the signature is made of. `time` is the value of `x-oss-date`. */
export function stringToSign(time: string, scope: string, canonical: string): string {
  // latin1: header values leave as latin1 and all else here is ASCII, so these are the bytes that
  // OSS sees. UTF-8 would sign two bytes where one is sent.
  const digest = createHash('sha256').update(canonical, 'latin1').digest('hex')
  return `${ALGORITHM}\n${time}\n${scope}\n${digest}`
}

/** The key that signs everything of one secret within one scope (`day/region/product/type`). */
export function signingKey(secret: string, scope: string): Buffer {
  return scope.split('/').reduce<Buffer>(hmac, Buffer.from(`aliyun_v4${secret}`))
}

// Four HMACs are saved on all but the first append of a day. One entry: most processes have one
// identity, and a second one costs microseconds. A module's variable, so that nothing prints it.
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
  // fromEntries defines properties, where an assignment would swallow the name `__proto__`.
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value.trim()]),
  )
}

function additionalNames(
  wanted: readonly string[] = [],
  headers: Readonly<Record<string, string>>,
): string[] {
  const names = new Set(wanted.map(name => name.toLowerCase()))
  return Object.keys(headers)
    .filter(name => names.has(name) && headers[name] !== '' && !isAlwaysSigned(name))
    .sort(compare)
}

function isAlwaysSigned(name: string): boolean {
  return name.startsWith('x-oss-') || name === 'content-type' || name === 'content-md5'
}

/** Byte order, which `<` is for ASCII; a locale's order would sign another text. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
