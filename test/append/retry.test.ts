/** What comes of an attempt that failed: every row of the table of outcomes, waits, counters, limits. */

import { getEventListeners } from 'node:events'
import { inspect } from 'node:util'
import t from 'tap'
import type { AppenderOptions } from '../../lib/append/appender.ts'
import { OssError } from '../../lib/errors.ts'
import {
  batchOf,
  createAppenderHarness,
  openAppenderHarness,
  RETRY,
  rejectionOf,
  TARGET,
  tailOf,
} from '../helpers/appender-harness.ts'
import {
  credentialsError,
  networkError,
  positionConflict,
  serviceError,
  timeoutError,
} from '../helpers/errors.ts'

const old = tailOf('old')
const owned = { position: 3, length: 3 }

/** An append of `new` behind `old`. */
async function append(options: Partial<AppenderOptions> = {}) {
  const harness = await openAppenderHarness('old', options)
  return { ...harness, appending: harness.appender.append(batchOf('new', 'md5')) }
}

const skewed = () => serviceError('RequestTimeTooSkewed', { status: 403, isRefreshable: true })
const expired = () => serviceError('SecurityTokenExpired', { status: 403, isRefreshable: true })

/** Waits, then the same bytes to the same position. `isDoubtful`: the attempt may have landed. */
const transient: [error: OssError, isDoubtful: boolean][] = [
  [networkError('ECONNREFUSED'), false],
  [networkError('ECONNRESET'), true],
  [networkError('EAI_AGAIN'), false],
  [networkError('UND_ERR_SOCKET'), true],
  [networkError(), true],
  [timeoutError(), true],
  // A 4xx of OSS proves that nothing was stored.
  [serviceError('BadErrorResponse', { status: 408 }), false],
  [serviceError('BadErrorResponse', { status: 429 }), false],
  [serviceError('InternalError', { status: 500 }), true],
  [serviceError('BadErrorResponse', { status: 502 }), true],
  [serviceError('ServiceUnavailable', { status: 503 }), true],
  [serviceError('TotalQpsLimitExceeded', { status: 503 }), true],
  [serviceError('RequestTimeout'), false],
  [serviceError('IncompleteBody'), false],
]

t.test('what passes: wait, and send the same bytes to the same position', async t => {
  for (const [error] of transient) {
    const { appender, client, retries, fireNextTimer, appending } = await append()
    const first = await client.next()
    first.fail(error)
    await fireNextTimer()
    const second = await client.next()
    t.strictSame(second.asked, first.asked)
    t.equal(second.body, first.body)
    t.strictSame(second.asked, {
      kind: 'append',
      position: 3,
      text: 'new',
      headers: { 'content-md5': 'md5' },
    })
    second.reply(tailOf('oldnew'))
    t.match(await appending, { attempts: 2, reconciled: false })
    const delay = error.code === 'TotalQpsLimitExceeded' ? 500 : 100
    t.strictSame(retries, [{ attempt: 1, error, delay, position: 3 }])
    t.strictSame(appender.tail, tailOf('oldnew'))
  }
})

t.test('given up: the last error is the cause, and what may have landed is said', async t => {
  for (const [cause, isDoubtful] of transient) {
    const { client, appending } = await append({ retry: { ...RETRY, maxRetries: 0 } })
    const request = await client.next()
    request.fail(cause)
    const error = await rejectionOf(appending)
    t.match(error, { code: 'OSS_ERR_RETRIES_EXHAUSTED', attempts: 1, ...TARGET })
    t.equal(error.cause, cause)
    t.strictSame(error.tail, old)
    t.strictSame(error.unresolved, isDoubtful ? owned : undefined, cause.message)
  }
})

