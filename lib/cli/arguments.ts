/** Parses and checks the command line. Pure: it opens nothing and reads no environment. */

import { suggestion } from '../validate.ts'
import { COMMAND_PARSERS } from './command-parsers.ts'
import type { Command, HelpTopic } from './commands.ts'
import { COMMANDS, type CommandName } from './flags.ts'
import { checkOperands, isUrl, URL_NAME } from './operands.ts'
import { optionsOf, readFlags } from './parse-flags.ts'
import { showValue, UsageError } from './usage-error.ts'

/** `options`, or a command: what `help` has a text for. */
const HELP_TOPICS = ['options', ...COMMANDS] as const
const ONE_OF = `one of ${COMMANDS.filter(name => name !== 'append').join(', ')}`

/** @throws {UsageError} naming what is wrong and how to mend it. */
export function parseArguments(args: readonly string[]): Command {
  const { values, positionals } = readFlags(args)
  if (values.help) return { name: 'help', ...topicOf(positionals[0]) }
  if (values.version) return { name: 'version' }
  if (positionals[0] === 'help') return parseHelp(positionals.slice(1))
  const { name, operands } = parseCommandName(positionals)
  return COMMAND_PARSERS[name]({ operands, ...optionsOf(name, values) })
}

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
