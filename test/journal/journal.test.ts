/** The class Journal: what is accepted, synced, read back, kept and deleted. */

import { existsSync } from 'node:fs'
import { readdir, readlink, stat } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { crc64 } from '../../lib/crc64/index.ts'
import type { FileSystem } from '../../lib/journal/file-system.ts'
import { inspectJournal } from '../../lib/journal/inspect.ts'
import { Journal, type JournalOptions } from '../../lib/journal/journal.ts'
import { HEAD_BYTES } from '../../lib/journal/segment.ts'
import { settleJournal } from '../../lib/journal/settle-journal.ts'
import { claimSlots, lockIfFree } from '../../lib/journal/slots.ts'
import { FakeClock } from '../helpers/fake-clock.ts'
import { newFolder } from '../helpers/journal.ts'
import { createRandom } from '../helpers/random.ts'
import { FailingDisk } from './failing-disk.ts'
import { SimulatedDisk } from './simulated-disk.ts'

const ANCHOR = { offset: 0, bucket: 'b', key: 'k', position: 0, crc64: '0' }

/** A journal on a simulated disk, and how often each function of the disk was called. */
async function setUp(details: Partial<JournalOptions> = {}) {
  const disk = new SimulatedDisk(createRandom(1))
  const clock = new FakeClock()
  const calls: string[] = []
  const open = async (more: Partial<JournalOptions> = {}) =>
    Journal.open({
      ...{ folder: '/j/0', maxBytes: 1e9, sync: 200, align: 'chunk', highWaterMark: 1000 },
      ...{ fileSystem: spy(disk.fileSystem(), calls), clock, ...details, ...more },
    })
  return { disk, clock, calls, open, journal: await open() }
}

/** Notes the writes and the syncs of files behind their heads. */
function spy(fileSystem: FileSystem, calls: string[]): FileSystem {
  const wrap: FileSystem['create'] = async path => {
    const file = await fileSystem.create(path)
    return {
      ...file,
      write: (bytes, position) => {
        if (position >= HEAD_BYTES) calls.push(`write ${bytes.length}`)
        return file.write(bytes, position)
      },
      datasync: () => {
        calls.push('datasync')
        return file.datasync()
      },
    }
  }
  return { ...fileSystem, create: wrap }
}

function chunks(...texts: string[]) {
  return texts.map(chunk => ({ chunk, encoding: 'utf8' as const }))
}

async function readAll(journal: Journal, from = journal.acknowledged): Promise<string[]> {
  const texts: string[] = []
  for (let at = from; at < journal.end; ) {
    for (const { bytes } of await journal.read(at, 1000)) {
      texts.push(bytes.toString())
      at += bytes.length
    }
  }
  return texts
}

t.test('chunks that are written together are one write, and one frame', async t => {
  const { journal, calls } = await setUp()
  const result = await journal.write(chunks('a', 'bc', 'd'))
  t.match(result, { chunks: 3, rest: undefined, isFull: false })
  t.same(
    result.pieces.map(({ bytes, isEnd }) => [bytes.toString(), isEnd]),
    [
      ['a', true],
      ['bc', true],
      ['d', true],
    ],
  )
  t.same(calls, ['datasync', `write ${16 + 4 + 2 * 4}`], 'the first is that of the head')
  t.equal(journal.end, 4)
  t.same(await readAll(journal), ['a', 'bc', 'd'])
  await journal.close()
})

t.test('with milliseconds one fdatasync makes all writes of that time stable', async t => {
  const { journal, calls, clock } = await setUp()
  for (const text of ['a', 'b', 'c']) await journal.write(chunks(text))
  t.equal(journal.syncedEnd, 0)
  t.equal(clock.timers.size, 1)
  calls.length = 0
  const timer = await clock.nextTimer()
  t.equal(timer.delay, 200)
  timer.fire()
  while (journal.syncedEnd < 3) await null
  t.same(calls, ['datasync'])
  await journal.close()
})

