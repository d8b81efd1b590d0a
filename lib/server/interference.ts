/**
 * What somebody else does to an object while a request is on its way: appends of a rival, and other
 * objects put in its place. Direct writes, by no request.
 */

import { createHash } from 'node:crypto'
import type { Body } from './body.ts'
import { clock, type House } from './house.ts'
import { PLAIN } from './objects.ts'
import type { Call } from './request.ts'

/**
 * Appends `bytes` bytes that are not ours, or as many as ours. Creates the object if there is none;
 * does nothing to one that cannot be appended to.
 */
export function appendRival(house: House, call: Call, body: Body, bytes?: number): void {
  const chunk = Buffer.alloc(bytes ?? Math.max(1, body.length), 'rival ')
  let index = 0
  for (const ours of body.chunks) {
    for (let i = 0; i < ours.length && index < chunk.length; i++) chunk[index++] = ours[i]! ^ 0xff
  }
  house.objects.extend(call.bucket, call.key, [chunk], clock(house))
}

/** Puts another object in the place of this one, of `length` bytes, default as long as it was. */
export function putFiller(
  house: House,
  { bucket, key }: Call,
  type: 'Normal' | 'Appendable',
  length?: number,
): void {
  const { objects } = house
  const chunk = Buffer.alloc(length ?? objects.get(bucket, key)?.state.length ?? 0, 'other ')
  const change = { type, chunks: [chunk], attributes: PLAIN, now: clock(house) }
  objects.create(bucket, key, type === 'Normal' ? { ...change, etag: md5Etag(chunk) } : change)
}

/** The ETag of a Normal object. */
export function md5Etag(bytes: Buffer): string {
  return `"${createHash('md5').update(bytes).digest('hex').toUpperCase()}"`
}
