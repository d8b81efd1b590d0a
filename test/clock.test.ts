import t from 'tap'
import { systemClock } from '../lib/clock.ts'

t.test('a timer of a moment that has passed fires at once, without a warning of Node', async t => {
  const { setTimeout } = globalThis
  const delays: unknown[] = []
  globalThis.setTimeout = ((callback: () => void, delay: number) => {
    delays.push(delay)
    return setTimeout(callback, delay)
  }) as typeof setTimeout
  t.teardown(() => (globalThis.setTimeout = setTimeout))
  await new Promise<void>(resolve => systemClock.setTimeout(resolve, -9))
  await new Promise<void>(resolve => systemClock.setTimeout(resolve, 1))
  t.strictSame(delays, [0, 1])
})
