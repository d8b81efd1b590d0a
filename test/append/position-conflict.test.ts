/** A 409: which bytes are in the object, and what is reported when that cannot be known. */

import t from 'tap'
import type { AppenderOptions } from '../../lib/append/appender.ts'
import type { Head } from '../../lib/append/client-interface.ts'
import type { ObservedTail } from '../../lib/errors.ts'
import {
  type AppenderHarness,
  batchOf,
  openAppenderHarness,
  RETRY,
  rejectionOf,
  tailOf,
} from '../helpers/appender-harness.ts'
import {
  networkError,
  positionConflict,
  REQUEST_ID,
  serviceError,
  timeoutError,
} from '../helpers/errors.ts'

const OLD = 'older'
const NEW = ' new'
const before = tailOf(OLD)
const after = tailOf(OLD + NEW)
/** As long as `after`, with a rival's bytes at the end. */
const rival = tailOf(`${OLD} NEW`)
const batch = batchOf(NEW, 'md5')
const owned = { position: before.position, length: NEW.length }
const options: Partial<AppenderOptions> = {
  headers: { 'x-oss-traffic-limit': '819200' },
  creationHeaders: { 'content-type': 'text/plain' },
}
const sent = {
  kind: 'append',
  position: before.position,
  text: NEW,
  headers: { 'x-oss-traffic-limit': '819200', 'content-md5': 'md5' },
}
const probeAt = (position: number) => ({
  kind: 'append',
  position,
  text: '',
  headers: { 'x-oss-traffic-limit': '819200' },
})

/** An append that OSS refused with a 409 that tells `length`; `isDoubtful`: after a lost reply. */
async function dispute(length?: number, { isDoubtful = true, more = {} } = {}) {
  const harness = await openAppenderHarness(OLD, { ...options, ...more })
  const appending = harness.appender.append(batch)
  if (isDoubtful) await harness.failNextAttempt(timeoutError())
  const request = await harness.client.next()
  request.fail(positionConflict(length))
  return { ...harness, appending }
}

/** The next request is a HEAD, and this its answer. */
async function showHead({ client }: AppenderHarness, answer: Partial<Head> | null | Error) {
  const head = await client.next()
  if (head.kind !== 'head') throw new Error(`a ${head.kind}, and a HEAD was expected`)
  if (answer instanceof Error) head.fail(answer)
  else head.reply(answer)
}

const forbidden = () => serviceError('AccessDenied', { status: 403 })

t.test('landed: the reply was lost', async t => {
  const harness = await dispute(after.position)
  await showHead(harness, after)
  t.strictSame(await harness.appending, {
    key: harness.appender.key,
    position: before.position,
    nextPosition: after.position,
    length: NEW.length,
    crc64: after.crc64,
    requestId: REQUEST_ID,
    attempts: 2,
    lostRaces: 0,
    duration: 100,
    reconciled: true,
  })
  t.strictSame(harness.appender.tail, after)
  t.strictSame(
    harness.client.requests.map(({ asked }) => asked),
    [sent, sent, { kind: 'head' }],
  )

  const next = harness.appender.append(batchOf('!'))
  const request = await harness.client.next()
  t.equal(request.position, after.position)
  request.reply(tailOf(`${OLD + NEW}!`))
  t.match(await next, { attempts: 1, reconciled: false })
})

t.test('landed at the first attempt: a layer below has sent it twice', async t => {
  const harness = await dispute(after.position, { isDoubtful: false })
  await showHead(harness, after)
  t.match(await harness.appending, { attempts: 1, reconciled: true })
})

t.test('conflict: a rival wrote as many bytes', async t => {
  for (const isDoubtful of [true, false]) {
    const harness = await dispute(after.position, { isDoubtful })
    await showHead(harness, rival)
    const error = await rejectionOf(harness.appending)
    t.match(error, { name: 'OssConflictError', code: 'PositionNotEqualToLength' })
    t.strictSame([error.before, error.after, error.seen], [before, after, rival])
    t.match(error.cause, { code: 'PositionNotEqualToLength', requestId: REQUEST_ID })
    t.match(error, { bucket: 'examplebucket', key: 'logs/app.log' })
    t.equal(error.attempts, isDoubtful ? 2 : 1)
    t.strictSame(error.tail, before)
    // Ours may stand behind the bytes of another object. Without an attempt in doubt, they stand nowhere.
    t.strictSame(error.unresolved, isDoubtful ? owned : undefined)
  }
})

