/** Two streams that live at the same time in one folder. */

import t from 'tap'
import { runNeighbours } from './journal-neighbours.ts'

const SEEDS = process.env.FULL ? 5000 : 60

/** What the seeds must have met, or they prove little. */
const REQUIRED = [
  ...['one process', 'two processes', 'both are ready', 'power lost', 'recovered bytes'],
  ...['killed', 'finished', 'suspended', 'destroyed', 'landed after the death of its process'],
  ...['ended exactly, with keys that {slot} keeps apart', 'ended exactly, with other keys'],
]

t.test(
  'what two streams in one folder promise is in their own objects, once, in order',
  async t => {
    const totals = new Map<string, number>()
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { problem, log, counts } = await runNeighbours(seed)
      for (const [name, count] of Object.entries(counts)) {
        totals.set(name, (totals.get(name) ?? 0) + count)
      }
      if (problem) t.fail(`seed ${seed}: ${problem}`, { log })
    }
    for (const name of REQUIRED) t.ok((totals.get(name) ?? 0) > 2, `${name}: ${totals.get(name)}`)
  },
)
