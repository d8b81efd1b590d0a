/** Streams whose journal is on a disk that fails or is full. */

import { once } from 'node:events'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Clock, systemClock, type Timer } from '../../lib/clock.ts'
import { createAppendStream, type OssAppendStream } from '../../lib/index.ts'
import { type JournalFile, nodeFileSystem } from '../../lib/journal/file-system.ts'
import { isRunning, newOwner } from '../../lib/journal/slots.ts'
import { withInternals } from '../../lib/stream/internals.ts'
import { failureOf, HANG, newFolder } from '../helpers/journal.ts'
import { type Oss, startOss, waitUntil } from '../helpers/test-oss.ts'

/** What a file does in place of its own. */
interface Trouble {
  write?: JournalFile['write'] | undefined
  read?: JournalFile['read'] | undefined
  datasync?: JournalFile['datasync'] | undefined
  /** Before a file is made. */
  create?: (() => Promise<void>) | undefined
  /** Before a file is opened. */
  open?: (() => Promise<void>) | undefined
}

/**
 * Files that are made or opened from now on have this trouble, which may change meanwhile. Returns the files that are
 * open.
 */
function disturbDisk(t: Test, trouble: Trouble): Set<JournalFile> {
  const { create, open } = nodeFileSystem
  const opened = new Set<JournalFile>()
  const disturb = (file: JournalFile): JournalFile => {
    opened.add(file)
    const close = () => {
      opened.delete(file)
      return file.close()
    }
    return { ...disturbed(file), close }
  }
  const disturbed = (file: JournalFile): JournalFile => ({
    ...file,
    write: (bytes, position) => (trouble.write ?? file.write)(bytes, position),
    read: (into, position) => (trouble.read ?? file.read)(into, position),
    datasync: () => (trouble.datasync ?? file.datasync)(),
  })
  Object.assign(nodeFileSystem, {
    create: async (path: string) => {
      await trouble.create?.()
      return disturb(await create(path))
    },
    open: async (path: string, isWritable?: boolean) => {
      await trouble.open?.()
      return disturb(await open(path, isWritable))
    },
  })
  t.teardown(() => Object.assign(nodeFileSystem, { create, open }))
  return opened
}

function failWith(code: string) {
  return () => Promise.reject(Object.assign(new Error(code), { code }))
}

/** Resolves when the full disk has refused a write. */
function fillDisk(trouble: Trouble): Promise<void> {
  return new Promise(resolve => {
    trouble.write = () => {
      setImmediate(resolve)
      return failWith('ENOSPC')()
    }
  })
}

function lockNames(dir: string): string[] {
  return readdirSync(dir).flatMap(slot =>
    readdirSync(join(dir, slot)).filter(name => name.startsWith('lock')),
  )
}

async function openReady(oss: Oss, key: string, dir: string): Promise<OssAppendStream> {
  const stream = oss.open(key, { journal: dir, requestTimeout: 500, highWaterMark: 10_000 })
  await once(stream, 'ready')
  return stream
}

t.test('a disk that takes no write fails the stream, and no callback says otherwise', async t => {
  const oss = await startOss(t)
  const trouble: Trouble = {}
  disturbDisk(t, trouble)
  const dir = newFolder(t)
  const stream = await openReady(oss, oss.newKey(), dir)
  trouble.write = failWith('EIO')
  let callbackError: unknown
  stream.write('x', error => (callbackError = error))
  t.match(await failureOf(stream), { code: 'OSS_ERR_JOURNAL' })
  t.match(callbackError, { code: 'OSS_ERR_JOURNAL' })
  t.same(lockNames(dir), [])
})

t.test('an fdatasync that always fails: flush(), journaled() and the stream fail', async t => {
  const oss = await startOss(t)
  const trouble: Trouble = {}
  disturbDisk(t, trouble)
  const stream = await openReady(oss, oss.newKey(), newFolder(t))
  trouble.datasync = failWith('EIO')
  stream.write('x')
  const [flushed, journaled, failed] = await Promise.allSettled([
    stream.flush(),
    stream.journaled(),
    failureOf(stream),
  ])
  t.match(failed, { value: { code: 'OSS_ERR_JOURNAL' } })
  t.match(flushed, { reason: { code: 'OSS_ERR_JOURNAL' } })
  t.match(journaled, { reason: { code: 'OSS_ERR_JOURNAL' } })
})

t.test('no byte leaves before it is synced', async t => {
  const oss = await startOss(t)
  const trouble: Trouble = {}
  disturbDisk(t, trouble)
  const key = oss.newKey()
  const stream = await openReady(oss, key, newFolder(t))
  stream.write('a')
  await stream.flush()
  let release = () => {}
  const isSyncing = new Promise<void>(begins => {
    trouble.datasync = () => {
      begins()
      return new Promise<void>(ends => (release = ends))
    }
  })
  stream.write('b')
  const flushed = stream.flush()
  await isSyncing
  for (let turns = 0; turns < 50; turns++) await new Promise(setImmediate)
  t.equal(oss.read(key).toString(), 'a')
  trouble.datasync = undefined
  release()
  await flushed
  t.equal(oss.read(key).toString(), 'ab')
  stream.destroy()
})

