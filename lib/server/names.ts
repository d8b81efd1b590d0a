/** OSS's rules for the names of buckets and objects. Needs nothing. */

import { Refusal } from './errors.ts'

const BUCKET = /^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/
const MAX_KEY_BYTES = 1023

/** Throws `InvalidBucketName` unless `bucket` is 3 to 63 of a-z, 0-9 and inner hyphens. */
export function checkBucket(bucket: string): void {
  if (!BUCKET.test(bucket)) {
    throw new Refusal(400, 'InvalidBucketName', 'The specified bucket is not valid.', {
      children: { BucketName: bucket },
    })
  }
}

/** Throws `InvalidObjectName` unless `key` is 1 to 1023 bytes of UTF-8 with no leading / or \. */
export function checkKey(key: string): void {
  const isValid =
    key !== '' &&
    Buffer.byteLength(key) <= MAX_KEY_BYTES &&
    Buffer.from(key).toString() === key &&
    !/^[/\\]/.test(key)
  if (!isValid) {
    throw new Refusal(400, 'InvalidObjectName', 'The specified object is not valid.', {
      children: { Key: key },
    })
  }
}
