/** Pipelined appends as a dialogue with a client: every fault in the head, behind it, and between them. */

import assert from 'node:assert/strict'
import t from 'tap'
import type { AppenderOptions } from '../../lib/append/appender.ts'
import type { AppendInfo } from '../../lib/append/destination.ts'
import type { Batch } from '../../lib/append/tail.ts'
import {
  batchOf,
  openAppenderHarness,
  RETRY,
  recordOf,
  rejectionOf,
  tailOf,
} from '../helpers/appender-harness.ts'
import { networkError, positionConflict, serviceError, timeoutError } from '../helpers/errors.ts'
import type { FakeRequest } from '../helpers/fake-client.ts'

const TEXTS = ['one1', 'two22', 'three3']
const START = 'old0'
/** The object with the first batches in it. */
const after = (count: number) => START + TEXTS.slice(0, count).join('')

/** An appender whose first append has succeeded, with three batches behind it in flight: the head and two. */
async function openChain(more: Partial<AppenderOptions> = {}) {
  const harness = await openAppenderHarness('old', { pipelining: 4, ...more })
  const { appender, client } = harness
  const first = appender.append(batchOf('0'))
  ;(await client.next()).reply(tailOf(START))
  await first
  const batches = TEXTS.map(text => batchOf(text))
  const appending = appender.append(batches[0]!)
  const head = await client.next()
  const isSent = batches.slice(1).map(batch => appender.sendAhead(batch))
  assert.deepEqual(isSent, [true, true])
  const followers = [await client.next(), await client.next()] as const
  return { ...harness, batches: batches as [Batch, Batch, Batch], appending, head, followers }
}

type Chain = Awaited<ReturnType<typeof openChain>>

const asked = ({ position, body }: FakeRequest) => [position, Buffer.from(body!).toString('latin1')]

/**
 * Answers what is sent as an object of this content would, and ends waits, until an append has settled. Resolves with
 * its result, and with the kinds of the requests.
 */
async function serve(
  { client, clock }: Chain,
  appending: Promise<AppendInfo>,
  content: string,
): Promise<{ info: AppendInfo; content: string; requests: string[] }> {
  const requests: string[] = []
  let isSettled = false
  const onSettled = () => {
    isSettled = true
  }
  appending.then(onSettled, onSettled)
  for (;;) {
    await new Promise(setImmediate)
    if (isSettled) return { info: await appending, content, requests }
    for (const timer of [...clock.timers]) timer.fire()
    const request = client.requests.find(({ isSettled }) => !isSettled)
    if (!request) continue
    requests.push(request.kind)
    if (request.kind === 'head') request.reply(tailOf(content))
    else if (request.position !== content.length) request.fail(positionConflict(content.length))
    else {
      content += asked(request)[1]
      request.reply(tailOf(content))
    }
  }
}

/** The same for batches in their turn. */
async function serveAll(chain: Chain, batches: readonly Batch[], content: string) {
  const requests: string[] = []
  for (const batch of batches) {
    const served = await serve(chain, chain.appender.append(batch), content)
    content = served.content
    requests.push(...served.requests)
  }
  return { content, requests }
}

t.test(
  'batches leave before the responses to those before them, and are proven in order',
  async t => {
    const { appender, client, batches, appending, head, followers } = await openChain()
    t.same([head, ...followers].map(asked), [
      [4, 'one1'],
      [8, 'two22'],
      [13, 'three3'],
    ])
    t.strictSame(appender.tail, tailOf(START))
    head.reply(tailOf(after(1)))
    t.match(await appending, { position: 4, length: 4, attempts: 1, reconciled: false })
    t.strictSame(appender.tail, tailOf(after(1)))
    for (const [index, follower] of followers.entries()) {
      follower.reply(tailOf(after(index + 2)))
      const info = await appender.append(batches[index + 1]!)
      t.match(info, {
        ...{ attempts: 1, reconciled: false },
        crc64: tailOf(after(index + 2)).crc64,
      })
    }
    t.notOk(appender.hasDoubt)
    t.equal(client.requests.length, 4)
  },
)

