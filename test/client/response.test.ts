import { inspect } from 'node:util'
import t from 'tap'
import { createRedactor } from '../../lib/client/redact.ts'
import {
  header,
  networkError,
  notOssResponse,
  type ResponseHeaders,
  readCrc64,
  readErrorDocument,
  readLength,
  readWord,
  serviceError,
} from '../../lib/client/response.ts'
import { OssError, OssServiceError } from '../../lib/errors.ts'

const show = (text: string) => text

t.test('header: one value, and something in it', async t => {
  const headers: ResponseHeaders = {
    a: 'x',
    empty: '',
    twice: ['x', 'y'],
    'twice-same': ['x', 'x'],
  }
  t.equal(header(headers, 'a'), 'x')
  for (const name of ['b', 'empty', 'twice', 'twice-same', 'toString', '__proto__']) {
    t.equal(header(headers, name), undefined, name)
  }
})

const lengths: [string | undefined, number | undefined][] = [
  ['0', 0],
  ['5', 5],
  ['007', 7],
  ['5368709120', 5368709120],
  ['9007199254740991', Number.MAX_SAFE_INTEGER],
  ['9007199254740992', undefined],
  ['9007199254740993', undefined],
  ['99999999999999999999', undefined],
  [undefined, undefined],
  ['', undefined],
  [' ', undefined],
  [' 5', undefined],
  ['5 ', undefined],
  ['+5', undefined],
  ['-0', undefined],
  ['-5', undefined],
  ['5.0', undefined],
  ['5e3', undefined],
  ['0x5', undefined],
  ['5, 5', undefined],
  ['5\n', undefined],
  ['٥', undefined],
  ['NaN', undefined],
  ['Infinity', undefined],
  ['null', undefined],
]

t.test('lengths: digits alone, and exact', async t => {
  for (const [text, value] of lengths) t.equal(readLength(text), value, inspect(text))
})

t.test('words: letters alone, and few', async t => {
  for (const text of ['Appendable', 'Normal', 'a', 'a'.repeat(16)]) t.equal(readWord(text), text)
  for (const text of [undefined, '', 'a'.repeat(17), 'LTAI5t', 'a b', 'a/', 'é', 'a\n']) {
    t.equal(readWord(text), undefined, inspect(text))
  }
})

const crcs: [string | undefined, string | undefined][] = [
  ['0', '0'],
  ['00', '0'],
  ['3231342946509354535', '3231342946509354535'],
  ['03231342946509354535', '3231342946509354535'],
  ['18446744073709551615', '18446744073709551615'],
  ['18446744073709551616', undefined],
  ['99999999999999999999', undefined],
  ['000000000000000000000', undefined],
  [undefined, undefined],
  ['', undefined],
  ['-1', undefined],
  ['1.0', undefined],
  ['0x1', undefined],
  ['1e3', undefined],
  [' 1', undefined],
  ['1n', undefined],
  ['2cd8094a1a277627', undefined],
]

t.test('CRCs: unsigned decimals of 64 bits, in one form', async t => {
  for (const [text, value] of crcs) t.equal(readCrc64(text), value, inspect(text))
})

const oss = `<?xml version="1.0" encoding="UTF-8"?>
<Error>
  <Code>PositionNotEqualToLength</Code>
  <Message>Position is not equal to file length</Message>
  <RequestId>5C3D9175B6FC201293AD4890</RequestId>
  <HostId>examplebucket.oss-cn-hangzhou.aliyuncs.com</HostId>
  <EC>0026-00000016</EC>
  <RecommendDoc>https://api.aliyun.com/troubleshoot?q=0026-00000016</RecommendDoc>
</Error>
`

const skewed = `<Error>
  <Code>RequestTimeTooSkewed</Code>
  <Message>The difference between the request time and the current time is too large.</Message>
  <MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds>
  <RequestTime>2026-11-02T03:04:05.000Z</RequestTime>
  <ServerTime>2026-11-02T06:04:05.123Z</ServerTime>
</Error>`

const none = {
  requestId: undefined,
  code: undefined,
  message: undefined,
  hostId: undefined,
  ec: undefined,
  serverTime: undefined,
  endpoint: undefined,
}

const code = (text: string) => `<Error><Code>${text}</Code></Error>`
const message = (text: string) => `<Error><Message>${text}</Message></Error>`

