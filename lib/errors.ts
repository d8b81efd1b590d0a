/**
 * The errors of streams and clients, and the functions that make them. A leaf: every layer may throw.
 *
 * Errors are told apart by `code`, never by message. Codes of this package begin with `OSS_ERR_`. An error
 * that OSS answered keeps OSS's own code (`AccessDenied`, `ObjectNotAppendable`, ...). No secret, signature
 * or raw body gets into an error: the code that builds a message keeps them out.
 */

/**
 * The end of an object, as one response showed it or as a stream computed it. `crc64` is undefined only where it is
 * not known: a 409 names a length alone.
 */
export interface ObservedTail {
  /** Length of the object in bytes. */
  readonly position: number
  /** CRC-64/XZ of all its bytes, an unsigned decimal string, where that is known. */
  readonly crc64?: string | undefined
}

/** The codes of this package. Any other `code` is OSS's own. */
export const OSS_ERROR_CODES = [
  'OSS_ERR_INVALID_OPTION',
  'OSS_ERR_INTEGRITY',
  'OSS_ERR_OBJECT_REPLACED',
  'OSS_ERR_OBJECT_FULL',
  'OSS_ERR_RECORD_TOO_LARGE',
  'OSS_ERR_INVALID_RECORD',
  'OSS_ERR_RESUME_MISMATCH',
  'OSS_ERR_RETRIES_EXHAUSTED',
  'OSS_ERR_CREDENTIALS',
  'OSS_ERR_ABORTED',
  'OSS_ERR_TIMEOUT',
  'OSS_ERR_NETWORK',
  'OSS_ERR_BODY_REFUSED',
  'OSS_ERR_CLIENT',
  'OSS_ERR_JOURNAL',
] as const

/** A code of this package; docs/errors.md says for each what to do. */
export type OssErrorCode = (typeof OSS_ERROR_CODES)[number]

/** What an error says beside code and message. Every member is optional and has no default. */
export interface OssErrorDetails {
  /** Bucket of the object concerned; a stream adds its own. */
  readonly bucket?: string | undefined
  /** Key of the object concerned; a stream adds its own. */
  readonly key?: string | undefined
  /** `x-oss-request-id` of the response at fault. */
  readonly requestId?: string | undefined
  /** See {@link OssError.tail}. */
  readonly tail?: ObservedTail | undefined
  /** See {@link OssError.attempts}. */
  readonly attempts?: number | undefined
  /** See {@link OssError.unresolved}. */
  readonly unresolved?: { readonly position: number; readonly length: number } | undefined
  /** See {@link OssError.status}. */
  readonly status?: number | undefined
  /** See {@link OssError.file}. */
  readonly file?: string | undefined
  /** See {@link OssError.offset}. */
  readonly offset?: number | undefined
  /** See {@link OssError.retryAfter}. */
  readonly retryAfter?: number | undefined
  /** See {@link OssError.isRefreshable}. */
  readonly isRefreshable?: boolean | undefined
  /** See {@link OssError.isUnsent}. */
  readonly isUnsent?: boolean | undefined
  /** See {@link OssError.isBodyCut}. */
  readonly isBodyCut?: boolean | undefined
  /** The error behind this one. */
  readonly cause?: unknown
}

