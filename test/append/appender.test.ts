/** The way of every batch that meets no trouble, what never moves, and the seal. */

import { getEventListeners } from 'node:events'
import t from 'tap'
import type { AppenderOptions } from '../../lib/append/appender.ts'
import { Appender } from '../../lib/append/appender.ts'
import type { AppendRequest, Client } from '../../lib/append/client-interface.ts'
import { advance, EMPTY_TAIL, type Tail } from '../../lib/append/tail.ts'
import {
  type AppenderHarness,
  batchOf,
  createAppenderHarness,
  openAppenderHarness,
  RETRY,
  rejectionOf,
  TARGET,
  tailOf,
} from '../helpers/appender-harness.ts'
import {
  networkError,
  positionConflict,
  REQUEST_ID,
  serviceError,
  timeoutError,
} from '../helpers/errors.ts'
import type { FakeRequest } from '../helpers/fake-client.ts'
import { FakeClock } from '../helpers/fake-clock.ts'

/** One append that OSS takes at once. */
async function appendOne({ appender, client }: AppenderHarness, content: string, tail: Tail) {
  const appending = appender.append(batchOf(content))
  const request = await client.next()
  request.reply(tail)
  await appending
  return request
}

t.test('an append: the bytes at the tail, the tail moved by the acknowledgement', async t => {
  const { appender, client, clock, retries } = await openAppenderHarness('old')
  const appending = appender.append(batchOf('new'))
  const request = await client.next()
  t.strictSame(request.asked, { kind: 'append', position: 3, text: 'new', headers: {} })
  t.strictSame(request.target, TARGET)
  t.strictSame(appender.tail, tailOf('old'), 'not before it is acknowledged')
  clock.time += 42
  request.reply(tailOf('oldnew'))
  t.strictSame(await appending, {
    key: 'logs/app.log',
    position: 3,
    nextPosition: 6,
    length: 3,
    crc64: tailOf('oldnew').crc64,
    requestId: REQUEST_ID,
    attempts: 1,
    lostRaces: 0,
    duration: 42,
    reconciled: false,
  })
  t.strictSame(appender.tail, tailOf('oldnew'))
  t.equal(clock.started, 0)
  t.strictSame(retries, [])
})

t.test('a batch is sent as it is, without a copy', async t => {
  const { appender, client } = await openAppenderHarness('old')
  const batch = batchOf('new')
  void appender.append(batch)
  const request = await client.next()
  t.equal(request.body, batch.bytes)
})

t.test('an empty batch creates an empty object', async t => {
  const harness = await openAppenderHarness('', {
    creationHeaders: { 'content-type': 'text/plain' },
  })
  t.equal(harness.appender.exists, false)
  const request = await appendOne(harness, '', EMPTY_TAIL)
  t.match(request.asked, { position: 0, headers: { 'content-type': 'text/plain' } })
  t.equal(harness.appender.exists, true)
  const next = await appendOne(harness, 'x', tailOf('x'))
  t.strictSame(
    next.asked,
    { kind: 'append', position: 0, text: 'x', headers: { 'content-type': 'text/plain' } },
    'an object that was deleted since then is created again as it was',
  )
})

t.test('headers: of every append, of creation, of the batch', async t => {
  const options: Partial<AppenderOptions> = {
    headers: { 'x-oss-traffic-limit': '819200' },
    creationHeaders: { 'content-type': 'text/plain', 'x-oss-meta-a': 'b' },
  }
  const every = { 'x-oss-traffic-limit': '819200' }
  const harness = await openAppenderHarness('', options)
  const appending = harness.appender.append(batchOf('a', 'md5 of a'))
  const creation = { ...every, ...options.creationHeaders, 'content-md5': 'md5 of a' }
  const first = await harness.failNextAttempt(timeoutError())
  t.strictSame(first.asked.headers, creation)
  const second = await harness.client.next()
  t.strictSame(second.asked.headers, creation, 'and of its resends')
  second.reply(tailOf('a'))
  await appending
  const third = await appendOne(harness, 'b', tailOf('ab'))
  t.strictSame(third.asked.headers, every, 'not at another position')

  const found = createAppenderHarness(options)
  const opening = found.appender.open()
  const head = await found.client.next()
  head.reply(EMPTY_TAIL)
  await opening
  const request = await appendOne(found, 'a', tailOf('a'))
  t.strictSame(request.asked.headers, { ...every, ...options.creationHeaders }, 'by position alone')
})

