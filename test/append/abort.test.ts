/** Aborted in each state: at once, once, and with the truth about what may have landed. */

import t from 'tap'
import { OssError } from '../../lib/errors.ts'
import {
  batchOf,
  createAppenderHarness,
  openAppenderHarness,
  rejectionOf,
  TARGET,
  tailOf,
} from '../helpers/appender-harness.ts'
import { networkError, positionConflict, serviceError, timeoutError } from '../helpers/errors.ts'

const old = tailOf('old')
const owned = { position: 3, length: 3 }
const createReason = () => new OssError('OSS_ERR_ABORTED', 'the stream was destroyed')

/** An append of `new` behind `old`. */
async function append() {
  const harness = await openAppenderHarness('old')
  return { ...harness, appending: harness.appender.append(batchOf('new')), reason: createReason() }
}

t.test('while a HEAD of opening is in flight', async t => {
  const { appender, client, clock, retries } = createAppenderHarness()
  const opening = appender.open()
  const reason = createReason()
  const head = await client.next()
  appender.abort(reason)
  t.ok(head.signal.aborted)
  t.equal(head.signal.reason, reason)
  const error = await rejectionOf(opening)
  t.equal(error.message, reason.message)
  t.match(error, { attempts: 1, ...TARGET })
  t.equal(error.tail, undefined)
  t.equal(error.unresolved, undefined)
  t.equal(appender.tail, undefined)
  t.equal(clock.started, 0)
  t.strictSame(retries, [])
  t.match(await rejectionOf(appender.append(batchOf('x'))), { message: reason.message })
})

t.test('while a probe of opening is in flight: it has no bytes to lose', async t => {
  const { appender, client } = createAppenderHarness()
  const opening = appender.open()
  const head = await client.next()
  head.fail(serviceError('AccessDenied', { status: 403 }))
  await client.next()
  const reason = createReason()
  appender.abort(reason)
  const error = await rejectionOf(opening)
  t.equal(error.message, reason.message)
  t.equal(error.unresolved, undefined)
})

t.test('before opening: nothing is sent, nothing attempted', async t => {
  for (const position of ['end', 0, 3] as const) {
    const { appender, client } = createAppenderHarness({ position })
    const reason = createReason()
    appender.abort(reason)
    const error = await rejectionOf(appender.open())
    t.equal(error.message, reason.message)
    t.equal(error.attempts, undefined)
    t.equal(client.requests.length, 0)
  }
})

t.test('during a wait of opening: the timer is cleared at once', async t => {
  const { appender, client, clock } = createAppenderHarness()
  const opening = appender.open()
  const head = await client.next()
  head.fail(networkError('ECONNREFUSED'))
  await clock.nextTimer()
  const reason = createReason()
  appender.abort(reason)
  t.equal(clock.timers.size, 0)
  const error = await rejectionOf(opening)
  t.equal(error.message, reason.message)
  t.equal(error.attempts, 1)
  t.equal(client.requests.length, 1)
})

t.test('while the append is in flight: it may have landed', async t => {
  const { appender, client, clock, appending, reason } = await append()
  const request = await client.next()
  appender.abort(reason)
  t.ok(request.signal.aborted, 'in the same turn')
  t.ok(request.isSettled)
  const error = await rejectionOf(appending)
  t.equal(error.message, reason.message)
  t.match(error, { attempts: 1, ...TARGET })
  t.strictSame(error.tail, old)
  t.strictSame(error.unresolved, owned)
  t.strictSame(appender.tail, old)
  t.equal(client.requests.length, 1)
  t.equal(clock.started, 0)
})

t.test('while the append is in flight, and the client knows that nothing was sent', async t => {
  const { appender, client, appending, reason } = await append()
  const request = await client.next()
  // As the real client does while it waits for a connection.
  const unsent = new OssError('OSS_ERR_ABORTED', 'aborted', { isUnsent: true })
  request.fail(unsent)
  appender.abort(reason)
  const error = await rejectionOf(appending)
  t.equal(error.message, reason.message)
  t.equal(error.unresolved, undefined)
})

t.test('while a resend is in flight', async t => {
  const { appender, client, failNextAttempt, appending, reason } = await append()
  await failNextAttempt(networkError('ECONNREFUSED'))
  await client.next()
  appender.abort(reason)
  t.match(await rejectionOf(appending), { attempts: 2, unresolved: owned })
})

t.test('during a wait: what the attempts before it found decides', async t => {
  const rows: [error: Error, unresolved: object | undefined][] = [
    [networkError('ECONNREFUSED'), undefined],
    [networkError('EAI_AGAIN'), undefined],
    [serviceError('SecurityTokenExpired', { status: 403, isRefreshable: true }), undefined],
    [serviceError('InvalidDigest'), undefined],
    [timeoutError(), owned],
    [networkError('ECONNRESET'), owned],
    [serviceError('InternalError', { status: 500 }), owned],
  ]
  for (const [cause, unresolved] of rows) {
    const { appender, client, clock, appending, reason } = await append()
    const request = await client.next()
    request.fail(cause)
    const timer = await clock.nextTimer()
    appender.abort(reason)
    t.notOk(clock.timers.has(timer))
    const error = await rejectionOf(appending)
    t.equal(error.message, reason.message)
    t.equal(error.attempts, 1, 'the next was never made')
    t.strictSame(error.unresolved, unresolved, cause.message)
    t.equal(client.requests.length, 1)
  }
})

