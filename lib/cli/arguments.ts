/** Parses and checks the command line. Pure: it opens nothing and reads no environment. */

import { basename, parse } from 'node:path'
import { parseArgs } from 'node:util'
import type { Credentials, UrlOptions } from '../index.ts'
import { suggestion } from '../validate.ts'
import type {
  Backend,
  Command,
  FollowCommand,
  HelpTopic,
  OutputMode,
  RollOptions,
  ServeCommand,
} from './commands.ts'
import {
  COMMANDS,
  type CommandName,
  FLAGS,
  type Flag,
  type FlagGroup,
  flagForLibraryName,
  flagOf,
} from './flags.ts'
import { showValue, UsageError } from './usage-error.ts'

/** Milliseconds. `docker stop` kills after 10 s, and systemd after 90 s. */
const DEFAULT_GRACE = 7_000
/** Milliseconds. With a journal nothing is lost by an early end, so a restart need not wait. */
const DEFAULT_JOURNAL_GRACE = 500
/** Milliseconds. */
const DEFAULT_INTERVAL = 1_000

const ALL_FLAGS = Object.keys(FLAGS).map(name => `--${name}`)

/** The texts of the flags, by name. */
type FlagValues = Readonly<Record<string, unknown>>
/** The parsed values, by option. */
type OptionValues = Readonly<Record<string, unknown>>

/** The arguments of one command, by what they set. */
interface ParsedArguments {
  readonly operands: readonly string[]
  readonly backend: OptionValues
  readonly stream: OptionValues
  readonly roll: OptionValues
  readonly command: OptionValues
}

/** @throws {UsageError} naming what is wrong and how to mend it. */
export function parseArguments(args: readonly string[]): Command {
  checkFlags(args)
  const { values, positionals } = parseStrictly(args)
  if (values.help) return { name: 'help', ...topicOf(positionals[0]) }
  if (values.version) return { name: 'version' }
  if (positionals[0] === 'help') return parseHelp(positionals.slice(1))
  const { name, operands } = parseCommandName(positionals)
  checkFlagsOfCommand(name, values)
  return COMMAND_PARSERS[name]({
    operands,
    backend: collectOptions(values, 'backend'),
    stream: collectOptions(values, 'stream'),
    roll: collectOptions(values, 'roll'),
    command: collectOptions(values, 'command'),
  })
}

