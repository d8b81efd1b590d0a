/** Rolling streams over real HTTP: all objects together hold every record once, in order, and whole. */

import { once } from 'node:events'
import { hostname } from 'node:os'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import {
  type AppendInfo,
  type Client,
  crc64,
  createAppendStream,
  createRollingAppendStream,
  OssAppendStream,
  OssClient,
  type ReadyInfo,
  type RollInfo,
  RollingAppendStream,
  type RollingAppendStreamOptions,
} from '../../lib/index.ts'
import { ROLLING_OPTIONS, resolveRollingOptions } from '../../lib/rolling/options.ts'
import { withInternals } from '../../lib/stream/internals.ts'
import { rejectionOf } from '../helpers/appender-harness.ts'
import { firstLine, runModule, startModule } from '../helpers/child-process.ts'
import {
  BUCKET,
  networkOptions,
  nextEvent,
  type Oss,
  seededBytes,
  startOss,
  waitUntil,
} from '../helpers/test-oss.ts'

type More = Partial<RollingAppendStreamOptions>

function optionsFor({ server }: Oss, key: RollingAppendStreamOptions['key'], more: More = {}) {
  const network = more.client ? {} : networkOptions(server)
  return { bucket: BUCKET, key, ...network, retry: { minDelay: 1, maxDelay: 5 }, ...more }
}

function open(oss: Oss, key: RollingAppendStreamOptions['key'], more: More = {}) {
  return createRollingAppendStream(optionsFor(oss, key, more))
}

/** A rolling stream with the wall clock `now`. */
function openAt(oss: Oss, pattern: string, now: () => Date, more: More = {}): RollingAppendStream {
  return new RollingAppendStream(withInternals(optionsFor(oss, pattern, more), { now }))
}

/** All objects of the keys that a pattern with `{index}` gives, in order. */
function objectsOf({ server }: Oss, pattern: string): Buffer[] {
  const objects: Buffer[] = []
  for (;;) {
    const object = server.read(BUCKET, pattern.replace('{index}', String(objects.length)))
    if (!object) return objects
    objects.push(object)
  }
}

function rollsOf(stream: RollingAppendStream): RollInfo[] {
  const rolls: RollInfo[] = []
  stream.on('roll', info => rolls.push(info))
  return rolls
}

t.test(
  "a hundred objects hold the written bytes, none is too long, and 'roll' reports all but the last",
  async t => {
    const oss = await startOss(t)
    const bytes = seededBytes(24_000)
    const stream = open(oss, 'a/{index}.bin', { maxBytes: 300, highWaterMark: 128 })
    t.ok(stream instanceof OssAppendStream)
    const rolls = rollsOf(stream)
    const appends: AppendInfo[] = []
    stream.on('append', info => appends.push(info))
    const chunks: Buffer[] = []
    for (let at = 0, n = 1; at < bytes.length; at += n, n = (n * 7) % 211) {
      chunks.push(bytes.subarray(at, at + n))
    }
    await pipeline(Readable.from(chunks), stream)

    const objects = objectsOf(oss, 'a/{index}.bin')
    t.ok(objects.length > 70, `${objects.length} objects`)
    t.ok(Buffer.concat(objects).equals(bytes), 'every byte once, in order')
    t.ok(
      objects.every(({ length }) => length > 0 && length <= 300),
      'none is too long',
    )
    const reported = rolls.map(({ key, bytes, crc64 }) => ({ key, bytes, crc64 }))
    const actual = objects.map((object, i) => ({
      key: `a/${i}.bin`,
      bytes: object.length,
      crc64: crc64(object),
    }))
    t.strictSame(reported, actual.slice(0, -1))
    const { key, position, crc64: last, bytesWritten } = stream
    t.strictSame({ key, bytes: position, crc64: last }, actual.at(-1))
    t.equal(bytesWritten, bytes.length)
    const parts = appends.map(info =>
      objects[Number(/\d+/.exec(info.key)?.[0])]?.subarray(info.position, info.nextPosition),
    )
    t.ok(
      Buffer.concat(parts.map(part => part ?? Buffer.alloc(0))).equals(bytes),
      "'append' says where",
    )
  },
)

