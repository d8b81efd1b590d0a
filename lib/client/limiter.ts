/**
 * Limits the number of tasks that run at once. The others wait in order. A deadline of a task starts when
 * the task does, so waiting costs none of it.
 */

export class Limiter {
  #free: number
  /** Resumes each waiting task, in order of arrival. */
  readonly #queue = new Set<() => void>()

  constructor(maxRunning: number) {
    this.#free = maxRunning
  }

  /** Runs `task` when a slot is free. If `signal` is aborted before that, rejects with its reason. */
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
      const start = () => {
        signal.removeEventListener('abort', abort)
        resolve()
      }
      const abort = () => {
        this.#queue.delete(start)
        signal.removeEventListener('abort', abort)
        reject(signal.reason)
      }
      signal.addEventListener('abort', abort)
      this.#queue.add(start)
    })
  }

  /** Hands the slot directly to the next task, so that a new task cannot take it first. */
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
