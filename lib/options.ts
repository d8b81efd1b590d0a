/**
 * The options of a stream: what each means, how its value is checked, and its default. `resolveOptions()`
 * turns the caller's options into settings, in which every value is present and of the right type. It does
 * not change the caller's objects.
 */

import type { RetryPolicy } from './append/backoff.ts'
import type { AppendPipeline, Client, Target } from './append/client-interface.ts'
import { OssClient, openPipeline } from './client/client.ts'
import { checkTarget, parseUrl } from './client/endpoint.ts'
import { CLIENT_OPTIONS, type ClientOptions } from './client/options.ts'
import { parseCrc64 } from './crc64/index.ts'
import { invalidOption } from './errors.ts'
import {
  CREATION_OPTIONS,
  type CreationOptions,
  type Headers,
  resolveHeaders,
} from './header-options.ts'
import {
  checkBoolean,
  checkInteger,
  checkKnown,
  checkLimit,
  checkMethods,
  checkSignal,
  MAX_DELAY,
} from './validate.ts'

/** `'\n'`: a record is a line. A number: a record has that many bytes. `'chunk'`: a record is one `write()`. */
export type Align = '\n' | number | 'chunk'

/**
 * The options of `createAppendStream` behind a url: all but `bucket` and `key`. Bytes and milliseconds
 * everywhere.
 */
export interface UrlOptions extends ClientOptions, CreationOptions {
  /**
   * `'end'`: append to the object, and create it if it is absent. A number: the object must be exactly that
   * many bytes long; 0 means absent or empty. Default `'end'`.
   */
  readonly position?: 'end' | number | undefined
  /** With a number as `position`: the known CRC-64 of those bytes, an unsigned decimal string. Default: OSS is asked. */
  readonly crc64?: string | undefined
  /** Bytes of a batch, and the `highWaterMark` of the Writable. 1 to 1 GiB. Default 4 MiB. */
  readonly highWaterMark?: number | undefined
  /**
   * Milliseconds that an accepted byte waits at most for its batch to fill. 0: a batch is sent only when it
   * is full, flushed or ended. With `align` a byte waits for the end of its record in any case. Default
   * 1,000.
   */
  readonly flushInterval?: number | undefined
  /**
   * Append whole records only, so that every acknowledged length of the object ends with one. `'\n'`: lines.
   * A number: records of that many bytes, counted from the first byte of this stream. `'chunk'`: what one
   * `write()` was given. Only `end()` sends a record that is not whole. Default 1: each byte is a record.
   */
  readonly align?: Align | undefined
  /**
   * Bytes that a record may have. A longer one fails the stream with `OSS_ERR_RECORD_TOO_LARGE`: the records
   * before it are sent, and nothing of it. A record longer than `highWaterMark` is held in memory whole. 1
   * to 1 GiB, only with `align`. With `journal`, and without `'chunk'`, at most half of `journal.maxBytes`.
   * Default 64 MiB.
   */
  readonly maxRecordBytes?: number | undefined
  /** Extra headers for every append, such as `x-oss-traffic-limit`. The stream's own can't be overridden. Default: none. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /**
   * Send Content-MD5, by which OSS refuses a damaged batch before it is stored. Default: true over http,
   * false over https, where TLS already protects the body.
   */
  readonly contentMd5?: boolean | undefined
  /** When to try again; each member has its default. Counters start afresh with every acknowledged append. */
  readonly retry?: { readonly [P in keyof RetryPolicy]?: RetryPolicy[P] | undefined } | undefined
  /** Bytes an object may have; checked before sending. Default 5,368,709,120 (5 GiB, OSS's limit). */
  readonly maxObjectBytes?: number | undefined
  /**
   * Other writers append to the object too: streams with this option, in any process. Each stream appends whole
   * records where the object ends. Position and CRC-64, or the object's bytes, tell what became of an append of
   * unknown outcome. Needs `align`, and records that are unique. Excludes a number as `position`, and `seal`.
   * Default false.
   */
  readonly shared?: boolean | undefined
  /**
   * Appends in flight at most, 1 to 4. More than 1: a batch is sent without waiting for the response to the one
   * before it, on one connection. If another writer appends exactly as many bytes as a batch has, the next one
   * lands behind foreign bytes, and the stream fails. Memory: one batch more for each. Excludes `shared`,
   * `journal`, `dispatcher`, and a `client` that is not an `OssClient` with connections of its own. Default 1.
   */
  readonly pipelining?: number | undefined
  /** Seal the object after the last append (OSS, "SealAppendObject"). Default false. */
  readonly seal?: boolean | undefined
  /**
   * A folder on a local disk. Written bytes are kept there until they are acknowledged, so they survive the
   * process, a power cut and a long outage. The next start delivers them first. Default: memory alone.
   */
  readonly journal?: string | JournalOptions | undefined
  /** Aborting it destroys the stream with Node's AbortError. Default: none. */
  readonly signal?: AbortSignal | undefined
  /** A client that streams share, or any other implementation. Excludes the network options. Default: a new `OssClient`. */
  readonly client?: Client | undefined
}

