/** The Roller in dialogues with a fake client: which requests it sends, in which order, and its events. */

import t from 'tap'
import { OssError } from '../../lib/errors.ts'
import { recordOf, rejectionOf, tailOf } from '../helpers/appender-harness.ts'
import { networkError, positionConflict, serviceError } from '../helpers/errors.ts'
import { createRollerHarness, NOON, openRollerHarness } from '../helpers/roller-harness.ts'

const HOURLY = 'a/{HH}-{index}'
const later = (milliseconds: number) => new Date(NOON.getTime() + milliseconds)
const HOUR = 3_600_000

t.test('open() finds the object of the present time, and sends no request beyond that', async t => {
  const { roller, expectRequest, client } = createRollerHarness(HOURLY)
  t.strictSame([roller.key, roller.tail, roller.exists], [undefined, undefined, false])
  const opening = roller.open()
  ;(await expectRequest('HEAD a/12-0')).reply(tailOf('one'))
  ;(await expectRequest('HEAD a/12-1')).reply(null)
  t.strictSame(await opening, tailOf('one'))
  t.strictSame([roller.key, roller.tail, roller.exists], ['a/12-0', tailOf('one'), true])
  t.equal(client.requests.length, 2)
})

t.test('a batch that fills the object exactly goes into it; the next one rolls', async t => {
  const { roller, expectRequest, rolls, client } = await openRollerHarness('a-{index}', '123456')
  const first = roller.append(recordOf('7890'))
  ;(await expectRequest('append a-0 6 7890')).reply(tailOf('1234567890'))
  t.match(await first, { key: 'a-0', position: 6, nextPosition: 10 })
  t.strictSame(rolls, [], 'a full object is left only when another batch comes')

  const second = roller.append(recordOf('x'))
  ;(await expectRequest('HEAD a-1')).reply(null)
  ;(await expectRequest('append a-1 0 x')).reply(tailOf('x'))
  t.match(await second, { key: 'a-1', position: 0, nextPosition: 1 })
  const { crc64 } = tailOf('1234567890')
  const times = { startedAt: NOON, endedAt: NOON }
  t.strictSame(rolls, [{ key: 'a-0', bytes: 10, crc64, ...times }])
  t.strictSame([roller.key, roller.tail], ['a-1', tailOf('x')])
  t.equal(client.requests.length, 5)
})

t.test('a batch that does not fit into the object goes whole into the next one', async t => {
  const { roller, expectRequest, rolls } = await openRollerHarness('a-{index}', '1234567')
  const appending = roller.append(recordOf('8901'))
  ;(await expectRequest('HEAD a-1')).reply(null)
  ;(await expectRequest('append a-1 0 8901')).reply(tailOf('8901'))
  t.match(await appending, { key: 'a-1', position: 0, length: 4 })
  t.match(rolls, [{ key: 'a-0', bytes: 7 }])
})

t.test('a batch longer than maxBytes has an object of its own', async t => {
  const { roller, expectRequest, rolls } = await openRollerHarness('a-{index}', '')
  const long = 'x'.repeat(25)
  const first = roller.append(recordOf(long))
  ;(await expectRequest(`append a-0 0 ${long}`)).reply(tailOf(long))
  await first
  const second = roller.append(recordOf(long))
  ;(await expectRequest('HEAD a-1')).reply(null)
  ;(await expectRequest(`append a-1 0 ${long}`)).reply(tailOf(long))
  await second
  const third = roller.append(recordOf('short'))
  ;(await expectRequest('HEAD a-2')).reply(null)
  ;(await expectRequest('append a-2 0 short')).reply(tailOf('short'))
  await third
  t.match(rolls, [
    { key: 'a-0', bytes: 25 },
    { key: 'a-1', bytes: 25 },
  ])
})

