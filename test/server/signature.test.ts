// The server's signature check against OSS's published vectors, and against wrong signatures. The raw client
// of these tests is held to the same vectors: its requests can then test what no vector covers.

import t from 'tap'
import type { OssRequest } from '../../lib/server/request.ts'
import { authenticate } from '../../lib/server/signature.ts'
import {
  append,
  basicIsoDate,
  encodeQuery,
  head,
  presign,
  type RawRequest,
  type RawRequestOptions,
  send,
  sign,
} from '../helpers/raw-client.ts'
import { BUCKET, KEY, startServer, storedText } from '../helpers/start-server.ts'

const PUBLISHED_KEY = { accessKeyId: 'ak', accessKeySecret: 'sk' }
const DERIVED_KEY = { accessKeyId: 'LTAIexampleAk', accessKeySecret: 'exampleSecretKey0123456789' }
const PUT_VECTOR: RawRequest = {
  method: 'PUT',
  bucket: 'bucket',
  key: '1234+-/123/1.txt',
  headers: { 'x-oss-head1': 'value', abc: 'value', zabc: 'value', xyz: 'value' },
  query: {
    param1: 'value1',
    '+param1': 'value3',
    '|param1': 'value4',
    '+param2': '',
    '|param2': '',
    param2: '',
  },
  credentials: PUBLISHED_KEY,
}
const ODD_KEY_VECTOR: RawRequest = {
  ...PUT_VECTOR,
  bucket: 'oss-bucket-test',
  key: 'test-sign-V4/-!@#$%^&*()/abcdefjhijklmnoqprstuvwxyz/123456789',
}
const EXAMPLE = {
  bucket: 'examplebucket',
  method: 'POST',
  credentials: DERIVED_KEY,
  time: 1704164645e3,
}

function withHeaders(request: RawRequest, headers: Record<string, string>): RawRequest {
  return { ...request, headers: { ...request.headers, ...headers } }
}

const text = withHeaders(PUT_VECTOR, { 'content-type': 'text/plain' })
const octetStream = { 'content-type': 'application/octet-stream' }

const vectors: [label: string, request: RawRequest, signature: string][] = [
  [
    'published 1',
    { ...text, time: 1702743657e3 },
    'e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe',
  ],
  [
    'published 2: security token',
    { ...text, credentials: { ...PUBLISHED_KEY, securityToken: 'token' }, time: 1702784856e3 },
    'b94a3f999cf85bcdc00d332fbd3734ba03e48382c36fa4d5af5df817395bd9ea',
  ],
  [
    'published 3: additional headers',
    { ...text, additional: ['ZAbc', 'abc'], time: 1702747512e3 },
    '4a4183c187c07c8947db7620deb0a6b38d9fbdd34187b6dbaccb316fa251212f',
  ],
  [
    'published 5: AppendObject',
    {
      method: 'POST',
      bucket: 'bucket',
      key: 'object',
      headers: { 'content-type': 'text/plain' },
      query: { append: '', position: '0' },
      credentials: PUBLISHED_KEY,
      time: 1702743657e3,
    },
    'f7a645f23a0434ea90d5e2bb2bca90d0fda9ef4bc54a9c5008b2134e7c9023f2',
  ],
  [
    'published 6: an odd key',
    { ...withHeaders(ODD_KEY_VECTOR, octetStream), time: Date.UTC(2022, 9, 16, 4, 7, 19) },
    '16e58322c5aafb55edd82813b02d6521caab8194882c786bf0e77b7987a63979',
  ],
  [
    'published 7: no query',
    {
      ...ODD_KEY_VECTOR,
      headers: { 'x-oss-head1': 'value', ...octetStream },
      query: {},
      time: Date.UTC(2022, 9, 16, 9, 14, 31),
    },
    '5028172a0a3806285979896982bee6e36e915cbf428ee7100a809e1f0ff43b64',
  ],
  [
    'derived 1: every kind of header',
    {
      ...EXAMPLE,
      key: "logs/2024/01/02/app name+1~(a)!'*.log",
      query: { append: '', position: '0' },
      headers: {
        'content-type': 'text/plain; charset=utf-8',
        'content-md5': 'XUFAKrxLKna5cZ2REBfFkg==',
        'x-oss-object-acl': 'private',
        'x-oss-storage-class': 'Standard',
        'x-oss-meta-app': 'demo',
      },
    },
    'a70e0e1efc44602636196388b91a77624dfc0423e6f9e84b61ce144993ef4615',
  ],
  [
    'derived 2: UTF-8 and a token',
    {
      ...EXAMPLE,
      key: '日志/应用 日志.log',
      query: { append: '', position: '5368709119' },
      headers: octetStream,
      credentials: { ...DERIVED_KEY, securityToken: 'STSTOKEN+/==' },
    },
    'a4471aaa721763c14876de3a78eb99afed61f12903f7262b1c6f3e938fd9d525',
  ],
  [
    'derived 3: host and content-length',
    {
      ...EXAMPLE,
      key: 'a/b.log',
      query: { append: '', position: '5' },
      headers: {
        ...octetStream,
        host: 'examplebucket.oss-cn-hangzhou.aliyuncs.com',
        'content-length': '5',
      },
      additional: ['host', 'content-length'],
    },
    'fe37a3b1f38f8f65070f8f8f67f038d4971415665e75c8c3f4e66c74c1837965',
  ],
  [
    'derived 4: HEAD',
    { ...EXAMPLE, method: 'HEAD', key: 'a/b.log' },
    'd2f56bad04da18f6c429cfab5449ad0979cc38873d0b0c18ee771587757b9bad',
  ],
  [
    'derived 5: seal',
    {
      ...EXAMPLE,
      key: 'a/b.log',
      query: { position: '10', seal: '' },
      headers: { 'content-type': 'application/xml', 'content-md5': '1B2M2Y8AsgTpgAmY7PhCfg==' },
    },
    'f261ad1568b3c275fc62bd547d5a58b9444e36b4443425641a6e2ba78020e9c1',
  ],
]

