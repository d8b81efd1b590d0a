/**
 * Every flag of the command: how its text is read, which option of the library it sets, and which
 * commands know it. A table; `arguments.ts` reads the command line by it, and errors of the library are
 * told in its words.
 */

import {
  type Reader,
  readAlign,
  readCount,
  readDuration,
  readLimit,
  readPair,
  readPatience,
  readSize,
} from './units.ts'

export type CommandName = 'append' | 'demo' | 'stat' | 'cat' | 'verify' | 'serve'

/** In the order of the help. */
export const COMMANDS: readonly CommandName[] = ['append', 'demo', 'stat', 'cat', 'verify', 'serve']

/** What a flag is about: where the object is, the append stream, its objects, or the command itself. */
export type Topic = 'place' | 'stream' | 'roll' | 'command'

export interface Flag {
  readonly type: 'string' | 'boolean'
  readonly multiple?: boolean
  readonly short?: string
  readonly topic: Topic
  readonly commands: readonly CommandName[]
  /** The option that it sets, dotted as in the library's messages. */
  readonly option: string
  /** The environment's way to say the same. */
  readonly variable?: string
  /** Absent: the text as it is, or true. */
  readonly read?: Reader<unknown>
}

const APPEND = ['append'] as const
const OBJECT = ['append', 'stat', 'cat', 'verify'] as const

function place(option: string, read?: Reader<unknown>): Flag {
  return { type: 'string', topic: 'place', commands: OBJECT, option, ...(read && { read }) }
}

function stream(option: string, read?: Reader<unknown>): Flag {
  return { type: 'string', topic: 'stream', commands: APPEND, option, ...(read && { read }) }
}

function roll(option: string, read?: Reader<unknown>): Flag {
  return { ...stream(option, read), topic: 'roll' }
}

function own(option: string, commands: readonly CommandName[], read?: Reader<unknown>): Flag {
  return { type: 'string', topic: 'command', commands, option, ...(read && { read }) }
}

/** The same without a value. */
function bare(flag: Flag): Flag {
  return { ...flag, type: 'boolean' }
}

/** The same as often as wanted: together they make a record. */
function pairs(option: string): Flag {
  return { ...stream(option, readPair), multiple: true }
}

export const FLAGS: Readonly<Record<string, Flag>> = {
  // Where the object is, and who asks.
  region: { ...place('region'), variable: 'OSS_REGION' },
  endpoint: { ...place('endpoint'), variable: 'OSS_ENDPOINT' },
  'path-style': bare(place('pathStyle')),
  cname: bare(place('cname')),
  credentials: place('credentials'),
  local: place('local'),
  'connect-timeout': place('connectTimeout', readDuration),
  'request-timeout': place('requestTimeout', readDuration),

  // How it is appended to.
  position: stream('position', (option, text) =>
    text === 'end' ? 'end' : readCount(option, text),
  ),
  crc64: stream('crc64'),
  buffer: stream('highWaterMark', readSize),
  'flush-interval': stream('flushInterval', readDuration),
  align: stream('align', readAlign),
  'max-record-bytes': stream('maxRecordBytes', readSize),
  'max-object-bytes': stream('maxObjectBytes', readSize),
  seal: bare(stream('seal')),
  header: pairs('headers'),
  'content-md5': bare(stream('contentMd5')),
  'no-content-md5': bare(stream('contentMd5', () => false)),
  'max-retries': stream('retry.maxRetries', readLimit),
  'max-elapsed': stream('retry.maxElapsed', readPatience),
  'min-delay': stream('retry.minDelay', readDuration),
  'max-delay': stream('retry.maxDelay', readDuration),

  // One object after another.
  'roll-key': roll('key'),
  'roll-bytes': roll('maxBytes', readSize),
  'time-zone': roll('timeZone'),
  'seal-on-roll': bare(roll('sealOnRoll')),

  // What it is created with.
  'content-type': stream('contentType'),
  'cache-control': stream('cacheControl'),
  'content-disposition': stream('contentDisposition'),
  'content-encoding': stream('contentEncoding'),
  expires: stream('expires'),
  acl: stream('acl'),
  'storage-class': stream('storageClass'),
  'server-side-encryption': stream('serverSideEncryption'),
  'server-side-data-encryption': stream('serverSideDataEncryption'),
  tag: pairs('tagging'),
  meta: pairs('metadata'),

  // The command's own.
  gzip: bare(own('isZipped', APPEND)),
  resume: own('resume', APPEND),
  grace: own('grace', APPEND, readDuration),
  json: bare(own('isJson', ['append', 'stat', 'verify'])),
  quiet: bare(own('isQuiet', APPEND)),
  follow: { ...bare(own('isFollowed', ['cat'])), short: 'f' },
  interval: own('interval', ['cat'], readDuration),
  dir: own('dir', ['serve']),
  host: own('host', ['serve']),
  port: own('port', ['serve'], readCount),
  bytes: own('bytes', ['demo'], readSize),
  help: { ...bare(own('help', COMMANDS)), short: 'h' },
  version: { ...bare(own('version', COMMANDS)), short: 'v' },
}

/** The flag that sets an option, as typed: `retry.maxElapsed` is `--max-elapsed`, `metadata.x` is `--meta`. */
export function flagOf(option: string): string | undefined {
  const found = Object.entries(FLAGS).find(
    ([, flag]) => option === flag.option || (flag.multiple && option.startsWith(`${flag.option}.`)),
  )
  return found && `--${found[0]}`
}

/** Where an option was said: `--endpoint or OSS_ENDPOINT`, `--meta host`. */
export function placeOf(option: string): string | undefined {
  const flag = flagOf(option)
  if (flag === undefined) return undefined
  const { variable, multiple } = FLAGS[flag.slice(2)]!
  if (variable) return `${flag} or ${variable}`
  // What is longer, or no usual name, may be a key in the wrong place.
  const [, name] = /\.([A-Za-z][A-Za-z0-9-]{0,22})$/.exec(option) ?? []
  return multiple && name ? `${flag} ${name}` : flag
}

/** The flag of an option that was typed by its name in the library: `--metadata`, `--maxBytes`, `--max-bytes`. */
export function flagNamed(name: string): string | undefined {
  const wanted = name.replaceAll('-', '').toLowerCase()
  const found = Object.entries(FLAGS).find(
    ([, { topic, option }]) =>
      topic !== 'command' && option.replace(/^retry\./, '').toLowerCase() === wanted,
  )
  return found && `--${found[0]}`
}