t.test('a batch is no longer than maxBytes', async t => {
  const oss = await startOss(t)
  const stream = open(oss, '{index}', { maxBytes: 10 })
  stream.end('x'.repeat(25))
  await once(stream, 'close')
  t.strictSame(
    objectsOf(oss, '{index}').map(({ length }) => length),
    [10, 10, 5],
  )
})

t.test('a roll emits its events in order', async t => {
  const oss = await startOss(t)
  const stream = open(oss, '{index}', { maxBytes: 4 })
  const story: string[] = []
  stream.on('ready', ({ position, exists }: ReadyInfo) => story.push(`ready ${position} ${exists}`))
  stream.on('append', ({ key, position, length }: AppendInfo) =>
    story.push(`append ${key} ${position} ${length}`),
  )
  stream.on('roll', ({ key, bytes }: RollInfo) => story.push(`roll ${key} ${bytes}`))
  stream.on('finish', () => story.push(`finish ${stream.key}`))
  t.strictSame([stream.key, stream.pending], [undefined, true])
  stream.write('one')
  const tail = await stream.flush()
  t.strictSame(tail, { position: 3, crc64: crc64('one') })
  stream.write('two')
  t.strictSame(await stream.flush(), { position: 3, crc64: crc64('two') }, 'of the object in use')
  stream.end()
  await once(stream, 'close')
  t.strictSame(story, ['ready 0 false', 'append 0 0 3', 'roll 0 3', 'append 1 0 3', 'finish 1'])
})

t.test('{host} and {pid} in a key are those of the process that writes', async t => {
  const oss = await startOss(t)
  const stream = open(oss, 'of/{host}/{pid}-{index}.log')
  await pipeline(Readable.from(['abc']), stream)
  const host = hostname().replaceAll(/[^\w.-]/g, '-')
  t.equal(stream.key, `of/${host}/${process.pid}-0.log`)
  t.equal(oss.read(stream.key ?? '').toString(), 'abc')
})

t.test('end() without bytes creates no object', async t => {
  const oss = await startOss(t)
  let time = Date.parse('2026-11-23T10:00:00Z')
  for (const more of [{}, { seal: true }, { sealOnRoll: true }]) {
    const stream = openAt(oss, '{HH}.log', () => new Date(time), more)
    await stream.flush()
    time += 3_600_000
    stream.end()
    await once(stream, 'finish')
    t.match(await stream.flush(), { position: 0 })
  }
  const written = ['append', 'seal'].flatMap(name =>
    oss.server.requests.filter(({ operation }) => operation === name),
  )
  t.strictSame(written, [])
})

t.test('each hour has an object of its own, and a clock that steps back begins none', async t => {
  const oss = await startOss(t)
  let time = Date.parse('2026-11-23T22:10:00Z')
  const pattern = '{yyyy}-{MM}-{dd}/{HH}-{index}'
  const stream = openAt(oss, pattern, () => new Date(time), { timeZone: 'Asia/Shanghai' })
  const rolls = rollsOf(stream)
  const write = async (text: string, hours: number) => {
    time += hours * 3_600_000
    stream.write(text)
    await stream.flush()
  }
  await write('a', 0)
  await write('b', 1)
  await write('c', 8)
  await write('d', 1)
  await write('e', -1)
  await write('f', -8)
  await write('g', 9)
  stream.end()
  await once(stream, 'close')
  const keys = ['2026-11-24/06-0', '2026-11-24/07-0', '2026-11-24/15-0', '2026-11-24/16-0']
  t.strictSame(
    keys.map(key => String(oss.read(key))),
    ['a', 'b', 'c', 'defg'],
  )
  t.strictSame(
    rolls.map(({ key, bytes }) => `${key} ${bytes}`),
    ['06-0 1', '07-0 1', '15-0 1'].map(each => `2026-11-24/${each}`),
  )
  for (const { startedAt, endedAt } of rolls) t.equal(startedAt.getTime(), endedAt.getTime())
})