function ossRequestOf(
  request: RawRequest,
  headers: Record<string, string>,
  query = request.query ?? {},
): OssRequest {
  return {
    method: request.method,
    operation: 'append',
    bucket: request.bucket,
    key: request.key,
    query: new Map(Object.entries(query)),
    headers: new Map(Object.entries(headers)),
    contentLength: 0,
  }
}

t.test('client and server agree with the vectors in header form', async t => {
  for (const [label, request, signature] of vectors) {
    const headers = sign(request)
    t.equal(headers.authorization?.slice(-64), signature, `${label}: the raw client`)
    const expected = {
      identities: [request.credentials],
      region: 'cn-hangzhou',
      now: request.time!,
    }
    t.equal(
      authenticate(ossRequestOf(request, headers), expected),
      request.credentials,
      `${label}: the server`,
    )
    const altered = ossRequestOf({ ...request, key: `${request.key}x` }, headers)
    t.throws(() => authenticate(altered, expected), { code: 'SignatureDoesNotMatch' })
  }
})

const presigned: [label: string, request: RawRequest, expires: number, signature: string][] = [
  [
    'published',
    { ...withHeaders(PUT_VECTOR, octetStream), time: 1702781677e3 },
    599,
    'a39966c61718be0d5b14e668088b3fa07601033f6518ac7b523100014269c0fe',
  ],
  [
    'published, token',
    {
      ...withHeaders(PUT_VECTOR, octetStream),
      credentials: { ...PUBLISHED_KEY, securityToken: 'token' },
      time: 1702785388e3,
    },
    599,
    '3817ac9d206cd6dfc90f1c09c00be45005602e55898f26f5ddb06d7892e1f8b5',
  ],
  [
    'published, additional headers',
    { ...withHeaders(PUT_VECTOR, octetStream), additional: ['abc', 'zabc'], time: 1702783809e3 },
    599,
    '6bd984bfe531afb6db1f7550983a741b103a8c58e5e14f83ea474c2322dfa2b7',
  ],
  [
    'derived append',
    { ...EXAMPLE, key: 'a/b.log', query: { append: '', position: '0' } },
    600,
    'a84bdcfc8136f56d5b3ac3311840426d0f96fc537e88c898b824772dfd24c410',
  ],
  [
    'derived append, type and token',
    {
      ...EXAMPLE,
      key: 'a/b.log',
      query: { append: '', position: '0' },
      headers: { 'content-type': 'text/plain' },
      credentials: { ...DERIVED_KEY, securityToken: 'tok' },
    },
    600,
    '7826a40f21d122cb2b30ed57272099640dbd1e4488b00dd123f7a9b38dfc38ad',
  ],
]

