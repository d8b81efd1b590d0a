// Requests with a wrong framing, target or name. Each is signed correctly if it can be, so that it is refused
// for its own mistake, and changes no object. A second append follows each one, and must never be served.

import t from 'tap'
import type { OssServer } from '../../lib/server/index.ts'
import { append, encodePath, head, send } from '../helpers/raw-client.ts'
import { composeRequest, exchangeBytes, renderRequest } from '../helpers/raw-socket.ts'
import { BUCKET, KEY, startServer, storedText } from '../helpers/start-server.ts'

type RequestParts = ReturnType<typeof composeRequest>

function validAppend(s: OssServer, body = 'hello', key = KEY): RequestParts {
  const { credentials } = s
  const query = { append: '', position: '0' }
  return composeRequest({ method: 'POST', bucket: BUCKET, key, query, body, credentials })
}

function bodilessRequest(s: OssServer, method: string): RequestParts {
  return composeRequest({
    method,
    bucket: BUCKET,
    key: KEY,
    credentials: s.credentials,
  })
}

function withHeader(parts: RequestParts, name: string, ...lines: string[]): RequestParts {
  const others = parts.headers.filter(line => !line.startsWith(`${name}:`))
  return { ...parts, headers: [...others, ...lines] }
}

const LENGTH = 'content-length'
const malformedRequests: [label: string, malform: (s: OssServer) => RequestParts][] = [
  [
    'two lengths',
    s => withHeader(validAppend(s), LENGTH, 'content-length: 5', 'content-length: 6'),
  ],
  [
    'the same length twice',
    s => withHeader(validAppend(s), LENGTH, 'content-length: 5', 'content-length: 5'),
  ],
  ['a list of lengths', s => withHeader(validAppend(s), LENGTH, 'content-length: 5, 5')],
  ['a length with a sign', s => withHeader(validAppend(s), LENGTH, 'content-length: +5')],
  ['a negative length', s => withHeader(validAppend(s), LENGTH, 'content-length: -1')],
  ['a hexadecimal length', s => withHeader(validAppend(s), LENGTH, 'content-length: 0x5')],
  ['a length in words', s => withHeader(validAppend(s), LENGTH, 'content-length: five')],
  ['an empty length', s => withHeader(validAppend(s), LENGTH, 'content-length:')],
  [
    'a length past 2^64',
    s => withHeader(validAppend(s), LENGTH, 'content-length: 18446744073709551621'),
  ],
  ['a space before the colon', s => withHeader(validAppend(s), LENGTH, 'content-length : 5')],
  [
    'length and chunked',
    s =>
      withHeader(
        validAppend(s, '0\r\n\r\n'),
        LENGTH,
        'content-length: 5',
        'transfer-encoding: chunked',
      ),
  ],
  [
    'chunked and length',
    s =>
      withHeader(
        validAppend(s, '0\r\n\r\n'),
        LENGTH,
        'transfer-encoding: chunked',
        'content-length: 5',
      ),
  ],
  [
    'chunked twice',
    s =>
      withHeader(
        validAppend(s, '0\r\n\r\n'),
        LENGTH,
        'transfer-encoding: chunked',
        'transfer-encoding: chunked',
      ),
  ],
  [
    'chunked twice in a list',
    s => withHeader(validAppend(s, '0\r\n\r\n'), LENGTH, 'transfer-encoding: chunked, chunked'),
  ],
  [
    'gzip below chunked',
    s => withHeader(validAppend(s, '0\r\n\r\n'), LENGTH, 'transfer-encoding: gzip, chunked'),
  ],
  ['gzip alone', s => withHeader(validAppend(s), LENGTH, 'transfer-encoding: gzip')],
  ['identity', s => withHeader(validAppend(s), LENGTH, 'transfer-encoding: identity')],
  [
    'a coding that looks like chunked',
    s => withHeader(validAppend(s), LENGTH, 'transfer-encoding: xchunked'),
  ],
  [
    'a chunk that is no number',
    s =>
      withHeader(validAppend(s, 'zz\r\nhello\r\n0\r\n\r\n'), LENGTH, 'transfer-encoding: chunked'),
  ],
  [
    'a chunk shorter than it says',
    s =>
      withHeader(validAppend(s, '4\r\nhello\r\n0\r\n\r\n'), LENGTH, 'transfer-encoding: chunked'),
  ],
  [
    'a negative chunk',
    s =>
      withHeader(validAppend(s, '-1\r\nhello\r\n0\r\n\r\n'), LENGTH, 'transfer-encoding: chunked'),
  ],
  [
    'a chunk past 2^64',
    s =>
      withHeader(
        validAppend(s, '10000000000000005\r\nhello\r\n0\r\n\r\n'),
        LENGTH,
        'transfer-encoding: chunked',
      ),
  ],
  ['two hosts', s => withHeader(validAppend(s), 'host', 'host: 127.0.0.1', 'host: 127.0.0.1')],
  [
    'two hosts that differ',
    s =>
      withHeader(
        validAppend(s),
        'host',
        'host: 127.0.0.1',
        'host: other.oss-cn-hangzhou.aliyuncs.com',
      ),
  ],
  ['no host', s => withHeader(validAppend(s), 'host')],
  ['an empty host', s => withHeader(validAppend(s), 'host', 'host:')],
  ['a host with a path', s => withHeader(validAppend(s), 'host', 'host: 127.0.0.1/x')],
  ['a host with a user', s => withHeader(validAppend(s), 'host', 'host: a@127.0.0.1')],
  ['a host with a wrong port', s => withHeader(validAppend(s), 'host', 'host: 127.0.0.1:http')],
  ['a null in a header', s => withHeader(validAppend(s), 'x', 'x-oss-meta-a: a\0b')],
  ['a bare CR in a header', s => withHeader(validAppend(s), 'x', 'x-oss-meta-a: a\rb')],
  ['a folded header', s => withHeader(validAppend(s), 'x', 'x-oss-meta-a: a', ' b')],
  ['a header without a colon', s => withHeader(validAppend(s), 'x', 'x-oss-meta-a')],
  ['a header without a name', s => withHeader(validAppend(s), 'x', ': a')],
  ['a header name with a space', s => withHeader(validAppend(s), 'x', 'x oss: a')],
  [
    'two signatures',
    s => ({ ...validAppend(s), headers: [...validAppend(s).headers, 'authorization: x'] }),
  ],
  [
    'two dates',
    s => ({
      ...validAppend(s),
      headers: [...validAppend(s).headers, 'x-oss-date: 20240102T030405Z'],
    }),
  ],
  [
    'two types',
    s => withHeader(validAppend(s), 'content-type', 'content-type: a/b', 'content-type: c/d'),
  ],
  [
    'two metadata headers of one name',
    s => withHeader(validAppend(s), 'x', 'x-oss-meta-a: 1', 'x-oss-meta-a: 2'),
  ],
  [
    'headers of 33 KB',
    s => withHeader(validAppend(s), 'x', `x-oss-meta-a: ${'a'.repeat(33 * 1024)}`),
  ],
  ['upgrade', s => withHeader(validAppend(s), 'x', 'connection: upgrade', 'upgrade: h2c')],
  [
    'a body on GET',
    s => ({ ...withHeader(bodilessRequest(s, 'GET'), 'x', 'content-length: 5'), body: 'hello' }),
  ],
  [
    'a chunked body on HEAD',
    s => ({
      ...withHeader(bodilessRequest(s, 'HEAD'), 'x', 'transfer-encoding: chunked'),
      body: '0\r\n\r\n',
    }),
  ],
  [
    'a body on DELETE',
    s => ({ ...withHeader(bodilessRequest(s, 'DELETE'), 'x', 'content-length: 5'), body: 'hello' }),
  ],
  ['HTTP/1.0', s => withLine(validAppend(s), text => text.replace('1.1', '1.0'))],
  ['HTTP/0.9', s => withLine(validAppend(s), text => text.replace(' HTTP/1.1', ''))],
  ['HTTP/1.2', s => withLine(validAppend(s), text => text.replace('1.1', '1.2'))],
  ['HTTP/2', s => withLine(validAppend(s), () => 'PRI * HTTP/2.0')],
  ['another protocol', s => withLine(validAppend(s), text => text.replace('HTTP', 'ICAP'))],
  ['TLS', () => ({ line: '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03', headers: [], body: '' })],
  [
    'an absolute target',
    s => withLine(validAppend(s), text => text.replace(' /', ' http://127.0.0.1/')),
  ],
  [
    'an absolute target elsewhere',
    s => withLine(validAppend(s), text => text.replace(' /', ' http://example.com/')),
  ],
  ['an asterisk', s => withLine(validAppend(s), text => text.replace(/ \/.*\?/, ' *?'))],
  ['no slash', s => withLine(validAppend(s), text => text.replace(' /', ' '))],
  ['CONNECT', s => withLine(validAppend(s), () => 'CONNECT 127.0.0.1:80 HTTP/1.1')],
  ['a space in the target', s => withLine(validAppend(s), text => text.replace('a.log', 'a log'))],
  ['a tab in the target', s => withLine(validAppend(s), text => text.replace('a.log', 'a\tlog'))],
  ['a null in the target', s => withLine(validAppend(s), text => text.replace('a.log', 'a\0log'))],
  [
    'raw UTF-8 in the target',
    s => withLine(validAppend(s), text => text.replace('a.log', '\xe6\x97\xa5')),
  ],
  ['a fragment', s => withLine(validAppend(s), text => text.replace('?', '#x?'))],
  ['half a percent', s => withLine(validAppend(s), text => text.replace('a.log', 'a%2'))],
  ['a percent of nothing', s => withLine(validAppend(s), text => text.replace('a.log', 'a%zz'))],
  ['no UTF-8', s => withLine(validAppend(s), text => text.replace('a.log', '%ff'))],
  ['overlong UTF-8', s => withLine(validAppend(s), text => text.replace('a.log', '%c0%ae'))],
  ['a surrogate', s => withLine(validAppend(s), text => text.replace('a.log', '%ed%a0%80'))],
  [
    'no UTF-8 in the query',
    s => withLine(validAppend(s), text => text.replace('position=0', 'position=%ff')),
  ],
  ['append twice', s => withLine(validAppend(s), text => text.replace('append', 'append&append'))],
  [
    'position twice',
    s => withLine(validAppend(s), text => text.replace('position=0', 'position=0&position=1')),
  ],
  [
    'a name spelt twice',
    s => withLine(validAppend(s), text => text.replace('position=0', 'position=0&%70osition=0')),
  ],
  [
    'an empty parameter',
    s => withLine(validAppend(s), text => text.replace('append&', 'append&&')),
  ],
  [
    'a parameter without a name',
    s => withLine(validAppend(s), text => text.replace('append', 'append&=x')),
  ],
  [
    'a plus in the query',
    s => withLine(validAppend(s), text => text.replace('position=0', 'position=+0')),
  ],
]

