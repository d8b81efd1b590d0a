/**
 * The report at the end of a delivery, and the data in it. Pure. Numbers that prove something are printed
 * in full.
 */

import { formatCount } from '../errors.ts'
import type { ReadyInfo, Tail } from '../index.ts'
import { formatBytes } from './progress.ts'

/** Length of a stream and its SHA-256 in hexadecimal. */
export interface StreamDigest {
  readonly bytes: number
  readonly sha256: string
}

/** What was sent. */
export interface Delivery extends StreamDigest {
  /** What was read, where that differs from what was sent: with `--gzip` or `--resume`. */
  readonly input?: StreamDigest | undefined
  /** Reading stopped before the end of the input. */
  readonly isCut: boolean
  /** Bytes acknowledged. */
  readonly acknowledged: number
  /** The first object before the delivery, and the proven tail of the last one after it. */
  readonly before: ReadyInfo
  readonly after: Tail
  /** Key of the last object. */
  readonly key: string
  /** False: a rolling stream got no bytes, so it created no object. */
  readonly exists: boolean
  /** Number of times that the stream went on to another object. */
  readonly rolls: number
  readonly appends: number
  /** Bytes of earlier runs that came out of the journal. */
  readonly recovered: number
  /** Milliseconds. */
  readonly duration: number
}

/** At the end of the grace: what is not acknowledged stays in the journal. */
export interface Suspension {
  /** The folder. */
  readonly journal: string
  /** Bytes of this run that it holds. */
  readonly bytes: number
  /** The acknowledged end of the object. Undefined: it is not known. */
  readonly position: number | undefined
}

/** An object as read back. */
export interface ObjectCopy {
  /** Bytes read. */
  readonly length: number
  /** CRC-64 of the bytes read. */
  readonly crc64: string
  /** SHA-256 of the bytes that the delivery added, in hexadecimal. */
  readonly sha256: string
}

export interface AppendReport {
  readonly source: string
  /** URL of the last object. Undefined: there is none. */
  readonly url: string | undefined
  /** The folder of `--local`. */
  readonly folder?: string | undefined
  readonly delivery: Delivery
  /** Undefined: the object was not read back. */
  readonly copy?: ObjectCopy | undefined
}

export function formatReport(report: AppendReport): string {
  const { source, url, folder, delivery, copy } = report
  const { bytes, sha256, input, before, after, rolls, appends, recovered, duration } = delivery
  const numberFormat = new Intl.NumberFormat('en-US')
  const rate = formatBytes((bytes * 1000) / Math.max(duration, 1))
  const had = before.position > 0 ? ` (had ${numberFormat.format(before.position)} bytes)` : ''
  const rows: (readonly [string, string])[] = [
    ['source', source],
    rolls > 0
      ? ['objects', `${rolls + 1}, the last one ${url}`]
      : ['object', url === undefined ? 'none, because there were no bytes' : url + had],
    ...(input ? ([['input', `${numberFormat.format(input.bytes)} bytes`]] as const) : []),
    ['bytes', `${numberFormat.format(bytes)} in ${formatCount(appends, 'append')}`],
    ['length', numberFormat.format(after.position)],
    ['throughput', `${rate}/s, ${(duration / 1000).toFixed(2)} s`],
    // The stream finishes only if OSS reports the CRC-64 that it computed.
    ['CRC-64', `${after.crc64} computed${url === undefined ? '' : ', and reported by OSS'}`],
  ]
  if (recovered > 0) {
    rows.push([
      'recovered',
      `${numberFormat.format(recovered)} bytes of earlier runs, before these`,
    ])
  }
  if (copy) rows.push(['', `${copy.crc64} read back`])
  // In the folder are the bytes and states of a server, and not a file with the name of the key.
  if (folder !== undefined && url !== undefined) {
    rows.push(['read it by', `oss-append cat --local ${folder} ${url}`])
  }
  // The label is in front: behind 64 digits it would not fit into 80 columns.
  rows.push(['SHA-256', ''])
  if (input) rows.push(['  input', input.sha256], ['  appended', sha256])
  else rows.push(['  source', sha256])
  // The SHA-256 of the source cannot be compared where its bytes are in several objects.
  if (copy && rolls === 0) rows.push(['  object', copy.sha256])
  return formatRows(rows)
}

/** Two columns. A row without a text is left out. */
export function formatRows(rows: readonly (readonly [string, string | undefined])[]): string {
  const known = rows.filter(([, text]) => text !== undefined)
  const width = Math.max(12, ...known.map(([label]) => label.length + 2))
  return known
    .map(([label, text = '']) => `${`${label.padEnd(width)}${text}`.trimEnd()}\n`)
    .join('')
}