/** The base of all errors of this package. */
export class OssError extends Error {
  /** An {@link OssErrorCode}, or a code of OSS. */
  readonly code: OssErrorCode | (string & {})
  /** Bucket of the object concerned; undefined where no object is. */
  declare readonly bucket?: string | undefined
  /** Key of the object concerned; undefined where no object is. */
  declare readonly key?: string | undefined
  /** `x-oss-request-id` of the response at fault, for Alibaba's support; undefined where none came. */
  declare readonly requestId?: string | undefined
  /** The acknowledged tail when the stream failed; undefined if it was never known. */
  declare readonly tail?: ObservedTail | undefined
  /** Attempts of the failed operation, from 1; undefined where nothing was attempted. */
  declare readonly attempts?: number | undefined
  /**
   * The bytes whose fate is unknown: an attempt may have stored them, or may store them yet. Undefined
   * means that no byte after `tail.position` is of this stream.
   */
  declare readonly unresolved?: { readonly position: number; readonly length: number } | undefined
  /** HTTP status of the response at fault; undefined where none came. */
  declare readonly status?: number | undefined
  /** Of `OSS_ERR_JOURNAL`: absolute path of the file or folder at fault. */
  declare readonly file?: string | undefined
  /** Of `OSS_ERR_JOURNAL`: offset of the damage in `file`, in bytes; undefined where nothing is damaged. */
  declare readonly offset?: number | undefined
  /** Milliseconds. What `Retry-After` of the response asks for; undefined where it asks for nothing. */
  declare readonly retryAfter?: number | undefined
  /**
   * The same request may be accepted if it is made afresh, with a corrected clock or new credentials. The
   * code alone does not tell: `SecurityTokenExpired` is refreshable with a provider, and final with a fixed
   * token. Not enumerable, as the next two: they are meant for the appender. Default false.
   */
  declare readonly isRefreshable: boolean
  /** No byte of the request has left this process, so it cannot have taken effect. Default false. */
  declare readonly isUnsent: boolean
  /** The connection broke while the body was leaving: a shorter body may get through. Default false. */
  declare readonly isBodyCut: boolean

  /** Clients of your own throw these (see `Client`). Keep secrets out of `message`. */
  constructor(code: OssErrorCode | (string & {}), message: string, details: OssErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    for (const name of CONTEXT) setKnown(this, name, details[name])
    for (const name of FACTS) Object.defineProperty(this, name, { value: details[name] ?? false })
  }
}

const CONTEXT = [
  'bucket',
  'key',
  'requestId',
  'tail',
  'attempts',
  'unresolved',
  'status',
  'file',
  'offset',
  'retryAfter',
] as const
const FACTS = ['isRefreshable', 'isUnsent', 'isBodyCut'] as const

/** Sets a member that is known. An undefined one would be printed by `util.inspect()`. */
function setKnown(error: object, name: string, value: unknown): void {
  if (value !== undefined) Object.assign(error, { [name]: value })
}

/** What a response of OSS that refuses a request says. */
export interface OssServiceErrorDetails extends OssErrorDetails {
  /** HTTP status. */
  readonly status: number
  /** `x-oss-request-id`. */
  readonly requestId: string
  /** `HostId` of the response. Default: none. */
  readonly hostId?: string | undefined
  /** OSS's finer error code. Default: none. */
  readonly ec?: string | undefined
  /** `x-oss-next-append-position`, in bytes. A 409 `PositionNotEqualToLength` needs it. Default: none. */
  readonly nextPosition?: number | undefined
}

/** OSS answered and refused. `code` is OSS's own. */
export class OssServiceError extends OssError {
  /** HTTP status. */
  declare readonly status: number
  /** `x-oss-request-id`, for Alibaba's support. */
  declare readonly requestId: string
  /** `HostId` of the response: OSS's name of the host that answered. */
  declare readonly hostId?: string | undefined
  /** OSS's finer error code, for diagnosis only: it is not forward compatible. */
  declare readonly ec?: string | undefined
  /** Length of the object in bytes, from the header of a 409 `PositionNotEqualToLength`. */
  declare readonly nextPosition?: number | undefined

  /** Clients of your own throw these; a 409 `PositionNotEqualToLength` needs `nextPosition`. */
  constructor(
    code: OssErrorCode | (string & {}),
    message: string,
    details: OssServiceErrorDetails,
  ) {
    super(code, message, details)
    for (const name of ['hostId', 'ec', 'nextPosition'] as const) {
      setKnown(this, name, details[name])
    }
  }
}

const KEY_REFUSALS = new Set([
  'SecurityTokenExpired',
  'InvalidAccessKeyId',
  'InvalidSecurityToken',
  'AccessKeyIdAndSecurityTokenNotMatch',
])

