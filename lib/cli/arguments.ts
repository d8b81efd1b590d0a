/** Parses and checks the command line. Pure: it opens nothing and reads no environment. */

import { parseArgs } from 'node:util'
import { suggestion } from '../validate.ts'
import type { Backend, Command, OutputMode, RollOptions } from './commands.ts'
import {
  COMMANDS,
  type CommandName,
  FLAGS,
  type Flag,
  type FlagGroup,
  flagForLibraryName,
  flagOf,
} from './flags.ts'
import { UsageError } from './usage-error.ts'

/** Milliseconds. ffmpeg takes about a second to write its trailer; systemd kills after 90 seconds. */
const DEFAULT_GRACE = 10_000
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
  if (values.help) return { name: 'help' }
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
  append({ operands, backend, stream, roll, command }) {
    const {
      isJson = false,
      isQuiet = false,
      isGzip = false,
      grace = DEFAULT_GRACE,
      resume,
    } = command
    const isResumed = resume !== undefined
    const [url, file] = checkOperandCount(operands, { least: 1, most: isResumed ? 1 : 2 })
    if (resume === '') throw new UsageError('--resume: must name a file')
    return {
      name: 'append',
      url: checkUrl(url),
      file: isResumed ? (resume as string) : file,
      backend: parseBackend(backend),
      options: isGzip ? alignMembers(stream) : stream,
      roll: parseRoll(roll, { ...stream, ...(isResumed && { resume }) }),
      isGzip: isGzip as boolean,
      isResumed,
      outputMode: { isJson, isQuiet } as OutputMode,
      grace: grace as number,
    }
  },
  demo({ operands, command }) {
    const [file] = checkOperandCount(operands, { least: 0, most: 1 })
    const bytes = command.bytes as number | undefined
    if (bytes !== undefined && file !== undefined) {
      throw new UsageError('--bytes: has no meaning with FILE')
    }
    return { name: 'demo', file, bytes }
  },
  stat({ operands, backend, command }) {
    const [url] = checkOperandCount(operands, { least: 1, most: 1 })
    return {
      name: 'stat',
      url: checkUrl(url),
      backend: parseBackend(backend),
      isJson: command.isJson === true,
    }
  },
  cat({ operands, backend, command }) {
    const [url] = checkOperandCount(operands, { least: 1, most: 1 })
    const { isFollowed = false, interval = DEFAULT_INTERVAL } = command
    if (command.interval !== undefined && !isFollowed) {
      throw new UsageError('--interval: has no meaning without --follow')
    }
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
    const [file = '', url] = checkOperandCount(operands, { least: 2, most: 2 })
    const isJson = command.isJson === true
    return { name: 'verify', file, url: checkUrl(url), backend: parseBackend(backend), isJson }
  },
  serve({ operands, command }) {
    checkOperandCount(operands, { least: 0, most: 0 })
    const { dir, port, host } = command as { dir?: string; port?: number; host?: string }
    if (dir === '') throw new UsageError('--dir: must name a folder')
    if (port !== undefined && port > 65_535) throw new UsageError('--port: must be 0 to 65535')
    return { name: 'serve', dir, port, host }
  },
}

function parseHelp(operands: readonly string[]): Command {
  const [topic] = checkOperandCount(operands, { least: 0, most: 1 })
  if (topic === undefined) return { name: 'help' }
  if (topic !== 'options') throw new UsageError('help: knows of options, and no other topic')
  return { name: 'help', topic }
}

/** The command and its operands. A URL in first place means `append`. */
function parseCommandName(positionals: readonly string[]): {
  name: CommandName
  operands: string[]
} {
  const [first, ...rest] = positionals
  if (first === undefined)
    throw new UsageError(`say where to: oss://BUCKET/KEY, or ${COMMAND_NAMES}`)
  if (first.startsWith('oss://')) return { name: 'append', operands: [first, ...rest] }
  const name = COMMANDS.find(each => each === first && each !== 'append')
  if (name === undefined) {
    const near = suggestion(first, COMMANDS)
    throw new UsageError(
      `the first argument must be oss://BUCKET/KEY, or one of ${COMMAND_NAMES}${near}`,
    )
  }
  return { name, operands: rest }
}

const COMMAND_NAMES = COMMANDS.filter(name => name !== 'append').join(', ')

function checkOperandCount(
  operands: readonly string[],
  { least, most }: { readonly least: number; readonly most: number },
): readonly string[] {
  if (operands.length < least) throw new UsageError('an argument is missing')
  if (operands.length > most) throw new UsageError('one argument or more is too many')
  return operands
}

function checkUrl(url = ''): string {
  if (!url.startsWith('oss://')) throw new UsageError('the object must be oss://BUCKET/KEY')
  return url
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

function parseRoll(roll: OptionValues, others: OptionValues): RollOptions | undefined {
  const [first] = Object.keys(roll)
  if (first === undefined) return undefined
  if (roll.key === undefined && roll.maxBytes === undefined) {
    throw new UsageError(`${flagOf(first)}: needs --roll-key or --roll-bytes`)
  }
  const conflicting = ['position', 'crc64', 'resume'].find(option => others[option] !== undefined)
  if (conflicting)
    throw new UsageError(`${flagOf(conflicting)}: is for one object, and not for many`)
  return roll as RollOptions
}

/** Refuses unknown and repeated flags. `parseArgs` would suggest none, and would take the last of two. */
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
    if (seen.has(name) && !FLAGS[name]?.multiple) throw new UsageError(`${rawName}: is said twice`)
    seen.add(name)
  }
}

/** `: did you mean --x?`, or nothing where no flag is similar. */
function suggestFlag(name: string, rawName: string): string {
  const named = flagForLibraryName(name)
  if (named) return `: did you mean ${named}?`
  if (rawName.startsWith('--')) return suggestion(rawName, ALL_FLAGS)
  const [first, ...others] = ALL_FLAGS.filter(flag => flag.startsWith(`--${name}`))
  return first && others.length === 0 ? `: did you mean ${first}?` : ''
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
      throw new UsageError(`--${name}: is said twice`)
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
