// Each fault: what the client sees of it, and what is stored afterwards.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { Agent, createServer } from 'node:http'
import { connect } from 'node:net'
import t from 'tap'
import { crc64OfChunks } from '../../lib/server/crc64.ts'
import { createOssServer, type Fault, type OssServer } from '../../lib/server/index.ts'
import { append, head, type RawResponse, send } from '../helpers/raw-client.ts'
import { composeRequest, renderRequest } from '../helpers/raw-socket.ts'
import { BUCKET, KEY, startServer, storedText } from '../helpers/start-server.ts'

async function serverWith(
  test: Pick<typeof t, 'teardown'>,
  ...faults: Fault[]
): Promise<OssServer> {
  const s = await startServer(test)
  s.append(BUCKET, KEY, 'abc')
  s.faults.push(...faults)
  return s
}

t.test('a fault leaves a request without a response', async t => {
  const table: [label: string, fault: Fault, stored: string][] = [
    ['reset before the body', { kind: 'reset', when: 'before' }, 'abc'],
    ['reset in the body', { kind: 'reset', when: 'middle' }, 'abc'],
    ['reset after the body', { kind: 'reset', when: 'after' }, 'abc'],
    ['lost by reset', { kind: 'lost', how: 'reset' }, 'abcdef'],
    ['late by reset', { kind: 'late', how: 'reset', lands: 'beforeNext' }, 'abc'],
    ['a rival after ours', { kind: 'rival', when: 'after' }, 'abcdef\x9b\x9a\x99'],
    ['a longer rival after', { kind: 'rival', when: 'after', bytes: 4 }, 'abcdef\x9b\x9a\x99a'],
  ]
  for (const [label, fault, stored] of table) {
    const s = await serverWith(t, fault)
    await t.rejects(append(s, 3, 'def'), { code: 'ECONNRESET' }, label)
    t.equal(s.read(BUCKET, KEY)?.toString('latin1'), stored, `${label}: what is stored`)
    t.same(s.faults.fired, { [fault.kind]: 1 }, `${label}: counted`)
    t.same(s.requests[0]?.faults, [fault.kind], `${label}: recorded`)
    t.equal(s.requests[0]?.status, undefined, `${label}: no status`)
    t.equal(s.faults.length, 0, `${label}: removed from the queue`)
  }
})

