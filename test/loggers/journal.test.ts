/** Loggers with a journal: what they have taken outlives the process, and is in the object once. */

import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Journal } from '../../lib/journal/journal.ts'
import { createTarget } from '../../lib/journal/segment.ts'
import { Outbox, type TransportOptions } from '../../lib/loggers/outbox.ts'
import { captureStderr } from '../helpers/capture-stderr.ts'
import { HANG, newFolder } from '../helpers/journal.ts'
import { parseLossReports, parseRecords } from '../helpers/numbered-records.ts'
import { BUCKET, networkOptions, type Oss, startOss, waitUntil } from '../helpers/test-oss.ts'

/** An outbox with a journal, and the events that it emits. */
function open(
  oss: Oss,
  journal: TransportOptions['journal'],
  more: Partial<TransportOptions> = {},
) {
  const emitted: (readonly [event: string, info: unknown])[] = []
  const outbox = new Outbox(
    {
      bucket: BUCKET,
      key: 'app-{slot}.log',
      ...networkOptions(oss.server),
      retry: { minDelay: 1, maxDelay: 5 },
      flushInterval: 5,
      journal,
      ...more,
    },
    {
      formatDroppedRecord: records => `{"oss_append_stream":"dropped","records":${records}}\n`,
      emit: (event, info) => emitted.push([event, info]) > 0,
    },
  )
  const add = (from: number, to: number) => {
    for (let n = from; n < to; n++) outbox.add(`{"n":${n}}\n`)
  }
  const eventsOf = (event: string) =>
    emitted.filter(([name]) => name === event).map(([, info]) => info)
  return { outbox, add, eventsOf }
}

const stored = (oss: Oss, key = 'app-0.log') => parseRecords(oss.server.read(BUCKET, key))
const upTo = (end: number) => Array.from({ length: end }, (_, n) => n)

t.test('records that are in the journal leave the memory, and arrive', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  oss.server.faults.push(HANG)
  const { outbox, add } = open(oss, journal, { requestTimeout: 300 })
  add(0, 1000)
  t.ok(outbox.stats().buffered > 0)
  await waitUntil(() => outbox.stats().buffered === 0)
  t.match(outbox.stats(), { journaled: outbox.buffered, dropped: 0, lastAcknowledgedAt: undefined })
  t.ok(outbox.buffered > 8000)
  await waitUntil(() => outbox.stats().lastError)
  oss.server.faults.clear()
  await outbox.flush()
  t.same(stored(oss).numbers, upTo(1000))
  t.match(outbox.stats(), { buffered: 0, journaled: 0, lastAcknowledgedAt: Date })
  t.match(outbox.stats().lastError, { name: 'OssError', code: 'OSS_ERR_TIMEOUT' })
  t.equal(await outbox.close(), undefined)
})

t.test(
  'after closeTimeout the rest stays in the journal, and the next outbox delivers it',
  async t => {
    const oss = await startOss(t)
    const journal = newFolder(t)
    oss.server.faults.push(HANG)
    const lines = captureStderr(t)
    const first = open(oss, journal, { closeTimeout: 50 })
    first.add(0, 500)
    const flushed = first.outbox.flush()
    t.equal(await first.outbox.close(), undefined, 'nothing is given up')
    await t.rejects(flushed, { code: 'OSS_ERR_ABORTED', message: /stay in the journal/ })
    t.equal(first.outbox.loss, undefined)
    t.equal(first.outbox.buffered, first.outbox.stats().journaled)
    t.match(
      lines.join(''),
      new RegExp(
        `^oss-append-stream: ${first.outbox.buffered} bytes for .* stay in the journal ${journal}; `,
      ),
    )
    oss.server.faults.clear()
    const second = open(oss, journal)
    second.add(500, 600)
    t.equal(await second.outbox.close(), undefined)
    t.same(stored(oss).numbers, upTo(600))
  },
)

