/**
 * Runs seeds of the model of streams with a journal. One seed alone prints what happened:
 *
 *     node --import=./test/helpers/typescript.js test/model/journal-streams-main.ts [--seeds 1000] [--from 1]
 */

import { runStreams } from './journal-streams-world.ts'
import { runSeedProgram } from './seed-program.ts'

await runSeedProgram({
  seeds: 1000,
  async run(seed) {
    const { problem, log, counts } = await runStreams(seed)
    return { complaints: problem === undefined ? [] : [problem], transcript: log, counts }
  },
})
