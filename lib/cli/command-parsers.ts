/** What each command makes of its operands and options, with the checks that combine several of them. Pure. */

import { parse } from 'node:path'
import type { Credentials, UrlOptions } from '../index.ts'
import type {
  Backend,
  Command,
  FollowCommand,
  OutputMode,
  RollOptions,
  ServeCommand,
} from './commands.ts'
import { type CommandName, flagOf } from './flags.ts'
import { checkDir, checkOperands, checkUrl, URL_NAME, withFileName } from './operands.ts'
import type { OptionGroups, OptionValues } from './parse-flags.ts'
import { UsageError } from './usage-error.ts'

/** Milliseconds. `docker stop` kills after 10 s, and systemd after 90 s. */
const DEFAULT_GRACE = 7_000
/** Milliseconds. With a journal nothing is lost by an early end, so a restart need not wait. */
const DEFAULT_JOURNAL_GRACE = 500
/** Milliseconds between two looks with `--follow`. */
const DEFAULT_INTERVAL = 1_000

/** The arguments of one command, by what they set. */
interface ParsedArguments extends OptionGroups {
  readonly operands: readonly string[]
}

export const COMMAND_PARSERS: Readonly<Record<CommandName, (given: ParsedArguments) => Command>> = {
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
      interval: checkPositive('--interval', interval as number),
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
  const conflicting = Object.keys(NOT_FOLLOWED).find(
    name => given[name as keyof typeof given] !== undefined,
  )
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
