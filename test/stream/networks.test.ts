/** Slow links, links that streams share, and proxies that refuse long bodies: all bytes get through. */

import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import t, { type Test } from 'tap'
import {
  type AppendStreamOptions,
  createAppendStream,
  type OssAppendStream,
  type RetryInfo,
} from '../../lib/index.ts'
import { withInternals } from '../../lib/stream/internals.ts'
import { startRelay } from '../helpers/relay.ts'
import { SlowLink, type SlowLinkOptions } from '../helpers/slow-link.ts'
import { BUCKET, networkOptions, seededBytes, startOss } from '../helpers/test-oss.ts'
import { VirtualClock } from '../helpers/virtual-clock.ts'

const KIB = 1024
const MIB = 1024 * KIB
/** The same bytes many times: their content does not matter here. */
const PIECE = seededBytes(64 * KIB)

interface Simulation extends SlowLinkOptions {
  /** Bytes that each stream sends. */
  readonly total: number
  readonly streams?: number
  readonly options?: Partial<AppendStreamOptions>
}

/** Sends bytes over a slow link in virtual time. */
async function simulate({ total, streams = 1, options, ...linkOptions }: Simulation) {
  const clock = new VirtualClock()
  const link = new SlowLink(clock, linkOptions)
  const send = async (key: string) => {
    const settings = { bucket: BUCKET, key, client: link, flushInterval: 0, ...options }
    const stream = createAppendStream(withInternals(settings, { clock }))
    await pipeline(Readable.from(pieces(total)), stream)
  }
  const keys = Array.from({ length: streams }, (_, n) => `${n}.log`)
  await clock.runUntil(Promise.all(keys.map(send)))
  const lengths = keys.map(key => link.lengthOf(key))
  // What the link needs for the bytes alone.
  const needed = ((total * streams) / linkOptions.rate) * 1000
  const { timeouts, refusals, carried } = link
  const sent = carried / (total * streams)
  return { lengths, overhead: clock.now() / needed, timeouts, refusals, sent }
}

function* pieces(total: number) {
  for (let left = total; left > 0; left -= PIECE.length) yield PIECE.subarray(0, left)
}

t.test('64 MiB over 30,720 bytes/s take at most 1.3 times what the link needs', async t => {
  // `x-oss-traffic-limit: 245760`, in bits, is the least that OSS takes.
  const result = await simulate({ rate: 30_720, roundTrip: 100, total: 64 * MIB })
  t.strictSame(result.lengths, [64 * MIB])
  t.ok(result.overhead <= 1.3, `${result.overhead.toFixed(3)}, ${result.timeouts} timeouts`)
  t.ok(result.timeouts > 0, 'a full batch is too long for this link')
})

t.test('below 2,100 bytes/s the shortest attempts still get through', async t => {
  // The default `maxElapsed` of five minutes allows for some timeouts; fewer bytes a second need more.
  const endless = { retry: { maxElapsed: Number.POSITIVE_INFINITY } }
  for (const [rate, options] of [
    [2000, {}],
    [500, endless],
    [150, endless],
  ] as const) {
    const result = await simulate({ rate, roundTrip: 100, total: MIB, options })
    t.strictSame(result.lengths, [MIB])
    t.ok(result.overhead < 2.5, `${rate} B/s: ${result.overhead.toFixed(2)}`)
  }
})

t.test('eight streams get through a link that is too slow for their full batches', async t => {
  // 32 MiB take 140 s, and the deadline of 4 MiB is 96 s.
  const result = await simulate({ rate: 240_000, roundTrip: 50, total: 16 * MIB, streams: 8 })
  t.strictSame(
    result.lengths,
    Array.from({ length: 8 }, () => 16 * MIB),
  )
  t.ok(result.timeouts >= 8, `${result.timeouts} timeouts`)
  t.ok(result.sent < 1.5, `${result.sent.toFixed(2)} times the bytes were sent`)
})

t.test('eight streams get through a relay that is too slow for their full batches', async t => {
  const { server, read } = await startOss(t)
  // 256 KiB take 690 ms, and the deadline of 32 KiB is 612 ms.
  const relay = await startRelay(t, server.port, { rate: 380_000 })
  const endpoint = server.url.replace(String(server.port), String(relay.port))
  const bytes = seededBytes(128 * KIB)
  const retries: RetryInfo[] = []
  const send = async (key: string) => {
    const options = {
      ...networkOptions(server),
      endpoint,
      bucket: BUCKET,
      key,
      position: 0,
      highWaterMark: 32 * KIB,
      requestTimeout: 100,
      retry: { minDelay: 1, maxDelay: 20, maxRetries: 20 },
    }
    const stream = createAppendStream(withInternals(options, { attemptFloor: 2 * KIB }))
    stream.on('retry', info => retries.push(info))
    stream.end(bytes)
    await once(stream, 'close')
  }
  const keys = Array.from({ length: 8 }, (_, n) => `${n}.log`)
  await Promise.all(keys.map(send))
  for (const key of keys) t.ok(read(key).equals(bytes), key)
  t.ok(retries.length >= 8, `${retries.length} retries`)
  const sent = relay.links.reduce((sum, link) => sum + link.bytesFromClient, 0)
  t.ok(sent < 4 * 8 * bytes.length, `${sent} bytes sent for ${8 * bytes.length}`)
})

/** A server behind a proxy with a body limit, and the retries of a stream to it. */
async function startLimited(t: Test, maxBytes: number, more: Partial<AppendStreamOptions> = {}) {
  const oss = await startOss(t)
  oss.server.faults.push({ kind: 'tooLarge', maxBytes, times: Infinity })
  const key = oss.newKey()
  const stream = oss.open(key, { contentMd5: false, ...more })
  return { ...oss, key, stream }
}

function countRefusals({
  server,
}: {
  readonly server: { readonly requests: readonly { status?: number | undefined }[] }
}) {
  return server.requests.filter(({ status }) => status === 413).length
}

async function sendAll(stream: OssAppendStream, total: number): Promise<void> {
  await pipeline(Readable.from(pieces(total)), stream)
}

t.test('a proxy with a limit of 1 MiB answers at most four 413s', async t => {
  const limited = await startLimited(t, MIB)
  await sendAll(limited.stream, 3 * MIB)
  t.equal(limited.server.stat(BUCKET, limited.key)?.length, 3 * MIB)
  const refusals = countRefusals(limited)
  t.ok(refusals > 0 && refusals <= 4, `3 MiB: ${refusals} 413s`)
  const link = { rate: 50 * MIB, roundTrip: 10, maxBytes: MIB }
  const long = await simulate({ ...link, total: 64 * MIB })
  t.strictSame(long.lengths, [64 * MIB])
  t.ok(long.refusals > 0 && long.refusals <= 4, `64 MiB: ${long.refusals} 413s`)
})

t.test('a limit below the shortest attempt is final, and the message says what to do', async t => {
  const { server, stream, key } = await startLimited(t, 64 * KIB - 1)
  await t.rejects(sendAll(stream, 3 * MIB), {
    code: 'OSS_ERR_BODY_REFUSED',
    status: 413,
    message: /^OSS or a server on the way to it refuses a body of 65536 bytes \(HTTP 413\)/,
    unresolved: { position: 0 },
  })
  t.equal(server.read(BUCKET, key), undefined)
  t.ok(countRefusals({ server }) <= 8)
})