t.test(
  'sealOnRoll without {index} survives the end of summer time and a step of the clock',
  async t => {
    const oss = await startOss(t)
    // 02:30 in Berlin, half an hour before the clocks go back.
    let time = Date.parse('2026-10-25T00:30:00Z')
    const pattern = '{dd}-{HH}{mm}.log'
    const more = { timeZone: 'Europe/Berlin', sealOnRoll: true }
    const stream = openAt(oss, pattern, () => new Date(time), more)
    const rolls = rollsOf(stream)
    for (const minutes of [0, 15, 15, 15, 15, 15, 15, -1, 1]) {
      time += minutes * 60_000
      stream.write('x')
      await stream.flush()
    }
    t.strictSame(
      rolls.map(({ key, bytes }) => `${key} ${bytes}`),
      // The second pass of the hour goes to the last minute of the first one.
      ['25-0230.log 1', '25-0245.log 1', '25-0259.log 4'],
    )
    t.equal(stream.key, '25-0300.log')
    stream.end()
    await once(stream, 'close')
  },
)

t.test('an object that changes long before it is needed does not fail the stream', async t => {
  const oss = await startOss(t)
  const changes: [string, () => void, () => void][] = [
    [
      'deleted',
      () => oss.server.append(BUCKET, '11', 'old'),
      () => oss.server.delete(BUCKET, '11'),
    ],
    ['longer', () => {}, () => oss.server.append(BUCKET, '11', 'of a job')],
  ]
  for (const [what, before, change] of changes) {
    let time = Date.parse('2026-11-23T10:59:59Z')
    before()
    const stream = openAt(oss, '{HH}', () => new Date(time))
    stream.write('x')
    await stream.flush()
    time += 46 * 60_000
    change()
    stream.write('y')
    const { position } = await stream.flush()
    t.equal(position, oss.read('11').length, what)
    t.equal(oss.read('11').at(-1), 'y'.charCodeAt(0), what)
    stream.end()
    await once(stream, 'close')
    for (const key of ['10', '11']) oss.server.delete(BUCKET, key)
  }
})

t.test('a restarted stream continues the last object, or begins the one after it', async t => {
  const oss = await startOss(t)
  const write = async (text: string, more: More = {}) => {
    const stream = open(oss, 'r/{index}', { maxBytes: 10, ...more })
    const ready = nextEvent<ReadyInfo>(stream, 'ready')
    stream.end(text)
    await once(stream, 'close')
    return { key: stream.key, ...(await ready) }
  }
  t.match(await write('123'), { key: 'r/0', position: 0, exists: false })
  t.match(await write('456'), { key: 'r/0', position: 3, exists: true })
  t.match(await write('789a'), { key: 'r/0', position: 6 })
  t.match(await write('b'), { key: 'r/1', position: 0, exists: false }, 'full')
  t.match(await write('c', { seal: true }), { key: 'r/1', position: 1 })
  t.match(await write('d'), { key: 'r/2', position: 0 }, 'sealed')
  oss.server.put(BUCKET, 'r/2', 'Normal')
  t.match(await write('e'), { key: 'r/3', position: 0 }, 'not appendable')
  for (let i = 4; i < 40; i++) oss.server.append(BUCKET, `r/${i}`, '1234567890')
  oss.server.requests.splice(0)
  t.match(await write('f'), { key: 'r/40', position: 0 })
  const heads = oss.server.requests.filter(({ operation }) => operation === 'head')
  t.ok(heads.length <= 13, `${heads.length} requests`)
})

t.test('sealOnRoll seals every object that is left, and seal the last one', async t => {
  const oss = await startOss(t)
  const stream = open(oss, 's/{index}', { maxBytes: 4, sealOnRoll: true })
  stream.end('x'.repeat(14))
  await once(stream, 'close')
  const isSealed = (n: number) => oss.server.stat(BUCKET, `s/${n}`)?.sealedTime !== undefined
  t.strictSame([0, 1, 2, 3].map(isSealed), [true, true, true, false])
  const both = open(oss, 't/{index}', { maxBytes: 4, sealOnRoll: true, seal: true })
  both.end('x'.repeat(6))
  await once(both, 'close')
  t.ok(oss.server.stat(BUCKET, 't/1')?.sealedTime)
})