t.test('a fault changes the response', async t => {
  const table: [label: string, fault: Fault, expected: object, stored: string][] = [
    [
      'lost by 500',
      { kind: 'lost', how: 500 },
      { status: 500, code: 'InternalError', headers: { 'x-oss-request-id': /^[0-9A-F]{24}$/ } },
      'abcdef',
    ],
    [
      'late by 503',
      { kind: 'late', how: 503, lands: 'beforeNext' },
      { status: 503, code: 'ServiceUnavailable' },
      'abc',
    ],
    [
      'a throttling code',
      {
        kind: 'status',
        status: 503,
        code: 'PartitionQpsLimitted',
        ec: '0026-00000028',
        headers: { 'x-oss-qos-delay-time': '250' },
      },
      {
        status: 503,
        code: 'PartitionQpsLimitted',
        headers: { 'x-oss-qos-delay-time': '250', 'x-oss-ec': '0026-00000028' },
      },
      'abc',
    ],
    [
      'another endpoint',
      {
        kind: 'status',
        status: 403,
        code: 'AccessDenied',
        children: { Endpoint: 'oss-cn-beijing.aliyuncs.com' },
      },
      { status: 403, xml: /<Endpoint>oss-cn-beijing.aliyuncs.com<\/Endpoint>/ },
      'abc',
    ],
    ['a bare status', { kind: 'status', status: 429 }, { status: 429, xml: '' }, 'abc'],
    [
      'a broken body, after commit',
      { kind: 'status', status: 500, code: 'X', body: '<Error><Code>', commits: true },
      { status: 500, xml: '<Error><Code>' },
      'abcdef',
    ],
    [
      'HTML',
      { kind: 'html' },
      { status: 502, xml: /<html>/, headers: { 'x-oss-request-id': undefined } },
      'abc',
    ],
    [
      'no request id',
      { kind: 'mangled', part: 'requestId', how: 'missing' },
      { status: 200, headers: { 'x-oss-request-id': undefined, date: undefined } },
      'abcdef',
    ],
    [
      'no position',
      { kind: 'mangled', part: 'position', how: 'missing' },
      { status: 200, headers: { 'x-oss-next-append-position': undefined } },
      'abcdef',
    ],
    [
      'no CRC',
      { kind: 'mangled', part: 'crc64', how: 'missing' },
      { status: 200, headers: { 'x-oss-hash-crc64ecma': undefined } },
      'abcdef',
    ],
    [
      'wrong CRC, not stored',
      { kind: 'mangled', part: 'crc64', how: 'wrong', commits: false },
      { status: 200, headers: { 'x-oss-next-append-position': '6' } },
      'abc',
    ],
    [
      'wrong position',
      { kind: 'mangled', part: 'position', how: 'wrong' },
      { status: 200, headers: { 'x-oss-next-append-position': '7' } },
      'abcdef',
    ],
    [
      'a position that is no number, twice',
      { kind: 'mangled', part: 'position', how: 'wrong', value: ['0x6', '-1'] },
      { status: 200, headers: { 'x-oss-next-append-position': '0x6, -1' } },
      'abcdef',
    ],
    [
      'a rival before ours',
      { kind: 'rival', when: 'before', bytes: 2 },
      { status: 409, headers: { 'x-oss-next-append-position': '5' } },
      'abc\x9b\x9a',
    ],
    [
      'a 409 without its position',
      {
        kind: 'mangled',
        part: 'position',
        how: 'missing',
        with: [{ kind: 'rival', when: 'before' }],
      },
      {
        status: 409,
        code: 'PositionNotEqualToLength',
        headers: { 'x-oss-next-append-position': undefined },
      },
      'abc\x9b\x9a\x99',
    ],
    [
      'replaced by a normal object',
      { kind: 'replaced', by: 'Normal' },
      { status: 409, code: 'ObjectNotAppendable' },
      'oth',
    ],
    [
      'replaced by a shorter one',
      { kind: 'replaced', by: 'Appendable', length: 2 },
      { status: 409, headers: { 'x-oss-next-append-position': '2' } },
      'ot',
    ],
    [
      'replaced by one of the same length',
      { kind: 'replaced', by: 'Appendable' },
      { status: 200, headers: { 'x-oss-next-append-position': '6' } },
      'othdef',
    ],
    ['sealed', { kind: 'sealed' }, { status: 400, code: 'AppendSealedObjectNotAllowed' }, 'abc'],
    [
      'damaged on the way',
      { kind: 'corrupted' },
      { status: 200, headers: { 'x-oss-next-append-position': '6' } },
      'abcd\x9af',
    ],
    ['early', { kind: 'early' }, { status: 503, headers: { connection: 'close' } }, 'abc'],
    [
      'forbidden',
      { kind: 'forbidden', on: 'append' },
      { status: 403, code: 'AccessDenied' },
      'abc',
    ],
  ]
  for (const [label, fault, expected, stored] of table) {
    const s = await serverWith(t, fault)
    t.match(await append(s, 3, 'def'), expected, label)
    t.equal(s.read(BUCKET, KEY)?.toString('latin1'), stored, `${label}: what is stored`)
    t.equal(s.faults.fired[fault.kind], 1, `${label}: counted`)
    s.faults.push({ kind: 'status', status: 599, on: 'seal' })
    const next = await head(s)
    t.equal(next.status, 200, `${label}: the next request is served`)
    t.equal(s.faults.length, 1, `${label}: a fault waits for a request that fits`)
  }
})