const COMMAND_PARSERS: Readonly<Record<CommandName, (given: ParsedArguments) => Command>> = {
  append(given) {
    const { operands, backend, stream, roll, command } = given
    if (command.isFollowed) return parseFollow(given)
    checkInterval(command)
    const {
      isJson = false,
      isQuiet = false,
      isGzip = false,
      grace = stream.journal === undefined ? DEFAULT_GRACE : DEFAULT_JOURNAL_GRACE,
      resume,
    } = command
    const journal = parseJournal(stream, { ...command, ...backend })
    const isResumed = resume !== undefined
    const [url = '', operand] = checkOperands(operands, [URL_NAME], isResumed ? 0 : 1)
    if (resume === '') throw new UsageError('--resume: must name a file')
    const file = isResumed ? (resume as string) : operand
    const object = roll.key === undefined ? withFileName(url, file) : url
    return {
      name: 'append',
      url: object,
      file,
      backend: parseBackend(backend),
      options: isGzip ? alignMembers(stream) : stream,
      roll: parseRoll(roll, object, { ...stream, ...(isResumed && { resume }) }),
      isGzip: isGzip as boolean,
      isResumed,
      journal,
      outputMode: { isJson, isQuiet } as OutputMode,
      grace: grace as number,
    }
  },
  demo({ operands, command }) {
    const [file] = checkOperands(operands, [], 1)
    const bytes = command.bytes as number | undefined
    if (bytes !== undefined && file !== undefined) {
      throw new UsageError('--bytes: has no meaning with FILE')
    }
    return { name: 'demo', file, bytes }
  },
  stat({ operands, backend, command }) {
    const [url = ''] = checkOperands(operands, [URL_NAME])
    return {
      name: 'stat',
      url: checkUrl(url),
      backend: parseBackend(backend),
      isJson: command.isJson === true,
    }
  },
  cat({ operands, backend, command }) {
    const [url = ''] = checkOperands(operands, [URL_NAME])
    const { isFollowed = false, interval = DEFAULT_INTERVAL } = command
    checkInterval(command)
    if (isFollowed && backend.local !== undefined) {
      const remedy = 'run oss-append serve --dir DIR, and follow that'
      throw new UsageError(`--follow: --local does not see what others append: ${remedy}`)
    }
    return {
      name: 'cat',
      url: checkUrl(url),
      backend: parseBackend(backend),
      isFollowed: isFollowed as boolean,
      interval: interval as number,
    }
  },
  verify({ operands, backend, command }) {
    const [file = '', url = ''] = checkOperands(operands, ['FILE', URL_NAME])
    return {
      name: 'verify',
      file,
      url: withFileName(checkUrl(url), file),
      backend: parseBackend(backend),
      isJson: command.isJson === true,
    }
  },
  ls({ operands, backend, command }) {
    const [url = ''] = checkOperands(operands, [URL_NAME])
    const [, bucket = '', prefix = ''] = /^oss:\/\/([^/]*)\/?(.*)$/s.exec(checkUrl(url)) ?? []
    return {
      name: 'ls',
      url,
      bucket,
      prefix,
      backend: parseBackend(backend),
      isJson: command.isJson === true,
    }
  },
  drain({ operands, backend, stream, command }) {
    const [dir = '', url] = checkOperands(operands, ['DIR'], 1)
    const { retry, journal } = stream as Pick<UrlOptions, 'retry' | 'journal'>
    return {
      name: 'drain',
      dir: checkDir(dir),
      target: url === undefined ? undefined : checkUrl(url),
      backend: parseBackend(backend),
      retry,
      isUnsynced: (journal as OptionValues | undefined)?.sync === 'never',
      isJson: command.isJson === true,
    }
  },
  journal({ operands, command }) {
    const [dir = ''] = checkOperands(operands, ['DIR'])
    return { name: 'journal', dir: checkDir(dir), isJson: command.isJson === true }
  },
  serve({ operands, backend, command }) {
    const { tls: cert, isLogged = false, latency = 0, ...given } = command
    const [key] = checkOperands(operands, [], cert === undefined ? 0 : 1)
    if (given.dir === '') throw new UsageError('--dir: must name a folder')
    if (cert !== undefined && key === undefined) {
      throw new UsageError('--tls: KEY is missing, as in --tls cert.pem key.pem')
    }
    const { dir, port, host, buckets, permissions, faults, control } = given as ServeOptions
    return {
      name: 'serve',
      dir,
      port,
      host,
      buckets,
      region: backend.region as string | undefined,
      credentials: parseKeyPair(backend.credentials as string | undefined),
      permissions,
      tls: key === undefined ? undefined : { cert: cert as string, key },
      latency: latency as number,
      isLogged: isLogged as boolean,
      faults,
      control,
    }
  },
}

type ServeOptions = Partial<ServeCommand>

/** `ID:SECRET`, and a token behind it where there is one. No message shows it. */
function parseKeyPair(text: string | undefined): Credentials | undefined {
  if (text === undefined) return undefined
  const [accessKeyId = '', accessKeySecret = '', ...rest] = text.split(':')
  if (accessKeyId === '' || accessKeySecret === '' || rest.length > 1) {
    throw new UsageError('--credentials: must be ID:SECRET or ID:SECRET:TOKEN')
  }
  const [securityToken] = rest
  return { accessKeyId, accessKeySecret, ...(securityToken && { securityToken }) }
}

/** `options`, or a command: what `help` has a text for. */
const HELP_TOPICS = ['options', ...COMMANDS] as const

function parseHelp(operands: readonly string[]): Command {
  const [topic] = checkOperands(operands, [], 1)
  if (topic === undefined) return { name: 'help' }
  const known = topicOf(topic)
  if (known) return { name: 'help', ...known }
  const near = suggestion(topic, HELP_TOPICS)
  const topics = HELP_TOPICS.join(', ')
  throw new UsageError(`help: ${showValue(topic)} is no topic${near || `: it is one of ${topics}`}`)
}

function topicOf(name: string | undefined): { topic: HelpTopic } | undefined {
  const topic = HELP_TOPICS.find(each => each === name)
  return topic && { topic }
}