t.test('one attempt in doubt is enough, whatever the others found', async t => {
  const { appending, failNextAttempt, client } = await append({
    retry: { ...RETRY, maxRetries: 2 },
  })
  await failNextAttempt(networkError('ECONNREFUSED'))
  await failNextAttempt(networkError('ECONNRESET'))
  const last = await client.next()
  last.fail(networkError('ECONNREFUSED'))
  const error = await rejectionOf(appending)
  t.match(error, { attempts: 3, cause: { cause: { code: 'ECONNREFUSED' } } })
  t.strictSame(error.unresolved, owned)
})

t.test('doubt is of one batch: an acknowledgement ends it', async t => {
  const { appender, appending, failNextAttempt, client } = await append()
  await failNextAttempt(timeoutError())
  const second = await client.next()
  second.reply(tailOf('oldnew'))
  await appending
  const next = appender.append(batchOf('!'))
  const request = await client.next()
  request.fail(serviceError('AccessDenied', { status: 403 }))
  t.equal((await rejectionOf(next)).unresolved, undefined)
})

t.test('final at the first attempt: the error of OSS as it is', async t => {
  const rows: [code: string, status: number][] = [
    ['ObjectNotAppendable', 409],
    ['AppendSealedObjectNotAllowed', 400],
    ['FileImmutable', 409],
    ['NoSuchBucket', 404],
    ['NoSuchKey', 404],
    ['AccessDenied', 403],
    ['SignatureDoesNotMatch', 403],
    ['BadErrorResponse', 403],
    ['BadErrorResponse', 307],
    ['EntityTooLarge', 400],
    // Not refreshable: a fixed key, a clock that cannot be corrected.
    ['RequestTimeTooSkewed', 403],
    ['SecurityTokenExpired', 403],
    ['InvalidArgument', 400],
  ]
  for (const [code, status] of rows) {
    const { client, clock, appending } = await append()
    const refusal = serviceError(code, { status })
    const request = await client.next()
    request.fail(refusal)
    const error = await rejectionOf(appending)
    t.equal(error.message, refusal.message, code)
    t.match(error, { status, attempts: 1, ...TARGET })
    t.strictSame(error.tail, old)
    t.equal(error.unresolved, undefined, code)
    t.equal(client.requests.length, 1)
    t.equal(clock.started, 0)
  }
})

t.test('a 5xx that is final leaves the attempt in doubt', async t => {
  const { client, appending } = await append()
  const request = await client.next()
  request.fail(serviceError('NotImplemented', { status: 501 }))
  const error = await rejectionOf(appending)
  t.match(error, { code: 'NotImplemented', status: 501, attempts: 1 })
  t.strictSame(error.unresolved, owned)
})

t.test(
  'over a client that may send a request again, a refusal leaves the attempt in doubt',
  async t => {
    for (const sendsOnce of [false, undefined]) {
      const { client, appending } = await append()
      Object.assign(client, { sendsOnce })
      const request = await client.next()
      request.fail(serviceError('AccessDenied', { status: 403 }))
      const error = await rejectionOf(appending)
      t.match(error, { code: 'AccessDenied', attempts: 1 })
      t.strictSame(error.unresolved, owned, `sendsOnce: ${sendsOnce}`)
    }
  },
)

t.test('final after a doubt: the doubt is not forgotten', async t => {
  const { appending, failNextAttempt, client } = await append()
  await failNextAttempt(timeoutError())
  const request = await client.next()
  request.fail(serviceError('AccessDenied', { status: 403 }))
  const error = await rejectionOf(appending)
  t.match(error, { code: 'AccessDenied', attempts: 2 })
  t.strictSame(error.unresolved, owned)
})

t.test(
  'a certificate refused at the first attempt is final, and its code stays a cause',
  async t => {
    const { client, appending } = await append()
    const cause = networkError('CERT_REVOKED')
    const request = await client.next()
    request.fail(cause)
    const error = await rejectionOf(appending)
    t.match(error, { code: 'OSS_ERR_RETRIES_EXHAUSTED', attempts: 1 })
    t.equal(error.cause, cause)
    t.equal(error.unresolved, undefined)
  },
)

