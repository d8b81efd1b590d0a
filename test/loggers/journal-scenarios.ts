/** Programs that log with a journal and end while OSS is down, and the program after them, which delivers. */

import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { type ChildResult, startModule, waitForChild } from '../helpers/child-process.ts'
import { newFolder } from '../helpers/journal.ts'
import { parseRecords } from '../helpers/numbered-records.ts'
import { BUCKET, type Oss, startOss } from '../helpers/test-oss.ts'
import type { LoggerSetup } from './exit-scenarios.ts'

export interface JournalScenario {
  readonly title: string
  /** The program after the prologue. It logs the records from 0 to 499. */
  readonly code: string
  /** Otherwise it ends by itself. */
  readonly isKilled?: boolean
  /** OSS is up, and refuses everything, so streams fail. */
  readonly isDenied?: boolean
  readonly options?: Readonly<Record<string, unknown>>
}

const LOG = 'const logMany = (from, to) => { for (let n = from; n < to; n++) log(n) };'
const RUN_ON = 'setInterval(() => {}, 1e6)'
export const TOTAL = 500

export const JOURNAL_SCENARIOS: readonly JournalScenario[] = [
  { title: 'SIGKILL', code: `logMany(0, ${TOTAL}); ${RUN_ON}`, isKilled: true },
  {
    title: 'process.exit()',
    code: `logMany(0, 250); setTimeout(() => { logMany(250, ${TOTAL}); process.exit() }, 300)`,
  },
  {
    title: 'process.exit() after a stream has failed',
    code: `transport.once('warn', () => { logMany(250, ${TOTAL}); process.exit() })
      logMany(0, 250); ${RUN_ON}`,
    isDenied: true,
  },
  { title: 'process.exit() at once', code: `logMany(0, ${TOTAL}); process.exit()` },
  {
    title: 'an end, after closeTimeout',
    code: `logMany(0, ${TOTAL}); end()`,
  },
  {
    title: 'an uncaught throw',
    code: `logMany(0, 250); setTimeout(() => { logMany(250, ${TOTAL}); throw new Error('thrown') }, 300)`,
  },
  {
    title: "process.exit() with a listener of 'exit' that logs",
    code: `process.prependListener('exit', () => logMany(490, ${TOTAL}))
      logMany(0, 490); setTimeout(() => process.exit(), 300)`,
  },
]

/** Runs the scenario while OSS is down. Afterwards the next program delivers all of it, once. */
export async function runJournalScenario(
  t: Test,
  setup: LoggerSetup,
  { code, isKilled = false, isDenied = false, options }: JournalScenario,
): Promise<void> {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const settings = { closeTimeout: 300, ...options, journal }
  const permissions = [...oss.server.permissions]
  if (isDenied) oss.server.permissions.clear()
  else oss.server.refuse()
  const { stderr, signal } = await runLogger(t, oss, setup, code, settings, isKilled ? journal : '')
  t.equal(signal, isKilled ? 'SIGKILL' : null, stderr)
  const kept = /^oss-append-stream: \d+ bytes for oss:.+ stay in the journal .+; the next start/gm
  t.equal([...stderr.matchAll(kept)].length, isKilled ? 0 : 1, stderr)
  t.notMatch(stderr, /not acknowledged/)
  if (!isDenied) await oss.server.listen()
  for (const action of permissions) oss.server.permissions.add(action)
  const next = `logMany(${TOTAL}, ${TOTAL + 10}); end()`
  const second = await runLogger(t, oss, setup, next, { ...settings, closeTimeout: 9000 })
  t.equal(second.stderr, '')
  t.same(
    readRecords(oss),
    Array.from({ length: TOTAL + 10 }, (_, n) => n),
  )
}

/** Runs a program to its end, or kills it once the journal has its last record. */
async function runLogger(
  t: Test,
  oss: Oss,
  setup: LoggerSetup,
  code: string,
  options: Readonly<Record<string, unknown>>,
  killWhenIn = '',
): Promise<ChildResult> {
  const child = startLogger(t, oss, setup, LOG + code, options)
  const ended = waitForChild(child)
  if (killWhenIn !== '') {
    const closed = once(child, 'close')
    let isClosed = false
    void closed.then(() => (isClosed = true))
    while (!isClosed && !holds(killWhenIn, TOTAL - 1)) await new Promise(r => setTimeout(r, 10))
    child.kill('SIGKILL')
  }
  return ended
}

export function startLogger(
  t: Test,
  oss: Oss,
  setup: LoggerSetup,
  code: string,
  options: Readonly<Record<string, unknown>>,
) {
  const { url, region, credentials } = oss.server
  const retry = { minDelay: 5, maxDelay: 50 }
  return startModule(t, setup.prologue + code, {
    OPTIONS: JSON.stringify({
      ...{ bucket: BUCKET, key: 'app-{slot}.log', flushInterval: 20, retry },
      ...options,
    }),
    OSS_ENDPOINT: url,
    OSS_REGION: region,
    OSS_ACCESS_KEY_ID: credentials.accessKeyId,
    OSS_ACCESS_KEY_SECRET: credentials.accessKeySecret,
  })
}

/** Whether a file of the journal has the record. */
function holds(journal: string, n: number): boolean {
  const files = readdirSync(journal, { recursive: true, encoding: 'utf8' })
  return files
    .filter(name => name.endsWith('.journal'))
    .some(name => {
      try {
        return readFileSync(join(journal, name), 'latin1').includes(`"n":${n}}`)
      } catch {
        return false
      }
    })
}

/** The numbers of all records, object by object. */
export function readRecords(oss: Oss): number[] {
  const numbers: number[] = []
  for (let slot = 0; slot < 4; slot++) {
    numbers.push(...parseRecords(oss.server.read(BUCKET, `app-${slot}.log`)).numbers)
  }
  return numbers
}
