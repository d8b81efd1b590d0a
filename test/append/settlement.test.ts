/**
 * Attempts of differing length for one position, as a dialogue. The batch is 8 lines of 32 KiB; a full attempt
 * has 8 lines, the next 4, and at the floor of 64 KiB 2.
 */

import { createHash } from 'node:crypto'
import t from 'tap'
import { Appender, type AppenderOptions } from '../../lib/append/appender.ts'
import { StreamContext } from '../../lib/append/stream-context.ts'
import { Batch } from '../../lib/append/tail.ts'
import type { OssError } from '../../lib/errors.ts'
import { createRecordEnds } from '../../lib/stream/align.ts'
import {
  type AppenderHarness,
  linesOf,
  openAppenderHarness,
  RETRY,
  rejectionOf,
  TARGET,
  tailOf,
} from '../helpers/appender-harness.ts'
import { networkError, positionConflict, serviceError, timeoutError } from '../helpers/errors.ts'
import type { FakeRequest } from '../helpers/fake-client.ts'

const LINE = 32_768
const OLD = 'old\n'
const LINES = Array.from('abcdefgh', letter => `${letter.repeat(LINE - 1)}\n`)
/** The first lines of the batch. */
const lines = (count: number): string => LINES.slice(0, count).join('')
const position = OLD.length
const options: Partial<AppenderOptions> = { highWaterMark: 8 * LINE }

/** An append of 8 lines behind `OLD`. */
async function append(more: Partial<AppenderOptions> = {}) {
  const harness = await openAppenderHarness(OLD, { ...options, ...more })
  return { ...harness, appending: harness.appender.append(linesOf(lines(8))) }
}

/** How many lines an attempt at `position` has; NaN if it is not a prefix of them. */
function countLines(request: FakeRequest): number {
  const text = Buffer.from(request.body ?? []).toString('latin1')
  const isPrefix = request.position === position && lines(8).startsWith(text)
  return isPrefix ? text.length / LINE : Number.NaN
}

/** Attempts of 8 and 4 lines time out. */
async function timeOutTwice({ failNextAttempt }: AppenderHarness): Promise<void> {
  for (const count of [8, 4]) t.equal(countLines(await failNextAttempt(timeoutError())), count)
}

/** The attempt of 2 lines that follows meets an object of this content. */
async function refuseThird({ client }: AppenderHarness, content: string): Promise<void> {
  const third = await client.next()
  t.equal(countLines(third), 2)
  third.fail(positionConflict(content.length))
  const head = await client.next()
  t.equal(head.kind, 'head')
  head.reply(tailOf(content))
}

t.test('a timeout, or a connection that breaks in the body, halves the next attempt', async t => {
  const errors = [timeoutError(), networkError('ECONNRESET', { isBodyCut: true })]
  for (const error of errors) {
    const { client, failNextAttempt, appending } = await append()
    for (const count of [8, 4, 2, 2]) t.equal(countLines(await failNextAttempt(error)), count)
    const last = await client.next()
    t.equal(countLines(last), 2)
    const content = OLD + lines(2)
    last.reply(tailOf(content))
    t.match(await appending, {
      position,
      nextPosition: content.length,
      length: 2 * LINE,
      crc64: tailOf(content).crc64,
      attempts: 5,
      reconciled: false,
    })
  }
})

t.test('other failures leave the attempt as long as it is', async t => {
  const errors: OssError[] = [
    networkError('ECONNREFUSED'),
    networkError('ECONNRESET'),
    serviceError('InternalError', { status: 500 }),
    serviceError('SlowDown', { status: 503 }),
    serviceError('InvalidDigest'),
  ]
  for (const error of errors) {
    const { failNextAttempt } = await append()
    for (let attempt = 0; attempt < 3; attempt++) {
      t.equal(countLines(await failNextAttempt(error)), 8, error.message)
    }
  }
})