// label, body, what is read out of it
const documents: [string, string, object][] = [
  [
    'of OSS',
    oss,
    {
      code: 'PositionNotEqualToLength',
      message: 'Position is not equal to file length',
      hostId: 'examplebucket.oss-cn-hangzhou.aliyuncs.com',
      ec: '0026-00000016',
    },
  ],
  [
    'of OSS, about a clock',
    skewed,
    {
      code: 'RequestTimeTooSkewed',
      message: 'The difference between the request time and the current time is too large.',
      serverTime: '2026-11-02T06:04:05.123Z',
    },
  ],
  [
    'of OSS, from the wrong region',
    '<Error><Code>AccessDenied</Code><Endpoint>oss-cn-beijing.aliyuncs.com</Endpoint></Error>',
    { code: 'AccessDenied', endpoint: 'oss-cn-beijing.aliyuncs.com' },
  ],
  ['empty', '', {}],
  ['HTML', '<html><head><title>502 Bad Gateway</title></head></html>', {}],
  ['JSON', '{"Code":"AccessDenied"}', {}],
  ['zeros', '\0'.repeat(1000), {}],
  ['in another case', '<error><code>X</code></error>', {}],
  ['cut in a name', '<Error><Cod', {}],
  ['cut in a value', '<Error><Code>AccessDen', {}],
  ['cut after a value', '<Error><Code>AccessDenied</', { code: 'AccessDenied' }],
  ['cut in a later one', '<Code>AccessDenied</Code><Message>You have', { code: 'AccessDenied' }],
  ['twice', '<Code>First</Code><Code>Second</Code>', { code: 'First' }],
  ['in blanks', '<Code>\n  AccessDenied\t</Code>', { code: 'AccessDenied' }],
  ['nested', '<Code><Code>Inner</Code></Code>', {}],
  ['CDATA', '<Code><![CDATA[AccessDenied]]></Code>', {}],
  ['with attributes', '<Code lang="en">AccessDenied</Code>', {}],
  ['a code that is none', code('You may not'), {}],
  ['a code of ours', code('OSS_ERR_INTEGRITY'), {}],
  ['a code of 128', code('c'.repeat(128)), { code: 'c'.repeat(128) }],
  ['a code of 129', code('c'.repeat(129)), {}],
  ['a code with markup', code('A&lt;script&gt;'), {}],
  ['an entity that expands', '<!DOCTYPE a [<!ENTITY b "AccessDenied">]><Code>&b;</Code>', {}],
  [
    'a file by entity',
    '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><Code>&b;</Code>',
    {},
  ],
  [
    'escapes, once',
    message('&lt;a&gt; &amp; &quot;b&quot; &apos;c&apos; &amp;lt;'),
    { message: `<a> & "b" 'c' &lt;` },
  ],
  ['escapes unknown', message('&#65;&copy;&'), { message: '&#65;&copy;&' }],
  ['line breaks and colours', message('a\r\nb\x1b[31mc\0d'), { message: 'a b [31mc d' }],
  ['text turned round', message('a\u202eb\u2066c\u200bd'), { message: 'a b c d' }],
  ['nothing but blanks', message(' \n '), {}],
  ['a message too long', message('m'.repeat(2000)), { message: 'm'.repeat(1024) }],
  ['Chinese', message('签名不匹配'), { message: '签名不匹配' }],
  ['a host that is none', '<HostId>a b/c?d</HostId>', {}],
  ['an EC that is none', '<EC>a b</EC>', {}],
  ['a time that is none', '<ServerTime>yesterday, at noon</ServerTime>', {}],
  ['an endpoint that is none', '<Endpoint>http://evil/?a</Endpoint>', {}],
  ['deep', '<a>'.repeat(20_000) + code('AccessDenied'), { code: 'AccessDenied' }],
]

t.test('error documents', async t => {
  for (const [label, body, expected] of documents) {
    t.strictSame(readErrorDocument({}, body), { ...none, ...expected }, label)
  }
})

t.test('error documents in a header, as HEAD has them', async t => {
  const read = (text: string | string[], body = '') =>
    readErrorDocument({ 'x-oss-err': text }, body)
  const encode = (text: string) => Buffer.from(text).toString('base64')
  for (const [label, body, expected] of documents) {
    if (body !== '') t.strictSame(read(encode(body)), { ...none, ...expected }, label)
  }
  t.strictSame(read('%%%'), none, 'no base64')
  t.strictSame(read(encode(code('NoSuchBucket')).slice(0, -24)), none, 'cut')
  t.strictSame(read([encode(code('A')), encode(code('B'))]), none, 'twice')
  t.equal(read(encode(code('A')), code('B')).code, 'B', 'a body goes first')
})

t.test('the finer code is in a header as well', async t => {
  const read = (ec: string | string[]) => readErrorDocument({ 'x-oss-ec': ec }, oss).ec
  t.equal(read('0003-00000001'), '0003-00000001', 'it goes first')
  t.equal(read('a b'), '0026-00000016')
  t.equal(read(['0003-00000001', '0003-00000001']), '0026-00000016')
  t.equal(readErrorDocument({ 'x-oss-ec': 'e'.repeat(65) }, '').ec, undefined)
})

