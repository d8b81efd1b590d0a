/** Waits that the end of a stream makes shorter. */

import t from 'tap'
import type { RetryInfo } from '../../lib/append/retry-loop.ts'
import { RetryLoop } from '../../lib/append/retry-loop.ts'
import { OssError } from '../../lib/errors.ts'
import { RETRY, rejectionOf } from '../helpers/appender-harness.ts'
import { networkError, serviceError, timeoutError } from '../helpers/errors.ts'
import { FakeClock } from '../helpers/fake-clock.ts'

/** A loop whose attempts fail with these errors in turn, and then succeed. */
function start(errors: Error[], retry = RETRY) {
  const clock = new FakeClock()
  clock.chance = 1
  const retries: RetryInfo[] = []
  const loop = new RetryLoop({ clock, retry, onRetry: info => retries.push(info) })
  const left = [...errors]
  const running = loop.run(3, async () => {
    const error = left.shift()
    if (error) throw error
    return 'done'
  })
  return { clock, loop, retries, running }
}

/** Five failures, after which the next wait is 6,400 ms. */
const OUTAGE = Array.from({ length: 6 }, () => networkError('ECONNRESET'))

/** Goes on to the wait of 6,400 ms. */
async function enterLongWait({ clock }: { clock: FakeClock }) {
  for (let wait = 1; wait <= 5; wait++) (await clock.nextTimer()).fire()
  const timer = await clock.nextTimer()
  t.equal(timer.delay, 6400)
  return timer
}

t.test('hurry cuts a running wait to one second from its start', async t => {
  const rows: [waited: number, left: number][] = [
    [0, 1000],
    [400, 600],
    [1000, 0],
    [5000, 0],
  ]
  for (const [waited, left] of rows) {
    const harness = start(OUTAGE)
    const long = await enterLongWait(harness)
    harness.clock.time += waited
    harness.loop.hurry()
    t.notOk(harness.clock.timers.has(long))
    const timer = await harness.clock.nextTimer()
    t.equal(timer.delay, left, `${waited} ms after its start`)
    timer.fire()
    t.equal(await harness.running, 'done')
    t.equal(harness.clock.timers.size, 0)
  }
})

t.test('hurry twice does not begin the second afresh', async t => {
  const harness = start(OUTAGE)
  await enterLongWait(harness)
  harness.loop.hurry()
  await harness.clock.nextTimer()
  harness.clock.time += 900
  harness.loop.hurry()
  t.equal((await harness.clock.nextTimer()).delay, 100)
  t.equal(harness.clock.timers.size, 1)
})

t.test('hurry leaves a wait of at most a second as it is', async t => {
  for (const minDelay of [1, 200, 1000]) {
    const { clock, loop, running } = start([timeoutError()], { ...RETRY, minDelay })
    const timer = await clock.nextTimer()
    loop.hurry()
    t.ok(clock.timers.has(timer), `${minDelay} ms`)
    timer.fire()
    t.equal(await running, 'done')
    t.equal(clock.started, 1)
  }
})

t.test('after hurry each wait is at most a second, and retries do not run out', async t => {
  const errors = Array.from({ length: 50 }, () => timeoutError())
  const { clock, loop, retries, running } = start(errors, { ...RETRY, maxRetries: 4 })
  loop.hurry()
  for (let wait = 1; wait <= 50; wait++) (await clock.nextTimer()).fire()
  t.equal(await running, 'done')
  t.strictSame(
    retries.map(({ delay }) => delay),
    [200, 400, 800, ...Array(47).fill(1000)],
  )
})

t.test('hurry never cuts a wait that OSS asked for', async t => {
  const throttled = () => serviceError('SlowDown', { status: 503 })
  const asked = () => serviceError('ServiceUnavailable', { status: 503, retryAfter: 15_000 })
  const rows: [make: () => OssError, delays: number[]][] = [
    [throttled, [1000, 2000, 4000, 8000]],
    [asked, [15_000, 15_000, 15_000, 15_000]],
    [() => new OssError('OSS_ERR_NETWORK', '', { retryAfter: 5000 }), [5000, 5000, 5000, 5000]],
  ]
  for (const [make, delays] of rows) {
    const { clock, loop, running } = start(delays.map(make))
    for (const delay of delays) {
      const timer = await clock.nextTimer()
      t.equal(timer.delay, delay)
      loop.hurry()
      t.ok(clock.timers.has(timer))
      timer.fire()
    }
    t.equal(await running, 'done')
    t.equal(clock.started, delays.length)
  }
})

t.test(
  'a wait that was cut short holds the process exactly if bytes are unacknowledged',
  async t => {
    for (const keepsAlive of [false, true]) {
      const harness = start(OUTAGE)
      if (keepsAlive) harness.loop.keepProcessAlive()
      await enterLongWait(harness)
      harness.loop.hurry()
      const timer = await harness.clock.nextTimer()
      t.equal(timer.hasRef, keepsAlive)
      harness.loop.keepProcessAlive()
      t.equal(timer.hasRef, true, 'from the moment on')
    }
  },
)

t.test('a wait that was cut short can be aborted', async t => {
  const harness = start(OUTAGE)
  await enterLongWait(harness)
  harness.loop.hurry()
  const reason = new OssError('OSS_ERR_ABORTED', 'the stream was destroyed')
  harness.loop.abort(reason)
  t.equal(harness.clock.timers.size, 0)
  t.equal(await rejectionOf(harness.running), reason)
})

t.test('hurry without a wait changes nothing', async t => {
  const { clock, loop, running } = start([])
  loop.hurry()
  t.equal(await running, 'done')
  loop.hurry()
  t.equal(clock.started, 0)
})
