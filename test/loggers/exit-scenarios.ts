/**
 * The ways in which a process that logs can end, and the ways in which OSS can be away then: each a
 * program of its own with the real logger, whose numbered records are counted in the object.
 */

import { once } from 'node:events'
import type { Test } from 'tap'
import { startModule } from '../helpers/child-process.ts'
import { checkRecords, parseLossReports, parseRecords } from '../helpers/numbered-records.ts'
import { BUCKET, type Oss, startOss, waitUntil } from '../helpers/test-oss.ts'

/**
 * What becomes of the records: all are there; as many are missing as was told; none is there, which was told
 * in one sentence; or a whole prefix is there.
 */
export type Expectation = 'all' | 'told' | 'none' | 'prefix'

export interface LoggerSetup {
  readonly name: string
  /**
   * Defines `transport`; `log(n)`; `end()`, which ends the logger; `leave()`, the last thing that a program
   * without a handler does; and `onSignal`, the documented handler of SIGTERM. `OPTIONS` are the
   * transport's.
   */
  readonly prologue: string
  /** It logs from a thread of its own, which the exit of the process waits for. */
  readonly isThread: boolean
}

export interface ExitScenario {
  readonly title: string
  /** How many records are logged. */
  readonly total: number | { readonly thread: number; readonly process: number }
  readonly options?: Readonly<Record<string, unknown>>
  /** The program after the prologue. `await go()` waits for a `go()` of `act`. */
  readonly code: string | { readonly thread: string; readonly process: string }
  /** What the world does before the program is started. */
  readonly prepare?: (oss: Oss) => void
  /** What the world does meanwhile. */
  readonly during?: (control: ScenarioControl) => Promise<void>
  readonly expected: Expectation | { readonly thread: Expectation; readonly process: Expectation }
  readonly exit?: { readonly code: number | null; readonly signal: NodeJS.Signals | null }
  /** It takes many seconds. */
  readonly isLong?: boolean
}

export interface ScenarioControl {
  readonly oss: Oss
  /** Lets the program go on past an `await go()`, which gives it this text. */
  resume(text?: string): void
  /** How many records are in the object. */
  countRecords(): number
  /** Waits until so many are. */
  waitForRecords(count: number): Promise<void>
  /** Waits until the program has printed so often. */
  waitForLines(times: number): Promise<void>
}

export const HALF = 500
export const TOTAL = 1000

const refuseConnections = (oss: Oss) => oss.server.refuse()

const COMMON = `
  import { once } from 'node:events'
  const many = (from, to) => { for (let n = from; n < to; n++) log(n) }
  const go = async () => {
    process.stdin.ref()
    const [text] = await once(process.stdin.resume(), 'data')
    process.stdin.pause().unref()
    return String(text)
  }
  process.stdin.unref()
`

export const HALVES = `many(0, ${HALF}); await go(); many(${HALF}, ${TOTAL});`
const LEAVING = `many(0, ${HALF}); await go(); process.exit()`
export const afterHalf = async ({ waitForRecords, resume }: ScenarioControl) => {
  await waitForRecords(HALF)
  resume()
}

