/**
 * Who sent a request: the check of OSS's V4 signature (OSS4-HMAC-SHA256), in the Authorization
 * header or in a presigned URL, written from the protocol and sharing nothing with the client's
 * signer. Every request must be signed. Version 1 signatures are refused as OSS refuses them for
 * new buckets; anonymous requests are refused even for public objects.
 */

import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { invalidArgument, Refusal } from './errors.ts'
import type { Call } from './request.ts'

/** An access key that the server knows. */
export interface ServerCredentials {
  /** Names it. */
  readonly accessKeyId: string
  /** Signs. */
  readonly accessKeySecret: string
  /** With it, requests have to bring it. Default: none, and then they may bring none. */
  readonly securityToken?: string | undefined
}

/** The same with what may have become of it. */
export interface Identity extends ServerCredentials {
  isExpired?: boolean
}

/** What a signature is held against. `now` is the server's clock in ms since 1970. */
export interface Expectations {
  readonly identities: readonly Identity[]
  readonly region: string
  readonly now: number
}

const ALGORITHM = 'OSS4-HMAC-SHA256'
const UNSIGNED = 'UNSIGNED-PAYLOAD'
const MAX_SKEW = 900_000
const MAX_EXPIRES = 604_800

interface Claim {
  readonly form: 'header' | 'query'
  readonly credential: string
  readonly additional: string
  readonly signature: string
  readonly date: string
  readonly token: string | undefined
}

/** Returns who signed the call. Throws a Refusal with OSS's code when it is not rightly signed. */
export function authenticate(call: Call, expected: Expectations): Identity {
  const claim = readClaim(call)
  const [accessKeyId, scope] = readCredential(claim, expected.region)
  const identity = identify(accessKeyId, claim.token, expected.identities)
  checkTime(call, claim, expected.now)
  const canonical = canonicalRequest(call, claim)
  const stringToSign = `${ALGORITHM}\n${claim.date}\n${scope}\n${sha256(canonical)}`
  const signature = sign(identity.accessKeySecret, scope, stringToSign)
  if (!timingSafeEqual(Buffer.from(signature), Buffer.from(claim.signature))) {
    throw new Refusal(
      403,
      'SignatureDoesNotMatch',
      'The request signature we calculated does not match the signature you provided. ' +
        'Check your key and signing method.',
      {
        ec: '0002-00000040',
        children: {
          OSSAccessKeyId: accessKeyId,
          SignatureProvided: claim.signature,
          StringToSign: stringToSign,
          CanonicalRequest: canonical,
        },
      },
    )
  }
  return identity
}

function readClaim(call: Call): Claim {
  const authorization = call.headers.get('authorization')
  const isPresigned = call.query.has('x-oss-signature')
  if (authorization !== undefined && isPresigned) {
    throw denied('A request is signed in its header or in its query, not in both.')
  }
  const isV1 = authorization?.startsWith('OSS ') ?? call.query.has('OSSAccessKeyId')
  if (isV1) {
    throw denied('Signature version 1 is no longer supported. Use version 4.', '0002-00000080')
  }
  if (authorization !== undefined) return readHeaderClaim(call, authorization)
  if (isPresigned) return readQueryClaim(call)
  throw denied('You have no right to access this object because of bucket acl.', '0003-00000001')
}

