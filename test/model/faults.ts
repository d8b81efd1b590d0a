/**
 * The faults of the model test, by name. A name with two parts, such as `late by hang, lands after a look`,
 * counts for each part. The tables do not say what a fault may lead to: the oracle judges by the object and
 * the responses (oracle.ts).
 */

import type { Fault, FaultKind, FaultScope, Unanswered } from '../../lib/server/index.ts'
import type { Random } from '../helpers/random.ts'

type FaultFactory = (random: Random) => FaultKind

const UNANSWERED: Readonly<Record<string, Unanswered>> = {
  reset: 'reset',
  hang: 'hang',
  '500': 500,
}

function lost(): Record<string, FaultFactory> {
  const entries = Object.entries(UNANSWERED).map(([label, how]): [string, FaultFactory] => [
    `lost by ${label}`,
    () => ({ kind: 'lost', how }),
  ])
  return Object.fromEntries(entries)
}

function late(landing: string, lands: (random: Random) => 'beforeNext' | 'afterLook' | number) {
  const entries = Object.entries(UNANSWERED).map(([label, how]): [string, FaultFactory] => [
    `late by ${label}, lands ${landing}`,
    random => ({ kind: 'late', how, lands: lands(random) }),
  ])
  return Object.fromEntries(entries)
}

/** The batch landed, or lands before the next request, without a response that says so. The verdict is "landed". */
export const LANDED_UNCONFIRMED: Readonly<Record<string, FaultFactory>> = {
  ...lost(),
  ...late('before the next', () => 'beforeNext'),
  'status 500, committed': () => ({
    kind: 'status',
    status: 500,
    code: 'InternalError',
    commits: true,
  }),
  'html 502, committed': () => ({ kind: 'html', commits: true }),
  'html 200, committed': () => ({ kind: 'html', status: 200, commits: true }),
  'garbage, committed': () => ({ kind: 'garbage', commits: true }),
  'no request id': () => ({ kind: 'mangled', part: 'requestId', how: 'missing' }),
  'no position': () => ({ kind: 'mangled', part: 'position', how: 'missing' }),
  'absurd position': random => ({
    kind: 'mangled',
    part: 'position',
    how: 'wrong',
    value: random.pick(['', '-1', '0x10', '9007199254740993', '1e3', ' 12 a']),
  }),
}

/** The batch has not landed yet, and the response is not final. */
export const TRANSIENT: Readonly<Record<string, FaultFactory>> = {
  'reset before': () => ({ kind: 'reset', when: 'before' }),
  'reset in the middle': () => ({ kind: 'reset', when: 'middle' }),
  'reset after': () => ({ kind: 'reset', when: 'after' }),
  ...late('after a look', () => 'afterLook'),
  ...late('by time', random => random.integer(0, 6)),
  'status 500': () => ({ kind: 'status', status: 500, code: 'InternalError' }),
  'status 503': () => ({ kind: 'status', status: 503, code: 'ServiceUnavailable' }),
  'status 504': () => ({ kind: 'status', status: 504 }),
  'status 429': () => ({ kind: 'status', status: 429, code: 'TooManyRequests' }),
  'status 408': () => ({ kind: 'status', status: 408 }),
  throttled: random => ({
    kind: 'status',
    status: 503,
    code: random.pick(['TotalQpsLimitExceeded', 'PartitionQpsLimitted', 'SlowDown']),
  }),
  'html 502': () => ({ kind: 'html' }),
  'html 403': () => ({ kind: 'html', status: 403 }),
  'html 200': () => ({ kind: 'html', status: 200 }),
  garbage: () => ({ kind: 'garbage' }),
  early: () => ({ kind: 'early' }),
  refused: random => ({ kind: 'refused', duration: random.integer(1, 12) }),
}

/** A 409 although the object ends at the position of the append. */
export const FALSE_409: Readonly<Record<string, FaultFactory>> = {
  'false 409': () => ({ kind: 'status', status: 409, code: 'PositionNotEqualToLength' }),
}

/** Slow connections, and connections that close. OSS refuses nothing. */
export const BAD_CONNECTIONS: Readonly<Record<string, FaultFactory>> = {
  'closed by header': () => ({ kind: 'closed', how: 'header' }),
  'closed silently': () => ({ kind: 'closed', how: 'silent' }),
  'slow reading': random => ({ kind: 'slowRead', rate: random.integer(20_000, 200_000) }),
  'slow answering': random => ({ kind: 'slowAnswer', delay: random.integer(1, 20) }),
}

const HOUR = 3_600_000

function clockOffset(random: Random): number {
  return random.pick([-1, 1]) * random.integer(HOUR / 2, 30 * HOUR)
}

/** A wrong clock, and expired credentials. */
export const CREDENTIALS_AND_CLOCK: Readonly<Record<string, FaultFactory>> = {
  'skewed, told by ServerTime': random => ({ kind: 'skewed', offset: clockOffset(random) }),
  'skewed, told by Date': random => ({
    kind: 'skewed',
    offset: clockOffset(random),
    hidesServerTime: true,
  }),
  expired: () => ({ kind: 'expired' }),
}

/** Removes the position header from the 409 that follows the fault. */
function withoutPositionHeader(fault: FaultKind): FaultKind & FaultScope {
  return { kind: 'mangled', part: 'position', how: 'missing', with: [fault] }
}

