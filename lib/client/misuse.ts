/**
 * Errors of a dispatcher that was passed in, by which it shows that no attempt through it can succeed. By
 * code, since a program may have several copies of undici, each with classes of its own.
 */

import type { Dispatcher } from 'undici'
import { OssError, type OssErrorDetails } from '../errors.ts'

const THROWS_ON_STATUS =
  'makes errors of responses: leave out the interceptor that throws on a status'

const PROBLEMS: Readonly<Record<string, string>> = {
  UND_ERR_DESTROYED: 'is closed: pass one that lives as long as the client',
  UND_ERR_CLOSED: 'is closed: pass one that lives as long as the client',
  UND_ERR_INVALID_ARG: 'does not understand our requests: use one of undici 7 or later',
  UND_ERR_RESPONSE: 'makes errors of responses: leave out the interceptor responseError',
  UND_ERR_RESPONSE_STATUS_CODE: 'makes errors of responses: leave out throwOnError',
  UND_MOCK_ERR_MOCK_NOT_MATCHED: 'is a MockAgent without a reply to this request: add one',
}

/** A final error, if the dispatcher is unusable. */
export function findMisuse(
  error: unknown,
  dispatcher: Dispatcher,
  details: OssErrorDetails,
): OssError | undefined {
  const { code } = Object(error) as { code?: unknown }
  const problem = problemOf(error)
  if (problem === undefined) return undefined
  // The dispatchers of undici show their state. A pool inside of one may be closed while it is open.
  const { closed, destroyed } = dispatcher as { closed?: unknown; destroyed?: unknown }
  const isEnd = code === 'UND_ERR_DESTROYED' || code === 'UND_ERR_CLOSED'
  if (isEnd && closed === false && destroyed === false) return undefined
  return new OssError('OSS_ERR_INVALID_OPTION', `option dispatcher: ${problem}`, details)
}

function problemOf(error: unknown): string | undefined {
  const { code, status, statusCode } = Object(error) as Readonly<Record<string, unknown>>
  if (typeof code === 'string') {
    if (Object.hasOwn(PROBLEMS, code)) return PROBLEMS[code]
    // The RetryAgent of undici 7.30 gives up with the last status.
    if (code.startsWith('UND_ERR_')) return undefined
  }
  return isErrorStatus(status) || isErrorStatus(statusCode) ? THROWS_ON_STATUS : undefined
}

function isErrorStatus(value: unknown): boolean {
  return typeof value === 'number' && value >= 300 && value <= 599
}
