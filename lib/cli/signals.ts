/**
 * SIGINT, SIGTERM and SIGHUP in two steps: the first asks the command to finish, the second to abort. After
 * that the default action holds again, so a third one kills. Node 20 to 26 undo `nohup`: they restore the
 * default action of every signal when they start. So SIGHUP needs a handler, or it would kill at once.
 */

import { constants } from 'node:os'
import { type Clock, systemClock, type Timer } from '../clock.ts'

/**
 * Milliseconds in which several signals count as one. A terminal sends Ctrl-C to the whole process group,
 * and `npm` and `npx` forward theirs to the command as well.
 */
const DUPLICATE_WINDOW = 300
const SIGNAL_NAMES = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

export class Signals {
  readonly #first = new AbortController()
  readonly #second = new AbortController()
  readonly #emitter: NodeJS.EventEmitter
  /** Counts the time after a signal. */
  readonly clock: Clock
  #received: NodeJS.Signals | undefined
  #firstAt = 0

  /** Listens until the second signal, or `dispose()`. */
  constructor(emitter: NodeJS.EventEmitter, clock: Clock = systemClock) {
    this.#emitter = emitter
    this.clock = clock
    for (const name of SIGNAL_NAMES) emitter.on(name, this.#onSignal)
  }

  /** Aborted by the first signal. */
  get first(): AbortSignal {
    return this.#first.signal
  }

  /** Aborted by the second signal. */
  get second(): AbortSignal {
    return this.#second.signal
  }

  /** The last signal that was acted on. */
  get received(): NodeJS.Signals | undefined {
    return this.#received
  }

  /** As shells report it: 129 after SIGHUP, 130 after SIGINT, 143 after SIGTERM, 0 without a signal. */
  get exitCode(): number {
    return this.#received ? 128 + constants.signals[this.#received] : 0
  }

  /** Milliseconds in which one more signal counts as the first; 0 before the first. */
  get duplicateTime(): number {
    if (!this.first.aborted) return 0
    return Math.max(0, this.#firstAt + DUPLICATE_WINDOW - this.clock.now())
  }

  /** Stops listening. */
  dispose(): void {
    for (const name of SIGNAL_NAMES) this.#emitter.removeListener(name, this.#onSignal)
  }

  readonly #onSignal = (name: NodeJS.Signals): void => {
    const now = this.clock.now()
    if (!this.first.aborted) {
      this.#received = name
      this.#firstAt = now
      this.#first.abort()
    } else if (now - this.#firstAt >= DUPLICATE_WINDOW) {
      this.#received = name
      this.dispose()
      this.#second.abort()
    }
  }
}

/** Milliseconds at the end of the grace in which nothing is read, so that what was read can be delivered. */
export const DELIVERY_TIME = 2_000

/** The time in which a command finishes after the first signal. */
export interface Grace {
  /** Aborted when the time is over, and by the second signal. */
  readonly signal: AbortSignal
  /** Stops the clock. */
  end(): void
}

/** What is said after the first signal. */
export function graceNotice({ received }: Pick<Signals, 'received'>, grace: number): string {
  const second = received === 'SIGINT' ? 'Ctrl-C again' : 'a second signal'
  return `${received}: finishing (up to ${grace / 1000} s); ${second} aborts`
}

/** A grace of `duration` milliseconds. */
export function startGrace(
  { first, second, clock }: Pick<Signals, 'first' | 'second' | 'clock'>,
  duration: number,
): Grace {
  const timeout = new AbortController()
  let timer: Timer | undefined
  const onFirstSignal = () => {
    timer = clock.setTimeout(() => timeout.abort(), duration)
  }
  const stopListening = onAbort(first, onFirstSignal)
  return {
    signal: AbortSignal.any([second, timeout.signal]),
    end() {
      if (timer) clock.clearTimeout(timer)
      stopListening()
    },
  }
}

/** Calls the listener when the signal is aborted, or at once if it is. Returns a function that stops listening. */
export function onAbort(signal: AbortSignal, listener: () => void): () => void {
  if (signal.aborted) listener()
  else signal.addEventListener('abort', listener, { once: true })
  return () => signal.removeEventListener('abort', listener)
}
