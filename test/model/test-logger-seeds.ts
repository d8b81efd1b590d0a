/** What the quick and the slow test of the model of loggers have in common: they run different seeds. */

import t from 'tap'
import { runLoggers } from './logger-world.ts'

/** What the seeds must have met, or they prove little. */
const REQUIRED = [
  ...['closed', 'process.exit()', 'late records', 'dropped', 'a line for dropped records'],
  ...['given up at the end', 'unresolved', 'flushed', 'rolled', 'landed late', 'response lost'],
  ...['a 409 in doubt', 'HEAD: forbidden', 'GET: forbidden', 'two lengths at one position'],
]

/** Adds a test: each logged record is in an object once, or counted, and the seeds meet each case `minCount` times. */
export function testLoggerSeeds(first: number, last: number, minCount: number): void {
  t.test(`seeds ${first} to ${last}: loggers deliver or count each record`, async t => {
    const totals = new Map<string, number>()
    for (let seed = first; seed <= last; seed++) {
      const { complaints, transcript, counts } = await runLoggers(seed)
      for (const [name, count] of Object.entries(counts)) {
        totals.set(name, (totals.get(name) ?? 0) + count)
      }
      if (complaints.length > 0) t.fail(`seed ${seed}: ${complaints[0]}`, { transcript })
    }
    for (const name of REQUIRED) {
      const count = totals.get(name) ?? 0
      t.ok(count >= minCount, `${name}: ${count} times`)
    }
  })
}
