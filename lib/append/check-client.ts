/**
 * Checks what a client resolved with. A client of other software may return anything, and its append may have
 * stored the bytes: a wrong result is a failure of the client, and leaves the append in doubt. Results are copied,
 * with CRCs that can be compared as text: a getter may throw, or tell something else the next time.
 */

import { parseCrc64 } from '../crc64/index.ts'
import { OssError } from '../errors.ts'
import type { AppendResult, Head, ObjectRange } from './client-interface.ts'

export function checkAppendResult(result: AppendResult): AppendResult {
  const { position, crc64, requestId } = Object(result) as AppendResult
  const known = readCrc64(crc64)
  if (isLength(position) && known !== null) return { position, crc64: known, requestId }
  throw wrongResult('append', 'position, and crc64 if it is known')
}

export function checkHead(head: Head | null): Head | null {
  if (head === null) return null
  const { type, length, position, crc64, sealedTime, requestId } = Object(head) as Head
  const known = readCrc64(crc64)
  const isPosition = position === undefined || isLength(position)
  if (typeof type === 'string' && isLength(length) && isPosition && known !== null) {
    return { type, length, position, crc64: known, sealedTime, requestId }
  }
  throw wrongResult(
    'head',
    'type and length, and position and crc64 if they are known, or with null',
  )
}

export function checkRange(range: ObjectRange): ObjectRange {
  const { length, crc64, requestId, body } = Object(range) as ObjectRange
  const known = readCrc64(crc64)
  if (isLength(length) && known !== null) return { length, crc64: known, requestId, body }
  throw wrongResult('read', 'length, and crc64 if it is known')
}

function isLength(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

/** Without leading zeros; null: it is no CRC-64. */
function readCrc64(value: unknown): string | undefined | null {
  if (value === undefined) return undefined
  return (typeof value === 'string' && parseCrc64(value)?.toString()) || null
}

function wrongResult(method: string, members: string): OssError {
  const message = `the client returned a wrong result: ${method}() must resolve with ${members}`
  return new OssError('OSS_ERR_CLIENT', message)
}
