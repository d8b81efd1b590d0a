/** Several writers, one object: the rules of `shared`, each in a dialogue with a fake client. */

import t from 'tap'
import type { AppenderOptions } from '../../lib/append/appender.ts'
import { OssConflictError } from '../../lib/errors.ts'
import {
  type AppenderHarness,
  linesOf,
  openAppenderHarness,
  RETRY,
  recordOf,
  rejectionOf,
  tailOf,
} from '../helpers/appender-harness.ts'
import { networkError, positionConflict, serviceError, timeoutError } from '../helpers/errors.ts'
import type { FakeRequest } from '../helpers/fake-client.ts'

const OLD = 'old\n'
const NEW = 'new\n'
const MD5_OF_NEW = 'nNWZo1I4mOahLhPseH2lCg=='
const position = OLD.length
const forbidden = () => serviceError('AccessDenied', { status: 403 })
const sealed = () => serviceError('AppendSealedObjectNotAllowed', { status: 409 })

const open = (options: Partial<AppenderOptions> = {}, content = OLD) =>
  openAppenderHarness(content, { shared: true, ...options })

/** An append of `NEW` behind `OLD`. */
async function append(options: Partial<AppenderOptions> = {}) {
  const harness = await open(options)
  return { ...harness, appending: harness.appender.append(recordOf(NEW)) }
}

/** The same, after an attempt of unknown outcome: the present request is the second one. */
async function appendInDoubt(options: Partial<AppenderOptions> = {}) {
  const harness = await append(options)
  await harness.failNextAttempt(networkError('ECONNRESET'))
  return harness
}

/** The next request is an append, and is refused because the object has `length` bytes. */
async function refuse({ client }: AppenderHarness, length?: number): Promise<FakeRequest> {
  const request = await client.next()
  request.fail(positionConflict(length))
  return request
}

t.test('a refused append goes on at once where the object ends, with its MD5', async t => {
  const harness = await append()
  const first = await refuse(harness, 10)
  t.strictSame(first.asked.headers, {})
  const second = await harness.client.next()
  t.strictSame(second.asked, {
    kind: 'append',
    position: 10,
    text: NEW,
    headers: { 'content-md5': MD5_OF_NEW },
  })
  t.strictSame(harness.appender.tail, tailOf(OLD), 'the last tail that is known whole')
  const content = `${OLD}other\n${NEW}`
  second.reply(tailOf(content))
  t.match(await harness.appending, {
    position: 10,
    length: NEW.length,
    nextPosition: content.length,
    crc64: tailOf(content).crc64,
    attempts: 2,
    lostRaces: 1,
    reconciled: false,
  })
  t.strictSame(harness.appender.tail, tailOf(content))
  t.strictSame([harness.retries, harness.clock.started], [[], 0])
})

t.test('the CRC of a success behind unknown bytes is the next known tail', async t => {
  const harness = await append()
  await refuse(harness, 10)
  ;(await harness.client.next()).reply({ position: 14, crc64: '77' })
  await harness.appending
  t.strictSame(harness.appender.tail, { position: 14, crc64: '77' })
  const next = harness.appender.append(recordOf('more\n'))
  const request = await harness.client.next()
  t.strictSame(request.asked, { kind: 'append', position: 14, text: 'more\n', headers: {} })
  request.reply({ position: 19, crc64: '78' })
  t.match(await rejectionOf(next), {
    code: 'OSS_ERR_INTEGRITY',
    unresolved: { position: 14, length: 5 },
  })
})

t.test('a success behind unknown bytes needs the right position, and a CRC', async t => {
  for (const answer of [{ position: 15, crc64: '77' }, { position: 14 }]) {
    const harness = await append()
    await refuse(harness, 10)
    ;(await harness.client.next()).reply(answer)
    t.match(await rejectionOf(harness.appending), {
      code: 'OSS_ERR_INTEGRITY',
      tail: tailOf(OLD),
      unresolved: { position: 10, length: NEW.length },
    })
  }
})

t.test('a refusal that tells the same length, or none, is no lost race', async t => {
  const same = await append()
  await refuse(same, position)
  await same.fireNextTimer()
  ;(await same.client.next()).reply(tailOf(OLD + NEW))
  t.match(await same.appending, { position, attempts: 2, lostRaces: 0 })

  const silent = await append()
  await refuse(silent, undefined)
  const head = await silent.client.next()
  t.strictSame(head.asked, { kind: 'head' })
  head.reply(tailOf(`${OLD}other\n`))
  const request = await silent.client.next()
  t.strictSame(request.asked, { kind: 'append', position: 10, text: NEW, headers: {} })
})

