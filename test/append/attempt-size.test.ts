/** How long an append may be: sizes that failed, sizes that are tried again, and links in simulated time. */

import t, { type Test } from 'tap'
import { AttemptSize } from '../../lib/append/attempt-size.ts'

const KIB = 1024
const MIB = 1024 * KIB
const FLOOR = 64 * KIB

function succeed(size: AttemptSize, count: number): void {
  for (let append = 0; append < count; append++) size.onSuccess(size.bytes)
}

t.test('it begins with a full batch, and successes leave it there', async t => {
  for (const highWaterMark of [1, FLOOR, 4 * MIB, 5_000_001]) {
    const size = new AttemptSize(highWaterMark)
    t.equal(size.bytes, highWaterMark)
    succeed(size, 100)
    t.equal(size.bytes, highWaterMark)
    t.equal(size.deadlineFactorOf(highWaterMark), 1)
  }
})

t.test('each failure halves it, down to 64 KiB or a smaller highWaterMark', async t => {
  const failures = ['onTimeout', 'onCut', 'onRefused'] as const
  for (const failure of failures) {
    const size = new AttemptSize(MIB)
    const sizes = Array.from({ length: 6 }, () => {
      size[failure](size.bytes)
      return size.bytes / KIB
    })
    t.strictSame(sizes, [512, 256, 128, 64, 64, 64], failure)
    const small = new AttemptSize(1000)
    small[failure](1000)
    t.equal(small.bytes, 1000, failure)
    const odd = new AttemptSize(100_001)
    odd[failure](100_001)
    t.equal(odd.bytes, FLOOR, failure)
  }
})

t.test('half of what failed, where a batch was short', async t => {
  const size = new AttemptSize(4 * MIB)
  size.onTimeout(1_000_000)
  t.equal(size.bytes, 500_000)
})

t.test('the size that failed is tried again after 16 successes, then 32, then 64', async t => {
  const size = new AttemptSize(4 * MIB)
  for (const trial of [16, 32, 64, 128]) {
    size.onTimeout(4 * MIB)
    t.equal(size.bytes, 2 * MIB)
    succeed(size, trial - 1)
    t.equal(size.bytes, 2 * MIB, `after ${trial - 1}`)
    succeed(size, 1)
    t.equal(size.bytes, 4 * MIB, `after ${trial}`)
  }
})

t.test('a failure between successes starts their count afresh', async t => {
  const size = new AttemptSize(4 * MIB)
  size.onTimeout(4 * MIB)
  succeed(size, 15)
  size.onCut(2 * MIB)
  t.equal(size.bytes, MIB)
  succeed(size, 15)
  t.equal(size.bytes, MIB)
  succeed(size, 1)
  t.equal(size.bytes, 2 * MIB)
  succeed(size, 1)
  t.equal(size.bytes, 4 * MIB, 'then nothing is known to fail')
})

t.test('below the size that failed it doubles at each success', async t => {
  const size = new AttemptSize(4 * MIB)
  // An outage: the size falls to the floor, and the last failure is the ceiling.
  while (size.bytes > FLOOR) size.onTimeout(size.bytes)
  succeed(size, 16)
  const sizes = Array.from({ length: 6 }, () => {
    succeed(size, 1)
    return size.bytes / KIB
  })
  t.strictSame(sizes, [256, 512, 1024, 2048, 4096, 4096])
})

t.test('a size that was refused with 413 is never tried again', async t => {
  const size = new AttemptSize(4 * MIB)
  t.ok(size.onRefused(4 * MIB))
  t.ok(size.onRefused(2 * MIB))
  succeed(size, 10_000)
  t.equal(size.bytes, MIB)
  // Nor is any size above it, after a timeout in between.
  size.onTimeout(MIB)
  succeed(size, 10_000)
  t.equal(size.bytes, MIB)
})

t.test('at the floor a 413 is final', async t => {
  const size = new AttemptSize(128 * KIB)
  t.ok(size.onRefused(128 * KIB))
  t.notOk(size.onRefused(FLOOR))
  t.notOk(size.onRefused(1))
  t.notOk(new AttemptSize(1000).onRefused(1000))
})

t.test('one record that is longer than the size cannot be shorter', async t => {
  const size = new AttemptSize(MIB)
  t.notOk(size.onRefused(MIB + 1))
  t.notOk(size.onCut(MIB + 1))
  size.onTimeout(MIB + 1)
  t.equal(size.bytes, MIB)
  t.equal(size.deadlineFactorOf(MIB + 1), 2)
  t.equal(size.deadlineFactorOf(MIB), 1, 'a shorter attempt has the usual deadline')
})

t.test('a success that is much shorter than the size says nothing about it', async t => {
  const size = new AttemptSize(4 * MIB)
  size.onTimeout(4 * MIB)
  for (let append = 0; append < 100; append++) size.onSuccess(MIB - 1)
  t.equal(size.bytes, 2 * MIB)
})

t.test('attempts that are cut at a record’s end count as full', async t => {
  const size = new AttemptSize(4 * MIB)
  size.onTimeout(4 * MIB)
  for (let append = 0; append < 16; append++) size.onSuccess(2 * MIB - 100)
  t.equal(size.bytes, 4 * MIB)
})

