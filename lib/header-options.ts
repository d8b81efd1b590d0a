/**
 * The options that become headers of appends: those of the append that creates the object, and `headers` of all.
 * A resolver checks the value of one option, and returns the headers that it means.
 */

import { encodeText } from './client/endpoint.ts'
import { invalidOption } from './errors.ts'
import { checkHeaderValue, checkOneOf, checkRecord } from './validate.ts'

/** Access of others to an object; `default`: as the bucket has it (OSS, "PutObjectACL"). */
export type ObjectAcl = 'default' | 'private' | 'public-read' | 'public-read-write'
/** What storing and reading cost. Appendable objects have no colder class (OSS, "AppendObject"). */
export type StorageClass = 'Standard' | 'IA' | 'Archive'
/** Keys of OSS (`AES256`, `SM4`) or of KMS. A KMS key of your own can't be chosen (OSS, "AppendObject"). */
export type ServerSideEncryption = 'AES256' | 'KMS' | 'SM4'

/**
 * The options that take effect at creation only (OSS, "AppendObject"). They are sent with the append at position 0
 * and its retries; `'ready'` says whether the object existed before.
 */
export interface CreationOptions {
  /** Creation only. OSS's default: `application/octet-stream`. */
  readonly contentType?: string | undefined
  /** Creation only: the header `Cache-Control` of every download. OSS's default: none. */
  readonly cacheControl?: string | undefined
  /** Creation only: the header `Content-Disposition` of every download. OSS's default: none. */
  readonly contentDisposition?: string | undefined
  /** Creation only: the header `Content-Encoding` of every download. Encodes nothing. OSS's default: none. */
  readonly contentEncoding?: string | undefined
  /** Creation only: the header `Expires` of every download; a Date, or an HTTP date as text. OSS's default: none. */
  readonly expires?: Date | string | undefined
  /** Creation only. OSS's default: `default`, the bucket's. */
  readonly acl?: ObjectAcl | undefined
  /** Creation only. OSS's default: the bucket's. */
  readonly storageClass?: StorageClass | undefined
  /** Creation only. OSS's default: the bucket's rule, if it has one; else none. */
  readonly serverSideEncryption?: ServerSideEncryption | undefined
  /** Creation only, and only together with `serverSideEncryption: 'KMS'`. OSS's default: AES-256. */
  readonly serverSideDataEncryption?: 'SM4' | undefined
  /**
   * Creation only. At most 10 tags, of 128 bytes of key and 256 of value; needs the permission
   * `oss:PutObjectTagging`. OSS's default: none.
   */
  readonly tagging?: Readonly<Record<string, string>> | undefined
  /**
   * Creation only. Sent as `x-oss-meta-*`: names of letters, digits and `-`, 8 KiB together. OSS's
   * default: none.
   */
  readonly metadata?: Readonly<Record<string, string>> | undefined
}

/** OSS, "AppendObject": limits of a tag set. */
const MAX_TAGS = 10
const MAX_TAG_KEY = 128
const MAX_TAG_VALUE = 256
/** Bytes. OSS, "PutObject": user metadata, names and values together. */
const MAX_METADATA = 8192

/** Header names in lower case, and their values. */
export type Headers = Readonly<Record<string, string>>
/** Checks the value of the option `name`, and returns its headers; none, where the value is undefined. */
type HeaderResolver = (value: unknown, name: string, given: CreationOptions) => Headers

/** The options that become headers of the append at position 0. */
export const CREATION_OPTIONS = {
  contentType: text('content-type'),
  cacheControl: text('cache-control'),
  contentDisposition: text('content-disposition'),
  contentEncoding: text('content-encoding'),
  expires: resolveExpires,
  acl: word('x-oss-object-acl', ['default', 'private', 'public-read', 'public-read-write']),
  storageClass: word('x-oss-storage-class', ['Standard', 'IA', 'Archive']),
  serverSideEncryption: word('x-oss-server-side-encryption', ['AES256', 'KMS', 'SM4']),
  serverSideDataEncryption: resolveDataEncryption,
  tagging: resolveTagging,
  metadata: resolveMetadata,
} satisfies Record<keyof CreationOptions, HeaderResolver>

/**
 * Headers that no caller sets: an option sets them, or they belong to the connection. (`accept-encoding`:
 * a compressed response could not be read.)
 */
