/**
 * The client's own connections: an undici Client, which has one connection, for each exchange in flight.
 * undici is imported at the first request, because loading it takes longer than loading everything else.
 *
 * Not an undici Agent or Pool. 7.30: `Agent` drops the pool of an origin when its last connection closes,
 * and late events of that pool close its successor: after a HEAD without Content-Length and Connection,
 * every append opens a new connection. `Pool` uses a closed connection before an open one.
 */

import type { Socket } from 'node:net'
import type { buildConnector, Client, Dispatcher } from 'undici'
import { nameAndCode, OssError } from '../errors.ts'

/**
 * Connections to a bucket, and exchanges of a client in flight at once. Pipelines have connections of their own.
 * Without a limit, a thousand streams open a thousand sockets: more than a process may have by default
 * (256 on macOS). On a link of 10 MB/s each then gets 10 KB/s: a batch of 4 MiB takes 7 minutes.
 * 64 connections serve a thousand streams three times a second, at 20 ms each.
 */
export const CONNECTIONS = 64

/**
 * Milliseconds. Shorter than the idle timeout of OSS and of usual proxies: an append on a socket that the
 * peer has just closed is in doubt.
 */
export const KEEP_ALIVE = 15_000

/**
 * Bytes of a body that are handed to a socket at once, at first and on a slow link. A deadline has to allow for
 * the slowest link to take as many.
 */
const PART = 131_072

/**
 * Milliseconds. A part that left within this time is followed by one twice as long: over a fast link a batch goes
 * in one write. 32 parts would cost an append of 4 MiB a quarter of its CPU.
 */
const FAST = 100

/** From this number on, origins without connections are forgotten: a client may serve many buckets. */
const MAX_IDLE_ORIGINS = 16

/** The connection of an undici Client, as an exchange sees it. One request at a time is written to it. */
export interface Connection {
  /** Undefined before the first connect. */
  socket: Socket | undefined
  /** Called at each write to the socket. */
  onWrite: (() => WriteObserver) | undefined
  /** Bytes of the next part of a body. */
  part: number
}

/** Makes an undici Client, which has one connection with at most `pipelining` exchanges in flight. */
type CreateClient = (
  origin: string,
  pipelining: number,
) => { readonly client: Client; readonly connection: Connection }

/** An undici Client for one pipeline, and its connection. */
export interface PipelineClient {
  readonly client: Client
  readonly connection: Connection
  /** Destroys the client, and forgets it. */
  readonly destroy: () => void
  isOpen: boolean
  /** It is not to be used again. */
  isBroken: boolean
}

/** Called when the socket has taken a part of what is written to it. */
export type WriteObserver = (isLast: boolean) => void

/** The handler of an exchange, which is told its connection before the request begins. */
export interface ConnectedHandler extends Dispatcher.DispatchHandler {
  connection?: Connection | undefined
}

/** The part of a Dispatcher that an exchange uses. */
export interface ExchangeDispatcher {
  dispatch(request: Dispatcher.DispatchOptions, handler: ConnectedHandler): boolean
}

/**
 * Opens a connection to `host:port` through a proxy, in which TLS begins. Returns its socket at once, so that it can be
 * destroyed. An error with the code `UND_ERR_SOCKET` would make undici 7.30 connect again at once, without
 * end (nodejs/undici#3897).
 */
export type OpenTunnel = (
  authority: string,
  callback: (error: Error | null, socket: Socket) => void,
) => Socket

export class OwnAgent {
  readonly #connectTimeout: number
  readonly #openTunnel: OpenTunnel | undefined
  #dispatcher: Promise<ExchangeDispatcher> | undefined
  #loading: Promise<CreateClient> | undefined
  /** Clients of pipelines. */
  readonly #pipelineClients = new Set<Client>()
  /** The other clients, by origin. */
  readonly #clients = new Map<string, Client[]>()
  readonly #connections = new WeakMap<Client, Connection>()
  /** All that are open, or being opened. */
  readonly #sockets = new Set<Socket>()
  #closedBy: Error | undefined

