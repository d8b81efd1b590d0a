import { getEventListeners } from 'node:events'
import t from 'tap'
import { Limiter } from '../../lib/client/limiter.ts'

/** Tasks that a test starts and finishes by name, and the names in the order in which they started. */
function createTasks(maxRunning: number) {
  const limiter = new Limiter(maxRunning)
  const started: string[] = []
  const running = new Map<string, { resolve(): void; reject(error: Error): void }>()
  const signals: AbortSignal[] = []
  const submit = (name: string, signal = new AbortController().signal) => {
    signals.push(signal)
    return limiter.run(signal, () => {
      started.push(name)
      return new Promise<string>((resolve, reject) => {
        running.set(name, { resolve: () => resolve(name), reject })
      })
    })
  }
  const finish = async (name: string) => {
    running.get(name)?.resolve()
    await new Promise(setImmediate)
  }
  return { started, running, signals, submit, finish }
}

t.test('a limiter of two runs two tasks at once, and the others in order of arrival', async t => {
  const { started, signals, submit, finish } = createTasks(2)
  const results = Promise.all(['a', 'b', 'c', 'd', 'e'].map(name => submit(name)))
  await new Promise(setImmediate)
  t.same(started, ['a', 'b'])
  await finish('b')
  t.same(started, ['a', 'b', 'c'])
  await finish('c')
  await finish('a')
  t.same(started, ['a', 'b', 'c', 'd', 'e'])
  await finish('d')
  await finish('e')
  t.same(await results, ['a', 'b', 'c', 'd', 'e'])
  for (const signal of signals) t.same(getEventListeners(signal, 'abort'), [])
})

t.test('a failed task hands its slot to the task that has waited longest', async t => {
  const { started, running, submit, finish } = createTasks(1)
  const failing = submit('a')
  const waiting = submit('b')
  await new Promise(setImmediate)
  running.get('a')?.reject(new Error('task failed'))
  const late = failing.catch(error => {
    t.equal(error.message, 'task failed')
    return submit('c')
  })
  await finish('a')
  t.same(started, ['a', 'b'], 'b arrived before c')
  await finish('b')
  t.equal(await waiting, 'b')
  await finish('c')
  t.equal(await late, 'c')
})

t.test('a task that throws synchronously releases its slot', async t => {
  const limiter = new Limiter(1)
  const { signal } = new AbortController()
  const fail = () => {
    throw new Error('synchronous')
  }
  await t.rejects(limiter.run(signal, fail), { message: 'synchronous' })
  t.equal(await limiter.run(signal, async () => 'free'), 'free')
})

t.test('a waiting task that is aborted takes no slot', async t => {
  const { started, submit, finish } = createTasks(1)
  const first = submit('a')
  const controller = new AbortController()
  const aborted = submit('b', controller.signal)
  const waiting = submit('c')
  controller.abort(new Error('enough'))
  await t.rejects(aborted, { message: 'enough' })
  t.same(getEventListeners(controller.signal, 'abort'), [])
  await finish('a')
  await first
  t.same(started, ['a', 'c'])
  await finish('c')
  await waiting
  await t.rejects(submit('d', controller.signal), { message: 'enough' }, 'aborted before it came')
  const next = submit('e')
  await new Promise(setImmediate)
  await finish('e')
  t.equal(await next, 'e')
})
