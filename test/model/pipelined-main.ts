/** Runs seeds of pipelined streams: `npm run test:pipelining -- FIRST [LAST]`. */

import { runPipelinedSeeds } from './pipelined-seeds.ts'

const [first = 1, last = first] = process.argv.slice(2).map(Number)
let failures = 0
const counts = await runPipelinedSeeds([first, last], ({ seed, theme, complaints, transcript }) => {
  failures += 1
  console.log(transcript.join('\n'))
  console.log(`seed ${seed}, ${theme}:\n  ${complaints.join('\n  ')}`)
})
console.log(counts)
console.log(`seeds ${first} to ${last}: ${failures} failed`)
process.exitCode = failures === 0 ? 0 : 1
