/** `append(record)`: the address that it resolves with is where the record's bytes are. */

import { once } from 'node:events'
import t, { type Test } from 'tap'
import {
  type AppendInfo,
  crc64,
  createRollingAppendStream,
  type RecordAddress,
} from '../../lib/index.ts'
import { RecordAddresses } from '../../lib/stream/record-addresses.ts'
import { createRandom } from '../helpers/random.ts'
import { BUCKET, networkOptions, type Oss, startOss, waitUntil } from '../helpers/test-oss.ts'

t.setTimeout(60_000)

const lines = { align: '\n', flushInterval: 0 } as const

/** The bytes at an address, as text. */
function readAt({ server }: Oss, { key, position, length }: RecordAddress): string | undefined {
  return server
    .read(BUCKET, key)
    ?.subarray(position, position + length)
    .toString()
}

/** Awaits the addresses of records, and compares the bytes there. */
async function checkAddresses(
  t: Test,
  oss: Oss,
  appended: ReadonlyMap<Promise<RecordAddress>, string>,
): Promise<RecordAddress[]> {
  const addresses = await Promise.all(appended.keys())
  const records = [...appended.values()]
  const objects = new Map(addresses.map(({ key }) => [key, oss.read(key)]))
  const wrong = addresses.filter(({ key, position, length }, i) => {
    const bytes = objects.get(key)?.subarray(position, position + length)
    return bytes?.toString() !== records[i]
  })
  t.same(wrong, [], `${records.length} records are at their addresses`)
  return addresses
}

t.test('append() resolves with the address of its record', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const stream = oss.open(key, lines)
  stream.write('plain\n')
  const first = stream.append('first\n')
  stream.write('between\nand\n')
  const second = stream.append(Buffer.from('漢字\n'))
  await stream.flush()
  t.strictSame(await first, { key, position: 6, length: 6 })
  t.strictSame(await second, { key, position: 24, length: 7 })
  t.equal(readAt(oss, await second), '漢字\n')
  const third = stream.append('after a flush\n')
  stream.end()
  t.strictSame(await third, { key, position: 31, length: 14 })
})

t.test('append() counts the bytes that the object had before', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  oss.open(key).end('12345')
  await waitUntil(() => oss.server.stat(BUCKET, key)?.length === 5)
  const stream = oss.open(key, { align: 4 })
  const address = stream.append('abcd')
  stream.end()
  t.strictSame(await address, { key, position: 5, length: 4 })
})

t.test(
  'append() settles after the event that acknowledges its record, and before no other',
  async t => {
    const oss = await startOss(t)
    const stream = oss.open(oss.newKey(), lines)
    const story: string[] = []
    stream.on('append', ({ nextPosition }) => story.push(`append ${nextPosition}`))
    void stream.append('1\n').then(() => story.push('1'))
    void stream.append('2\n').then(() => story.push('2'))
    await stream.flush()
    void stream.append('3\n').then(() => story.push('3'))
    stream.end()
    await once(stream, 'close')
    t.strictSame(story, ['append 4', '1', '2', 'append 6', '3'])
  },
)

t.test("append() in a cork, and behind chunks that wait in Node's queue", async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const stream = oss.open(key, { ...lines, highWaterMark: 8 })
  const appended = new Map<Promise<RecordAddress>, string>()
  const append = (record: string) => appended.set(stream.append(record), record)
  stream.cork()
  append('in a cork\n')
  stream.write('')
  stream.write('line\n')
  append('again\n')
  t.equal(stream.bytesBuffered, 0, 'a cork holds it back')
  stream.uncork()
  for (let n = 0; n < 40; n++) append(`record ${n}\n`)
  t.ok(stream.writableNeedDrain, 'it has the backpressure of write()')
  await stream.flush()
  await checkAddresses(t, oss, appended)
  stream.cork()
  append('flushed\n')
  await stream.flush()
  await checkAddresses(t, oss, appended)
  stream.destroy()
})