t.test('a batch longer than maxObjectBytes fails, and nothing is sent', async t => {
  const { roller, client } = await openRollerHarness('a-{index}', '', { maxObjectBytes: 12 })
  const error = await rejectionOf(roller.append(recordOf('x'.repeat(13))))
  t.match(error, { code: 'OSS_ERR_OBJECT_FULL', key: 'a-0', tail: { position: 0 } })
  t.strictSame(
    client.requests.filter(({ kind }) => kind === 'append'),
    [],
    'nothing was sent',
  )
})

t.test('another hour begins another object, with index 0', async t => {
  const harness = await openRollerHarness(HOURLY, '12')
  const { roller, expectRequest, rolls } = harness
  const first = roller.append(recordOf('3'))
  ;(await expectRequest('append a/12-0 2 3')).reply(tailOf('123'))
  harness.date = later(HOUR / 2)
  await first

  harness.date = later(HOUR)
  const second = roller.append(recordOf('4'))
  ;(await expectRequest('HEAD a/13-0')).reply(null)
  ;(await expectRequest('append a/13-0 0 4')).reply(tailOf('4'))
  await second
  t.strictSame(rolls, [
    {
      key: 'a/12-0',
      bytes: 3,
      crc64: tailOf('123').crc64,
      startedAt: NOON,
      endedAt: later(HOUR / 2),
    },
  ])
})

t.test('a clock that steps back changes no key until it has caught up', async t => {
  const dates: Date[] = []
  const harness = await openRollerHarness('', '', {
    sealOnRoll: true,
    nameKey: ({ date }) => {
      dates.push(date)
      return `a/${date.getUTCHours()}`
    },
  })
  const { roller, expectRequest, rolls } = harness
  const appends = async (time: number, request: string, content: string) => {
    harness.date = later(time)
    const appending = roller.append(recordOf(request.slice(-1)))
    ;(await expectRequest(request)).reply(tailOf(content))
    await appending
  }
  await appends(0, 'append a/12 0 1', '1')
  harness.date = later(HOUR)
  const rolling = roller.append(recordOf('2'))
  ;(await expectRequest('HEAD a/13')).reply(null)
  ;(await expectRequest('seal a/12 1')).reply()
  ;(await expectRequest('append a/13 0 2')).reply(tailOf('2'))
  await rolling
  await appends(HOUR - 1, 'append a/13 1 3', '23')
  await appends(-HOUR, 'append a/13 2 4', '234')
  await appends(HOUR + 1, 'append a/13 3 5', '2345')
  t.match(rolls, [{ key: 'a/12', bytes: 1 }])
  t.strictSame(
    dates.map(Number),
    dates.map(Number).sort((a, b) => a - b),
  )
})

t.test('an object found with too little room for the batch is left at once', async t => {
  const { roller, expectRequest, rolls } = await openRollerHarness('a-{index}', '123456789')
  const appending = roller.append(recordOf('ab'))
  ;(await expectRequest('HEAD a-1')).reply(tailOf('12345678'))
  ;(await expectRequest('HEAD a-2')).reply(tailOf('123456789'))
  ;(await expectRequest('HEAD a-3')).reply(null)
  // a-2 has room, but not enough for two bytes.
  ;(await expectRequest('HEAD a-3')).reply(null)
  ;(await expectRequest('append a-3 0 ab')).reply(tailOf('ab'))
  t.match(await appending, { key: 'a-3', position: 0 })
  t.match(rolls, [
    { key: 'a-0', bytes: 9 },
    { key: 'a-2', bytes: 9 },
  ])
})

t.test("an object that was never created is left without a 'roll' event", async t => {
  const harness = await openRollerHarness(HOURLY, '', { sealOnRoll: true })
  harness.date = later(HOUR)
  const appending = harness.roller.append(recordOf('x'))
  ;(await harness.expectRequest('HEAD a/13-0')).reply(null)
  ;(await harness.expectRequest('append a/13-0 0 x')).reply(tailOf('x'))
  await appending
  t.strictSame(harness.rolls, [])
})

