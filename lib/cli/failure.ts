/**
 * What went wrong, as text for a person, as JSON for a program and as an exit code for a script. The
 * codes are documented in the help; no message here quotes an argument or the environment.
 */

import { OssError, OssServiceError } from '../errors.ts'
import { flagOf } from './flags.ts'
import type { Signals } from './signals.ts'
import { UsageError } from './usage.ts'

/** The bytes were acknowledged, and yet the object is not what was read. */
export class MismatchError extends Error {
  constructor(differences: readonly string[]) {
    super(`NOT verified: ${differences.join('; ')}`)
  }
}

/** The source broke off. What it gave before is in the object. */
export class SourceError extends Error {
  readonly code: string

  constructor(cause: NodeJS.ErrnoException, position: number) {
    super(`the input broke off: ${cause.message}; the object has ${position} bytes`, { cause })
    this.code = cause.code ?? 'ERR_SOURCE'
  }
}

/** A signal ended it before everything was done. */
export class InterruptedError extends Error {
  readonly exitCode: number

  constructor(exitCode: number, message: string) {
    super(message)
    this.exitCode = exitCode
  }
}

/** What was aborted because a signal came was interrupted by it; anything else is what it is. */
export function interpret(
  error: unknown,
  { received, exitCode }: Pick<Signals, 'received' | 'exitCode'>,
): unknown {
  const isAbortion = (error as { name?: unknown } | null)?.name === 'AbortError'
  if (!isAbortion || received === undefined) return error
  return new InterruptedError(exitCode, `interrupted by ${received}`)
}

export function noSuchObject(): Error {
  return Object.assign(new Error('there is no such object'), { code: 'NoSuchKey' })
}

/** 1 failed, 2 usage, 3 conflict, 4 integrity, 130 and 143 interrupted. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return 2
  if (error instanceof MismatchError) return 4
  if (error instanceof InterruptedError) return error.exitCode
  switch ((error as { code?: unknown } | null)?.code) {
    case 'OSS_ERR_INVALID_OPTION':
      return 2
    case 'PositionNotEqualToLength':
    case 'OSS_ERR_OBJECT_REPLACED':
      return 3
    case 'OSS_ERR_INTEGRITY':
      return 4
    default:
      return 1
  }
}

/** One line that says it, and below it what a search or Alibaba's support asks for. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return `oss-append: ${String(error)}\n`
  const lines = [`oss-append: ${messageOf(error)}`, ...details(error)]
  if (exitCodeOf(error) === 2) lines.push('Try: oss-append --help')
  return `${lines.join('\n')}\n`
}

/** The same for a program. */
export function errorFields(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: String(error) }
  const { code, attempts, tail, unresolved } = error as Partial<OssError>
  const { requestId, hostId, status } = error as Partial<OssServiceError>
  const cause = error instanceof OssError && error.cause ? errorFields(error.cause) : undefined
  return {
    code,
    message: messageOf(error),
    requestId,
    hostId,
    status,
    attempts,
    ...tail,
    unresolved,
    cause,
  }
}

/** The library speaks of its options by name; whoever reads this has typed flags. */
function messageOf(error: Error): string {
  const { message } = error
  if (!(error instanceof OssError) || error instanceof OssServiceError) return message
  const [, dashes = '', option] = /^option (-*)(.+?): /.exec(message) ?? []
  const flag = option && (dashes ? dashes + option : flagOf(option))
  const told = flag ? message.replace(/^option .+?(?=: )/, flag) : message
  return told.replace(/\b[a-z]+[A-Z]\w*\b/g, word => flagOf(word) ?? word)
}

function details(error: Error): string[] {
  const { code, cause } = error as { code?: unknown; cause?: unknown }
  // Without a code it is nobody's answer but a fault of ours, and its place matters.
  if (typeof code !== 'string') {
    const isOurs = [UsageError, MismatchError, InterruptedError].some(type => error instanceof type)
    return isOurs ? [] : (error.stack ?? '').split('\n').slice(1)
  }
  const lines = [row('code', code)]
  if (error instanceof OssServiceError) {
    lines.push(row('request id', error.requestId), row('host id', error.hostId ?? 'none'))
  }
  if (error instanceof OssError) {
    if (error.tail) lines.push(row('acknowledged', `the object up to byte ${error.tail.position}`))
    if (error.unresolved) {
      const { position, length } = error.unresolved
      lines.push(row('unknown', `the fate of ${length} bytes from ${position} on`))
    }
    if (cause instanceof Error) lines.push(...details(cause).map(line => `  caused by${line}`))
  }
  return lines
}

function row(label: string, value: string): string {
  return `  ${label.padEnd(12)}  ${value}`
}
