/** One object after another, as dialogues: what is asked, in which order, and what is kept of it. */

import t from 'tap'
import { OssError } from '../../lib/errors.ts'
import { recordOf, rejectionOf, tailOf } from '../helpers/appender-harness.ts'
import { networkError, positionConflict, serviceError } from '../helpers/errors.ts'
import { createRollerHarness, NOON, openRollerHarness } from '../helpers/roller-harness.ts'

const HOURLY = 'a/{HH}-{index}'
const later = (milliseconds: number) => new Date(NOON.getTime() + milliseconds)
const HOUR = 3_600_000

t.test('opening finds the object of the present, and asks no more of it', async t => {
  const { roller, expectRequest, client } = createRollerHarness(HOURLY)
  t.strictSame([roller.key, roller.tail, roller.exists], [undefined, undefined, false])
  const opening = roller.open()
  ;(await expectRequest('HEAD a/12-0')).reply(tailOf('one'))
  ;(await expectRequest('HEAD a/12-1')).reply(null)
  t.strictSame(await opening, tailOf('one'))
  t.strictSame([roller.key, roller.tail, roller.exists], ['a/12-0', tailOf('one'), true])
  t.equal(client.requests.length, 2)
})

t.test('a batch that fits exactly stays; the next one rolls', async t => {
  const { roller, expectRequest, rolls, client } = await openRollerHarness('a-{index}', '123456')
  const first = roller.append(recordOf('7890'))
  const append = await expectRequest('append a-0 6 7890')
  // The next object is looked for while this batch is on its way.
  ;(await expectRequest('HEAD a-1')).reply(null)
  append.reply(tailOf('1234567890'))
  t.match(await first, { key: 'a-0', position: 6, nextPosition: 10 })
  t.strictSame(rolls, [], 'it is full, and nothing says that more will come')

  const second = roller.append(recordOf('x'))
  ;(await expectRequest('append a-1 0 x')).reply(tailOf('x'))
  t.match(await second, { key: 'a-1', position: 0, nextPosition: 1 })
  const { crc64 } = tailOf('1234567890')
  const times = { startedAt: NOON, endedAt: NOON }
  t.strictSame(rolls, [{ key: 'a-0', bytes: 10, crc64, ...times }])
  t.strictSame([roller.key, roller.tail], ['a-1', tailOf('x')])
  t.equal(client.requests.length, 5)
})

t.test('a batch too long for the rest goes whole into the next', async t => {
  const { roller, expectRequest, rolls } = await openRollerHarness('a-{index}', '1234567')
  const appending = roller.append(recordOf('8901'))
  ;(await expectRequest('HEAD a-1')).reply(null)
  ;(await expectRequest('append a-1 0 8901')).reply(tailOf('8901'))
  t.match(await appending, { key: 'a-1', position: 0, length: 4 })
  t.match(rolls, [{ key: 'a-0', bytes: 7 }])
})

t.test('what is too long for any object has one of its own', async t => {
  const { roller, expectRequest, rolls } = await openRollerHarness('a-{index}', '')
  const long = 'x'.repeat(25)
  const first = roller.append(recordOf(long))
  const append = await expectRequest(`append a-0 0 ${long}`)
  ;(await expectRequest('HEAD a-1')).reply(null)
  append.reply(tailOf(long))
  await first
  const second = roller.append(recordOf(long))
  const another = await expectRequest(`append a-1 0 ${long}`)
  ;(await expectRequest('HEAD a-2')).reply(null)
  another.reply(tailOf(long))
  await second
  const third = roller.append(recordOf('short'))
  ;(await expectRequest('append a-2 0 short')).reply(tailOf('short'))
  await third
  t.match(rolls, [
    { key: 'a-0', bytes: 25 },
    { key: 'a-1', bytes: 25 },
  ])
})

