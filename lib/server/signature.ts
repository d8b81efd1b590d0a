/**
 * Checks OSS's V4 signature (OSS4-HMAC-SHA256), in the Authorization header or in a presigned URL. Written
 * from the protocol: it shares no code with the client's signer. Version 1 signatures are refused, as OSS
 * refuses them for new buckets. Anonymous requests are refused, also for public objects.
 */

import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { invalidArgument, OssRefusal } from './errors.ts'
import type { OssRequest } from './request.ts'

/** An access key that the server knows. */
export interface ServerCredentials {
  /** Id of the key. */
  readonly accessKeyId: string
  /** The secret that signs. */
  readonly accessKeySecret: string
  /** If given, requests must carry it. Default: none, and then requests must not carry one. */
  readonly securityToken?: string | undefined
}

/** An access key and its present state. */
export interface Identity extends ServerCredentials {
  isExpired?: boolean
}

/** What a signature is checked against. `now`: the server's clock, ms since 1970. */
export interface SignatureContext {
  readonly identities: readonly Identity[]
  readonly region: string
  readonly now: number
}

const ALGORITHM = 'OSS4-HMAC-SHA256'
const UNSIGNED_PAYLOAD = 'UNSIGNED-PAYLOAD'
const MAX_SKEW_MS = 900_000
const MAX_EXPIRES_SECONDS = 604_800

interface SignatureFields {
  readonly form: 'header' | 'query'
  readonly credential: string
  readonly additionalHeaders: string
  readonly signature: string
  /** Goes into the string to sign as it arrived. */
  readonly date: string
  /** The same, ms since 1970. */
  readonly time: number
  readonly token: string | undefined
}

/** The access key that signed a request. Throws an OssRefusal if the signature is wrong. */
export function authenticate(request: OssRequest, context: SignatureContext): Identity {
  const fields = parseSignature(request)
  const [accessKeyId, scope] = parseCredential(fields, context.region)
  const identity = findIdentity(accessKeyId, fields.token, context.identities)
  checkTime(request, fields, context.now)
  checkAdditionalHeaders(request, fields)
  const canonical = canonicalRequest(request, fields)
  const stringToSign = `${ALGORITHM}\n${fields.date}\n${scope}\n${sha256(canonical)}`
  const signature = sign(identity.accessKeySecret, scope, stringToSign)
  if (!timingSafeEqual(Buffer.from(signature), Buffer.from(fields.signature))) {
    throw new OssRefusal(
      403,
      'SignatureDoesNotMatch',
      'The request signature we calculated does not match the signature you provided. ' +
        'Check your key and signing method.',
      {
        ec: '0002-00000040',
        children: {
          OSSAccessKeyId: accessKeyId,
          SignatureProvided: fields.signature,
          StringToSign: stringToSign,
          CanonicalRequest: canonical,
        },
      },
    )
  }
  return identity
}

function parseSignature(request: OssRequest): SignatureFields {
  const authorization = request.headers.get('authorization')
  const isPresigned = request.query.has('x-oss-signature')
  if (authorization !== undefined && isPresigned) {
    throw denied('A request is signed in its header or in its query, not in both.')
  }
  const isV1 = authorization?.startsWith('OSS ') ?? request.query.has('OSSAccessKeyId')
  if (isV1) {
    throw denied('Signature version 1 is no longer supported. Use version 4.', '0002-00000080')
  }
  if (authorization !== undefined) return parseAuthorizationHeader(request, authorization)
  if (isPresigned) return parsePresignedQuery(request)
  throw denied('You have no right to access this object because of bucket acl.', '0003-00000001')
}

function parseAuthorizationHeader(request: OssRequest, authorization: string): SignatureFields {
  const fields = new Map<string, string>()
  const match = new RegExp(`^${ALGORITHM} +(.+)$`).exec(authorization)
  for (const field of match?.[1]?.split(',') ?? []) {
    const [, name = '', value = ''] = /^ *(\w+)=(.*)$/.exec(field) ?? []
    if (!['Credential', 'AdditionalHeaders', 'Signature'].includes(name) || fields.has(name)) {
      throw malformedAuthorization()
    }
    fields.set(name, value)
  }
  const credential = fields.get('Credential')
  const signature = fields.get('Signature') ?? ''
  if (credential === undefined || !/^[0-9a-f]{64}$/.test(signature)) throw malformedAuthorization()
  const payload = request.headers.get('x-oss-content-sha256') ?? ''
  if (payload !== UNSIGNED_PAYLOAD) {
    const message = 'The value of x-oss-content-sha256 must be UNSIGNED-PAYLOAD.'
    throw invalidArgument('x-oss-content-sha256', payload, message, '0002-00000214')
  }
  return {
    form: 'header',
    credential,
    additionalHeaders: fields.get('AdditionalHeaders') ?? '',
    signature,
    date: request.headers.get('x-oss-date') ?? request.headers.get('date') ?? '',
    time: parseHeaderDate(request),
    token: request.headers.get('x-oss-security-token'),
  }
}