t.test('a HEAD that times out says nothing about the size of appends', async t => {
  const { client, fireNextTimer, appending } = await append()
  const first = await client.next()
  first.fail(positionConflict(position))
  const head = await client.next()
  head.fail(timeoutError())
  await fireNextTimer()
  const second = await client.next()
  t.equal(countLines(second), 8)
  second.reply(tailOf(OLD + lines(8)))
  t.match(await appending, { attempts: 2, length: 8 * LINE })
})

t.test('an attempt that cannot be shorter has twice the deadline after each timeout', async t => {
  const { failNextAttempt } = await append()
  const attempts = []
  for (let attempt = 1; attempt <= 6; attempt++) {
    const request = await failNextAttempt(timeoutError())
    attempts.push([countLines(request), request.deadlineFactor])
  }
  t.strictSame(attempts, [
    [8, 1],
    [4, 1],
    [2, 1],
    [2, 2],
    [2, 4],
    [2, 8],
  ])
})

t.test('a short attempt has the usual deadline, however often it times out', async t => {
  const harness = await openAppenderHarness(OLD, options)
  void harness.appender.append(linesOf('one line\n'))
  for (let attempt = 1; attempt <= 10; attempt++) {
    t.equal((await harness.failNextAttempt(timeoutError())).deadlineFactor, 1)
  }
})

t.test(
  'the size is that of the stream: the next append, and the next object, begin with it',
  async t => {
    const harness = await append()
    await timeOutTwice(harness)
    const third = await harness.client.next()
    const content = OLD + lines(2)
    third.reply(tailOf(content))
    await harness.appending
    const rest = harness.appender.append(linesOf(lines(8)).rest(2 * LINE))
    const request = await harness.client.next()
    t.strictSame([request.position, request.body?.length], [content.length, 2 * LINE])
    request.reply(tailOf(OLD + lines(4)))
    t.match(await rest, { position: content.length, length: 2 * LINE, attempts: 1 })

    const { client, clock } = harness
    const all: AppenderOptions = {
      ...{ target: TARGET, client, clock, position: 0, maxObjectBytes: 1e9, headers: {} },
      ...{ creationHeaders: {}, seal: false, highWaterMark: 8 * LINE, retry: RETRY },
      onRetry: () => {},
    }
    const context = new StreamContext(all)
    const first = new Appender(all, context)
    await first.open()
    void first.append(linesOf(lines(8))).catch(() => {})
    ;(await client.next()).fail(timeoutError())
    await harness.fireNextTimer()
    const second = await client.next()
    second.reply(tailOf(lines(4)))
    await new Promise(setImmediate)
    const next = new Appender({ ...all, target: { ...TARGET, key: 'next' } }, context)
    await next.open()
    void next.append(linesOf(lines(8)))
    t.equal((await client.next()).body?.length, 4 * LINE)
  },
)

t.test('a shorter attempt carries the MD5 of its own bytes', async t => {
  const harness = await openAppenderHarness(OLD, options)
  const bytes = Buffer.from(lines(8), 'latin1')
  void harness.appender.append(new Batch(bytes, { ends: createRecordEnds('\n', []), hasMd5: true }))
  for (const count of [8, 4, 2]) {
    const request = await harness.failNextAttempt(timeoutError())
    const md5 = createHash('md5').update(lines(count)).digest('base64')
    t.strictSame(request.asked.headers, { 'content-md5': md5 })
  }
})

t.test('one record that is longer than the size is sent whole', async t => {
  const harness = await openAppenderHarness(OLD, options)
  const long = `${'x'.repeat(4 * LINE)}\n`
  const appending = harness.appender.append(linesOf(long + lines(3)))
  const lengths = []
  for (let attempt = 1; attempt <= 4; attempt++) {
    lengths.push((await harness.failNextAttempt(timeoutError())).body?.length)
  }
  t.strictSame(lengths, [long.length + 3 * LINE, long.length, long.length, long.length])
  const request = await harness.client.next()
  t.equal(request.deadlineFactor, 8)
  request.reply(tailOf(OLD + long))
  t.match(await appending, { length: long.length })
})

