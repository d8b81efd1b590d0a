/**
 * Numbers with units, as people type them: `4MiB`, `500ms`, `10s`. Pure. What cannot be read is refused
 * in a message that names the option and never quotes the text: it may be a secret in the wrong place.
 */

import { MAX_DELAY } from '../check.ts'
import { UsageError } from './usage.ts'

/** Reads the text of an option, which is named in the message if it is wrong. */
export type Reader<T> = (option: string, text: string) => T

const SIZES: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
}

const DURATIONS: Readonly<Record<string, number>> = {
  '': 1,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** Bytes: `500000`, `64KiB`, `1.5MiB`, `1GiB`. */
export const readSize: Reader<number> = (option, text) =>
  readWith(SIZES, text) ??
  refuse(option, 'must be a number of bytes, as in 500000, 64KiB, 4MiB or 1GiB')

/** Milliseconds that a timer takes: `250`, `500ms`, `10s`, `1.5h`. */
export const readDuration: Reader<number> = (option, text) => {
  const time = readWith(DURATIONS, text)
  if (time === undefined) return refuse(option, 'must be a time, as in 500ms, 10s, 5m or 2h')
  return time <= MAX_DELAY ? time : refuse(option, 'must be a time of at most 24 days')
}

/** The same, or `Infinity`. */
export const readPatience: Reader<number> = (option, text) =>
  isInfinity(text)
    ? Number.POSITIVE_INFINITY
    : (readWith(DURATIONS, text) ?? refuse(option, 'must be a time, as in 10s or 5m, or Infinity'))

/** A whole number from 0 up. */
export const readCount: Reader<number> = (option, text) =>
  /^\d{1,15}$/.test(text) ? Number(text) : refuse(option, 'must be a whole number')

/** The same, or `Infinity`. */
export const readLimit: Reader<number> = (option, text) => {
  if (isInfinity(text)) return Number.POSITIVE_INFINITY
  return /^\d{1,15}$/.test(text)
    ? Number(text)
    : refuse(option, 'must be a whole number, or Infinity')
}

/** `NAME=VALUE`; the value may hold further equals signs. */
export const readPair: Reader<readonly [string, string]> = (option, text) => {
  const [, name, value = ''] = /^([^=]+)=(.*)$/s.exec(text) ?? []
  return name === undefined ? refuse(option, 'must be NAME=VALUE') : [name, value]
}

/** Where a batch may end: after a line, a chunk, or a multiple of so many bytes. */
export const readAlign: Reader<number | string> = (option, text) => {
  if (text === 'line' || text === '\n' || text === '\\n') return '\n'
  if (text === 'chunk') return 'chunk'
  return readWith(SIZES, text) ?? refuse(option, 'must be line, chunk or a number of bytes')
}

function readWith(units: Readonly<Record<string, number>>, text: string): number | undefined {
  const [, digits, unit = ''] = /^(\d{1,15}(?:\.\d{1,9})?) ?([A-Za-z]*)$/.exec(text) ?? []
  if (digits === undefined || !Object.hasOwn(units, unit)) return undefined
  const value = Math.round(Number(digits) * (units[unit] ?? 1))
  return Number.isSafeInteger(value) ? value : undefined
}

function isInfinity(text: string): boolean {
  return text.toLowerCase() === 'infinity'
}

function refuse(option: string, problem: string): never {
  throw new UsageError(`${option}: ${problem}`)
}
