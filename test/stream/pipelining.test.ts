/** Streams with several appends in flight, over HTTP, with faults in the head and behind it. */

import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import t from 'tap'
import {
  type AppendInfo,
  crc64,
  createRollingAppendStream,
  type OssAppendStream,
  type OssError,
  type RollInfo,
} from '../../lib/index.ts'
import type { FaultKind } from '../../lib/server/faults.ts'
import { withInternals } from '../../lib/stream/internals.ts'
import { BUCKET, networkOptions, seededBytes, startOss, waitUntil } from '../helpers/test-oss.ts'

const SIZE = 1000
const SLOW = { kind: 'slowAnswer', delay: 5, times: Number.POSITIVE_INFINITY } as const

/** Writes in pieces that are no parts of a batch, and ends. */
async function writeAll(stream: OssAppendStream, bytes: Buffer): Promise<void> {
  for (let start = 0; start < bytes.length; start += 170) {
    if (!stream.write(bytes.subarray(start, start + 170))) await once(stream, 'drain')
  }
  stream.end()
}

t.test('the object has all bytes once, in order, at every depth', async t => {
  const oss = await startOss(t)
  for (const pipelining of [1, 2, 3, 4]) {
    oss.server.faults.push(SLOW)
    const key = oss.newKey()
    const bytes = seededBytes(10 * SIZE + 17, pipelining)
    const stream = oss.open(key, { pipelining, highWaterMark: SIZE })
    const appends: AppendInfo[] = []
    const positions: number[] = []
    stream.on('append', info => {
      appends.push(info)
      positions.push(info.position)
    })
    await writeAll(stream, bytes)
    await once(stream, 'close')
    t.ok(oss.read(key).equals(bytes), `depth ${pipelining}`)
    t.equal(stream.bytesWritten, bytes.length)
    t.equal(stream.bytesBuffered, 0)
    t.same(
      positions,
      [...positions].sort((a, b) => a - b),
    )
    t.equal(
      appends.reduce((sum, { length }) => sum + length, 0),
      bytes.length,
    )
    for (const { nextPosition, crc64: crc } of appends) {
      t.equal(crc, crc64(bytes.subarray(0, nextPosition)))
    }
    oss.server.faults.clear()
  }
})

t.test(
  'key and credentials run in the context of the stream where a write sends a batch',
  async t => {
    const oss = await startOss(t)
    const context = new AsyncLocalStorage<string>()
    const contexts: (string | undefined)[] = []
    const { key, ...options } = oss.options(oss.newKey(), {
      pipelining: 2,
      highWaterMark: SIZE,
      flushInterval: 0,
      credentials: () => {
        contexts.push(context.getStore())
        return { accessKeyId: 'test-access-key', accessKeySecret: 'test-access-secret' }
      },
    })
    const stream = context.run('stream', () =>
      createRollingAppendStream({
        ...options,
        key: ({ index }) => {
          contexts.push(context.getStore())
          return `${key}-${index}`
        },
      }),
    )
    stream.write(Buffer.alloc(SIZE))
    await stream.flush()
    contexts.length = 0
    oss.server.faults.push({ ...SLOW, delay: 200 })
    context.run('first', () => stream.write(Buffer.alloc(SIZE)))
    await waitUntil(() => contexts.length >= 2)
    context.run('second', () => stream.write(Buffer.alloc(SIZE)))
    await waitUntil(() => contexts.length >= 4)
    t.same([...new Set(contexts)], ['stream'], 'a batch in its turn, and one ahead of it')
    stream.end()
    await once(stream, 'close')
  },
)

t.test('memory: a buffer for each append in flight, and one that fills', async t => {
  const oss = await startOss(t)
  for (const pipelining of [1, 2, 4]) {
    const stream = oss.open(oss.newKey(), { pipelining, highWaterMark: SIZE, flushInterval: 0 })
    stream.write(Buffer.alloc(SIZE))
    await stream.flush()
    oss.server.faults.push({ kind: 'late', how: 'hang', lands: 1e6, times: 4 })
    let isFull = false
    const chunk = Buffer.alloc(SIZE / 4)
    const started = stream.bytesWritten
    while (!isFull) {
      const { bytesBuffered } = stream
      isFull = !stream.write(chunk)
      await new Promise(setImmediate)
      if (stream.bytesBuffered === bytesBuffered) break
    }
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
    t.equal(stream.bytesWritten, started)
    t.equal(stream.bytesBuffered, (pipelining + 1) * SIZE, `depth ${pipelining}`)
    stream.destroy()
    await once(stream, 'close')
    oss.server.faults.clear()
  }
})

/** All written bytes are accepted, and what the stream can send of them is sent. */
async function whenSent(stream: OssAppendStream, length: number): Promise<void> {
  await waitUntil(() => stream.bytesBuffered === length)
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
}

const FAULTS: readonly FaultKind[] = [
  { kind: 'reset', when: 'before' },
  { kind: 'reset', when: 'after' },
  { kind: 'lost', how: 'reset' },
  { kind: 'lost', how: 500 },
  { kind: 'late', how: 'reset', lands: 'beforeNext' },
  { kind: 'late', how: 'reset', lands: 'afterLook' },
  { kind: 'status', status: 500 },
  { kind: 'status', status: 503, code: 'SlowDown' },
  { kind: 'html' },
  { kind: 'html', commits: true },
  { kind: 'garbage', commits: true },
  { kind: 'corrupted' },
  { kind: 'closed', how: 'header' },
  { kind: 'closed', how: 'silent' },
]

