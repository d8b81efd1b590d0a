/** What a stream does with the journals of streams before it, whatever has become of their objects. */

import { once } from 'node:events'
import { cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { EMPTY_TAIL } from '../../lib/append/tail.ts'
import {
  type AppendStreamOptions,
  createAppendStream,
  createRollingAppendStream,
  type OssAppendStream,
  OssClient,
} from '../../lib/index.ts'
import { inspectJournal } from '../../lib/journal/inspect.ts'
import { Journal } from '../../lib/journal/journal.ts'
import { runModule } from '../helpers/child-process.ts'
import { failureOf, finish, HANG, newFolder, watchRecover } from '../helpers/journal.ts'
import { networkOptions, type Oss, startOss, waitUntil } from '../helpers/test-oss.ts'

/** The object gets `delivered`; `left` stays in the journal, and was never sent. */
async function leave(
  oss: Oss,
  key: string,
  options: Partial<AppendStreamOptions>,
  { delivered = '', left = '' },
  stream = oss.open(key, options),
): Promise<void> {
  if (delivered !== '') {
    stream.write(delivered)
    await stream.flush()
  }
  oss.server.faults.push({ kind: 'reset', when: 'before', times: Number.POSITIVE_INFINITY })
  stream.write(left)
  await stream.suspend()
  oss.server.faults.clear()
}

/** Why a stream does not become ready. */
async function refusalOf(stream: OssAppendStream): Promise<unknown> {
  stream.once('ready', () => stream.destroy())
  return failureOf(stream)
}

async function appendOther(oss: Oss, key: string, text: string): Promise<void> {
  const stream = oss.open(key)
  stream.write(text)
  await finish(stream)
}

t.test('bytes for an object of another bucket: the stream refuses, and they stay', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const key = oss.newKey()
  await leave(oss, key, { journal }, { delivered: 'a', left: 'b' })
  const other = oss.open(key, { journal, bucket: 'otherbucket' })
  t.match(await refusalOf(other), {
    code: 'OSS_ERR_JOURNAL',
    message: /1 byte for oss:\/\/examplebucket\/.*otherbucket/,
  })
  await finish(oss.open(key, { journal }))
  t.equal(oss.read(key).toString(), 'ab')
  const empty = oss.open(key, { journal, bucket: 'otherbucket' })
  await finish(empty)
  t.equal(empty.errored, null, 'a delivered journal does not matter')
})

t.test('nothing to send: it does not matter that the object is gone', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const key = oss.newKey()
  await leave(oss, key, { journal }, { delivered: 'old' })
  oss.server.faults.push({ kind: 'deleted', on: 'head' })
  const stream = oss.open(key, { journal })
  const infos = watchRecover(stream)
  stream.write('new')
  await finish(stream)
  t.equal(oss.read(key).toString(), 'new')
  t.same(infos, [])
})

t.test('an object that is gone or replaced: the stream fails, and the bytes stay', async t => {
  const oss = await startOss(t)
  const faults = [
    { kind: 'deleted', on: 'head' },
    { kind: 'replaced', by: 'Appendable', length: 2, on: 'head' },
    { kind: 'replaced', by: 'Normal', on: 'head' },
  ] as const
  for (const fault of faults) {
    const journal = newFolder(t)
    const key = oss.newKey()
    await leave(oss, key, { journal }, { delivered: 'four', left: 'kept' })
    oss.server.faults.push(fault)
    const code = 'by' in fault && fault.by === 'Normal' ? 'ObjectNotAppendable' : /REPLACED/
    t.match(await refusalOf(oss.open(key, { journal })), { code, message: /4 bytes .*stay/ })
    t.match(await refusalOf(oss.open(key, { journal })), { code }, 'again')
  }
})

t.test('a sealed object: a plain stream fails, and a rolling stream takes the next', async t => {
  const oss = await startOss(t)
  for (const isRolling of [false, true]) {
    const journal = newFolder(t)
    const key = `${oss.newKey()}-0`
    const open = () => {
      if (!isRolling) return oss.open(key, { journal })
      const options = oss.options(`${key.slice(0, -1)}{index}`, { journal })
      return createRollingAppendStream({ ...options, maxBytes: 1 << 20 })
    }
    await leave(oss, key, {}, { delivered: 'a', left: 'bc' }, open())
    const sealing = oss.open(key, { seal: true })
    await finish(sealing)
    if (isRolling) {
      const stream = open()
      stream.write('d')
      await finish(stream)
      t.equal(oss.read(key).toString(), 'a')
      t.equal(oss.read(`${key.slice(0, -1)}1`).toString(), 'bcd')
    } else {
      t.match(await refusalOf(open()), { code: 'AppendSealedObjectNotAllowed' })
    }
  }
})

