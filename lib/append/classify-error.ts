/**
 * What a failed attempt means for the next one: a pure table from an error to what to do. Sending the
 * same bytes to the same position again can never write them twice, so the only question is whether
 * another attempt could go better. Status and code decide, never the text of a message.
 */

import { isKeyRefusal, OssError, OssServiceError } from '../errors.ts'

export type RetryClass =
  /** No attempt will go better. */
  | 'final'
  /** Wait, then send the same again. */
  | 'wait'
  /** The same, with longer waits: OSS is refusing load. */
  | 'throttled'
  /** The host's name does not resolve: a typing error, if nothing ever came from it. */
  | 'unknownHost'
  /** The client has corrected its clock: send again at once, once. */
  | 'clock'
  /** The provider may have better credentials by now: send again at once, once. */
  | 'credentials'
  /** The body was damaged on its way, and refused before it was committed: send again, twice. */
  | 'damaged'

/**
 * The codes of a 503 that mean a limit (OSS documentation, "Error codes": `TotalQpsLimitExceeded`,
 * `PartitionQpsLimitted`, `CpuLimitExceeded`, ...), by their form, since the list keeps growing.
 */
const THROTTLING = /Limit(Exceeded|ted)$|^SlowDown$/

const BY_CODE: Readonly<Record<string, RetryClass>> = {
  // Judged before it gets here: what is left is "our batch is not in the object yet".
  PositionNotEqualToLength: 'wait',
  // 400s by which OSS says that the network was slow or broke; the body was not taken.
  RequestTimeout: 'wait',
  IncompleteBody: 'wait',
  // It was damaged on its way. OSS's own SDKs send again after `BadRequest` too.
  InvalidDigest: 'damaged',
  BadRequest: 'damaged',
}

/** Node's names for certificates that will not be better at the next attempt (Node doc, "X509 certificate error codes"). */
const CERTIFICATE =
  /^(CERT_|CRL_|ERROR_IN_C|ERR_TLS_CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|(HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_EXCEEDED)$)/

export function classifyError(error: unknown): RetryClass {
  if (error instanceof OssServiceError) return classifyRefusal(error)
  if (!(error instanceof OssError)) return 'final'
  switch (error.code) {
    case 'OSS_ERR_TIMEOUT':
      return 'wait'
    case 'OSS_ERR_NETWORK':
      return classifyNetworkError(systemCode(error.cause))
    case 'OSS_ERR_CREDENTIALS':
      return error.isRefreshable ? 'wait' : 'final'
    default:
      return 'final'
  }
}

function classifyRefusal(error: OssServiceError): RetryClass {
  const { code, status } = error
  const known = Object.hasOwn(BY_CODE, code) ? BY_CODE[code] : undefined
  if (known) return known
  if (error.isRefreshable) return isKeyRefusal(code) ? 'credentials' : 'clock'
  if (status === 503 && THROTTLING.test(code)) return 'throttled'
  if (status === 408 || status === 429) return 'wait'
  return status >= 500 && status !== 501 ? 'wait' : 'final'
}

function classifyNetworkError(code: string): RetryClass {
  if (code === 'ENOTFOUND') return 'unknownHost'
  return CERTIFICATE.test(code) ? 'final' : 'wait'
}

/**
 * Whether a failed attempt may have landed, or may land yet. A plain refusal by OSS has not, nor has
 * what found no connection; of everything else nobody can tell.
 */
export function isAmbiguous(error: unknown): boolean {
  if (error instanceof OssServiceError) {
    const outcome = classifyError(error)
    return (
      (outcome === 'wait' || outcome === 'throttled') && error.code !== 'PositionNotEqualToLength'
    )
  }
  if (!(error instanceof OssError)) return true
  switch (error.code) {
    case 'OSS_ERR_NETWORK':
      return !NEVER_SENT.has(systemCode(error.cause)) && classifyError(error) !== 'final'
    case 'OSS_ERR_TIMEOUT':
    case 'OSS_ERR_INTEGRITY':
      return true
    default:
      return false
  }
}

/**
 * Codes of connections that were never made. The last is not the system's: the dispatcher counts that time
 * itself, and a cause keeps the code that it came with.
 */
const NEVER_SENT = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT'])

/** The code of what broke the network, as it came; `''` if it has none. */
function systemCode(cause: unknown): string {
  const code = (cause as { code?: unknown } | undefined)?.code
  return typeof code === 'string' ? code : ''
}
