/** The sub-commands that look: stat, cat, verify; and serve, which they look at. */

import { once } from 'node:events'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { ObjectReader } from '../../lib/cli/reader.ts'
import { RetryingReader } from '../../lib/cli/retrying-reader.ts'
import { crc64 } from '../../lib/index.ts'
import { createOssServer } from '../../lib/server/index.ts'
import { startRelay } from '../helpers/relay.ts'
import { runCli, startCli, startCliServer, waitForExit } from '../helpers/run-cli.ts'
import { startScriptedServer } from '../helpers/scripted-server.ts'
import { networkOptions, seededBytes, waitUntil } from '../helpers/test-oss.ts'

const BUCKET = 'examplebucket'
const KEY = 'logs/日志 1.log'
const OBJECT = `oss://${BUCKET}/${KEY}`
const TEXT = Buffer.from('温度,21.5 °C\n'.repeat(1000))

t.test('stat tells what an object is', async t => {
  const { server, runWithServer } = await startCliServer(t)
  const createArgs = ['--meta=host=a-1', '--tag=k=v', '--content-type=text/csv', '--seal']
  t.match(await runWithServer([...createArgs, OBJECT, '-'], { input: TEXT }), { code: 0 })
  const crc = crc64(TEXT)
  const { code, stdout, stderr } = await runWithServer(['stat', OBJECT])
  t.match({ code, stderr }, { code: 0, stderr: '' })
  t.match(
    stdout,
    new RegExp(
      `^object +${OBJECT}\ntype +Appendable\nlength +${TEXT.length.toLocaleString('en-US')}\n` +
        `CRC-64 +${crc}\nsealed +\\w{3}, .* GMT\nlast modified +\\w{3}, .* GMT\netag +".*"\n` +
        'content type +text/csv\nstorage class +Standard\ntags +1\nmeta host +a-1\n$',
    ),
  )
  const json = await runWithServer(['stat', '--json', OBJECT])
  t.match(JSON.parse(json.stdout), {
    url: OBJECT,
    type: 'Appendable',
    length: TEXT.length,
    position: TEXT.length,
    crc64: crc,
    sealed: true,
    sealedTime: /GMT$/,
    contentType: 'text/csv',
    tags: 1,
    metadata: { host: 'a-1' },
  })
  server.append(BUCKET, 'open', 'x')
  const open = await runWithServer(['stat', '--json', `oss://${BUCKET}/open`])
  t.match(JSON.parse(open.stdout), { sealed: false })
  server.put(BUCKET, 'normal', 'x')
  t.match(
    (await runWithServer(['stat', `oss://${BUCKET}/normal`])).stdout,
    /type +Normal\nlength +1\nCRC-64 .*\nlast/,
  )
  const absent = await runWithServer(['stat', `oss://${BUCKET}/absent`])
  t.match(absent, { code: 1, stdout: '', stderr: /no such object\n {2}code {10}NoSuchKey\n/ })
  server.permissions.delete('oss:GetObject')
  t.match(await runWithServer(['stat', OBJECT]), {
    code: 1,
    stderr: /AccessDenied\n {2}request id/,
  })
})

t.test('verify compares without downloading', async t => {
  const { server, runWithServer } = await startCliServer(t)
  const dir = t.testdir({})
  const file = join(dir, 'a.log')
  fs.writeFileSync(file, TEXT)
  t.match(await runWithServer([OBJECT, file]), { code: 0 })
  t.match(await runWithServer(['verify', file, OBJECT]), {
    code: 0,
    stdout: /\nverified\n$/,
    stderr: '',
  })
  const json = await runWithServer(['verify', '-', OBJECT, '--json'], { input: TEXT })
  const tail = { length: TEXT.length, crc64: crc64(TEXT) }
  t.same(JSON.parse(json.stdout), { file: '-', url: OBJECT, ...tail, object: tail, verified: true })
  const longer = await runWithServer(['verify', '-', OBJECT], {
    input: Buffer.concat([TEXT, TEXT]),
  })
  t.match(longer, { code: 4, stderr: /NOT verified: the object has 16,000 bytes, not 32,000\n/ })
  const other = Buffer.from(TEXT)
  other[5000]! ^= 1
  const wrong = await runWithServer(['verify', '-', OBJECT], { input: other })
  t.match(wrong, { code: 4, stderr: `CRC-64 is ${tail.crc64}, not ${crc64(other)}` })
  t.notMatch(wrong.stdout, 'verified')
  const { stdout } = await runWithServer(['verify', '--json', '-', OBJECT], { input: other })
  const events = stdout
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line))
  t.match(events, [{ verified: false }, { event: 'error', code: 'ERR_NOT_VERIFIED', exitCode: 4 }])
  const absent = [
    [['stat', '--json', `oss://${BUCKET}/absent`], 'NoSuchKey'],
    [['verify', '--json', file, `oss://${BUCKET}/absent`], 'NoSuchKey'],
    [['verify', '--json', join(dir, 'absent'), OBJECT], 'ENOENT'],
  ] as const
  for (const [args, code] of absent) {
    const outcome = await runWithServer([...args])
    t.match(JSON.parse(outcome.stdout), { event: 'error', code, exitCode: 1 })
  }
  t.match(await runWithServer(['verify', dir, OBJECT]), { code: 1, stderr: /EISDIR/ })
  t.notOk(
    server.requests.some(({ method }) => method === 'GET'),
    'nothing is downloaded',
  )
})

