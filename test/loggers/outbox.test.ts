/** The outbox against the test server: which records it delivers, drops, gives up and reports. */

import t, { type Test } from 'tap'
import { OssError } from '../../lib/errors.ts'
import { resolveTransportOptions } from '../../lib/loggers/options.ts'
import { Outbox, type TransportOptions, UndeliveredError } from '../../lib/loggers/outbox.ts'
import { captureStderr } from '../helpers/capture-stderr.ts'
import { checkRecords, parseLossReports, parseRecords } from '../helpers/numbered-records.ts'
import { BUCKET, networkOptions, type Oss, startOss, waitUntil } from '../helpers/test-oss.ts'

type EmittedEvent = readonly [event: string, info: unknown]

/** An outbox to a new object, and the events that it emits. */
function createOutbox(oss: Oss, options: Partial<TransportOptions> = {}) {
  const key = oss.newKey()
  const emitted: EmittedEvent[] = []
  const outbox = new Outbox(
    {
      bucket: BUCKET,
      key,
      ...networkOptions(oss.server),
      retry: { minDelay: 1, maxDelay: 5 },
      flushInterval: 5,
      ...options,
    },
    {
      formatDroppedRecord: records => `{"oss_append_stream":"dropped","records":${records}}\n`,
      emit: (event, info) => emitted.push([event, info]) > 0,
    },
  )
  return {
    key,
    outbox,
    /** Logs the records from number `from` to `to - 1`. */
    add(from: number, to: number) {
      for (let n = from; n < to; n++) outbox.add(`{"n":${n}}\n`)
    },
    stored: () => parseRecords(oss.server.read(BUCKET, key)),
    eventsOf: (event: string) => emitted.filter(([name]) => name === event).map(([, info]) => info),
  }
}

/** The numbers from 0 to `end - 1`. */
function numbersUpTo(end: number): number[] {
  return Array.from({ length: end }, (_, n) => n)
}

t.test('records are stored in order, in appends of at most highWaterMark', async t => {
  const oss = await startOss(t)
  const { outbox, add, stored } = createOutbox(oss, { highWaterMark: 1000, flushInterval: 1 })
  for (let n = 0; n < 2000; n += 50) {
    add(n, n + 50)
    await new Promise(setImmediate)
  }
  t.equal(await outbox.close(), undefined)
  t.same(stored(), { numbers: numbersUpTo(2000), dropped: 0 })
  const appends = oss.server.requests.filter(({ operation }) => operation === 'append')
  t.ok(appends.length > 10)
  t.ok(
    appends.every(({ length }) => length <= 1000),
    'no append is larger than highWaterMark',
  )
  t.equal(outbox.buffered, 0)
})

t.test('an option of streams alone may be undefined, and is refused with a value', t => {
  const given = { bucket: 'examplebucket', key: 'a.log' }
  for (const name of ['align', 'maxRecordBytes', 'signal']) {
    t.doesNotThrow(() => resolveTransportOptions({ ...given, [name]: undefined }), name)
    const message = `option ${name}: is not an option of a logger; remove it`
    t.throws(() => resolveTransportOptions({ ...given, [name]: 1 }), { message })
  }
  t.end()
})

t.test('each append ends where a record ends, also if records contain line breaks', async t => {
  const oss = await startOss(t)
  const { outbox, key } = createOutbox(oss, { highWaterMark: 300 })
  const records = numbersUpTo(100).map(n => `{"n":${n},"text":"${'日\n'.repeat(n % 7)}"}END`)
  const ends = new Set([0])
  let position = 0
  for (const record of records) {
    outbox.add(record)
    position += Buffer.byteLength(record)
    ends.add(position)
  }
  await outbox.close()
  t.equal(oss.read(key).toString(), records.join(''))
  for (const { operation, position, length } of oss.server.requests) {
    if (operation === 'append') t.ok(ends.has((position ?? 0) + length), `an end at ${position}`)
  }
})

