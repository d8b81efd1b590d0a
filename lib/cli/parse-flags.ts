/** Reads the flags of a command line by the table in `flags.ts`: which are given, and the options that they set. Pure. */

import { parseArgs } from 'node:util'
import { suggestion } from '../validate.ts'
import { type CommandName, FLAGS, type Flag, type FlagGroup, flagForLibraryName } from './flags.ts'
import { UsageError } from './usage-error.ts'

const ALL_FLAGS = Object.keys(FLAGS).map(name => `--${name}`)

/** The texts of the flags, by name. */
export type FlagValues = Readonly<Record<string, unknown>>
/** The parsed values, by option. */
export type OptionValues = Readonly<Record<string, unknown>>
/** The options of a command, by what they set. */
export type OptionGroups = Readonly<Record<FlagGroup, OptionValues>>

/** The flags and the other arguments. Refuses flags that are unknown, repeated, or lack a value. */
export function readFlags(args: readonly string[]) {
  checkFlags(args)
  return parseStrictly(args)
}

/** The options that the flags of a command set. Refuses flags of other commands, and wrong values. */
export function optionsOf(command: CommandName, values: FlagValues): OptionGroups {
  checkFlagsOfCommand(command, values)
  return {
    backend: collectOptions(values, 'backend'),
    stream: collectOptions(values, 'stream'),
    roll: collectOptions(values, 'roll'),
    command: collectOptions(values, 'command'),
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
