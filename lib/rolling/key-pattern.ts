/**
 * Compiles a key pattern such as `logs/{host}/{yyyy}-{MM}-{dd}/{HH}-{index}.log` into a function of date and
 * index. Pure. Whether a key obeys OSS's rules is checked elsewhere.
 */

import { invalidOption } from '../errors.ts'
import { suggestion } from '../validate.ts'

/** The process that writes. */
export interface Writer {
  /** Name of the machine. */
  readonly host: string
  readonly pid: number
}

/** What a key is made from. */
export interface KeyParts {
  /** When the next batch is sent. Never earlier than a date that the stream passed before. */
  readonly date: Date
  /** Number of the object among those of one date, from 0. */
  readonly index: number
  /** With `journal`: the number of the stream's slot, from 0. It differs among the streams that run at one time. */
  readonly slot?: number | undefined
}

/**
 * Returns the key of an object; the same for the same parts. It differs for each index, or is the same for
 * all of them; in that case no object can follow a full one.
 */
export type KeyFunction = (parts: KeyParts) => string

/** The placeholders of a date, and Intl's names for their values. */
const DATE_PARTS = { yyyy: 'year', MM: 'month', dd: 'day', HH: 'hour', mm: 'minute' } as const
type DateFields = Record<keyof typeof DATE_PARTS, string>

const PLACEHOLDERS: readonly string[] = [...Object.keys(DATE_PARTS), 'index', 'host', 'pid', 'slot']

/** Milliseconds. */
const MINUTE = 60_000
const DAY = 86_400_000

/** @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming `key` or `timeZone`. */
export function compileKeyPattern(
  pattern: string,
  timeZone: string,
  { host, pid }: Writer,
): KeyFunction {
  const format = createDateFormat(timeZone)
  // Literals and placeholders alternate.
  const pieces = pattern.split(/\{([^{}]*)\}/)
  const names = pieces.filter((_, i) => i % 2 === 1)
  for (const name of names) {
    if (PLACEHOLDERS.includes(name)) continue
    throw invalidOption('key', `{${name}} is unknown${suggestion(name, PLACEHOLDERS)}`)
  }
  if (pieces.some((piece, i) => i % 2 === 0 && /[{}]/.test(piece))) {
    throw invalidOption(
      'key',
      'has a brace without its other half: for a key with braces pass a function',
    )
  }
  const isDated = names.some(name => name in DATE_PARTS)
  const writer = { host: host.replaceAll(/[^\w.-]/g, '-'), pid: String(pid) }
  return ({ date, index, slot = 0 }) => {
    const dateFields = isDated ? format(latestLocalTime(date.getTime(), format)) : undefined
    const numbers = { index: String(index), slot: String(slot) }
    const values: Record<string, string> = { ...dateFields, ...writer, ...numbers }
    return pieces.map((piece, i) => (i % 2 === 0 ? piece : values[piece])).join('')
  }
}

/**
 * The moment up to `time` that has the latest local time. That is `time` itself, except behind a change of
 * the zone's offset, as at the end of summer time: while the hour repeats, it is the last minute before the
 * change. Otherwise keys would go back to objects that are left, and perhaps sealed.
 *
 *      local time   02:58  02:59 | 02:00  02:01  ...  02:59 | 03:00
 *      key          02:58  02:59 | 02:59  02:59  ...  02:59 | 03:00
 */
function latestLocalTime(time: number, format: (time: number) => DateFields): number {
  const now = Math.floor(time / MINUTE) * MINUTE
  const localTime = (at: number) => toLocalTime(format(at))
  const offset = localTime(now) - now
  const isBeforeChange = (at: number) => localTime(at) - at > offset
  let before = now - DAY
  if (!isBeforeChange(before)) return now
  let after = now
  while (after - before > MINUTE) {
    const middle = before + Math.floor((after - before) / 2 / MINUTE) * MINUTE
    if (isBeforeChange(middle)) before = middle
    else after = middle
  }
  return localTime(before) > localTime(now) ? before : now
}

