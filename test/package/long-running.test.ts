/**
 * Streams that live for months: time passes on a clock of ours, through faults and outages, and then a
 * million appends, after which nothing may have grown. `npm run test:full` takes the full million.
 */

import t, { type Test } from 'tap'
import { Appender, type AppenderOptions } from '../../lib/append/appender.ts'
import type { RetryInfo } from '../../lib/append/retry-loop.ts'
import { createBatch } from '../../lib/append/tail.ts'
import { crc64 } from '../../lib/crc64/index.ts'
import type { OssError } from '../../lib/errors.ts'
import { RETRY, rejectionOf, TARGET } from '../helpers/appender-harness.ts'
import { runModule } from '../helpers/child-process.ts'
import { runsLongTests } from '../helpers/long-tests.ts'
import {
  FAULT_CONDITIONS,
  type NetworkCondition,
  SimulatedOss,
  VirtualClock,
} from '../helpers/simulated-oss.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** A writer that appends one line every so often, for so long, in the weather that there is. */
class Trickle {
  readonly clock = new VirtualClock()
  readonly oss: SimulatedOss
  readonly appender: Appender
  /** How often `onRetry` was told of each error. */
  readonly retries: Record<string, number> = {}
  text = ''
  appends = 0
  reconciled = 0

  constructor(nextCondition: (now: number) => NetworkCondition, retry: AppenderOptions['retry']) {
    this.oss = new SimulatedOss(this.clock, () => nextCondition(this.clock.time))
    this.appender = new Appender({
      target: TARGET,
      client: this.oss,
      clock: this.clock,
      position: 'end',
      maxObjectBytes: 5_368_709_120,
      retry,
      headers: {},
      creationHeaders: {},
      seal: false,
      onRetry: ({ error }: RetryInfo) => {
        const { code, cause } = error as OssError & { cause?: { code?: string } }
        const name = cause?.code ?? code
        this.retries[name] = (this.retries[name] ?? 0) + 1
      },
    })
  }

  async run(interval: number, end: number): Promise<void> {
    const { clock, appender } = this
    await clock.runUntilSettled(appender.open())
    while (clock.time < end) {
      const line = `line ${++this.appends} at ${Math.round(clock.time)}\n`
      const appending = appender.append(createBatch(Buffer.from(line)))
      const { position, nextPosition, reconciled } = await clock.runUntilSettled(appending)
      if (position !== this.text.length) throw new Error(`a gap or an overlap at ${position}`)
      this.text += line
      this.reconciled += Number(reconciled)
      if (nextPosition !== this.text.length) throw new Error(`ends at ${nextPosition}`)
      if (clock.timers.size > 0) throw new Error('a timer is left')
      await clock.runUntilSettled(clock.sleep(interval))
    }
  }

  /** The object is what was acknowledged, and what was written. */
  check(t: Test): void {
    const written = { position: this.text.length, crc64: crc64(this.text) }
    t.same(this.oss.tail, written, 'every line is in the object, once')
    t.same(this.appender.tail, written)
    t.equal(this.oss.maxInFlight, 1, 'one exchange at a time')
    t.equal(this.clock.timers.size, 0, 'and no timer is left')
  }
}

t.test('24 hours with a fault every 5 minutes', async t => {
  let next = 5 * MINUTE
  let count = 0
  const trickle = new Trickle(now => {
    if (now < next) return 'fine'
    next += 5 * MINUTE
    return FAULT_CONDITIONS[count++ % FAULT_CONDITIONS.length]!
  }, RETRY)
  await trickle.run(2_000, DAY)
  trickle.check(t)
  t.equal(count, 24 * 12 - 1, 'all faults came')
  t.comment(`${trickle.appends} appends, ${count} faults, ${trickle.reconciled} reconciled`)
  t.ok(trickle.appends > 40_000)
  const each = Math.floor(count / FAULT_CONDITIONS.length)
  t.ok(trickle.reconciled >= 2 * each, 'answers that were lost, and requests that came late')
  const names = ['ECONNREFUSED', 'ENOTFOUND', 'OSS_ERR_TIMEOUT', 'SecurityTokenExpired']
  for (const name of names) t.ok((trickle.retries[name] ?? 0) >= each, name)
})

/** Every day at noon, for 10 minutes. */
const isOutage = (now: number) => now % DAY >= 12 * HOUR && now % DAY < 12 * HOUR + 10 * MINUTE

t.test('30 days with an outage of 10 minutes every day', async t => {
  const ways: NetworkCondition[] = [
    'refused',
    'unknown',
    'hang',
    'late',
    'lost',
    'throttled',
    'foreign',
  ]
  const nextCondition = (now: number) =>
    isOutage(now) ? ways[Math.floor(now / DAY) % ways.length]! : 'fine'

  t.test('maxElapsed: Infinity never gives up', async t => {
    const trickle = new Trickle(nextCondition, { ...RETRY, maxElapsed: Number.POSITIVE_INFINITY })
    await trickle.run(2 * MINUTE, 30 * DAY)
    trickle.check(t)
    t.comment(`${trickle.appends} appends, retries: ${JSON.stringify(trickle.retries)}`)
    t.ok(trickle.appends > 21_000)
  })

  t.test('by default it gives up after 5 minutes of the first outage', async t => {
    for (const way of ways) {
      const trickle = new Trickle(now => (isOutage(now) ? way : 'fine'), RETRY)
      const error = await rejectionOf(trickle.run(MINUTE, 30 * DAY))
      const { length } = trickle.text
      t.match(error, { code: 'OSS_ERR_RETRIES_EXHAUSTED', ...TARGET }, way)
      t.match(error.cause, { code: /^(OSS_ERR_(NETWORK|TIMEOUT)|TotalQpsLimitExceeded)$/ })
      const retries = Object.values(trickle.retries).reduce((a, b) => a + b, 0)
      t.equal(error.attempts, retries + 1)
      t.same(error.tail, { position: length, crc64: crc64(trickle.text) })
      const isCertain = way === 'refused' || way === 'unknown'
      t.equal(error.unresolved?.position, isCertain ? undefined : length)
      // A wait, and an attempt after it, may begin just before the time is over.
      const elapsed = trickle.clock.time - 12 * HOUR
      t.ok(elapsed >= 5 * MINUTE && elapsed < 7 * MINUTE, `after ${elapsed} ms`)
      t.equal(trickle.clock.timers.size, 0)
    }
  })
})

