/**
 * Settlement by prefix against chance: real appenders in a world where attempts differ in length, come late
 * or twice, lose their responses, and meet other writers. FULL=1 runs more; SEED=n shows one run.
 */

import t from 'tap'
import { runsLongTests } from '../helpers/long-tests.ts'
import { type Troubles, World } from './settlement-model.ts'

const RUNS = runsLongTests('20,000 runs in each world of the settlement model; here 200')
  ? 20_000
  : 200

const WORLDS: [what: string, troubles: Troubles][] = [
  ['one writer', { rival: 0, sendsOnce: true }],
  ['one writer, and a layer below that sends twice', { rival: 0, sendsOnce: false }],
  ['another writer', { rival: 12, sendsOnce: true }],
  ['another writer, and a layer below that sends twice', { rival: 12, sendsOnce: false }],
  ['another writer, often', { rival: 40, sendsOnce: true }],
  ['another writer of the same bytes', { rival: 15, hasSameBytes: true, sendsOnce: true }],
]

/** What must have happened in a world, or its runs prove little. */
const COVERED = ['reconciled', 'lateLanded', 'unresolved', 'OSS_ERR_ABORTED', 'OSS_ERR_CLIENT']

for (const [what, troubles] of WORLDS) {
  t.test(`${what}: no record is lost, doubled, torn or silently there`, async t => {
    const only = process.env.SEED
    const seeds = only ? [Number(only)] : Array.from({ length: RUNS }, (_, run) => run + 1)
    const problems: string[] = []
    const totals: Record<string, number> = {}
    for (const seed of seeds) {
      const { problem, log, counts } = await new World(seed, troubles).run()
      if (problem && problems.length < 60) problems.push(`SEED=${seed}: ${problem}`, ...log)
      else if (only) t.comment(log.join('\n'))
      for (const name in counts) totals[name] = (totals[name] ?? 0) + counts[name]!
    }
    t.comment(JSON.stringify(totals))
    t.strictSame(problems, [])
    if (only) return
    for (const name of COVERED) t.ok(totals[name]! >= RUNS / 100, name)
    if (troubles.rival > 0) t.ok(totals.PositionNotEqualToLength! >= RUNS / 20, 'conflicts')
  })
}

t.test('the oracle sees a layer below that sends twice where the client denies it', async t => {
  const problems = new Set<string>()
  for (let seed = 1; seed <= 200; seed++) {
    const { problem } = await new World(seed, { rival: 30, sendsOnce: false, isLiar: true }).run()
    if (problem) problems.add(problem.replace(/\d+/g, 'N'))
  }
  t.strictSame(problems, new Set(['record N was stored N times']))
})
