/** Where time and chance come from: arguments to whoever waits, so that a test has its own. A leaf. */

export interface Clock {
  /** Milliseconds from some fixed moment; never goes back. */
  now(): number
  /** Uniform in [0, 1). */
  random(): number
  setTimeout(callback: () => void, delay: number): Timer
  clearTimeout(timer: Timer): void
}

/** A timer that holds the process (`ref`, as it is born) or does not (`unref`). */
export interface Timer {
  ref(): unknown
  unref(): unknown
}

export const systemClock: Clock = {
  now: () => performance.now(),
  random: Math.random,
  setTimeout: (callback, delay) => setTimeout(callback, delay),
  clearTimeout: timer => clearTimeout(timer as NodeJS.Timeout),
}