t.test('absent: it costs an attempt and its wait, then the same is sent again', async t => {
  for (const length of [before.position, after.position, undefined]) {
    const harness = await dispute(length)
    await showHead(harness, before)
    await harness.fireNextTimer()
    t.match(harness.retries.slice(1), [
      { attempt: 2, error: { code: 'PositionNotEqualToLength' }, delay: 200, position: 5 },
    ])
    const request = await harness.client.next()
    t.strictSame(request.asked, sent)
    request.reply(after)
    t.match(await harness.appending, { attempts: 3, reconciled: false })
  }
})

t.test('absent by a stale HEAD, then landed', async t => {
  const harness = await dispute(after.position)
  await showHead(harness, before)
  await harness.fireNextTimer()
  const request = await harness.client.next()
  t.strictSame(request.asked, sent)
  request.fail(positionConflict(after.position))
  await showHead(harness, after)
  t.match(await harness.appending, { attempts: 3, reconciled: true })
  t.strictSame(harness.appender.tail, after)
})

t.test('absent for ever: gives up, and says whether anything may still land', async t => {
  for (const isDoubtful of [true, false]) {
    const more = { retry: { ...RETRY, maxRetries: isDoubtful ? 1 : 0 } }
    const harness = await dispute(before.position, { isDoubtful, more })
    await showHead(harness, before)
    const error = await rejectionOf(harness.appending)
    t.match(error, { code: 'OSS_ERR_RETRIES_EXHAUSTED', cause: { status: 409 } })
    t.strictSame(error.unresolved, isDoubtful ? owned : undefined)
  }
})

t.test('a third length is asked for by HEAD: the CRC tells whose it is', async t => {
  const rows: [content: string, code: string, unresolved: object | undefined][] = [
    ['', 'OSS_ERR_OBJECT_REPLACED', owned],
    ['olde', 'OSS_ERR_OBJECT_REPLACED', owned],
    [`${OLD}~`, 'PositionNotEqualToLength', undefined],
    [`${OLD}~~~`, 'PositionNotEqualToLength', undefined],
    [`${OLD}~~~~`, 'PositionNotEqualToLength', owned],
    // Ours may lie under another writer's.
    [`${OLD + NEW}~`, 'PositionNotEqualToLength', owned],
    [`${OLD}${'~'.repeat(100)}`, 'PositionNotEqualToLength', owned],
  ]
  for (const [content, code, unresolved] of rows) {
    const seen = tailOf(content)
    const harness = await dispute(seen.position)
    await showHead(harness, seen)
    const error = await rejectionOf(harness.appending)
    t.equal(error.code, code, content)
    t.strictSame(error.unresolved, unresolved, content)
    t.match(error, { attempts: 2, tail: before, cause: { status: 409 } })
    if (error.seen) t.match(error.seen, seen)
  }
})

t.test('a third length whose CRC is ours: an attempt of some records landed', async t => {
  for (const length of [1, 2, 3]) {
    const seen = tailOf(OLD + NEW.slice(0, length))
    const harness = await dispute(seen.position)
    await showHead(harness, seen)
    t.match(await harness.appending, {
      position: before.position,
      nextPosition: before.position + length,
      length,
      crc64: seen.crc64,
      attempts: 2,
      reconciled: true,
    })
    t.strictSame(harness.appender.tail, seen)
  }
})

t.test('the first 409 is settled too: a layer below may have sent part of it before', async t => {
  const seen = tailOf(`${OLD} n`)
  const harness = await dispute(seen.position, { isDoubtful: false })
  await showHead(harness, seen)
  t.match(await harness.appending, { attempts: 1, length: 2, reconciled: true })
})

