/**
 * What the user typed, checked and put in order; and the help that says what may be typed. Pure: it
 * opens nothing and looks at no environment. Values are never quoted in a message: one of them may be
 * a secret pasted into the wrong place.
 */

import { parseArgs } from 'node:util'
import { checkKnown } from '../check.ts'
import { UsageError } from './failure.ts'

/** Stream into an object on a server of our own, which is gone afterwards. */
export interface DemoCommand {
  readonly name: 'demo'
  /** A path, `-` for standard input, or undefined: standard input if it is one, else a made-up feed. */
  readonly file: string | undefined
  /** Length of that feed, in bytes; undefined: not said. */
  readonly bytes: number | undefined
}

/** Append to an object of OSS, or to one that is kept in a folder. */
export interface AppendCommand {
  readonly name: 'append'
  readonly url: string
  /** A path, `-` for standard input, or undefined: standard input if it is a file or a pipe. */
  readonly file: string | undefined
  /** The folder; undefined: OSS. */
  readonly local: string | undefined
  readonly region: string | undefined
  readonly endpoint: string | undefined
}

export type Command =
  | DemoCommand
  | AppendCommand
  | { readonly name: 'help' }
  | { readonly name: 'version' }

/** At most 24 lines of 80 columns, so that it never scrolls away. A test counts. */
export const HELP = `Append a stream of bytes to an object of Alibaba Cloud OSS, and prove it.

  oss-append [options] oss://BUCKET/KEY [FILE]
  oss-append demo [--bytes N] [FILE]    the same on its own server: no account

Reads FILE, or standard input if that is a pipe or a file, or in any case with -
in place of FILE. Without any of these demo makes up a sensor feed.

  --local DIR      no account either: objects are kept in the folder DIR
  --region ID      as in cn-hangzhou            (default: OSS_REGION)
  --endpoint HOST  (default: OSS_ENDPOINT, or the public one of the region)
  --bytes N        length of demo's feed, as in 500000 or 1GiB (default: 64MiB)
  -h, --help       -v, --version

Keys: OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET and OSS_SESSION_TOKEN (if any).

  oss-append demo video.ts
  journalctl -f | oss-append --region cn-hangzhou oss://logs/host.log
  oss-append --local lab oss://lab/run7.csv < run7.csv

Exit code: 0 done and verified, 1 failed or not verified, 2 wrong usage,
3 somebody else wrote to the object, 4 OSS acknowledged other bytes than ours.
`

const OPTIONS = {
  local: { type: 'string' },
  region: { type: 'string' },
  endpoint: { type: 'string' },
  bytes: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
} as const

const FLAGS = [...Object.keys(OPTIONS).map(name => `--${name}`), '-h', '-v']

/** @throws {UsageError | OssError} naming what is wrong; `exitCodeOf` either is 2. */
export function parseArguments(args: readonly string[]): Command {
  refuseUnknown(args)
  const { values, positionals } = parseStrictly(args)
  if (values.help) return { name: 'help' }
  if (values.version) return { name: 'version' }
  const [first, file, ...more] = positionals
  if (first === undefined) throw new UsageError('say where to: oss://BUCKET/KEY, or demo')
  if (more.length > 0) throw new UsageError('one FILE at most can be read')
  if (first === 'demo') {
    refuseAll(values, ['local', 'region', 'endpoint'], 'demo has a server of its own')
    if (values.bytes === undefined) return { name: 'demo', file, bytes: undefined }
    if (file !== undefined) throw new UsageError('--bytes: has no meaning with FILE')
    return { name: 'demo', file, bytes: readSize('--bytes', values.bytes) }
  }
  if (!first.startsWith('oss://')) {
    throw new UsageError('the first argument must be oss://BUCKET/KEY, or demo')
  }
  refuseAll(values, ['bytes'], 'is for demo alone')
  const { local, region, endpoint } = values
  if (local === '') throw new UsageError('--local: must name a folder')
  if (local) refuseAll(values, ['region', 'endpoint'], '--local has a server of its own')
  return { name: 'append', url: first, file, local, region, endpoint }
}

/** Before anything else, because only this hints at what was meant. */
function refuseUnknown(args: readonly string[]): void {
  const { tokens } = parseArgs({
    args: [...args],
    options: OPTIONS,
    allowPositionals: true,
    strict: false,
    tokens: true,
  })
  const flags = tokens.flatMap(token => (token.kind === 'option' ? [token.rawName] : []))
  checkKnown('options', Object.fromEntries(flags.map(flag => [flag, true])), FLAGS)
}

function parseStrictly(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true })
  } catch (error) {
    // Of several sentences the first says what is wrong.
    const [problem = ''] = (error as Error).message.split(/\.? To specify|\n/)
    throw new UsageError(problem)
  }
}

function refuseAll(
  values: Readonly<Record<string, unknown>>,
  names: readonly string[],
  why: string,
): void {
  const wrong = names.find(name => values[name] !== undefined)
  if (wrong) throw new UsageError(`--${wrong}: ${why}`)
}

const UNITS: Readonly<Record<string, number>> = { '': 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }

/** A number of bytes: `500000`, `64KiB`, `4MiB`, `1GiB`. */
function readSize(option: string, text: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,12})(KiB|MiB|GiB)?$/.exec(text) ?? []
  if (digits === '') {
    throw new UsageError(`${option}: must be a number of bytes, as in 500000, 64KiB, 4MiB or 1GiB`)
  }
  return Number(digits) * (UNITS[unit] ?? 1)
}
