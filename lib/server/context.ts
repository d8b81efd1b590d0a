/**
 * The server as one request sees it: what it keeps, what it allows, and how it is set. An OssServer is
 * one, though its public type does not say so; requests and faults know it by this face only.
 */

import type { DelayedAppends } from './delayed-appends.ts'
import type { FaultQueue } from './faults.ts'
import type { RequestRecord } from './log.ts'
import type { Objects } from './objects.ts'
import type { Addressing } from './request.ts'
import type { Identity } from './signature.ts'

/** The server, as far as a request is concerned. */
export interface ServerContext extends Addressing {
  readonly objects: Objects
  readonly faults: FaultQueue
  readonly delayedAppends: DelayedAppends
  readonly requests: RequestRecord[]
  readonly identities: readonly Identity[]
  /** RAM actions that are allowed, such as `oss:GetObject`. */
  readonly permissions: ReadonlySet<string>
  /** Buckets that exist; undefined: all do. */
  readonly buckets: ReadonlySet<string> | undefined
  readonly maxObjectBytes: number
  readonly canSeal: boolean
  /** ms that the server's clock is ahead of the machine's. */
  clockOffset: number
  /** ms before each answer. */
  readonly latency: number
  /** Bytes per second at which bodies are read. */
  readonly readRate: number
  /** Aborted when the server closes. */
  readonly signal: AbortSignal
  newRequestId(): string
  /** Closes the port for so many ms. */
  refuse(duration: number): void
}

/** The server's clock, ms since 1970. */
export function serverTime(server: ServerContext): number {
  return Date.now() + server.clockOffset
}