t.test(
  'bytes of which nothing was sent go to their own object, whatever the next key is',
  async t => {
    const oss = await startOss(t)
    for (const isRolling of [false, true]) {
      for (const isForbidden of [false, true]) {
        const journal = newFolder(t)
        const [key, other] = [oss.newKey(), oss.newKey()]
        await appendOther(oss, key, 'there ')
        await leave(oss, key, { journal }, { left: 'one ' })
        if (isForbidden) {
          oss.server.faults.push({ kind: 'forbidden', on: 'head', times: Number.POSITIVE_INFINITY })
        }
        const options = oss.options(isRolling ? `${other}{index}` : other, { journal })
        const next = isRolling ? createRollingAppendStream(options) : oss.open(other, { journal })
        const infos = watchRecover(next)
        next.write('new')
        await finish(next)
        oss.server.faults.clear()
        t.equal(next.errored, null)
        t.equal(oss.read(key).toString(), 'there one ')
        t.equal(oss.read(isRolling ? `${other}0` : other).toString(), 'new')
        t.match(infos, [{ key, bytes: 4 }])
      }
    }
  },
)

t.test(
  'bytes of two slots for another key: a killed start and a lost reply double none',
  async t => {
    const oss = await startOss(t)
    const [dir, copy] = [newFolder(t), join(newFolder(t), 'copy')]
    const [key, other] = [oss.newKey(), oss.newKey()]
    oss.server.faults.push({ kind: 'reset', when: 'before', times: 1e9 })
    const streams = ['first ', 'second '].map(text => {
      const stream = oss.open(key, { journal: dir })
      stream.write(text)
      return stream
    })
    for (const stream of streams) await stream.journaled()
    for (const stream of streams) await stream.suspend()
    oss.server.faults.clear()
    oss.server.faults.push({ kind: 'lost', how: 'hang', skip: 1, times: 1e9 })
    const next = oss.open(other, { journal: dir })
    await waitUntil(() => oss.server.faults.fired.lost)
    const content = oss.read(key).toString()
    t.equal(content.length, 13, 'both have landed')
    // What the files are if the process is killed now.
    cpSync(dir, copy, { recursive: true })
    await next.suspend()
    oss.server.faults.clear()
    rmSync(dir, { recursive: true })
    cpSync(copy, dir, { recursive: true })
    for (const name of readdirSync(dir, { recursive: true, encoding: 'utf8' })) {
      if (name.includes('lock~')) rmSync(join(dir, name))
    }
    const last = oss.open(other, { journal: dir })
    last.write('last')
    await finish(last)
    t.equal(last.errored, null)
    t.equal(oss.read(key).toString(), content)
    t.equal(oss.read(other).toString(), 'last')
  },
)

t.test('bytes for a key pattern of which nothing was sent wait for a stream with it', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const pattern = `${oss.newKey()}-{index}`
  const openRolling = (key: string) => createRollingAppendStream(oss.options(key, { journal }))
  await leave(oss, '', {}, { left: 'left ' }, openRolling(pattern))
  for (const open of [
    () => oss.open(pattern, { journal }),
    () => openRolling(`other-${pattern}`),
  ]) {
    t.match(await refusalOf(open()), {
      code: 'OSS_ERR_JOURNAL',
      message: `5 bytes for the key pattern ${pattern} of examplebucket, and the stream is for another`,
      file: join(journal, '0'),
    })
  }
  const next = openRolling(pattern)
  next.write('new')
  await finish(next)
  t.equal(oss.read(pattern.replace('{index}', '0')).toString(), 'left new')
})

t.test('bytes for another bucket of which nothing was sent: the stream refuses', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const key = oss.newKey()
  await leave(oss, key, { journal }, { left: 'left' })
  t.match(await refusalOf(oss.open(key, { journal, bucket: 'otherbucket' })), {
    code: 'OSS_ERR_JOURNAL',
    message: /4 bytes for oss:\/\/examplebucket\/.*otherbucket/,
  })
  await finish(oss.open(key, { journal }))
  t.equal(oss.read(key).toString(), 'left')
})