t.test('but not more than an object takes', async t => {
  const { roller, client } = await openRollerHarness('a-{index}', '', { maxObjectBytes: 12 })
  const error = await rejectionOf(roller.append(recordOf('x'.repeat(13))))
  t.match(error, { code: 'OSS_ERR_OBJECT_FULL', key: 'a-0', tail: { position: 0 } })
  t.strictSame(
    client.requests.filter(({ kind }) => kind === 'append'),
    [],
    'nothing was sent',
  )
})

t.test('another hour, another object, its index from 0', async t => {
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

t.test('the object of a time that is near is looked for beside the batch', async t => {
  const harness = await openRollerHarness(HOURLY, '12')
  const { roller, expectRequest, client } = harness
  harness.date = later(HOUR - 1000)
  const first = roller.append(recordOf('3'))
  const append = await expectRequest('append a/12-0 2 3')
  const lookup = await expectRequest('HEAD a/13-0')
  append.reply(tailOf('123'))
  await first
  t.equal(lookup.isSettled, false, 'the acknowledgement does not wait for it')
  const second = roller.append(recordOf('4'))
  ;(await expectRequest('append a/12-0 3 4')).reply(tailOf('1234'))
  await second
  harness.date = later(HOUR)
  const third = roller.append(recordOf('5'))
  await new Promise(setImmediate)
  t.equal(client.requests.length, 5, 'it is asked for once')
  lookup.reply(tailOf('left here'))
  ;(await expectRequest('HEAD a/13-1')).reply(null)
  const whole = tailOf('left here5')
  ;(await expectRequest('append a/13-0 9 5')).reply(whole)
  t.match(await third, { key: 'a/13-0', position: 9 })
})

t.test('a clock that goes back finds the old object, and goes on there', async t => {
  const harness = await openRollerHarness(HOURLY, '12')
  const { roller, expectRequest, rolls } = harness
  harness.date = later(HOUR)
  const first = roller.append(recordOf('x'))
  ;(await expectRequest('HEAD a/13-0')).reply(null)
  ;(await expectRequest('append a/13-0 0 x')).reply(tailOf('x'))
  await first
  harness.date = later(HOUR / 2)
  const second = roller.append(recordOf('3'))
  ;(await expectRequest('HEAD a/12-0')).reply(tailOf('12'))
  ;(await expectRequest('HEAD a/12-1')).reply(null)
  ;(await expectRequest('append a/12-0 2 3')).reply(tailOf('123'))
  await second
  t.match(rolls, [
    { key: 'a/12-0', bytes: 2 },
    { key: 'a/13-0', bytes: 1 },
  ])
})

t.test('an object that was found too full for the first batch is left', async t => {
  const { roller, expectRequest, rolls } = await openRollerHarness('a-{index}', '123456789')
  const appending = roller.append(recordOf('ab'))
  ;(await expectRequest('HEAD a-1')).reply(tailOf('12345678'))
  ;(await expectRequest('HEAD a-2')).reply(tailOf('123456789'))
  ;(await expectRequest('HEAD a-3')).reply(null)
  // a-2 has room, and not enough.
  ;(await expectRequest('HEAD a-3')).reply(null)
  ;(await expectRequest('append a-3 0 ab')).reply(tailOf('ab'))
  t.match(await appending, { key: 'a-3', position: 0 })
  t.match(rolls, [
    { key: 'a-0', bytes: 9 },
    { key: 'a-2', bytes: 9 },
  ])
})

t.test('an object that never came to be is no roll', async t => {
  const harness = await openRollerHarness(HOURLY, '', { sealOnRoll: true })
  harness.date = later(HOUR)
  const appending = harness.roller.append(recordOf('x'))
  ;(await harness.expectRequest('HEAD a/13-0')).reply(null)
  ;(await harness.expectRequest('append a/13-0 0 x')).reply(tailOf('x'))
  await appending
  t.strictSame(harness.rolls, [])
})

t.test('creation headers go with each new object, and with no other append', async t => {
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
    // No look ahead: it would make this test longer.
    await appending
  }
})

t.test('an empty object that is there is not created again', async t => {
  const creationHeaders = { 'content-type': 'text/plain' }
  const harness = createRollerHarness('a', { creationHeaders })
  const opening = harness.roller.open()
  ;(await harness.expectRequest('HEAD a')).reply(tailOf(''))
  await opening
  t.equal(harness.roller.exists, true)
  const appending = harness.roller.append(recordOf('x'))
  const append = await harness.expectRequest('append a 0 x')
  t.strictSame(append.asked.headers, {})
  append.reply(tailOf('x'))
  await appending
})

t.test('sealOnRoll seals what is left, before the next is appended to', async t => {
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
})

t.test('a seal that fails is the failure, of that object, with nothing in doubt', async t => {
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
})

t.test(
  'completing: the last one is sealed if that was asked for, and made if there is none',
  async t => {
    const { roller, expectRequest } = await openRollerHarness('a-{index}', '', { seal: true })
    const creating = roller.create()
    ;(await expectRequest('append a-0 0 ')).reply(tailOf(''))
    t.match(await creating, { key: 'a-0', length: 0 })
    const completing = roller.complete()
    ;(await expectRequest('seal a-0 0')).reply()
    await completing
  },
)

t.test('nothing can follow without an index', async t => {
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
    t.equal(client.requests.length, requests, 'nothing of it was sent')
  }
})