t.test('what append() refuses is not written, and does not fail the stream', async t => {
  const oss = await startOss(t)
  const rows: ['\n' | number | 'chunk', unknown, object][] = [
    ['\n', 'no newline', { message: /must end with its only newline/ }],
    ['\n', 'two\nlines\n', { message: /must end with its only newline/ }],
    ['\n', Buffer.from('two\nlines\n'), { message: /must end with its only newline/ }],
    ['\n', '', { message: /is empty/ }],
    ['\n', `${'x'.repeat(99)}\n`, { code: 'OSS_ERR_RECORD_TOO_LARGE' }],
    [4, 'abc', { message: /has 3 bytes, and align is 4/ }],
    [4, '漢字', { message: /has 6 bytes, and align is 4/ }],
    ['chunk', '', { message: /is empty/ }],
    ['chunk', new Uint8Array(), { message: /is empty/ }],
    ['chunk', 17, { message: /must be a string or a Uint8Array/ }],
    ['chunk', undefined, { message: /must be a string or a Uint8Array/ }],
  ]
  for (const [align, record, error] of rows) {
    const stream = oss.open(oss.newKey(), { align, maxRecordBytes: 64 })
    t.throws(() => stream.append(record as string), { code: 'OSS_ERR_INVALID_RECORD', ...error })
    t.equal(stream.writableLength + stream.bytesBuffered, 0, `${align}: nothing is written`)
    const good = stream.append({ '\n': 'ok\n', '4': 'abcd', chunk: 'ok' }[align] as string)
    stream.end()
    t.match(await good, { position: 0 })
  }
  const unaligned = oss.open(oss.newKey())
  t.throws(() => unaligned.append('a\n'), { code: 'OSS_ERR_INVALID_OPTION', message: /align/ })
  unaligned.destroy()
})

t.test('append() refuses a record behind a part of one', async t => {
  const oss = await startOss(t)
  for (const [align, part, rest, record] of [
    ['\n', 'pa', 'rt\n', 'whole\n'],
    [4, 'pa', 'rt', 'abcd'],
  ] as const) {
    const key = oss.newKey()
    const stream = oss.open(key, { align, flushInterval: 0 })
    stream.write(part)
    const refusal = { code: 'OSS_ERR_INVALID_RECORD', message: /a part of a record/ }
    t.throws(() => stream.append(record), refusal)
    stream.write(rest)
    const second = stream.append(record)
    stream.cork()
    stream.write(part)
    const third = stream.append(record)
    stream.write(rest)
    const fourth = stream.append(record)
    stream.end()
    await t.rejects(third, refusal, 'where that is found out late')
    t.match(await second, { position: part.length + rest.length })
    t.equal(readAt(oss, await fourth), record)
    await once(stream, 'close')
    t.equal(oss.read(key).toString(), part + rest + record + part + record + rest + record)
  }
})

t.test('append() over rolls: each address names the object that has the record', async t => {
  const oss = await startOss(t)
  const stream = createRollingAppendStream({
    bucket: BUCKET,
    key: 'rolls/{index}.log',
    ...networkOptions(oss.server),
    align: '\n',
    maxBytes: 100,
    highWaterMark: 60,
  })
  const appended = new Map<Promise<RecordAddress>, string>()
  for (let n = 0; n < 60; n++) {
    const record = `${'x'.repeat(n % 47)}${n}\n`
    appended.set(stream.append(record), record)
    if (n % 7 === 0) stream.write('a line of another kind\n')
    if (stream.writableNeedDrain) await once(stream, 'drain')
  }
  stream.end()
  const addresses = await checkAddresses(t, oss, appended)
  t.ok(new Set(addresses.map(({ key }) => key)).size > 10)
})

