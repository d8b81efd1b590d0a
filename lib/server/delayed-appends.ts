/**
 * Appends that land late. A request that timed out at the client can still be executing at the server, and
 * take effect afterwards.
 */

import type { LandingEvent } from './faults.ts'
import { isEmptyAppend, type OssRequest } from './request.ts'

interface DelayedAppend {
  readonly bucket: string
  readonly key: string
  readonly lands: LandingEvent
  readonly land: () => void
}

/** Requests that are still to be served. */
export class DelayedAppends {
  #pending: DelayedAppend[] = []
  readonly #timers = new Set<NodeJS.Timeout>()

  /** Serves a request later. `land` is called once: at this event, or after a number of ms. */
  add(request: OssRequest, lands: LandingEvent | number, land: () => void): void {
    if (typeof lands === 'string') {
      this.#pending.push({ bucket: request.bucket, key: request.key, lands, land })
      return
    }
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      land()
    }, lands)
    this.#timers.add(timer.unref())
  }

  /** How many wait, timers included. */
  get length(): number {
    return this.#pending.length + this.#timers.size
  }

  /** To be called before a request is served. */
  landBeforeRequest(request: OssRequest): void {
    this.#land(request, 'beforeNext')
  }

  /** To be called after a request was served. */
  landAfterRequest(request: OssRequest): void {
    if (request.operation === 'head' || isEmptyAppend(request)) this.#land(request, 'afterLook')
  }

  /** Drops them all. */
  clear(): void {
    this.#pending = []
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }

  /** `land()` serves a request and so comes back here: take the due ones off the list first. */
  #land({ bucket, key }: OssRequest, lands: LandingEvent): void {
    const isDue = (each: DelayedAppend) =>
      each.bucket === bucket && each.key === key && each.lands === lands
    const due = this.#pending.filter(isDue)
    this.#pending = this.#pending.filter(each => !isDue(each))
    for (const { land } of due) land()
  }
}