t.test('cat prints an object', async t => {
  const { server, runWithServer } = await startCliServer(t)
  server.append(BUCKET, KEY, TEXT)
  t.match(await runWithServer(['cat', OBJECT]), { code: 0, stdout: TEXT.toString(), stderr: '' })
  server.put(BUCKET, 'normal', 'a normal object')
  t.match(await runWithServer(['cat', `oss://${BUCKET}/normal`, '-f']), {
    code: 0,
    stdout: 'a normal object',
  })
  server.append(BUCKET, 'empty', '')
  t.match(await runWithServer(['cat', `oss://${BUCKET}/empty`]), {
    code: 0,
    stdout: '',
    stderr: '',
  })
  t.match(await runWithServer(['cat', `oss://${BUCKET}/absent`]), {
    code: 1,
    stderr: /no such object/,
  })
  server.faults.push({ kind: 'mangled', part: 'crc64', how: 'wrong', on: 'head' })
  t.match(await runWithServer(['cat', OBJECT]), {
    code: 3,
    stderr: /has the CRC-64 \d+, and what was printed/,
  })
})

t.test('cat --follow goes on through outages, until the object is sealed', async t => {
  const { server, env } = await startCliServer(t)
  const child = startCli(['cat', '--follow', '--interval=10ms', OBJECT], { env })
  t.teardown(() => child.kill('SIGKILL'))
  const outcome = waitForExit(child)
  let stdoutText = ''
  child.stdout?.on('data', text => (stdoutText += text))
  await waitUntil(() => server.requests.length > 2)
  server.append(BUCKET, KEY, 'one ')
  await waitUntil(() => stdoutText === 'one ')
  const before = server.requests.length
  await waitUntil(() => server.requests.length > before + 2)
  server.append(BUCKET, KEY, 'two ')
  await waitUntil(() => stdoutText === 'one two ')
  server.refuse()
  let stderrText = ''
  child.stderr?.on('data', text => (stderrText += text))
  await waitUntil(() => stderrText.includes('trying again'))
  server.append(BUCKET, KEY, 'three')
  server.seal(BUCKET, KEY)
  await server.listen()
  const { code, stdout, stderr } = await outcome
  t.equal(code, 0, stderr)
  t.equal(stdout, 'one two three')
  t.match(stderr, /^oss-append: trying again: .*\noss-append: going on after .*\n$/)
  const ranges = server.requests
    .filter(({ method }) => method === 'GET')
    .map(({ headers }) => headers.range)
  t.same(ranges, ['bytes=0-3', 'bytes=4-7', 'bytes=8-12'], 'every byte once')
})

t.test('cat --follow: what ends it', async t => {
  const { server, env } = await startCliServer(t)
  const follow = async () => {
    server.delete(BUCKET, KEY)
    server.append(BUCKET, KEY, 'hello')
    const child = startCli(['cat', '-f', '--interval=10ms', OBJECT], { env })
    t.teardown(() => child.kill('SIGKILL'))
    const outcome = waitForExit(child)
    await once(child.stdout!, 'data')
    return { child, outcome }
  }
  await t.test('a signal', async t => {
    const { child, outcome } = await follow()
    child.kill('SIGINT')
    const message = 'oss-append: interrupted by SIGINT\n'
    t.same(await outcome, { code: 130, stdout: 'hello', stderr: message })
  })
  await t.test('a shorter object in its place', async t => {
    const { outcome } = await follow()
    server.delete(BUCKET, KEY)
    server.append(BUCKET, KEY, 'hi')
    t.match(await outcome, { code: 3, stdout: 'hello', stderr: /has 2 bytes, and had 5/ })
  })
  await t.test('nothing in its place', async t => {
    const { outcome } = await follow()
    server.delete(BUCKET, KEY)
    t.match(await outcome, { code: 1, stdout: 'hello', stderr: /no such object/ })
  })
  await t.test('another object in its place', async t => {
    const { outcome } = await follow()
    server.delete(BUCKET, KEY)
    server.append(BUCKET, KEY, 'halloo')
    t.match(await outcome, { code: 3, stdout: 'helloo', stderr: /CRC-64/ })
  })
  await t.test('a reader that goes away', async t => {
    const { child, outcome } = await follow()
    child.stdout?.destroy()
    server.append(BUCKET, KEY, ' and more')
    t.match(await outcome, { code: 0, stderr: '' })
  })
})

