/**
 * Refuses a fault with a wrong or unknown member. Such a fault would strike nothing, or something else, and
 * the test that scripts it would pass for the wrong reason.
 */

import { validateHeaderName, validateHeaderValue } from 'node:http'
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
import { OPERATION_NAMES } from './request.ts'

const MIN_STATUS = 200
const MAX_STATUS = 599
/** Milliseconds, 50 years: the clock has to stay within the years that OSS's dates can have. */
const MAX_SKEW = 50 * 365 * 86_400_000
/** The first of several faults that strike together decides which requests those are. */
const FIRST_ONLY = ['on', 'bucket', 'key', 'times', 'skip', 'with'] as const

/** Returns a value, or throws, naming the member: `fault.how`. */
type FieldCheck<T = unknown> = (name: string, value: unknown) => T

const checkString: FieldCheck<string> = (name, value) => {
  if (typeof value === 'string') return value
  throw invalidOption(name, 'must be a string')
}
const checkStringOrBuffer: FieldCheck<string | Buffer> = (name, value) => {
  if (typeof value === 'string' || Buffer.isBuffer(value)) return value
  throw invalidOption(name, 'must be a string or a Buffer')
}
const checkBytes: FieldCheck<number | string | Buffer> = (name, value) => {
  if (typeof value === 'string' || Buffer.isBuffer(value)) return value
  if (Number.isSafeInteger(value) && Number(value) >= 0) return Number(value)
  throw invalidOption(name, 'must be a string, a Buffer or a whole number')
}
/** Node sends no header with a wrong name or value: the connection would break instead. */
const checkHeaderText: FieldCheck<string> = (name, value) => {
  const text = checkString(name, value)
  checkByNode(name, 'must be the value of a header', () => validateHeaderValue('x', text))
  return text
}
const checkHeader: FieldCheck<string | string[]> = (name, value) =>
  Array.isArray(value)
    ? value.map(each => checkHeaderText(name, each))
    : checkHeaderText(name, value)
const recordOf =
  <T>(check: FieldCheck<T>): FieldCheck<Record<string, T>> =>
  (name, value) =>
    Object.fromEntries(
      checkRecord(name, value).map(([key, each]) => [key, check(`${name}.${key}`, each)]),
    )
const checkHeaders: FieldCheck<Record<string, string | string[]>> = (name, value) => {
  const headers = recordOf(checkHeader)(name, value)
  for (const header of Object.keys(headers)) {
    checkByNode(`${name}.${header}`, 'is no header name', () => validateHeaderName(header))
  }
  return headers
}
const integer =
  (min: number, max?: number): FieldCheck<number> =>
  (name, value) =>
    checkInteger(name, value, min, max)
const checkCount = integer(0)
const checkDelay = integer(0, MAX_DELAY)
/** A final response has no 1xx. */
const checkStatus = integer(MIN_STATUS, MAX_STATUS)

const oneOf =
  <const T extends string>(...choices: readonly T[]): FieldCheck<T> =>
  (name, value) =>
    checkOneOf(name, value, choices)
/** One of two words, or a number in this range. */
const wordOrInteger =
  <const T extends string>(
    words: readonly [T, T],
    min: number,
    max: number,
  ): FieldCheck<T | number> =>
  (name, value) => {
    if (words.includes(value as T)) return value as T
    if (Number.isInteger(value) && Number(value) >= min && Number(value) <= max)
      return Number(value)
    throw invalidOption(name, `must be ${words.join(', ')} or a whole number from ${min} to ${max}`)
  }
const optional =
  <T>(check: FieldCheck<T>): FieldCheck<T | undefined> =>
  (name, value) =>
    value === undefined ? undefined : check(name, value)

const checkCommits = optional(checkBoolean)
const checkUnanswered = wordOrInteger(['reset', 'hang'], MIN_STATUS, MAX_STATUS)

/** The members of each kind, besides its scope. A word that the type of a member lacks does not compile. */
export const FAULT_FIELDS: FaultFields = {
  refused: { duration: checkDelay },
  reset: { when: oneOf('before', 'middle', 'after') },
  lost: { how: checkUnanswered },
  late: { how: checkUnanswered, lands: wordOrInteger(['beforeNext', 'afterLook'], 0, MAX_DELAY) },
  status: {
    status: checkStatus,
    code: optional(checkString),
    message: optional(checkString),
    ec: optional(checkString),
    children: optional(recordOf(checkString)),
    body: optional(checkStringOrBuffer),
    commits: checkCommits,
  },
  html: { status: optional(checkStatus), commits: checkCommits },
  garbage: { bytes: optional(checkStringOrBuffer), commits: checkCommits },
  mangled: {
    part: oneOf('requestId', 'position', 'crc64'),
    how: oneOf('missing', 'wrong'),
    value: optional(checkHeader),
    commits: checkCommits,
  },
  rival: {
    when: oneOf('before', 'after'),
    bytes: optional(checkBytes),
    lost: optional(checkBoolean),
  },
  deleted: {},
  replaced: { by: oneOf('Normal', 'Appendable'), length: optional(checkCount) },
  sealed: {},
  corrupted: { at: optional(checkCount) },
  forbidden: {},
  stale: {},
  skewed: {
    offset: integer(-MAX_SKEW, MAX_SKEW),
    hidesServerTime: optional(checkBoolean),
  },
  expired: {},
  slowRead: { rate: integer(1) },
  slowAnswer: { delay: checkDelay },
  early: { status: optional(checkStatus), code: optional(checkString) },
  tooLarge: { maxBytes: checkCount },
  closed: { how: oneOf('header', 'silent') },
}

type FieldsOf<T> = { readonly [K in keyof T]-?: FieldCheck<T[K] | undefined> }

type FaultFields = {
  readonly [K in FaultKind['kind']]: FieldsOf<Omit<Extract<FaultKind, { kind: K }>, 'kind'>>
}

export const SCOPE_FIELDS: FieldsOf<FaultScope> = {
  on: optional(oneOf('any', 'probe', ...OPERATION_NAMES)),
  bucket: optional(checkString),
  key: optional(checkString),
  times: optional((name, value) => checkLimit(name, value, 1)),
  skip: optional(checkLimit),
  name: optional(checkString),
  headers: optional(checkHeaders),
  with: optional((name, value) => {
    if (!Array.isArray(value)) throw invalidOption(name, 'must be a list of faults')
    return value.map((fault, i) => checkAddition(fault, `${name}[${i}]`))
  }),
}

/** A fault in the `with` of another one. */
function checkAddition(fault: unknown, name: string): Fault {
  const addition = checkFault(fault, name)
  const field = FIRST_ONLY.find(each => addition[each] !== undefined)
  if (field === undefined) return addition
  throw invalidOption(`${name}.${field}`, 'belongs to the fault that strikes first')
}

function checkByNode(name: string, problem: string, validate: () => void): void {
  try {
    validate()
  } catch {
    throw invalidOption(name, problem)
  }
}

/** @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the member: `fault.how`. */
export function checkFault(fault: unknown, name = 'fault'): Fault {
  const { kind } = Object.fromEntries(checkRecord(name, fault))
  const kinds = Object.keys(FAULT_FIELDS) as (keyof FaultFields)[]
  const kindFields = FAULT_FIELDS[checkOneOf(`${name}.kind`, kind, kinds)]
  const fields: Readonly<Record<string, FieldCheck>> = { ...SCOPE_FIELDS, ...kindFields }
  const given = checkKnown(name, fault, ['kind', ...Object.keys(fields)])
  for (const [field, check] of Object.entries(fields)) check(`${name}.${field}`, given[field])
  return fault as Fault
}
