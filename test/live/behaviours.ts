/**
 * The behaviours that must hold against a real bucket, by name. A check throws if its behaviour does not
 * hold, and throws `SkippedError` if this bucket or these credentials cannot show it.
 */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { finished, pipeline } from 'node:stream/promises'
import { gunzipSync } from 'node:zlib'
import type { Dispatcher } from 'undici'
import {
  type AppendInfo,
  crc64,
  createRollingAppendStream,
  gzipMembers,
  OssClient,
  type OssConflictError,
  type OssError,
  type OssServiceError,
  skipExisting,
} from '../../lib/index.ts'
import { seededBytes } from '../helpers/test-oss.ts'
import type { Bucket } from './bucket.ts'

/** The message says what the check needs. */
export class SkippedError extends Error {}

/** The error that ends a stream. Fails if there is none. */
async function streamError(stream: NodeJS.WritableStream): Promise<OssError> {
  const error = await finished(stream).catch((error: OssError) => error)
  return error ?? assert.fail('the stream did not fail')
}

/** Rethrows an error. Skips the check if the code says that the bucket or the credentials lack `need`. */
function skipIf(code: string, need: string): (error: OssError) => never {
  return error => {
    throw error.code === code ? new SkippedError(need) : error
  }
}

/** Options for a stream with a client of its own, and so with its own clock and credentials. */
function separateClient({ dispatcher }: Bucket) {
  const { OSS_REGION, OSS_ENDPOINT } = process.env
  const network = { region: OSS_REGION || undefined, endpoint: OSS_ENDPOINT || undefined }
  return { ...network, dispatcher, client: undefined }
}

const SEALING = 'SealAppendObject, which Alibaba enables on request'

/** An interceptor of undici: the first append reaches OSS, and its response is lost. */
function loseResponse(dispatch: Dispatcher['dispatch']): Dispatcher['dispatch'] {
  let isLost = false
  return (options, handler) => {
    const isAppend = options.method === 'POST' && options.body !== null
    if (isLost || !isAppend) return dispatch(options, handler)
    isLost = true
    return dispatch(options, {
      onRequestStart: (controller, context) => handler.onRequestStart?.(controller, context),
      onResponseStart() {},
      onResponseData() {},
      onResponseEnd(controller) {
        handler.onResponseError?.(controller, new Error('the response is lost'))
      },
      onResponseError: (controller, error) => handler.onResponseError?.(controller, error),
    })
  }
}