t.test('creation headers go with the first append to each object, and with no other', async t => {
  const creationHeaders = { 'content-type': 'text/plain' }
  const headers = { 'x-oss-request-payer': 'requester' }
  const { roller, expectRequest } = await openRollerHarness('a-{index}', '', {
    creationHeaders,
    headers,
  })
  const rows = [
    ['append a-0 0 12345', '12345', { ...headers, ...creationHeaders }],
    ['append a-0 5 6', '123456', headers],
    ['append a-1 0 abcdef', 'abcdef', { ...headers, ...creationHeaders }],
    ['append a-1 6 g', 'abcdefg', headers],
  ] as const
  for (const [request, content, expected] of rows) {
    const text = request.split(' ')[3] ?? ''
    const appending = roller.append(recordOf(text))
    if (text === 'abcdef') (await expectRequest('HEAD a-1')).reply(null)
    const append = await expectRequest(request)
    t.strictSame(append.asked.headers, expected, request)
    append.reply(tailOf(content))
    await appending
  }
})

t.test(
  'an append at position 0 carries the creation headers, even if an empty object exists',
  async t => {
    const creationHeaders = { 'content-type': 'text/plain' }
    const harness = createRollerHarness('a', { creationHeaders })
    const opening = harness.roller.open()
    ;(await harness.expectRequest('HEAD a')).reply(tailOf(''))
    await opening
    t.equal(harness.roller.exists, true)
    const appending = harness.roller.append(recordOf('x'))
    const append = await harness.expectRequest('append a 0 x')
    t.strictSame(append.asked.headers, creationHeaders)
    append.reply(tailOf('x'))
    await appending
  },
)

t.test(
  'sealOnRoll seals the object that is left, before the first append to the next one',
  async t => {
    const { roller, expectRequest, rolls } = await openRollerHarness('a-{index}', '12345678', {
      sealOnRoll: true,
    })
    const appending = roller.append(recordOf('xyz'))
    ;(await expectRequest('HEAD a-1')).reply(null)
    const seal = await expectRequest('seal a-0 8')
    t.strictSame(rolls, [])
    seal.reply()
    const append = await expectRequest('append a-1 0 xyz')
    t.match(rolls, [{ key: 'a-0', bytes: 8 }])
    append.reply(tailOf('xyz'))
    await appending
    t.equal(await roller.create(), undefined)
    await roller.complete()
  },
)

t.test(
  'a seal that fails is reported with the key and tail of its object, with nothing unresolved',
  async t => {
    const { roller, expectRequest, rolls } = await openRollerHarness('a-{index}', '12345678', {
      sealOnRoll: true,
    })
    const appending = roller.append(recordOf('xyz'))
    ;(await expectRequest('HEAD a-1')).reply(null)
    ;(await expectRequest('seal a-0 8')).fail(serviceError('OperationNotSupported'))
    const error = await rejectionOf(appending)
    t.match(error, { code: 'OperationNotSupported', key: 'a-0', tail: tailOf('12345678') })
    t.equal(error.unresolved, undefined)
    t.strictSame(rolls, [])
  },
)

t.test('seal: true seals the last object', async () => {
  const { roller, expectRequest } = await openRollerHarness('a-{index}', '123', { seal: true })
  const completing = roller.complete()
  ;(await expectRequest('seal a-0 3')).reply()
  await completing
})

t.test('without an append there is no object to create or seal', async t => {
  const { roller, client } = await openRollerHarness('a-{index}', '', { seal: true })
  const { length } = client.requests
  t.equal(await roller.create(), undefined)
  await roller.complete()
  t.equal(client.requests.length, length)
})

t.test(
  'without {index} in the key a full object fails the stream, and the message says so',
  async t => {
    for (const pattern of ['a', 'a/{HH}']) {
      const { roller, client } = await openRollerHarness(pattern, '12345678')
      const requests = client.requests.length
      const error = await rejectionOf(roller.append(recordOf('xyz')))
      t.match(error, {
        code: 'OSS_ERR_OBJECT_FULL',
        message: /would end at byte 11.* takes 10 bytes: put \{index\} into the key/,
        key: roller.key,
        tail: tailOf('12345678'),
      })
      t.equal(client.requests.length, requests, 'no request is sent')
    }
  },
)

