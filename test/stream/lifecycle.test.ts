/** The life of a stream: flush in every state, the ways to end, and what stays open afterwards. */

import { getEventListeners, once } from 'node:events'
import { PassThrough, Readable } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'
import t from 'tap'
import {
  type AppendInfo,
  crc64,
  createAppendStream,
  type OssAppendStream,
  OssClient,
  type OssError,
  type RetryInfo,
  type Tail,
} from '../../lib/index.ts'
import { BUCKET, networkOptions, nextEvent, startOss, waitUntil } from '../helpers/test-oss.ts'

const tailOf = (text: string): Tail => ({ position: text.length, crc64: crc64(text) })

t.test('flush', async t => {
  const oss = await startOss(t)
  const lazy = { flushInterval: 0 }

  t.test(
    'flush() of an empty stream resolves when the tail is known, and creates no object',
    async t => {
      const key = oss.newKey()
      const stream = oss.open(key, lazy)
      t.same(await stream.flush(), tailOf(''))
      t.notOk(oss.server.stat(BUCKET, key))
      stream.destroy()
    },
  )

  t.test('flush() sends what was written before it, without a full batch', async t => {
    const stream = oss.open(oss.newKey(), lazy)
    stream.write('abc')
    t.same(await stream.flush(), tailOf('abc'), 'the stream is open')
    stream.write('def')
    t.same(await stream.flush(), tailOf('abcdef'))
    stream.destroy()
  })

  t.test("flush() covers what waits in Node's queue", async t => {
    const stream = oss.open(oss.newKey(), { ...lazy, highWaterMark: 2 })
    for (const char of 'abcdefghijk') stream.write(char)
    t.ok(stream.writableLength > 0, 'something waits there')
    t.same(await stream.flush(), tailOf('abcdefghijk'))
    stream.destroy()
  })

  t.test('flush() uncorks the stream', async t => {
    const stream = oss.open(oss.newKey(), lazy)
    await once(stream, 'ready')
    stream.cork()
    stream.cork()
    stream.write('abc')
    t.same(await stream.flush(), tailOf('abc'))
    t.equal(stream.writableCorked, 0)
    stream.uncork()
    stream.destroy()
  })

  t.test('flush() does not wait for what is written after it', async t => {
    const stream = oss.open(oss.newKey(), { ...lazy, highWaterMark: 1 << 20 })
    const first = Buffer.alloc(600_000, 'a')
    // Longer than what is copied at once, so Node queues the chunks behind it.
    stream.write(first)
    stream.write('b')
    const flushed = stream.flush()
    for (let i = 0; i < 8; i++) stream.write(Buffer.alloc(1 << 20, 'c'))
    const tail = await flushed
    t.ok(tail.position > first.length, 'it covers what was written before')
    t.ok(tail.position <= 2 << 20, `it resolves at ${tail.position} bytes`)
    stream.destroy()
  })

  t.test(
    'flush() resolves although a record that is written after it fails the stream',
    async t => {
      const stream = oss.open(oss.newKey(), { ...lazy, align: '\n', maxRecordBytes: 1 << 20 })
      const first = `${'a'.repeat(600_000)}\n`
      stream.write(first)
      stream.write('before\n')
      const flushed = stream.flush()
      stream.write('x'.repeat(2 << 20))
      const closed = once(stream, 'close')
      const settled = await Promise.allSettled([flushed, closed])
      t.match(settled, [
        { status: 'fulfilled', value: tailOf(`${first}before\n`) },
        { status: 'rejected', reason: { code: 'OSS_ERR_RECORD_TOO_LARGE' } },
      ])
    },
  )

  t.test('flush() covers chunks that Node passes on together, each at its own end', async t => {
    const stream = oss.open(oss.newKey(), { ...lazy, highWaterMark: 8 })
    await once(stream, 'ready')
    const tails: Promise<Tail>[] = []
    stream.cork()
    for (const text of ['12', '', '345678', '9', 'abcdefghijklmnopq', 'r']) {
      stream.write(text)
      tails.push(stream.flush())
      stream.cork()
    }
    stream.uncork()
    const positions = (await Promise.all(tails)).map(({ position }) => position)
    const written = [2, 2, 8, 9, 26, 27]
    for (const [index, position] of positions.entries()) {
      t.ok(position >= (written[index] ?? 0), `flush ${index} resolves at ${position} bytes`)
    }
    stream.destroy()
  })

  t.test("flush() resolves after the 'append' event", async t => {
    const stream = oss.open(oss.newKey(), lazy)
    const story: string[] = []
    stream.on('append', ({ length }) => story.push(`append ${length}`))
    stream.write('abc')
    await stream.flush().then(() => story.push('flushed'))
    t.same(story, ['append 3', 'flushed'])
    stream.destroy()
  })

  t.test('flush(callback) returns no promise, and has the arity that pino detects', async t => {
    const stream = oss.open(oss.newKey(), lazy)
    stream.write('abc')
    t.equal(stream.flush.length, 1)
    const [error, tail] = await new Promise<[unknown, unknown]>(resolve => {
      const returned: unknown = stream.flush((...args) => resolve([args[0], args[1]]))
      t.equal(returned, undefined)
    })
    t.strictSame([error, tail], [null, tailOf('abc')])
    stream.destroy()
    await once(stream, 'close')
    const failure = await new Promise(resolve => stream.flush(resolve))
    t.match(failure, { code: 'OSS_ERR_ABORTED' })
  })

  t.test("flush() after end() resolves with 'finish', and after that at once", async t => {
    const stream = oss.open(oss.newKey(), lazy)
    stream.write('abc')
    stream.end('def')
    t.same(await stream.flush(), tailOf('abcdef'))
    await finished(stream)
    t.same(await stream.flush(), tailOf('abcdef'))
  })

  t.test("flush() rejects with the stream's error, before and after it", async t => {
    oss.server.faults.push({ kind: 'status', status: 403, code: 'AccessDenied' })
    const stream = oss.open(oss.newKey(), lazy)
    stream.write('abc')
    const flushed = stream.flush()
    const failed = once(stream, 'close')
    await t.rejects(flushed, { code: 'AccessDenied' })
    await t.rejects(failed, { code: 'AccessDenied' })
    await t.rejects(stream.flush(), { code: 'AccessDenied' })
  })

  t.test('1,000 flushes at once are settled in order', async t => {
    const stream = oss.open(oss.newKey(), lazy)
    const flushes: Promise<Tail>[] = []
    for (let i = 0; i < 50; i++) {
      stream.write('x')
      flushes.push(stream.flush())
    }
    const tails = await Promise.all(flushes)
    t.equal(tails.at(-1)?.position, 50)
    t.ok(
      tails.every(({ position }, i) => position > i),
      'each covers its own bytes',
    )
    stream.destroy()
  })
})

