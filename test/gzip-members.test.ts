/** gzipMembers(): members are complete and in order, and no more exist at a time than there is room for. */

import { once } from 'node:events'
import { Readable, type Transform } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { gunzipSync, gzip } from 'node:zlib'
import t from 'tap'
import { type GzipMembersOptions, gzipMembers } from '../lib/index.ts'
import { runModule } from './helpers/child-process.ts'
import { seededBytes, startOss, waitUntil } from './helpers/test-oss.ts'

const compress = promisify(gzip)

/** No member by time, unless a test wants that. */
const untimed = { flushInterval: 0 }

/** The chunks that come out for the chunks that go in. */
async function membersOf(
  chunks: (string | Uint8Array)[],
  options: GzipMembersOptions = {},
): Promise<Buffer[]> {
  const members: Buffer[] = []
  await pipeline(Readable.from(chunks), gzipMembers({ ...untimed, ...options }), async source => {
    for await (const member of source) members.push(member as Buffer)
  })
  return members
}

/** By now anything small that was in compression before this call is done: the pool has done more since. */
async function compressed(): Promise<void> {
  for (let n = 0; n < 5; n++) await compress(seededBytes(100_000))
}

/** What each member holds, on its own. */
function texts(members: Buffer[]): string[] {
  return members.map(member => gunzipSync(member).toString())
}

// label, chunks written, what the members hold, with members of 4 bytes
const cuts: [string, string[], string[]][] = [
  ['nothing: one empty member', [], ['']],
  ['an empty chunk: the same', [''], ['']],
  ['less than a member', ['a', 'b'], ['ab']],
  ['a member to the byte', ['ab', 'cd'], ['abcd']],
  ['a byte more', ['ab', 'cd', 'e'], ['abcd', 'e']],
  ['a chunk that has no room opens the next', ['abc', 'de', 'f'], ['abc', 'def']],
  ['a chunk as large as a member, behind another', ['a', 'bcde', 'f'], ['a', 'bcde', 'f']],
  ['a chunk larger than a member is cut', ['a', 'bcdefghijk', 'l'], ['a', 'bcde', 'fghi', 'jkl']],
  ['twice as large as a member', ['abcdefgh'], ['abcd', 'efgh']],
  ['empty chunks change nothing', ['', 'ab', '', 'cd', '', 'e', ''], ['abcd', 'e']],
  ['characters of several bytes', ['日', '本'], ['日', '本']],
]

t.test('a member ends before the chunk that does not fit', async t => {
  for (const [label, chunks, members] of cuts) {
    t.same(texts(await membersOf(chunks, { memberBytes: 4 })), members, label)
  }
})

t.test('the first members, however many, are a gzip file of whole lines', async t => {
  const lines = Array.from({ length: 1000 }, (_, n) => `line ${n} ${'.'.repeat(n % 97)}\n`)
  const members = await membersOf(lines, { memberBytes: 5000 })
  t.ok(members.length > 10, `${members.length} members`)
  const whole = lines.join('')
  for (let count = 1; count <= members.length; count++) {
    const text = gunzipSync(Buffer.concat(members.slice(0, count))).toString()
    t.ok(text.endsWith('\n') && whole.startsWith(text), `${count} members`)
    if (count === members.length) t.equal(text, whole)
  }
})

t.test('random bytes in chunks of random sizes survive compression', async t => {
  const bytes = Buffer.concat([
    seededBytes(3_000_000),
    Buffer.alloc(3_000_000),
    seededBytes(1234, 7),
  ])
  for (const size of [1 << 16, 999_983, 1 << 20, bytes.length]) {
    const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, n) =>
      bytes.subarray(n * size, (n + 1) * size),
    )
    const members = await membersOf(chunks)
    t.ok(gunzipSync(Buffer.concat(members)).equals(bytes), `chunks of ${size}`)
    t.ok(members.length >= 6 && members.length <= 10, `${members.length} members`)
  }
})

t.test('the same chunks make the same members', async t => {
  const chunks = Array.from({ length: 50 }, (_, n) => seededBytes(1000, n))
  const [a, b] = [
    await membersOf(chunks, { memberBytes: 9000 }),
    await membersOf(chunks, { memberBytes: 9000 }),
  ]
  t.same(a, b)
})

