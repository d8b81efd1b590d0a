/** Time and randomness, passed in so that tests can replace them. */

export interface Clock {
  /** Milliseconds since a fixed moment. Never goes back. */
  now(): number
  /** Uniform in [0, 1). */
  random(): number
  setTimeout(callback: () => void, delay: number): Timer
  clearTimeout(timer: Timer): void
}

/** A timer keeps the process alive after `ref()`, as after its creation, and not after `unref()`. */
export interface Timer {
  ref(): unknown
  unref(): unknown
}

export const systemClock: Clock = {
  now: () => performance.now(),
  random: Math.random,
  // The time until a moment that has passed is negative, and Node 24 prints a warning for that.
  setTimeout: (callback, delay) => setTimeout(callback, Math.max(0, delay)),
  clearTimeout: timer => clearTimeout(timer as NodeJS.Timeout),
}
