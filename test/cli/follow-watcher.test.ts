/** FileWatcher: which generations of a file there are, and which of them are complete. */

import { appendFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  closeAll,
  isSameFile,
  listRotated,
  openIfExists,
  openRotated,
  statIfExists,
} from '../../lib/cli/follow-files.ts'
import { FileWatcher } from '../../lib/cli/follow-watcher.ts'
import { FakeClock } from '../helpers/fake-clock.ts'

/** A watcher of `app.log`, whose polls the test causes. */
async function setUp(t: Test, text?: string) {
  const file = join(t.testdir({}), 'app.log')
  if (text !== undefined) writeFileSync(file, text)
  const clock = new FakeClock()
  const notes: string[] = []
  const note = (line: string) => notes.push(line)
  const watcher = new FileWatcher({ file, clock, interval: 1000, note })
  t.teardown(() => watcher.close())
  await watcher.nextPoll()
  const poll = async () => {
    const [timer] = clock.timers
    timer?.fire()
    await watcher.nextPoll()
  }
  const sizes = () => watcher.generations.map(({ size }) => size)
  return { file, clock, notes, watcher, poll, sizes }
}

t.test('a rotated file is complete when its successor has bytes and it was quiet', async t => {
  const { file, watcher, poll, sizes } = await setUp(t, 'a')
  for (let n = 0; n < 9; n++) await poll()
  t.equal(watcher.isComplete, false, 'not rotated')
  renameSync(file, `${file}.1`)
  writeFileSync(file, '')
  for (let n = 0; n < 9; n++) await poll()
  t.same([sizes(), watcher.isComplete, watcher.isLeft], [[1, 0], false, false], 'not reopened')
  appendFileSync(file, 'b')
  for (let n = 0; n < 5; n++) await poll()
  t.same([sizes(), watcher.isComplete, watcher.isLeft], [[1, 1], false, true])
  appendFileSync(`${file}.1`, 'late')
  await poll()
  t.same([sizes(), watcher.isComplete], [[5, 1], false], 'another writer has not reopened')
  for (let n = 0; n < 5; n++) await poll()
  t.equal(watcher.isComplete, false)
  await poll()
  t.equal(watcher.isComplete, true, '5 s after the last growth')
  await watcher.shift()
  t.same([sizes(), watcher.isComplete], [[1], false])
})

t.test('files that were rotated between two polls are found by their names', async t => {
  const { file, watcher, poll, sizes } = await setUp(t, 'a')
  renameSync(file, `${file}.3`)
  writeFileSync(`${file}.4`, 'older')
  writeFileSync(`${file}.2`, 'bb')
  writeFileSync(`${file}.1`, 'ccc')
  writeFileSync(file, 'dddd')
  await poll()
  t.same(sizes(), [1, 2, 3, 4])
  const last = watcher.generations.at(-1)!
  t.ok(isSameFile((await statIfExists(file))!, last))
})

t.test('a rotated file that is not found at once is looked for in two more polls', async t => {
  const { file, poll, sizes } = await setUp(t, 'a')
  renameSync(file, `${file}.other`)
  writeFileSync(file, 'bb')
  await poll()
  await poll()
  t.same(sizes(), [1], 'its rename may be in progress')
  await poll()
  t.same(sizes(), [1, 2])
  rmSync(file)
  writeFileSync(file, 'ccc')
  await poll()
  t.same(sizes(), [1, 2, 3], 'a removed file is not looked for')
})

t.test('an idle watcher has one timer, and none when it is closed', async t => {
  const { clock, watcher, poll } = await setUp(t, 'a')
  for (let n = 0; n < 10; n++) await poll()
  t.equal(clock.timers.size, 1)
  t.equal(clock.started, 11, 'one timer for each poll')
  await watcher.close()
  t.equal(clock.timers.size, 0)
})

t.test('a file that is missing is noted once, and not in the moment of a rotation', async t => {
  const { file, notes, poll } = await setUp(t, 'a')
  renameSync(file, `${file}.1`)
  await poll()
  writeFileSync(file, 'b')
  await poll()
  t.same(notes, [])
  rmSync(file)
  for (let n = 0; n < 4; n++) await poll()
  t.same(notes, [`waiting for ${file}, which does not exist`])
})

t.test('an error of the file system ends the watcher', async t => {
  const { file, watcher } = await setUp(t, 'a')
  rmSync(file)
  // A folder in its place.
  const other = new FileWatcher({
    file: join(file, '..'),
    clock: new FakeClock(),
    interval: 1000,
    note: () => {},
  })
  await t.rejects(other.nextPoll(), { code: 'EINVAL' })
  await other.close()
  await watcher.close()
})

t.test('rotated files are listed from the newest on, and compressed ones are left out', async t => {
  const file = join(t.testdir({}), 'app.log')
  const write = (...suffixes: string[]) => {
    for (const suffix of suffixes) writeFileSync(file + suffix, '')
  }
  const listed = async () => (await listRotated(file)).map(path => path.slice(file.length))
  t.same(await listed(), [])
  write('', '.10', '.2', '.1', '.3.gz', '.bak', '.txt', '2')
  t.same(await listed(), ['.1', '.2', '.10'])
  const dated = file.replace('app', 'web')
  for (const suffix of ['-20261127', '-20261128', '-2026112810', '.20261128-101010', '-1', '.x']) {
    writeFileSync(dated + suffix, '')
  }
  const names = (await listRotated(dated)).map(path => path.slice(dated.length))
  t.same(names, ['.20261128-101010', '-2026112810', '-20261128', '-20261127'])
})

t.test('a file that is rotated after it was opened is opened once', async t => {
  const file = join(t.testdir({ 'app.log': 'new', 'app.log.1': 'old' }), 'app.log')
  const current = await openIfExists(file)
  renameSync(`${file}.1`, `${file}.2`)
  renameSync(file, `${file}.1`)
  const rotated = await openRotated(file, current)
  t.same(
    rotated.map(({ path }) => path),
    [`${file}.2`],
  )
  await closeAll([...rotated, ...(current ? [current] : [])])
})
