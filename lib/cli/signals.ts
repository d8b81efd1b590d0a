/**
 * SIGINT and SIGTERM in two steps: the first asks to come to an end, the second one to stop. After that
 * Node's own rule holds again, and a third kills. SIGHUP is left alone: a handler would undo `nohup`.
 */

import { constants } from 'node:os'

/**
 * Milliseconds in which signals count as one. A terminal sends Ctrl-C to everybody, and `npm` and `npx`
 * hand theirs on to us once more.
 */
const DUPLICATE_WINDOW = 300
const SIGNAL_NAMES = ['SIGINT', 'SIGTERM'] as const

export class Signals {
  readonly #first = new AbortController()
  readonly #second = new AbortController()
  #received: NodeJS.Signals | undefined
  #firstAt = 0

  readonly #emitter: NodeJS.EventEmitter
  readonly #now: () => number

  /** A test has signals and a time of its own. */
  constructor(emitter: NodeJS.EventEmitter = process, now = () => performance.now()) {
    this.#emitter = emitter
    this.#now = now
    for (const name of SIGNAL_NAMES) emitter.on(name, this.#onSignal)
  }

  /** Aborted by the first signal. */
  get first(): AbortSignal {
    return this.#first.signal
  }

  /** Aborted by the second one. */
  get second(): AbortSignal {
    return this.#second.signal
  }

  /** The last one that came. */
  get received(): NodeJS.Signals | undefined {
    return this.#received
  }

  /** As a shell has it: 130 for SIGINT, 143 for SIGTERM; 0 if none came. */
  get exitCode(): number {
    return this.#received ? 128 + constants.signals[this.#received] : 0
  }

  readonly #onSignal = (name: NodeJS.Signals): void => {
    const now = this.#now()
    if (!this.first.aborted) {
      this.#received = name
      this.#firstAt = now
      this.#first.abort()
    } else if (now - this.#firstAt >= DUPLICATE_WINDOW) {
      this.#received = name
      for (const each of SIGNAL_NAMES) this.#emitter.removeListener(each, this.#onSignal)
      this.#second.abort()
    }
  }
}
