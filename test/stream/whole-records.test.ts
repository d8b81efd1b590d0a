/** Whole records: every acknowledged length ends where a record ends. */

import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import { type Align, type AppendInfo, crc64, type OssAppendStream } from '../../lib/index.ts'
import { runModule } from '../helpers/child-process.ts'
import { BUCKET, nextEvent, type Oss, startOss, waitUntil } from '../helpers/test-oss.ts'
import { checkKilledWriter, checkRandomWrites, OPEN_STREAM } from './record-checks.ts'

/** Collects the appends of a stream; the function says what each carried. */
function watch(oss: Oss, key: string, stream: OssAppendStream): () => string[] {
  const appends: AppendInfo[] = []
  stream.on('append', info => appends.push(info))
  return () =>
    appends.map(({ position, nextPosition }) => {
      return oss.read(key).subarray(position, nextPosition).toString()
    })
}

t.test('full, flushed and ended batches end where a record ends', async t => {
  const oss = await startOss(t)
  const rows: [Align, string[], string[]][] = [
    [1, ['abcdefghij'], ['abcdefgh', 'ij']],
    ['\n', ['abc\ndef\nghi\n'], ['abc\ndef\n', 'ghi\n']],
    ['\n', ['abc\nde', 'f\nghi', '\n'], ['abc\ndef\n', 'ghi\n']],
    ['\n', ['abc\n', 'de'], ['abc\nde']],
    ['\n', ['abc\nabcdefghijkl\nd'], ['abc\n', 'abcdefghijkl\n', 'd']],
    ['\n', ['no newline at all'], ['no newline at all']],
    ['\n', [], ['']],
    [3, ['abcdefghij'], ['abcdef', 'ghij']],
    [12, ['abcdefghijklmnop'], ['abcdefghijkl', 'mnop']],
    ['chunk', ['abc', 'defg', 'hi', 'j'], ['abcdefg', 'hij']],
    ['chunk', ['abc', 'defghijklmno', 'p'], ['abc', 'defghijklmno', 'p']],
  ]
  for (const [align, chunks, batches] of rows) {
    const key = oss.newKey()
    const stream = oss.open(key, { align, highWaterMark: 8 })
    const sent = watch(oss, key, stream)
    for (const chunk of chunks) stream.write(chunk)
    stream.end()
    await once(stream, 'close')
    t.same(sent(), batches, `${JSON.stringify(align)}: ${JSON.stringify(chunks)}`)
    t.equal(stream.bytesBuffered, 0)
  }
})

t.test('flush() sends whole records, and resolves when they are acknowledged', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const stream = oss.open(key, { align: '\n', flushInterval: 0 })
  const sent = watch(oss, key, stream)
  t.same(await stream.flush(), { position: 0, crc64: '0' }, 'nothing')
  stream.write('par')
  t.same(await stream.flush(), { position: 0, crc64: '0' }, 'a part of a record: at once')
  t.notOk(oss.server.read(BUCKET, key), 'and creates nothing')
  t.equal(stream.bytesBuffered, 3)
  stream.write('t\nrest')
  t.same(await stream.flush(), { position: 5, crc64: crc64('part\n') })
  t.match(stream, { bytesWritten: 5, bytesBuffered: 4, position: 5 })
  t.same(await stream.flush(), { position: 5, crc64: crc64('part\n') }, 'again: nothing new')
  stream.write(' of it\n')
  const [tail, same] = await Promise.all([stream.flush(), stream.flush()])
  t.same([tail.position, same.position], [16, 16])
  stream.write('end')
  stream.end()
  t.equal((await stream.flush()).position, 19, 'after the end: all of it')
  t.same(sent(), ['part\n', 'rest of it\n', 'end'])
})

t.test('flush() does not wait for bytes behind the last whole record', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const stream = oss.open(key, { align: '\n', flushInterval: 0, highWaterMark: 8 })
  await once(stream, 'ready')
  oss.server.faults.push({ kind: 'slowAnswer', delay: 1e9, on: 'append', times: 1, skip: 1 })
  stream.write('one\ntwo\nthree')
  t.equal((await stream.flush()).position, 8)
  stream.destroy()
  await once(stream, 'close')
})

t.test('flushInterval sends whole records only', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const timers = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
  const before = timers()
  const stream = oss.open(key, { align: '\n', flushInterval: 20 })
  await once(stream, 'ready')
  stream.write('par')
  await waitUntil(() => oss.server.requests.length === 1)
  t.equal(timers(), before, 'for a part of a record there is no timer')
  stream.write('t\nre')
  t.equal(timers(), before + 1)
  t.match(await nextEvent<AppendInfo>(stream, 'append'), { position: 0, length: 5 })
  await waitUntil(() => stream.bytesBuffered === 2)
  t.equal(timers(), before, 'nor for what is left of a batch')
  stream.write('st\n')
  t.match(await nextEvent<AppendInfo>(stream, 'append'), { position: 5, length: 5 })
  stream.end()
  await once(stream, 'close')
  t.equal(oss.read(key).toString(), 'part\nrest\n')
})

