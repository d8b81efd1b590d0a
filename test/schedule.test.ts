/** When a batch leaves, by a clock that stands until it is moved. */

import t, { type Test } from 'tap'
import { Batcher } from '../lib/batcher.ts'
import type { Align } from '../lib/record.ts'
import { Schedule } from '../lib/stream/schedule.ts'

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
  const schedule = new Schedule(batcher, flushInterval, () => {})
  return {
    schedule,
    get timers() {
      return timers
    },
    /** Milliseconds until the timer; undefined where there is none. */
    get left() {
      return timer && Math.floor(timer.at - now)
    },
    write: (text: string) => {
      const length = batcher.write(Buffer.from(text))
      schedule.arrived()
      return length
    },
    /** What leaves now, if something is due. */
    send: () => {
      if (!schedule.isDue) return ''
      const batch = Buffer.from(batcher.take()?.bytes ?? []).toString()
      schedule.departed()
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

t.test('time runs from the first byte', async t => {
  const time = create(t, 1)
  time.write('a')
  t.equal(time.left, 100)
  time.pass(30)
  time.write('b')
  t.equal(time.left, 70)
  t.equal(time.send(), '')
  time.pass(70)
  t.equal(time.send(), 'ab')
  t.equal(time.left, undefined, 'nothing waits')
  time.pass(1000)
  time.write('c')
  t.equal(time.left, 100)
})

t.test('a batch that left early leaves the next its time', async t => {
  const time = create(t, 1)
  time.write('abcdefgh')
  time.pass(60)
  time.write('ijkl')
  t.equal(time.send(), 'abcdefghij', 'full')
  time.pass(40)
  t.equal(time.send(), '', "that was the full one's time")
  t.equal(time.left, 60)
  time.pass(60)
  t.equal(time.send(), 'kl')
})

t.test('what is due needs no timer', async t => {
  const time = create(t, 1)
  time.write('a')
  time.pass(100)
  for (const text of 'bcd') time.write(text)
  t.equal(time.left, undefined, 'while the line is busy')
  t.equal(time.timers, 1)
  t.equal(time.send(), 'abcd')
})

t.test('interval 0: never by time', async t => {
  const time = create(t, 1, 0)
  time.write('abc')
  t.equal(time.left, undefined)
  t.equal(time.schedule.hasten(), 3)
  t.equal(time.send(), 'abc')
})

t.test('a part of a record has no timer; with its end, time counts from its beginning', async t => {
  const rows: [after: number, left: number][] = [
    [0, 100],
    [30, 70],
    [99, 1],
    [100, 1],
    [5000, 1],
  ]
  for (const [after, left] of rows) {
    t.test(`${after} later`, async t => {
      const time = create(t, '\n')
      time.write('par')
      t.equal(time.left, undefined)
      time.pass(after)
      t.equal(time.send(), '')
      time.write('t\nre')
      t.equal(time.left, left)
      time.pass(left)
      t.equal(time.send(), 'part\n')
      t.equal(time.left, undefined, 'nor has what is left of it')
    })
  }
})

t.test('what is left of a batch counts from when that left', async t => {
  const time = create(t, '\n')
  time.write('one\ntw')
  time.pass(100)
  t.equal(time.send(), 'one\n')
  time.pass(30)
  time.write('o\n')
  t.equal(time.left, 70)
  time.pass(70)
  t.equal(time.send(), 'two\n')
  t.equal(time.timers, 2, 'one for each')
})

t.test('what left early takes its timer along', async t => {
  for (const [text, sent] of [
    ['one\n', 'one\n'],
    ['one\ntw', 'one\n'],
  ] as const) {
    t.test(JSON.stringify(text), async t => {
      const time = create(t, '\n')
      time.write(text)
      t.equal(time.left, 100)
      time.schedule.hasten()
      t.equal(time.send(), sent)
      t.equal(time.left, undefined)
    })
  }
})

t.test('to hasten is to send what is whole', async t => {
  const time = create(t, 3)
  time.write('ab')
  t.equal(time.schedule.hasten(), 0)
  t.equal(time.send(), '')
  time.write('cd')
  t.equal(time.send(), '', 'that was before')
  t.equal(time.schedule.hasten(), 3)
  time.write('ef')
  t.equal(time.send(), 'abcdef', 'and what has come to it')
  time.write('g')
  t.equal(time.schedule.hasten(), 6)
  t.equal(time.send(), '')
})

t.test('what is stuck is due, so that somebody is told', async t => {
  const time = create(t, '\n')
  t.equal(time.write('a\n'), 2)
  t.equal(time.write('b'.repeat(20)), 20)
  t.equal(time.send(), 'a\n')
  t.notOk(time.schedule.isDue, 'it may end yet')
  t.equal(time.write('b'), 0)
  t.ok(time.schedule.isDue)
  t.equal(time.send(), '')
})
