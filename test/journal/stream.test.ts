/** Streams with a journal: accepted bytes outlive the stream, and are in the object once. */

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { failureOf, finish, HANG, newFolder, watchRecover } from '../helpers/journal.ts'
import { seededBytes, startOss, waitUntil } from '../helpers/test-oss.ts'

t.test('written bytes arrive through the journal, which is small afterwards', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const key = oss.newKey()
  const bytes = seededBytes(300_000)
  const stream = oss.open(key, { journal, highWaterMark: 50_000 })
  for (let at = 0; at < bytes.length; at += 777) stream.write(bytes.subarray(at, at + 777))
  await finish(stream)
  t.ok(oss.read(key).equals(bytes))
  t.same(readdirSync(journal), ['0'])
  t.match(readdirSync(join(journal, '0')), [/\.journal$/])
})

t.test('texts of one turn are encoded as if each was written alone', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const stream = oss.open(key, { journal: newFolder(t) })
  const turns = [
    ['ä', 'b', '', '\ud83d\ude00', 'c'],
    ['d', '\ud83d', '\ude00', 'e'],
    ['f', Buffer.from('g'), 'h'],
  ]
  for (const turn of turns) {
    for (const chunk of turn) stream.write(chunk)
    await new Promise(setImmediate)
  }
  stream.write('ff', 'hex')
  stream.write('\u00e4', 'latin1')
  await stream.flush()
  const chunks = turns.flat().map(chunk => (typeof chunk === 'string' ? Buffer.from(chunk) : chunk))
  t.same(oss.read(key), Buffer.concat([...chunks, Buffer.from([0xff, 0xe4])]))
  await finish(stream)
})

t.test('journaled() resolves while OSS is down, and the next stream delivers', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const key = oss.newKey()
  oss.server.faults.push(HANG)
  const first = oss.open(key, { journal })
  first.write('one ')
  first.write('two ')
  await first.journaled()
  await first.suspend()
  t.equal(first.errored, null)
  oss.server.faults.clear()
  const second = oss.open(key, { journal })
  const infos = watchRecover(second)
  second.write('three')
  await finish(second)
  t.equal(oss.read(key).toString(), 'one two three')
  t.match(infos, [{ key, bytes: 8, damaged: [] }])
})

t.test('bytes beyond two buffers are read back from the disk', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const key = oss.newKey()
  const bytes = seededBytes(500_000)
  oss.server.faults.push({ kind: 'lost', how: 'hang', on: 'any', times: 1 })
  const stream = oss.open(key, { journal, highWaterMark: 20_000, requestTimeout: 2000 })
  for (let at = 0; at < bytes.length; at += 1000) stream.write(bytes.subarray(at, at + 1000))
  await stream.journaled()
  t.ok(stream.bytesBuffered > 400_000, 'all is accepted before OSS answers')
  await finish(stream)
  t.ok(oss.read(key).equals(bytes))
})

t.test('a rest that is read back is sent after flushInterval, without another write', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const bytes = seededBytes(45_000)
  oss.server.faults.push({ kind: 'lost', how: 'hang', on: 'any', times: 1 })
  const stream = oss.open(key, {
    journal: newFolder(t),
    highWaterMark: 20_000,
    requestTimeout: 200,
    flushInterval: 10,
  })
  for (let at = 0; at < bytes.length; at += 1000) stream.write(bytes.subarray(at, at + 1000))
  await waitUntil(() => stream.bytesWritten === bytes.length)
  t.ok(oss.read(key).equals(bytes))
  await stream.suspend()
})

t.test('an append whose response was lost is settled at the next start', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const key = oss.newKey()
  const first = oss.open(key, { journal, align: '\n' })
  first.write('one\n')
  await first.flush()
  oss.server.faults.push({ kind: 'lost', how: 'hang' })
  first.write('two\n')
  first.flush().catch(() => {})
  await waitUntil(() => oss.read(key).toString() === 'one\ntwo\n')
  first.write('three\nopen')
  await first.suspend()
  oss.server.faults.clear()
  const second = oss.open(key, { journal, align: '\n' })
  const infos = watchRecover(second)
  second.write('four\n')
  await finish(second)
  t.equal(oss.read(key).toString(), 'one\ntwo\nthree\nfour\n')
  t.match(infos, [{ key, bytes: 6, damaged: [{ reason: 'unfinished', bytes: Number }] }])
})

t.test('another key in the options: the journaled object gets its bytes first', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const [old, key] = [oss.newKey(), oss.newKey()]
  const first = oss.open(old, { journal })
  first.write('a')
  await first.flush()
  first.write('b')
  await first.suspend()
  const second = oss.open(key, { journal })
  const infos = watchRecover(second)
  second.write('c')
  await finish(second)
  t.equal(oss.read(old).toString(), 'ab')
  t.equal(oss.read(key).toString(), 'c')
  t.match(infos, [{ key: old, bytes: 1 }])
})

