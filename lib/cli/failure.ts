/** Errors as text, as the fields of an event, and as exit codes, which the help documents. */

import { formatCount, OssError, OssServiceError } from '../errors.ts'
import { flagOf, optionLabel } from './flags.ts'
import type { Signals } from './signals.ts'
import { UsageError } from './usage-error.ts'

/** The bytes were acknowledged, but the object differs from what was read. */
export class MismatchError extends Error {
  readonly code = 'ERR_NOT_VERIFIED'

  constructor(differences: readonly string[]) {
    super(`NOT verified: ${differences.join('; ')}`)
  }
}

/** The source failed. The bytes read before that are in the object. */
export class SourceError extends Error {
  readonly code: string

  constructor(cause: NodeJS.ErrnoException, position: number) {
    super(
      `the input broke off: ${cause.message}; the object has ${formatCount(position, 'byte')}`,
      { cause },
    )
    this.code = cause.code ?? 'ERR_SOURCE'
  }
}

/** Standard output cannot be written. */
export class OutputError extends Error {
  readonly code: string

  constructor(cause: NodeJS.ErrnoException) {
    super(`standard output: ${cause.message}`, { cause })
    this.code = cause.code ?? 'ERR_OUTPUT'
  }
}

/** No file goes on where the newest object ends. */
export class NotContinuedError extends Error {
  readonly code = 'ERR_NOT_CONTINUED'
}

/** What an interrupted command had done. */
export interface InterruptionState {
  /** The acknowledged end of the object. */
  readonly position?: number | undefined
  /** Bytes of the input that may not be in the object. */
  readonly unacknowledged?: number | undefined
}

/** A signal ended the command before everything was done. */
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

/** Errors with a complete message: neither a code nor a stack is printed below it. */
const MESSAGE_ONLY = [UsageError, MismatchError, NotContinuedError, InterruptedError]

/** Maps an AbortError after a signal to an `InterruptedError`, and returns other errors as they are. */
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

/** What a command was about, to be printed with its error. */
export interface ErrorContext {
  readonly url?: string
  /** The folder of `--local`. */
  readonly local?: string | undefined
  /** The folder of the journal. */
  readonly journal?: string | undefined
  /** RAM actions that the command needs. */
  readonly actions?: readonly string[]
}

/** 1 failed, 2 usage, 3 conflict, 4 integrity, 129, 130 and 143 interrupted. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return 2
  if (error instanceof MismatchError) return 4
  if (error instanceof NotContinuedError) return 3
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

/** The message, and below it the details that a search or Alibaba's support needs. */
export function describeError(error: unknown, context: ErrorContext = {}): string {
  if (!(error instanceof Error)) return `oss-append: ${String(error)}\n`
  const lines = [`oss-append: ${messageInFlagTerms(error)}`, ...detailLines(error)]
  if (exitCodeOf(error) === 2) lines.push('Try: oss-append --help')
  else lines.push(...contextLines(error, context))
  return `${lines.join('\n')}\n`
}

function contextLines(error: Error, context: ErrorContext): string[] {
  const { url, local, journal, actions = [] } = context
  const lines: string[] = []
  if (url !== undefined) lines.push(formatRow('object', url))
  if (local !== undefined) lines.push(formatRow('folder', local))
  if (journal !== undefined) {
    lines.push(formatRow('journal', `${journal} keeps what is not acknowledged`))
  }
  if (isAccessDenied(error) && actions.length > 0) {
    lines.push(
      formatRow(
        'needs',
        `the RAM ${actions.length === 1 ? 'action' : 'actions'} ${actions.join(', ')}`,
      ),
    )
  }
  return lines
}

function isAccessDenied(error: Error): boolean {
  const { code, cause } = error as { code?: unknown; cause?: unknown }
  return code === 'AccessDenied' || (cause instanceof Error && isAccessDenied(cause))
}

/** The fields of the event `'error'`. */
export function errorEvent(
  error: unknown,
  { url, actions }: ErrorContext = {},
): Record<string, unknown> {
  const isDenied = error instanceof Error && isAccessDenied(error)
  return {
    ...errorFields(error),
    url,
    actions: isDenied ? actions : undefined,
    exitCode: exitCodeOf(error),
  }
}

/** An error as fields of an event. */
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

/** The message with flags and environment variables in place of option names. */
function messageInFlagTerms(error: Error): string {
  const { message } = error
  if (!(error instanceof OssError) || error instanceof OssServiceError) return message
  // The paths in it are left as they are.
  if (error.code === 'OSS_ERR_JOURNAL') return message
  if (message.startsWith('option url: ')) return message.slice('option '.length)
  const [start = '', option = ''] = /^option (.+?)(?=: )/.exec(message) ?? []
  return (optionLabel(option) ?? start) + withFlags(message.slice(start.length))
}

/** Names of options are dotted or have a capital letter; others are found by the words before them. */
function withFlags(text: string): string {
  return text
    .replace(/\bthe option ([a-z]\w*)/g, (words, name: string) => flagOf(name) ?? words)
    .replace(/\b(?<=(?:needs|excludes|as) )[a-z]\w*/g, word => flagOf(word) ?? word)
    .replace(/\b(?:[a-z]+\.)?[a-z]+[A-Z]\w*\b/g, word => flagOf(word) ?? word)
}

/** The message of the cause, unless the error's own message contains it. */
export function causeMessageOf({ message, cause }: Error): string | undefined {
  const reason = cause instanceof Error ? cause.message : ''
  return message.includes(reason) ? undefined : reason
}

function detailLines(error: Error): string[] {
  const { code, cause } = error as { code?: unknown; cause?: unknown }
  if (MESSAGE_ONLY.some(type => error instanceof type)) return []
  // No code: a bug in this package, so print the stack.
  if (typeof code !== 'string') return (error.stack ?? '').split('\n').slice(1)
  const lines = [formatRow('code', code)]
  if (error instanceof OssError) {
    if (error.requestId !== undefined) lines.push(formatRow('request id', error.requestId))
    if (error instanceof OssServiceError) lines.push(formatRow('host id', error.hostId ?? 'none'))
    if (error.tail)
      lines.push(formatRow('acknowledged', `the object up to byte ${error.tail.position}`))
    if (error.unresolved) {
      const { position, length } = error.unresolved
      lines.push(
        formatRow('unknown', `the fate of ${formatCount(length, 'byte')} from ${position} on`),
      )
    }
    if (cause instanceof Error) lines.push(...causeLines(cause, causeMessageOf(error)))
  }
  return lines
}

/** A cause without a code is not printed with its stack: the error above it has a code. */
function causeLines(cause: Error & { code?: unknown }, reason: string | undefined): string[] {
  const lines = reason === undefined ? [] : [formatRow('reason', reason)]
  if (typeof cause.code === 'string') lines.push(...detailLines(cause))
  return lines.map(line => (line.startsWith('  caused by') ? line : `  caused by${line}`))
}

function formatRow(label: string, value: string): string {
  return `  ${label.padEnd(12)}  ${value}`
}