t.test('client and server agree with the vectors in presigned form', async t => {
  for (const [label, request, expires, signature] of presigned) {
    const query = presign(request, expires)
    t.equal(query['x-oss-signature'], signature, `${label}: the raw client`)
    const ossRequest = ossRequestOf(request, { ...request.headers }, query)
    const expected = { identities: [request.credentials], region: 'cn-hangzhou' }
    const end = request.time! + expires * 1000
    t.equal(
      authenticate(ossRequest, { ...expected, now: end }),
      request.credentials,
      `${label}: the server`,
    )
    const late = { ...expected, now: end + 1 }
    t.throws(() => authenticate(ossRequest, late), { code: 'AccessDenied' }, `${label}: expired`)
  }
})

// Makes a correct signature wrong.
type Alteration = (headers: Record<string, string>) => Record<string, string>

function inHeader(name: string, from: string | RegExp, to: string): Alteration {
  return headers => ({ ...headers, [name]: headers[name]!.replace(from, to) })
}

const today = basicIsoDate(Date.now()).slice(0, 8)
const inAuth = (from: string | RegExp, to: string) => inHeader('authorization', from, to)

const alteredSignatures: [
  label: string,
  alter: Alteration,
  status: number,
  code: string,
  ec?: string,
][] = [
  ['another signature', inAuth(/.{4}$/, '0000'), 403, 'SignatureDoesNotMatch', '0002-00000040'],
  ['a short signature', inAuth(/.$/, ''), 400, 'InvalidArgument', '0002-00000061'],
  ['a signature in upper case', inAuth(/.{64}$/, 'A'.repeat(64)), 400, 'InvalidArgument'],
  ['no signature', inAuth(/,Signature=.*/, ''), 400, 'InvalidArgument'],
  ['two signatures', inAuth(/(,Signature=.*)/, '$1$1'), 400, 'InvalidArgument'],
  ['no credential', inAuth(/Credential=.*,S/, 'S'), 400, 'InvalidArgument'],
  ['an unknown field', inAuth(',', ',Foo=1,'), 400, 'InvalidArgument'],
  ['another algorithm', inAuth('OSS4-HMAC-SHA256', 'OSS4-HMAC-SHA512'), 400, 'InvalidArgument'],
  ['AWS', inAuth('OSS4-HMAC-SHA256', 'AWS4-HMAC-SHA256'), 400, 'InvalidArgument'],
  ['empty', inAuth(/.*/, ''), 400, 'InvalidArgument'],
  ['another region', inAuth('cn-hangzhou', 'cn-beijing'), 400, 'InvalidArgument', '0002-00000226'],
  ['a region with oss-', inAuth('cn-hangzhou', 'oss-cn-hangzhou'), 400, 'InvalidArgument'],
  ['another product', inAuth('/oss/', '/oss-cloudbox/'), 400, 'InvalidArgument'],
  [
    'another end',
    inAuth('aliyun_v4_request', 'aws4_request'),
    400,
    'InvalidArgument',
    '0002-00000213',
  ],
  ['a longer scope', inAuth('aliyun_v4_request', 'aliyun_v4_request/x'), 400, 'InvalidArgument'],
  ['another day', inAuth(today, '20240102'), 400, 'InvalidArgument', '0002-00000212'],
  [
    'another key',
    inAuth('test-access-key', 'unknown-key'),
    403,
    'InvalidAccessKeyId',
    '0002-00000902',
  ],
  ['no key', inAuth('test-access-key', ''), 403, 'InvalidAccessKeyId'],
  ['a key called __proto__', inAuth('test-access-key', '__proto__'), 403, 'InvalidAccessKeyId'],
  ['an additional header', inAuth(',S', ',AdditionalHeaders=host,S'), 403, 'SignatureDoesNotMatch'],
  [
    'an absent additional header',
    inAuth(',S', ',AdditionalHeaders=x,S'),
    400,
    'InvalidArgument',
    '0002-00000211',
  ],
  [
    'version 1',
    inAuth(/.*/, 'OSS ak:kSHKmLxlyEAKtZPkJhG9bZb5k7M='),
    403,
    'AccessDenied',
    '0002-00000080',
  ],
  [
    'anonymous',
    ({ authorization: _, ...headers }) => headers,
    403,
    'AccessDenied',
    '0003-00000001',
  ],
  [
    'a payload hash',
    inHeader('x-oss-content-sha256', /.*/, 'e3b0c44298fc1c14'),
    400,
    'InvalidArgument',
    '0002-00000214',
  ],
  [
    'no payload hash',
    ({ 'x-oss-content-sha256': _, ...headers }) => headers,
    400,
    'InvalidArgument',
  ],
  ['no date', ({ 'x-oss-date': _, ...headers }) => headers, 403, 'AccessDenied', '0002-00000503'],
  [
    'x-oss-date in the format of Date',
    inHeader('x-oss-date', /.*/, new Date().toUTCString()),
    403,
    'AccessDenied',
    '0002-00000502',
  ],
  [
    'Date in the format of x-oss-date',
    ({ 'x-oss-date': date = '', ...headers }) => ({ ...headers, date }),
    403,
    'AccessDenied',
    '0002-00000502',
  ],
  [
    'Date in a free format',
    ({ 'x-oss-date': _, ...headers }) => ({ ...headers, date: '28 Nov 2026 19:40:00 GMT' }),
    403,
    'AccessDenied',
    '0002-00000502',
  ],
  [
    'an RFC 1123 date',
    inHeader('x-oss-date', /.*/, 'Tue, 02 Jan 2024 03:04:05 GMT'),
    403,
    'AccessDenied',
  ],
  ['an extended date', inHeader('x-oss-date', /.*/, '2024-01-02T03:04:05Z'), 403, 'AccessDenied'],
  ['an impossible hour', inHeader('x-oss-date', /T\d\d/, 'T25'), 403, 'AccessDenied'],
  ['another time', inHeader('x-oss-date', /\d\dZ/, '61Z'), 403, 'AccessDenied'],
  ['a header more', headers => ({ ...headers, 'x-oss-meta-a': 'b' }), 403, 'SignatureDoesNotMatch'],
  ['a type more', headers => ({ ...headers, 'content-type': 'a/b' }), 403, 'SignatureDoesNotMatch'],
  [
    'an unknown token',
    headers => ({ ...headers, 'x-oss-security-token': 'x' }),
    403,
    'InvalidSecurityToken',
  ],
]

