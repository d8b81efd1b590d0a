/**
 * Requests through an http proxy, over the client's own kind of connections. To an http endpoint they go in
 * absolute form, since a proxy may refuse CONNECT to ports other than 443 (Squid's default). To an https
 * endpoint they go through a tunnel.
 *
 * Not undici's ProxyAgent, 7.30: a proxy that closes the connection at CONNECT is asked again thousands of
 * times a second (nodejs/undici#3897).
 */

import { request as httpRequest } from 'node:http'
import { isIP, connect as netConnect, type Socket } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import type { Dispatcher } from 'undici'
import { type ExchangeDispatcher, type OpenTunnel, OwnAgent } from '../client/agent.ts'
import { hostAndPort } from '../client/endpoint.ts'
import { OssError } from '../errors.ts'
import type { ProxyFor } from './proxies.ts'

export interface ProxyDispatcher {
  readonly dispatcher: Dispatcher
  close(): Promise<void>
}

/** All origins have the scheme of one endpoint. `connectTimeout`: milliseconds. */
export async function createProxyDispatcher(
  proxyFor: ProxyFor,
  connectTimeout: number,
): Promise<ProxyDispatcher> {
  const openTunnel: OpenTunnel = (authority, callback) => {
    const proxy = proxyFor(`https://${authority}`)
    // Origins without a proxy go over the direct agent.
    if (!proxy) throw new Error(`no proxy for ${authority}`)
    return connectThrough(proxy, authority, { timeout: connectTimeout, callback })
  }
  const agents = {
    direct: new OwnAgent(connectTimeout),
    forward: new OwnAgent(connectTimeout),
    tunnel: new OwnAgent(connectTimeout, openTunnel),
  }
  const direct = await agents.direct.get()
  const forward = await agents.forward.get()
  const tunnel = await agents.tunnel.get()
  const dispatch: ExchangeDispatcher['dispatch'] = (request, handler) => {
    const origin = String(request.origin)
    const proxy = proxyFor(origin)
    if (!proxy) return direct.dispatch(request, handler)
    if (origin.startsWith('https:')) return tunnel.dispatch(request, handler)
    return forward.dispatch(toAbsoluteForm(request, origin, proxy), handler)
  }
  return {
    // Of a Dispatcher the client uses this method alone.
    dispatcher: { dispatch } as unknown as Dispatcher,
    async close() {
      const reason = new OssError('OSS_ERR_ABORTED', 'the connections to the proxy are closed')
      await Promise.all(Object.values(agents).map(agent => agent.close(reason)))
    },
  }
}

/** RFC 9112, 3.2.2. The signature covers neither the form of the target nor these headers. */
function toAbsoluteForm(
  request: Dispatcher.DispatchOptions,
  origin: string,
  proxy: URL,
): Dispatcher.DispatchOptions {
  const headers = request.headers as Record<string, string>
  return {
    ...request,
    origin: proxy.origin,
    path: origin + request.path,
    headers: { ...headers, host: origin.replace(/^.*:\/\//, ''), ...authorization(proxy) },
  }
}

interface TunnelOptions {
  /** Milliseconds without a byte from the proxy. */
  readonly timeout: number
  readonly callback: Parameters<OpenTunnel>[1]
}

/** One connection, one CONNECT (RFC 9110, 9.3.6). */
function connectThrough(proxy: URL, authority: string, options: TunnelOptions): Socket {
  const { timeout, callback } = options
  const socket = connectToProxy(proxy)
  const peer = hostAndPort(proxy.origin)
  const request = httpRequest({
    method: 'CONNECT',
    path: authority,
    headers: { host: authority, ...authorization(proxy) },
    createConnection: () => socket,
  })
  request.once('connect', ({ statusCode }, _socket, head) => {
    if (statusCode !== 200) {
      socket.destroy()
      const message = `the proxy ${peer} answers HTTP ${statusCode} to CONNECT ${authority}`
      callback(new OssError('OSS_ERR_NETWORK', message), socket)
      return
    }
    socket.setTimeout(0).removeAllListeners('timeout')
    if (head.length > 0) socket.unshift(head)
    callback(null, socket)
  })
  socket.setTimeout(timeout, () => {
    const message = `no answer to CONNECT within ${timeout} ms from the proxy ${peer}`
    request.destroy(new OssError('OSS_ERR_TIMEOUT', message))
  })
  request.once('error', (error: NodeJS.ErrnoException) => {
    // Node has no system call for it: the proxy has ended the connection.
    const isHangUp = error.code === 'ECONNRESET' && error.syscall === undefined
    const message = `the proxy ${peer} closed the connection at CONNECT`
    callback(isHangUp ? new OssError('OSS_ERR_NETWORK', message) : error, socket)
  })
  request.end()
  return socket
}

function connectToProxy({ protocol, hostname, port }: URL): Socket {
  const host = hostname.replace(/^\[|\]$/g, '')
  if (protocol === 'http:') return netConnect({ host, port: Number(port || 80) })
  const servername = isIP(host) === 0 ? host : ''
  return tlsConnect({ host, port: Number(port || 443), servername, ALPNProtocols: ['http/1.1'] })
}

function authorization({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {}
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return { 'proxy-authorization': `Basic ${Buffer.from(credentials).toString('base64')}` }
}