const OUR_HEADERS =
  /^(authorization|host|date|connection|keep-alive|transfer-encoding|te|trailer|upgrade|expect|accept-encoding|proxy-.*|content-.*|cache-control|expires|if-.*|x-oss-(date|content-sha256|security-token|object-acl|storage-class|server-side-.*|tagging|meta-.*|callback.*|forbid-overwrite|hash-.*|next-append-position))$/

export function resolveHeaders(value: unknown = {}, name: string): Headers {
  const headers: Record<string, string> = {}
  for (const [header, text] of checkRecord(name, value)) {
    const option = `${name}.${header}`
    const lowerCase = header.toLowerCase()
    // RFC 9110, 5.1: a field name is a token.
    if (!/^[!#$%&'*+.^`|~\w-]+$/.test(header) || lowerCase === '__proto__') {
      throw invalidOption(option, 'is no header name')
    }
    if (OUR_HEADERS.test(lowerCase)) {
      throw invalidOption(option, 'is set by the stream, or by an option of its own')
    }
    addHeader(headers, lowerCase, option, text)
  }
  return headers
}

function addHeader(
  headers: Record<string, string>,
  header: string,
  option: string,
  value: unknown,
): void {
  if (Object.hasOwn(headers, header)) {
    throw invalidOption(option, 'is given twice: case does not count')
  }
  headers[header] = checkHeaderValue(option, value)
}

/** A header that has the option's text as its value. */
function text(header: string): HeaderResolver {
  return (value, name) => (value === undefined ? {} : { [header]: checkHeaderValue(name, value) })
}

/** A header that has one of a few words as its value. */
function word(header: string, words: readonly string[]): HeaderResolver {
  return (value, name) => (value === undefined ? {} : { [header]: checkOneOf(name, value, words) })
}

function resolveDataEncryption(value: unknown, name: string, given: CreationOptions): Headers {
  const headers = word('x-oss-server-side-data-encryption', ['SM4'])(value, name, given)
  if (value !== undefined && given.serverSideEncryption !== 'KMS') {
    throw invalidOption(name, "needs serverSideEncryption: 'KMS'")
  }
  return headers
}

function resolveExpires(value: unknown, name: string): Headers {
  if (value === undefined) return {}
  const date = value instanceof Date ? value : new Date(checkHeaderValue(name, value))
  const expires = date.toUTCString()
  // RFC 9110, 5.6.7, as Node writes a Date. Every reader takes text that is no date for "expired".
  const isDate = !Number.isNaN(date.getTime()) && (value === date || value === expires)
  if (isDate) return { expires }
  const example = 'Wed, 21 Oct 2026 07:28:00 GMT'
  throw invalidOption(name, `must be a valid Date or an HTTP date, as in ${example}`)
}

function resolveTagging(value: unknown = {}, name: string): Headers {
  const tags = checkRecord(name, value)
  if (tags.length > MAX_TAGS) throw invalidOption(name, `must have at most ${MAX_TAGS} tags`)
  if (tags.length === 0) return {}
  const pairs = tags.map(([tag, text]) => encodeTag(tag, text, `${name}.${tag}`))
  return { 'x-oss-tagging': pairs.join('&') }
}

function encodeTag(tag: string, value: unknown, option: string): string {
  if (typeof value !== 'string') throw invalidOption(option, 'must be a string')
  const allowed = /^[\p{L}\p{N} +=._:/-]*$/u
  if (tag === '' || !allowed.test(tag) || !allowed.test(value)) {
    throw invalidOption(option, 'must consist of letters, digits, spaces and + - = . _ : /')
  }
  if (Buffer.byteLength(tag) > MAX_TAG_KEY || Buffer.byteLength(value) > MAX_TAG_VALUE) {
    const limit = `${MAX_TAG_KEY} bytes of key and ${MAX_TAG_VALUE} of value`
    throw invalidOption(option, `must have at most ${limit}`)
  }
  return `${encodeText(tag)}=${encodeText(value)}`
}

function resolveMetadata(value: unknown = {}, name: string): Headers {
  const headers: Record<string, string> = {}
  let length = 0
  for (const [member, text] of checkRecord(name, value)) {
    const option = `${name}.${member}`
    if (!/^[A-Za-z0-9-]+$/.test(member)) {
      throw invalidOption(option, 'must have a name of letters, digits and -')
    }
    const header = `x-oss-meta-${member.toLowerCase()}`
    addHeader(headers, header, option, text)
    length += member.length + (headers[header]?.length ?? 0)
  }
  if (length > MAX_METADATA) throw invalidOption(name, `must be at most ${MAX_METADATA} bytes`)
  return headers
}
