/**
 * Where an object lives: bucket, key and endpoint in, origin and raw request path out.
 *
 * Pure. Nothing here parses with `new URL()`: WHATWG parsing folds `..` and turns `\` into `/`, so
 * a request would reach another object than the one that was signed. It is not the place for
 * defaults from the environment (client.ts) and knows nothing of HTTP.
 */

import { isIPv4, isIPv6 } from 'node:net'
import type { Target } from '../append/client-interface.ts'
import { invalidOption, type OssError } from '../errors.ts'
import { checkBoolean } from '../validate.ts'

/**
 * Where the bucket stands in a URL: in front of the host (`virtual`, all that public OSS takes),
 * first in the path (`path`), or nowhere, the host being the bucket's own domain (`cname`).
 */
export type AddressStyle = 'virtual' | 'path' | 'cname'

/** A service to talk to, checked and complete. */
export interface Endpoint {
  /** `scheme://host[:port]`, without the bucket. */
  readonly origin: string
  readonly style: AddressStyle
  /** The region that requests are signed for, without `oss-`: `cn-hangzhou`. */
  readonly region: string
}

/** What the user may say about the service. The environment is already looked up by the caller. */
export interface EndpointOptions {
  readonly region?: string | undefined
  /** The region, where no option says it and the endpoint names none. */
  readonly usualRegion?: string | undefined
  readonly endpoint?: string | undefined
  readonly pathStyle?: boolean | undefined
  readonly cname?: boolean | undefined
}

/** Longest key in bytes of UTF-8 (OSS, "Object naming"). */
const MAX_KEY_BYTES = 1023

/**
 * Check a target by OSS's naming rules. Control characters in a key are refused as well; any other
 * character is fine.
 *
 * @throws OssError `OSS_ERR_INVALID_OPTION`, naming `bucket` or `key`
 */
export function checkTarget(target: Target): void {
  const wrong = wrongPart(target)
  if (wrong !== undefined) throw invalidOption(wrong.part, wrong.problem)
}

/**
 * Read `oss://bucket/key`. The key is everything after the third slash as it stands: `%2F`, `?` and
 * `#` are part of it, and nothing is decoded.
 *
 * @throws OssError `OSS_ERR_INVALID_OPTION`, naming `url`
 */
export function parseUrl(url: string): Target {
  // The text is never quoted back: a signed link pasted by mistake carries a secret.
  const parts = typeof url === 'string' ? /^oss:\/\/([^/]*)(?:\/(.*))?$/s.exec(url) : null
  if (parts === null) throw invalidOption('url', 'must look like oss://bucket/key')
  const [, bucket = '', key = ''] = parts
  const wrong = wrongPart({ bucket, key })
  if (wrong === undefined) return { bucket, key }
  throw invalidOption('url', `its ${wrong.part} ${wrong.problem} (it looks like oss://bucket/key)`)
}

function wrongPart({ bucket, key }: Target): { part: keyof Target; problem: string } | undefined {
  const bucketIs = bucketProblem(bucket)
  if (bucketIs !== undefined) return { part: 'bucket', problem: bucketIs }
  const keyIs = keyProblem(key)
  return keyIs === undefined ? undefined : { part: 'key', problem: keyIs }
}

function bucketProblem(bucket: unknown): string | undefined {
  if (typeof bucket !== 'string') return 'must be a string'
  if (bucket === '') return 'is missing'
  if (/^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/.test(bucket)) return undefined
  return 'must be 3 to 63 characters out of a-z, 0-9 and -, with a letter or digit at both ends'
}

