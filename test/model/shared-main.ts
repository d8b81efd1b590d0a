/**
 * Runs seeds of the model of shared writers. One seed alone prints what happened:
 *
 *     npm run test:shared -- [--seeds 1000] [--from 1]
 */

import { runShared } from './run-shared.ts'
import { runSeedProgram } from './seed-program.ts'
import { REQUIRED_SHARED_CASES } from './shared-cases.ts'

await runSeedProgram({ seeds: 1000, run: runShared, required: REQUIRED_SHARED_CASES })