export const BEHAVIOURS: Readonly<Record<string, (bucket: Bucket) => Promise<void>>> = {
  'a stream creates an object with metadata, and a second stream appends to it': async bucket => {
    const key = bucket.newKey()
    const bytes = seededBytes(300_000)
    const metadata = { origin: 'live' }
    const first = bucket.open(key, { highWaterMark: 100_000, contentType: 'text/x-log', metadata })
    await pipeline([bytes.subarray(0, 200_001)], first)
    const second = bucket.open(key, { contentType: 'text/other' })
    const [ready] = await once(second, 'ready')
    assert.deepEqual(ready, { position: 200_001, crc64: first.crc64, exists: true })
    await pipeline([bytes.subarray(200_001)], second)
    assert.equal(second.crc64, crc64(bytes))
    assert.ok((await bucket.read(key)).equals(bytes), 'its bytes')
    const { headers } = await bucket.send({ method: 'HEAD', key })
    assert.equal(headers['content-type'], 'text/x-log')
    assert.equal(headers['x-oss-meta-origin'], 'live')
  },

  'flush() resolves with the end of the object, also when nothing is written': async bucket => {
    const stream = bucket.open(bucket.newKey())
    stream.write('abc')
    assert.deepEqual(await stream.flush(), { position: 3, crc64: crc64('abc') })
    assert.deepEqual(await stream.flush(), { position: 3, crc64: crc64('abc') })
    stream.end()
    await once(stream, 'close')
  },

  'a stream without bytes creates an empty object': async bucket => {
    const key = bucket.newKey()
    await pipeline([], bucket.open(key, { contentType: 'text/x-log' }))
    const { status, headers } = await bucket.send({ method: 'HEAD', key })
    assert.deepEqual([status, headers['content-length']], [200, '0'])
    assert.equal(headers['content-type'], 'text/x-log')
  },

  'keys may hold any characters': async bucket => {
    for (const name of [
      '日志/应用 日志.log',
      "x y+z~(1)!'*.log",
      'a%2Fb?c#d&e=f.log',
      '\u{1f4c8}\\.log',
    ]) {
      const key = bucket.newKey(`-${name}`)
      await pipeline(['bytes'], bucket.open(key))
      assert.equal((await bucket.read(key)).toString(), 'bytes', name)
    }
  },

  'a lost response is settled by position and CRC': async bucket => {
    const stream = bucket.open(bucket.newKey(), {
      ...separateClient(bucket),
      dispatcher: bucket.dispatcher.compose(loseResponse),
    })
    const appends: AppendInfo[] = []
    stream.on('append', info => appends.push(info))
    await pipeline(['once'], stream)
    assert.deepEqual(
      appends.map(({ length, attempts, reconciled }) => ({ length, attempts, reconciled })),
      [{ length: 4, attempts: 2, reconciled: true }],
    )
  },

  'a rival append is a conflict, also one of the same length': async bucket => {
    for (const [rival, seen] of [
      ['longer', { position: 10 }],
      ['same', { position: 8, crc64: crc64('ourssame') }],
    ] as const) {
      const key = bucket.newKey()
      const stream = bucket.open(key)
      stream.write('ours')
      await stream.flush()
      await pipeline([rival], bucket.open(key))
      const error = (await streamError(stream.end('more'))) as OssConflictError
      assert.equal(error.name, 'OssConflictError')
      assert.deepEqual(error.before, { position: 4, crc64: crc64('ours') })
      assert.deepEqual(error.after, { position: 8, crc64: crc64('oursmore') })
      assert.deepEqual({ ...error.seen, ...seen }, error.seen)
      assert.equal((await bucket.read(key)).toString(), `ours${rival}`)
    }
  },

  'a stream does not create an object again that was deleted or replaced by a shorter one':
    async bucket => {
      const { key, stream } = await opened()
      await remove(key)
      assert.equal((await streamError(stream.end('more'))).code, 'OSS_ERR_OBJECT_REPLACED')
      assert.equal((await bucket.send({ method: 'HEAD', key })).status, 404)

      const other = await opened()
      await remove(other.key)
      await pipeline(['new'], bucket.open(other.key))
      assert.equal((await streamError(other.stream.end('more'))).code, 'OSS_ERR_OBJECT_REPLACED')
      assert.equal((await bucket.read(other.key)).toString(), 'new')

      async function remove(key: string) {
        assert.equal((await bucket.send({ method: 'DELETE', key })).status, 204)
      }

      async function opened() {
        const key = bucket.newKey()
        const stream = bucket.open(key)
        stream.write('ours')
        await stream.flush()
        return { key, stream }
      }
    },

  'an object that is not appendable and a missing bucket are final errors': async bucket => {
    const key = bucket.newKey()
    await bucket.send({ method: 'PUT', key, body: 'normal' })
    assert.equal((await streamError(bucket.open(key).end('x'))).code, 'ObjectNotAppendable')
    const nowhere = bucket.open(key, { bucket: `${bucket.name.slice(0, 40)}-is-not-there` })
    assert.equal((await streamError(nowhere.end('x'))).code, 'NoSuchBucket')
  },

  'a wrong clock is corrected': async bucket => {
    const { now } = Date
    Date.now = () => now() + 3_600_000
    try {
      await pipeline(['x'], bucket.open(bucket.newKey(), separateClient(bucket)))
    } finally {
      Date.now = now
    }
  },

  'a rolling stream writes one object after another': async bucket => {
    const key = bucket.newKey('-0.log')
    const keys = [key, bucket.newKey('-1.log'), bucket.newKey('-2.log')]
    const stream = createRollingAppendStream({
      bucket: bucket.name,
      key: ({ index }) => keys[index] ?? bucket.newKey(`-${index}.log`),
      maxBytes: 10,
      align: '\n',
      client: bucket.client,
    })
    await pipeline(['12345678\n', 'abcdefgh\n', '87654321\n'], stream)
    for (const [index, text] of ['12345678\n', 'abcdefgh\n', '87654321\n'].entries()) {
      assert.equal((await bucket.read(keys[index] as string)).toString(), text)
    }
  },

  'a copy resumes after an interruption, and gzip members make one file': async bucket => {
    const key = bucket.newKey()
    const bytes = seededBytes(100_000)
    await pipeline([bytes.subarray(0, 40_000)], bucket.open(key))
    const stream = bucket.open(key)
    await pipeline([bytes], skipExisting(stream), stream)
    assert.ok((await bucket.read(key)).equals(bytes), 'the copy')

    const zipped = bucket.newKey('.gz')
    for (const half of [bytes.subarray(0, 50_000), bytes.subarray(50_000)]) {
      await pipeline([half], gzipMembers(), bucket.open(zipped, { align: 'chunk' }))
    }
    assert.ok(gunzipSync(await bucket.read(zipped)).equals(bytes), 'the members')
  },

  'a position in bytes requires an object of that length': async bucket => {
    const key = bucket.newKey()
    await pipeline(['abc'], bucket.open(key, { position: 0 }))
    await pipeline(['def'], bucket.open(key, { position: 3, crc64: crc64('abc') }))
    await pipeline(['ghi'], bucket.open(key, { position: 6 }))
    for (const options of [
      { position: 0 },
      { position: 3, crc64: crc64('abc') },
      { position: 8 },
      { position: 10 },
    ]) {
      const { name, code } = await streamError(bucket.open(key, options).end('x'))
      const isRefused = name === 'OssConflictError' || code === 'OSS_ERR_OBJECT_REPLACED'
      assert.ok(isRefused, `position ${options.position}: ${name} ${code}`)
    }
    assert.equal((await bucket.read(key)).toString(), 'abcdefghi')
    // The length is right and the bytes are not: OSS's CRC shows it after an append.
    const other = bucket.open(key, { position: 9, crc64: crc64('other one') })
    assert.equal((await streamError(other.end('x'))).code, 'OSS_ERR_INTEGRITY')
  },

  'seal: true makes OSS refuse further appends': async bucket => {
    const key = bucket.newKey()
    await pipeline(['sealed'], bucket.open(key, { seal: true })).catch(
      skipIf('OperationNotSupported', SEALING),
    )
    const { headers } = await bucket.send({ method: 'HEAD', key })
    assert.ok(headers['x-oss-sealed-time'], 'the time of the seal')
    const error = await streamError(bucket.open(key).end('x'))
    assert.equal(error.code, 'AppendSealedObjectNotAllowed')
    assert.equal((await bucket.read(key)).toString(), 'sealed')
  },

  'sealOnRoll: true seals each object at its roll': async bucket => {
    const keys = [bucket.newKey('-0.log'), bucket.newKey('-1.log')]
    const stream = createRollingAppendStream({
      bucket: bucket.name,
      key: ({ index }) => keys[index] ?? bucket.newKey(`-${index}.log`),
      maxBytes: 10,
      align: '\n',
      sealOnRoll: true,
      client: bucket.client,
    })
    await pipeline(['12345678\n', 'abcdefgh\n'], stream).catch(
      skipIf('OperationNotSupported', SEALING),
    )
    const [left, last] = keys as [string, string]
    const sealed = async (key: string) =>
      (await bucket.send({ method: 'HEAD', key })).headers['x-oss-sealed-time'] !== undefined
    assert.deepEqual([await sealed(left), await sealed(last)], [true, false])
  },

  'the object keeps the headers of its creation': async bucket => {
    const key = bucket.newKey()
    const expires = new Date('2030-01-01T00:00:00Z')
    const stream = bucket.open(key, {
      cacheControl: 'no-cache',
      contentDisposition: 'attachment; filename="a.log"',
      contentEncoding: 'gzip',
      expires,
      acl: 'private',
      storageClass: 'IA',
      serverSideEncryption: 'AES256',
    })
    await pipeline(['x'], stream)
    const { headers } = await bucket.send({ method: 'HEAD', key })
    const expected = {
      'cache-control': 'no-cache',
      'content-disposition': 'attachment; filename="a.log"',
      'content-encoding': 'gzip',
      expires: expires.toUTCString(),
      'x-oss-storage-class': 'IA',
      'x-oss-server-side-encryption': 'AES256',
    }
    assert.deepEqual({ ...headers, ...expected }, headers)
  },

  'the object has the tags of its creation': async bucket => {
    const key = bucket.newKey()
    const tagging = { team: 'a b', 'x/y': '日志' }
    await pipeline(['x'], bucket.open(key, { tagging })).catch(
      skipIf('AccessDenied', 'the permission oss:PutObjectTagging'),
    )
    const { headers } = await bucket.send({ method: 'HEAD', key })
    assert.equal(headers['x-oss-tagging-count'], '2')
  },

  'headers of the caller go with every append': async bucket => {
    const key = bucket.newKey()
    const limited = (bits: number) => ({ headers: { 'x-oss-traffic-limit': String(bits) } })
    await pipeline(['x'], bucket.open(key, limited(8_192_000)))
    // OSS refuses this limit as too low, so the header has reached it.
    const error = (await streamError(bucket.open(key, limited(1)).end('y'))) as OssServiceError
    assert.equal(error.status, 400)
    assert.equal((await bucket.read(key)).toString(), 'x')
  },

  'with Content-MD5 OSS refuses a damaged batch before it stores it': async bucket => {
    const key = bucket.newKey()
    await pipeline(['whole'], bucket.open(key, { contentMd5: true }))
    const { status, code } = await bucket.send({
      method: 'POST',
      key,
      query: { append: '', position: '5' },
      headers: { 'content-md5': createHash('md5').update('sent').digest('base64') },
      body: 'came',
    })
    assert.deepEqual([status, code], [400, 'InvalidDigest'])
    assert.equal((await bucket.read(key)).toString(), 'whole')
  },

  'credentials that may write and not read append to the end': async bucket => {
    const { OSS_TEST_WRITER_ID: accessKeyId, OSS_TEST_WRITER_SECRET: accessKeySecret } = process.env
    if (!accessKeyId || !accessKeySecret) {
      throw new SkippedError(
        'OSS_TEST_WRITER_ID and OSS_TEST_WRITER_SECRET with oss:PutObject alone',
      )
    }
    const key = bucket.newKey()
    await pipeline(['abc'], bucket.open(key))
    const { client: _, ...options } = separateClient(bucket)
    const client = new OssClient({ ...options, credentials: { accessKeyId, accessKeySecret } })
    try {
      const { signal } = new AbortController()
      const head = client.head({ bucket: bucket.name, key }, { signal })
      await assert.rejects(head, { status: 403 }, 'these credentials must not read')
      await pipeline(['def'], bucket.open(key, { client }))
    } finally {
      await client.close()
    }
    assert.equal((await bucket.read(key)).toString(), 'abcdef')
  },
}