t.test('close(), destroySoon() and asyncDispose end the stream and wait for it', async t => {
  const oss = await startOss(t)
  const ways: [string, (stream: OssAppendStream) => Promise<unknown>][] = [
    ['close(cb)', stream => new Promise(resolve => stream.close(resolve))],
    [
      'close(cb) twice',
      stream => {
        stream.close()
        return new Promise(resolve => stream.close(resolve))
      },
    ],
    [
      'destroySoon',
      stream => {
        stream.destroySoon()
        return once(stream, 'close')
      },
    ],
    ['asyncDispose', stream => stream[Symbol.asyncDispose]()],
  ]
  for (const [label, way] of ways) {
    const key = oss.newKey()
    const stream = oss.open(key, { flushInterval: 0 })
    stream.write('abc')
    await way(stream)
    t.ok(stream.closed && stream.writableFinished, label)
    t.equal(oss.read(key).toString(), 'abc', `${label}: all bytes`)
  }
  const stream = oss.open(oss.newKey())
  stream.end()
  await once(stream, 'close')
  t.notOk(await new Promise(resolve => stream.close(resolve)), 'close(cb) after the close')
  await stream[Symbol.asyncDispose]()

  oss.server.faults.push({ kind: 'status', status: 403, code: 'AccessDenied' })
  const failing = oss.open(oss.newKey())
  failing.on('error', () => {})
  failing.write('abc')
  await t.rejects(
    failing[Symbol.asyncDispose](),
    { code: 'AccessDenied' },
    'it rejects if the stream fails',
  )
})

