/** The queue by itself: what is joined, handed over, settled, taken back. */

import t from 'tap'
import { RecordQueue } from '../../lib/loggers/record-queue.ts'

/** Slabs of these texts, each sealed, so many of them handed over. */
function createQueue(texts: readonly string[], inFlight = 0): RecordQueue {
  const queue = new RecordQueue()
  for (const text of texts) {
    queue.add(text)
    queue.closeChunk()
  }
  for (let i = 0; i < inFlight; i++) queue.next()
  return queue
}

t.test('records are joined until the slab is sealed or handed over', async t => {
  const queue = new RecordQueue()
  t.equal(queue.length, 0)
  t.equal(queue.next(), undefined)
  t.equal(queue.add('a\n'), 2)
  t.equal(queue.add('b\n'), 4, 'characters so far')
  t.equal(queue.length, 1)
  queue.closeChunk()
  queue.closeChunk()
  queue.add('c\n')
  t.equal(queue.length, 2)
  t.equal(String(queue.next()), 'a\nb\n')
  t.equal(String(queue.next()), 'c\n', 'one that grows is sealed by that')
  t.equal(queue.next(), undefined)
  t.equal(queue.inFlight, 2)
  t.same(queue.totals(2), { records: 3, bytes: 6 })
})

t.test('bytes, and not characters', async t => {
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

// what is sealed, what grows, the next record -> the least that all of it fits into
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

t.test('a line that stands for records counts as they do', async t => {
  const queue = new RecordQueue()
  queue.add('a\n')
  t.equal(queue.addPlaceholder('1日\n', { records: 5, bytes: 1000 }), 5, 'characters so far')
  queue.addPlaceholder('2\n', { records: 1, bytes: 1 })
  t.equal(queue.bytes, 9, 'it takes the room of the line')
  queue.closeChunk()
  t.same(queue.totals(1), { records: 7, bytes: 1003 })
  t.equal(String(queue.next()), 'a\n1日\n2\n')
  queue.add('b\n')
  queue.closeChunk()
  t.same(queue.totals(2), { records: 8, bytes: 1005 }, 'and of the next slab it is forgotten')
  queue.remove(2)
  t.equal(queue.bytes, 0)
})

// acknowledged -> slabs that have left, of 'aa', 'bbb', 'c', 'dd' with three handed over
for (const [acknowledged, removed] of [
  [0, 0],
  [1, 0],
  [2, 1],
  [4, 1],
  [5, 2],
  [6, 3],
  [100, 3],
] as const) {
  t.test(`${acknowledged} bytes acknowledged`, async t => {
    const queue = createQueue(['aa', 'bbb', 'c', 'dd'], 3)
    t.equal(queue.acknowledge(acknowledged), removed > 0)
    t.equal(queue.removed, removed)
    t.equal(queue.length, 4 - removed)
    t.equal(queue.inFlight, 3 - removed)
    t.notOk(queue.acknowledge(acknowledged), 'the same news again moves nothing')
    t.equal(String(queue.next()), 'dd', 'what waited still waits')
  })
}

t.test('what was handed over and not acknowledged is handed over again', async t => {
  const queue = createQueue(['aa', 'bbb', 'c'], 2)
  t.ok(queue.hasStarted)
  queue.acknowledge(2)
  queue.rewind()
  t.notOk(queue.hasStarted)
  t.equal(String(queue.next()), 'bbb')
  t.notOk(queue.acknowledge(2), 'counted from the taking back')
  t.ok(queue.acknowledge(3))
  t.ok(queue.hasStarted, 'acknowledged is handed over too')
  t.equal(String(queue.next()), 'c')
})

t.test('how many slabs so many bytes are', async t => {
  const queue = createQueue(['aa', 'bbb', 'c'], 2)
  t.equal(queue.countChunks(0), 0)
  t.equal(queue.countChunks(1), 1)
  t.equal(queue.countChunks(2), 1)
  t.equal(queue.countChunks(3), 2)
  t.equal(queue.countChunks(100), 2, 'of those that were handed over')
})
