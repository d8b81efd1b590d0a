/** The errors of an outbox's streams: which one explains a loss, and which one is worth a warning. */

import { codeOf } from './undelivered-error.ts'

export class ErrorHistory {
  #cause: Error | undefined
  #latest: Error | undefined
  #warnedCode: string | undefined

  /** The last error since something was acknowledged: the cause of a loss. */
  get cause(): Error | undefined {
    return this.#cause
  }

  /** The last error ever. */
  get latest(): Error | undefined {
    return this.#latest
  }

  add(error: Error): void {
    this.#cause = error
    this.#latest = error
  }

  /**
   * Adds an error that ended a stream. Returns whether it is worth a warning: its code is not that of the last one, or
   * something was acknowledged since.
   */
  addWarning(error: Error): boolean {
    const isNew = codeOf(error) !== this.#warnedCode
    this.#warnedCode = codeOf(error)
    this.add(error)
    return isNew
  }

  onAcknowledged(): void {
    this.#cause = undefined
    this.#warnedCode = undefined
  }
}