t.test('creation headers are of creation, also if the first append was reconciled', async t => {
  const harness = await openAppenderHarness('', {
    creationHeaders: { 'content-type': 'text/plain' },
  })
  const appending = harness.appender.append(batchOf('a'))
  await harness.failNextAttempt(timeoutError())
  const refusal = await harness.client.next()
  refusal.fail(positionConflict(1))
  const head = await harness.client.next()
  head.reply(tailOf('a'))
  await appending
  t.equal(harness.appender.exists, true)
  const next = await appendOne(harness, 'b', tailOf('ab'))
  t.strictSame(next.asked.headers, {})
})

t.test('an acknowledgement of anything else is final, and the fate unknown', async t => {
  const { position, crc64 } = tailOf('oldnew')
  const rows: [what: string, answer: Partial<Tail>][] = [
    ['a wrong CRC', { position, crc64: tailOf('oldNEW').crc64 }],
    ['the CRC of the batch alone', { position, crc64: tailOf('new').crc64 }],
    ['no CRC', { position }],
    ['one byte less', { position: position - 1, crc64 }],
    ['one byte more', { position: position + 1, crc64 }],
    ['the tail as it was', tailOf('old')],
  ]
  for (const [what, answer] of rows) {
    const { appender, client, clock } = await openAppenderHarness('old')
    const appending = appender.append(batchOf('new'))
    const request = await client.next()
    request.reply(answer)
    const error = await rejectionOf(appending)
    t.match(error, { code: 'OSS_ERR_INTEGRITY', attempts: 1, ...TARGET }, what)
    t.strictSame(error.tail, tailOf('old'), what)
    t.strictSame(error.unresolved, { position: 3, length: 3 }, what)
    t.strictSame(appender.tail, tailOf('old'), what)
    t.equal(clock.started, 0)
  }
})

t.test('a full object: refused before a byte is sent', async t => {
  const { appender, client } = await openAppenderHarness('old', { maxObjectBytes: 6 })
  const fits = appender.append(batchOf('new'))
  const request = await client.next()
  request.reply(tailOf('oldnew'))
  await fits
  const error = await rejectionOf(appender.append(batchOf('!')))
  t.match(error, { code: 'OSS_ERR_OBJECT_FULL', ...TARGET })
  t.strictSame(error.tail, tailOf('oldnew'))
  t.equal(error.attempts, undefined, 'nothing was attempted')
  t.equal(error.unresolved, undefined)
  t.equal(client.requests.length, 1)
})

t.test('nothing is appended after a failure: every call fails with the same error', async t => {
  const harness = await openAppenderHarness('old')
  const { appender, client } = harness
  const appending = appender.append(batchOf('new'))
  const request = await client.next()
  request.fail(serviceError('AccessDenied', { status: 403 }))
  const error = await rejectionOf(appending)
  t.equal(error.code, 'AccessDenied')
  appender.abort(new Error('too late'))
  for (let call = 0; call < 2; call++) {
    t.equal(await rejectionOf(appender.append(batchOf('more'))), error)
    t.equal(await rejectionOf(appender.seal()), error)
  }
  t.strictSame(appender.tail, tailOf('old'), 'the acknowledged tail stays known')
  t.equal(client.requests.length, 1)
})

t.test('two appends at once are a bug of the caller, and send nothing', async t => {
  const { appender, client } = await openAppenderHarness('old')
  const first = appender.append(batchOf('new'))
  await t.rejects(appender.append(batchOf('more')), { code: 'ERR_ASSERTION' })
  const request = await client.next()
  request.reply(tailOf('oldnew'))
  await first
  t.equal(client.requests.length, 1)
  t.strictSame(appender.tail, tailOf('oldnew'))
})

t.test('so are two openings, and an append while the seal is on its way', async t => {
  const closed = createAppenderHarness()
  void closed.appender.open().catch(() => {})
  await t.rejects(closed.appender.open(), { code: 'ERR_ASSERTION' })
  t.equal(closed.client.requests.length, 1)

  const { appender, client } = await openAppenderHarness('old')
  void appender.seal().catch(() => {})
  await t.rejects(appender.append(batchOf('new')), { code: 'ERR_ASSERTION' })
  t.equal(client.requests.length, 1)
})

t.test('before it is open, nothing is sent', async t => {
  const { appender, client } = createAppenderHarness()
  await t.rejects(appender.append(batchOf('x')), { code: 'ERR_ASSERTION' })
  t.equal(client.requests.length, 0)
})