t.test('nor where it is full at the opening: the first batch is told', async t => {
  const { roller, client } = await openRollerHarness('a', '1234567890')
  const error = await rejectionOf(roller.append(recordOf('x')))
  t.match(error, { code: 'OSS_ERR_OBJECT_FULL', key: 'a', tail: tailOf('1234567890') })
  t.equal(client.requests.length, 1, 'nothing of it was sent')
})

t.test('looking ahead: what comes of it', async t => {
  const open = async () => {
    const harness = await openRollerHarness('a-{index}', '1234567')
    const appending = harness.roller.append(recordOf('8'))
    const append = await harness.expectRequest('append a-0 7 8')
    const lookup = await harness.expectRequest('HEAD a-1')
    const land = async () => {
      append.reply(tailOf('12345678'))
      await appending
    }
    return { ...harness, look: lookup, land, roll: () => harness.roller.append(recordOf('xyz')) }
  }

  t.test('an object that takes nothing: the one after it', async t => {
    const { look: lookup, expectRequest, land, roll } = await open()
    lookup.reply({ type: 'Normal', length: 3 })
    ;(await expectRequest('HEAD a-2')).reply(null)
    await land()
    const rolling = roll()
    ;(await expectRequest('append a-2 0 xyz')).reply(tailOf('xyz'))
    t.match(await rolling, { key: 'a-2' })
  })

  t.test('a failure, of any kind: it is looked for again when it is needed', async t => {
    for (const error of [
      networkError('ECONNRESET'),
      serviceError('NoSuchBucket'),
      new Error('odd'),
    ]) {
      const { look: lookup, expectRequest, land, roll, clock, retries } = await open()
      lookup.fail(error)
      await land()
      t.equal(clock.started, 0, 'nobody waits')
      t.strictSame(retries, [])
      const rolling = roll()
      ;(await expectRequest('HEAD a-1')).reply(null)
      ;(await expectRequest('append a-1 0 xyz')).reply(tailOf('xyz'))
      await rolling
    }
  })

  t.test('a failure of the object when it is needed, with retries and all', async t => {
    const { look: lookup, expectRequest, land, roll, clock, retries } = await open()
    lookup.fail(networkError('ECONNRESET'))
    await land()
    const rolling = roll()
    ;(await expectRequest('HEAD a-1')).fail(networkError('ECONNRESET'))
    ;(await clock.nextTimer()).fire()
    t.match(retries, [{ attempt: 1, position: undefined }])
    ;(await expectRequest('HEAD a-1')).fail(serviceError('NoSuchBucket', { status: 404 }))
    const error = await rejectionOf(rolling)
    t.match(error, { code: 'NoSuchBucket', bucket: 'examplebucket', key: 'a-1', attempts: 2 })
    t.equal(error.tail, undefined)
  })

  t.test(
    'an object in which nobody knew of another writer: a conflict, told with its key',
    async t => {
      const { look: lookup, expectRequest, land, roll } = await open()
      lookup.reply(null)
      await land()
      const rolling = roll()
      ;(await expectRequest('append a-1 0 xyz')).fail(positionConflict(5))
      const error = await rejectionOf(rolling)
      t.match(error, { code: 'PositionNotEqualToLength', key: 'a-1', seen: { position: 5 } })
    },
  )

  t.test('a time that comes first: the search is given up', async t => {
    const harness = await openRollerHarness(HOURLY, '1234567')
    const { roller, expectRequest } = harness
    const first = roller.append(recordOf('8'))
    const append = await expectRequest('append a/12-0 7 8')
    const lookup = await expectRequest('HEAD a/12-1')
    append.reply(tailOf('12345678'))
    await first
    harness.date = later(HOUR)
    const second = roller.append(recordOf('x'))
    ;(await expectRequest('HEAD a/13-0')).reply(null)
    t.equal(lookup.signal.aborted, true)
    ;(await expectRequest('append a/13-0 0 x')).reply(tailOf('x'))
    t.match(await second, { key: 'a/13-0' })
  })

  t.test('what was found for another key is not used', async t => {
    const harness = await openRollerHarness(HOURLY, '1234567')
    const { roller, expectRequest } = harness
    const first = roller.append(recordOf('8'))
    const append = await expectRequest('append a/12-0 7 8')
    ;(await expectRequest('HEAD a/12-1')).reply(null)
    append.reply(tailOf('12345678'))
    await first
    harness.date = later(HOUR)
    const second = roller.append(recordOf('x'))
    ;(await expectRequest('HEAD a/13-0')).reply(null)
    ;(await expectRequest('append a/13-0 0 x')).reply(tailOf('x'))
    t.match(await second, { key: 'a/13-0' })
  })

  t.test('an hour that is near comes before an object that is nearly full', async t => {
    // Without an index nothing can follow it, and the hour comes all the same.
    for (const [pattern, key] of [
      [HOURLY, '12-0'],
      ['a/{HH}', '12'],
    ] as const) {
      const harness = await openRollerHarness(pattern, '1234567')
      const { roller, expectRequest, client } = harness
      harness.date = later(HOUR - 1)
      const first = roller.append(recordOf('8'))
      const append = await expectRequest(`append a/${key} 7 8`)
      ;(await expectRequest(`HEAD a/${key.replace('12', '13')}`)).reply(null)
      append.reply(tailOf('12345678'))
      await first
      harness.date = later(HOUR)
      const { length } = client.requests
      const second = roller.append(recordOf('x'))
      ;(await expectRequest(`append a/${key.replace('12', '13')} 0 x`)).reply(tailOf('x'))
      await second
      t.equal(client.requests.length, length + 1, 'it was found')
    }
  })

  t.test('a failure, and another batch that fits: it is looked for beside that one', async t => {
    const { look: lookup, roller, expectRequest, land, roll } = await open()
    lookup.fail(networkError('ECONNRESET'))
    await land()
    await roller.whenIdle()
    const second = roller.append(recordOf('9'))
    const append = await expectRequest('append a-0 8 9')
    ;(await expectRequest('HEAD a-1')).reply(null)
    append.reply(tailOf('123456789'))
    await second
    const rolling = roll()
    ;(await expectRequest('append a-1 0 xyz')).reply(tailOf('xyz'))
    t.match(await rolling, { key: 'a-1' })
  })

  t.test('a search that is replaced by another ends before that begins', async t => {
    const harness = await openRollerHarness(HOURLY, '1')
    const { roller, expectRequest, client } = harness
    harness.date = later(HOUR - 1)
    const first = roller.append(recordOf('2'))
    const append = await expectRequest('append a/12-0 1 2')
    const lookup = await expectRequest('HEAD a/13-0')
    append.reply(tailOf('12'))
    await first
    // The clock goes back, and the object fills up before the hour is over.
    harness.date = later(HOUR / 2)
    const second = roller.append(recordOf('345678'))
    const another = await expectRequest('append a/12-0 2 345678')
    ;(await expectRequest('HEAD a/12-1')).reply(null)
    t.equal(lookup.signal.aborted, true)
    t.equal(client.mostInFlight, 2)
    another.reply(tailOf('12345678'))
    await second
    await roller.whenIdle()
  })
})