/** OSS refuses the keys; new ones may be accepted. */
export function isKeyRefusal(code: string | undefined): boolean {
  return code !== undefined && KEY_REFUSALS.has(code)
}

/** The three tails of a conflict. */
export interface OssConflictDetails extends OssErrorDetails {
  /** The stream's tail before the append. */
  readonly before: ObservedTail
  /** The stream's tail if the last attempt had landed. */
  readonly after: ObservedTail
  /** The object's tail. */
  readonly seen: ObservedTail
}

/** Another writer changed the object: its tail is not what the appends of this stream can have made. */
export class OssConflictError extends OssError {
  /** OSS's own code. */
  declare readonly code: 'PositionNotEqualToLength'
  /** The stream's tail before the append. */
  readonly before: ObservedTail
  /** The stream's tail if the last attempt had landed. */
  readonly after: ObservedTail
  /** The object's tail. */
  readonly seen: ObservedTail

  /** Made by streams. */
  constructor(message: string, details: OssConflictDetails) {
    super('PositionNotEqualToLength', message, details)
    this.before = details.before
    this.after = details.after
    this.seen = details.seen
  }
}

/**
 * Another writer's append came first, where `shared` allows that. Nothing of the attempt is in doubt, so the
 * next one starts at `seen`. The package does not export this: a caller sees it as a conflict, and only as
 * the cause of giving up.
 */
export class LostRace extends OssConflictError {}

// On the prototype: an inspected error shows its name once, and no own property of that name.
for (const [type, name] of [
  [OssError, 'OssError'],
  [OssServiceError, 'OssServiceError'],
  [OssConflictError, 'OssConflictError'],
] as const) {
  Object.defineProperty(type.prototype, 'name', { value: name, configurable: true, writable: true })
}

/** What an error is given on its way up. */
type ErrorContext = Pick<OssErrorDetails, 'bucket' | 'key' | 'tail' | 'attempts' | 'unresolved'>

/**
 * A copy of an error that says more: members of `context` that are known, and `hint` at the end of its
 * message. One failed call of a credentials provider rejects many streams with the same error, so an error
 * that was received is never changed. Anything but an OssError is returned as it is.
 */
export function withContext<E extends Error>(error: E, context: ErrorContext, hint = ''): E {
  if (!(error instanceof OssError)) return error
  const message = error.message + hint
  // A native error of the same class, which `util.inspect()` and `structuredClone()` know, without a run of
  // its constructor.
  const copy = Reflect.construct(Error, [message], error.constructor as typeof OssError) as E
  const { message: _, stack: __, ...own } = Object.getOwnPropertyDescriptors(error)
  Object.defineProperties(copy, own)
  // V8 15: `stack` is an accessor, so its descriptor cannot be used with another value.
  const value = error.stack?.replace(error.message, () => message)
  Object.defineProperty(copy, 'stack', { value, writable: true, configurable: true })
  for (const [name, value] of Object.entries(context)) setKnown(copy, name, value)
  return copy
}

/** The error of a wrong option; `option` is its dotted name as in the documentation. */
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

/** OSS acknowledged another tail than the append makes. */
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
export function replaced(before: ObservedTail, seen: ObservedTail | null, cause?: Error): OssError {
  const now = seen ? `ends at ${seen.position}` : 'is gone'
  const message =
    `the object ${now}, and the next append starts at ${before.position}: ` +
    'it was deleted or replaced'
  return new OssError('OSS_ERR_OBJECT_REPLACED', message, { cause })
}

export function conflict(
  before: ObservedTail,
  after: ObservedTail,
  seen: ObservedTail,
  cause?: Error,
): OssConflictError {
  return new OssConflictError(conflictMessage(before, seen), { before, after, seen, cause })
}

export function lostRace(
  before: ObservedTail,
  after: ObservedTail,
  seen: ObservedTail,
  cause: Error,
): LostRace {
  return new LostRace(conflictMessage(before, seen), { before, after, seen, cause })
}

