/**
 * The client's own connections: an undici Client, which has one connection, for each exchange in flight.
 * undici is imported at the first request, because loading it takes longer than loading everything else.
 *
 * Not an undici Agent or Pool. 7.30: `Agent` drops the pool of an origin when its last connection closes,
 * and late events of that pool close its successor: after a HEAD without Content-Length and Connection,
 * every append opens a new connection. `Pool` uses a closed connection before an open one.
 */

import type { Socket } from 'node:net'
import type { Client, Dispatcher } from 'undici'
import { nameAndCode, OssError } from '../errors.ts'

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

/** From this number on, origins without connections are forgotten: a client may serve many buckets. */
const MAX_IDLE_ORIGINS = 16

/** The part of a Dispatcher that an exchange uses. */
export type ExchangeDispatcher = Pick<Dispatcher, 'dispatch'>

export class OwnAgent {
  readonly #connectTimeout: number
  #dispatcher: Promise<ExchangeDispatcher> | undefined
  readonly #clients = new Map<string, Client[]>()
  readonly #sockets = new Set<Socket>()
  #closedBy: Error | undefined

  /** `connectTimeout`: milliseconds to open a connection. */
  constructor(connectTimeout: number) {
    this.#connectTimeout = connectTimeout
  }

  get(): Promise<ExchangeDispatcher> {
    this.#dispatcher ??= this.#createDispatcher()
    return this.#dispatcher
  }

  /**
   * Destroys every connection, and fails the requests that use or wait for one.
   * undici 7.30: `Client.destroy()` leaves a pending connect open, so this destroys every socket itself.
   */
  async close(reason: Error): Promise<void> {
    this.#closedBy = reason
    const clients = [...this.#clients.values()].flat()
    this.#clients.clear()
    await Promise.all(clients.map(client => client.destroy(null)))
    for (const socket of this.#sockets) socket.destroy(reason)
  }

  async #createDispatcher(): Promise<ExchangeDispatcher> {
    const { Client, buildConnector } = await importUndici()
    const connect = buildConnector({ timeout: this.#connectTimeout })
    const options: Client.Options = {
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
      keepAliveTimeout: KEEP_ALIVE,
      keepAliveMaxTimeout: KEEP_ALIVE,
    }
    const createClient = (origin: string) => {
      const client = new Client(origin, options)
      return client.on('disconnect', (_origin, _targets, error) => {
        if (isAbort(error)) this.#discardClient(origin, client)
      })
    }
    return {
      dispatch: (request, handler) => {
        const origin = String(request.origin)
        return this.#chooseClient(origin, createClient).dispatch(request, handler)
      },
    }
  }

  /** A client with an open idle connection, else an idle one, else a new one, else the least busy one. */
  #chooseClient(origin: string, createClient: (origin: string) => Client): Client {
    const clients = this.#clients.get(origin) ?? this.#addOrigin(origin)
    const [best] = clients
      .map(client => ({ client, size: client.stats.size, connected: client.stats.connected }))
      .sort((a, b) => a.size - b.size || Number(b.connected) - Number(a.connected))
    if (best && (best.size === 0 || clients.length >= CONNECTIONS)) return best.client
    const client = createClient(origin)
    clients.push(client)
    return client
  }

  /** Unless other requests wait for this client, because all are busy. */
  #discardClient(origin: string, client: Client): void {
    if (client.stats.size > 1) return
    const clients = this.#clients.get(origin) ?? []
    this.#clients.set(
      origin,
      clients.filter(other => other !== client),
    )
    client.destroy(null)
  }

  #addOrigin(origin: string): Client[] {
    if (this.#clients.size >= MAX_IDLE_ORIGINS) {
      for (const [other, clients] of this.#clients) {
        if (clients.every(({ stats }) => stats.size === 0 && !stats.connected)) {
          this.#clients.delete(other)
        }
      }
    }
    const clients: Client[] = []
    this.#clients.set(origin, clients)
    return clients
  }
}

/** No attempt can succeed without undici, so each error of this is final. */
async function importUndici(): Promise<Undici> {
  const undici = await import('undici').catch((error: unknown) => {
    throw missingUndici(`undici cannot be loaded (${nameAndCode(error).message})`)
  })
  // Bun has an undici of its own, whose dispatchers send nothing.
  if (typeof undici.Client?.prototype?.dispatch === 'function') return undici
  throw missingUndici('this runtime replaces undici by a module without dispatch()')
}

type Undici = typeof import('undici')

function missingUndici(problem: string): OssError {
  return new OssError('OSS_ERR_INVALID_OPTION', `option dispatcher: is needed: ${problem}`, {
    isUnsent: true,
  })
}

/** undici 7.30 reconnects after an abort, with the aborted request as the only one. */
function isAbort(error: Error): boolean {
  return (error as NodeJS.ErrnoException).code === 'UND_ERR_INFO' && error.message === 'aborted'
}