t.test('faults on every kind of request lose and double no byte', async t => {
  const oss = await startOss(t)
  const lost = ['reset', 500] as const
  for (let i = 0; i < 40; i++) {
    oss.server.faults.push(
      { kind: 'lost', how: lost[i % 2] ?? 500, skip: i * 3, on: 'append' },
      { kind: 'status', status: 503, code: 'SlowDown', skip: i * 2, on: 'append' },
      { kind: 'reset', when: 'before', skip: i * 2, on: 'head' },
    )
  }
  const bytes = seededBytes(4_000)
  const stream = open(oss, 'f/{index}', { maxBytes: 100, highWaterMark: 60 })
  const rolls = rollsOf(stream)
  await pipeline(Readable.from([bytes]), stream)
  t.ok(Buffer.concat(objectsOf(oss, 'f/{index}')).equals(bytes))
  t.ok(rolls.length > 36, `${rolls.length} rolls`)
})

t.test('a rolling stream works without the permission to read', async t => {
  const oss = await startOss(t)
  oss.server.permissions.delete('oss:GetObject')
  const bytes = seededBytes(3_000)
  for (const part of [bytes.subarray(0, 1000), bytes.subarray(1000, 1700), bytes.subarray(1700)]) {
    const stream = open(oss, 'p/{index}', { maxBytes: 100, highWaterMark: 64 })
    stream.end(part)
    await once(stream, 'close')
  }
  const objects = objectsOf(oss, 'p/{index}')
  t.ok(Buffer.concat(objects).equals(bytes))
  t.ok(objects.length > 30)
  const kinds = new Set(oss.server.requests.map(({ status }) => status))
  t.ok(
    kinds.has(403) &&
      !oss.server.requests.some(({ operation, status }) => operation === 'head' && status === 200),
  )
})

t.test('a refusal carries the key of its object', async t => {
  const oss = await startOss(t)
  oss.server.permissions.clear()
  const stream = open(oss, 'p/{index}')
  stream.write('x')
  const error = await rejectionOf(once(stream, 'close'))
  t.match(error, { code: 'AccessDenied', bucket: BUCKET, key: 'p/0', status: 403 })
})

t.test('a full object fails the stream if the key has no {index}', async t => {
  const oss = await startOss(t)
  const stream = open(oss, 'only', { maxBytes: 10, highWaterMark: 4 })
  const error = await rejectionOf(pipeline(Readable.from([Buffer.from('1234567890abc')]), stream))
  t.match(error, {
    code: 'OSS_ERR_OBJECT_FULL',
    key: 'only',
    tail: { position: 8 },
    message: /\{index\}/,
  })
  t.equal(String(oss.read('only')), '12345678')
  t.equal(stream.bytesWritten, 8)
})

t.test(
  'a stream that is destroyed during the search for the next object leaves nothing open',
  async t => {
    const oss = await startOss(t)
    const client = new OssClient(networkOptions(oss.server))
    for (const how of ['destroy', 'end', 'error'] as const) {
      oss.server.faults.push({ kind: 'lost', how: 'hang', on: 'head', key: `${how}-1` })
      const stream = open(oss, `${how}-{index}`, { maxBytes: 10, client })
      stream.write('12345678')
      await stream.flush()
      stream.write('90a')
      stream.flush().catch(() => {})
      await waitUntil(() => oss.server.requests.some(({ target }) => target.includes(`${how}-1`)))
      const closed = once(stream, 'close').catch(error => error)
      if (how === 'end') stream.end()
      stream.destroy(how === 'error' ? new Error('the user') : undefined)
      await closed
      t.equal(String(oss.read(`${how}-0`)), '12345678', how)
    }
    await client.close()
    await waitUntil(() => oss.server.openConnections === 0)
    await waitUntil(() => !process.getActiveResourcesInfo().includes('Timeout'))
    t.pass('no connection, no timer')
  },
)

