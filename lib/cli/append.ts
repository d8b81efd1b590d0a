/**
 * `oss-append URL` and `oss-append demo`: backend, source, delivery, reading back and reporter, put together.
 * A command resolves to its exit code or rejects. Either way it leaves nothing open.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { OssClient } from '../client/client.ts'
import { parseUrl } from '../client/endpoint.ts'
import {
  createAppendStream,
  createRollingAppendStream,
  gzipMembers,
  type OssAppendStream,
  type RollInfo,
  skipExisting,
  type Target,
  type UrlOptions,
} from '../index.ts'
import { withInternals } from '../stream/internals.ts'
import type { JournalSource } from '../stream/journal-source.ts'
import { type OpenBackend, withBackend } from './backend.ts'
import type { AppendCommand, Backend, CommandIO, DemoCommand, RollOptions } from './commands.ts'
import { type DeliveryOptions, deliver } from './delivery.ts'
import { MismatchError } from './failure.ts'
import { compareDelivery, compareRolledObjects, readBack } from './read-back.ts'
import { Reporter } from './reporter.ts'
import { RetryingReader } from './retrying-reader.ts'
import { onAbort, type Signals, startGrace } from './signals.ts'
import {
  isStdinRedirected,
  openSampleData,
  openSource,
  type Source,
  waitForStdinBytes,
} from './source.ts'
import { UsageError } from './usage-error.ts'

const DEMO_URL = 'oss://demo/input'
const DEMO_BYTES = 64 * 1024 * 1024
/** Milliseconds that the demo waits for the first byte of a pipe before it takes sample data. */
const DEMO_INPUT_TIMEOUT = 5_000

/** Milliseconds. A server in this process fails for good (a full disk), and not because of the network. */
const LOCAL_MAX_ELAPSED = 3_000
/** Milliseconds. The input of a pipe cannot be read a second time, so giving up would lose it. */
const OSS_MAX_ELAPSED = Number.POSITIVE_INFINITY

/** What `demo` and `append` have in common. */
interface AppendJob {
  readonly url: string
  readonly backend: Backend
  readonly options: UrlOptions
  readonly roll?: RollOptions | undefined
  readonly isGzip?: boolean
  readonly isResumed?: boolean
  readonly journal?: string | undefined
  /** The folder that keeps the objects. Undefined: OSS, or a folder that is removed. */
  readonly folder?: string | undefined
  readonly openInput: () => Source | Promise<Source>
  readonly io: CommandIO
  readonly reporter: Reporter
  readonly signals: Signals
  /** Milliseconds to finish in after the first signal. Undefined: the first signal aborts. */
  readonly grace?: number | undefined
}

