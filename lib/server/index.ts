/** `oss-append-stream/server`: an OSS for tests. */

export type { Buckets } from './buckets.ts'
export type { FaultQueue, WaitingFault } from './fault-queue.ts'
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
export type { ControlOptions, OssServerOptions } from './options.ts'
export type { Operation } from './request.ts'
export { createOssServer, type OssServer } from './server.ts'
export type { ServerCredentials } from './signature.ts'
