/** User code and Node's Writable: what callers throw, and bytes that cannot be accepted, never hang a stream. */

import { getEventListeners, once } from 'node:events'
import t, { type Test } from 'tap'
import { type OssAppendStream, OssClient } from '../../lib/index.ts'
import { networkOptions, type Oss, startOss, waitUntil } from '../helpers/test-oss.ts'

// What is tested here hangs when it fails.
t.setTimeout(60_000)

const LARGE = 1 << 20

/** The messages of uncaught exceptions until the end of the test. */
function catchUncaught(t: Test): string[] {
  const messages: string[] = []
  const listener = (error: Error) => messages.push(error.message)
  process.on('uncaughtException', listener)
  t.teardown(() => process.off('uncaughtException', listener))
  return messages
}

/** All events and callbacks that tell the end of a stream. */
async function endOf(t: Test, stream: ReturnType<Oss['open']>) {
  const seen: string[] = []
  stream.on('error', error => seen.push(`error ${error.message}`))
  const flushed = stream.flush().then(
    () => seen.push('flushed'),
    error => seen.push(`flush: ${error.message}`),
  )
  const closed = new Promise<void>(resolve => {
    stream.close(error => {
      seen.push(`close: ${error?.message}`)
      resolve()
    })
  })
  await Promise.all([flushed, closed])
  t.equal(stream.closed, true)
  return seen.sort()
}

t.test(
  'a write callback that throws on failure prevents neither the error nor the close',
  async t => {
    const oss = await startOss(t)
    const uncaught = catchUncaught(t)
    const stream = oss.open(oss.newKey())
    let second: Error | null | undefined
    stream.write(Buffer.alloc(20 * LARGE), error => {
      throw new Error(`of the callback: ${error?.message}`)
    })
    stream.write('x', error => (second = error))
    setTimeout(() => stream.destroy(new Error('the reason')), 5)
    t.same(await endOf(t, stream), ['close: the reason', 'error the reason', 'flush: the reason'])
    t.same(uncaught, ['of the callback: the reason'])
    t.match(second, Error, 'the other callback is called')
  },
)

t.test('a write callback that throws prevents no other, no flush and no finish', async t => {
  const oss = await startOss(t)
  const uncaught = catchUncaught(t)
  const key = oss.newKey()
  const stream = oss.open(key)
  let others = 0
  const fail = () => {
    throw new Error('of the callback')
  }
  stream.write(Buffer.alloc(600_000), fail)
  for (let i = 0; i < 3; i++) {
    stream.write('b', fail)
    stream.write('c', () => (others += 1))
  }
  await stream.flush()
  stream.end('d')
  await once(stream, 'finish')
  t.equal(oss.read(key).length, 600_007)
  t.equal(others, 3)
  t.equal(uncaught.length, 4)
})

t.test("a string with the encoding 'buffer' fails the stream, queued or not", async t => {
  const oss = await startOss(t)
  for (const isQueued of [false, true]) {
    const stream = oss.open(oss.newKey())
    if (isQueued) stream.write(Buffer.alloc(LARGE))
    const message = 'Unknown encoding: buffer'
    try {
      stream.write('abc', 'buffer' as BufferEncoding)
    } catch (error) {
      // Node 24 and later refuse it in `write()`, as any unknown encoding, and the stream goes on.
      t.match(error, { code: 'ERR_UNKNOWN_ENCODING', message })
      stream.end('x')
      await once(stream, 'finish')
      continue
    }
    stream.end('x')
    t.same(await endOf(t, stream), [`close: ${message}`, `error ${message}`, `flush: ${message}`])
  }
})

t.test('a buffer that cannot be allocated fails the stream', async t => {
  const oss = await startOss(t)
  const { allocUnsafeSlow } = Buffer
  t.teardown(() => {
    Buffer.allocUnsafeSlow = allocUnsafeSlow
  })
  const writes: [string, (stream: ReturnType<Oss['open']>) => void][] = [
    ['a short write', stream => stream.write('abc')],
    ['a long write, which is held', stream => stream.write(Buffer.alloc(LARGE))],
    [
      'corked writes',
      stream => {
        stream.cork()
        stream.write('abc')
        stream.write('def')
        stream.uncork()
      },
    ],
  ]
  for (const [what, write] of writes) {
    const stream = oss.open(oss.newKey())
    await stream.flush()
    Buffer.allocUnsafeSlow = () => {
      throw new RangeError('Array buffer allocation failed')
    }
    write(stream)
    await waitUntil(() => stream.errored)
    Buffer.allocUnsafeSlow = allocUnsafeSlow
    stream.end('def')
    const seen = await endOf(t, stream)
    t.same(
      seen.filter(each => !each.startsWith('error ')),
      ['close: Array buffer allocation failed', 'flush: Array buffer allocation failed'],
      what,
    )
  }
})