function withLine(parts: RequestParts, change: (line: string) => string): RequestParts {
  return { ...parts, line: change(parts.line) }
}

t.test('a malformed request is refused, and the bytes behind it are not served', async t => {
  const s = await startServer(t)
  for (const [label, malform] of malformedRequests) {
    const smuggled = renderRequest(validAppend(s, 'smuggled', 'smuggled.log'))
    const result = await exchangeBytes(s.port, renderRequest(malform(s)) + smuggled)
    t.ok(result.status === undefined || result.status === 400, `${label}: ${result.status}`)
    t.ok([undefined, 'InvalidArgument'].includes(result.code), `${label}: ${result.code}`)
    t.ok(result.closed, `${label}: closed`)
    t.ok(result.count <= 1, `${label}: one answer`)
    if (result.status !== undefined) {
      t.match(result.text, /^x-oss-request-id: [0-9A-F]{24}\r$/m, `${label}: request id`)
    }
  }
  t.same([...s.objects], [], 'nothing was stored')
  const served = s.requests.filter(each => each.outcome !== undefined)
  t.same(served, [], 'nothing was served')
  const whole = await exchangeBytes(s.port, renderRequest(validAppend(s)))
  t.equal(whole.status, 200, 'the request is served without the mistake')
})

t.test('a body that ends early is not stored', async t => {
  const s = await startServer(t)
  const whole = renderRequest(validAppend(s))
  const chunked = renderRequest({
    ...withHeader(validAppend(s, ''), LENGTH, 'transfer-encoding: chunked'),
    body: '5\r\nhello\r\n',
  })
  for (const bytes of [whole.slice(0, -1), whole.slice(0, -5), chunked]) {
    const result = await exchangeBytes(s.port, bytes, true)
    t.ok(result.status === undefined || result.status === 400)
    t.equal(s.read(BUCKET, KEY), undefined)
  }
  const result = await exchangeBytes(s.port, `${chunked}0\r\n\r\n`)
  t.equal(result.status, 200)
  t.equal(storedText(s), 'hello', 'the whole body is stored')
})