t.test('a plain 409 with nothing in doubt: nothing of ours is stored', async t => {
  for (const content of ['olde', 'OLDER', `${OLD}~`, `${OLD} NEW`, `${OLD + NEW}~`]) {
    const harness = await dispute(content.length, { isDoubtful: false })
    await showHead(harness, tailOf(content))
    const error = await rejectionOf(harness.appending)
    t.match(error, { attempts: 1, tail: before, cause: { status: 409 } })
    t.equal(error.unresolved, undefined, content)
  }
})

t.test('a 409 over a client that may send a request again leaves the attempt in doubt', async t => {
  const rows: [content: string, unresolved: object | undefined][] = [
    ['OLDER', owned],
    [`${OLD}~`, undefined],
    [`${OLD} NEW`, owned],
    [`${OLD + NEW}~`, owned],
  ]
  for (const [content, unresolved] of rows) {
    const harness = await openAppenderHarness(OLD, options)
    harness.client.sendsOnce = false
    const appending = harness.appender.append(batch)
    const request = await harness.client.next()
    request.fail(positionConflict(content.length))
    await showHead(harness, tailOf(content))
    const error = await rejectionOf(appending)
    t.equal(error.code, 'PositionNotEqualToLength')
    t.strictSame(error.unresolved, unresolved, content)
  }
})

t.test('what HEAD shows is judged by itself, whatever the 409 told', async t => {
  const rows: [
    what: string,
    seen: ObservedTail | null,
    code: string,
    unresolved: object | undefined,
  ][] = [
    ['gone', null, 'OSS_ERR_OBJECT_REPLACED', owned],
    ['empty', tailOf(''), 'OSS_ERR_OBJECT_REPLACED', owned],
    ['shorter', tailOf('old'), 'OSS_ERR_OBJECT_REPLACED', owned],
    ['other bytes', tailOf('OLDER'), 'PositionNotEqualToLength', owned],
    ['between', tailOf(`${OLD} N`), 'PositionNotEqualToLength', undefined],
    ['longer', tailOf(`${OLD + NEW}!`), 'PositionNotEqualToLength', owned],
    // The length is the 409's and the CRC is HEAD's: only a mixture of the two would be `after`.
    ['mixed', { position: before.position, crc64: after.crc64 }, 'PositionNotEqualToLength', owned],
    ['mixed', { position: 20, crc64: after.crc64 }, 'PositionNotEqualToLength', owned],
  ]
  for (const length of [before.position, after.position, undefined]) {
    for (const [what, seen, code, unresolved] of rows) {
      const harness = await dispute(length)
      await showHead(harness, seen)
      const error = await rejectionOf(harness.appending)
      t.equal(error.code, code, `${length}, ${what}`)
      t.strictSame(error.unresolved, unresolved, `${length}, ${what}`)
      if (error.seen) t.strictSame(error.seen, seen)
      t.strictSame(error.tail, before)
    }
  }
})

t.test('landed and absent by HEAD, whatever the 409 told', async t => {
  for (const length of [before.position, undefined]) {
    const harness = await dispute(length)
    await showHead(harness, after)
    t.match(await harness.appending, { reconciled: true, crc64: after.crc64 })
  }
})

t.test('an object that is not there yet is absent, not replaced', async t => {
  const harness = await openAppenderHarness('', options)
  const appending = harness.appender.append(batchOf('new'))
  await harness.failNextAttempt(networkError('ECONNRESET'))
  const refusal = await harness.client.next()
  refusal.fail(positionConflict())
  await showHead(harness, null)
  await harness.fireNextTimer()
  const request = await harness.client.next()
  t.strictSame(request.asked, {
    kind: 'append',
    position: 0,
    text: 'new',
    headers: { ...options.headers, ...options.creationHeaders },
  })
  request.reply(tailOf('new'))
  t.match(await appending, { attempts: 3 })
})

