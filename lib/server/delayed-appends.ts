/**
 * Appends that their senders have given up on and that land all the same: a request that timed out
 * at the client can still be executing at the server. Holds each until its moment has come.
 */

import { isEmptyAppend, type OssRequest } from './request.ts'

interface DelayedAppend {
  readonly bucket: string
  readonly key: string
  readonly lands: 'beforeNext' | 'afterLook'
  readonly land: () => void
}

/** Requests that are still to be served. */
export class DelayedAppends {
  #pending: DelayedAppend[] = []
  readonly #timers = new Set<NodeJS.Timeout>()

  /** Serves a request later: `land` is called once, at its moment. */
  add(request: OssRequest, lands: 'beforeNext' | 'afterLook' | number, land: () => void): void {
    if (typeof lands === 'string') {
      this.#pending.push({ bucket: request.bucket, key: request.key, lands, land })
      return
    }
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      land()
    }, lands)
    this.#timers.add(timer)
  }

  /** How many wait, timers included. */
  get length(): number {
    return this.#pending.length + this.#timers.size
  }

  /** To be called before a request is judged. */
  landBeforeRequest(request: OssRequest): void {
    this.#land(request, 'beforeNext')
  }

  /** To be called after a request was judged. */
  landAfterRequest(request: OssRequest): void {
    if (request.operation === 'head' || isEmptyAppend(request)) this.#land(request, 'afterLook')
  }

  /** Forgets them all. */
  clear(): void {
    this.#pending = []
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }

  /** Taken off the list before they land, since landing judges a request and comes back here. */
  #land({ bucket, key }: OssRequest, lands: 'beforeNext' | 'afterLook'): void {
    const isDue = (each: DelayedAppend) =>
      each.bucket === bucket && each.key === key && each.lands === lands
    const due = this.#pending.filter(isDue)
    this.#pending = this.#pending.filter(each => !isDue(each))
    for (const { land } of due) land()
  }
}