t.test('the object of another key is sealed: the stream fails, and adds to none', async t => {
  const oss = await startOss(t)
  for (const delivered of ['', 'a']) {
    const journal = newFolder(t)
    const [key, other] = [oss.newKey(), oss.newKey()]
    await leave(oss, key, { journal }, { delivered, left: 'bc' })
    await finish(oss.open(key, { seal: true }))
    t.match(await refusalOf(oss.open(other, { journal })), {
      code: 'AppendSealedObjectNotAllowed',
      key,
      message: /; 2 bytes for it stay in the journal/,
    })
    t.equal(oss.read(key).toString(), delivered)
    t.notOk(oss.server.stat('examplebucket', other))
  }
})

t.test('new bytes do not go behind those that drain was sending to another object', async t => {
  const oss = await startOss(t)
  const dir = newFolder(t)
  const [key, drained] = [oss.newKey(), oss.newKey()]
  await leave(oss, key, { journal: dir }, { left: 'left' })
  const details = { maxBytes: 1e9, sync: 200, align: undefined, highWaterMark: 1e6 } as const
  const journal = await Journal.open({ folder: join(dir, '0'), ...details })
  await journal.anchor({ offset: 0, bucket: 'examplebucket', key: drained, ...EMPTY_TAIL })
  await journal.close()
  oss.server.faults.push(HANG)
  const next = oss.open(key, { journal: dir })
  next.write('new')
  await next.journaled()
  await next.suspend()
  oss.server.faults.clear()
  await finish(oss.open(key, { journal: dir }))
  t.equal(oss.read(drained).toString(), 'left')
  t.equal(oss.read(key).toString(), 'new')
})

t.test('bytes behind a roll go to the object that was in use last', async t => {
  const oss = await startOss(t)
  const dir = newFolder(t)
  const key = oss.newKey()
  const options = { ...oss.options(`${key}{index}`, { journal: dir, align: '\n' }), maxBytes: 12 }
  const first = createRollingAppendStream(options)
  for (const line of ['object 0\n', 'object 1\n']) {
    first.write(line)
    await first.flush()
  }
  oss.server.faults.push({ kind: 'reset', when: 'before', times: Number.POSITIVE_INFINITY })
  first.write('-\n')
  await first.suspend()
  oss.server.faults.clear()
  await finish(createRollingAppendStream(options))
  t.equal(oss.read(`${key}0`).toString(), 'object 0\n')
  t.equal(oss.read(`${key}1`).toString(), 'object 1\n-\n')
})

t.test('an attempt of a dead process may still land in an object that is to be left', async t => {
  const oss = await startOss(t)
  const dir = newFolder(t)
  const key = oss.newKey()
  const options = { ...oss.options(`${key}{index}`, { journal: dir, align: '\n' }), maxBytes: 12 }
  const first = createRollingAppendStream(options)
  first.write('object 0\n')
  await first.flush()
  oss.server.faults.push({ kind: 'late', how: 'hang', lands: 'afterLook' })
  first.write('-\n')
  first.flush().catch(() => {})
  await waitUntil(() => oss.server.faults.fired.late)
  first.write('behind\n')
  await first.suspend()
  const second = createRollingAppendStream({ ...options, maxBytes: 9 })
  second.write('new\n')
  await finish(second)
  const objects = [0, 1, 2].map(index => oss.read(`${key}${index}`).toString())
  t.same(objects, ['object 0\n-\n', 'behind\n', 'new\n'])
})

t.test(
  'once an append of its own is acknowledged, a rolling stream leaves a full object',
  async t => {
    const oss = await startOss(t)
    const dir = newFolder(t)
    const key = oss.newKey()
    const options = { ...oss.options(`${key}{index}`, { journal: dir, align: '\n' }), maxBytes: 20 }
    const first = createRollingAppendStream({ ...options, highWaterMark: 4 })
    first.write('object 0\n')
    await first.flush()
    oss.server.faults.push({ kind: 'reset', when: 'before', times: Number.POSITIVE_INFINITY })
    for (const line of ['aaa\n', 'bbb\n', 'ccc\n']) first.write(line)
    await first.suspend()
    oss.server.faults.clear()
    await finish(createRollingAppendStream({ ...options, highWaterMark: 4 }))
    t.equal(oss.read(`${key}0`).toString(), 'object 0\naaa\nbbb\n')
    t.equal(oss.read(`${key}1`).toString(), 'ccc\n')
  },
)

t.test('an identity that may not read: bytes are delivered all the same', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const key = oss.newKey()
  await leave(oss, key, { journal }, { delivered: 'a', left: 'b' })
  oss.server.faults.push({ kind: 'forbidden', on: 'head', times: Number.POSITIVE_INFINITY })
  const stream = oss.open(key, { journal })
  stream.write('c')
  await finish(stream)
  t.equal(oss.read(key).toString(), 'abc')
})

