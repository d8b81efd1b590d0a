/**
 * Judges a run that is over. It knows the specification (what may follow from which answer) and the
 * truth (what is in the object, what was answered), and nothing of how the stream works.
 */

import { OssConflictError, OssError, OssServiceError } from '../../lib/index.ts'
import type { RequestRecord } from '../../lib/server/index.ts'
import { BUCKET } from '../helpers/test-oss.ts'
import { LANDED_UNCONFIRMED, TRANSIENT, WRONG_ACKNOWLEDGEMENTS } from './faults.ts'
import { crcOf, KEY, type Snapshot, type StreamObserver } from './stream-observer.ts'

/** Complains, to the witness, of all that is not as specified. `final`: the object as it stays. */
export function checkRun(observer: StreamObserver, final: Snapshot): void {
  checkEnding(observer)
  checkObject(observer, final)
  checkUnresolved(observer, final)
  checkFlushes(observer)
  checkRequests(observer)
  checkRetries(observer)
}

/** Exactly one ending, and one that the specification allows. */
function checkEnding(observer: StreamObserver): void {
  const { error, isFinished, scenario, stream } = observer
  observer.check(observer.isClosed, 'closed')
  if (isFinished) {
    // A final answer can be missed only by an attempt that was given up before it came.
    const missed = countRetries(observer, 'OSS_ERR_TIMEOUT')
    const finals = observer.requests.filter(each => finalCode(each) !== undefined)
    observer.check(finals.length <= missed, `finished against ${finals.map(finalCode)}`)
    return
  }
  if (error) {
    const complaint = explainUnexpected(observer, error)
    observer.check(complaint === undefined, `${codeOf(error)}: ${complaint}`)
    recordVerdict(observer, error)
    return
  }
  observer.check(isStopped(observer), 'closed without finish and without error')
  if (scenario.stop) observer.verdicts.push({ verdict: 'aborted', isLast: observer.isLast })
  const isDelivered = observer.acknowledged === observer.written
  observer.check(!stream.writableEnded || isDelivered, 'ended, undelivered, and no error')
}

function isStopped({ scenario, transcript }: StreamObserver): boolean {
  return scenario.stop !== undefined && transcript.includes(scenario.stop.by)
}

function recordVerdict(observer: StreamObserver, error: Error): void {
  const { isLast, verdicts } = observer
  if (error instanceof OssConflictError) verdicts.push({ verdict: 'conflict', isLast })
  const names = {
    OSS_ERR_OBJECT_REPLACED: 'replaced',
    OSS_ERR_INTEGRITY: 'integrity',
    OSS_ERR_ABORTED: 'aborted',
    ABORT_ERR: 'aborted',
  } as const
  const verdict = names[codeOf(error) as keyof typeof names]
  if (verdict) verdicts.push({ verdict, isLast })
  if (error.message === 'destroyed by the user') verdicts.push({ verdict: 'aborted', isLast })
}