t.test('in doubt, and the object grew by that attempt alone: the tail proves it', async t => {
  const harness = await appendInDoubt()
  await refuse(harness, position + NEW.length)
  const head = await harness.client.next()
  t.strictSame(head.asked, { kind: 'head' })
  head.reply(tailOf(OLD + NEW))
  t.match(await harness.appending, { position, length: 4, reconciled: true, lostRaces: 0 })
})

t.test('in doubt, and behind bytes of others: the object is read', async t => {
  const harness = await appendInDoubt()
  await refuse(harness, 20)
  const get = await harness.client.next()
  t.strictSame(get.asked, { kind: 'get', start: position, end: position + NEW.length })
  const content = `${OLD}${NEW}others, and others\n`
  get.replyWithRangeOf(content)
  t.match(await harness.appending, {
    position,
    length: NEW.length,
    nextPosition: content.length,
    crc64: tailOf(content).crc64,
    attempts: 2,
    lostRaces: 0,
    reconciled: true,
  })
  t.strictSame(harness.appender.tail, tailOf(content), 'of the response that had the bytes')
})

t.test('other bytes of the same length are read too, though the tail was asked', async t => {
  const harness = await appendInDoubt()
  await refuse(harness, position + NEW.length)
  ;(await harness.client.next()).reply(tailOf(`${OLD}evil`))
  ;(await harness.client.next()).replyWithRangeOf(`${OLD}evil`)
  const request = await harness.client.next()
  t.equal(request.position, position + NEW.length)
  request.reply(tailOf(`${OLD}evil${NEW}`))
  t.match(await harness.appending, { position: 8, attempts: 3, lostRaces: 1 })
})

t.test('in doubt, and other bytes there: it never lands, and goes to the new end', async t => {
  const harness = await appendInDoubt()
  await refuse(harness, 20)
  const content = `${OLD}nex\nother writers' bytes\n`
  ;(await harness.client.next()).replyWithRangeOf(content)
  const third = await harness.client.next()
  t.strictSame(third.asked, {
    ...{ kind: 'append', position: content.length, text: NEW },
    headers: {},
  })
  t.strictSame(harness.appender.tail, tailOf(content))
  third.fail(serviceError('AccessDenied', { status: 403 }))
  const error = await rejectionOf(harness.appending)
  t.match(error, { code: 'AccessDenied', tail: tailOf(content), attempts: 3 })
  t.equal(error.unresolved, undefined, 'nothing is in doubt any more')
})

t.test('an object that grew by less than the attempt is not read', async t => {
  const harness = await appendInDoubt()
  await refuse(harness, position + NEW.length - 1)
  const request = await harness.client.next()
  t.strictSame(request.asked, {
    ...{ kind: 'append', position: 7, text: NEW },
    headers: { 'content-md5': MD5_OF_NEW },
  })
})

t.test('behind unknown bytes only the bytes decide, also where the length fits', async t => {
  const harness = await append()
  await refuse(harness, 10)
  await harness.failNextAttempt(timeoutError())
  await refuse(harness, 14)
  const get = await harness.client.next()
  t.strictSame(get.asked, { kind: 'get', start: 10, end: 14 })
  get.replyWithRangeOf(`${OLD}other\n${NEW}`)
  t.match(await harness.appending, { position: 10, length: 4, attempts: 3, lostRaces: 1 })
})

const LINE = 32_768
const LINES = Array.from('abcdefgh', letter => `${letter.repeat(LINE - 1)}\n`)
const lines = (count: number): string => LINES.slice(0, count).join('')

/** Attempts of 8, 4 and 2 lines time out; a fourth one, of 2 lines, meets an object of this content. */
async function appendLines(content: string) {
  const harness = await open({ highWaterMark: 8 * LINE })
  const appending = harness.appender.append(linesOf(lines(8)))
  for (const count of [8, 4, 2]) {
    const request = await harness.failNextAttempt(timeoutError())
    t.equal(request.body?.length, count * LINE, 'never longer than one in doubt')
  }
  await refuse(harness, content.length)
  const get = await harness.client.next()
  return { ...harness, appending, get }
}