t.test(
  'a full journal: memory fills, records are dropped, and the object says how many',
  async t => {
    const oss = await startOss(t)
    const journal = { dir: newFolder(t), maxBytes: 1 << 20 }
    oss.server.faults.push(HANG)
    const { outbox, add, eventsOf } = open(oss, journal, {
      maxBuffered: 20_000,
      requestTimeout: 500,
    })
    let total = 0
    const addMore = () => {
      add(total, total + 500)
      total += 500
    }
    while (outbox.stats().journaled < 700_000) {
      addMore()
      await waitUntil(() => outbox.stats().buffered === 0)
    }
    t.equal(outbox.stats().dropped, 0)
    while (outbox.stats().dropped === 0) {
      addMore()
      await new Promise(setImmediate)
    }
    oss.server.faults.clear()
    t.equal(await outbox.close(), undefined)
    const { numbers, dropped } = stored(oss)
    t.equal(numbers.length + dropped, total)
    t.equal(outbox.stats().dropped, dropped)
    t.match(eventsOf('drop'), [{ records: Number, bytes: Number }])
  },
)

t.test('a full journal at the end: what found no room is given up, the rest stays', async t => {
  const oss = await startOss(t)
  const dir = newFolder(t)
  const lines = captureStderr(t)
  oss.server.faults.push(HANG)
  const journal = { dir, maxBytes: 1 << 20 }
  const first = open(oss, journal, { closeTimeout: 100 })
  const total = 120_000
  for (let n = 0; n < total; n += 1000) {
    first.add(n, n + 1000)
    await new Promise(setImmediate)
  }
  const loss = await first.outbox.close()
  t.match(loss, { cause: { code: 'OSS_ERR_JOURNAL' } })
  const [report] = parseLossReports(lines.join(''))
  t.match(report, { records: loss?.records, unresolved: 0, error: 'OSS_ERR_JOURNAL' })
  oss.server.faults.clear()
  const second = open(oss, journal)
  await second.outbox.close()
  t.same(stored(oss).numbers, upTo(total - (loss?.records ?? 0)))
})

t.test('an object that another writer changed: a warning, and a fresh slot', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  captureStderr(t)
  const first = open(oss, journal, { closeTimeout: 50 })
  first.add(0, 10)
  await first.outbox.flush()
  oss.server.refuse()
  first.add(10, 20)
  await first.outbox.close()
  await oss.server.listen()
  const rival = oss.open('app-0.log')
  rival.end('{"n":-1}\n')
  await new Promise(resolve => rival.once('close', resolve))
  const second = open(oss, journal)
  second.add(20, 30)
  await t.rejects(second.outbox.flush(), { code: 'PositionNotEqualToLength' })
  second.add(30, 40)
  await second.outbox.flush()
  t.match(second.eventsOf('warn'), [
    { code: 'PositionNotEqualToLength', message: /; the folder is kept as .*0\.kept-/ },
  ])
  t.equal(await second.outbox.close(), undefined)
  t.same(stored(oss).numbers, [...upTo(10), -1, ...upTo(40).slice(30)])
  t.match(readdirSync(journal).sort(), ['0', /^0\.kept-/])
})

t.test('a journal of another bucket: a warning, and a fresh slot', async t => {
  const oss = await startOss(t, { buckets: [BUCKET, 'other-bucket'] })
  const journal = newFolder(t)
  captureStderr(t)
  const first = open(oss, journal, { closeTimeout: 50 })
  first.add(0, 10)
  await first.outbox.flush()
  oss.server.refuse()
  first.add(10, 20)
  await first.outbox.close()
  await oss.server.listen()
  const second = open(oss, journal, { bucket: 'other-bucket' })
  await waitUntil(() => second.eventsOf('warn').length > 0)
  t.match(second.eventsOf('warn'), [
    { code: 'OSS_ERR_JOURNAL', message: /holds 90 bytes for oss:\/\/examplebucket\/app-0\.log/ },
  ])
  await second.outbox.flush().catch(() => {})
  second.add(20, 30)
  await second.outbox.flush()
  t.same(parseRecords(oss.server.read('other-bucket', 'app-1.log')).numbers, upTo(30).slice(20))
  await second.outbox.close()
})

