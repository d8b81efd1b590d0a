/**
 * Refuses a fault that is not written as it was meant: it would strike nothing, or something else, and
 * the test that scripts it would pass by that.
 */

import { invalidOption } from '../errors.ts'
import {
  checkBoolean,
  checkInteger,
  checkKnown,
  checkLimit,
  checkOneOf,
  checkRecord,
  MAX_DELAY,
} from '../validate.ts'
import type { Fault, FaultKind, FaultScope } from './faults.ts'

/** Refuses a value, by the dotted name of where it stands. */
type FieldCheck = (name: string, value: unknown) => unknown

const checkString: FieldCheck = (name, value) => {
  if (typeof value !== 'string') throw invalidOption(name, 'must be a string')
}
const checkBuffer: FieldCheck = (name, value) => {
  if (!Buffer.isBuffer(value)) throw invalidOption(name, 'must be a Buffer')
}
const checkStringOrBuffer: FieldCheck = (name, value) => {
  if (typeof value === 'string' || Buffer.isBuffer(value)) return
  throw invalidOption(name, 'must be a string or a Buffer')
}
const checkStringRecord: FieldCheck = (name, value) =>
  checkRecord(name, value).map(([key, each]) => checkString(`${name}.${key}`, each))
const checkStringOrList: FieldCheck = (name, value) =>
  [value].flat().forEach(each => {
    checkString(name, each)
  })
const checkHeaderRecord: FieldCheck = (name, value) =>
  checkRecord(name, value).map(([key, each]) => checkStringOrList(`${name}.${key}`, each))
const checkCount: FieldCheck = (name, value) => checkInteger(name, value, 0)
const checkDelay: FieldCheck = (name, value) => checkInteger(name, value, 0, MAX_DELAY)
const checkTimes: FieldCheck = (name, value) => checkLimit(name, value, 1)
const checkRate: FieldCheck = (name, value) => checkInteger(name, value, 1)
const checkOffset: FieldCheck = (name, value) => checkInteger(name, value, Number.MIN_SAFE_INTEGER)
const checkStatus: FieldCheck = (name, value) => checkInteger(name, value, 100, 599)

const oneOf =
  (...choices: string[]): FieldCheck =>
  (name, value) =>
    checkOneOf(name, value, choices)
/** One of two words, or a number of this range. */
const wordOrInteger =
  (words: readonly [string, string], min: number, max: number): FieldCheck =>
  (name, value) => {
    if (words.includes(value as string)) return
    if (Number.isInteger(value) && Number(value) >= min && Number(value) <= max) return
    throw invalidOption(name, `must be ${words.join(', ')} or a whole number from ${min} to ${max}`)
  }
const optional =
  (check: FieldCheck): FieldCheck =>
  (name, value) =>
    value === undefined || check(name, value)

const checkCommits = optional(checkBoolean)
const checkUnanswered = wordOrInteger(['reset', 'hang'], 100, 599)

/** What each kind takes, besides its scope. */
const FAULT_FIELDS: FaultFields = {
  refused: { duration: checkDelay },
  reset: { when: oneOf('before', 'middle', 'after') },
  lost: { how: checkUnanswered },
  late: { how: checkUnanswered, lands: wordOrInteger(['beforeNext', 'afterLook'], 0, MAX_DELAY) },
  status: {
    status: checkStatus,
    code: optional(checkString),
    message: optional(checkString),
    ec: optional(checkString),
    children: optional(checkStringRecord),
    headers: optional(checkHeaderRecord),
    body: optional(checkStringOrBuffer),
    commits: checkCommits,
  },
  html: { status: optional(checkStatus), commits: checkCommits },
  garbage: { bytes: optional(checkBuffer), commits: checkCommits },
  mangled: {
    part: oneOf('requestId', 'position', 'crc64'),
    how: oneOf('missing', 'wrong'),
    value: optional(checkStringOrList),
    commits: checkCommits,
  },
  rival: { when: oneOf('before', 'after'), bytes: optional(checkCount) },
  deleted: {},
  replaced: { by: oneOf('Normal', 'Appendable'), length: optional(checkCount) },
  sealed: {},
  corrupted: { at: optional(checkCount) },
  forbidden: {},
  stale: {},
  skewed: { offset: checkOffset, hidesServerTime: optional(checkBoolean) },
  expired: {},
  slowRead: { rate: checkRate },
  slowAnswer: { delay: checkDelay },
  early: { status: optional(checkStatus), code: optional(checkString) },
  closed: { how: oneOf('header', 'silent') },
}

type FaultFields = {
  readonly [K in FaultKind['kind']]: Readonly<
    Record<Exclude<keyof Extract<FaultKind, { kind: K }>, 'kind'>, FieldCheck>
  >
}

const SCOPE_FIELDS: Readonly<Record<keyof FaultScope, FieldCheck>> = {
  on: optional(oneOf('append', 'probe', 'head', 'get', 'put', 'delete', 'seal', 'any')),
  bucket: optional(checkString),
  key: optional(checkString),
  times: optional(checkTimes),
  skip: optional(checkLimit),
  name: optional(checkString),
  with: optional((name, value) => {
    if (!Array.isArray(value)) throw invalidOption(name, 'must be a list of faults')
    for (const [i, fault] of value.entries()) checkFault(fault, `${name}[${i}]`)
  }),
}

/** @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the member: `fault.how`. */
export function checkFault(fault: unknown, name = 'fault'): asserts fault is Fault {
  const { kind } = Object.fromEntries(checkRecord(name, fault))
  const kindFields: Readonly<Record<string, FieldCheck>> =
    FAULT_FIELDS[
      checkOneOf(`${name}.kind`, kind, Object.keys(FAULT_FIELDS) as (keyof FaultFields)[])
    ]
  const fields: Readonly<Record<string, FieldCheck>> = { ...SCOPE_FIELDS, ...kindFields }
  const given = checkKnown(name, fault, ['kind', ...Object.keys(fields)])
  for (const [field, check] of Object.entries(fields)) check(`${name}.${field}`, given[field])
}