t.test('the longest attempt whose bytes are all there has landed', async t => {
  for (const [landed, length] of [
    [8, 8],
    [4, 4],
    [7, 4],
    [3, 2],
    [2, 2],
  ] as const) {
    const content = `${OLD}${lines(landed)}${'other\n'.repeat(60_000)}`
    const harness = await appendLines(content)
    t.strictSame(harness.get.asked, { kind: 'get', start: 4, end: 4 + 8 * LINE })
    harness.get.replyWithRangeOf(content)
    t.match(await harness.appending, { position: 4, length: length * LINE, attempts: 4 })
  }
})

t.test('an attempt that is longer than what the object grew by is not read', async t => {
  const content = `${OLD}${lines(2)}${'x'.repeat(5 * LINE)}\n`
  const harness = await appendLines(content)
  t.strictSame(harness.get.asked, { kind: 'get', start: 4, end: 4 + 4 * LINE })
  harness.get.replyWithRangeOf(content)
  t.match(await harness.appending, { length: 2 * LINE })
})

t.test('less than the shortest attempt has not landed', async t => {
  const content = `${OLD}${lines(1)}${'x'.repeat(5 * LINE)}\n`
  const harness = await appendLines(content)
  harness.get.replyWithRangeOf(content)
  const request = await harness.client.next()
  t.strictSame([request.position, request.body?.length], [content.length, 2 * LINE])
})

t.test('a broken read is retried like an append', async t => {
  const content = `${OLD}${NEW}other\n`
  const broken: ((get: FakeRequest) => void)[] = [
    get => get.fail(networkError('ECONNRESET')),
    get => get.fail(serviceError('InternalError', { status: 500 })),
    get =>
      get.replyWithRangeOf(content, {
        body: (async function* () {
          yield Buffer.from('ne')
          throw networkError('ECONNRESET')
        })(),
      }),
    get =>
      get.replyWithRangeOf(content, {
        body: (async function* () {
          yield Buffer.from('ne')
        })(),
      }),
    get =>
      get.replyWithRangeOf(content, {
        body: (async function* () {
          yield Buffer.from('no')
        })(),
      }),
    get => get.replyWithRangeOf(content, { crc64: undefined }),
  ]
  for (const fail of broken) {
    const harness = await appendInDoubt()
    await refuse(harness, content.length)
    fail(await harness.client.next())
    await harness.fireNextTimer()
    await refuse(harness, content.length)
    ;(await harness.client.next()).replyWithRangeOf(content)
    t.match(await harness.appending, { position, length: 4, attempts: 3, lostRaces: 0 })
    t.equal(harness.retries.length, 2)
  }
})

t.test('bytes behind the first that differs are not compared', async t => {
  const content = `${OLD}${lines(2)}other${lines(8).slice(2 * LINE + 5)}others\n`
  const harness = await appendLines(content)
  harness.get.replyWithRangeOf(content)
  t.match(await harness.appending, { position: 4, length: 2 * LINE })
})

t.test('a range with more bytes than were asked for is no proof', async t => {
  // nginx 1.22, `gunzip on`: a range of gzip members comes decompressed, in chunks.
  const content = `${OLD}${NEW}other\n`
  const harness = await appendInDoubt()
  await refuse(harness, content.length)
  let isEnded = false
  const body = (async function* () {
    try {
      for (const text of ['not', ' new', ' but']) yield Buffer.from(text)
      t.fail('it has read all')
    } finally {
      isEnded = true
    }
  })()
  ;(await harness.client.next()).replyWithRangeOf(content, { body })
  await harness.fireNextTimer()
  t.ok(isEnded)
  t.match(harness.retries.at(-1)?.error, {
    code: 'OSS_ERR_NETWORK',
    message: /^the response to a range of 4 bytes has more: leave out .* that decompresses$/,
  })
  await refuse(harness, content.length)
  ;(await harness.client.next()).replyWithRangeOf(content)
  t.match(await harness.appending, { position, length: 4, attempts: 3, lostRaces: 0 })
})

t.test('in doubt, and the object cannot be read: a conflict with what is unresolved', async t => {
  const unresolved = { position, length: NEW.length }
  const isForbidden = await appendInDoubt()
  await refuse(isForbidden, 20)
  ;(await isForbidden.client.next()).fail(forbidden())
  const first = await rejectionOf(isForbidden.appending)
  t.ok(first instanceof OssConflictError)
  t.match(first, { seen: { position: 20 }, tail: tailOf(OLD), unresolved })

  const isMissing = await appendInDoubt()
  delete isMissing.client.read
  await refuse(isMissing, 20)
  const content = `${OLD}${'x'.repeat(16)}`
  ;(await isMissing.client.next()).reply(tailOf(content))
  t.match(await rejectionOf(isMissing.appending), { seen: tailOf(content), unresolved })
})

