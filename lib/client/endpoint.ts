/**
 * The address of an object: bucket, key and endpoint in, origin and raw request path out. Pure;
 * `create-exchange.ts` adds the defaults of the environment.
 * Never parses with `new URL()`: WHATWG parsing resolves `..` and turns `\` into `/`, so the request
 * would reach another object than the one that was signed.
 */

import { isIPv4, isIPv6 } from 'node:net'
import type { Target } from '../append/client-interface.ts'
import { invalidOption, type OssError } from '../errors.ts'
import { checkBoolean, formatValue } from '../validate.ts'

/**
 * The place of the bucket in a URL: in front of the host (`virtual`, the only style of public OSS),
 * first in the path (`path`), or nowhere, because the host is the bucket's own domain (`cname`).
 */
export type AddressStyle = 'virtual' | 'path' | 'cname'

/** A service, checked and complete. */
export interface Endpoint {
  /** `scheme://host[:port]`, without the bucket. */
  readonly origin: string
  readonly style: AddressStyle
  /** The region that requests are signed for, without `oss-`: `cn-hangzhou`. */
  readonly region: string
}

/** The options that describe a service. The caller has read the environment. */
export interface EndpointOptions {
  readonly region?: string | undefined
  /** The region if neither the option nor the endpoint names one. */
  readonly defaultRegion?: string | undefined
  readonly endpoint?: string | undefined
  readonly pathStyle?: boolean | undefined
  readonly cname?: boolean | undefined
}

/** Bytes of UTF-8 (OSS, "Object naming"). */
const MAX_KEY_BYTES = 1023

/**
 * Checks a target by OSS's naming rules. Also refuses control characters in a key.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming `bucket` or `key`
 */
export function checkTarget(target: Target): void {
  const wrong = findProblem(target)
  if (wrong !== undefined) throw invalidOption(wrong.part, wrong.problem)
}

/**
 * Reads `oss://bucket/key`. The key is everything after the third slash, unchanged: `%2F`, `?` and `#`
 * are part of it.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming `url`
 */
export function parseUrl(url: string): Target {
  // No message quotes the URL: a signed link pasted by mistake holds a secret.
  const parts = typeof url === 'string' ? /^oss:\/\/([^/]*)(?:\/(.*))?$/s.exec(url) : null
  if (parts === null) throw invalidOption('url', 'must look like oss://bucket/key')
  const [, bucket = '', key = ''] = parts
  const wrong = findProblem({ bucket, key })
  if (wrong === undefined) return { bucket, key }
  throw invalidOption('url', `its ${wrong.part} ${wrong.problem} (it looks like oss://bucket/key)`)
}

function findProblem({ bucket, key }: Target): { part: keyof Target; problem: string } | undefined {
  const wrongBucket = bucketProblem(bucket)
  if (wrongBucket !== undefined) return { part: 'bucket', problem: wrongBucket }
  const wrongKey = keyProblem(key)
  return wrongKey === undefined ? undefined : { part: 'key', problem: wrongKey }
}

function bucketProblem(bucket: unknown): string | undefined {
  if (bucket === undefined || bucket === '') return 'is missing'
  if (typeof bucket !== 'string') return `must be a string, not ${formatValue(bucket)}`
  if (/^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/.test(bucket)) return undefined
  const problem =
    'must be 3 to 63 characters of a-z, 0-9 and -, with a letter or digit at both ends'
  return problem + quoteName(bucket)
}

/** Shows a wrong name, unless it looks like `id:secret@bucket`, a signed query or base64. */
function quoteName(name: string): string {
  return /[@:?=&%+]/.test(name) ? '' : `, not ${formatValue(name)}`
}

function keyProblem(key: unknown): string | undefined {
  if (key === undefined || key === '') return 'is missing'
  if (typeof key !== 'string') return `must be a string, not ${formatValue(key)}`
  if (key.startsWith('/') || key.startsWith('\\')) {
    return `must not begin with ${key[0]}: leave that character out`
  }
  // OSS accepts them percent-encoded, but XML, and so a listing, cannot show such a key.
  if (/\p{Cc}/u.test(key)) return 'must not contain control characters'
  // With the flag `u`, a surrogate matches only without its other half.
  const lone = key.search(/\p{Surrogate}/u)
  if (lone !== -1) {
    return `has half a surrogate pair at index ${lone}: use key.toWellFormed()`
  }
  const length = Buffer.byteLength(key)
  if (length <= MAX_KEY_BYTES) return undefined
  return `is ${length} bytes long as UTF-8: shorten it to ${MAX_KEY_BYTES} or less`
}

