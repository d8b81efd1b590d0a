/** Questions that OSS's documentation leaves open, put to a bucket. An answer is a line of text. */

import { pipeline } from 'node:stream/promises'
import { setTimeout } from 'node:timers/promises'
import type { OssError } from '../../lib/index.ts'
import type { Bucket, BucketResponse } from './bucket.ts'

/** `ask` resolves with the answer. */
type Question = readonly [number: number, text: string, ask: (bucket: Bucket) => Promise<string>]

function formatResponse({ status, code }: BucketResponse): string {
  return code === undefined ? String(status) : `${status} ${code}`
}

function append(bucket: Bucket, key: string, position: number, more: Partial<RequestOptions> = {}) {
  const query = { append: '', position: String(position) }
  return bucket.send({ method: 'POST', key, query, body: 'more', ...more })
}

type RequestOptions = Parameters<Bucket['send']>[0]

/** Milliseconds that OSS may take for a request without an end. Tests set less. */
const WAIT = Number(process.env.OSS_TEST_WAIT ?? 2000)

export const QUESTIONS: readonly Question[] = [
  [1, 'Where is the size limit, and how does OSS refuse an append across it?', sizeLimit],
  [2, 'Does `x-oss-forbid-overwrite` refuse an append to an existing object?', forbidOverwrite],
  [2, 'Does PutBucketOverwriteConfig refuse an append to an existing object?', overwriteRule],
  [3, 'Which headers does the 409 of a wrong position have?', conflictHeaders],
  [4, 'Does an append at 0 to an empty object change its metadata?', lateMetadata],
  [5, 'Does OSS append to a symlink?', symlink],
  [5, 'Does OSS append to an object of class Archive?', archive],
  [5, 'Does OSS append in a bucket with a hierarchical namespace?', hierarchical],
  [5, 'Does OSS append over the acceleration endpoint?', accelerated],
  [6, 'How does OSS refuse an append to a sealed object?', sealed],
  [7, 'Does OSS keep `..` in a key that is sent raw?', dotSegments('a/../')],
  [7, 'Does OSS keep `.` in a key that is sent raw?', dotSegments('./')],
  [
    9,
    'Does OSS drop an append with chunked encoding that ends in mid-body?',
    interruptedBody(true),
  ],
  [9, 'Does OSS drop an append with Content-Length that ends in mid-body?', interruptedBody(false)],
]

/**
 * Asks at the lengths of `OSS_TEST_LIMITS`, and sends that many bytes. `5000000000,5368709120` is 5 GB and
 * 5 GiB.
 */
async function sizeLimit(bucket: Bucket): Promise<string> {
  const { OSS_TEST_LIMITS: list } = process.env
  if (!list) return 'not asked: needs OSS_TEST_LIMITS=5000000000,5368709120, which sends 5 GiB'
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
    const after = await append(bucket, key, limit, { body: 'x' })
    return `across ${limit} bytes: ${formatResponse(across)}, up to it: ${formatResponse(upTo)}, after it: ${formatResponse(after)}`
  }
  return `above ${list.split(',').at(-1)} bytes`
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
  const response = await append(bucket, key, 1)
  const names = Object.keys(response.headers).filter(name => /^x-oss-|^etag$/.test(name))
  return `${formatResponse(response)}: ${names.sort().join(', ')}`
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
  const query = { symlink: '' }
  const created = await bucket.send({ method: 'PUT', key, query, headers, body: '' })
  if (created.status !== 200) return `the symlink is refused: ${formatResponse(created)}`
  return `at 0: ${formatResponse(await append(bucket, key, 0))}, at 4: ${formatResponse(await append(bucket, key, 4))}`
}

async function archive(bucket: Bucket): Promise<string> {
  const key = bucket.newKey()
  const headers = { 'x-oss-storage-class': 'Archive' }
  const first = await append(bucket, key, 0, { headers })
  return `creation: ${formatResponse(first)}, append: ${formatResponse(await append(bucket, key, 4))}`
}

/** The check does not change the settings of the bucket. */
async function overwriteRule(): Promise<string> {
  return 'not asked: needs a bucket with such a rule; there, this whole run is the answer'
}

/** No request that these credentials may send tells the kind of a bucket. */
async function hierarchical(): Promise<string> {
  return 'not asked: needs such a bucket as OSS_TEST_BUCKET; there, this whole run is the answer'
}

async function accelerated(bucket: Bucket): Promise<string> {
  if (!/\boss-accelerate\b/.test(process.env.OSS_ENDPOINT ?? '')) {
    return 'not asked: needs OSS_ENDPOINT=oss-accelerate.aliyuncs.com and a bucket with acceleration'
  }
  const key = bucket.newKey()
  const first = await append(bucket, key, 0)
  return `creation: ${formatResponse(first)}, append: ${formatResponse(await append(bucket, key, 4))}`
}

async function sealed(bucket: Bucket): Promise<string> {
  const key = bucket.newKey()
  await append(bucket, key, 0)
  const query = { seal: '', position: '4' }
  const response = await bucket.send({ method: 'POST', key, query, body: '' })
  if (response.status !== 200) return `the seal is refused: ${formatResponse(response)}`
  return formatResponse(await append(bucket, key, 4))
}

function dotSegments(segments: string): (bucket: Bucket) => Promise<string> {
  return async bucket => {
    const plain = bucket.newKey()
    const key = plain.replace(/[^/]*$/, `${segments}$&`)
    bucket.trackKey(key)
    const created = await append(bucket, key, 0)
    const other = await bucket.send({ method: 'HEAD', key: plain })
    const exists = other.status === 200 ? 'exists' : 'does not exist'
    return `${formatResponse(created)}, and the key without \`${segments}\` ${exists}`
  }
}

/** Sends half of a body and closes the connection. */
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
    // No response tells when OSS has handled the request.
    await setTimeout(WAIT)
    const seen = await lengthOf(bucket, key)
    return seen === 4 ? 'dropped' : `the object has ${seen - 4} of its bytes`
  }
}
