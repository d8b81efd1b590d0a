/** Which RAM action each operation needs. */

import type { Operation } from './request.ts'

const ACTIONS: Readonly<Record<Operation, string>> = {
  append: 'oss:PutObject',
  put: 'oss:PutObject',
  delete: 'oss:DeleteObject',
  deleteObjects: 'oss:DeleteObject',
  seal: 'oss:SealAppendObject',
  head: 'oss:GetObject',
  meta: 'oss:GetObject',
  get: 'oss:GetObject',
  list: 'oss:ListObjects',
  putBucket: 'oss:PutBucket',
  deleteBucket: 'oss:DeleteBucket',
  bucketInfo: 'oss:GetBucketInfo',
  listBuckets: 'oss:ListBuckets',
}

const TAGGING_ACTION = 'oss:PutObjectTagging'

/** Every action that an operation of the server can need. */
export const ALL_ACTIONS: readonly string[] = [
  ...new Set([...Object.values(ACTIONS), TAGGING_ACTION]),
]

/** The actions that a request needs. */
export function requiredActions(operation: Operation, hasTagging: boolean): readonly string[] {
  return hasTagging ? [ACTIONS[operation], TAGGING_ACTION] : [ACTIONS[operation]]
}
