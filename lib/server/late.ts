/**
 * Appends that their senders have given up on and that land all the same: a request that timed out
 * at the client can still be executing at the server. Holds each until its moment has come.
 */

import { type Call, isEmptyAppend } from './request.ts'

interface LateAppend {
  readonly bucket: string
  readonly key: string
  readonly lands: 'beforeNext' | 'afterLook'
  readonly land: () => void
}

/** Requests that are still to be served. */
export class LateAppends {
  #waiting: LateAppend[] = []
  readonly #timers = new Set<NodeJS.Timeout>()

  /** Serves a request later: `land` is called once, at its moment. */
  add(call: Call, lands: 'beforeNext' | 'afterLook' | number, land: () => void): void {
    if (typeof lands === 'string') {
      this.#waiting.push({ bucket: call.bucket, key: call.key, lands, land })
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
    return this.#waiting.length + this.#timers.size
  }

  /** To be called before a request is judged. */
  landBefore(call: Call): void {
    this.#land(call, 'beforeNext')
  }

  /** To be called after a request was judged. */
  landAfter(call: Call): void {
    if (call.operation === 'head' || isEmptyAppend(call)) this.#land(call, 'afterLook')
  }

  /** Forgets them all. */
  clear(): void {
    this.#waiting = []
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }

  /** Taken off the list before they land, since landing judges a request and comes back here. */
  #land({ bucket, key }: Call, lands: 'beforeNext' | 'afterLook'): void {
    const isDue = (each: LateAppend) =>
      each.bucket === bucket && each.key === key && each.lands === lands
    const due = this.#waiting.filter(isDue)
    this.#waiting = this.#waiting.filter(each => !isDue(each))
    for (const { land } of due) land()
  }
}