t.test('a frame that is damaged when it is read back fails the stream', async t => {
  const oss = await startOss(t)
  const trouble: Trouble = {}
  disturbDisk(t, trouble)
  const key = oss.newKey()
  const stream = await openReady(oss, key, newFolder(t))
  oss.server.faults.push({ ...HANG, times: 1 })
  for (let i = 0; i < 100; i++) stream.write(Buffer.alloc(1000, i))
  trouble.read = async into => into.fill(1).length
  t.match(await failureOf(stream), { code: 'OSS_ERR_JOURNAL', offset: Number })
  t.ok(oss.read(key).length < 100_000)
})

t.test('a stream that is destroyed while it reads bytes back leaves no file open', async t => {
  const oss = await startOss(t)
  const trouble: Trouble = {}
  const opened = disturbDisk(t, trouble)
  const dir = newFolder(t)
  const stream = await openReady(oss, oss.newKey(), dir)
  oss.server.faults.push({ ...HANG, times: 1 })
  const reading = new Promise<() => void>(begins => {
    trouble.open = () => new Promise<void>(goOn => begins(goOn))
  })
  for (let i = 0; i < 100; i++) stream.write(Buffer.alloc(1000, i))
  const goOn = await reading
  stream.destroy()
  const closed = once(stream, 'close')
  // A close that does not wait for the read needs a few of these.
  for (let syncs = 0; syncs < 100 && !stream.closed; syncs++) {
    await writeFile(join(dir, 'probe'), 'x', { flush: true })
  }
  t.notOk(stream.closed, 'it waits for the read')
  goOn()
  await closed
  for (let turns = 0; turns < 10; turns++) await new Promise(setImmediate)
  t.equal(opened.size, 0)
})

t.test('a stream that is destroyed while its next batch is read back leaves no timer', async t => {
  const oss = await startOss(t)
  const trouble: Trouble = {}
  disturbDisk(t, trouble)
  const timers = new Set<Timer>()
  const clock: Clock = {
    ...systemClock,
    setTimeout(callback, delay) {
      const timer = systemClock.setTimeout(() => {
        timers.delete(timer)
        callback()
      }, delay)
      timers.add(timer)
      return timer
    },
    clearTimeout(timer) {
      timers.delete(timer)
      systemClock.clearTimeout(timer)
    },
  }
  const machine = { fileSystem: nodeFileSystem, clock, newOwner, isRunning }
  const key = oss.newKey()
  const sizes = { highWaterMark: 10_000, requestTimeout: 500, flushInterval: 60_000 }
  const options = oss.options(key, { journal: newFolder(t), ...sizes })
  const stream = createAppendStream(withInternals(options, { machine }))
  await once(stream, 'ready')
  oss.server.faults.push({ ...HANG, times: 1 })
  const reading = new Promise<() => void>(begins => {
    trouble.open = () => new Promise<void>(goOn => begins(goOn))
  })
  for (let i = 0; i < 50; i++) stream.write(Buffer.alloc(700, i))
  const goOn = await reading
  // Two batches are acknowledged, and the next waits for the read.
  await waitUntil(() => stream.bytesWritten === 20_000)
  stream.destroy()
  goOn()
  await once(stream, 'close')
  t.equal(timers.size, 0)
})

t.test('on a full disk whole records are sent before the mark of the end needs room', async t => {
  const oss = await startOss(t)
  const trouble: Trouble = {}
  disturbDisk(t, trouble)
  const key = oss.newKey()
  const options = { journal: newFolder(t), align: '\n', flushInterval: 60_000 } as const
  const stream = oss.open(key, options)
  await once(stream, 'ready')
  stream.write('whole\n')
  await stream.journaled()
  let marks = 0
  trouble.create = async () => {
    if (oss.server.stat('examplebucket', key)?.length === 6) marks++
    else {
      // The disk would have room once the records are delivered: the mark would wait for ever.
      stream.destroy()
      await failWith('ENOSPC')()
    }
  }
  stream.end('no newline')
  await once(stream, 'close')
  t.equal(oss.read(key).toString(), 'whole\nno newline')
  t.equal(marks, 1)
})

