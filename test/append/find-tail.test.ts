/** Opening: how the tail is found, with as little asked as can be. */

import t from 'tap'
import type { AppenderOptions } from '../../lib/append/appender.ts'
import {
  batchOf,
  createAppenderHarness,
  RETRY,
  rejectionOf,
  tailOf,
} from '../helpers/appender-harness.ts'
import { networkError, positionConflict, REQUEST_ID, serviceError } from '../helpers/errors.ts'

const options: Partial<AppenderOptions> = {
  headers: { 'x-oss-request-payer': 'requester' },
  creationHeaders: { 'content-type': 'text/plain' },
}
const EMPTY = { position: 0, crc64: '0' }
const old = tailOf('old')
const accessDenied = () => serviceError('AccessDenied', { status: 403 })

/** A scene whose HEAD was refused: the appender goes on with appends of nothing. */
async function forbidden() {
  const harness = createAppenderHarness(options)
  const opening = harness.appender.open()
  const head = await harness.client.next()
  head.fail(accessDenied())
  return { ...harness, opening }
}

/** An append of nothing, which changes nothing: no bytes, never at 0, nothing that only creation takes. */
const probeAt = (position: number) => ({
  kind: 'append',
  position,
  text: '',
  headers: { 'x-oss-request-payer': 'requester' },
})

t.test('at the end: HEAD tells the tail', async t => {
  const { appender, client, clock } = createAppenderHarness(options)
  t.equal(appender.tail, undefined)
  const opening = appender.open()
  t.equal(appender.tail, undefined)
  const head = await client.next()
  t.strictSame(head.asked, { kind: 'head' })
  t.strictSame(head.target, { bucket: 'examplebucket', key: 'logs/app.log' })
  head.reply({ type: 'Appendable', length: 3, ...old })
  t.strictSame(await opening, old)
  t.strictSame(appender.tail, old)
  t.equal(appender.exists, true)
  t.equal(client.requests.length, 1)
  t.equal(clock.started, 0)
})

t.test(
  'a result of head() that lacks a member or has a wrong one is a failure of the client',
  async t => {
    const results: unknown[] = [
      undefined,
      { length: 3, position: 3 },
      { type: 5, length: 3, position: 3 },
      { type: 'Appendable', position: 3 },
      { type: 'Appendable', length: 3, position: '3' },
      { type: 'Appendable', length: 3, position: 3, crc64: 5n },
    ]
    for (const result of results) {
      const { appender, client } = createAppenderHarness()
      const opening = appender.open()
      const head = await client.next()
      head.resolve(result)
      const message = /head\(\) must resolve with type and length, and position and crc64 if/
      await t.rejects(opening, { code: 'OSS_ERR_CLIENT', message })
    }
  },
)

t.test('a HEAD of an appendable object that names no position is no proof', async t => {
  const { appender, client } = createAppenderHarness()
  const opening = appender.open()
  const head = await client.next()
  head.resolve({ type: 'Appendable', length: 3, requestId: 'R' })
  const message = 'OSS says that the object has 3 bytes and names no position'
  await t.rejects(opening, { code: 'OSS_ERR_INTEGRITY', message })
})

t.test('at the end of an empty object: it exists', async t => {
  for (const crc64 of ['0', undefined]) {
    const { appender, client } = createAppenderHarness()
    const opening = appender.open()
    const head = await client.next()
    head.reply({ type: 'Appendable', length: 0, position: 0, crc64 })
    t.strictSame(await opening, EMPTY)
    t.equal(appender.exists, true)
    t.equal(client.requests.length, 1, 'an append of nothing at 0 is never sent')
  }
})

t.test('at the end, and no object: it begins at 0', async t => {
  const { appender, client } = createAppenderHarness()
  const opening = appender.open()
  const head = await client.next()
  head.reply(null)
  t.strictSame(await opening, EMPTY)
  t.equal(appender.exists, false)
  t.equal(client.requests.length, 1)
})