/** Measures what lives, after so many appends and after as many again and more. */
const MEASURE = `
  import v8 from 'node:v8'
  import vm from 'node:vm'
  import { setImmediate } from 'node:timers/promises'
  v8.setFlagsFromString('--expose-gc')
  const gc = vm.runInNewContext('gc')
  const count = Number(process.env.COUNT)
  // What a snapshot of the heap holds: bytes, and objects of the program. Compiled code comes and goes.
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
    const look = async () => {
      for (let i = 0; i < 5; i++) { await setImmediate(); gc() }
      const { used_heap_size, external_memory } = v8.getHeapStatistics()
      const timers = process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
      const used = { heap: used_heap_size, external: external_memory }
      return { ...used, timers, listeners: listeners(), ...(await takeSnapshot()) }
    }
    for (let i = 0; i < count / 10; i++) await append(i)
    const before = await look()
    for (let i = 0; i < count; i++) await append(i)
    const after = await look()
    console.log(JSON.stringify({ before, after }))
  }
`

/** An OSS in memory, that forgets all objects but the last; some of its answers get lost, some requests do. */
const MEMORY_OSS = `
  import { crc64, OssError } from 'DISTindex.js'
  let tail, last, seen = 0
  const lost = () => new OssError('OSS_ERR_NETWORK', 'lost', { cause: new Error('reset') })
  const client = {
    isSecure: true,
    head: async ({ key }) => key !== last || tail.position === 0 ? null :
      { type: 'Appendable', length: tail.position, ...tail, requestId: '1' },
    append: async ({ key }, { position, body }) => {
      if (key !== last) tail = { position: 0, crc64: '0' }
      last = key
      const fate = ++seen % 100
      if (fate === 1) throw lost()
      if (position !== tail.position) {
        const { OssServiceError } = await import('DISTerrors.js')
        throw new OssServiceError('PositionNotEqualToLength', 'no',
          { status: 409, requestId: '1', nextPosition: tail.position })
      }
      tail = { position: position + body.length, crc64: crc64(body, tail.crc64) }
      if (fate === 2) throw lost()
      return { ...tail, requestId: '1' }
    },
    close: async () => {},
  }
`

const APPENDER = `${MEASURE} ${MEMORY_OSS}
  import { Appender } from 'DISTappend/appender.js'
  import { createBatch } from 'DISTappend/tail.js'
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
    maxObjectBytes: 5368709120, headers: {}, creationHeaders: {}, seal: false, onRetry() {},
    retry: { maxRetries: Infinity, maxElapsed: 300000, minDelay: 200, maxDelay: 20000 },
  })
  await appender.open()
  const batch = createBatch(Buffer.from('one line of a log, about as long as they are\\n'))
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

interface Look {
  /** Of a heap snapshot. */
  readonly bytes: number
  readonly objects: number
  readonly heap: number
  readonly external: number
  readonly timers: number
  readonly listeners: number
}

t.test('nothing grows', async t => {
  const isFull = runsLongTests(
    'a million appends of an appender, and of a stream, and 100,000 objects of a rolling one; here, less of it',
  )
  const table: [string, string, number][] = [
    ['appender', APPENDER, isFull ? 1_000_000 : 100_000],
    ['stream', STREAM, isFull ? 1_000_000 : 50_000],
    ['rolling stream, each to an object of its own', ROLLING, isFull ? 100_000 : 30_000],
  ]
  for (const [label, code, count] of table) {
    t.test(`${count} appends of ${label === 'appender' ? 'an' : 'a'} ${label}`, async t => {
      const { code: exit, stdout, stderr } = await runModule(t, code, { COUNT: String(count) })
      t.match({ exit, stderr }, { exit: 0, stderr: '' })
      const { before, after } = JSON.parse(stdout) as { before: Look; after: Look }
      const heap = after.heap - before.heap
      t.comment(
        `heap ${before.heap}, then ${heap} more; external ${after.external - before.external} more`,
      )
      const bytes = after.bytes - before.bytes
      const objects = after.objects - before.objects
      t.comment(`snapshot ${before.bytes} bytes, then ${bytes} more, in ${objects} more objects`)
      // With compiled code: on Node 22 up to 0.75 MB come to it, after 50,000 appends as after a million.
      t.ok(heap < 1_000_000, `${heap} bytes more in the heap`)
      t.ok(bytes < 100_000, `${bytes} bytes more in its snapshot`)
      t.ok(objects < 1_000, `${objects} objects more in its snapshot`)
      t.ok(after.external - before.external < 100_000, 'and outside of it')
      t.equal(after.timers, before.timers, 'timers')
      t.equal(after.listeners, before.listeners, 'listeners')
    })
  }
})