t.test('slots of other streams are delivered to their objects, and left empty', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const keys = [oss.newKey(), oss.newKey(), oss.newKey()]
  const streams: OssAppendStream[] = []
  for (const [i, key] of keys.entries()) {
    const stream = oss.open(key, { journal })
    streams.push(stream)
    stream.write(`${i}`)
    await stream.flush()
  }
  t.same(readdirSync(journal).sort(), ['0', '1', '2'])
  oss.server.faults.push({ kind: 'reset', when: 'before', times: Number.POSITIVE_INFINITY })
  for (const [i, stream] of streams.entries()) stream.write(`left ${i}`)
  for (const stream of streams) await stream.suspend()
  oss.server.faults.clear()
  const next = oss.open(oss.newKey(), { journal })
  const infos = watchRecover(next)
  await once(next, 'ready')
  for (const [i, key] of keys.entries()) t.equal(oss.read(key).toString(), `${i}left ${i}`)
  t.same(new Set(infos.map(({ key }) => key)), new Set(keys))
  const files = ['0', '1', '2', '3'].map(slot => readdirSync(join(journal, slot)).length)
  t.same(files, [0, 0, 0, 1], 'the lock of the slot in use')
  await finish(next)
})

t.test('a slot that is settled does not stay at the object to which another slot goes', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const key = oss.newKey()
  const own = oss.open(key, { journal })
  await once(own, 'ready')
  const other = oss.open(key, { journal })
  other.write('other ')
  await other.flush()
  const copy = join(newFolder(t), 'copy')
  cpSync(join(journal, '1'), copy, { recursive: true })
  await other.suspend()
  oss.server.faults.push({ kind: 'status', status: 503, on: 'any', times: 1e9 })
  own.write('own ')
  await own.journaled()
  await own.suspend()
  oss.server.faults.clear()
  // As if the process of slot 1 had been killed: its lock is stale.
  rmSync(join(journal, '1'), { recursive: true })
  cpSync(copy, join(journal, '1'), { recursive: true })
  for (const name of readdirSync(join(journal, '1'))) {
    if (name.startsWith('lock')) rmSync(join(journal, '1', name))
  }
  oss.server.faults.push({ kind: 'lost', how: 'hang', times: 1e9 })
  const next = oss.open(key, { journal })
  await waitUntil(() => oss.server.faults.fired.lost)
  t.equal(oss.read(key).toString(), 'other own ')
  await next.suspend()
  oss.server.faults.clear()
  const last = oss.open(key, { journal })
  last.write('last')
  await finish(last)
  t.equal(last.errored, null)
  t.equal(oss.read(key).toString(), 'other own last')
})

t.test('bytes of another slot in the object do not make a conflict of the own ones', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const key = oss.newKey()
  const own = oss.open(key, { journal })
  own.write('own ')
  await own.flush()
  oss.server.faults.push({ kind: 'status', status: 503, on: 'any', times: 1e9 })
  const other = oss.open(key, { journal })
  other.write('other ')
  await other.journaled()
  await Promise.all([own.suspend(), other.suspend()])
  oss.server.faults.clear()
  // What slot 1 has lands, and the stream does not know: its process might die there.
  oss.server.faults.push({ kind: 'lost', how: 'hang', times: 1e9 })
  const next = oss.open(key, { journal })
  next.write('new')
  await waitUntil(() => oss.server.faults.fired.lost)
  t.equal(oss.read(key).toString(), 'own other ')
  await next.journaled()
  await next.suspend()
  oss.server.faults.clear()
  await finish(oss.open(key, { journal }))
  t.equal(oss.read(key).toString(), 'own other new')
})

t.test('when an object is sealed, the journal says that all is delivered', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const stream = oss.open(oss.newKey(), { journal, seal: true, requestTimeout: 300 })
  stream.write('all')
  await stream.flush()
  oss.server.faults.push({ kind: 'lost', how: 'hang', on: 'seal' })
  stream.end()
  await waitUntil(() => oss.server.faults.fired.lost)
  // What a start would find if the process were killed now.
  t.match(await inspectJournal(journal), [{ recovered: { from: 3, end: 3 } }])
  await finish(stream)
})

