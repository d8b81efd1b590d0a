/**
 * Refuses a fault that is not written as it was meant: it would strike nothing, or something else, and
 * the test that scripts it would pass by that.
 */

import {
  checkBoolean,
  checkInteger,
  checkKnown,
  checkLimit,
  checkOneOf,
  checkRecord,
  MAX_DELAY,
} from '../check.ts'
import { invalidOption } from '../errors.ts'
import type { Fault, FaultKind, FaultScope } from './faults.ts'

/** Refuses a value, by the dotted name of where it stands. */
type Check = (name: string, value: unknown) => unknown

const text: Check = (name, value) => {
  if (typeof value !== 'string') throw invalidOption(name, 'must be a string')
}
const bytes: Check = (name, value) => {
  if (!Buffer.isBuffer(value)) throw invalidOption(name, 'must be a Buffer')
}
const content: Check = (name, value) => {
  if (typeof value === 'string' || Buffer.isBuffer(value)) return
  throw invalidOption(name, 'must be a string or a Buffer')
}
const texts: Check = (name, value) =>
  checkRecord(name, value).map(([key, each]) => text(`${name}.${key}`, each))
const oneOrMore: Check = (name, value) =>
  [value].flat().forEach(each => {
    text(name, each)
  })
const headers: Check = (name, value) =>
  checkRecord(name, value).map(([key, each]) => oneOrMore(`${name}.${key}`, each))
const count: Check = (name, value) => checkInteger(name, value, 0)
const delay: Check = (name, value) => checkInteger(name, value, 0, MAX_DELAY)
const times: Check = (name, value) => checkLimit(name, value, 1)
const rate: Check = (name, value) => checkInteger(name, value, 1)
const shift: Check = (name, value) => checkInteger(name, value, Number.MIN_SAFE_INTEGER)
const status: Check = (name, value) => checkInteger(name, value, 100, 599)

const oneOf =
  (...choices: string[]): Check =>
  (name, value) =>
    checkOneOf(name, value, choices)
/** One of two words, or a number of this range. */
const wordOr =
  (words: readonly [string, string], min: number, max: number): Check =>
  (name, value) => {
    if (words.includes(value as string)) return
    if (Number.isInteger(value) && Number(value) >= min && Number(value) <= max) return
    throw invalidOption(name, `must be ${words.join(', ')} or a whole number from ${min} to ${max}`)
  }
const maybe =
  (check: Check): Check =>
  (name, value) =>
    value === undefined || check(name, value)

const commits = maybe(checkBoolean)
const how = wordOr(['reset', 'hang'], 100, 599)

/** What each kind takes, besides its scope. */
const KINDS: Fields = {
  refused: { duration: delay },
  reset: { when: oneOf('before', 'middle', 'after') },
  lost: { how },
  late: { how, lands: wordOr(['beforeNext', 'afterLook'], 0, MAX_DELAY) },
  status: {
    status,
    code: maybe(text),
    message: maybe(text),
    ec: maybe(text),
    children: maybe(texts),
    headers: maybe(headers),
    body: maybe(content),
    commits,
  },
  html: { status: maybe(status), commits },
  garbage: { bytes: maybe(bytes), commits },
  mangled: {
    part: oneOf('requestId', 'position', 'crc64'),
    how: oneOf('missing', 'wrong'),
    value: maybe(oneOrMore),
    commits,
  },
  rival: { when: oneOf('before', 'after'), bytes: maybe(count) },
  deleted: {},
  replaced: { by: oneOf('Normal', 'Appendable'), length: maybe(count) },
  sealed: {},
  corrupted: { at: maybe(count) },
  forbidden: {},
  stale: {},
  skewed: { offset: shift, hidesServerTime: maybe(checkBoolean) },
  expired: {},
  slowRead: { rate },
  slowAnswer: { delay },
  early: { status: maybe(status), code: maybe(text) },
  closed: { how: oneOf('header', 'silent') },
}

type Fields = {
  readonly [K in FaultKind['kind']]: Readonly<
    Record<Exclude<keyof Extract<FaultKind, { kind: K }>, 'kind'>, Check>
  >
}

const SCOPE: Readonly<Record<keyof FaultScope, Check>> = {
  on: maybe(oneOf('append', 'probe', 'head', 'get', 'put', 'delete', 'seal', 'any')),
  bucket: maybe(text),
  key: maybe(text),
  times: maybe(times),
  skip: maybe(checkLimit),
  name: maybe(text),
  with: maybe((name, value) => {
    if (!Array.isArray(value)) throw invalidOption(name, 'must be a list of faults')
    for (const [i, fault] of value.entries()) checkFault(fault, `${name}[${i}]`)
  }),
}

/** @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the member: `fault.how`. */
export function checkFault(fault: unknown, name = 'fault'): asserts fault is Fault {
  const { kind } = Object.fromEntries(checkRecord(name, fault))
  const own: Readonly<Record<string, Check>> =
    KINDS[checkOneOf(`${name}.kind`, kind, Object.keys(KINDS) as (keyof Fields)[])]
  const fields: Readonly<Record<string, Check>> = { ...SCOPE, ...own }
  const given = checkKnown(name, fault, ['kind', ...Object.keys(fields)])
  for (const [field, check] of Object.entries(fields)) check(`${name}.${field}`, given[field])
}
