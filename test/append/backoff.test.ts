import t from 'tap'
import { Backoff, type RetryPolicy } from '../../lib/append/backoff.ts'
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
  /** What the backoff says to these failures in a row, time standing still. */
  const answers = (outcomes: RetryClass[], hasReply = true) =>
    outcomes.map(outcome => backoff.next(outcome, hasReply))
  return { clock, backoff, answers }
}

const times = (count: number, outcome: RetryClass): RetryClass[] => Array(count).fill(outcome)

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
  t.equal(backoff.next('wait', true), 100)
  clock.chance = 0.75
  t.equal(backoff.next('wait', true), 300)
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
  t.equal(backoff.next('wait', true), 200, 'the time before the first failure does not count')
  clock.time += 999
  t.equal(backoff.next('wait', true), 400, '1 ms is left: the wait itself may be longer')
  clock.time += 1
  t.equal(backoff.next('wait', true), undefined, 'nothing is left')
})

t.test('maxElapsed 0: the first failure is the last; Infinity: time never ends it', async t => {
  t.strictSame(setup({ maxElapsed: 0 }).answers(['wait']), [undefined])
  const { clock, backoff } = setup({ maxElapsed: INFINITE })
  backoff.next('wait', true)
  clock.time += Number.MAX_SAFE_INTEGER / 2
  t.equal(backoff.next('wait', true), 400)
})

t.test('final', async t => {
  t.strictSame(setup().answers(['final']), [undefined])
  t.strictSame(setup().answers(['wait', 'final']), [200, undefined])
})

t.test('what is mended is tried again at once, and no more often than it could help', async t => {
  t.strictSame(setup().answers(times(2, 'clock')), [0, undefined])
  t.strictSame(setup().answers(times(2, 'credentials')), [0, undefined])
  t.strictSame(setup().answers(times(3, 'damaged')), [0, 0, undefined])
  const mixed: RetryClass[] = ['clock', 'credentials', 'damaged', 'wait', 'damaged', 'credentials']
  t.strictSame(setup().answers(mixed), [0, 0, 0, 1600, 0, undefined], 'each by its own count')
})

t.test(
  'a host name that does not resolve ends at the third attempt, unless the host has answered',
  async t => {
    t.strictSame(setup().answers(times(3, 'unknownHost'), false), [200, 400, undefined])
    t.strictSame(setup().answers(times(4, 'unknownHost'), true), [200, 400, 800, 1600])
    t.strictSame(
      setup().answers(times(4, 'wait'), false),
      [200, 400, 800, 1600],
      'no other failure does',
    )
  },
)

t.test('a new Backoff starts afresh', async t => {
  const { clock, answers } = setup()
  answers(['clock', 'wait', 'wait'])
  clock.time += 299_999
  t.strictSame(new Backoff(usual, clock).next('clock', true), 0)
  t.strictSame(new Backoff(usual, clock).next('wait', true), 200)
})