t.test('bytes past Content-Length are not part of the body', async t => {
  const s = await startServer(t)
  const result = await exchangeBytes(s.port, `${renderRequest(validAppend(s))}world\r\n\r\n`)
  t.equal(result.status, 200)
  t.equal(storedText(s), 'hello')
})

t.test('pipelined requests are served one by one', async t => {
  const s = await startServer(t)
  const second = renderRequest(validAppend(s, 'two', 'b.log'))
  await exchangeBytes(s.port, renderRequest(validAppend(s)) + second)
  while (s.requests.length < 2 || s.requests[1]?.outcome === undefined) {
    await new Promise(setImmediate)
  }
  t.equal(s.read(BUCKET, 'b.log')?.toString(), 'two')
})

t.test('bucket and key follow the rules of OSS', async t => {
  const s = await startServer(t)
  const keys = ['/a', '\\a', '/', '//', 'k'.repeat(1024), '日'.repeat(342)]
  for (const key of keys) {
    t.match(
      await append(s, 0, 'x', { key }),
      { status: 400, code: 'InvalidObjectName' },
      key.slice(0, 9),
    )
  }
  const buckets = [
    'ab',
    'a'.repeat(64),
    'Upper',
    'under_score',
    '-a-',
    'a-b-',
    'a.b',
    '..',
    '日本語',
  ]
  for (const bucket of buckets) {
    const target = `/${encodePath(bucket)}/a.log?append&position=0`
    t.match(
      await append(s, 0, 'x', { bucket, target }),
      { status: 400, code: 'InvalidBucketName' },
      bucket,
    )
  }
  const noSlash = '/examplebucket%2Fa.log?append&position=0'
  t.match(await append(s, 0, 'x', { target: noSlash }), { status: 400, code: 'InvalidBucketName' })
  for (const target of ['/examplebucket/?append', '/examplebucket?append', '/?append']) {
    const response = await append(s, 0, 'x', { target })
    t.match(response, { status: 400, code: 'NotImplemented' }, target)
  }
  t.same([...s.objects], [])
})