/**
 * Turns the options into an endpoint. Defaults: the public host of the region; https; the region in the
 * endpoint, else `defaultRegion`; path style for an IP address and `localhost`, which cannot have a
 * bucket in front.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming `region`, `endpoint`, `pathStyle` or `cname`
 */
export function resolveEndpoint(options: EndpointOptions): Endpoint {
  const { pathStyle, cname } = options
  if (pathStyle !== undefined) checkBoolean('pathStyle', pathStyle)
  if (cname !== undefined) checkBoolean('cname', cname)
  if (pathStyle && cname) {
    throw invalidOption('pathStyle', 'excludes cname, whose host is the bucket: choose one')
  }
  if (options.endpoint === undefined) {
    if (cname) throw invalidOption('cname', 'needs the option endpoint: your own domain')
    const { region = options.defaultRegion } = options
    const id = checkRegion(region)
    const style = pathStyle ? 'path' : 'virtual'
    return { origin: `https://oss-${id}.aliyuncs.com`, style, region: id }
  }
  const { scheme, host, port } = parseEndpoint(options.endpoint)
  const isIP = isIPv4(host) || host.startsWith('[')
  if (isIP && pathStyle === false && !cname) {
    throw invalidOption(
      'pathStyle',
      'must be true for an IP address, which cannot have a bucket in front',
    )
  }
  const needsPath = pathStyle ?? (isIP || host === 'localhost')
  const style = cname ? 'cname' : needsPath ? 'path' : 'virtual'
  const { region = regionOf(host) ?? options.defaultRegion } = options
  return { origin: `${scheme}://${host}${port}`, style, region: checkRegion(region) }
}

function checkRegion(value: unknown): string {
  if (value === undefined) {
    throw invalidOption('region', 'is missing: pass it, as in cn-hangzhou, or set OSS_REGION')
  }
  if (typeof value !== 'string') {
    throw invalidOption('region', `must be a string, not ${formatValue(value)}`)
  }
  // ali-oss takes `oss-cn-hangzhou`.
  const region = value.trim().replace(/^oss-/, '')
  if (!/^[a-z0-9-]+$/.test(region)) {
    const problem = 'must be an id of a-z, 0-9 and -, as in cn-hangzhou'
    throw invalidOption('region', problem + quoteName(value))
  }
  if (region.endsWith('-internal')) {
    const id = region.slice(0, -'-internal'.length)
    const remedy = `use region ${id} with endpoint oss-${region}.aliyuncs.com`
    throw invalidOption('region', `names an internal endpoint: ${remedy}`)
  }
  return region
}

/**
 * The region in an Alibaba host name, with or without a bucket in front: `oss-<region>`,
 * `oss-<region>-internal`, or dual-stack `<region>.oss`. A region begins with a two-letter area, unlike
 * `oss-accelerate` and `oss-cloudbox`, which name no region.
 */
function regionOf(host: string): string | undefined {
  const region = '([a-z]{2}-[a-z0-9-]+?)'
  const names = new RegExp(
    `(?:^|\\.)(?:oss-${region}(?:-internal)?|${region}\\.oss)\\.aliyuncs\\.com$`,
  )
  const found = names.exec(host)
  return found?.[1] ?? found?.[2]
}

interface Authority {
  readonly scheme: string
  /** Lower case; an IPv6 address keeps its brackets. */
  readonly host: string
  /** `:port`; empty for the default port of the scheme. */
  readonly port: string
}