export const EXIT_SCENARIOS: readonly ExitScenario[] = [
  { title: 'natural exit', total: TOTAL, code: `many(0, ${TOTAL})`, expected: 'all' },
  { title: 'the logger is ended', total: TOTAL, code: `many(0, ${TOTAL}); end()`, expected: 'all' },
  {
    title: 'process.exit() at once',
    total: TOTAL,
    code: `many(0, ${TOTAL}); process.exit()`,
    expected: { thread: 'all', process: 'told' },
  },
  {
    title: 'process.exit() after a while',
    total: TOTAL,
    code: `${HALVES} process.exit()`,
    during: afterHalf,
    expected: { thread: 'all', process: 'told' },
  },
  {
    title: 'an uncaught throw',
    total: TOTAL,
    code: `${HALVES} throw new Error('thrown')`,
    during: afterHalf,
    expected: { thread: 'all', process: 'told' },
    exit: { code: 1, signal: null },
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
    expected: { thread: 'all', process: 'told' },
  },
  {
    title: 'records that are logged while the process exits',
    total: TOTAL,
    // pino ends its worker in a handler of its own: what is logged in a later one is its own error, unheard.
    code: {
      thread: `process.prependListener('exit', () => many(${HALF}, ${TOTAL})); ${LEAVING}`,
      process: `process.on('exit', () => many(${HALF}, ${TOTAL})); ${LEAVING}`,
    },
    during: afterHalf,
    expected: { thread: 'all', process: 'told' },
  },
  {
    title: 'SIGTERM with the documented handler, after an end',
    total: TOTAL,
    code: `setInterval(() => {}, 1e6); process.once('SIGTERM', onSignal)
      many(0, ${TOTAL}); end(); await go(); process.kill(process.pid, 'SIGTERM'); await go()`,
    async during({ waitForRecords, resume }) {
      await waitForRecords(TOTAL)
      resume()
    },
    expected: 'all',
  },
  {
    // Nobody listens to 'error'.
    title: 'refused, and then allowed',
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
    code: `${HALVES} process.kill(process.pid, 'SIGTERM'); await go()`,
    during: afterHalf,
    expected: 'prefix',
    exit: { code: null, signal: 'SIGTERM' },
  },
  {
    title: 'SIGTERM with the documented handler',
    total: TOTAL,
    code: `process.once('SIGTERM', onSignal); ${HALVES} process.kill(process.pid, 'SIGTERM'); await go()`,
    during: afterHalf,
    expected: 'all',
  },
  {
    // With a thread the handler leaves at once, and nothing is logged after it.
    title: 'SIGTERM with the documented handler, and the program goes on logging',
    total: { thread: TOTAL, process: TOTAL + 5 },
    code: `process.once('SIGTERM', () => { onSignal(); setImmediate(() => many(${TOTAL}, ${TOTAL + 5})) })
      ${HALVES} process.kill(process.pid, 'SIGTERM'); await go()`,
    during: afterHalf,
    expected: { thread: 'all', process: 'told' },
  },
  {
    title: 'server down at start',
    total: TOTAL,
    options: { retry: { minDelay: 20, maxDelay: 50 } },
    code: `many(0, ${HALF}); await new Promise(r => setTimeout(r, 50)); console.log('runs'); await go(); many(${HALF}, ${TOTAL})`,
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
      title: `server down for ${duration / 1000} s`,
      total: TOTAL,
      code: `many(0, ${HALF}); await go()
        for (let n = ${HALF}; n < ${TOTAL}; n++) { log(n); await new Promise(r => setTimeout(r, ${duration / HALF})) }
        await go()`,
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
    { closeTimeout: 700, isLong: false },
    { closeTimeout: undefined, isLong: true },
  ].map(
    ({ closeTimeout, isLong }): ExitScenario => ({
      title: `server down at exit, closeTimeout ${closeTimeout ?? 'as it is'}`,
      total: TOTAL,
      options: { closeTimeout },
      code: `${HALVES} leave()`,
      async during({ oss, waitForRecords, resume }) {
        await waitForRecords(HALF)
        oss.server.refuse()
        resume()
      },
      expected: 'told',
      isLong,
    }),
  ),
  ...[
    { delay: 60_000, closeTimeout: 700, fate: 'told', isLong: false },
    { delay: 2000, closeTimeout: undefined, fate: 'all', isLong: false },
    // Here it matters that the last append leaves at the end, and not before.
    { delay: 9000, closeTimeout: undefined, flushInterval: 3000, fate: 'told', isLong: true },
  ].map(
    ({ delay, fate, isLong, ...options }): ExitScenario => ({
      title: `${delay / 1000} s slow at exit, closeTimeout ${options.closeTimeout ?? 'as it is'}`,
      total: TOTAL,
      options,
      code: `${HALVES} leave()`,
      async during({ oss, waitForRecords, resume }) {
        await waitForRecords(HALF)
        oss.server.faults.push({ kind: 'slowAnswer', delay, times: 9 })
        resume()
      },
      expected: fate as Expectation,
      isLong,
    }),
  ),
  ...[
    { title: 'process.exit()', code: 'process.exit()' },
    { title: 'an uncaught throw', code: `throw new Error('thrown')`, exit: 1 },
    {
      title: 'SIGTERM with the documented handler',
      code: `process.once('SIGTERM', onSignal); process.kill(process.pid, 'SIGTERM'); await go()`,
    },
  ].map(
    ({ title, code, exit = 0 }): ExitScenario => ({
      title: `${title} while the server is down`,
      total: TOTAL,
      options: { closeTimeout: 700 },
      code: `transport.once('retry', () => console.log('down')); many(0, ${TOTAL}); await go(); ${code}`,
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
    // Twice what pino shares with its worker: if the transport let it wait, pino would throw after 10 s.
    title: 'process.exit() after 400,000 records while the server is down',
    total: 4e5,
    options: { closeTimeout: 700 },
    code: 'many(0, 4e5); process.exit()',
    prepare: refuseConnections,
    expected: 'none',
  },
  { title: '100,000 records at full speed', total: 1e5, code: 'many(0, 1e5)', expected: 'all' },
  {
    title: 'a queue that overflows',
    total: 10_000,
    options: { maxBuffered: 20_000 },
    code: `for (let n = 0; n < 10000; n += 100) { many(n, n + 100); await new Promise(r => setTimeout(r, 1)) }`,
    prepare: oss => {
      oss.server.latency = 50
    },
    expected: 'told',
  },
]

/** Runs one row with one kind of logger. */
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
  const place = setup.isThread ? 'thread' : 'process'
  const code = typeof scenario.code === 'string' ? scenario.code : scenario.code[place]
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
    resume: (text = 'go') => child.stdin?.write(text),
    countRecords,
    waitForRecords: enough => waitUntil(() => isOver() || countRecords() >= enough),
    waitForLines: times => waitUntil(() => isOver() || output.stdout.split('\n').length > times),
  })
  const [exitCode, signal] = await closed
  t.same({ code: exitCode, signal }, scenario.exit ?? { code: 0, signal: null }, output.stderr)

  const found = parseRecords(object())
  const losses = parseLossReports(output.stderr)
  const expectation =
    typeof scenario.expected === 'string' ? scenario.expected : scenario.expected[place]
  const { numbers } = found
  if (expectation === 'prefix') {
    t.ok(
      numbers.length >= HALF && numbers.every((n, i) => n === i),
      `a prefix of ${numbers.length}`,
    )
    return
  }
  const total = typeof scenario.total === 'number' ? scenario.total : scenario.total[place]
  const { missing, reported } = checkRecords(t, total, found, losses)
  t.comment(`${missing} missing, ${reported} told, ${found.dropped} of them in the object`)
  t.equal(reported > 0, expectation !== 'all', output.stderr)
  if (expectation === 'none') t.match(losses, [{ records: total, unresolved: 0, late: 0 }])
  for (const { object: name, position } of losses) {
    t.equal(name, `oss://${BUCKET}/${key}`)
    if (position !== undefined) t.ok(position <= (object()?.length ?? 0), `ends at ${position}`)
  }
}