t.test('a key function', async t => {
  t.test('is asked for the present before each batch, with a date of its own', async t => {
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
    t.ok(asked.every(time => time >= NOON.getTime() && time <= NOON.getTime() + 2000))
  })

  t.test('that throws, or gives no key, fails the stream and names the option', async t => {
    const rows: [string, () => unknown, RegExp][] = [
      [
        'throws',
        () => {
          throw new Error('secret inside')
        },
        /^option key: it threw$/,
      ],
      ['undefined', () => undefined, /^option key: must be a string/],
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
  })

  t.test('that fails for the future only fails nothing', async t => {
    const harness = createRollerHarness('', {
      nameKey: ({ date, index }) => {
        if (date > NOON) throw new Error('not yet')
        return `a-${index}`
      },
    })
    const opening = harness.roller.open()
    ;(await harness.expectRequest('HEAD a-0')).reply(null)
    await opening
    const appending = harness.roller.append(recordOf('x'))
    ;(await harness.expectRequest('append a-0 0 x')).reply(tailOf('x'))
    t.match(await appending, { key: 'a-0' })
  })

  t.test('that never gives the same answer sends no request after another', async t => {
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
  })
})

t.test('aborting ends what is in flight, wherever that is', async t => {
  const reason = () => new OssError('OSS_ERR_ABORTED', 'enough')

  t.test('the opening', async t => {
    const { roller, expectRequest } = createRollerHarness('a-{index}')
    const opening = roller.open()
    const head = await expectRequest('HEAD a-0')
    roller.abort(reason())
    t.match(await rejectionOf(opening), { code: 'OSS_ERR_ABORTED', key: 'a-0' })
    t.equal(head.signal.aborted, true)
  })

  t.test('a batch and the search beside it', async t => {
    const { roller, expectRequest } = await openRollerHarness('a-{index}', '1234567')
    const appending = roller.append(recordOf('8'))
    await expectRequest('append a-0 7 8')
    const lookup = await expectRequest('HEAD a-1')
    roller.abort(reason())
    const error = await rejectionOf(appending)
    t.match(error, { key: 'a-0', tail: tailOf('1234567'), unresolved: { position: 7, length: 1 } })
    await roller.whenIdle()
    t.equal(lookup.signal.aborted, true)
    t.throws(() => roller.throwIfAborted(), { code: 'OSS_ERR_ABORTED' })
  })

  t.test('a roll, searching and sealing: the batch is not in doubt', async t => {
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

  t.test('a wait', async t => {
    const { roller, expectRequest, clock } = await openRollerHarness('a-{index}', '12345678')
    const appending = roller.append(recordOf('xyz'))
    ;(await expectRequest('HEAD a-1')).fail(networkError('ECONNRESET'))
    await clock.nextTimer()
    roller.abort(reason())
    await rejectionOf(appending)
    t.equal(clock.timers.size, 0)
  })
})

t.test('a search that is waited for holds the process once something is owed', async t => {
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

t.test('a name that was found once is not taken for a mistake later', async t => {
  // ENOTFOUND is final after three attempts, but only as long as nothing ever came from that host.
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

t.test('without the right to read', async t => {
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
