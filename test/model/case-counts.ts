/** What the seeds have exercised: how often each fault struck, and how often each verdict was reached. */

import { FAULTS } from './faults.ts'
import type { RecordReport } from './run-records.ts'
import type { Report } from './run-seed.ts'
import type { Verdict } from './stream-observer.ts'

const VERDICTS: readonly Verdict['verdict'][] = [
  'landed',
  'absent',
  'conflict',
  'replaced',
  'integrity',
  'aborted',
]

/** What a fault's name begins with, if it strikes something else than an append. */
const LOOKUP_PREFIX = /^(head|probe|seal): /

/**
 * Every cell that has to be reached. All combinations make sense: each verdict is reached without the
 * right to read too (by appends of nothing), and at the append with the last byte.
 */
export const REQUIRED_CASES: readonly string[] = [
  ...new Set(Object.keys(FAULTS).flatMap(casesOf)),
  'HEAD failing',
  'probe failing',
  'seal failing',
  ...VERDICTS.flatMap(verdict => [
    verdict,
    `${verdict}, HEAD forbidden`,
    `${verdict}, at the last append`,
  ]),
  ...['append', 'head', 'probe', 'seal'].map(on => `records: faults of ${on}`),
  ...['records', 'lives', 'resumed', 'rolls', 'texts', 'corks'].map(
    caseName => `records: ${caseName}`,
  ),
]

export class CaseCounts {
  readonly counts: Record<string, number> = Object.fromEntries(
    REQUIRED_CASES.map(caseName => [caseName, 0]),
  )
  readonly outcomes: Record<string, number> = {}

  add({ fired, verdicts, outcome }: Report): void {
    for (const [name, times] of Object.entries(fired)) {
      for (const caseName of casesOf(name)) this.#count(caseName, times)
    }
    for (const { verdict, isLast, mayRead } of verdicts) {
      this.#count(verdict)
      if (!mayRead) this.#count(`${verdict}, HEAD forbidden`)
      if (isLast) this.#count(`${verdict}, at the last append`)
    }
    this.outcomes[outcome] = (this.outcomes[outcome] ?? 0) + 1
  }

  addRecords({ fired, rolls, resumed, sessions, records, texts, corks }: RecordReport): void {
    for (const [name, times] of Object.entries(fired)) {
      const [, on = 'append'] = LOOKUP_PREFIX.exec(name) ?? []
      this.#count(`records: faults of ${on}`, times)
    }
    for (const [caseName, count] of Object.entries({
      rolls,
      resumed,
      lives: sessions,
      records,
      texts,
      corks,
    })) {
      this.#count(`records: ${caseName}`, count)
    }
  }

  #count(caseName: string, times = 1): void {
    this.counts[caseName] = (this.counts[caseName] ?? 0) + times
  }
}

/** A fault's name is a cell; how a late append goes unanswered, and when it lands, are two. */
function casesOf(name: string): string[] {
  const [, on] = LOOKUP_PREFIX.exec(name) ?? []
  if (on !== undefined) return [`${on === 'head' ? 'HEAD' : on} failing`]
  return name.split(/, (?=lands)/)
}