t.test("with 'always' a write is accepted when it is synced", async t => {
  const { journal, clock } = await setUp({ sync: 'always' })
  await journal.write(chunks('a'))
  t.equal(journal.syncedEnd, 1)
  t.equal(clock.timers.size, 0)
  await journal.close()
})

t.test("with 'never' nothing is synced for a write's sake, but sync() does", async t => {
  const { journal, clock } = await setUp({ sync: 'never' })
  await journal.write(chunks('a'))
  t.equal(clock.timers.size, 0)
  t.equal(journal.syncedEnd, 0)
  await journal.sync()
  t.equal(journal.syncedEnd, 1)
  await journal.close()
})

t.test('calls of sync() share an fdatasync, and one that is there already costs none', async t => {
  const { journal, calls } = await setUp()
  await journal.write(chunks('a'))
  calls.length = 0
  await Promise.all([journal.sync(), journal.sync(), journal.sync()])
  await journal.sync()
  t.same(calls, ['datasync'])
  await journal.close()
})

t.test('unsynced bytes never take more memory than two buffers', async t => {
  const { journal } = await setUp({ highWaterMark: 100, sync: 'never' })
  let most = 0
  for (let index = 0; index < 50; index++) {
    await journal.write(chunks('x'.repeat(40)))
    most = Math.max(most, journal.end - journal.syncedEnd)
  }
  t.ok(most <= 200, `${most} bytes`)
  await journal.close()
})

t.test(
  'a failed fdatasync is never tried again on its file: the bytes go to a new one',
  async t => {
    const { journal, disk, calls } = await setUp()
    await journal.write(chunks('synced'))
    await journal.sync()
    await journal.write(chunks('unsynced'))
    calls.length = 0
    disk.trouble = { shortWrite: 0, writeError: 0, syncError: 1 }
    const synced = journal.sync()
    while (calls.length === 0) await null
    await null
    await null
    disk.trouble = { shortWrite: 0, writeError: 0, syncError: 0 }
    await synced
    t.same(calls, ['datasync', 'write 24', 'datasync'])
    t.same(disk.paths.length, 2)
    disk.kill()
    disk.losePower()
    const next = await Journal.open({
      ...{ folder: '/j/0', maxBytes: 1e9, sync: 200, align: 'chunk', highWaterMark: 1000 },
      fileSystem: disk.fileSystem(),
    })
    t.same(await readAll(next), ['synced', 'unsynced'])
    t.same(next.recovered.damaged, [])
    await next.close()
  },
)

t.test('a disk that fails twice in a row fails the journal', async t => {
  const { journal, disk } = await setUp()
  await journal.write(chunks('a'))
  disk.trouble = { shortWrite: 0, writeError: 1, syncError: 0 }
  const failure = { code: 'OSS_ERR_JOURNAL', message: /EIO, the disk may be failing \(\/j\/0\)$/ }
  await t.rejects(journal.write(chunks('b')), failure)
  await t.rejects(journal.sync(), failure)
  await t.rejects(journal.close(), failure)
})

t.test('a full disk accepts nothing, and goes on when bytes are delivered', async t => {
  const { journal, disk, clock } = await setUp({ segmentBytes: HEAD_BYTES + 100 })
  disk.capacity = HEAD_BYTES * 2 + 150
  let accepted = 0
  let isFull = false
  while (!isFull) {
    const result = await journal.write(chunks('0123456789'))
    accepted += result.chunks
    isFull = result.isFull
  }
  t.ok(journal.isFull)
  t.ok(accepted > 3)
  t.same((await readAll(journal)).length, accepted, 'what was accepted is there')
  const room = journal.waitForRoom()
  t.ok([...clock.timers].at(-1)?.hasRef, 'a write waits, so the timer keeps the process alive')
  await journal.anchor(ANCHOR)
  journal.acknowledge(journal.end, { position: journal.end, crc64: '7' })
  await room
  disk.capacity = HEAD_BYTES * 2 + 300
  const { isFull: isStillFull } = await journal.write(chunks('0123456789'))
  t.notOk(isStillFull)
  t.same(
    await readAll(journal),
    ['0123456789'],
    'it is over the torn frame, and behind the whole ones',
  )
  await journal.close()
})

