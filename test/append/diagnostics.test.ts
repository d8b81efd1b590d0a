/** What subscribers of the tracing channels see of each attempt, and in which context users are called. */

import { AsyncLocalStorage } from 'node:async_hooks'
import { tracingChannel } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import {
  type AttemptTrace,
  createAppendStream,
  createRollingAppendStream,
  type OssError,
} from '../../lib/index.ts'
import type { TransportOptions } from '../../lib/loggers/outbox.ts'
import { createTransport } from '../../lib/loggers/pino.ts'
import { OssTransport } from '../../lib/loggers/winston.ts'
import { BUCKET, networkOptions, startOss } from '../helpers/test-oss.ts'

/** Records every event of a channel, as it looks at that moment, until the test ends. */
function record(t: Test, name: string): { event: string; trace: AttemptTrace }[] {
  const seen: { event: string; trace: AttemptTrace }[] = []
  const note = (event: string) => (trace: object) => {
    seen.push({ event, trace: { ...trace } as AttemptTrace })
  }
  const handlers = {
    start: note('start'),
    end: () => {},
    asyncStart: () => {},
    asyncEnd: note('asyncEnd'),
    error: note('error'),
  }
  const channel = tracingChannel(`oss-append-stream:${name}`)
  channel.subscribe(handlers)
  t.teardown(() => channel.unsubscribe(handlers))
  return seen
}

t.test('an attempt is a trace, with what OSS called its request', async t => {
  const oss = await startOss(t)
  const opens = record(t, 'open')
  const appends = record(t, 'append')
  oss.server.faults.push({ kind: 'status', status: 500, on: 'head' })
  oss.server.faults.push({ kind: 'status', status: 503 })
  const key = oss.newKey()
  const stream = oss.open(key)
  stream.end('hello')
  await stream.flush()
  const place = { bucket: BUCKET, key }
  t.match(opens, [
    { event: 'start', trace: { ...place, attempt: 1, requestId: undefined } },
    { event: 'error', trace: { attempt: 1, requestId: String, error: { status: 500 } } },
    { event: 'asyncEnd', trace: { attempt: 1 } },
    { event: 'start', trace: { ...place, attempt: 2 } },
    { event: 'asyncEnd', trace: { attempt: 2, position: 0, error: undefined } },
  ])
  const append = { ...place, position: 0, length: 5 }
  t.match(appends, [
    { event: 'start', trace: { ...append, attempt: 1, requestId: undefined } },
    { event: 'error', trace: { ...append, requestId: String, error: { status: 503 } } },
    { event: 'asyncEnd', trace: { ...append, attempt: 1 } },
    { event: 'start', trace: { ...append, attempt: 2, requestId: undefined } },
    { event: 'asyncEnd', trace: { ...append, attempt: 2, requestId: /^[0-9A-F]{24}$/ } },
  ])
  t.equal(opens.length, 5)
  t.equal(appends.length, 5)

  const again = oss.open(key)
  await again.flush()
  t.match(opens.at(-1), { trace: { position: 5, requestId: /^[0-9A-F]{24}$/ } }, 'of the HEAD')
  again.destroy()

  const { accessKeyId, accessKeySecret } = oss.server.credentials
  const told = inspect([opens, appends], { depth: 9, showHidden: true })
  for (const secret of [accessKeyId, accessKeySecret]) t.notOk(told.includes(secret))
})

t.test(
  'each object that a rolling stream looks for is asked in traces, and nothing else is',
  async t => {
    const oss = await startOss(t)
    const opens = record(t, 'open')
    oss.server.faults.push({ kind: 'status', status: 500, on: 'head' })
    const key = 'rolled/{index}'
    const stream = createRollingAppendStream({ ...oss.options(key), key, maxBytes: 5 })
    for (const text of ['hello', 'world']) {
      stream.write(text)
      await stream.flush()
    }
    await new Promise<void>(resolve => stream.close(() => resolve()))
    const starts = opens.filter(({ event }) => event === 'start').map(({ trace }) => trace)
    const heads = oss.server.requests.filter(({ operation }) => operation === 'head')
    t.strictSame(
      starts.map(trace => trace.key),
      heads.map(head => head.key),
    )
    t.match(starts.slice(0, 2), [
      { key: 'rolled/0', attempt: 1 },
      { key: 'rolled/0', attempt: 2 },
    ])
  },
)

