/**
 * The errors of streams and clients, and who makes them. A leaf: it imports nothing, so that each layer
 * may throw. (What only a logger can tell is in `outbox/undelivered.ts`.)
 *
 * Errors are told apart by `code`, never by message. Codes made by us begin with `OSS_ERR_`; an
 * error that OSS answered keeps OSS's own code (`AccessDenied`, `ObjectNotAppendable`, ...).
 * Secrets, signatures and raw bodies never get in here: whoever builds a message keeps them out.
 */

/**
 * The end of an object as known: its length in bytes and the CRC-64/XZ of all its bytes, an unsigned
 * decimal string. `crc64` is undefined only where nobody could tell it (a 409 names a length alone).
 */
export interface ObservedTail {
  /** Length of the object in bytes. */
  readonly position: number
  /** CRC-64 of all of it, an unsigned decimal string, where that is known. */
  readonly crc64?: string | undefined
}

/** The codes made by us. Anything else in `code` is OSS's own word. */
export const OSS_ERROR_CODES = [
  'OSS_ERR_INVALID_OPTION',
  'OSS_ERR_INTEGRITY',
  'OSS_ERR_OBJECT_REPLACED',
  'OSS_ERR_OBJECT_FULL',
  'OSS_ERR_RECORD_TOO_LARGE',
  'OSS_ERR_RESUME_MISMATCH',
  'OSS_ERR_RETRIES_EXHAUSTED',
  'OSS_ERR_CREDENTIALS',
  'OSS_ERR_ABORTED',
  'OSS_ERR_TIMEOUT',
  'OSS_ERR_NETWORK',
] as const

/** A `code` of ours; README says for each what to do. */
export type OssErrorCode = (typeof OSS_ERROR_CODES)[number]

/** What an error says beside code and message. */
export interface OssErrorDetails {
  /** Default: none; a stream adds its own. */
  readonly bucket?: string | undefined
  /** Default: none; a stream adds its own. */
  readonly key?: string | undefined
  /** Default: none. */
  readonly requestId?: string | undefined
  /** See {@link OssError.isRefreshable}. Default false. */
  readonly isRefreshable?: boolean | undefined
  /** The error behind this one. */
  readonly cause?: unknown
}

/** The base of all our errors. */
export class OssError extends Error {
  /** An {@link OssErrorCode}, or OSS's own word. Tells errors apart, as no message does. */
  readonly code: string
  /** Of the object concerned; undefined where no object is. */
  declare bucket?: string | undefined
  /** Of the object concerned; undefined where no object is. */
  declare key?: string | undefined
  /** `x-oss-request-id` of the reply that is at fault, which Alibaba's support asks for; undefined where none is. */
  declare readonly requestId?: string | undefined
  /** The acknowledged tail when the stream failed; undefined if it was never known. */
  declare tail?: ObservedTail | undefined
  /** How many attempts the failed operation took, from 1; undefined where nothing was attempted. */
  declare attempts?: number | undefined
  /**
   * The batch whose fate is unknown: some of its attempts may have landed, and nobody could tell, nor
   * whether the last one had left when it was cut.
   * Undefined means that no byte after `tail.position` is ours.
   */
  declare unresolved?: { readonly position: number; readonly length: number } | undefined
  /**
   * The same request may be accepted if it is made afresh (corrected clock, other credentials).
   * Says what the code alone does not: `SecurityTokenExpired` is curable with a provider, and
   * final with a fixed token. Not enumerable: it is the appender's business, not the reader's.
   */
  declare readonly isRefreshable: boolean

  /** For clients of your own, which throw these (see `Client`). No secret belongs into `message`. */
  constructor(code: string, message: string, details: OssErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    if (details.bucket !== undefined) this.bucket = details.bucket
    if (details.key !== undefined) this.key = details.key
    if (details.requestId !== undefined) this.requestId = details.requestId
    Object.defineProperty(this, 'isCurable', { value: details.isRefreshable ?? false })
  }
}

/** What OSS answered. */
export interface OssServiceErrorDetails extends OssErrorDetails {
  /** HTTP status. */
  readonly status: number
  /** `x-oss-request-id`. */
  readonly requestId: string
  /** `HostId` of the answer. */
  readonly hostId?: string | undefined
  /** OSS's finer error code. */
  readonly ec?: string | undefined
  /** `x-oss-next-append-position`: the object's length in bytes. A 409 `PositionNotEqualToLength` needs it. */
  readonly nextPosition?: number | undefined
}

/** OSS answered and refused. `code` is OSS's own. */
export class OssServiceError extends OssError {
  /** HTTP status. */
  readonly status: number
  /** `x-oss-request-id`: what Alibaba's support asks for. */
  declare readonly requestId: string
  /** `HostId` of the answer: the host that was asked, as OSS calls it. */
  declare readonly hostId?: string | undefined
  /** OSS's finer error code, for diagnosis only: it is not forward compatible. */
  declare readonly ec?: string | undefined
  /** The object's true length in bytes, which a 409 `PositionNotEqualToLength` tells in a header. */
  declare readonly nextPosition?: number | undefined