t.test('a mangled CRC is a wrong number', async t => {
  const s = await serverWith(t, { kind: 'mangled', part: 'crc64', how: 'wrong' })
  const response = await append(s, 3, 'def')
  const right = s.stat(BUCKET, KEY)?.crc64
  t.not(response.headers['x-oss-hash-crc64ecma'], right)
  t.match(response.headers['x-oss-hash-crc64ecma'], /^\d+$/)
})

t.test('a lost response may never come', async t => {
  const s = await serverWith(t, { kind: 'lost', how: 'hang' })
  const abortController = new AbortController()
  const hanging = append(s, 3, 'def', { signal: abortController.signal })
  const rejected = t.rejects(hanging, { name: 'AbortError' })
  while (storedText(s) !== 'abcdef') await new Promise(setImmediate)
  abortController.abort()
  await rejected
  t.equal((await append(s, 3, 'def')).status, 409)
})

t.test('a late append lands before the next request', async t => {
  const s = await serverWith(t, { kind: 'late', how: 500, lands: 'beforeNext' })
  t.equal((await append(s, 3, 'def')).status, 500)
  t.equal(storedText(s), 'abc')
  const seen = await head(s)
  t.equal(seen.headers['x-oss-next-append-position'], '6')
  t.equal(storedText(s), 'abcdef')
  t.equal(s.requests[0]?.outcome, 200, 'the outcome is in the record of the late request')
})

t.test('a late append lands after the next HEAD', async t => {
  const s = await serverWith(t, { kind: 'late', how: 'reset', lands: 'afterLook' })
  await t.rejects(append(s, 3, 'def'))
  t.equal((await head(s)).headers['x-oss-next-append-position'], '3')
  t.equal(storedText(s), 'abcdef')
})

t.test('a late append lands after the next empty append', async t => {
  const s = await serverWith(t, { kind: 'late', how: 'reset', lands: 'afterLook' })
  await t.rejects(append(s, 3, 'def'))
  t.equal((await append(s, 3, '')).headers['x-oss-next-append-position'], '3')
  t.equal(storedText(s), 'abcdef')
})

t.test(
  'a late append lands after a time, and is refused if its position is wrong by then',
  async t => {
    const s = await serverWith(t, { kind: 'late', how: 503, lands: 1 })
    t.equal((await append(s, 3, 'def')).status, 503)
    while (s.delayedAppends.length > 0) await new Promise(setImmediate)
    t.equal(storedText(s), 'abcdef')
    s.faults.push({ kind: 'late', how: 503, lands: 'beforeNext' })
    t.equal((await append(s, 6, 'ghi')).status, 503)
    s.append(BUCKET, KEY, 'xyz')
    await head(s)
    t.equal(storedText(s), 'abcdefxyz', 'the late append is refused')
  },
)

t.test('the response is not HTTP', async t => {
  const s = await serverWith(t, { kind: 'garbage' })
  await t.rejects(append(s, 3, 'def'), { code: /^HPE_/ })
  t.equal(storedText(s), 'abc')
})

t.test('after the object is deleted only position 0 is right', async t => {
  const s = await serverWith(t, { kind: 'deleted' })
  const response = await append(s, 3, 'def')
  t.equal(response.status, 409)
  t.equal(response.headers['x-oss-next-append-position'], '0')
  t.equal(storedText(s), undefined)
})

t.test('the CRC is that of the object at the moment of the append', async t => {
  const crcOf = (s: OssServer) => crc64OfChunks([s.read(BUCKET, KEY)!], '0')
  const s = await serverWith(t, { kind: 'replaced', by: 'Appendable' }, { kind: 'deleted' })
  const replaced = await append(s, 3, 'def')
  t.equal(replaced.headers['x-oss-hash-crc64ecma'], crcOf(s))
  const created = await append(s, 0, 'new')
  t.equal(storedText(s), 'new')
  t.equal(created.headers['x-oss-hash-crc64ecma'], crcOf(s))
  s.faults.push({ kind: 'rival', when: 'before' })
  await append(s, 3, 'refused')
  t.equal((await head(s)).headers['x-oss-hash-crc64ecma'], crcOf(s))
})