/** How a stream keeps accepted bytes on disk. */
export interface JournalOptions {
  /** The folder. Each stream takes a free slot in it: `0/`, `1/`, ... Required. */
  readonly dir: string
  /** Bytes on disk, at least 1 MiB. A stream whose journal is full accepts no more. Default 1 GiB. */
  readonly maxBytes?: number | undefined
  /**
   * When written bytes are synced to the disk. `'always'`: before the callback of a write. Milliseconds: at
   * most that long after it, together with others. `'never'`: when the system does it. Default 200.
   */
  readonly sync?: 'always' | 'never' | number | undefined
}

export type JournalSettings = {
  readonly [Name in keyof JournalOptions]-?: NonNullable<JournalOptions[Name]>
}

/** The options of `createAppendStream`: the object, and everything that goes with a url too. */
export interface AppendStreamOptions extends UrlOptions {
  /** 3 to 63 characters out of a-z, 0-9 and `-`. Required, here or in the url. */
  readonly bucket: string
  /** 1 to 1,023 bytes of UTF-8, not beginning with `/` or `\`. Required, here or in the url. */
  readonly key: string
}

export const MIB = 1024 * 1024
const GIB = 1024 * MIB
/** Measured: 4 in flight hide most of a round trip, and each costs memory for a batch. */
const MAX_PIPELINING = 4

export const DEFAULT_MAX_RECORD_BYTES = 64 * MIB
export const DEFAULT_RETRY: RetryPolicy = {
  maxRetries: Number.POSITIVE_INFINITY,
  maxElapsed: 300_000,
  minDelay: 200,
  maxDelay: 20_000,
}

/** Checks the value of the option `name`, and returns the setting; the default, where the value is undefined. */
type Resolver<Setting> = (value: unknown, name: string, given: UrlOptions) => Setting

/** All other options of a stream, in the order in which they are checked. */
const STREAM_OPTIONS = {
  position: resolvePosition,
  crc64: resolveCrc64,
  signal: resolveSignal,
  highWaterMark: integer(4 * MIB, 1, GIB),
  flushInterval: integer(1000, 0, MAX_DELAY),
  maxRecordBytes: resolveMaxRecordBytes,
  align: resolveAlign,
  headers: resolveHeaders,
  contentMd5: resolveContentMd5,
  retry: resolveRetry,
  maxObjectBytes: integer(5 * GIB, 1),
  seal: (value = false, name) => checkBoolean(name, value),
  shared: resolveShared,
  journal: resolveJournal,
  client: resolveClient,
  pipelining: resolvePipelining,
} satisfies Record<
  Exclude<keyof UrlOptions, keyof (ClientOptions & CreationOptions)>,
  Resolver<unknown>
>

/** What the resolvers of a table return, by the names of their options. */
type Resolved<Table extends Record<string, Resolver<unknown>>> = {
  readonly [Name in keyof Table]: ReturnType<Table[Name]>
}

/** The options as checked and completed. */
export interface Settings extends Omit<Resolved<typeof STREAM_OPTIONS>, 'contentMd5' | 'client'> {
  readonly target: Target
  readonly creationHeaders: Headers
  readonly contentMd5: boolean
  readonly client: Client
  /** Sends the appends, where `pipelining` is more than 1. */
  readonly pipeline: AppendPipeline | undefined
  /** The stream made the client, so it closes it. */
  readonly isOwnClient: boolean
}

/** The names of all options. A test compares README's table with them. */
export const OPTIONS: readonly (keyof AppendStreamOptions)[] = [
  'bucket',
  'key',
  ...(Object.keys(STREAM_OPTIONS) as (keyof typeof STREAM_OPTIONS)[]),
  ...(Object.keys(CREATION_OPTIONS) as (keyof CreationOptions)[]),
  ...CLIENT_OPTIONS,
]

/**
 * Resolves what `createAppendStream` was given.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option.
 */
