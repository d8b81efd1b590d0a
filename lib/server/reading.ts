/** HeadObject, GetObjectMeta and GetObject. */

import type { ServerContext } from './context.ts'
import { noSuchKey, OssRefusal } from './errors.ts'
import type { ObjectState, StoredObject } from './objects.ts'
import { parseRange } from './range.ts'
import type { OssRequest } from './request.ts'
import { type ContentSlice, type ResponseSpec, toHttpDate } from './response.ts'

/** HEAD: all but the bytes. */
export function headObject(request: OssRequest, server: ServerContext): ResponseSpec {
  return headState(request, findObject(request, server).state)
}

/** HEAD of a state, which may be an old one. */
export function headState(request: OssRequest, state: ObjectState): ResponseSpec {
  return checkConditions(request, state) ?? { status: 200, headers: objectHeaders(state) }
}

/** HEAD ?objectMeta: length, ETag, time and CRC; no type, no next position. */
export function getObjectMeta(request: OssRequest, server: ServerContext): ResponseSpec {
  const { state } = findObject(request, server)
  const headers = {
    ETag: state.etag,
    'Last-Modified': toHttpDate(state.lastModified),
    'Content-Length': String(state.length),
    'x-oss-hash-crc64ecma': state.crc64,
  }
  return checkConditions(request, state) ?? { status: 200, headers }
}

/** GET, with OSS's rules for Range. */
export function getObject(request: OssRequest, server: ServerContext): ResponseSpec {
  const { state, content } = findObject(request, server)
  if (state.attributes.storageClass.endsWith('Archive')) {
    const message = "The operation is not valid for the object's state"
    throw new OssRefusal(403, 'InvalidObjectState', message, {
      children: { ObjectName: state.key },
    })
  }
  const unchanged = checkConditions(request, state)
  if (unchanged !== undefined) return unchanged
  const isStandard = request.headers.get('x-oss-range-behavior') === 'standard'
  const range = parseRange(request.headers.get('range'), state.length, isStandard)
  const headers = objectHeaders(state)
  if (range === 'unsatisfiable') {
    throw new OssRefusal(416, 'InvalidRange', 'The requested range cannot be satisfied', {
      headers: { 'Content-Range': `bytes */${state.length}` },
      children: {
        ActualObjectSize: String(state.length),
        RangeRequested: request.headers.get('range') ?? '',
      },
    })
  }
  if (range === 'whole') return { status: 200, headers, body: slice(0, state.length) }
  const { start, end } = range
  headers['Content-Length'] = String(end - start)
  headers['Content-Range'] = `bytes ${start}-${end - 1}/${state.length}`
  return { status: 206, headers, body: slice(start, end) }

  function slice(from: number, to: number): ContentSlice {
    return { length: to - from, chunks: content.read(from, to) }
  }
}

function findObject({ bucket, key }: OssRequest, { objects }: ServerContext): StoredObject {
  const object = objects.get(bucket, key)
  if (object === undefined) throw noSuchKey(key)
  return object
}

function objectHeaders(state: ObjectState): Record<string, string> {
  const { attributes } = state
  const headers: Record<string, string> = {
    ...attributes.headers,
    ...attributes.encryption,
    'Accept-Ranges': 'bytes',
    'Content-Length': String(state.length),
    ETag: state.etag,
    'Last-Modified': toHttpDate(state.lastModified),
    'x-oss-hash-crc64ecma': state.crc64,
    'x-oss-object-type': state.type,
    'x-oss-storage-class': attributes.storageClass,
  }
  if (state.type === 'Appendable') headers['x-oss-next-append-position'] = String(state.length)
  else headers['Content-MD5'] = Buffer.from(state.etag.slice(1, -1), 'hex').toString('base64')
  if (attributes.tagging.length > 0) {
    headers['x-oss-tagging-count'] = String(attributes.tagging.length)
  }
  if (state.sealedTime !== undefined) headers['x-oss-sealed-time'] = toHttpDate(state.sealedTime)
  return headers
}

/**
 * Throws for 412, returns a response for 304, undefined if all conditions hold. The headers tell whole
 * seconds, so that times are compared in those.
 */
function checkConditions({ headers }: OssRequest, state: ObjectState): ResponseSpec | undefined {
  const modified = Math.floor(state.lastModified / 1000) * 1000
  const match = headers.get('if-match')
  const noneMatch = headers.get('if-none-match')
  const unmodifiedSince = Date.parse(headers.get('if-unmodified-since') ?? '')
  const modifiedSince = Date.parse(headers.get('if-modified-since') ?? '')
  if (match !== undefined && !listsEtag(match, state.etag)) throw preconditionFailed('If-Match')
  if (modified > unmodifiedSince) throw preconditionFailed('If-Unmodified-Since')
  if ((noneMatch !== undefined && listsEtag(noneMatch, state.etag)) || modified <= modifiedSince) {
    return { status: 304, headers: { ETag: state.etag } }
  }
  return undefined
}

function preconditionFailed(condition: string): OssRefusal {
  const message = 'At least one of the pre-conditions you specified did not hold.'
  return new OssRefusal(412, 'PreconditionFailed', message, { children: { Condition: condition } })
}

function listsEtag(list: string, etag: string): boolean {
  return list.split(',').some(each => [etag, etag.slice(1, -1), '*'].includes(each.trim()))
}
