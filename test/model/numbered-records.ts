/**
 * The records of the model. Each is made from its number alone. All bytes of records but the newline have
 * their highest bit set, and the bytes of other writers do not, so each byte of an object shows its writer:
 *
 *     | number, 4 bytes | length, 2 bytes | filler ... | newline, if records are lines |
 *
 * In text records each of these bytes is a character, which takes two bytes above 0x7f in UTF-8.
 */

import type { Align } from '../../lib/options.ts'
import type { OssServer } from '../../lib/server/index.ts'
import { createRandom } from '../helpers/random.ts'
import { BUCKET } from '../helpers/test-oss.ts'

export const HOUR = 3_600_000
export const START = Date.parse('2026-11-23T00:00:00Z')

const NUMBER_BYTES = 4
const HEADER_BYTES = 6
const NEWLINE = 10

export interface RecordStyle {
  readonly seed: number
  readonly align: Align
  /** Bytes of the longest record. */
  readonly longest: number
  /** The records are UTF-8 text. */
  readonly isText: boolean
}

/** The record with number `n`. */
export function recordOf({ seed, align, longest, isText }: RecordStyle, n: number): Buffer {
  const random = createRandom(seed * 1_000_003 + n)
  const isLong = random.integer(1, 60) === 1
  const usual = random.integer(HEADER_BYTES + 1, random.pick([10, 30, 90]))
  const width = isText ? 2 : 1
  const max = longest / width
  const length = typeof align === 'number' || isLong ? max : Math.min(usual, max)
  const record = Buffer.alloc(length, random.bytes(9)).map(byte => byte | 0x80) as Buffer
  for (let i = 0; i < NUMBER_BYTES; i++) record[i] = (n >> (7 * i)) | 0x80
  for (let i = 0; i < 2; i++) record[NUMBER_BYTES + i] = (length >> (7 * i)) | 0x80
  if (align === '\n') record[length - 1] = NEWLINE
  return isText ? Buffer.from(record.toString('latin1')) : record
}

export function recordsOf(style: RecordStyle, from: number, to: number): Buffer {
  return Buffer.concat(Array.from({ length: to - from }, (_, i) => recordOf(style, from + i)))
}

/** The numbers of the records in these bytes, or a complaint if a record is torn. */
export function parseRecords(style: RecordStyle, bytes: Buffer): number[] | string {
  const isOurs = (byte: number) => byte >= 0x80 || (style.align === '\n' && byte === NEWLINE)
  const ours = bytes.filter(isOurs) as Buffer
  const numbers: number[] = []
  for (let at = 0; at < ours.length; ) {
    const n = numberOf(style, ours.subarray(at))
    const record = recordOf(style, n)
    if (!record.equals(ours.subarray(at, at + record.length))) {
      return `record ${n} is torn at ${at} of ${ours.length}`
    }
    numbers.push(n)
    at += record.length
  }
  return numbers
}

/** The number of the record at the beginning of these bytes, if there is one. */
function numberOf({ isText }: RecordStyle, bytes: Buffer): number {
  const header = isText
    ? Buffer.from(bytes.subarray(0, 2 * NUMBER_BYTES).toString(), 'latin1')
    : bytes.subarray(0, NUMBER_BYTES)
  return header.reduceRight((sum, byte) => sum * 128 + (byte & 0x7f), 0)
}

/** How a scenario makes its keys. */
export type KeyStyle = 'plain' | 'index' | 'hour and index' | 'function'

/** The key of an object. It must match the patterns that run-records.ts gives to the stream. */
export function keyOf(style: KeyStyle, date: Date, index: number): string {
  const hour = String(date.getUTCHours()).padStart(2, '0')
  switch (style) {
    case 'plain':
      return 'records/all.log'
    case 'index':
      return `records/日志-${index}.log`
    case 'hour and index':
      return `records/${hour}/${index}.log`
    case 'function':
      return `records/${date.getUTCHours()}#${index.toString(36).padStart(3, '0')}`
  }
}

/** An object with the numbers of its records. */
export interface StoredObject {
  readonly key: string
  readonly bytes: Buffer
  readonly numbers: readonly number[]
}

/** Reads the objects of a scenario in the order of their hours and indices. */
export function readObjects(
  server: OssServer,
  style: RecordStyle & { readonly keys: KeyStyle },
  complain: (complaint: string) => void,
): StoredObject[] {
  const objects: StoredObject[] = []
  const isDated = style.keys === 'hour and index' || style.keys === 'function'
  for (let hour = 0; hour < (isDated ? 24 : 1); hour++) {
    for (let index = 0; ; index++) {
      const key = keyOf(style.keys, new Date(START + hour * HOUR), index)
      const bytes = server.read(BUCKET, key)
      if (!bytes) break
      const numbers = parseRecords(style, bytes)
      if (typeof numbers === 'string') complain(`${key}: ${numbers}`)
      objects.push({ key, bytes, numbers: typeof numbers === 'string' ? [] : numbers })
      if (style.keys === 'plain') break
    }
  }
  return objects
}