t.test('the headers and the batch are the caller’s: nothing of them is changed', async t => {
  const options = Object.freeze({
    headers: Object.freeze({ a: 'b' }),
    creationHeaders: Object.freeze({ c: 'd' }),
  })
  const harness = await openAppenderHarness('', options)
  const batch = batchOf('x', 'md5')
  Object.freeze(batch)
  const appending = harness.appender.append(batch)
  const request = await harness.client.next()
  request.reply(tailOf('x'))
  await appending
  t.strictSame(Object.keys(batch), ['bytes'])
})

t.test('create, complete: an object that was found is left as it is', async t => {
  const harness = createAppenderHarness()
  const opening = harness.appender.open()
  const head = await harness.client.next()
  head.reply(tailOf('old'))
  await opening
  t.equal(await harness.appender.create(), undefined)
  await harness.appender.complete()
  t.equal(harness.client.requests.length, 1)

  const found = await openAppenderHarness('old', { exists: true })
  await found.appender.complete()
  t.equal(found.client.requests.length, 0, 'the caller has found it')
})

t.test('complete: a given position and CRC are proven by one append of no bytes', async t => {
  const headers = { 'x-oss-traffic-limit': '819200' }
  const { appender, client } = await openAppenderHarness('old', { headers, seal: true })
  t.equal(await appender.create(), undefined)
  t.equal(client.requests.length, 0)
  const completing = appender.complete()
  const probe = await client.next()
  t.strictSame(probe.asked, { kind: 'append', position: 3, text: '', headers })
  probe.reply(tailOf('old'))
  const seal = await client.next()
  t.strictSame(seal.asked, { kind: 'seal', position: 3 })
  seal.reply()
  await completing
  t.equal(client.requests.length, 2)
})

t.test('complete: an append has proven what the caller gave', async t => {
  const harness = await openAppenderHarness('old')
  await appendOne(harness, 'new', tailOf('oldnew'))
  await harness.appender.complete()
  t.equal(harness.client.requests.length, 1)
})

t.test('complete: the object is not what the caller gave', async t => {
  const rows: [respond: (probe: FakeRequest) => void, code: string][] = [
    [probe => probe.fail(positionConflict(2)), 'OSS_ERR_OBJECT_REPLACED'],
    [probe => probe.fail(positionConflict(4)), 'PositionNotEqualToLength'],
    [probe => probe.reply(tailOf('OLD')), 'OSS_ERR_INTEGRITY'],
    [probe => probe.fail(serviceError('AccessDenied', { status: 403 })), 'AccessDenied'],
  ]
  for (const [respond, code] of rows) {
    const { appender, client } = await openAppenderHarness('old', { seal: true })
    const completing = appender.complete()
    respond(await client.next())
    const error = await rejectionOf(completing)
    t.match(error, { code, attempts: 1, tail: tailOf('old'), ...TARGET })
    t.equal(error.unresolved, undefined, 'no byte was sent')
    t.equal(client.requests.length, 1, 'what is not proven is not sealed')
  }
})

t.test('complete: the proof is retried like an append', async t => {
  const harness = await openAppenderHarness('old')
  const completing = harness.appender.complete()
  await harness.failNextAttempt(timeoutError())
  const probe = await harness.client.next()
  probe.reply(tailOf('old'))
  await completing
  t.match(harness.retries, [{ attempt: 1, position: 3 }])
})

t.test('create: where there is no object, an empty one is made, with its headers', async t => {
  const options = { position: 0, creationHeaders: { c: 'd' }, seal: true } as const
  const { appender, client } = createAppenderHarness(options)
  await appender.open()
  const creating = appender.create()
  const append = await client.next()
  t.match(append.asked, { kind: 'append', position: 0, headers: { c: 'd' } })
  append.reply(tailOf(''))
  t.match(await creating, { position: 0, length: 0, attempts: 1 })
  const completing = appender.complete()
  const seal = await client.next()
  t.strictSame(seal.asked, { kind: 'seal', position: 0 })
  seal.reply()
  await completing
})

t.test('seal: at the tail', async t => {
  const { appender, client } = await openAppenderHarness('old')
  const sealing = appender.seal()
  const request = await client.next()
  t.strictSame(request.asked, { kind: 'seal', position: 3 })
  t.strictSame(request.target, TARGET)
  request.reply()
  t.equal(await sealing, undefined)
  t.strictSame(appender.tail, tailOf('old'))
})

