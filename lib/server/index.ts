/** `oss-append-stream/server`: an OSS that fits in a test. What is public, and nothing else. */

export type { Fault, FaultKind, FaultQueue, FaultScope, FaultTarget, Unanswered } from './faults.ts'
export type { RequestRecord } from './log.ts'
export type { Attributes, ObjectState } from './objects.ts'
export type { OssServerOptions } from './options.ts'
export type { Operation } from './request.ts'
export { createOssServer, type OssServer } from './server.ts'
export type { ServerCredentials } from './signature.ts'
