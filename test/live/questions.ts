/** What OSS's documents leave open, asked of a bucket. An answer is a line for people to read. */

import { pipeline } from 'node:stream/promises'
import { setTimeout } from 'node:timers/promises'
import type { OssError } from '../../lib/index.ts'
import type { Bucket, BucketResponse } from './bucket.ts'

/** Its number, the question, and how it is asked. */
type Question = readonly [number: number, text: string, ask: (bucket: Bucket) => Promise<string>]

function formatResponse({ status, code }: BucketResponse): string {
  return code === undefined ? String(status) : `${status} ${code}`
}

function append(bucket: Bucket, key: string, position: number, more: Partial<RequestOptions> = {}) {
  const query = { append: '', position: String(position) }
  return bucket.send({ method: 'POST', key, query, body: 'more', ...more })
}

type RequestOptions = Parameters<Bucket['send']>[0]

export const QUESTIONS: readonly Question[] = [
  [1, 'What refuses an append across the size limit, and where is it?', sizeLimit],
  [2, 'Does `x-oss-forbid-overwrite` refuse an append to what is there?', forbidOverwrite],
  [2, 'Does an overwrite rule of the bucket refuse one (PutBucketOverwriteConfig)?', overwriteRule],
  [3, 'Which headers has the 409 of a wrong position?', conflictHeaders],
  [4, 'Does an append at 0 to an empty object change its metadata?', lateMetadata],
  [5, 'May a symlink be appended to?', symlink],
  [5, 'May an appendable object be of class Archive?', archive],
  [5, 'May one append in a bucket with a hierarchical namespace?', hierarchical],
  [5, 'May one append over the acceleration endpoint?', accelerated],
  [6, 'What refuses an append to a sealed object?', sealed],
  [7, 'Is a key with `..` in it, sent raw, kept as it is?', dotSegments('a/../')],
  [7, 'And one with `.` in it?', dotSegments('./')],
  [
    9,
    'Is an append of chunked encoding that is cut in mid-body dropped whole?',
    interruptedBody(true),
  ],
  [9, 'And one with a Content-Length?', interruptedBody(false)],
]

/**
 * Sends as many bytes as the limits that `OSS_TEST_LIMITS` lists, so only where that is set: to
 * `5000000000,5368709120`, 5 GB in either sense.
 */
async function sizeLimit(bucket: Bucket): Promise<string> {
  const { OSS_TEST_LIMITS: list } = process.env
  if (!list) return 'not asked: set OSS_TEST_LIMITS=5000000000,5368709120, and it sends 5 GiB'
  const key = bucket.newKey()
  for (const limit of list.split(',').map(Number)) {
    const stream = bucket.open(key, { maxObjectBytes: Number.MAX_SAFE_INTEGER })
    try {
      await pipeline(zeros(limit - 1 - (await lengthOf(bucket, key))), stream)
    } catch (error) {
      return `below ${limit} bytes: ${(error as OssError).code} ${(error as OssError).message}`
    }
    const across = await append(bucket, key, limit - 1, { body: 'xx' })
    if (across.status === 200) continue
    const upTo = await append(bucket, key, limit - 1, { body: 'x' })
    const behind = await append(bucket, key, limit, { body: 'x' })
    return `across ${limit} bytes: ${formatResponse(across)}, up to it: ${formatResponse(upTo)}, behind it: ${formatResponse(behind)}`
  }
  return `it is above ${list.split(',').at(-1)} bytes`
}

function* zeros(length: number): Generator<Buffer> {
  const chunk = Buffer.alloc(Math.min(1 << 20, length))
  for (let left = length; left > 0; left -= chunk.length) yield chunk.subarray(0, left)
}

async function lengthOf(bucket: Bucket, key: string): Promise<number> {
  const { status, headers } = await bucket.send({ method: 'HEAD', key })
  return status === 200 ? Number(headers['content-length']) : 0
}

async function forbidOverwrite(bucket: Bucket): Promise<string> {
  const key = bucket.newKey()
  const headers = { 'x-oss-forbid-overwrite': 'true' }
  const first = await append(bucket, key, 0, { headers })
  const second = await append(bucket, key, 4, { headers })
  return `creation: ${formatResponse(first)}, append: ${formatResponse(second)}`
}