/** Why this error should not have come; undefined: it is what the specification says. */
function explainUnexpected(observer: StreamObserver, error: Error): string | undefined {
  const { scenario, opened, acknowledged, objectAtEnd, retriesSinceProgress } = observer
  const code = codeOf(error)
  if (error.message === 'the source failed') {
    return scenario.steps.some(step => step.do === 'end' && step.how === 'source fails')
      ? undefined
      : 'the source did not fail'
  }
  if (error.message === 'destroyed by the user' || code === 'ABORT_ERR') {
    return isStopped(observer) ? undefined : 'nobody stopped it'
  }
  if (!(error instanceof OssError)) return 'not an error of ours'
  if (error.bucket !== BUCKET || error.key !== KEY) return 'does not say which object'
  const tail = opened && opened.position + acknowledged
  if (error.tail?.position !== tail) return `its tail is ${error.tail?.position}, not ${tail}`
  if (code === 'OSS_ERR_ABORTED') return isStopped(observer) ? undefined : 'nobody stopped it'
  if (code === 'OSS_ERR_OBJECT_FULL') {
    const { maxObjectBytes = Infinity } = scenario
    const end = (opened?.position ?? 0) + observer.source.length
    return end > maxObjectBytes ? undefined : 'it was not full'
  }
  if (error.attempts !== retriesSinceProgress + 1)
    return `${error.attempts} attempts, and ${retriesSinceProgress} retries`
  if (error instanceof OssConflictError) return explainConflict(observer, error)
  switch (code) {
    case 'OSS_ERR_RETRIES_EXHAUSTED':
      if (retriesSinceProgress !== scenario.maxRetries)
        return `after ${retriesSinceProgress} retries`
      return isTransient(error.cause) ? undefined : `by ${codeOf(error.cause)}`
    case 'OSS_ERR_OBJECT_REPLACED':
      if (hasStruck(observer, 'HEAD stale')) return undefined
      // An append that was late may have made it as long again.
      if (hasStruck(observer, 'deleted') && hasStruck(observer, 'late')) return undefined
      return objectAtEnd && objectAtEnd.bytes.length < (tail ?? 0)
        ? undefined
        : 'it is still that long'
    case 'OSS_ERR_INTEGRITY':
      return wasToldFalsely(observer) || isOtherObject(observer)
        ? undefined
        : 'the object is as it should be'
  }
  return error instanceof OssServiceError ? explainRefusal(observer, error) : 'not specified'
}

/** A conflict has to be one: the object is neither what it was before the batch nor what it was to be. */
function explainConflict(observer: StreamObserver, error: OssConflictError): string | undefined {
  const { opened, acknowledged, objectAtEnd, scenario } = observer
  const { before, after, seen } = error
  if (!objectAtEnd) return 'no object was looked at'
  if (!opened) {
    const isConflict = scenario.position !== 'end' && objectAtEnd.bytes.length !== before.position
    return isConflict || hasWrongAcknowledgement(observer)
      ? undefined
      : 'the object had the length that was asked for'
  }
  const tail = opened.position + acknowledged
  if (before.position !== tail) return `before is ${before.position}, the tail ${tail}`
  if (wasToldWrongTail(observer) || hasStruck(observer, 'HEAD stale')) return undefined
  // What was late came in after the look.
  const isLate = hasStruck(observer, 'late')
  const bytes = isLate ? objectAtEnd.bytes.subarray(0, seen.position) : objectAtEnd.bytes
  if (seen.position !== bytes.length) return `seen ${seen.position}, it has ${bytes.length} bytes`
  if (seen.crc64 !== undefined && seen.crc64 !== crcOf(bytes)) return 'seen with another CRC'
  const batch = after.position - tail
  for (const length of batch === 0 ? [] : [0, batch]) {
    const ours = observer.expected(acknowledged + length)
    if (opened.isAccurate && bytes.equals(ours))
      return `the object is exactly ours, ${length} of ${batch}`
  }
  return undefined
}

/** OSS refused: with that very answer, which was the last. */
function explainRefusal(observer: StreamObserver, error: OssServiceError): string | undefined {
  const { requests, scenario, objectAtEnd } = observer
  const record = requests.find(each => each.requestId === error.requestId)
  if (!record) return 'no such answer'
  const answers = requests.filter(each => each.status !== undefined)
  if (record !== answers.at(-1)) return 'it was not the last answer'
  if (record.operation === 'head' && record.status === 200) {
    const state = objectAtEnd?.state
    if (error.code === 'ObjectNotAppendable') {
      return state?.type === 'Normal' ? undefined : 'it is appendable'
    }
    return state?.sealedTime === undefined ? 'it is not sealed' : undefined
  }
  if (record.status !== error.status) return `status ${error.status}, answered ${record.status}`
  if (record.operation !== 'head' && record.code !== error.code) return `answered ${record.code}`
  const repeated = repetitions(observer, record)
  // Mended at once so often as its kind allows, or as all kinds together may.
  if (
    REFRESHABLE_CODES.includes(error.code) &&
    observer.retriesSinceProgress === scenario.maxRetries
  )
    return undefined
  switch (error.code) {
    case 'InvalidDigest':
      return repeated > 2 ? undefined : `after ${repeated}`
    case 'RequestTimeTooSkewed':
      return repeated > 1 ? undefined : `after ${repeated}`
    case 'SecurityTokenExpired':
      return repeated > 1 || scenario.credentials === 'fixed' ? undefined : `after ${repeated}`
  }
  if (record.operation === 'head') return finalCode(record) ? undefined : 'it is not final'
  return finalCode(record) === error.code ? undefined : 'it is not final'
}