t.test(
  'an error that is no OssError is final, leaves doubt, and its message is not quoted',
  async t => {
    const secret = 'LTAI-the-secret'
    const rows: [thrown: unknown, words: string][] = [
      [new TypeError(`fetch failed ${secret}`), 'TypeError'],
      [Object.assign(new Error(secret), { code: 'ECONNRESET' }), 'Error ECONNRESET'],
      [{ message: secret }, 'no Error'],
      [secret, 'no Error'],
      [undefined, 'no Error'],
    ]
    for (const [thrown, words] of rows) {
      const { appender, client, clock, appending } = await append()
      const request = await client.next()
      request.fail(thrown)
      const error = await rejectionOf(appending)
      t.match(error, { name: 'OssError', code: 'OSS_ERR_CLIENT', attempts: 1, ...TARGET })
      t.equal(error.message, `the client failed: ${words}. A client must throw an OssError`)
      t.notMatch(inspect(error), secret)
      t.strictSame(error.tail, old)
      t.strictSame(error.unresolved, owned)
      t.equal(await rejectionOf(appender.append(batchOf('more'))), error)
      t.equal(client.requests.length, 1)
      t.equal(clock.started, 0)
    }
  },
)

t.test(
  'a result of append() that is no tail is a failure of the client, and leaves doubt',
  async t => {
    const results: unknown[] = [
      undefined,
      null,
      { position: '6' },
      { position: Number.NaN },
      { position: -1 },
      { position: 6, crc64: 5n },
      { position: 6, crc64: '0x5' },
    ]
    for (const result of results) {
      const { client, appending } = await append()
      const request = await client.next()
      request.resolve(result)
      const error = await rejectionOf(appending)
      t.match(error, { name: 'OssError', code: 'OSS_ERR_CLIENT', attempts: 1, ...TARGET })
      t.match(error.message, /append\(\) must resolve with position/)
      t.strictSame(error.unresolved, owned)
      t.equal(client.requests.length, 1)
    }
  },
)

t.test('a result of append() that throws while it is read is a failure of the client', async t => {
  const secret = 'LTAI-the-secret'
  const { client, appending } = await append()
  const request = await client.next()
  request.resolve({
    get position(): never {
      throw new TypeError(secret)
    },
  })
  const error = await rejectionOf(appending)
  t.match(error, { name: 'OssError', code: 'OSS_ERR_CLIENT', attempts: 1, ...TARGET })
  t.match(error.message, /^the client failed: TypeError/)
  t.notMatch(inspect(error), secret)
  t.strictSame(error.unresolved, owned)
})

t.test('a CRC-64 of a client may have leading zeros', async t => {
  const { appender, client } = createAppenderHarness()
  const opening = appender.open()
  const head = await client.next()
  // Both CRCs have 19 digits, and 20 are allowed.
  const tail = tailOf('xy')
  const object = { type: 'Appendable', length: 2, position: 2, requestId: 'r' }
  head.resolve({ ...object, crc64: `0${tail.crc64}` })
  t.strictSame(await opening, tail)
  const { position, crc64 } = tailOf('xyz')
  const appending = appender.append(batchOf('z'))
  const request = await client.next()
  request.resolve({ position, crc64: `0${crc64}`, requestId: 'r' })
  t.match(await appending, { nextPosition: position, crc64 })
})

t.test('a wait that a client asks for is a whole number from 0', async t => {
  const rows: [retryAfter: unknown, delay: number][] = [
    [Number.NaN, 0],
    [-5, 0],
    ['soon', 0],
    [1.5, 2],
    [Number.POSITIVE_INFINITY, RETRY.maxDelay],
  ]
  for (const [retryAfter, delay] of rows) {
    const { client, clock, retries, fireNextTimer, appending } = await append()
    clock.chance = 0
    const request = await client.next()
    request.fail(serviceError('Busy', { status: 503, retryAfter: retryAfter as number }))
    await fireNextTimer()
    t.equal(retries[0]?.delay, delay, String(retryAfter))
    ;(await client.next()).reply(tailOf('oldnew'))
    await appending
  }
})