t.test('any fault, in the head and behind it: the object has all bytes once', async t => {
  const oss = await startOss(t)
  for (const [index, fault] of FAULTS.entries()) {
    for (const skip of [1, 3]) {
      const key = oss.newKey()
      const bytes = seededBytes(9 * SIZE, 100 * index + skip)
      oss.server.faults.push({ ...fault, key, skip, times: 2 } as never)
      const stream = oss.open(key, { pipelining: 4, highWaterMark: SIZE })
      await writeAll(stream, bytes)
      await once(stream, 'close')
      t.ok(oss.read(key).equals(bytes), `${JSON.stringify(fault)} after ${skip}`)
    }
  }
})

t.test(
  'a rival of equal length in the place of the head: a conflict, and all is unresolved',
  async t => {
    const oss = await startOss(t)
    const key = oss.newKey()
    const stream = oss.open(key, { pipelining: 2, highWaterMark: SIZE, flushInterval: 0 })
    stream.on('error', () => {})
    const bytes = seededBytes(3 * SIZE)
    stream.write(bytes.subarray(0, SIZE))
    await stream.flush()
    oss.server.faults.push({ kind: 'rival', when: 'before', key })
    stream.write(bytes.subarray(SIZE, 2 * SIZE))
    stream.write(bytes.subarray(2 * SIZE))
    await new Promise(resolve => stream.once('close', resolve))
    const error = stream.errored as OssError
    t.equal(error.code, 'PositionNotEqualToLength')
    t.match(error, { tail: { position: SIZE }, unresolved: { position: SIZE, length: 2 * SIZE } })
  },
)

t.test('flush(), append() and their order', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  oss.server.faults.push({ ...SLOW, key })
  const stream = oss.open(key, {
    ...{ pipelining: 4, highWaterMark: 64, align: '\n', flushInterval: 0 },
  })
  const records = Array.from({ length: 60 }, (_, i) => `${'r'.repeat(i % 23)} ${i}\n`)
  const done: number[] = []
  const addresses = records.map(async (record, i) => {
    const { position, length } = await stream.append(record)
    done.push(i)
    return { position, length, record }
  })
  const flushed = stream.flush()
  const tail = await flushed
  t.equal(tail.position, Buffer.byteLength(records.join('')))
  t.same(
    done,
    [...done].sort((a, b) => a - b),
  )
  const content = oss.read(key)
  for (const { position, length, record } of await Promise.all(addresses)) {
    t.equal(content.toString('latin1', position, position + length), record)
  }
  stream.end()
  await once(stream, 'close')
})

t.test('destroy() ends all appends in flight, and nothing is left open', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const stream = oss.open(key, { pipelining: 4, highWaterMark: SIZE, flushInterval: 0 })
  stream.write(Buffer.alloc(SIZE))
  await stream.flush()
  oss.server.faults.push({ kind: 'late', how: 'hang', lands: 1e6, key, times: 4 })
  for (let i = 0; i < 4; i++) stream.write(Buffer.alloc(SIZE))
  await whenSent(stream, 4 * SIZE)
  stream.destroy()
  await once(stream, 'close')
  t.same(stream.unresolved, { position: SIZE, length: 4 * SIZE })
  t.equal(oss.read(key).length, SIZE)
})

t.test('a rolling stream drains the chain before it goes on in the next object', async t => {
  const oss = await startOss(t)
  for (const fault of [undefined, ...FAULTS]) {
    const prefix = oss.newKey()
    if (fault) oss.server.faults.push({ ...fault, skip: 3, times: 2 } as never)
    const rolls: RollInfo[] = []
    const stream = createRollingAppendStream({
      ...{
        bucket: BUCKET,
        key: `${prefix}-{index}`,
        maxBytes: 3500,
        ...networkOptions(oss.server),
      },
      ...{ pipelining: 4, highWaterMark: SIZE, retry: { minDelay: 1, maxDelay: 5 } },
    })
    stream.on('roll', info => rolls.push(info))
    const bytes = seededBytes(13 * SIZE + 5)
    await writeAll(stream, bytes)
    await once(stream, 'close')
    const objects = [0, 1, 2, 3, 4].map(index => oss.server.read(BUCKET, `${prefix}-${index}`))
    const found = objects.filter(object => object !== undefined)
    t.ok(Buffer.concat(found).equals(bytes), JSON.stringify(fault))
    t.ok(found.every(object => object.length <= 3500))
    t.equal(rolls.length, 4)
    for (const [index, { bytes: length, crc64: crc }] of rolls.entries()) {
      t.same([length, crc], [objects[index]?.length, crc64(objects[index]!)])
    }
  }
})

t.test('what is in flight when the key changes belongs to the object of its time', async t => {
  const oss = await startOss(t)
  const prefix = oss.newKey()
  let now = new Date('2026-01-01T00:59:59Z')
  const stream = createRollingAppendStream(
    withInternals(
      {
        ...{ bucket: BUCKET, key: `${prefix}-{HH}`, ...networkOptions(oss.server) },
        ...{ pipelining: 4, highWaterMark: SIZE, flushInterval: 0 },
      },
      { now: () => now },
    ),
  )
  stream.write(Buffer.alloc(SIZE, 0))
  await stream.flush()
  oss.server.faults.push({ kind: 'slowAnswer', delay: 50, times: 3 })
  for (let i = 1; i <= 3; i++) stream.write(Buffer.alloc(SIZE, i))
  await whenSent(stream, 3 * SIZE)
  now = new Date('2026-01-01T01:00:00Z')
  stream.write(Buffer.alloc(SIZE, 4))
  stream.end()
  await once(stream, 'close')
  t.equal(oss.read(`${prefix}-00`).length, 4 * SIZE)
  t.ok(oss.read(`${prefix}-01`).equals(Buffer.alloc(SIZE, 4)))
})