t.test('destroy', async t => {
  const oss = await startOss(t)

  t.test(
    "destroy() before end() emits no 'error', and pipeline() rejects with a premature close",
    async t => {
      const key = oss.newKey()
      const stream = oss.open(key, { flushInterval: 0 })
      const source = new PassThrough()
      const piped = pipeline(source, stream)
      source.write('abc')
      await once(stream, 'ready')
      stream.destroy()
      await t.rejects(piped, { code: 'ERR_STREAM_PREMATURE_CLOSE' })
      t.equal(stream.errored, null)
      t.notOk(oss.server.stat(BUCKET, key), 'what waited was not sent')
    },
  )

  t.test("destroy() between end() and 'finish' makes pipeline() reject", async t => {
    oss.server.faults.push({ kind: 'lost', how: 'hang' })
    const key = oss.newKey()
    const stream = oss.open(key)
    const piped = pipeline(Readable.from(['abc']), stream)
    await waitUntil(() => oss.server.stat(BUCKET, key))
    stream.destroy()
    await t.rejects(piped, {
      code: 'OSS_ERR_ABORTED',
      bucket: BUCKET,
      key,
      tail: tailOf(''),
      unresolved: { position: 0, length: 3 },
    })
    t.notOk(stream.writableFinished)
  })

  t.test('destroy(error) passes the error to pending flushes and write callbacks', async t => {
    oss.server.faults.push({ kind: 'slowAnswer', delay: 1e9, times: 1 })
    const stream = oss.open(oss.newKey(), { highWaterMark: 2 })
    const failure = new Error('mine')
    const errors: unknown[] = []
    stream.write('ab')
    stream.write('cd')
    stream.write('ef', error => errors.push(error))
    stream.write('gh', error => errors.push(error))
    const flushed = stream.flush()
    await waitUntil(() => oss.server.faults.length === 0)
    stream.destroy(failure)
    await t.rejects(once(stream, 'close'), failure)
    await t.rejects(flushed, failure)
    t.same(errors, [failure, failure], 'the held write and the queued one')
  })

  t.test('destroy() ends the opening at once', async t => {
    oss.server.faults.push({ kind: 'slowAnswer', delay: 1e9, on: 'head' })
    const stream = oss.open(oss.newKey())
    stream.write('abc')
    const retried: unknown[] = []
    stream.on('retry', info => retried.push(info))
    await waitUntil(() => oss.server.faults.length === 0)
    stream.destroy()
    await once(stream, 'close')
    t.equal(stream.pending, true)
    t.same(retried, [])
  })

  t.test('destroy() ends a backoff at once', async t => {
    oss.server.faults.push({ kind: 'html' })
    const stream = oss.open(oss.newKey(), { retry: { minDelay: 1e6, maxDelay: 1e6 } })
    stream.end('abc')
    const { attempt, error, position } = await nextEvent<RetryInfo>(stream, 'retry')
    t.match(
      { attempt, code: (error as OssError).code, position },
      { attempt: 1, code: 'OSS_ERR_NETWORK', position: 0 },
    )
    stream.destroy()
    await t.rejects(once(stream, 'close'), { code: 'OSS_ERR_ABORTED', attempts: 1 })
  })
})

