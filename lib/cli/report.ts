/** What a command prints when it is done. Pure text; numbers are exact where they prove something. */

import type { ReadyInfo, Tail } from '../index.ts'
import { formatBytes } from './progress.ts'

/** Length and CRC-64 of an object in OSS's own words. */
export interface ObservedTail {
  readonly position?: number | undefined
  readonly crc64?: string | undefined
}

/** Bytes counted on their way, and their SHA-256 in hexadecimal. */
export interface StreamDigest {
  readonly bytes: number
  readonly sha256: string
}

/** What was sent, and its sum. */
export interface Delivery extends StreamDigest {
  /** What was read, where that is something else: compressed, or only the rest of it was sent. */
  readonly input?: StreamDigest | undefined
  /** The input had not ended when reading did. */
  readonly isCut: boolean
  /** Bytes acknowledged. */
  readonly acknowledged: number
  /** The first object before, and the last one after as we computed it. */
  readonly before: ReadyInfo
  readonly after: Tail
  /** Key of the last object. */
  readonly key: string
  /** How many objects were left for the next one. */
  readonly rolls: number
  readonly appends: number
  /** Milliseconds. */
  readonly duration: number
}

/** An object as read back. */
export interface ObjectCopy {
  /** Bytes that came. */
  readonly length: number
  /** CRC-64 of all of them, and what OSS says it is. */
  readonly crc64: string
  readonly reported: ObservedTail
  /** SHA-256 of what comes after the first `from` bytes, in hexadecimal. */
  readonly sha256: string
}

export interface AppendReport {
  readonly source: string
  /** Of the last object. */
  readonly url: string
  readonly delivery: Delivery
  readonly reported: ObservedTail | undefined
  /** Absent where the object was not read back. */
  readonly copy?: ObjectCopy | undefined
}

export function formatReport(report: AppendReport): string {
  const { source, url, delivery, reported, copy } = report
  const { bytes, sha256, input, before, after, rolls, appends, duration } = delivery
  const numberFormat = new Intl.NumberFormat('en-US')
  const rate = formatBytes((bytes * 1000) / Math.max(duration, 1))
  const had = before.position > 0 ? ` (had ${numberFormat.format(before.position)} bytes)` : ''
  const rows: (readonly [string, string])[] = [
    ['source', source],
    rolls > 0 ? ['objects', `${rolls + 1}, the last one ${url}`] : ['object', url + had],
    ...(input ? ([['input', `${numberFormat.format(input.bytes)} bytes`]] as const) : []),
    [
      'bytes',
      `${numberFormat.format(bytes)} in ${appends} ${appends === 1 ? 'append' : 'appends'}`,
    ],
    ['length', numberFormat.format(after.position)],
    ['throughput', `${rate}/s, ${(duration / 1000).toFixed(2)} s`],
    ['CRC-64', `${after.crc64} computed`],
    ['', `${reported?.crc64 ?? 'none'} reported by OSS`],
  ]
  if (copy) rows.push(['', `${copy.crc64} read back`])
  if (input) rows.push(['SHA-256', `${input.sha256} input`], ['', `${sha256} appended`])
  else rows.push(['SHA-256', `${sha256} source`])
  // The bytes of one source that are in many objects have no SHA-256 there.
  if (copy && rolls === 0) rows.push(['', `${copy.sha256} object${had && ', what was appended'}`])
  return formatRows(rows)
}

/** Two columns; a row without a text is left out. */
export function formatRows(rows: readonly (readonly [string, string | undefined])[]): string {
  const known = rows.filter(([, text]) => text !== undefined)
  const width = Math.max(12, ...known.map(([label]) => label.length + 2))
  return known.map(([label, text = '']) => `${label.padEnd(width)}${text.trimEnd()}\n`).join('')
}
