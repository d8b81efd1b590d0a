/**
 * AppendObject, PutObject, DeleteObject and SealAppendObject. Each runs synchronously from its first check
 * to its commit, so that no other request comes between. Where OSS documents nothing, the stricter rule
 * holds: creation headers do not apply again to an empty object, and `x-oss-forbid-overwrite` forbids
 * appends to an existing one.
 */

import { parseAcl, parseAttributes } from './attributes.ts'
import { checkMd5, type RequestBody } from './body.ts'
import type { ServerContext } from './context.ts'
import { entityTooLarge, invalidArgument, noSuchKey, OssRefusal } from './errors.ts'
import { etagOfMd5, type StoredObject } from './objects.ts'
import type { OssRequest } from './request.ts'
import { type ResponseSpec, toHttpDate } from './response.ts'

/** Appends the body, if `position` is the object's length. */
export function appendObject(
  request: OssRequest,
  server: ServerContext,
  body: RequestBody,
): ResponseSpec {
  const position = parsePosition(request)
  if (request.query.has('versionId')) {
    const value = request.query.get('versionId')!
    const message = 'An append cannot be made to a version of an object.'
    throw invalidArgument('versionId', value, message, '0016-00000504')
  }
  checkMd5(request, body)
  const { objects } = server
  const now = server.now()
  const object = objects.get(request.bucket, request.key)
  if (object !== undefined) checkAppendable(request, object)
  const length = object?.state.length ?? 0
  if (position !== length) throw wrongPosition(length)
  if (length + body.length > server.maxObjectBytes) throw entityTooLarge(server.maxObjectBytes)
  // Computed while the body arrived, for the object of that moment. Undefined, and computed again, if it changed.
  const crc64 = body.initialCrc64 === (object?.state.crc64 ?? '0') ? body.crc64 : undefined
  if (object === undefined) {
    const attributes = parseAttributes(request)
    const init = { type: 'Appendable', chunks: body.chunks, crc64, attributes, now } as const
    return appendResponse(objects.create(request.bucket, request.key, init))
  }
  const acl = parseAcl(request)
  if (acl !== undefined) objects.setAcl(object, acl)
  if (body.length > 0) objects.append(object, body.chunks, now, crc64)
  return appendResponse(object)
}

function appendResponse({ state }: StoredObject): ResponseSpec {
  const headers = {
    ...state.attributes.encryption,
    ETag: state.etag,
    'x-oss-hash-crc64ecma': state.crc64,
    'x-oss-next-append-position': String(state.length),
  }
  return { status: 200, headers }
}

/** Creates or replaces an object. */
export function putObject(
  request: OssRequest,
  server: ServerContext,
  body: RequestBody,
): ResponseSpec {
  checkMd5(request, body)
  const { objects, maxObjectBytes } = server
  const now = server.now()
  if (body.length > maxObjectBytes) throw entityTooLarge(maxObjectBytes)
  checkOverwrite(request, objects.get(request.bucket, request.key))
  const md5 = body.md5!
  const etag = etagOfMd5(Buffer.from(md5, 'base64'))
  const attributes = parseAttributes(request)
  const init = { type: 'Normal', chunks: body.chunks, crc64: body.crc64, etag } as const
  const { state } = objects.create(request.bucket, request.key, { ...init, attributes, now })
  const headers = {
    ...attributes.encryption,
    ETag: etag,
    'Content-MD5': md5,
    'x-oss-hash-crc64ecma': state.crc64,
  }
  return { status: 200, headers }
}

/** Deletes an object. An absent object is no error. */
export function deleteObject(request: OssRequest, { objects }: ServerContext): ResponseSpec {
  objects.remove(request.bucket, request.key)
  return { status: 204, headers: {} }
}

/** Seals an object: it refuses every further append. */
export function sealObject(
  request: OssRequest,
  server: ServerContext,
  body: RequestBody,
): ResponseSpec {
  if (!server.canSeal) {
    const message = 'SealAppendable is not supported.'
    throw new OssRefusal(400, 'OperationNotSupported', message, { ec: '0016-00000513' })
  }
  const position = parsePosition(request)
  checkMd5(request, body)
  if (body.length > 0) {
    throw new OssRefusal(400, 'InvalidArgument', 'A seal has no body.')
  }
  const object = server.objects.get(request.bucket, request.key)
  if (object === undefined) throw noSuchKey(request.key)
  if (object.state.type !== 'Appendable') throw objectSealed(409)
  if (position !== object.state.length) throw wrongPosition(object.state.length)
  server.objects.seal(object, server.now())
  const sealedTime = toHttpDate(object.state.sealedTime!)
  return { status: 200, headers: { 'x-oss-sealed-time': sealedTime } }
}

/** A position past 2^53 loses precision, but stays larger than every object. */
function parsePosition({ query }: OssRequest): number {
  const text = query.get('position')
  if (text === undefined) {
    throw new OssRefusal(400, 'MissingArgument', 'Missing Some Required Arguments.', {
      ec: '0016-00000501',
      children: { ArgumentName: 'position' },
    })
  }
  if (!/^(0|[1-9]\d{0,18})$/.test(text)) {
    const message = 'The position must be a non-negative integer.'
    throw invalidArgument('position', text, message, '0016-00000502')
  }
  return Number(text)
}

function checkAppendable(request: OssRequest, object: StoredObject): void {
  const { state } = object
  if (state.type !== 'Appendable') {
    const message = 'The object is not appendable'
    throw new OssRefusal(409, 'ObjectNotAppendable', message, { ec: '0026-00000017' })
  }
  if (state.sealedTime !== undefined) throw objectSealed(400)
  checkOverwrite(request, object)
}

function checkOverwrite({ headers }: OssRequest, object: StoredObject | undefined): void {
  if (object === undefined || headers.get('x-oss-forbid-overwrite') !== 'true') return
  const message = 'The object you specified already exists and can not be overwritten.'
  throw new OssRefusal(409, 'FileAlreadyExists', message, { ec: '0026-00000002' })
}

/** 400 to an append, as OSS answers its own test suites; 409 to a seal, as its documentation says. */
function objectSealed(status: 400 | 409): OssRefusal {
  return new OssRefusal(status, 'AppendSealedObjectNotAllowed', 'The object is sealed.')
}

function wrongPosition(length: number): OssRefusal {
  return new OssRefusal(409, 'PositionNotEqualToLength', 'Position is not equal to file length', {
    ec: '0026-00000016',
    headers: { 'x-oss-next-append-position': String(length) },
  })
}
