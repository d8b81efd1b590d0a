/**
 * The client's own undici Agent. Created at the first request, because loading undici takes longer than
 * loading everything else. Closing it destroys every connection.
 */

import type { Socket } from 'node:net'
import type { Agent } from 'undici'

/**
 * Connections to a bucket, and so exchanges in flight at once.
 * Without a limit, a thousand streams open a thousand sockets: more than a process may have by default
 * (256 on macOS). On a link of 10 MB/s, a full batch then gets 10 KB/s, and its deadline expects 64.
 * 64 connections serve a thousand streams three times a second, at 20 ms each.
 */
export const CONNECTIONS = 64

/**
 * Milliseconds. Shorter than the idle timeout of OSS and of usual proxies: an append on a socket that the
 * peer has just closed is in doubt.
 */
export const KEEP_ALIVE = 15_000

export class OwnAgent {
  readonly #connectTimeout: number
  #agent: Promise<Agent> | undefined
  readonly #sockets = new Set<Socket>()
  #closedBy: Error | undefined

  /** `connectTimeout`: milliseconds to open a connection. */
  constructor(connectTimeout: number) {
    this.#connectTimeout = connectTimeout
  }

  get(): Promise<Agent> {
    this.#agent ??= this.#create()
    return this.#agent
  }

  /**
   * Destroys every connection, and fails the requests that use or wait for one.
   * undici 7.30: `Agent.destroy()` leaves pending connects open, and forgets origins whose connections
   * all closed at once, with the requests that wait for them. So this destroys every socket itself.
   */
  async close(reason: Error): Promise<void> {
    this.#closedBy = reason
    // If undici could not be loaded, the requests have failed with that error.
    const agent = await this.#agent?.catch(() => undefined)
    await agent?.destroy()
    for (const socket of this.#sockets) socket.destroy(reason)
  }

  async #create(): Promise<Agent> {
    const { Agent, buildConnector } = await import('undici')
    const connect = buildConnector({ timeout: this.#connectTimeout })
    return new Agent({
      connect: (options, callback) => {
        if (this.#closedBy) {
          callback(this.#closedBy, null)
          return
        }
        // The connector returns the socket; its type does not say so.
        const socket = connect(options, callback) as unknown as Socket
        this.#sockets.add(socket)
        socket.once('close', () => this.#sockets.delete(socket))
      },
      // The limiter does not limit connections: undici 7.30 reconnects after an aborted exchange even if
      // no request waits.
      connections: CONNECTIONS,
      keepAliveTimeout: KEEP_ALIVE,
      keepAliveMaxTimeout: KEEP_ALIVE,
    })
  }
}