t.test('level decides how small members become', async t => {
  const text = 'all is well; '.repeat(10_000)
  const sizes: number[] = []
  for (const level of [0, 1, 9]) {
    const [member = Buffer.alloc(0)] = await membersOf([text], { level })
    t.equal(gunzipSync(member).toString(), text)
    sizes.push(member.length)
  }
  const [stored = 0, fast = 0, small = 0] = sizes
  t.ok(stored > text.length && stored > fast && fast > small, `${sizes}`)
})

t.test('the caller may reuse its buffer after the write callback', async t => {
  const members = gzipMembers(untimed)
  const chunk = Buffer.from('abc')
  for (const byte of 'xyz') {
    chunk.fill(byte)
    await new Promise(resolve => members.write(chunk, resolve))
  }
  members.end()
  t.equal(gunzipSync(await buffer(members)).toString(), 'xxxyyyzzz')
})

t.test('members keep their order, however long each takes to compress', async t => {
  const long = seededBytes(4_000_000)
  const members = await membersOf([long, 'a', 'b'], { memberBytes: long.length })
  t.same(
    members.map(member => gunzipSync(member).length),
    [long.length, 2],
  )
})

t.test('without a reader, one member waits and one fills', async t => {
  const members = gzipMembers({ ...untimed, memberBytes: 1000 })
  let taken = 0
  for (let n = 0; n < 10; n++) members.write(seededBytes(1000, n), () => taken++)
  await waitUntil(() => members.readableLength === 1)
  await compressed()
  t.equal(members.readableLength, 1)
  t.equal(taken, 2, 'one compressed, one gathered, the third is held')
  members.end()
  const expected = Buffer.concat(Array.from({ length: 10 }, (_, n) => seededBytes(1000, n)))
  t.ok(gunzipSync(await buffer(members)).equals(expected), 'and all of them come, in order')
  t.equal(taken, 10)
})

t.test('without a reader, flushInterval makes no further members', async t => {
  const members = gzipMembers({ flushInterval: 1 })
  const texts = ['a', 'b', 'c', 'd']
  for (const text of texts) {
    members.write(text)
    await waitUntil(() => members.readableLength > 0)
    await compressed()
    t.equal(members.readableLength, 1, text)
  }
  members.end()
  const all: string[] = []
  for await (const member of members) all.push(gunzipSync(member as Buffer).toString())
  t.same(all, ['a', 'bcd'])
})

t.test('a slow reader gets one member at a time', async t => {
  const members = gzipMembers({ ...untimed, memberBytes: 10 })
  let most = 0
  const text = '0123456789'.repeat(100)
  const reading = (async () => {
    let read = ''
    for await (const member of members) {
      most = Math.max(most, members.readableLength)
      await new Promise(setImmediate)
      read += gunzipSync(member as Buffer)
    }
    return read
  })()
  members.end(text)
  t.equal(await reading, text)
  t.ok(most <= 1, `${most} waited`)
})

t.test('a member that does not fill is made after flushInterval', async t => {
  const members = gzipMembers({ flushInterval: 1 })
  for (const text of ['one', 'two']) {
    members.write(text)
    const [member] = await once(members, 'data')
    t.equal(gunzipSync(member).toString(), text)
  }
  members.end()
  t.equal((await buffer(members)).length, 0, 'and nothing comes twice')
})

t.test('input that waits for its member holds the process, and nothing else does', async t => {
  const beginning = `
    import { gunzipSync } from 'node:zlib'
    import { gzipMembers } from 'DISTindex.js'
    const print = member => console.log(gunzipSync(member).toString())
  `
  const waiting = `gzipMembers({ flushInterval: 20 }).on('data', print).write('abc')`
  t.match(await runModule(t, beginning + waiting), { code: 0, stdout: 'abc\n', stderr: '' })
  for (const idle of [
    `gzipMembers().on('data', print)`,
    `gzipMembers({ flushInterval: 0 }).on('data', print).write('abc')`,
    `const members = gzipMembers({ flushInterval: 2 ** 31 - 1 })
     members.write('abc')
     members.destroy()`,
    `const members = gzipMembers({ flushInterval: 2 ** 31 - 1, memberBytes: 3 })
     members.resume().write('ab')
     members.write('c')`,
    `gzipMembers({ flushInterval: 1 }).on('data', print).write('')`,
  ]) {
    t.match(await runModule(t, beginning + idle), { code: 0, stdout: '', stderr: '' }, idle)
  }
})

