/**
 * The ways in which a process that logs can end, and in which OSS can be unreachable then. Each scenario is a program
 * of its own with a real logger. Its numbered records are counted in the object.
 */

import { once } from 'node:events'
import type { Test } from 'tap'
import { startModule } from '../helpers/child-process.ts'
import { checkRecords, parseLossReports, parseRecords } from '../helpers/numbered-records.ts'
import { BUCKET, type Oss, startOss, waitUntil } from '../helpers/test-oss.ts'

/**
 * What the object has at the end: all records; all but those that are reported; none, with one report; or the
 * first records, without a gap.
 */
export type Expectation = 'all' | 'reported' | 'none' | 'prefix'

export interface LoggerSetup {
  readonly name: string
  /**
   * The beginning of each program. It defines `transport`; `log(n)`; `end()`, which ends the logger; `endIfNeeded()`,
   * which does so unless the exit of the process does; and `onSignal`, the documented handler of SIGTERM. It reads
   * the options of the transport from `OPTIONS`.
   */
  readonly prologue: string
  /** The transport runs in a thread of its own, and the exit of the process waits for it. */
  readonly isThread: boolean
}

export interface ExitScenario {
  readonly title: string
  /** How many records are logged. */
  readonly total: number | { readonly thread: number; readonly process: number }
  readonly options?: Readonly<Record<string, unknown>>
  /** The program after the prologue. `await pause()` waits until the test calls `resume()`. */
  readonly code: string | { readonly thread: string; readonly process: string }
  /** Prepares the server before the program starts. */
  readonly prepare?: (oss: Oss) => void
  /** Runs while the program runs. */
  readonly during?: (control: ScenarioControl) => Promise<void>
  readonly expected: Expectation | { readonly thread: Expectation; readonly process: Expectation }
  readonly exit?: { readonly code: number | null; readonly signal: NodeJS.Signals | null }
  /** It is in the quick set. */
  readonly isQuick?: boolean
  /** It takes many seconds, and runs only in `npm run test:full`. */
  readonly isLong?: boolean
}

export interface ScenarioControl {
  readonly oss: Oss
  /** Ends an `await pause()` of the program. */
  resume(): void
  /** The number of records in the object. */
  countRecords(): number
  /** Waits until the object has this many records. */
  waitForRecords(count: number): Promise<void>
  /** Waits until the program has printed this many lines. */
  waitForLines(count: number): Promise<void>
}

export const HALF = 500
export const TOTAL = 1000

const refuseConnections = (oss: Oss) => oss.server.refuse()

const COMMON = `
  import { once } from 'node:events'
  const logMany = (from, to) => { for (let n = from; n < to; n++) log(n) }
  const pause = async () => {
    process.stdin.ref()
    await once(process.stdin.resume(), 'data')
    process.stdin.pause().unref()
  }
  process.stdin.unref()
`

export const HALVES = `logMany(0, ${HALF}); await pause(); logMany(${HALF}, ${TOTAL});`
const HALF_AND_EXIT = `logMany(0, ${HALF}); await pause(); process.exit()`
export const afterHalf = async ({ waitForRecords, resume }: ScenarioControl) => {
  await waitForRecords(HALF)
  resume()
}

