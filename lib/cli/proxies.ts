/**
 * The proxies that the environment names, read as undici 7.30 reads it. Pure. Lower-case names win over
 * upper-case ones. The proxy for http serves https endpoints too where there is no other.
 */

import { isIPv6 } from 'node:net'
import { UsageError } from './usage-error.ts'

/** The proxy for an origin. Undefined: the host is connected to directly. */
export type ProxyFor = (origin: string) => URL | undefined

export interface Proxies {
  /** Undefined: no proxy is used at all. */
  readonly proxyFor?: ProxyFor
  /** A note about a variable that would have been used if it were supported. */
  readonly unsupported?: string
}

type ReadVariable = (name: string) => string | undefined

const NAMES = {
  https: ['https_proxy', 'HTTPS_PROXY', 'http_proxy', 'HTTP_PROXY'],
  http: ['http_proxy', 'HTTP_PROXY'],
  all: ['all_proxy', 'ALL_PROXY'],
  none: ['no_proxy', 'NO_PROXY'],
} as const

const REMEDY = 'as in http://proxy.example:3128, user and password percent-encoded'

/** `read` returns the value of a variable, or undefined if it is empty or absent. */
export function findProxies(endpoint: string, read: ReadVariable): Proxies {
  // A wrong variable is refused even if this endpoint does not need it.
  for (const name of NAMES.https) checkProxy(name, read(name))
  const find = (names: readonly string[]) => names.find(name => read(name) !== undefined)
  const isExcluded = createExclusion(read(find(NAMES.none) ?? '') ?? '')
  if (isExcluded(endpoint)) return {}
  const name = find(endpoint.startsWith('https:') ? NAMES.https : NAMES.http)
  if (name === undefined) {
    const all = find(NAMES.all)
    if (all === undefined) return {}
    const remedy = 'name an http proxy in HTTPS_PROXY or HTTP_PROXY'
    return { unsupported: `${all} is not supported, and no proxy is used: ${remedy}` }
  }
  const proxy = new URL(read(name) ?? '')
  return { proxyFor: origin => (isExcluded(origin) ? undefined : proxy) }
}

/** No message shows the value, which may hold a password. */
function checkProxy(name: string, value: string | undefined): void {
  if (value === undefined || isProxyUrl(value)) return
  if (/^socks/i.test(value)) {
    throw new UsageError(`${name}: SOCKS proxies are not supported: name an http proxy, ${REMEDY}`)
  }
  throw new UsageError(`${name}: must be a URL, ${REMEDY}`)
}

function isProxyUrl(text: string): boolean {
  try {
    const { username, password } = new URL(text)
    decodeURIComponent(`${username}:${password}`)
    return /^https?:\/\//i.test(text)
  } catch {
    return false
  }
}

/**
 * Whether `NO_PROXY` names a host. It is a list of hosts, with or without port, which name their subdomains
 * too. Commas and blanks separate them, and `*` names every host.
 */
function createExclusion(list: string): (origin: string) => boolean {
  const entries = list
    .toLowerCase()
    .split(/[\s,]+/)
    .filter(entry => entry !== '')
    .map(parseEntry)
  return origin => {
    const { protocol, hostname, port } = new URL(origin)
    const actualPort = port || (protocol === 'https:' ? '443' : '80')
    return entries.some(entry => {
      if (entry.port !== undefined && entry.port !== actualPort) return false
      return entry.host === '*' || hostname === entry.host || hostname.endsWith(`.${entry.host}`)
    })
  }
}

function parseEntry(entry: string): { readonly host: string; readonly port?: string } {
  if (isIPv6(entry)) return { host: `[${entry}]` }
  const [, host = entry, port] = /^(.*?)(?::(\d+))?$/.exec(entry) ?? []
  const name = host.replace(/^\*?\./, '')
  return port === undefined ? { host: name } : { host: name, port }
}
