/**
 * Every flag: how its value is parsed, which option it sets, and which commands take it. `parse-flags.ts`
 * parses the command line by this table, and messages of the library are translated by it.
 */

import {
  type Parser,
  parseAlign,
  parseCount,
  parseCountOrInfinity,
  parseDuration,
  parseDurationOrInfinity,
  parseJournalSync,
  parseList,
  parsePair,
  parsePort,
  parseSize,
} from './parse-units.ts'

export type CommandName =
  | 'append'
  | 'demo'
  | 'stat'
  | 'cat'
  | 'ls'
  | 'verify'
  | 'drain'
  | 'journal'
  | 'serve'

/** In the order of the help. */
export const COMMANDS: readonly CommandName[] = [
  'append',
  'demo',
  'stat',
  'cat',
  'ls',
  'verify',
  'drain',
  'journal',
  'serve',
]

/** What a flag sets: the connection, the append stream, its rolling, or the command itself. */
export type FlagGroup = 'backend' | 'stream' | 'roll' | 'command'

export interface Flag {
  readonly type: 'string' | 'boolean'
  readonly multiple?: boolean
  readonly short?: string
  readonly group: FlagGroup
  readonly commands: readonly CommandName[]
  /** The option that the flag sets, dotted as in the library's messages. */
  readonly option: string
  /** The environment variable with the same meaning. */
  readonly envName?: string
  /** Default: the value is the text, or true for a flag without one. */
  readonly parse?: Parser<unknown>
  /** The name of the value in the help. Empty: the flag takes none. */
  readonly value: string
  /** What the help says about it, with its default in parentheses. */
  readonly text: string
  /** The flag sets a property that an object gets when it is created. */
  readonly isCreation?: boolean
}

const APPEND_ONLY = ['append'] as const
const SERVE_ONLY = ['serve'] as const
const OBJECT_COMMANDS = ['append', 'stat', 'cat', 'ls', 'verify'] as const
/** The commands that reach OSS. */
const NETWORK_COMMANDS = [...OBJECT_COMMANDS, 'drain'] as const
/** The commands that deliver. */
const DELIVERING_COMMANDS = ['append', 'drain'] as const

/** How the help shows a flag: the name of its value, and one line of text. */
type Description = readonly [value: string, text: string]

function backendFlag(option: string, [value, text]: Description, parse?: Parser<unknown>): Flag {
  return makeFlag({ group: 'backend', commands: NETWORK_COMMANDS, option, value, text }, parse)
}

function streamFlag(option: string, [value, text]: Description, parse?: Parser<unknown>): Flag {
  return makeFlag({ group: 'stream', commands: APPEND_ONLY, option, value, text }, parse)
}

function creationFlag(option: string, value: string, text: string): Flag {
  return { ...streamFlag(option, [value, text]), isCreation: true }
}

function rollFlag(option: string, [value, text]: Description, parse?: Parser<unknown>): Flag {
  return makeFlag({ group: 'roll', commands: APPEND_ONLY, option, value, text }, parse)
}

function commandFlag(
  option: string,
  commands: readonly CommandName[],
  [value, text]: Description,
  parse?: Parser<unknown>,
): Flag {
  return makeFlag({ group: 'command', commands, option, value, text }, parse)
}

/** A flag without the name of a value takes none. */
function makeFlag(flag: Omit<Flag, 'type' | 'parse'>, parse?: Parser<unknown>): Flag {
  return { ...flag, type: flag.value === '' ? 'boolean' : 'string', ...(parse && { parse }) }
}

function deliveryFlag(option: string, description: Description, parse: Parser<unknown>): Flag {
  return { ...streamFlag(option, description, parse), commands: DELIVERING_COMMANDS }
}

/** The flag may be repeated. Its NAME=VALUE pairs make a record. */
function pairsFlag(flag: Flag): Flag {
  return { ...flag, parse: parsePair, multiple: true }
}

