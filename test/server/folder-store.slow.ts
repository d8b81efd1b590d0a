// Objects in a folder outlive a restart, are whole after a kill, and stay inside the folder.

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import fs, {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { crc64OfChunks } from '../../lib/server/crc64.ts'
import { FolderStore } from '../../lib/server/folder-store.ts'
import { createOssServer } from '../../lib/server/index.ts'
import { DEFAULT_ATTRIBUTES, Objects } from '../../lib/server/objects.ts'
import { append, head, send } from '../helpers/raw-client.ts'
import { BUCKET, KEY, startServer } from '../helpers/start-server.ts'

const KEYS = [
  'a.log',
  'A.log',
  'a//b',
  'a/../b',
  'b',
  '../../etc/passwd',
  '..',
  '.',
  'a\\b',
  'a/b',
  '日志/应用 日志.log',
  '%2F',
  'CON',
  'con',
  'nul.txt',
  'states.jsonl',
  'dir/',
  'dir',
  'trailing.',
  'trailing. ',
  "x y+z~(1)!'*.log",
  'q?x#y',
  'line\nfeed',
  '__proto__',
  'k'.repeat(1023),
  `${'k'.repeat(1022)}l`,
  '日'.repeat(341),
]

t.test('each key has its own object, also after a restart', async t => {
  const dir = join(t.testdir({ objects: {} }), 'objects')
  const s = await createOssServer({ dir })
  for (const [i, key] of KEYS.entries()) {
    const headers = { 'content-type': 'text/x', 'x-oss-meta-number': String(i) }
    const response = await append(s, 0, `first of ${key}`, { key, headers })
    t.equal(response.status, 200, JSON.stringify(key.slice(0, 40)))
  }
  t.same(readdirSync(join(dir, '..')), ['objects'], 'nothing is written beside the folder')
  t.equal(readdirSync(dir).length, KEYS.length)
  t.ok(readdirSync(dir).every(name => name.length < 255))
  await s.close()

  const again = await createOssServer({ dir })
  t.teardown(() => again.close())
  for (const [i, key] of KEYS.entries()) {
    const length = Buffer.byteLength(`first of ${key}`)
    const seen = await head(again, { key })
    t.match(seen.headers, {
      'content-length': String(length),
      'content-type': 'text/x',
      'x-oss-meta-number': String(i),
    })
    const response = await append(again, length, ', more', { key })
    t.equal(response.headers['x-oss-next-append-position'], String(length + 6))
    const got = await send(again, { key })
    t.equal(got.body.toString(), `first of ${key}, more`)
    t.equal(response.headers['x-oss-hash-crc64ecma'], crc64OfChunks([got.body], '0'))
  }
})

t.test('replaced, sealed and deleted objects stay so after a restart', async t => {
  const dir = t.testdir()
  const s = await createOssServer({ dir })
  await append(s, 0, 'appendable', { key: 'replaced' })
  await send(s, { method: 'PUT', body: 'normal', key: 'replaced' })
  await append(s, 0, 'gone', { key: 'deleted' })
  await append(s, 0, 'abc', { key: 'sealed' })
  await append(s, 0, 'open', { key: 'acl' })
  await append(s, 4, '', { key: 'acl', headers: { 'x-oss-object-acl': 'public-read' } })
  await append(s, 0, '', { key: 'empty' })
  await send(s, { method: 'POST', key: 'sealed', query: { seal: '', position: '3' } })
  await send(s, { method: 'DELETE', key: 'deleted' })
  t.equal(readdirSync(dir).length, 4)
  const sealedTime = s.stat('examplebucket', 'sealed')?.sealedTime
  await s.close()

  const again = await createOssServer({ dir })
  t.teardown(() => again.close())
  t.equal((await head(again, { key: 'replaced' })).headers['x-oss-object-type'], 'Normal')
  t.equal((await send(again, { key: 'replaced' })).body.toString(), 'normal')
  t.equal(again.stat('examplebucket', 'deleted'), undefined)
  t.equal(again.stat('examplebucket', 'sealed')?.sealedTime, sealedTime)
  t.equal((await append(again, 3, 'x', { key: 'sealed' })).status, 400)
  t.equal(again.stat('examplebucket', 'acl')?.attributes.acl, 'public-read')
  t.equal((await append(again, 0, 'x', { key: 'empty' })).status, 200)
})

t.test('bytes that were not committed before a kill are removed by the next write', async t => {
  const dir = t.testdir()
  const objects = new Objects(new FolderStore(dir))
  const init = { type: 'Appendable', attributes: DEFAULT_ATTRIBUTES, now: 0 } as const
  const object = objects.create('examplebucket', 'a', { ...init, chunks: [Buffer.from('abc')] })
  object.content.append(3, [Buffer.from('torn')])
  const [folder] = readdirSync(dir).map(name => join(dir, name))
  writeFileSync(join(folder!, 'states.jsonl.next'), '{"half')
  appendFileSync(join(folder!, 'states.jsonl'), '\n{"file":"bytes-0123456789abcdef","sta')
  writeFileSync(join(folder!, 'bytes-0123456789abcdef'), 'of a replacement without a state')
  const uncommitted = join(dir, `examplebucket~never~${'0'.repeat(32)}`)
  mkdirSync(uncommitted)
  writeFileSync(join(uncommitted, 'bytes-0123456789abcdef'), 'of an object without a state')
  mkdirSync(join(dir, 'not ours'))
  writeFileSync(join(dir, 'notes.txt'), 'of the user')

  const s = await createOssServer({ dir })
  t.teardown(() => s.close())
  t.equal(s.read('examplebucket', 'a')?.toString(), 'abc')
  t.equal(readdirSync(folder!).length, 4, 'reading changes nothing')
  t.equal(readdirSync(dir).length, 4)
  t.equal((await append(s, 3, 'def', { key: 'a' })).status, 200)
  t.equal(s.read('examplebucket', 'a')?.toString(), 'abcdef')
  t.equal(readdirSync(folder!).length, 2)
  const bytes = readdirSync(folder!).find(name => name.startsWith('bytes-'))
  t.equal(readFileSync(join(folder!, bytes!), 'utf8'), 'abcdef', 'the file is the object')
  t.equal(s.stat('examplebucket', 'never'), undefined)
  t.equal(readdirSync(dir).length, 3, 'other files stay')
  t.equal(readFileSync(join(dir, 'notes.txt'), 'utf8'), 'of the user')
})

t.test('reading removes nothing that another process is writing', async t => {
  const dir = t.testdir()
  const objects = new Objects(new FolderStore(dir))
  const init = { type: 'Appendable', attributes: DEFAULT_ATTRIBUTES, now: 0 } as const
  const object = objects.create('examplebucket', 'a', { ...init, chunks: [Buffer.from('abc')] })
  const store = new FolderStore(dir)
  const content = store.create('examplebucket', 'b')
  for (const part of [object.content, content]) part.append(3, [Buffer.from('on its way')])
  const reader = await createOssServer({ dir })
  t.teardown(() => reader.close())
  t.equal(reader.read('examplebucket', 'a')?.toString(), 'abc')
  for (const part of [object.content, content]) {
    t.equal(Buffer.concat([...part.read(3, 13)]).toString(), 'on its way')
  }
})

t.test('a write that fails changes no object', async t => {
  const dir = t.testdir()
  const s = await createOssServer({ dir })
  t.teardown(() => s.close())
  await append(s, 0, 'abc')
  const states = join(dir, readdirSync(dir)[0]!, 'states.jsonl')
  renameSync(states, `${states}.aside`)
  mkdirSync(states)
  t.match(await append(s, 3, 'def'), { status: 500, code: 'InternalError' })
  t.equal((await head(s)).headers['x-oss-next-append-position'], '3')
  t.equal(s.read('examplebucket', 'a.log')?.toString(), 'abc')
  rmSync(states, { recursive: true })
  renameSync(`${states}.aside`, states)
  appendFileSync(states, '\n{"half a li')
  t.equal((await append(s, 3, 'DEF')).status, 200)
  t.equal(s.read('examplebucket', 'a.log')?.toString(), 'abcDEF')
  await s.close()
  const again = await createOssServer({ dir })
  t.teardown(() => again.close())
  t.equal(again.read('examplebucket', 'a.log')?.toString(), 'abcDEF')
})

t.test('a states file stays short over many appends', async t => {
  const dir = t.testdir()
  const objects = new Objects(new FolderStore(dir))
  const init = { type: 'Appendable', attributes: DEFAULT_ATTRIBUTES, now: 0, chunks: [] } as const
  const object = objects.create('examplebucket', 'a', init)
  for (let i = 0; i < 1000; i++) objects.append(object, [Buffer.from('x')], i)
  const states = readFileSync(join(dir, readdirSync(dir)[0]!, 'states.jsonl'), 'utf8')
  t.ok(states.split('\n').length <= 256)
  const [loaded] = [...new Objects(new FolderStore(dir))]
  t.same(loaded?.state, object.state)
})

t.test('a damaged object is refused at the start', async t => {
  for (const damage of ['short', 'elsewhere', 'no state'] as const) {
    const dir = t.testdir()
    const s = await createOssServer({ dir })
    await append(s, 0, 'abc')
    await s.close()
    const folder = join(dir, readdirSync(dir)[0]!)
    const states = join(folder, 'states.jsonl')
    if (damage === 'short') {
      const bytes = readdirSync(folder).find(name => name.startsWith('bytes-'))
      writeFileSync(join(folder, bytes!), 'ab')
    } else {
      const line = readFileSync(states, 'utf8').replace('a.log', '../b.log')
      writeFileSync(states, damage === 'elsewhere' ? line : line.slice(0, -1))
    }
    await t.rejects(createOssServer({ dir }), /Damaged object/, damage)
  }
})

t.test('a process killed during an append keeps all acknowledged bytes', async t => {
  const dir = t.testdir()
  const startProcess = async (): Promise<[ChildProcess, string]> => {
    const hook = new URL('../helpers/typescript.js', import.meta.url)
    const execArgv = [`--import=${hook}`]
    const child = fork(new URL('folder-server.ts', import.meta.url), [dir], { execArgv })
    const [url] = (await once(child, 'message')) as [string]
    return [child, url]
  }
  const { credentials } = await createOssServer().then(async s => {
    await s.close()
    return s
  })
  const body = Buffer.alloc(300_000, 'abcdefg')
  let acknowledged = 0
  for (let round = 0; round < 2; round++) {
    const [child, url] = await startProcess()
    const seen = await head({ url, credentials })
    const tail = Number(seen.headers['x-oss-next-append-position'] ?? 0)
    t.ok(
      tail === acknowledged || tail === acknowledged + body.length,
      'acknowledged bytes, and at most one append more',
    )
    acknowledged = tail
    for (let i = 0; i < 5 + round; i++) {
      await append({ url, credentials }, acknowledged, body)
      acknowledged += body.length
    }
    const interrupted = append({ url, credentials }, acknowledged, body).catch(() => undefined)
    child.kill('SIGKILL')
    await Promise.all([once(child, 'exit'), interrupted])
  }
  const s = await createOssServer({ dir })
  t.teardown(() => s.close())
  const stored = s.read('examplebucket', 'a.log')!
  t.ok(stored.length >= acknowledged)
  t.equal(stored.length % body.length, 0, 'an append is stored whole or not at all')
  t.equal(crc64OfChunks([stored], '0'), s.stat('examplebucket', 'a.log')?.crc64)
  t.ok(existsSync(dir))
})

t.test('a GET goes on when the object is deleted or replaced meanwhile', async t => {
  const s = await startServer(t, { dir: t.testdir() })
  const body = Buffer.alloc(3_000_000, 'abcdefg')
  for (const change of [() => s.delete(BUCKET, KEY), () => s.put(BUCKET, KEY, 'other')]) {
    s.delete(BUCKET, KEY)
    await append(s, 0, body)
    s.latency = 30
    const count = s.requests.length
    const getting = send(s, {})
    while (s.requests[count]?.outcome === undefined) await new Promise(setImmediate)
    change()
    t.ok((await getting).body.equals(body))
    s.latency = 0
  }
})

t.test('a response that a fault drops closes its file', async t => {
  const s = await startServer(t, { dir: t.testdir() })
  await append(s, 0, 'abc')
  s.faults.push({ kind: 'lost', how: 500, on: 'get' })
  t.equal((await send(s, {})).status, 500)
  t.equal((await send(s, {})).body.toString(), 'abc')
})

t.test('damage of the same length is found, and the folder is named', async t => {
  const dir = t.testdir()
  const s = await createOssServer({ dir })
  await append(s, 0, 'abcdef')
  await s.close()
  const folder = join(dir, readdirSync(dir)[0]!)
  const bytes = join(folder, readdirSync(folder).find(name => name.startsWith('bytes-'))!)
  writeFileSync(bytes, 'abcdeX')
  await t.rejects(createOssServer({ dir }), { message: `Damaged object in ${folder}` })
  writeFileSync(bytes, 'abcdef and the remains of a torn append')
  const again = await startServer(t, { dir })
  t.equal(again.read(BUCKET, KEY)?.toString(), 'abcdef', 'bytes past the length are no damage')
})

t.test('a bytes file that is missing is damage', async t => {
  const dir = t.testdir()
  const s = await createOssServer({ dir })
  await append(s, 0, 'abcdef')
  await s.close()
  const folder = join(dir, readdirSync(dir)[0]!)
  rmSync(join(folder, readdirSync(folder).find(name => name.startsWith('bytes-'))!))
  await t.rejects(createOssServer({ dir }), { message: `Damaged object in ${folder}` })
})

t.test('a state that is not an object is damage, and the folder is named', async t => {
  for (const line of ['null', '5', '"text"', '{}', '{"file":"x"}', '{"file":5,"state":{}}', '[]']) {
    const dir = t.testdir()
    const s = await createOssServer({ dir })
    await append(s, 0, 'abcdef')
    await s.close()
    const folder = join(dir, readdirSync(dir)[0]!)
    appendFileSync(join(folder, 'states.jsonl'), `\n${line}`)
    await t.rejects(createOssServer({ dir }), { message: `Damaged object in ${folder}` }, line)
  }
})

/** Makes a function of `node:fs` fail as on a full disk, once some of its bytes are written. */
function fillDisk(t: Test, name: 'writeSync' | 'appendFileSync' | 'writeFileSync'): void {
  const original = fs[name] as (...args: unknown[]) => unknown
  const full = (...args: unknown[]) => {
    if (name !== 'writeSync') original(args[0], String(args[1]).slice(0, 20), ...args.slice(2))
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
  }
  Object.assign(fs, { [name]: full })
  syncBuiltinESMExports()
  t.teardown(() => {
    Object.assign(fs, { [name]: original })
    syncBuiltinESMExports()
  })
}

/** Every file below `dir` and its text. */
function filesOf(dir: string): [name: string, text: string][] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))
    .map((path): [string, string] => [path, readFileSync(path, 'utf8')])
    .sort()
}

t.test('a full disk refuses a write with ENOSPC, and nothing of it is left', async t => {
  for (const name of ['writeSync', 'appendFileSync', 'writeFileSync'] as const) {
    await t.test(name, async t => {
      const dir = t.testdir()
      const s = await startServer(t, { dir })
      await append(s, 0, 'abc')
      const before = filesOf(dir)
      const refusal = { status: 507, code: 'InsufficientStorage', xml: /ENOSPC: the disk/ }
      await t.test('while it is full', async t => {
        fillDisk(t, name)
        // The first write of a new object, and each later one, use different functions.
        if (name !== 'writeFileSync') t.match(await append(s, 3, 'def'), refusal)
        if (name !== 'appendFileSync') t.match(await append(s, 0, 'new', { key: 'new' }), refusal)
        if (name !== 'appendFileSync') t.match(await send(s, { method: 'PUT', body: 'x' }), refusal)
        t.same(filesOf(dir), before)
        t.equal(readdirSync(dir).length, 1, 'no folder either')
      })
      t.equal((await append(s, 3, 'def')).status, 200)
      t.equal(s.read(BUCKET, KEY)?.toString(), 'abcdef')
    })
  }
})
