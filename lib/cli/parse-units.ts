/** Parses the values of flags: sizes (`4MiB`), durations (`500ms`, `10s`), counts and pairs. Pure. */

import { MAX_DELAY } from '../validate.ts'
import { showValue, UsageError } from './usage-error.ts'

/** Parses the value of a flag. Throws a `UsageError` that begins with the flag. */
export type Parser<T> = (option: string, text: string) => T

const SIZE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
}

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** Bytes: `500000`, `64KiB`, `1.5MiB`, `1GiB`. */
export const parseSize: Parser<number> = (option, text) =>
  parseWithUnit(SIZE_UNITS, text) ??
  fail(option, text, 'must be a number of bytes, as in 500000, 64KiB, 4MiB or 1GiB')

/** Milliseconds, at most what a timer takes: `500ms`, `10s`, `1.5h`, `0`. */
export const parseDuration: Parser<number> = (option, text) => {
  const time = parseTime(text)
  if (time === undefined) {
    return fail(option, text, 'must be a time with its unit, as in 500ms, 10s, 5m or 2h')
  }
  return time <= MAX_DELAY ? time : fail(option, text, 'must be a time of at most 24 days')
}

/** Milliseconds, or `Infinity`. */
export const parseDurationOrInfinity: Parser<number> = (option, text) =>
  isInfinity(text)
    ? Number.POSITIVE_INFINITY
    : (parseTime(text) ??
      fail(option, text, 'must be a time with its unit, as in 10s or 5m, or Infinity'))

/** A whole number, 0 or more. */
export const parseCount: Parser<number> = (option, text) =>
  /^\d{1,15}$/.test(text) ? Number(text) : fail(option, text, 'must be a whole number')

/** A whole number, 0 or more, or `Infinity`. */
export const parseCountOrInfinity: Parser<number> = (option, text) => {
  if (isInfinity(text)) return Number.POSITIVE_INFINITY
  return /^\d{1,15}$/.test(text)
    ? Number(text)
    : fail(option, text, 'must be a whole number, or Infinity')
}

/** A port; 0: any free one. */
export const parsePort: Parser<number> = (option, text) =>
  /^\d{1,5}$/.test(text) && Number(text) <= 65_535
    ? Number(text)
    : fail(option, text, 'must be 0 to 65535')

/** Words with commas between them. */
export const parseList: Parser<readonly string[]> = (option, text) => {
  const words = text.split(',').map(word => word.trim())
  return words.includes('') ? fail(option, text, 'must be words with commas between them') : words
}

/** `NAME=VALUE`. The value may contain further equals signs. */
export const parsePair: Parser<readonly [string, string]> = (option, text) => {
  const [, name, value = ''] = /^([^=]+)=(.*)$/s.exec(text) ?? []
  return name === undefined ? fail(option, text, 'must be NAME=VALUE') : [name, value]
}

/** The option `align`: `line`, `chunk`, or a number of bytes. */
export const parseAlign: Parser<number | string> = (option, text) => {
  if (text === 'line' || text === '\n' || text === '\\n') return '\n'
  if (text === 'chunk') return 'chunk'
  return (
    parseWithUnit(SIZE_UNITS, text) ??
    fail(option, text, 'must be line, chunk or a number of bytes')
  )
}

/** The option `journal.sync`: `always`, `never` or milliseconds. */
export const parseJournalSync: Parser<number | string> = (option, text) => {
  if (text === 'always' || text === 'never') return text
  const time = parseTime(text)
  return time !== undefined && time > 0 && time <= MAX_DELAY
    ? time
    : fail(option, text, 'must be always, never, or a time as in 200ms')
}

/** A number without a unit is refused, except 0: it could be seconds or milliseconds. */
function parseTime(text: string): number | undefined {
  return text === '0' ? 0 : parseWithUnit(DURATION_UNITS, text)
}

function parseWithUnit(units: Readonly<Record<string, number>>, text: string): number | undefined {
  const [, digits, unit = ''] = /^(\d{1,15}(?:\.\d{1,9})?) ?([A-Za-z]*)$/.exec(text) ?? []
  if (digits === undefined || !Object.hasOwn(units, unit)) return undefined
  const value = Math.round(Number(digits) * (units[unit] ?? 1))
  return Number.isSafeInteger(value) ? value : undefined
}

function isInfinity(text: string): boolean {
  return text.toLowerCase() === 'infinity'
}

function fail(option: string, text: string, problem: string): never {
  throw new UsageError(`${option}: ${problem}${text === '' ? '' : `, and not ${showValue(text)}`}`)
}
