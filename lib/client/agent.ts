/**
 * Our own undici Agent: loaded when it is first needed, since loading undici takes longer than everything
 * else together, and cut when it is closed. A dispatcher that was given is none of ours.
 */

import type { Socket } from 'node:net'
import type { Agent } from 'undici'

/**
 * Connections to a bucket, and so exchanges in flight at once. Without a bound a thousand streams open a
 * thousand sockets: more than a process may have by default (256 on macOS), and on a line of 10 MB/s a
 * full batch gets 10 KB/s of it, when its deadline expects 64. By 64 all of them get through, at 20 ms
 * each, three times a second.
 */
export const CONNECTIONS = 64

/** Below the idle timeout of OSS and of usual proxies: a socket that the peer has just closed costs a doubt. */
export const KEEP_ALIVE = 15_000

export class OwnAgent {
  readonly #connectTimeout: number
  #agent: Promise<Agent> | undefined
  readonly #sockets = new Set<Socket>()
  #closedBy: Error | undefined

  /** Milliseconds to open a connection. */
  constructor(connectTimeout: number) {
    this.#connectTimeout = connectTimeout
  }

  get(): Promise<Agent> {
    this.#agent ??= this.#create()
    return this.#agent
  }

  /**
   * Cuts every connection; who waits for one is told the reason. Not by the Agent alone: that ends no
   * attempt to connect, and forgets the connections to an origin, with the requests that wait for one,
   * once all of them were cut at a time.
   */
  async close(reason: Error): Promise<void> {
    this.#closedBy = reason
    // That undici could not be loaded has been told to whoever asked.
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
        // It returns the socket, which its type does not say.
        const socket = connect(options, callback) as unknown as Socket
        this.#sockets.add(socket)
        socket.once('close', () => this.#sockets.delete(socket))
      },
      // After an exchange that was cut, undici connects again though nothing is to be sent: that only so
      // much is sent at once does not bound them.
      connections: CONNECTIONS,
      keepAliveTimeout: KEEP_ALIVE,
      keepAliveMaxTimeout: KEEP_ALIVE,
    })
  }
}