function parseEndpoint(endpoint: unknown): Authority {
  if (typeof endpoint !== 'string') {
    throw wrongEndpoint(`must be a string, not ${formatValue(endpoint)}`)
  }
  const text = endpoint.trim().toLowerCase()
  if (text === '')
    throw wrongEndpoint('is empty: leave it out for the public endpoint of the region')
  const [, scheme = 'https', authority = ''] = /^(?:([^/]*?):\/\/)?(.*)$/s.exec(text) ?? []
  if (scheme !== 'https' && scheme !== 'http') {
    throw wrongEndpoint('must begin with https:// or http://, or have no scheme for https')
  }
  if (authority.includes('@')) {
    throw wrongEndpoint('must not have a user or password: use the option credentials')
  }
  // Browsers copy a bare host with one slash at the end, which has no meaning.
  const bare = authority.replace(/\/$/, '')
  if (/[/\\?#]/.test(bare)) {
    throw wrongEndpoint('must be only a host: leave out its path, query and fragment')
  }
  if (isIPv6(bare)) throw wrongEndpoint('needs brackets around an IPv6 address, as in [::1]')
  const [, host = '', port] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/s.exec(bare) ?? []
  checkHost(host)
  return { scheme, host, port: checkPort(port, scheme) }
}

function checkHost(host: string): void {
  if (host.startsWith('[')) {
    // A zone (`%eth0`) has a meaning on one machine only, and no place in a URL.
    if (isIPv6(host.slice(1, -1)) && !host.includes('%')) return
    throw wrongEndpoint('needs a complete IPv6 address between the brackets, as in [::1]')
  }
  if (isIPv4(host)) return
  // Service names of Docker may have underscores. HTTP clients read digits at the end as an IP address:
  // `10.1` would become 10.0.0.1, and a bucket in front would make an invalid URL.
  const label = '[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?'
  const isName = new RegExp(`^${label}(?:\\.${label})*$`).test(host)
  if (!isName || /(?:^|\.)(?:\d+|0x[\da-f]*)$/.test(host)) {
    const problem = 'must be a host name in ASCII or an IP address, as oss-cn-hangzhou.aliyuncs.com'
    throw wrongEndpoint(problem + quoteName(host))
  }
}

function checkPort(port: string | undefined, scheme: string): string {
  if (port === undefined) return ''
  const number = /^\d{1,5}$/.test(port) ? Number(port) : 0
  if (number < 1 || number > 65_535) {
    // A longer one may be the secret in `id:secret`.
    const shown = port.length < 8 ? `, not ${formatValue(port)}` : ''
    throw wrongEndpoint(`needs a port from 1 to 65535 after its colon${shown}`)
  }
  return number === (scheme === 'https' ? 443 : 80) ? '' : `:${number}`
}

function wrongEndpoint(problem: string): OssError {
  return invalidOption('endpoint', problem)
}

/**
 * Refuses an endpoint with the bucket in front, as the console shows it. The bucket would be in the host
 * twice, and the request would fail with a DNS error.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming `endpoint`
 */
export function checkEndpointHost(endpoint: Endpoint, bucket: string): void {
  if (endpoint.style !== 'virtual') return
  const host = endpoint.origin.slice(endpoint.origin.indexOf('://') + 3)
  const rest = host.slice(bucket.length + 1)
  // A bucket may be called `oss-cn-hangzhou`. The host of that region is complete then.
  if (!host.startsWith(`${bucket}.`) || rest === 'aliyuncs.com') return
  throw wrongEndpoint(
    `begins with the bucket: use ${rest}, or the option cname if the host is the bucket's own domain`,
  )
}

/**
 * The origin to connect to, and the path to write on the request line unchanged. The target must have
 * passed `checkTarget`.
 */
export function locate(endpoint: Endpoint, target: Target): { origin: string; path: string } {
  const { origin, style } = endpoint
  const { bucket, key } = target
  if (style === 'path') return { origin, path: encodePath(`/${bucket}/${key}`) }
  const path = encodePath(`/${key}`)
  return { origin: style === 'cname' ? origin : origin.replace('://', `://${bucket}.`), path }
}

/** Host and port of an origin, for messages: `example.com:443`. */
export function hostAndPort(origin: string): string {
  const [scheme, authority = ''] = origin.split('://')
  if (/:\d+$/.test(authority)) return authority
  return `${authority}:${scheme === 'https' ? 443 : 80}`
}

/**
 * Percent-encodes the UTF-8 bytes of a name or value for OSS's V4 signature: all but
 * `A-Z a-z 0-9 - . _ ~`, in upper-case hex. `encodeURIComponent` leaves five more characters bare.
 */
export function encodeText(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    char => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

/**
 * `encodeText` for a path: `/` stays. Nothing is normalized, so `//`, `.` and `..` stay parts of the
 * key. The same text is signed and sent.
 */
export function encodePath(path: string): string {
  return encodeText(path).replaceAll('%2F', '/')
}
