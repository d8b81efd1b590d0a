/**
 * Checks what a client resolved with. A client of other software may return anything, and its append may have
 * stored the bytes: a wrong result is a failure of the client, and leaves the append in doubt.
 */

import { parseCrc64 } from '../crc64/index.ts'
import { OssError } from '../errors.ts'
import type { AppendResult, Head, ObjectRange } from './client-interface.ts'

export function checkAppendResult(result: AppendResult): AppendResult {
  if (isLength(result?.position) && isCrc64(result.crc64)) return result
  throw wrongResult('append', 'position, and crc64 if it is known')
}

export function checkHead(head: Head | null): Head | null {
  if (head === null || (isLength(head?.length) && isCrc64(head.crc64))) return head
  throw wrongResult('head', 'length, and crc64 if it is known, or with null')
}

export function checkRange(range: ObjectRange): ObjectRange {
  if (isLength(range?.length) && isCrc64(range.crc64)) return range
  throw wrongResult('read', 'length, and crc64 if it is known')
}

function isLength(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isCrc64(value: unknown): boolean {
  return value === undefined || (typeof value === 'string' && parseCrc64(value) !== undefined)
}

function wrongResult(method: string, members: string): OssError {
  const message = `the client returned a wrong result: ${method}() must resolve with ${members}`
  return new OssError('OSS_ERR_CLIENT', message)
}