t.test('an outbox rolls from object to object', async t => {
  const oss = await startOss(t)
  const { outbox, add, eventsOf } = createOutbox(oss, { key: 'roll/{index}.log', maxBytes: 2000 })
  add(0, 1000)
  await outbox.close()
  const rolled = eventsOf('roll').map(info => (info as { key: string }).key)
  t.ok(rolled.length > 3)
  const all = [...rolled, `roll/${rolled.length}.log`].map(
    key => parseRecords(oss.read(key)).numbers,
  )
  t.same(all.flat(), numbersUpTo(1000))
})

t.test('an outbox without records ends at once and creates no object', async t => {
  const oss = await startOss(t)
  const { outbox, key } = createOutbox(oss)
  t.equal(await outbox.close(), undefined)
  t.equal(oss.server.stat(BUCKET, key), undefined)
  t.equal(await outbox.close(), undefined, 'a second close')
  await outbox.flush()
})

t.test(
  'a wrong option is named in the error, and so is a stream option that loggers do not have',
  async t => {
    const oss = await startOss(t)
    const wrong: [Record<string, unknown>, string][] = [
      [{ maxBuffered: 0 }, 'maxBuffered'],
      [{ maxBuffered: 2 ** 30 }, 'maxBuffered'],
      [{ closeTimeout: -1 }, 'closeTimeout'],
      [{ align: '\n' }, 'align'],
      [{ maxRecordBytes: 5 }, 'maxRecordBytes'],
      [{ signal: AbortSignal.abort() }, 'signal'],
      [{ position: 0 }, 'position'],
      [{ maxBufered: 5 }, 'maxBufered'],
      [{ key: undefined }, 'key'],
      [{ retry: 5 }, 'retry'],
      [{ retry: null }, 'retry'],
      [{ retry: { maxElapsed: null } }, 'retry.maxElapsed'],
      [{ retry: { maxRetries: -1 } }, 'retry.maxRetries'],
    ]
    for (const [options, name] of wrong) {
      const message = new RegExp(`^option ${name}: `)
      t.throws(() => createOutbox(oss, options), { code: 'OSS_ERR_INVALID_OPTION', message }, name)
    }
  },
)

t.test('maxElapsed of retry is Infinity unless it is given', async t => {
  const retryOf = (retry?: TransportOptions['retry']) =>
    resolveTransportOptions({ bucket: BUCKET, key: 'a', retry }).streamOptions.retry
  t.same(retryOf(), { maxElapsed: Infinity })
  t.same(retryOf({ minDelay: 5 }), { minDelay: 5, maxElapsed: Infinity })
  t.same(retryOf({ maxElapsed: undefined }), { maxElapsed: Infinity })
  t.same(retryOf({ maxElapsed: 5 }), { maxElapsed: 5 })
})

t.test(
  'a full queue drops the newest records, and reports them by one event and one line',
  async t => {
    const oss = await startOss(t)
    const { outbox, add, stored, eventsOf, key } = createOutbox(oss, { maxBuffered: 1000 })
    oss.server.refuse()
    add(0, 500)
    t.ok(outbox.buffered <= 1000 && outbox.buffered > 900, `${outbox.buffered} bytes are held`)
    await new Promise(setImmediate)
    add(500, 600)
    await oss.server.listen()
    await outbox.flush()
    add(600, 610)
    await outbox.close()

    const { numbers, dropped } = stored()
    const kept = numbers.indexOf(600)
    t.same(
      numbers,
      [...numbersUpTo(kept), ...numbersUpTo(10).map(n => 600 + n)],
      'the oldest records are kept',
    )
    t.equal(dropped, 600 - kept)
    t.same(
      eventsOf('drop'),
      [{ records: dropped, bytes: 10 * dropped }].map(each => ({
        ...each,
        bytes: byteSum(kept, 600),
      })),
    )
    const lines = oss.read(key).toString().split('\n')
    t.match(lines[kept], /dropped/, 'the line is in the place of the dropped records')
  },
)

t.test('a full queue sends its records also without flushInterval', async t => {
  const oss = await startOss(t)
  const { outbox, add, stored, eventsOf } = createOutbox(oss, {
    maxBuffered: 1000,
    flushInterval: 0,
  })
  add(0, 150)
  await waitUntil(() => eventsOf('drop').length > 0)
  await outbox.close()
  const { numbers, dropped } = stored()
  t.ok(numbers.length > 50)
  t.equal(numbers.length + dropped, 150)
})