/** How often the operation that failed was answered so, since the last progress. */
function repetitions(observer: StreamObserver, { code }: RequestRecord): number {
  const retries = observer.retries.slice(observer.retries.length - observer.retriesSinceProgress)
  return retries.filter(({ error }) => codeOf(error) === code).length + 1
}

/**
 * The code with which the stream has to end once this answer has come, by DESIGN's table of outcomes;
 * undefined: it may go on.
 */
function finalCode(record: RequestRecord): string | undefined {
  const { operation, status, code, faults = [] } = record
  if (status === undefined || faults.some(name => /html|no request id/.test(name))) return undefined
  if (status < 300) {
    const isWrongAcknowledgement =
      operation === 'append' && faults.some(name => Object.hasOwn(WRONG_ACKNOWLEDGEMENTS, name))
    return isWrongAcknowledgement ? 'OSS_ERR_INTEGRITY' : undefined
  }
  if (status === 408 || status === 429 || (status >= 500 && status !== 501)) return undefined
  // Without the right to read it asks by appends; an absent object is no failure.
  if (operation === 'head' && (status === 404 || status === 403)) return undefined
  if (REFRESHABLE_CODES.includes(code ?? '')) return undefined
  return code ?? 'BadErrorResponse'
}

const REFRESHABLE_CODES = [
  'PositionNotEqualToLength',
  'RequestTimeTooSkewed',
  'SecurityTokenExpired',
  'InvalidDigest',
]

/** Byte for byte: what is acknowledged is there, and nothing of ours but one batch at most behind it. */
function checkObject(observer: StreamObserver, final: Snapshot): void {
  const { opened, acknowledged, scenario } = observer
  if (!opened?.isAccurate) {
    observer.check(acknowledged === 0, 'acknowledged behind a tail that was not true')
    return
  }
  const expected = observer.expected(acknowledged)
  if (!hasStruck(observer, 'deleted') && !hasStruck(observer, 'replaced')) {
    const prefix = final.bytes.subarray(0, expected.length)
    observer.check(prefix.equals(expected), 'the acknowledged prefix is byte-identical')
  }
  const rest = final.bytes.subarray(expected.length)
  const length = rest.findLastIndex(isOurs) + 1
  observer.check(length <= scenario.highWaterMark, `${length} bytes of ours after the tail`)
  const batch = observer.source.subarray(acknowledged, acknowledged + length)
  const damaged = rest.subarray(0, length).filter((byte, i) => byte !== batch[i]).length
  const allowed = hasStruck(observer, 'corrupted') ? 1 : 0
  observer.check(damaged <= allowed, 'what is after the tail is not our next batch')
  if (!observer.isFinished || hasStruck(observer, 'replaced') || hasStruck(observer, 'deleted'))
    return
  const isCreator = scenario.existing === 'absent' && opened.position === 0
  const { headers } = final.state?.attributes ?? { headers: {} as Record<string, string> }
  const isMine = headers['x-oss-meta-seed'] === String(scenario.seed)
  observer.check(isMine === isCreator, 'creation headers are there if we created it')
}

function isTimeout({ cause }: Error): boolean {
  return (cause as { code?: unknown } | undefined)?.code === 'OSS_ERR_TIMEOUT'
}

function isOurs(byte: number): boolean {
  return byte >= 0x80
}

