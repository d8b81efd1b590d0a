/**
 * The faults that a test can script, and the queue they wait in. A fault strikes the next request
 * that fits it, once, and is gone; a request that no fault fits is served by the rules. Only rightly
 * signed requests are struck, so that a fault cannot cover up a client's own mistake. What each
 * fault does is in mischief.ts.
 */

import { checkFault } from './check-fault.ts'
import type { OssRequest } from './request.ts'

/**
 * Which requests a fault strikes. `append`: adds bytes or creates the object; `probe`: an empty
 * append that changes nothing.
 */
export type FaultTarget = 'append' | 'probe' | 'head' | 'get' | 'put' | 'delete' | 'seal' | 'any'

/** Where and when a fault strikes. */
export interface FaultScope {
  /** Default `append`; `head` for `stale` and `forbidden`. */
  readonly on?: FaultTarget | undefined
  /** Default: every bucket. */
  readonly bucket?: string | undefined
  /** Default: every key. */
  readonly key?: string | undefined
  /** How many requests it strikes, from 1 up, default 1; Infinity is allowed. */
  readonly times?: number | undefined
  /** How many fitting requests it lets pass first, default 0. */
  readonly skip?: number | undefined
  /** Counted in `fired` under this name, default its kind. */
  readonly name?: string | undefined
  /** Faults that strike the same request together with this one; their scopes are not looked at. */
  readonly with?: readonly Fault[] | undefined
}

/** How a request goes without its answer: RST, silence, or an error of this status (500, 503). */
export type Unanswered = 'reset' | 'hang' | number

/** What goes wrong. Durations are ms, rates bytes per second. */
export type FaultKind =
  /** Its connection is reset and the port is closed, so that connecting is refused, for so long. */
  | { readonly kind: 'refused'; readonly duration: number }
  /** RST before, in the middle of or after the body. Nothing is committed. */
  | { readonly kind: 'reset'; readonly when: 'before' | 'middle' | 'after' }
  /** Served by the rules, but the answer is lost. */
  | { readonly kind: 'lost'; readonly how: Unanswered }
  /**
   * Not served now, but later by the rules as they then are: before the next request on the key is
   * judged, after the next HEAD or probe was, or after so many ms.
   */
  | {
      readonly kind: 'late'
      readonly how: Unanswered
      readonly lands: 'beforeNext' | 'afterLook' | number
    }
  /** An error as OSS words it; without `code` an empty body. `commits`: after it was served. */
  | {
      readonly kind: 'status'
      readonly status: number
      readonly code?: string
      readonly message?: string
      readonly ec?: string
      /** Further children of `<Error>`, such as `Endpoint`. */
      readonly children?: Readonly<Record<string, string>>
      readonly headers?: Readonly<Record<string, string | string[]>>
      /** Sent in place of the XML. */
      readonly body?: string | Buffer
      readonly commits?: boolean
    }
  /** HTML from a proxy, default 502, with nothing of OSS in it. */
  | { readonly kind: 'html'; readonly status?: number; readonly commits?: boolean }
  /** Bytes that are no HTTP; then the connection ends. */
  | { readonly kind: 'garbage'; readonly bytes?: Buffer; readonly commits?: boolean }
  /**
   * The answer lacks a part, or has it wrong (`value`, default a plausible one). `commits: false`:
   * nothing was stored, though the answer (of an append) says so.
   */
  | {
      readonly kind: 'mangled'
      readonly part: 'requestId' | 'position' | 'crc64'
      readonly how: 'missing' | 'wrong'
      readonly value?: string | string[]
      readonly commits?: boolean
    }
  /**
   * Somebody else appends, before the request is judged, or after it with our answer lost by reset.
   * `bytes`: how many; default as many as ours, and other ones.
   */
  | { readonly kind: 'rival'; readonly when: 'before' | 'after'; readonly bytes?: number }
  /** The object is gone before the request is judged. */
  | { readonly kind: 'deleted' }
  /** The object is another one before the request is judged, of `length` bytes, default the same. */
  | {
      readonly kind: 'replaced'
      readonly by: 'Normal' | 'Appendable'
      readonly length?: number
    }
  /** The object is sealed before the request is judged. */
  | { readonly kind: 'sealed' }
  /** One byte of the body is damaged on its way, at this index, default the middle. */
  | { readonly kind: 'corrupted'; readonly at?: number }
  /** 403 AccessDenied. */
  | { readonly kind: 'forbidden' }
  /** HEAD shows the object as it was before its last append; 404 if that created it. */
  | { readonly kind: 'stale' }
  /**
   * The server's clock jumps to `offset` ms from the machine's, and stays there (`clockOffset`);
   * with more than 15 minutes the request is refused. `hidesServerTime`: only by the Date header.
   */
  | { readonly kind: 'skewed'; readonly offset: number; readonly hidesServerTime?: boolean }
  /** The credentials of this request are expired from now on. */
  | { readonly kind: 'expired' }
  /** The body is read no faster than this. */
  | { readonly kind: 'slowRead'; readonly rate: number }
  /** The answer comes so much later, after the request was served. */
  | { readonly kind: 'slowAnswer'; readonly delay: number }
  /** An error, default 503, before the body is read; then the connection is closed. */
  | { readonly kind: 'early'; readonly status?: number; readonly code?: string }
  /** The connection is closed after the answer, with `Connection: close` or without a word. */
  | { readonly kind: 'closed'; readonly how: 'header' | 'silent' }

/** A fault: what, and when. */
export type Fault = FaultScope & FaultKind

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
   * Adds faults. Each strikes the next request that fits it; of several that do, the one pushed first.
   *
   * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the member: `fault.how`. None is added then.
   */
  push(...faults: readonly Fault[]): void {
    for (const fault of faults) checkFault(fault)
    for (const fault of faults) {
      this.#queue.push({ fault, skip: fault.skip ?? 0, times: fault.times ?? 1 })
    }
  }

  /** Forgets the faults that wait; `fired` stays. */
  clear(): void {
    this.#queue = []
  }

  /** The fault that strikes this request, if any, and those that come with it. @internal */
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