t.test('an object that would become too long: the rest goes to the next', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const key = `${oss.newKey()}-0`
  const align = '\n'
  const options = oss.options(`${key.slice(0, -1)}{index}`, { journal, align })
  const left = 'two\nthree\nfour\n'
  await leave(oss, key, {}, { delivered: 'one\n', left }, createRollingAppendStream(options))
  const stream = createRollingAppendStream({ ...options, maxBytes: 10, maxObjectBytes: 10 })
  stream.write('five\n')
  await finish(stream)
  const objects = [0, 1, 2].map(index => oss.read(`${key.slice(0, -1)}${index}`).toString())
  t.same(objects, ['one\ntwo\n', 'three\n', 'four\nfive\n'])
})

t.test("with sync: 'never' an object may go on behind the journal", async t => {
  const oss = await startOss(t)
  for (const left of ['', 'bb']) {
    const journal = { dir: newFolder(t), sync: 'never' } as const
    const key = oss.newKey()
    await leave(oss, key, { journal }, { delivered: 'a', left })
    await appendOther(oss, key, `${left}lost`)
    const stream = oss.open(key, { journal })
    const infos = watchRecover(stream)
    stream.write('c')
    await finish(stream)
    t.equal(oss.read(key).toString(), `a${left}lostc`)
    t.match(infos, [{ key, bytes: 0, bytesBehind: 4 }])
  }
})

t.test(
  "with sync: 'never', nothing to deliver: no state of the object fails the stream",
  async t => {
    const oss = await startOss(t)
    const journal = { dir: newFolder(t), sync: 'never' } as const
    let key = oss.newKey()
    const open = () =>
      createRollingAppendStream({ ...oss.options('', { journal }), key: () => key })
    await leave(oss, key, {}, { delivered: 'a' }, open())
    oss.server.put('examplebucket', key, 'of another program')
    key = oss.newKey()
    await leave(oss, key, {}, { delivered: 'b' }, open())
    t.equal(oss.read(key).toString(), 'b', 'the object before is of another type')

    await appendOther(oss, key, 'other')
    oss.server.permissions.delete('oss:GetObject')
    const stream = open()
    stream.write('c')
    await finish(stream)
    t.equal(oss.read(key).toString(), 'botherc', 'the object has grown, and may not be read')
  },
)

t.test(
  'a client that tells nonsense of the bytes behind the journal: the stream fails',
  async t => {
    const oss = await startOss(t)
    const journal = { dir: newFolder(t), sync: 'never' } as const
    const key = oss.newKey()
    await leave(oss, key, { journal }, { delivered: 'a' })
    await appendOther(oss, key, 'lost')
    const own = new OssClient(networkOptions(oss.server))
    t.teardown(() => own.close())
    const client = {
      append: own.append.bind(own),
      head: own.head.bind(own),
      close: async () => {},
      read: async () => ({ length: '5', crc64: 7, body: [] }) as never,
    }
    t.match(
      await refusalOf(createAppendStream({ bucket: 'examplebucket', key, client, journal })),
      {
        code: 'OSS_ERR_CLIENT',
        message: /read\(\) must resolve with length.*stay in the journal/,
      },
    )
  },
)

t.test('a request of the dead process may arrive late, and be longer than a batch', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const key = oss.newKey()
  const records = Array.from({ length: 2000 }, (_, i) => `record ${i}\n`).join('')
  const first = oss.open(key, { journal, align: '\n' })
  first.write('first\n')
  await first.flush()
  oss.server.faults.push({ kind: 'late', how: 'hang', lands: 'afterLook' })
  first.write(records)
  first.flush().catch(() => {})
  await waitUntil(() => oss.server.faults.fired.late)
  await first.suspend()
  const second = oss.open(key, { journal, align: '\n', highWaterMark: 4096 })
  second.write('last\n')
  await finish(second)
  t.equal(oss.read(key).toString(), `first\n${records}last\n`)
})

t.test(
  'a last record without end, made whole by end(), is delivered by the next start',
  async t => {
    const oss = await startOss(t)
    for (const align of ['\n', 4] as const) {
      for (const hasLanded of [false, true]) {
        const journal = newFolder(t)
        const key = oss.newKey()
        const first = oss.open(key, { journal, align, requestTimeout: 100 })
        first.write('one\n')
        await first.flush()
        const fault = hasLanded ? HANG : ({ kind: 'reset', when: 'before', times: 1e9 } as const)
        const { faults } = oss.server
        const before = faults.fired[fault.kind] ?? 0
        faults.push(fault)
        first.end('la')
        await waitUntil(() => (faults.fired[fault.kind] ?? 0) > before)
        t.equal(oss.read(key).toString(), hasLanded ? 'one\nla' : 'one\n')
        await first.suspend()
        // One more life, which delivers nothing, has bytes behind that record.
        const second = oss.open(key, { journal, align })
        const accepted = new Promise(resolve => second.write('two\nthr\n', resolve))
        await accepted
        await second.suspend()
        oss.server.faults.clear()
        const third = oss.open(key, { journal, align })
        const infos = watchRecover(third)
        third.write('4th\n')
        await finish(third)
        t.equal(oss.read(key).toString(), 'one\nlatwo\nthr\n4th\n')
        t.match(infos, [{ damaged: [] }])
      }
    }
  },
)

