/**
 * What the user typed, checked and put in order. Pure: it opens nothing and looks at no environment.
 * Values are never quoted in a message: one of them may be a secret pasted into the wrong place.
 */

import { parseArgs } from 'node:util'
import { hint } from '../check.ts'
import type { Command, Place, Rolling, Voice } from './commands.ts'
import {
  COMMANDS,
  type CommandName,
  FLAGS,
  type Flag,
  flagNamed,
  flagOf,
  type Topic,
} from './flags.ts'
import { UsageError } from './usage.ts'

/** Milliseconds. ffmpeg needs a moment for its trailer, and systemd kills after 90 seconds. */
const GRACE = 10_000
const INTERVAL = 1_000

const ALL_FLAGS = Object.keys(FLAGS).map(name => `--${name}`)

/** The texts of flags that were given, by name. */
type Values = Readonly<Record<string, unknown>>
/** What they say, by option. */
type Options = Readonly<Record<string, unknown>>

/** What was given to one command. */
interface Given {
  readonly words: readonly string[]
  readonly place: Options
  readonly stream: Options
  readonly roll: Options
  readonly command: Options
}

/** @throws {UsageError | OssError} naming what is wrong; `exitCodeOf` either is 2. */
export function parseArguments(args: readonly string[]): Command {
  refuseFlags(args)
  const { values, positionals } = parseStrictly(args)
  if (values.help) return { name: 'help' }
  if (values.version) return { name: 'version' }
  if (positionals[0] === 'help') return readHelp(positionals.slice(1))
  const { name, words } = readName(positionals)
  refuseForeign(name, values)
  return BUILDERS[name]({
    words,
    place: collect(values, 'place'),
    stream: collect(values, 'stream'),
    roll: collect(values, 'roll'),
    command: collect(values, 'command'),
  })
}

const BUILDERS: Readonly<Record<CommandName, (given: Given) => Command>> = {
  append({ words, place, stream, roll, command }) {
    const { isJson = false, isQuiet = false, isZipped = false, grace = GRACE, resume } = command
    const isResumed = resume !== undefined
    const [url, file] = readWords(words, { least: 1, most: isResumed ? 1 : 2 })
    if (resume === '') throw new UsageError('--resume: must name a file')
    return {
      name: 'append',
      url: readUrl(url),
      file: isResumed ? (resume as string) : file,
      place: readPlace(place),
      options: isZipped ? alignMembers(stream) : stream,
      roll: readRolling(roll, { ...stream, ...(isResumed && { resume }) }),
      isZipped: isZipped as boolean,
      isResumed,
      voice: { isJson, isQuiet } as Voice,
      grace: grace as number,
    }
  },
  demo({ words, command }) {
    const [file] = readWords(words, { least: 0, most: 1 })
    const bytes = command.bytes as number | undefined
    if (bytes !== undefined && file !== undefined) {
      throw new UsageError('--bytes: has no meaning with FILE')
    }
    return { name: 'demo', file, bytes }
  },
  stat({ words, place, command }) {
    const [url] = readWords(words, { least: 1, most: 1 })
    return {
      name: 'stat',
      url: readUrl(url),
      place: readPlace(place),
      isJson: command.isJson === true,
    }
  },
  cat({ words, place, command }) {
    const [url] = readWords(words, { least: 1, most: 1 })
    const { isFollowed = false, interval = INTERVAL } = command
    if (command.interval !== undefined && !isFollowed) {
      throw new UsageError('--interval: has no meaning without --follow')
    }
    if (isFollowed && place.local !== undefined) {
      const mend = 'run oss-append serve --dir DIR, and follow that'
      throw new UsageError(`--follow: --local does not see what others append: ${mend}`)
    }
    return {
      name: 'cat',
      url: readUrl(url),
      place: readPlace(place),
      isFollowed: isFollowed as boolean,
      interval: interval as number,
    }
  },
  verify({ words, place, command }) {
    const [file = '', url] = readWords(words, { least: 2, most: 2 })
    const isJson = command.isJson === true
    return { name: 'verify', file, url: readUrl(url), place: readPlace(place), isJson }
  },
  serve({ words, command }) {
    readWords(words, { least: 0, most: 0 })
    const { dir, port, host } = command as { dir?: string; port?: number; host?: string }
    if (dir === '') throw new UsageError('--dir: must name a folder')
    if (port !== undefined && port > 65_535) throw new UsageError('--port: must be 0 to 65535')
    return { name: 'serve', dir, port, host }
  },
}

function readHelp(words: readonly string[]): Command {
  const [topic] = readWords(words, { least: 0, most: 1 })
  if (topic === undefined) return { name: 'help' }
  if (topic !== 'options') throw new UsageError('help: knows of options, and no other topic')
  return { name: 'help', topic }
}