/** The command and its operands. A URL means `append`, in front of FILE or behind it. */
function parseCommandName(positionals: readonly string[]): {
  name: CommandName
  operands: readonly string[]
} {
  const [first, second, ...rest] = positionals
  if (first === undefined)
    throw new UsageError(`${URL_NAME} is missing: name the object, or ${ONE_OF}`)
  if (isUrl(first)) return { name: 'append', operands: positionals }
  const name = COMMANDS.find(each => each === first && each !== 'append')
  if (name) return { name, operands: positionals.slice(1) }
  if (second !== undefined && isUrl(second)) {
    return { name: 'append', operands: [second, first, ...rest] }
  }
  const near = suggestion(first, COMMANDS)
  if (near) throw new UsageError(`${showValue(first)} is no command${near}`)
  throw new UsageError(
    `${URL_NAME} is missing beside ${showValue(first)}: name the object, or ${ONE_OF}`,
  )
}

const URL_NAME = 'oss://BUCKET/KEY'
const ONE_OF = `one of ${COMMANDS.filter(name => name !== 'append').join(', ')}`

/** `names` are those of the operands that must be given. `optional`: how many others may follow. */
function checkOperands(
  operands: readonly string[],
  names: readonly string[],
  optional = 0,
): readonly string[] {
  if (operands.length < names.length) {
    const isMissing = (name: string) =>
      name === URL_NAME ? !operands.some(isUrl) : operands.every(isUrl)
    throw new UsageError(`${names.find(isMissing)} is missing`)
  }
  const extra = operands[names.length + optional]
  if (extra !== undefined) throw new UsageError(`unexpected argument ${showValue(extra)}`)
  return operands
}

function isUrl(text: string): boolean {
  return text.startsWith('oss://')
}

function checkUrl(url: string): string {
  if (isUrl(url)) return url
  throw new UsageError(`the object must be ${URL_NAME}, and not ${showValue(url)}`)
}

/** As `cp` does it: a URL that ends in a slash is a folder for the file. */
function withFileName(url: string, file: string | undefined): string {
  if (!/^oss:\/\/[^/]+\/(.*\/)?$/s.test(url)) return url
  if (file !== undefined && file !== '-') return url + basename(file)
  throw new UsageError('the url ends in a slash: add a name, since standard input has none')
}

function checkInterval({ isFollowed, interval }: OptionValues): void {
  if (interval === undefined || isFollowed) return
  throw new UsageError('--interval: has no meaning without --follow')
}

/** Options that do not combine with `--journal`, and why. */
const NOT_JOURNALED: Readonly<Record<string, string>> = {
  local: 'a folder is on this disk already',
  resume: 'FILE keeps the bytes, and --resume finds what is missing',
}

/** The folder of the journal. `others`: options of other groups. */
function parseJournal({ journal }: OptionValues, others: OptionValues): string | undefined {
  if (journal === undefined) return undefined
  const { dir, ...rest } = journal as NonNullable<OptionValues> & { readonly dir?: string }
  if (dir === undefined) {
    const [first = ''] = Object.keys(rest)
    throw new UsageError(`${flagOf(`journal.${first}`)}: needs --journal`)
  }
  if (dir === '') throw new UsageError('--journal: must name a folder')
  const conflicting = Object.keys(NOT_JOURNALED).find(name => others[name] !== undefined)
  if (conflicting === undefined) return dir
  const reason = NOT_JOURNALED[conflicting]
  throw new UsageError(`${flagOf(conflicting)}: does not combine with --journal: ${reason}`)
}

/** The folder of a journal. */
function checkDir(dir: string): string {
  if (dir !== '' && !isUrl(dir)) return dir
  throw new UsageError('DIR is missing: name the folder of a journal')
}

/** Options that do not combine with `append --follow`, and why. */
const NOT_FOLLOWED: Readonly<Record<string, string>> = {
  journal: 'FILE keeps the bytes',
  shared: 'the objects are compared with the file, byte for byte',
  isGzip: 'after a restart the object is compared with the file, byte for byte',
  resume: '--follow resumes by itself',
  position: '--follow finds the end of the object by itself',
  crc64: '--follow finds the end of the object by itself',
  maxBytes: 'the next object begins when the file is rotated',
  seal: 'after a restart the newest object is continued',
  sealOnRoll: 'after a restart the newest object is continued',
}