t.test('a wrong signature is refused', async t => {
  const s = await startServer(t)
  const query = { append: '', position: '0' }
  for (const [label, alter, status, code, ec] of alteredSignatures) {
    const request = { method: 'POST', bucket: BUCKET, key: KEY, query }
    const headers = sign({ ...request, credentials: s.credentials })
    const response = await append(s, 0, 'abc', { rawHeaders: alter(headers) })
    t.match(response, { status, code }, label)
    if (ec !== undefined) t.equal(response.headers['x-oss-ec'], ec, `${label}: EC`)
  }
  t.same([...s.objects], [], 'nothing was stored')
  t.equal((await append(s, 0, 'abc')).status, 200, 'the unaltered request is served')
})

t.test('the refusal of a region names the right one', async t => {
  const s = await startServer(t)
  const response = await append(s, 0, 'abc', { region: 'cn-hangzhou-test-1' })
  t.match(response, { status: 400, code: 'InvalidArgument' })
  t.match(response.xml, /<Message>Invalid signing region in Authorization header.<\/Message>/)
  t.match(response.xml, /<Region>cn-hangzhou<\/Region>/)
})

t.test('a signature is valid for the request that it signs alone', async t => {
  const s = await startServer(t)
  const table: [label: string, more: RawRequestOptions][] = [
    ['another key', { target: '/examplebucket/b.log?append&position=0' }],
    ['another bucket', { target: '/otherbucket/a.log?append&position=0' }],
    ['another position', { target: '/examplebucket/a.log?append&position=1' }],
    [
      'a parameter more',
      { target: '/examplebucket/a.log?append&position=0&x-oss-traffic-limit=245760' },
    ],
  ]
  for (const [label, more] of table) {
    t.match(await append(s, 0, 'abc', more), { status: 403, code: 'SignatureDoesNotMatch' }, label)
  }
  const { credentials } = s
  const rawHeaders = sign({ method: 'GET', bucket: BUCKET, key: KEY, credentials })
  t.equal((await send(s, { method: 'DELETE', rawHeaders })).code, 'SignatureDoesNotMatch')
  t.same([...s.objects], [])
})

