/**
 * The process of one contender: `node worker.js FILE PARAMS`. `contenders/FILE.js` exports `open(params)`, which
 * resolves to a function that runs one turn. The process stays for the whole case, so each turn runs warm
 * code. It reports the seconds, the CPU seconds and the peak memory of each turn.
 */

import { readFileSync } from 'node:fs'

/** Bytes. The peak of resident memory since the start of the process. */
function peak() {
  try {
    // On Linux ru_maxrss begins with the value of the parent process, so it is of no use here.
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024
  } catch {
    return process.resourceUsage().maxRSS * 1024
  }
}

const [file, params] = process.argv.slice(2)
const { open } = await import(new URL(`./contenders/${file}.js`, import.meta.url))
const turn = await open(JSON.parse(params))
const idle = process.memoryUsage.rss()

process.on('message', async () => {
  try {
    const cpu = process.cpuUsage()
    const start = performance.now()
    const result = await turn()
    const seconds = (performance.now() - start) / 1000
    const { user, system } = process.cpuUsage(cpu)
    process.send({ result: { seconds, cpu: (user + system) / 1e6, idle, peak: peak(), ...result } })
  } catch (error) {
    process.send({ error: error.stack })
  }
})
process.on('disconnect', () => process.exit())
process.send({ ready: {} })
