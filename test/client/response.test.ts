import { inspect } from 'node:util'
import t from 'tap'
import { createRedactor } from '../../lib/client/redact.ts'
import {
  header,
  networkError,
  notOssResponse,
  type ReceivedResponse,
  type ResponseHeaders,
  readCrc64,
  readErrorDocument,
  readLength,
  readRetryAfter,
  readWord,
  serviceError,
} from '../../lib/client/response.ts'
import { OssError, OssServiceError } from '../../lib/errors.ts'

const keepText = (text: string) => text
const PEER = 'oss.local:443'

t.test('a header counts if it occurs once and is not empty', async t => {
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

t.test('a length has only digits and is exact as a Number', async t => {
  for (const [text, value] of lengths) t.equal(readLength(text), value, inspect(text))
})

t.test('a word has 1 to 16 letters', async t => {
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

t.test('a CRC is an unsigned decimal of 64 bits, without leading zeros', async t => {
  for (const [text, value] of crcs) t.equal(readCrc64(text), value, inspect(text))
})

const ossXml = `<?xml version="1.0" encoding="UTF-8"?>
<Error>
  <Code>PositionNotEqualToLength</Code>
  <Message>Position is not equal to file length</Message>
  <RequestId>5C3D9175B6FC201293AD4890</RequestId>
  <HostId>examplebucket.oss-cn-hangzhou.aliyuncs.com</HostId>
  <EC>0026-00000016</EC>
  <RecommendDoc>https://api.aliyun.com/troubleshoot?q=0026-00000016</RecommendDoc>
</Error>
`

const skewedXml = `<Error>
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

// label, body, the members that are found in it
const documents: [string, string, object][] = [
  [
    'of OSS',
    ossXml,
    {
      code: 'PositionNotEqualToLength',
      message: 'Position is not equal to file length',
      hostId: 'examplebucket.oss-cn-hangzhou.aliyuncs.com',
      ec: '0026-00000016',
    },
  ],
  [
    'of OSS, about a clock',
    skewedXml,
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
  ['a code of several words', code('You may not'), {}],
  ['a code reserved for this package', code('OSS_ERR_INTEGRITY'), {}],
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
  ['marks that reverse text', message('a\u202eb\u2066c\u200bd'), { message: 'a b c d' }],
  ['nothing but blanks', message(' \n '), {}],
  ['a message too long', message('m'.repeat(2000)), { message: 'm'.repeat(1024) }],
  ['Chinese', message('签名不匹配'), { message: '签名不匹配' }],
  ['an invalid host', '<HostId>a b/c?d</HostId>', {}],
  ['an invalid EC', '<EC>a b</EC>', {}],
  ['an invalid time', '<ServerTime>yesterday, at noon</ServerTime>', {}],
  ['an invalid endpoint', '<Endpoint>http://evil/?a</Endpoint>', {}],
  ['deeply nested', '<a>'.repeat(20_000) + code('AccessDenied'), { code: 'AccessDenied' }],
]

const asItIs = (text: string) => text

t.test('known elements are read from an error document', async t => {
  for (const [label, body, expected] of documents) {
    t.strictSame(readErrorDocument({}, body, asItIs), { ...none, ...expected }, label)
  }
})

t.test('the error document of a HEAD is read from its header', async t => {
  const read = (text: string | string[], body = '') =>
    readErrorDocument({ 'x-oss-err': text }, body, asItIs)
  const encode = (text: string) => Buffer.from(text).toString('base64')
  for (const [label, body, expected] of documents) {
    if (body !== '') t.strictSame(read(encode(body)), { ...none, ...expected }, label)
  }
  t.strictSame(read('%%%'), none, 'no base64')
  t.strictSame(read(encode(code('NoSuchBucket')).slice(0, -24)), none, 'cut')
  t.strictSame(read([encode(code('A')), encode(code('B'))]), none, 'twice')
  t.equal(read(encode(code('A')), code('B')).code, 'B', 'the body has priority')
})

t.test('the EC in the header has priority over the EC in the body', async t => {
  const read = (ec: string | string[]) => readErrorDocument({ 'x-oss-ec': ec }, ossXml, asItIs).ec
  t.equal(read('0003-00000001'), '0003-00000001')
  t.equal(read('a b'), '0026-00000016')
  t.equal(read(['0003-00000001', '0003-00000001']), '0026-00000016')
  t.equal(readErrorDocument({ 'x-oss-ec': 'e'.repeat(65) }, '', asItIs).ec, undefined)
})

t.test('a refusal becomes an OssServiceError', async t => {
  const headers = { 'x-oss-next-append-position': '7' }
  const document = readErrorDocument({ ...headers, 'x-oss-request-id': 'REQUEST' }, ossXml, asItIs)
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
    isRefreshable: false,
  })

  const minimal = serviceError(403, {}, none, true)
  t.match(minimal, {
    code: 'BadErrorResponse',
    message: 'HTTP 403',
    status: 403,
    requestId: '',
    isRefreshable: true,
  })
  t.notOk('hostId' in minimal || 'ec' in minimal || 'nextPosition' in minimal)

  // The body was lost; the header is enough.
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

const SECRET = 'hunter2SECRET'

/** A response of a proxy. */
function foreign(headers: ResponseHeaders): ReceivedResponse {
  return {
    status: 502,
    headers,
    peer: 'oss.local:443',
    url: 'https://oss.local/',
    redact: keepText,
  }
}

t.test('a response that is not from OSS is a network error with status, host and port', async t => {
  const error = notOssResponse(foreign({ 'retry-after': '2' }))
  t.equal(error.constructor, OssError)
  t.match(error, {
    code: 'OSS_ERR_NETWORK',
    message: 'HTTP 502 from oss.local:443 is not a response of OSS',
    status: 502,
    retryAfter: 2000,
  })
})

t.test('the error of a response that is not from OSS shows its sender without secrets', async t => {
  const URL = 'http://b.oss.local/a%20b?append&position=0'
  // headers, URL of the request, end of the message
  const table: [Record<string, string | string[]>, string, string][] = [
    [{ server: 'nginx/1.25' }, URL, ' (server: nginx/1.25)'],
    [{ server: ['a', 'b'], location: '' }, URL, ''],
    [
      { server: 'cloudflare', location: 'http://portal.hotel/login?mac=1&token=a#b' },
      URL,
      ' (server: cloudflare, location: http://portal.hotel/login)',
    ],
    [
      { location: 'https://user:pass@portal.hotel/a' },
      URL,
      ' (location: https://***@portal.hotel/a)',
    ],
    [{ location: '//a@b@portal/' }, URL, ' (location: //***@portal/)'],
    [{ location: `/${SECRET}/b` }, URL, ' (location: /***/b)'],
    [
      { server: `a\x1b[31mb\u202e${'c'.repeat(300)}` },
      URL,
      ` (server: a?[31mb?${'c'.repeat(192)}...)`,
    ],
    ...['', ':443'].map((port): [Record<string, string>, string, string] => [
      { location: `https://B.oss.local${port}/a%20b?append` },
      URL,
      ` (location: https://B.oss.local${port}/a%20b). Use https in the option endpoint`,
    ]),
    [
      { location: 'https://b.oss.local/a%20b' },
      URL.replace('.local', '.local:80'),
      ' (location: https://b.oss.local/a%20b). Use https in the option endpoint',
    ],
    [{ location: 'https://b.oss.local/a' }, URL, ' (location: https://b.oss.local/a)'],
    [{ location: 'https://other/a%20b' }, URL, ' (location: https://other/a%20b)'],
    [{ location: 'http://b.oss.local/a%20b' }, URL, ' (location: http://b.oss.local/a%20b)'],
    [
      { location: 'https://b.oss.local/a%20b' },
      URL.replace('http', 'https'),
      ' (location: https://b.oss.local/a%20b)',
    ],
  ]
  for (const [headers, url, end] of table) {
    const redact = createRedactor([SECRET])
    const { message } = notOssResponse({ ...foreign(headers), url, redact })
    t.equal(message, `HTTP 502 from oss.local:443 is not a response of OSS${end}`)
  }
})

t.test('Retry-After is read as seconds or as a date', async t => {
  const now = Date.parse('2026-11-02T03:04:05Z')
  const sent = 'Mon, 02 Nov 2026 09:00:00 GMT'
  // Retry-After, Date, milliseconds
  const table: [string | string[] | undefined, string | undefined, number | undefined][] = [
    [undefined, sent, undefined],
    ['', sent, undefined],
    ['0', undefined, 0],
    ['120', undefined, 120_000],
    [' 7 ', undefined, 7000],
    ['999999999999', undefined, 999_999_999_999_000],
    ['9999999999999', undefined, undefined],
    ['1.5', undefined, undefined],
    ['-1', undefined, undefined],
    ['1e3', undefined, undefined],
    ['soon', undefined, undefined],
    ['2026-11-02', undefined, undefined],
    [['1', '2'], undefined, undefined],
    ['Mon, 02 Nov 2026 03:04:35 GMT', undefined, 30_000],
    ['Mon, 02 Nov 2026 03:04:05 GMT', undefined, 0],
    ['Mon, 02 Nov 2026 01:00:00 GMT', undefined, 0],
    ['Mon, 02 Nov 2026 09:01:00 GMT', sent, 60_000],
    ['Mon, 02 Nov 2026 08:01:00 GMT', sent, 0],
    ['Mon, 02 Nov 2026 03:04:35 GMT', 'noon', 30_000],
  ]
  for (const [retryAfter, date, delay] of table) {
    const headers = { 'retry-after': retryAfter, date }
    t.equal(readRetryAfter(headers, now), delay, `${retryAfter} at ${date}`)
  }
  t.equal(readRetryAfter({ 'retry-after': 'Fri, 31 Dec 1999 23:59:59 GMT' }), 0, 'the local clock')
  t.equal(serviceError(503, { 'retry-after': '3' }, none, false).retryAfter, 3000)
  t.notOk('retryAfter' in serviceError(503, {}, none, false))
})

t.test('secrets are redacted in every member of an error document', async t => {
  const redact = createRedactor([SECRET, undefined, 'to&ken"<+/==>'])
  t.equal(redact(`a ${SECRET}${SECRET} b`), 'a ****** b')
  const names = ['Code', 'HostId', 'EC', 'ServerTime', 'Endpoint']
  const body = names
    .map(name => `<${name}>a.${SECRET}</${name}>`.replace('a.', name === 'EC' ? '' : 'a.'))
    .join('')
  const escaped = `<Message>${SECRET} to&amp;ken&quot;&lt;+/==&gt;</Message>`
  const document = readErrorDocument({ 'x-oss-request-id': `id ${SECRET}` }, body + escaped, redact)
  t.strictSame(document, {
    requestId: 'id ***',
    code: 'a.***',
    message: '*** ***',
    hostId: 'a.***',
    ec: '***',
    serverTime: 'a.***',
    endpoint: 'a.***',
  })
  t.equal(readErrorDocument({ 'x-oss-ec': SECRET }, '', redact).ec, '***')
  t.notMatch(
    readErrorDocument({}, message(`${'m'.repeat(1020)}${SECRET}`), redact).message,
    'hunt',
    'a message is redacted before it is cut',
  )
})

t.test('a secret of less than 8 characters is not redacted', async t => {
  const redact = createRedactor(['', 'A', 'sk', '1234567'])
  t.equal(redact('AccessDenied sk 1234567'), 'AccessDenied sk 1234567')
  t.equal(createRedactor(['12345678'])('12345678'), '***')
})

t.test(
  'a network error keeps message and code of its cause, and nothing of the request',
  async t => {
    const cause = Object.assign(new TypeError(`cannot parse ${SECRET}`), {
      code: 'HPE_INVALID_CONSTANT',
      data: `authorization: ${SECRET}`,
      request: { headers: { authorization: SECRET } },
      cause: new Error(SECRET),
    })
    const error = networkError(cause, createRedactor([SECRET]), PEER)
    t.equal(error.constructor, OssError)
    t.match(error, {
      code: 'OSS_ERR_NETWORK',
      message: 'the exchange with oss.local:443 failed: HPE_INVALID_CONSTANT',
    })
    t.match(error.cause, { code: 'HPE_INVALID_CONSTANT', message: 'cannot parse ***' })
    t.notMatch(inspect(error, { depth: 9, showHidden: true }), SECRET)
    t.match(cause.data, SECRET, 'the original error is not changed')
  },
)

t.test('any thrown value becomes a network error', async t => {
  for (const cause of [undefined, null, 'text', 5, {}, new Error(''), { code: 'X' }]) {
    const error = networkError(cause, keepText, PEER)
    t.equal(error.code, 'OSS_ERR_NETWORK', inspect(cause))
    t.ok(error.cause instanceof Error)
  }
  t.match(networkError(new TypeError(SECRET), keepText, PEER).message, / failed: TypeError$/)
  t.notOk('code' in (networkError(new Error('x'), keepText, PEER).cause as Error))
  t.notOk(
    'code' in
      (networkError(Object.assign(new Error('x'), { code: 5 }), keepText, PEER).cause as Error),
  )
})