t.test('a body damaged on its way is found by its MD5', async t => {
  const s = await serverWith(t, { kind: 'corrupted', at: 0 })
  const md5 = createHash('md5').update('def').digest('base64')
  const response = await append(s, 3, 'def', { headers: { 'content-md5': md5 } })
  t.match(response, {
    status: 400,
    code: 'InvalidDigest',
    headers: { 'x-oss-ec': '0017-00000503' },
  })
  t.equal(storedText(s), 'abc')
})

t.test('HEAD is forbidden, shows an old state, and fails', async t => {
  const s = await serverWith(t, { kind: 'forbidden' }, { kind: 'stale', times: 2 })
  s.faults.push({ kind: 'status', on: 'head', status: 500, code: 'InternalError' })
  t.match(await head(s), { status: 403, code: 'AccessDenied' })
  t.match(await head(s), { status: 404, code: 'NoSuchKey' }, 'as before its creation')
  await append(s, 3, 'def')
  const stale = await head(s)
  t.match(stale.headers, { 'x-oss-next-append-position': '3', 'content-length': '3' })
  t.not(stale.headers['x-oss-hash-crc64ecma'], s.stat(BUCKET, KEY)?.crc64)
  t.match(await head(s), { status: 500, code: 'InternalError' })
  t.match(await head(s), { status: 200 })
  t.same(s.faults.fired, { forbidden: 1, stale: 2, status: 1 })
})

t.test('the clock jumps and stays there', async t => {
  const hour = 3_600_000
  const s = await serverWith(t, { kind: 'skewed', offset: hour })
  const response = await append(s, 3, 'def')
  t.match(response, { status: 403, code: 'RequestTimeTooSkewed' })
  const serverTime = Date.parse(/<ServerTime>(.*)<\/ServerTime>/.exec(response.xml)?.[1] ?? '')
  t.ok(Math.abs(serverTime - Date.now() - hour) < 60_000)
  t.match(response.xml, /<MaxAllowedSkewMilliseconds>900000</)
  t.equal((await append(s, 3, 'def')).code, 'RequestTimeTooSkewed', 'the clock stays')
  t.equal((await append(s, 3, 'def', { time: Date.now() + hour })).status, 200)
})

t.test('the clock jumps, and only the Date header tells', async t => {
  const s = await serverWith(t, { kind: 'skewed', offset: -3_600_000, hidesServerTime: true })
  const response = await append(s, 3, 'def')
  t.match(response, { status: 403, code: 'RequestTimeTooSkewed' })
  t.notMatch(response.xml, /ServerTime/)
  t.ok(Math.abs(Date.parse(response.headers.date ?? '') - Date.now() + 3_600_000) < 60_000)
})

t.test('a small jump of the clock refuses nothing', async t => {
  const s = await serverWith(t, { kind: 'skewed', offset: 60_000 })
  t.equal((await append(s, 3, 'def')).status, 200)
})

t.test('credentials expire, and others stay valid', async t => {
  const old = { accessKeyId: 'sts-1', accessKeySecret: 'one', securityToken: 'token-1' }
  const fresh = { accessKeyId: 'sts-2', accessKeySecret: 'two', securityToken: 'token-2' }
  const s = await startServer(t, { credentials: [old, fresh] })
  s.faults.push({ kind: 'expired' })
  for (let i = 0; i < 2; i++) {
    t.match(await append(s, 0, 'abc'), { status: 403, code: 'SecurityTokenExpired' })
  }
  t.equal((await append(s, 0, 'abc', { credentials: fresh })).status, 200)
  s.credentials = old
  t.equal((await append(s, 3, 'def')).status, 200, 'a credential that is set again has not expired')
  t.equal((await append(s, 6, 'x', { credentials: fresh })).code, 'InvalidAccessKeyId')
})

