/** A process that logs with a journal and is killed with SIGKILL at random moments, through outages. */

import type { Test } from 'tap'
import { waitForChild } from '../helpers/child-process.ts'
import { newFolder } from '../helpers/journal.ts'
import { createRandom } from '../helpers/random.ts'
import { startOss } from '../helpers/test-oss.ts'
import { readRecords, startLogger } from './journal-scenarios.ts'
import { pinoInProcess } from './logger-setups.ts'

/** Logs from `FROM` on, and prints each number before which all records are safe. */
const PROGRAM = `
  let n = FROM
  setInterval(() => {
    if (transport.stats().buffered === 0) console.log(n)
    for (let i = 0; i < 20; i++) log(n++)
  }, 1)
`

/** Kills `rounds` processes. Each record that was safe is in the objects once, in order. */
export async function runKills(t: Test, rounds: number, seed: number): Promise<void> {
  const random = createRandom(seed)
  const oss = await startOss(t)
  const journal = newFolder(t)
  const safe: number[] = []
  const STEP = 1_000_000
  for (let round = 0; round < rounds; round++) {
    const isDown = random.pick([true, false])
    if (isDown) oss.server.refuse()
    const code = PROGRAM.replace('FROM', String(round * STEP))
    const child = startLogger(t, oss, pinoInProcess, code, { journal, requestTimeout: 1000 })
    const ended = waitForChild(child)
    const delay = random.integer(0, 150)
    child.stdout?.once('data', () => setTimeout(() => child.kill('SIGKILL'), delay))
    const { stdout, stderr, signal } = await ended
    t.equal(signal, 'SIGKILL', stderr)
    for (let n = round * STEP; n < Number(stdout.trim().split('\n').at(-1)); n++) safe.push(n)
    if (isDown) await oss.server.listen()
  }
  const last = startLogger(t, oss, pinoInProcess, 'end()', { journal })
  const { stderr } = await waitForChild(last)
  t.equal(stderr, '')
  const numbers = readRecords(oss)
  const stored = new Set(numbers)
  t.equal(stored.size, numbers.length, 'no record is there twice')
  t.ok(
    numbers.every((n, i) => i === 0 || n > (numbers[i - 1] ?? n)),
    'in order',
  )
  t.same(
    safe.filter(n => !stored.has(n)),
    [],
    `${safe.length} safe records, ${numbers.length} stored`,
  )
}
