/** `oss-append-stream/server`: an OSS for tests. */

export type { FaultQueue } from './fault-queue.ts'
export type {
  Fault,
  FaultKind,
  FaultScope,
  FaultTarget,
  LandingEvent,
  Unanswered,
} from './faults.ts'
export type { RequestRecord } from './log.ts'
export type { Attributes, ObjectState } from './objects.ts'
export type { OssServerOptions } from './options.ts'
export type { Operation } from './request.ts'
export { createOssServer, type OssServer } from './server.ts'
export type { ServerCredentials } from './signature.ts'