t.test('the duration of an append that was sent ahead begins when it was sent', async t => {
  const { appender, clock, batches, appending, head, followers } = await openChain()
  clock.time += 30
  head.reply(tailOf(after(1)))
  t.match(await appending, { duration: 30 })
  clock.time += 5
  followers[0].reply(tailOf(after(2)))
  t.match(await appender.append(batches[1]), { duration: 35 })
})

t.test('nothing is sent ahead before the first success', async t => {
  const { appender, client } = await openAppenderHarness('old', { pipelining: 4 })
  t.notOk(appender.sendAhead(batchOf('x')), 'nothing is in flight')
  void appender.append(batchOf('one'))
  await client.next()
  t.equal(appender.ahead, undefined)
  t.notOk(appender.sendAhead(batchOf('x')))
  t.equal(client.requests.length, 1)
})

t.test('without the option nothing is ever sent ahead', async t => {
  const { appender, client } = await openAppenderHarness('old')
  for (const content of ['old1', 'old12']) {
    const appending = appender.append(batchOf(content.slice(-1)))
    const request = await client.next()
    t.equal(appender.ahead, undefined)
    t.notOk(appender.sendAhead(batchOf('x')))
    request.reply(tailOf(content))
    await appending
  }
})

t.test('a batch that is longer than an attempt, or than the object may be, waits', async t => {
  const harness = await openAppenderHarness('old', {
    ...{ pipelining: 4, highWaterMark: 8, maxObjectBytes: 20 },
  })
  const { appender, client } = harness
  const first = appender.append(batchOf('0'))
  ;(await client.next()).reply(tailOf(START))
  await first
  void appender.append(batchOf('one1'))
  await client.next()
  t.notOk(appender.sendAhead(batchOf('123456789')), 'longer than an attempt')
  t.notOk(appender.sendAhead(recordOf('1234567890123')), 'longer than the object')
  t.ok(appender.sendAhead(recordOf('123456789')), 'one record')
})

const FAULTS: readonly [name: string, error: () => Error][] = [
  ['a reset', () => networkError('ECONNRESET')],
  ['a timeout', timeoutError],
  ['a refused connection', () => networkError('ECONNREFUSED')],
  ['a 500', () => serviceError('InternalError', { status: 500 })],
  ['a 503', () => serviceError('SlowDown', { status: 503 })],
  ['a damaged body', () => serviceError('InvalidDigest')],
  ['a response of another server', () => networkError()],
  ['a 409 without a length', () => positionConflict()],
]

t.test('a fault of the head: whatever had landed, each batch is in the object once', async t => {
  for (const [name, error] of FAULTS) {
    for (const landed of [0, 1, 2, 3]) {
      const label = `${name}, ${landed} landed`
      const chain = await openChain()
      chain.head.fail(error())
      await new Promise(setImmediate)
      t.ok(
        chain.followers.every(({ signal }) => signal.aborted),
        `${label}: those behind it are ended`,
      )
      const { info, content } = await serve(chain, chain.appending, after(landed))
      t.match(info, { position: 4, length: 4, nextPosition: 8, reconciled: landed > 0 }, label)
      const rest = await serveAll(chain, chain.batches.slice(1), content)
      t.equal(rest.content, after(3), label)
      t.notOk(chain.appender.hasDoubt)
    }
  }
})

t.test(
  'a 409 of the head after its first copy landed: one HEAD settles all that landed',
  async t => {
    for (const landed of [1, 2, 3]) {
      const chain = await openChain()
      const { client, batches, appending, head } = chain
      head.fail(positionConflict(after(landed).length))
      const look = await client.next()
      t.equal(look.kind, 'head')
      look.reply(tailOf(after(landed)))
      t.match(await appending, { length: 4, nextPosition: 8, reconciled: true })
      const { content, requests } = await serveAll(chain, batches.slice(1), after(landed))
      t.equal(content, after(3))
      t.same(requests.length, 3 - landed, 'what is proven is not sent again')
    }
  },
)

