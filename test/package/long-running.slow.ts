/** Streams over simulated days and months, and over enough appends for a leak to show. */

import t from 'tap'
import { RETRY } from '../helpers/appender-harness.ts'
import { runModule } from '../helpers/child-process.ts'
import { runsLongTests } from '../helpers/long-tests.ts'
import { checkFaults, DAY, isOutage, MINUTE, OUTAGE_CONDITIONS, SlowWriter } from './slow-writer.ts'

t.test('24 hours with a fault every 5 minutes lose and double no line', async t => {
  await checkFaults(t, DAY)
})

t.test('maxElapsed: Infinity survives 30 days with an outage of 10 minutes every day', async t => {
  const conditionOf = (now: number) =>
    isOutage(now) ? OUTAGE_CONDITIONS[Math.floor(now / DAY) % OUTAGE_CONDITIONS.length]! : 'fine'
  const writer = new SlowWriter(conditionOf, { ...RETRY, maxElapsed: Number.POSITIVE_INFINITY })
  await writer.run(2 * MINUTE, 30 * DAY)
  writer.check(t)
  t.comment(`${writer.appends} appends, retries: ${JSON.stringify(writer.retries)}`)
  t.ok(writer.appends > 21_000)
})

/** Measures the heap after a tenth of the appends and after all of them. */
const MEASURE = `
  import v8 from 'node:v8'
  import vm from 'node:vm'
  import { setImmediate } from 'node:timers/promises'
  v8.setFlagsFromString('--expose-gc')
  const gc = vm.runInNewContext('gc')
  const count = Number(process.env.COUNT)
  // Bytes and objects in a heap snapshot. Compiled code is left out, since V8 adds and drops it at any time.
  const takeSnapshot = async () => {
    const pieces = []
    for await (const piece of v8.getHeapSnapshot()) pieces.push(piece)
    const { snapshot: { meta }, nodes } = JSON.parse(Buffer.concat(pieces))
    const { node_fields: fields, node_types: [types] } = meta
    const isCode = types.map(type => type === 'code')
    let bytes = 0, objects = 0
    for (let i = 0; i < nodes.length; i += fields.length) {
      if (isCode[nodes[i + fields.indexOf('type')]]) continue
      bytes += nodes[i + fields.indexOf('self_size')]
      objects += 1
    }
    return { bytes, objects }
  }
  export async function measure(append, listeners) {
    const takeSample = async () => {
      for (let i = 0; i < 5; i++) { await setImmediate(); gc() }
      const { used_heap_size, external_memory } = v8.getHeapStatistics()
      const timers = process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
      const used = { heap: used_heap_size, external: external_memory }
      return { ...used, timers, listeners: listeners(), ...(await takeSnapshot()) }
    }
    for (let i = 0; i < count / 10; i++) await append(i)
    const before = await takeSample()
    for (let i = 0; i < count; i++) await append(i)
    const after = await takeSample()
    console.log(JSON.stringify({ before, after }))
  }
`

/** A client whose OSS is in memory and keeps the last object only. It loses some requests and some responses. */
const MEMORY_OSS = `
  import { crc64, OssError } from 'DISTindex.js'
  let tail, last, exchanges = 0
  const lost = () => new OssError('OSS_ERR_NETWORK', 'lost', { cause: new Error('reset') })
  const client = {
    isSecure: true,
    head: async ({ key }) => key !== last || tail.position === 0 ? null :
      { type: 'Appendable', length: tail.position, ...tail, requestId: '1' },
    append: async ({ key }, { position, body }) => {
      if (key !== last) tail = { position: 0, crc64: '0' }
      last = key
      const turn = ++exchanges % 100
      if (turn === 1) throw lost()
      if (position !== tail.position) {
        const { OssServiceError } = await import('DISTerrors.js')
        throw new OssServiceError('PositionNotEqualToLength', 'no',
          { status: 409, requestId: '1', nextPosition: tail.position })
      }
      tail = { position: position + body.length, crc64: crc64(body, tail.crc64) }
      if (turn === 2) throw lost()
      return { ...tail, requestId: '1' }
    },
    close: async () => {},
  }
`