t.test(
  'half lands and its response is lost: the tail proves it, and the rest goes on there',
  async t => {
    const harness = await append()
    await timeOutTwice(harness)
    const content = OLD + lines(4)
    await refuseThird(harness, content)
    t.match(await harness.appending, {
      position,
      nextPosition: content.length,
      length: 4 * LINE,
      crc64: tailOf(content).crc64,
      attempts: 3,
      reconciled: true,
    })
    t.strictSame(harness.appender.tail, tailOf(content))

    const rest = harness.appender.append(linesOf(lines(8)).rest(4 * LINE))
    const request = await harness.client.next()
    t.equal(request.position, content.length)
    t.equal(Buffer.from(request.body!).toString('latin1'), lines(6).slice(4 * LINE))
    request.reply(tailOf(OLD + lines(6)))
    t.match(await rest, { length: 2 * LINE, attempts: 1, reconciled: false })
  },
)

t.test('a request of any length that comes late is found by the tail', async t => {
  for (const count of [8, 4, 2]) {
    const harness = await append()
    await timeOutTwice(harness)
    await refuseThird(harness, OLD + lines(count))
    const expected = { length: count * LINE, attempts: 3, reconciled: true }
    t.match(await harness.appending, expected, `${count} lines`)
    t.strictSame(harness.appender.tail, tailOf(OLD + lines(count)))
  }
})

t.test('a late request that lands after the tail was absent is found at the next 409', async t => {
  for (const count of [8, 4]) {
    const harness = await append()
    await timeOutTwice(harness)
    await refuseThird(harness, OLD)
    await harness.fireNextTimer()
    await refuseThird(harness, OLD + lines(count))
    t.match(await harness.appending, { length: count * LINE, attempts: 4, reconciled: true })
  }
})

t.test('a landed prefix is progress: retries are counted afresh', async t => {
  const harness = await append({ retry: { ...RETRY, maxRetries: 2 } })
  await timeOutTwice(harness)
  await refuseThird(harness, OLD + lines(4))
  await harness.appending
  const rest = harness.appender.append(linesOf(lines(8)).rest(4 * LINE))
  await harness.failNextAttempt(timeoutError())
  await harness.failNextAttempt(timeoutError())
  const request = await harness.client.next()
  request.reply(tailOf(OLD + lines(6)))
  t.match(await rest, { attempts: 3 })
})

t.test('a landed prefix ends the doubt about longer attempts at its position', async t => {
  const rows: [what: string, land: (harness: AppenderHarness) => Promise<void>][] = [
    ['proven by the tail', harness => refuseThird(harness, OLD + lines(2))],
    ['acknowledged', async ({ client }) => (await client.next()).reply(tailOf(OLD + lines(2)))],
  ]
  for (const [what, land] of rows) {
    const harness = await append()
    await timeOutTwice(harness)
    await land(harness)
    await harness.appending
    const rest = harness.appender.append(linesOf(lines(8)).rest(2 * LINE))
    const request = await harness.client.next()
    request.fail(serviceError('AccessDenied', { status: 403 }))
    t.equal((await rejectionOf(rest)).unresolved, undefined, what)
  }
})