t.test('at the floor each timeout doubles the deadline, up to once for each 4 KiB', async t => {
  const rows: [length: number, factors: number[]][] = [
    [FLOOR, [2, 4, 8, 16, 16]],
    [FLOOR - 1, [2, 4, 8, 15, 15]],
    [10_000, [2, 2, 2]],
    [4096, [1, 1]],
    [1, [1, 1]],
  ]
  for (const [length, factors] of rows) {
    const size = new AttemptSize(FLOOR)
    const found = factors.map(() => {
      size.onTimeout(length)
      return size.deadlineFactorOf(length)
    })
    t.strictSame(found, factors, `${length} bytes`)
  }
})

t.test('an outage of short appends leaves the deadline of long ones as it is', async t => {
  const size = new AttemptSize(FLOOR)
  for (let timeout = 0; timeout < 100; timeout++) size.onTimeout(100)
  t.equal(size.deadlineFactorOf(FLOOR), 1)
  for (let timeout = 0; timeout < 4; timeout++) size.onTimeout(FLOOR)
  t.equal(size.deadlineFactorOf(100), 1, 'nor is that of a short one longer')
})

t.test('a connection that broke leaves the deadline as it is', async t => {
  const size = new AttemptSize(FLOOR)
  size.onCut(FLOOR)
  t.equal(size.deadlineFactorOf(FLOOR), 1)
})

t.test('the deadline is the usual one again after 16 appends of any size', async t => {
  const size = new AttemptSize(FLOOR)
  size.onTimeout(FLOOR)
  for (let append = 0; append < 15; append++) size.onSuccess(1)
  t.equal(size.deadlineFactorOf(FLOOR), 2)
  size.onTimeout(FLOOR)
  for (let append = 0; append < 15; append++) size.onSuccess(1)
  t.equal(size.deadlineFactorOf(FLOOR), 4)
  size.onSuccess(1)
  t.equal(size.deadlineFactorOf(FLOOR), 1)
})

interface Link {
  /** Bytes per second. */
  readonly rate: number
  /** Bytes that a proxy takes at most. */
  readonly limit?: number
  /** Bytes to send. */
  readonly total: number
  /** Bytes of each record. */
  readonly record?: number
}

const ROUND_TRIP = 100

/** Sends all bytes over a link, in simulated time. */
function simulate({ rate, limit = Number.POSITIVE_INFINITY, total, record = 1 }: Link) {
  const size = new AttemptSize(4 * MIB)
  const counts = { timeouts: 0, refusals: 0, appends: 0, isFinal: false, time: 0 }
  for (let sent = 0; sent < total && !counts.isFinal; ) {
    const cut = Math.max(record, size.bytes - (size.bytes % record))
    const length = Math.min(cut, total - sent)
    // As the client computes it: 30 s, and 1 ms for each 64 bytes.
    const deadline = (30_000 + length / 64) * size.deadlineFactorOf(length)
    const needed = (length / rate) * 1000
    if (length > limit) {
      counts.refusals += 1
      counts.time += ROUND_TRIP
      counts.isFinal = !size.onRefused(length)
    } else if (needed > deadline) {
      counts.timeouts += 1
      counts.time += deadline
      size.onTimeout(length)
    } else {
      counts.appends += 1
      counts.time += needed + ROUND_TRIP
      size.onSuccess(length)
      sent += length
    }
    if (counts.timeouts > 1000) break
  }
  return { ...counts, overhead: counts.time / ((total / rate) * 1000) }
}

t.test('64 MiB over a slow link take at most 1.3 times what the link needs', async t => {
  for (const record of [1, 100, 5000]) {
    for (const rate of [200 * KIB, 60 * KIB, 45 * KIB, 30_720, 15 * KIB, 5 * KIB]) {
      const { overhead, timeouts } = simulate({ rate, total: 64 * MIB, record })
      t.ok(
        overhead <= 1.3,
        `${rate} B/s, records of ${record}: ${overhead.toFixed(3)}, ${timeouts} timeouts`,
      )
    }
  }
})

t.test('below 2,100 bytes/s the floor still gets through', async t => {
  for (const rate of [2000, 1000, 500, 250, 150]) {
    const { overhead, timeouts, appends } = simulate({ rate, total: 4 * MIB })
    t.ok(overhead < 2, `${rate} B/s: ${overhead.toFixed(2)}, ${timeouts} timeouts`)
    t.ok(appends >= 64)
  }
})

function testLimit(t: Test, limit: number, record: number): void {
  for (const total of [3 * MIB, 64 * MIB]) {
    const { refusals, isFinal, appends } = simulate({ rate: 50 * MIB, limit, total, record })
    const most = Math.ceil(total / (limit / 4)) + 1
    t.ok(
      refusals <= 4,
      `${total / MIB} MiB, limit ${limit}, records of ${record}: ${refusals} 413s`,
    )
    t.ok(!isFinal && appends <= most, `${appends} appends`)
  }
}

t.test('a proxy with a body limit answers at most four 413s', async t => {
  for (const record of [1, 100, 5000]) {
    for (const limit of [MIB, MIB + 1, 1_000_000, 600_000, 512 * KIB]) testLimit(t, limit, record)
  }
})

t.test('a proxy whose limit is below the floor is final after a few 413s', async t => {
  const { refusals, isFinal, appends } = simulate({ rate: MIB, limit: FLOOR - 1, total: 3 * MIB })
  t.strictSame({ isFinal, appends }, { isFinal: true, appends: 0 })
  t.ok(refusals <= 7, `${refusals}`)
})