t.test('a result of head() that is no object is a failure of the client', async t => {
  for (const result of [undefined, {}, { length: '3' }, { length: 3, crc64: 'zz' }]) {
    const { appender, client } = createAppenderHarness()
    const opening = appender.open()
    const request = await client.next()
    request.resolve(result)
    const error = await rejectionOf(opening)
    t.match(error, { code: 'OSS_ERR_CLIENT', attempts: 1, ...TARGET })
    t.match(error.message, /head\(\) must resolve with type and length/)
    t.equal(client.requests.length, 1)
  }
})

t.test('the wait: uniform, doubling, five times as long when throttled', async t => {
  const { clock, client, retries, failNextAttempt, appending } = await append()
  clock.chance = 1
  for (let attempt = 1; attempt <= 9; attempt++) await failNextAttempt(networkError('ECONNRESET'))
  clock.chance = 0.25
  await failNextAttempt(serviceError('SlowDown', { status: 503 }))
  const request = await client.next()
  request.reply(tailOf('oldnew'))
  const { attempts, duration } = await appending
  t.equal(attempts, 11)
  const delays = [200, 400, 800, 1600, 3200, 6400, 12_800, 20_000, 20_000, 5000]
  t.strictSame(
    retries.map(({ delay }) => delay),
    delays,
  )
  t.equal(
    duration,
    delays.reduce((sum, delay) => sum + delay),
  )
  t.strictSame(
    retries.map(({ attempt }) => attempt),
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  )
})

t.test('minDelay and maxDelay', async t => {
  const { clock, retries, failNextAttempt } = await append({
    retry: { ...RETRY, minDelay: 3, maxDelay: 7 },
  })
  clock.chance = 1
  for (let attempt = 1; attempt <= 3; attempt++) await failNextAttempt(timeoutError())
  await failNextAttempt(serviceError('SlowDown', { status: 503 }))
  t.strictSame(
    retries.map(({ delay }) => delay),
    [3, 6, 7, 7],
  )
})

t.test(
  'maxElapsed: from the first failure, looked at before a wait, never cutting an attempt',
  async t => {
    const { clock, client, failNextAttempt, appending } = await append({
      retry: { ...RETRY, maxElapsed: 1000 },
    })
    clock.time += 100_000
    await failNextAttempt(timeoutError())
    const second = await client.next()
    clock.time += 899
    second.fail(timeoutError())
    const fireNextTimer = await clock.nextTimer()
    fireNextTimer.fire()
    const third = await client.next()
    clock.time += 100_000
    t.notOk(third.signal.aborted)
    third.fail(timeoutError())
    t.match(await rejectionOf(appending), { code: 'OSS_ERR_RETRIES_EXHAUSTED', attempts: 3 })
  },
)

t.test('every acknowledgement starts all counters afresh', async t => {
  const harness = await openAppenderHarness('', {
    retry: { ...RETRY, maxRetries: 2, maxElapsed: 1000 },
  })
  harness.clock.chance = 1
  let content = ''
  for (let append = 0; append < 5; append++) {
    const appending = harness.appender.append(batchOf('x'))
    await harness.failNextAttempt(append % 2 ? skewed() : expired())
    await harness.failNextAttempt(timeoutError())
    content += 'x'
    const request = await harness.client.next()
    request.reply(tailOf(content))
    t.match(await appending, { attempts: 3 })
  }
  t.strictSame(
    harness.retries.map(({ attempt, delay }) => [attempt, delay]),
    Array(5)
      .fill([
        [1, 0],
        [2, 400],
      ])
      .flat(),
  )
})

