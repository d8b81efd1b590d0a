/**
 * The rules of pipelined appends against chance: each world holds with all rules, and each rule is needed.
 * FULL=1 runs more; SEED=n shows one run.
 */

import t from 'tap'
import { runsLongTests } from '../helpers/long-tests.ts'
import { PipeliningWorld, type Troubles } from './pipelining-model.ts'
import { ALL_RULES, type Rules } from './pipelining-writer.ts'

const RUNS = runsLongTests('30,000 runs in each world of the pipelining model; here 150')
  ? 30_000
  : 150

const DEPTHS = [1, 2, 3, 4]
const WORLDS: [what: string, troubles: Omit<Troubles, 'depth'>][] = [
  ['one writer', { rival: 0 }],
  ['another writer', { rival: 3 }],
  ['another writer, often', { rival: 12 }],
  ['another writer that deletes and replaces', { rival: 5, deletes: true }],
]

/** What must have happened in a world with chains, or its runs prove little. */
const COVERED = [
  ...['served', 'served, then closed', 'hung, served', 'hung, not served', 'hung, late'],
  ...['5xx, served', '5xx, not served', '5xx, late', 'refused', 'damaged'],
].map(fate => `chain: ${fate}`)
const ALSO_COVERED = ['reset in a chain', 'deadline in a chain', 'late lands', 'unresolved']
const BY_CHAINS = ['sent again by the library', 'several responses in one read']

for (const [what, troubles] of WORLDS) {
  for (const depth of DEPTHS) {
    t.test(`depth ${depth}, ${what}: nothing is lost, doubled or silently there`, async t => {
      const { problems, totals } = runSeeds({ ...troubles, depth }, RUNS)
      t.comment(JSON.stringify(totals))
      t.strictSame(problems, [])
      if (process.env.SEED || depth === 1) return
      for (const name of [...COVERED, ...ALSO_COVERED, ...BY_CHAINS]) {
        t.ok((totals[name] ?? 0) >= RUNS / 100, `${name}: ${totals[name]}`)
      }
      if (troubles.rival === 0) return
      for (const name of ['conflict', 'a rival as long as the head']) {
        t.ok((totals[name] ?? 0) >= RUNS / 100, `${name}: ${totals[name]}`)
      }
      t.ok(totals['stored behind bytes of others']! > 0, 'a follower lands behind foreign bytes')
    })
  }
}

t.test('without any one rule some seed ends wrongly', async t => {
  for (const rule of Object.keys(ALL_RULES) as (keyof Rules)[]) {
    const rules = { ...ALL_RULES, [rule]: false }
    t.ok(findProblem(rules), `without ${rule}: ${findProblem(rules)}`)
  }
})

/** The first problem that a seed meets. */
function findProblem(rules: Rules): string | undefined {
  for (let seed = 1; seed <= 1000; seed++) {
    for (const depth of [2, 3]) {
      for (const rival of [0, 3]) {
        const { problem } = new PipeliningWorld(seed, { depth, rival, rules }).run()
        if (problem) return `depth ${depth}, seed ${seed}, ${problem}`
      }
    }
  }
  return undefined
}

function runSeeds(troubles: Troubles, runs: number) {
  const only = process.env.SEED
  const seeds = only ? [Number(only)] : Array.from({ length: runs }, (_, run) => run + 1)
  const problems: string[] = []
  const totals: Record<string, number> = {}
  for (const seed of seeds) {
    const { problem, log, counts } = new PipeliningWorld(seed, troubles).run()
    if (only) t.comment(log.join('\n'))
    if (problem && problems.length < 40) problems.push(`SEED=${seed}: ${problem}`, ...log)
    for (const name in counts) totals[name] = (totals[name] ?? 0) + counts[name]!
  }
  return { problems, totals }
}
