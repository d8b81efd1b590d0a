/** skipExisting(): a source is read from its start again and again, and each byte is in the object once. */

import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import t from 'tap'
import {
  crc64,
  createRollingAppendStream,
  type OssAppendStream,
  skipExisting,
} from '../lib/index.ts'
import { runModule } from './helpers/child-process.ts'
import {
  BUCKET,
  networkOptions,
  nextEvent,
  type Oss,
  seededBytes,
  startOss,
} from './helpers/test-oss.ts'
import { COPY_PROGRAM, MIB, testKilledCopy } from './killed-copy.ts'

const SOURCE = seededBytes(1000)

function* chunks(bytes: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

/** Copies from the start of the source; the error that this ends with, or undefined. */
async function copy(bytes: Buffer, stream: OssAppendStream, size = 64): Promise<Error | undefined> {
  const source = Readable.from(chunks(bytes, size), { objectMode: false })
  return pipeline(source, skipExisting(stream), stream).catch(error => error)
}

/** A key that holds the first bytes of the source, or is absent. */
function keyWith(oss: Oss, bytes: Buffer | undefined): string {
  const key = oss.newKey()
  if (bytes) oss.server.append(BUCKET, key, bytes)
  return key
}

/** Appends that reached the server. */
function appends(oss: Oss): number {
  return oss.server.requests.filter(({ method }) => method === 'POST').length
}

t.test(
  'appending continues where the object ends, whatever the chunks of the source are',
  async t => {
    const oss = await startOss(t)
    for (const existing of [undefined, 0, 1, 63, 64, 65, 500, 999, 1000]) {
      for (const size of [1, 64, 333, 1000]) {
        const key = keyWith(oss, existing === undefined ? undefined : SOURCE.subarray(0, existing))
        const stream = oss.open(key)
        const label = `${existing ?? 'absent'}, in chunks of ${size}`
        t.equal(await copy(SOURCE, stream, size), undefined, label)
        t.ok(oss.read(key).equals(SOURCE), 'the object is the source')
        t.equal(stream.bytesWritten, 1000 - (existing ?? 0), 'only the rest was sent')
      }
    }
  },
)

t.test('an empty source creates an empty object, and leaves an existing one as it is', async t => {
  const oss = await startOss(t)
  for (const existing of [undefined, Buffer.alloc(0)]) {
    const key = keyWith(oss, existing)
    t.equal(await copy(Buffer.alloc(0), oss.open(key)), undefined)
    t.equal(oss.read(key).length, 0)
  }
})

// label, content of the object, content of the source, what the message contains
const flipped = Buffer.from(SOURCE)
flipped[499]! ^= 1
const mismatches: [string, Buffer, Buffer, RegExp][] = [
  ['the last common byte differs', SOURCE.subarray(0, 500), flipped, /the first 500 bytes/],
  ['all of it, and it differs', SOURCE, flipped, /the first 1000 bytes/],
  ['a byte too short', SOURCE, SOURCE.subarray(0, 999), /ends after 999 bytes, .* has 1000/],
  ['empty', SOURCE.subarray(0, 1), Buffer.alloc(0), /ends after 0 bytes, .* has 1/],
]

t.test('a source with other bytes is refused, and nothing is sent', async t => {
  for (const [label, existing, source, message] of mismatches) {
    for (const size of [64, 5000]) {
      const oss = await startOss(t)
      const key = keyWith(oss, existing)
      const tail = { position: existing.length, crc64: crc64(existing) }
      const error = await copy(source, oss.open(key), size)
      const expected = { name: 'OssError', code: 'OSS_ERR_RESUME_MISMATCH', key, tail, message }
      t.match(error, expected, label)
      t.ok(oss.read(key).equals(existing), 'the object is as it was')
      t.equal(appends(oss), 0)
    }
  }
})

t.test('bytes behind the existing ones pass chunk by chunk', async t => {
  const oss = await startOss(t)
  const skip = skipExisting(oss.open(keyWith(oss, SOURCE.subarray(0, 100))))
  for (const chunk of chunks(SOURCE, 60)) skip.write(chunk)
  skip.end()
  const lengths: number[] = []
  for await (const chunk of skip) lengths.push(chunk.length)
  t.same(lengths, [20, ...Array.from({ length: 14 }, () => 60), 40])
})

t.test('a stream whose tail is already known can be continued', async t => {
  const oss = await startOss(t)
  const key = keyWith(oss, SOURCE.subarray(0, 300))
  const stream = oss.open(key)
  await nextEvent(stream, 'ready')
  await stream.flush()
  t.equal(await copy(SOURCE, stream), undefined)
  t.ok(oss.read(key).equals(SOURCE))
})

t.test('skipExisting() waits for an opening that takes several attempts', async t => {
  const oss = await startOss(t)
  const key = keyWith(oss, SOURCE.subarray(0, 300))
  oss.server.faults.push({ kind: 'html', on: 'head', times: 3 })
  t.equal(await copy(SOURCE, oss.open(key)), undefined)
  t.ok(oss.read(key).equals(SOURCE))
  t.equal(oss.server.faults.length, 0)
})

t.test('an opening that fails or is aborted fails the Transform with the same error', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  oss.server.put(BUCKET, key, 'Normal')
  t.match(await copy(SOURCE, oss.open(key)), { code: 'ObjectNotAppendable' })

  oss.server.faults.push({ kind: 'html', on: 'head', times: 1000 })
  const stream = oss.open(oss.newKey())
  const copied = copy(SOURCE, stream)
  await nextEvent(stream, 'retry')
  const reason = new Error('the reason')
  stream.destroy(reason)
  t.equal(await copied, reason)

  const closed = oss.open(oss.newKey())
  closed.destroy()
  await once(closed, 'close')
  t.ok((await copy(SOURCE, closed)) instanceof Error)
})