t.test('an aborted signal destroys the stream with an AbortError', async t => {
  const oss = await startOss(t)
  const controller = new AbortController()
  oss.server.faults.push({ kind: 'slowAnswer', delay: 1e9 })
  const stream = oss.open(oss.newKey(), { signal: controller.signal })
  stream.end('abc')
  await waitUntil(() => oss.server.faults.length === 0)
  controller.abort(new Error('enough'))
  await t.rejects(once(stream, 'close'), { name: 'AbortError', cause: { message: 'enough' } })

  const late = oss.open(oss.newKey(), { signal: AbortSignal.abort() })
  await t.rejects(once(late, 'close'), { name: 'AbortError' }, 'aborted before the beginning')

  const lasting = new AbortController()
  for (let i = 0; i < 20; i++) {
    const each = oss.open(oss.newKey(), { signal: lasting.signal })
    each.end('abc')
    await once(each, 'close')
  }
  t.equal(getEventListeners(lasting.signal, 'abort').length, 0, 'no listener is left on it')
})

t.test('a source that fails destroys the stream with its error', async t => {
  const oss = await startOss(t)
  const stream = oss.open(oss.newKey())
  const source = Readable.from(failAfter(stream))
  const closed = new Promise(resolve => stream.once('close', resolve))
  await t.rejects(pipeline(source, stream), { message: 'camera gone' })
  await closed
  t.match(stream.errored, { message: 'camera gone' })
})

async function* failAfter(stream: OssAppendStream) {
  yield 'abc'
  await once(stream, 'ready')
  throw new Error('camera gone')
}

t.test('a failure carries bucket, key, tail and attempts', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const stream = oss.open(key, { highWaterMark: 3 })
  stream.write('abc')
  await nextEvent<AppendInfo>(stream, 'append')
  oss.server.faults.push(
    { kind: 'html', times: 2 },
    { kind: 'status', status: 403, code: 'AccessDenied' },
  )
  stream.write('def')
  await t.rejects(once(stream, 'close'), {
    code: 'AccessDenied',
    status: 403,
    bucket: BUCKET,
    key,
    tail: tailOf('abc'),
    attempts: 3,
    unresolved: { position: 3, length: 3 },
    requestId: /^[0-9A-F]{24}$/,
  })
})

t.test('a listener that throws is an uncaught exception, and does not fail the stream', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const stream = oss.open(key, { highWaterMark: 3 })
  const caught: unknown[] = []
  process.on('uncaughtException', error => caught.push(error))
  t.teardown(() => process.removeAllListeners('uncaughtException'))
  for (const event of ['ready', 'append']) {
    stream.on(event, () => {
      throw new Error(`mine at ${event}`)
    })
  }
  stream.end('abcdefgh')
  await once(stream, 'close')
  t.equal(oss.read(key).toString(), 'abcdefgh')
  t.equal(stream.errored, null)
  const texts = caught.map(error => (error as Error).message)
  t.same(texts.sort(), ['mine at append', 'mine at append', 'mine at append', 'mine at ready'])
})

t.test("after 'close' no socket, timer or listener is left", async t => {
  const oss = await startOss(t)
  for (const end of ['end', 'destroy'] as const) {
    const stream = oss.open(oss.newKey())
    stream.write('abc')
    await stream.flush()
    stream[end]()
    await once(stream, 'close')
    await waitUntil(() => oss.server.openConnections === 0)
    await waitUntil(() => !process.getActiveResourcesInfo().some(isOurs))
    t.pass(end)
  }
})

function isOurs(name: string): boolean {
  return name === 'Timeout' || name === 'TCPSocketWrap'
}

t.test('streams that share a client do not close it', async t => {
  const oss = await startOss(t)
  const client = new OssClient(networkOptions(oss.server))
  const keys = Array.from({ length: 20 }, () => oss.newKey())
  await Promise.all(keys.map(key => pipeline(Readable.from([key]), oss.open(key, { client }))))
  for (const key of keys) t.equal(oss.read(key).toString(), key)
  t.ok(oss.server.openConnections > 0, 'still open for others')
  await client.close()
  await waitUntil(() => oss.server.openConnections === 0)
})

