/**
 * Runs one seed: a server, the stream over real HTTP, a source and an observer. After the end it waits for late
 * appends and closed connections, and the oracle judges.
 *
 * The scenario of a seed is always the same. The timing of HTTP is not: which attempt a fault strikes, or
 * whether a short timeout fires, may differ between runs.
 */

import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type AppendStreamOptions,
  crc64,
  createAppendStream,
  type OssAppendStream,
  OssClient,
  type Tail,
} from '../../lib/index.ts'
import { createOssServer, type OssServer } from '../../lib/server/index.ts'
import { withInternals } from '../../lib/stream/internals.ts'
import { send } from '../helpers/raw-client.ts'
import { BUCKET } from '../helpers/test-oss.ts'
import { type AttemptLengths, attemptLengths, checkRun } from './oracle.ts'
import { createScenario, type Scenario, type Step } from './scenario.ts'
import { type Flush, KEY, type Snapshot, StreamObserver, type Verdict } from './stream-observer.ts'

/** The result of a seed. */
export interface Report {
  readonly seed: number
  readonly theme: string
  /** `finish`, `destroyed` or the code of the error. */
  readonly outcome: string
  /** Violations of the specification. */
  readonly complaints: readonly string[]
  /** The scenario, the requests and the events, a line for each. */
  readonly transcript: readonly string[]
  /** The number of times that each fault struck. */
  readonly fired: Readonly<Record<string, number>>
  readonly verdicts: readonly (Verdict & { readonly mayRead: boolean })[]
  readonly attemptLengths: AttemptLengths
  /** How often each kind of fault struck in each place of a chain. */
  readonly chainFaults: Readonly<Record<string, number>>
}

const TOKENS = ['one', 'two', 'three', 'four', 'five', 'six']
const IDENTITIES = TOKENS.map(token => ({
  accessKeyId: `sts-${token}`,
  accessKeySecret: `secret-${token}`,
  securityToken: token,
}))
const CLEANUP_CREDENTIALS = { accessKeyId: 'janitor', accessKeySecret: 'broom' }
/** Milliseconds. A hundred times the longest run. */
const MAX_RUN_TIME = 120_000
/** Milliseconds after which a connection that should close counts as left open. */
const MAX_CLOSING_TIME = 20_000
/** Turns of the event loop in which a condition is expected. After them it is asked for each millisecond. */
const EXPECTED_TURNS = 500

/** The command that runs a seed by itself. */
export function reproduceCommand(seed: number): string {
  return `npm run test:model -- --seeds 1 --from ${seed}`
}

/** Does not reject if the stream misbehaves: the report has its complaints. */
export async function runSeed(seed: number, pipelining = 1): Promise<Report> {
  const scenario = createScenario(seed, pipelining)
  const server = await createOssServer({ credentials: IDENTITIES })
  try {
    const observer = await runScenario(scenario, server)
    const final = await waitUntilQuiet(observer)
    checkRun(observer, final)
    return createReport(observer)
  } finally {
    await server.close()
  }
}

async function runScenario(scenario: Scenario, server: OssServer): Promise<StreamObserver> {
  prepareObject(scenario, server)
  const controller = new AbortController()
  const network = networkOptionsOf(scenario, server)
  const shared = scenario.client === 'shared' ? new OssClient(network) : undefined
  const { attemptFloor } = scenario
  const options = {
    ...optionsOf(scenario, server),
    ...(shared ? { client: shared } : network),
    signal: controller.signal,
  }
  const stream = createAppendStream(withInternals(options, { attemptFloor }))
  const observer = new StreamObserver(scenario, server, stream)
  const closed = new Promise(resolve => stream.once('close', resolve))
  scheduleStop(observer, controller)
  const written = scenario.isPiped ? pipeSteps(observer) : writeSteps(observer)
  await withDeadline(Promise.all([closed, written]), observer)
  await shared?.close()
  observer.requests = [...server.requests]
  return observer
}

