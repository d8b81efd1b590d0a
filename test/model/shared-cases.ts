/** Counts the cases that seeds of the shared-writers model reach. */

import type { SharedReport } from './run-shared.ts'
import { ALL_FATES } from './shared-client.ts'

/** The cases that seeds must reach: every fault, every way in which an object closes, every verdict. */
export const REQUIRED_SHARED_CASES: readonly string[] = [
  ...ALL_FATES,
  ...[2, 3, 4, 5].map(count => `${count} writers`),
  'landed late',
  ...['HEAD: forbidden', 'GET: forbidden', 'GET'],
  'a 409 without doubt',
  'a 409 in doubt',
  'settled by the tail',
  ...['rolled by index', 'rolled by date'],
  'sealed meanwhile',
  'deleted meanwhile',
  'replaced meanwhile',
  ...['address of a record', 'no address'],
  'destroyed',
  'unresolved',
  'failed: OSS_ERR_RETRIES_EXHAUSTED',
  'failed: OSS_ERR_OBJECT_REPLACED',
]

export class SharedCounts {
  readonly counts: Record<string, number> = {}

  add({ counts }: SharedReport): void {
    for (const [name, count] of Object.entries(counts)) {
      this.counts[name] = (this.counts[name] ?? 0) + count
    }
  }
}
