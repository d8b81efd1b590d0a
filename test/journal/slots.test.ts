/** Which slots a start takes, and how it meets another start. */

import t from 'tap'
import { systemClock } from '../../lib/clock.ts'
import type { FileSystem } from '../../lib/journal/file-system.ts'
import { Journal } from '../../lib/journal/journal.ts'
import { type LockOwner, lockName } from '../../lib/journal/lock.ts'
import { claimSlots, type Machine } from '../../lib/journal/slots.ts'
import { FakeClock } from '../helpers/fake-clock.ts'
import { createRandom } from '../helpers/random.ts'
import { FailingDisk } from './failing-disk.ts'
import { SimulatedDisk } from './simulated-disk.ts'

const RIVAL_LOCK = `/j/1/${lockName(owner(2))}`

function owner(pid: number): LockOwner {
  return { host: 'h', pid, start: '1', boot: 'b', nonce: `n${pid}` }
}

function isRunning({ pid }: LockOwner): boolean {
  return pid === 1 || pid === 2
}

function failWith(code: string) {
  return () => Promise.reject(Object.assign(new Error(code), { code }))
}

/** A start that finds bytes in slot 1, and there the lock of another start. */
async function meetRival() {
  const fileSystem = new SimulatedDisk(createRandom(1)).fileSystem()
  const clock = new FakeClock()
  await fileSystem.makeFolder('/j')
  await fileSystem.makeFolder('/j/1')
  const details = { maxBytes: 1e9, sync: 'always', align: 1, highWaterMark: 1000 } as const
  const journal = await Journal.open({ folder: '/j/1', fileSystem, clock, ...details })
  await journal.write([{ chunk: 'left', encoding: 'utf8' }])
  await journal.close()
  const lock = await fileSystem.create(RIVAL_LOCK)
  await lock.close()
  const machine: Machine = { fileSystem, clock, newOwner: () => owner(1), isRunning }
  const claimed = claimSlots('/j', machine)
  return { fileSystem, claimed, timer: await clock.nextTimer() }
}

t.test('a slot that two starts refuse, since they met, is taken in the next attempt', async t => {
  const { fileSystem, claimed, timer } = await meetRival()
  await fileSystem.remove(RIVAL_LOCK)
  timer.fire()
  const { own, abandoned } = await claimed
  t.match({ own, abandoned }, { own: { index: 0 }, abandoned: [{ index: 1 }] })
  t.same(await fileSystem.list('/j/1'), ['0000000000000000-00000001.journal', lockName(owner(1))])
})

t.test('a slot that another start has taken meanwhile is left to it', async t => {
  const { fileSystem, claimed, timer } = await meetRival()
  timer.fire()
  t.match(await claimed, { own: { index: 0 }, abandoned: [] })
  t.ok((await fileSystem.list('/j/1')).every(name => !name.includes('~1~1~')))
})

t.test('a slot that another start has emptied meanwhile is none', async t => {
  const { fileSystem, claimed, timer } = await meetRival()
  for (const name of await fileSystem.list('/j/1')) await fileSystem.remove(`/j/1/${name}`)
  timer.fire()
  t.match(await claimed, { own: { index: 0 }, abandoned: [] })
})

for (const step of ['create', 'list'] as const) {
  t.test(`a slot that another stream sets aside before ${step}() is passed over`, async t => {
    const fileSystem = new SimulatedDisk(createRandom(1)).fileSystem()
    const run = fileSystem[step] as (path: string) => Promise<never>
    const isAside = (path: string) => path.startsWith('/j/0')
    const replaced = (path: string) => (isAside(path) ? failWith('ENOENT')() : run(path))
    const machine: Machine = {
      fileSystem: { ...fileSystem, [step]: replaced },
      clock: new FakeClock(),
      newOwner: () => owner(1),
      isRunning,
    }
    t.match(await claimSlots('/j', machine), { own: { index: 1 }, abandoned: [] })
  })
}

t.test('starts at the same moment take the first slots, and leave none empty', async t => {
  const fileSystem = new SimulatedDisk(createRandom(1)).fileSystem()
  const pids = Array.from({ length: 8 }, (_, i) => i + 1)
  const claims = pids.map(pid => {
    const machine = {
      fileSystem,
      clock: systemClock,
      newOwner: () => owner(pid),
      isRunning: () => true,
    }
    return claimSlots('/j', machine)
  })
  const indexes = (await Promise.all(claims)).map(({ own }) => own.index)
  t.same(
    indexes.sort((a, b) => a - b),
    pids.map(pid => pid - 1),
  )
  t.same((await fileSystem.list('/j')).length, pids.length)
})

t.test('a start that fails at any call of the disk leaves no lock', async t => {
  const failed = new Set<string>()
  for (let failAt = 1; ; failAt++) {
    const disk = new SimulatedDisk(createRandom(1))
    const fileSystem = disk.fileSystem()
    for (const folder of ['/j/0', '/j/1', '/j/2']) {
      await (await fileSystem.create(`${folder}/${lockName(owner(9))}`)).close()
      await (await fileSystem.create(`${folder}/0000000000000000-00000001.journal`)).close()
    }
    const failing = new FailingDisk(fileSystem, failAt)
    const clock = new FakeClock()
    const machine = { fileSystem: failing.fileSystem, clock, newOwner: () => owner(1), isRunning }
    const error = await claimSlots('/j', machine).catch((error: Error) => error)
    if (failing.failed === undefined) break
    failed.add(failing.failed)
    t.match(error, { code: 'OSS_ERR_JOURNAL' })
    const locks = disk.paths.filter(path => path.endsWith(lockName(owner(1))))
    t.same(locks, [], `call ${failAt}: ${failing.failed}`)
  }
  t.same([...failed].sort(), ['close', 'create', 'isLocal', 'list', 'makeFolder', 'remove'])
})

const REFUSALS: readonly [string, Partial<FileSystem>, RegExp][] = [
  [
    'not on a local disk',
    { isLocal: async () => false },
    /network file system.*local disk \(\/j\)$/,
  ],
  ['read-only', { makeFolder: failWith('EROFS') }, /EROFS, the file system is read-only \(\/j\)$/],
  ['not accessible', { makeFolder: failWith('EACCES') }, /EACCES, the process may not read or/],
  ['full', { create: failWith('ENOSPC') }, /ENOSPC, the disk is full \(\/j\)$/],
]
for (const [what, replaced, message] of REFUSALS) {
  t.test(`a folder that is ${what} is refused, with the folder and a reason`, async t => {
    const fileSystem = { ...new SimulatedDisk(createRandom(1)).fileSystem(), ...replaced }
    const machine = { fileSystem, clock: new FakeClock(), newOwner: () => owner(1), isRunning }
    await t.rejects(claimSlots('/j', machine), { code: 'OSS_ERR_JOURNAL', file: '/j', message })
  })
}
