// Faults and the log over HTTP.

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { createOssServer, type OssServer } from '../../lib/server/index.ts'
import { append, encodeQuery, head, presign, send } from '../helpers/raw-client.ts'
import { BUCKET, KEY, startServer, storedText } from '../helpers/start-server.ts'

/** A request to the control address. */
async function control(s: OssServer, method: string, path: string, body?: unknown, token?: string) {
  const { url, token: right } = s.control!
  const response = await fetch(url + path, {
    method,
    headers: { Authorization: `Bearer ${token ?? right}` },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  return { status: response.status, value: await response.json() }
}

t.test('without the option there is no control address', async t => {
  const s = await startServer(t)
  t.equal(s.control, undefined)
})

t.test('faults are pushed, listed and cleared', async t => {
  const s = await startServer(t, { control: true })
  const faults = [
    { kind: 'lost', how: 'reset' },
    { kind: 'status', status: 503, times: 'Infinity', key: 'other' },
    { kind: 'rival', when: 'before', bytes: 'given', skip: 1 },
  ]
  t.equal((await control(s, 'POST', '/faults', faults[0])).status, 200)
  const listed = await control(s, 'POST', '/faults', faults.slice(1))
  t.match(listed.value, {
    waiting: [
      { fault: faults[0], skip: 0, times: 1, struck: 0 },
      { fault: faults[1], times: 'Infinity' },
      { fault: faults[2], skip: 1 },
    ],
    fired: {},
  })
  await t.rejects(append(s, 0, 'abc'), { code: 'ECONNRESET' })
  t.equal((await append(s, 3, 'def')).status, 200)
  t.equal((await append(s, 6, 'ghi')).status, 409)
  t.equal(storedText(s), 'abcdefgiven')
  const after = await control(s, 'GET', '/faults')
  t.match(after.value, { waiting: [{ fault: faults[1] }], fired: { lost: 1, rival: 1 } })
  t.equal((await control(s, 'DELETE', '/faults')).status, 200)
  t.equal(s.faults.length, 0)
  t.same((await control(s, 'GET', '/faults')).value, { waiting: [], fired: { lost: 1, rival: 1 } })
})

t.test('a wrong fault is refused with the message of push()', async t => {
  const s = await startServer(t, { control: true })
  const rows: [body: unknown, error: RegExp][] = [
    [{ kind: 'lsot', how: 'reset' }, /^option fault\.kind: must be /],
    [{ kind: 'status' }, /^option fault\.status: must be a whole number/],
    [[{ kind: 'sealed' }, { kind: 'sealed', how: 1 }], /^option fault\.how: is unknown/],
    ['not JSON', /JSON/],
    ['', /JSON/],
  ]
  for (const [body, error] of rows) {
    const { status, value } = await control(s, 'POST', '/faults', body)
    t.equal(status, 400, JSON.stringify(body))
    t.match(value, { error })
  }
  t.equal(s.faults.length, 0)
})

t.test('requests are read, without secrets', async t => {
  const s = await startServer(t, { control: true })
  await append(s, 0, 'abc')
  await append(s, 1, 'abc', { credentials: { ...s.credentials, accessKeySecret: 'wrong' } })
  const { value } = await control(s, 'GET', '/requests')
  t.match(value, [
    { operation: 'append', key: KEY, position: 0, length: 3, status: 200 },
    { status: 403, code: 'SignatureDoesNotMatch' },
  ])
  t.notMatch(JSON.stringify(value), /Signature=|authorization/i)
})

t.test('reset() and POST /reset make the server as it was at the start', async t => {
  for (const reset of ['method', 'control'] as const) {
    const credentials = { accessKeyId: 'ak', accessKeySecret: 'sk' }
    const s = await startServer(t, { control: true, buckets: [BUCKET], credentials })
    await append(s, 0, 'abc')
    await send(s, { method: 'PUT', bucket: 'another', key: '' })
    s.faults.push({ kind: 'late', how: 503, lands: 'beforeNext' }, { kind: 'expired' })
    await append(s, 3, 'def')
    await append(s, 3, 'def')
    s.faults.push({ kind: 'sealed' })
    s.latency = 1
    s.readRate = 1
    s.clockOffset = 5000
    s.permissions.clear()
    s.permissions.add('oss:Other')
    s.credentials = { accessKeyId: 'other', accessKeySecret: 'other' }
    if (reset === 'method') s.reset()
    else t.equal((await control(s, 'POST', '/reset')).status, 200)
    t.same([...s.objects], [], reset)
    t.equal(s.faults.length, 0)
    t.same(s.faults.fired, {})
    t.same(s.requests, [])
    t.match({ ...s }, { latency: 0, readRate: Infinity, clockOffset: 0 })
    t.equal(s.delayedAppends.length, 0)
    t.notOk(s.permissions.has('oss:Other'))
    t.match(s.credentials, credentials)
    t.equal(
      (await append(s, 0, 'abc')).status,
      200,
      'credentials are valid, and permissions are back',
    )
    t.match(await head(s, { bucket: 'another' }), { code: 'NoSuchBucket' })
  }
})

t.test('the control address needs its token, and knows its routes alone', async t => {
  const s = await startServer(t, { control: { token: 'my-token' } })
  t.equal(s.control?.token, 'my-token')
  for (const token of ['', 'wrong', 'my-token2', s.credentials.accessKeyId]) {
    const { status, value } = await control(s, 'POST', '/reset', undefined, token)
    t.equal(status, 401, token)
    t.match(value, { error: /Authorization: Bearer/ })
  }
  for (const [method, path] of [
    ['GET', '/'],
    ['PUT', '/faults'],
    ['GET', '/faults?x'],
    ['GET', `/${BUCKET}/${KEY}`],
  ] as const) {
    const { status, value } = await control(s, method, path)
    t.equal(status, 404, `${method} ${path}`)
    t.match(value, { error: /GET \/faults, POST \/faults, DELETE \/faults, GET \/requests/ })
  }
})

t.test('the port of OSS does not reach the control address, nor the other way round', async t => {
  const s = await startServer(t, { control: true })
  const { url, token } = s.control!
  t.not(new URL(url).port, new URL(s.url).port)
  const headers = { Authorization: `Bearer ${token}` }
  const response = await fetch(`${s.url}/faults`, { headers })
  t.equal(response.status, 400)
  t.match(await response.text(), /<Code>InvalidArgument<|<Code>NotImplemented</)
  const other = await append({ url, credentials: s.credentials }, 0, 'abc')
  t.equal(other.status, 401)
})

t.test(
  'the control address has a port of its choice, stays while the server refuses, and closes',
  async t => {
    const first = await startServer(t, { control: true })
    const port = Number(new URL(first.control!.url).port)
    await t.rejects(createOssServer({ control: { port } }), { code: 'EADDRINUSE' })
    await first.close()
    const s = await createOssServer({ control: { port } })
    t.equal(s.control?.url, `http://127.0.0.1:${port}`)
    s.refuse()
    t.equal((await control(s, 'GET', '/faults')).status, 200)
    await s.listen()
    t.equal((await append(s, 0, 'abc')).status, 200)
    await s.close()
    await t.rejects(control(s, 'GET', '/faults'), { cause: { code: 'ECONNREFUSED' } })
  },
)

t.test('curl drives a fault from a shell', async t => {
  const s = await startServer(t, { control: true })
  s.append(BUCKET, KEY, 'abc')
  const { credentials } = s
  const query = presign({ method: 'GET', bucket: BUCKET, key: KEY, credentials }, 600)
  const { stdout } = await promisify(execFile)('sh', [join(import.meta.dirname, 'control.sh')], {
    env: {
      PATH: process.env.PATH,
      NO_PROXY: '127.0.0.1',
      CONTROL_URL: s.control!.url,
      CONTROL_TOKEN: s.control!.token,
      OBJECT_URL: `${s.url}/${BUCKET}/${KEY}?${encodeQuery(query)}`,
    },
  })
  t.equal(
    stdout,
    `waiting: 1
first: 503 1
second: abc 200
{
  "waiting": [],
  "fired": {
    "status": 1
  }
}
requests: 2
reset: curl failed with 56
cleared: abc
gone: 404
`,
  )
})
