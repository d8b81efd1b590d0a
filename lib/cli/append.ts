/**
 * `oss-append URL` and `oss-append demo`: put together from place, source, delivery, proof and reporter.
 * A command resolves to its exit code, or rejects with what went wrong; it leaves nothing open either
 * way.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
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
import { type OpenBackend, withBackend } from './backend.ts'
import type { AppendCommand, Backend, DemoCommand, RollOptions } from './commands.ts'
import { type DeliveryOptions, deliver, RecordingClient } from './delivery.ts'
import { MismatchError } from './failure.ts'
import {
  compareDelivery,
  compareRolled,
  compareRolledObjects,
  readBack,
  requestTail,
} from './read-back.ts'
import { Reporter } from './reporter.ts'
import { RetryingReader } from './retrying-reader.ts'
import type { Signals } from './signals.ts'
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
/** Milliseconds that the demo waits for a pipe to say something before it makes something up. */
const DEMO_INPUT_TIMEOUT = 5_000

/** Milliseconds. A server in this process fails for good (a full disk), and not because a line is down. */
const LOCAL_MAX_ELAPSED = 3_000
/** Behind a pipe nobody is there to start it again. */
const OSS_MAX_ELAPSED = Number.POSITIVE_INFINITY

/** Where to append, and how to get what goes there. */
interface AppendJob {
  readonly url: string
  readonly backend: Backend
  readonly options: UrlOptions
  readonly roll?: RollOptions | undefined
  readonly isGzip?: boolean
  readonly isResumed?: boolean
  readonly openInput: () => Source | Promise<Source>
  readonly reporter: Reporter
  readonly signals: Signals
  /** Milliseconds to read on after the first signal; undefined: that one ends it. */
  readonly grace?: number | undefined
}

/** Streams into an object in a temporary folder: memory would hold no long input. */
export async function demo({ file, bytes }: DemoCommand, signals: Signals): Promise<number> {
  // A length that is asked for can only be that of the feed, so a pipe left open here is none of ours.
  const isPiped =
    file === undefined && bytes === undefined && (await waitForStdinBytes(DEMO_INPUT_TIMEOUT))
  const input = isPiped ? '-' : file
  const openInput = () =>
    input === undefined ? openSampleData(bytes ?? DEMO_BYTES) : openSource(input)
  const folder = await mkdtemp(join(tmpdir(), 'oss-append-'))
  const reporter = new Reporter({ isJson: false, isQuiet: false })
  const backend = { local: folder, clientOptions: {} }
  try {
    return await runJob({ url: DEMO_URL, backend, options: {}, openInput, reporter, signals })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Appends to an object of OSS, or with `--local` to one in a folder. */
export async function append(command: AppendCommand, signals: Signals): Promise<number> {
  const { file, outputMode } = command
  const reporter = new Reporter(outputMode)
  const openInput = () => {
    if (file !== undefined || isStdinRedirected()) return openSource(file ?? '-')
    const remedy = 'pipe something in, redirect a file, name FILE, or say - to read in any case'
    throw new UsageError(`nothing to read: ${remedy}`)
  }
  return runJob({ ...command, openInput, reporter, signals })
}

/** When to try again, as the flags have it, and how long unless they say. */
export function withRetryDefaults(
  given: UrlOptions['retry'],
  { isLocal }: Pick<OpenBackend, 'isLocal'>,
) {
  const { maxElapsed = isLocal ? LOCAL_MAX_ELAPSED : OSS_MAX_ELAPSED } = given ?? {}
  return { ...given, maxElapsed }
}

/** The one way of all bytes. A folder is read back; OSS's own word has to do elsewhere. */
async function runJob(job: AppendJob): Promise<number> {
  const { backend, reporter, signals, grace } = job
  const target = parseTarget(job)
  const { bucket } = target
  const signal = grace === undefined ? signals.first : signals.second
  return withBackend(backend, 'append', async ({ clientOptions, isLocal }) => {
    const client = new RecordingClient(clientOptions)
    const retry = withRetryDefaults(job.options.retry, { isLocal })
    const reader = new RetryingReader(clientOptions, {
      signal,
      maxElapsed: retry.maxElapsed,
      reporter,
    })
    try {
      client.checkBucket(bucket)
      const source = await job.openInput()
      const stream = createStream(job, target, { ...job.options, client, retry })
      const rolled = collectRolled(stream, client, isLocal)
      const stages = createStages(job, source, stream)
      const delivery = await deliver({
        source,
        stream,
        reporter,
        signals,
        signal,
        grace,
        ...stages,
      })

      const { key } = delivery
      // The one in use is compared as such, also if it had been left before.
      rolled.objects.delete(key)
      const copy = isLocal ? await readBack(reader, { bucket, key }, delivery) : undefined
      const object = { bucket, key }
      const reported =
        copy?.reported ??
        client.reported(key) ??
        (await requestTail(reader, client, object, delivery))
      const differences = [
        ...rolled.differences,
        ...(await compareRolledObjects(reader, bucket, rolled.objects.values())),
        ...compareDelivery(delivery, reported, copy),
      ]
      const url = `oss://${bucket}/${key}`
      await reporter.drainStderr(signals.first)
      reporter.finish({ source: source.name, url, delivery, reported, copy }, differences)
      if (differences.length > 0) throw new MismatchError(differences)
      return signals.exitCode
    } finally {
      await client.close()
      await reader.close()
    }
  })
}

/** The object, or with `roll` the bucket and the pattern of its objects' keys. */
function parseTarget({ url, roll }: AppendJob): Target {
  if (!roll) return parseUrl(url)
  const prefix = /^oss:\/\/[^/]*$/.test(url) ? `${url}/` : url
  return parseUrl(prefix + (roll.key ?? ''))
}

function createStream(
  { roll }: AppendJob,
  { bucket, key }: Target,
  options: UrlOptions,
): OssAppendStream {
  if (!roll) return createAppendStream({ ...options, bucket, key })
  return createRollingAppendStream({ ...options, ...roll, bucket, key })
}

/** Compares each object that is left with what OSS said of it, and keeps in mind what can be read back. */
function collectRolled(stream: OssAppendStream, client: RecordingClient, isLocal: boolean) {
  /** By key: a clock that went back brings one into use again, and the last word on it counts. */
  const objects = new Map<string, RollInfo>()
  const differences: string[] = []
  stream.on('roll', (info: RollInfo) => {
    differences.push(...compareRolled(info, client.reported(info.key)))
    client.forget(info.key)
    if (isLocal) objects.set(info.key, info)
  })
  return { objects, differences }
}

/** What the bytes go through, and how their progress is measured. */
function createStages(
  { isGzip, isResumed, options }: AppendJob,
  { length }: Source,
  stream: OssAppendStream,
): Pick<DeliveryOptions, 'transforms' | 'length' | 'bytesDone'> {
  const transforms: Duplex[] = []
  if (isGzip) {
    // By time, the same input would not make the same members twice.
    const flushInterval = isResumed ? 0 : options.flushInterval
    transforms.push(gzipMembers({ flushInterval }))
  }
  if (isResumed) transforms.push(skipExisting(stream))
  if (isGzip) return { transforms }
  return isResumed
    ? { transforms, length, bytesDone: () => stream.position ?? 0 }
    : { transforms, length }
}
