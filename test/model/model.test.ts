/**
 * The promise of the package, tried at random: seeded sources against seeded faults, the real stream
 * over real HTTP, and an oracle that compares every event with the object (oracle.ts).
 * Then records, whole, in one object after another, over several lives of a stream.
 * The same core runs more seeds, in parallel: `npm run test:model -- --seeds 100000`.
 *
 * A seed decides the object, the options, the steps of the source and the faults. It does not decide
 * when bytes travel, so a seed that failed once by such chance may need several runs to fail again.
 */

import t from 'tap'
import { CaseCounts, REQUIRED_CASES } from './case-counts.ts'
import { runRecords } from './run-records.ts'
import { reproduceCommand, runSeed } from './run-seed.ts'

const SEEDS = 1_000
/** Seeds that are played with records as well. */
const RECORD_SEEDS = 50
const LEAST = 20
/** What has to be reached more often. */
const LEAST_OF: Readonly<Record<string, number>> = { 'records: rolls': 500 }

t.test('each seed ends as specified, and all of them reach everything', async t => {
  const counts = new CaseCounts()
  for (let seed = 1; seed <= RECORD_SEEDS; seed++) {
    const report = await runRecords(seed)
    counts.addRecords(report)
    if (report.complaints.length === 0) continue
    t.fail(`records of seed ${seed}: ${report.complaints[0]}`, {
      repeat: reproduceCommand(seed),
      complaints: report.complaints,
      story: report.transcript,
    })
  }
  for (let seed = 1; seed <= SEEDS; seed++) {
    const report = await runSeed(seed)
    counts.add(report)
    if (report.complaints.length === 0) continue
    t.fail(`seed ${seed}: ${report.complaints[0]}`, {
      repeat: reproduceCommand(seed),
      complaints: report.complaints,
      story: report.transcript,
    })
  }
  for (const caseName of REQUIRED_CASES) {
    const count = counts.counts[caseName] ?? 0
    t.ok(count >= (LEAST_OF[caseName] ?? LEAST), `${caseName}: ${count} times`)
  }
})

t.test('nothing is left alive', async t => {
  const isOurs = (name: string) => name === 'Timeout' || name === 'TCPSocketWrap'
  const alive = () => process.getActiveResourcesInfo().filter(isOurs)
  // Sockets need some turns to end.
  for (let turn = 0; turn < 100_000 && alive().length > 0; turn++) await new Promise(setImmediate)
  t.same(alive(), [], 'no timer, no socket')
})
