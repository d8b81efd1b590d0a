/**
 * `oss-append URL` and `oss-append demo`: put together from place, source, delivery, proof and reporter.
 * A command resolves to its exit code, or rejects with what went wrong; it leaves nothing open either
 * way.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { parseUrl } from '../address.ts'
import {
  type AppendStreamOptions,
  createAppendStream,
  createRollingAppendStream,
  gzipMembers,
  type OssAppendStream,
  type RollInfo,
  skipExisting,
  type Target,
} from '../index.ts'
import type { AppendCommand, DemoCommand, Place, Rolling } from './commands.ts'
import { type DeliveryOptions, deliver, WitnessClient } from './delivery.ts'
import { MismatchError } from './failure.ts'
import { PatientReader } from './patience.ts'
import { at, type OpenPlace } from './place.ts'
import { ask, compare, compareCopies, compareLeft, readBack } from './proof.ts'
import { Reporter } from './reporter.ts'
import type { Signals } from './signals.ts'
import { hasBytes, hasInput, openFeed, openSource, type Source } from './source.ts'
import { UsageError } from './usage.ts'

const DEMO_URL = 'oss://demo/input'
const DEMO_BYTES = 64 * 1024 * 1024
/** Milliseconds that the demo waits for a pipe to say something before it makes something up. */
const DEMO_PATIENCE = 5_000

/** Milliseconds. A server in this process fails for good (a full disk), and not because a line is down. */
const LOCAL_PATIENCE = 3_000
/** Behind a pipe nobody is there to start it again. */
const PATIENCE = Number.POSITIVE_INFINITY

/** Where to append, and how to get what goes there. */
interface Job {
  readonly url: string
  readonly place: Place
  readonly options: AppendStreamOptions
  readonly roll?: Rolling | undefined
  readonly isZipped?: boolean
  readonly isResumed?: boolean
  readonly open: () => Source | Promise<Source>
  readonly reporter: Reporter
  readonly signals: Signals
  /** Milliseconds to read on after the first signal; undefined: that one ends it. */
  readonly grace?: number | undefined
}

/** Streams into an object in a temporary folder: memory would hold no long input. */
export async function demonstrate({ file, bytes }: DemoCommand, signals: Signals): Promise<number> {
  // A length that is asked for can only be that of the feed, so a pipe left open here is none of ours.
  const isPiped = file === undefined && bytes === undefined && (await hasBytes(DEMO_PATIENCE))
  const input = isPiped ? '-' : file
  const open = () => (input === undefined ? openFeed(bytes ?? DEMO_BYTES) : openSource(input))
  const folder = await mkdtemp(join(tmpdir(), 'oss-append-'))
  const reporter = new Reporter({ isJson: false, isQuiet: false })
  const place = { local: folder, network: {} }
  try {
    return await run({ url: DEMO_URL, place, options: {}, open, reporter, signals })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Appends to an object of OSS, or with `--local` to one in a folder. */
export async function append(command: AppendCommand, signals: Signals): Promise<number> {
  const { file, voice } = command
  const reporter = new Reporter(voice)
  const open = () => {
    if (file !== undefined || hasInput()) return openSource(file ?? '-')
    const mend = 'pipe something in, redirect a file, name FILE, or say - to read in any case'
    throw new UsageError(`nothing to read: ${mend}`)
  }
  return run({ ...command, open, reporter, signals })
}

/** When to try again, as the flags have it, and how long unless they say. */
export function completeRetry(
  given: AppendStreamOptions['retry'],
  { isLocal }: Pick<OpenPlace, 'isLocal'>,
) {
  const { maxElapsed = isLocal ? LOCAL_PATIENCE : PATIENCE } = given ?? {}
  return { ...given, maxElapsed }
}

/** The one way of all bytes. A folder is read back; OSS's own word has to do elsewhere. */
async function run(job: Job): Promise<number> {
  const { place, reporter, signals, grace } = job
  const target = targetOf(job)
  const { bucket } = target
  const signal = grace === undefined ? signals.first : signals.second
  return at(place, 'append', async ({ options: connection, isLocal }) => {
    const client = new WitnessClient(connection)
    const retry = completeRetry(job.options.retry, { isLocal })
    const reader = new PatientReader(connection, {
      signal,
      maxElapsed: retry.maxElapsed,
      reporter,
    })
    try {
      client.checkBucket(bucket)
      const source = await job.open()
      const stream = createStream(job, target, { ...job.options, client, retry })
      const left = witness(stream, client, isLocal)
      const course = createCourse(job, source, stream)
      const delivery = await deliver({
        source,
        stream,
        reporter,
        signals,
        signal,
        grace,
        ...course,
      })

      const { key } = delivery
      // The one in use is compared as such, also if it had been left before.
      left.objects.delete(key)
      const copy = isLocal ? await readBack(reader, { bucket, key }, delivery) : undefined
      const object = { bucket, key }
      const reported =
        copy?.reported ?? client.reported(key) ?? (await ask(reader, client, object, delivery))
      const differences = [
        ...left.differences,
        ...(await compareCopies(reader, bucket, left.objects.values())),
        ...compare(delivery, reported, copy),
      ]
      const url = `oss://${bucket}/${key}`
      await reporter.drained(signals.first)
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
function targetOf({ url, roll }: Job): Target {
  if (!roll) return parseUrl(url)
  const prefix = /^oss:\/\/[^/]*$/.test(url) ? `${url}/` : url
  return parseUrl(prefix + (roll.key ?? ''))
}

function createStream(
  { roll }: Job,
  { bucket, key }: Target,
  options: AppendStreamOptions,
): OssAppendStream {
  if (!roll) return createAppendStream({ ...options, bucket, key })
  return createRollingAppendStream({ ...options, ...roll, bucket, key })
}

/** Compares each object that is left with what OSS said of it, and keeps in mind what can be read back. */
function witness(stream: OssAppendStream, client: WitnessClient, isLocal: boolean) {
  /** By key: a clock that went back brings one into use again, and the last word on it counts. */
  const objects = new Map<string, RollInfo>()
  const differences: string[] = []
  stream.on('roll', (info: RollInfo) => {
    differences.push(...compareLeft(info, client.reported(info.key)))
    client.forget(info.key)
    if (isLocal) objects.set(info.key, info)
  })
  return { objects, differences }
}

/** What the bytes go through, and how their progress is measured. */
function createCourse(
  { isZipped, isResumed, options }: Job,
  { length }: Source,
  stream: OssAppendStream,
): Pick<DeliveryOptions, 'through' | 'length' | 'done'> {
  const through: Duplex[] = []
  if (isZipped) {
    // By time, the same input would not make the same members twice.
    const flushInterval = isResumed ? 0 : options.flushInterval
    through.push(gzipMembers({ flushInterval }))
  }
  if (isResumed) through.push(skipExisting(stream))
  if (isZipped) return { through }
  return isResumed ? { through, length, done: () => stream.position ?? 0 } : { through, length }
}
