/**
 * Compares an object with what was sent. Neither the stream nor the server is trusted: an object that is
 * read back is counted and hashed again.
 */

import { createHash } from 'node:crypto'
import { update } from '../crc64/index.ts'
import type { OssServiceError, RollInfo, Target } from '../index.ts'
import type { RecordingClient } from './delivery.ts'
import { noSuchObjectError } from './failure.ts'
import type { Delivery, ObjectCopy, ObservedTail } from './report.ts'
import type { RetryingReader } from './retrying-reader.ts'

/** Reads a whole object in constant memory. `before`: the tail before the delivery. */
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

/**
 * Asks OSS for the tail of an object to which nothing was appended. With `--position` and `--crc64` the
 * stream takes them as given, so OSS has reported no tail yet.
 */
export function requestTail(
  reader: RetryingReader,
  client: RecordingClient,
  target: Target,
  { after: { position } }: Pick<Delivery, 'after'>,
): Promise<ObservedTail> {
  // An empty append changes nothing. It needs no permission to read, as HEAD does.
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

/** Everything in which the last object differs from what was sent. Empty: verified. */
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

/** Reads rolled objects back and compares them. */
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

/** Everything in which a rolled object differs from what was sent. */
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
