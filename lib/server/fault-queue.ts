/**
 * The queue of scripted faults. A fault strikes the next request that matches it, once, and is removed. A
 * request that no fault matches is served by the rules. Only correctly signed requests are struck, so that
 * a fault cannot hide a mistake of the client.
 */

import { checkFault } from './check-fault.ts'
import type { Fault } from './faults.ts'
import type { OssRequest } from './request.ts'

interface QueuedFault {
  readonly fault: Fault
  skip: number
  times: number
}

/** Faults in the order in which they were pushed. */
export class FaultQueue {
  /** How often each has struck, by its name or else its kind. */
  readonly fired: Record<string, number> = {}
  #queue: QueuedFault[] = []

  /** How many still wait. */
  get length(): number {
    return this.#queue.length
  }

  /**
   * Adds faults. Each strikes the next request that matches it. If several match, the first one pushed strikes.
   *
   * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the member: `fault.how`. None is added then.
   */
  push(...faults: readonly Fault[]): void {
    for (const fault of faults) checkFault(fault)
    for (const fault of faults) {
      this.#queue.push({ fault, skip: fault.skip ?? 0, times: fault.times ?? 1 })
    }
  }

  /** Removes the faults that wait. `fired` stays. */
  clear(): void {
    this.#queue = []
  }

  /** The fault that strikes this request, if any, and the faults in its `with`. @internal */
  take(request: OssRequest, isProbe: boolean): readonly Fault[] {
    for (const queued of this.#queue) {
      const { fault } = queued
      if (!matches(fault, request, isProbe)) continue
      if (queued.skip-- > 0) continue
      queued.times--
      if (queued.times <= 0) this.#queue = this.#queue.filter(each => each !== queued)
      const taken = [fault, ...(fault.with ?? [])]
      for (const { name, kind } of taken) {
        this.fired[name ?? kind] = (this.fired[name ?? kind] ?? 0) + 1
      }
      return taken
    }
    return []
  }
}

function matches(fault: Fault, request: OssRequest, isProbe: boolean): boolean {
  if (fault.bucket !== undefined && fault.bucket !== request.bucket) return false
  if (fault.key !== undefined && fault.key !== request.key) return false
  const defaultTarget = fault.kind === 'stale' || fault.kind === 'forbidden' ? 'head' : 'append'
  const target = fault.on ?? defaultTarget
  return target === 'any' || target === (isProbe ? 'probe' : request.operation)
}