t.test('a clock, credentials, a damaged body: at once, and then after waits', async t => {
  const damaged = () => serviceError('InvalidDigest')
  const rejected = () => serviceError('BadRequest')
  for (const make of [skewed, expired, damaged, rejected]) {
    const { clock, client, retries, failNextAttempt, appending } = await append()
    const first = await failNextAttempt(make())
    for (let attempt = 2; attempt <= 4; attempt++) {
      t.strictSame((await failNextAttempt(make())).asked, first.asked)
    }
    t.strictSame(
      retries.map(({ delay }) => delay),
      [0, 200, 400, 800],
    )
    const request = await client.next()
    const last = make()
    clock.time += 300_000
    request.fail(last)
    const error = await rejectionOf(appending)
    t.equal(error.message, last.message, 'for five minutes: the error of OSS as it is')
    t.match(error, { code: last.code, attempts: 5, unresolved: undefined })
  }
})

t.test('a clock and credentials in one append are each tried again at once', async t => {
  const { client, retries, failNextAttempt, appending } = await append()
  await failNextAttempt(skewed())
  await failNextAttempt(expired())
  const request = await client.next()
  request.reply(tailOf('oldnew'))
  t.match(await appending, { attempts: 3 })
  t.match(retries, [{ delay: 0 }, { delay: 0 }])
})

t.test('a provider that fails: waits, and at the end its own code', async t => {
  const { client, failNextAttempt, retries, appending } = await append({
    retry: { ...RETRY, maxRetries: 1 },
  })
  await failNextAttempt(credentialsError(true))
  t.match(retries, [{ attempt: 1, delay: 100, error: { code: 'OSS_ERR_CREDENTIALS' } }])
  const shared = credentialsError(true)
  const request = await client.next()
  request.fail(shared)
  const error = await rejectionOf(appending)
  t.match(error, { name: 'OssError', code: 'OSS_ERR_CREDENTIALS', attempts: 2, ...TARGET })
  t.match(error.cause, { message: 'metadata service unreachable' })
  t.equal(error.message, shared.message)
  t.equal(error.unresolved, undefined)
})

t.test('a provider that answers rubbish is final', async t => {
  const { client, clock, appending } = await append()
  const request = await client.next()
  request.fail(new OssError('OSS_ERR_CREDENTIALS', 'the accessKeyId is missing'))
  const error = await rejectionOf(appending)
  t.match(error, {
    code: 'OSS_ERR_CREDENTIALS',
    attempts: 1,
    message: 'the accessKeyId is missing',
  })
  t.equal(error.cause, undefined)
  t.equal(clock.started, 0)
})

t.test('streams that share a provider’s failure keep their own errors', async t => {
  const shared = credentialsError(false)
  const errors = []
  for (const key of ['a', 'b']) {
    const { client, appending } = await append({ target: { bucket: 'examplebucket', key } })
    const request = await client.next()
    request.fail(shared)
    errors.push(await rejectionOf(appending))
  }
  t.match(errors, [{ key: 'a' }, { key: 'b' }])
  t.equal(shared.key, undefined)
})

t.test('a host name that does not resolve: three attempts, if nothing ever came', async t => {
  const { appender, client, failNextAttempt } = createAppenderHarness()
  const opening = appender.open()
  await failNextAttempt(networkError('ENOTFOUND'))
  await failNextAttempt(networkError('ENOTFOUND'))
  const request = await client.next()
  request.fail(networkError('ENOTFOUND'))
  const error = await rejectionOf(opening)
  t.match(error, { code: 'OSS_ERR_RETRIES_EXHAUSTED', attempts: 3, unresolved: undefined })
  t.match(error.cause, { code: 'OSS_ERR_NETWORK', cause: { code: 'ENOTFOUND' } })
})

t.test('a host name that does not resolve any more: waited for like all else', async t => {
  const found = createAppenderHarness()
  const opening = found.appender.open()
  const head = await found.client.next()
  head.reply(old)
  await opening
  const refusedOnce = await openAppenderHarness('old')
  for (const harness of [found, refusedOnce]) {
    const appending = harness.appender.append(batchOf('new'))
    if (harness === refusedOnce)
      await harness.failNextAttempt(serviceError('InternalError', { status: 500 }))
    for (let attempt = 1; attempt <= 5; attempt++)
      await harness.failNextAttempt(networkError('ENOTFOUND'))
    const request = await harness.client.next()
    request.reply(tailOf('oldnew'))
    t.match(await appending, { attempts: harness === found ? 6 : 7 })
  }
})

