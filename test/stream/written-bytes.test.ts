/** Written bytes, in any pieces, are the bytes of the object. */

import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import { type AppendInfo, crc64, createAppendStream, type ReadyInfo } from '../../lib/index.ts'
import { BUCKET, nextEvent, seededBytes, startOss } from '../helpers/test-oss.ts'

const MARK = 1024

function* pieces(bytes: Buffer, length: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length)
}

t.test('writes of sizes around every boundary arrive', async t => {
  const oss = await startOss(t)
  const sizes = [
    0,
    1,
    MARK - 1,
    MARK,
    MARK + 1,
    2 * MARK,
    2 * MARK + 1,
    3 * MARK - 1,
    17 * MARK + 7,
  ]
  for (const size of sizes) {
    for (const piece of [1, 7, MARK - 1, MARK, MARK + 1, 5 * MARK]) {
      if (piece === 1 && size > 3 * MARK) continue
      const key = oss.newKey()
      const bytes = seededBytes(size, size + piece)
      const stream = oss.open(key, { highWaterMark: MARK })
      await pipeline(Readable.from(pieces(bytes, piece)), stream)
      const label = `${size} bytes in pieces of ${piece}`
      t.ok(oss.read(key).equals(bytes), label)
      t.equal(stream.position, size, `${label}: position`)
      t.equal(stream.crc64, crc64(bytes), `${label}: CRC`)
      t.equal(stream.bytesWritten, size, `${label}: bytesWritten`)
      t.equal(stream.bytesBuffered, 0, `${label}: bytesBuffered`)
    }
  }
})

t.test('every highWaterMark from 1 byte to more than the input works', async t => {
  const oss = await startOss(t)
  const bytes = seededBytes(100)
  for (const highWaterMark of [1, 2, 99, 100, 101, 1 << 20]) {
    const key = oss.newKey()
    await pipeline(Readable.from(pieces(bytes, 13)), oss.open(key, { highWaterMark }))
    t.ok(oss.read(key).equals(bytes), `highWaterMark ${highWaterMark}`)
  }
})

t.test('one chunk of 16 MiB arrives', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const bytes = Buffer.alloc(16 << 20, seededBytes(65_537))
  const stream = oss.open(key, { contentMd5: false })
  stream.end(bytes)
  await once(stream, 'close')
  t.equal(stream.position, bytes.length)
  t.ok(oss.read(key).equals(bytes))
  const lengths = oss.server.requests.filter(r => r.operation === 'append').map(r => r.length)
  t.same(lengths, Array(4).fill(4 << 20), 'in batches of the default 4 MiB')
})

t.test('strings of every encoding arrive, across the ends of batches', async t => {
  const oss = await startOss(t)
  const texts: [BufferEncoding, string][] = [
    ['utf8', 'aé日本語😀'.repeat(40)],
    ['utf-8', '\ud800 lone \udc00'],
    ['latin1', 'ÀÿÐ'.repeat(100)],
    ['binary', '\u00ff\u0100'.repeat(100)],
    ['ascii', 'plain'.repeat(50)],
    ['hex', '00ff7f'.repeat(60)],
    ['base64', Buffer.from('base64 text').toString('base64').repeat(3)],
    ['base64url', '-_-_'.repeat(33)],
    ['utf16le', 'aé😀'.repeat(40)],
    ['ucs2', 'x'.repeat(33)],
  ]
  for (const highWaterMark of [5, 64, 1000, 1 << 16]) {
    const key = oss.newKey()
    const stream = oss.open(key, { highWaterMark })
    for (const [encoding, text] of texts) stream.write(text, encoding)
    stream.end()
    await once(stream, 'close')
    const expected = Buffer.concat(texts.map(([encoding, text]) => Buffer.from(text, encoding)))
    t.ok(oss.read(key).equals(expected), `highWaterMark ${highWaterMark}`)
  }
})