t.test('the response of 1 is lost, and that of 2 has come: it proves both', async t => {
  const { appender, client, batches, appending, head, followers } = await openChain()
  followers[0].reply(tailOf(after(2)))
  head.fail(networkError())
  t.match(await appending, { length: 4, attempts: 1, reconciled: true })
  t.match(await appender.append(batches[1]), { length: 5, reconciled: true })
  t.equal(client.requests.length, 4, 'nothing is asked')
  t.strictSame(appender.tail, tailOf(after(2)))
})

t.test('a fault behind the head: the head is acknowledged, and the rest goes on alone', async t => {
  for (const [name, error] of FAULTS) {
    for (const landed of [1, 2, 3]) {
      const label = `${name}, ${landed} landed`
      const chain = await openChain()
      const { appender, batches, appending, head, followers } = chain
      followers[0].fail(error())
      head.reply(tailOf(after(1)))
      t.match(await appending, { length: 4, reconciled: false }, label)
      const second = appender.append(batches[1])
      await new Promise(setImmediate)
      t.ok(followers[1].signal.aborted, label)
      t.equal(appender.ahead, undefined)
      const { info, content } = await serve(chain, second, after(landed))
      t.match(info, { position: 8, length: 5, reconciled: landed > 1 }, label)
      const rest = await serveAll(chain, batches.slice(2), content)
      t.equal(rest.content, after(3), label)
    }
  }
})

t.test('after a success the chain goes on, with the batches that were sent before', async t => {
  const { appender, client, batches, appending, head, fireNextTimer } = await openChain()
  head.fail(networkError('ECONNRESET'))
  await fireNextTimer()
  const retried = await client.next()
  t.same(asked(retried), [4, 'one1'])
  t.notOk(appender.sendAhead(batches[1]), 'not before the success')
  retried.reply(tailOf(after(1)))
  t.match(await appending, { attempts: 2, reconciled: false })
  const second = appender.append(batches[1])
  t.same(asked(await client.next()), [8, 'two22'])
  t.ok(appender.sendAhead(batches[2]))
  t.same(asked(await client.next()), [13, 'three3'])
  t.ok(appender.sendAhead(batches[2]), 'it is in flight already')
  const [fifth, sixth] = client.requests.slice(-2)
  fifth?.reply(tailOf(after(2)))
  sixth?.reply(tailOf(after(3)))
  await second
  t.match(await appender.append(batches[2]), { attempts: 1, reconciled: false })
  t.equal(client.requests.length, 7)
})

t.test('a late request of the chain that was given up lands, and is found', async t => {
  const { appender, client, batches, appending, head, fireNextTimer } = await openChain()
  head.fail(timeoutError())
  await fireNextTimer()
  const retried = await client.next()
  retried.reply(tailOf(after(1)))
  await appending
  const second = appender.append(batches[1])
  const again = await client.next()
  again.fail(positionConflict(after(3).length))
  const look = await client.next()
  look.reply(tailOf(after(3)))
  t.match(await second, { length: 5, reconciled: true })
  t.match(await appender.append(batches[2]), { length: 6, reconciled: true })
})

t.test('a rival of equal length takes the place of the head: a conflict, all in doubt', async t => {
  const { client, appending, head } = await openChain()
  const content = `${START}ONE1two22`
  head.fail(positionConflict(content.length))
  ;(await client.next()).reply(tailOf(content))
  const error = await rejectionOf(appending)
  t.match(error, {
    code: 'PositionNotEqualToLength',
    seen: tailOf(content),
    unresolved: { position: 4, length: after(3).length - 4 },
  })
})