/** Bytes of the records of these numbers. */
function byteSum(from: number, to: number): number {
  let sum = 0
  for (let n = from; n < to; n++) sum += `{"n":${n}}\n`.length
  return sum
}

t.test('after a dropped record, later records are dropped too, even if they would fit', async t => {
  const oss = await startOss(t)
  const { outbox, key } = createOutbox(oss, { maxBuffered: 100 })
  oss.server.refuse()
  for (const length of [60, 60, 10]) outbox.add(`${'x'.repeat(length - 1)}\n`)
  await oss.server.listen()
  await outbox.flush()
  await outbox.close()
  const line = '{"oss_append_stream":"dropped","records":2}\n'
  t.equal(oss.read(key).toString(), `${'x'.repeat(59)}\n${line}`)
})

t.test('each time that the queue is full makes one event and one line', async t => {
  const oss = await startOss(t)
  oss.server.latency = 20
  const { outbox, add, stored, eventsOf } = createOutbox(oss, { maxBuffered: 500 })
  for (let n = 0; n < 5000; n += 100) {
    add(n, n + 100)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  await outbox.close()
  const drops = eventsOf('drop') as { records: number }[]
  t.ok(drops.length > 1)
  t.equal(
    stored().dropped,
    drops.reduce((sum, { records }) => sum + records, 0),
  )
  checkRecords(t, 5000, stored(), [])
})

t.test('a record larger than a chunk is stored, and an empty record is ignored', async t => {
  const oss = await startOss(t)
  const { outbox, key } = createOutbox(oss)
  const large = `${'x'.repeat(100_000)}\n`
  outbox.add('')
  await outbox.flush()
  outbox.add(large)
  await outbox.flush()
  t.equal(oss.read(key).toString(), large)
  await outbox.close()
})

t.test('maxBuffered counts bytes, not characters', async t => {
  const oss = await startOss(t)
  captureStderr(t)
  const { outbox, eventsOf } = createOutbox(oss, { maxBuffered: 1000 })
  oss.server.refuse()
  for (let i = 0; i < 50; i++) outbox.add('日'.repeat(10))
  t.ok(outbox.buffered <= 1000 && outbox.buffered > 900, `${outbox.buffered} bytes are held`)
  outbox.add('日'.repeat(300))
  await outbox.abort()
  t.same(eventsOf('drop'), [{ records: 18, bytes: 17 * 30 + 900 }])
})

t.test('a record larger than maxBuffered is dropped, and later records are not', async t => {
  const oss = await startOss(t)
  const { outbox, add, stored } = createOutbox(oss, { maxBuffered: 100 })
  outbox.add(`{"n":-1,"text":"${'x'.repeat(100)}"}\n`)
  add(0, 3)
  await outbox.close()
  t.same(stored(), { numbers: [0, 1, 2], dropped: 1 })
})

t.test(
  'a record larger than maxBuffered is dropped alone while others wait in an outage',
  async t => {
    const oss = await startOss(t)
    const { outbox, add, stored, eventsOf } = createOutbox(oss, { maxBuffered: 200 })
    oss.server.refuse()
    add(0, 5)
    const large = `{"n":5,"text":"${'x'.repeat(200)}"}\n`
    outbox.add(large)
    add(6, 10)
    await oss.server.listen()
    await outbox.close()
    t.same(stored(), { numbers: [0, 1, 2, 3, 4, 6, 7, 8, 9], dropped: 1 })
    t.same(eventsOf('drop'), [{ records: 1, bytes: large.length }])
  },
)

t.test('many records larger than maxBuffered are reported in few lines', async t => {
  const oss = await startOss(t)
  const { outbox, stored, eventsOf } = createOutbox(oss, { maxBuffered: 200 })
  oss.server.refuse()
  for (let n = 0; n < 1000; n++) outbox.add('x'.repeat(201))
  t.ok(outbox.buffered < 300, `${outbox.buffered} bytes are held`)
  await oss.server.listen()
  await outbox.close()
  t.same(stored(), { numbers: [], dropped: 1000 })
  t.ok(eventsOf('drop').length <= 6)
})

t.test('flush() resolves when all records before it are in the object', async t => {
  const oss = await startOss(t)
  const { outbox, add, stored } = createOutbox(oss, { flushInterval: 0 })
  await outbox.flush()
  oss.server.faults.push({ kind: 'reset', when: 'before', times: 3 })
  add(0, 10)
  const first = outbox.flush()
  add(10, 20)
  await first
  t.ok(stored().numbers.length >= 10)
  await outbox.flush()
  t.same(stored().numbers, numbersUpTo(20))
  await outbox.close()
  await outbox.flush()
})

t.test(
  'other writers are no failure: each record is there once, and nothing is reported',
  async t => {
    const oss = await startOss(t)
    const stderr = captureStderr(t)
    const { outbox, add, key, eventsOf } = createOutbox(oss)
    add(0, 10)
    await outbox.flush()
    oss.server.append(BUCKET, key, '{"n":10}\n')
    add(11, 20)
    await outbox.flush()
    // The append lands, its reply is lost, and another writer appends.
    oss.server.faults.push({ kind: 'rival', when: 'after', bytes: 1 })
    add(20, 30)
    await outbox.close()
    const numbers = [
      ...oss
        .read(key)
        .toString()
        .matchAll(/"n":(\d+)/g),
    ].map(([, n]) => Number(n))
    t.same(numbers, numbersUpTo(30))
    t.same(eventsOf('warn'), [])
    t.same(stderr, [])
  },
)

t.test('shared is on, unless another option excludes it', async t => {
  const settings = (options: Partial<TransportOptions>) =>
    resolveTransportOptions({ bucket: BUCKET, key: 'a{slot}', ...options }).streamOptions
  t.equal(settings({}).shared, true)
  t.equal(settings({ shared: false }).shared, false)
  for (const excluding of [{ seal: true }, { sealOnRoll: true }, { journal: '/var/lib/app' }]) {
    t.equal(settings(excluding).shared, false)
    t.equal(settings({ ...excluding, shared: true }).shared, true, 'the stream refuses it')
  }
})

t.test('without shared a new stream delivers each record once after a conflict', async t => {
  const oss = await startOss(t)
  const { outbox, add, key, eventsOf } = createOutbox(oss, { shared: false })
  add(0, 10)
  await outbox.flush()
  oss.server.append(BUCKET, key, '{"n":10}\n')
  add(11, 20)
  await outbox.flush()
  add(20, 30)
  await outbox.close()
  t.same(parseRecords(oss.read(key)).numbers, numbersUpTo(30))
  t.match(eventsOf('warn'), [{ code: 'PositionNotEqualToLength' }])
})

t.test('records that a failed stream leaves in doubt are reported and not sent again', async t => {
  const oss = await startOss(t)
  const stderr = captureStderr(t)
  const { outbox, add, key, eventsOf } = createOutbox(oss, { shared: false })
  add(0, 10)
  await outbox.flush()
  // The append lands, its reply is lost, and another writer appends: the outbox cannot tell what landed.
  oss.server.faults.push({ kind: 'rival', when: 'after', bytes: 1 })
  add(10, 15)
  await t.rejects(outbox.flush(), { code: 'OSS_ERR_ABORTED', records: 5 })
  add(15, 20)
  await outbox.close()
  const text = oss.read(key).toString()
  t.same(
    [...text.matchAll(/"n":(\d+)/g)].map(([, n]) => Number(n)),
    numbersUpTo(20),
  )
  const [conflict, loss] = eventsOf('warn')
  t.match(conflict, { code: 'PositionNotEqualToLength' })
  t.type(loss, UndeliveredError)
  t.match(loss, { code: 'OSS_ERR_ABORTED', records: 5, bytes: 45, unresolvedRecords: 5, key })
  t.equal((loss as Error).cause, conflict)
  t.equal(outbox.loss, loss)
  t.match(parseLossReports(stderr.join('')), [{ records: 5, unresolved: 5, position: 80 }])
})

t.test('AccessDenied is one warning, and records are delivered once access is allowed', async t => {
  const oss = await startOss(t)
  const { outbox, add, stored, eventsOf } = createOutbox(oss)
  oss.server.permissions.delete('oss:PutObject')
  add(0, 10)
  await waitUntil(
    () => oss.server.requests.filter(({ code }) => code === 'AccessDenied').length > 1,
  )
  oss.server.permissions.add('oss:PutObject')
  await outbox.close()
  t.same(stored(), { numbers: numbersUpTo(10), dropped: 0 })
  t.match(eventsOf('warn'), [{ code: 'AccessDenied' }])
  t.equal(eventsOf('warn').length, 1)
})

t.test('a warning without a listener goes to standard error', async t => {
  const oss = await startOss(t)
  const stderr = captureStderr(t)
  oss.server.permissions.clear()
  const options = {
    bucket: BUCKET,
    key: oss.newKey(),
    ...networkOptions(oss.server),
    closeTimeout: 50,
  }
  const outbox = new Outbox(options, { formatDroppedRecord: String, emit: () => false })
  await waitUntil(() => stderr.length > 0)
  t.match(stderr, [/^oss-append-stream: oss:\/\/examplebucket\/.*: AccessDenied: .*\n$/])
  t.equal(await outbox.close(), undefined)
})

t.test('a close gives up its records after closeTimeout and reports them', async t => {
  const oss = await startOss(t)
  const stderr = captureStderr(t)
  const { outbox, add, stored, key } = createOutbox(oss, { closeTimeout: 200 })
  add(0, 10)
  await outbox.flush()
  oss.server.refuse()
  add(10, 30)
  const flushed = outbox.flush()
  const loss = await outbox.close()
  const tail = { position: byteSum(0, 10) }
  t.match(loss, { records: 20, bytes: byteSum(10, 30), bucket: BUCKET, key, tail })
  t.match(loss?.cause, { code: 'OSS_ERR_NETWORK' })
  await t.rejects(flushed, loss as Error)
  await t.rejects(outbox.flush(), loss as Error)
  t.same(stored().numbers, numbersUpTo(10))
  t.match(parseLossReports(stderr.join('')), [
    { records: 20, object: `oss://${BUCKET}/${key}`, ...tail, error: 'OSS_ERR_NETWORK' },
  ])
  t.equal(outbox.buffered, 0)
  t.equal(await outbox.abort(), loss)
})

t.test('if the line for dropped records is given up, the loss counts these records', async t => {
  const oss = await startOss(t)
  const stderr = captureStderr(t)
  const { outbox, add, stored, eventsOf } = createOutbox(oss, {
    closeTimeout: 100,
    maxBuffered: 100,
  })
  oss.server.refuse()
  add(0, 100)
  const loss = await outbox.close()
  t.match(loss, { records: 100, bytes: byteSum(0, 100) }, 'the bytes are those of the records')
  t.equal(eventsOf('drop').length, 1)
  t.equal(stored().numbers.length, 0)
  t.match(parseLossReports(stderr.join('')), [{ records: 100, position: undefined }])
})

t.test('records in flight at closeTimeout are reported as maybe stored', async t => {
  const oss = await startOss(t)
  const stderr = captureStderr(t)
  const { outbox, add, stored } = createOutbox(oss, { closeTimeout: 100 })
  add(0, 10)
  await outbox.flush()
  oss.server.faults.push({ kind: 'slowAnswer', delay: 60_000 })
  add(10, 20)
  const loss = await outbox.close()
  t.match(loss, { records: 10, unresolvedRecords: 10 })
  t.equal(loss?.cause, undefined, 'no attempt has failed')
  t.match(parseLossReports(stderr.join('')), [{ error: undefined }])
  checkRecords(t, 20, stored(), parseLossReports(stderr.join('')))
})

t.test('records in flight at an abort are reported as maybe stored', async t => {
  const oss = await startOss(t)
  const stderr = captureStderr(t)
  const { outbox, add, stored } = createOutbox(oss)
  oss.server.faults.push({ kind: 'slowAnswer', delay: 60_000 })
  add(0, 10)
  await waitUntil(() => oss.server.faults.length === 0)
  add(10, 20)
  t.match(await outbox.abort(), { records: 20, unresolvedRecords: 10 })
  checkRecords(t, 20, stored(), parseLossReports(stderr.join('')))
})

t.test(
  'a close while a failed stream waits to be replaced opens the next stream at once',
  async t => {
    const oss = await startOss(t)
    // The wait after the second failure takes 2 s.
    const { outbox, add, stored } = createOutbox(oss, { closeTimeout: 1900 })
    oss.server.permissions.delete('oss:PutObject')
    add(0, 10)
    await waitUntil(
      () => oss.server.requests.filter(({ code }) => code === 'AccessDenied').length > 1,
    )
    await waitUntil(() => oss.server.openConnections === 0)
    oss.server.permissions.add('oss:PutObject')
    t.equal(await outbox.close(), undefined)
    t.same(stored().numbers, numbersUpTo(10))

    oss.server.permissions.clear()
    const idle = createOutbox(oss)
    await waitUntil(() => idle.eventsOf('warn').length > 0)
    t.equal(await idle.outbox.close(), undefined, 'an empty queue needs no new stream')
  },
)

t.test('a key function that throws after the first object causes a warning', async t => {
  const oss = await startOss(t)
  let isBroken = false
  const key = oss.newKey()
  const { outbox, add, eventsOf } = createOutbox(oss, {
    key: () => {
      if (isBroken) throw new Error('broken')
      return key
    },
  })
  add(0, 5)
  await outbox.flush()
  isBroken = true
  add(5, 10)
  await waitUntil(() => eventsOf('warn').length > 0)
  isBroken = false
  await outbox.close()
  t.same(parseRecords(oss.read(key)).numbers, numbersUpTo(10))
  t.ok(eventsOf('warn').every(error => error instanceof OssError))
})

t.test('the loss of an outbox is the sum of all its losses', async t => {
  const oss = await startOss(t)
  captureStderr(t)
  const { outbox, add, eventsOf } = createOutbox(oss, { closeTimeout: 50, shared: false })
  oss.server.faults.push({ kind: 'rival', when: 'after', bytes: 1 })
  add(0, 5)
  await t.rejects(outbox.flush())
  const [first] = eventsOf('warn').slice(-1)
  t.equal(outbox.loss, first)
  oss.server.refuse()
  add(5, 8)
  const last = await outbox.close()
  t.match(last, { records: 3, unresolvedRecords: 0 })
  t.type(outbox.loss, UndeliveredError)
  t.match(outbox.loss, {
    records: 8,
    bytes: byteSum(0, 8),
    unresolvedRecords: 5,
    cause: last?.cause,
    message: /^8 records \(64 bytes\) .*; 5 of them may be there; /,
  })
})

t.test(
  'records logged while the outbox ends are counted and do not prolong the end',
  async (t: Test) => {
    const oss = await startOss(t)
    const stderr = captureStderr(t)
    oss.server.latency = 100
    const { outbox, add, stored, eventsOf } = createOutbox(oss)
    add(0, 5)
    const closing = outbox.close()
    let next = 5
    const timer = setInterval(() => add(next, ++next), 5)
    const from = performance.now()
    const loss = await closing
    clearInterval(timer)
    t.ok(performance.now() - from < 5000, 'long before closeTimeout')
    t.same(stored(), { numbers: numbersUpTo(5), dropped: 0 })
    const records = next - 5
    t.ok(records > 5)
    t.match(loss, { records, lateRecords: records, bytes: byteSum(5, next), unresolvedRecords: 0 })
    t.same(eventsOf('drop'), [])
    t.same(eventsOf('warn'), [loss])
    t.match(parseLossReports(stderr.join('')), [{ records, late: records }])
  },
)

t.test(
  'records logged after the close cause one warning and are reported at exit',
  async (t: Test) => {
    const oss = await startOss(t)
    const stderr = captureStderr(t)
    const { outbox, add, stored, eventsOf, key } = createOutbox(oss)
    add(0, 5)
    await outbox.close()
    add(5, 7)
    await new Promise(setImmediate)
    const message = /^a record was logged after the end/
    t.match(eventsOf('warn'), [{ code: 'OSS_ERR_ABORTED', message, key }])
    t.equal(eventsOf('warn').length, 1)
    t.same(stored().numbers, numbersUpTo(5))
    outbox.reportOnExit()
    outbox.reportOnExit()
    t.match(parseLossReports(stderr.join('')), [{ records: 2, late: 2 }])
    t.equal(parseLossReports(stderr.join('')).length, 1)
  },
)