t.test(
  'an object that takes no appends, with the code of OSS and the request id of the HEAD',
  async t => {
    const requestId = '5C3D8D2A0ACA54D87B43C048'
    const sealedTime = 'Wed, 07 Jan 2026 02:00:00 GMT'
    const rows = [
      ['ObjectNotAppendable', { type: 'Normal', length: 3 }],
      ['ObjectNotAppendable', { type: 'Multipart', length: 3, crc64: old.crc64 }],
      ['ObjectNotAppendable', { type: 'Symlink', length: 3, position: 3, crc64: old.crc64 }],
      ['AppendSealedObjectNotAllowed', { type: 'Appendable', length: 3, ...old, sealedTime }],
      // A sealed object goes on nowhere.
      [
        'AppendSealedObjectNotAllowed',
        { type: 'Appendable', length: 3, position: undefined, sealedTime },
      ],
    ] as const
    for (const [code, answer] of rows) {
      const { appender, client } = createAppenderHarness()
      const opening = appender.open()
      const head = await client.next()
      head.reply({ ...answer, requestId })
      const error = await rejectionOf(opening)
      t.match(error, { name: 'OssServiceError', code, requestId, attempts: 1 })
      t.match(error, { bucket: 'examplebucket', key: 'logs/app.log' })
      t.equal(error.tail, undefined)
      t.equal(error.unresolved, undefined)
      t.equal(client.requests.length, 1)
    }
  },
)

t.test('an object that does not go on where it ends is final', async t => {
  const { appender, client } = createAppenderHarness()
  const opening = appender.open()
  const head = await client.next()
  head.reply({ type: 'Appendable', length: 4, ...old })
  t.match(await rejectionOf(opening), { code: 'OSS_ERR_INTEGRITY', attempts: 1 })
})

t.test('a HEAD without CRC: an append of nothing at the end tells it', async t => {
  const { appender, client } = createAppenderHarness(options)
  const opening = appender.open()
  const head = await client.next()
  head.reply({ position: 3 })
  const probe = await client.next()
  t.strictSame(probe.asked, probeAt(3))
  probe.reply(old)
  t.strictSame(await opening, old)
  t.equal(appender.exists, true)
})

t.test('HEAD and an append of nothing that tell no CRC are a failed attempt', async t => {
  const harness = createAppenderHarness({ ...options, retry: { ...RETRY, maxRetries: 1 } })
  const opening = harness.appender.open()
  for (const attempt of [1, 2]) {
    const head = await harness.client.next()
    head.reply({ position: 3 })
    const probe = await harness.client.next()
    t.strictSame(probe.asked, probeAt(3))
    probe.reply({ position: 3 })
    if (attempt === 1) await harness.fireNextTimer()
  }
  const error = await rejectionOf(opening)
  t.match(error, { code: 'OSS_ERR_RETRIES_EXHAUSTED', attempts: 2, tail: undefined })
  t.match(error.cause, { code: 'OSS_ERR_NETWORK', requestId: REQUEST_ID })
})

t.test('HEAD refused for another reason than the right to read is final', async t => {
  const rows: [code: string, status: number][] = [
    ['NoSuchBucket', 404],
    ['UserDisable', 403],
    ['SignatureDoesNotMatch', 403],
    ['InvalidAccessKeyId', 403],
    ['AccessDenied', 400],
    ['BadErrorResponse', 400],
  ]
  for (const [code, status] of rows) {
    const { appender, client } = createAppenderHarness()
    const opening = appender.open()
    const head = await client.next()
    head.fail(serviceError(code, { status }))
    t.match(await rejectionOf(opening), { name: 'OssServiceError', code, status, attempts: 1 })
    t.equal(client.requests.length, 1, `${status} ${code}`)
  }
})

