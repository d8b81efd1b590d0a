/**
 * The state of a server: what requests and faults read and change. `OssServer` adds what its user needs:
 * a port, connections, and direct access to objects.
 */

import { randomBytes } from 'node:crypto'
import { Buckets } from './buckets.ts'
import { DelayedAppends } from './delayed-appends.ts'
import { FaultQueue } from './fault-queue.ts'
import { FolderStore } from './folder-store.ts'
import type { RequestRecord } from './log.ts'
import { MemoryStore } from './memory-store.ts'
import { Objects } from './objects.ts'
import type { ServerSettings } from './options.ts'
import type { Identity } from './signature.ts'

/** The state of a server. */
export abstract class ServerContext {
  /** Id of its region, which signatures have to name: `cn-hangzhou`. */
  readonly region: string
  /** Scripted faults. */
  readonly faults = new FaultQueue()
  /** The last 10,000 requests. */
  readonly requests: RequestRecord[] = []
  /** RAM actions that are allowed. A test may remove some. */
  readonly permissions = new Set<string>()
  /** Which buckets exist. */
  readonly buckets: Buckets
  /** Bytes. The largest object. */
  readonly maxObjectBytes: number
  /** Milliseconds that the server's clock is ahead of the machine's, default 0. */
  clockOffset = 0
  /** Milliseconds before each response, default 0. */
  latency = 0
  /** Bytes per second at which each body is read, default Infinity. 0: it never arrives. */
  readRate = Number.POSITIVE_INFINITY
  /** Called with the record of a request when its response has left, or its connection has closed. @internal */
  onAnswered: ((record: RequestRecord) => void) | undefined
  /** Custom domains: host to bucket. @internal */
  readonly cnames: Readonly<Record<string, string>>
  /** Whether SealAppendObject is enabled. @internal */
  readonly canSeal: boolean
  /** @internal */
  readonly objects: Objects
  readonly #settings: ServerSettings
  /** Requests that the fault `late` holds back. @internal */
  readonly delayedAppends = new DelayedAppends()
  /** The access keys that are known. @internal */
  identities: Identity[] = []
  /** Request ids count up from a random start: unique in a log, and different for each server. */
  #requestNumber = BigInt(`0x${randomBytes(11).toString('hex')}`)

  /** @internal */
  constructor(settings: ServerSettings) {
    const { region, cnames, buckets, maxObjectBytes, seal, dir } = settings
    this.#settings = settings
    this.region = region
    this.cnames = cnames
    this.buckets = new Buckets(buckets)
    this.maxObjectBytes = maxObjectBytes
    this.canSeal = seal
    this.objects = new Objects(dir === undefined ? new MemoryStore() : new FolderStore(dir))
    this.#restore()
  }

  /** Aborted when the server closes. @internal */
  abstract get signal(): AbortSignal

  /** Closes the port for `duration` ms. */
  abstract refuse(duration: number): void

  /**
   * As at the start. No objects, faults or records are left. Buckets, credentials and permissions are those of the
   * options. `clockOffset`, `latency` and `readRate` have their defaults.
   */
  reset(): void {
    for (const { state } of [...this.objects]) this.objects.remove(state.bucket, state.key)
    this.delayedAppends.clear()
    this.faults.clear()
    this.faults.fired = {}
    this.requests.length = 0
    this.#restore()
  }

  #restore(): void {
    this.buckets.reset()
    this.permissions.clear()
    for (const action of this.#settings.permissions) this.permissions.add(action)
    this.identities = this.#settings.credentials.map(each => ({ ...each }))
    this.clockOffset = 0
    this.latency = 0
    this.readRate = Number.POSITIVE_INFINITY
  }

  /** The server's clock, ms since 1970. @internal */
  now(): number {
    return Date.now() + this.clockOffset
  }

  /** @internal */
  newRequestId(): string {
    this.#requestNumber += 1n
    return this.#requestNumber.toString(16).toUpperCase().padStart(24, '6').slice(-24)
  }
}