  /** `connectTimeout`: milliseconds to open a connection. With `openTunnel`, all origins are https. */
  constructor(connectTimeout: number, openTunnel?: OpenTunnel) {
    this.#connectTimeout = connectTimeout
    this.#openTunnel = openTunnel
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
    const clients = [...this.#clients.values(), ...this.#pipelineClients].flat()
    this.#clients.clear()
    await Promise.all(clients.map(client => client.destroy(null)))
    for (const socket of this.#sockets) socket.destroy(reason)
  }

  /** Loads undici. Resolves with a function that makes clients for at most `depth` exchanges in flight each. */
  async loadPipelines(depth: number): Promise<(origin: string) => PipelineClient> {
    const create = await this.#load()
    return origin => this.#createPipelineClient(create, origin, depth)
  }

  #createPipelineClient(create: CreateClient, origin: string, depth: number): PipelineClient {
    const { client, connection } = create(origin, depth)
    const destroy = () => {
      this.#pipelineClients.delete(client)
      void client.destroy(null)
    }
    const created: PipelineClient = { client, connection, destroy, isOpen: false, isBroken: false }
    this.#pipelineClients.add(client)
    client.on('connect', () => {
      created.isOpen = true
    })
    client.on('disconnect', () => {
      created.isOpen = false
      if (created.isBroken) created.destroy()
    })
    return created
  }

  async #createDispatcher(): Promise<ExchangeDispatcher> {
    const create = await this.#load()
    const createClient = (origin: string) => {
      const { client, connection } = create(origin, 1)
      this.#connections.set(client, connection)
      return client.on('disconnect', (_origin, _targets, error) => {
        if (isAbort(error)) this.#discardClient(origin, client)
      })
    }
    return {
      dispatch: (request, handler) => {
        const origin = String(request.origin)
        const client = this.#chooseClient(origin, createClient)
        handler.connection = this.#connections.get(client)
        return client.dispatch(request, handler)
      },
    }
  }

  #load(): Promise<CreateClient> {
    this.#loading ??= this.#loadUndici()
    return this.#loading
  }

  async #loadUndici(): Promise<CreateClient> {
    const { Client, buildConnector } = await importUndici()
    const build = buildConnector({ timeout: this.#connectTimeout })
    const connectorFor = (connection: Connection): buildConnector.connector => {
      const connect: buildConnector.connector = (options, callback) => {
        if (this.#closedBy) {
          callback(this.#closedBy, null)
          return
        }
        // The connector returns the socket; its type does not say so.
        const socket = build(options, callback) as unknown as Socket
        connection.socket = socket
        connection.part = PART
        writeInParts(socket, connection)
        this.#track(socket)
      }
      const openTunnel = this.#openTunnel
      if (!openTunnel) return connect
      return (options, callback) => {
        const socket = openTunnel(authorityOf(options), (error, httpSocket) => {
          if (error) callback(error, null)
          else connect({ ...options, httpSocket }, callback)
        })
        this.#track(socket)
      }
    }
    return (origin, pipelining) => {
      const connection: Connection = { socket: undefined, onWrite: undefined, part: PART }
      const client = new Client(origin, {
        connect: connectorFor(connection),
        keepAliveTimeout: KEEP_ALIVE,
        keepAliveMaxTimeout: KEEP_ALIVE,
        pipelining,
      })
      return { client, connection }
    }
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
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

/** undici leaves out the default port. */
function authorityOf({ host = '', port }: buildConnector.Options): string {
  return port === '' ? `${host}:443` : host
}

/**
 * undici (7.30) writes header and body at once, after `onRequestStart`. Here the body goes in parts, each
 * when the one before has left: over TLS, Node shows the progress of a write by nothing but its end. For the same
 * reason no two bodies are written together: the first would count as sent when the second is.
 */
function writeInParts(socket: Socket, connection: Connection): void {
  const { write } = socket
  /** Writes of pipelined requests that wait until the body before them has left. */
  const waiting: (() => void)[] = []
  let isBusy = false
  const writeWaiting = (): void => {
    isBusy = false
    socket.cork()
    while (!isBusy && waiting.length > 0) waiting.shift()?.()
    socket.uncork()
  }
  socket.write = (chunk: Uint8Array | string, ...rest: unknown[]) => {
    const observe = connection.socket === socket ? connection.onWrite?.() : undefined
    if (!observe) return Reflect.apply(write, socket, [chunk, ...rest])
    const length = typeof chunk === 'string' ? 0 : chunk.length
    const writeFrom = (start: number): boolean => {
      const startedAt = performance.now()
      const end = start + connection.part
      const part = typeof chunk === 'string' ? chunk : chunk.subarray(start, end)
      const onTaken = (error?: Error | null) => {
        // The part has not left. Node reports no error for one that a destroyed socket has not written.
        if (error || socket.destroyed) return
        const isFast = performance.now() - startedAt < FAST
        if (!isFast) connection.part = PART
        else if (end <= length) connection.part *= 2
        observe(end >= length)
        if (end < length) writeFrom(end)
        else if (length > 0) writeWaiting()
      }
      isBusy = length > 0
      return Reflect.apply(write, socket, [part, rest[0], onTaken])
    }
    if (!isBusy) return writeFrom(0)
    waiting.push(() => writeFrom(0))
    return false
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
