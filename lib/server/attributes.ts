/**
 * The headers that describe an object, checked by OSS's rules, and the headers that a request may have at
 * all. Only the request that creates an object is read for them: OSS ignores them on every later append,
 * even if they are wrong. The exception is the ACL, which OSS checks and applies whenever it is sent.
 */

import { invalidArgument, OssRefusal, unsupportedHeader } from './errors.ts'
import type { Attributes } from './objects.ts'
import type { OssRequest } from './request.ts'

const ACLS = ['default', 'private', 'public-read', 'public-read-write']
const STORAGE_CLASSES = ['Standard', 'IA', 'Archive']
const COLD_CLASSES = ['ColdArchive', 'DeepColdArchive']
const STORED_HEADERS: Readonly<Record<string, string>> = {
  'content-type': 'Content-Type',
  'cache-control': 'Cache-Control',
  'content-disposition': 'Content-Disposition',
  'content-encoding': 'Content-Encoding',
  'content-language': 'Content-Language',
  expires: 'Expires',
}
const META_PREFIX = 'x-oss-meta-'
/** The key that OSS takes for KMS, because a request to this server cannot choose one. */
const DEFAULT_KMS_KEY = '9468da86-3509-4f8d-a61e-6eab1eac0000'
const MAX_META_BYTES = 8 * 1024
const MAX_TAGS = 10
const MAX_TAG_KEY_BYTES = 128
const MAX_TAG_VALUE_BYTES = 256
const TAG_PATTERN = /^[\p{L}\p{N} +\-=._:/]*$/u

/** The attributes in a creating request. Throws an OssRefusal for a value that OSS refuses. */
export function parseAttributes(request: OssRequest): Attributes {
  return {
    headers: parseStoredHeaders(request),
    acl: parseAcl(request) ?? 'default',
    storageClass: parseStorageClass(request),
    encryption: parseEncryption(request),
    tagging: parseTagging(request.headers.get('x-oss-tagging')),
  }
}

/** The ACL in a request, if any. */
export function parseAcl({ headers }: OssRequest): string | undefined {
  return checkOneOf('x-oss-object-acl', headers.get('x-oss-object-acl'), ACLS)
}

function parseStoredHeaders({ headers }: OssRequest): Record<string, string> {
  const stored: Record<string, string> = { 'Content-Type': 'application/octet-stream' }
  let metaBytes = 0
  for (const [name, value] of headers) {
    const canonical = Object.hasOwn(STORED_HEADERS, name) ? STORED_HEADERS[name] : undefined
    if (canonical !== undefined && value !== '') stored[canonical] = value
    if (!name.startsWith(META_PREFIX)) continue
    if (!/^[a-z0-9-]+$/.test(name.slice(META_PREFIX.length))) {
      throw invalidArgument(name, value, 'The name of the user meta is invalid.')
    }
    metaBytes += name.length - META_PREFIX.length + value.length
    stored[name] = value
  }
  if (metaBytes > MAX_META_BYTES) {
    const message = 'The size of user meta exceeds the limit of 8 KB.'
    throw invalidArgument('x-oss-meta', String(metaBytes), message)
  }
  return stored
}

function parseStorageClass({ headers, operation }: OssRequest): string {
  const value = headers.get('x-oss-storage-class')
  if (operation === 'append' && value !== undefined && COLD_CLASSES.includes(value)) {
    const message = 'The storage class is not supported for an appendable object.'
    throw invalidArgument('x-oss-storage-class', value, message, '0016-00000503')
  }
  const allowed = operation === 'append' ? STORAGE_CLASSES : [...STORAGE_CLASSES, ...COLD_CLASSES]
  return checkOneOf('x-oss-storage-class', value, allowed) ?? 'Standard'
}

function parseEncryption({ headers }: OssRequest): Record<string, string> {
  const name = 'x-oss-server-side-encryption'
  const dataName = 'x-oss-server-side-data-encryption'
  const algorithm = headers.get(name)
  const data = headers.get(dataName)
  if (algorithm !== undefined && !['AES256', 'KMS', 'SM4'].includes(algorithm)) {
    const message = 'The encryption algorithm is not supported.'
    throw new OssRefusal(400, 'InvalidEncryptionAlgorithmError', message)
  }
  if (data !== undefined && (data !== 'SM4' || algorithm !== 'KMS')) {
    const message = 'The data encryption algorithm must be SM4, together with KMS.'
    throw new OssRefusal(400, 'InvalidDataEncryptionAlgorithmError', message)
  }
  const encryption: Record<string, string> = {}
  if (algorithm !== undefined) encryption[name] = algorithm
  if (algorithm === 'KMS') encryption[`${name}-key-id`] = DEFAULT_KMS_KEY
  if (data !== undefined) encryption[dataName] = data
  return encryption
}