function parseFollow({ operands, backend, stream, roll, command }: ParsedArguments): FollowCommand {
  const [url = '', file = '-'] = checkOperands(operands, [URL_NAME], 1)
  if (file === '-') throw new UsageError('--follow: needs FILE, and not standard input')
  const given = { ...command, ...stream, ...roll }
  const conflicting = Object.keys(NOT_FOLLOWED).find(name => given[name as keyof typeof given])
  if (conflicting) {
    const reason = NOT_FOLLOWED[conflicting]
    throw new UsageError(`${flagOf(conflicting)}: does not combine with --follow: ${reason}`)
  }
  if (stream.align !== undefined && stream.align !== '\n') {
    throw new UsageError('--align: with --follow it is line, or absent')
  }
  const object = roll.key === undefined ? withFileName(url, file) : url
  checkHasIndex(`${object}${roll.key ?? ''}`, file)
  const { isJson = false, isQuiet = false, interval, grace } = command
  return {
    name: 'follow',
    url: object,
    file,
    backend: parseBackend(backend),
    options: stream,
    roll,
    interval: checkPositive('--interval', (interval as number) ?? DEFAULT_INTERVAL),
    outputMode: { isJson, isQuiet } as OutputMode,
    grace: (grace as number) ?? DEFAULT_GRACE,
  }
}

function checkHasIndex(pattern: string, file: string): void {
  if (pattern.includes('{pid}')) {
    throw new UsageError('--follow: with {pid} in the key a restart would not find its objects')
  }
  if (pattern.includes('{index}')) return
  const { name, ext } = parse(file)
  const remedy = `put {index} into the key, as in --roll-key '${name}-{index}${ext}'`
  throw new UsageError(`--follow: each rotated file has an object of its own: ${remedy}`)
}

function checkPositive(name: string, value: number): number {
  if (value > 0) return value
  throw new UsageError(`${name}: must be more than 0`)
}

function parseBackend({ local, credentials, ...clientOptions }: OptionValues): Backend {
  if (credentials === '') throw new UsageError('--credentials: must name a module')
  const named = credentials === undefined ? {} : { credentials: credentials as string }
  if (local === undefined) return { ...named, clientOptions }
  if (local === '') throw new UsageError('--local: must name a folder')
  const [other] = Object.keys({ ...clientOptions, ...named })
  if (other) throw new UsageError(`${flagOf(other)}: --local has a server of its own`)
  return { local: local as string, clientOptions: {} }
}

/** Each gzip member is a chunk, so the acknowledged part of the object is always a complete gzip file. */
function alignMembers(stream: OptionValues): OptionValues {
  if (stream.align !== undefined)
    throw new UsageError('--align: --gzip has an alignment of its own')
  return { ...stream, align: 'chunk' }
}

function parseRoll(roll: OptionValues, url: string, others: OptionValues): RollOptions | undefined {
  const [first] = Object.keys(roll)
  if (first === undefined) return undefined
  if (roll.key === undefined && roll.maxBytes === undefined) {
    throw new UsageError(`${flagOf(first)}: needs --roll-key or --roll-bytes`)
  }
  const conflicting = ['position', 'crc64', 'resume'].find(option => others[option] !== undefined)
  if (conflicting)
    throw new UsageError(`${flagOf(conflicting)}: is for one object, and not for many`)
  checkCanRoll(roll, url)
  return roll as RollOptions
}

/** Refuses a pattern by which no second object can follow. The stream would find that out when the first is full. */
function checkCanRoll({ key, maxBytes }: OptionValues, url: string): void {
  const pattern = `${url.replace(/^oss:\/\/[^/]*\/?/, '')}${key ?? ''}`
  if (pattern === '' || /\{index\}/.test(pattern)) return
  const remedy = "add {index}, as in --roll-key 'app-{index}.log'"
  if (maxBytes !== undefined) {
    throw new UsageError(`--roll-bytes: the key cannot change when an object is full: ${remedy}`)
  }
  if (!/\{(?!host\}|pid\}|slot\})[^{}]*\}/.test(pattern)) {
    throw new UsageError(
      `--roll-key: the key never changes: add a date such as {yyyy}-{MM}-{dd}, or {index}`,
    )
  }
}