t.test('a source that fails leaves the acknowledged bytes', async t => {
  const oss = await startOss(t)
  const key = keyWith(oss, SOURCE.subarray(0, 300))
  const stream = oss.open(key)
  const reason = new Error('the reason')
  async function* source() {
    yield SOURCE.subarray(0, 200)
    throw reason
  }
  t.equal(await pipeline(source, skipExisting(stream), stream).catch(error => error), reason)
  t.ok(oss.read(key).equals(SOURCE.subarray(0, 300)))
})

t.test('skipExisting() refuses anything but an OssAppendStream', async t => {
  // What comes behind it in a pipeline may be a stream with a flush() of another kind.
  for (const value of [undefined, {}, 'oss://examplebucket/key', createGzip()]) {
    t.throws(() => skipExisting(value as unknown as OssAppendStream), {
      code: 'OSS_ERR_INVALID_OPTION',
      message: /^option stream: /,
    })
  }
})

t.test('skipExisting() refuses a rolling stream', async t => {
  const oss = await startOss(t)
  const stream = createRollingAppendStream({
    bucket: BUCKET,
    key: '{index}',
    ...networkOptions(oss.server),
  })
  t.throws(() => skipExisting(stream), {
    code: 'OSS_ERR_INVALID_OPTION',
    message: /^option stream: must not be a rolling one/,
  })
  stream.destroy()
  await once(stream, 'close')
})

t.test('waiting for the tail holds the process', async t => {
  const oss = await startOss(t)
  const key = keyWith(oss, Buffer.from('ab'))
  // The first answers never come from OSS, so that there is nothing but a timer to wait for.
  oss.server.faults.push({ kind: 'html', on: 'head', times: 3 })
  const code = `${COPY_PROGRAM} await pipeline(Readable.from(['a', 'bc']), skipExisting(stream), stream)`
  const ended = await runModule(t, code, { ENDPOINT: oss.server.url, KEY: key, BATCH: '1000' })
  t.match(ended, { code: 0, stderr: '' })
  t.equal(oss.read(key).toString(), 'abc')
})

testKilledCopy({ size: 4 * MIB, batch: 64 * 1024, kills: 3, seed: 1 })
