/** What a server may be asked for, refused at once where it can't be, with its defaults. */

import { invalidOption } from '../errors.ts'
import { checkBoolean, checkInteger, checkKnown, checkOneOf, checkRecord } from '../validate.ts'
import type { ServerCredentials } from './signature.ts'

/** Options of {@link createOssServer}. */
export interface OssServerOptions {
  /** Default 0: any free one. */
  readonly port?: number | undefined
  /** Address to listen on, default `127.0.0.1`. */
  readonly host?: string | undefined
  /** Folder to keep objects in. Default: memory. */
  readonly dir?: string | undefined
  /** Access keys that are known. Default: a fixed pair for tests. */
  readonly credentials?: ServerCredentials | readonly ServerCredentials[] | undefined
  /** Default `cn-hangzhou`. */
  readonly region?: string | undefined
  /** Largest object, bytes; default 5 GiB. */
  readonly maxObjectBytes?: number | undefined
  /** The buckets that exist. Default: every bucket does. */
  readonly buckets?: readonly string[] | undefined
  /** Custom domains: host to bucket. Default: none. */
  readonly cnames?: Readonly<Record<string, string>> | undefined
  /** RAM actions that are allowed. Default: all that are served. */
  readonly permissions?: readonly string[] | undefined
  /** Whether SealAppendObject is enabled, default true. */
  readonly seal?: boolean | undefined
  /** Serve https with this key and certificate (PEM). Default: http. */
  readonly tls?: { readonly key: string; readonly cert: string } | undefined
}

/** The same, complete: what has no default stays undefined. */
export interface ServerSettings {
  readonly port: number
  readonly host: string
  readonly dir: string | undefined
  readonly credentials: readonly ServerCredentials[]
  readonly region: string
  readonly maxObjectBytes: number
  readonly buckets: readonly string[] | undefined
  readonly cnames: Readonly<Record<string, string>>
  readonly permissions: readonly string[]
  readonly seal: boolean
  readonly tls: { readonly key: string; readonly cert: string } | undefined
}

const OPTIONS = [
  'port',
  'host',
  'dir',
  'credentials',
  'region',
  'maxObjectBytes',
  'buckets',
  'cnames',
  'permissions',
  'seal',
  'tls',
] as const satisfies readonly (keyof OssServerOptions)[]

const PERMISSIONS = [
  'oss:GetObject',
  'oss:PutObject',
  'oss:PutObjectTagging',
  'oss:DeleteObject',
  'oss:SealAppendObject',
]

const DEFAULTS = {
  port: 0,
  host: '127.0.0.1',
  dir: undefined,
  credentials: { accessKeyId: 'test-access-key', accessKeySecret: 'test-access-secret' },
  region: 'cn-hangzhou',
  maxObjectBytes: 5 * 1024 * 1024 * 1024,
  buckets: undefined,
  cnames: {},
  permissions: PERMISSIONS,
  seal: true,
  tls: undefined,
}

/** @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option. */
export function resolveServerOptions(options: unknown = {}): ServerSettings {
  const given = checkKnown('options', options, OPTIONS)
  const pick = (name: (typeof OPTIONS)[number]) => given[name] ?? DEFAULTS[name]
  const isAbsent = (name: (typeof OPTIONS)[number]) => pick(name) === undefined
  return {
    port: checkInteger('port', pick('port'), 0, 65_535),
    host: checkString('host', pick('host')),
    dir: isAbsent('dir') ? undefined : checkString('dir', pick('dir')),
    credentials: checkCredentials(pick('credentials')),
    region: checkString('region', pick('region')),
    maxObjectBytes: checkInteger('maxObjectBytes', pick('maxObjectBytes'), 1),
    buckets: isAbsent('buckets') ? undefined : checkList('buckets', pick('buckets'), checkString),
    cnames: checkStringRecord('cnames', pick('cnames')),
    permissions: checkList('permissions', pick('permissions'), checkPermission),
    seal: checkBoolean('seal', pick('seal')),
    tls: isAbsent('tls') ? undefined : checkTls(pick('tls')),
  }
}

/** One access key, or a list of at least one. Nothing of it is quoted. */
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

function checkTls(value: unknown): { readonly key: string; readonly cert: string } {
  const { key, cert } = checkKnown('tls', value, ['key', 'cert'])
  return { key: checkString('tls.key', key), cert: checkString('tls.cert', cert) }
}

function checkPermission(name: string, value: unknown): string {
  return checkOneOf(name, value, PERMISSIONS)
}

function checkString(name: string, value: unknown): string {
  if (typeof value === 'string' && value !== '') return value
  throw invalidOption(name, 'must be a string that is not empty')
}

function checkStringRecord(name: string, value: unknown): Readonly<Record<string, string>> {
  const pairs = checkRecord(name, value)
  return Object.fromEntries(pairs.map(([key, text]) => [key, checkString(`${name}.${key}`, text)]))
}

function checkList(
  name: string,
  value: unknown,
  check: (name: string, value: unknown) => string,
): readonly string[] {
  if (!Array.isArray(value)) throw invalidOption(name, 'must be a list')
  return value.map((each, i) => check(`${name}[${i}]`, each))
}
