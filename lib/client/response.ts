/**
 * What an HTTP answer says, pure: success headers read strictly, refusals turned into errors. Bodies
 * may be cut short, hostile or from a proxy, so nothing here parses a document: a handful of known
 * elements is picked out of a bounded text, the first of each.
 */

import type { Head } from '../append/client-interface.ts'
import { parseCrc64 } from '../crc64/index.ts'
import { OssError, OssServiceError } from '../errors.ts'
import { type Redact, redactError } from './redact.ts'

export type ResponseHeaders = Readonly<Record<string, string | string[] | undefined>>

/** What OSS's error XML and the headers beside it say, as far as we look. */
export interface ErrorDocument {
  readonly requestId?: string | undefined
  readonly code?: string | undefined
  readonly message?: string | undefined
  readonly hostId?: string | undefined
  readonly ec?: string | undefined
  readonly serverTime?: string | undefined
  readonly endpoint?: string | undefined
}

/** A header that came once, and says something; one that came twice lies at least once, and counts as missing. */
export function header(headers: ResponseHeaders, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** A length or position in bytes: digits alone, and exact as a Number. */
export function readLength(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,16}$/.test(text)) return undefined
  const value = Number(text)
  return Number.isSafeInteger(value) ? value : undefined
}

/** A word such as `Appendable`, which messages quote: nothing that could be a secret or a page of text. */
export function readWord(text: string | undefined): string | undefined {
  return text !== undefined && /^[A-Za-z]{1,16}$/.test(text) ? text : undefined
}

/** A CRC-64 as OSS writes it, in the one form that can be compared as text. */
export function readCrc64(text: string | undefined): string | undefined {
  return text === undefined ? undefined : parseCrc64(text)?.toString()
}

/** What a HEAD says of an object. Throws where it does not speak of one. */
export function readHead(headers: ResponseHeaders): Omit<Head, 'requestId'> {
  const type = readWord(header(headers, 'x-oss-object-type'))
  const length = readLength(header(headers, 'content-length'))
  if (type === undefined || length === undefined) throw notOssResponse(200)
  return {
    type,
    length,
    position: readLength(header(headers, 'x-oss-next-append-position')),
    crc64: readCrc64(header(headers, 'x-oss-hash-crc64ecma')),
    sealedTime: header(headers, 'x-oss-sealed-time'),
  }
}

/** The error document: in the body, or for HEAD, which has none, base64 in `x-oss-err`. */
export function readErrorDocument(
  headers: ResponseHeaders,
  body: string,
  conceal: Redact = text => text,
): ErrorDocument {
  const encoded = header(headers, 'x-oss-err')
  const text = body === '' && encoded ? Buffer.from(encoded, 'base64').toString() : body
  const requestId = header(headers, 'x-oss-request-id')
  const ec = header(headers, 'x-oss-ec')
  const pick = (name: string, form: RegExp) => {
    const value = element(text, name)
    return value !== undefined && form.test(value) ? conceal(value) : undefined
  }
  return {
    requestId: requestId && conceal(requestId),
    // By our codes errors are told apart: they are no one else's to use.
    code: pick('Code', /^(?!OSS_ERR_)[A-Za-z0-9._-]{1,128}$/),
    message: pick('Message', /./)?.slice(0, MAX_MESSAGE),
    hostId: pick('HostId', /^[\w.:[\]-]{1,256}$/),
    ec: ec && EC.test(ec) ? conceal(ec) : pick('EC', EC),
    serverTime: pick('ServerTime', /^[\w:.+-]{1,40}$/),
    endpoint: pick('Endpoint', /^[\w.:-]{1,256}$/),
  }
}

const EC = /^[\w-]{1,64}$/
/** Characters of a message that are kept; OSS's have a line or two. */
const MAX_MESSAGE = 1024

function element(text: string, name: string): string | undefined {
  const open = text.indexOf(`<${name}>`)
  if (open === -1) return undefined
  const start = open + name.length + 2
  const end = text.indexOf('<', start)
  if (end === -1) return undefined
  return unescapeXml(text.slice(start, end)).trim()
}

const ENTITIES: Readonly<Record<string, string>> = {
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  amp: '&',
}

function unescapeXml(text: string): string {
  return text
    .replace(/&(lt|gt|quot|apos|amp);/g, (_, name: string) => ENTITIES[name] ?? '')
    .replace(/[\p{Cc}\p{Cf}]+/gu, ' ')
}

/** An answer without `x-oss-request-id`: a proxy or a captive portal spoke, whatever the status says. */
export function notOssResponse(status: number): OssError {
  return new OssError('OSS_ERR_NETWORK', `HTTP ${status} that is not an answer of OSS`)
}

/**
 * No answer, or half of one. The cause loses all but its words: undici's parser adds the bytes that it
 * could not read, and a port that echoes sends our own headers.
 */
export function networkError(error: unknown, conceal: Redact): OssError {
  const cause = redactError(error, conceal)
  const message = `the exchange with OSS failed: ${cause.code ?? cause.message}`
  return new OssError('OSS_ERR_NETWORK', message, { cause })
}

/**
 * OSS refused. Without a code in the answer it is `BadErrorResponse`, as in Alibaba's own SDKs; but a 409
 * that tells the object's length is known by that header, should its body have been lost on the way.
 */
export function serviceError(
  status: number,
  headers: ResponseHeaders,
  document: ErrorDocument,
  isCurable: boolean,
): OssServiceError {
  const nextPosition = readLength(header(headers, 'x-oss-next-append-position'))
  const isPositionRefused = status === 409 && nextPosition !== undefined
  const otherwise = isPositionRefused ? 'PositionNotEqualToLength' : 'BadErrorResponse'
  const { code = otherwise, message = `HTTP ${status}`, endpoint, hostId, ec } = document
  const hint = endpoint ? ` (the bucket's endpoint is ${endpoint})` : ''
  return new OssServiceError(code, message + hint, {
    status,
    requestId: document.requestId ?? '',
    hostId,
    ec,
    nextPosition,
    isRefreshable: isCurable,
  })
}
