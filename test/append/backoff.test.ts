import t from 'tap'
import { Backoff, isHurriable, type RetryPolicy } from '../../lib/append/backoff.ts'
import type { RetryClass } from '../../lib/append/classify-error.ts'
import { FakeClock } from '../helpers/fake-clock.ts'

const INFINITE = Number.POSITIVE_INFINITY
/** The default policy. */
const usual: RetryPolicy = {
  maxRetries: INFINITE,
  maxElapsed: 300_000,
  minDelay: 200,
  maxDelay: 20_000,
}

function setup(policy: Partial<RetryPolicy> = {}) {
  const clock = new FakeClock()
  clock.chance = 1
  const backoff = new Backoff({ ...usual, ...policy }, clock)
  /** The delays after these failures in a row, while time stands still. */
  const answers = (classes: RetryClass[], hasResponse = true) =>
    classes.map(retryClass => backoff.next({ retryClass, hasResponse }))
  return { clock, backoff, answers }
}

const times = (count: number, retryClass: RetryClass): RetryClass[] => Array(count).fill(retryClass)

/** A failure of a host that has answered. */
const failed = (retryClass: RetryClass, more: object = {}) => ({
  retryClass,
  hasResponse: true,
  ...more,
})

t.test('the longest wait doubles until maxDelay', async t => {
  const { answers } = setup()
  const expected = [200, 400, 800, 1600, 3200, 6400, 12_800, 20_000, 20_000]
  t.strictSame(answers(times(9, 'wait')), expected)
})

t.test('the wait is uniform between nothing and the longest', async t => {
  for (const [chance, expected] of [
    [0, [0, 0, 0]],
    [0.25, [50, 100, 200]],
    [0.5, [100, 200, 400]],
  ] as const) {
    const { clock, answers } = setup()
    clock.chance = chance
    t.strictSame(answers(times(3, 'wait')), expected, `chance ${chance}`)
  }
})

t.test('each wait asks chance anew', async t => {
  const { clock, backoff } = setup()
  clock.chance = 0.5
  t.equal(backoff.next(failed('wait')), 100)
  clock.chance = 0.75
  t.equal(backoff.next(failed('wait')), 300)
})

t.test('throttled: five times as long, and still not longer than maxDelay', async t => {
  t.strictSame(setup().answers(times(6, 'throttled')), [1000, 2000, 4000, 8000, 16_000, 20_000])
  const mixed: RetryClass[] = ['wait', 'throttled', 'wait', 'throttled']
  t.strictSame(setup().answers(mixed), [200, 2000, 800, 8000], 'by the count of all retries')
  t.strictSame(setup({ minDelay: 0 }).answers(times(2, 'throttled')), [0, 0])
})

t.test('the other waits: a name that does not resolve', async t => {
  t.strictSame(setup().answers(times(3, 'unknownHost')), [200, 400, 800])
})

t.test('maxRetries', async t => {
  t.strictSame(setup({ maxRetries: 0 }).answers(['wait']), [undefined])
  t.strictSame(setup({ maxRetries: 1 }).answers(times(2, 'wait')), [200, undefined])
  t.strictSame(setup({ maxRetries: 2 }).answers(times(3, 'wait')), [200, 400, undefined])
  const mixed: RetryClass[] = ['clock', 'damaged', 'wait']
  t.strictSame(setup({ maxRetries: 2 }).answers(mixed), [0, 0, undefined], 'counts every kind')
})

t.test('retries without end never wait longer than maxDelay', async t => {
  const { answers } = setup({ maxElapsed: INFINITE })
  const delays = answers(times(3000, 'wait'))
  t.strictSame(new Set(delays.slice(7)), new Set([20_000]))
})

t.test('retries without end and without delay never wait', async t => {
  const { answers } = setup({ maxElapsed: INFINITE, minDelay: 0 })
  t.strictSame(new Set(answers(times(3000, 'wait'))), new Set([0]))
  t.strictSame(setup({ minDelay: 0, maxDelay: 0 }).answers(['wait']), [0])
})