export const FLAGS: Readonly<Record<string, Flag>> = {
  // The connection.
  region: {
    ...backendFlag('region', ['ID', 'as in cn-hangzhou']),
    commands: [...NETWORK_COMMANDS, 'serve'],
    envName: 'OSS_REGION',
  },
  endpoint: {
    ...backendFlag('endpoint', ['HOST', 'with or without https://']),
    envName: 'OSS_ENDPOINT',
  },
  'path-style': backendFlag('pathStyle', ['', 'host/bucket/key, not bucket.host/key']),
  cname: backendFlag('cname', ['', 'the endpoint is a domain of the bucket']),
  credentials: {
    ...backendFlag('credentials', ['MODULE', 'a module with the keys; serve: ID:SECRET']),
    commands: [...NETWORK_COMMANDS, 'serve'],
  },
  local: {
    ...backendFlag('local', ['DIR', 'a folder in place of OSS; read by cat, ls']),
    commands: OBJECT_COMMANDS,
  },
  'connect-timeout': backendFlag(
    'connectTimeout',
    ['TIME', 'to open a connection (5s)'],
    parseDuration,
  ),
  'request-timeout': backendFlag('requestTimeout', ['TIME', 'of a request (30s)'], parseDuration),

  // Appending.
  position: streamFlag('position', ['N', 'where the object ends (end: ask OSS)'], (option, text) =>
    text === 'end' ? 'end' : parseCount(option, text),
  ),
  crc64: streamFlag('crc64', ['N', 'CRC-64 of the object up to --position']),
  buffer: streamFlag('highWaterMark', ['SIZE', 'longest append (4MiB)'], parseSize),
  'flush-interval': streamFlag(
    'flushInterval',
    ['TIME', 'longest wait to fill an append (1s)'],
    parseDuration,
  ),
  align: streamFlag('align', ['line|chunk|N', 'where an append may end'], parseAlign),
  'max-record-bytes': streamFlag(
    'maxRecordBytes',
    ['SIZE', 'longest line or chunk with --align (64MiB)'],
    parseSize,
  ),
  'max-object-bytes': streamFlag('maxObjectBytes', ['SIZE', 'longest object (5GiB)'], parseSize),
  seal: streamFlag('seal', ['', 'seal the object at the end']),
  header: pairsFlag(streamFlag('headers', ['NAME=VALUE', 'sent with each append; repeatable'])),
  'content-md5': streamFlag('contentMd5', ['', 'OSS checks each append by MD5']),
  'no-content-md5': streamFlag('contentMd5', ['', 'it does not (default with https)'], () => false),
  'max-retries': deliveryFlag(
    'retry.maxRetries',
    ['N', 'of one append (Infinity)'],
    parseCountOrInfinity,
  ),
  'max-elapsed': deliveryFlag(
    'retry.maxElapsed',
    ['TIME', 'longest outage (Infinity; --local: 3s)'],
    parseDurationOrInfinity,
  ),
  'min-delay': deliveryFlag(
    'retry.minDelay',
    ['TIME', 'before the first retry (200ms)'],
    parseDuration,
  ),
  'max-delay': deliveryFlag('retry.maxDelay', ['TIME', 'between two retries (20s)'], parseDuration),
  shared: streamFlag('shared', ['', 'others append to it too; needs --align']),
  journal: streamFlag('journal.dir', ['DIR', 'keep the input there until it is in OSS']),
  'journal-bytes': streamFlag('journal.maxBytes', ['SIZE', 'longest journal (1GiB)'], parseSize),
  'journal-sync': deliveryFlag(
    'journal.sync',
    ['always|never|TIME', 'bytes to the disk (200ms)'],
    parseJournalSync,
  ),

  // Rolling.
  'roll-key': rollFlag('key', ['PATTERN', 'behind KEY: {yyyy} {MM} {dd} {HH} {index}']),
  'roll-bytes': rollFlag('maxBytes', ['SIZE', 'longest object (5GiB)'], parseSize),
  'time-zone': rollFlag('timeZone', ['ZONE', 'of the dates in PATTERN (UTC)']),
  'seal-on-roll': rollFlag('sealOnRoll', ['', 'seal each object but the last']),

  // Properties of a new object.
  'content-type': creationFlag('contentType', 'TYPE', 'its Content-Type'),
  'content-encoding': creationFlag('contentEncoding', 'ENCODING', 'its Content-Encoding'),
  'content-disposition': creationFlag('contentDisposition', 'TEXT', 'its Content-Disposition'),
  'cache-control': creationFlag('cacheControl', 'TEXT', 'its Cache-Control'),
  expires: creationFlag('expires', 'DATE', 'its Expires'),
  acl: creationFlag('acl', 'ACL', 'private, public-read, public-read-write'),
  'storage-class': creationFlag('storageClass', 'CLASS', 'Standard, IA, Archive, ...'),
  'server-side-encryption': creationFlag('serverSideEncryption', 'NAME', 'AES256, KMS or SM4'),
  'server-side-data-encryption': creationFlag('serverSideDataEncryption', 'NAME', 'SM4, with KMS'),
  tag: pairsFlag(creationFlag('tagging', 'NAME=VALUE', 'a tag; repeatable')),
  meta: pairsFlag(creationFlag('metadata', 'NAME=VALUE', 'x-oss-meta-NAME; repeatable')),

  // The command itself.
  gzip: commandFlag('isGzip', APPEND_ONLY, ['', 'append as gzip members']),
  resume: commandFlag('resume', APPEND_ONLY, ['FILE', 'append the part that is missing']),
  grace: commandFlag(
    'grace',
    APPEND_ONLY,
    ['TIME', 'to finish in after a signal (7s)'],
    parseDuration,
  ),
  json: commandFlag(
    'isJson',
    ['append', 'stat', 'ls', 'verify', 'drain', 'journal'],
    ['', 'JSON in place of the report'],
  ),
  quiet: commandFlag('isQuiet', APPEND_ONLY, ['', 'print errors alone']),
  follow: {
    ...commandFlag('isFollowed', ['append', 'cat'], ['', 'go on with what is written later']),
    short: 'f',
  },
  interval: commandFlag(
    'interval',
    ['append', 'cat'],
    ['TIME', 'between two looks with --follow (1s)'],
    parseDuration,
  ),
  dir: commandFlag('dir', SERVE_ONLY, ['DIR', 'keep the objects in a folder']),
  host: commandFlag('host', SERVE_ONLY, ['IP', 'address to listen on (127.0.0.1)']),
  port: commandFlag('port', SERVE_ONLY, ['N', 'port to listen on (any free one)'], parsePort),
  bucket: commandFlag('buckets', SERVE_ONLY, ['A,B', 'buckets that exist (all)'], parseList),
  permissions: commandFlag('permissions', SERVE_ONLY, ['A,B', 'RAM actions (all)'], parseList),
  tls: commandFlag('tls', SERVE_ONLY, ['CERT KEY', 'https with these PEM files']),
  latency: commandFlag('latency', SERVE_ONLY, ['TIME', 'before each response (0)'], parseDuration),
  log: commandFlag('isLogged', SERVE_ONLY, ['', 'a line for each request, on stderr']),
  fault: commandFlag('faults', SERVE_ONLY, ['JSON', 'a fault, or a list of them']),
  control: commandFlag('control', SERVE_ONLY, ['N', 'port for faults over HTTP'], parsePort),
  bytes: commandFlag('bytes', ['demo'], ['SIZE', 'length of the sample data (64MiB)'], parseSize),
  help: { ...commandFlag('help', COMMANDS, ['', 'help for a command']), short: 'h' },
  version: { ...commandFlag('version', COMMANDS, ['', 'version of the package']), short: 'v' },
}

