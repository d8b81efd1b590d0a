/**
 * What went wrong, as text for a person and as an exit code for a script. Both are documented in the
 * help; no message here quotes an argument or the environment.
 */

import { OssError, OssServiceError } from '../errors.ts'

/** Wrong arguments. Prints as it stands, with a pointer to the help. */
export class UsageError extends Error {}

/** The bytes were acknowledged, and yet the object is not what was read. */
export class MismatchError extends Error {
  constructor(differences: readonly string[]) {
    super(`NOT verified: ${differences.join('; ')}`)
  }
}

/** 1 failed, 2 usage, 3 conflict, 4 integrity. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return 2
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
  const lines = [`oss-append: ${error.message}`, ...details(error)]
  if (exitCodeOf(error) === 2) lines.push('Try: oss-append --help')
  return `${lines.join('\n')}\n`
}

function details(error: Error): string[] {
  const { code, cause } = error as { code?: unknown; cause?: unknown }
  // Without a code it is nobody's answer but a fault of ours, and its place matters.
  if (typeof code !== 'string') {
    const isOurs = error instanceof UsageError || error instanceof MismatchError
    return isOurs ? [] : (error.stack ?? '').split('\n').slice(1)
  }
  const lines = [row('code', code)]
  if (error instanceof OssServiceError) {
    lines.push(row('request id', error.requestId), row('host id', error.hostId ?? 'none'))
  }
  if (error instanceof OssError) {
    if (error.tail) lines.push(row('acknowledged', `the object up to byte ${error.tail.position}`))
    if (cause instanceof Error) lines.push(...details(cause).map(line => `  caused by${line}`))
  }
  return lines
}

function row(label: string, value: string): string {
  return `  ${label.padEnd(12)}  ${value}`
}