/** Destroys a stream that does not end in time, and adds a complaint. */
async function withDeadline(ended: Promise<unknown>, observer: StreamObserver): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const tooLong = new Promise(resolve => {
    timer = setTimeout(() => {
      observer.check(false, 'the stream does not end')
      observer.stream.destroy()
      resolve(undefined)
    }, MAX_RUN_TIME)
  })
  await Promise.race([ended, tooLong])
  clearTimeout(timer)
}

function prepareObject(scenario: Scenario, server: OssServer): void {
  const { existing, before } = scenario
  if (existing === 'Normal') server.put(BUCKET, KEY, before)
  else if (existing !== 'absent') server.append(BUCKET, KEY, before.subarray(0, 1))
  if (existing === 'grown') {
    const half = before.length >> 1
    server.append(BUCKET, KEY, before.subarray(1, half))
    server.append(BUCKET, KEY, before.subarray(Math.max(1, half)))
  } else if (existing === 'appendable' || existing === 'sealed') {
    server.delete(BUCKET, KEY)
    server.append(BUCKET, KEY, before)
  }
  if (existing === 'sealed') server.seal(BUCKET, KEY)
  if (!scenario.mayRead) server.permissions.delete('oss:GetObject')
  server.faults.push(...scenario.faults)
}

function networkOptionsOf({ credentials, requestTimeout }: Scenario, server: OssServer) {
  const current = () => server.identities.find(each => !each.isExpired) ?? IDENTITIES[0]!
  return {
    endpoint: server.url,
    region: server.region,
    credentials: credentials === 'fixed' ? IDENTITIES[0] : () => current(),
    requestTimeout,
  }
}

function optionsOf(scenario: Scenario, server: OssServer): AppendStreamOptions {
  const { seed, highWaterMark, flushInterval, contentMd5, maxRetries, maxObjectBytes } = scenario
  const length = server.stat(BUCKET, KEY)?.length ?? 0
  const told = server.stat(BUCKET, KEY)?.crc64 ?? '0'
  const wrong = crc64('some other object')
  const positions = {
    end: {},
    zero: { position: 0 },
    exact: { position: length },
    'exact, with its CRC': { position: length, crc64: told },
    wrong: { position: length + 1 },
    'wrong CRC': { position: length, crc64: length > 0 ? wrong : '0' },
  }
  return {
    bucket: BUCKET,
    key: KEY,
    highWaterMark,
    flushInterval,
    contentMd5,
    maxObjectBytes,
    seal: scenario.seal,
    pipelining: scenario.pipelining,
    retry: { maxRetries, minDelay: seed % 2, maxDelay: 3 },
    metadata: { seed: String(seed) },
    contentType: 'text/x-model',
    ...positions[scenario.position],
  }
}

/** Destroys or aborts the stream if the scenario has a stop. */
function scheduleStop(observer: StreamObserver, controller: AbortController): void {
  const { stop } = observer.scenario
  if (!stop) return
  const { stream, server } = observer
  const act = async () => {
    await turns(stop.turns)
    observer.logLine(stop.by)
    if (stop.by === 'signal') controller.abort()
    else stream.destroy(stop.by === 'destroy' ? undefined : new Error('destroyed by the user'))
  }
  if (stop.on === 'start') void act()
  else if (stop.on === 'struck' || stop.on === 'ended') {
    const isOver = () => server.faults.list().every(({ fault }) => fault.times === Infinity)
    const hasStruck = () => isOver() && Object.keys(server.faults.fired).length > 0
    const isDue = () => stream.closed || (stop.on === 'ended' ? stream.writableEnded : hasStruck())
    void until(isDue).then(act)
  } else stream.once(stop.on, act)
}