t.test(
  'append() is right where attempts differ in length, and their responses are lost',
  async t => {
    const oss = await startOss(t)
    for (const align of ['\n', 'chunk'] as const) {
      const key = oss.newKey()
      oss.server.faults.push(
        { kind: 'tooLarge', maxBytes: 90_000, times: 9 },
        { kind: 'lost', how: 'reset', times: 2 },
      )
      const stream = oss.open(key, { align, flushInterval: 0 })
      const appends: AppendInfo[] = []
      stream.on('append', info => appends.push(info))
      const appended = new Map<Promise<RecordAddress>, string>()
      for (let n = 0; n < 1500; n++) {
        const record = `${String(n).padStart(n % 240, 'x')}\n`
        appended.set(stream.append(record), record)
      }
      await stream.flush()
      await checkAddresses(t, oss, appended)
      t.ok(appends.length > 2, `${appends.length} appends`)
      t.ok(
        appends.some(({ reconciled }) => reconciled),
        'the tail proved one',
      )
      stream.destroy()
      oss.server.faults.clear()
    }
  },
)

t.test('append() of records longer than both buffers', async t => {
  const oss = await startOss(t)
  const stream = oss.open(oss.newKey(), { ...lines, highWaterMark: 1000 })
  const appended = new Map<Promise<RecordAddress>, string>()
  for (const length of [1, 999, 1000, 5000, 3_000_000, 10, 700_000]) {
    const record = `${'x'.repeat(length)}\n`
    appended.set(stream.append(record), record)
  }
  stream.end()
  await checkAddresses(t, oss, appended)
})

t.test('append() to a journal: addresses behind records that an earlier stream left', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const journal = { dir: t.testdir({}), sync: 'never' } as const
  const first = oss.open(key, { ...lines, journal })
  await once(first, 'ready')
  first.write('left in the journal\n')
  const left = first.append('left too\n')
  await first.suspend()
  await t.rejects(left, { code: 'OSS_ERR_ABORTED' })
  const stream = oss.open(key, { ...lines, journal, highWaterMark: 64 })
  const appended = new Map<Promise<RecordAddress>, string>()
  for (let n = 0; n < 50; n++) {
    const record = `${'x'.repeat((n * 7) % 40)}${n}\n`
    appended.set(stream.append(record), record)
    if (n % 5 === 0) stream.write('a line\n')
    if (n % 9 === 0) await new Promise(setImmediate)
  }
  stream.end()
  const [address] = await checkAddresses(t, oss, appended)
  t.equal(address?.position, 'left in the journal\nleft too\n'.length)
})

t.test('append() of several writers to one object: each address is right', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const appended = new Map<Promise<RecordAddress>, string>()
  const writers = [0, 1].map(() => oss.open(key, { align: '\n', shared: true, flushInterval: 1 }))
  oss.server.faults.push({ kind: 'lost', how: 'reset', skip: 3 })
  for (let n = 0; n < 12; n++) {
    for (const [writer, stream] of writers.entries()) {
      const record = `${'x'.repeat(n)} ${writer}-${n}\n`
      appended.set(stream.append(record), record)
      if (n % 3 === writer) await stream.flush()
    }
  }
  for (const stream of writers) stream.end()
  const addresses = await checkAddresses(t, oss, appended)
  t.equal(new Set(addresses.map(({ position }) => position)).size, 24)
  const total = [...appended.values()].join('').length
  t.equal(oss.read(key).length, total, 'and nothing else is in the object')
})

t.test('append() rejects with the error of the stream, at once and afterwards', async t => {
  const oss = await startOss(t)
  const stream = oss.open(oss.newKey(), lines)
  const landed = stream.append('landed\n')
  await stream.flush()
  oss.server.faults.push({ kind: 'status', status: 403, code: 'AccessDenied' })
  const failed = once(stream, 'close')
  const refused = stream.append('refused\n')
  stream.cork()
  const queued = stream.append('queued\n')
  stream.flush()
  await t.rejects(refused, { code: 'AccessDenied' })
  await t.rejects(queued, { code: 'AccessDenied' })
  await t.rejects(failed, { code: 'AccessDenied' })
  await t.rejects(stream.append('late\n'), { code: 'AccessDenied' })
  t.match(await landed, { position: 0 })
})

t.test('append() rejects when the stream is destroyed', async t => {
  const oss = await startOss(t)
  const stream = oss.open(oss.newKey(), lines)
  const before = stream.append('before\n')
  stream.destroy()
  const between = stream.append('between\n')
  await once(stream, 'close')
  for (const address of [before, between, stream.append('after\n')]) {
    await t.rejects(address, { code: 'OSS_ERR_ABORTED' })
  }
})