t.test('slowRead and slowAnswer take their time', async t => {
  const s = await serverWith(
    t,
    { kind: 'slowRead', rate: 1_000_000 },
    { kind: 'slowAnswer', delay: 30 },
  )
  const body = Buffer.alloc(200_000)
  t.equal((await append(s, 3, body)).status, 200)
  t.equal((await append(s, 200_003, 'def')).status, 200)
  const [read, answered] = s.requests
  t.ok(read!.bodyRead! - read!.received >= 150, 'to within one chunk')
  t.ok(answered!.answered! - answered!.bodyRead! >= 25)
})

t.test('a connection is closed after the response, announced or silently', async t => {
  for (const how of ['header', 'silent'] as const) {
    const s = await serverWith(t, { kind: 'closed', how })
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    t.teardown(() => agent.destroy())
    const first = await append(s, 3, 'def', { agent })
    t.equal(first.status, 200)
    t.equal(first.headers.connection, how === 'header' ? 'close' : 'keep-alive')
    while (Object.keys(agent.freeSockets).length > 0) await new Promise(setImmediate)
    t.equal((await append(s, 6, 'ghi', { agent })).status, 200)
    t.equal(s.connections, 2, how)
  }
})

t.test('a connection is kept without a fault', async t => {
  const s = await serverWith(t)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  for (let i = 0; i < 3; i++) await append(s, 3 + i, 'd', { agent })
  t.equal((await append(s, 0, 'refused', { agent })).status, 409)
  t.equal((await append(s, 6, 'd', { agent, rawHeaders: {} })).status, 403)
  t.equal((await append(s, 6, 'd', { agent })).status, 200)
  t.equal(s.connections, 1)
})

t.test('connections are refused, and accepted again', async t => {
  const s = await serverWith(t, { kind: 'refused', duration: 600_000 })
  await t.rejects(append(s, 3, 'def'), { code: 'ECONNRESET' })
  await t.rejects(append(s, 3, 'def'), { code: 'ECONNREFUSED' })
  await s.listen()
  t.equal((await append(s, 3, 'def')).status, 200)
  s.refuse()
  await t.rejects(append(s, 6, 'ghi'), { code: 'ECONNREFUSED' })
  await s.listen()
  s.faults.push({ kind: 'refused', duration: 1 })
  await t.rejects(append(s, 6, 'ghi'), { code: 'ECONNRESET' })
  const appendUntilOpen = (): Promise<RawResponse> => append(s, 6, 'ghi').catch(appendUntilOpen)
  t.equal((await appendUntilOpen()).status, 200, 'the port opens by itself')
})

t.test('listen() can be tried again while the port is taken, without a warning', async t => {
  const s = await startServer(t)
  const { port } = new URL(s.url)
  s.refuse()
  const other = createServer().listen(Number(port), '127.0.0.1')
  await once(other, 'listening')
  const warnings: Error[] = []
  const onWarning = (warning: Error) => warnings.push(warning)
  process.on('warning', onWarning)
  for (let i = 0; i < 12; i++) await t.rejects(s.listen(), { code: 'EADDRINUSE' })
  await new Promise(resolve => other.close(resolve))
  await s.listen()
  process.off('warning', onWarning)
  t.same(warnings, [])
  t.equal((await append(s, 0, 'abc')).status, 200)
})

t.test('refuse() refuses a duration longer than a timer of Node', async t => {
  const s = await startServer(t)
  t.throws(() => s.refuse(2 ** 31), { message: /^option duration: must be a whole number/ })
  t.equal((await append(s, 0, 'abc')).status, 200, 'the port is still open')
})

t.test('a server that refuses connections can be closed', async () => {
  const s = await createOssServer()
  s.refuse(600_000)
  await s.close()
})

