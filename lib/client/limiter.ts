/**
 * Lets so many tasks run at once; the others wait outside, first come first served. It knows neither
 * what they do nor how long they may take: whoever waits uses up none of his own time, and may leave.
 */

export class Limiter {
  #free: number
  /** Those outside, in the order in which they came. */
  readonly #queue = new Set<() => void>()

  constructor(places: number) {
    this.#free = places
  }

  /** Runs `task` when its turn comes. Aborting `signal` before that rejects with its reason. */
  async run<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    await this.#acquire(signal)
    try {
      return await task()
    } finally {
      this.#release()
    }
  }

  async #acquire(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#free > 0) {
      this.#free -= 1
      return
    }
    await new Promise<void>((resolve, reject) => {
      const enter = () => {
        signal.removeEventListener('abort', abort)
        resolve()
      }
      const abort = () => {
        this.#queue.delete(enter)
        signal.removeEventListener('abort', abort)
        reject(signal.reason)
      }
      signal.addEventListener('abort', abort)
      this.#queue.add(enter)
    })
  }

  /** The place goes to the next in order, and is never free in between: nobody can push in. */
  #release(): void {
    const [next] = this.#queue
    if (!next) {
      this.#free += 1
      return
    }
    this.#queue.delete(next)
    next()
  }
}