function parsePresignedQuery({ query }: OssRequest): SignatureFields {
  const version = query.get('x-oss-signature-version') ?? ''
  if (version !== ALGORITHM) {
    const message = 'The value of x-oss-signature-version is invalid.'
    throw invalidArgument('x-oss-signature-version', version, message, '0002-00000066')
  }
  const signature = query.get('x-oss-signature') ?? ''
  if (!/^[0-9a-f]{64}$/.test(signature)) throw malformedAuthorization()
  return {
    form: 'query',
    credential: query.get('x-oss-credential') ?? '',
    additionalHeaders: query.get('x-oss-additional-headers') ?? '',
    signature,
    date: query.get('x-oss-date') ?? '',
    time: parseIsoDate(query.get('x-oss-date') ?? ''),
    token: query.get('x-oss-security-token'),
  }
}

/**
 * Credential = access key id / day / region / product / aliyun_v4_request. All but the first part is the
 * scope. The refusal names the part that is wrong, as OSS does.
 */
function parseCredential(
  fields: SignatureFields,
  region: string,
): [accessKeyId: string, scope: string] {
  const [accessKeyId = '', day, ...rest] = fields.credential.split('/')
  const where = fields.form === 'header' ? 'Authorization header' : 'x-oss-credential'
  const invalidCredential = (part: string, ec: string, children = {}) => {
    const message = `Invalid signing ${part} in ${where}.`
    return invalidArgument('Credential', fields.credential, message, ec, children)
  }
  const signedDay = new Date(fields.time).toISOString().slice(0, 10).replaceAll('-', '')
  if (day !== signedDay) throw invalidCredential('date', '0002-00000212')
  if (rest[0] !== region) throw invalidCredential('region', '0002-00000226', { Region: region })
  if (rest[1] !== 'oss') throw invalidCredential('product', '0002-00000213')
  if (rest.length !== 3 || rest[2] !== 'aliyun_v4_request')
    throw invalidCredential('suffix', '0002-00000213')
  return [accessKeyId, `${day}/${rest.join('/')}`]
}

function findIdentity(id: string, token: string | undefined, known: readonly Identity[]): Identity {
  const candidates = known.filter(each => each.accessKeyId === id)
  const identity = candidates.find(each => each.securityToken === token)
  if (identity === undefined) {
    // OSS calls a temporary key without its token unknown.
    if (candidates.length === 0 || token === undefined) throw unknownAccessKey(id)
    if (known.some(each => each.securityToken === token)) {
      const message = 'The OSS access key id and security token you provided does not match.'
      throw new OssRefusal(403, 'AccessKeyIdAndSecurityTokenNotMatch', message)
    }
    const message = 'The security token you provided is invalid.'
    throw new OssRefusal(403, 'InvalidSecurityToken', message)
  }
  if (identity.isExpired === true) {
    throw new OssRefusal(
      403,
      'SecurityTokenExpired',
      'The security token you provided has expired.',
    )
  }
  return identity
}

function checkTime(request: OssRequest, fields: SignatureFields, now: number): void {
  const { time: signed } = fields
  if (fields.form === 'header') {
    if (Math.abs(now - signed) > MAX_SKEW_MS) throw tooSkewed(signed, now)
    return
  }
  const expires = request.query.get('x-oss-expires') ?? ''
  if (!/^[1-9]\d{0,5}$/.test(expires) || Number(expires) > MAX_EXPIRES_SECONDS) {
    throw invalidArgument('x-oss-expires', expires, 'x-oss-expires must be 1 to 604800 seconds.')
  }
  if (signed - now > MAX_SKEW_MS) throw tooSkewed(signed, now)
  if (now > signed + Number(expires) * 1000) throw denied('Request has expired.', '0002-00000069')
}