t.test('a fault strikes the requests that its scope names', async t => {
  const s = await startServer(t)
  const fault = { kind: 'status', status: 599 } as const
  const isFaulted = async (response: Promise<RawResponse>) => (await response).status === 599
  s.faults.push({ ...fault, on: 'probe' })
  t.equal(await isFaulted(append(s, 0, '')), false, 'an append that creates is no probe')
  t.equal(await isFaulted(append(s, 0, 'abc')), false)
  t.equal(await isFaulted(append(s, 3, '')), true, 'an empty append to an object is a probe')
  s.faults.push({ ...fault, on: 'append' })
  t.equal(await isFaulted(append(s, 3, '')), false)
  t.equal(await isFaulted(append(s, 3, 'd')), true)
  s.faults.push({ ...fault, key: 'other' }, { ...fault, bucket: 'other' })
  t.equal(await isFaulted(append(s, 3, 'd')), false)
  t.equal(await isFaulted(append(s, 0, 'd', { key: 'other' })), true)
  t.equal(await isFaulted(append(s, 0, 'd', { bucket: 'other' })), true)
  s.faults.push({ ...fault, on: 'any', skip: 1, times: 2 })
  t.equal(await isFaulted(head(s)), false)
  t.equal(await isFaulted(send(s, {})), true)
  t.equal(await isFaulted(send(s, { method: 'DELETE' })), true)
  t.equal(await isFaulted(send(s, { method: 'PUT' })), false)
  s.faults.push({ ...fault, name: 'mine' })
  t.equal(
    await isFaulted(append(s, 0, 'x', { credentials: { ...s.credentials, accessKeyId: '' } })),
    false,
  )
  t.equal(s.faults.length, 1, 'a request with a wrong signature is not struck')
  await append(s, 0, 'x')
  t.equal(s.faults.fired.mine, 1)
  s.faults.push(fault)
  s.faults.clear()
  t.equal(s.faults.length, 0)
})

t.test('a fault strikes other operations than append', async t => {
  const s = await serverWith(t)
  s.faults.push({ kind: 'stale', on: 'get' }, { kind: 'rival', on: 'head', when: 'before' })
  t.equal((await send(s, {})).body.toString(), 'abc', 'GET never shows an old state')
  t.equal(
    (await head(s)).headers['content-length'],
    '4',
    'a rival appends without a body in the request',
  )
  s.faults.push({ kind: 'mangled', on: 'head', part: 'position', how: 'missing' })
  t.equal((await head(s)).headers['x-oss-next-append-position'], undefined)
  s.faults.push({ kind: 'reset', on: 'head', when: 'middle' })
  await t.rejects(head(s), { code: 'ECONNRESET' })
})

t.test('of faults that strike together the first decides the response', async t => {
  const s = await serverWith(t, {
    kind: 'closed',
    how: 'header',
    with: [
      { kind: 'mangled', part: 'crc64', how: 'missing' },
      { kind: 'lost', how: 'reset' },
    ],
  })
  await t.rejects(append(s, 3, 'def'), { code: 'ECONNRESET' })
  t.equal(storedText(s), 'abcdef')
  t.same(s.faults.fired, { closed: 1, mangled: 1, lost: 1 })
})

t.test('a fault in `with` that means nothing for a request does not strike it', async t => {
  const slow: Fault = { kind: 'slowAnswer', delay: 1 }
  const s = await serverWith(
    t,
    { ...slow, with: [{ kind: 'tooLarge', maxBytes: 3 }] },
    { ...slow, on: 'list', with: [{ kind: 'rival', when: 'before' }, { kind: 'sealed' }] },
  )
  t.equal((await append(s, 3, 'def')).status, 200, 'as long as a body may be')
  t.equal((await send(s, { key: '', query: { 'list-type': '2' } })).status, 200)
  t.equal(s.stat(BUCKET, ''), undefined, 'no object without a key')
  t.same(s.faults.fired, { slowAnswer: 2 })
  s.faults.push({ ...slow, with: [{ kind: 'tooLarge', maxBytes: 3 }] })
  t.equal((await append(s, 6, 'ghij')).status, 413)
  t.same(s.faults.fired, { slowAnswer: 3, tooLarge: 1 })
})

