/**
 * One connection on which requests leave without waiting for the responses to those before them. OSS handles the
 * requests of a connection in order, and so do its responses arrive.
 *
 * undici 7.30: after a request that failed, those behind it are sent again on a new connection, without a word. So
 * if one fails, all fail here, and nothing is sent again. Only after a response with `Connection: close` undici
 * may still send those behind it again.
 */

import type { Dispatcher } from 'undici'
import type { ConnectedHandler, ExchangeDispatcher, PipelineClient } from './agent.ts'

/** The handler of an exchange on a pipeline. */
export interface PipelinedHandler extends ConnectedHandler {
  /** The exchange is the next one to be answered. */
  startDeadline(): void
  /** Ends the exchange. */
  abort(reason: unknown): void
  /** Called when the exchange has ended. `failure`: why the connection can serve no further one. */
  onSettled: ((failure?: unknown) => void) | undefined
}

/** The place of an exchange in the order of a pipeline. */
export interface PipelineTurn {
  readonly pipeline: Pipeline
  /** Resolves when the exchange before it was given to the connection, or has failed. */
  readonly begun: Promise<void>
  /** The next one may begin. */
  readonly leave: () => void
}

/** Makes an undici Client for one origin. */
type CreatePipelineClient = (origin: string) => PipelineClient

export class Pipeline implements ExchangeDispatcher {
  readonly #load: () => Promise<CreatePipelineClient>
  #create: CreatePipelineClient | undefined
  #current: PipelineClient | undefined
  /** The exchanges in flight, in order. */
  #handlers: PipelinedHandler[] = []
  #lastTurn: Promise<void> = Promise.resolve()

  constructor(load: () => Promise<CreatePipelineClient>) {
    this.#load = load
  }

  /** Exchanges are sent in the order of the calls, though a signature takes one longer than another. */
  takeTurn(): PipelineTurn {
    const begun = this.#lastTurn
    let leave!: () => void
    this.#lastTurn = new Promise(resolve => {
      leave = resolve
    })
    return { pipeline: this, begun, leave }
  }

  async get(): Promise<this> {
    this.#create ??= await this.#load()
    return this
  }

  dispatch(request: Dispatcher.DispatchOptions, handler: PipelinedHandler): boolean {
    this.#current ??= this.#create?.(String(request.origin)) as PipelineClient
    const { client, connection } = this.#current
    handler.connection = connection
    handler.onSettled = failure => this.#onSettled(handler, failure)
    this.#handlers.push(handler)
    if (this.#handlers.length === 1) handler.startDeadline()
    return client.dispatch({ ...request, idempotent: true, blocking: false }, handler)
  }

  close(): void {
    this.#breakUp(new Error('closed'))
  }

  #onSettled(handler: PipelinedHandler, failure: unknown): void {
    const index = this.#handlers.indexOf(handler)
    if (index === -1) return
    this.#handlers.splice(index, 1)
    if (failure !== undefined) this.#breakUp(failure)
    else if (index === 0) this.#handlers[0]?.startDeadline()
  }

  /** Ends all exchanges in flight, in one go, before undici can send one of them again. */
  #breakUp(reason: unknown): void {
    const broken = this.#current
    this.#current = undefined
    const handlers = this.#handlers
    this.#handlers = []
    for (const handler of handlers) handler.abort(reason)
    if (!broken) return
    broken.isBroken = true
    broken.connection.socket?.destroy()
    // undici 7.30: `destroy()` while it closes a connection would fail an assertion, so that waits for 'disconnect'.
    if (!broken.isOpen) broken.destroy()
  }
}