export function resolveOptions(
  first: string | AppendStreamOptions,
  options?: UrlOptions | undefined,
): Settings {
  const given = givenOptions(first, options)
  checkKnown('options', given, OPTIONS)
  const target = typeof first === 'string' ? resolveUrl(first, given) : resolveTarget(given)
  const { contentMd5, client: givenClient, ...settings } = resolveAll(STREAM_OPTIONS, given)
  const creationHeaders = Object.assign({}, ...Object.values(resolveAll(CREATION_OPTIONS, given)))
  // Last: no client is left open when another option is wrong.
  const client = givenClient ?? createClient(given)
  if (client instanceof OssClient) client.checkBucket(target.bucket)
  const { pipelining } = settings
  return {
    ...settings,
    target,
    creationHeaders,
    contentMd5: contentMd5 ?? client.isSecure === false,
    client,
    pipeline: pipelining > 1 ? openPipeline(client as OssClient, pipelining) : undefined,
    isOwnClient: givenClient === undefined,
  }
}

type GivenOptions = UrlOptions & Partial<Target>

function givenOptions(
  first: string | AppendStreamOptions,
  options: UrlOptions | undefined,
): GivenOptions {
  if (typeof first === 'string') return options === undefined ? {} : options
  if (options === undefined) return first
  throw invalidOption('options', 'are the first argument already: a second one goes with a url')
}

function resolveAll<Table extends Record<string, Resolver<unknown>>>(
  table: Table,
  given: GivenOptions,
): Resolved<Table> {
  const settings = Object.entries(table).map(([name, resolve]) => [
    name,
    resolve(given[name as keyof GivenOptions], name, given),
  ])
  return Object.fromEntries(settings)
}

function resolveTarget({ bucket, key }: GivenOptions): Target {
  const target = { bucket, key } as Target
  checkTarget(target)
  return target
}

function resolveUrl(url: string, given: GivenOptions): Target {
  for (const part of ['bucket', 'key'] as const) {
    if (given[part] !== undefined) throw invalidOption(part, 'is in the url already: leave it out')
  }
  return parseUrl(url)
}

function createClient(given: GivenOptions): OssClient {
  const network = CLIENT_OPTIONS.filter(name => given[name] !== undefined)
  return new OssClient(Object.fromEntries(network.map(name => [name, given[name]])))
}

function integer(standard: number, min: number, max?: number): Resolver<number> {
  return (value = standard, name) => checkInteger(name, value, min, max)
}

function resolvePosition(value: unknown = 'end', name: string): 'end' | number {
  if (value === 'end') return value
  if (typeof value !== 'number') throw invalidOption(name, "must be 'end' or a number")
  return checkInteger(name, value, 0)
}

function resolveCrc64(
  value: unknown,
  name: string,
  { position = 'end' }: UrlOptions,
): string | undefined {
  if (value === undefined) return undefined
  const crc64 = typeof value === 'string' ? parseCrc64(value)?.toString() : undefined
  if (crc64 === undefined) {
    throw invalidOption(name, 'must be an unsigned 64-bit decimal, as a string')
  }
  if (position === 'end') throw invalidOption(name, 'needs a number as position')
  if (position === 0 && crc64 !== '0') throw invalidOption(name, "must be '0' for position 0")
  return crc64
}

function resolveSignal(value: unknown, name: string): AbortSignal | undefined {
  return value === undefined ? undefined : checkSignal(name, value)
}

function resolveMaxRecordBytes(
  value: unknown = DEFAULT_MAX_RECORD_BYTES,
  name: string,
  given: UrlOptions,
): number {
  checkInteger(name, value, 1, GIB)
  if (given.maxRecordBytes !== undefined && given.align === undefined) {
    throw invalidOption(name, 'needs align')
  }
  return Math.min(value as number, longestJournaled(given))
}

/**
 * Bytes. A longer record could fill the journal before its end comes, and nothing of it would ever leave. Not with
 * `'chunk'`: loggers have chunks of several records, which are shorter.
 */
function longestJournaled({ journal, align }: UrlOptions): number {
  if (!journal || align === 'chunk') return Number.POSITIVE_INFINITY
  const { maxBytes = GIB } = typeof journal === 'string' ? {} : journal
  return Math.floor(maxBytes / 2)
}