async function conflictHeaders(bucket: Bucket): Promise<string> {
  const key = bucket.newKey()
  await append(bucket, key, 0)
  const reply = await append(bucket, key, 1)
  const names = Object.keys(reply.headers).filter(name => /^x-oss-|^etag$/.test(name))
  return `${formatResponse(reply)}: ${names.sort().join(', ')}`
}

async function lateMetadata(bucket: Bucket): Promise<string> {
  const key = bucket.newKey()
  const typed = (type: string) => ({ 'content-type': type, 'x-oss-meta-type': type })
  await append(bucket, key, 0, { body: '', headers: typed('text/one') })
  await append(bucket, key, 0, { headers: typed('text/two') })
  const { headers } = await bucket.send({ method: 'HEAD', key })
  return `Content-Type ${headers['content-type']}, x-oss-meta-type ${headers['x-oss-meta-type']}`
}

async function symlink(bucket: Bucket): Promise<string> {
  const target = bucket.newKey()
  await append(bucket, target, 0)
  const key = bucket.newKey()
  const headers = { 'x-oss-symlink-target': encodeURIComponent(target) }
  const made = await bucket.send({ method: 'PUT', key, query: { symlink: '' }, headers, body: '' })
  if (made.status !== 200) return `no symlink could be made: ${formatResponse(made)}`
  return `at 0: ${formatResponse(await append(bucket, key, 0))}, at 4: ${formatResponse(await append(bucket, key, 4))}`
}

async function archive(bucket: Bucket): Promise<string> {
  const key = bucket.newKey()
  const headers = { 'x-oss-storage-class': 'Archive' }
  const first = await append(bucket, key, 0, { headers })
  return `creation: ${formatResponse(first)}, append: ${formatResponse(await append(bucket, key, 4))}`
}

/** We leave the bucket's own settings as they are. */
async function overwriteRule(): Promise<string> {
  return 'not asked: needs a bucket that has such a rule; in one, this whole run is the answer'
}

/** Nothing that we may ask tells of which kind a bucket is. */
async function hierarchical(): Promise<string> {
  return 'not asked: needs such a bucket as OSS_TEST_BUCKET; there, this whole run is the answer'
}

async function accelerated(bucket: Bucket): Promise<string> {
  if (!/\boss-accelerate\b/.test(process.env.OSS_ENDPOINT ?? '')) {
    return 'not asked: needs OSS_ENDPOINT=oss-accelerate.aliyuncs.com, and a bucket that has it on'
  }
  const key = bucket.newKey()
  const first = await append(bucket, key, 0)
  return `creation: ${formatResponse(first)}, append: ${formatResponse(await append(bucket, key, 4))}`
}

async function sealed(bucket: Bucket): Promise<string> {
  const key = bucket.newKey()
  await append(bucket, key, 0)
  const query = { seal: '', position: '4' }
  const sealing = await bucket.send({ method: 'POST', key, query, body: '' })
  if (sealing.status !== 200) return `the seal is refused: ${formatResponse(sealing)}`
  return formatResponse(await append(bucket, key, 4))
}

function dotSegments(segments: string): (bucket: Bucket) => Promise<string> {
  return async bucket => {
    const plain = bucket.newKey()
    const key = plain.replace(/[^/]*$/, `${segments}$&`)
    bucket.trackKey(key)
    const made = await append(bucket, key, 0)
    const other = await bucket.send({ method: 'HEAD', key: plain })
    return `${formatResponse(made)}, and without \`${segments}\` it is ${other.status === 200 ? '' : 'not '}there`
  }
}

/** Half of the body, and then no more. */
function interruptedBody(isChunked: boolean): (bucket: Bucket) => Promise<string> {
  return async bucket => {
    const key = bucket.newKey()
    await append(bucket, key, 0)
    const length = isChunked ? { 'transfer-encoding': 'chunked' } : { 'content-length': '200000' }
    const query = { append: '', position: '4' }
    const request = await bucket.startRequest({ method: 'POST', key, query, headers: length })
    const closed = new Promise(resolve => request.on('error', () => {}).on('close', resolve))
    await new Promise(resolve => request.write(Buffer.alloc(100_000), resolve))
    request.destroy()
    await closed
    // What OSS makes of it, it makes without us: nothing tells when.
    await setTimeout(2000)
    const seen = await lengthOf(bucket, key)
    return seen === 4 ? 'dropped whole' : `the object has ${seen - 4} of its bytes`
  }
}
