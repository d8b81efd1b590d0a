/**
 * Parses a request without any normalisation: the path that was signed is the path that names the object.
 * A message that HTTP lets two parsers read in two ways (repeated headers, a body on GET, absolute targets)
 * is refused: that is how one request is smuggled inside another.
 */

import type { IncomingMessage } from 'node:http'
import { invalidArgument, malformedRequest, OssRefusal, unsupportedOperation } from './errors.ts'
import { checkBucketName, checkObjectKey } from './names.ts'

/** What a request asks for. `meta` is HEAD with `?objectMeta`, `list` both versions of ListObjects. */
export type Operation =
  | ('append' | 'seal' | 'put' | 'delete' | 'head' | 'meta' | 'get')
  | ('putBucket' | 'deleteBucket' | 'bucketInfo' | 'list' | 'deleteObjects' | 'listBuckets')

/** A parsed request. */
export interface OssRequest {
  readonly method: string
  readonly operation: Operation
  /** '' for an operation on the service. */
  readonly bucket: string
  /** '' for an operation on the service or a bucket. */
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
  if (bucket !== '' || key !== '') checkBucketName(bucket)
  if (key !== '') checkObjectKey(key)
  const level = bucket === '' ? 'service' : key === '' ? 'bucket' : 'object'
  const operation = parseOperation(method, level, query)
  if (contentLength === undefined && method !== 'POST' && method !== 'PUT') {
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
    throw malformedRequest('The URI is not percent-encoded UTF-8.')
  }
}

/**
 * The Host header alone decides the style. A name below an endpoint of OSS, or below localhost, begins with
 * the bucket. Any other host is taken for this server's own, such as `127.0.0.1` or `host.docker.internal`:
 * then the path begins with the bucket.
 */
function parseBucketAndKey(host: string, path: string, addressing: Addressing) {
  const name = parseHost(host)
  const cname = Object.hasOwn(addressing.cnames, name) ? addressing.cnames[name] : undefined
  if (cname !== undefined) return { bucket: cname, key: decodePercent(path.slice(1)) }
  const { region } = addressing
  const endpoints = [
    `oss-${region}.aliyuncs.com`,
    `oss-${region}-internal.aliyuncs.com`,
    `${region}.oss.aliyuncs.com`,
    'oss-accelerate.aliyuncs.com',
    'oss-accelerate-overseas.aliyuncs.com',
  ]
  if (endpoints.includes(name)) {
    if (path === '/') return { bucket: '', key: '' }
    throw new OssRefusal(
      403,
      'SecondLevelDomainForbidden',
      'The bucket you are attempting to access must be addressed using OSS third level domain.',
    )
  }
  const suffix = [...endpoints, 'localhost'].find(each => name.endsWith(`.${each}`))
  if (suffix !== undefined) {
    return { bucket: name.slice(0, -suffix.length - 1), key: decodePercent(path.slice(1)) }
  }
  if (name.endsWith('.aliyuncs.com')) {
    throw new OssRefusal(
      403,
      'AccessDenied',
      'The bucket you are attempting to access must be addressed using the specified endpoint. ' +
        'Please send all future requests to this endpoint.',
      { ec: '0003-00001403', children: { Endpoint: `oss-${region}.aliyuncs.com` } },
    )
  }
  return splitPath(path)
}

function parseHost(host: string): string {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+))(?::\d{1,5})?$/.exec(host)
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

interface OperationRule {
  readonly method: string
  readonly level: 'service' | 'bucket' | 'object'
  /** The query parameter without a value that names the operation. */
  readonly subresource?: string
  readonly parameters?: readonly string[]
}

const TRAFFIC_LIMIT = 'x-oss-traffic-limit'

function post(level: 'bucket' | 'object', subresource: string): OperationRule {
  return { method: 'POST', level, subresource }
}

/**
 * Each operation and its query parameters. The first one that matches counts. Other parameters are refused:
 * if it were ignored, `DELETE ?tagging` would delete the object.
 */
const OPERATIONS: Readonly<Record<Operation, OperationRule>> = {
  append: { ...post('object', 'append'), parameters: ['position', 'versionId', TRAFFIC_LIMIT] },
  seal: { ...post('object', 'seal'), parameters: ['position'] },
  put: { method: 'PUT', level: 'object', parameters: [TRAFFIC_LIMIT] },
  delete: { method: 'DELETE', level: 'object' },
  meta: { method: 'HEAD', level: 'object', subresource: 'objectMeta' },
  head: { method: 'HEAD', level: 'object' },
  get: { method: 'GET', level: 'object', parameters: [TRAFFIC_LIMIT] },
  putBucket: { method: 'PUT', level: 'bucket' },
  deleteBucket: { method: 'DELETE', level: 'bucket' },
  bucketInfo: { method: 'GET', level: 'bucket', subresource: 'bucketInfo' },
  list: {
    method: 'GET',
    level: 'bucket',
    parameters: [
      ...['list-type', 'prefix', 'delimiter', 'max-keys', 'encoding-type', 'marker'],
      ...['start-after', 'continuation-token', 'fetch-owner'],
    ],
  },
  deleteObjects: { ...post('bucket', 'delete'), parameters: ['encoding-type'] },
  listBuckets: { method: 'GET', level: 'service', parameters: ['prefix', 'marker', 'max-keys'] },
}

/** The names of all operations. */
export const OPERATION_NAMES = Object.keys(OPERATIONS) as readonly Operation[]

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

function parseOperation(
  method: string,
  level: OperationRule['level'],
  query: ReadonlyMap<string, string>,
): Operation {
  const operation = operationOf(method, level, query)
  const { subresource, parameters = [] } = OPERATIONS[operation]
  for (const [name, value] of query) {
    if (PRESIGNED_PARAMETERS.includes(name) || PRESIGNED_V1_PARAMETERS.includes(name)) continue
    if (name === subresource && value !== '') {
      throw invalidArgument(name, value, `The sub-resource ${name} takes no value.`)
    }
    if (name !== subresource && !parameters.includes(name)) {
      throw unsupportedOperation(`The query parameter ${name} is not served here.`)
    }
  }
  return operation
}

function operationOf(
  method: string,
  level: OperationRule['level'],
  query: ReadonlyMap<string, string>,
): Operation {
  const operation = OPERATION_NAMES.find(name => {
    const rule = OPERATIONS[name]
    const isNamed = rule.subresource === undefined || query.has(rule.subresource)
    return rule.method === method && rule.level === level && isNamed
  })
  if (operation !== undefined) return operation
  if (['GET', 'HEAD', 'PUT', 'POST', 'DELETE'].includes(method)) {
    throw unsupportedOperation(`This ${method} on the ${level} is not served here.`)
  }
  throw new OssRefusal(
    405,
    'MethodNotAllowed',
    'The specified method is not allowed against this resource.',
    { headers: { Allow: 'GET, HEAD, PUT, POST, DELETE' } },
  )
}