t.test('an aborted signal destroys the stream, before and after the opening', async t => {
  const oss = await startOss(t)
  const before = open(oss, '{index}', { signal: AbortSignal.abort() })
  t.match(await rejectionOf(once(before, 'close')), { code: 'ABORT_ERR' })
  const controller = new AbortController()
  const stream = open(oss, '{index}', { signal: controller.signal })
  stream.write('x')
  await stream.flush()
  controller.abort()
  t.match(await rejectionOf(once(stream, 'close')), { code: 'ABORT_ERR' })
})

t.test(
  'at 5 GiB a plain stream fails before it sends anything, and a rolling stream continues',
  async t => {
    const position = 5 * 1024 ** 3 - 3
    const appended: string[] = []
    const client: Client = {
      head: async ({ key }) => {
        if (key === 'a-1') return null
        return { type: 'Appendable', length: position, position, crc64: '1', requestId: 'none' }
      },
      append: async ({ key }, { position, body }) => {
        appended.push(`${key} ${position} ${body.length}`)
        return { position: position + body.length, crc64: crc64(body), requestId: 'none' }
      },
      close: async () => {},
    }
    const plain = createAppendStream({ bucket: BUCKET, key: 'a-0', client })
    const error = await rejectionOf(pipeline(Readable.from(['more']), plain))
    t.match(error, { code: 'OSS_ERR_OBJECT_FULL', key: 'a-0', tail: { position } })
    t.strictSame(appended, [])

    const rolling = createRollingAppendStream({ bucket: BUCKET, key: 'a-{index}', client })
    const rolls = rollsOf(rolling)
    await pipeline(Readable.from(['more']), rolling)
    t.strictSame(appended, ['a-1 0 4'])
    t.match(rolls, [{ key: 'a-0', bytes: position, crc64: '1' }])
  },
)

t.test('a program that never ends its stream delivers what it wrote, and exits', async t => {
  const oss = await startOss(t)
  oss.server.faults.push({ kind: 'html', on: 'head', times: 3 }, { kind: 'lost', how: 'reset' })
  const program = `
    import { createRollingAppendStream } from 'DISTindex.js'
    const credentials = { accessKeyId: 'test-access-key', accessKeySecret: 'test-access-secret' }
    const stream = createRollingAppendStream({
      bucket: '${BUCKET}', key: 'w/{index}', endpoint: process.env.ENDPOINT, region: 'cn-hangzhou',
      credentials, maxBytes: 4, flushInterval: 10, retry: { minDelay: 40, maxDelay: 40 },
    })
    stream.write('123456789')`
  const ended = await runModule(t, program, { ENDPOINT: oss.server.url })
  t.match(ended, { code: 0, stderr: '' })
  t.strictSame(objectsOf(oss, 'w/{index}').map(String), ['1234', '5678', '9'])
})

t.test(
  'a program that is killed and restarted delivers each record once, except those in doubt',
  async t => {
    const oss = await startOss(t)
    const program = `
    import { createRollingAppendStream } from 'DISTindex.js'
    const { ENDPOINT } = process.env
    const credentials = { accessKeyId: 'test-access-key', accessKeySecret: 'test-access-secret' }
    const stream = createRollingAppendStream({
      bucket: '${BUCKET}', key: 'k/{index}', endpoint: ENDPOINT, region: 'cn-hangzhou', credentials,
      maxBytes: 64, highWaterMark: 32, flushInterval: 1,
    })
    stream.once('append', () => console.log('runs'))
    for (let n = 0; ; n++) {
      stream.write(process.pid + ':' + n + ';')
      await stream.flush()
    }`
    const pids: (number | undefined)[] = []
    for (let run = 0; run < 3; run++) {
      // By env, whose pid is that of the program.
      const child = startModule(t, program, { ENDPOINT: oss.server.url })
      await firstLine(child)
      const enough = oss.server.requests.length + 30 + run * 17
      await waitUntil(() => oss.server.requests.length >= enough)
      const exit = once(child, 'exit')
      child.kill('SIGKILL')
      await exit
      await waitUntil(() => oss.server.openConnections === 0)
      pids.push(child.pid)
    }
    const objects = objectsOf(oss, 'k/{index}')
    const expected: string[] = []
    const records = Buffer.concat(objects).toString().split(';').slice(0, -1)
    for (const pid of pids) {
      const count = records.filter(record => record.startsWith(`${pid}:`)).length
      t.ok(count > 10, `${count} records of one life`)
      for (let n = 0; n < count; n++) expected.push(`${pid}:${n}`)
    }
    t.strictSame(records, expected, 'none twice, none missing in between, in order')
    t.ok(
      objects.every(object => object.toString().endsWith(';')),
      'none is torn',
    )
    t.ok(objects.every(({ length }) => length <= 64))
    t.ok(objects.length > 12, `${objects.length} objects`)
  },
)

