/** OSS's rules for the names of buckets and objects. */

import { OssRefusal } from './errors.ts'

const BUCKET_NAME = /^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/
const MAX_KEY_BYTES = 1023

/** Throws `InvalidBucketName` unless `bucket` is 3 to 63 of a-z, 0-9 and inner hyphens. */
export function checkBucketName(bucket: string): void {
  if (!BUCKET_NAME.test(bucket)) {
    throw new OssRefusal(400, 'InvalidBucketName', 'The specified bucket is not valid.', {
      children: { BucketName: bucket },
    })
  }
}

/** Throws `InvalidObjectName` unless `key` is 1 to 1023 bytes of UTF-8 without a leading / or \. */
export function checkObjectKey(key: string): void {
  const isValid =
    key !== '' &&
    Buffer.byteLength(key) <= MAX_KEY_BYTES &&
    Buffer.from(key).toString() === key &&
    !/^[/\\]/.test(key)
  if (!isValid) {
    throw new OssRefusal(400, 'InvalidObjectName', 'The specified object is not valid.', {
      children: { Key: key },
    })
  }
}