/**
 * Refuses unknown and repeated flags, and a flag in place of a value. `parseArgs` would suggest none, and would take the
 * last of two.
 */
function checkFlags(args: readonly string[]): void {
  const { tokens } = parseArgs({
    args: [...args],
    options: FLAGS as Record<string, Flag>,
    allowPositionals: true,
    strict: false,
    tokens: true,
  })
  const seen = new Set<string>()
  for (const token of tokens) {
    if (token.kind !== 'option') continue
    const { name, rawName } = token
    if (!Object.hasOwn(FLAGS, name))
      throw new UsageError(`${rawName}: is unknown${suggestFlag(name, rawName)}`)
    if (seen.has(name) && !FLAGS[name]?.multiple) throw new UsageError(`${rawName}: is given twice`)
    seen.add(name)
    // Node's own message has a remedy for its API alone.
    if (!token.inlineValue && /^-./.test(token.value ?? '')) {
      const problem = 'its value is missing, or begins with a hyphen'
      throw new UsageError(`${rawName}: ${problem}: then write ${rawName}=VALUE`)
    }
  }
}

/** `: did you mean --x?`, or nothing where no flag is similar. */
function suggestFlag(name: string, rawName: string): string {
  const named = flagForLibraryName(name)
  if (named) return `: did you mean ${named}?`
  if (!rawName.startsWith('--'))
    return suggestOneOf(
      ALL_FLAGS.filter(flag => flag.startsWith(`--${name}`)),
      1,
    )
  return (
    suggestion(rawName, ALL_FLAGS) ||
    suggestOneOf(
      ALL_FLAGS.filter(flag => hasWords(flag, name)),
      3,
    )
  )
}

/** `--max-retries` has the words of `retries`. */
function hasWords(flag: string, name: string): boolean {
  const words = flag.slice(2).split('-')
  return name.split('-').every(word => words.includes(word))
}

function suggestOneOf(flags: readonly string[], max: number): string {
  const isClear = flags.length > 0 && flags.length <= max
  return isClear ? `: did you mean ${flags.join(' or ')}?` : ''
}

function parseStrictly(args: readonly string[]) {
  try {
    const options = FLAGS as Record<string, Flag>
    return parseArgs({ args: [...args], options, allowPositionals: true })
  } catch (error) {
    // The first sentence names the problem; the others explain Node's API.
    const [problem = ''] = (error as Error).message.split(/\.? To specify|\n/)
    throw new UsageError(problem)
  }
}

function checkFlagsOfCommand(name: CommandName, values: FlagValues): void {
  const foreign = Object.keys(values).find(flag => !FLAGS[flag]?.commands.includes(name))
  if (foreign === undefined) return
  const allowed = FLAGS[foreign]?.commands.join(', ').replace(/, ([^,]*)$/, ' and $1')
  throw new UsageError(`--${foreign}: is for ${allowed}, and not for ${name}`)
}

/** The parsed options of one group. A dotted option such as `retry.maxElapsed` goes into a record `retry`. */
function collectOptions(values: FlagValues, group: FlagGroup): OptionValues {
  const options: Record<string, unknown> = {}
  for (const [name, given] of Object.entries(values)) {
    const flag = FLAGS[name]
    if (flag?.group !== group) continue
    const value = parseFlag(`--${name}`, flag, given)
    const [option = '', subOption] = flag.option.split('.')
    if (Object.hasOwn(options, option) && !subOption)
      throw new UsageError(`--${name}: is given twice`)
    options[option] = subOption ? { ...(options[option] as object), [subOption]: value } : value
  }
  return options
}

function parseFlag(
  name: string,
  { parse = (_, text) => text, ...flag }: Flag,
  given: unknown,
): unknown {
  if (Array.isArray(given)) {
    const pairs = given.map(text => parse(name, text) as [string, unknown])
    const record = Object.fromEntries(pairs)
    if (Object.keys(record).length === pairs.length) return record
    throw new UsageError(`${name}: gives one name two values`)
  }
  // A flag without a value that has a parser sets its option to false: `--no-content-md5`.
  return flag.type === 'boolean' ? parse(name, '') !== false : parse(name, given as string)
}