t.test('a stream that cannot read asks for the tail after each lost race', async t => {
  const content = `${OLD}other\n`
  const isMissing = await append()
  delete isMissing.client.read
  await refuse(isMissing, 7)
  ;(await isMissing.client.next()).reply(tailOf(content))
  const request = await isMissing.client.next()
  t.strictSame(request.asked, {
    ...{ kind: 'append', position: content.length, text: NEW },
    headers: {},
  })
  request.fail(networkError('ECONNRESET'))
  await isMissing.fireNextTimer()
  await refuse(isMissing, content.length + NEW.length)
  ;(await isMissing.client.next()).reply(tailOf(content + NEW))
  t.match(await isMissing.appending, { position: 10, reconciled: true, lostRaces: 1 })
})

t.test('where HEAD is forbidden an empty append asks for the tail, also later', async t => {
  const other = await appendInDoubt()
  await refuse(other, position + NEW.length)
  ;(await other.client.next()).fail(forbidden())
  ;(await other.client.next()).reply(tailOf(OLD + NEW))
  await other.appending
  const more = other.appender.append(recordOf('more\n'))
  await refuse(other, 20)
  ;(await other.client.next()).fail(forbidden())
  const probe = await other.client.next()
  t.match(probe.asked, { kind: 'append', position: 20, text: '' })
  const content = `${OLD}${NEW}${'x'.repeat(12)}`
  probe.reply(tailOf(content))
  const request = await other.client.next()
  t.strictSame(request.asked, { kind: 'append', position: 20, text: 'more\n', headers: {} })
  request.reply(tailOf(`${content}more\n`))
  t.match(await more, { position: 20, lostRaces: 1 })
})

t.test('a HEAD that succeeds again allows reads again', async t => {
  const harness = await appendInDoubt()
  await refuse(harness, position + NEW.length)
  ;(await harness.client.next()).fail(forbidden())
  ;(await harness.client.next()).reply(tailOf(OLD + NEW))
  await harness.appending
  const more = harness.appender.append(recordOf('more\n'))
  await harness.failNextAttempt(networkError('ECONNRESET'))
  const content = `${OLD}${NEW}more\nother\n`
  await refuse(harness, content.length)
  ;(await harness.client.next()).reply(tailOf(content))
  const get = await harness.client.next()
  t.strictSame(get.asked, { kind: 'get', start: 8, end: 13 })
  get.replyWithRangeOf(content)
  t.match(await more, { position: 8, length: 5, nextPosition: 19, reconciled: true })
})

t.test('where a layer below sends twice, bytes decide every refusal', async t => {
  const harness = await open()
  harness.client.sendsOnce = false
  const appending = harness.appender.append(recordOf(NEW))
  await refuse(harness, 20)
  const get = await harness.client.next()
  t.strictSame(get.asked, { kind: 'get', start: position, end: position + NEW.length })
  get.replyWithRangeOf(`${OLD}${NEW}${'x'.repeat(12)}`)
  t.match(await appending, { position, length: 4, attempts: 1, reconciled: true })
})

t.test('a sealed object: nothing is in doubt, so nothing is asked', async t => {
  const harness = await append()
  ;(await harness.client.next()).fail(sealed())
  const error = await rejectionOf(harness.appending)
  t.match(error, { code: 'AppendSealedObjectNotAllowed', attempts: 1 })
  t.equal(error.unresolved, undefined)
  t.equal(harness.client.requests.length, 1)
})

