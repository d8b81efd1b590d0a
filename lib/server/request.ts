/**
 * Parses a request without any normalisation: the path that was signed is the path that names the object.
 * A message that HTTP lets two parsers read in two ways (repeated headers, a body on GET, absolute targets)
 * is refused: that is how one request is smuggled inside another.
 */

import type { IncomingMessage } from 'node:http'
import { isIPv4, isIPv6 } from 'node:net'
import { invalidArgument, malformedRequest, OssRefusal, unsupportedOperation } from './errors.ts'
import { checkBucketName, checkObjectKey } from './names.ts'

/** What a request asks for. `meta` is HEAD with `?objectMeta`. */
export type Operation = 'append' | 'seal' | 'put' | 'delete' | 'head' | 'meta' | 'get'

/** A parsed request. */
export interface OssRequest {
  readonly method: string
  readonly operation: Operation
  readonly bucket: string
  readonly key: string
  /** Decoded names and values; a bare name has the value ''. */
  readonly query: ReadonlyMap<string, string>
  /** Lower-case names; each occurs once. Values are latin1, byte for byte as they arrived. */
  readonly headers: ReadonlyMap<string, string>
  /** Bytes, or undefined for a chunked body. */
  readonly contentLength: number | undefined
}

/** How a host names a bucket: the server's region, and its custom domains. */
export interface Addressing {
  readonly region: string
  readonly cnames: Readonly<Record<string, string>>
}

/** Ordinary HTTP clients repeat these, and OSS ignores them. */
const REPEATABLE_HEADERS = new Set([
  'accept',
  'accept-encoding',
  'accept-language',
  'cookie',
  'via',
])

/** Headers by lower-case name. Throws if one that matters is repeated. */
function parseHeaders(rawHeaders: readonly string[]): Map<string, string> {
  const headers = new Map<string, string>()
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase()
    if (headers.has(name) && !REPEATABLE_HEADERS.has(name))
      throw malformedRequest(`Repeated header: ${name}`)
    headers.set(name, rawHeaders[i + 1]!)
  }
  return headers
}

/** Parses a request by OSS's rules. Throws an OssRefusal. */
export function parseRequest(req: IncomingMessage, addressing: Addressing): OssRequest {
  const headers = parseHeaders(req.rawHeaders)
  const contentLength = parseContentLength(req, headers)
  const { path, query } = parseTarget(req.url ?? '')
  const { bucket, key } = parseBucketAndKey(headers.get('host') ?? '', path, addressing)
  const method = req.method ?? ''
  if (bucket === '') throw unsupportedOperation('Operations on the service are not served here.')
  checkBucketName(bucket)
  if (key === '') throw unsupportedOperation('Operations on a bucket are not served here.')
  checkObjectKey(key)
  const operation = parseOperation(method, query)
  if (contentLength === undefined && operation !== 'append' && operation !== 'put') {
    throw malformedRequest('This operation takes no body.')
  }
  return { method, operation, bucket, key, query, headers, contentLength }
}

/** Whether a request is an append of no bytes. */
export function isEmptyAppend(request: OssRequest): boolean {
  return request.operation === 'append' && request.contentLength === 0
}

/** The length of the body, which exactly one header may tell. Undefined: chunked. */
function parseContentLength(
  req: IncomingMessage,
  headers: Map<string, string>,
): number | undefined {
  if (req.httpVersion !== '1.1') throw malformedRequest('HTTP/1.1 is required.')
  if (headers.has('upgrade')) throw malformedRequest('This connection cannot be upgraded.')
  const length = headers.get('content-length')
  const coding = headers.get('transfer-encoding')
  if (length !== undefined && coding !== undefined) {
    throw malformedRequest('Content-Length and Transfer-Encoding exclude each other.')
  }
  if (coding !== undefined) {
    if (coding.toLowerCase() !== 'chunked') throw malformedRequest('Unknown Transfer-Encoding.')
    return undefined
  }
  if (length === undefined) {
    if (req.method === 'POST' || req.method === 'PUT') {
      throw new OssRefusal(411, 'MissingContentLength', 'You must provide Content-Length.')
    }
    return 0
  }
  if (!/^\d{1,15}$/.test(length)) throw malformedRequest('Content-Length is not a number.')
  const bytes = Number(length)
  if (bytes > 0 && req.method !== 'POST' && req.method !== 'PUT') {
    throw malformedRequest(`${req.method} takes no body.`)
  }
  return bytes
}

/** Origin form only, in visible ASCII. Other characters have to be percent-encoded. */
function parseTarget(target: string): { path: string; query: Map<string, string> } {
  if (!/^\/[!-~]*$/.test(target) || target.includes('#'))
    throw malformedRequest('Bad request target.')
  const questionMark = target.indexOf('?')
  const path = questionMark === -1 ? target : target.slice(0, questionMark)
  const query = new Map<string, string>()
  if (questionMark === -1) return { path, query }
  for (const pair of target.slice(questionMark + 1).split('&')) {
    const equals = pair.indexOf('=')
    const name = decodePercent(equals === -1 ? pair : pair.slice(0, equals))
    const value = equals === -1 ? '' : pair.slice(equals + 1)
    if (name === '') throw malformedRequest('A query parameter has no name.')
    if (query.has(name)) throw malformedRequest(`Repeated query parameter: ${name}`)
    // Some decoders read a bare plus as a space, others as a plus: refuse it.
    if (pair.includes('+')) throw malformedRequest('A plus in a query must be written %2B.')
    query.set(name, decodePercent(value))
  }
  return { path, query }
}

