/** Waiters are settled in the order of their counts, each in a tick of its own. */

import t from 'tap'
import type { Tail } from '../../lib/append/tail.ts'
import { Waiters } from '../../lib/stream/waiters.ts'

const TAIL: Tail = { position: 9, crc64: '1' }

/** Waiters that record their names when they are settled. */
function make(...marks: number[]) {
  const settled: (number | [number, unknown])[] = []
  const waiters = new Waiters<Tail>()
  const add = (accepted: number) =>
    waiters.add({
      accepted,
      resolve: tail => settled.push([accepted, tail]),
      reject: error => settled.push([accepted, error]),
    })
  for (const mark of marks) add(mark)
  return { waiters, settled, add }
}

t.test(
  'waiters whose count is acknowledged are called back, each in a tick of its own',
  async t => {
    const { waiters, settled } = make(1, 3, 3, 5)
    waiters.resolve(0, TAIL)
    waiters.resolve(4, TAIL)
    t.same(settled, [])
    await null
    await new Promise(setImmediate)
    t.same(
      settled,
      [1, 3, 3].map(mark => [mark, TAIL]),
    )
    waiters.resolve(5, TAIL)
    await new Promise(setImmediate)
    t.equal(settled.length, 4)
  },
)

t.test('a waiter for the end does not delay waiters that were added later', async t => {
  const { waiters, settled, add } = make(1, Number.POSITIVE_INFINITY)
  add(3)
  waiters.resolve(3, TAIL)
  await new Promise(setImmediate)
  t.same(
    settled,
    [1, 3].map(mark => [mark, TAIL]),
  )
  const error = new Error('over')
  waiters.reject(error)
  t.same(settled[2], [Number.POSITIVE_INFINITY, error])
})
