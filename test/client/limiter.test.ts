import { getEventListeners } from 'node:events'
import t from 'tap'
import { Limiter } from '../../lib/client/limiter.ts'

/** Tasks that a test begins and ends by name, and the story of them. */
function createStage(places: number) {
  const turnstile = new Limiter(places)
  const story: string[] = []
  const ends = new Map<string, { resolve(): void; reject(error: Error): void }>()
  const signals: AbortSignal[] = []
  const enter = (name: string, signal = new AbortController().signal) => {
    signals.push(signal)
    return turnstile.run(signal, () => {
      story.push(name)
      return new Promise<string>((resolve, reject) => {
        ends.set(name, { resolve: () => resolve(name), reject })
      })
    })
  }
  const end = async (name: string) => {
    ends.get(name)?.resolve()
    await new Promise(setImmediate)
  }
  return { story, ends, signals, enter, end }
}

t.test('so many at once, the others in the order in which they came', async t => {
  const { story, signals, enter, end } = createStage(2)
  const results = Promise.all(['a', 'b', 'c', 'd', 'e'].map(name => enter(name)))
  await new Promise(setImmediate)
  t.same(story, ['a', 'b'])
  await end('b')
  t.same(story, ['a', 'b', 'c'])
  await end('c')
  await end('a')
  t.same(story, ['a', 'b', 'c', 'd', 'e'])
  await end('d')
  await end('e')
  t.same(await results, ['a', 'b', 'c', 'd', 'e'])
  for (const signal of signals) t.same(getEventListeners(signal, 'abort'), [])
})

t.test('a place is free again after a failure, and nobody can push in', async t => {
  const { story, ends, enter, end } = createStage(1)
  const failing = enter('a')
  const waiting = enter('b')
  await new Promise(setImmediate)
  ends.get('a')?.reject(new Error('mine'))
  const late = failing.catch(error => {
    t.equal(error.message, 'mine')
    return enter('c')
  })
  await end('a')
  t.same(story, ['a', 'b'], 'b was before')
  await end('b')
  t.equal(await waiting, 'b')
  await end('c')
  t.equal(await late, 'c')

  const thrown = new Limiter(1)
  const { signal } = new AbortController()
  const fail = () => {
    throw new Error('at once')
  }
  await t.rejects(thrown.run(signal, fail), { message: 'at once' })
  t.equal(await thrown.run(signal, async () => 'free'), 'free')
})

t.test('who waits may leave, and takes no place', async t => {
  const { story, enter, end } = createStage(1)
  const inside = enter('a')
  const leaving = new AbortController()
  const left = enter('b', leaving.signal)
  const waiting = enter('c')
  leaving.abort(new Error('enough'))
  await t.rejects(left, { message: 'enough' })
  t.same(getEventListeners(leaving.signal, 'abort'), [])
  await end('a')
  await inside
  t.same(story, ['a', 'c'])
  await end('c')
  await waiting
  await t.rejects(enter('d', leaving.signal), { message: 'enough' }, 'nor does who comes too late')
  const next = enter('e')
  await new Promise(setImmediate)
  await end('e')
  t.equal(await next, 'e')
})
