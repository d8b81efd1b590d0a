/**
 * Processes that log to the same object: restarts that overlap, cluster workers, reloads. Each scenario runs
 * real processes with the default options against a server with some latency, and counts their records.
 */

import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { type ChildResult, cleanEnv, spawnClean, waitForChild } from '../helpers/child-process.ts'
import { BUCKET, type Oss, startOss } from '../helpers/test-oss.ts'
import type { LoggerSetup } from './exit-scenarios.ts'

/** A plain stream, which is shared where that is said. */
export const plainStream: LoggerSetup = {
  name: 'plain stream',
  prologue: `
    import { createRollingAppendStream } from 'oss-append-stream'
    const transport = createRollingAppendStream({ shared: true, align: '\\n', ...JSON.parse(process.env.OPTIONS) })
    const log = n => transport.write(JSON.stringify({ n }) + '\\n')
    const end = () => transport.end()
    const onSignal = () => transport.end(() => process.exit())
  `,
  isThread: false,
}

/** The default logger of winston, which `reload()` configures anew. */
export const winstonConfigure: LoggerSetup = {
  name: 'winston.configure()',
  prologue: `
    import winston from 'winston'
    import { OssTransport } from 'oss-append-stream/winston'
    const reload = () => {
      winston.configure({ transports: [new OssTransport(JSON.parse(process.env.OPTIONS))] })
    }
    reload()
    const log = n => winston.info('hello', { n })
    const end = () => {}
  `,
  isThread: false,
}

/** Logs LINES numbers from FROM on, one each INTERVAL milliseconds; at SIGTERM, those that it came to. */
const LOG_LINES = `
  import cluster from 'node:cluster'
  const { FROM, LINES, INTERVAL, RELOAD_EVERY } = process.env
  const first = Number(FROM)
  let n = first
  const finish = how => {
    clearInterval(timer)
    console.log([first, n - first].join(' '))
    how()
    // A worker whose channel closes in another way exits at once.
    cluster.worker?.disconnect()
  }
  const timer = setInterval(() => {
    if (n > first && (n - first) % Number(RELOAD_EVERY) === 0) reload()
    if (n === first) console.log('ready')
    log(n++)
    if (n - first === Number(LINES)) finish(end)
  }, Number(INTERVAL))
  process.once('SIGTERM', () => finish(onSignal))
`

/** Numbers of one process. */
const NUMBERS = 100_000

export interface SharedOptions {
  /** Options of the logger besides bucket and key. */
  readonly options?: Readonly<Record<string, unknown>>
  /** Processes, workers or reloads. */
  readonly count: number
  /** Milliseconds from the start of a process to that of the next. */
  readonly apart?: number
  /** Lines that each process logs. */
  readonly lines: number
  /** Milliseconds between two lines. */
  readonly interval?: number
}

/** What was found of the records of all processes. */
export interface Tally {
  readonly logged: number
  readonly lost: number
  readonly doubled: number
  /** Lines that are no record, such as the half of one. */
  readonly torn: number
  /** Records that stand before an earlier one of the same process. */
  readonly misplaced: number
  readonly stderr: string
  readonly failures: number
  /** Appends of all processes, and those that were refused because another process came first. */
  readonly requests: number
  readonly refused: number
}

interface Run {
  readonly t: Test
  readonly oss: Oss
  readonly setup: LoggerSetup
  readonly key: string
  readonly shared: SharedOptions
}

/** Processes that start one after another, while those before them still log. */
export async function runRestarts(t: Test, setup: LoggerSetup, shared: SharedOptions) {
  const run = await startRun(t, setup, shared)
  const starts = Array.from({ length: shared.count }, async (_, i) => {
    await sleep(i * (shared.apart ?? 0))
    return waitForChild(startLogger(run, i * NUMBERS))
  })
  return tally(run, await Promise.all(starts))
}

/** Each process is told to end by SIGTERM when the next one logs. */
export async function runReloads(t: Test, setup: LoggerSetup, shared: SharedOptions) {
  const run = await startRun(t, setup, shared)
  const results: Promise<ChildResult>[] = []
  let last: ChildProcess | undefined
  for (let i = 0; i < shared.count; i++) {
    const child = startLogger(run, i * NUMBERS)
    const ended = waitForChild(child)
    results.push(ended)
    if (child.stdout) await Promise.race([once(child.stdout, 'data'), ended])
    await sleep(shared.apart ?? 0)
    last?.kill('SIGTERM')
    last = child
  }
  last?.kill('SIGTERM')
  return tally(run, await Promise.all(results))
}