function keyProblem(key: unknown): string | undefined {
  if (typeof key !== 'string') return 'must be a string'
  if (key === '') return 'is missing'
  if (key.startsWith('/') || key.startsWith('\\')) {
    return `must not begin with ${key[0]}: leave that character out`
  }
  // Percent-encoding would make them harmless, but no listing (XML) can show such a key.
  if (/\p{Cc}/u.test(key)) return 'must not contain control characters'
  // In a `u` regular expression a surrogate matches only where it has no partner.
  const lone = key.search(/\p{Surrogate}/u)
  if (lone !== -1) {
    return `has half a surrogate pair at index ${lone}, which is no text: use key.toWellFormed()`
  }
  const length = Buffer.byteLength(key)
  if (length <= MAX_KEY_BYTES) return undefined
  return `is ${length} bytes long as UTF-8: shorten it to ${MAX_KEY_BYTES} or less`
}

/**
 * Turn the options into an endpoint. Defaults: the region's public host; https; the region that the
 * endpoint names, which a signature for another would not fit, else the usual one; path style for an IP address and `localhost`, which cannot carry a bucket.
 *
 * @throws OssError `OSS_ERR_INVALID_OPTION`, naming `region`, `endpoint`, `pathStyle` or `cname`
 */
export function resolveEndpoint(options: EndpointOptions): Endpoint {
  const { pathStyle, cname } = options
  if (pathStyle !== undefined) checkBoolean('pathStyle', pathStyle)
  if (cname !== undefined) checkBoolean('cname', cname)
  if (pathStyle && cname) {
    throw invalidOption('pathStyle', 'cannot go with cname, whose host is the bucket: choose one')
  }
  if (options.endpoint === undefined) {
    if (cname) throw invalidOption('cname', 'needs the option endpoint: your own domain')
    const region = checkRegion(options.region ?? options.usualRegion)
    const style = pathStyle ? 'path' : 'virtual'
    return { origin: `https://oss-${region}.aliyuncs.com`, style, region }
  }
  const { scheme, host, port } = parseEndpoint(options.endpoint)
  const isIP = isIPv4(host) || host.startsWith('[')
  if (isIP && pathStyle === false && !cname) {
    throw invalidOption(
      'pathStyle',
      'must be true for an IP address: no bucket fits in front of it',
    )
  }
  const needsPath = pathStyle ?? (isIP || host === 'localhost')
  const style = cname ? 'cname' : needsPath ? 'path' : 'virtual'
  return {
    origin: `${scheme}://${host}${port}`,
    style,
    region: checkRegion(options.region ?? regionOf(host) ?? options.usualRegion),
  }
}

function checkRegion(value: unknown): string {
  if (value === undefined) {
    throw invalidOption('region', 'is missing: pass it, as in cn-hangzhou, or set OSS_REGION')
  }
  if (typeof value !== 'string') throw invalidOption('region', 'must be a string')
  // `oss-cn-hangzhou` is what ali-oss users have in their settings.
  const region = value.trim().replace(/^oss-/, '')
  if (!/^[a-z0-9-]+$/.test(region)) {
    throw invalidOption('region', 'must be an id of a-z, 0-9 and -, as in cn-hangzhou')
  }
  if (region.endsWith('-internal')) {
    const id = region.slice(0, -'-internal'.length)
    const mend = `use region ${id} with endpoint oss-${region}.aliyuncs.com`
    throw invalidOption('region', `names an internal endpoint: ${mend}`)
  }
  return region
}

/**
 * The region in an Alibaba host name, with or without a bucket in front of it: `oss-<region>`,
 * `oss-<region>-internal`, or dual-stack `<region>.oss`. Regions begin with a two-letter area, and
 * `oss-accelerate` and `oss-cloudbox`, which name none, do not.
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
  /** `:port`, or nothing for the scheme's own. */
  readonly port: string
}