t.test(
  'a record that is too long fails the stream once the records before it are acknowledged',
  async t => {
    const oss = await startOss(t)
    const rows: [Align, number, string[], string][] = [
      ['\n', 4, ['a\nb\nabcdefghi'], 'a\nb\n'],
      ['\n', 100, ['a\nb\nabcdefgh', 'i'], 'a\nb\n'],
      ['\n', 4, ['abcdefghi'], ''],
      ['chunk', 4, ['abc', 'de', 'f', 'abcdefghi', 'g'], 'abcdef'],
      ['chunk', 100, ['abc', 'de', 'f', 'abcdefghi', 'g'], 'abcdef'],
    ]
    for (const [align, highWaterMark, chunks, content] of rows) {
      const key = oss.newKey()
      const stream = oss.open(key, { align, highWaterMark, maxRecordBytes: 8, flushInterval: 0 })
      // The loop waits; the next write must resume it.
      await once(stream, 'ready')
      await new Promise(setImmediate)
      const failed: unknown[] = []
      for (const chunk of chunks) stream.write(chunk, error => failed.push(error?.message))
      const flushed = stream.flush()
      const [error] = await once(stream, 'error')
      const tail = { position: content.length, crc64: crc64(content) }
      t.match(error, { code: 'OSS_ERR_RECORD_TOO_LARGE', bucket: BUCKET, key, tail })
      t.match(error.message, /maxRecordBytes \(8 bytes\)/)
      t.equal(error.unresolved, undefined, 'nothing of it was sent')
      await t.rejects(flushed, error)
      await waitUntil(() => stream.closed)
      t.equal(oss.server.read(BUCKET, key)?.toString() ?? '', content)
      t.equal(failed.length, chunks.length, 'every write is called back')
      t.match(failed.at(-1), /maxRecordBytes/)
    }
  },
)

t.test(
  'pipeline() rejects with a record that is too long, once those before it are acknowledged',
  async t => {
    const oss = await startOss(t)
    const key = oss.newKey()
    oss.server.faults.push({ kind: 'lost', how: 'reset' }, { kind: 'html', on: 'append', times: 2 })
    const stream = oss.open(key, { align: '\n', maxRecordBytes: 1000, highWaterMark: 64 })
    const lines = Array.from({ length: 50 }, (_, n) => `line ${n}\n`)
    const source = Readable.from([...lines, 'x'.repeat(600), 'x'.repeat(600), '\n', ...lines])
    await t.rejects(pipeline(source, stream), { code: 'OSS_ERR_RECORD_TOO_LARGE' })
    t.equal(oss.read(key).toString(), lines.join(''))
  },
)

t.test('records larger than both buffers are sent, also when OSS answers late', async t => {
  const oss = await startOss(t)
  for (const size of [10, 19, 20, 21, 50, 1000]) {
    const key = oss.newKey()
    oss.server.faults.push({ kind: 'html', on: 'append', times: 2 })
    const stream = oss.open(key, { align: '\n', highWaterMark: 10, maxRecordBytes: 1000 })
    const sent = watch(oss, key, stream)
    const records = Array.from({ length: 7 }, (_, n) => `${'x'.repeat(size - 1 - (n % 2))}\n`)
    const content = Buffer.from(records.join(''))
    const pieces = Array.from({ length: Math.ceil(content.length / 7) }, (_, n) =>
      content.subarray(n * 7, n * 7 + 7),
    )
    await pipeline(Readable.from(pieces), stream)
    t.ok(oss.read(key).equals(content), `records of ${size}`)
    const isEachAlone = sent().every((batch, n) => batch === records[n])
    t.ok(isEachAlone, 'each in an append of its own')
  }
})

t.test(
  'records of a fixed length are counted from the first byte of the stream, not of the object',
  async t => {
    const oss = await startOss(t)
    const key = oss.newKey()
    const first = oss.open(key, { align: 4 })
    first.end('abcdef')
    await once(first, 'close')
    const second = oss.open(key, { align: 4, flushInterval: 0 })
    second.write('12345')
    t.equal((await second.flush()).position, 10)
    second.end()
    await once(second, 'close')
    t.equal(oss.read(key).toString(), 'abcdef12345')
  },
)

t.test('random strings and bytes arrive, and every batch ends with a record', t =>
  checkRandomWrites(t, 6),
)

t.test('a process killed at any moment leaves whole records', t =>
  checkKilledWriter(t, [{ flushInterval: 1 }]),
)

t.test('whole records hold the process, a part of one does not', async t => {
  const oss = await startOss(t)
  const KEY = oss.newKey()
  const env = { ENDPOINT: oss.server.url, KEY, OPTIONS: JSON.stringify({ align: '\n' }) }
  const code = `${OPEN_STREAM} stream.write('whole\\npart')`
  t.match(await runModule(t, code, env), { code: 0, stderr: '' })
  t.equal(oss.read(KEY).toString(), 'whole\n')
})