t.test('maxElapsed runs from the first failure, and is looked at before a wait', async t => {
  const { clock, backoff } = setup({ maxElapsed: 1000 })
  clock.time += 5_000_000
  t.equal(backoff.next(failed('wait')), 200, 'the time before the first failure does not count')
  clock.time += 999
  t.equal(backoff.next(failed('wait')), 400, '1 ms is left: the wait itself may be longer')
  clock.time += 1
  t.equal(backoff.next(failed('wait')), undefined, 'nothing is left')
})

t.test('maxElapsed 0: the first failure is the last; Infinity: time never ends it', async t => {
  t.strictSame(setup({ maxElapsed: 0 }).answers(['wait']), [undefined])
  const { clock, backoff } = setup({ maxElapsed: INFINITE })
  backoff.next(failed('wait'))
  clock.time += Number.MAX_SAFE_INTEGER / 2
  t.equal(backoff.next(failed('wait')), 400)
})

t.test('final', async t => {
  t.strictSame(setup().answers(['final']), [undefined])
  t.strictSame(setup().answers(['wait', 'final']), [200, undefined])
})

t.test(
  'a request that is made afresh is tried at once; the next failures of its kind back off',
  async t => {
    for (const retryClass of ['clock', 'credentials', 'damaged'] as const) {
      t.strictSame(setup().answers(times(4, retryClass)), [0, 400, 800, 1600], retryClass)
    }
    const mixed: RetryClass[] = ['clock', 'credentials', 'damaged', 'wait', 'damaged', 'damaged']
    t.strictSame(setup().answers(mixed), [0, 0, 0, 1600, 0, 6400], 'by failures in a row')
  },
)

t.test('a shorter body is tried at once, each time', async t => {
  t.strictSame(setup().answers(times(4, 'tooLarge')), [0, 0, 0, 0])
})

const PERMANENT = ['clock', 'credentials', 'damaged', 'certificate', 'certificateDate'] as const
const FOREVER = { maxElapsed: INFINITE }

t.test('the same permanent answer for 5 minutes is final, also for an endless policy', async t => {
  for (const retryClass of PERMANENT) {
    const { clock, backoff } = setup(FOREVER)
    clock.time += 5_000_000
    t.not(backoff.next(failed(retryClass)), undefined, retryClass)
    clock.time += 299_999
    t.not(backoff.next(failed(retryClass)), undefined, `${retryClass}: 1 ms is left`)
    clock.time += 1
    t.equal(backoff.next(failed(retryClass)), undefined, retryClass)
  }
})

t.test('another failure between two permanent answers starts their 5 minutes afresh', async t => {
  for (const retryClass of PERMANENT) {
    const { clock, backoff } = setup(FOREVER)
    backoff.next(failed(retryClass))
    clock.time += 299_000
    backoff.next(failed('wait'))
    clock.time += 2_000
    t.not(backoff.next(failed(retryClass)), undefined, retryClass)
    clock.time += 299_999
    t.not(backoff.next(failed(retryClass)), undefined, retryClass)
    clock.time += 1
    t.equal(backoff.next(failed(retryClass)), undefined, retryClass)
  }
})

t.test('no other failure ends an endless policy', async t => {
  for (const retryClass of ['wait', 'throttled', 'unknownHost', 'tooLarge'] as const) {
    const { clock, backoff } = setup(FOREVER)
    for (let day = 0; day < 30; day++) {
      t.not(backoff.next(failed(retryClass)), undefined, retryClass)
      clock.time += 86_400_000
    }
  }
})

t.test('a refused certificate is final at once, unless the host has answered', async t => {
  t.strictSame(setup().answers(['certificate'], false), [undefined])
  t.strictSame(setup().answers(times(3, 'certificate'), true), [200, 400, 800])
})

t.test('a certificate outside its dates is never final at once: a clock may be wrong', async t => {
  for (const hasResponse of [false, true]) {
    t.strictSame(setup().answers(times(3, 'certificateDate'), hasResponse), [200, 400, 800])
  }
})

