/**
 * What a failed attempt means for the next one: a pure table from an error to a class. The same bytes at
 * the same position can never be stored twice, so the only question is whether another attempt could go
 * better. Status and code decide, never the text of a message. docs/errors.md has the same table.
 */

import { isKeyRefusal, LostRace, OssError, OssServiceError } from '../errors.ts'
import type { Client } from './client-interface.ts'

export type RetryClass =
  /** No attempt will go better. */
  | 'final'
  /** Wait, then try again. */
  | 'wait'
  /** The same with longer waits: OSS refuses load. */
  | 'throttled'
  /** The host's name does not resolve: a typing error, if it never did. */
  | 'unknownHost'
  /** The host's certificate is refused: a wrong host or setting, if it never was accepted. */
  | 'certificate'
  /** The certificate is not valid yet, or no longer: the clock of this machine may be wrong. */
  | 'certificateDate'
  /** The client has corrected its clock. */
  | 'clock'
  /** The provider may have better credentials by now. */
  | 'credentials'
  /** The body was damaged on its way, and refused before it was stored. */
  | 'damaged'
  /** OSS, or a server in between, refuses bodies of that size. */
  | 'tooLarge'
  /** Another writer of a shared object came first. No failure: the next attempt starts where the object ends. */
  | 'lostRace'

/**
 * The codes of a 503 that mean a limit (OSS, "Error codes": `TotalQpsLimitExceeded`,
 * `PartitionQpsLimitted`, `CpuLimitExceeded`, ...), by their form, since the list keeps growing.
 */
const THROTTLING = /Limit(Exceeded|ted)$|^SlowDown$/

const BY_CODE: Readonly<Record<string, RetryClass>> = {
  // The appender has settled it: the object ends where it did.
  PositionNotEqualToLength: 'wait',
  // 400s by which OSS says that the network was slow or broke. The body was not stored.
  RequestTimeout: 'wait',
  IncompleteBody: 'wait',
  // The SDKs of OSS try again after `BadRequest` too.
  InvalidDigest: 'damaged',
  BadRequest: 'damaged',
}

/** Node's codes of a certificate outside its dates (Node doc, "X509 certificate error codes"). */
const CERTIFICATE_DATE = /^(CERT|CRL)_(NOT_YET_VALID|HAS_EXPIRED)$/

/** Node's codes of a certificate that is refused, whatever the date. */
const CERTIFICATE =
  /^(CERT_|CRL_|ERROR_IN_C|ERR_TLS_CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|(HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_EXCEEDED)$)/

/** RFC 9110, 15.5.14: Content Too Large. */
const TOO_LARGE = 413

export function classifyError(error: unknown): RetryClass {
  if (!(error instanceof OssError)) return 'final'
  if (error instanceof OssServiceError) return classifyRefusal(error)
  if (error instanceof LostRace) return 'lostRace'
  switch (error.code) {
    case 'OSS_ERR_TIMEOUT':
      return 'wait'
    case 'OSS_ERR_NETWORK':
      // A server in between may refuse a body too.
      return error.status === TOO_LARGE ? 'tooLarge' : classifyNetworkError(systemCode(error.cause))
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
  if (status === TOO_LARGE) return 'tooLarge'
  if (status === 408 || status === 429) return 'wait'
  return status >= 500 && status !== 501 ? 'wait' : 'final'
}

function classifyNetworkError(code: string): RetryClass {
  if (code === 'ENOTFOUND') return 'unknownHost'
  if (CERTIFICATE_DATE.test(code)) return 'certificateDate'
  return CERTIFICATE.test(code) ? 'certificate' : 'wait'
}

/**
 * Whether an attempt that failed so may have landed, or may land yet: after a timeout, a connection that
 * broke, a 5xx, a response that is not of OSS. A 4xx of OSS proves that nothing was stored, unless a layer
 * below may have sent the request before. "Never sent" is a fact that the client knows: a code such as
 * ECONNREFUSED may come from a retry in a layer below.
 */
export function isInDoubt(error: unknown, { sendsOnce }: Pick<Client, 'sendsOnce'>): boolean {
  if (!(error instanceof OssError)) return true
  if (error.isUnsent || error.code === 'OSS_ERR_CREDENTIALS') return false
  return !(error instanceof OssServiceError && sendsOnce && error.status < 500)
}

/** OSS did not receive the whole body in time (OSS, "Error codes"). */
const CUT_BODY: ReadonlySet<string> = new Set(['RequestTimeout', 'IncompleteBody'])

/** Whether the connection broke, or the time was up, while the body was leaving: a shorter one may get through. */
export function isBodyCut({ code, isBodyCut }: OssError): boolean {
  return isBodyCut || CUT_BODY.has(code)
}

/** The code of what broke the connection, as it came; `''` if it has none. */
function systemCode(cause: unknown): string {
  const code = (cause as { code?: unknown } | undefined)?.code
  return typeof code === 'string' ? code : ''
}
