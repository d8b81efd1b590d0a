/**
 * Every flag: how its value is parsed, which option it sets, and which commands take it. `arguments.ts`
 * parses the command line by this table, and messages of the library are translated by it.
 */

import {
  type Parser,
  parseAlign,
  parseCount,
  parseCountOrInfinity,
  parseDuration,
  parseDurationOrInfinity,
  parsePair,
  parseSize,
} from './parse-units.ts'

export type CommandName = 'append' | 'demo' | 'stat' | 'cat' | 'verify' | 'serve'

/** In the order of the help. */
export const COMMANDS: readonly CommandName[] = ['append', 'demo', 'stat', 'cat', 'verify', 'serve']

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
}

const APPEND_ONLY = ['append'] as const
const OBJECT_COMMANDS = ['append', 'stat', 'cat', 'verify'] as const

function backendFlag(option: string, parse?: Parser<unknown>): Flag {
  return {
    type: 'string',
    group: 'backend',
    commands: OBJECT_COMMANDS,
    option,
    ...(parse && { parse }),
  }
}

function streamFlag(option: string, parse?: Parser<unknown>): Flag {
  return { type: 'string', group: 'stream', commands: APPEND_ONLY, option, ...(parse && { parse }) }
}

function rollFlag(option: string, parse?: Parser<unknown>): Flag {
  return { ...streamFlag(option, parse), group: 'roll' }
}

function commandFlag(
  option: string,
  commands: readonly CommandName[],
  parse?: Parser<unknown>,
): Flag {
  return { type: 'string', group: 'command', commands, option, ...(parse && { parse }) }
}

/** The flag takes no value. */
function withoutValue(flag: Flag): Flag {
  return { ...flag, type: 'boolean' }
}

/** The flag may be repeated. Its NAME=VALUE pairs make a record. */
function pairsFlag(option: string): Flag {
  return { ...streamFlag(option, parsePair), multiple: true }
}

export const FLAGS: Readonly<Record<string, Flag>> = {
  // The connection.
  region: { ...backendFlag('region'), envName: 'OSS_REGION' },
  endpoint: { ...backendFlag('endpoint'), envName: 'OSS_ENDPOINT' },
  'path-style': withoutValue(backendFlag('pathStyle')),
  cname: withoutValue(backendFlag('cname')),
  credentials: backendFlag('credentials'),
  local: backendFlag('local'),
  'connect-timeout': backendFlag('connectTimeout', parseDuration),
  'request-timeout': backendFlag('requestTimeout', parseDuration),

  // Appending.
  position: streamFlag('position', (option, text) =>
    text === 'end' ? 'end' : parseCount(option, text),
  ),
  crc64: streamFlag('crc64'),
  buffer: streamFlag('highWaterMark', parseSize),
  'flush-interval': streamFlag('flushInterval', parseDuration),
  align: streamFlag('align', parseAlign),
  'max-record-bytes': streamFlag('maxRecordBytes', parseSize),
  'max-object-bytes': streamFlag('maxObjectBytes', parseSize),
  seal: withoutValue(streamFlag('seal')),
  header: pairsFlag('headers'),
  'content-md5': withoutValue(streamFlag('contentMd5')),
  'no-content-md5': withoutValue(streamFlag('contentMd5', () => false)),
  'max-retries': streamFlag('retry.maxRetries', parseCountOrInfinity),
  'max-elapsed': streamFlag('retry.maxElapsed', parseDurationOrInfinity),
  'min-delay': streamFlag('retry.minDelay', parseDuration),
  'max-delay': streamFlag('retry.maxDelay', parseDuration),

  // Rolling.
  'roll-key': rollFlag('key'),
  'roll-bytes': rollFlag('maxBytes', parseSize),
  'time-zone': rollFlag('timeZone'),
  'seal-on-roll': withoutValue(rollFlag('sealOnRoll')),

  // Properties of a new object.
  'content-type': streamFlag('contentType'),
  'cache-control': streamFlag('cacheControl'),
  'content-disposition': streamFlag('contentDisposition'),
  'content-encoding': streamFlag('contentEncoding'),
  expires: streamFlag('expires'),
  acl: streamFlag('acl'),
  'storage-class': streamFlag('storageClass'),
  'server-side-encryption': streamFlag('serverSideEncryption'),
  'server-side-data-encryption': streamFlag('serverSideDataEncryption'),
  tag: pairsFlag('tagging'),
  meta: pairsFlag('metadata'),

  // The command itself.
  gzip: withoutValue(commandFlag('isGzip', APPEND_ONLY)),
  resume: commandFlag('resume', APPEND_ONLY),
  grace: commandFlag('grace', APPEND_ONLY, parseDuration),
  json: withoutValue(commandFlag('isJson', ['append', 'stat', 'verify'])),
  quiet: withoutValue(commandFlag('isQuiet', APPEND_ONLY)),
  follow: { ...withoutValue(commandFlag('isFollowed', ['cat'])), short: 'f' },
  interval: commandFlag('interval', ['cat'], parseDuration),
  dir: commandFlag('dir', ['serve']),
  host: commandFlag('host', ['serve']),
  port: commandFlag('port', ['serve'], parseCount),
  bytes: commandFlag('bytes', ['demo'], parseSize),
  help: { ...withoutValue(commandFlag('help', COMMANDS)), short: 'h' },
  version: { ...withoutValue(commandFlag('version', COMMANDS)), short: 'v' },
}

/** The flag that sets an option: `--max-elapsed` for `retry.maxElapsed`, `--meta` for `metadata.x`. */
export function flagOf(option: string): string | undefined {
  const found = Object.entries(FLAGS).find(
    ([, flag]) => option === flag.option || (flag.multiple && option.startsWith(`${flag.option}.`)),
  )
  return found && `--${found[0]}`
}

/** The flag of an option with its variable or its name: `--endpoint or OSS_ENDPOINT`, `--meta host`. */
export function optionLabel(option: string): string | undefined {
  const flag = flagOf(option)
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