t.test(
  'a rival appends: unresolved reaches to the longest attempt, unless all are shut out',
  async t => {
    const all = { position, length: 8 * LINE }
    const rows: [what: string, content: string, unresolved: object | undefined][] = [
      ['behind the half that landed', `${OLD + lines(4)}~`, all],
      ['behind all that landed', `${OLD + lines(8)}~`, all],
      ['behind the two lines that landed', `${OLD + lines(2)}~`, all],
      ['in place of ours, shorter than each attempt', `${OLD}~`, undefined],
      [
        'in place of ours, one byte short of the shortest',
        OLD + '~'.repeat(2 * LINE - 1),
        undefined,
      ],
      ['in place of ours, as long as the shortest', OLD + '~'.repeat(2 * LINE), all],
      ['in place of ours, between two lengths', OLD + '~'.repeat(3 * LINE), all],
      ['in place of ours, as long as all', OLD + '~'.repeat(8 * LINE), all],
      ['with our own first bytes, inside a line', OLD + lines(1).slice(0, 100), undefined],
      ['with our own first bytes, inside a later line', OLD + lines(3).slice(0, -1), all],
    ]
    for (const [what, content, unresolved] of rows) {
      const harness = await append()
      await timeOutTwice(harness)
      // The third attempt is lost too.
      t.equal(countLines(await harness.failNextAttempt(networkError('ECONNRESET'))), 2)
      await refuseThird(harness, content)
      const error = await rejectionOf(harness.appending)
      t.match(error, { code: 'PositionNotEqualToLength', attempts: 4, tail: tailOf(OLD) }, what)
      t.strictSame(error.seen, tailOf(content), what)
      t.strictSame(error.unresolved, unresolved, what)
    }
  },
)

t.test('413: the next attempt is shorter, and made at once', async t => {
  const refusals = [
    serviceError('BadErrorResponse', { status: 413 }),
    networkError(undefined, { status: 413 }),
  ]
  for (const error of refusals) {
    const { client, failNextAttempt, retries, appending } = await append()
    for (const count of [8, 4]) t.equal(countLines(await failNextAttempt(error)), count)
    t.match(retries, [
      { attempt: 1, delay: 0, error },
      { attempt: 2, delay: 0, error },
    ])
    const request = await client.next()
    t.equal(countLines(request), 2)
    request.reply(tailOf(OLD + lines(2)))
    t.match(await appending, { length: 2 * LINE, attempts: 3, reconciled: false })
  }
})

t.test('413 at the floor is final, and says what to do', async t => {
  const rows: [error: OssError, unresolved: object | undefined][] = [
    [serviceError('BadErrorResponse', { status: 413 }), undefined],
    // Another server answered: it may have passed the body on.
    [networkError(undefined, { status: 413 }), { position, length: 8 * LINE }],
  ]
  for (const [refusal, unresolved] of rows) {
    const { client, clock, failNextAttempt, retries, appending } = await append()
    for (const count of [8, 4]) t.equal(countLines(await failNextAttempt(refusal)), count)
    const request = await client.next()
    t.equal(countLines(request), 2)
    request.fail(refusal)
    const error = await rejectionOf(appending)
    t.match(error, { code: 'OSS_ERR_BODY_REFUSED', status: 413, attempts: 3, ...TARGET })
    t.match(error.message, /refuses a body of 65536 bytes \(HTTP 413\).*raise the limit/)
    t.equal(error.cause, refusal)
    t.strictSame(error.tail, tailOf(OLD))
    t.strictSame(error.unresolved, unresolved)
    t.equal(retries.length, 2)
    t.equal(clock.timers.size, 0)
  }
})

t.test('413 of one record is final after one attempt more at most', async t => {
  const harness = await openAppenderHarness(OLD, options)
  const appending = harness.appender.append(linesOf(`${'x'.repeat(3 * LINE)}\n`))
  const refusal = serviceError('BadErrorResponse', { status: 413 })
  await harness.failNextAttempt(refusal)
  const request = await harness.client.next()
  request.fail(refusal)
  t.match(await rejectionOf(appending), { code: 'OSS_ERR_BODY_REFUSED', attempts: 2 })
})

t.test('a shorter attempt after a 413 is not counted in maxRetries', async t => {
  const { client, clock, appending } = await append({ retry: { ...RETRY, maxRetries: 0 } })
  const request = await client.next()
  t.equal(countLines(request), 8)
  request.fail(serviceError('BadErrorResponse', { status: 413 }))
  ;(await clock.nextTimer()).fire()
  const shorter = await client.next()
  t.equal(countLines(shorter), 4)
  shorter.fail(timeoutError())
  t.match(await rejectionOf(appending), { code: 'OSS_ERR_RETRIES_EXHAUSTED', attempts: 2 })
})