function parseTagging(header: string | undefined): [string, string][] {
  if (header === undefined) return []
  const tags = header.split('&').map((pair): [string, string] => {
    const equals = pair.indexOf('=')
    if (equals === -1) return [decodeTag(pair), '']
    return [decodeTag(pair.slice(0, equals)), decodeTag(pair.slice(equals + 1))]
  })
  const isValid =
    tags.length <= MAX_TAGS &&
    new Set(tags.map(([key]) => key)).size === tags.length &&
    tags.every(
      ([key, value]) =>
        key !== '' &&
        Buffer.byteLength(key) <= MAX_TAG_KEY_BYTES &&
        Buffer.byteLength(value) <= MAX_TAG_VALUE_BYTES &&
        TAG_PATTERN.test(key) &&
        TAG_PATTERN.test(value),
    )
  if (!isValid) throw invalidTag()
  return tags
}

function decodeTag(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    throw invalidTag()
  }
}

function invalidTag(): OssRefusal {
  return new OssRefusal(400, 'InvalidTag', 'The tag you provided is invalid.')
}

/**
 * The `x-oss-*` headers that any request may have. Another one is a mistake, or asks for a feature that this
 * server lacks: ignoring it would hide either.
 */
const COMMON_HEADERS = [
  'x-oss-content-sha256',
  'x-oss-date',
  'x-oss-security-token',
  'x-oss-request-payer',
  'x-oss-traffic-limit',
  'x-oss-user-agent',
]
const WRITE_HEADERS = [
  'x-oss-object-acl',
  'x-oss-storage-class',
  'x-oss-server-side-encryption',
  'x-oss-server-side-data-encryption',
  'x-oss-tagging',
  'x-oss-forbid-overwrite',
]

/** Refuses headers that the operation does not have, and wrong values of the common ones. */
export function checkHeaders({ operation, headers, query }: OssRequest): void {
  const isWrite = operation === 'append' || operation === 'put'
  for (const name of headers.keys()) {
    if (!name.startsWith('x-oss-')) continue
    if (COMMON_HEADERS.includes(name)) continue
    if (isWrite && (WRITE_HEADERS.includes(name) || name.startsWith(META_PREFIX))) continue
    if (operation === 'get' && name === 'x-oss-range-behavior') continue
    if (operation === 'putBucket' && name === 'x-oss-acl') continue
    throw unsupportedHeader(name)
  }
  if (operation !== 'get' && operation !== 'head' && operation !== 'meta') {
    const conditions = ['if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since']
    const condition = conditions.find(each => headers.has(each))
    if (condition !== undefined) throw unsupportedHeader(condition)
  }
  checkOneOf('x-oss-request-payer', headers.get('x-oss-request-payer'), ['requester'])
  checkOneOf('x-oss-forbid-overwrite', headers.get('x-oss-forbid-overwrite'), ['true', 'false'])
  checkTrafficLimit(headers.get('x-oss-traffic-limit'), query.get('x-oss-traffic-limit'))
}

/** Bits per second. */
function checkTrafficLimit(header: string | undefined, parameter: string | undefined): void {
  const value = header ?? parameter
  if (value === undefined) return
  const bits = /^\d{1,12}$/.test(value) ? Number(value) : Number.NaN
  if (
    (header !== undefined && parameter !== undefined) ||
    !(bits >= 245_760 && bits <= 838_860_800)
  ) {
    const message = 'The traffic limit must be 245760 to 838860800 bit/s, in one place.'
    throw invalidArgument('x-oss-traffic-limit', value, message)
  }
}

function checkOneOf(name: string, value: string | undefined, allowed: readonly string[]) {
  if (value === undefined || allowed.includes(value)) return value
  throw invalidArgument(name, value, `The value of ${name} is invalid.`)
}