function decodePercent(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw malformedRequest('The URI is not percent-encoded UTF-8.', 'InvalidURI')
  }
}

/**
 * The Host header alone decides the style, as at OSS. An address, or a name without a dot, names no bucket:
 * the path does. A name below an endpoint begins with the bucket.
 */
function parseBucketAndKey(host: string, path: string, addressing: Addressing) {
  const name = parseHost(host)
  const cname = Object.hasOwn(addressing.cnames, name) ? addressing.cnames[name] : undefined
  if (cname !== undefined) return { bucket: cname, key: decodePercent(path.slice(1)) }
  if (isIPv4(name) || isIPv6(name) || !name.includes('.')) return splitPath(path)
  const { region } = addressing
  const suffixes = [
    `oss-${region}.aliyuncs.com`,
    `oss-${region}-internal.aliyuncs.com`,
    `${region}.oss.aliyuncs.com`,
    'oss-accelerate.aliyuncs.com',
    'oss-accelerate-overseas.aliyuncs.com',
    'localhost',
  ]
  if (suffixes.includes(name)) {
    throw new OssRefusal(
      403,
      'SecondLevelDomainForbidden',
      'The bucket you are attempting to access must be addressed using OSS third level domain.',
    )
  }
  const suffix = suffixes.find(each => name.endsWith(`.${each}`))
  if (suffix !== undefined) {
    return { bucket: name.slice(0, -suffix.length - 1), key: decodePercent(path.slice(1)) }
  }
  if (/(^|\.)oss-[a-z0-9-]+\.aliyuncs\.com$|\.oss\.aliyuncs\.com$/.test(name)) {
    throw new OssRefusal(
      403,
      'AccessDenied',
      'The bucket you are attempting to access must be addressed using the specified endpoint. ' +
        'Please send all future requests to this endpoint.',
      { ec: '0003-00001403', children: { Endpoint: `oss-${region}.aliyuncs.com` } },
    )
  }
  throw new OssRefusal(403, 'NonStandardHostForbidden', 'No bucket is bound to this host.')
}

function parseHost(host: string): string {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([a-zA-Z0-9.-]+))(?::\d{1,5})?$/.exec(host)
  const name = match?.[1] ?? match?.[2]
  if (name === undefined) throw malformedRequest('Missing or malformed Host.')
  return name.toLowerCase()
}

/** Splits before it decodes: an encoded slash does not end a bucket's name. */
function splitPath(path: string): { bucket: string; key: string } {
  const slash = path.indexOf('/', 1)
  if (slash === -1) return { bucket: decodePercent(path.slice(1)), key: '' }
  return { bucket: decodePercent(path.slice(1, slash)), key: decodePercent(path.slice(slash + 1)) }
}

/**
 * The query parameters of each operation. Others are refused: if it were ignored, `DELETE ?tagging` would
 * delete the object.
 */
const QUERY_PARAMETERS: Readonly<Record<Operation, readonly string[]>> = {
  append: ['append', 'position', 'versionId', 'x-oss-traffic-limit'],
  seal: ['seal', 'position'],
  put: ['x-oss-traffic-limit'],
  delete: [],
  head: [],
  meta: ['objectMeta'],
  get: ['x-oss-traffic-limit'],
}

/** The query parameters of a presigned URL. */
const PRESIGNED_PARAMETERS = [
  'x-oss-signature-version',
  'x-oss-date',
  'x-oss-expires',
  'x-oss-credential',
  'x-oss-security-token',
  'x-oss-additional-headers',
  'x-oss-signature',
]

/** The same for version 1. They pass, so that the signature check can name the version. */
const PRESIGNED_V1_PARAMETERS = ['OSSAccessKeyId', 'Expires', 'Signature', 'security-token']

function parseOperation(method: string, query: ReadonlyMap<string, string>): Operation {
  const operation = operationOf(method, query)
  for (const [name, value] of query) {
    if (PRESIGNED_PARAMETERS.includes(name) || PRESIGNED_V1_PARAMETERS.includes(name)) continue
    if (!QUERY_PARAMETERS[operation].includes(name)) {
      throw unsupportedOperation(`The query parameter ${name} is not served here.`)
    }
    if (['append', 'seal', 'objectMeta'].includes(name) && value !== '') {
      throw invalidArgument(name, value, `The sub-resource ${name} takes no value.`)
    }
  }
  return operation
}

function operationOf(method: string, query: ReadonlyMap<string, string>): Operation {
  switch (method) {
    case 'POST':
      if (query.has('append') && !query.has('seal')) return 'append'
      if (query.has('seal')) return 'seal'
      throw unsupportedOperation('POST is served for ?append and ?seal only.')
    case 'PUT':
      return 'put'
    case 'DELETE':
      return 'delete'
    case 'HEAD':
      return query.has('objectMeta') ? 'meta' : 'head'
    case 'GET':
      return 'get'
    default:
      throw new OssRefusal(
        405,
        'MethodNotAllowed',
        'The specified method is not allowed against this resource.',
        { headers: { Allow: 'GET, HEAD, PUT, POST, DELETE' } },
      )
  }
}