/** Milliseconds of a UTC date with these fields. */
function toLocalTime({ yyyy, MM, dd, HH, mm }: DateFields): number {
  const midnight = new Date(0).setUTCFullYear(Number(yyyy), Number(MM) - 1, Number(dd))
  return midnight + (Number(HH) * 60 + Number(mm)) * MINUTE
}

/** Formats dates of the Gregorian calendar in ASCII digits, whatever the locale of the machine. */
function createDateFormat(timeZone: string): (time: number) => DateFields {
  const formatter = createFormatter(timeZone)
  return time => {
    const parts = formatter.formatToParts(time)
    const value = (part: string) => parts.find(({ type }) => type === part)?.value ?? ''
    const fields = Object.entries(DATE_PARTS).map(([name, part]) => [
      name,
      value(part).padStart(name.length, '0'),
    ])
    return Object.fromEntries(fields)
  }
}

function createFormatter(timeZone: string): Intl.DateTimeFormat {
  const meant = NOT_ZONES[timeZone.toUpperCase()]
  if (meant !== undefined) {
    throw invalidOption('timeZone', `${timeZone} is no IANA name: did you mean ${meant}?`)
  }
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

/**
 * Names that are no zones of IANA, or have several meanings, and the zone that is probably meant. ICU accepts
 * many of them, with a meaning that surprises: `CST` is Chicago, `BST` is Dhaka, `EST` has no summer time.
 */
const NOT_ZONES: Readonly<Record<string, string>> = {
  'ASIA/BEIJING': 'Asia/Shanghai',
  CST: 'Asia/Shanghai, or America/Chicago',
  CTT: 'Asia/Shanghai',
  CNT: 'America/St_Johns',
  HKT: 'Asia/Hong_Kong',
  SGT: 'Asia/Singapore',
  JST: 'Asia/Tokyo',
  KST: 'Asia/Seoul',
  IST: 'Asia/Kolkata, Asia/Jerusalem or Europe/Dublin',
  PKT: 'Asia/Karachi',
  PLT: 'Asia/Karachi',
  VST: 'Asia/Ho_Chi_Minh',
  ICT: 'Asia/Bangkok',
  WIB: 'Asia/Jakarta',
  GST: 'Asia/Dubai',
  NET: 'Asia/Yerevan',
  MSK: 'Europe/Moscow',
  BST: 'Europe/London, or Asia/Dhaka',
  CEST: 'Europe/Berlin',
  EEST: 'Europe/Helsinki',
  WEST: 'Europe/Lisbon',
  CAT: 'Africa/Harare',
  EAT: 'Africa/Nairobi',
  WAT: 'Africa/Lagos',
  SAST: 'Africa/Johannesburg',
  ART: 'America/Argentina/Buenos_Aires, or Africa/Cairo',
  AGT: 'America/Argentina/Buenos_Aires',
  BET: 'America/Sao_Paulo',
  BRT: 'America/Sao_Paulo',
  NST: 'America/St_Johns, or Pacific/Auckland',
  AST: 'America/Halifax, or Asia/Riyadh',
  ADT: 'America/Halifax',
  PRT: 'America/Puerto_Rico',
  EST: 'America/New_York',
  EDT: 'America/New_York',
  IET: 'America/Indiana/Indianapolis',
  CDT: 'America/Chicago',
  MST: 'America/Denver, or America/Phoenix without summer time',
  MDT: 'America/Denver',
  PNT: 'America/Phoenix',
  PST: 'America/Los_Angeles, or Asia/Manila',
  PDT: 'America/Los_Angeles',
  AKST: 'America/Anchorage',
  HST: 'Pacific/Honolulu',
  MIT: 'Pacific/Apia',
  SST: 'Pacific/Guadalcanal, or Pacific/Pago_Pago',
  ACT: 'Australia/Darwin',
  ACST: 'Australia/Darwin',
  AET: 'Australia/Sydney',
  AEST: 'Australia/Sydney',
  AEDT: 'Australia/Sydney',
  AWST: 'Australia/Perth',
  NZST: 'Pacific/Auckland',
  NZDT: 'Pacific/Auckland',
}
