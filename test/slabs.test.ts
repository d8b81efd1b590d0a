/** The queue by itself: what is joined, handed over, settled, taken back. */

import t from 'tap'
import { Slabs } from '../lib/outbox/slabs.ts'

/** Slabs of these texts, each sealed, so many of them handed over. */
function make(texts: readonly string[], handed = 0): Slabs {
  const slabs = new Slabs()
  for (const text of texts) {
    slabs.add(text)
    slabs.seal()
  }
  for (let i = 0; i < handed; i++) slabs.hand()
  return slabs
}

t.test('records are joined until the slab is sealed or handed over', async t => {
  const slabs = new Slabs()
  t.equal(slabs.length, 0)
  t.equal(slabs.hand(), undefined)
  t.equal(slabs.add('a\n'), 2)
  t.equal(slabs.add('b\n'), 4, 'characters so far')
  t.equal(slabs.length, 1)
  slabs.seal()
  slabs.seal()
  slabs.add('c\n')
  t.equal(slabs.length, 2)
  t.equal(String(slabs.hand()), 'a\nb\n')
  t.equal(String(slabs.hand()), 'c\n', 'one that grows is sealed by that')
  t.equal(slabs.hand(), undefined)
  t.equal(slabs.handed, 2)
  t.same(slabs.sum(2), { records: 3, bytes: 6 })
})

t.test('bytes, and not characters', async t => {
  const slabs = new Slabs()
  slabs.add('日志\n')
  t.equal(slabs.bytes, 7)
  slabs.seal()
  t.equal(slabs.bytes, 7)
  slabs.add('abc')
  t.equal(slabs.bytes, 10)
  slabs.remove(1)
  t.equal(slabs.bytes, 3)
})

// what is sealed, what grows, the next record -> the least that all of it fits into
for (const [sealed, growing, record, least] of [
  ['', '', 'abc', 3],
  ['ab', 'cd', 'ef', 6],
  ['日', '志', '字', 9],
  ['', '日志', 'a', 7],
  ['', 'a', '𠮷', 5],
  ['', 'a', '\ud800', 4],
] as const) {
  t.test(`'${sealed}', '${growing}' and '${record}' fit into ${least} bytes`, async t => {
    const slabs = new Slabs()
    if (sealed) slabs.add(sealed)
    slabs.seal()
    if (growing) slabs.add(growing)
    t.ok(slabs.fits(record, least))
    t.notOk(slabs.fits(record, least - 1))
    t.ok(slabs.fits(record, 1000))
    slabs.add(record)
    t.equal(slabs.bytes, least)
  })
}

t.test('a line that stands for records counts as they do', async t => {
  const slabs = new Slabs()
  slabs.add('a\n')
  t.equal(slabs.addInstead('1日\n', { records: 5, bytes: 1000 }), 5, 'characters so far')
  slabs.addInstead('2\n', { records: 1, bytes: 1 })
  t.equal(slabs.bytes, 9, 'it takes the room of the line')
  slabs.seal()
  t.same(slabs.sum(1), { records: 7, bytes: 1003 })
  t.equal(String(slabs.hand()), 'a\n1日\n2\n')
  slabs.add('b\n')
  slabs.seal()
  t.same(slabs.sum(2), { records: 8, bytes: 1005 }, 'and of the next slab it is forgotten')
  slabs.remove(2)
  t.equal(slabs.bytes, 0)
})

// acknowledged -> slabs that have left, of 'aa', 'bbb', 'c', 'dd' with three handed over
for (const [acknowledged, gone] of [
  [0, 0],
  [1, 0],
  [2, 1],
  [4, 1],
  [5, 2],
  [6, 3],
  [100, 3],
] as const) {
  t.test(`${acknowledged} bytes acknowledged`, async t => {
    const slabs = make(['aa', 'bbb', 'c', 'dd'], 3)
    t.equal(slabs.settle(acknowledged), gone > 0)
    t.equal(slabs.gone, gone)
    t.equal(slabs.length, 4 - gone)
    t.equal(slabs.handed, 3 - gone)
    t.notOk(slabs.settle(acknowledged), 'the same news again moves nothing')
    t.equal(String(slabs.hand()), 'dd', 'what waited still waits')
  })
}

t.test('what was handed over and not acknowledged is handed over again', async t => {
  const slabs = make(['aa', 'bbb', 'c'], 2)
  t.ok(slabs.hasHanded)
  slabs.settle(2)
  slabs.takeBack()
  t.notOk(slabs.hasHanded)
  t.equal(String(slabs.hand()), 'bbb')
  t.notOk(slabs.settle(2), 'counted from the taking back')
  t.ok(slabs.settle(3))
  t.ok(slabs.hasHanded, 'acknowledged is handed over too')
  t.equal(String(slabs.hand()), 'c')
})

t.test('how many slabs so many bytes are', async t => {
  const slabs = make(['aa', 'bbb', 'c'], 2)
  t.equal(slabs.count(0), 0)
  t.equal(slabs.count(1), 1)
  t.equal(slabs.count(2), 1)
  t.equal(slabs.count(3), 2)
  t.equal(slabs.count(100), 2, 'of those that were handed over')
})