t.test('without {index} an object that is full when it is found fails the first batch', async t => {
  const { roller, client } = await openRollerHarness('a', '1234567890')
  const error = await rejectionOf(roller.append(recordOf('x')))
  t.match(error, { code: 'OSS_ERR_OBJECT_FULL', key: 'a', tail: tailOf('1234567890') })
  t.equal(client.requests.length, 1, 'no append is sent')
})

t.test('a search for the next object that fails is retried as the stream says', async t => {
  const harness = await openRollerHarness('a-{index}', '12345678')
  const { roller, expectRequest, clock, retries } = harness
  const rolling = roller.append(recordOf('xyz'))
  ;(await expectRequest('HEAD a-1')).fail(networkError('ECONNRESET'))
  ;(await clock.nextTimer()).fire()
  t.match(retries, [{ attempt: 1, position: undefined }])
  ;(await expectRequest('HEAD a-1')).fail(serviceError('NoSuchBucket', { status: 404 }))
  const error = await rejectionOf(rolling)
  t.match(error, { code: 'NoSuchBucket', bucket: 'examplebucket', key: 'a-1', attempts: 2 })
  t.equal(error.tail, undefined)
})

t.test('an object that takes no appends is passed over for the one after it', async t => {
  const { roller, expectRequest } = await openRollerHarness('a-{index}', '12345678')
  const rolling = roller.append(recordOf('xyz'))
  ;(await expectRequest('HEAD a-1')).reply({ type: 'Normal', length: 3 })
  ;(await expectRequest('HEAD a-2')).reply(null)
  ;(await expectRequest('append a-2 0 xyz')).reply(tailOf('xyz'))
  t.match(await rolling, { key: 'a-2' })
})

t.test('a rival that appends between search and append is a conflict, with the key', async t => {
  const { roller, expectRequest } = await openRollerHarness('a-{index}', '12345678')
  const rolling = roller.append(recordOf('xyz'))
  ;(await expectRequest('HEAD a-1')).reply(null)
  ;(await expectRequest('append a-1 0 xyz')).fail(positionConflict(5))
  ;(await expectRequest('HEAD a-1')).reply(tailOf('other'))
  const error = await rejectionOf(rolling)
  t.match(error, { code: 'PositionNotEqualToLength', key: 'a-1', seen: { position: 5 } })
})

t.test('the next object is searched for when it is needed, and not before', async t => {
  // What a search found an hour before it is needed may be deleted, or belong to another writer, by then.
  for (const [pattern, key, next] of [
    [HOURLY, 'a/12-0', 'a/13-0'],
    ['a/{HH}', 'a/12', 'a/13'],
  ] as const) {
    const harness = await openRollerHarness(pattern, '123456789')
    const { roller, expectRequest, client } = harness
    harness.date = later(HOUR - 1)
    const first = roller.append(recordOf('0'))
    ;(await expectRequest(`append ${key} 9 0`)).reply(tailOf('1234567890'))
    await first
    const { length } = client.requests
    await new Promise(setImmediate)
    t.equal(client.requests.length, length, 'the object is full, and its hour ends in 1 ms')
    harness.date = later(HOUR)
    const second = roller.append(recordOf('x'))
    ;(await expectRequest(`HEAD ${next}`)).reply(null)
    ;(await expectRequest(`append ${next} 0 x`)).reply(tailOf('x'))
    t.match(await second, { key: next })
  }
})

