/**
 * The deadline of an exchange measures silence: it starts again whenever the socket has taken a part of the
 * request, and once more when all has left. Without that, a batch that is too large for a slow link could
 * never be sent, however long the deadline.
 *
 * Taken by the socket is not received, since the kernel holds up to some megabytes. So the wait for the
 * response needs as long a deadline as a part. Without a connection to watch, one deadline covers all.
 */

import { MAX_DELAY } from '../validate.ts'
import type { Connection, WriteObserver } from './agent.ts'

export class Deadline {
  readonly #delay: number
  readonly #onExpire: () => void
  #timer: NodeJS.Timeout | undefined
  #connection: Connection | undefined
  /** Writes to the socket that are not complete. */
  #writes = 0

  /** `delay`: milliseconds of silence. */
  constructor(delay: number, onExpire: () => void) {
    this.#delay = Math.min(delay, MAX_DELAY)
    this.#onExpire = onExpire
  }

  /** Bytes of the request are still in this process. */
  get isSending(): boolean {
    return this.#writes > 0
  }

  /**
   * Starts afresh. Node runs timers before it reads sockets: after other work has blocked the event loop, a
   * response may lie in the socket. It is read before the timer counts.
   */
  restart(): void {
    clearTimeout(this.#timer)
    const timer = setTimeout(() => {
      const expire = () => {
        if (this.#timer === timer) this.#onExpire()
      }
      setImmediate(() => setImmediate(expire))
    }, this.#delay)
    this.#timer = timer
  }

  /** The request begins on this connection: whatever is written to it now is a part of the request. */
  watch(connection: Connection): void {
    this.#connection = connection
    // undici may begin a pipelined request again on another connection.
    this.#writes = 0
    connection.onWrite = this.#onWrite
  }

  /** Leaves nothing on the connection, which serves further requests. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#connection?.onWrite === this.#onWrite) this.#connection.onWrite = undefined
    this.#connection = undefined
  }

  readonly #onWrite = (): WriteObserver => {
    const connection = this.#connection
    this.#writes += 1
    return isLast => {
      // A write to a connection before this one is not counted any more.
      if (isLast && connection === this.#connection) this.#writes -= 1
      if (this.#timer) this.restart()
    }
  }
}
