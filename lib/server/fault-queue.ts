/**
 * The queue of scripted faults. A fault strikes the next request that matches it, once, and is removed. A
 * request that no fault matches is served by the rules. Only correctly signed requests are struck, so that
 * a fault cannot hide a mistake of the client.
 */

import { checkFault } from './check-fault.ts'
import type { Fault, FaultTarget } from './faults.ts'
import type { OssRequest } from './request.ts'

/** A fault that waits. */
export interface WaitingFault {
  /** As it was pushed. */
  readonly fault: Fault
  /** How many matching requests it still lets pass. */
  skip: number
  /** How many requests it will still strike. */
  times: number
  /** How many requests it has struck. */
  struck: number
}

/** Faults in the order in which they were pushed. */
export class FaultQueue {
  /** How often each has struck, by its name or else its kind. */
  fired: Record<string, number> = {}
  #queue: WaitingFault[] = []

  /** How many still wait. */
  get length(): number {
    return this.#queue.length
  }

  /** The faults that still wait. */
  list(): readonly Readonly<WaitingFault>[] {
    return [...this.#queue]
  }

  /**
   * Adds faults. Each strikes the next request that matches it. If several match, the first one pushed strikes.
   *
   * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the member: `fault.how`. None is added then.
   */
  push(...faults: readonly Fault[]): void {
    for (const fault of faults) checkFault(fault)
    for (const fault of faults) {
      this.#queue.push({ fault, skip: fault.skip ?? 0, times: fault.times ?? 1, struck: 0 })
    }
  }

  /**
   * Adds a fault or a list of them, written as JSON. JSON has no Infinity: it is written `"Infinity"`.
   *
   * @throws {SyntaxError} if the text is no JSON; otherwise as `push()`.
   */
  pushJson(text: string): void {
    this.push(...[JSON.parse(text, fromJson)].flat())
  }

  /** Removes the faults that wait. `fired` stays. */
  clear(): void {
    this.#queue = []
  }

  /** The fault that strikes this request, if any, and the faults in its `with`. @internal */
  take(request: OssRequest, isProbe: boolean): readonly Fault[] {
    for (const waiting of this.#queue) {
      const { fault } = waiting
      if (!matches(fault, request, isProbe)) continue
      if (waiting.skip-- > 0) continue
      waiting.times--
      waiting.struck++
      if (waiting.times <= 0) this.#queue = this.#queue.filter(each => each !== waiting)
      const additions = fault.with ?? []
      const taken = [fault, ...additions.filter(each => canStrike(each, request))]
      for (const { name, kind } of taken) {
        this.fired[name ?? kind] = (this.fired[name ?? kind] ?? 0) + 1
      }
      return taken
    }
    return []
  }
}

function fromJson(name: string, value: unknown): unknown {
  return value === 'Infinity' && (name === 'times' || name === 'skip') ? Infinity : value
}

/** Kinds that change the object, and so strike no operation on a bucket. */
const OBJECT_KINDS: readonly Fault['kind'][] = ['rival', 'deleted', 'replaced', 'sealed']

/** Whether the kind of the fault means something for this request. */
function canStrike(fault: Fault, { key, contentLength = Infinity }: OssRequest): boolean {
  if (OBJECT_KINDS.includes(fault.kind)) return key !== ''
  return fault.kind !== 'tooLarge' || contentLength > fault.maxBytes
}

function matches(fault: Fault, request: OssRequest, isProbe: boolean): boolean {
  if (fault.bucket !== undefined && fault.bucket !== request.bucket) return false
  if (fault.key !== undefined && fault.key !== request.key) return false
  if (!canStrike(fault, request)) return false
  const target = targetOf(fault)
  return target === 'any' || target === (isProbe ? 'probe' : request.operation)
}

/** Which requests a fault strikes. */
export function targetOf({ kind, on }: Fault): FaultTarget {
  return on ?? (kind === 'stale' || kind === 'forbidden' ? 'head' : 'append')
}
