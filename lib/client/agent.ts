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
  /** Sockets that are not connected yet. */
  readonly #connecting = new Set<Socket>()

  /** Milliseconds to open a connection. */
  constructor(connectTimeout: number) {
    this.#connectTimeout = connectTimeout
  }

  get(): Promise<Agent> {
    this.#agent ??= this.#create()
    return this.#agent
  }

  /** Cuts every connection; who waits for one is told the reason. */
  async close(reason: Error): Promise<void> {
    // That undici could not be loaded has been told to whoever asked.
    const agent = await this.#agent?.catch(() => undefined)
    await agent?.destroy()
    for (const socket of this.#connecting) socket.destroy(reason)
  }

  async #create(): Promise<Agent> {
    const { Agent, buildConnector } = await import('undici')
    const connect = buildConnector({ timeout: this.#connectTimeout })
    return new Agent({
      // undici ends an attempt to connect by its timeout alone, not even when the Agent is destroyed.
      connect: (options, callback) => {
        // It returns the socket, which its type does not say.
        const socket = connect(options, (...result) => {
          this.#connecting.delete(socket)
          callback(...result)
        }) as unknown as Socket
        this.#connecting.add(socket)
      },
      // After an exchange that was cut, undici connects again though nothing is to be sent.
      connections: CONNECTIONS,
      keepAliveTimeout: KEEP_ALIVE,
      keepAliveMaxTimeout: KEEP_ALIVE,
    })
  }
}