t.test(
  'records for another key pattern of which none was sent: a warning, and they are kept',
  async t => {
    const oss = await startOss(t)
    const journal = newFolder(t)
    captureStderr(t)
    oss.server.refuse()
    const first = open(oss, journal, { closeTimeout: 50 })
    first.add(0, 10)
    await first.outbox.close()
    await oss.server.listen()
    const second = open(oss, journal, { key: 'other-{slot}.log' })
    second.add(10, 20)
    await t.rejects(second.outbox.flush(), { code: 'OSS_ERR_JOURNAL' }, 'not all is delivered')
    await second.outbox.flush()
    t.match(second.eventsOf('warn'), [
      {
        code: 'OSS_ERR_JOURNAL',
        message: /80 bytes for the key pattern app-{slot}\.log .*is kept as/,
      },
    ])
    t.same(stored(oss, 'other-1.log').numbers, upTo(20).slice(10))
    await second.outbox.close()
    t.equal(readdirSync(journal).filter(name => name.startsWith('0.kept-')).length, 1)
  },
)

t.test('damaged bytes of a journal: a warning with their file and the reason', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const key = 'app-{slot}.log'
  const target = createTarget(BUCKET, key, true)
  const folder = join(journal, '0')
  mkdirSync(folder, { recursive: true })
  const details = {
    maxBytes: 1 << 20,
    sync: 'always',
    align: 'chunk',
    highWaterMark: 65_536,
  } as const
  const left = await Journal.open({ folder, target, segmentBytes: 4096, ...details })
  for (let n = 0; n < 6; n++)
    await left.write([{ chunk: `${'x'.repeat(3000)}\n`, encoding: 'utf8' }])
  await left.close()
  const [, , missing = '', after = ''] = readdirSync(folder).sort()
  rmSync(join(folder, missing))
  const { outbox, eventsOf } = open(oss, journal, { key })
  await outbox.flush()
  t.equal(await outbox.close(), undefined)
  const message =
    / bytes from byte \d+ on are not delivered, but kept: bytes before them are missing$/
  t.match(eventsOf('warn')[0], { code: 'OSS_ERR_JOURNAL', message })
  t.ok(String(eventsOf('warn')[0]).includes(join(folder, after)))
})

t.test('a stream that fails delivers its journal after it has opened again', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const { outbox, add, eventsOf } = open(oss, journal)
  add(0, 10)
  await outbox.flush()
  oss.server.permissions.clear()
  add(10, 20)
  await waitUntil(() => eventsOf('warn').length > 0)
  const flushed = outbox.flush()
  add(20, 30)
  for (const action of ['oss:GetObject', 'oss:PutObject'] as const)
    oss.server.permissions.add(action)
  await flushed
  t.same(stored(oss).numbers.slice(0, 20), upTo(20))
  t.equal(await outbox.close(), undefined)
  t.same(stored(oss).numbers, upTo(30))
})

t.test('abort() keeps everything, also while no stream is open', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  captureStderr(t)
  const first = open(oss, journal)
  first.add(0, 10)
  t.equal(await first.outbox.abort(), undefined)
  const second = open(oss, journal)
  oss.server.permissions.clear()
  second.add(10, 20)
  await waitUntil(() => second.eventsOf('warn').length > 0)
  second.add(20, 30)
  t.equal(await second.outbox.abort(), undefined)
  for (const action of ['oss:GetObject', 'oss:PutObject'] as const)
    oss.server.permissions.add(action)
  const third = open(oss, journal)
  t.equal(await third.outbox.close(), undefined)
  t.same(stored(oss).numbers, upTo(30))
})

t.test('an end while each stream fails: all is in the journal', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  captureStderr(t)
  oss.server.permissions.clear()
  const first = open(oss, journal, { closeTimeout: 300 })
  first.add(0, 10)
  await waitUntil(() => first.eventsOf('warn').length > 0)
  first.add(10, 20)
  t.equal(await first.outbox.close(), undefined)
  t.equal(first.outbox.stats().journaled, 170)
  for (const action of ['oss:GetObject', 'oss:PutObject'] as const) {
    oss.server.permissions.add(action)
  }
  const second = open(oss, journal)
  t.equal(await second.outbox.close(), undefined)
  t.same(stored(oss).numbers, upTo(20))
})
