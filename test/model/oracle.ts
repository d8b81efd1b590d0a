/**
 * Judges a run after its end. The oracle knows the specification (what may follow a response) and the facts
 * (the object, the responses). It does not know how the stream works.
 */

import { createHash } from 'node:crypto'
import { OssConflictError, OssError, OssServiceError } from '../../lib/index.ts'
import type { RequestRecord } from '../../lib/server/index.ts'
import { BUCKET } from '../helpers/test-oss.ts'
import { LANDED_UNCONFIRMED, TRANSIENT, WRONG_ACKNOWLEDGEMENTS } from './faults.ts'
import { crcOf, KEY, type Snapshot, type StreamObserver } from './stream-observer.ts'

/** Adds a complaint to the observer for each violation. @param final The object after all late appends. */
export function checkRun(observer: StreamObserver, final: Snapshot): void {
  checkEnding(observer)
  checkObject(observer, final)
  checkUnresolved(observer, final)
  checkFlushes(observer)
  checkRequests(observer)
  checkRetries(observer)
}

/** The stream ends once, and as the specification allows. */
function checkEnding(observer: StreamObserver): void {
  const { error, isFinished, scenario, stream } = observer
  observer.check(observer.isClosed, 'closed')
  if (isFinished) {
    // A stream misses a final response only if its attempt timed out before.
    // In a chain the response to a follower is missed when an attempt before it has failed, and a later
    // success proves an attempt whose response was wrong.
    const missed =
      scenario.pipelining > 1
        ? observer.retries.length + observer.appends.filter(each => each.reconciled).length
        : countRetries(observer, 'OSS_ERR_TIMEOUT')
    const finals = observer.requests.flatMap(each => finalCode(observer, each) ?? [])
    observer.check(finals.length <= missed, `finished against ${finals}`)
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
  observer.check(!stream.writableEnded || isDelivered, 'ended without delivery and without error')
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

/** A complaint about the error that ended the stream. Undefined if the specification allows it. */
function explainUnexpected(observer: StreamObserver, error: Error): string | undefined {
  const { scenario, opened, acknowledged, objectAtEnd, retriesSinceProgress } = observer
  const code = codeOf(error)
  if (error.message === 'the source failed') {
    return scenario.steps.some(step => step.do === 'end' && step.how === 'source fails')
      ? undefined
      : 'the source did not fail'
  }
  if (error.message === 'destroyed by the user' || code === 'ABORT_ERR') {
    return isStopped(observer) ? undefined : 'the test did not stop it'
  }
  if (!(error instanceof OssError)) return 'not an OssError'
  if (error.bucket !== BUCKET || error.key !== KEY)
    return 'bucket and key are not those of the object'
  const tail = opened && opened.position + acknowledged
  if (error.tail?.position !== tail) return `its tail is ${error.tail?.position}, not ${tail}`
  if (code === 'OSS_ERR_ABORTED')
    return isStopped(observer) ? undefined : 'the test did not stop it'
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
      if (countedRetries(observer) !== scenario.maxRetries)
        return `after ${countedRetries(observer)} retries`
      return isTransient(error.cause) ? undefined : `by ${codeOf(error.cause)}`
    case 'OSS_ERR_BODY_REFUSED': {
      const record = observer.requests.findLast(each => each.operation === 'append')
      return record && finalCode(observer, record) === code
        ? undefined
        : 'a shorter one was possible'
    }
    case 'OSS_ERR_OBJECT_REPLACED':
      if (hasStruck(observer, 'HEAD stale')) return undefined
      // The stream was to begin behind the end of the object, or where a deleted one had ended.
      if (tail === undefined && (scenario.position === 'wrong' || hasStruck(observer, 'deleted'))) {
        return undefined
      }
      // A late append may have made the object as long again.
      if (hasStruck(observer, 'deleted') && hasStruck(observer, 'late')) return undefined
      return objectAtEnd && objectAtEnd.bytes.length < (tail ?? 0)
        ? undefined
        : 'the object is not shorter'
    case 'OSS_ERR_INTEGRITY':
      return wasToldFalsely(observer) || isOtherObject(observer)
        ? undefined
        : 'the object is as it should be'
  }
  return error instanceof OssServiceError ? explainRefusal(observer, error) : 'not specified'
}

/** A complaint if the object is ours, up to any byte of the batch: that is no conflict. */
function explainConflict(observer: StreamObserver, error: OssConflictError): string | undefined {
  const { opened, acknowledged, objectAtEnd, scenario } = observer
  const { before, after, seen } = error
  if (!objectAtEnd) return 'there is no snapshot of the object'
  if (!opened) {
    const isConflict = scenario.position !== 'end' && objectAtEnd.bytes.length !== before.position
    return isConflict || hasWrongAcknowledgement(observer)
      ? undefined
      : 'the object had the expected length'
  }
  const tail = opened.position + acknowledged
  if (before.position !== tail) return `before is ${before.position}, the tail ${tail}`
  if (wasToldWrongTail(observer) || hasStruck(observer, 'HEAD stale')) return undefined
  // Late bytes arrived after the HEAD.
  const isLate = hasStruck(observer, 'late')
  const bytes = isLate ? objectAtEnd.bytes.subarray(0, seen.position) : objectAtEnd.bytes
  if (seen.position !== bytes.length) return `seen ${seen.position}, it has ${bytes.length} bytes`
  if (seen.crc64 !== undefined && seen.crc64 !== crcOf(bytes)) return 'seen with another CRC'
  const batch = after.position - tail
  const length = bytes.length - tail
  // Each byte is a record, so any first part of the batch is a possible attempt.
  const isAttempt =
    batch > 0 && length >= 0 && length <= scenario.pipelining * scenario.highWaterMark
  return isAttempt && opened.isAccurate && bytes.equals(observer.expected(acknowledged + length))
    ? `the object holds exactly our bytes, ${length} of ${batch} of the batch`
    : undefined
}

/** A complaint unless the error is the last response of OSS, and final. */
function explainRefusal(observer: StreamObserver, error: OssServiceError): string | undefined {
  const { requests, scenario, objectAtEnd } = observer
  const record = requests.find(each => each.requestId === error.requestId)
  if (!record) return 'no response has its request id'
  const responses = requests.filter(each => each.status !== undefined)
  // Followers of the refused attempt may have a response too.
  if (record !== responses.at(-1) && scenario.pipelining === 1) return 'it is not the last response'
  if (record.operation === 'head' && record.status === 200) {
    const state = objectAtEnd?.state
    if (error.code === 'ObjectNotAppendable') {
      return state?.type === 'Normal' ? undefined : 'it is appendable'
    }
    return state?.sealedTime === undefined ? 'it is not sealed' : undefined
  }
  if (record.status !== error.status)
    return `status ${error.status}, the response has ${record.status}`
  if (record.operation !== 'head' && record.code !== error.code)
    return `the response has ${record.code}`
  const repeated = repetitions(observer, record)
  // The stream refreshes as often as the code allows, or as often as maxRetries allows.
  if (REFRESHABLE_CODES.includes(error.code) && countedRetries(observer) === scenario.maxRetries)
    return undefined
  switch (error.code) {
    case 'InvalidDigest':
      return repeated > 2 ? undefined : `after ${repeated}`
    case 'RequestTimeTooSkewed':
      return repeated > 1 ? undefined : `after ${repeated}`
    case 'SecurityTokenExpired':
      return repeated > 1 || scenario.credentials === 'fixed' ? undefined : `after ${repeated}`
  }
  const final = finalCode(observer, record)
  if (record.operation === 'head') return final ? undefined : 'it is not final'
  return final === error.code ? undefined : 'it is not final'
}

/** Retries since the last progress. One after a 413 is not counted: it is shorter, and made at once. */
function countedRetries({ retries, retriesSinceProgress }: StreamObserver): number {
  const latest = retries.slice(retries.length - retriesSinceProgress)
  return latest.filter(({ error }) => error.status !== 413).length
}

/** The number of responses with this code since the last progress. */
function repetitions(observer: StreamObserver, { code }: RequestRecord): number {
  const retries = observer.retries.slice(observer.retries.length - observer.retriesSinceProgress)
  return retries.filter(({ error }) => codeOf(error) === code).length + 1
}

/** The code with which the stream has to end after this response. Undefined if it may go on. */
function finalCode({ scenario }: StreamObserver, record: RequestRecord): string | undefined {
  const { operation, status, code, faults = [] } = record
  if (faults.includes('body limit')) {
    return lengthOf(record) > scenario.attemptFloor ? undefined : 'OSS_ERR_BODY_REFUSED'
  }
  if (status === undefined || faults.some(name => /html|no request id/.test(name))) return undefined
  if (status < 300) {
    const isWrongAcknowledgement =
      operation === 'append' && faults.some(name => Object.hasOwn(WRONG_ACKNOWLEDGEMENTS, name))
    return isWrongAcknowledgement ? 'OSS_ERR_INTEGRITY' : undefined
  }
  if (status === 408 || status === 429 || (status >= 500 && status !== 501)) return undefined
  // Where HEAD is forbidden the stream uses empty appends. A missing object is no failure.
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

/** The object holds the acknowledged bytes, and at most one more batch of ours after them. */
function checkObject(observer: StreamObserver, final: Snapshot): void {
  const { opened, acknowledged, scenario } = observer
  if (!opened?.isAccurate) {
    observer.check(acknowledged === 0, 'acknowledged after a wrong tail')
    return
  }
  const expected = observer.expected(acknowledged)
  if (!hasStruck(observer, 'deleted') && !hasStruck(observer, 'replaced')) {
    const prefix = final.bytes.subarray(0, expected.length)
    observer.check(prefix.equals(expected), 'the acknowledged prefix is byte-identical')
  }
  const rest = final.bytes.subarray(expected.length)
  const length = rest.findLastIndex(isOurs) + 1
  const most = scenario.pipelining * scenario.highWaterMark
  observer.check(length <= most, `${length} bytes of ours after the tail`)
  if (scenario.pipelining > 1 && ['rival', 'replaced'].some(name => hasStruck(observer, name))) {
    // A follower landed behind the bytes of another writer.
    const ours = observer.source.subarray(acknowledged, acknowledged + most)
    // Foreign bytes may be between them, in the place of a batch.
    const parts = rest.toString('latin1').split(/[^\x80-\xff]+/)
    const areOurs = parts.every(part => ours.includes(part, 'latin1'))
    observer.check(areOurs, 'the bytes after the tail are not ours')
    return
  }
  const batch = observer.source.subarray(acknowledged, acknowledged + length)
  const damaged = rest.subarray(0, length).filter((byte, i) => byte !== batch[i]).length
  const allowed = hasStruck(observer, 'corrupted') ? 1 : 0
  observer.check(damaged <= allowed, 'the bytes after the tail are not our next batch')
  if (!observer.isFinished || hasStruck(observer, 'replaced') || hasStruck(observer, 'deleted'))
    return
  const isCreator = scenario.existing === 'absent' && opened.position === 0
  const { headers } = final.state?.attributes ?? { headers: {} as Record<string, string> }
  const hasHeaders = headers['x-oss-meta-seed'] === String(scenario.seed)
  observer.check(hasHeaders === isCreator, 'the object has our creation headers if we created it')
}

function isTimeout({ cause }: Error): boolean {
  return (cause as { code?: unknown } | undefined)?.code === 'OSS_ERR_TIMEOUT'
}

function isOurs(byte: number): boolean {
  return byte >= 0x80
}

/** `unresolved` is the longest attempt in doubt. It must be set if its bytes are in the object or may arrive. */
function checkUnresolved(observer: StreamObserver, final: Snapshot): void {
  const { opened, acknowledged } = observer
  const error = errorWithTail(observer)
  if (!error || !opened) return
  const tail = opened.position + acknowledged
  const hasLanded = final.bytes.subarray(tail).some(isOurs)
  const { unresolved } = error
  if (!unresolved) {
    observer.check(!hasLanded, 'not unresolved, and the object has bytes of the batch')
    return
  }
  observer.check(unresolved.position === tail, `unresolved at ${unresolved.position}`)
  const inChain = chainedAppends(observer, tail)
  const attempts = inChain.filter(({ length }) => length === unresolved.length)
  // A stream that was stopped, or timed out on a busy machine, may not have sent its attempt. A server does
  // not receive what is sent to a closed connection.
  // Nor does it receive the followers of a head that failed.
  const isInChain =
    observer.scenario.pipelining > 1 &&
    unresolved.length <= observer.scenario.pipelining * observer.scenario.highWaterMark
  const isUnsent =
    isInChain ||
    isStopped(observer) ||
    isTimeout(error) ||
    ['refused', 'closed silently'].some(name => hasStruck(observer, name))
  const isKnown = attempts.length > 0 || isUnsent
  observer.check(isKnown, `unresolved ${unresolved.length}: no such batch`)
  const rest = final.bytes.subarray(tail)
  const length = rest.findLastIndex(isOurs) + 1
  const lengths = [0, unresolved.length, ...inChain.map(each => each.length)]
  // The server records no attempt that it has not read to its end when the stream is stopped.
  const isAttempt = length <= unresolved.length && (isUnsent || lengths.includes(length))
  observer.check(
    isAttempt || hasStruck(observer, 'corrupted'),
    `unresolved ${unresolved.length}, ${length} are in the object`,
  )
  // A 409 says that the object ends at another position, which may be after our bytes.
  const isRefused = ({ outcome, status, code, faults = [] }: RequestRecord) =>
    outcome !== undefined &&
    outcome >= 400 &&
    outcome === status &&
    code !== 'PositionNotEqualToLength' &&
    !faults.includes('body limit')
  const isClear =
    attempts.length > 0 && !isStopped(observer) && attempts.every(({ record }) => isRefused(record))
  // A response without a request id is not of OSS and proves nothing.
  // A refusal in a chain proves nothing.
  const isUnproven =
    observer.scenario.pipelining > 1 ||
    hasStruck(observer, 'no request id') ||
    observer.retries.some(({ error }) => !(error instanceof OssServiceError))
  observer.check(!isClear || isUnproven, 'unresolved, and OSS refused every attempt')
}

/** The error with the batch in doubt: that of the stream, or that of a flush if the user destroyed the stream. */
function errorWithTail({ error, flushes, isFinished }: StreamObserver): OssError | undefined {
  if (isFinished) return undefined
  const candidates = [error, ...flushes.map(flush => flush.error)]
  const hasTail = (each: unknown): each is OssError =>
    each instanceof OssError && (each.tail !== undefined || each === error)
  return candidates.find(hasTail)
}

/** The attempts from `position` on, each with the length up to its end. */
function chainedAppends(observer: StreamObserver, position: number) {
  const { requests, scenario } = observer
  if (scenario.pipelining === 1) return appendsAt(observer, position)
  return requests
    .filter(each => each.operation === 'append' && (each.position ?? 0) >= position)
    .map(record => ({ record, length: record.position! + lengthOf(record) - position }))
}

function appendsAt({ requests }: StreamObserver, position: number) {
  return requests
    .filter(each => each.operation === 'append' && each.position === position)
    .map(record => ({ record, length: lengthOf(record) }))
}

function lengthOf({ headers }: RequestRecord): number {
  return Number(headers['content-length'])
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

/** Appends never go back, and each is the next part of the source. Those at 0 have the creation headers. */
function checkRequests(observer: StreamObserver): void {
  const { requests } = observer
  const appends = requests.filter(each => each.operation === 'append')
  for (const { headers, position } of appends) {
    const creation = ['x-oss-meta-seed', 'content-type'].filter(name => headers[name] !== undefined)
    const expected = position === 0 ? 2 : 0
    observer.check(
      creation.length === expected,
      `${creation.length} creation headers at ${position}`,
    )
  }
  const real = appends.filter(record => lengthOf(record) > 0)
  const { opened, source, scenario } = observer
  let last = 0
  for (const record of real) {
    const { position = -1, headers } = record
    const length = lengthOf(record)
    observer.check(length <= scenario.highWaterMark, `an append of ${length} bytes`)
    const md5 = headers['content-md5']
    observer.check((md5 !== undefined) === scenario.contentMd5, 'Content-MD5 as the option says')
    const start = position - (opened?.position ?? 0)
    const ours = source.subarray(start, start + length)
    const isOurs = md5 === undefined || md5 === createHash('md5').update(ours).digest('base64')
    observer.check(isOurs, `other bytes were sent to ${position}`)
    // A head that failed is sent again behind its followers.
    const isInOrder = position >= last || scenario.pipelining > 1
    observer.check(isInOrder, `an append at ${position} after one at ${last}`)
    last = position
  }
  checkRefusedLengths(observer, real)
}

/** A length that was refused with 413 is never tried again, nor is a longer one. */
function checkRefusedLengths(observer: StreamObserver, appends: readonly RequestRecord[]): void {
  // A stream does not know of a 413 that came too late.
  if (countRetries(observer, 'OSS_ERR_TIMEOUT') > 0) return
  // Nor of one that was lost because a follower was being sent to the connection that closed.
  if (observer.scenario.pipelining > 1) return
  let least = Infinity
  for (const record of appends) {
    const length = lengthOf(record)
    observer.check(length < least, `${length} bytes were sent, and ${least} were refused with 413`)
    if (record.faults?.includes('body limit')) least = Math.min(least, length)
  }
}

/** Attempts of several lengths for one position. */
export interface AttemptLengths {
  /** Positions with two lengths, and with more. */
  readonly two: number
  readonly more: number
  /** The lengths that landed though their responses were lost, or came late. */
  readonly landed: Readonly<Record<'longest' | 'middle' | 'shortest', number>>
  readonly late: Readonly<Record<'longest' | 'middle' | 'shortest', number>>
  /** Timeouts on a slow link. */
  readonly slowTimeouts: number
}

export function attemptLengths(observer: StreamObserver): AttemptLengths {
  const { requests, appends } = observer
  const landed = { longest: 0, middle: 0, shortest: 0 }
  const late = { longest: 0, middle: 0, shortest: 0 }
  const lengthsAt = (position: number | undefined) =>
    new Set(position === undefined ? [] : appendsAt(observer, position).map(each => each.length))
  const positions = new Set(requests.map(each => each.position))
  const counts = [...positions].map(position => lengthsAt(position).size)
  for (const { position, length, reconciled: isReconciled } of appends) {
    const lengths = [...lengthsAt(position)]
    if (!isReconciled || lengths.length < 2) continue
    const which =
      length === Math.max(...lengths)
        ? 'longest'
        : length === Math.min(...lengths)
          ? 'shortest'
          : 'middle'
    landed[which] += 1
    const isLate = appendsAt(observer, position).some(
      each => each.length === length && each.record.faults?.some(name => name.startsWith('late')),
    )
    if (isLate) late[which] += 1
  }
  const isSlow = hasStruck(observer, 'slow link')
  return {
    two: counts.filter(count => count === 2).length,
    more: counts.filter(count => count > 2).length,
    landed,
    late,
    slowTimeouts: isSlow ? countRetries(observer, 'OSS_ERR_TIMEOUT') : 0,
  }
}

/** Every retry has a cause: a response, or a fault that lost the response. */
function checkRetries(observer: StreamObserver): void {
  const { retries, requests } = observer
  for (const { error } of retries) {
    if (!(error instanceof OssServiceError)) continue
    const record = requests.find(each => each.requestId === error.requestId)
    observer.check(
      record?.status === error.status,
      `retry after ${error.code}, which was no response`,
    )
    const isFinal = record !== undefined && finalCode(observer, record) !== undefined
    observer.check(!isFinal, `retry after ${error.code}, which is final`)
  }
  const unexpectedSkews = requests.filter(({ code, faults = [] }) => {
    return code === 'RequestTimeTooSkewed' && !faults.some(name => name.includes('skewed'))
  })
  // A request that timed out may arrive after the clock has changed.
  // So may a follower, which was signed before the correction.
  const chained = observer.scenario.pipelining - 1
  const late = countRetries(observer, 'OSS_ERR_TIMEOUT') + chained * observer.retries.length
  observer.check(unexpectedSkews.length <= late, 'the clock was wrong again after a correction')
  if (hasStruck(observer, 'refused')) return
  const broken = countRetries(observer, 'OSS_ERR_NETWORK')
  const reasons = requests.filter(({ faults = [] }) => {
    // A follower was being sent to the connection that closed.
    const isChainCut = chained > 0 && faults.includes('closed by header')
    return isChainCut || faults.some(isBreaking)
  }).length
  observer.check(broken <= reasons, `${broken} network errors, ${reasons} reasons`)
}

/** A fault that loses the response of OSS. */
function isBreaking(name: string): boolean {
  const bare = name.replace(/^\w+: /, '')
  const isLost = Object.hasOwn(TRANSIENT, bare) || Object.hasOwn(LANDED_UNCONFIRMED, bare)
  return (
    (isLost && !/status|throttled/.test(bare)) ||
    // An append of no bytes asks for nothing but the CRC.
    name === 'probe: no CRC' ||
    /closed silently|rival after|without its header|nothing stored|body limit/.test(bare)
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

/** Whether a fault whose name begins with `name` struck, on any operation. */
function hasStruck({ server }: StreamObserver, name: string): boolean {
  return Object.keys(server.faults.fired).some(each => each.replace(/^\w+: /, '').startsWith(name))
}

/** A response had a wrong tail. */
function hasWrongAcknowledgement(observer: StreamObserver): boolean {
  return Object.keys(WRONG_ACKNOWLEDGEMENTS).some(name => hasStruck(observer, name))
}

/** The response to a HEAD, to an empty append or of a 409 had a wrong tail. */
function wasToldWrongTail({ requests }: StreamObserver): boolean {
  return requests.some(({ operation, status, headers, faults = [] }) => {
    const hasTail = operation === 'head' || status === 409 || headers['content-length'] === '0'
    return (
      hasTail &&
      faults.some(name => Object.hasOwn(WRONG_ACKNOWLEDGEMENTS, name.replace(/^\w+: /, '')))
    )
  })
}

function wasToldFalsely(observer: StreamObserver): boolean {
  const isAbsurd = hasStruck(observer, 'no position') || hasStruck(observer, 'absurd position')
  return hasWrongAcknowledgement(observer) || isAbsurd || observer.opened?.isAccurate === false
}

/** The object differs from ours: it is another one, or a byte is damaged. */
function isOtherObject(observer: StreamObserver): boolean {
  const { objectAtEnd, source } = observer
  const expected = observer.expected(source.length)
  const { bytes } = objectAtEnd ?? { bytes: Buffer.alloc(0) }
  return !bytes.equals(expected.subarray(0, bytes.length))
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code)
}