t.test('typed arrays and views write their bytes', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const stream = oss.open(key)
  stream.write(new Uint8Array([1, 2, 3]))
  stream.write(new Uint8Array(new Uint16Array([0x0504]).buffer))
  stream.write(new Uint8Array([9, 6, 7, 9]).subarray(1, 3))
  stream.end()
  await once(stream, 'close')
  t.same([...oss.read(key)], [1, 2, 3, 4, 5, 6, 7])
})

t.test('corked writes larger than all buffers arrive', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const stream = oss.open(key, { highWaterMark: 100 })
  const parts: Buffer[] = []
  let calledBack = 0
  for (let burst = 0; burst < 5; burst++) {
    stream.cork()
    for (let i = 0; i < 50; i++) {
      const part = seededBytes(1 + ((i * 7) % 90), burst * 50 + i)
      parts.push(part)
      stream.write(part, () => calledBack++)
    }
    process.nextTick(() => stream.uncork())
    await nextEvent(stream, 'drain')
  }
  stream.end()
  await once(stream, 'close')
  t.ok(oss.read(key).equals(Buffer.concat(parts)))
  t.equal(calledBack, 250, 'every write was called back')
})

t.test('after the write callback the caller may reuse its buffer', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const stream = oss.open(key, { highWaterMark: 64 })
  const buffer = Buffer.alloc(48)
  const expected: Buffer[] = []
  for (let i = 0; i < 40; i++) {
    seededBytes(48, i).copy(buffer)
    expected.push(Buffer.from(buffer))
    await new Promise(resolve => stream.write(buffer, resolve))
  }
  stream.end()
  await once(stream, 'close')
  t.ok(oss.read(key).equals(Buffer.concat(expected)))
})

t.test("write() returns false when the buffers are full, and 'drain' follows once", async t => {
  const oss = await startOss(t)
  oss.server.faults.push({ kind: 'slowAnswer', delay: 1e9, on: 'append', times: 1 })
  const stream = oss.open(oss.newKey(), { highWaterMark: 10 })
  await once(stream, 'ready')
  t.equal(stream.write(Buffer.alloc(10)), true, 'in flight')
  t.equal(stream.write(Buffer.alloc(9)), true, 'buffered')
  t.equal(
    stream.write(Buffer.alloc(3)),
    true,
    'one byte fits, two are held; Node counts them under its mark',
  )
  t.equal(stream.write(Buffer.alloc(10)), false, "Node's own queue is full now")
  t.equal(stream.bytesBuffered, 20, 'two buffers are the bound')
  stream.destroy()
  await once(stream, 'close')
})

t.test('flushInterval sends a few bytes; with 0 they stay', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const stream = oss.open(key, { flushInterval: 20 })
  stream.write('one')
  t.match(await nextEvent<AppendInfo>(stream, 'append'), {
    position: 0,
    length: 3,
    nextPosition: 3,
  })
  stream.write('two')
  t.match(await nextEvent<AppendInfo>(stream, 'append'), { position: 3, length: 3 })
  stream.end()
  await once(stream, 'close')
  t.equal(oss.read(key).toString(), 'onetwo')

  const kept = oss.open(oss.newKey(), { flushInterval: 0 })
  kept.write('kept')
  await once(kept, 'ready')
  await new Promise(setImmediate)
  t.equal(kept.bytesBuffered, 4)
  t.equal(process.getActiveResourcesInfo().filter(name => name === 'Timeout').length, 0, 'no timer')
  kept.end()
  await once(kept, 'close')
})

