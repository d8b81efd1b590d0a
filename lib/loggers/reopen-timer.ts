/** The time between the failure of a stream and the next stream. */

/** Milliseconds. Doubled with each failure while nothing is acknowledged. */
const MIN_DELAY = 1000
const MAX_DELAY = 30_000

export class ReopenTimer {
  readonly #reopen: () => void
  #timer: NodeJS.Timeout | undefined
  /** Streams that failed since something was acknowledged. */
  #failures = 0

  constructor(reopen: () => void) {
    this.#reopen = reopen
  }

  get isRunning(): boolean {
    return this.#timer !== undefined
  }

  /** `isEnding`: the delay is the least one, since a longer one would exceed `closeTimeout`. */
  start({ isEnding, holdsProcess }: { isEnding: boolean; holdsProcess: boolean }): void {
    const failures = isEnding ? 0 : this.#failures++
    const delay = Math.min(MAX_DELAY, MIN_DELAY * 2 ** failures)
    this.#timer = setTimeout(() => this.#reopen(), delay)
    if (!holdsProcess) this.#timer.unref()
  }

  /** From now on the wait holds the process: there are records to deliver. */
  ref(): void {
    this.#timer?.ref()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  onAcknowledged(): void {
    this.#failures = 0
  }
}