t.test('while HEAD asks for the tail: the attempts before the 409 decide', async t => {
  for (const isDoubtful of [false, true]) {
    const { appender, client, failNextAttempt, appending, reason } = await append()
    if (isDoubtful) await failNextAttempt(timeoutError())
    const request = await client.next()
    request.fail(positionConflict(6))
    const head = await client.next()
    t.equal(head.kind, 'head')
    appender.abort(reason)
    t.ok(head.signal.aborted)
    const error = await rejectionOf(appending)
    t.equal(error.message, reason.message)
    t.strictSame(error.unresolved, isDoubtful ? owned : undefined)
    t.strictSame(error.tail, old)
  }
})

t.test('during the wait after an absence: proven, unless an attempt is still out', async t => {
  for (const isDoubtful of [false, true]) {
    const { appender, client, clock, failNextAttempt, appending, reason } = await append()
    if (isDoubtful) await failNextAttempt(timeoutError())
    const request = await client.next()
    request.fail(positionConflict(3))
    const head = await client.next()
    head.reply(old)
    await clock.nextTimer()
    appender.abort(reason)
    t.strictSame((await rejectionOf(appending)).unresolved, isDoubtful ? owned : undefined)
  }
})

t.test('just after an attempt failed in doubt, at every turn of its way up', async t => {
  for (let turns = 0; turns <= 12; turns++) {
    const { appender, client, retries, appending, reason } = await append()
    const request = await client.next()
    request.fail(networkError('ECONNRESET'))
    for (let turn = 0; turn < turns; turn++) await null
    appender.abort(reason)
    const error = await rejectionOf(appending)
    t.equal(error.message, reason.message)
    t.strictSame(error.unresolved, owned, `after ${turns} turns`)
    t.equal(client.requests.length, 1)
    if (turns === 0) t.strictSame(retries, [], 'no retry is reported that will not be made')
  }
})

t.test('just after a 409 that follows a timeout, at every turn of its way up', async t => {
  for (let turns = 0; turns <= 12; turns++) {
    const { appender, client, appending, failNextAttempt, reason } = await append()
    await failNextAttempt(timeoutError())
    const request = await client.next()
    request.fail(positionConflict(6))
    for (let turn = 0; turn < turns; turn++) await null
    appender.abort(reason)
    const error = await rejectionOf(appending)
    t.equal(error.message, reason.message)
    t.strictSame(error.unresolved, owned, `after ${turns} turns`)
  }
})

t.test('just after the acknowledgement: it is one, and then no more', async t => {
  for (let turns = 0; turns <= 12; turns++) {
    const { appender, client, appending, reason } = await append()
    const request = await client.next()
    request.reply(tailOf('oldnew'))
    for (let turn = 0; turn < turns; turn++) await null
    appender.abort(reason)
    t.match(await appending, { nextPosition: 6 }, `after ${turns} turns`)
    const error = await rejectionOf(appender.append(batchOf('more')))
    t.equal(error.message, reason.message)
    t.strictSame(error.tail, tailOf('oldnew'))
    t.equal(error.unresolved, undefined)
    t.equal(client.requests.length, 1)
  }
})

t.test('idle: the next call fails, having attempted nothing', async t => {
  for (const call of ['append', 'seal', 'throwIfAborted'] as const) {
    const { appender, client } = await openAppenderHarness('old')
    appender.throwIfAborted()
    const reason = createReason()
    appender.abort(reason)
    const calls = {
      append: () => appender.append(batchOf('new')),
      seal: () => appender.seal(),
      throwIfAborted: async () => appender.throwIfAborted(),
    }
    const error = await rejectionOf(calls[call]())
    t.equal(error.message, reason.message, call)
    t.match(error, TARGET)
    t.strictSame(error.tail, old)
    t.equal(error.attempts, undefined)
    t.equal(error.unresolved, undefined)
    t.equal(client.requests.length, 0)
  }
})

t.test('while the seal is in flight, or waits', async t => {
  for (const isWaiting of [false, true]) {
    const { appender, client, clock } = await openAppenderHarness('old')
    const sealing = appender.seal()
    const request = await client.next()
    if (isWaiting) {
      request.fail(timeoutError())
      await clock.nextTimer()
    }
    const reason = createReason()
    appender.abort(reason)
    const error = await rejectionOf(sealing)
    t.equal(error.message, reason.message)
    t.match(error, { attempts: 1, tail: old })
    t.equal(error.unresolved, undefined, 'no bytes are in question')
    t.equal(clock.timers.size, 0)
  }
})

t.test('only the first abort counts', async t => {
  const { appender, client, appending, reason } = await append()
  await client.next()
  appender.abort(reason)
  appender.abort(new Error('again'))
  t.match(await rejectionOf(appending), { message: reason.message })
})

t.test('from within onRetry: no wait begins', async t => {
  const reason = createReason()
  const harness = await openAppenderHarness('old', {
    onRetry: () => harness.appender.abort(reason),
  })
  const appending = harness.appender.append(batchOf('new'))
  const request = await harness.client.next()
  request.fail(networkError('ECONNREFUSED'))
  t.match(await rejectionOf(appending), { message: reason.message })
  t.equal(harness.clock.started, 0)
  t.equal(harness.client.requests.length, 1)
})

t.test('with any other reason', async t => {
  const { appender, client, appending } = await append()
  const reason = new Error('why not')
  await client.next()
  appender.abort(reason)
  t.match(await rejectionOf(appending), { message: reason.message })
  t.match(await rejectionOf(appender.append(batchOf('more'))), { message: reason.message })
})
