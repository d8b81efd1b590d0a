/**
 * The proof that an object is what was sent: reading it back over HTTP, and the comparison. It trusts
 * neither the stream nor the server: the bytes that come back are counted and summed up anew.
 */

import { createHash } from 'node:crypto'
import { update } from '../crc64/index.ts'
import type { OssServiceError, RollInfo, Target } from '../index.ts'
import type { RecordingClient } from './delivery.ts'
import { noSuchObjectError } from './failure.ts'
import type { Delivery, ObjectCopy, ObservedTail } from './report.ts'
import type { RetryingReader } from './retrying-reader.ts'

/** Reads an object from its first byte to its last, in flat memory; `before` is what it had. */
export async function readBack(
  reader: RetryingReader,
  target: Target,
  { before: { position: start } }: Pick<Delivery, 'before'>,
): Promise<ObjectCopy> {
  const head = await reader.head(target)
  if (head === null) throw noSuchObjectError()
  const hash = createHash('sha256')
  let crc = 0n
  let length = 0
  for await (const chunk of reader.read(target, 0, head.length)) {
    crc = update(crc, chunk)
    hash.update(chunk.subarray(Math.min(chunk.length, Math.max(0, start - length))))
    length += chunk.length
  }
  const reported = { position: head.position, crc64: head.crc64 }
  return { length, crc64: crc.toString(), reported, sha256: hash.digest('hex') }
}

/** How an object ends whose tail was given, and to which nothing was appended: OSS has said nothing yet. */
export function requestTail(
  reader: RetryingReader,
  client: RecordingClient,
  target: Target,
  { after: { position } }: Pick<Delivery, 'after'>,
): Promise<ObservedTail> {
  // An empty append changes nothing, and is allowed to those who may not look.
  const request = { position, body: new Uint8Array(0), headers: {} }
  return reader.retry(async signal => {
    try {
      return await client.append(target, { ...request, signal })
    } catch (error) {
      const { code, nextPosition } = error as Partial<OssServiceError>
      if (code !== 'PositionNotEqualToLength') throw error
      throw Object.assign(new Error(`the object has ${nextPosition} bytes, not ${position}`), {
        code,
      })
    }
  })
}

/** Everything in which the last object differs from what was sent; nothing means verified. */
export function compareDelivery(
  delivery: Delivery,
  reported: ObservedTail | undefined,
  copy?: ObjectCopy,
): string[] {
  const { bytes, sha256, acknowledged, before, after, rolls } = delivery
  const length = rolls === 0 ? before.position + bytes : after.position
  const differences = [
    ...compareField('the number of acknowledged bytes', bytes, acknowledged),
    ...compareField('the acknowledged length', length, after.position),
    ...compareField('the length by OSS', length, reported?.position),
    ...compareField('the CRC-64 by OSS', after.crc64, reported?.crc64),
  ]
  if (!copy) return differences
  const isWhole = rolls === 0
  return [
    ...differences,
    ...compareField('the length as read back', length, copy.length),
    ...compareField('the CRC-64 as read back', after.crc64, copy.crc64),
    ...(isWhole ? compareField('the SHA-256 as read back', sha256, copy.sha256) : []),
  ]
}

/** Reads objects back that were left. */
export async function compareRolledObjects(
  reader: RetryingReader,
  bucket: string,
  objects: Iterable<RollInfo>,
): Promise<string[]> {
  const before = { position: 0, crc64: '0', exists: true }
  const differences: string[] = []
  for (const info of objects) {
    const { length, crc64 } = await readBack(reader, { bucket, key: info.key }, { before })
    differences.push(...compareRolled(info, { position: length, crc64 }))
  }
  return differences
}

/** The same for an object that was left. */
export function compareRolled(
  { key, bytes, crc64 }: RollInfo,
  found: ObservedTail | undefined,
): string[] {
  return [
    ...compareField(`the length of ${key}`, bytes, found?.position),
    ...compareField(`the CRC-64 of ${key}`, crc64, found?.crc64),
  ]
}

function compareField(field: string, expected: unknown, actual: unknown): string[] {
  return expected === actual ? [] : [`${field} is ${actual ?? 'unknown'}, not ${expected}`]
}