function readHeaderClaim(call: Call, authorization: string): Claim {
  const fields = new Map<string, string>()
  const match = new RegExp(`^${ALGORITHM} +(.+)$`).exec(authorization)
  for (const field of match?.[1]?.split(',') ?? []) {
    const [, name = '', value = ''] = /^ *(\w+)=(.*)$/.exec(field) ?? []
    if (!['Credential', 'AdditionalHeaders', 'Signature'].includes(name) || fields.has(name)) {
      throw badAuthorization()
    }
    fields.set(name, value)
  }
  const credential = fields.get('Credential')
  const signature = fields.get('Signature') ?? ''
  if (credential === undefined || !/^[0-9a-f]{64}$/.test(signature)) throw badAuthorization()
  const payload = call.headers.get('x-oss-content-sha256') ?? ''
  if (payload !== UNSIGNED) {
    const message = 'The value of x-oss-content-sha256 must be UNSIGNED-PAYLOAD.'
    throw invalidArgument('x-oss-content-sha256', payload, message, '0002-00000214')
  }
  return {
    form: 'header',
    credential,
    additional: fields.get('AdditionalHeaders') ?? '',
    signature,
    date: call.headers.get('x-oss-date') ?? '',
    token: call.headers.get('x-oss-security-token'),
  }
}

function readQueryClaim({ query }: Call): Claim {
  const version = query.get('x-oss-signature-version') ?? ''
  if (version !== ALGORITHM) {
    const message = 'The value of x-oss-signature-version is invalid.'
    throw invalidArgument('x-oss-signature-version', version, message, '0002-00000066')
  }
  const signature = query.get('x-oss-signature') ?? ''
  if (!/^[0-9a-f]{64}$/.test(signature)) throw badAuthorization()
  return {
    form: 'query',
    credential: query.get('x-oss-credential') ?? '',
    additional: query.get('x-oss-additional-headers') ?? '',
    signature,
    date: query.get('x-oss-date') ?? '',
    token: query.get('x-oss-security-token'),
  }
}

/**
 * Credential = access key id / day / region / product / aliyun_v4_request; all but the first is the
 * scope. OSS names the part that is wrong, and so do we.
 */
function readCredential(claim: Claim, region: string): [accessKeyId: string, scope: string] {
  const [accessKeyId = '', day, ...rest] = claim.credential.split('/')
  const where = claim.form === 'header' ? 'Authorization header' : 'x-oss-credential'
  const fail = (part: string, ec: string) =>
    invalidArgument('Credential', claim.credential, `Invalid signing ${part} in ${where}.`, ec)
  if (!/^\d{8}T\d{6}Z$/.test(claim.date)) {
    throw denied('OSS authentication requires a valid Date.', '0002-00000502')
  }
  if (day !== claim.date.slice(0, 8)) throw fail('date', '0002-00000212')
  if (rest[0] !== region) throw fail('region', '0002-00000228')
  if (rest[1] !== 'oss') throw fail('product', '0002-00000213')
  if (rest.length !== 3 || rest[2] !== 'aliyun_v4_request') throw fail('suffix', '0002-00000213')
  return [accessKeyId, `${day}/${rest.join('/')}`]
}

function identify(id: string, token: string | undefined, known: readonly Identity[]): Identity {
  const ours = known.filter(each => each.accessKeyId === id)
  const identity = ours.find(each => each.securityToken === token)
  if (identity === undefined) {
    // A temporary key without its token is as unknown as a key that never was.
    if (ours.length === 0 || token === undefined) throw unknownKey(id)
    if (known.some(each => each.securityToken === token)) {
      const message = 'The OSS access key id and security token you provided does not match.'
      throw new Refusal(403, 'AccessKeyIdAndSecurityTokenNotMatch', message)
    }
    const message = 'The security token you provided is invalid.'
    throw new Refusal(403, 'InvalidSecurityToken', message)
  }
  if (identity.isExpired === true) {
    throw new Refusal(403, 'SecurityTokenExpired', 'The security token you provided has expired.')
  }
  return identity
}

