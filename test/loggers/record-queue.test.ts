/** The record queue by itself: how it joins, hands out, removes and rewinds records. */

import t from 'tap'
import { RecordQueue } from '../../lib/loggers/record-queue.ts'

/** A queue with one closed chunk for each text, the first `inFlight` of them in flight. */
function createQueue(texts: readonly string[], inFlight = 0): RecordQueue {
  const queue = new RecordQueue()
  for (const text of texts) {
    queue.add(text)
    queue.closeChunk()
  }
  for (let i = 0; i < inFlight; i++) queue.next()
  return queue
}

t.test('records are joined until the chunk is closed or taken', async t => {
  const queue = new RecordQueue()
  t.equal(queue.length, 0)
  t.equal(queue.next(), undefined)
  t.equal(queue.add('a\n'), 2)
  t.equal(queue.add('b\n'), 4, 'characters in the open chunk')
  t.equal(queue.length, 1)
  queue.closeChunk()
  queue.closeChunk()
  queue.add('c\n')
  t.equal(queue.length, 2)
  t.equal(String(queue.next()), 'a\nb\n')
  t.equal(String(queue.next()), 'c\n', 'next() closes the open chunk')
  t.equal(queue.next(), undefined)
  t.equal(queue.inFlight, 2)
  t.same(queue.totals(2), { records: 3, bytes: 6 })
})

t.test('an allocation that fails keeps the records, as text', async t => {
  const queue = new RecordQueue()
  queue.add('a\n')
  queue.add('日志\n')
  const { from } = Buffer
  Buffer.from = () => {
    throw new RangeError('Array buffer allocation failed')
  }
  queue.closeChunk()
  Buffer.from = from
  t.same(queue.totals(1), { records: 2, bytes: 9 })
  t.equal(queue.bytes, 9)
  t.equal(queue.next(), 'a\n日志\n')
  t.ok(queue.acknowledge(9))
  t.equal(queue.bytes, 0)
})

t.test('the size of the queue is in bytes, not in characters', async t => {
  const queue = new RecordQueue()
  queue.add('日志\n')
  t.equal(queue.bytes, 7)
  queue.closeChunk()
  t.equal(queue.bytes, 7)
  queue.add('abc')
  t.equal(queue.bytes, 10)
  queue.remove(1)
  t.equal(queue.bytes, 3)
})

// a closed chunk, the open chunk, the next record -> the smallest limit that all of them fit into
for (const [closed, open, record, needed] of [
  ['', '', 'abc', 3],
  ['ab', 'cd', 'ef', 6],
  ['日', '志', '字', 9],
  ['', '日志', 'a', 7],
  ['', 'a', '𠮷', 5],
  ['', 'a', '\ud800', 4],
] as const) {
  t.test(`'${closed}', '${open}' and '${record}' fit into ${needed} bytes`, async t => {
    const queue = new RecordQueue()
    if (closed) queue.add(closed)
    queue.closeChunk()
    if (open) queue.add(open)
    t.ok(queue.fits(record, needed))
    t.notOk(queue.fits(record, needed - 1))
    t.ok(queue.fits(record, 1000))
    queue.add(record)
    t.equal(queue.bytes, needed)
  })
}

t.test('a line that stands for records is counted as those records', async t => {
  const queue = new RecordQueue()
  queue.add('a\n')
  t.equal(queue.addPlaceholder('1日\n', { records: 5, bytes: 1000 }), 5, 'characters so far')
  queue.addPlaceholder('2\n', { records: 1, bytes: 1 })
  t.equal(queue.bytes, 9, 'the queue holds the bytes of the line')
  queue.closeChunk()
  t.same(queue.totals(1), { records: 7, bytes: 1003 })
  t.equal(String(queue.next()), 'a\n1日\n2\n')
  queue.add('b\n')
  queue.closeChunk()
  t.same(queue.totals(2), { records: 8, bytes: 1005 }, 'the next chunk counts its own bytes')
  queue.remove(2)
  t.equal(queue.bytes, 0)
})

// acknowledged bytes -> removed chunks, of 'aa', 'bbb', 'c', 'dd' with three in flight
for (const [acknowledged, removed] of [
  [0, 0],
  [1, 0],
  [2, 1],
  [4, 1],
  [5, 2],
  [6, 3],
  [100, 3],
] as const) {
  t.test(`${acknowledged} acknowledged bytes remove ${removed} chunks`, async t => {
    const queue = createQueue(['aa', 'bbb', 'c', 'dd'], 3)
    t.equal(queue.acknowledge(acknowledged), removed > 0)
    t.equal(queue.removed, removed)
    t.equal(queue.length, 4 - removed)
    t.equal(queue.inFlight, 3 - removed)
    t.notOk(queue.acknowledge(acknowledged), 'the same count again removes nothing')
    t.equal(String(queue.next()), 'dd', 'the chunk that waits is the next one')
  })
}

t.test('after a rewind, chunks that are not acknowledged are taken again', async t => {
  const queue = createQueue(['aa', 'bbb', 'c'], 2)
  t.ok(queue.hasStarted)
  queue.acknowledge(2)
  queue.rewind()
  t.notOk(queue.hasStarted)
  t.equal(String(queue.next()), 'bbb')
  t.notOk(queue.acknowledge(2), 'acknowledged bytes count from the rewind')
  t.ok(queue.acknowledge(3))
  t.ok(queue.hasStarted, 'an acknowledged chunk counts as started')
  t.equal(String(queue.next()), 'c')
})

t.test('countChunks() counts the chunks in flight that a number of bytes reaches into', async t => {
  const queue = createQueue(['aa', 'bbb', 'c'], 2)
  t.equal(queue.countChunks(0), 0)
  t.equal(queue.countChunks(1), 1)
  t.equal(queue.countChunks(2), 1)
  t.equal(queue.countChunks(3), 2)
  t.equal(queue.countChunks(100), 2, 'a chunk that waits is not counted')
})
