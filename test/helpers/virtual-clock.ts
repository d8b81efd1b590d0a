/** A clock that goes from timer to timer while real code runs, so that hours take milliseconds. */

import type { Clock, Timer } from '../../lib/clock.ts'

/** Turns of the event loop in which the code under test does all that it can do without a timer. */
const TURNS = 12

class VirtualTimer implements Timer {
  readonly at: number
  readonly callback: () => void

  constructor(at: number, callback: () => void) {
    this.at = at
    this.callback = callback
  }

  ref(): void {}
  unref(): void {}
}

export class VirtualClock implements Clock {
  #time = 0
  readonly #timers = new Set<VirtualTimer>()

  now(): number {
    return this.#time
  }

  random(): number {
    return 0.5
  }

  setTimeout(callback: () => void, delay: number): Timer {
    const timer = new VirtualTimer(this.#time + delay, callback)
    this.#timers.add(timer)
    return timer
  }

  clearTimeout(timer: Timer): void {
    this.#timers.delete(timer as VirtualTimer)
  }

  /** Fires one timer after another, in order of time, until the promise has settled. */
  async runUntil<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false
    const settle = () => {
      isSettled = true
    }
    promise.then(settle, settle)
    while (!isSettled) {
      for (let turn = 0; turn < TURNS; turn++) await new Promise(setImmediate)
      const [next] = [...this.#timers].sort((a, b) => a.at - b.at)
      if (!next || isSettled) continue
      this.#timers.delete(next)
      this.#time = next.at
      next.callback()
    }
    return promise
  }
}
