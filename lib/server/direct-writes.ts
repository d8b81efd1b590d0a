/**
 * What somebody else does to an object while a request is on its way: appends of a rival, and other
 * objects put in its place. Direct writes, by no request.
 */

import { createHash } from 'node:crypto'
import type { RequestBody } from './body.ts'
import { type ServerContext, serverTime } from './context.ts'
import { DEFAULT_ATTRIBUTES } from './objects.ts'
import type { OssRequest } from './request.ts'

/**
 * Appends `bytes` bytes that are not ours, or as many as ours. Creates the object if there is none;
 * does nothing to one that cannot be appended to.
 */
export function appendRivalBytes(
  server: ServerContext,
  request: OssRequest,
  body: RequestBody,
  bytes?: number,
): void {
  const chunk = Buffer.alloc(bytes ?? Math.max(1, body.length), 'rival ')
  let index = 0
  for (const ours of body.chunks) {
    for (let i = 0; i < ours.length && index < chunk.length; i++) chunk[index++] = ours[i]! ^ 0xff
  }
  server.objects.appendOrCreate(request.bucket, request.key, [chunk], serverTime(server))
}

/** Puts another object in the place of this one, of `length` bytes, default as long as it was. */
export function replaceObject(
  server: ServerContext,
  { bucket, key }: OssRequest,
  type: 'Normal' | 'Appendable',
  length?: number,
): void {
  const { objects } = server
  const chunk = Buffer.alloc(length ?? objects.get(bucket, key)?.state.length ?? 0, 'other ')
  const init = { type, chunks: [chunk], attributes: DEFAULT_ATTRIBUTES, now: serverTime(server) }
  objects.create(bucket, key, type === 'Normal' ? { ...init, etag: md5Etag(chunk) } : init)
}

/** The ETag of a Normal object. */
export function md5Etag(bytes: Buffer): string {
  return `"${createHash('md5').update(bytes).digest('hex').toUpperCase()}"`
}
