/**
 * Reads an object back and compares it with what was sent. Neither the stream nor the server is trusted: the
 * bytes are counted and hashed again.
 */

import { createHash } from 'node:crypto'
import { update } from '../crc64/index.ts'
import type { RollInfo, Target } from '../index.ts'
import { noSuchObjectError } from './failure.ts'
import type { Delivery, ObjectCopy } from './report.ts'
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
  return { length, crc64: crc.toString(), sha256: hash.digest('hex') }
}

/**
 * Everything in which the last object differs from what was sent. Empty: verified. The stream has compared
 * each append with the length and the CRC-64 that OSS reports, so only a copy can show more.
 */
export function compareDelivery(delivery: Delivery, copy?: ObjectCopy): string[] {
  const { bytes, sha256, acknowledged, before, after, rolls } = delivery
  const differences = compareField('the number of acknowledged bytes', bytes, acknowledged)
  if (!copy) return differences
  // With several objects, those before the last one have the first bytes.
  const isWhole = rolls === 0
  const length = isWhole ? before.position + bytes : after.position
  return [
    ...differences,
    ...compareField('the length as read back', length, copy.length),
    ...compareField('the CRC-64 as read back', after.crc64, copy.crc64),
    ...(isWhole ? compareField('the SHA-256 as read back', sha256, copy.sha256) : []),
  ]
}

/** Reads rolled objects back and compares them with what was sent. */
export async function compareRolledObjects(
  reader: RetryingReader,
  bucket: string,
  objects: Iterable<RollInfo>,
): Promise<string[]> {
  const before = { position: 0, crc64: '0', exists: true }
  const differences: string[] = []
  for (const { key, bytes, crc64 } of objects) {
    const copy = await readBack(reader, { bucket, key }, { before })
    differences.push(
      ...compareField(`the length of ${key}`, bytes, copy.length),
      ...compareField(`the CRC-64 of ${key}`, crc64, copy.crc64),
    )
  }
  return differences
}

function compareField<T extends string | number>(field: string, expected: T, actual: T): string[] {
  return expected === actual ? [] : [`${field} is ${actual}, not ${expected}`]
}