/** `unresolved` is the batch in doubt, and it is there whenever something of ours is or may come. */
function checkUnresolved(observer: StreamObserver, final: Snapshot): void {
  const { opened, acknowledged } = observer
  const error = errorWithTail(observer)
  if (!error || !opened) return
  const tail = opened.position + acknowledged
  const isIn = final.bytes.subarray(tail).some(isOurs)
  const { unresolved } = error
  if (!unresolved) {
    observer.check(!isIn, 'nothing is unresolved, and bytes of ours are in the object')
    return
  }
  observer.check(unresolved.position === tail, `unresolved at ${unresolved.position}`)
  const attempts = appendsAt(observer, tail).filter(({ length }) => length === unresolved.length)
  // Whoever was stopped, or waited too short for a busy machine, may not have come so far as to send; and
  // what is sent into a connection that has just been closed is not received.
  const isUnsent =
    isStopped(observer) ||
    isTimeout(error) ||
    ['refused', 'closed silently'].some(name => hasStruck(observer, name))
  const isKnown = attempts.length > 0 || isUnsent
  observer.check(isKnown, `unresolved ${unresolved.length}: no such batch`)
  const rest = final.bytes.subarray(tail)
  const length = rest.findLastIndex(isOurs) + 1
  const isWhole = length === 0 || length === unresolved.length || hasStruck(observer, 'corrupted')
  observer.check(isWhole, `unresolved ${unresolved.length}, ${length} are in the object`)
  // A 409 says that the object goes on elsewhere, perhaps behind our own bytes.
  const isRefused = ({ outcome, status, code }: RequestRecord) =>
    outcome !== undefined &&
    outcome >= 400 &&
    outcome === status &&
    code !== 'PositionNotEqualToLength'
  const isClear =
    attempts.length > 0 && !isStopped(observer) && attempts.every(({ record }) => isRefused(record))
  // What names no request is not OSS's word, and so proves nothing.
  const isUnheard =
    hasStruck(observer, 'no request id') ||
    observer.retries.some(({ error }) => !(error instanceof OssServiceError))
  observer.check(!isClear || isUnheard, 'unresolved, and every attempt was plainly refused')
}

/** The error that tells of the batch in doubt: the stream's, or what a flush was told instead of a user's own. */
function errorWithTail({ error, flushes, isFinished }: StreamObserver): OssError | undefined {
  if (isFinished) return undefined
  const candidates = [error, ...flushes.map(flush => flush.error)]
  const hasTail = (each: unknown): each is OssError =>
    each instanceof OssError && (each.tail !== undefined || each === error)
  return candidates.find(hasTail)
}

function appendsAt({ requests }: StreamObserver, position: number) {
  return requests
    .filter(each => each.operation === 'append' && each.position === position)
    .map(record => ({ record, length: Number(record.headers['content-length']) }))
}

function checkFlushes({ flushes, error, isFinished, complaints }: StreamObserver): void {
  for (const flush of flushes) {
    if (flush.outcome !== 'rejected') continue
    const { code } = (flush.error ?? {}) as { code?: string }
    if (isFinished) complaints.push(`flush rejected by ${code}, and the stream finished`)
    if (error && flush.error !== error)
      complaints.push(`flush rejected by ${code}, not by the error`)
    if (!(flush.error instanceof Error)) complaints.push('flush rejected by no error')
  }
}

/** On the wire: a resend is the same bytes at the same place, and creation headers belong to creation. */
function checkRequests(observer: StreamObserver): void {
  const { opened, requests } = observer
  const appends = requests.filter(each => each.operation === 'append')
  for (const { headers, position } of appends) {
    const creation = ['x-oss-meta-seed', 'content-type'].filter(name => headers[name] !== undefined)
    const isAllowed = position === 0 && !opened?.exists
    observer.check(creation.length === 0 || isAllowed, `creation headers sent at ${position}`)
  }
  const real = appends.filter(each => each.headers['content-length'] !== '0')
  const sent = new Map<number, string>()
  let last = 0
  for (const { position = -1, headers } of real) {
    const what = ['content-length', 'content-md5', 'x-oss-meta-seed'].map(name => headers[name])
    const before = sent.get(position) ?? what.join()
    observer.check(before === what.join(), `another batch was sent to ${position}`)
    sent.set(position, before)
    const hasMd5 = headers['content-md5'] !== undefined
    observer.check(hasMd5 === observer.scenario.contentMd5, 'Content-MD5 as the option says')
    observer.check(position >= last, `an append at ${position} after one at ${last}`)
    last = position
  }
}

