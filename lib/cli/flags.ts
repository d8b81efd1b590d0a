/**
 * Every flag of the command: how its text is read, which option of the library it sets, and which
 * commands know it. A table; `arguments.ts` reads the command line by it, and errors of the library are
 * told in its words.
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

/** What a flag is about: where the object is, the append stream, its objects, or the command itself. */
export type FlagGroup = 'backend' | 'stream' | 'roll' | 'command'

export interface Flag {
  readonly type: 'string' | 'boolean'
  readonly multiple?: boolean
  readonly short?: string
  readonly group: FlagGroup
  readonly commands: readonly CommandName[]
  /** The option that it sets, dotted as in the library's messages. */
  readonly option: string
  /** The environment's way to say the same. */
  readonly envName?: string
  /** Absent: the text as it is, or true. */
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

/** The same without a value. */
function withoutValue(flag: Flag): Flag {
  return { ...flag, type: 'boolean' }
}

/** The same as often as wanted: together they make a record. */
function pairsFlag(option: string): Flag {
  return { ...streamFlag(option, parsePair), multiple: true }
}

export const FLAGS: Readonly<Record<string, Flag>> = {
  // Where the object is, and who asks.
  region: { ...backendFlag('region'), envName: 'OSS_REGION' },
  endpoint: { ...backendFlag('endpoint'), envName: 'OSS_ENDPOINT' },
  'path-style': withoutValue(backendFlag('pathStyle')),
  cname: withoutValue(backendFlag('cname')),
  credentials: backendFlag('credentials'),
  local: backendFlag('local'),
  'connect-timeout': backendFlag('connectTimeout', parseDuration),
  'request-timeout': backendFlag('requestTimeout', parseDuration),

  // How it is appended to.
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

  // One object after another.
  'roll-key': rollFlag('key'),
  'roll-bytes': rollFlag('maxBytes', parseSize),
  'time-zone': rollFlag('timeZone'),
  'seal-on-roll': withoutValue(rollFlag('sealOnRoll')),

  // What it is created with.
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

  // The command's own.
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

/** The flag that sets an option, as typed: `retry.maxElapsed` is `--max-elapsed`, `metadata.x` is `--meta`. */
export function flagOf(option: string): string | undefined {
  const found = Object.entries(FLAGS).find(
    ([, flag]) => option === flag.option || (flag.multiple && option.startsWith(`${flag.option}.`)),
  )
  return found && `--${found[0]}`
}

/** Where an option was said: `--endpoint or OSS_ENDPOINT`, `--meta host`. */
export function optionLabel(option: string): string | undefined {
  const flag = flagOf(option)
  if (flag === undefined) return undefined
  const { envName, multiple } = FLAGS[flag.slice(2)]!
  if (envName) return `${flag} or ${envName}`
  // What is longer, or no usual name, may be a key in the wrong place.
  const [, name] = /\.([A-Za-z][A-Za-z0-9-]{0,22})$/.exec(option) ?? []
  return multiple && name ? `${flag} ${name}` : flag
}

/** The flag of an option that was typed by its name in the library: `--metadata`, `--maxBytes`, `--max-bytes`. */
export function flagForLibraryName(name: string): string | undefined {
  const wanted = name.replaceAll('-', '').toLowerCase()
  const found = Object.entries(FLAGS).find(
    ([, { group, option }]) =>
      group !== 'command' && option.replace(/^retry\./, '').toLowerCase() === wanted,
  )
  return found && `--${found[0]}`
}