export const EXIT_SCENARIOS: readonly ExitScenario[] = [
  {
    title: 'natural exit',
    total: TOTAL,
    code: `logMany(0, ${TOTAL})`,
    expected: 'all',
    isQuick: true,
  },
  {
    title: 'the logger is ended',
    total: TOTAL,
    code: `logMany(0, ${TOTAL}); end()`,
    expected: 'all',
  },
  {
    title: 'process.exit() at once',
    total: TOTAL,
    code: `logMany(0, ${TOTAL}); process.exit()`,
    expected: { thread: 'all', process: 'reported' },
    isQuick: true,
  },
  {
    title: 'process.exit() after a while',
    total: TOTAL,
    code: `${HALVES} process.exit()`,
    during: afterHalf,
    expected: { thread: 'all', process: 'reported' },
  },
  {
    title: 'an uncaught throw',
    total: TOTAL,
    code: `${HALVES} throw new Error('thrown')`,
    during: afterHalf,
    expected: { thread: 'all', process: 'reported' },
    exit: { code: 1, signal: null },
    isQuick: true,
  },
  {
    title: 'process.exit() while the server is slow',
    total: TOTAL,
    code: `${HALVES} process.exit()`,
    async during(control) {
      await control.waitForRecords(HALF)
      control.oss.server.latency = 1000
      control.resume()
    },
    expected: { thread: 'all', process: 'reported' },
  },
  {
    title: "records that a listener of 'exit' logs",
    total: TOTAL,
    // pino ends its worker in its own listener of 'exit'. Records of a later listener are lost without a report.
    code: {
      thread: `process.prependListener('exit', () => logMany(${HALF}, ${TOTAL})); ${HALF_AND_EXIT}`,
      process: `process.on('exit', () => logMany(${HALF}, ${TOTAL})); ${HALF_AND_EXIT}`,
    },
    during: afterHalf,
    expected: { thread: 'all', process: 'reported' },
  },
  {
    title: 'SIGTERM with the documented handler, after an end',
    total: TOTAL,
    code: `setInterval(() => {}, 1e6); process.once('SIGTERM', onSignal)
      logMany(0, ${TOTAL}); end(); await pause(); process.kill(process.pid, 'SIGTERM'); await pause()`,
    async during({ waitForRecords, resume }) {
      await waitForRecords(TOTAL)
      resume()
    },
    expected: 'all',
  },
  {
    // Without a listener of 'error'.
    title: 'access is denied at first, and then allowed',
    total: TOTAL,
    code: `transport.once('warn', ({ code }) => console.log(code)); ${HALVES}`,
    prepare: oss => oss.server.permissions.clear(),
    async during(control) {
      await control.waitForLines(1)
      for (const action of ['oss:GetObject', 'oss:PutObject'])
        control.oss.server.permissions.add(action)
      await afterHalf(control)
    },
    expected: 'all',
  },
  {
    title: 'SIGTERM without a handler',
    total: TOTAL,
    code: `${HALVES} process.kill(process.pid, 'SIGTERM'); await pause()`,
    during: afterHalf,
    expected: 'prefix',
    exit: { code: null, signal: 'SIGTERM' },
  },
  {
    title: 'SIGTERM with the documented handler',
    total: TOTAL,
    code: `process.once('SIGTERM', onSignal); ${HALVES} process.kill(process.pid, 'SIGTERM'); await pause()`,
    during: afterHalf,
    expected: 'all',
    isQuick: true,
  },
  {
    // With a thread the handler exits at once, so the program logs nothing after it.
    title: 'SIGTERM with the documented handler, and the program goes on logging',
    total: { thread: TOTAL, process: TOTAL + 5 },
    code: `process.once('SIGTERM', () => { onSignal(); setImmediate(() => logMany(${TOTAL}, ${TOTAL + 5})) })
      ${HALVES} process.kill(process.pid, 'SIGTERM'); await pause()`,
    during: afterHalf,
    expected: { thread: 'all', process: 'reported' },
  },
  {
    title: 'the server is down at the start',
    total: TOTAL,
    options: { retry: { minDelay: 20, maxDelay: 50 } },
    code: `logMany(0, ${HALF}); await new Promise(r => setTimeout(r, 50)); console.log('running'); await pause(); logMany(${HALF}, ${TOTAL})`,
    prepare: refuseConnections,
    async during({ oss, waitForLines, waitForRecords, resume }) {
      await waitForLines(1)
      await oss.server.listen()
      await waitForRecords(HALF)
      resume()
    },
    expected: 'all',
  },
  ...[
    { duration: 1500, isLong: false },
    { duration: 20_000, isLong: true },
  ].map(
    ({ duration, isLong }): ExitScenario => ({
      title: `the server is down for ${duration / 1000} s`,
      total: TOTAL,
      code: `logMany(0, ${HALF}); await pause()
        for (let n = ${HALF}; n < ${TOTAL}; n++) { log(n); await new Promise(r => setTimeout(r, ${duration / HALF})) }
        await pause()`,
      async during({ oss, waitForRecords, resume }) {
        await waitForRecords(HALF)
        oss.server.refuse(duration)
        resume()
        await waitForRecords(TOTAL)
        resume()
      },
      expected: 'all',
      isLong,
    }),
  ),
  ...[
    { closeTimeout: 700, isLong: false, isQuick: true },
    { closeTimeout: undefined, isLong: true, isQuick: false },
  ].map(
    ({ closeTimeout, ...set }): ExitScenario => ({
      title: `the server is down at the exit, closeTimeout ${closeTimeout ?? 'by default'}`,
      total: TOTAL,
      options: { closeTimeout },
      code: `${HALVES} endIfNeeded()`,
      async during({ oss, waitForRecords, resume }) {
        await waitForRecords(HALF)
        oss.server.refuse()
        resume()
      },
      expected: 'reported',
      ...set,
    }),
  ),
  ...[
    { delay: 60_000, closeTimeout: 700, expected: 'reported', isLong: false },
    { delay: 2000, closeTimeout: undefined, expected: 'all', isLong: false },
    // With a longer flushInterval the last append is sent at the end, not before.
    {
      delay: 9000,
      closeTimeout: undefined,
      flushInterval: 3000,
      expected: 'reported',
      isLong: true,
    },
  ].map(
    ({ delay, expected, isLong, ...options }): ExitScenario => ({
      title: `the server is ${delay / 1000} s slow at the exit, closeTimeout ${options.closeTimeout ?? 'by default'}`,
      total: TOTAL,
      options,
      code: `${HALVES} endIfNeeded()`,
      async during({ oss, waitForRecords, resume }) {
        await waitForRecords(HALF)
        oss.server.faults.push({ kind: 'slowAnswer', delay, times: 9 })
        resume()
      },
      expected: expected as Expectation,
      isLong,
    }),
  ),
  ...[
    { title: 'process.exit()', code: 'process.exit()' },
    { title: 'an uncaught throw', code: `throw new Error('thrown')`, exit: 1 },
    {
      title: 'SIGTERM with the documented handler',
      code: `process.once('SIGTERM', onSignal); process.kill(process.pid, 'SIGTERM'); await pause()`,
    },
  ].map(
    ({ title, code, exit = 0 }): ExitScenario => ({
      title: `${title} while the server is down`,
      total: TOTAL,
      options: { closeTimeout: 700 },
      code: `transport.once('retry', () => console.log('down')); logMany(0, ${TOTAL}); await pause(); ${code}`,
      prepare: refuseConnections,
      async during({ waitForLines, resume }) {
        await waitForLines(1)
        resume()
      },
      expected: 'none',
      exit: { code: exit, signal: null },
    }),
  ),
  {
    // Twice the size of the buffer of pino's worker. A transport with backpressure would make pino throw after 10 s.
    title: 'process.exit() after 400,000 records while the server is down',
    total: 4e5,
    options: { closeTimeout: 700 },
    code: 'logMany(0, 4e5); process.exit()',
    prepare: refuseConnections,
    expected: 'none',
  },
  { title: '100,000 records at full speed', total: 1e5, code: 'logMany(0, 1e5)', expected: 'all' },
  {
    title: 'the queue overflows',
    total: 10_000,
    options: { maxBuffered: 20_000 },
    code: `for (let n = 0; n < 10000; n += 100) { logMany(n, n + 100); await new Promise(r => setTimeout(r, 1)) }`,
    prepare: oss => {
      oss.server.latency = 50
    },
    expected: 'reported',
  },
]