t.test('a stream that knows its tail asks for none, and traces none', async t => {
  const oss = await startOss(t)
  const opens = record(t, 'open')
  const stream = oss.open(oss.newKey(), { position: 0 })
  stream.end('hello')
  await stream.flush()
  t.strictSame(opens, [])
})

t.test('the request that told is named, whichever way the tail was found', async t => {
  const oss = await startOss(t)
  const opens = record(t, 'open')
  const key = oss.newKey()
  const first = oss.open(key)
  first.end('hello')
  await first.flush()
  oss.server.faults.push({ kind: 'forbidden', on: 'head' })
  const probing = oss.open(key)
  await probing.flush()
  const told = { trace: { position: 5, requestId: /^[0-9A-F]{24}$/ } }
  t.match(opens.at(-1), told, 'by an append of nothing')
  const confirming = oss.open(key, { position: 5 })
  await confirming.flush()
  t.match(opens.at(-1), told, 'by one at the position that was given')
  for (const stream of [probing, confirming]) stream.destroy()
})

t.test('a conflict names the request that was refused; a lost reply is told to be one', async t => {
  const oss = await startOss(t)
  const appends = record(t, 'append')
  const lost = oss.open(oss.newKey())
  oss.server.faults.push({ kind: 'lost', how: 'reset' })
  lost.end('hello')
  await lost.flush()
  const end = appends.at(-1)
  t.match(end, { event: 'asyncEnd', trace: { reconciled: true, requestId: String } })
  t.notMatch(end?.trace, { result: Object }, 'nothing but what is documented')

  const key = oss.newKey()
  const late = oss.open(key)
  late.on('error', () => {}) // flush() below tells it
  await late.flush()
  const early = oss.open(key)
  early.end('first')
  await early.flush()
  late.end('second')
  await t.rejects(late.flush(), { code: 'PositionNotEqualToLength' })
  t.match(appends.at(-1), {
    trace: { requestId: String, error: { code: 'PositionNotEqualToLength' } },
  })
})

t.test('a reply that cannot be true is named too, by the trace and by the error', async t => {
  const oss = await startOss(t)
  const appends = record(t, 'append')
  oss.server.faults.push({ kind: 'mangled', part: 'crc64', how: 'wrong' })
  const stream = oss.open(oss.newKey())
  stream.on('error', () => {}) // flush() below tells it
  stream.end('hello')
  const error: OssError = await stream.flush().then(
    () => t.fail('it was believed'),
    error => error,
  )
  t.equal(error.code, 'OSS_ERR_INTEGRITY')
  t.match(error.requestId, /^[0-9A-F]{24}$/)
  const { code, message, requestId } = error
  const trace = { requestId, error: { code, message, requestId } }
  t.match(appends.at(-1), { event: 'asyncEnd', trace })
})

t.test('what a subscriber binds to an attempt is there in the request', async t => {
  const storage = new AsyncLocalStorage<unknown>()
  const channel = tracingChannel<unknown, AttemptTrace>('oss-append-stream:append')
  channel.start.bindStore(storage, ({ position, attempt }) => `${position}, ${attempt}`)
  t.teardown(() => channel.start.unbindStore(storage))
  const oss = await startOss(t)
  const seen: unknown[] = []
  const { accessKeyId, accessKeySecret } = oss.server.credentials
  const credentials = () => {
    seen.push(storage.getStore())
    return { accessKeyId, accessKeySecret }
  }
  oss.server.faults.push({ kind: 'status', status: 500 })
  const stream = oss.open(oss.newKey(), { credentials, position: 0 })
  stream.end('hello')
  await stream.flush()
  t.strictSame(seen, ['0, 1', '0, 2'])
})