t.test('the signature covers the decoded target', async t => {
  const s = await startServer(t)
  for (const target of [
    '/examplebucket/%61.log?append&position=0',
    '/examplebucket/a.log?append=&position=0',
    '/examplebucket/a%2elog?position=0&append',
    '/examplebucket/a.log?position=%30&append',
  ]) {
    t.equal((await append(s, 0, 'abc', { target })).status, 200, target)
    s.delete(BUCKET, KEY)
  }
})

t.test('the refusal of a signature shows what the server has signed', async t => {
  const s = await startServer(t)
  const credentials = { ...s.credentials, accessKeySecret: 'wrong' }
  const key = 'a&<b>.log'
  const response = await append(s, 0, 'x', { credentials, key })
  t.match(response.xml, /<OSSAccessKeyId>test-access-key<\/OSSAccessKeyId>/)
  t.match(response.xml, /<SignatureProvided>[0-9a-f]{64}<\/SignatureProvided>/)
  t.match(
    response.xml,
    /<StringToSign>OSS4-HMAC-SHA256\n\d{8}T\d{6}Z\n\d{8}\/cn-hangzhou\/oss\/aliyun_v4_request\n[0-9a-f]{64}<\/StringToSign>/,
  )
  t.match(
    response.xml,
    /<CanonicalRequest>POST\n\/examplebucket\/a%26%3Cb%3E.log\nappend&amp;position=0\n/,
  )
  t.match(response.xml, /<EC>0002-00000040<\/EC>/)
  t.match(
    response.xml,
    new RegExp(`<RequestId>${response.headers['x-oss-request-id']}</RequestId>`),
  )
  const seen = await head(s, { credentials })
  t.equal(seen.status, 403)
  t.equal(seen.body.length, 0)
  t.match(seen.xml, /<Code>SignatureDoesNotMatch<\/Code>/, 'HEAD has it in x-oss-err')
})

t.test('a clock may differ by 15 minutes', async t => {
  const s = await startServer(t)
  for (const sign of [-1, 1]) {
    const time = Date.now() + sign * 890_000
    t.equal((await head(s, { time })).status, 404)
    const response = await append(s, 0, 'x', { time: Date.now() + sign * 902_000 })
    t.match(response, { status: 403, code: 'RequestTimeTooSkewed' })
    t.match(response.xml, /<RequestTime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z<\/RequestTime>/)
    t.match(response.xml, /<ServerTime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z<\/ServerTime>/)
    t.match(response.xml, /<MaxAllowedSkewMilliseconds>900000<\/MaxAllowedSkewMilliseconds>/)
  }
  s.clockOffset = 7_200_000
  t.equal((await head(s)).code, 'RequestTimeTooSkewed')
  const right = await head(s, { time: Date.now() + 7_200_000 })
  t.equal(right.status, 404)
  t.ok(Date.parse(right.headers.date ?? '') > Date.now() + 7_000_000)
})

t.test('an access key needs its own security token', async t => {
  const one = { accessKeyId: 'sts-1', accessKeySecret: 'one', securityToken: 'token-1' }
  const two = { accessKeyId: 'sts-2', accessKeySecret: 'two', securityToken: 'token-2' }
  const s = await startServer(t, { credentials: [one, two] })
  const errorCodeFor = async (credentials: RawRequest['credentials']) =>
    (await append(s, 0, 'x', { credentials })).code
  t.equal(await errorCodeFor({ ...one, securityToken: undefined }), 'InvalidAccessKeyId')
  t.equal(await errorCodeFor({ ...one, securityToken: 'x' }), 'InvalidSecurityToken')
  t.equal(
    await errorCodeFor({ ...one, securityToken: 'token-2' }),
    'AccessKeyIdAndSecurityTokenNotMatch',
  )
  t.equal(await errorCodeFor({ ...one, accessKeySecret: 'two' }), 'SignatureDoesNotMatch')
  s.identities[0]!.isExpired = true
  t.equal(await errorCodeFor(one), 'SecurityTokenExpired')
  t.equal(await errorCodeFor(two), undefined)
})