/** The source as a program that calls the methods of the stream. */
async function writeSteps(observer: StreamObserver): Promise<void> {
  const { stream, scenario } = observer
  for (const step of scenario.steps) {
    if (stream.destroyed) return
    if (step.do === 'write') await write(observer, step)
    else if (step.do === 'end') end(stream, step.how)
    else await runStep(observer, step)
    observer.checkBuffered()
  }
}

/** The source as the beginning of a pipeline, which must reject if the stream fails. */
async function pipeSteps(observer: StreamObserver): Promise<void> {
  const { stream, scenario } = observer
  async function* source() {
    for (const step of scenario.steps) {
      if (stream.destroyed) return
      if (step.do === 'write') {
        observer.written += step.bytes.length
        const isUtf8 = step.encoding === undefined || step.encoding === 'utf8'
        if (step.bytes.length > 0) yield isUtf8 ? step.chunk : Buffer.from(step.bytes)
        // The generator resumes when the next chunk is requested, just before this one is written.
        await turns(1)
      } else if (step.do === 'end') {
        if (step.how === 'source fails') throw new Error('the source failed')
        // A pipe would wait for ever for the 'drain' of a corked stream, so it does not cork.
      } else if (step.do !== 'cork' && step.do !== 'uncork') await runStep(observer, step)
    }
  }
  const outcome = await pipeline(Readable.from(source(), { objectMode: true }), stream).then(
    () => 'resolved',
    error => error,
  )
  const isDelivered = observer.acknowledged === observer.written && !stream.errored
  observer.check(outcome !== 'resolved' || isDelivered, 'pipeline resolved with undelivered bytes')
  if (observer.isFinished) observer.check(outcome === 'resolved', `pipeline rejected: ${outcome}`)
}

async function runStep(observer: StreamObserver, step: Step): Promise<void> {
  const { stream, server } = observer
  switch (step.do) {
    case 'turns':
      return turns(step.count)
    case 'cork':
    case 'uncork':
      stream[step.do]()
      return
    case 'flush':
      return flush(observer, step)
    case 'faults':
      server.faults.clear()
      server.faults.push(...step.faults)
  }
}

async function write(observer: StreamObserver, step: Step & { do: 'write' }): Promise<void> {
  const { stream } = observer
  const { chunk, encoding, bytes, wait } = step
  observer.written += bytes.length
  observer.callbacksPending += 1
  let hasRoom = true
  const accepted = new Promise<void>(resolve => {
    const done = (error?: Error | null) => {
      observer.callbacksPending -= 1
      // An accepted chunk is copied, so the caller may overwrite its buffer.
      if (!error && typeof chunk !== 'string') chunk.fill(0x21)
      resolve()
    }
    hasRoom = encoding ? stream.write(chunk, encoding, done) : stream.write(chunk, done)
  })
  if (wait === 'accepted') await accepted
  if (wait === 'drain' && !hasRoom && !stream.destroyed) {
    await new Promise<void>(resolve => {
      stream.once('drain', resolve)
      stream.once('close', resolve)
    })
  }
}

async function flush(observer: StreamObserver, step: Step & { do: 'flush' }): Promise<void> {
  const { stream } = observer
  const record: Flush = { written: observer.written, outcome: 'pending' }
  observer.flushes.push(record)
  const settled = new Promise<void>(resolve => {
    const done = (error: unknown, tail?: Tail) => {
      if (tail) observer.onFlushed(tail, record)
      else Object.assign(record, { outcome: 'rejected', error })
      resolve()
    }
    if (step.form === 'callback') stream.flush(done)
    else stream.flush().then(tail => done(null, tail), done)
  })
  if (step.wait) await settled
}

function end(stream: OssAppendStream, how: (Step & { do: 'end' })['how']): void {
  switch (how) {
    case 'end':
      stream.end()
      return
    case 'close':
      stream.close()
      return
    case 'destroySoon':
      stream.destroySoon()
      return
    case 'dispose':
      stream[Symbol.asyncDispose]().catch(() => {})
      return
    case 'source fails':
      stream.destroy(new Error('the source failed'))
  }
}

