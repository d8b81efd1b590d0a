/** When a batch is due, with a clock that tests move. */

import t, { type Test } from 'tap'
import type { Align } from '../../lib/options.ts'
import { Batcher } from '../../lib/stream/batcher.ts'
import { FlushTimer } from '../../lib/stream/flush-timer.ts'

const INTERVAL = 100

/** A batcher with its schedule, as the stream uses them, and the one timer that there may be. */
function create(t: Test, align: Align, flushInterval = INTERVAL) {
  let now = 5000.5
  let timer: { readonly at: number; readonly run: () => void } | undefined
  let timers = 0
  t.intercept(performance, 'now', { value: () => now })
  t.intercept(globalThis, 'setTimeout', {
    value: (run: () => void, delay: number) => {
      if (timer) throw new Error('two timers')
      timers += 1
      timer = { at: now + Math.max(1, delay), run }
      return timer
    },
  })
  t.intercept(globalThis, 'clearTimeout', { value: () => (timer = undefined) })
  const batcher = new Batcher({ highWaterMark: 10, contentMd5: false, align, maxRecordBytes: 20 })
  const flushTimer = new FlushTimer(batcher, flushInterval, () => {})
  return {
    flushTimer,
    get timers() {
      return timers
    },
    /** Milliseconds until the timer; undefined where there is none. */
    get left() {
      return timer && Math.floor(timer.at - now)
    },
    write: (text: string) => {
      const length = batcher.write(Buffer.from(text))
      flushTimer.onBytes()
      return length
    },
    /** What leaves now, if something is due. */
    send: () => {
      if (!flushTimer.isDue) return ''
      const batch = Buffer.from(batcher.take()?.bytes ?? []).toString()
      flushTimer.onBatch()
      batcher.release()
      return batch
    },
    pass: (delay: number) => {
      now += delay
      const due = timer
      if (!due || due.at > now) return
      timer = undefined
      due.run()
    },
  }
}

t.test('flushInterval counts from the first byte', async t => {
  const timeline = create(t, 1)
  timeline.write('a')
  t.equal(timeline.left, 100)
  timeline.pass(30)
  timeline.write('b')
  t.equal(timeline.left, 70)
  t.equal(timeline.send(), '')
  timeline.pass(70)
  t.equal(timeline.send(), 'ab')
  t.equal(timeline.left, undefined, 'nothing waits')
  timeline.pass(1000)
  timeline.write('c')
  t.equal(timeline.left, 100)
})

t.test('after a batch that was sent early the next one has its full time', async t => {
  const timeline = create(t, 1)
  timeline.write('abcdefgh')
  timeline.pass(60)
  timeline.write('ijkl')
  t.equal(timeline.send(), 'abcdefghij', 'full')
  timeline.pass(40)
  t.equal(timeline.send(), '', "that was the full one's time")
  t.equal(timeline.left, 60)
  timeline.pass(60)
  t.equal(timeline.send(), 'kl')
})

t.test('a batch that is due needs no timer', async t => {
  const timeline = create(t, 1)
  timeline.write('a')
  timeline.pass(100)
  for (const text of 'bcd') timeline.write(text)
  t.equal(timeline.left, undefined, 'while the line is busy')
  t.equal(timeline.timers, 1)
  t.equal(timeline.send(), 'abcd')
})

t.test('with flushInterval 0 no timer runs', async t => {
  const timeline = create(t, 1, 0)
  timeline.write('abc')
  t.equal(timeline.left, undefined)
  t.equal(timeline.flushTimer.flushNow(), 3)
  t.equal(timeline.send(), 'abc')
})

t.test(
  'a part of a record has no timer; once it is whole, time counts from its first byte',
  async t => {
    const rows: [after: number, left: number][] = [
      [0, 100],
      [30, 70],
      [99, 1],
      [100, 1],
      [5000, 1],
    ]
    for (const [after, left] of rows) {
      t.test(`${after} later`, async t => {
        const timeline = create(t, '\n')
        timeline.write('par')
        t.equal(timeline.left, undefined)
        timeline.pass(after)
        t.equal(timeline.send(), '')
        timeline.write('t\nre')
        t.equal(timeline.left, left)
        timeline.pass(left)
        t.equal(timeline.send(), 'part\n')
        t.equal(timeline.left, undefined, 'nor has what is left of it')
      })
    }
  },
)

t.test('the time of the rest behind a batch begins when that batch is taken', async t => {
  const timeline = create(t, '\n')
  timeline.write('one\ntw')
  timeline.pass(100)
  t.equal(timeline.send(), 'one\n')
  timeline.pass(30)
  timeline.write('o\n')
  t.equal(timeline.left, 70)
  timeline.pass(70)
  t.equal(timeline.send(), 'two\n')
  t.equal(timeline.timers, 2, 'one for each')
})

t.test('a batch that is sent early stops its timer', async t => {
  for (const [text, sent] of [
    ['one\n', 'one\n'],
    ['one\ntw', 'one\n'],
  ] as const) {
    t.test(JSON.stringify(text), async t => {
      const timeline = create(t, '\n')
      timeline.write(text)
      t.equal(timeline.left, 100)
      timeline.flushTimer.flushNow()
      t.equal(timeline.send(), sent)
      t.equal(timeline.left, undefined)
    })
  }
})

t.test('flushNow() makes whole records due', async t => {
  const timeline = create(t, 3)
  timeline.write('ab')
  t.equal(timeline.flushTimer.flushNow(), 0)
  t.equal(timeline.send(), '')
  timeline.write('cd')
  t.equal(timeline.send(), '', 'that was before')
  t.equal(timeline.flushTimer.flushNow(), 3)
  timeline.write('ef')
  t.equal(timeline.send(), 'abcdef', 'and what has come to it')
  timeline.write('g')
  t.equal(timeline.flushTimer.flushNow(), 6)
  t.equal(timeline.send(), '')
})

t.test('a record that is too long is due, so that the stream fails', async t => {
  const timeline = create(t, '\n')
  t.equal(timeline.write('a\n'), 2)
  t.equal(timeline.write('b'.repeat(20)), 20)
  t.equal(timeline.send(), 'a\n')
  t.notOk(timeline.flushTimer.isDue, 'it may end yet')
  t.equal(timeline.write('b'), 0)
  t.ok(timeline.flushTimer.isDue)
  t.equal(timeline.send(), '')
})