/** The flag that sets an option: `--max-elapsed` for `retry.maxElapsed`, `--meta` for `metadata.x`. */
export function flagOf(option: string): string | undefined {
  const found = Object.entries(FLAGS).find(
    ([, flag]) =>
      option === flag.option ||
      // A journal is named by its folder.
      `${option}.dir` === flag.option ||
      (flag.multiple && option.startsWith(`${flag.option}.`)),
  )
  return found && `--${found[0]}`
}

/** The flag of an option with its variable or its name: `--endpoint or OSS_ENDPOINT`, `--meta host`. */
export function optionLabel(option: string): string | undefined {
  // A member of a list: `permissions[0]`.
  const flag = flagOf(option.replace(/\[\d+\]$/, ''))
  if (flag === undefined) return undefined
  const { envName, multiple } = FLAGS[flag.slice(2)]!
  if (envName) return `${flag} or ${envName}`
  // A longer or unusual name may be an access key in the wrong place.
  const [, name] = /\.([A-Za-z][A-Za-z0-9-]{0,22})$/.exec(option) ?? []
  return multiple && name ? `${flag} ${name}` : flag
}

/** The flag for an option's name in the library: `metadata`, `maxBytes` or `max-bytes`. */
export function flagForLibraryName(name: string): string | undefined {
  const wanted = name.replaceAll('-', '').toLowerCase()
  const found = Object.entries(FLAGS).find(
    ([, { group, option }]) =>
      group !== 'command' && option.replace(/^retry\./, '').toLowerCase() === wanted,
  )
  return found && `--${found[0]}`
}