t.test('cat: a signal ends it although nobody reads what it printed', async t => {
  const { server, env } = await startCliServer(t)
  server.append(BUCKET, KEY, seededBytes(1_000_000))
  const child = startCli(['cat', OBJECT], { env })
  t.teardown(() => child.kill('SIGKILL'))
  let stderrText = ''
  child.stderr?.on('data', text => (stderrText += text))
  const ended = once(child, 'exit')
  await waitUntil(() => server.requests.some(({ method }) => method === 'GET'))
  child.kill('SIGTERM')
  t.same(await ended, [143, null])
  t.equal(stderrText, 'oss-append: interrupted by SIGTERM\n')
})

t.test('serve is an OSS that keeps its objects', async t => {
  const dir = join(t.testdir({}), 'objects')
  const serve = async (port: string) => {
    const child = startCli(['serve', '--dir', dir, '--port', port])
    t.teardown(() => child.kill('SIGKILL'))
    const outcome = waitForExit(child)
    let text = ''
    child.stdout?.on('data', more => (text += more))
    await waitUntil(() => text.includes('OSS_ACCESS_KEY_SECRET') && text.endsWith('\n'))
    const lines = text
      .trimEnd()
      .split('\n')
      .map(line => /^export (\w+)=(\S+)$/.exec(line)?.slice(1, 3) ?? [])
    return { child, outcome, env: Object.fromEntries(lines) as Record<string, string> }
  }
  const first = await serve('0')
  t.match(first.env, { OSS_ENDPOINT: /^http:\/\/127\.0\.0\.1:\d+$/, OSS_REGION: 'cn-hangzhou' })
  t.match(await runCli([OBJECT, '-'], { env: first.env, input: TEXT }), {
    code: 0,
    stdout: /verified/,
  })
  const { port } = new URL(first.env.OSS_ENDPOINT ?? '')
  t.match(await runCli(['serve', '--port', port]), { code: 1, stderr: /EADDRINUSE/ })
  first.child.kill('SIGKILL')
  await first.outcome
  const second = await serve(port)
  t.same(second.env, first.env)
  t.match(await runCli(['cat', OBJECT], { env: second.env }), { code: 0, stdout: TEXT.toString() })
  second.child.kill('SIGTERM')
  t.match(await second.outcome, { code: 0, stderr: '' })
  // The same folder, without a server.
  t.match(await runCli(['cat', '--local', dir, OBJECT]), { code: 0, stdout: TEXT.toString() })
})

t.test('serve on every address prints one to connect to', async t => {
  const child = startCli(['serve', '--host', '0.0.0.0'])
  t.teardown(() => child.kill('SIGKILL'))
  const outcome = waitForExit(child)
  await once(child.stdout!, 'data')
  child.kill('SIGTERM')
  t.match(await outcome, { code: 0, stdout: /OSS_ENDPOINT=http:\/\/127\.0\.0\.1:\d+\n/ })
})

t.test('a range is taken up where it broke off', async t => {
  const { server, relay, reader } = await startReader(t)
  const bytes = seededBytes(3_000_000)
  server.append(BUCKET, KEY, bytes)
  let passed = 0
  relay.toClient = (chunk, link) => {
    passed += chunk.length
    if (passed < 700_000) return chunk
    passed = 0
    link.reset()
    return undefined
  }
  const target = { bucket: BUCKET, key: KEY }
  t.ok((await buffer(reader.read(target, 5, bytes.length))).equals(bytes.subarray(5)))
  const starts = server.requests.map(({ headers }) =>
    Number(/bytes=(\d+)-/.exec(String(headers.range))?.[1]),
  )
  t.ok(starts.length > 3, 'it broke off')
  t.equal(starts[0], 5)
  t.ok(
    starts.every((start, index) => index === 0 || start > starts[index - 1]!),
    'always further',
  )
})

t.test('an answer that is none is asked for again', async t => {
  const { server, reader } = await startReader(t)
  server.append(BUCKET, KEY, 'hello')
  server.faults.push(
    { kind: 'html', on: 'get' },
    { kind: 'status', status: 503, code: 'SlowDown', on: 'get' },
    { kind: 'mangled', part: 'requestId', how: 'missing', on: 'get' },
    { kind: 'garbage', on: 'head' },
    { kind: 'status', status: 500, code: 'InternalError', on: 'head' },
  )
  const target = { bucket: BUCKET, key: KEY }
  t.equal(String(await buffer(reader.read(target, 0, 5))), 'hello')
  t.match(await reader.head(target), { type: 'Appendable', length: 5, position: 5 })
  t.equal(await reader.head({ bucket: BUCKET, key: 'absent' }), null)
})

