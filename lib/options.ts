/**
 * Every option of a stream: its meaning, its default, its check. One resolver turns what the user said
 * into settings without holes; nobody else sees `undefined`, and nobody changes the user's objects.
 */

import type { RetryPolicy } from './append/backoff.ts'
import type { Client, Target } from './append/client-interface.ts'
import { CLIENT_OPTIONS, type ClientOptions, OssClient } from './client/client.ts'
import { checkTarget, encodeText, parseUrl } from './client/endpoint.ts'
import { parseCrc64 } from './crc64/index.ts'
import { invalidOption } from './errors.ts'
import {
  checkBoolean,
  checkHeaderValue,
  checkInteger,
  checkKnown,
  checkLimit,
  checkMethods,
  checkOneOf,
  checkRecord,
  MAX_DELAY,
} from './validate.ts'

/** `'\n'`: a record ends with a newline. A number: after so many bytes. `'chunk'`: with each write. */
export type Align = '\n' | number | 'chunk'

/** Who may read and write an object beside its owner; `default`: as the bucket says (OSS, "PutObjectACL"). */
export type ObjectAcl = 'default' | 'private' | 'public-read' | 'public-read-write'
/** What storing costs, and what reading does. Appendable objects have no colder class (OSS, "AppendObject"). */
export type StorageClass = 'Standard' | 'IA' | 'Archive'
/** Keys of OSS (`AES256`, `SM4`), or of KMS; a KMS key of your own can't be chosen (OSS, "AppendObject"). */
export type ServerSideEncryption = 'AES256' | 'KMS' | 'SM4'

/**
 * The options of `createAppendStream`. Bytes and milliseconds everywhere. `contentType` to `metadata`
 * take effect at creation only (OSS, "AppendObject"): they are sent with the append at position 0 and
 * its resends, and `'ready'` says whether the object was there before.
 */
export interface AppendStreamOptions extends ClientOptions {
  /** 3 to 63 characters out of a-z, 0-9 and `-`. Required, here or in the url. */
  readonly bucket?: string | undefined
  /** 1 to 1,023 bytes of UTF-8, not beginning with `/` or `\`. Required, here or in the url. */
  readonly key?: string | undefined
  /**
   * `'end'`: append to what is there, create if absent. A number: the object must be exactly that many
   * bytes long; 0 means absent or empty. Default `'end'`.
   */
  readonly position?: 'end' | number | undefined
  /** With a number as `position`: the known CRC-64 of those bytes, an unsigned decimal string. Default: OSS is asked. */
  readonly crc64?: string | undefined
  /** Bytes of a batch, and the stream's own mark in Node. 1 to 1 GiB. Default 4 MiB. */
  readonly highWaterMark?: number | undefined
  /**
   * Milliseconds that an accepted byte waits at most for its batch to fill. 0: a batch leaves only when
   * it is full, flushed or ended. With `align` a byte waits for the end of its record in any case.
   * Default 1,000.
   */
  readonly flushInterval?: number | undefined
  /**
   * Append whole records only, so that every acknowledged length of the object ends with one: `'\n'`,
   * lines; a number, records of so many bytes, counted from the first byte of this stream; `'chunk'`,
   * what one `write()` was given. Only `end()` sends a record that is not whole. Default 1: each byte is
   * a record.
   */
  readonly align?: Align | undefined
  /**
   * Bytes that a record may have: one that is longer fails the stream with `OSS_ERR_RECORD_TOO_LARGE`,
   * the records before it are sent, and nothing of it. A record longer than `highWaterMark` is held in
   * memory whole. 1 to 1 GiB, only with `align`. Default 64 MiB.
   */
  readonly maxRecordBytes?: number | undefined
  /** Creation only. OSS's default: `application/octet-stream`. */
  readonly contentType?: string | undefined
  /** Creation only: the header `Cache-Control` of whoever reads it. OSS's default: none. */
  readonly cacheControl?: string | undefined
  /** Creation only: the header `Content-Disposition` of whoever reads it. OSS's default: none. */
  readonly contentDisposition?: string | undefined
  /** Creation only: the header `Content-Encoding` of whoever reads it. Encodes nothing. OSS's default: none. */
  readonly contentEncoding?: string | undefined
  /** Creation only: the header `Expires` of whoever reads it; a Date, or an HTTP date as text. OSS's default: none. */
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
  /** Extra headers for every append, such as `x-oss-traffic-limit`. Ours can't be overridden. Default: none. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /**
   * Send Content-MD5, by which OSS refuses a damaged batch before it is committed. Default: true over
   * http, false over https, where TLS protects the body already.
   */
  readonly contentMd5?: boolean | undefined
  /** When to try again; each member has its default. Counters start afresh with every acknowledged append. */
  readonly retry?: { readonly [P in keyof RetryPolicy]?: RetryPolicy[P] | undefined } | undefined
  /** Bytes an object may have; checked before sending. Default 5,368,709,120 (5 GiB, OSS's limit). */
  readonly maxObjectBytes?: number | undefined
  /** Seal the object after the last append (OSS, "SealAppendObject"). Default false. */
  readonly seal?: boolean | undefined
  /** Aborting it destroys the stream with Node's AbortError. Default: none. */
  readonly signal?: AbortSignal | undefined
  /** A client to share among streams, or any other implementation. Excludes the network options. Default: one of its own. */
  readonly client?: Client | undefined
}

