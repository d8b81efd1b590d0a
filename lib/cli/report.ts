/** What a command prints when it is done. Pure text; numbers are exact where they prove something. */

import type { Delivery, ReportedTail } from './delivery.ts'
import { formatBytes } from './progress.ts'
import type { Copy } from './proof.ts'

export interface Findings {
  readonly source: string
  readonly url: string
  readonly delivery: Delivery
  readonly reported: ReportedTail | undefined
  /** Absent where the object was not read back. */
  readonly copy?: Copy | undefined
}

export function describeDelivery(findings: Findings): string {
  const { source, url, delivery, reported, copy } = findings
  const { bytes, sha256, before, after, appends, duration } = delivery
  const exact = new Intl.NumberFormat('en-US')
  const rate = formatBytes((bytes * 1000) / Math.max(duration, 1))
  const rows: [string, string][] = [
    ['source', source],
    [
      'object',
      `${url} ${before.position > 0 ? `(had ${exact.format(before.position)} bytes)` : ''}`,
    ],
    ['bytes', `${exact.format(bytes)} in ${appends} ${appends === 1 ? 'append' : 'appends'}`],
    ['throughput', `${rate}/s, ${(duration / 1000).toFixed(2)} s`],
    ['CRC-64', `${after.crc64} computed`],
    ['', `${reported?.crc64 ?? 'none'} reported by OSS`],
  ]
  if (copy) rows.push(['', `${copy.crc64} read back`])
  rows.push(['SHA-256', `${sha256} source`])
  if (copy)
    rows.push(['', `${copy.sha256} object${before.position > 0 ? ', what was appended' : ''}`])
  return rows.map(([label, text]) => `${label.padEnd(12)}${text.trimEnd()}\n`).join('')
}