t.test('a rival creates an absent object, and leaves a sealed one', async t => {
  const s = await startServer(t)
  s.faults.push(
    { kind: 'rival', when: 'before' },
    { kind: 'sealed' },
    { kind: 'rival', when: 'before' },
  )
  t.equal((await append(s, 0, 'abc')).status, 409)
  t.equal(s.stat(BUCKET, KEY)?.length, 3, 'the rival created it')
  t.equal((await append(s, 3, 'abc')).code, 'AppendSealedObjectNotAllowed')
  t.equal((await append(s, 3, 'abc')).code, 'AppendSealedObjectNotAllowed')
  t.equal(s.stat(BUCKET, KEY)?.length, 3, 'a rival cannot append to it either')
  s.faults.push({ kind: 'sealed' })
  t.equal((await append(s, 0, 'abc', { key: 'absent' })).status, 200)
})

t.test('close() drops hanging responses and late appends', async t => {
  const s = await createOssServer()
  s.faults.push({ kind: 'late', how: 503, lands: 60_000 }, { kind: 'lost', how: 'hang' })
  t.equal((await append(s, 0, 'abc')).status, 503)
  const hanging = t.rejects(append(s, 0, 'abc'), { code: 'ECONNRESET' })
  while (storedText(s) === undefined) await new Promise(setImmediate)
  s.latency = 60_000
  const slow = t.rejects(head(s), { code: 'ECONNRESET' })
  const idle = connect(s.port, '127.0.0.1')
  await once(idle, 'connect')
  while (s.requests.length < 3 || s.openConnections < 3) await new Promise(setImmediate)
  await s.close()
  await Promise.all([hanging, slow, once(idle, 'close')])
  t.equal(s.delayedAppends.length, 0)
  t.equal(storedText(s), 'abc')
})

t.test('a rival appends given bytes before each of the next requests', async t => {
  const s = await serverWith(t, { kind: 'rival', when: 'before', bytes: 'rival\n', times: 2 })
  t.match(await append(s, 3, 'def'), {
    status: 409,
    headers: { 'x-oss-next-append-position': '9' },
  })
  t.match(await append(s, 9, 'def'), {
    status: 409,
    headers: { 'x-oss-next-append-position': '15' },
  })
  t.equal((await append(s, 15, 'def')).status, 200)
  t.equal(storedText(s), 'abcrival\nrival\ndef')
})

t.test('a rival appends given bytes after each of the next requests', async t => {
  const bytes = Buffer.from('rival\n')
  const s = await serverWith(t, { kind: 'rival', when: 'after', bytes, lost: false, times: 2 })
  const first = await append(s, 3, 'def')
  t.match(first, { status: 200, headers: { 'x-oss-next-append-position': '6' } })
  t.match(await append(s, 6, 'ghi'), {
    status: 409,
    headers: { 'x-oss-next-append-position': '12' },
  })
  t.equal((await append(s, 18, 'jkl')).status, 200, 'the second rival came after a refusal')
  t.equal(storedText(s), 'abcdefrival\nrival\njkl')
})