/** Runs one scenario with one kind of logger. */
export async function runExitScenario(
  t: Test,
  setup: LoggerSetup,
  scenario: ExitScenario,
): Promise<void> {
  const oss = await startOss(t)
  const key = oss.newKey()
  scenario.prepare?.(oss)
  const options = JSON.stringify({ bucket: BUCKET, key, flushInterval: 50, ...scenario.options })
  const { url, region, credentials } = oss.server
  const side = setup.isThread ? 'thread' : 'process'
  const code = typeof scenario.code === 'string' ? scenario.code : scenario.code[side]
  const child = startModule(t, COMMON + setup.prologue + code, {
    OPTIONS: options,
    OSS_ENDPOINT: url,
    OSS_REGION: region,
    OSS_ACCESS_KEY_ID: credentials.accessKeyId,
    OSS_ACCESS_KEY_SECRET: credentials.accessKeySecret,
  })
  const closed = once(child, 'close')
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', text => (output[name] += text))
  }
  const object = () => oss.server.read(BUCKET, key)
  const countRecords = () => parseRecords(object()).numbers.length
  const isOver = () => child.exitCode !== null || child.signalCode !== null
  await scenario.during?.({
    oss,
    resume: () => child.stdin?.write('resume'),
    countRecords,
    waitForRecords: count => waitUntil(() => isOver() || countRecords() >= count),
    waitForLines: count => waitUntil(() => isOver() || output.stdout.split('\n').length > count),
  })
  const [exitCode, signal] = await closed
  t.same({ code: exitCode, signal }, scenario.exit ?? { code: 0, signal: null }, output.stderr)

  const stored = parseRecords(object())
  const losses = parseLossReports(output.stderr)
  const expectation =
    typeof scenario.expected === 'string' ? scenario.expected : scenario.expected[side]
  const { numbers } = stored
  if (expectation === 'prefix') {
    t.ok(
      numbers.length >= HALF && numbers.every((n, i) => n === i),
      `the first ${numbers.length} records`,
    )
    return
  }
  const total = typeof scenario.total === 'number' ? scenario.total : scenario.total[side]
  const { missing, reported } = checkRecords(t, total, stored, losses)
  t.comment(`${missing} missing, ${reported} reported, ${stored.dropped} of them in the object`)
  t.equal(reported > 0, expectation !== 'all', output.stderr)
  if (expectation === 'none') t.match(losses, [{ records: total, unresolved: 0, late: 0 }])
  for (const { object: name, position } of losses) {
    t.equal(name, `oss://${BUCKET}/${key}`)
    if (position !== undefined) t.ok(position <= (object()?.length ?? 0), `ends at ${position}`)
  }
}