t.test('a crash while an anchor is written leaves one that may rule', async t => {
  const found = new Set<string | undefined>()
  for (let seed = 1; seed <= 1500; seed++) {
    const random = createRandom(seed)
    const disk = new SimulatedDisk(random)
    const details = { maxBytes: 1e9, sync: 'always', align: 'chunk', highWaterMark: 1000 } as const
    const options = { ...details, folder: '/j/0', clock: new FakeClock() }
    const journal = await Journal.open({ ...options, fileSystem: disk.fileSystem() })
    await journal.write(chunks('record'))
    await journal.anchor(ANCHOR)
    disk.operationsToLive = random.integer(0, 4)
    const killed = disk.nextKill()
    await Promise.race([killed, journal.anchor({ ...ANCHOR, key: 'next', offset: 6 })])
    disk.kill()
    disk.losePower()
    const next = await Journal.open({ ...options, fileSystem: disk.fileSystem() })
    const key = next.recovered.anchor?.key
    found.add(key)
    // From now on appends may go there, so no crash brings an earlier anchor back.
    disk.operationsToLive = random.integer(0, 4)
    const again = disk.nextKill()
    await Promise.race([again, next.anchor({ ...ANCHOR, key: 'third', offset: 6 })])
    disk.kill()
    disk.losePower()
    const last = await Journal.open({ ...options, fileSystem: disk.fileSystem() })
    const lastKey = last.recovered.anchor?.key
    if (lastKey !== key && lastKey !== 'third') t.fail(`seed ${seed}: ${lastKey} behind ${key}`)
  }
  t.same([...found].sort(), ['k', 'next'])
})

/** A journal on a simulated disk whose functions wait for `before(name)`. */
async function openSlow(before: (name: 'write' | 'datasync') => Promise<void> | undefined) {
  const fileSystem = new SimulatedDisk(createRandom(1)).fileSystem()
  const create: FileSystem['create'] = async path => {
    const file = await fileSystem.create(path)
    return {
      ...file,
      write: async (bytes, position) => {
        if (position >= HEAD_BYTES) await before('write')
        return file.write(bytes, position)
      },
      datasync: async () => {
        await before('datasync')
        await file.datasync()
      },
    }
  }
  return Journal.open({
    ...({ folder: '/j/0', maxBytes: 1e9, sync: 'never', align: 'chunk' } as const),
    ...{ highWaterMark: 1000, clock: new FakeClock(), fileSystem: { ...fileSystem, create } },
  })
}

t.test('bytes that are asked for do not wait for later ones to be synced', async t => {
  let syncs = 0
  let gate: Promise<void> | undefined
  const journal = await openSlow(name => {
    if (name === 'datasync') syncs += 1
    return name === 'datasync' ? gate : undefined
  })
  await journal.write(chunks('a'))
  let openGate = () => {}
  gate = new Promise(resolve => (openGate = resolve))
  syncs = 0
  const all = journal.sync()
  await journal.write(chunks('b'))
  const first = journal.sync(1)
  openGate()
  await Promise.all([first, all])
  t.equal(syncs, 1)
  t.equal(journal.syncedEnd, 1)
  await journal.close()
})

t.test('while the disk writes, the next frames are laid out', async t => {
  const order: string[] = []
  const journal = await openSlow(async name => {
    order.push(name)
    await new Promise(setImmediate)
    order.push('done')
  })
  const next = {
    encoding: 'utf8' as const,
    get chunk() {
      order.push('read')
      return Buffer.alloc(600, 'b')
    },
  }
  const first = { encoding: 'utf8' as const, chunk: Buffer.alloc(600, 'a') }
  order.length = 0
  t.match(await journal.write([first, next]), { chunks: 1 })
  const atWrite = order.indexOf('write')
  t.ok(order.lastIndexOf('read') > atWrite, order.join())
  t.ok(order.lastIndexOf('read') < order.indexOf('done', atWrite), order.join())
  t.match(await journal.write([next]), { chunks: 1 })
  t.equal((await readAll(journal)).join(''), 'a'.repeat(600) + 'b'.repeat(600))
  await journal.close()
})

