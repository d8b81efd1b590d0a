/**
 * Faults and the log over HTTP, for test suites in other languages. It has a port and a token of its own, and
 * cannot be reached through the port of OSS.
 */

import { createHash, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { ServerContext } from './context.ts'

/** The control address of a server. */
export class Control {
  /** Each request has to carry it: `Authorization: Bearer TOKEN`. */
  readonly token: string
  /** The port that it listens on. */
  port: number
  readonly #server = createServer((req, res) => void this.#handle(req, res))
  readonly #routes: Readonly<Record<string, (body: string) => unknown>>

  constructor(server: ServerContext, { port, token }: { port: number; token: string }) {
    this.port = port
    this.token = token
    const { faults, requests } = server
    const listFaults = () => ({ waiting: faults.list(), fired: faults.fired })
    this.#routes = {
      'GET /faults': listFaults,
      'POST /faults': body => {
        faults.pushJson(body)
        return listFaults()
      },
      'DELETE /faults': () => faults.clear(),
      'GET /requests': () => requests,
      'POST /reset': () => server.reset(),
    }
  }

  async listen(host: string): Promise<void> {
    if (this.#server.listening) return
    await once(this.#server.listen(this.port, host), 'listening')
    this.port = (this.#server.address() as AddressInfo).port
  }

  close(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  unref(): void {
    this.#server.unref()
  }

  async #handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const respond = (status: number, value: unknown) => {
      // A request that is refused may have a body that was not read.
      res.writeHead(status, { 'Content-Type': 'application/json', Connection: 'close' })
      res.end(`${JSON.stringify(value ?? null, toJson, 2)}\n`)
    }
    if (!this.#isAuthorized(req)) {
      return respond(401, { error: 'Send the token: Authorization: Bearer TOKEN' })
    }
    const route = this.#routes[`${req.method} ${req.url}`]
    if (route === undefined) {
      const routes = Object.keys(this.#routes).join(', ')
      return respond(404, { error: `There is no ${req.method} ${req.url}. Use one of: ${routes}` })
    }
    try {
      respond(200, route(Buffer.concat(await req.toArray()).toString()))
    } catch (error) {
      respond(400, { error: (error as Error).message })
    }
  }

  #isAuthorized({ headers }: IncomingMessage): boolean {
    const digest = (text: string) => createHash('sha256').update(text).digest()
    return timingSafeEqual(digest(headers.authorization ?? ''), digest(`Bearer ${this.token}`))
  }
}

/** JSON has no Infinity: it is written "Infinity", as `pushJson()` takes it. */
function toJson(_name: string, value: unknown): unknown {
  return value === Infinity ? 'Infinity' : value
}
