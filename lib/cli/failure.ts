/**
 * What went wrong, as text for a person, as JSON for a program and as an exit code for a script. The
 * codes are documented in the help; no message here quotes an argument or the environment.
 */

import { OssError, OssServiceError } from '../errors.ts'
import { flagOf, optionLabel } from './flags.ts'
import type { Signals } from './signals.ts'
import { UsageError } from './usage-error.ts'

/** The bytes were acknowledged, and yet the object is not what was read. */
export class MismatchError extends Error {
  readonly code = 'ERR_NOT_VERIFIED'

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

/** How far an interrupted command had come. */
export interface InterruptionState {
  /** Where the object ends. */
  readonly position?: number | undefined
  /** Bytes of the input that may not be in the object. */
  readonly unacknowledged?: number | undefined
}

/** A signal ended it before everything was done. */
export class InterruptedError extends Error {
  readonly code = 'ERR_INTERRUPTED'
  readonly exitCode: number
  readonly position: number | undefined
  readonly unacknowledged: number | undefined

  constructor(exitCode: number, message: string, state: InterruptionState = {}) {
    super(message)
    this.exitCode = exitCode
    this.position = state.position
    this.unacknowledged = state.unacknowledged
  }
}

/** These say all there is to say: no code helps a person, and no stack. */
const MESSAGE_ONLY = [UsageError, MismatchError, InterruptedError]

/** What was aborted because a signal came was interrupted by it; anything else is what it is. */
export function mapAbortError(
  error: unknown,
  { received, exitCode }: Pick<Signals, 'received' | 'exitCode'>,
): unknown {
  const isAbortError = (error as { name?: unknown } | null)?.name === 'AbortError'
  if (!isAbortError || received === undefined) return error
  return new InterruptedError(exitCode, `interrupted by ${received}`)
}

export function noSuchObjectError(): Error {
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
  const lines = [`oss-append: ${messageInFlagTerms(error)}`, ...detailLines(error)]
  if (exitCodeOf(error) === 2) lines.push('Try: oss-append --help')
  return `${lines.join('\n')}\n`
}

/** The same for a program. */
export function errorFields(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: String(error) }
  const { code, attempts, tail, unresolved } = error as Partial<OssError>
  const { requestId, hostId, status } = error as Partial<OssServiceError>
  const { position, unacknowledged } = error as Partial<InterruptedError>
  const cause = error instanceof OssError && error.cause ? errorFields(error.cause) : undefined
  return {
    code,
    message: messageInFlagTerms(error),
    requestId,
    hostId,
    status,
    attempts,
    position,
    unacknowledged,
    ...tail,
    unresolved,
    cause,
  }
}

/** The library speaks of its options by name; whoever reads this has typed flags, or set variables. */
function messageInFlagTerms(error: Error): string {
  const { message } = error
  if (!(error instanceof OssError) || error instanceof OssServiceError) return message
  if (message.startsWith('option url: ')) return message.slice('option '.length)
  const [, option] = /^option (.+?): /.exec(message) ?? []
  const label = option && optionLabel(option)
  const text = label ? message.replace(/^option .+?(?=: )/, label) : message
  return text
    .replace(/\bthe option ([a-z]\w*)/g, (words, name: string) => flagOf(name) ?? words)
    .replace(/\b[a-z]+[A-Z]\w*\b/g, word => flagOf(word) ?? word)
}

/** What is left to its cause by a message that does not quote it: the words of a provider, or of a proxy. */
export function causeMessageOf({ message, cause }: Error): string | undefined {
  const reason = cause instanceof Error ? cause.message : ''
  return message.includes(reason) ? undefined : reason
}

function detailLines(error: Error): string[] {
  const { code, cause } = error as { code?: unknown; cause?: unknown }
  if (MESSAGE_ONLY.some(type => error instanceof type)) return []
  // Without a code it is nobody's answer but a fault of ours, and its place matters.
  if (typeof code !== 'string') return (error.stack ?? '').split('\n').slice(1)
  const lines = [formatRow('code', code)]
  if (error instanceof OssError) {
    if (error.requestId !== undefined) lines.push(formatRow('request id', error.requestId))
    if (error instanceof OssServiceError) lines.push(formatRow('host id', error.hostId ?? 'none'))
    if (error.tail)
      lines.push(formatRow('acknowledged', `the object up to byte ${error.tail.position}`))
    if (error.unresolved) {
      const { position, length } = error.unresolved
      lines.push(formatRow('unknown', `the fate of ${length} bytes from ${position} on`))
    }
    if (cause instanceof Error) lines.push(...causeLines(cause, causeMessageOf(error)))
  }
  return lines
}

/** Where a cause was thrown is nobody's business: it is told with what it was the cause of. */
function causeLines(cause: Error & { code?: unknown }, reason: string | undefined): string[] {
  const lines = reason === undefined ? [] : [formatRow('reason', reason)]
  if (typeof cause.code === 'string') lines.push(...detailLines(cause))
  return lines.map(line => (line.startsWith('  caused by') ? line : `  caused by${line}`))
}

function formatRow(label: string, value: string): string {
  return `  ${label.padEnd(12)}  ${value}`
}