t.test('a proxy refuses bodies above a size with 413, before it has read them', async t => {
  const s = await serverWith(t, { kind: 'tooLarge', maxBytes: 1_000_000, times: Infinity })
  t.equal((await append(s, 3, Buffer.alloc(1_000_000))).status, 200, 'exactly the size')
  const body = Buffer.alloc(20_000_000)
  const refused = await append(s, 1_000_003, body)
  t.match(refused, {
    status: 413,
    code: undefined,
    xml: /^<html>.*413 Request Entity Too Large/,
    headers: { connection: 'close', 'x-oss-request-id': undefined, server: undefined },
  })
  t.match(await append(s, 1_000_003, body, { chunked: true }), { status: 413 })
  t.equal((await append(s, 1_000_003, 'x', { chunked: true })).status, 200)
  t.equal((await head(s)).headers['content-length'], '1000004')
  const socket = connect(s.port, '127.0.0.1')
  const { line, headers } = composeRequest({
    method: 'POST',
    bucket: BUCKET,
    key: KEY,
    query: { append: '', position: '0' },
    headers: { 'content-length': '2000000' },
    credentials: s.credentials,
  })
  socket.write(renderRequest({ line, headers, body: '' }))
  const [answer] = (await once(socket, 'data')) as [Buffer]
  t.match(answer.toString(), /^HTTP\/1.1 413 .*<\/html>\n$/s, 'the response comes before the body')
  socket.write(Buffer.alloc(2_000_000))
  await once(socket, 'end')
  t.equal(s.requests.at(-1)?.length, 2_000_000, 'the body is read, so that no reset follows')
})

t.test('any fault can add headers to the response, such as Retry-After', async t => {
  const headers = { 'Retry-After': '2' }
  const rows: [fault: Fault, status: number][] = [
    [{ kind: 'status', status: 503, code: 'ServiceUnavailable', headers }, 503],
    [{ kind: 'status', status: 429, headers: { 'Retry-After': '2' } }, 429],
    [{ kind: 'html', headers }, 502],
    [{ kind: 'early', headers }, 503],
    [{ kind: 'lost', how: 500, headers }, 500],
    [{ kind: 'late', how: 503, lands: 'beforeNext', headers }, 503],
    [{ kind: 'tooLarge', maxBytes: 1, headers }, 413],
    [{ kind: 'rival', when: 'before', headers }, 409],
    [{ kind: 'forbidden', on: 'append', headers }, 403],
    [{ kind: 'closed', how: 'header', with: [{ kind: 'sealed', headers }] }, 400],
  ]
  for (const [fault, status] of rows) {
    const s = await serverWith(t, fault)
    const response = await append(s, 3, 'def')
    t.match(response, { status, headers: { 'retry-after': '2' } }, `${fault.kind} ${status}`)
  }
  const date = new Date(Date.now() + 1000).toUTCString()
  const s = await serverWith(t, { kind: 'html', status: 503, headers: { 'Retry-After': date } })
  t.equal((await append(s, 3, 'def')).headers['retry-after'], date)
})

t.test('pipelined requests are served one after the other, as by nginx', async t => {
  const s = await serverWith(t, { kind: 'slowAnswer', delay: 50 })
  const pipelined = (first: number, second: number) =>
    [first, second]
      .map(position =>
        renderRequest(
          composeRequest({
            method: 'POST',
            bucket: BUCKET,
            key: KEY,
            query: { append: '', position: String(position) },
            body: 'def',
            credentials: s.credentials,
          }),
        ),
      )
      .join('')
  const socket = connect(s.port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.write(pipelined(3, 6))
  while (s.requests[1]?.answered === undefined) await new Promise(setImmediate)
  const [first, second] = s.requests
  t.ok(second!.received - first!.bodyRead! >= 45, 'the second waits for the response to the first')
  t.equal(storedText(s), 'abcdefdef')

  s.faults.push({ kind: 'lost', how: 'hang' })
  socket.write(pipelined(9, 12))
  while (storedText(s) !== 'abcdefdefdef') await new Promise(setImmediate)
  await head(s)
  t.equal(s.requests.length, 4, 'behind a response that hangs the next request waits')
  socket.destroy()
  while (s.openConnections > 0) await new Promise(setImmediate)
  t.equal(storedText(s), 'abcdefdefdef', 'and is not served when the client gives up')
})