/** Each additional header has to be there. OSS documents an EC for the header form alone. */
function checkAdditionalHeaders({ headers }: OssRequest, fields: SignatureFields): void {
  const { additionalHeaders: list, form } = fields
  if (list === '' || list.split(';').every(name => headers.has(name))) return
  const name = form === 'header' ? 'AdditionalHeaders' : 'x-oss-additional-headers'
  const ec = form === 'header' ? '0002-00000211' : undefined
  throw invalidArgument(name, list, 'An additional header is not in the request.', ec)
}

/** 403 RequestTimeTooSkewed, with both clocks. */
function tooSkewed(requestTime: number, serverTime: number): OssRefusal {
  return new OssRefusal(
    403,
    'RequestTimeTooSkewed',
    'The difference between the request time and the current time is too large.',
    {
      ec: '0002-00000504',
      children: {
        RequestTime: new Date(requestTime).toISOString(),
        ServerTime: new Date(serverTime).toISOString(),
        MaxAllowedSkewMilliseconds: String(MAX_SKEW_MS),
      },
    },
  )
}

/** `x-oss-date`, or else `Date`. Each has its own format. */
function parseHeaderDate({ headers }: OssRequest): number {
  const ossDate = headers.get('x-oss-date')
  if (ossDate !== undefined) return parseIsoDate(ossDate)
  const date = headers.get('date')
  if (date === undefined) throw invalidDate('0002-00000503')
  const time = Date.parse(date)
  if (Number.isNaN(time) || new Date(time).toUTCString() !== date) throw invalidDate()
  return time
}

/** 20231216T162057Z to ms. `Date` takes 31 June for 1 July: such a day is refused here. */
function parseIsoDate(text: string): number {
  const [, y, mo, d, h, mi, s] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text) ?? []
  const iso = `${y}-${mo}-${d}T${h}:${mi}:${s}.000Z`
  const time = Date.parse(iso)
  if (Number.isNaN(time) || new Date(time).toISOString() !== iso) throw invalidDate()
  return time
}

/** The signed path always contains the bucket, also if the Host header names it. */
function canonicalRequest(request: OssRequest, fields: SignatureFields): string {
  const path = request.bucket === '' ? '/' : `/${request.bucket}/${request.key}`
  const uri = encode(path).replaceAll('%2F', '/')
  const query = [...request.query]
    .filter(([name]) => name !== 'x-oss-signature')
    .map(([name, value]) => [encode(name), encode(value)] as const)
    .sort(([a], [b]) => compare(a, b))
    .map(([name, value]) => (value === '' ? name : `${name}=${value}`))
    .join('&')
  const additional = fields.additionalHeaders === '' ? [] : fields.additionalHeaders.split(';')
  const headers = [...request.headers]
    .filter(([name]) => isSignedByDefault(name) || additional.includes(name))
    .sort(([a], [b]) => compare(a, b))
    .map(([name, value]) => `${name}:${value.trim()}\n`)
    .join('')
  return [request.method, uri, query, headers, fields.additionalHeaders, UNSIGNED_PAYLOAD].join(
    '\n',
  )
}

function isSignedByDefault(name: string): boolean {
  return name.startsWith('x-oss-') || name === 'content-type' || name === 'content-md5'
}

/** Byte order: encoded names are ASCII. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** OSS encodes five more characters than encodeURIComponent. */
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

/** Header values are latin1, one character for each byte that arrived: hash those bytes. */
function sha256(text: string): string {
  return createHash('sha256').update(text, 'latin1').digest('hex')
}

/** EC 0002-00000502: in a wrong format; -503: absent. */
function invalidDate(ec = '0002-00000502'): OssRefusal {
  return denied('OSS authentication requires a valid Date.', ec)
}

function denied(message: string, ec?: string): OssRefusal {
  return new OssRefusal(403, 'AccessDenied', message, { ec })
}

function unknownAccessKey(accessKeyId: string): OssRefusal {
  return new OssRefusal(
    403,
    'InvalidAccessKeyId',
    'The OSS Access Key Id you provided does not exist in our records.',
    { ec: '0002-00000902', children: { OSSAccessKeyId: accessKeyId } },
  )
}

function malformedAuthorization(): OssRefusal {
  const message = 'The format of the Authorization is invalid.'
  return new OssRefusal(400, 'InvalidArgument', message, { ec: '0002-00000061' })
}