t.test('an empty object that is not there has not landed', async t => {
  const harness = await openAppenderHarness('')
  const appending = harness.appender.append(batchOf(''))
  const refusal = await harness.client.next()
  refusal.fail(positionConflict())
  await showHead(harness, null)
  await harness.fireNextTimer()
  const request = await harness.client.next()
  t.strictSame(request.asked, { kind: 'append', position: 0, text: '', headers: {} })
  request.reply(tailOf(''))
  t.match(await appending, { attempts: 2, reconciled: false })
})

t.test('HEAD shows an object that takes no appends any more', async t => {
  const harness = await dispute(after.position)
  await showHead(harness, { type: 'Normal', length: 3, requestId: 'of the HEAD' })
  const error = await rejectionOf(harness.appending)
  t.match(error, { code: 'ObjectNotAppendable', requestId: 'of the HEAD', attempts: 2 })
  t.strictSame(error.tail, before)
})

t.test('HEAD shows an object that does not go on where it ends', async t => {
  const harness = await dispute(after.position)
  await showHead(harness, { type: 'Appendable', length: 10, ...after })
  const error = await rejectionOf(harness.appending)
  t.match(error, { code: 'OSS_ERR_INTEGRITY', attempts: 2, unresolved: owned })
})

t.test('the object was sealed after our bytes had landed: HEAD still proves them', async t => {
  const harness = await dispute(after.position)
  await showHead(harness, {
    length: 9,
    crc64: after.crc64,
    sealedTime: 'Wed, 07 Jan 2026 02:00:00 GMT',
  })
  t.match(await harness.appending, { reconciled: true })
})

t.test('HEAD forbidden: an append of nothing at the length told', async t => {
  for (const code of ['AccessDenied', 'BadErrorResponse']) {
    const harness = await dispute(after.position)
    await showHead(harness, serviceError(code, { status: 403 }))
    const probe = await harness.client.next()
    t.strictSame(probe.asked, probeAt(after.position))
    probe.reply(after)
    t.match(await harness.appending, { attempts: 2, reconciled: true })
    t.strictSame(harness.appender.tail, after)
  }
})

t.test('HEAD forbidden: a rival, shown by the CRC', async t => {
  const harness = await dispute(after.position)
  await showHead(harness, forbidden())
  const probe = await harness.client.next()
  probe.reply(rival)
  const error = await rejectionOf(harness.appending)
  t.equal(error.code, 'PositionNotEqualToLength')
  t.match(error.seen, rival)
  t.strictSame(error.unresolved, owned)
})

t.test('HEAD forbidden: absent', async t => {
  const harness = await dispute(before.position)
  await showHead(harness, forbidden())
  const probe = await harness.client.next()
  t.strictSame(probe.asked, probeAt(before.position))
  probe.reply(before)
  await harness.fireNextTimer()
  const request = await harness.client.next()
  t.strictSame(request.asked, sent)
  request.reply(after)
  t.match(await harness.appending, { attempts: 3, reconciled: false })
})

t.test(
  'HEAD forbidden, and the probe is refused: both numbers come from the one that is not',
  async t => {
    const rows: [length: number, seen: ObservedTail, code: string][] = [
      [after.position + 2, { position: 11, crc64: '7' }, 'PositionNotEqualToLength'],
      // The pair that no single reply ever showed.
      [after.position + 2, { position: 11, crc64: after.crc64 }, 'PositionNotEqualToLength'],
      [2, { position: 2, crc64: '7' }, 'OSS_ERR_OBJECT_REPLACED'],
    ]
    for (const [length, seen, code] of rows) {
      const harness = await dispute(after.position)
      await showHead(harness, forbidden())
      const first = await harness.client.next()
      t.strictSame(first.asked, probeAt(after.position))
      first.fail(positionConflict(length))
      const second = await harness.client.next()
      t.strictSame(second.asked, probeAt(length))
      second.reply(seen)
      const error = await rejectionOf(harness.appending)
      t.equal(error.code, code)
      if (error.seen) t.match(error.seen, seen)
    }
  },
)

t.test('HEAD forbidden, and the object is empty now', async t => {
  const harness = await dispute(after.position)
  await showHead(harness, forbidden())
  const probe = await harness.client.next()
  probe.fail(positionConflict(0))
  t.equal((await rejectionOf(harness.appending)).code, 'OSS_ERR_OBJECT_REPLACED')
  t.equal(harness.client.requests.length, 4, 'nothing is asked at 0')
})