t.test('Retry-After is the least wait, and maxDelay the longest', async t => {
  const rows: [retryClass: RetryClass, chance: number, retryAfter: number, delay: number][] = [
    ['wait', 1, 0, 200],
    ['wait', 1, 199, 200],
    ['wait', 1, 5000, 5000],
    ['wait', 0, 5000, 5000],
    ['wait', 1, 3_600_000, 20_000],
    ['throttled', 1, 700, 1000],
    ['throttled', 1, 3000, 3000],
    ['clock', 1, 3000, 3000],
    ['tooLarge', 1, 3000, 3000],
    ['final', 1, 3000, undefined as never],
  ]
  for (const [retryClass, chance, retryAfter, delay] of rows) {
    const { clock, backoff } = setup()
    clock.chance = chance
    t.equal(backoff.next(failed(retryClass, { retryAfter })), delay, `${retryClass} ${retryAfter}`)
  }
  const short = setup({ maxDelay: 50 }).backoff
  t.equal(short.next(failed('wait', { retryAfter: 5000 })), 50)
})

t.test('hurried: no wait is longer than a second, unless OSS asked for it', async t => {
  const isHurried = true
  const rows: [failure: object, delays: (number | undefined)[]][] = [
    [failed('wait', { isHurried }), [200, 400, 800, 1000, 1000, 1000]],
    [failed('wait'), [200, 400, 800, 1600, 3200, 6400]],
    [failed('throttled', { isHurried }), [1000, 2000, 4000, 8000, 16_000, 20_000]],
    [failed('wait', { isHurried, retryAfter: 5000 }), [5000, 5000, 5000, 5000, 5000, 6400]],
    [failed('unknownHost', { isHurried }), [200, 400, 800, 1000, 1000, 1000]],
  ]
  for (const [failure, delays] of rows) {
    const { backoff } = setup()
    const found = delays.map(() => backoff.next(failure as ReturnType<typeof failed>))
    t.strictSame(found, delays, JSON.stringify(failure))
  }
})

t.test('a wait that was made shorter is not counted in maxRetries', async t => {
  const { backoff } = setup({ maxRetries: 4 })
  const failure = failed('wait', { isHurried: true })
  const delays = Array.from({ length: 50 }, () => backoff.next(failure))
  t.strictSame(delays, [200, 400, 800, ...Array(47).fill(1000)])
  const last = failed('wait')
  t.strictSame([backoff.next(last), backoff.next(last)], [1600, undefined])
})

t.test('a wait that was made shorter is counted in maxElapsed', async t => {
  const { clock, backoff } = setup({ maxElapsed: 10_000 })
  const failure = failed('wait', { isHurried: true })
  let attempts = 0
  for (let delay = backoff.next(failure); delay !== undefined; delay = backoff.next(failure)) {
    clock.time += delay
    attempts += 1
  }
  t.equal(attempts, 12)
})

t.test('which waits may be cut short', async t => {
  t.ok(isHurriable(failed('wait')))
  t.ok(isHurriable(failed('wait', { retryAfter: 0 })))
  t.ok(isHurriable(failed('credentials')))
  t.notOk(isHurriable(failed('throttled')))
  t.notOk(isHurriable(failed('wait', { retryAfter: 1 })))
})

t.test(
  'a host name that does not resolve ends at the third attempt, unless the host has answered',
  async t => {
    t.strictSame(setup().answers(times(3, 'unknownHost'), false), [200, 400, undefined])
    t.strictSame(setup().answers(times(4, 'unknownHost'), true), [200, 400, 800, 1600])
    const waits = setup().answers(times(4, 'wait'), false)
    t.strictSame(waits, [200, 400, 800, 1600], 'no other failure does')
    const mixed: RetryClass[] = [...times(2, 'unknownHost'), 'wait', ...times(3, 'unknownHost')]
    const delays = [200, 400, 800, 1600, 3200, undefined]
    t.strictSame(setup().answers(mixed, false), delays, 'three in a row')
  },
)

t.test('a new Backoff starts afresh', async t => {
  const { clock, answers } = setup()
  answers(['clock', 'wait', 'wait'])
  clock.time += 299_999
  t.strictSame(new Backoff(usual, clock).next(failed('clock')), 0)
  t.strictSame(new Backoff(usual, clock).next(failed('wait')), 200)
})
