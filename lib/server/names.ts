/** OSS's rules for the names of buckets and objects. */

import { invalidOption } from '../errors.ts'
import { formatValue } from '../validate.ts'
import { OssRefusal } from './errors.ts'

const BUCKET_NAME = /^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/
const MAX_KEY_BYTES = 1023

/** Whether `bucket` is 3 to 63 of a-z, 0-9 and inner hyphens. */
function isBucketName(bucket: string): boolean {
  return BUCKET_NAME.test(bucket)
}

/** Whether `key` is 1 to 1023 bytes of UTF-8 without a leading / or \. */
export function isObjectKey(key: string): boolean {
  return (
    key !== '' &&
    Buffer.byteLength(key) <= MAX_KEY_BYTES &&
    Buffer.from(key).toString() === key &&
    !/^[/\\]/.test(key)
  )
}

/** Throws `InvalidBucketName` unless it is one. */
export function checkBucketName(bucket: string): void {
  if (!isBucketName(bucket)) {
    throw new OssRefusal(400, 'InvalidBucketName', 'The specified bucket is not valid.', {
      children: { BucketName: bucket },
    })
  }
}

/** The same for an option: throws `OSS_ERR_INVALID_OPTION`, naming it. */
export function checkBucketOption(name: string, value: unknown): string {
  if (typeof value === 'string' && isBucketName(value)) return value
  const rule = 'must be 3 to 63 of a-z, 0-9 and inner hyphens'
  throw invalidOption(name, `${rule}, not ${formatValue(value)}`)
}

/** Throws `InvalidObjectName` unless it is one. */
export function checkObjectKey(key: string): void {
  if (!isObjectKey(key)) {
    throw new OssRefusal(400, 'InvalidObjectName', 'The specified object is not valid.', {
      children: { Key: key },
    })
  }
}
