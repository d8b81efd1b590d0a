/**
 * Runs seeds of the model of loggers. One seed alone prints what happened:
 *
 *     node --import=./test/helpers/typescript.js test/model/logger-main.ts [--seeds 1000] [--from 1]
 */

import { runLoggers } from './logger-world.ts'
import { runSeedProgram } from './seed-program.ts'

await runSeedProgram({ seeds: 1000, run: runLoggers })
