/** Counts the cases that seeds reach: each fault that struck, and each verdict. */

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

/** The prefix of a fault's name if it strikes another operation than an append. */
const LOOKUP_PREFIX = /^(head|probe|seal): /

/**
 * The cases that seeds must reach. All combinations are possible: each verdict also occurs where HEAD is
 * forbidden, by an append of no bytes, and at the append with the last byte.
 */
export const REQUIRED_CASES: readonly string[] = [
  ...new Set(Object.keys(FAULTS).flatMap(casesOf)),
  'two lengths at one position',
  'three lengths at one position, or more',
  ...['longest', 'middle', 'shortest'].flatMap(which => [
    `landed: the ${which} of several lengths`,
    `late: the ${which} of several lengths`,
  ]),
  'a timeout on a slow link',
  'a body limit below the floor',
  'HEAD failing',
  'probe failing',
  'seal failing',
  ...VERDICTS.flatMap(verdict => [
    verdict,
    `${verdict}, HEAD forbidden`,
    `${verdict}, at the last append`,
  ]),
  ...['append', 'head', 'probe', 'seal'].map(on => `records: faults of ${on}`),
  ...['records', 'sessions', 'resumed', 'rolls', 'texts', 'corks'].map(
    caseName => `records: ${caseName}`,
  ),
]

export class CaseCounts {
  readonly counts: Record<string, number> = Object.fromEntries(
    REQUIRED_CASES.map(caseName => [caseName, 0]),
  )
  readonly outcomes: Record<string, number> = {}

  add({ fired, verdicts, outcome, attemptLengths }: Report): void {
    const { two, more, landed, late, slowTimeouts } = attemptLengths
    this.#count('two lengths at one position', two)
    this.#count('three lengths at one position, or more', more)
    for (const which of ['longest', 'middle', 'shortest'] as const) {
      this.#count(`landed: the ${which} of several lengths`, landed[which])
      this.#count(`late: the ${which} of several lengths`, late[which])
    }
    this.#count('a timeout on a slow link', slowTimeouts)
    if (outcome === 'OSS_ERR_BODY_REFUSED') this.#count('a body limit below the floor')
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
      sessions,
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

/** The cases of a fault. The name of a late append has two: how its response is lost, and when it lands. */
function casesOf(name: string): string[] {
  const [, on] = LOOKUP_PREFIX.exec(name) ?? []
  if (on !== undefined) return [`${on === 'head' ? 'HEAD' : on} failing`]
  return name.split(/, (?=lands)/)
}
