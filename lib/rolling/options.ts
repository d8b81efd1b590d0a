/**
 * The options of a rolling stream: those of a plain stream, and those that decide which object is next. The
 * latter are checked here, the others by `resolveOptions()`.
 */

import { hostname } from 'node:os'
import { invalidOption } from '../errors.ts'
import { OPTIONS, resolveOptions, type Settings, type UrlOptions } from '../options.ts'
import { checkBoolean, checkInteger, checkKnown, checkMethods } from '../validate.ts'
import { compileKeyPattern, type KeyFunction } from './key-pattern.ts'

/** The options of `createRollingAppendStream`. Creation options apply to each new object. */
export interface RollingAppendStreamOptions extends Omit<UrlOptions, 'position' | 'crc64'> {
  /** 3 to 63 characters out of a-z, 0-9 and `-`. Required. */
  readonly bucket: string
  /**
   * A pattern with `{yyyy}`, `{MM}`, `{dd}`, `{HH}`, `{mm}`, `{index}`, `{host}`, `{pid}`, and with `journal`
   * `{slot}`, or a function of date, index and slot. It is evaluated before each batch; another key begins
   * another object. Time for keys never goes back: not when the clock is set back, and not at the end of summer
   * time. Required.
   */
  readonly key: string | KeyFunction
  /**
   * Bytes. A batch that would make the object longer goes into the next one. Only a record of `align` can be
   * longer: it has an object of its own. At most `maxObjectBytes`, which is the default (5 GiB).
   */
  readonly maxBytes?: number | undefined
  /** IANA name of a pattern's time zone, as `'Asia/Shanghai'`; abbreviations are refused. Default `'UTC'`. */
  readonly timeZone?: string | undefined
  /** Seal each object that is left (OSS, "SealAppendObject"); `seal` seals the last one. Default false. */
  readonly sealOnRoll?: boolean | undefined
}

/** The options as checked and completed. `target.key` is a sample only: each object has a key of its own. */
export interface RollingSettings extends Settings {
  readonly nameKey: KeyFunction
  /** Empty: a function makes the keys. */
  readonly keyPattern: string
  readonly maxBytes: number
  readonly sealOnRoll: boolean
}

const ROLLING_ONLY_OPTIONS = ['key', 'maxBytes', 'timeZone', 'sealOnRoll'] as const
const INHERITED_OPTIONS = OPTIONS.filter(
  name => name !== 'key' && name !== 'position' && name !== 'crc64',
)

/** The names of all options. A test compares the documents with them. */
export const ROLLING_OPTIONS: readonly (keyof RollingAppendStreamOptions)[] = [
  ...INHERITED_OPTIONS,
  ...ROLLING_ONLY_OPTIONS,
]

/** @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option. */
export function resolveRollingOptions(given: RollingAppendStreamOptions): RollingSettings {
  checkKnown('options', given, ROLLING_OPTIONS)
  const { key, maxBytes: givenMaxBytes, timeZone, sealOnRoll = false, ...rest } = given
  const nameKey = resolveKey(key, timeZone)
  // One key of a pattern shows whether its keys obey the rules; those of a function are checked when made.
  const sampleKey =
    typeof key === 'string' ? nameKey({ date: new Date(0), index: 0 }) : 'of a function'
  if (givenMaxBytes !== undefined) checkInteger('maxBytes', givenMaxBytes, 1)
  if (typeof key === 'string' && key.includes('{slot}') && given.journal === undefined) {
    throw invalidOption('key', '{slot} needs journal')
  }
  checkBoolean('sealOnRoll', sealOnRoll)
  if (sealOnRoll && given.client !== undefined) checkMethods('client', given.client, ['seal'])
  if (sealOnRoll && given.shared) {
    throw invalidOption('shared', 'excludes sealOnRoll, which would shut out the other writers')
  }
  const settings = resolveOptions({ ...rest, key: sampleKey })
  const maxBytes = givenMaxBytes ?? settings.maxObjectBytes
  if (maxBytes > settings.maxObjectBytes) {
    throw invalidOption('maxBytes', 'must not be more than maxObjectBytes')
  }
  const highWaterMark = Math.min(settings.highWaterMark, maxBytes)
  const keyPattern = typeof key === 'string' ? key : ''
  return { ...settings, highWaterMark, nameKey, keyPattern, maxBytes, sealOnRoll }
}

function resolveKey(key: unknown, timeZone: unknown): KeyFunction {
  if (timeZone !== undefined && typeof timeZone !== 'string') {
    throw invalidOption('timeZone', 'must be the name of a time zone, as Asia/Shanghai')
  }
  if (typeof key === 'string') {
    return compileKeyPattern(key, timeZone ?? 'UTC', { host: hostname(), pid: process.pid })
  }
  if (typeof key !== 'function') throw invalidOption('key', 'must be a pattern or a function')
  if (timeZone !== undefined) {
    throw invalidOption('timeZone', 'is for patterns: a function formats the date itself')
  }
  return key as KeyFunction
}