/** The options as checked and completed. */
export interface Settings {
  readonly target: Target
  readonly position: 'end' | number
  readonly crc64: string | undefined
  readonly highWaterMark: number
  readonly flushInterval: number
  readonly align: Align
  readonly maxRecordBytes: number
  readonly creationHeaders: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>
  readonly contentMd5: boolean
  readonly retry: RetryPolicy
  readonly maxObjectBytes: number
  readonly seal: boolean
  readonly signal: AbortSignal | undefined
  readonly client: Client
  /** We made the client, so we close it. */
  readonly isOwnClient: boolean
}

const STREAM_OPTIONS = [
  'bucket',
  'key',
  'position',
  'crc64',
  'highWaterMark',
  'flushInterval',
  'align',
  'maxRecordBytes',
  'contentType',
  'cacheControl',
  'contentDisposition',
  'contentEncoding',
  'expires',
  'acl',
  'storageClass',
  'serverSideEncryption',
  'serverSideDataEncryption',
  'tagging',
  'metadata',
  'headers',
  'contentMd5',
  'retry',
  'maxObjectBytes',
  'seal',
  'signal',
  'client',
] as const satisfies readonly (keyof AppendStreamOptions)[]

/** Every option there is. A test holds README's table to this list, both ways. */
export const OPTIONS: readonly (keyof AppendStreamOptions)[] = [
  ...STREAM_OPTIONS,
  ...CLIENT_OPTIONS,
]

export const DEFAULT_RETRY: RetryPolicy = {
  maxRetries: Number.POSITIVE_INFINITY,
  maxElapsed: 300_000,
  minDelay: 200,
  maxDelay: 20_000,
}

export const MIB = 1024 * 1024
const GIB = 1024 * MIB
/** OSS, "AppendObject": limits of a tag set. */
const MAX_TAGS = 10
const MAX_TAG_KEY = 128
const MAX_TAG_VALUE = 256
/** OSS, "PutObject": user metadata, names and values together. */
const MAX_METADATA = 8192

/** @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option. */
export function resolveOptions(given: AppendStreamOptions, url?: string): Settings {
  checkKnown('options', given, OPTIONS)
  const target = resolveTarget(given, url)
  const { position = 'end', highWaterMark = 4 * MIB, flushInterval = 1000 } = given
  const { headers = {}, retry = {}, maxObjectBytes = 5 * GIB, seal = false, signal } = given
  if (position !== 'end') {
    if (typeof position !== 'number') throw invalidOption('position', "must be 'end' or a number")
    checkInteger('position', position, 0)
  }
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw invalidOption('signal', 'must be an AbortSignal')
  }
  const settings = {
    target,
    position,
    crc64: resolveCrc64(given.crc64, position),
    highWaterMark: checkInteger('highWaterMark', highWaterMark, 1, GIB),
    flushInterval: checkInteger('flushInterval', flushInterval, 0, MAX_DELAY),
    ...resolveAlign(given),
    creationHeaders: resolveCreationHeaders(given),
    headers: resolveHeaders(headers),
    retry: resolveRetry(retry),
    maxObjectBytes: checkInteger('maxObjectBytes', maxObjectBytes, 1),
    seal: checkBoolean('seal', seal),
    signal,
  }
  if (given.contentMd5 !== undefined) checkBoolean('contentMd5', given.contentMd5)
  // Last, so that nothing is left to close when another option is wrong.
  const client =
    given.client === undefined ? createClient(given, target) : checkClient(given, target)
  return {
    ...settings,
    contentMd5: given.contentMd5 ?? client.isSecure === false,
    client,
    isOwnClient: given.client === undefined,
  }
}