t.test('events and members show each step of a stream', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const stream = oss.open(key, { highWaterMark: 4 })
  t.strictSame(
    [stream.pending, stream.position, stream.crc64, stream.bytesWritten],
    [true, undefined, undefined, 0],
  )
  const appends: AppendInfo[] = []
  stream.on('append', info => appends.push(info))
  t.strictSame(await nextEvent<ReadyInfo>(stream, 'ready'), {
    position: 0,
    crc64: '0',
    exists: false,
  })
  t.equal(stream.pending, false)
  stream.end('abcdef')
  await once(stream, 'close')
  t.match(appends, [
    {
      position: 0,
      nextPosition: 4,
      length: 4,
      crc64: crc64('abcd'),
      attempts: 1,
      lostRaces: 0,
      reconciled: false,
    },
    { position: 4, nextPosition: 6, length: 2, crc64: crc64('abcdef'), attempts: 1 },
  ])
  t.match(appends[0]?.requestId, /^[0-9A-F]{24}$/)
  t.ok(appends.every(({ duration }) => duration > 0))

  const again = oss.open(key)
  t.strictSame(await nextEvent<ReadyInfo>(again, 'ready'), {
    position: 6,
    crc64: crc64('abcdef'),
    exists: true,
  })
  again.end('gh')
  await once(again, 'close')
  t.equal(again.bytesWritten, 2, 'of this stream')
  t.equal(again.position, 8, 'of the object')
  t.equal(oss.read(key).toString(), 'abcdefgh')
})

t.test('creation headers go with the first append only', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const creation = {
    contentType: 'text/plain; charset=utf-8',
    cacheControl: 'no-cache',
    contentDisposition: 'attachment; filename="a.log"',
    contentEncoding: 'identity',
    expires: new Date(Date.UTC(2030, 0, 1)),
    acl: 'private',
    storageClass: 'IA',
    serverSideEncryption: 'AES256',
    tagging: { app: 'demo', 'a b': '1/2' },
    metadata: { Device: 'gate-7' },
  } as const
  const headers = { 'x-oss-traffic-limit': '819200' }
  const stream = oss.open(key, { ...creation, headers, highWaterMark: 4 })
  stream.end('abcdefgh')
  await once(stream, 'close')
  const [first, second] = oss.server.requests.filter(r => r.operation === 'append')
  const sent = {
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-cache',
    'content-disposition': 'attachment; filename="a.log"',
    'content-encoding': 'identity',
    expires: 'Tue, 01 Jan 2030 00:00:00 GMT',
    'x-oss-object-acl': 'private',
    'x-oss-storage-class': 'IA',
    'x-oss-server-side-encryption': 'AES256',
    'x-oss-tagging': 'app=demo&a%20b=1%2F2',
    'x-oss-meta-device': 'gate-7',
  }
  t.match(first?.headers, { ...sent, ...headers }, 'the creating append')
  for (const name of Object.keys(sent)) t.notOk(second?.headers[name], `no ${name} later`)
  t.match(second?.headers, headers, 'extra headers go with every append')

  oss.server.requests.length = 0
  const again = oss.open(key, creation)
  again.end('more')
  await once(again, 'close')
  const [later] = oss.server.requests.filter(r => r.operation === 'append')
  for (const name of Object.keys(sent)) t.notOk(later?.headers[name], `no ${name} to what exists`)
})

t.test('an empty source creates an empty object with its creation headers', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  await pipeline(Readable.from([]), oss.open(key, { contentType: 'text/csv' }))
  t.equal(oss.read(key).length, 0)
  t.match(oss.server.requests.at(-1)?.headers, { 'content-type': 'text/csv' })
  const before = oss.server.requests.length
  await pipeline(Readable.from([]), oss.open(key))
  t.same(
    oss.server.requests.slice(before).map(r => r.operation),
    ['head'],
    'an object that exists is left alone',
  )
})

t.test('MD5 goes with every batch over http unless switched off', async t => {
  const oss = await startOss(t)
  for (const [contentMd5, md5] of [
    [undefined, 'XUFAKrxLKna5cZ2REBfFkg=='],
    [false, undefined],
  ] as const) {
    const stream = oss.open(oss.newKey(), { contentMd5 })
    stream.end('hello')
    await once(stream, 'close')
    t.equal(oss.server.requests.at(-1)?.headers['content-md5'], md5)
  }
})