/** The command's name, or none and an object to append to. */
function readName(positionals: readonly string[]): { name: CommandName; words: string[] } {
  const [first, ...rest] = positionals
  if (first === undefined) throw new UsageError(`say where to: oss://BUCKET/KEY, or ${NAMES}`)
  if (first.startsWith('oss://')) return { name: 'append', words: [first, ...rest] }
  const name = COMMANDS.find(each => each === first && each !== 'append')
  if (name === undefined) {
    const meant = hint(first, COMMANDS)
    throw new UsageError(`the first argument must be oss://BUCKET/KEY, or one of ${NAMES}${meant}`)
  }
  return { name, words: rest }
}

const NAMES = COMMANDS.filter(name => name !== 'append').join(', ')

function readWords(
  words: readonly string[],
  { least, most }: { readonly least: number; readonly most: number },
): readonly string[] {
  if (words.length < least) throw new UsageError('an argument is missing')
  if (words.length > most) throw new UsageError('one argument or more is too many')
  return words
}

function readUrl(word = ''): string {
  if (!word.startsWith('oss://')) throw new UsageError('the object must be oss://BUCKET/KEY')
  return word
}

function readPlace({ local, credentials, ...network }: Options): Place {
  if (credentials === '') throw new UsageError('--credentials: must name a module')
  const named = credentials === undefined ? {} : { credentials: credentials as string }
  if (local === undefined) return { ...named, network }
  if (local === '') throw new UsageError('--local: must name a folder')
  const [other] = Object.keys({ ...network, ...named })
  if (other) throw new UsageError(`${flagOf(other)}: --local has a server of its own`)
  return { local: local as string, network: {} }
}

/** A member is a chunk, so whatever is acknowledged is a whole file. */
function alignMembers(stream: Options): Options {
  if (stream.align !== undefined)
    throw new UsageError('--align: --gzip has an alignment of its own')
  return { ...stream, align: 'chunk' }
}

function readRolling(roll: Options, others: Options): Rolling | undefined {
  const [first] = Object.keys(roll)
  if (first === undefined) return undefined
  if (roll.key === undefined && roll.maxBytes === undefined) {
    throw new UsageError(`${flagOf(first)}: needs --roll-key or --roll-bytes`)
  }
  const wrong = ['position', 'crc64', 'resume'].find(option => others[option] !== undefined)
  if (wrong) throw new UsageError(`${flagOf(wrong)}: is for one object, and not for many`)
  return roll as Rolling
}

/** Before anything else, because only this hints at what was meant, and sees what is repeated. */
function refuseFlags(args: readonly string[]): void {
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
      throw new UsageError(`${rawName}: is unknown${meant(name, rawName)}`)
    if (seen.has(name) && !FLAGS[name]?.multiple) throw new UsageError(`${rawName}: is said twice`)
    seen.add(name)
  }
}

/** The flag that was meant by one that does not exist, as a question; nothing if nobody knows. */
function meant(name: string, rawName: string): string {
  const named = flagNamed(name)
  if (named) return `: did you mean ${named}?`
  if (rawName.startsWith('--')) return hint(rawName, ALL_FLAGS)
  const [first, ...others] = ALL_FLAGS.filter(flag => flag.startsWith(`--${name}`))
  return first && others.length === 0 ? `: did you mean ${first}?` : ''
}

function parseStrictly(args: readonly string[]) {
  try {
    const options = FLAGS as Record<string, Flag>
    return parseArgs({ args: [...args], options, allowPositionals: true })
  } catch (error) {
    // Of several sentences the first says what is wrong.
    const [problem = ''] = (error as Error).message.split(/\.? To specify|\n/)
    throw new UsageError(problem)
  }
}

function refuseForeign(name: CommandName, values: Values): void {
  const wrong = Object.keys(values).find(flag => !FLAGS[flag]?.commands.includes(name))
  if (wrong === undefined) return
  const right = FLAGS[wrong]?.commands.join(', ').replace(/, ([^,]*)$/, ' and $1')
  throw new UsageError(`--${wrong}: is for ${right}, and not for ${name}`)
}

/** The options of one topic, read from their texts; `retry.maxElapsed` goes into a record `retry`. */
function collect(values: Values, topic: Topic): Options {
  const options: Record<string, unknown> = {}
  for (const [name, given] of Object.entries(values)) {
    const flag = FLAGS[name]
    if (flag?.topic !== topic) continue
    const value = read(`--${name}`, flag, given)
    const [group = '', member] = flag.option.split('.')
    if (Object.hasOwn(options, group) && !member) throw new UsageError(`--${name}: is said twice`)
    options[group] = member ? { ...(options[group] as object), [member]: value } : value
  }
  return options
}

function read(name: string, { read = (_, text) => text, ...flag }: Flag, given: unknown): unknown {
  if (Array.isArray(given)) {
    const pairs = given.map(text => read(name, text) as [string, unknown])
    const record = Object.fromEntries(pairs)
    if (Object.keys(record).length === pairs.length) return record
    throw new UsageError(`${name}: gives one name two values`)
  }
  // A flag without a value that has a reader means the opposite of its option.
  return flag.type === 'boolean' ? read(name, '') !== false : read(name, given as string)
}