t.test('a key function', async t => {
  t.test('a key function is called before each batch, with a Date of its own', async t => {
    const asked: number[] = []
    const harness = createRollerHarness('', {
      nameKey: ({ date, index }) => {
        asked.push(date.getTime())
        date.setFullYear(1999)
        return `a-${index}`
      },
    })
    const opening = harness.roller.open()
    ;(await harness.expectRequest('HEAD a-0')).reply(null)
    await opening
    asked.length = 0
    const appending = harness.roller.append(recordOf('x'))
    ;(await harness.expectRequest('append a-0 0 x')).reply(tailOf('x'))
    await appending
    t.equal(asked[0], NOON.getTime())
    t.ok(asked.every(time => time === NOON.getTime()))
  })

  t.test(
    'a key function that throws or returns no key fails the stream, and the error names the option',
    async t => {
      const rows: [string, () => unknown, RegExp][] = [
        [
          'throws',
          () => {
            throw new Error('secret inside')
          },
          /^option key: the function threw$/,
        ],
        ['undefined', () => undefined, /^option key: is missing/],
        ['a promise', async () => 'a', /^option key: must be a string/],
        [
          'a promise that rejects',
          () => Promise.reject(new Error('secret inside')),
          /^option key: must be a string/,
        ],
        ['nothing', () => '', /^option key: is missing/],
        ['a leading slash', () => '/a', /^option key: must not begin with \//],
        ['too long', () => 'x'.repeat(1024), /^option key: .*1023/],
      ]
      for (const [what, answer, message] of rows) {
        let isBad = true
        const nameKey = () => (isBad ? (answer() as string) : 'a')
        const unopened = createRollerHarness('', { nameKey })
        const expected = { code: 'OSS_ERR_INVALID_OPTION', message, bucket: 'examplebucket' }
        const first = await rejectionOf(unopened.roller.open())
        t.match(first, expected, `${what}, at the beginning`)
        t.equal(unopened.client.requests.length, 0)

        isBad = false
        const harness = createRollerHarness('', { nameKey })
        const opening = harness.roller.open()
        ;(await harness.expectRequest('HEAD a')).reply(tailOf('12'))
        await opening
        isBad = true
        const error = await rejectionOf(harness.roller.append(recordOf('x')))
        t.match(error, { ...expected, key: 'a', tail: tailOf('12') }, `${what}, later`)
        t.equal(harness.client.requests.length, 1, 'nothing was sent')
      }
    },
  )

  t.test(
    'a key function that returns another key with every call still makes progress',
    async t => {
      let count = 0
      const harness = createRollerHarness('', { nameKey: () => `a-${++count}` })
      const opening = harness.roller.open()
      ;(await harness.client.next()).reply(null)
      await opening
      const appending = harness.roller.append(recordOf('x'))
      ;(await harness.client.next()).reply(null)
      const append = await harness.client.next()
      t.equal(append.kind, 'append')
      append.reply(tailOf('x'))
      await appending
    },
  )
})

t.test('abort() ends the request in flight', async t => {
  const reason = () => new OssError('OSS_ERR_ABORTED', 'enough')

  t.test('abort() ends the opening', async t => {
    const { roller, expectRequest } = createRollerHarness('a-{index}')
    const opening = roller.open()
    const head = await expectRequest('HEAD a-0')
    roller.abort(reason())
    t.match(await rejectionOf(opening), { code: 'OSS_ERR_ABORTED', key: 'a-0' })
    t.equal(head.signal.aborted, true)
  })

  t.test('abort() ends an append, whose bytes are unresolved', async t => {
    const { roller, expectRequest } = await openRollerHarness('a-{index}', '1234567')
    const appending = roller.append(recordOf('8'))
    await expectRequest('append a-0 7 8')
    roller.abort(reason())
    const error = await rejectionOf(appending)
    t.match(error, { key: 'a-0', tail: tailOf('1234567'), unresolved: { position: 7, length: 1 } })
    t.throws(() => roller.throwIfAborted(), { code: 'OSS_ERR_ABORTED' })
  })

  t.test('abort() ends a search or a seal, with nothing unresolved', async t => {
    const searching = await openRollerHarness('a-{index}', '12345678', { sealOnRoll: true })
    const first = searching.roller.append(recordOf('xyz'))
    await searching.expectRequest('HEAD a-1')
    searching.roller.abort(reason())
    const error = await rejectionOf(first)
    t.match(error, { code: 'OSS_ERR_ABORTED', key: 'a-1' })
    t.equal(error.unresolved, undefined)

    const sealing = await openRollerHarness('a-{index}', '12345678', { sealOnRoll: true })
    const second = sealing.roller.append(recordOf('xyz'))
    ;(await sealing.expectRequest('HEAD a-1')).reply(null)
    await sealing.expectRequest('seal a-0 8')
    sealing.roller.abort(reason())
    const another = await rejectionOf(second)
    t.match(another, { code: 'OSS_ERR_ABORTED', key: 'a-0', tail: tailOf('12345678') })
    t.equal(another.unresolved, undefined)
  })

  t.test('abort() ends a backoff', async t => {
    const { roller, expectRequest, clock } = await openRollerHarness('a-{index}', '12345678')
    const appending = roller.append(recordOf('xyz'))
    ;(await expectRequest('HEAD a-1')).fail(networkError('ECONNRESET'))
    await clock.nextTimer()
    roller.abort(reason())
    await rejectionOf(appending)
    t.equal(clock.timers.size, 0)
  })
})

t.test('the backoff of a search holds the process once keepProcessAlive() was called', async t => {
  const { roller, expectRequest, clock } = createRollerHarness('a-{index}')
  const opening = roller.open()
  ;(await expectRequest('HEAD a-0')).fail(networkError('ECONNRESET'))
  const timer = await clock.nextTimer()
  t.equal(timer.hasRef, false)
  roller.keepProcessAlive()
  t.equal(timer.hasRef, true)
  timer.fire()
  ;(await expectRequest('HEAD a-0')).reply(null)
  await opening
})

t.test('ENOTFOUND stays transient once the host has answered', async t => {
  // ENOTFOUND is final after three attempts if the host has never answered.
  const { roller, expectRequest, clock, retries } = await openRollerHarness('a-{index}', '12345678')
  const appending = roller.append(recordOf('xyz'))
  for (let i = 0; i < 5; i++) {
    ;(await expectRequest('HEAD a-1')).fail(networkError('ENOTFOUND'))
    ;(await clock.nextTimer()).fire()
  }
  ;(await expectRequest('HEAD a-1')).reply(null)
  for (let i = 0; i < 5; i++) {
    ;(await expectRequest('append a-1 0 xyz')).fail(networkError('ENOTFOUND'))
    ;(await clock.nextTimer()).fire()
  }
  ;(await expectRequest('append a-1 0 xyz')).reply(tailOf('xyz'))
  await appending
  t.equal(retries.length, 10)
})

t.test('without the permission to read, appends of 0 bytes find the objects', async t => {
  const denied = () => serviceError('AccessDenied', { status: 403 })
  const { roller, expectRequest, rolls } = createRollerHarness('a-{index}')
  const opening = roller.open()
  ;(await expectRequest('HEAD a-0')).fail(denied())
  ;(await expectRequest('append a-0 1 ')).fail(positionConflict(8))
  ;(await expectRequest('append a-0 8 ')).reply(tailOf('12345678'))
  ;(await expectRequest('HEAD a-1')).fail(denied())
  ;(await expectRequest('append a-1 1 ')).fail(positionConflict(0))
  t.strictSame(await opening, tailOf('12345678'))
  const appending = roller.append(recordOf('xyz'))
  ;(await expectRequest('HEAD a-1')).fail(denied())
  ;(await expectRequest('append a-1 1 ')).fail(positionConflict(0))
  ;(await expectRequest('append a-1 0 xyz')).reply(tailOf('xyz'))
  t.match(await appending, { key: 'a-1' })
  t.match(rolls, [{ key: 'a-0', bytes: 8 }])
})