t.test('a sealed object settles what is in doubt, once and for all', async t => {
  const sealedTime = 'Wed, 18 Nov 2026 10:00:00 GMT'
  const absent = await appendInDoubt()
  ;(await absent.client.next()).fail(sealed())
  ;(await absent.client.next()).reply({ ...tailOf(OLD), sealedTime })
  const error = await rejectionOf(absent.appending)
  t.match(error, { code: 'AppendSealedObjectNotAllowed', tail: tailOf(OLD) })
  t.equal(error.unresolved, undefined, 'it never lands')

  const alone = await appendInDoubt()
  ;(await alone.client.next()).fail(sealed())
  ;(await alone.client.next()).reply({ ...tailOf(OLD + NEW), sealedTime })
  t.match(await alone.appending, { position, length: 4, reconciled: true })

  const content = `${OLD}${NEW}other\n`
  const behind = await appendInDoubt()
  ;(await behind.client.next()).fail(sealed())
  ;(await behind.client.next()).reply({ ...tailOf(content), sealedTime })
  ;(await behind.client.next()).replyWithRangeOf(content)
  t.match(await behind.appending, { position, length: 4, nextPosition: 14, reconciled: true })

  const withoutCrc = await appendInDoubt()
  ;(await withoutCrc.client.next()).fail(sealed())
  ;(await withoutCrc.client.next()).reply({ ...tailOf(content), crc64: undefined, sealedTime })
  ;(await withoutCrc.client.next()).fail(sealed())
  ;(await withoutCrc.client.next()).replyWithRangeOf(content)
  t.match(await withoutCrc.appending, { position, length: 4, nextPosition: 14 }, 'read')

  const others = await appendInDoubt()
  ;(await others.client.next()).fail(sealed())
  ;(await others.client.next()).reply({ ...tailOf(`${OLD}abc`), sealedTime })
  const shutOut = await rejectionOf(others.appending)
  t.match(shutOut, { code: 'AppendSealedObjectNotAllowed', tail: tailOf(`${OLD}abc`) })
  t.equal(shutOut.unresolved, undefined, 'it never lands')

  const hidden = await appendInDoubt()
  ;(await hidden.client.next()).fail(sealed())
  ;(await hidden.client.next()).fail(forbidden())
  ;(await hidden.client.next()).fail(sealed())
  t.match(await rejectionOf(hidden.appending), {
    code: 'AppendSealedObjectNotAllowed',
    unresolved: { position, length: NEW.length },
  })
})

t.test('without shared a sealed object is final at once, whatever is in doubt', async t => {
  const harness = await appendInDoubt({ shared: false })
  ;(await harness.client.next()).fail(sealed())
  t.match(await rejectionOf(harness.appending), {
    code: 'AppendSealedObjectNotAllowed',
    unresolved: { position, length: NEW.length },
  })
})

t.test('an object that is shorter, other or gone: what is in doubt is unresolved', async t => {
  const code = 'OSS_ERR_OBJECT_REPLACED'
  const unresolved = { position, length: NEW.length }
  const certain = await append()
  await refuse(certain, 2)
  const error = await rejectionOf(certain.appending)
  t.match(error, { code, tail: tailOf(OLD), attempts: 1 })
  t.equal(error.unresolved, undefined)

  const shorter = await appendInDoubt()
  await refuse(shorter, 2)
  t.match(await rejectionOf(shorter.appending), { code, unresolved })

  for (const gone of ['NoSuchKey', 'InvalidRange']) {
    const harness = await appendInDoubt()
    await refuse(harness, 20)
    ;(await harness.client.next()).fail(serviceError(gone, { status: 404 }))
    t.match(await rejectionOf(harness.appending), { code, unresolved })
  }

  const other = await appendInDoubt()
  delete other.client.read
  await refuse(other, undefined)
  ;(await other.client.next()).reply(tailOf('odd\n'))
  t.match(await rejectionOf(other.appending), { code, unresolved })
})

t.test('a lost race fills the object: the batch has no room, and is not in doubt', async t => {
  for (const [options, content] of [
    [{ maxObjectBytes: 12 }, OLD],
    [{ maxBytes: 12 }, OLD],
    [{ maxBytes: 12 }, ''],
  ] as const) {
    const harness = await open(options, content)
    const appending = harness.appender.append(recordOf(NEW))
    await refuse(harness, 9)
    const error = await rejectionOf(appending)
    t.match(error, { code: 'OSS_ERR_OBJECT_FULL', attempts: 1 })
    t.equal(error.unresolved, undefined)
  }
})

t.test('while an attempt is in doubt no limit is asked', async t => {
  const harness = await append({ maxBytes: 12 })
  await harness.failNextAttempt(networkError('ECONNRESET'))
  await harness.failNextAttempt(networkError('ECONNRESET'))
  await refuse(harness, 12)
  const content = `${OLD}${NEW}abcd`
  ;(await harness.client.next()).replyWithRangeOf(content)
  t.match(await harness.appending, { position, nextPosition: 12 })
})