t.test('refusals', async t => {
  const headers = { 'x-oss-next-append-position': '7' }
  const document = readErrorDocument({ ...headers, 'x-oss-request-id': 'REQUEST' }, oss)
  const error = serviceError(409, headers, document, false)
  t.ok(error instanceof OssServiceError)
  t.match(error, {
    code: 'PositionNotEqualToLength',
    message: /^Position is not equal to file length$/,
    status: 409,
    requestId: 'REQUEST',
    hostId: 'examplebucket.oss-cn-hangzhou.aliyuncs.com',
    ec: '0026-00000016',
    nextPosition: 7,
    isCurable: false,
  })

  const bare = serviceError(403, {}, none, true)
  t.match(bare, {
    code: 'BadErrorResponse',
    message: 'HTTP 403',
    status: 403,
    requestId: '',
    isCurable: true,
  })
  t.notOk('hostId' in bare || 'ec' in bare || 'nextPosition' in bare)

  // The body was lost on the way, and the header says it all.
  const length = { 'x-oss-next-append-position': '7' }
  const known = { code: 'PositionNotEqualToLength', status: 409, nextPosition: 7 }
  t.match(serviceError(409, length, none, false), known)
  t.match(serviceError(400, length, none, false), { code: 'BadErrorResponse' })
  t.match(serviceError(409, {}, none, false), { code: 'BadErrorResponse' })

  const elsewhere = { ...none, message: 'No.', endpoint: 'oss-cn-beijing.aliyuncs.com' }
  t.match(
    serviceError(403, {}, elsewhere, false).message,
    /^No\. \(.* oss-cn-beijing\.aliyuncs\.com\)$/,
  )
})

t.test('an answer of somebody else', async t => {
  const error = notOssResponse(502)
  t.equal(error.constructor, OssError)
  t.match(error, { code: 'OSS_ERR_NETWORK', message: /502/ })
})

const SECRET = 'hunter2SECRET'

t.test('secrets are hidden wherever an answer shows them', async t => {
  const conceal = createRedactor([SECRET, undefined, 'to&ken"<+/==>'])
  t.equal(conceal(`a ${SECRET}${SECRET} b`), 'a ****** b')
  const names = ['Code', 'HostId', 'EC', 'ServerTime', 'Endpoint']
  const body = names
    .map(name => `<${name}>a.${SECRET}</${name}>`.replace('a.', name === 'EC' ? '' : 'a.'))
    .join('')
  const escaped = `<Message>${SECRET} to&amp;ken&quot;&lt;+/==&gt;</Message>`
  const document = readErrorDocument(
    { 'x-oss-request-id': `id ${SECRET}` },
    body + escaped,
    conceal,
  )
  t.strictSame(document, {
    requestId: 'id ***',
    code: 'a.***',
    message: '*** ***',
    hostId: 'a.***',
    ec: '***',
    serverTime: 'a.***',
    endpoint: 'a.***',
  })
  t.equal(readErrorDocument({ 'x-oss-ec': SECRET }, '', conceal).ec, '***')
  t.notMatch(
    readErrorDocument({}, message(`${'m'.repeat(1020)}${SECRET}`), conceal).message,
    'hunt',
    'nor the first half of one, where a message is cut',
  )
})

t.test('what is too short is no secret, and hides no codes', async t => {
  const conceal = createRedactor(['', 'A', 'sk', '1234567'])
  t.equal(conceal('AccessDenied sk 1234567'), 'AccessDenied sk 1234567')
  t.equal(createRedactor(['12345678'])('12345678'), '***')
})

t.test('a failure of the network keeps its words, and nothing of what was sent', async t => {
  const cause = Object.assign(new TypeError(`cannot parse ${SECRET}`), {
    code: 'HPE_INVALID_CONSTANT',
    data: `authorization: ${SECRET}`,
    request: { headers: { authorization: SECRET } },
    cause: new Error(SECRET),
  })
  const error = networkError(cause, createRedactor([SECRET]))
  t.equal(error.constructor, OssError)
  t.match(error, { code: 'OSS_ERR_NETWORK', message: /HPE_INVALID_CONSTANT$/ })
  t.match(error.cause, { code: 'HPE_INVALID_CONSTANT', message: 'cannot parse ***' })
  t.match((error.cause as Error).stack, /^TypeError: cannot parse \*\*\*\n.*reply\.test\.ts/)
  t.notMatch(inspect(error, { depth: 9, showHidden: true }), SECRET)
  t.match(cause.data, SECRET, 'the error itself is not ours to change')
})

t.test('a failure of the network may be anything', async t => {
  for (const cause of [undefined, null, 'text', 5, {}, new Error(''), { code: 'X' }]) {
    const error = networkError(cause, show)
    t.equal(error.code, 'OSS_ERR_NETWORK', inspect(cause))
    t.ok(error.cause instanceof Error)
  }
  t.match(networkError(new Error('other side closed'), show).message, /other side closed$/)
  t.notOk('code' in (networkError(new Error('x'), show).cause as Error))
  t.notOk('code' in (networkError(Object.assign(new Error('x'), { code: 5 }), show).cause as Error))
})