t.test('what did not come from OSS is no sign that the host name is right', async t => {
  const { appender, client, failNextAttempt } = createAppenderHarness({ position: 3 })
  const opening = appender.open()
  await failNextAttempt(networkError())
  await failNextAttempt(timeoutError())
  await failNextAttempt(networkError('ENOTFOUND'))
  await failNextAttempt(networkError('ENOTFOUND'))
  const request = await client.next()
  request.fail(networkError('ENOTFOUND'))
  t.match(await rejectionOf(opening), { code: 'OSS_ERR_RETRIES_EXHAUSTED', attempts: 5 })
})

t.test(
  'onRetry: before each wait, with the very error, and not after the last attempt',
  async t => {
    const { client, clock, retries, appending } = await append({
      retry: { ...RETRY, maxRetries: 1 },
    })
    const error = timeoutError()
    const first = await client.next()
    first.fail(error)
    const fireNextTimer = await clock.nextTimer()
    t.strictSame(retries, [{ attempt: 1, error, delay: 100, position: 3 }])
    t.equal(retries[0]?.error, error)
    t.equal(fireNextTimer.delay, 100)
    fireNextTimer.fire()
    const second = await client.next()
    second.fail(timeoutError())
    await rejectionOf(appending)
    t.equal(retries.length, 1)
  },
)

t.test('the error told to onRetry is not changed afterwards', async t => {
  const { client, retries, failNextAttempt, appending } = await append({
    retry: { ...RETRY, maxRetries: 1 },
  })
  await failNextAttempt(timeoutError())
  const last = await client.next()
  last.fail(timeoutError())
  await rejectionOf(appending)
  t.equal((retries[0]!.error as OssError).attempts, undefined)
  t.equal((retries[0]!.error as OssError).unresolved, undefined)
})

t.test('a wait holds the process exactly if something is owed', async t => {
  const { appender, client, clock } = createAppenderHarness()
  const opening = appender.open()
  const first = await client.next()
  first.fail(timeoutError())
  const free = await clock.nextTimer()
  t.equal(free.hasRef, false, 'opening, and nothing written yet')
  appender.keepProcessAlive()
  t.equal(free.hasRef, true, 'from the moment on')
  free.fire()
  const second = await client.next()
  second.fail(timeoutError())
  const held = await clock.nextTimer()
  t.equal(held.hasRef, true, 'and from the start')
  held.fire()
  const third = await client.next()
  third.reply(old)
  await opening
  appender.keepProcessAlive()
  t.equal(clock.timers.size, 0)
})

t.test('each attempt has a signal of its own, and nothing of the appender listens', async t => {
  const { client, failNextAttempt, appending } = await append()
  for (let attempt = 1; attempt <= 3; attempt++) await failNextAttempt(timeoutError())
  const refusal = await client.next()
  refusal.fail(positionConflict(6))
  const head = await client.next()
  t.equal(getEventListeners(head.signal, 'abort').length, 1, 'the fake’s own')
  head.reply(tailOf('oldnew'))
  await appending
  const signals = client.requests.map(({ signal }) => signal)
  t.equal(new Set(signals).size, 5)
  for (const signal of signals) {
    t.notOk(signal.aborted)
    t.strictSame(getEventListeners(signal, 'abort'), [])
  }
  t.equal(client.mostInFlight, 1)
})

t.test('nothing is left when an append is done', async t => {
  const { clock, client, failNextAttempt, appending } = await append()
  await failNextAttempt(timeoutError())
  const request = await client.next()
  request.reply(tailOf('oldnew'))
  await appending
  t.equal(clock.timers.size, 0)
  t.ok(client.requests.every(({ isSettled }) => isSettled))
})