function checkTime(call: Call, claim: Claim, now: number): void {
  const signed = parseDate(claim.date)
  if (Number.isNaN(signed))
    throw denied('OSS authentication requires a valid Date.', '0002-00000502')
  if (claim.form === 'header') {
    if (Math.abs(now - signed) > MAX_SKEW) throw tooSkewed(signed, now)
    return
  }
  const expires = call.query.get('x-oss-expires') ?? ''
  if (!/^[1-9]\d{0,5}$/.test(expires) || Number(expires) > MAX_EXPIRES) {
    throw invalidArgument('x-oss-expires', expires, 'x-oss-expires must be 1 to 604800 seconds.')
  }
  if (signed - now > MAX_SKEW) throw tooSkewed(signed, now)
  if (now > signed + Number(expires) * 1000) throw denied('Request has expired.', '0002-00000069')
}

/** 403 RequestTimeTooSkewed, with both clocks as OSS tells them. */
function tooSkewed(requestTime: number, serverTime: number): Refusal {
  return new Refusal(
    403,
    'RequestTimeTooSkewed',
    'The difference between the request time and the current time is too large.',
    {
      ec: '0002-00000504',
      children: {
        RequestTime: new Date(requestTime).toISOString(),
        ServerTime: new Date(serverTime).toISOString(),
        MaxAllowedSkewMilliseconds: String(MAX_SKEW),
      },
    },
  )
}

/** 20231216T162057Z -> ms. Date rolls the 31st of June over to July: such a day is no date here. */
function parseDate(text: string): number {
  const [, y, mo, d, h, mi, s] = /^(....)(..)(..)T(..)(..)(..)Z$/.exec(text) ?? []
  const iso = `${y}-${mo}-${d}T${h}:${mi}:${s}.000Z`
  const time = Date.parse(iso)
  return Number.isNaN(time) || new Date(time).toISOString() !== iso ? Number.NaN : time
}

/** The bucket is always part of the signed path, also where the Host header names it. */
function canonicalRequest(call: Call, claim: Claim): string {
  const uri = `/${encode(call.bucket)}/${encode(call.key).replaceAll('%2F', '/')}`
  const query = [...call.query]
    .filter(([name]) => name !== 'x-oss-signature')
    .map(([name, value]) => [encode(name), encode(value)] as const)
    .sort(([a], [b]) => compare(a, b))
    .map(([name, value]) => (value === '' ? name : `${name}=${value}`))
    .join('&')
  const additional = claim.additional === '' ? [] : claim.additional.split(';')
  const headers = [...call.headers]
    .filter(([name]) => isSignedByDefault(name) || additional.includes(name))
    .sort(([a], [b]) => compare(a, b))
    .map(([name, value]) => `${name}:${value.trim()}\n`)
    .join('')
  return [call.method, uri, query, headers, claim.additional, UNSIGNED].join('\n')
}

function isSignedByDefault(name: string): boolean {
  return name.startsWith('x-oss-') || name === 'content-type' || name === 'content-md5'
}

/** Both sides are ASCII once encoded, so that code unit order is byte order. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** encodeURIComponent spares five characters that OSS does not. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    char => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

function sign(secret: string, scope: string, stringToSign: string): string {
  let key = Buffer.from(`aliyun_v4${secret}`)
  for (const part of scope.split('/')) key = hmac(key, part)
  return hmac(key, stringToSign).toString('hex')
}

function hmac(key: Buffer, text: string) {
  return createHmac('sha256', key).update(text).digest()
}

/**
 * Header values are latin1 strings, one character for each byte that came: hashed as those bytes.
 */
function sha256(text: string): string {
  return createHash('sha256').update(text, 'latin1').digest('hex')
}

function denied(message: string, ec?: string): Refusal {
  return new Refusal(403, 'AccessDenied', message, { ec })
}

function unknownKey(accessKeyId: string): Refusal {
  return new Refusal(
    403,
    'InvalidAccessKeyId',
    'The OSS Access Key Id you provided does not exist in our records.',
    { ec: '0002-00000902', children: { OSSAccessKeyId: accessKeyId } },
  )
}

function badAuthorization(): Refusal {
  const message = 'The format of the Authorization is invalid.'
  return new Refusal(400, 'InvalidArgument', message, { ec: '0002-00000061' })
}