t.test('frames that were laid out ahead are for their chunks alone', async t => {
  const journal = await openSlow(() => undefined)
  const [a, b, c] = ['a', 'b', 'c'].map(letter => letter.repeat(600))
  t.match(await journal.write(chunks(a!, b!)), { chunks: 1 })
  t.match(await journal.write(chunks(c!)), { chunks: 1 })
  t.match(await journal.write(chunks(b!)), { chunks: 1 })
  t.equal((await readAll(journal)).join(''), a! + c! + b!)
  await journal.close()
})

t.test('a write waits while two buffers of bytes are not on stable storage', async t => {
  let openGate = () => {}
  let gate: Promise<void> | undefined
  const journal = await openSlow(name => (name === 'datasync' ? gate : undefined))
  const buffer = () => [{ chunk: Buffer.alloc(900), encoding: 'utf8' as const }]
  await journal.write(buffer())
  gate = new Promise(resolve => (openGate = resolve))
  await journal.write(buffer())
  let isAccepted = false
  const third = journal.write(buffer()).then(() => (isAccepted = true))
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
  t.notOk(isAccepted, 'the disk does not answer')
  openGate()
  await third
  await journal.close()
})

t.test('maxBytes holds back writes, and counts heads', async t => {
  const { journal } = await setUp({ maxBytes: HEAD_BYTES + 100, segmentBytes: 1e6 })
  t.equal((await journal.write(chunks('x'.repeat(60)))).isFull, false)
  t.equal((await journal.write(chunks('x'.repeat(60)))).isFull, true)
  t.equal(journal.bytesOnDisk, HEAD_BYTES + 76)
  await journal.close()
})

t.test('segments are deleted once they are acknowledged whole, and the last one stays', async t => {
  const { journal, disk } = await setUp({ segmentBytes: HEAD_BYTES + 60 })
  await journal.anchor(ANCHOR)
  for (let index = 0; index < 9; index++) await journal.write(chunks('0123456789'))
  const before = disk.paths.length
  t.ok(before > 3)
  journal.acknowledge(15, { position: 15, crc64: '1' })
  await journal.close()
  t.ok(disk.paths.length === before, 'a segment with one unacknowledged byte stays')
})

t.test('the folder of a stream that has delivered all holds one small file', async t => {
  const folder = newFolder(t)
  const details = { maxBytes: 1e9, sync: 200, align: 'chunk', highWaterMark: 4_000_000 } as const
  const journal = await Journal.open({ folder, ...details })
  await journal.anchor(ANCHOR)
  for (let index = 0; index < 3; index++) {
    await journal.write([{ chunk: Buffer.alloc(1_000_000, 'x'), encoding: 'utf8' }])
  }
  journal.acknowledge(journal.end, { position: journal.end, crc64: '5' })
  await journal.close()
  const [name = '', ...others] = await readdir(folder)
  t.same(others, [])
  t.equal((await stat(join(folder, name))).size, HEAD_BYTES)
  const next = await Journal.open({ folder, ...details })
  t.match(next.recovered, { from: 3_000_000, end: 3_000_000, anchor: { crc64: '5' } })
  await next.close()
})