t.test('HEAD forbidden, and the object grows under the probes: costs an attempt', async t => {
  const harness = await dispute(after.position)
  await showHead(harness, forbidden())
  for (const [position, length] of [
    [after.position, 20],
    [20, 21],
    [21, 22],
  ] as const) {
    const probe = await harness.client.next()
    t.strictSame(probe.asked, probeAt(position))
    probe.fail(positionConflict(length))
  }
  await harness.fireNextTimer()
  const request = await harness.client.next()
  t.strictSame(request.asked, sent)
  request.fail(positionConflict(22))
  await showHead(harness, { position: 22, crc64: '7' })
  t.match(await rejectionOf(harness.appending), { code: 'PositionNotEqualToLength', attempts: 3 })
})

t.test('an append of nothing that tells no CRC is a failed attempt, and no conflict', async t => {
  for (const answer of [{ position: after.position }, forbidden()]) {
    const harness = await dispute(after.position)
    await showHead(harness, answer)
    const probe = await harness.client.next()
    t.strictSame(probe.asked, probeAt(after.position))
    probe.reply({ position: after.position })
    await harness.fireNextTimer()
    t.match(harness.retries[1], { attempt: 2, error: { code: 'OSS_ERR_NETWORK' } })
    const request = await harness.client.next()
    t.strictSame(request.asked, sent)
    request.fail(positionConflict(after.position))
    await showHead(harness, after)
    t.match(await harness.appending, { attempts: 3, reconciled: true })
  }
})

t.test('no CRC is ever told: gives up, in doubt', async t => {
  const more = { retry: { ...RETRY, maxRetries: 1 } }
  const harness = await dispute(after.position, { more })
  await showHead(harness, forbidden())
  const probe = await harness.client.next()
  probe.reply({ position: after.position })
  const error = await rejectionOf(harness.appending)
  t.match(error, { code: 'OSS_ERR_RETRIES_EXHAUSTED', attempts: 2 })
  t.strictSame(error.unresolved, owned)
})

t.test('HEAD without CRC: an append of nothing at its length', async t => {
  const harness = await dispute()
  await showHead(harness, { position: after.position })
  const probe = await harness.client.next()
  t.strictSame(probe.asked, probeAt(after.position))
  probe.reply(after)
  t.match(await harness.appending, { reconciled: true })
})

t.test('no length told, and HEAD forbidden: what we would have made is asked for', async t => {
  const rows: [what: string, length: number | undefined, isLanded: boolean][] = [
    ['landed', undefined, true],
    ['absent', before.position, false],
  ]
  for (const [what, length, isLanded] of rows) {
    const harness = await dispute()
    await showHead(harness, forbidden())
    const probe = await harness.client.next()
    t.strictSame(probe.asked, probeAt(after.position), what)
    if (isLanded) probe.reply(after)
    else {
      probe.fail(positionConflict(length))
      const second = await harness.client.next()
      t.strictSame(second.asked, probeAt(before.position))
      second.reply(before)
      await harness.fireNextTimer()
      const request = await harness.client.next()
      request.reply(after)
    }
    t.match(await harness.appending, { reconciled: isLanded }, what)
  }
})

t.test('no length is ever told, and HEAD is forbidden: no verdict, and gives up', async t => {
  const more = { retry: { ...RETRY, maxRetries: 1 } }
  const harness = await dispute(undefined, { isDoubtful: false, more })
  for (const attempt of [1, 2]) {
    if (attempt === 2) {
      const request = await harness.client.next()
      t.strictSame(request.asked, sent)
      request.fail(positionConflict())
    }
    await showHead(harness, forbidden())
    const probe = await harness.client.next()
    t.strictSame(probe.asked, probeAt(after.position))
    probe.fail(positionConflict())
    if (attempt === 1) await harness.fireNextTimer()
  }
  const error = await rejectionOf(harness.appending)
  t.match(error, { code: 'OSS_ERR_RETRIES_EXHAUSTED', attempts: 2, cause: { status: 409 } })
  t.equal(error.unresolved, undefined, 'no attempt is in doubt')
})

