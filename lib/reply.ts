/**
 * What an HTTP answer says, pure: success headers read strictly, refusals turned into errors. Bodies
 * may be cut short, hostile or from a proxy, so nothing here parses a document: a handful of known
 * elements is picked out of a bounded text, the first of each.
 */

import { OssError, OssServiceError } from './errors.ts'

export type ReplyHeaders = Readonly<Record<string, string | string[] | undefined>>

/** The elements of OSS's error XML that we look at. */
export interface ErrorDocument {
  readonly code?: string | undefined
  readonly message?: string | undefined
  readonly hostId?: string | undefined
  readonly ec?: string | undefined
  readonly serverTime?: string | undefined
  readonly endpoint?: string | undefined
}

/** A header that came once; one that came twice lies at least once, and counts as missing. */
export function header(headers: ReplyHeaders, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' ? value : undefined
}

/** A length or position in bytes: digits alone, and exact as a Number. */
export function readLength(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,16}$/.test(text)) return undefined
  const value = Number(text)
  return Number.isSafeInteger(value) ? value : undefined
}

/** A CRC-64 as OSS writes it, in the one form that can be compared as text. */
export function readCrc64(text: string | undefined): string | undefined {
  if (text === undefined || !/^\d{1,20}$/.test(text)) return undefined
  const value = BigInt(text)
  return value < 1n << 64n ? value.toString() : undefined
}

/** The error document: in the body, or for HEAD, which has none, base64 in `x-oss-err`. */
export function readErrorDocument(headers: ReplyHeaders, body: string): ErrorDocument {
  const encoded = header(headers, 'x-oss-err')
  const text = body === '' && encoded ? Buffer.from(encoded, 'base64').toString() : body
  return {
    code: element(text, 'Code', /^[A-Za-z0-9._-]{1,128}$/),
    message: element(text, 'Message', /^.{1,1024}$/s),
    hostId: element(text, 'HostId', /^[\w.:[\]-]{1,256}$/),
    ec: header(headers, 'x-oss-ec') ?? element(text, 'EC', /^[\w-]{1,64}$/),
    serverTime: element(text, 'ServerTime', /^[\w:.+-]{1,40}$/),
    endpoint: element(text, 'Endpoint', /^[\w.:-]{1,256}$/),
  }
}

function element(text: string, name: string, form: RegExp): string | undefined {
  const open = text.indexOf(`<${name}>`)
  if (open === -1) return undefined
  const start = open + name.length + 2
  const end = text.indexOf('<', start)
  if (end === -1) return undefined
  const value = unescapeXml(text.slice(start, end)).trim()
  return form.test(value) ? value : undefined
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
export function notOss(status: number): OssError {
  return new OssError('OSS_ERR_NETWORK', `HTTP ${status} that is not an answer of OSS`)
}

/** OSS refused. Without a code in the answer it is `BadErrorResponse`, as in Alibaba's own SDKs. */
export function refusal(
  status: number,
  headers: ReplyHeaders,
  document: ErrorDocument,
  isCurable: boolean,
): OssServiceError {
  const { code = 'BadErrorResponse', message = `HTTP ${status}`, endpoint, hostId, ec } = document
  const hint = endpoint ? ` (the bucket's endpoint is ${endpoint})` : ''
  return new OssServiceError(code, message + hint, {
    status,
    requestId: header(headers, 'x-oss-request-id') ?? '',
    hostId,
    ec,
    nextPosition: readLength(header(headers, 'x-oss-next-append-position')),
    isCurable,
  })
}