t.test('an empty object that another writer creates first is as good', async t => {
  const harness = await open({}, '')
  const creating = harness.appender.create()
  await refuse(harness, 6)
  const request = await harness.client.next()
  t.match(request.asked, { kind: 'append', position: 6, text: '' })
  request.reply(tailOf('other\n'))
  t.match(await creating, { position: 6, length: 0, nextPosition: 6 })
})

t.test('a lost race is no retry, and does not lengthen the backoff', async t => {
  const harness = await append({ retry: { ...RETRY, maxRetries: 2 } })
  harness.clock.chance = 1
  for (let length = 10; length <= 100; length += 10) await refuse(harness, length)
  await harness.failNextAttempt(networkError('ECONNREFUSED'))
  for (let length = 110; length <= 200; length += 10) await refuse(harness, length)
  await harness.failNextAttempt(networkError('ECONNREFUSED'))
  t.match(
    harness.retries.map(({ delay, attempt }) => [delay, attempt]),
    [
      [200, 11],
      [400, 22],
    ],
  )
  ;(await harness.client.next()).fail(networkError('ECONNREFUSED'))
  t.match(await rejectionOf(harness.appending), {
    code: 'OSS_ERR_RETRIES_EXHAUSTED',
    attempts: 23,
  })
})

t.test('lost races alone end with maxElapsed', async t => {
  const harness = await append({ retry: { ...RETRY, maxElapsed: 1000 } })
  await refuse(harness, 10)
  for (const [time, length] of [
    [999, 20],
    [1, 30],
  ] as const) {
    const request = await harness.client.next()
    harness.clock.time += time
    request.fail(positionConflict(length))
  }
  const error = await rejectionOf(harness.appending)
  t.match(error, {
    code: 'OSS_ERR_RETRIES_EXHAUSTED',
    attempts: 3,
    cause: { name: 'OssConflictError', seen: { position: 30 } },
  })
  t.equal(error.unresolved, undefined)
})

/** A contended append that has succeeded, after a request of 4 s; chance is one half. */
async function win() {
  const harness = await append()
  await refuse(harness, 10)
  const request = await harness.client.next()
  harness.clock.time += 4000
  const content = `${OLD}other\n${NEW}`
  request.reply(tailOf(content))
  await harness.appending
  return { ...harness, content }
}

t.test('the winner of a race waits a random part of one round trip', async t => {
  const harness = await win()
  harness.clock.time += 10
  harness.appender.keepProcessAlive()
  const next = harness.appender.append(recordOf('more\n'))
  const timer = await harness.clock.nextTimer()
  t.strictSame([timer.delay, timer.hasRef], [1990, true])
  harness.appender.hurry()
  t.ok(harness.clock.timers.has(timer), 'the end of the stream does not shorten it')
  t.equal(harness.client.requests.length, 2)
  timer.fire()
  ;(await harness.client.next()).reply(tailOf(`${harness.content}more\n`))
  t.match(await next, { attempts: 1, lostRaces: 0 })

  // A success without a race is followed by no wait.
  for (const content of ['more\nmore\n', 'more\nmore\nmore\n']) {
    const uncontended = harness.appender.append(recordOf('more\n'))
    const request = await Promise.race([harness.client.next(), harness.clock.nextTimer()])
    t.match(request, { kind: 'append' })
    harness.clock.time += 4000
    ;(request as FakeRequest).reply(tailOf(harness.content + content))
    await uncontended
  }
})

t.test('the winner does not wait if that time has passed anyway', async t => {
  const harness = await win()
  harness.clock.time += 2000
  void harness.appender.append(recordOf('more\n'))
  t.match((await harness.client.next()).asked, { kind: 'append' })
  t.equal(harness.clock.started, 0)
})

t.test('an abort ends the wait of a winner', async t => {
  const harness = await win()
  const next = harness.appender.append(recordOf('more\n'))
  await harness.clock.nextTimer()
  const reason = new Error('enough')
  harness.appender.abort(reason)
  t.equal(await rejectionOf(next), reason)
  t.strictSame([harness.clock.timers.size, harness.client.requests.length], [0, 2])
})

t.test('an aborted read ends, and leaves its attempt in doubt', async t => {
  const harness = await appendInDoubt()
  await refuse(harness, 20)
  const get = await harness.client.next()
  const reason = new (class extends Error {})('enough')
  harness.appender.abort(reason)
  t.ok(get.signal.aborted)
  t.equal(await rejectionOf(harness.appending), reason)
})