t.test(
  'an empty object that we may not read: a 409 without a length is no proof of it',
  async t => {
    for (const length of [undefined, 0]) {
      const harness = await openAppenderHarness('', {
        ...options,
        retry: { ...RETRY, maxRetries: 0 },
      })
      const appending = harness.appender.append(batchOf(''))
      const request = await harness.client.next()
      request.fail(positionConflict(length))
      await showHead(harness, forbidden())
      t.match(await rejectionOf(appending), {
        code: 'OSS_ERR_RETRIES_EXHAUSTED',
        cause: { status: 409 },
      })
      t.equal(harness.client.requests.length, 2)
    }
  },
)

t.test('HEAD failing costs an attempt; the append comes first again', async t => {
  const errors = [
    timeoutError(),
    networkError('ECONNRESET'),
    serviceError('InternalError', { status: 500 }),
    serviceError('TotalQpsLimitExceeded', { status: 503 }),
  ]
  for (const error of errors) {
    const harness = await dispute(after.position, { isDoubtful: false })
    await showHead(harness, error)
    await harness.fireNextTimer()
    t.match(harness.retries, [{ attempt: 1, error, position: before.position }])
    const request = await harness.client.next()
    t.strictSame(request.asked, sent)
    request.fail(positionConflict(after.position))
    await showHead(harness, after)
    t.match(await harness.appending, { attempts: 2, reconciled: true })
  }
})

t.test('HEAD failing for ever or for good: the attempts before the 409 decide', async t => {
  const rows: [error: Error, code: string][] = [
    [timeoutError(), 'OSS_ERR_RETRIES_EXHAUSTED'],
    [networkError('ECONNREFUSED'), 'OSS_ERR_RETRIES_EXHAUSTED'],
    [serviceError('UserDisable', { status: 403 }), 'UserDisable'],
    [serviceError('NoSuchBucket', { status: 404 }), 'NoSuchBucket'],
  ]
  for (const isDoubtful of [false, true]) {
    for (const [cause, code] of rows) {
      const maxRetries = isDoubtful ? 1 : 0
      const more = { retry: { ...RETRY, maxRetries } }
      const harness = await dispute(after.position, { isDoubtful, more })
      await showHead(harness, cause)
      const error = await rejectionOf(harness.appending)
      t.match(error, { code, attempts: maxRetries + 1, tail: before })
      t.strictSame(error.unresolved, isDoubtful ? owned : undefined, code)
    }
  }
})

t.test('a clock that is mended in the middle of it', async t => {
  const harness = await dispute(after.position)
  await showHead(
    harness,
    serviceError('RequestTimeTooSkewed', { status: 403, isRefreshable: true }),
  )
  await harness.fireNextTimer()
  t.match(harness.retries[1], { attempt: 2, delay: 0 })
  const request = await harness.client.next()
  request.fail(positionConflict(after.position))
  await showHead(harness, after)
  t.match(await harness.appending, { attempts: 3, reconciled: true })
})

t.test('the verdict is the object’s own: two batches of the same bytes', async t => {
  const harness = await openAppenderHarness('ab')
  const first = harness.appender.append(batchOf('ab'))
  const request = await harness.client.next()
  request.reply(tailOf('abab'))
  await first
  const second = harness.appender.append(batchOf('ab'))
  await harness.failNextAttempt(timeoutError())
  const refusal = await harness.client.next()
  refusal.fail(positionConflict(6))
  await showHead(harness, tailOf('ababab'))
  t.match(await second, { position: 4, nextPosition: 6, reconciled: true })
})

t.test(
  'HEAD is forbidden and the refusal tells a length of 0: the object was replaced',
  async t => {
    const harness = await dispute(0)
    await showHead(harness, forbidden())
    t.match(await rejectionOf(harness.appending), { code: 'OSS_ERR_OBJECT_REPLACED' })
  },
)
