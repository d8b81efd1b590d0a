/** Two and three streams that open one slot at once, in all orders of their steps. */

import t from 'tap'
import type { FileSystem, JournalFile } from '../../lib/journal/file-system.ts'
import {
  isLiving,
  type LockOwner,
  type LockResult,
  lockName,
  lockSlot,
  parseLockName,
} from '../../lib/journal/lock.ts'

const DEAD: LockOwner = { host: 'h', pid: 9, start: '1', boot: 'b', nonce: 'dead' }

function owner(pid: number): LockOwner {
  return { host: 'h', pid, start: '5', boot: 'b', nonce: `n${pid}` }
}

/** Lets streams run one step at a time: a step is one operation of the file system. */
class Steps {
  readonly names = new Set<string>([lockName(DEAD)])
  /** By stream: how its next operation goes on. */
  readonly waiting = new Map<number, () => void>()

  fileSystem(stream: number): FileSystem {
    const step = <T>(operation: () => T): Promise<T> =>
      new Promise(resolve => this.waiting.set(stream, () => resolve(operation())))
    const nameOf = (path: string) => path.slice('/slot/'.length)
    return {
      create: path =>
        step(() => {
          this.names.add(nameOf(path))
          return { close: async () => {} } as JournalFile
        }),
      list: () => step(() => [...this.names]),
      remove: path => step(() => void this.names.delete(nameOf(path))),
    } as Partial<FileSystem> as FileSystem
  }
}

/** Runs `count` streams. `order`: which of those that can go on does, step by step; the first, behind its end. */
async function run(count: number, order: readonly number[]) {
  const steps = new Steps()
  const results: (LockResult | undefined)[] = []
  for (let stream = 0; stream < count; stream++) {
    const isRunning = ({ pid }: LockOwner) => pid !== DEAD.pid
    const locking = lockSlot(steps.fileSystem(stream), '/slot', owner(stream), isRunning)
    locking.then(result => (results[stream] = result))
  }
  const choices: number[] = []
  for (let step = 0; steps.waiting.size > 0; step++) {
    const ready = [...steps.waiting.keys()].sort()
    choices.push(ready.length)
    const stream = ready[order[step] ?? 0] as number
    const goOn = steps.waiting.get(stream)
    steps.waiting.delete(stream)
    goOn?.()
    for (let turn = 0; turn < 5; turn++) await null
  }
  return { results, choices, names: steps.names }
}

/** The order after `order`, where step n had `choices[n]` choices; undefined: that was the last. */
function nextOrder(order: readonly number[], choices: readonly number[]): number[] | undefined {
  const next = choices.map((_, step) => order[step] ?? 0)
  for (let step = next.length - 1; step >= 0; step--) {
    if (next[step]! + 1 < choices[step]!) return [...next.slice(0, step), next[step]! + 1]
  }
  return undefined
}

for (const count of [2, 3]) {
  t.test(`of ${count} streams never two lock a slot, in any order of their steps`, async t => {
    let orders = 0
    const locked = [0, 0, 0, 0]
    for (let order: number[] | undefined = []; order; orders++) {
      const { results, choices, names }: Awaited<ReturnType<typeof run>> = await run(count, order)
      const owners = results.filter(result => result?.name === 'locked').length
      locked[owners]! += 1
      if (results.length !== count || results.includes(undefined)) t.fail(`${order}: no end`)
      const isRight = owners === 0 ? names.size <= 1 : names.size === 1
      if (!isRight) t.fail(`${order}: left ${[...names]}`)
      order = nextOrder(order, choices)
    }
    t.comment(`${orders} orders, owners: ${locked}`)
    t.equal(orders, count === 2 ? 20 : 1680)
    t.ok(locked[1]! > 0 && locked[2] === 0 && locked[3] === 0)
  })
}

t.test('a refusal names the file of the living owner', async t => {
  const steps = new Steps()
  steps.names.add(lockName(owner(4)))
  const locking = lockSlot(steps.fileSystem(1), '/slot', owner(1), ({ pid }) => pid === 4)
  let result: LockResult | undefined
  locking.then(found => (result = found))
  while (!result) {
    for (const [stream, goOn] of steps.waiting) {
      steps.waiting.delete(stream)
      goOn()
    }
    await null
  }
  t.match(result, { name: 'refused', file: `/slot/${lockName(owner(4))}` })
  t.same([...steps.names], [lockName(DEAD), lockName(owner(4))], 'its own lock is gone')
})

const self = { ...owner(1), nonce: 'self' }
const cases: [string, Partial<LockOwner>, isRunning: boolean, isLiving: boolean][] = [
  ['a process that runs', { pid: 2 }, true, true],
  ['a process that has ended', { pid: 2 }, false, false],
  ['a stream of this process', {}, true, true],
  ['this pid with another start: pid 1 of a container', { start: '4' }, false, false],
  ['an earlier run of the machine', { boot: 'a' }, true, false],
  ['another container of this machine', { host: 'other' }, false, true],
  ['another name of a host where the run is not known', { host: 'other', boot: '' }, false, false],
]
for (const [what, difference, isRunning, expected] of cases) {
  t.test(`${what} is ${expected ? 'living' : 'dead'}`, async t => {
    const own = difference.boot === '' ? { ...self, boot: '' } : self
    t.equal(
      isLiving({ ...self, nonce: 'x', ...difference }, own, () => isRunning),
      expected,
    )
  })
}

t.test('the name of a lock is read as it was written', async t => {
  const odd = { ...self, host: 'a~b/c %ü' }
  t.same(parseLockName(lockName(odd)), odd)
  t.notMatch(lockName(odd), /\//)
  for (const name of ['lock~a', 'x', '0-1.journal', 'lock~%~1~2~3~4']) {
    t.equal(parseLockName(name), undefined, name)
  }
})