function resolveAlign(value: unknown = 1, name: string, given: UrlOptions): Align {
  if (value === '\n' || value === 'chunk') return value
  if (typeof value !== 'number') {
    throw invalidOption(name, "must be '\\n', 'chunk' or a number of bytes")
  }
  // No batch would ever have room for such a record.
  const { maxRecordBytes = DEFAULT_MAX_RECORD_BYTES } = given
  if (value > maxRecordBytes) throw invalidOption(name, 'must not be more than maxRecordBytes')
  if (value > longestJournaled(given)) {
    throw invalidOption(name, 'must not be more than half of journal.maxBytes')
  }
  return checkInteger(name, value, 1)
}

function resolveShared(value: unknown = false, name: string, given: UrlOptions): boolean {
  if (!checkBoolean(name, value)) return false
  if (given.align === undefined) throw invalidOption(name, 'needs align')
  if (typeof given.position === 'number') throw invalidOption(name, "needs 'end' as position")
  if (given.seal) throw invalidOption(name, 'excludes seal, which would shut out the other writers')
  return true
}

function resolveJournal(
  value: unknown,
  name: string,
  given: UrlOptions,
): JournalSettings | undefined {
  if (value === undefined) return undefined
  const options = typeof value === 'string' ? { dir: value } : value
  if (typeof options !== 'object')
    throw invalidOption(name, 'must be the path of a folder, or an object')
  const { dir, maxBytes = GIB, sync = 200 } = checkKnown(name, options, ['dir', 'maxBytes', 'sync'])
  const member = typeof value === 'string' ? name : `${name}.dir`
  if (typeof dir !== 'string' || dir === '' || dir.includes('\0'))
    throw invalidOption(member, 'must be the path of a folder')
  checkInteger(`${name}.maxBytes`, maxBytes, MIB)
  if (given.shared) throw invalidOption(name, 'excludes shared: put {slot} into the key instead')
  if (typeof given.position === 'number') throw invalidOption(name, "needs 'end' as position")
  return {
    dir,
    maxBytes: maxBytes as number,
    sync: checkSync(`${name}.sync`, sync),
  }
}

function checkSync(name: string, value: unknown): JournalSettings['sync'] {
  if (value === 'always' || value === 'never') return value
  if (typeof value === 'number') return checkInteger(name, value, 1, MAX_DELAY)
  throw invalidOption(name, "must be 'always', 'never' or a number of milliseconds")
}

function resolveContentMd5(value: unknown, name: string): boolean | undefined {
  return value === undefined ? undefined : checkBoolean(name, value)
}

function resolveRetry(value: unknown = {}, name: string, { journal }: UrlOptions): RetryPolicy {
  const given = checkKnown(name, value, Object.keys(DEFAULT_RETRY))
  // An outage fills the journal, and not memory, so it may last.
  const defaults =
    journal === undefined
      ? DEFAULT_RETRY
      : { ...DEFAULT_RETRY, maxElapsed: Number.POSITIVE_INFINITY }
  const pick = (member: keyof RetryPolicy) =>
    given[member] === undefined ? defaults[member] : given[member]
  const policy = {
    maxRetries: checkLimit(`${name}.maxRetries`, pick('maxRetries')),
    maxElapsed: checkLimit(`${name}.maxElapsed`, pick('maxElapsed')),
    minDelay: checkInteger(`${name}.minDelay`, pick('minDelay'), 0, MAX_DELAY),
    maxDelay: checkInteger(`${name}.maxDelay`, pick('maxDelay'), 0, MAX_DELAY),
  }
  if (policy.minDelay > policy.maxDelay) {
    throw invalidOption(`${name}.minDelay`, `must not be more than ${name}.maxDelay`)
  }
  return policy
}

function resolveClient(value: unknown, name: string, given: UrlOptions): Client | undefined {
  if (value === undefined) return undefined
  checkMethods(name, value, given.seal ? ['head', 'append', 'seal'] : ['head', 'append'])
  const network = CLIENT_OPTIONS.find(option => given[option] !== undefined)
  if (network) throw invalidOption(network, 'belongs to the client: give it to new OssClient()')
  return value as Client
}

function resolvePipelining(value: unknown = 1, name: string, given: UrlOptions): number {
  const depth = checkInteger(name, value, 1, MAX_PIPELINING)
  if (depth === 1) return depth
  for (const option of ['shared', 'journal'] as const) {
    if (given[option]) throw invalidOption(name, `excludes ${option}`)
  }
  const { client, dispatcher } = given
  const isOwnAgent = client === undefined || (client instanceof OssClient && client.sendsOnce)
  if (dispatcher === undefined && isOwnAgent) return depth
  const remedy = 'leave out dispatcher, and pass as client an OssClient without one, or none'
  throw invalidOption(name, `needs connections of this package: ${remedy}`)
}