function resolveTarget(given: AppendStreamOptions, url: string | undefined): Target {
  if (url === undefined) {
    const target = { bucket: given.bucket, key: given.key } as Target
    checkTarget(target)
    return target
  }
  const target = parseUrl(url)
  for (const part of ['bucket', 'key'] as const) {
    if (given[part] !== undefined) throw invalidOption(part, 'is in the url already')
  }
  return target
}

function resolveCrc64(crc64: unknown, position: 'end' | number): string | undefined {
  if (crc64 === undefined) return undefined
  const value = typeof crc64 === 'string' ? parseCrc64(crc64)?.toString() : undefined
  if (value === undefined) {
    throw invalidOption('crc64', 'must be an unsigned 64-bit decimal, as a string')
  }
  if (position === 'end') throw invalidOption('crc64', 'needs a number as position')
  if (position === 0 && value !== '0') throw invalidOption('crc64', "must be '0' for position 0")
  return value
}

function resolveAlign(given: AppendStreamOptions): Pick<Settings, 'align' | 'maxRecordBytes'> {
  const { align = 1, maxRecordBytes = 64 * MIB } = given
  checkInteger('maxRecordBytes', maxRecordBytes, 1, GIB)
  if (given.maxRecordBytes !== undefined && given.align === undefined) {
    throw invalidOption('maxRecordBytes', 'needs align')
  }
  if (typeof align === 'number') {
    // A record that no batch could ever take.
    if (align > maxRecordBytes) throw invalidOption('align', 'must not be more than maxRecordBytes')
    checkInteger('align', align, 1)
  } else if (align !== '\n' && align !== 'chunk') {
    throw invalidOption('align', "must be '\\n', 'chunk' or a number of bytes")
  }
  return { align, maxRecordBytes }
}

function resolveRetry(given: object): RetryPolicy {
  const retry = checkKnown('retry', given, Object.keys(DEFAULT_RETRY))
  const pick = (name: keyof RetryPolicy) =>
    retry[name] === undefined ? DEFAULT_RETRY[name] : retry[name]
  const policy = {
    maxRetries: checkLimit('retry.maxRetries', pick('maxRetries')),
    maxElapsed: checkLimit('retry.maxElapsed', pick('maxElapsed')),
    minDelay: checkInteger('retry.minDelay', pick('minDelay'), 0, MAX_DELAY),
    maxDelay: checkInteger('retry.maxDelay', pick('maxDelay'), 0, MAX_DELAY),
  }
  if (policy.minDelay > policy.maxDelay) {
    throw invalidOption('retry.minDelay', 'must not be more than retry.maxDelay')
  }
  return policy
}

function createClient(given: AppendStreamOptions, target: Target): Client {
  const network = CLIENT_OPTIONS.filter(name => given[name] !== undefined)
  const client = new OssClient(Object.fromEntries(network.map(name => [name, given[name]])))
  client.checkBucket(target.bucket)
  return client
}

function checkClient(given: AppendStreamOptions, target: Target): Client {
  const { client, seal } = given
  checkMethods('client', client, seal ? ['head', 'append', 'seal'] : ['head', 'append'])
  const network = CLIENT_OPTIONS.find(name => given[name] !== undefined)
  if (network) throw invalidOption(network, 'belongs to the client: give it to new OssClient()')
  if (client instanceof OssClient) client.checkBucket(target.bucket)
  return client as Client
}

/** Headers that carry one option's text as it is. */
const TEXT_HEADERS = {
  contentType: 'content-type',
  cacheControl: 'cache-control',
  contentDisposition: 'content-disposition',
  contentEncoding: 'content-encoding',
} as const

/** Headers that carry one of a few words. */
const WORD_HEADERS = {
  acl: ['x-oss-object-acl', ['default', 'private', 'public-read', 'public-read-write']],
  storageClass: ['x-oss-storage-class', ['Standard', 'IA', 'Archive']],
  serverSideEncryption: ['x-oss-server-side-encryption', ['AES256', 'KMS', 'SM4']],
  serverSideDataEncryption: ['x-oss-server-side-data-encryption', ['SM4']],
} as const