t.test('users are called in the context in which they asked', async t => {
  const oss = await startOss(t)
  const storage = new AsyncLocalStorage<string>()
  const { accessKeyId, accessKeySecret } = oss.server.credentials
  const seen: Record<string, string | undefined> = {}
  const note = (name: string) => () => {
    seen[name] = storage.getStore()
  }
  const credentials = () => {
    seen.credentials = storage.getStore()
    return { accessKeyId, accessKeySecret }
  }
  const stream = storage.run('open', () =>
    createAppendStream({
      ...networkOptions(oss.server),
      credentials,
      bucket: BUCKET,
      key: oss.newKey(),
    }),
  )
  stream.on('append', note('append'))
  storage.run('write', () => stream.write('12', note('write')))
  await new Promise<void>(resolve => {
    storage.run('flush', () =>
      stream.flush(() => {
        note('flush')()
        resolve()
      }),
    )
  })
  await storage.run('await', async () => {
    await stream.flush()
    note('await')()
  })
  await new Promise<void>(resolve => {
    storage.run('close', () =>
      stream.close(() => {
        note('close')()
        resolve()
      }),
    )
  })
  t.strictSame(seen, {
    credentials: 'open',
    append: 'open',
    write: 'write',
    flush: 'flush',
    await: 'await',
    close: 'close',
  })
})

t.test('so are key functions and all events of ours', async t => {
  const oss = await startOss(t)
  const storage = new AsyncLocalStorage<string>()
  const seen = new Map<string, string | undefined>()
  const note = (name: string) => () => void seen.set(name, storage.getStore())
  const prefix = oss.newKey()
  const stream = storage.run('open', () =>
    createRollingAppendStream({
      ...oss.options(prefix),
      key({ index }) {
        note('key')()
        return `${prefix}/${index}`
      },
      maxBytes: 5,
      retry: { minDelay: 1 },
    }),
  )
  for (const event of ['ready', 'append', 'retry', 'roll'] as const) stream.on(event, note(event))
  oss.server.faults.push({ kind: 'status', status: 500 })
  await storage.run('write', async () => {
    for (const text of ['hello', 'world']) {
      stream.write(text)
      await stream.flush()
    }
    stream.end()
    await stream.flush()
  })
  const names = ['append', 'key', 'ready', 'retry', 'roll']
  t.same(
    [...seen].sort(),
    names.map(name => [name, 'open']),
  )
})

type Logging = NodeJS.WritableStream & { flush(): Promise<void> }

const LOGGERS: Readonly<Record<string, (options: TransportOptions) => Logging>> = {
  pino: createTransport,
  winston: options => new OssTransport(options),
}

for (const [name, open] of Object.entries(LOGGERS)) {
  t.test(`so is what ${name} calls`, async t => {
    const oss = await startOss(t)
    const storage = new AsyncLocalStorage<string>()
    const seen: Record<string, string | undefined> = {}
    const note = (name: string) => () => {
      seen[name] = storage.getStore()
    }
    const { accessKeyId, accessKeySecret } = oss.server.credentials
    const credentials = () => {
      note('credentials')()
      return { accessKeyId, accessKeySecret }
    }
    const place = { ...networkOptions(oss.server), bucket: BUCKET, key: oss.newKey() }
    const transport = storage.run('open', () =>
      open({ ...place, credentials, retry: { minDelay: 1 } }),
    )
    transport.on('retry', note('retry'))
    oss.server.faults.push({ kind: 'status', status: 500 })
    await storage.run('write', async () => {
      const record = { level: 'info', [Symbol.for('message')]: '{}' }
      transport.write((name === 'pino' ? '{}\n' : record) as string)
      await transport.flush()
      note('flush')()
    })
    t.strictSame(seen, { credentials: 'open', retry: 'open', flush: 'write' })
    await new Promise<void>(resolve => transport.end(() => resolve()))
  })
}
