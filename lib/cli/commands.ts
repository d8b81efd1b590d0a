/**
 * What each command does, put together from source, delivery, proof and report. A command resolves to
 * its exit code, or rejects with what went wrong; it leaves nothing open either way.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseUrl } from '../address.ts'
import type { ClientOptions, RetryPolicy } from '../index.ts'
import type { AppendCommand, DemoCommand } from './arguments.ts'
import { deliver, WitnessClient } from './delivery.ts'
import { MismatchError, UsageError } from './failure.ts'
import { compare, readBack, type Service } from './proof.ts'
import { describeDelivery } from './report.ts'
import { hasBytes, hasInput, openFeed, openSource, type Source } from './source.ts'

const DEMO_URL = 'oss://demo/input'
const DEMO_BYTES = 64 * 1024 * 1024
/** Milliseconds that the demo waits for a pipe to say something before it makes something up. */
const DEMO_PATIENCE = 5_000

/** A server in this process fails for good (a full disk), and not because a line is down. */
const LOCAL_RETRY: Partial<RetryPolicy> = { maxElapsed: 3_000 }

/** One object to append to, and how to get what goes there. */
interface Job {
  readonly url: string
  readonly open: () => Source | Promise<Source>
  readonly retry?: Partial<RetryPolicy> | undefined
  readonly signal: AbortSignal
}

/** Streams into an object in a temporary folder: memory would hold no long input. */
export async function demonstrate(
  { file, bytes }: DemoCommand,
  signal: AbortSignal,
): Promise<number> {
  // A length that is asked for can only be that of the feed, so a pipe left open here is none of ours.
  const isPiped = file === undefined && bytes === undefined && (await hasBytes(DEMO_PATIENCE))
  const input = isPiped ? '-' : file
  const open = () => (input === undefined ? openFeed(bytes ?? DEMO_BYTES) : openSource(input))
  const folder = await mkdtemp(join(tmpdir(), 'oss-append-'))
  try {
    return await appendLocally({ url: DEMO_URL, open, signal }, folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Appends to an object of OSS, or with `--local` to one in a folder. */
export async function append(
  { url, file, local, region, endpoint }: AppendCommand,
  signal: AbortSignal,
): Promise<number> {
  if (local === undefined) requireCredentials()
  if (file === undefined && !hasInput()) {
    const mend = 'pipe something in, redirect a file, name FILE, or say - to read in any case'
    throw new UsageError(`nothing to read: ${mend}`)
  }
  const job = { url, open: () => openSource(file ?? '-'), signal }
  return local === undefined ? run(job, { region, endpoint }) : appendLocally(job, local)
}

async function appendLocally(job: Job, folder: string): Promise<number> {
  parseUrl(job.url)
  const { createOssServer } = await import('../server/index.ts')
  const server = await createOssServer({ dir: folder })
  try {
    const { url, region, credentials } = server
    return await run({ ...job, retry: LOCAL_RETRY }, { endpoint: url, region, credentials }, server)
  } finally {
    await server.close()
  }
}

/** The one way of all bytes. A service on this machine is read back; OSS's own word has to do elsewhere. */
async function run(job: Job, connection: ClientOptions, service?: Service): Promise<number> {
  const { url, retry, signal } = job
  const target = parseUrl(url)
  const client = new WitnessClient(connection)
  try {
    client.checkBucket(target.bucket)
    const source = await job.open()
    const delivery = await deliver({ source, target, client, retry, signal })
    const from = delivery.before.position
    const copy = service && (await readBack(service, { target, from, signal }))
    const reported = copy ? copy.reported : client.reported
    const findings = { source: source.name, url, delivery, reported, copy }
    process.stdout.write(describeDelivery(findings))
    const differences = compare(delivery, reported, copy)
    if (differences.length > 0) throw new MismatchError(differences)
    process.stdout.write('verified\n')
    return 0
  } finally {
    await client.close()
  }
}

/** Asked for before anything is read: without them every request would be in vain. */
function requireCredentials(): void {
  const names = ['OSS_ACCESS_KEY_ID', 'OSS_ACCESS_KEY_SECRET']
  if (names.every(name => process.env[name]?.trim())) return
  throw new UsageError(`no keys for OSS: set ${names.join(' and ')}, or use --local DIR`)
}