t.test(
  'HEAD forbidden, coded or not: the 409 of an append of nothing at 1 tells the length',
  async t => {
    for (const code of ['AccessDenied', 'BadErrorResponse']) {
      const { appender, client, clock } = createAppenderHarness(options)
      const opening = appender.open()
      const head = await client.next()
      head.fail(serviceError(code, { status: 403 }))
      const first = await client.next()
      t.strictSame(first.asked, probeAt(1))
      first.fail(positionConflict(3))
      const second = await client.next()
      t.strictSame(second.asked, probeAt(3))
      second.reply(old)
      t.strictSame(await opening, old)
      t.equal(appender.exists, true)
      t.equal(client.requests.length, 3)
      t.equal(clock.started, 0)
    }
  },
)

t.test('HEAD forbidden, and the object has one byte', async t => {
  const { client, opening } = await forbidden()
  const probe = await client.next()
  probe.reply(tailOf('x'))
  t.strictSame(await opening, tailOf('x'))
})

t.test(
  'HEAD forbidden, length 0 or none told: it begins at 0, and nothing more is asked',
  async t => {
    for (const length of [0, undefined]) {
      const { appender, client, opening } = await forbidden()
      const probe = await client.next()
      probe.fail(positionConflict(length))
      t.strictSame(await opening, EMPTY)
      t.equal(appender.exists, false, 'the first append creates it, with its metadata')
      t.equal(client.requests.length, 2)
    }
  },
)

t.test('HEAD forbidden, and the object grows under the probes', async t => {
  const { client, opening } = await forbidden()
  for (const [position, length] of [
    [1, 3],
    [3, 5],
  ] as const) {
    const probe = await client.next()
    t.strictSame(probe.asked, probeAt(position))
    probe.fail(positionConflict(length))
  }
  const last = await client.next()
  t.strictSame(last.asked, probeAt(5))
  last.reply(tailOf('older'))
  t.strictSame(await opening, tailOf('older'), 'both numbers of the last reply')
})

t.test('HEAD forbidden, and the object grows faster than we ask: a failed attempt', async t => {
  const { client, opening, retries, fireNextTimer } = await forbidden()
  for (const [position, length] of [
    [1, 3],
    [3, 5],
    [5, 7],
  ] as const) {
    const probe = await client.next()
    t.strictSame(probe.asked, probeAt(position))
    probe.fail(positionConflict(length))
  }
  await fireNextTimer()
  t.match(retries, [{ attempt: 1, error: { code: 'PositionNotEqualToLength' }, delay: 100 }])
  t.equal(retries[0]!.position, undefined, 'no tail is known')
  const head = await client.next()
  t.equal(head.kind, 'head', 'the second attempt begins afresh')
  head.reply(old)
  t.strictSame(await opening, old)
})

t.test('HEAD forbidden, and the probe is refused for good', async t => {
  const rows: [code: string, status: number][] = [
    ['ObjectNotAppendable', 409],
    ['AppendSealedObjectNotAllowed', 400],
    ['AccessDenied', 403],
    ['NoSuchBucket', 404],
  ]
  for (const [code, status] of rows) {
    const { client, opening } = await forbidden()
    const probe = await client.next()
    probe.fail(serviceError(code, { status }))
    t.match(await rejectionOf(opening), { code, status, requestId: REQUEST_ID, attempts: 1 })
    t.equal(client.requests.length, 2)
  }
})

t.test('HEAD forbidden, and the probe is acknowledged with something else', async t => {
  const { client, opening } = await forbidden()
  const probe = await client.next()
  probe.reply({ position: 2, crc64: '7' })
  t.match(await rejectionOf(opening), { code: 'OSS_ERR_INTEGRITY' })

  const other = await forbidden()
  const silent = await other.client.next()
  silent.reply({ position: 1 })
  await other.fireNextTimer()
  t.match(
    other.retries,
    [{ error: { code: 'OSS_ERR_NETWORK' } }],
    'without CRC, the attempt failed',
  )
})

t.test('at position 0: nothing is asked', async t => {
  const { appender, client } = createAppenderHarness({ position: 0 })
  t.strictSame(await appender.open(), EMPTY)
  t.equal(appender.exists, false)
  t.equal(client.requests.length, 0)
})

t.test('at a number with its CRC: nothing is asked', async t => {
  const { appender, client } = createAppenderHarness(old)
  t.strictSame(await appender.open(), old)
  t.equal(appender.exists, true)
  t.equal(client.requests.length, 0)
})