function resolveCreationHeaders(given: AppendStreamOptions): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [option, header] of Object.entries(TEXT_HEADERS)) {
    const value = given[option as keyof typeof TEXT_HEADERS]
    if (value !== undefined) headers[header] = checkHeaderValue(option, value)
  }
  for (const [option, [header, words]] of Object.entries(WORD_HEADERS)) {
    const value = given[option as keyof typeof WORD_HEADERS]
    if (value !== undefined) headers[header] = checkOneOf<string>(option, value, words)
  }
  if (given.serverSideDataEncryption && given.serverSideEncryption !== 'KMS') {
    throw invalidOption('serverSideDataEncryption', "needs serverSideEncryption: 'KMS'")
  }
  if (given.expires !== undefined) headers.expires = resolveExpires(given.expires)
  const { tagging = {}, metadata = {} } = given
  const tags = resolveTagging(tagging)
  if (tags !== '') headers['x-oss-tagging'] = tags
  return { ...headers, ...resolveMetadata(metadata) }
}

function resolveExpires(expires: unknown): string {
  const date = expires instanceof Date ? expires : new Date(checkHeaderValue('expires', expires))
  const text = date.toUTCString()
  // RFC 9110, 5.6.7, as Node writes a Date; what is none would say "expired" to every reader.
  const isDate = !Number.isNaN(date.getTime()) && (expires === date || expires === text)
  if (isDate) return text
  const example = 'Wed, 21 Oct 2026 07:28:00 GMT'
  throw invalidOption('expires', `must be a valid Date or an HTTP date, as in ${example}`)
}

function resolveTagging(given: unknown): string {
  const tags = checkRecord('tagging', given)
  if (tags.length > MAX_TAGS) throw invalidOption('tagging', `must have at most ${MAX_TAGS} tags`)
  return tags
    .map(([key, value]) => {
      const name = `tagging.${key}`
      if (typeof value !== 'string') throw invalidOption(name, 'must be a string')
      const isTag = /^[\p{L}\p{N} +=._:/-]*$/u
      if (key === '' || !isTag.test(key) || !isTag.test(value)) {
        throw invalidOption(name, 'must consist of letters, digits, spaces and + - = . _ : /')
      }
      if (Buffer.byteLength(key) > MAX_TAG_KEY || Buffer.byteLength(value) > MAX_TAG_VALUE) {
        const limit = `${MAX_TAG_KEY} bytes of key and ${MAX_TAG_VALUE} of value`
        throw invalidOption(name, `must have at most ${limit}`)
      }
      return `${encodeText(key)}=${encodeText(value)}`
    })
    .join('&')
}

function resolveMetadata(given: unknown): Record<string, string> {
  const headers: Record<string, string> = {}
  let length = 0
  for (const [name, value] of checkRecord('metadata', given)) {
    const option = `metadata.${name}`
    if (!/^[A-Za-z0-9-]+$/.test(name)) {
      throw invalidOption(option, 'must have a name of letters, digits and -')
    }
    const header = `x-oss-meta-${name.toLowerCase()}`
    if (Object.hasOwn(headers, header))
      throw invalidOption(option, 'is given twice: case does not count')
    headers[header] = checkHeaderValue(option, value)
    length += name.length + headers[header].length
  }
  if (length > MAX_METADATA)
    throw invalidOption('metadata', `must be at most ${MAX_METADATA} bytes`)
  return headers
}

/**
 * Headers with a meaning of their own here: they have an option, or are the connection's. (A compressed
 * answer could not be read.)
 */
const OUR_HEADERS =
  /^(authorization|host|date|connection|keep-alive|transfer-encoding|te|trailer|upgrade|expect|accept-encoding|proxy-.*|content-.*|cache-control|expires|if-.*|x-oss-(date|content-sha256|security-token|object-acl|storage-class|server-side-.*|tagging|meta-.*|callback.*|forbid-overwrite|hash-.*|next-append-position))$/

function resolveHeaders(given: unknown): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [name, value] of checkRecord('headers', given)) {
    const option = `headers.${name}`
    const header = name.toLowerCase()
    // RFC 9110, 5.1: a field name is a token.
    if (!/^[!#$%&'*+.^`|~\w-]+$/.test(name) || header === '__proto__') {
      throw invalidOption(option, 'is no header name')
    }
    if (OUR_HEADERS.test(header)) throw invalidOption(option, 'is set by us, or by an option')
    if (Object.hasOwn(headers, header))
      throw invalidOption(option, 'is given twice: case does not count')
    headers[header] = checkHeaderValue(option, value)
  }
  return headers
}