/** Waits until connections are closed and late appends have landed. Resolves with the final object. */
async function waitUntilQuiet(observer: StreamObserver): Promise<Snapshot> {
  const { server } = observer
  await until(() => server.openConnections === 0, MAX_CLOSING_TIME)
  observer.check(server.openConnections === 0, 'a connection stays open')
  server.faults.clear()
  if (server.delayedAppends.length > 0) await landLateAppends(server)
  // The server may have read all of a request just before its connection closed.
  await turns(3)
  observer.check(
    observer.callbacksPending === 0,
    `${observer.callbacksPending} write callbacks were not called`,
  )
  const pending = observer.flushes.filter(({ outcome }) => outcome === 'pending').length
  observer.check(pending === 0, `${pending} flush promises did not settle`)
  return observer.snapshot()
}

/** Lands late appends, which wait for their time or for a HEAD. The HEAD has credentials of its own. */
async function landLateAppends(server: OssServer): Promise<void> {
  server.credentials = CLEANUP_CREDENTIALS
  const request = { method: 'HEAD', bucket: BUCKET, key: KEY }
  for (;;) {
    const time = Date.now() + server.clockOffset
    const response = await send(server, { ...request, time }).catch(() => undefined)
    // A fault may still keep the port closed.
    if (response && server.delayedAppends.length === 0) return
  }
}

function createReport(observer: StreamObserver): Report {
  const { scenario, server, complaints, error, isFinished } = observer
  const { code } = (error ?? {}) as { code?: string }
  return {
    seed: scenario.seed,
    theme: scenario.theme,
    outcome: isFinished ? 'finish' : error ? (code ?? error.message) : 'destroyed',
    complaints,
    transcript: [...describeRun(observer), ...observer.transcript],
    fired: server.faults.fired,
    verdicts: observer.verdicts.map(each => ({ ...each, mayRead: scenario.mayRead })),
    attemptLengths: attemptLengths(observer),
    chainFaults: countChainFaults(observer),
  }
}

/**
 * Where faults struck: behind a success on the same connection, where a chain runs, or elsewhere: at the first
 * append and after a failure. The server sees no follower of an attempt that failed, so it cannot tell more.
 */
function countChainFaults({ requests }: StreamObserver): Record<string, number> {
  const counts: Record<string, number> = {}
  const appends = requests.filter(each => each.operation === 'append')
  for (const [i, { faults = [], remotePort, position }] of appends.entries()) {
    const before = appends[i - 1]
    const isBehind = before?.remotePort === remotePort && before.position !== position
    const place = isBehind ? 'in a chain' : 'alone'
    for (const name of faults) {
      for (const kind of name.match(/reset|hang|status|rival|closed|late|lost/g) ?? []) {
        counts[`${kind}: ${place}`] = (counts[`${kind}: ${place}`] ?? 0) + 1
      }
    }
  }
  return counts
}

function describeRun({ scenario, requests: seen }: StreamObserver): string[] {
  const { steps, faults, before, ...rest } = scenario
  const short = steps.map(step => {
    if (step.do === 'write') return `write ${step.bytes.length} ${step.encoding ?? ''} ${step.wait}`
    return JSON.stringify(step)
  })
  const requests = seen.map(each => {
    const { operation, position, length, outcome, status, code, faults } = each
    return JSON.stringify({ operation, position, length, outcome, status, code, faults })
  })
  return [
    JSON.stringify({ ...rest, before: before.length }),
    ...faults.map(fault => `fault ${JSON.stringify(fault)}`),
    ...short,
    ...requests,
  ]
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise(setImmediate)
}

async function until(condition: () => boolean, maxTime = Infinity): Promise<void> {
  const end = performance.now() + maxTime
  for (let i = 0; !condition() && performance.now() < end; i++) {
    await (i < EXPECTED_TURNS ? turns(1) : sleep(1))
  }
}
