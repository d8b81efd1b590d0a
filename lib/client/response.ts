/**
 * Reads HTTP responses. Pure: success headers are read strictly, refusals become errors.
 * A body may be cut short, hostile, or a proxy's, so it is not parsed as XML. The first occurrence of
 * each known element is picked out of a text of bounded length.
 */

import type { Head } from '../append/client-interface.ts'
import { parseCrc64 } from '../crc64/index.ts'
import { OssError, type OssErrorDetails, OssServiceError } from '../errors.ts'
import { type Redact, toHarmlessError } from './redact.ts'

export type ResponseHeaders = Readonly<Record<string, string | string[] | undefined>>

/** A response, and the host that it came from. */
export interface ReceivedResponse {
  readonly status: number
  readonly headers: ResponseHeaders
  /** Host and port that answered. */
  readonly peer: string
  /** The URL of the request. */
  readonly url: string
  readonly redact: Redact
}

/** The known parts of OSS's error XML and of the headers beside it. */
export interface ErrorDocument {
  readonly requestId?: string | undefined
  readonly code?: string | undefined
  readonly message?: string | undefined
  readonly hostId?: string | undefined
  readonly ec?: string | undefined
  readonly serverTime?: string | undefined
  readonly endpoint?: string | undefined
}

/** The value of a header. An empty header, or one that occurs twice, counts as missing. */
export function header(headers: ResponseHeaders, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** Bytes: digits only, and exact as a Number. */
export function readLength(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,16}$/.test(text)) return undefined
  const value = Number(text)
  return Number.isSafeInteger(value) ? value : undefined
}

/** A word such as `Appendable`, short enough for a message and no secret. */
export function readWord(text: string | undefined): string | undefined {
  return text !== undefined && /^[A-Za-z]{1,16}$/.test(text) ? text : undefined
}

/** A CRC-64, in a canonical form that can be compared as text. */
export function readCrc64(text: string | undefined): string | undefined {
  return text === undefined ? undefined : parseCrc64(text)?.toString()
}

/**
 * `Retry-After` (RFC 9110, 10.2.3) in milliseconds from now: seconds, or a date that is compared with the
 * `Date` of the same response, since the local clock may be wrong. 0 for a date in the past.
 */
export function readRetryAfter(headers: ResponseHeaders, now = Date.now()): number | undefined {
  const text = header(headers, 'retry-after')?.trim()
  if (text === undefined) return undefined
  if (/^\d{1,12}$/.test(text)) return Number(text) * 1000
  const sentAt = Date.parse(header(headers, 'date') ?? '')
  const delay = readDate(text) - (Number.isNaN(sentAt) ? now : sentAt)
  return Number.isNaN(delay) ? undefined : Math.max(0, delay)
}

/** `Sun, 06 Nov 1994 08:49:37 GMT`. Alone, `Date.parse()` accepts `1`, and forms without a zone. */
function readDate(text: string): number {
  return /^\w{3}, .{17,} GMT$/.test(text) ? Date.parse(text) : Number.NaN
}

/** `x-oss-request-id`, with `?` for what a terminal may obey. Undefined: the response is not from OSS. */
export function readRequestId(headers: ResponseHeaders, redact: Redact): string | undefined {
  const id = header(headers, 'x-oss-request-id')
  return id === undefined ? undefined : redact(id).replace(/[^\x20-\x7e]/g, '?')
}

/** The headers of a successful HEAD. Throws if they do not describe an object. */
export function readHead(response: ReceivedResponse): Omit<Head, 'requestId'> {
  const { headers } = response
  const type = readWord(header(headers, 'x-oss-object-type'))
  const length = readLength(header(headers, 'content-length'))
  if (type === undefined || length === undefined) throw notOssResponse(response)
  return {
    type,
    length,
    position: readLength(header(headers, 'x-oss-next-append-position')),
    crc64: readCrc64(header(headers, 'x-oss-hash-crc64ecma')),
    sealedTime: header(headers, 'x-oss-sealed-time'),
  }
}

/** The error document: the body, or base64 in `x-oss-err` for HEAD, whose response has no body. */
export function readErrorDocument(
  headers: ResponseHeaders,
  body: string,
  redact: Redact,
): ErrorDocument {
  const encoded = header(headers, 'x-oss-err')
  const text = body === '' && encoded ? Buffer.from(encoded, 'base64').toString() : body
  const ec = header(headers, 'x-oss-ec')
  const pick = (name: string, form: RegExp) => {
    const value = element(text, name)
    return value !== undefined && form.test(value) ? redact(value) : undefined
  }
  return {
    requestId: readRequestId(headers, redact),
    // The codes `OSS_ERR_*` are reserved for errors of this package.
    code: pick('Code', /^(?!OSS_ERR_)[A-Za-z0-9._-]{1,128}$/),
    message: pick('Message', /./)?.slice(0, MAX_MESSAGE),
    hostId: pick('HostId', /^[\w.:[\]-]{1,256}$/),
    ec: ec && EC.test(ec) ? redact(ec) : pick('EC', EC),
    serverTime: pick('ServerTime', /^[\w:.+-]{1,40}$/),
    endpoint: pick('Endpoint', /^[\w.:-]{1,256}$/),
  }
}

