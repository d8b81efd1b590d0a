/**
 * What is public: the streams of one object and of many, what goes in front of them, the client to share,
 * the errors, and the CRC-64.
 */

export type { Target } from './address.ts'
export type { RetryInfo } from './appender/line.ts'
export type { AttemptTrace } from './appender/trace.ts'
export type { AppendInfo } from './appender.ts'
export type { RetryPolicy } from './backoff.ts'
export { type ClientOptions, OssClient } from './client.ts'
export { crc64, crc64Combine } from './crc64/index.ts'
export type { Credentials, CredentialsLike, CredentialsOption } from './credentials.ts'
export {
  type ObservedTail as ErrorTail,
  type OssConflictDetails,
  OssConflictError,
  OssError,
  type OssErrorCode,
  type OssErrorDetails,
  OssServiceError,
  type OssServiceErrorDetails,
} from './errors.ts'
export { type GzipMembersOptions, gzipMembers } from './gzip.ts'
export type {
  AppendStreamOptions,
  ObjectAcl,
  ServerSideEncryption,
  StorageClass,
} from './options.ts'
export type { Align } from './record.ts'
export { skipExisting } from './resume.ts'
export {
  createRollingAppendStream,
  type KeyFunction,
  type KeyParts,
  type RollInfo,
  RollingAppendStream,
  type RollingAppendStreamEvents,
  type RollingAppendStreamOptions,
} from './rolling.ts'
export type { AppendRequest, AppendResult as AppendReply, Client, Head } from './seam.ts'
export {
  createAppendStream,
  OssAppendStream,
  type OssAppendStreamEvents,
  type ReadyInfo,
} from './stream.ts'
export type { Tail } from './tail.ts'
