/** ListObjects, versions 1 and 2, and ListBuckets. Names are sorted by their UTF-8 bytes. */

import type { ServerContext } from './context.ts'
import { invalidArgument } from './errors.ts'
import type { ObjectState } from './objects.ts'
import type { OssRequest } from './request.ts'
import { type ResponseSpec, toIsoDate } from './response.ts'
import { renderXml, type XmlElement } from './xml.ts'

const DEFAULT_KEYS = 100
const MAX_KEYS = 1000

/** The owner of every bucket and object. */
export const OWNER: XmlElement = ['Owner', ['ID', 'DisplayName'].map(name => [name, '0'] as const)]

/** 200 with an XML body. */
export function xmlResponse(root: XmlElement): ResponseSpec {
  return { status: 200, headers: { 'Content-Type': 'application/xml' }, body: renderXml(root) }
}

/** Lists the objects of a bucket. */
export function listObjects({ query, bucket }: OssRequest, server: ServerContext): ResponseSpec {
  const isV2 = parseListType(query)
  const encode = parseEncodingType(query)
  // oss2 2.19 sends an empty token with the first request.
  const token = query.get('continuation-token') || undefined
  const after = isV2 ? (decodeToken(token) ?? query.get('start-after')) : query.get('marker')
  const states = new Map(server.objects.list(bucket).map(state => [state.key, state]))
  const { names, next } = pageOf([...states.keys()], query, after)
  const hasOwner = !isV2 || query.get('fetch-owner') === 'true'
  const continuation = isV2
    ? [
        ...optional('StartAfter', query.get('start-after'), encode),
        ...optional('ContinuationToken', token),
        ...optional('NextContinuationToken', next, encodeToken),
        ...optional('KeyCount', String(names.length)),
      ]
    : [
        ...optional('Marker', query.get('marker') ?? '', encode),
        ...optional('NextMarker', next, encode),
      ]
  return xmlResponse([
    'ListBucketResult',
    [
      ['Name', bucket],
      ...describePage(query, next, encode),
      ['Delimiter', encode(query.get('delimiter') ?? '')],
      ...optional('EncodingType', query.get('encoding-type')),
      ...continuation,
      ...names.map(name =>
        commonPrefixOf(name, query) === undefined
          ? renderObject(states.get(name)!, encode, hasOwner)
          : (['CommonPrefixes', [['Prefix', encode(name)]]] as const),
      ),
    ],
  ])
}

/** Lists the buckets that were declared, created, or hold an object. */
export function listBuckets({ query }: OssRequest, server: ServerContext): ResponseSpec {
  const used = [...server.objects].map(({ state }) => state.bucket)
  const existing = [...new Set([...server.buckets.names(), ...used])].filter(name =>
    server.buckets.has(name),
  )
  const { names, next } = pageOf(existing, query, query.get('marker'))
  return xmlResponse([
    'ListAllMyBucketsResult',
    [
      ...describePage(query, next),
      ['Marker', query.get('marker') ?? ''],
      ...optional('NextMarker', next),
      OWNER,
      ['Buckets', names.map(name => ['Bucket', describeBucket(name, server)] as const)],
    ],
  ])
}

/** What ListBuckets and GetBucketInfo tell about a bucket. */
export function describeBucket(name: string, { buckets, region }: ServerContext): XmlElement[] {
  return [
    ['Name', name],
    ['Region', region],
    ['Location', `oss-${region}`],
    ['CreationDate', toIsoDate(buckets.createdAt(name))],
    ['ExtranetEndpoint', `oss-${region}.aliyuncs.com`],
    ['IntranetEndpoint', `oss-${region}-internal.aliyuncs.com`],
    ['StorageClass', 'Standard'],
  ]
}

/** How names are written: as they are, or percent-encoded with `encoding-type=url`. */
export function parseEncodingType(query: ReadonlyMap<string, string>): (name: string) => string {
  const type = query.get('encoding-type')
  if (type === undefined) return name => name
  if (type === 'url') return encodeURIComponent
  throw invalidArgument('encoding-type', type, 'The encoding type must be url.')
}

/** An element, or none if there is no text. */
export function optional(
  name: string,
  text: string | undefined,
  encode = (value: string) => value,
): XmlElement[] {
  return text === undefined ? [] : [[name, encode(text)]]
}

/** The first names after `after`. A common prefix stands for all names that begin with it. */
function pageOf(
  names: readonly string[],
  query: ReadonlyMap<string, string>,
  after = '',
): { names: string[]; next: string | undefined } {
  const maxKeys = parseMaxKeys(query)
  const page: string[] = []
  for (const name of [...names].sort(compareBytes)) {
    const entry = commonPrefixOf(name, query) ?? name
    const last = page.at(-1)
    if (!name.startsWith(query.get('prefix') ?? '') || compareBytes(entry, last ?? after) <= 0)
      continue
    if (page.length === maxKeys) return { names: page, next: last }
    page.push(entry)
  }
  return { names: page, next: undefined }
}

/** A name up to the first delimiter after the prefix; undefined if there is none. */
function commonPrefixOf(name: string, query: ReadonlyMap<string, string>): string | undefined {
  const delimiter = query.get('delimiter') ?? ''
  const end = name.indexOf(delimiter, query.get('prefix')?.length ?? 0)
  return delimiter === '' || end === -1 ? undefined : name.slice(0, end + delimiter.length)
}

/** JavaScript compares UTF-16, which differs from UTF-8 above U+FFFF. */
function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

function describePage(
  query: ReadonlyMap<string, string>,
  next: string | undefined,
  encode = (name: string) => name,
): XmlElement[] {
  return [
    ['Prefix', encode(query.get('prefix') ?? '')],
    ['MaxKeys', String(parseMaxKeys(query))],
    ['IsTruncated', String(next !== undefined)],
  ]
}

function renderObject(
  state: ObjectState,
  encode: (name: string) => string,
  hasOwner: boolean,
): XmlElement {
  const elements: XmlElement[] = [
    ['Key', encode(state.key)],
    ['LastModified', toIsoDate(state.lastModified)],
    ['ETag', state.etag],
    ['Type', state.type],
    ['Size', String(state.length)],
    ['StorageClass', state.attributes.storageClass],
  ]
  return ['Contents', hasOwner ? [...elements, OWNER] : elements]
}

function parseMaxKeys(query: ReadonlyMap<string, string>): number {
  const text = query.get('max-keys') ?? String(DEFAULT_KEYS)
  if (/^[1-9]\d{0,3}$/.test(text) && Number(text) <= MAX_KEYS) return Number(text)
  throw invalidArgument('max-keys', text, `max-keys must be 1 to ${MAX_KEYS}.`)
}

/** Whether it is version 2. */
function parseListType(query: ReadonlyMap<string, string>): boolean {
  const type = query.get('list-type')
  if (type === undefined || type === '2') return type === '2'
  throw invalidArgument('list-type', type, 'The list type must be 2.')
}

function encodeToken(next: string): string {
  return Buffer.from(next).toString('base64')
}

function decodeToken(token: string | undefined): string | undefined {
  if (token === undefined) return undefined
  const next = Buffer.from(token, 'base64').toString()
  if (next !== '' && encodeToken(next) === token) return next
  throw invalidArgument('continuation-token', token, 'The continuation token is not valid.')
}
