/**
 * The keys of a rolling stream's objects, from a pattern: `logs/{yyyy}-{MM}-{dd}/{HH}-{index}.log`.
 * Pure: date and index in, key out. Whether a key fits OSS's rules is for others to say.
 */

import { invalidOption } from '../errors.ts'
import { suggestion } from '../validate.ts'

/** What the key of an object is made of. */
export interface KeyParts {
  /** When the batch that asks leaves. */
  readonly date: Date
  /** From 0: counts the objects of one date. */
  readonly index: number
}

/**
 * The same for the same parts. Another key for each index, or the same one for all of them: then no
 * object can follow one that is full.
 */
export type KeyFunction = (parts: KeyParts) => string

/** Intl's names of what stands in braces. */
const DATE_PARTS = { yyyy: 'year', MM: 'month', dd: 'day', HH: 'hour', mm: 'minute' } as const

const PLACEHOLDERS: readonly string[] = [...Object.keys(DATE_PARTS), 'index']

/** @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming `key` or `timeZone`. */
export function compileKeyPattern(pattern: string, timeZone: string): KeyFunction {
  const format = createDateFormat(timeZone)
  // Literal and placeholder take turns.
  const pieces = pattern.split(/\{([^{}]*)\}/)
  const names = pieces.filter((_, i) => i % 2 === 1)
  for (const name of names) {
    if (PLACEHOLDERS.includes(name)) continue
    throw invalidOption('key', `{${name}} is unknown${suggestion(name, PLACEHOLDERS)}`)
  }
  if (pieces.some((piece, i) => i % 2 === 0 && /[{}]/.test(piece))) {
    throw invalidOption(
      'key',
      'has a brace without its other half: a key with braces takes a function',
    )
  }
  const isDated = names.some(name => name !== 'index')
  return ({ date, index }) => {
    const values: Record<string, string> = { ...(isDated && format(date)), index: String(index) }
    return pieces.map((piece, i) => (i % 2 === 0 ? piece : values[piece])).join('')
  }
}

/** Dates in the Gregorian calendar and in digits of ASCII, whatever the locale of this machine. */
function createDateFormat(timeZone: string): (date: Date) => Record<string, string> {
  const formatter = createFormatter(timeZone)
  return date => {
    const parts = formatter.formatToParts(date)
    const value = (part: string) => parts.find(({ type }) => type === part)?.value ?? ''
    return Object.fromEntries(
      Object.entries(DATE_PARTS).map(([name, part]) => [
        name,
        value(part).padStart(name.length, '0'),
      ]),
    )
  }
}

function createFormatter(timeZone: string): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat('en-US', {
      timeZone,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
    })
  } catch {
    const known = Intl.supportedValuesOf('timeZone')
    throw invalidOption('timeZone', `${timeZone} is unknown${suggestion(timeZone, known)}`)
  }
}