for (const { name, isDelivered } of [
  { name: 'all bytes are delivered', isDelivered: true },
  { name: 'bytes are left', isDelivered: false },
]) {
  t.test(`a stream for another key never adds to the object of its slot: ${name}`, async t => {
    const oss = await startOss(t)
    const journal = newFolder(t)
    const [old, key] = [oss.newKey(), oss.newKey()]
    const first = oss.open(old, { journal })
    first.write('a')
    await first.flush()
    if (!isDelivered) first.write('b')
    await first.suspend()
    oss.server.faults.push(HANG)
    const second = oss.open(key, { journal })
    second.write('c')
    await second.journaled()
    await second.suspend()
    oss.server.faults.clear()
    const third = oss.open(key, { journal })
    third.write('d')
    await finish(third)
    t.equal(oss.read(old).toString(), isDelivered ? 'a' : 'ab')
    t.equal(oss.read(key).toString(), 'cd')
    t.equal(readdirSync(join(journal, '0')).length + readdirSync(join(journal, '1')).length, 1)
  })
}

t.test('bytes for another bucket stay out of a journal that is delivered', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const key = oss.newKey()
  const first = oss.open(key, { journal })
  first.write('a')
  await finish(first)
  oss.server.faults.push(HANG)
  const second = oss.open(key, { journal, bucket: 'another-bucket' })
  second.write('b')
  await second.journaled()
  await second.suspend()
  oss.server.faults.clear()
  await finish(oss.open(key, { journal, bucket: 'another-bucket' }))
  t.equal(oss.read(key).toString(), 'a')
  t.equal(oss.server.read('another-bucket', key)?.toString(), 'b')
})

t.test(
  'an object that another writer changed: the stream fails, and the journal stays',
  async t => {
    const oss = await startOss(t)
    const journal = newFolder(t)
    const key = oss.newKey()
    const first = oss.open(key, { journal })
    first.write('a')
    await first.flush()
    first.write('b')
    await first.suspend()
    const other = oss.open(key)
    other.write('rival')
    await finish(other)
    const second = oss.open(key, { journal })
    t.match(await failureOf(second), { code: 'PositionNotEqualToLength', key, message: /journal/ })
    t.equal(oss.read(key).toString(), 'arival')
    const third = oss.open(key, { journal })
    t.match(await failureOf(third), { code: 'PositionNotEqualToLength' }, 'again')
  },
)

t.test('a full journal applies backpressure, and goes on when OSS is back', async t => {
  const oss = await startOss(t)
  const dir = newFolder(t)
  const key = oss.newKey()
  const bytes = seededBytes(3_000_000)
  oss.server.faults.push(HANG)
  const stream = oss.open(key, {
    journal: { dir, maxBytes: 1 << 20 },
    highWaterMark: 100_000,
    requestTimeout: 500,
  })
  let isAccepted = false
  for (let at = 0; at < bytes.length; at += 100_000) stream.write(bytes.subarray(at, at + 100_000))
  stream.write('', () => (isAccepted = true))
  await waitUntil(() => stream.bytesBuffered >= 800_000)
  t.ok(stream.bytesBuffered < 1 << 20)
  t.notOk(isAccepted)
  oss.server.faults.clear()
  await finish(stream)
  t.ok(oss.read(key).equals(bytes))
})

t.test(
  'a record longer than maxRecordBytes fails the stream behind the records before it',
  async t => {
    const oss = await startOss(t)
    const journal = newFolder(t)
    const key = oss.newKey()
    const options = { journal, align: '\n', maxRecordBytes: 10 } as const
    const stream = oss.open(key, options)
    stream.write('short\n')
    stream.write('a record of more than ten bytes\n')
    t.match(await failureOf(stream), { code: 'OSS_ERR_RECORD_TOO_LARGE' })
    t.equal(oss.read(key).toString(), 'short\n')
    const second = oss.open(key, options)
    await finish(second)
    t.equal(oss.read(key).toString(), 'short\n', 'nothing of it is in the journal')
  },
)

t.test('suspend() after end() closes without an error', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const key = oss.newKey()
  oss.server.faults.push(HANG)
  const stream = oss.open(key, { journal })
  stream.end('x')
  await stream.suspend()
  t.equal(stream.errored, null)
  oss.server.faults.clear()
  await finish(oss.open(key, { journal }))
  t.equal(oss.read(key).toString(), 'x')
})

t.test(
  'a record that would fill the journal fails the stream, behind the records before it',
  async t => {
    const oss = await startOss(t)
    const key = oss.newKey()
    const dir = newFolder(t)
    const journal = { dir, maxBytes: 1 << 20 }
    const stream = oss.open(key, { journal, align: '\n', highWaterMark: 65_536 })
    stream.write('before\n')
    for (let i = 0; i < 40; i++) stream.write('x'.repeat(50_000))
    t.match(await failureOf(stream), { code: 'OSS_ERR_RECORD_TOO_LARGE', message: /524288 bytes/ })
    t.equal(oss.read(key).toString(), 'before\n')
  },
)