const APPENDER = `${MEASURE} ${MEMORY_OSS}
  import { Appender } from 'DISTappend/appender.js'
  import { Batch } from 'DISTappend/tail.js'
  let now = 0, timers = 0
  const clock = {
    now: () => now,
    random: Math.random,
    setTimeout: (callback, delay) => {
      timers += 1
      now += delay
      queueMicrotask(() => { timers -= 1; callback() })
      return { ref() {}, unref() {} }
    },
    clearTimeout() {},
  }
  const appender = new Appender({
    target: { bucket: 'examplebucket', key: 'a' }, client, clock, position: 'end',
    maxObjectBytes: 5368709120, highWaterMark: 4194304, headers: {}, creationHeaders: {}, seal: false, onRetry() {},
    retry: { maxRetries: Infinity, maxElapsed: 300000, minDelay: 200, maxDelay: 20000 },
  })
  await appender.open()
  const batch = new Batch(Buffer.from('one line of a log, about as long as they are\\n'))
  await measure(() => appender.append(batch),
    () => timers)
`

const STREAM = `${MEASURE} ${MEMORY_OSS}
  import { getEventListeners } from 'node:events'
  import { createAppendStream } from 'DISTindex.js'
  const { signal } = new AbortController()
  const retry = { minDelay: 0, maxDelay: 0 }
  const stream = createAppendStream({ bucket: 'examplebucket', key: 'a', client, signal, retry })
  await measure(async i => {
    stream.write(i % 2 ? 'one line of a log\\n' : Buffer.from('and another\\n'))
    await stream.flush()
  }, () => stream.eventNames().reduce((sum, name) => sum + stream.listenerCount(name), 0) +
    getEventListeners(signal, 'abort').length)
`

const ROLLING = `${MEASURE} ${MEMORY_OSS}
  import { getEventListeners } from 'node:events'
  import { createRollingAppendStream } from 'DISTindex.js'
  const { signal } = new AbortController()
  const retry = { minDelay: 0, maxDelay: 0 }
  const options = { key: 'logs/{index}', maxBytes: 20, sealOnRoll: true, client, signal, retry }
  client.seal = async () => {}
  const stream = createRollingAppendStream({ bucket: 'examplebucket', ...options })
  await measure(async () => {
    stream.write('one line of a log\\n')
    await stream.flush()
  }, () => stream.eventNames().reduce((sum, name) => sum + stream.listenerCount(name), 0) +
    getEventListeners(signal, 'abort').length)
`

interface Sample {
  /** In a heap snapshot. */
  readonly bytes: number
  readonly objects: number
  readonly heap: number
  readonly external: number
  readonly timers: number
  readonly listeners: number
}

const isFull = runsLongTests(
  'a million appends of an appender and of a stream, 100,000 objects of a rolling stream',
)
for (const [label, code, count] of [
  ['appends of an appender', APPENDER, isFull ? 1_000_000 : 100_000],
  ['appends of a stream', STREAM, isFull ? 1_000_000 : 50_000],
  ['objects of a rolling stream', ROLLING, isFull ? 100_000 : 30_000],
] as const) {
  t.test(`memory, timers and listeners do not grow over ${count} ${label}`, async t => {
    const { code: exit, stdout, stderr } = await runModule(t, code, { COUNT: String(count) })
    t.match({ exit, stderr }, { exit: 0, stderr: '' })
    const { before, after } = JSON.parse(stdout) as { before: Sample; after: Sample }
    const heap = after.heap - before.heap
    const external = after.external - before.external
    t.comment(`heap ${before.heap}, then ${heap} more; external ${external} more`)
    const bytes = after.bytes - before.bytes
    const objects = after.objects - before.objects
    t.comment(`snapshot ${before.bytes} bytes, then ${bytes} more, in ${objects} more objects`)
    // Includes compiled code: on Node 22 up to 0.75 MB, after 50,000 appends as after a million.
    t.ok(heap < 1_000_000, `${heap} bytes more in the heap`)
    t.ok(bytes < 100_000, `${bytes} bytes more in its snapshot`)
    t.ok(objects < 1_000, `${objects} objects more in its snapshot`)
    t.ok(external < 100_000, `${external} bytes more outside of the heap`)
    t.equal(after.timers, before.timers, 'timers')
    t.equal(after.listeners, before.listeners, 'listeners')
  })
}