t.test('seal: retried, since sealing twice is harmless', async t => {
  const harness = await openAppenderHarness('old')
  const sealing = harness.appender.seal()
  await harness.failNextAttempt(timeoutError())
  await harness.failNextAttempt(serviceError('InternalError', { status: 500 }))
  const request = await harness.client.next()
  t.strictSame(request.asked, { kind: 'seal', position: 3 })
  request.reply()
  await sealing
  t.match(harness.retries, [
    { attempt: 1, position: 3 },
    { attempt: 2, position: 3 },
  ])
})

t.test('seal: a rival has written, or the object is another one', async t => {
  for (const [length, code] of [
    [4, 'PositionNotEqualToLength'],
    [2, 'OSS_ERR_OBJECT_REPLACED'],
    [0, 'OSS_ERR_OBJECT_REPLACED'],
  ] as const) {
    const { appender, client } = await openAppenderHarness('old')
    const sealing = appender.seal()
    const refusal = positionConflict(length)
    const request = await client.next()
    request.fail(refusal)
    const error = await rejectionOf(sealing)
    t.match(error, { code, attempts: 1, tail: tailOf('old') })
    t.equal(error.cause, refusal)
    if (error.seen) t.strictSame([error.before, error.seen], [tailOf('old'), { position: length }])
    t.equal(error.unresolved, undefined, 'no bytes are in question')
    t.equal(client.requests.length, 1)
  }
})

t.test('seal: the object is gone', async t => {
  const { appender, client } = await openAppenderHarness('old')
  const sealing = appender.seal()
  const refusal = serviceError('NoSuchKey', { status: 404 })
  ;(await client.next()).fail(refusal)
  const error = await rejectionOf(sealing)
  t.match(error, { code: 'OSS_ERR_OBJECT_REPLACED', tail: tailOf('old') })
  t.equal(error.cause, refusal)
})

t.test('seal: refused for good, or given up', async t => {
  const rows: [error: Error, code: string][] = [
    [serviceError('OperationNotSupported'), 'OperationNotSupported'],
    [serviceError('AppendSealedObjectNotAllowed', { status: 409 }), 'AppendSealedObjectNotAllowed'],
    [networkError('ECONNRESET'), 'OSS_ERR_RETRIES_EXHAUSTED'],
    // Without its header it tells nothing: no length is made up.
    [positionConflict(), 'OSS_ERR_RETRIES_EXHAUSTED'],
  ]
  for (const [cause, code] of rows) {
    const { appender, client } = await openAppenderHarness('old', {
      retry: { ...RETRY, maxRetries: 0 },
    })
    const sealing = appender.seal()
    const request = await client.next()
    request.fail(cause)
    const error = await rejectionOf(sealing)
    t.match(error, { code, attempts: 1, tail: tailOf('old') })
    t.equal(error.unresolved, undefined)
    t.equal(await rejectionOf(appender.append(batchOf('more'))), error)
  }
})

t.test(
  '20,000 appends: no timer, no listener, one exchange at a time, a signal for each',
  async t => {
    const APPENDS = 20_000
    const batch = batchOf('0123456789')
    let tail: Tail = EMPTY_TAIL
    let inFlight = 0
    const seen = { appends: 0, mostInFlight: 0, listeners: 0, oldSignals: 0 }
    let last: AbortSignal | undefined
    const client: Client = {
      head: () => t.fail('nothing to ask') as never,
      async append(_target, { position, signal }: AppendRequest) {
        seen.appends += 1
        seen.mostInFlight = Math.max(seen.mostInFlight, ++inFlight)
        seen.listeners += getEventListeners(signal, 'abort').length
        if (signal === last || signal.aborted) seen.oldSignals += 1
        last = signal
        if (position !== tail.position) t.fail(`at ${position}`)
        await null
        inFlight -= 1
        tail = advance(tail, batch)
        return { ...tail, requestId: REQUEST_ID }
      },
      close: async () => {},
    }
    const clock = new FakeClock()
    const appender = new Appender({
      target: TARGET,
      client,
      clock,
      position: 0,
      maxObjectBytes: Number.MAX_SAFE_INTEGER,
      highWaterMark: 4_194_304,
      retry: RETRY,
      headers: {},
      creationHeaders: {},
      seal: false,
      onRetry: () => t.fail('nothing fails'),
    })
    await appender.open()
    for (let append = 0; append < APPENDS; append++) await appender.append(batch)
    t.strictSame(seen, { appends: APPENDS, mostInFlight: 1, listeners: 0, oldSignals: 0 })
    t.equal(clock.started, 0)
    t.equal(appender.tail?.position, APPENDS * 10)
  },
)