function parseEndpoint(endpoint: unknown): Authority {
  if (typeof endpoint !== 'string') throw wrongEndpoint('must be a string')
  const text = endpoint.trim().toLowerCase()
  if (text === '') throw wrongEndpoint('is empty: leave it out for the public one of the region')
  const [, scheme = 'https', authority = ''] = /^(?:([^/]*?):\/\/)?(.*)$/s.exec(text) ?? []
  if (scheme !== 'https' && scheme !== 'http') {
    throw wrongEndpoint('must begin with https:// or http://, or have no scheme for https')
  }
  if (authority.includes('@')) {
    throw wrongEndpoint('must hold no user or password: use the option credentials')
  }
  // One slash at the end is how browsers copy a bare host: it says nothing, so it may stay.
  const bare = authority.replace(/\/$/, '')
  if (/[/\\?#]/.test(bare)) {
    throw wrongEndpoint('must be a host alone: leave out its path, query and fragment')
  }
  if (isIPv6(bare)) throw wrongEndpoint('must hold an IPv6 address in brackets, as in [::1]')
  const [, host = '', port] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/s.exec(bare) ?? []
  checkHost(host)
  return { scheme, host, port: checkPort(port, scheme) }
}

function checkHost(host: string): void {
  if (host.startsWith('[')) {
    // A zone (`%eth0`) means something on one machine only, and no URL can hold it.
    if (isIPv6(host.slice(1, -1)) && !host.includes('%')) return
    throw wrongEndpoint('must hold a whole IPv6 address between the brackets, as in [::1]')
  }
  if (isIPv4(host)) return
  // Docker's service names may have underscores. Digits at the end are read as an IP address by
  // every HTTP client: `10.1` would become 10.0.0.1, and the bucket in front of it a broken URL.
  const label = '[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?'
  const isName = new RegExp(`^${label}(?:\\.${label})*$`).test(host)
  if (!isName || /(?:^|\.)(?:\d+|0x[\da-f]*)$/.test(host)) {
    throw wrongEndpoint(
      'must be a host name in ASCII or an IP address, as oss-cn-hangzhou.aliyuncs.com',
    )
  }
}

function checkPort(port: string | undefined, scheme: string): string {
  if (port === undefined) return ''
  const number = /^\d{1,5}$/.test(port) ? Number(port) : 0
  if (number < 1 || number > 65_535) {
    throw wrongEndpoint('must have a port from 1 to 65535 after its colon, or none')
  }
  return number === (scheme === 'https' ? 443 : 80) ? '' : `:${number}`
}

function wrongEndpoint(problem: string): OssError {
  return invalidOption('endpoint', problem)
}

/**
 * Refuse an endpoint that already holds the bucket, as the console shows it: the bucket would stand
 * in the host twice, and the request would end in a baffling DNS error.
 *
 * @throws OssError `OSS_ERR_INVALID_OPTION`, naming `endpoint`
 */
export function checkEndpointHost(endpoint: Endpoint, bucket: string): void {
  if (endpoint.style !== 'virtual') return
  const host = endpoint.origin.slice(endpoint.origin.indexOf('://') + 3)
  const rest = host.slice(bucket.length + 1)
  // Nothing forbids a bucket to be called `oss-cn-hangzhou`, and the host is whole then.
  if (!host.startsWith(`${bucket}.`) || rest === 'aliyuncs.com') return
  throw wrongEndpoint(
    `begins with the bucket: use ${rest}, or the option cname if that is its own domain`,
  )
}

/**
 * Where to send a request for a target: the origin to connect to, and the path to write on the
 * request line as it is. The target must have passed `checkTarget`.
 */
export function locate(endpoint: Endpoint, target: Target): { origin: string; path: string } {
  const { origin, style } = endpoint
  const { bucket, key } = target
  if (style === 'path') return { origin, path: encodePath(`/${bucket}/${key}`) }
  const path = encodePath(`/${key}`)
  return { origin: style === 'cname' ? origin : origin.replace('://', `://${bucket}.`), path }
}

/**
 * Percent-encode the UTF-8 bytes of a name or value as OSS's V4 signature wants it: all but
 * `A-Z a-z 0-9 - . _ ~`, in upper-case hex. `encodeURIComponent` leaves five more characters bare.
 */
export function encodeText(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    char => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

/**
 * `encodeText` for a path: `/` stays. Nothing is normalised, so `//`, `.` and `..` keep their
 * meaning as parts of a key. The same text is signed and sent.
 */
export function encodePath(path: string): string {
  return encodeText(path).replaceAll('%2F', '/')
}