t.test('end() makes the last record whole even if the stream is suspended at once', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const key = oss.newKey()
  const first = oss.open(key, { journal, align: '\n' })
  first.end('no newline')
  await first.suspend()
  const second = oss.open(key, { journal, align: '\n' })
  second.write(', and one behind it\n')
  await finish(second)
  t.equal(oss.read(key).toString(), 'no newline, and one behind it\n')
})

t.test('process.exit() writes what is given to the stream, once', async t => {
  const oss = await startOss(t)
  const dir = newFolder(t)
  mkdirSync(dir, { recursive: true })
  oss.server.faults.push(HANG)
  const options = { ...networkOptions(oss.server), bucket: 'examplebucket', align: '\n' }
  const { code, stderr } = await runModule(
    t,
    `import { createAppendStream } from 'DISTindex.js'
    const { dir, options } = JSON.parse(process.env.PLAN)
    const streams = Array.from({ length: 24 }, (_, i) => {
      const journal = { dir: dir + '/' + i, sync: i % 2 ? 'always' : 200 }
      return createAppendStream({ ...options, key: 'exit-' + i, journal })
    })
    for (const stream of streams) stream.write('0\\n')
    for (const stream of streams) await stream.journaled()
    for (const [i, stream] of streams.entries()) {
      stream.write('1\\n')
      stream.uncork()
      stream.write('2\\n')
      if (i % 5 === 0) await null
      if (i % 5 === 1) await new Promise(setImmediate)
      stream.write('3\\n')
    }
    process.exit()`,
    { PLAN: JSON.stringify({ dir, options }) },
  )
  t.same({ code, stderr }, { code: 0, stderr: '' })
  oss.server.faults.clear()
  for (let i = 0; i < 24; i++) {
    const key = `exit-${i}`
    await finish(oss.open(key, { align: '\n', journal: join(dir, String(i)) }))
    t.equal(oss.read(key).toString(), '0\n1\n2\n3\n', key)
  }
})

t.test('process.exit() leaves no folder where nothing was written', async t => {
  const oss = await startOss(t)
  const dir = newFolder(t)
  mkdirSync(dir, { recursive: true })
  const options = { ...networkOptions(oss.server), bucket: 'examplebucket', key: 'a.log' }
  const { code, stderr } = await runModule(
    t,
    `import { createAppendStream } from 'DISTindex.js'
    createAppendStream(JSON.parse(process.env.PLAN))
    process.exit()`,
    { PLAN: JSON.stringify({ ...options, journal: dir }) },
  )
  t.same({ code, stderr }, { code: 0, stderr: '' })
  t.same(readdirSync(dir), [])
})

t.test(
  'process.exit() writes what is given to a stream whose journal is not open, once',
  async t => {
    const oss = await startOss(t)
    const dir = newFolder(t)
    const options = { ...networkOptions(oss.server), bucket: 'examplebucket', align: '\n' }
    const { code, stderr } = await runModule(
      t,
      `import { createAppendStream } from 'DISTindex.js'
    const { dir, options } = JSON.parse(process.env.PLAN)
    const streams = Array.from({ length: 12 }, (_, i) => {
      const stream = createAppendStream({ ...options, key: 'exit-' + i, journal: dir + '/' + i })
      for (const text of ['0\\n', '1\\n', '2\\n']) stream.write(text)
      return stream
    })
    for (const stream of streams) stream.write('3\\n')
    process.exit()`,
      { PLAN: JSON.stringify({ dir, options }) },
    )
    t.same({ code, stderr }, { code: 0, stderr: '' })
    for (let i = 0; i < 12; i++) {
      const key = `exit-${i}`
      await finish(oss.open(key, { align: '\n', journal: join(dir, String(i)) }))
      t.equal(oss.read(key).toString(), '0\n1\n2\n3\n', key)
    }
  },
)