t.test("append() after end() rejects with Node's error, as write() fails", async t => {
  const oss = await startOss(t)
  const stream = oss.open(oss.newKey(), lines)
  stream.end('all\n')
  await once(stream, 'close')
  await t.rejects(stream.append('late\n'), { code: 'ERR_STREAM_WRITE_AFTER_END' })

  const ending = oss.open(oss.newKey(), lines)
  const failed = once(ending, 'close')
  ending.end('all\n')
  await t.rejects(ending.append('late\n'), { code: 'ERR_STREAM_WRITE_AFTER_END' })
  await t.rejects(failed, { code: 'ERR_STREAM_WRITE_AFTER_END' })
})

t.test('a caller that ignores the promises of append() gets no unhandled rejection', async t => {
  const oss = await startOss(t)
  const unhandled: unknown[] = []
  const note = (reason: unknown) => unhandled.push(reason)
  process.on('unhandledRejection', note)
  t.teardown(() => process.off('unhandledRejection', note))
  const stream = oss.open(oss.newKey(), lines)
  stream.on('error', () => {})
  void stream.append('a\n')
  stream.cork()
  stream.write('part')
  void stream.append('b\n')
  stream.uncork()
  stream.destroy(new Error('gone'))
  await once(stream, 'close').catch(() => {})
  void stream.append('c\n')
  void oss
    .open(oss.newKey(), lines)
    .on('error', () => {})
    .end()
    .append('d\n')
  await new Promise(setImmediate)
  t.same(unhandled, [])
})

t.test('random writes, records, corks and faults: each address is right', async t => {
  const oss = await startOss(t)
  const seed = Number(process.env.SEED ?? 20261128)
  t.comment(`SEED=${seed}`)
  const random = createRandom(seed)
  for (let run = 0; run < 6; run++) {
    const align = random.pick(['\n', 6, 'chunk'] as const)
    const stream = oss.open(oss.newKey(), {
      align,
      highWaterMark: random.pick([5, 64, 1000]),
      flushInterval: random.pick([0, 1]),
    })
    const appended = new Map<Promise<RecordAddress>, string>()
    for (let n = 0; n < 60; n++) {
      const step = random.integer(0, 9)
      const record = align === 6 ? `${n}`.padStart(6) : `${'x'.repeat(random.integer(0, 90))}${n}\n`
      if (step < 4) appended.set(stream.append(record), record)
      else if (step < 7) stream.write(record)
      else if (step === 7) stream.cork()
      else if (step === 8) stream.uncork()
      else void stream.flush()
      if (step === 9) oss.server.faults.push({ kind: 'lost', how: 'reset' })
      if (random.integer(0, 5) === 0) await new Promise(setImmediate)
    }
    stream.end()
    await checkAddresses(t, oss, appended)
    oss.server.faults.clear()
  }
})

t.test('an address is counted from where its append landed, wherever that is', async t => {
  const addresses = new RecordAddresses()
  const all = [10, 20, 5].map((length, chunk) => addresses.add(chunk, length))
  t.equal(addresses.isNext(0), true)
  for (const start of [0, 10, 30]) addresses.locate(start)
  t.equal(addresses.isNext(3), false)
  const info = {
    crc64: crc64(''),
    requestId: '',
    attempts: 1,
    lostRaces: 0,
    duration: 0,
    reconciled: false,
  }
  const landed = (key: string, position: number, length: number): AppendInfo => ({
    ...{ ...info, key, position, length },
    nextPosition: position + length,
  })
  addresses.acknowledge(0, landed('a', 1000, 10))
  addresses.acknowledge(10, landed('a', 5000, 20))
  addresses.acknowledge(30, landed('b', 7, 5))
  t.strictSame(await Promise.all(all), [
    { key: 'a', position: 1000, length: 10 },
    { key: 'a', position: 5000, length: 20 },
    { key: 'b', position: 7, length: 5 },
  ])
})
