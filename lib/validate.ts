/**
 * One validator per kind of option. Each takes the dotted name of the option, as in the documentation,
 * and returns the value or throws `OSS_ERR_INVALID_OPTION`.
 * A message shows the wrong value, except of headers and keys, which may be secrets.
 */

import { invalidOption, type OssError } from './errors.ts'

/** Milliseconds. `setTimeout` fires a longer delay immediately (Node doc, "setTimeout"). */
export const MAX_DELAY = 2 ** 31 - 1

/** Refuses a value that is not a plain object, and unknown options. */
export function checkKnown(
  name: string,
  options: unknown,
  known: readonly string[],
): Record<string, unknown> {
  const given = checkObject(name, options)
  const prefix = name === 'options' ? '' : `${name}.`
  for (const option of Object.keys(given)) {
    if (known.includes(option)) continue
    throw invalidOption(`${prefix}${option}`, `is unknown${suggestion(option, known, prefix)}`)
  }
  return given
}

/** Refuses a value that is not a plain object, before its members are read. */
export function checkObject<T>(name: string, value: T): T & Record<string, unknown> {
  if (isRecord(value)) return value
  throw invalidOption(name, `must be an object, not ${formatKind(value)}`)
}

export function checkInteger(
  name: string,
  value: unknown,
  min: number,
  max = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) {
    return value
  }
  throw wrongValue(name, `must be a whole number from ${min} to ${max}`, value)
}

/** A whole number of at least `min`, or Infinity. */
export function checkLimit(name: string, value: unknown, min = 0): number {
  if (value === Number.POSITIVE_INFINITY || (Number.isSafeInteger(value) && Number(value) >= min)) {
    return value as number
  }
  throw wrongValue(name, `must be a whole number from ${min} up, or Infinity`, value)
}

export function checkBoolean(name: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value
  throw wrongValue(name, 'must be true or false', value)
}

export function checkSignal(name: string, value: unknown): AbortSignal {
  if (value instanceof AbortSignal) return value
  throw invalidOption(name, 'must be an AbortSignal')
}

export function checkOneOf<T extends string>(
  name: string,
  value: unknown,
  choices: readonly T[],
): T {
  if (choices.includes(value as T)) return value as T
  throw wrongValue(name, `must be ${choices.join(', ').replace(/, ([^,]*)$/, ' or $1')}`, value)
}

/** Refuses an object that lacks one of the methods. */
export function checkMethods(name: string, value: unknown, methods: readonly string[]): void {
  const object = Object(value) as Record<string, unknown>
  const missing = methods.find(method => typeof object[method] !== 'function')
  if (missing) throw invalidOption(name, `must have a method ${missing}()`)
}

/**
 * The value of a header: printable ASCII. A line break would begin another header, and other characters
 * reach OSS as other bytes than the signed ones.
 */
export function checkHeaderValue(name: string, value: unknown): string {
  if (typeof value !== 'string') throw invalidOption(name, 'must be a string')
  if (/[^\x20-\x7e]/.test(value)) {
    throw invalidOption(name, 'must be printable ASCII: encode it, as with encodeURIComponent()')
  }
  const text = value.trim()
  if (text === '') throw invalidOption(name, 'must not be empty')
  return text
}

export function checkRecord(name: string, value: unknown): [string, unknown][] {
  if (isRecord(value)) return Object.entries(value)
  throw invalidOption(name, `must be a plain object of names and values, not ${formatKind(value)}`)
}

/**
 * False for a Map, `Headers`, array, or promise that was not awaited: their members are not properties, and would
 * be ignored.
 */
function isRecord<T>(value: T): value is T & Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Symbol.iterator in value) return false
  return !('then' in value && typeof value.then === 'function')
}

function wrongValue(name: string, problem: string, value: unknown): OssError {
  return invalidOption(name, `${problem}, not ${formatValue(value)}`)
}

/** Characters of a wrong string that a message shows. */
const MAX_SHOWN = 64

/** A wrong value for a message, in one line. Never for a value that may be a secret. */
export function formatValue(value: unknown): string {
  if (typeof value === 'string') {
    return JSON.stringify(value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN)}...` : value)
  }
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  return formatKind(value)
}

/** The type of a value whose content may be a secret. */
function formatKind(value: unknown): string {
  if (value === undefined || value === null) return String(value)
  const kind =
    typeof value === 'object' ? Object.prototype.toString.call(value).slice(8, -1) : typeof value
  return `${/^[aeiou]/i.test(kind) ? 'an' : 'a'} ${kind}`
}

/** Options of ali-oss: their name there, the option that replaces them here, and how. */
const ALI_OSS_OPTIONS: readonly (readonly [name: string, option: string, remedy: string])[] = [
  ['accessKeyId', 'credentials', 'pass credentials: { accessKeyId, accessKeySecret }'],
  ['accessKeySecret', 'credentials', 'pass credentials: { accessKeyId, accessKeySecret }'],
  ['stsToken', 'credentials', 'use credentials.securityToken'],
  ['stsToken', 'securityToken', 'use securityToken'],
  ['refreshSTSToken', 'credentials', 'pass a function as credentials'],
  ['timeout', 'requestTimeout', 'use requestTimeout'],
  ['secure', 'endpoint', 'https is the default; an endpoint may begin with http://'],
  [
    'internal',
    'endpoint',
    'use the internal endpoint, as in oss-cn-hangzhou-internal.aliyuncs.com',
  ],
  ['retryMax', 'retry', 'use retry.maxRetries'],
  ['retryMax', 'maxRetries', 'use retry.maxRetries'],
  ['retryMax', 'requestTimeout', 'streams retry: pass retry.maxRetries to them'],
]

/** Addition to "is unknown": the right name of an ali-oss option, a similar known name, or nothing. */
export function suggestion(name: string, known: readonly string[], prefix = ''): string {
  const replaced = ALI_OSS_OPTIONS.find(([from, to]) => from === name && known.includes(to))
  if (replaced) return `: ${replaced[2]}`
  const near = nearest(name, known)
  return near ? `: did you mean ${prefix}${near}?` : ''
}

/** The most similar known name, if at most a third of it differs. */
function nearest(name: string, known: readonly string[]): string | undefined {
  const lowerCase = name.toLowerCase()
  const ranked = known
    .map(word => ({ word, distance: distance(lowerCase, word.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)
  const [best] = ranked
  return best && best.distance <= Math.max(1, Math.floor(best.word.length / 3))
    ? best.word
    : undefined
}

/** Levenshtein distance, computed row by row. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
