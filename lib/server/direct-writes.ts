/** Writes that come from no request: the appends of a rival, and objects that replace others. */

import type { RequestBody } from './body.ts'
import type { ServerContext } from './context.ts'
import { DEFAULT_ATTRIBUTES, md5Etag } from './objects.ts'
import type { OssRequest } from './request.ts'

/**
 * Appends `bytes`. A number stands for that many bytes, each of which differs from the request's; default: the
 * length of the request's body. Creates the object if it is absent. An object that takes no appends stays as it is.
 */
export function appendRivalBytes(
  server: ServerContext,
  request: OssRequest,
  body: RequestBody,
  bytes: number | string | Buffer = Math.max(1, body.length),
): void {
  const chunk = typeof bytes === 'number' ? otherBytes(body, bytes) : Buffer.from(bytes)
  server.objects.appendOrCreate(request.bucket, request.key, [chunk], server.now())
}

function otherBytes(body: RequestBody, length: number): Buffer {
  const chunk = Buffer.alloc(length, 'rival ')
  let index = 0
  for (const sent of body.chunks) {
    for (let i = 0; i < sent.length && index < chunk.length; i++) chunk[index++] = sent[i]! ^ 0xff
  }
  return chunk
}

/** Replaces an object by another one of `length` bytes, default the same length. */
export function replaceObject(
  server: ServerContext,
  { bucket, key }: OssRequest,
  type: 'Normal' | 'Appendable',
  length?: number,
): void {
  const { objects } = server
  const chunk = Buffer.alloc(length ?? objects.get(bucket, key)?.state.length ?? 0, 'other ')
  const init = { type, chunks: [chunk], attributes: DEFAULT_ATTRIBUTES, now: server.now() }
  objects.create(bucket, key, type === 'Normal' ? { ...init, etag: md5Etag(chunk) } : init)
}
