/** What happens to the bytes of a delivery: their source, the way into the object, and the comparison with it. */

import { once } from 'node:events'
import { PassThrough, Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { deliver } from '../../lib/cli/delivery.ts'
import { compareDelivery, compareRolledObjects, readBack } from '../../lib/cli/read-back.ts'
import { type Delivery, formatReport } from '../../lib/cli/report.ts'
import { Reporter } from '../../lib/cli/reporter.ts'
import { RetryingReader } from '../../lib/cli/retrying-reader.ts'
import { createSampleData } from '../../lib/cli/sample-data.ts'
import { openSampleData, openSource } from '../../lib/cli/source.ts'
import { OssClient } from '../../lib/client/client.ts'
import { systemClock } from '../../lib/clock.ts'
import { crc64, createAppendStream } from '../../lib/index.ts'
import { createOssServer } from '../../lib/server/index.ts'
import { Output } from '../helpers/run-cli.ts'
import { networkOptions } from '../helpers/test-oss.ts'
import { sha256, writeInput } from './check-report.ts'

const MIB = 1024 * 1024
const OBJECT = 'oss://examplebucket/logs/run 7.csv'
const TEXT = Buffer.from('温度,21.5 °C\n'.repeat(1000))
const { signal } = new AbortController()
const signals = {
  first: signal,
  second: signal,
  received: undefined,
  exitCode: 0,
  clock: systemClock,
}
const outputs = { stdout: new Output(), stderr: new Output(), env: {} }
const listener = { note() {} }

t.test('every difference between what was sent and the object is found', async t => {
  const delivery: Delivery = {
    bytes: 5,
    sha256: 'aa',
    isCut: false,
    acknowledged: 5,
    key: 'k',
    exists: true,
    rolls: 0,
    before: { position: 10, crc64: '1', exists: true },
    after: { position: 15, crc64: '2' },
    appends: 1,
    recovered: 0,
    duration: 1000,
  }
  const copy = { length: 15, crc64: '2', sha256: 'aa' }
  t.same(compareDelivery(delivery), [])
  t.same(compareDelivery(delivery, copy), [])
  const tooFew = ['the number of acknowledged bytes is 4, not 5']
  t.same(compareDelivery({ ...delivery, acknowledged: 4 }), tooFew)
  t.same(compareDelivery({ ...delivery, acknowledged: 4 }, copy), tooFew)
  const wrong: [object, string[]][] = [
    [{ length: 14 }, ['the length as read back is 14, not 15']],
    [{ crc64: '3' }, ['the CRC-64 as read back is 3, not 2']],
    [{ sha256: 'ab' }, ['the SHA-256 as read back is ab, not aa']],
  ]
  for (const [changes, differences] of wrong) {
    t.same(compareDelivery(delivery, { ...copy, ...changes }), differences)
  }
  const rolled = { ...delivery, rolls: 2 }
  t.same(
    compareDelivery(rolled, { ...copy, sha256: 'other' }),
    [],
    'of several objects the last one has another SHA-256',
  )
  t.same(compareDelivery(rolled, { ...copy, length: 16 }), [
    'the length as read back is 16, not 15',
  ])
  const report = formatReport({ source: '-', url: OBJECT, delivery: rolled, copy })
  t.match(report, `objects     3, the last one ${OBJECT}\n`)
  t.notMatch(report, '  object  ')
  t.equal(
    formatReport({ source: 'a.csv', url: OBJECT, delivery, copy }),
    'source      a.csv\n' +
      `object      ${OBJECT} (had 10 bytes)\n` +
      'bytes       5 in 1 append\n' +
      'length      15\n' +
      'throughput  5 B/s, 1.00 s\n' +
      'CRC-64      2 computed, and reported by OSS\n' +
      '            2 read back\n' +
      'SHA-256\n' +
      '  source    aa\n' +
      '  object    aa\n',
  )
})

t.test('each rolled object is compared with what was sent', async t => {
  const server = await createOssServer()
  t.teardown(() => server.close())
  const reader = new RetryingReader(networkOptions(server), { signal, maxElapsed: 0, listener })
  t.teardown(() => reader.close())
  const dates = { startedAt: new Date(0), endedAt: new Date(0) }
  const rolled = ['one', 'two!'].map((text, index) => {
    server.append('examplebucket', `${index}`, text)
    return { key: `${index}`, bytes: text.length, crc64: crc64(text), ...dates }
  })
  t.same(await compareRolledObjects(reader, 'examplebucket', rolled), [])
  server.delete('examplebucket', '1')
  server.append('examplebucket', '1', 'twos')
  const wrong = `the CRC-64 of 1 is ${crc64('twos')}, not ${crc64('two!')}`
  t.same(await compareRolledObjects(reader, 'examplebucket', rolled), [wrong])
  server.append('examplebucket', '0', '!')
  t.same(await compareRolledObjects(reader, 'examplebucket', rolled.slice(0, 1)), [
    'the length of 0 is 4, not 3',
    `the CRC-64 of 0 is ${crc64('one!')}, not ${crc64('one')}`,
  ])
})

t.test('objects are delivered and read back by keys that URL parsing would change', async t => {
  const server = await createOssServer()
  t.teardown(() => server.close())
  const client = new OssClient(networkOptions(server))
  t.teardown(() => client.close())
  const reader = new RetryingReader(networkOptions(server), { signal, maxElapsed: 0, listener })
  t.teardown(() => reader.close())
  const bytes = await buffer(createSampleData(700_000))
  for (const key of ['a/../b', 'a//b', 'a\\b', '%2F', 'q?x#y', '日志/应用 日志.log']) {
    const target = { bucket: 'examplebucket', key }
    server.append('examplebucket', key, 'before')
    const stream = createAppendStream({ ...target, client })
    const reporter = new Reporter({ isJson: false, isQuiet: true }, outputs)
    const source = openSampleData(bytes.length)
    const delivery = (await deliver({ source, stream, reporter, signals, signal })) as Delivery
    t.match(delivery, { bytes: bytes.length, sha256: sha256(bytes), before: { position: 6 } }, key)
    const copy = await readBack(reader, target, delivery)
    t.same(compareDelivery(delivery, copy), [], key)
    // A comparison from one byte further on finds other bytes.
    const shifted = await readBack(reader, target, { before: { ...delivery.before, position: 7 } })
    t.same(shifted.sha256, sha256(bytes.subarray(1)), key)
  }
  const absent = { bucket: 'examplebucket', key: 'absent' }
  const nothing = { before: { position: 0, crc64: '0', exists: false } }
  await t.rejects(readBack(reader, absent, nothing), { code: 'NoSuchKey' })
  await server.close()
  // undici 7.25 may use the connection of before once more.
  await t.rejects(readBack(reader, absent, nothing), {
    cause: { cause: { code: /^(ECONNREFUSED|UND_ERR_SOCKET)$/ } },
  })
})

t.test('bytes that wait in a pipe are read after the time to read on', async t => {
  const server = await createOssServer()
  t.teardown(() => server.close())
  server.refuse()
  const client = new OssClient(networkOptions(server))
  t.teardown(() => client.close())
  const retry = { minDelay: 10, maxDelay: 50 }
  const options = { client, retry, highWaterMark: 32_768 }
  const stream = createAppendStream({ bucket: 'examplebucket', key: 'cam.ts', ...options })
  // More than is read while nothing leaves the stream, so the rest waits.
  const bytes = Buffer.concat([Buffer.alloc(300_000, 'x'), Buffer.from('TRAILER')])
  const input = new PassThrough()
  for (let at = 0; at < bytes.length; at += 10_000) input.write(bytes.subarray(at, at + 10_000))
  input.end()
  const first = new AbortController()
  // The end of the grace is another signal, which is never aborted: no slow machine is too slow.
  const terminated = { ...signals, first: first.signal, received: 'SIGTERM' as const }
  const reporter = new Reporter({ isJson: false, isQuiet: false }, outputs)
  const source = { name: 'a pipe', stream: input }
  const delivery = deliver({ source, stream, reporter, signals: terminated, signal, grace: 2000 })
  await once(stream, 'retry')
  first.abort()
  // Enough to take the waiting pipe for an empty one.
  await delay(300)
  t.ok(input.readableLength > 0, 'bytes wait')
  await server.listen()
  t.match(await delivery, { bytes: bytes.length, isCut: false })
  t.ok(server.read('examplebucket', 'cam.ts')?.equals(bytes))
})

t.test('a source that fails has delivered the bytes read before that', async t => {
  const server = await createOssServer()
  t.teardown(() => server.close())
  const client = new OssClient(networkOptions(server))
  t.teardown(() => client.close())
  const send = (key: string, chunks: readonly string[]) => {
    const input = Readable.from(
      (async function* () {
        yield* chunks
        throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' })
      })(),
      { objectMode: false },
    )
    const stream = createAppendStream({ bucket: 'examplebucket', key, client })
    const reporter = new Reporter({ isJson: false, isQuiet: true }, outputs)
    const source = { name: 'a disk', stream: input }
    return deliver({ source, stream, reporter, signals, signal, grace: 1000 })
  }
  await t.rejects(send('some', ['one ', 'two']), {
    message: 'the input broke off: EIO: i/o error; the object has 7 bytes',
    code: 'EIO',
  })
  t.equal(String(server.read('examplebucket', 'some')), 'one two')
  await t.rejects(send('none', []), { message: 'EIO: i/o error' })
  t.equal(server.read('examplebucket', 'none'), undefined, 'no object is created')
})

t.test('sample data is CSV, and the same bytes each time', async t => {
  const bytes = await buffer(createSampleData(3 * MIB))
  t.equal(bytes.length, 3 * MIB)
  t.ok(bytes.equals(await buffer(createSampleData(3 * MIB))), 'the same every time')
  t.ok(bytes.subarray(0, 1000).equals(await buffer(createSampleData(1000))), 'and of any length')
  t.equal((await buffer(createSampleData(0))).length, 0)
  const lines = bytes.toString().split('\n').slice(1, -1)
  t.ok(lines.length > 50_000)
  const form = /^2026-\d\d-\d\dT[\d:.]+Z,[a-z0-9-]+,[a-z]+,\d+\.\d\d,(°C|rpm|µm|bar|kW|%)$/
  t.same(
    lines.filter(line => !form.test(line)),
    [],
  )
})

t.test('a file has a known length, a device has none', async t => {
  const { file } = writeInput(t, TEXT)
  const io = { stdin: Readable.from([]) }
  const source = await openSource(file, io)
  t.match(source, { name: file, length: TEXT.length })
  t.ok((await buffer(source.stream)).equals(TEXT))
  const device = await openSource('/dev/null', io)
  t.equal(device.length, undefined)
  t.equal((await buffer(device.stream)).length, 0)
})