/** Another writer appends. */
export const RIVALS: Readonly<Record<string, FaultFactory>> = {
  'rival before, n bytes': random => ({
    kind: 'rival',
    when: 'before',
    bytes: random.integer(1, 40),
  }),
  'rival before, same length': () => ({ kind: 'rival', when: 'before' }),
  'rival after, n bytes': random => ({
    kind: 'rival',
    when: 'after',
    bytes: random.integer(1, 40),
  }),
  'rival after, same length': () => ({ kind: 'rival', when: 'after' }),
  'rival, and a 409 without its header': random =>
    withoutPositionHeader({ kind: 'rival', when: 'before', bytes: random.integer(1, 40) }),
}

/** The object is deleted, replaced or sealed. */
export const OBJECT_CHANGED: Readonly<Record<string, FaultFactory>> = {
  deleted: () => ({ kind: 'deleted' }),
  'replaced, Normal': () => ({ kind: 'replaced', by: 'Normal' }),
  'replaced, shorter': random => ({
    kind: 'replaced',
    by: 'Appendable',
    length: random.integer(0, 3),
  }),
  'replaced, same length': () => ({ kind: 'replaced', by: 'Appendable' }),
  'replaced, longer': random => ({
    kind: 'replaced',
    by: 'Appendable',
    length: random.integer(20_000, 30_000),
  }),
  sealed: () => ({ kind: 'sealed' }),
  'deleted, and a 409 without its header': () => withoutPositionHeader({ kind: 'deleted' }),
}

/** The response is a success with a position or a CRC that does not match the request. */
export const WRONG_ACKNOWLEDGEMENTS: Readonly<Record<string, FaultFactory>> = {
  'wrong position': () => ({ kind: 'mangled', part: 'position', how: 'wrong' }),
  'no CRC': () => ({ kind: 'mangled', part: 'crc64', how: 'missing' }),
  'wrong CRC': () => ({ kind: 'mangled', part: 'crc64', how: 'wrong' }),
  'wrong CRC, nothing stored': () => ({
    kind: 'mangled',
    part: 'crc64',
    how: 'wrong',
    commits: false,
  }),
}

/**
 * A proxy that refuses long bodies, and a link too slow for long ones within the deadline. Both strike for as
 * long as the stream lives; `createScenario` chooses limit and rate.
 */
export const SIZE_LIMITS: Readonly<Record<string, FaultFactory>> = {
  'body limit': () => ({ kind: 'tooLarge', maxBytes: 1 }),
  'slow link': () => ({ kind: 'slowRead', rate: 1 }),
}

/** Final error responses. */
export const REFUSALS: Readonly<Record<string, FaultFactory>> = {
  forbidden: () => ({ kind: 'forbidden', on: 'append' }),
  'status 400': () => ({ kind: 'status', status: 400, code: 'InvalidArgument' }),
  'status 404': () => ({ kind: 'status', status: 404, code: 'NoSuchBucket' }),
  'status 409': () => ({ kind: 'status', status: 409, code: 'FileImmutable' }),
  'status 307': () => ({ kind: 'status', status: 307, code: 'TemporaryRedirect' }),
  'status 501': () => ({ kind: 'status', status: 501, code: 'NotImplemented' }),
}

/** A damaged byte, which OSS refuses because of the MD5. */
export const DAMAGE: Readonly<Record<string, FaultFactory>> = {
  'corrupted, with MD5': () => ({ kind: 'corrupted' }),
}

/** A damaged byte, which OSS stores. */
export const STORED_DAMAGE: Readonly<Record<string, FaultFactory>> = {
  'corrupted, without MD5': () => ({ kind: 'corrupted' }),
}

/** Faults of HEAD alone. */
export const HEAD_FAULTS: Readonly<Record<string, FaultFactory>> = {
  'HEAD stale': () => ({ kind: 'stale' }),
  'HEAD forbidden': () => ({ kind: 'forbidden' }),
}

export const FAULTS: Readonly<Record<string, FaultFactory>> = {
  ...LANDED_UNCONFIRMED,
  ...TRANSIENT,
  ...FALSE_409,
  ...BAD_CONNECTIONS,
  ...CREDENTIALS_AND_CLOCK,
  ...RIVALS,
  ...OBJECT_CHANGED,
  ...WRONG_ACKNOWLEDGEMENTS,
  ...SIZE_LIMITS,
  ...REFUSALS,
  ...DAMAGE,
  ...STORED_DAMAGE,
  ...HEAD_FAULTS,
}

/** Makes a fault by name, or a random one of a table. An operation other than an append becomes part of its name. */
export function makeFault(
  random: Random,
  choice: string | Readonly<Record<string, FaultFactory>>,
  scope: FaultScope = {},
): Fault {
  const name = typeof choice === 'string' ? choice : random.pick(Object.keys(choice))
  const { on } = scope
  const isHeadFault = Object.hasOwn(HEAD_FAULTS, name)
  const prefix = on === undefined || on === 'append' || isHeadFault ? '' : `${on}: `
  const make = FAULTS[name]
  if (!make) throw new Error(`no fault is called ${name}`)
  return { ...make(random), ...scope, name: prefix + name }
}