t.test('pipeline() rejects if its source ends while a destroyed stream closes', async t => {
  const oss = await startOss(t)
  for (let ticks = 0; ticks < 20; ticks++) {
    const stream = oss.open(oss.newKey(), { flushInterval: 0 })
    stream.on('error', () => {})
    stream.write('abc')
    await stream.flush()
    stream.write('d')
    const ended = finished(stream)
    stream.destroy()
    for (let tick = 0; tick < ticks; tick++) await new Promise<void>(process.nextTick)
    stream.end()
    await t.rejects(ended, { code: 'OSS_ERR_ABORTED' }, `${ticks} ticks later`)
  }
})

t.test('flush() settles, whenever the stream is destroyed', async t => {
  const oss = await startOss(t)
  const client = new OssClient(networkOptions(oss.server))
  t.teardown(() => client.close())
  for (let ticks = 0; ticks < 8; ticks++) {
    const stream = oss.open(oss.newKey(), { client, flushInterval: 0 })
    await once(stream, 'ready')
    stream.write('abc')
    const flushed = stream.flush()
    for (let tick = 0; tick < ticks; tick++) await Promise.resolve()
    stream.destroy()
    await t.rejects(flushed, { code: 'OSS_ERR_ABORTED' }, `${ticks} ticks later`)
  }
})

/** Never answers an append. */
const SILENT = {
  head: async () => null,
  append: (_: unknown, { signal }: { readonly signal: AbortSignal }) =>
    new Promise<never>((_, reject) =>
      signal.addEventListener('abort', () => reject(signal.reason)),
    ),
  close: async () => {},
}

t.test('every flush() and close() of a destroyed stream gets the same error', async t => {
  for (const isHeld of [false, true]) {
    await t.test(isHeld ? 'a write is held' : 'none is', async t => {
      const options = { bucket: BUCKET, key: 'k', client: SILENT, highWaterMark: 1000 }
      const stream = createAppendStream(options)
      const called: string[] = []
      stream.on('error', () => called.push('error'))
      stream.write(Buffer.alloc(500))
      const flushes = [stream.flush()]
      await once(stream, 'ready')
      await new Promise(setImmediate)
      if (isHeld) stream.write(Buffer.alloc(5000), () => called.push('held'))
      else stream.cork()
      stream.write('x', () => called.push('queued'))
      flushes.push(stream.flush())
      stream.destroy()
      flushes.push(stream.flush())
      await once(stream, 'close')
      flushes.push(stream.flush())
      const why = {
        code: 'OSS_ERR_ABORTED',
        bucket: BUCKET,
        tail: tailOf(''),
        unresolved: { position: 0, length: 500 },
      }
      for (const [i, flushed] of flushes.entries()) await t.rejects(flushed, why, `flush ${i}`)
      await stream[Symbol.asyncDispose]()
      t.notOk(await new Promise(resolve => stream.close(resolve)), 'nor is it a failure')
      t.same(called, isHeld ? ['held', 'queued'] : ['queued'])
    })
  }
})

t.test('a held write is not copied after destroy()', async t => {
  const immediates = () => process.getActiveResourcesInfo().filter(name => name === 'Immediate')
  const stream = createAppendStream({ bucket: BUCKET, key: 'k', client: SILENT })
  stream.write(Buffer.alloc(5 * 1024 * 1024))
  const others = immediates().length - 1
  stream.destroy()
  t.equal(immediates().length, others)
  await once(stream, 'close')
})

t.test('a custom client that rejects with undefined fails the stream', async t => {
  for (const nothing of [undefined, null, '']) {
    const client = {
      head: async () => null,
      append: () => Promise.reject(nothing),
      close: async () => {},
    }
    const stream = createAppendStream({ bucket: 'examplebucket', key: 'k', client })
    const error = await pipeline(Readable.from(['bytes']), stream).catch((error: Error) => error)
    t.match(error, { code: 'OSS_ERR_CLIENT', message: /^the client failed: no Error/ })
    t.equal(stream.bytesWritten, 0)
  }
})
