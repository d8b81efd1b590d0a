/**
 * Runs seeds of the model of the journal. One seed alone prints what happened:
 *
 *     node --import=./test/helpers/typescript.js test/model/journal-main.ts [--seeds 30000] [--from 1]
 */

import { runSeed } from './journal-world.ts'
import { runSeedProgram } from './seed-program.ts'

await runSeedProgram({
  seeds: 30_000,
  async run(seed) {
    const { problem, log, counts } = await runSeed(seed)
    return { complaints: problem === undefined ? [] : [problem], transcript: log, counts }
  },
})
