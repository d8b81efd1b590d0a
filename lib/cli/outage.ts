/** An outage is told when it begins and when it ends, however many attempts lie between. */

import { reasonOf } from './failure.ts'

export class Outage {
  readonly #say: (text: string) => void
  #since: number | undefined
  #retries = 0

  constructor(say: (text: string) => void) {
    this.#say = say
  }

  /** Retries since it began; 0 while there is none. */
  get retries(): number {
    return this.#retries
  }

  /** An attempt failed, and another one follows. */
  failed(error: Error): void {
    this.#retries++
    if (this.#since !== undefined) return
    this.#since = performance.now()
    const reason = reasonOf(error)
    this.#say(`trying again: ${error.message}${reason === undefined ? '' : ` (${reason})`}`)
  }

  /** Something succeeded. */
  ended(): void {
    if (this.#since === undefined) return
    const seconds = ((performance.now() - this.#since) / 1000).toFixed(1)
    const times = this.#retries === 1 ? '1 retry' : `${this.#retries} retries`
    this.#since = undefined
    this.#retries = 0
    this.#say(`going on after ${seconds} s and ${times}`)
  }
}