/** Open files of this process in a folder, with what the system says behind the name of a deleted one. */
async function openFilesIn(folder: string): Promise<string[]> {
  const links = await Promise.all(
    (await readdir('/proc/self/fd')).map(fd => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
  )
  return links.filter(link => link.startsWith(folder)).map(link => link.slice(folder.length + 1))
}

const hasProc = existsSync('/proc/self/fd')

t.test('no deleted file stays open, and at most two others', { skip: !hasProc }, async t => {
  const folder = newFolder(t)
  const details = { maxBytes: 1e9, sync: 200, align: 'chunk', highWaterMark: 1000 } as const
  const segmentBytes = HEAD_BYTES + 60
  const journal = await Journal.open({ folder, segmentBytes, ...details })
  await journal.anchor(ANCHOR)
  for (let round = 1; round <= 5; round++) {
    for (let index = 0; index < 9; index++) await journal.write(chunks('0123456789'))
    t.equal((await readAll(journal)).join('').length, 90)
    const { end } = journal
    // The file that was read last is one of those that go.
    await journal.read(end - 90, 10)
    await journal.anchor({ ...ANCHOR, key: `${round}`, offset: end - 10 })
    journal.acknowledge(end, { position: end, crc64: '1' })
    await journal.sync()
    while ((await readdir(folder)).length > 1) await null
    await journal.anchorTail()
    const open = await openFilesIn(folder)
    t.ok(open.length >= 1 && open.length <= 2, `round ${round}: ${open}`)
    t.notMatch(open.join(), /deleted/)
  }
  await journal.close()
  t.same(await openFilesIn(folder), [])
})

t.test('a journal that fails at any call of the disk leaves no file open', async t => {
  const failed = new Set<string>()
  for (let failAt = 1; ; failAt++) {
    const { disk, journal } = await setUp()
    await journal.write(chunks('left'))
    await journal.anchor(ANCHOR)
    await journal.close()
    const [path = ''] = disk.paths
    // One place of the anchor is damaged, and a frame behind the last one.
    disk.replace(path, Buffer.concat([disk.read(path).fill(1, 8192, HEAD_BYTES), Buffer.alloc(9)]))
    const failing = new FailingDisk(disk.fileSystem(), failAt)
    const run = async () => {
      const details = {
        maxBytes: 1e9,
        sync: 'always',
        align: 'chunk',
        highWaterMark: 1000,
      } as const
      const { fileSystem } = failing
      const again = await Journal.open({ folder: '/j/0', fileSystem, segmentBytes: 1, ...details })
      try {
        for (const text of ['a', 'b']) await again.write(chunks(text))
        await again.read(0, 1)
        again.acknowledge(again.end, { position: again.end, crc64: '0' })
        await again.write(chunks('c'))
        await again.read(again.end - 1, 1)
      } finally {
        await again.close()
      }
    }
    const error = await run().catch((error: Error) => error)
    if (failing.failed === undefined) break
    failed.add(failing.failed)
    if (error) t.match(error, { code: 'OSS_ERR_JOURNAL' })
    t.equal(failing.opened, 0, `call ${failAt}: ${failing.failed}`)
  }
  t.match([...failed].sort().join(), /create,datasync,list,open,read,remove,.*syncFolder,.*write/)
})

t.test('bytes are read back from any offset, across segments, with the ends of chunks', async t => {
  const { journal } = await setUp({ segmentBytes: HEAD_BYTES + 60 })
  const texts = Array.from({ length: 20 }, (_, index) => `<${index}>`)
  for (const text of texts) await journal.write(chunks(text))
  const all = texts.join('')
  for (const from of [0, 1, 40, 7, all.length - 1]) {
    const read = await readAll(journal, from)
    t.equal(read.join(''), all.slice(from))
  }
  t.match(await journal.read(1, 1), [{ bytes: Buffer.from('0'), isEnd: false, crc64: undefined }])
  await journal.close()
})

t.test('a frame that is damaged after it was written is not read back', async t => {
  const { journal, disk } = await setUp()
  await journal.write(chunks('abc'))
  const [path = ''] = disk.paths
  const bytes = disk.read(path)
  bytes[bytes.length - 1]! ^= 1
  disk.replace(path, bytes)
  await t.rejects(journal.read(0, 3), { code: 'OSS_ERR_JOURNAL', file: path, offset: HEAD_BYTES })
})

t.test('a copy of a segment under the name of another is damage, and deletes nothing', async t => {
  const { disk, journal, open } = await setUp({ segmentBytes: 1 })
  for (const text of ['a', 'b', 'c']) await journal.write(chunks(text))
  await journal.close()
  const [first = '', , last = ''] = disk.paths
  disk.replace(last, disk.read(first))
  const again = await open()
  t.match(again.recovered.damaged, [{ file: last, offset: 0, reason: 'broken' }])
  t.same(await readAll(again), ['a', 'b'])
  t.ok(disk.paths.includes(`${last}.damaged`))
  await again.close()
})

t.test('a copy of a segment under a later name does not say where the bytes go', async t => {
  const { disk, journal, open } = await setUp()
  await journal.write(chunks('a', 'b'))
  await journal.anchor(ANCHOR)
  const [path = ''] = disk.paths
  const copy = disk.read(path)
  await journal.anchor({ ...ANCHOR, offset: 1, key: 'next' })
  await journal.close()
  const later = path.replace('-00000001.', '-00000009.')
  disk.replace(later, copy)
  await t.rejects(open(), { code: 'OSS_ERR_JOURNAL', file: later, message: /anchor is damaged/ })
  t.same(disk.paths, [path, later])
})

t.test('an unfinished record is kept, and not recovered', async t => {
  const { journal, disk, open } = await setUp({ align: '\n' })
  await journal.write(chunks('one\ntwo\nthr'))
  await journal.close()
  const next = await open()
  t.match(next.recovered, { from: 0, end: 8, damaged: [{ reason: 'unfinished' }] })
  await next.write(chunks('four\n'))
  t.equal((await readAll(next)).join(''), 'one\ntwo\nfour\n')
  await next.anchor(ANCHOR)
  next.acknowledge(13, { position: 13, crc64: '1' })
  await next.close()
  t.equal(disk.paths.filter(path => path.endsWith('.damaged')).length, 1)
})

t.test('records of processes with another align are parts of their own', async t => {
  const { journal, open } = await setUp({ align: '\n' })
  await journal.write(chunks('one\nunfinished'))
  await journal.close()
  const second = await open({ align: 4 })
  await second.write(chunks('1234567'))
  await second.markEnd()
  await second.close()
  const third = await open({ align: 'chunk' })
  await third.write(chunks('chunk'))
  await third.close()
  const last = await open({ align: undefined })
  t.equal(last.align, 'chunk')
  t.same(last.recovered.parts, [
    { end: 4, align: '\n' },
    { end: 11, align: 4 },
    { end: 16, align: 'chunk' },
  ])
  const text = 'one\n1234567chunk'
  const before = { position: 0, crc64: '0' }
  const landed: number[] = []
  for (let length = 1; length <= text.length; length++) {
    const seen = { position: length, crc64: crc64(text.slice(0, length)) }
    const { name } = await settleJournal(last, 0, before, seen)
    if (name === 'landed') landed.push(length)
  }
  t.same(landed, [4, 8, 11, 16], 'an append may have ended there')
  await last.close()
})

t.test(
  'writeUnconfirmedSync() writes what is in flight at its place, and more behind it',
  async t => {
    const { journal, disk, open } = await setUp()
    await journal.write(chunks('a'))
    journal.write(chunks('b', 'c')).catch(() => {})
    t.equal(journal.writeUnconfirmedSync(chunks('d')), 3)
    disk.kill()
    disk.losePower()
    const { recovered, ...next } = await open({ fileSystem: disk.fileSystem() })
    t.match(recovered, { end: 4, damaged: [] })
    t.ok(next)
  },
)

t.test('the journal settles by prefix, at the ends of records', async t => {
  const { journal } = await setUp()
  await journal.write(chunks('ab', 'cde'))
  const before = { position: 4, crc64: crc64('base') }
  const settle = (text: string | null, position = text?.length ?? 0) =>
    settleJournal(
      journal,
      0,
      before,
      text === null ? null : { position, crc64: crc64(text) },
      journal.end,
    )
  t.match(await settle('baseab'), { name: 'landed', length: 2, after: { position: 6 } })
  t.match(await settle('baseabcde'), { name: 'landed', length: 5 })
  t.match(await settle('baseabc'), { name: 'conflict' }, 'inside a record')
  t.match(await settle('base~~'), { name: 'conflict' })
  t.match(await settle('base'), { name: 'absent' })
  t.match(await settle('bas'), { name: 'replaced' })
  t.match(await settle(null), { name: 'replaced' })
  t.match(await settle('baseabcdefgh'), { name: 'beyond', bytes: 3 })
  await journal.close()
})

t.test('a segment that is made for the bytes of another stream keeps their target', async t => {
  const target = { bucket: 'b', key: 'first', isPattern: false }
  const { journal, open, disk } = await setUp({ target, segmentBytes: HEAD_BYTES + 60 })
  for (const text of ['0123456789', '0123456789', '0123456789']) await journal.write(chunks(text))
  await journal.close()
  const path = disk.paths.at(-1) ?? ''
  disk.replace(path, disk.read(path).fill(0, 0, 100))
  const next = await open({ target: { ...target, key: 'second' } })
  t.ok(disk.paths.includes(`${path}.damaged`), 'a new segment has taken its place')
  await next.close()
  const last = await open({ target: { ...target, key: 'second' } })
  t.match(last.recovered, { target, anchor: undefined, from: 0, end: 20 })
  await last.close()
})

t.test('a chunk that is longer than a segment is accepted in parts', async t => {
  const { journal } = await setUp({ maxBytes: 1 << 20, highWaterMark: 65_536, align: 1 })
  const chunk = 'x'.repeat(600_000)
  const { pieces, rest, isFull } = await journal.write(chunks(chunk))
  t.equal(isFull, false)
  const accepted = pieces.reduce((sum, { bytes }) => sum + bytes.length, 0)
  t.ok(accepted > 0 && rest?.chunk.length === chunk.length - accepted)
  await journal.close()
})

t.test('on a real disk: folders 0700, files 0600, a slot for each stream, a report', async t => {
  const dir = join(newFolder(t), 'oss')
  const first = await claimSlots(dir)
  const second = await claimSlots(dir)
  t.match([first.own.index, second.own.index, second.abandoned], [0, 1, []])
  const details = { maxBytes: 1e9, sync: 200, align: '\n', highWaterMark: 1e6 } as const
  const journal = await Journal.open({ folder: first.own.folder, ...details })
  await journal.write(chunks('line\n'))
  await journal.close()
  t.equal((await stat(first.own.folder)).mode & 0o777, 0o700)
  for (const name of await readdir(first.own.folder)) {
    t.equal((await stat(join(first.own.folder, name))).mode & 0o777, 0o600, name)
  }
  t.equal(await lockIfFree(first.own.folder), undefined, 'it is in use')
  t.match(await inspectJournal(dir), [
    { name: '0', owner: { pid: process.pid }, recovered: { from: 0, end: 5 }, kept: [] },
    { name: '1', owner: { pid: process.pid }, recovered: { end: 0 } },
  ])
  await first.own.release()
  await second.own.release()
  const third = await claimSlots(dir)
  t.match([third.own.index, third.abandoned], [0, []])
  await third.own.release()
})

t.test('of streams that start at once, one takes each slot of a dead process', async t => {
  const dir = newFolder(t)
  const options = { maxBytes: 1e9, sync: 200, align: 'chunk', highWaterMark: 1000 } as const
  const dead = await Promise.all(Array.from({ length: 4 }, () => claimSlots(dir)))
  for (const { own } of dead) {
    const journal = await Journal.open({ ...options, folder: own.folder })
    await journal.write(chunks('left'))
    await journal.close()
    await own.release()
  }
  for (let round = 1; round <= 5; round++) {
    const claims = await Promise.all(Array.from({ length: 3 }, () => claimSlots(dir)))
    const slots = claims.flatMap(({ own, abandoned }) => [own, ...abandoned])
    const indexes = slots.map(({ index }) => index).sort()
    t.equal(new Set(indexes).size, indexes.length, 'none is taken twice')
    for (const { own } of dead) t.ok(indexes.includes(own.index), `slot ${own.index}`)
    for (const slot of slots) await slot.release()
  }
})