t.test('a batch beyond maxObjectBytes is not sent', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const exact = oss.open(key, { maxObjectBytes: 8, highWaterMark: 4 })
  exact.end('12345678')
  await once(exact, 'close')
  t.equal(oss.read(key).toString(), '12345678', 'exactly full is fine')
  const over = oss.open(key, { maxObjectBytes: 8 })
  over.end('9')
  await t.rejects(once(over, 'close'), {
    code: 'OSS_ERR_OBJECT_FULL',
    bucket: BUCKET,
    key,
    tail: { position: 8, crc64: crc64('12345678') },
    unresolved: undefined,
  })
  t.equal(oss.read(key).toString(), '12345678')
})

t.test("the 'append' event of an empty object comes before its seal", async t => {
  const oss = await startOss(t)
  oss.server.faults.push({ kind: 'status', status: 500, on: 'seal' })
  const stream = oss.open(oss.newKey(), { seal: true })
  const emitted: string[] = []
  for (const event of ['append', 'retry']) stream.on(event, () => emitted.push(event))
  stream.end()
  await stream.flush()
  t.strictSame(emitted, ['append', 'retry'])
})

t.test('seal: true seals the object after the last append', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const stream = oss.open(key, { seal: true, highWaterMark: 2 })
  stream.end('abc')
  await once(stream, 'close')
  t.same(
    oss.server.requests.map(r => r.operation),
    ['head', 'append', 'append', 'seal'],
  )
  const again = oss.open(key)
  again.end('d')
  await t.rejects(once(again, 'close'), { code: 'AppendSealedObjectNotAllowed' })
})

t.test('a number as position must be the length of the object', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const first = createAppendStream(oss.options(key, { position: 0 }))
  first.end('abc')
  await once(first, 'close')
  t.equal(oss.server.requests.length, 1, 'position: 0 sends no HEAD')

  const known = oss.open(key, { position: 3, crc64: crc64('abc') })
  known.end('def')
  await once(known, 'close')
  t.equal(oss.server.requests.length, 2, 'nor does a position with its CRC')

  const probed = oss.open(key, { position: 6 })
  probed.end('ghi')
  await once(probed, 'close')
  t.equal(oss.read(key).toString(), 'abcdefghi')

  const wrong = oss.open(key, { position: 5 })
  wrong.end('x')
  await t.rejects(once(wrong, 'close'), {
    code: 'PositionNotEqualToLength',
    seen: { position: 9 },
  })
  t.equal(oss.read(key).length, 9, 'before a byte has left')
})

t.test('a url takes the place of bucket and key', async t => {
  const oss = await startOss(t)
  const { bucket, key, ...rest } = oss.options('a?b#c/%2F..')
  const stream = createAppendStream(`oss://${bucket}/${key}`, rest)
  stream.end('here')
  await once(stream, 'close')
  t.equal(oss.read('a?b#c/%2F..').toString(), 'here')
})

t.test('keys with special characters reach exactly their object', async t => {
  const oss = await startOss(t)
  const keys = [
    '日志/应用 日志.log',
    'a//b',
    'a/../b',
    '../../etc/passwd',
    'a/./b',
    'a\\b',
    "x y+z~(1)!'*.log",
    '%2F',
    '%252F',
    'q?x#y',
    'a&b=c;d',
    'dir/',
    '😀',
    `${'k'.repeat(1020)}日`,
  ]
  for (const key of keys) {
    const stream = oss.open(key)
    stream.end(`this is ${key}`)
    await once(stream, 'close')
  }
  for (const key of keys) t.equal(oss.read(key).toString(), `this is ${key}`, key.slice(0, 40))
  t.throws(() => oss.open(`${'k'.repeat(1021)}日`), { code: 'OSS_ERR_INVALID_OPTION' })
})
