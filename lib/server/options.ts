/** The options of a server, checked, with their defaults. */

import { randomBytes } from 'node:crypto'
import { invalidOption } from '../errors.ts'
import { checkBoolean, checkInteger, checkKnown, checkOneOf, checkRecord } from '../validate.ts'
import { checkBucketOption } from './names.ts'
import { ALL_ACTIONS } from './permissions.ts'
import type { ServerCredentials } from './signature.ts'

/** Options of {@link createOssServer}. */
export interface OssServerOptions {
  /** Port to listen on, default 0: any free one. */
  readonly port?: number | undefined
  /** Address to listen on, default `127.0.0.1`. */
  readonly host?: string | undefined
  /** Folder to keep objects in. Its parent must exist. Only one server at a time may write to it. Default: memory. */
  readonly dir?: string | undefined
  /** Access keys that are known. Default: a fixed pair for tests. */
  readonly credentials?: ServerCredentials | readonly ServerCredentials[] | undefined
  /** Id of the region that signatures have to name, default `cn-hangzhou`. */
  readonly region?: string | undefined
  /** Bytes. The largest object, default 5 GiB. */
  readonly maxObjectBytes?: number | undefined
  /** The buckets that exist. Default: every bucket exists. */
  readonly buckets?: readonly string[] | undefined
  /** Custom domains: host to bucket. Default: none. */
  readonly cnames?: Readonly<Record<string, string>> | undefined
  /** RAM actions that are allowed. Default: all that the server knows. */
  readonly permissions?: readonly string[] | undefined
  /** Whether SealAppendObject is enabled, default true. */
  readonly seal?: boolean | undefined
  /** Faults and the log over HTTP, on a port and with a token of its own. Default false; true: both are chosen. */
  readonly control?: boolean | ControlOptions | undefined
  /** Serve https with this key and certificate (PEM). Default: http. */
  readonly tls?: { readonly key: string; readonly cert: string } | undefined
}

/** Options of the control address. */
export interface ControlOptions {
  /** Default 0: any free port. */
  readonly port?: number | undefined
  /** Default: a random one. */
  readonly token?: string | undefined
}

export const DEFAULTS = {
  port: 0,
  host: '127.0.0.1',
  dir: undefined,
  credentials: { accessKeyId: 'test-access-key', accessKeySecret: 'test-access-secret' },
  region: 'cn-hangzhou',
  maxObjectBytes: 5 * 1024 * 1024 * 1024,
  buckets: undefined,
  cnames: {},
  permissions: ALL_ACTIONS,
  seal: true,
  control: false,
  tls: undefined,
} satisfies Record<keyof OssServerOptions, unknown>

/** The options, checked and complete. An option without a default may be undefined. */
export type ServerSettings = ReturnType<typeof resolveServerOptions>

/** @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option. */
export function resolveServerOptions(options: unknown = {}) {
  const given = checkKnown('options', options, Object.keys(DEFAULTS))
  const pick = (name: keyof typeof DEFAULTS) => given[name] ?? DEFAULTS[name]
  const optional = <T>(name: keyof typeof DEFAULTS, check: (name: string, value: unknown) => T) =>
    pick(name) === undefined ? undefined : check(name, pick(name))
  const buckets = optional('buckets', (name, value) => checkList(name, value, checkBucketOption))
  const checkBucket = (name: string, value: unknown) =>
    buckets === undefined ? checkBucketOption(name, value) : checkOneOf(name, value, buckets)
  return {
    port: checkInteger('port', pick('port'), 0, 65_535),
    host: checkString('host', pick('host')),
    dir: optional('dir', checkString),
    credentials: checkCredentials(pick('credentials')),
    region: checkString('region', pick('region')),
    maxObjectBytes: checkInteger('maxObjectBytes', pick('maxObjectBytes'), 1),
    buckets,
    cnames: checkRecordOf('cnames', pick('cnames'), checkBucket),
    permissions: checkList('permissions', pick('permissions'), checkPermission),
    seal: checkBoolean('seal', pick('seal')),
    control: checkControl(pick('control')),
    tls: optional('tls', checkTls),
  }
}

/** One access key, or a list of at least one. A message quotes none of it. */
export function checkCredentials(value: unknown): readonly ServerCredentials[] {
  const list = Array.isArray(value) ? value : [value]
  if (list.length === 0) throw invalidOption('credentials', 'must not be an empty list')
  return list.map(each => {
    const fields = ['accessKeyId', 'accessKeySecret', 'securityToken']
    const { securityToken, ...pair } = checkKnown('credentials', each, fields)
    const accessKeyId = checkString('credentials.accessKeyId', pair.accessKeyId)
    const accessKeySecret = checkString('credentials.accessKeySecret', pair.accessKeySecret)
    if (securityToken === undefined) return { accessKeyId, accessKeySecret }
    const token = checkString('credentials.securityToken', securityToken)
    return { accessKeyId, accessKeySecret, securityToken: token }
  })
}

function checkTls(_name: string, value: unknown): { readonly key: string; readonly cert: string } {
  const { key, cert } = checkKnown('tls', value, ['key', 'cert'])
  return { key: checkString('tls.key', key), cert: checkString('tls.cert', cert) }
}

function checkControl(value: unknown) {
  if (value === false) return undefined
  const { port, token } = checkKnown('control', value === true ? {} : value, ['port', 'token'])
  return {
    port: checkInteger('control.port', port ?? 0, 0, 65_535),
    token: checkString('control.token', token ?? randomBytes(16).toString('hex')),
  }
}

function checkPermission(name: string, value: unknown): string {
  return checkOneOf(name, value, ALL_ACTIONS)
}

function checkString(name: string, value: unknown): string {
  if (typeof value === 'string' && value !== '') return value
  throw invalidOption(name, 'must be a string that is not empty')
}

function checkRecordOf(
  name: string,
  value: unknown,
  check: (name: string, value: unknown) => string,
): Readonly<Record<string, string>> {
  const pairs = checkRecord(name, value)
  return Object.fromEntries(pairs.map(([key, text]) => [key, check(`${name}.${key}`, text)]))
}

function checkList(
  name: string,
  value: unknown,
  check: (name: string, value: unknown) => string,
): readonly string[] {
  if (!Array.isArray(value)) throw invalidOption(name, 'must be a list')
  return value.map((each, i) => check(`${name}[${i}]`, each))
}