t.test('a wrong clock is corrected, once for all that follows', async t => {
  const { server, reader } = await startReader(t)
  server.append(BUCKET, KEY, 'hello')
  server.faults.push({ kind: 'skewed', offset: 3_600_000, on: 'head' })
  const target = { bucket: BUCKET, key: KEY }
  t.match(await reader.head(target), { length: 5 })
  t.equal(String(await buffer(reader.read(target, 0, 5))), 'hello')
  t.equal(server.requests.length, 3)
})

t.test('the reader has the limits of the client', async t => {
  const { server, runWithServer } = await startCliServer(t)
  server.append(BUCKET, KEY, 'hello')
  for (const flag of ['--connect-timeout', '--request-timeout']) {
    const { code, stderr } = await runWithServer(['stat', `${flag}=0`, OBJECT])
    t.equal(code, 2, flag)
    t.match(stderr, new RegExp(`^oss-append: ${flag}: must be a whole number from 1`))
  }
})

t.test('what OSS says back is told without the signature, and silence is a timeout', async t => {
  const { port } = await startScriptedServer(t, ({ headers }) => {
    if (isSilent) return undefined
    const text = `<Error><Code>AccessDenied</Code><Message>${headers.authorization}</Message></Error>`
    const head = `HTTP/1.1 403 Forbidden\r\nx-oss-request-id: R\r\ncontent-length: ${text.length}`
    return `${head}\r\n\r\n${text}`
  })
  let isSilent = false
  const endpoint = `http://127.0.0.1:${port}`
  const credentials = { accessKeyId: 'id', accessKeySecret: 'secret' }
  const options = { endpoint, region: 'cn-hangzhou', credentials, requestTimeout: 20 }
  const reader = new ObjectReader(options)
  t.teardown(() => reader.close())
  const target = { bucket: BUCKET, key: KEY }
  const { signal } = new AbortController()
  const read = () => buffer(reader.read(target, { start: 0, end: 1, signal }))
  await t.rejects(read(), { code: 'AccessDenied', message: /Signature=\*\*\*$/ })
  isSilent = true
  await t.rejects(read(), { code: 'OSS_ERR_TIMEOUT', message: 'no answer within 20 ms' })
})

t.test('the whole object is no answer to a range', async t => {
  const { server } = await startReader(t)
  server.append(BUCKET, KEY, 'hello')
  const reader = new ObjectReader(networkOptions(server))
  t.teardown(() => reader.close())
  const { signal } = new AbortController()
  const target = { bucket: BUCKET, key: KEY }
  // Longer than the object: the server cuts it.
  await t.rejects(buffer(reader.read(target, { start: 0, end: 9, signal })), {
    code: 'OSS_ERR_NETWORK',
    message: 'HTTP 206 to a request for a range',
  })
  await t.rejects(buffer(reader.read(target, { start: 5, end: 6, signal })), {
    code: 'InvalidRange',
  })
  await t.rejects(buffer(reader.read({ ...target, key: 'absent' }, { start: 0, end: 1, signal })), {
    code: 'NoSuchKey',
  })
  const aborted = AbortSignal.abort(new Error('enough'))
  await t.rejects(reader.head(target, aborted), { message: 'enough' })
})

t.test('keys that are renewed', async t => {
  const { server } = await startReader(t)
  server.append(BUCKET, KEY, 'hello')
  let calls = 0
  const validKeys = server.credentials
  const reader = new RetryingReader(
    {
      ...networkOptions(server),
      credentials: () =>
        calls++ === 0 ? { accessKeyId: 'old', accessKeySecret: 'old' } : validKeys,
    },
    { signal: new AbortController().signal, maxElapsed: 60_000 },
  )
  t.teardown(() => reader.close())
  t.match(await reader.head({ bucket: BUCKET, key: KEY }), { length: 5 })
  t.equal(calls, 2)
})

/** A server, and a reader that reaches it by a line that a test can cut. */
async function startReader(t: Test) {
  const server = await createOssServer()
  t.teardown(() => server.close())
  const relay = await startRelay(t, server.port)
  const options = { ...networkOptions(server), endpoint: `http://127.0.0.1:${relay.port}` }
  const { signal } = new AbortController()
  const reader = new RetryingReader(options, { signal, maxElapsed: 60_000 })
  t.teardown(() => reader.close())
  return { server, relay, reader }
}