/** Appends to an object in a temporary folder: a long input does not fit into memory. */
export async function demo(
  { file, bytes }: DemoCommand,
  io: CommandIO,
  signals: Signals,
): Promise<number> {
  // `--bytes` is a length of sample data, so standard input is left alone.
  const isPiped =
    file === undefined && bytes === undefined && (await waitForStdinBytes(io, DEMO_INPUT_TIMEOUT))
  const input = isPiped ? '-' : file
  const openInput = () =>
    input === undefined ? openSampleData(bytes ?? DEMO_BYTES) : openSource(input, io)
  const folder = await mkdtemp(join(io.env.TMPDIR || tmpdir(), 'oss-append-'))
  const reporter = new Reporter({ isJson: false, isQuiet: false }, io)
  const backend = { local: folder, clientOptions: {} }
  try {
    return await runJob({ url: DEMO_URL, backend, options: {}, openInput, io, reporter, signals })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Appends to an object of OSS, or with `--local` to one in a folder. */
export async function append(
  command: AppendCommand,
  io: CommandIO,
  signals: Signals,
): Promise<number> {
  const { file, outputMode } = command
  const reporter = new Reporter(outputMode, io)
  const openInput = () => {
    if (file !== undefined || isStdinRedirected(io)) return openSource(file ?? '-', io)
    const remedy = 'name FILE, redirect a file, use a pipe, or pass - to read standard input anyway'
    throw new UsageError(`there is no input: ${remedy}`)
  }
  const { local } = command.backend
  return runJob({ ...command, openInput, folder: local, io, reporter, signals })
}

/** The retry options of the flags. Default of `maxElapsed`: that of the backend. */
export function withRetryDefaults(
  given: UrlOptions['retry'],
  { isLocal }: Pick<OpenBackend, 'isLocal'>,
) {
  const { maxElapsed = isLocal ? LOCAL_MAX_ELAPSED : OSS_MAX_ELAPSED } = given ?? {}
  return { ...given, maxElapsed }
}

/**
 * Appends the input and reports. The stream proves length and CRC-64 of each object. With `--local` the
 * objects are also read back and compared; with OSS that would cost a download.
 */
async function runJob(job: AppendJob): Promise<number> {
  const { backend, journal, io, reporter, signals, grace } = job
  const target = parseTarget(job)
  const { bucket } = target
  const { signal, end } =
    grace === undefined ? { signal: signals.first, end() {} } : startGrace(signals, grace)
  const note = (text: string) => reporter.note(text)
  return withBackend(
    backend,
    'append',
    { env: io.env, note },
    async ({ clientOptions, isLocal }) => {
      const client = new OssClient(clientOptions)
      const retry = withRetryDefaults(job.options.retry, { isLocal })
      const reader = new RetryingReader(clientOptions, {
        signal,
        maxElapsed: retry.maxElapsed,
        listener: reporter,
      })
      let source: Source | undefined
      try {
        client.checkBucket(bucket)
        source = await job.openInput()
        // `end()` shortens the waits too, but while the buffers are full it comes only after the present wait.
        const onHurry = (hurry: () => void) => void onAbort(signals.first, hurry)
        const options = { ...job.options, ...job.roll, ...target, client, retry }
        const create = job.roll ? createRollingAppendStream : createAppendStream
        let undelivered = () => 0
        const onJournal = (held: JournalSource) => {
          undelivered = () => held.undelivered ?? 0
        }
        const stream = create(withInternals(options, { onHurry, onJournal }))
        const rolled = isLocal ? collectRolled(stream) : new Map<string, RollInfo>()
        const stages = createStages(job, source, stream)
        const delivery = await deliver({
          source,
          stream,
          reporter,
          signals,
          signal,
          grace,
          journal,
          ...stages,
        })
        if ('journal' in delivery) {
          reporter.suspend(delivery, undelivered() - delivery.bytes)
          return signals.exitCode
        }

        const { key, exists } = delivery
        // A clock that went back may have brought a rolled object into use again.
        rolled.delete(key)
        const copy =
          isLocal && exists ? await readBack(reader, { bucket, key }, delivery) : undefined
        const differences = [
          ...(await compareRolledObjects(reader, bucket, rolled.values())),
          ...compareDelivery(delivery, copy),
        ]
        const url = exists ? `oss://${bucket}/${key}` : undefined
        await reporter.drainStderr(signals.first)
        const { folder } = job
        reporter.finish({ source: source.name, url, folder, delivery, copy }, differences)
        if (differences.length > 0) throw new MismatchError(differences)
        return signals.exitCode || (delivery.isCut ? 1 : 0)
      } finally {
        source?.stream.destroy()
        await client.close()
        await reader.close()
      }
    },
  ).finally(end)
}

/** The object in the URL; for a rolling stream its key is the pattern of all keys. */
export function parseTarget({ url, roll }: Pick<AppendJob, 'url' | 'roll'>): Target {
  if (!roll) return parseUrl(url)
  const prefix = /^oss:\/\/[^/]*$/.test(url) ? `${url}/` : url
  return parseUrl(prefix + (roll.key ?? ''))
}

/** The last roll of each key: a clock that goes back brings a key into use again. */
function collectRolled(stream: OssAppendStream): Map<string, RollInfo> {
  const objects = new Map<string, RollInfo>()
  stream.on('roll', (info: RollInfo) => void objects.set(info.key, info))
  return objects
}

/** The transforms between source and stream, and how progress is measured behind them. */
function createStages(
  { isGzip, isResumed, options }: AppendJob,
  { length }: Source,
  stream: OssAppendStream,
): Pick<DeliveryOptions, 'transforms' | 'length' | 'bytesDone'> {
  const transforms: Duplex[] = []
  if (isGzip) {
    // Flushing by time would cut the same input into other members, and `--resume` compares them.
    const flushInterval = isResumed ? 0 : options.flushInterval
    transforms.push(gzipMembers({ flushInterval }))
  }
  if (isResumed) transforms.push(skipExisting(stream))
  if (isGzip) return { transforms }
  return isResumed
    ? { transforms, length, bytesDone: () => stream.position ?? 0 }
    : { transforms, length }
}
