/**
 * One validator per kind of option, each called with the option's dotted name, so that the name in the
 * message is the name in the documentation. They throw `OSS_ERR_INVALID_OPTION` and return the value.
 * Values that could be secrets are never quoted.
 */

import { invalidOption } from './errors.ts'

/** The longest delay that `setTimeout` takes; a longer one would fire at once (Node doc, "setTimeout"). */
export const MAX_DELAY = 2 ** 31 - 1

/** Refuses what is no plain record of options, and options that do not exist. */
export function checkKnown(
  name: string,
  options: unknown,
  known: readonly string[],
): Record<string, unknown> {
  if (!isRecord(options)) throw invalidOption(name, 'must be an object')
  const prefix = name === 'options' ? '' : `${name}.`
  for (const option of Object.keys(options)) {
    if (known.includes(option)) continue
    throw invalidOption(`${prefix}${option}`, `is unknown${suggestion(option, known, prefix)}`)
  }
  return options
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
  throw invalidOption(name, `must be a whole number from ${min} to ${max}`)
}

/** A whole number from `min` up, or Infinity. */
export function checkLimit(name: string, value: unknown, min = 0): number {
  if (value === Number.POSITIVE_INFINITY || (Number.isSafeInteger(value) && Number(value) >= min)) {
    return value as number
  }
  throw invalidOption(name, `must be a whole number from ${min} up, or Infinity`)
}

export function checkBoolean(name: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value
  throw invalidOption(name, 'must be true or false')
}

export function checkOneOf<T extends string>(
  name: string,
  value: unknown,
  choices: readonly T[],
): T {
  if (choices.includes(value as T)) return value as T
  throw invalidOption(name, `must be ${choices.join(', ').replace(/, ([^,]*)$/, ' or $1')}`)
}

/** Refuses an object that lacks a method of the given names. */
export function checkMethods(name: string, value: unknown, methods: readonly string[]): void {
  const object = Object(value) as Record<string, unknown>
  const missing = methods.find(method => typeof object[method] !== 'function')
  if (missing) throw invalidOption(name, `must have a method ${missing}()`)
}

/**
 * A header's value: printable ASCII. A line break would begin another header, and other characters
 * reach OSS as different bytes than were signed.
 */
export function checkHeaderValue(name: string, value: unknown): string {
  if (typeof value !== 'string') throw invalidOption(name, 'must be a string')
  if (/[^\x20-\x7e]/.test(value)) {
    throw invalidOption(name, 'must be printable ASCII: encode it, e.g. with encodeURIComponent()')
  }
  const text = value.trim()
  if (text === '') throw invalidOption(name, 'must not be empty')
  return text
}

export function checkRecord(name: string, value: unknown): [string, unknown][] {
  if (isRecord(value)) return Object.entries(value)
  throw invalidOption(name, 'must be a plain object of names and values')
}

/** A Map, `Headers` or array is none: its members are no properties, and would be lost in silence. */
function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !(Symbol.iterator in value)
}

/** What to add to "is unknown": the name that was probably meant, or nothing. */
export function suggestion(name: string, known: readonly string[], prefix = ''): string {
  const near = nearest(name, known)
  return near ? `: did you mean ${prefix}${near}?` : ''
}

/** The known name that a wrong one was probably meant to be: at most a third of it differs. */
function nearest(name: string, known: readonly string[]): string | undefined {
  const wanted = name.toLowerCase()
  const ranked = known
    .map(word => ({ word, distance: distance(wanted, word.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)
  const [best] = ranked
  return best && best.distance <= Math.max(1, Math.floor(best.word.length / 3))
    ? best.word
    : undefined
}

/** Levenshtein's distance, a row at a time. */
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