t.test('the same with the response of the batch that landed behind it', async t => {
  const { client, appending, head, followers } = await openChain()
  const content = `${START}ONE1two22`
  followers[0].reply(tailOf(content))
  head.fail(positionConflict(content.length))
  ;(await client.next()).reply(tailOf(content))
  t.match(await rejectionOf(appending), {
    code: 'PositionNotEqualToLength',
    unresolved: { position: 4, length: after(3).length - 4 },
  })
})

t.test('a final refusal of the head leaves those behind it in doubt', async t => {
  for (const error of [
    serviceError('AccessDenied', { status: 403 }),
    serviceError('ObjectNotAppendable', { status: 409 }),
  ]) {
    const { appender, appending, head, followers } = await openChain()
    head.fail(error)
    const failure = await rejectionOf(appending)
    t.match(failure, {
      code: error.code,
      tail: tailOf(START),
      unresolved: { position: 4, length: after(3).length - 4 },
    })
    t.ok(
      followers.every(({ isSettled }) => isSettled),
      'nothing is in flight',
    )
    t.equal(appender.ahead, undefined)
  }
})

t.test('a refusal of a head that nothing followed is plain', async t => {
  const { appender, client } = await openAppenderHarness('old', { pipelining: 4 })
  const first = appender.append(batchOf('0'))
  ;(await client.next()).reply(tailOf(START))
  await first
  const appending = appender.append(batchOf('one1'))
  ;(await client.next()).fail(serviceError('AccessDenied', { status: 403 }))
  t.equal((await rejectionOf(appending)).unresolved, undefined)
})

t.test('abort() ends all in flight at once, and reports all as unresolved', async t => {
  const { appender, appending, head, followers, client } = await openChain()
  const order: number[] = []
  for (const [index, { signal }] of [head, ...followers].entries()) {
    signal.addEventListener('abort', () => order.push(index))
  }
  appender.abort(new Error('destroyed'))
  t.same(order, [0, 1, 2], 'the head first')
  t.equal((await rejectionOf(appending)).message, 'destroyed')
  t.equal(appender.ahead, undefined)
  t.notOk(appender.sendAhead(batchOf('x')))
  t.equal(client.requests.length, 4)
})

t.test('abort() between two appends ends those that were sent ahead', async t => {
  const { appender, appending, head, followers, batches } = await openChain()
  head.reply(tailOf(after(1)))
  await appending
  appender.abort(new Error('destroyed'))
  t.ok(followers.every(({ signal }) => signal.aborted))
  t.equal((await rejectionOf(appender.append(batches[1]))).message, 'destroyed')
})

t.test('retries that are exhausted report nothing while a request is in flight', async t => {
  const retry = { ...RETRY, maxRetries: 0 }
  const { appending, head, followers } = await openChain({ retry })
  head.fail(networkError('ECONNRESET'))
  t.match(await rejectionOf(appending), {
    code: 'OSS_ERR_RETRIES_EXHAUSTED',
    unresolved: { position: 4, length: after(3).length - 4 },
  })
  t.ok(followers.every(({ isSettled }) => isSettled))
})

t.test('a timeout makes attempts shorter, and then nothing is sent ahead', async t => {
  const harness = await openAppenderHarness('old', {
    pipelining: 2,
    attemptFloor: 2,
    highWaterMark: 4,
  })
  const { appender, client, fireNextTimer } = harness
  const first = appender.append(batchOf('0'))
  ;(await client.next()).reply(tailOf(START))
  await first
  const appending = appender.append(batchOf('one1'))
  const head = await client.next()
  const next = batchOf('two2')
  t.ok(appender.sendAhead(next))
  head.fail(timeoutError())
  await fireNextTimer()
  await client.next()
  const half = await client.next()
  t.same(asked(half), [4, 'on'])
  half.reply(tailOf(`${START}on`))
  t.match(await appending, { length: 2 })
  void appender.append(batchOf('one1').rest(2))
  t.same(asked(await client.next()), [6, 'e1'])
  t.notOk(appender.sendAhead(next), 'it is longer than an attempt')
})