t.test('wrong options of a rolling stream are refused, and defaults are as documented', async t => {
  const given = { bucket: BUCKET, region: 'cn-hangzhou' }
  const client: Client = {
    head: async () => null,
    append: () => Promise.reject(new Error('never')),
    close: async () => {},
  }
  const rows: [object, RegExp][] = [
    [{}, /^option key: must be a pattern or a function$/],
    [{ key: 5 }, /^option key: must be a pattern or a function$/],
    [{ key: '' }, /^option key: is missing$/],
    [{ key: '/{index}' }, /^option key: must not begin with \//],
    [{ key: '{date}' }, /^option key: \{date\} is unknown/],
    [{ key: 'a', bucket: undefined }, /^option bucket: is missing/],
    [{ key: () => 'a', bucket: 'No' }, /^option bucket: must be 3 to 63/],
    [{ key: 'a', position: 0 }, /^option position: is unknown/],
    [{ key: 'a', crc64: '0' }, /^option crc64: is unknown/],
    [{ key: 'a', maxByte: 1 }, /^option maxByte: is unknown: did you mean maxBytes\?$/],
    [{ key: 'a', maxBytes: 0 }, /^option maxBytes: must be a whole number/],
    [{ key: 'a', maxBytes: '5' }, /^option maxBytes: must be a whole number/],
    [{ key: 'a', maxBytes: 6 * 1024 ** 3 }, /^option maxBytes: .*maxObjectBytes/],
    [{ key: 'a', maxBytes: 11, maxObjectBytes: 10 }, /^option maxBytes: .*maxObjectBytes/],
    [{ key: 'a', sealOnRoll: 1 }, /^option sealOnRoll: must be true or false, not 1$/],
    [{ key: 'a', timeZone: 8 }, /^option timeZone: must be the name/],
    [{ key: 'a', timeZone: 'UTC+25' }, /^option timeZone: UTC\+25 is unknown/],
    [{ key: () => 'a', timeZone: 'UTC' }, /^option timeZone: is for patterns/],
    [{ key: 'a', sealOnRoll: true, client, region: undefined }, /^option client: .*seal/],
    [{ key: 'a', highWaterMark: 0 }, /^option highWaterMark: /],
  ]
  for (const [more, message] of rows) {
    const wrong = { ...given, ...more } as RollingAppendStreamOptions
    const expected = { code: 'OSS_ERR_INVALID_OPTION', message }
    t.throws(() => createRollingAppendStream(wrong), expected, JSON.stringify(more))
  }
  const ofDefaults = resolveRollingOptions({ ...given, key: 'a' })
  t.match(ofDefaults, { maxBytes: 5 * 1024 ** 3, sealOnRoll: false, highWaterMark: 4 << 20 })
  const small = resolveRollingOptions({ ...given, key: 'a', maxObjectBytes: 100 })
  t.match(small, { maxBytes: 100, highWaterMark: 100 })
  t.equal(new Set(ROLLING_OPTIONS).size, ROLLING_OPTIONS.length)
  const frozen = Object.freeze({ ...given, key: 'a' })
  t.doesNotThrow(() => createRollingAppendStream(frozen).destroy())
})
