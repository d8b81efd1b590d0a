/** What the quick and the slow test of streams with a journal have in common: they run different seeds. */

import t from 'tap'
import { runStreams } from './journal-streams-world.ts'

/** What the seeds must have met, or they prove little. */
const REQUIRED = [
  ...['killed', 'killed in an exchange', 'killed in a turn', 'killed while idle', 'power lost'],
  ...['finished', 'suspended', 'destroyed', 'failed', 'process.exit() with an open journal'],
  ...['finished behind an open record', 'flushed', 'journaled', 'recovered bytes', 'rolled'],
  ...['sealed', 'an operator seals', 'late', 'landed late', 'response lost', 'dropped'],
  ...['landed after the death of its process', 'a dead process counts as living'],
  ...['recovered into an old object', 'an object was left at a start, since it was full'],
  ...['HEAD forbidden', 'another plain key', 'an fdatasync failed', 'the disk is full'],
  ...['a removed file is back', 'damaged: broken', 'damaged: unfinished', 'two slots delivered'],
  ...['another align', 'finished with a seal'],
]

/** Adds a test: each promise is kept in these seeds, and they meet each case `minCount` times. */
export function testStreamSeeds(first: number, last: number, minCount: number): void {
  t.test(`seeds ${first} to ${last}: what streams promise is there once, in order`, async t => {
    const totals = new Map<string, number>()
    for (let seed = first; seed <= last; seed++) {
      const { problem, log, counts } = await runStreams(seed)
      for (const [name, count] of Object.entries(counts)) {
        totals.set(name, (totals.get(name) ?? 0) + count)
      }
      if (problem) t.fail(`seed ${seed}: ${problem}`, { log })
    }
    for (const name of REQUIRED) {
      const count = totals.get(name) ?? 0
      t.ok(count >= minCount, `${name}: ${count} times`)
    }
  })
}
