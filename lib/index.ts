/** The public API: streams, the Transforms in front of them, the client that streams share, errors and CRC-64. */

export type { RetryPolicy } from './append/backoff.ts'
export type {
  AppendRequest,
  AppendResult,
  Client,
  Head,
  ObjectRange,
  RangeRequest,
  Target,
} from './append/client-interface.ts'
export type { AppendInfo } from './append/destination.ts'
export type { AttemptTrace } from './append/diagnostics.ts'
export type { RetryInfo } from './append/retry-loop.ts'
export type { Tail } from './append/tail.ts'
export { OssClient } from './client/client.ts'
export type { Credentials, CredentialsLike, CredentialsOption } from './client/credentials.ts'
export type { ClientOptions } from './client/options.ts'
export { crc64, crc64Combine } from './crc64/index.ts'
export {
  type ObservedTail,
  type OssConflictDetails,
  OssConflictError,
  OssError,
  type OssErrorCode,
  type OssErrorDetails,
  OssServiceError,
  type OssServiceErrorDetails,
} from './errors.ts'
export { type GzipMembersOptions, gzipMembers } from './gzip-members.ts'
export type {
  ObjectAcl,
  ServerSideEncryption,
  StorageClass,
} from './header-options.ts'
export type { Damage, RecoverInfo } from './journal/recover-info.ts'
export type {
  Align,
  AppendStreamOptions,
  JournalOptions,
  UrlOptions,
} from './options.ts'
export {
  createRollingAppendStream,
  type KeyFunction,
  type KeyParts,
  type RollInfo,
  RollingAppendStream,
  type RollingAppendStreamEvents,
  type RollingAppendStreamOptions,
} from './rolling/rolling-stream.ts'
export { skipExisting } from './skip-existing.ts'
export {
  createAppendStream,
  OssAppendStream,
  type OssAppendStreamEvents,
  type ReadyInfo,
} from './stream/append-stream.ts'
export type { RecordAddress } from './stream/record-addresses.ts'