t.test('a presigned URL is checked like a header', async t => {
  const s = await startServer(t)
  const request: RawRequest = {
    method: 'POST',
    bucket: 'examplebucket',
    key: 'a.log',
    query: { append: '', position: '0' },
    credentials: s.credentials,
  }
  const table: [label: string, change: Record<string, string>, status: number, code?: string][] = [
    ['right', {}, 200],
    ['another position', { position: '3' }, 403, 'SignatureDoesNotMatch'],
    ['longer', { 'x-oss-expires': '601' }, 403, 'SignatureDoesNotMatch'],
    ['for ever', { 'x-oss-expires': '604801' }, 400, 'InvalidArgument'],
    ['for no time', { 'x-oss-expires': '0' }, 400, 'InvalidArgument'],
    ['of another version', { 'x-oss-signature-version': 'OSS2' }, 400, 'InvalidArgument'],
    ['cut', { 'x-oss-signature': 'abc' }, 400, 'InvalidArgument'],
  ]
  for (const [label, change, status, code] of table) {
    const query = { ...presign(request, 600), ...change }
    const target = `/examplebucket/a.log?${encodeQuery(query)}`
    const response = await append(s, 0, 'abc', { target, rawHeaders: {} })
    t.match(response, { status, code }, label)
  }
  const target = `/examplebucket/a.log?${encodeQuery(presign(request, 600))}`
  t.equal(
    (await append(s, 0, 'x', { target })).code,
    'AccessDenied',
    'signed in the header and in the query',
  )
  const withHeader = { ...request, headers: { 'x-app': 'a' }, additional: ['x-app'] }
  const additional = `/examplebucket/a.log?${encodeQuery(presign(withHeader, 600))}`
  const missing = await append(s, 0, 'x', { target: additional, rawHeaders: {} })
  t.match(missing, { status: 400, code: 'InvalidArgument' }, 'an additional header is missing')
  const other = await append(s, 0, 'x', { target: additional, rawHeaders: { 'x-app': 'b' } })
  t.match(other, { status: 403, code: 'SignatureDoesNotMatch' }, 'it has another value')
  const there = await append(s, 0, 'x', { target: additional, rawHeaders: { 'x-app': 'a' } })
  t.match(there, { status: 409, code: 'PositionNotEqualToLength' }, 'it is there')
  const early = presign({ ...request, time: Date.now() + 1_000_000 }, 600)
  const ahead = `/examplebucket/a.log?${encodeQuery(early)}`
  t.equal((await append(s, 0, 'x', { target: ahead, rawHeaders: {} })).code, 'RequestTimeTooSkewed')
  const v1 = '/examplebucket/a.log?append&position=0&OSSAccessKeyId=ak&Expires=1&Signature=x'
  const refused = await append(s, 0, 'x', { target: v1, rawHeaders: {} })
  t.equal(refused.headers['x-oss-ec'], '0002-00000080')
  t.equal(storedText(s), 'abc')
})

t.test('the log contains no secret', async t => {
  const credentials = { accessKeyId: 'ak', accessKeySecret: 'SECRET', securityToken: 'TOKEN' }
  const s = await startServer(t, { credentials })
  await append(s, 0, 'abc')
  const request = { method: 'GET', bucket: BUCKET, key: KEY, credentials }
  const target = `/examplebucket/a.log?${encodeQuery(presign(request, 60))}`
  t.equal((await send(s, { target, rawHeaders: {} })).status, 200)
  t.equal(s.requests.length, 2)
  t.notMatch(JSON.stringify(s.requests), /SECRET|TOKEN|Signature=|[0-9a-f]{64}/)
})