t.test('at a number: one append of nothing there tells the CRC', async t => {
  const { appender, client } = createAppenderHarness({ ...options, position: 3 })
  const opening = appender.open()
  const probe = await client.next()
  t.strictSame(probe.asked, probeAt(3))
  probe.reply(old)
  t.strictSame(await opening, old)
  t.equal(appender.exists, true)
  t.equal(client.requests.length, 1)
})

t.test(
  'at a number where the object does not end: replaced or a conflict, before a byte has left',
  async t => {
    const seen4 = { before: { position: 3 }, after: { position: 3 }, seen: { position: 4 } }
    const rows: [length: number, expected: object][] = [
      [0, { code: 'OSS_ERR_OBJECT_REPLACED', message: /ends at 0, .* starts at 3/ }],
      [2, { code: 'OSS_ERR_OBJECT_REPLACED', message: /ends at 2, .* starts at 3/ }],
      [4, { name: 'OssConflictError', code: 'PositionNotEqualToLength', ...seen4 }],
    ]
    for (const [length, expected] of rows) {
      const { appender, client } = createAppenderHarness({ position: 3 })
      const opening = appender.open()
      const probe = await client.next()
      const refusal = positionConflict(length)
      probe.fail(refusal)
      const error = await rejectionOf(opening)
      t.match(error, { ...expected, attempts: 1 })
      t.equal(error.cause, refusal)
      t.equal(error.unresolved, undefined)
      t.equal(client.requests.length, 1)
    }
  },
)

t.test('at a number, and another position comes back', async t => {
  const { appender, client } = createAppenderHarness({ position: 3 })
  const opening = appender.open()
  const probe = await client.next()
  probe.reply({ position: 4, crc64: '1' })
  t.match(await rejectionOf(opening), { code: 'OSS_ERR_INTEGRITY' })
})

t.test('at a number, and no CRC comes back: a failed attempt', async t => {
  const { appender, client, retries, fireNextTimer } = createAppenderHarness({ position: 3 })
  const opening = appender.open()
  const probe = await client.next()
  probe.reply({ position: 3 })
  await fireNextTimer()
  t.match(retries, [{ attempt: 1, error: { code: 'OSS_ERR_NETWORK' } }])
  const second = await client.next()
  second.reply(old)
  t.strictSame(await opening, old)
})

t.test('opening is retried like an append', async t => {
  const { appender, client, retries, failNextAttempt } = createAppenderHarness()
  const opening = appender.open()
  await failNextAttempt(networkError('ECONNREFUSED'))
  await failNextAttempt(serviceError('InternalError', { status: 500 }))
  const head = await client.next()
  head.reply(old)
  t.strictSame(await opening, old)
  t.match(retries, [
    { attempt: 1, error: { code: 'OSS_ERR_NETWORK' }, delay: 100, position: undefined },
    { attempt: 2, error: { code: 'InternalError' }, delay: 200, position: undefined },
  ])
})

t.test('a probe that fails is retried from the beginning', async t => {
  const { client, opening, failNextAttempt } = await forbidden()
  await failNextAttempt(networkError('ECONNRESET'))
  const head = await client.next()
  t.equal(head.kind, 'head')
  head.reply(old)
  t.strictSame(await opening, old)
})

t.test('opening gives up as an append does', async t => {
  const { appender, client } = createAppenderHarness({ retry: { ...RETRY, maxRetries: 0 } })
  const opening = appender.open()
  const cause = networkError('ECONNRESET')
  const head = await client.next()
  head.fail(cause)
  const error = await rejectionOf(opening)
  t.match(error, { code: 'OSS_ERR_RETRIES_EXHAUSTED', attempts: 1, bucket: 'examplebucket' })
  t.equal(error.cause, cause)
  t.equal(error.tail, undefined)
  t.equal(error.unresolved, undefined)
  t.equal(await rejectionOf(appender.append(batchOf('x'))), error)
})