t.test('other methods and sub-resources are refused', async t => {
  const s = await startServer(t)
  s.append(BUCKET, KEY, 'abc')
  for (const method of ['PATCH', 'OPTIONS', 'TRACE', 'PROPFIND']) {
    t.match(await send(s, { method }), { status: 405, code: 'MethodNotAllowed' }, method)
  }
  const notServed: [method: string, query: Record<string, string>][] = [
    ['POST', {}],
    ['POST', { uploads: '' }],
    ['POST', { append: '', position: '3', acl: '' }],
    ['POST', { append: '', position: '3', seal: '' }],
    ['PUT', { tagging: '' }],
    ['PUT', { partNumber: '1', uploadId: 'x' }],
    ['DELETE', { tagging: '' }],
    ['DELETE', { versionId: 'x' }],
    ['GET', { acl: '' }],
    ['GET', { 'x-oss-process': 'image/resize' }],
    ['HEAD', { versionId: 'x' }],
    ['HEAD', { append: '' }],
  ]
  for (const [method, query] of notServed) {
    const response = await send(s, { method, query })
    t.match(response, { status: 400, code: 'NotImplemented' }, `${method} ${JSON.stringify(query)}`)
  }
  const valued = await send(s, { method: 'POST', query: { append: 'x', position: '3' } })
  t.match(valued, { status: 400, code: 'InvalidArgument' })
  t.equal(storedText(s), 'abc')
  t.equal((await head(s)).status, 200)
})

t.test('a seal may be chunked, and has no body', async t => {
  const s = await startServer(t)
  s.append(BUCKET, KEY, 'abc')
  const seal = { method: 'POST', query: { seal: '', position: '3' }, chunked: true }
  t.match(await send(s, { ...seal, body: 'x' }), { status: 400, code: 'InvalidArgument' })
  t.equal(s.stat(BUCKET, KEY)?.sealedTime, undefined)
  t.equal((await send(s, seal)).status, 200)
})

t.test('a body needs Content-Length or chunked encoding', async t => {
  const s = await startServer(t)
  const result = await exchangeBytes(
    s.port,
    renderRequest({ ...withHeader(validAppend(s), LENGTH), body: '' }),
  )
  t.equal(result.status, 411)
  t.equal(result.code, 'MissingContentLength')
})

t.test('an object cannot exceed maxObjectBytes', async t => {
  const s = await startServer(t, { maxObjectBytes: 10 })
  t.equal((await append(s, 0, '123456')).status, 200)
  t.match(await append(s, 6, '78901'), { status: 400, code: 'EntityTooLarge' })
  t.equal((await append(s, 6, '7890')).status, 200, 'exactly maxObjectBytes')
  const declared = withHeader(validAppend(s, ''), LENGTH, 'content-length: 11')
  t.match(await exchangeBytes(s.port, renderRequest(declared)), {
    status: 400,
    code: 'EntityTooLarge',
    closed: true,
  })
  const chunked = withHeader(validAppend(s, ''), LENGTH, 'transfer-encoding: chunked')
  chunked.body = `b\r\n12345678901\r\n`
  t.match(await exchangeBytes(s.port, renderRequest(chunked)), {
    status: 400,
    code: 'EntityTooLarge',
    closed: true,
  })
  t.match(await send(s, { method: 'PUT', body: '12345678901' }), { code: 'EntityTooLarge' })
  t.equal(storedText(s), '1234567890')
})