t.test("destroy() in any state leaves no timer, and emits 'close'", async t => {
  const ways: [string, (members: Transform) => void][] = [
    ['while it gathers', members => members.write('abc')],
    ['while it compresses', members => members.write('x'.repeat(1000))],
    ['with a write held', members => members.write('x'.repeat(5000))],
  ]
  for (const [label, use] of ways) {
    for (const reason of [undefined, new Error('the reason')]) {
      const members = gzipMembers({ memberBytes: 1000 })
      const errors: Error[] = []
      members.on('error', error => errors.push(error))
      members.write('x'.repeat(1000))
      await once(members, 'data')
      await new Promise(setImmediate)
      members.on('data', () => t.fail('no member after that'))
      use(members)
      members.destroy(reason)
      await once(members, 'close').catch(() => {})
      await compressed()
      t.same(
        errors,
        reason ? [reason] : [],
        `${label}, ${reason ? 'by an error' : 'for no reason'}`,
      )
    }
  }
})

t.test('destroy() calls a held write back with the error', async t => {
  const members = gzipMembers({ memberBytes: 1000 })
  members.on('error', () => {})
  const written = new Promise(resolve => members.write('x'.repeat(5000), resolve))
  members.destroy()
  t.match(await written, { code: 'OSS_ERR_ABORTED' })
})

// label, options, what the message contains
const wrong: [string, unknown, RegExp][] = [
  ['no object', 'fast', /^option options: must be an object/],
  ['unknown', { memberbytes: 1 }, /^option memberbytes: is unknown: did you mean memberBytes\?/],
  ['level -1', { level: -1 }, /^option level: must be a whole number from 0 to 9/],
  ['level 10', { level: 10 }, /^option level: /],
  ['memberBytes 0', { memberBytes: 0 }, /^option memberBytes: .* from 1 to 33554432/],
  ['memberBytes too large', { memberBytes: 33_554_433 }, /^option memberBytes: /],
  ['memberBytes a string', { memberBytes: '4096' }, /^option memberBytes: /],
  ['flushInterval -1', { flushInterval: -1 }, /^option flushInterval: /],
  ['flushInterval Infinity', { flushInterval: Infinity }, /^option flushInterval: /],
]

t.test('wrong options of gzipMembers() are refused', async t => {
  for (const [label, options, message] of wrong) {
    const expected = { code: 'OSS_ERR_INVALID_OPTION', message }
    t.throws(() => gzipMembers(options as GzipMembersOptions), expected, label)
  }
  for (const options of [
    {},
    undefined,
    { level: undefined },
    { level: 9, memberBytes: 33_554_432 },
  ]) {
    t.doesNotThrow(() => gzipMembers(options).destroy())
  }
})

t.test(
  'the largest member of incompressible bytes is shorter than the default maxRecordBytes',
  async t => {
    const [member = Buffer.alloc(0)] = await membersOf([Buffer.alloc(1)], { level: 0 })
    t.equal(member.length, 24, 'a member of one stored byte')
    const bytes = seededBytes(1_000_000)
    for (const level of [0, 1, 6, 9]) {
      const [member = Buffer.alloc(0)] = await membersOf([bytes], { level })
      t.ok(member.length < bytes.length * 1.001, `level ${level}: ${member.length}`)
    }
  },
)

t.test("with align: 'chunk' every acknowledged length is a gzip file of whole lines", async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const lines = Array.from({ length: 3000 }, (_, n) => `line ${n} ${'.'.repeat(n % 97)}\n`)
  // Two runs, one object; batches far smaller and far larger than a member.
  for (const [from, to, highWaterMark] of [
    [0, 1500, 100],
    [1500, 3000, 4000],
  ] as const) {
    const stream = oss.open(key, { align: 'chunk', highWaterMark, flushInterval: 0 })
    const prefixes: string[] = []
    stream.on('append', ({ nextPosition }) => {
      prefixes.push(gunzipSync(oss.read(key).subarray(0, nextPosition)).toString())
    })
    const source = Readable.from(lines.slice(from, to))
    await pipeline(source, gzipMembers({ ...untimed, memberBytes: 5000 }), stream)
    t.ok(prefixes.length > 1, `${prefixes.length} appends`)
    t.same(
      prefixes.filter(text => !text.endsWith('\n')),
      [],
    )
    t.equal(prefixes.at(-1), lines.slice(0, to).join(''))
  }
})