function conflictMessage(before: ObservedTail, seen: ObservedTail): string {
  return (
    `another writer changed the object: it ends at ${seen.position}, ` +
    `and the next append starts at ${before.position}`
  )
}

/** The object cannot take the next append, of which nothing was sent. */
export function objectFull(position: number, maxObjectBytes: number): OssError {
  const message =
    `the next append would end at byte ${position}, ` +
    `and the object takes ${formatCount(maxObjectBytes, 'byte')}`
  return new OssError('OSS_ERR_OBJECT_FULL', message)
}

/** A record is too long, and nothing of it was sent. */
export function recordTooLarge(maxRecordBytes: number): OssError {
  const message = `the next record is longer than maxRecordBytes (${formatCount(maxRecordBytes, 'byte')})`
  return new OssError('OSS_ERR_RECORD_TOO_LARGE', message)
}

/** What `append()` was given is not one record. */
export function invalidRecord(problem: string): OssError {
  return new OssError('OSS_ERR_INVALID_RECORD', `the record for append(): ${problem}`)
}

/** The source, of which `length` bytes were compared, does not begin with the bytes of the object. */
export function resumeMismatch(tail: ObservedTail, length: number): OssError {
  const what =
    length < tail.position
      ? `the source ends after ${formatCount(length, 'byte')}, and the object has ${tail.position}`
      : `the first ${formatCount(tail.position, 'byte')} of the source are not those of the object`
  const message = `${what}: the object was written from another source, and nothing was sent`
  return new OssError('OSS_ERR_RESUME_MISMATCH', message, { tail })
}

/** OSS, or a server on the way, refuses bodies of the least length that an append can have. */
export function bodyRefused(length: number, cause: OssError): OssError {
  const message =
    `OSS or a server on the way to it refuses a body of ${formatCount(length, 'byte')} (HTTP 413), ` +
    'and an append cannot be shorter: raise the limit of that server'
  return new OssError('OSS_ERR_BODY_REFUSED', message, { cause, status: cause.status })
}

/**
 * What a client that is not of this package threw instead of an OssError. Its message may hold secrets in
 * any form, so only name and code are kept.
 */
export function clientFailure(thrown: unknown): OssError {
  const cause = nameAndCode(thrown)
  const message = `the client failed: ${cause.message}. A client must throw an OssError`
  return new OssError('OSS_ERR_CLIENT', message, { cause })
}

/** The journal cannot be used. `cause`: the error of the file system, if one is behind it. */
export function journalError(
  problem: string,
  details: { readonly file: string; readonly offset?: number; readonly cause?: unknown },
): OssError {
  const { file, offset } = details
  const place = offset === undefined ? file : `${file}, byte ${offset}`
  return new OssError('OSS_ERR_JOURNAL', `${problem} (${place})`, details)
}

/** An error of other code as one that may be kept: its name and its code, never its message. */
export function nameAndCode(thrown: unknown): Error & { readonly code?: string } {
  try {
    const { name, code } = Object(thrown) as { name?: unknown; code?: unknown }
    const isName = thrown instanceof Error && typeof name === 'string' && /^\w{1,64}$/.test(name)
    const word = isName ? name : 'no Error'
    if (typeof code !== 'string' || !/^[A-Z][A-Z0-9_]{1,63}$/.test(code)) return new Error(word)
    return Object.assign(new Error(`${word} ${code}`), { code })
  } catch {
    return new Error('no Error')
  }
}

export function exhausted(cause: Error, attempts: number): OssError {
  const message = `gave up after ${formatCount(attempts, 'attempt')}: ${cause.message}`
  return new OssError('OSS_ERR_RETRIES_EXHAUSTED', message, { cause })
}

/** `1 byte`, `2 bytes`. */
export function formatCount(count: number, singular: string, plural = `${singular}s`): string {
  return `${count} ${count === 1 ? singular : plural}`
}