/** Every retry has a reason: an answer that was given, or a fault that kept it. */
function checkRetries(observer: StreamObserver): void {
  const { retries, requests } = observer
  for (const { error } of retries) {
    if (!(error instanceof OssServiceError)) continue
    const record = requests.find(each => each.requestId === error.requestId)
    observer.check(record?.status === error.status, `retry for ${error.code}, which nobody said`)
    const isFinal = record !== undefined && finalCode(record) !== undefined
    observer.check(!isFinal, `retry after ${error.code}, which is final`)
  }
  const unexpectedSkews = requests.filter(({ code, faults = [] }) => {
    return code === 'RequestTimeTooSkewed' && !faults.some(name => name.includes('skewed'))
  })
  // One that was given up may arrive after the clock has jumped.
  const late = countRetries(observer, 'OSS_ERR_TIMEOUT')
  observer.check(unexpectedSkews.length <= late, 'a clock that had been set was wrong')
  if (hasStruck(observer, 'refused')) return
  const broken = countRetries(observer, 'OSS_ERR_NETWORK')
  const reasons = requests.filter(({ faults = [] }) => faults.some(isBreaking)).length
  observer.check(broken <= reasons, `${broken} network errors, ${reasons} reasons`)
}

/** A fault after which no answer of OSS is to be had. */
function isBreaking(name: string): boolean {
  const bare = name.replace(/^\w+: /, '')
  const isKept = Object.hasOwn(TRANSIENT, bare) || Object.hasOwn(LANDED_UNCONFIRMED, bare)
  return (
    (isKept && !/status|throttled/.test(bare)) ||
    /closed silently|rival after|without its header|nothing stored/.test(bare)
  )
}

function countRetries({ retries }: StreamObserver, code: string): number {
  return retries.filter(({ error }) => codeOf(error) === code).length
}

function isTransient(error: unknown): boolean {
  if (error instanceof OssServiceError) {
    const { status, code } = error
    const isServer = status >= 500 && status !== 501
    return isServer || status === 408 || status === 429 || code === 'PositionNotEqualToLength'
  }
  return ['OSS_ERR_TIMEOUT', 'OSS_ERR_NETWORK'].includes(codeOf(error))
}

/** Some fault of this name, or of names that begin so, has struck, on any kind of request. */
function hasStruck({ server }: StreamObserver, name: string): boolean {
  return Object.keys(server.faults.fired).some(each => each.replace(/^\w+: /, '').startsWith(name))
}

/** An answer said something of the tail that was not so. */
function hasWrongAcknowledgement(observer: StreamObserver): boolean {
  return Object.keys(WRONG_ACKNOWLEDGEMENTS).some(name => hasStruck(observer, name))
}

/** An answer that told the tail, a look's or a refusal's, told it wrongly. */
function wasToldWrongTail({ requests }: StreamObserver): boolean {
  return requests.some(({ operation, status, headers, faults = [] }) => {
    const isTelling = operation === 'head' || status === 409 || headers['content-length'] === '0'
    return (
      isTelling &&
      faults.some(name => Object.hasOwn(WRONG_ACKNOWLEDGEMENTS, name.replace(/^\w+: /, '')))
    )
  })
}

function wasToldFalsely(observer: StreamObserver): boolean {
  const isAbsurd = hasStruck(observer, 'no position') || hasStruck(observer, 'absurd position')
  return hasWrongAcknowledgement(observer) || isAbsurd || observer.opened?.isAccurate === false
}

/** The object is not ours: somebody else's, or ours with a damaged byte. */
function isOtherObject(observer: StreamObserver): boolean {
  const { objectAtEnd, source } = observer
  const expected = observer.expected(source.length)
  const { bytes } = objectAtEnd ?? { bytes: Buffer.alloc(0) }
  return !bytes.equals(expected.subarray(0, bytes.length))
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code)
}