/** Workers of one cluster. The primary process logs nothing. */
export async function runCluster(t: Test, setup: LoggerSetup, shared: SharedOptions) {
  const run = await startRun(t, setup, shared)
  const folder = t.testdir({ 'worker.mjs': setup.prologue + LOG_LINES })
  const code = `

    import cluster from 'node:cluster'

    cluster.setupPrimary({ exec: ${JSON.stringify(`${folder}/worker.mjs`)}, execArgv: [] })
    for (let i = 0; i < ${shared.count}; i++) cluster.fork({ FROM: String(i * ${NUMBERS}) })
  `
  return tally(run, [await waitForChild(startProgram(run, code, 0))])
}

/** One process, in which the logger is configured again and again. */
export async function runConfigures(t: Test, shared: SharedOptions) {
  const run = await startRun(t, winstonConfigure, shared)
  return tally(run, [await waitForChild(startLogger(run, 0))])
}

async function startRun(t: Test, setup: LoggerSetup, shared: SharedOptions): Promise<Run> {
  const oss = await startOss(t)
  oss.server.latency = 20
  return { t, oss, setup, key: `${oss.newKey()}-{index}`, shared }
}

function startLogger(run: Run, from: number): ChildProcess {
  return startProgram(run, run.setup.prologue + LOG_LINES, from)
}

function startProgram(
  { t, oss, setup, key, shared }: Run,
  code: string,
  from: number,
): ChildProcess {
  const { url, region, credentials } = oss.server
  const { count, lines, interval = 10, options } = shared
  const env = cleanEnv({
    OPTIONS: JSON.stringify({ bucket: BUCKET, key, ...patience(setup), ...options }),
    OSS_ENDPOINT: url,
    OSS_REGION: region,
    OSS_ACCESS_KEY_ID: credentials.accessKeyId,
    OSS_ACCESS_KEY_SECRET: credentials.accessKeySecret,
    FROM: String(from),
    LINES: String(lines),
    INTERVAL: String(interval),
    RELOAD_EVERY: setup === winstonConfigure ? String(lines / count) : 'never',
  })
  const child = spawnClean([process.execPath, '--input-type=module', '-e', code], env)
  t.teardown(() => child.kill('SIGKILL'))
  return child
}

/** On a busy machine the default of 8 s is too short. A worker of pino has no more, and a stream needs none. */
function patience({ isThread, name }: LoggerSetup): Readonly<Record<string, unknown>> {
  return isThread || name === plainStream.name ? {} : { closeTimeout: 60_000 }
}

/** Counts the records in all objects. */
function tally({ oss, key }: Run, results: readonly ChildResult[]): Tally {
  const logged = new Set(results.flatMap(({ stdout }) => loggedNumbers(stdout)))
  const lines = readObjects(oss, key).split('\n')
  const isCut = lines.pop() !== ''
  const numbers = lines.map(numberOf)
  const stored = new Set<number>()
  const latest = new Map<number, number>()
  const counts = { doubled: 0, torn: Number(isCut), misplaced: 0 }
  for (const n of numbers) {
    const writer = Math.floor((n ?? 0) / NUMBERS)
    if (n === undefined) counts.torn += 1
    else if (stored.has(n)) counts.doubled += 1
    else if (n < (latest.get(writer) ?? 0)) counts.misplaced += 1
    if (n === undefined) continue
    stored.add(n)
    latest.set(writer, n)
  }
  const lost = [...logged].filter(n => !stored.has(n)).length
  const appends = oss.server.requests.filter(({ operation }) => operation === 'append')
  return {
    ...{ logged: logged.size, lost, ...counts },
    stderr: results.map(({ stderr }) => stderr).join(''),
    failures: results.filter(({ code }) => code !== 0).length,
    requests: appends.length,
    refused: appends.filter(({ code }) => code === 'PositionNotEqualToLength').length,
  }
}

/** Of the lines `FROM LINES` that processes print. */
function loggedNumbers(stdout: string): number[] {
  return [...stdout.matchAll(/^(\d+) (\d+)$/gm)].flatMap(([, from, lines]) =>
    Array.from({ length: Number(lines) }, (_, i) => Number(from) + i),
  )
}

function readObjects(oss: Oss, pattern: string): string {
  let text = ''
  for (let index = 0; ; index++) {
    const bytes = oss.server.read(BUCKET, pattern.replace('{index}', String(index)))
    if (!bytes) return text
    text += bytes
  }
}

/** The number of a record; undefined: the line is not one. */
function numberOf(line: string): number | undefined {
  try {
    const { n } = JSON.parse(line)
    return typeof n === 'number' ? n : undefined
  } catch {
    return undefined
  }
}

/** All records are there, once, whole and in order, and the processes had nothing to say. */
export function checkTally(t: Test, { logged, requests, refused, ...tally }: Tally): void {
  t.comment(`${logged} records, ${requests} appends, ${refused} of them refused`)
  t.ok(logged > 0)
  t.strictSame(tally, {
    ...{ lost: 0, doubled: 0, torn: 0, misplaced: 0, stderr: '', failures: 0 },
  })
}