t.test('a stream can be destroyed while a write waits for room on a full disk', async t => {
  const oss = await startOss(t)
  const trouble: Trouble = {}
  disturbDisk(t, trouble)
  const dir = newFolder(t)
  const stream = await openReady(oss, oss.newKey(), dir)
  const isFull = fillDisk(trouble)
  const accepted: unknown[] = []
  stream.write('x', error => accepted.push(error))
  await isFull
  t.same(accepted, [], 'it waits')
  stream.destroy()
  await once(stream, 'close')
  t.match(accepted, [{ code: 'OSS_ERR_ABORTED' }])
  t.same(lockNames(dir), [])
})

t.test('a stream can be destroyed while its anchor waits for room on a full disk', async t => {
  const oss = await startOss(t)
  const trouble: Trouble = {}
  disturbDisk(t, trouble)
  const dir = newFolder(t)
  const stream = await openReady(oss, oss.newKey(), dir)
  stream.write('x')
  await stream.journaled()
  const isFull = fillDisk(trouble)
  stream.flush().catch(() => {})
  await isFull
  stream.destroy()
  await once(stream, 'close')
  t.same(lockNames(dir), [])
})

t.test('suspend() while a write waits for room rejects, since that chunk is nowhere', async t => {
  const oss = await startOss(t)
  const trouble: Trouble = {}
  disturbDisk(t, trouble)
  const stream = await openReady(oss, oss.newKey(), newFolder(t))
  trouble.write = failWith('ENOSPC')
  stream.on('error', () => {}).write('x')
  await t.rejects(stream.suspend(), { code: 'OSS_ERR_JOURNAL', message: /full/ })
})

t.test('a folder that cannot be made fails the stream, and journaled() does not hang', async t => {
  const oss = await startOss(t)
  const dir = join(newFolder(t), 'file')
  writeFileSync(dir, '')
  const stream = oss.open(oss.newKey(), { journal: dir })
  const failed = failureOf(stream)
  await t.rejects(stream.journaled(), { code: 'OSS_ERR_JOURNAL' })
  t.match(await failed, { code: 'OSS_ERR_JOURNAL' })
})

t.test('the folders of a journal are on stable storage before it accepts bytes', async t => {
  const oss = await startOss(t)
  const parent = newFolder(t)
  const synced: string[] = []
  const { syncFolder } = nodeFileSystem
  t.teardown(() => Object.assign(nodeFileSystem, { syncFolder }))
  const spy = (path: string) => {
    synced.push(path.slice(parent.length))
    return syncFolder(path)
  }
  Object.assign(nodeFileSystem, { syncFolder: spy })
  const stream = oss.open(oss.newKey(), { journal: join(parent, 'a', 'b') })
  stream.write('x')
  await stream.journaled()
  t.same(synced.slice(0, 3), ['/a', '', '/a/b'], 'the parents of b, of a and of 0')
  stream.destroy()
  await once(stream, 'close')
})

for (const { code, isFailure } of [
  { code: 'EACCES', isFailure: false },
  { code: 'EIO', isFailure: true },
]) {
  t.test(`the parent of a new journal cannot be synced: ${code}`, async t => {
    const oss = await startOss(t)
    const dir = join(newFolder(t), 'new')
    const { syncFolder } = nodeFileSystem
    t.teardown(() => Object.assign(nodeFileSystem, { syncFolder }))
    const failing = (path: string) => (path.startsWith(dir) ? syncFolder(path) : failWith(code)())
    Object.assign(nodeFileSystem, { syncFolder: failing })
    const stream = oss.open(oss.newKey(), { journal: dir })
    const failed = failureOf(stream)
    stream.write('x')
    const outcome = await stream.journaled().catch(error => error.code)
    t.equal(outcome, isFailure ? 'OSS_ERR_JOURNAL' : undefined)
    stream.destroy()
    await failed
  })
}

t.test('a journal that cannot be opened leaves no lock behind, in no slot', async t => {
  const oss = await startOss(t)
  const dir = newFolder(t)
  for (const slot of ['0', '1']) {
    mkdirSync(join(dir, slot))
    writeFileSync(join(dir, slot, '0000000000000000-00000001.journal'), Buffer.alloc(12_288, 7))
  }
  const stream = oss.open(oss.newKey(), { journal: dir })
  t.match(await failureOf(stream), { code: 'OSS_ERR_JOURNAL' })
  t.same(lockNames(dir), [])
})

t.test('a stream that is destroyed after any number of turns leaves no lock behind', async t => {
  const oss = await startOss(t)
  const dir = newFolder(t)
  const key = oss.newKey()
  const first = oss.open(key, { journal: dir })
  first.write('kept')
  await first.journaled()
  await first.suspend()
  for (let turns = 0; turns < 40; turns += 2) {
    const stream = oss.open(key, { journal: dir })
    stream.on('error', () => {})
    stream.write(`${turns} `)
    let left = turns
    await waitUntil(() => left-- <= 0)
    stream.destroy()
    await once(stream, 'close')
    t.same(lockNames(dir), [], `${turns} turns`)
  }
})