t.test('a write that Node refuses at the call leaves the stream as it was', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const stream = oss.open(key)
  const wrong: [unknown, unknown][] = [
    [null, undefined],
    [5, undefined],
    ['abc', 'no encoding'],
  ]
  for (const [chunk, encoding] of wrong) {
    t.throws(() => stream.write(chunk, encoding as BufferEncoding), { name: 'TypeError' })
  }
  stream.write('abc')
  t.match(await stream.flush(), { position: 3 })
  stream.end()
  await once(stream, 'close')
})

t.test('a callback of end() that throws prevents neither finish nor close', async t => {
  const oss = await startOss(t)
  const uncaught = catchUncaught(t)
  const key = oss.newKey()
  const stream = oss.open(key)
  const events: string[] = []
  stream.once('finish', () => events.push('finish'))
  stream.end('abc', () => {
    events.push('callback')
    throw new Error('of the callback')
  })
  await once(stream, 'close')
  t.same(events, ['callback', 'finish'])
  t.equal(oss.read(key).length, 3)
  t.same(uncaught, ['of the callback'])
})

t.test('a callback that is no function is ignored, as Node ignores that of end()', async t => {
  const oss = await startOss(t)
  const uncaught = catchUncaught(t)
  const stream = oss.open(oss.newKey())
  stream.write('abc')
  const flushed = stream.flush(5 as unknown as () => void) as unknown as Promise<unknown>
  t.match(await flushed, { position: 3 })
  stream.close(5 as unknown as () => void)
  await once(stream, 'close')
  t.same(uncaught, [])
})

t.test('a close callback or listener that throws prevents no other', async t => {
  const oss = await startOss(t)
  const uncaught = catchUncaught(t)
  const stream = oss.open(oss.newKey())
  stream.on('close', () => {
    throw new Error('of the listener')
  })
  stream.close(() => {
    throw new Error('of the callback')
  })
  const second = new Promise(resolve => stream.close(resolve))
  await stream[Symbol.asyncDispose]()
  t.equal(await second, null)
  t.same(uncaught.sort(), ['of the callback', 'of the listener'])
})

t.test('a listener of Node’s own events that throws prevents no later event', async t => {
  const oss = await startOss(t)
  const uncaught = catchUncaught(t)
  const key = oss.newKey()
  const stream = oss.open(key, { highWaterMark: 1000 })
  const events = ['drain', 'finish', 'close'] as const
  const drained = once(stream, 'drain')
  for (const event of events) {
    stream.once(event, () => {
      throw new Error(`of ${event}`)
    })
  }
  let accepted = 0
  const hasRoom = stream.write(Buffer.alloc(5000), () => {
    accepted += 1
  })
  t.equal(hasRoom, false)
  await drained
  await new Promise<void>(resolve => stream.close(() => resolve()))
  t.equal(oss.read(key).length, 5000)
  t.equal(accepted, 1, 'the callback of the write is called')
  t.same(
    uncaught,
    events.map(event => `of ${event}`),
  )
})

t.test('an error listener that throws does not prevent the close', async t => {
  const oss = await startOss(t)
  const uncaught = catchUncaught(t)
  const stream = oss.open(oss.newKey())
  stream.on('error', error => {
    throw error
  })
  const closed = new Promise(resolve => stream.close(resolve))
  stream.destroy(new Error('the reason'))
  t.match(await closed, { message: 'the reason' })
  t.same(uncaught, ['the reason'])
})

t.test('an error without a listener is uncaught, as in Node', async t => {
  const oss = await startOss(t)
  const uncaught = catchUncaught(t)
  const stream = oss.open(oss.newKey())
  stream.destroy(new Error('the reason'))
  await waitUntil(() => uncaught.length > 0)
  t.same(uncaught, ['the reason'])
})

t.test('hundreds of streams share one signal without a warning, and with one listener', async t => {
  const oss = await startOss(t)
  const warnings: Error[] = []
  const onWarning = (warning: Error) => warnings.push(warning)
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const controller = new AbortController()
  const { signal } = controller
  const client = new OssClient(networkOptions(oss.server))
  const open = () => oss.open(oss.newKey(), { client, signal })
  const streams = Array.from({ length: 200 }, open)
  t.equal(getEventListeners(signal, 'abort').length, 1)
  for (const stream of streams.slice(1)) stream.destroy()
  await Promise.all(streams.slice(1).map(stream => once(stream, 'close')))
  t.equal(getEventListeners(signal, 'abort').length, 1, 'the first stream is open')
  streams[0]?.destroy()
  await once(streams[0] as OssAppendStream, 'close')
  t.equal(getEventListeners(signal, 'abort').length, 0)

  const aborted = Array.from({ length: 200 }, open)
  const failures = aborted.map(stream => once(stream, 'close').catch(error => error.code))
  controller.abort()
  t.same(new Set(await Promise.all(failures)), new Set(['ABORT_ERR']))
  t.equal(getEventListeners(signal, 'abort').length, 0)
  await client.close()
  t.same(warnings, [])
})