const EC = /^[\w-]{1,64}$/
/** Characters. Messages of OSS have one or two lines. */
const MAX_MESSAGE = 1024

function element(text: string, name: string): string | undefined {
  const open = text.indexOf(`<${name}>`)
  if (open === -1) return undefined
  const start = open + name.length + 2
  const end = text.indexOf('<', start)
  if (end === -1) return undefined
  return unescapeXml(text.slice(start, end)).trim()
}

/** The characters of XML's own entities (XML 1.0, 4.6). */
export const XML_ENTITIES: Readonly<Record<string, string>> = {
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  amp: '&',
}

function unescapeXml(text: string): string {
  return text
    .replace(/&(lt|gt|quot|apos|amp);/g, (_, name: string) => XML_ENTITIES[name] ?? '')
    .replace(/[\p{Cc}\p{Cf}]+/gu, ' ')
}

/**
 * A response without `x-oss-request-id`, or without what OSS always sends. Whatever its status, it comes
 * from a proxy or a captive portal. The message shows what tells which one.
 */
export function notOssResponse(response: ReceivedResponse): OssError {
  const { status, headers, peer } = response
  const facts = ['server', 'location'].flatMap(name => {
    const value = header(headers, name)
    return value === undefined ? [] : [`${name}: ${readable(value, response.redact)}`]
  })
  const details = facts.length === 0 ? '' : ` (${facts.join(', ')})`
  const remedy = isSentToHttps(response) ? '. Use https in the option endpoint' : ''
  const message = `HTTP ${status} from ${peer} is not a response of OSS${details}${remedy}`
  return new OssError('OSS_ERR_NETWORK', message, { status, retryAfter: readRetryAfter(headers) })
}

/** Characters of a header that is shown. */
const MAX_SHOWN = 200

/** The value of a header without secrets: a URL loses its user, password, query and fragment. */
function readable(value: string, redact: Redact): string {
  const clean = redact(value)
    .replace(/^((?:https?:)?\/\/)[^/?#]*@/i, '$1***@')
    .replace(/[?#].*$/s, '')
    .replace(/[^\x20-\x7e]/g, '?')
  return clean.length <= MAX_SHOWN ? clean : `${clean.slice(0, MAX_SHOWN)}...`
}

/** Whether the response redirects to the same URL with another scheme. */
function isSentToHttps({ headers, url }: ReceivedResponse): boolean {
  const location = header(headers, 'location') ?? ''
  const rest = (text: string, scheme: string, port: number) => {
    const [, host, path = ''] =
      new RegExp(`^${scheme}://([^/?#]*?)(?::${port})?(/[^?#]*)?(?:[?#]|$)`, 'i').exec(text) ?? []
    return host && host.toLowerCase() + path
  }
  const target = rest(location, 'https', 443)
  return target !== undefined && target === rest(url, 'http', 80)
}

/**
 * No response, or an incomplete one. The cause is a new error. undici 7.30 adds the bytes that its parser
 * could not read, and those are our own headers if the port echoes.
 */
export function networkError(
  error: unknown,
  redact: Redact,
  peer: string,
  details: OssErrorDetails = {},
): OssError {
  const cause = toHarmlessError(error, redact)
  const message = `the exchange with ${peer} failed: ${cause.code ?? cause.message}`
  return new OssError('OSS_ERR_NETWORK', message, { ...details, cause })
}

/**
 * A refusal of OSS. Without a code in the response it is `BadErrorResponse`, as in Alibaba's own SDKs.
 * A 409 that has lost its body is still recognized by the header with the object's length.
 */
export function serviceError(
  status: number,
  headers: ResponseHeaders,
  document: ErrorDocument,
  isRefreshable: boolean,
): OssServiceError {
  const nextPosition = readLength(header(headers, 'x-oss-next-append-position'))
  const isPositionRefused = status === 409 && nextPosition !== undefined
  const defaultCode = isPositionRefused ? 'PositionNotEqualToLength' : 'BadErrorResponse'
  const { code = defaultCode, message = `HTTP ${status}`, endpoint, hostId, ec } = document
  const hint = endpoint ? ` (the bucket's endpoint is ${endpoint})` : ''
  return new OssServiceError(code, message + hint, {
    status,
    requestId: document.requestId ?? '',
    hostId,
    ec,
    nextPosition,
    retryAfter: readRetryAfter(headers),
    isRefreshable,
  })
}