  /** For clients of your own; a 409 `PositionNotEqualToLength` needs `nextPosition`. */
  constructor(code: string, message: string, details: OssServiceErrorDetails) {
    super(code, message, details)
    this.status = details.status
    if (details.hostId !== undefined) this.hostId = details.hostId
    if (details.ec !== undefined) this.ec = details.ec
    if (details.nextPosition !== undefined) this.nextPosition = details.nextPosition
  }
}

const KEY_REFUSALS = new Set([
  'SecurityTokenExpired',
  'InvalidAccessKeyId',
  'InvalidSecurityToken',
  'AccessKeyIdAndSecurityTokenNotMatch',
])

/** OSS refuses the keys, which others may turn into an answer. */
export function isKeyRefusal(code: string | undefined): boolean {
  return code !== undefined && KEY_REFUSALS.has(code)
}

/** The three tails of a conflict. */
export interface OssConflictDetails extends OssErrorDetails {
  /** Ours before the batch. */
  readonly before: ObservedTail
  /** Ours if the batch had landed. */
  readonly after: ObservedTail
  /** What the object has. */
  readonly seen: ObservedTail
}

/** Somebody else wrote to the object: its tail is neither what we found nor what we made. */
export class OssConflictError extends OssError {
  /** OSS's own word for it. */
  declare readonly code: 'PositionNotEqualToLength'
  /** Our tail before the batch. */
  readonly before: ObservedTail
  /** Our tail if the batch had landed. */
  readonly after: ObservedTail
  /** The server's tail. */
  readonly seen: ObservedTail

  /** Made by streams. */
  constructor(message: string, details: OssConflictDetails) {
    super('PositionNotEqualToLength', message, details)
    this.before = details.before
    this.after = details.after
    this.seen = details.seen
  }
}

// On the prototype: an inspected error shows its name once, and no own property of that name.
for (const [type, name] of [
  [OssError, 'OssError'],
  [OssServiceError, 'OssServiceError'],
  [OssConflictError, 'OssConflictError'],
] as const) {
  Object.defineProperty(type.prototype, 'name', { value: name, configurable: true, writable: true })
}

/** The error for a wrong option; `option` is its dotted name as in the documentation. */
export function invalidOption(option: string, problem: string): OssError {
  return new OssError('OSS_ERR_INVALID_OPTION', `option ${option}: ${problem}`)
}

/** The object exists and takes no appends. */
export function notAppendable(
  { type, requestId }: { readonly type: string; readonly requestId: string },
  code: 'ObjectNotAppendable' | 'AppendSealedObjectNotAllowed',
): OssServiceError {
  const what = code === 'ObjectNotAppendable' ? `of type ${type}` : 'sealed'
  const message = `the object is ${what}: nothing can be appended to it`
  return new OssServiceError(code, message, { status: 409, requestId })
}

/** OSS acknowledged something else than what was sent. */
export function integrity(
  expected: ObservedTail,
  { position, crc64, requestId }: ObservedTail & { readonly requestId: string },
): OssError {
  const message =
    `OSS acknowledged the append with position ${position} and CRC-64 ${crc64 ?? 'unknown'}, ` +
    `not ${expected.position} and ${expected.crc64 ?? 'any'} (request ${requestId}): ` +
    'the object is not what was written'
  return new OssError('OSS_ERR_INTEGRITY', message, { requestId })
}

/** The object is shorter than what was acknowledged, or gone (`seen` is null). */
export function replaced(before: ObservedTail, seen: ObservedTail | null, cause: Error): OssError {
  const now = seen ? `ends at ${seen.position}` : 'is gone'
  const message = `the object ${now}, and we append at ${before.position}: it was deleted or replaced`
  return new OssError('OSS_ERR_OBJECT_REPLACED', message, { cause })
}

export function conflict(
  before: ObservedTail,
  after: ObservedTail,
  seen: ObservedTail,
  cause: Error,
): OssConflictError {
  const message =
    `somebody else wrote to the object: it ends at ${seen.position}, ` +
    `and we append at ${before.position}`
  return new OssConflictError(message, { before, after, seen, cause })
}

/** Nothing of the append was sent. */
export function objectFull(position: number, maxObjectBytes: number): OssError {
  const message = `the next append would end at ${position} bytes, and the object takes ${maxObjectBytes}`
  return new OssError('OSS_ERR_OBJECT_FULL', message)
}

/** Nothing of the record was sent. */
export function recordTooLarge(maxRecordBytes: number): OssError {
  const message = `the next record has more than the ${maxRecordBytes} bytes of maxRecordBytes`
  return new OssError('OSS_ERR_RECORD_TOO_LARGE', message)
}

/** The source, of which `length` bytes were compared, does not begin with the bytes of the object. */
export function resumeMismatch(tail: ObservedTail, length: number): OssError {
  const what =
    length < tail.position
      ? `the source ends after ${length} bytes, and the object has ${tail.position}`
      : `the first ${tail.position} bytes of the source are not those of the object`
  const message = `${what}: this is not what was being written to it, and nothing was sent`
  const error = new OssError('OSS_ERR_RESUME_MISMATCH', message)
  error.tail = tail
  return error
}

export function exhausted(cause: Error, attempts: number): OssError {
  const times = attempts === 1 ? '1 attempt' : `${attempts} attempts`
  const message = `gave up after ${times}: ${cause.message}`
  return new OssError('OSS_ERR_RETRIES_EXHAUSTED', message, { cause })
}
