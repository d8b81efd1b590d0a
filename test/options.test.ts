import { getEventListeners } from 'node:events'
import { inspect } from 'node:util'
import t from 'tap'
import type { Dispatcher } from 'undici'
import type { AppendRequest, Client } from '../lib/append/client-interface.ts'
import { OssClient } from '../lib/client/client.ts'
import { crc64 } from '../lib/crc64/index.ts'
import { OssError } from '../lib/errors.ts'
import { type AppendStreamOptions, OPTIONS, resolveOptions } from '../lib/options.ts'
import { createAppendStream } from '../lib/stream/append-stream.ts'
import {
  checkBoolean,
  checkHeaderValue,
  checkInteger,
  checkKnown,
  checkLimit,
  checkMethods,
  checkOneOf,
  checkRecord,
  MAX_DELAY,
} from '../lib/validate.ts'

// Tests set the variables that they need.
for (const name of Object.keys(process.env)) if (name.startsWith('OSS_')) delete process.env[name]

const SECRET = 'hunter2SECRET'
const credentials = { accessKeyId: 'id', accessKeySecret: SECRET }
const good = { bucket: 'examplebucket', key: 'a.log', region: 'cn-hangzhou', credentials }

/** A client that accepts every append, and records it. */
function recorder() {
  const requests: AppendRequest[] = []
  let position = 0
  let crc = '0'
  const client: Client = {
    head: async () => null,
    append: async (_, request) => {
      requests.push(request)
      position += request.body.length
      crc = crc64(request.body, crc)
      return { position, crc64: crc, requestId: 'R' }
    },
    close: async () => {},
  }
  return { client, requests }
}

/** The headers of the append that creates an object with these options. */
async function creationHeaders(options: object) {
  const { client, requests } = recorder()
  const stream = createAppendStream({
    bucket: 'examplebucket',
    key: 'a.log',
    position: 0,
    client,
    ...options,
  })
  await new Promise(resolve => stream.end(resolve))
  return requests[0]?.headers
}

/** Creates a stream as a caller without types would. */
function create(...args: unknown[]): never {
  const stream = createAppendStream(...(args as [AppendStreamOptions]))
  stream.destroy()
  throw new Error('was accepted')
}

function refusal(option: string, mend?: RegExp | string) {
  const message = new RegExp(
    `^option ${option.replace(/[[\]{}()*+?.\\^$|]/g, '\\$&')}: [^]*${typeof mend === 'string' ? mend : (mend?.source ?? '')}`,
  )
  return { name: 'OssError', code: 'OSS_ERR_INVALID_OPTION', message }
}

const NOT_STRINGS = [null, 5, true, {}, [], ['x'], Symbol('x'), () => 'x', Buffer.from('x')]
const NOT_NUMBERS = [null, '5', true, {}, [], 5n, Number.NaN, new Date()]
const NOT_BOOLEANS = [null, 0, 1, 'true', '', {}, []]
const NOT_RECORDS = [null, 5, 'x', true, [], [['a', 'b']], () => {}]
/** They hold names and values, and none of them as a property: all would be lost in silence. */
const NOT_PLAIN = [new Map([['a', 'b']]), new Headers({ a: 'b' }), new URLSearchParams('a=b')]
/** Each would begin another header, or reach OSS as other bytes than were signed. */
const NOT_HEADERS = [
  'a\r\nx-oss-object-acl: public-read',
  'a\nb',
  'a\rb',
  'a\0b',
  'a\tb',
  '\x7f',
  'é',
  '日志',
  '\u2028',
  '😀',
  '\ud800',
  '',
  ' ',
]
const INTEGERS = [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 53]

// dotted name of the option, values that are wrong, what the message says
const wrong: [string, unknown[], (RegExp | string)?][] = [
  ['bucket', [...NOT_STRINGS, 'ab', 'A'.repeat(8), '-abc', 'abc-', 'a_b', 'a.b', 'b'.repeat(64)]],
  ['bucket', ['a\r\nb', 'abc\n', 'é'.repeat(3), '../abc', 'a/b', '']],
  ['key', [...NOT_STRINGS, '', '/a', '\\a', 'a\r\nHost: b', 'a\0', '\ud800', 'k'.repeat(1024)]],
  ['key', ['日'.repeat(342)], '1026 bytes'],
  ['region', [...NOT_STRINGS, '', 'cn hangzhou', 'cn-hangzhou\r\n.evil.com/', 'CN_X', 'a/b']],
  ['endpoint', [...NOT_STRINGS, '', 'ftp://x.com', 'x.com/path', 'x.com?q', 'u:p@x.com', 'x:0']],
  ['endpoint', ['x.com\r\nHost: y', 'x y', 'examplebucket.oss-cn-hangzhou.aliyuncs.com']],
  ['pathStyle', NOT_BOOLEANS],
  ['cname', NOT_BOOLEANS],
  ['credentials', [null, 5, 'id:secret', true]],
  [
    'credentials.accessKeyId',
    [{}, { accessKeySecret: SECRET }, { ...credentials, accessKeyId: '' }],
  ],
  [
    'credentials.accessKeySecret',
    [{ accessKeyId: 'id' }, { accessKeyId: 'id', accessKeySecret: 5 }],
  ],
  ['credentials.securityToken', [{ ...credentials, securityToken: `${SECRET}\r\nx: y` }]],
  ['position', [...NOT_NUMBERS, ...INTEGERS, 'END', 'start', '0']],
  ['crc64', [...NOT_STRINGS, '', '-1', '0x1', '1.5', ' 1', '18446744073709551616', '1e3']],
  ['highWaterMark', [...NOT_NUMBERS, ...INTEGERS, 0, 2 ** 30 + 1], '1 to 1073741824'],
  ['flushInterval', [...NOT_NUMBERS, ...INTEGERS, 2 ** 31], '0 to 2147483647'],
  ['align', [null, true, [], {}, '', '\r\n', 'line', 'CHUNK', '188'], "'chunk' or a number"],
  ['align', [...INTEGERS.filter(value => value < 1e9), 0]],
  ['align', [64 * 2 ** 20 + 1, Number.POSITIVE_INFINITY], 'maxRecordBytes'],
  ['maxRecordBytes', [...NOT_NUMBERS, ...INTEGERS, 0, 2 ** 30 + 1], '1 to 1073741824'],
  ['maxRecordBytes', [5, 64 * 2 ** 20], 'needs align'],
  ['contentType', [...NOT_STRINGS, ...NOT_HEADERS]],
  ['cacheControl', [...NOT_STRINGS, ...NOT_HEADERS]],
  ['contentDisposition', [...NOT_STRINGS, ...NOT_HEADERS]],
  ['contentEncoding', [...NOT_STRINGS, ...NOT_HEADERS]],
  [
    'expires',
    [
      ...NOT_STRINGS,
      ...NOT_HEADERS,
      new Date(Number.NaN),
      Date.now(),
      'tomorrow',
      '2026-10-21',
      // No Wednesday.
      'Wed, 22 Oct 2026 07:28:00 GMT',
    ],
  ],
  ['acl', [...NOT_STRINGS, '', 'public', 'PRIVATE', 'private\r\n'], 'public-read or'],
  ['storageClass', [...NOT_STRINGS, 'standard', 'ColdArchive', ''], 'Standard, IA or Archive'],
  ['serverSideEncryption', [...NOT_STRINGS, 'AES', 'aes256', '']],
  ['serverSideDataEncryption', [...NOT_STRINGS, 'AES256', '']],
  ['serverSideDataEncryption', ['SM4'], 'KMS'],
  ['tagging', [...NOT_RECORDS, ...NOT_PLAIN]],
  ['tagging', [Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`t${i}`, '']))], '10'],
  ['tagging.', [{ '': 'x' }]],
  [
    'tagging.a',
    [{ a: 5 }, { a: null }, { a: undefined }, { a: 'x&y' }, { a: 'x\r\ny' }, { a: '?' }],
  ],
  ['tagging.a', [{ a: 'v'.repeat(257) }, { a: '日'.repeat(86) }, { a: '\ud800' }]],
  ['tagging.a&b', [{ 'a&b': 'x' }]],
  [`tagging.${'k'.repeat(129)}`, [{ ['k'.repeat(129)]: '' }], '128'],
  ['metadata', [...NOT_RECORDS, ...NOT_PLAIN]],
  ['metadata', [{ a: 'v'.repeat(8192) }, { a: 'v'.repeat(4096), b: 'v'.repeat(4095) }], '8192'],
  ['metadata.a', [...NOT_STRINGS, undefined, ...NOT_HEADERS].map(a => ({ a }))],
  ['metadata.', [{ '': 'x' }]],
  ['metadata.a b', [{ 'a b': 'x' }]],
  ['metadata.a_b', [{ a_b: 'x' }]],
  ['metadata.a:b', [{ 'a:b': 'x' }]],
  ['metadata.a\r\nb', [{ 'a\r\nb': 'x' }]],
  ['metadata.é', [{ é: 'x' }]],
  ['metadata.__proto__', [JSON.parse('{"__proto__":"x"}')]],
  ['metadata.A', [{ a: 'x', A: 'y' }], 'twice'],
  ['headers', [...NOT_RECORDS, ...NOT_PLAIN]],
  ['headers.x-a', [...NOT_STRINGS, undefined, ...NOT_HEADERS].map(a => ({ 'x-a': a }))],
  ['headers.', [{ '': 'x' }]],
  ['headers.a b', [{ 'a b': 'x' }]],
  ['headers.a:', [{ 'a:': 'x' }]],
  ['headers.a\r\nb', [{ 'a\r\nb': 'x' }]],
  ['headers.é', [{ é: 'x' }]],
  ['headers.__proto__', [JSON.parse('{"__proto__":"x"}')]],
  ['headers.X-A', [{ 'x-a': 'x', 'X-A': 'y' }], 'twice'],
  ['contentMd5', NOT_BOOLEANS],
  ['retry', [...NOT_RECORDS, ...NOT_PLAIN]],
  ...['retry.maxRetries', 'retry.maxElapsed'].map((name): [string, unknown[]] => [
    name,
    [...NOT_NUMBERS, -1, 1.5, Number.NEGATIVE_INFINITY, 2 ** 53].map(v => ({ [name.slice(6)]: v })),
  ]),
  ...['retry.minDelay', 'retry.maxDelay'].map((name): [string, unknown[]] => [
    name,
    [...NOT_NUMBERS, ...INTEGERS, 2 ** 31].map(v => ({ [name.slice(6)]: v })),
  ]),
  ['retry.minDelay', [{ minDelay: 2, maxDelay: 1 }, { minDelay: 30_000 }], 'retry.maxDelay'],
  ['maxObjectBytes', [...NOT_NUMBERS, ...INTEGERS, 0]],
  ['seal', NOT_BOOLEANS],
  ['shared', NOT_BOOLEANS],
  ['shared', [true], 'needs align'],
  ['pipelining', [...NOT_NUMBERS, ...INTEGERS, 0, 5], 'must be a whole number from 1 to 4'],
  ['journal', [true, 1], 'must be the path of a folder, or an object'],
  ['journal', [null, []], 'must be an object'],
  ['journal', [''], 'must be the path of a folder'],
  ['journal.dir', [{}, { dir: '' }, { dir: 'a\0' }, { dir: 1 }], 'must be the path of a folder'],
  ['journal.maxBytes', [{ dir: 'a', maxBytes: 1000 }], 'must be'],
  [
    'journal.sync',
    [
      { dir: 'a', sync: 'now' },
      { dir: 'a', sync: true },
    ],
    "must be 'always', 'never' or",
  ],
  ['signal', [null, 5, {}, new AbortController(), { aborted: false }]],
  ['dispatcher', [null, 5, {}, { request() {} }, 'http://proxy'], /dispatch\(\)/],
  ['connectTimeout', [...NOT_NUMBERS, ...INTEGERS, 0, 2 ** 31]],
  ['requestTimeout', [...NOT_NUMBERS, ...INTEGERS, 0, 2 ** 31]],
  ['client', [null, 5, {}, { append() {} }, { head() {} }]],
]

for (const [option, values, mend] of wrong) {
  t.test(`wrong ${JSON.stringify(option).slice(1, 60)}`, async t => {
    const [first = ''] = option.split('.')
    for (const value of values) {
      const label = inspect(value)
        .replace(/[^ -~]/g, '.')
        .slice(0, 60)
      t.throws(() => create({ ...good, [first]: value }), refusal(option, mend), label)
    }
  })
}

t.test('the table of wrong values has every option', async t => {
  const tried = new Set(wrong.map(([option]) => option.split('.')[0]))
  t.same(new Set(OPTIONS), tried)
})

/** Headers that mean something of their own here, or to the connection. */
const ours = `
  authorization host date x-oss-date x-oss-content-sha256 x-oss-security-token
  content-length content-type content-md5 content-encoding content-disposition content-language
  cache-control expires
  connection keep-alive proxy-connection proxy-authorization transfer-encoding te trailer upgrade expect
  accept-encoding
  if-match if-none-match if-modified-since if-unmodified-since
  x-oss-object-acl x-oss-storage-class x-oss-tagging x-oss-meta-a
  x-oss-server-side-encryption x-oss-server-side-data-encryption x-oss-server-side-encryption-key-id
  x-oss-callback x-oss-callback-var x-oss-forbid-overwrite
  x-oss-hash-crc64ecma x-oss-next-append-position
`

t.test('headers that the stream sets cannot be overridden, in any case', async t => {
  for (const name of ours.trim().split(/\s+/)) {
    for (const header of [name, name.toUpperCase()]) {
      const headers = { [header]: 'x' }
      t.throws(() => create({ ...good, headers }), refusal(`headers.${header}`), header)
    }
  }
})

t.test('options that depend on each other are refused without the other', async t => {
  const { client } = recorder()
  const table: [string, object, RegExp][] = [
    ['bucket', { bucket: undefined }, /./],
    ['key', { key: undefined }, /./],
    ['region', { region: undefined }, /OSS_REGION/],
    ['crc64', { crc64: '5' }, /position/],
    ['crc64', { crc64: '5', position: 'end' }, /position/],
    ['crc64', { crc64: '5', position: 0 }, /'0'/],
    ['pathStyle', { pathStyle: true, cname: true, endpoint: 'x.com' }, /cname/],
    ['cname', { cname: true }, /endpoint/],
    ['client', { region: undefined, credentials: undefined, client, seal: true }, /seal\(\)/],
  ]
  for (const [option, options, mend] of table) {
    t.throws(() => create({ ...good, ...options }), refusal(option, mend), inspect(options))
  }
})

t.test('a client excludes the network options', async t => {
  const values = {
    region: 'cn-hangzhou',
    endpoint: 'x.com',
    pathStyle: false,
    cname: false,
    credentials,
    dispatcher: { dispatch() {} },
    connectTimeout: 5,
    requestTimeout: 5,
  }
  for (const [option, value] of Object.entries(values)) {
    const options = {
      bucket: 'examplebucket',
      key: 'a',
      client: recorder().client,
      [option]: value,
    }
    t.throws(() => create(options), refusal(option, /client/))
  }
})

t.test('a client that cannot reach the bucket is refused', async t => {
  const endpoint = 'examplebucket.oss-cn-hangzhou.aliyuncs.com'
  const client = new OssClient({ endpoint, credentials })
  t.throws(() => create({ bucket: 'examplebucket', key: 'a', client }), refusal('endpoint'))
  t.doesNotThrow(() => resolveOptions({ bucket: 'another', key: 'a', client }))
})

t.test('values that are no options object are refused', async t => {
  for (const options of [undefined, null, 5, true, Symbol('x'), [], [good], () => good]) {
    t.throws(() => create(options), refusal('options'), inspect(options))
  }
  t.throws(() => create('oss://examplebucket/a', null), refusal('options'))
  t.throws(() => create('oss://examplebucket/a', 'b'), refusal('options'))
})

t.test('unknown options are refused, with a similar name', async t => {
  const table: [object, string, string][] = [
    [{ highWatermark: 5 }, 'highWatermark', 'did you mean highWaterMark\\?'],
    [{ HIGHWATERMARK: 5 }, 'HIGHWATERMARK', 'did you mean highWaterMark\\?'],
    [{ Bucket: 'x' }, 'Bucket', 'did you mean bucket\\?'],
    [
      { accessKeyId: 'x' },
      'accessKeyId',
      'is unknown: pass credentials: \\{ accessKeyId, accessKeySecret \\}',
    ],
    [{ nonsense: undefined }, 'nonsense', 'is unknown$'],
    [{ metaData: {} }, 'metaData', 'did you mean metadata\\?'],
    [{ retry: { retries: 3 } }, 'retry.retries', 'is unknown'],
    [{ retry: { maxretries: 3 } }, 'retry.maxretries', 'did you mean retry\\.maxRetries\\?'],
    [{ constructor: 5 }, 'constructor', ''],
    [{ toString: 5 }, 'toString', ''],
    [{ hasOwnProperty: 5 }, 'hasOwnProperty', ''],
    [JSON.parse('{"__proto__":{"acl":"public-read"}}'), '__proto__', ''],
    [{ retry: JSON.parse('{"__proto__":{"maxRetries":1}}') }, 'retry.__proto__', ''],
  ]
  for (const [options, option, mend] of table) {
    // defineProperties: a spread would set the prototype instead.
    const all = Object.defineProperties({ ...good }, Object.getOwnPropertyDescriptors(options))
    t.throws(() => create(all), refusal(option, mend), inspect(options))
  }
  t.throws(() => new OssClient({ bucket: 'x' } as object), refusal('bucket'))
  t.throws(() => new OssClient(null as never), refusal('options'))
  t.throws(() => new OssClient({ regoin: 'x' } as object), refusal('regoin', 'mean region'))
})

t.test('a refused option calls nothing, and leaves no listener or timer', async t => {
  let calls = 0
  const called = () => {
    calls += 1
    throw new Error('called')
  }
  const { signal } = new AbortController()
  const running = () =>
    process.getActiveResourcesInfo().filter(name => /Timeout|TCP|DNS/.test(name))
  const before = running()
  const options = { ...good, credentials: called, dispatcher: { dispatch: called }, signal }
  for (const [option, values] of wrong) {
    const [first = ''] = option.split('.')
    for (const value of values) t.throws(() => create({ ...options, [first]: value }))
  }
  const client = { head: called, append: called, close: called }
  t.throws(() => create({ bucket: 'examplebucket', key: 'a', client, signal, flushInterval: -1 }))
  t.equal(calls, 0)
  t.same(getEventListeners(signal, 'abort'), [])
  t.same(running(), before)
})

t.test('no message shows a value that may be a secret', async t => {
  const values = [
    { credentials: `id:${SECRET}` },
    { credentials: { accessKeyId: `${SECRET}\n`.repeat(2), accessKeySecret: SECRET } },
    { credentials: { accessKeyId: 'id', accessKeySecret: `${SECRET}é` } },
    { credentials: { ...credentials, securityToken: `${SECRET}\0` } },
    { endpoint: `https://id:${SECRET}@example.com` },
    { endpoint: `https://example.com/?x-oss-signature=${SECRET}` },
    { metadata: { a: `${SECRET}é` } },
    { headers: { 'x-a': `${SECRET}\r\n` } },
    { position: SECRET },
    { crc64: SECRET },
  ]
  for (const value of values) {
    try {
      create({ ...good, ...value })
    } catch (error) {
      t.ok(error instanceof OssError)
      const stack = (error as Error).stack
      t.notMatch(
        inspect(error, { depth: 9, showHidden: true }) + JSON.stringify(error) + stack,
        SECRET,
      )
    }
  }
  t.throws(() => create(`https://x.aliyuncs.com/a?Signature=${SECRET}`), { message: /^[^2]*$/ })
})

// label, options, the headers of the append that creates the object
const accepted: [string, object, Record<string, string>][] = [
  ['nothing', {}, {}],
  [
    'contentType',
    { contentType: 'text/plain; charset=utf-8' },
    { 'content-type': 'text/plain; charset=utf-8' },
  ],
  ['contentType in blanks', { contentType: '  text/plain ' }, { 'content-type': 'text/plain' }],
  ['cacheControl', { cacheControl: 'no-cache' }, { 'cache-control': 'no-cache' }],
  [
    'contentDisposition',
    { contentDisposition: 'attachment; filename="a b.log"' },
    { 'content-disposition': 'attachment; filename="a b.log"' },
  ],
  ['contentEncoding', { contentEncoding: 'gzip' }, { 'content-encoding': 'gzip' }],
  ['expires as a Date', { expires: new Date(0) }, { expires: 'Thu, 01 Jan 1970 00:00:00 GMT' }],
  [
    'expires as text',
    { expires: 'Wed, 21 Oct 2026 07:28:00 GMT' },
    { expires: 'Wed, 21 Oct 2026 07:28:00 GMT' },
  ],
  ...['default', 'private', 'public-read', 'public-read-write'].map(
    (acl): [string, object, Record<string, string>] => [acl, { acl }, { 'x-oss-object-acl': acl }],
  ),
  ...['Standard', 'IA', 'Archive'].map((storageClass): [string, object, Record<string, string>] => [
    storageClass,
    { storageClass },
    { 'x-oss-storage-class': storageClass },
  ]),
  ...['AES256', 'KMS', 'SM4'].map((name): [string, object, Record<string, string>] => [
    name,
    { serverSideEncryption: name },
    { 'x-oss-server-side-encryption': name },
  ]),
  [
    'KMS with SM4',
    { serverSideEncryption: 'KMS', serverSideDataEncryption: 'SM4' },
    { 'x-oss-server-side-encryption': 'KMS', 'x-oss-server-side-data-encryption': 'SM4' },
  ],
  ['no tag', { tagging: {} }, {}],
  ['one tag', { tagging: { k: 'v' } }, { 'x-oss-tagging': 'k=v' }],
  ['a tag without value', { tagging: { k: '' } }, { 'x-oss-tagging': 'k=' }],
  [
    'tags of every sort of character',
    { tagging: { 'a b+c-d=e.f_g:h/i': '日 +=', k: 'v' } },
    { 'x-oss-tagging': 'a%20b%2Bc-d%3De.f_g%3Ah%2Fi=%E6%97%A5%20%2B%3D&k=v' },
  ],
  [
    'the longest tag',
    { tagging: { ['k'.repeat(128)]: 'v'.repeat(256) } },
    { 'x-oss-tagging': `${'k'.repeat(128)}=${'v'.repeat(256)}` },
  ],
  [
    'ten tags',
    { tagging: Object.fromEntries(Array.from('abcdefghij', c => [c, c])) },
    { 'x-oss-tagging': 'a=a&b=b&c=c&d=d&e=e&f=f&g=g&h=h&i=i&j=j' },
  ],
  [
    'tags with the names of a prototype',
    { tagging: JSON.parse('{"__proto__":"a","constructor":"b","toString":"c"}') },
    { 'x-oss-tagging': '__proto__=a&constructor=b&toString=c' },
  ],
  ['no metadata', { metadata: {} }, {}],
  [
    'metadata',
    { metadata: { Author: 'me', 'x-1': '  two words ' } },
    { 'x-oss-meta-author': 'me', 'x-oss-meta-x-1': 'two words' },
  ],
  [
    'metadata without a prototype',
    { metadata: Object.assign(Object.create(null), { a: 'b' }) },
    { 'x-oss-meta-a': 'b' },
  ],
  [
    'metadata with the names of a prototype',
    { metadata: { constructor: 'a', toString: 'b', hasOwnProperty: 'c' } },
    {
      'x-oss-meta-constructor': 'a',
      'x-oss-meta-tostring': 'b',
      'x-oss-meta-hasownproperty': 'c',
    },
  ],
  [
    '8 KiB of metadata',
    { metadata: { a: 'v'.repeat(8191) } },
    { 'x-oss-meta-a': 'v'.repeat(8191) },
  ],
  [
    'headers',
    { headers: { 'X-Oss-Traffic-Limit': ' 819200 ', 'x-oss-request-payer': 'requester' } },
    { 'x-oss-traffic-limit': '819200', 'x-oss-request-payer': 'requester' },
  ],
  [
    'headers with the names of a prototype',
    { headers: { constructor: 'a', toString: 'b' } },
    { constructor: 'a', tostring: 'b' },
  ],
  [
    'all punctuation of ASCII',
    { headers: { 'x-a': '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~' } },
    { 'x-a': '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~' },
  ],
]

for (const [label, options, headers] of accepted) {
  t.test(`accepted: ${label}`, async t => {
    const sent = await creationHeaders(options)
    t.strictSame(sent, headers)
    t.strictSame(Object.keys(sent ?? {}).sort(), Object.keys(headers).sort())
  })
}

t.test('options do not change prototypes', async t => {
  t.strictSame(Object.keys(Object.prototype), [])
  t.equal('acl' in {}, false)
  t.equal(resolveOptions(good).creationHeaders.acl, undefined)
})

t.test('creation headers are sent once, headers with every append', async t => {
  const { client, requests } = recorder()
  // What was given may change afterwards: the stream has its own.
  const metadata: Record<string, string> = { a: 'b' }
  const headers: Record<string, string> = { 'x-oss-request-payer': 'requester' }
  const tagging: Record<string, string> = { k: 'v' }
  const expires = new Date(0)
  const options = { metadata, headers, tagging, expires, position: 0, contentMd5: true, client }
  const stream = createAppendStream('oss://examplebucket/a.log', options)
  metadata.late = 'x'
  headers['x-late'] = 'x'
  tagging.late = 'x'
  expires.setTime(1e12)
  stream.write('hello')
  await stream.flush()
  stream.end(' world')
  await new Promise(resolve => stream.once('finish', resolve))
  t.same(
    requests.map(request => request.headers),
    [
      {
        expires: 'Thu, 01 Jan 1970 00:00:00 GMT',
        'x-oss-meta-a': 'b',
        'x-oss-request-payer': 'requester',
        'x-oss-tagging': 'k=v',
        'content-md5': 'XUFAKrxLKna5cZ2REBfFkg==',
      },
      { 'x-oss-request-payer': 'requester', 'content-md5': 't5E6oVxDvn1TS07sbpnooA==' },
    ],
  )
})

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !(value instanceof AbortSignal)) {
    for (const member of Object.values(value)) freeze(member)
    Object.freeze(value)
  }
  return value
}

const everything = () => ({
  ...good,
  credentials: { ...credentials, securityToken: 'token' },
  endpoint: 'http://127.0.0.1:1',
  pathStyle: true,
  cname: false,
  position: 5,
  crc64: '007',
  highWaterMark: 1,
  flushInterval: 0,
  align: 5,
  maxRecordBytes: 5,
  contentType: 'a',
  cacheControl: 'b',
  contentDisposition: 'c',
  contentEncoding: 'd',
  expires: new Date(0),
  acl: 'private' as const,
  storageClass: 'IA' as const,
  serverSideEncryption: 'KMS' as const,
  serverSideDataEncryption: 'SM4' as const,
  tagging: { k: 'v' },
  metadata: { A: 'b' },
  headers: { 'X-C': 'd' },
  contentMd5: false,
  retry: { maxRetries: 0, maxElapsed: 0, minDelay: 0, maxDelay: 0 },
  maxObjectBytes: 1,
  seal: true,
  connectTimeout: 1,
  requestTimeout: 1,
})

t.test("resolving does not change the caller's objects, which may be frozen", async t => {
  const options = everything()
  resolveOptions(options)
  t.strictSame(options, everything())
  const { creationHeaders, headers, ...settings } = resolveOptions(freeze(everything()))
  t.match(settings, {
    target: { bucket: 'examplebucket', key: 'a.log' },
    position: 5,
    crc64: '7',
    highWaterMark: 1,
    flushInterval: 0,
    align: 5,
    maxRecordBytes: 5,
    contentMd5: false,
    retry: { maxRetries: 0, maxElapsed: 0, minDelay: 0, maxDelay: 0 },
    maxObjectBytes: 1,
    seal: true,
    isOwnClient: true,
  })
  t.equal(Object.keys(creationHeaders).length, 11)
  t.same(headers, { 'x-c': 'd' })
})

const defaults = {
  target: { bucket: 'examplebucket', key: 'a.log' },
  position: 'end',
  crc64: undefined,
  highWaterMark: 4_194_304,
  flushInterval: 1000,
  align: 1,
  maxRecordBytes: 67_108_864,
  creationHeaders: {},
  headers: {},
  contentMd5: false,
  retry: {
    maxRetries: Number.POSITIVE_INFINITY,
    maxElapsed: 300_000,
    minDelay: 200,
    maxDelay: 20_000,
  },
  maxObjectBytes: 5_368_709_120,
  seal: false,
  shared: false,
  journal: undefined,
  pipelining: 1,
  pipeline: undefined,
  signal: undefined,
  isOwnClient: true,
}

t.test('absent options have the documented defaults', async t => {
  const { client, ...settings } = resolveOptions(good)
  t.strictSame(settings, defaults)
  t.ok(client instanceof OssClient)

  const undefineds = Object.fromEntries(OPTIONS.map(name => [name, undefined]))
  const { client: _, ...same } = resolveOptions({ ...undefineds, ...good })
  t.strictSame(same, defaults, 'undefined is as good as absent')
  const { retry } = resolveOptions({ ...good, retry: { maxRetries: undefined, minDelay: 1 } })
  t.strictSame(retry, { ...defaults.retry, minDelay: 1 })
})

t.test('contentMd5 is on by default where TLS does not protect the body', async t => {
  const endpoint = 'http://example.com'
  t.equal(resolveOptions({ ...good, endpoint }).contentMd5, true)
  t.equal(resolveOptions({ ...good, endpoint: 'https://example.com' }).contentMd5, false)
  t.equal(resolveOptions({ ...good, endpoint, contentMd5: false }).contentMd5, false)
  t.equal(resolveOptions({ ...good, contentMd5: true }).contentMd5, true)
  const target = { bucket: 'examplebucket', key: 'a' }
  const plain = new OssClient({ endpoint, region: 'cn-hangzhou', credentials })
  t.equal(resolveOptions({ ...target, client: plain }).contentMd5, true, 'of a shared client too')
  t.equal(resolveOptions({ ...target, client: recorder().client }).contentMd5, false)
})

t.test(
  'pipelining needs connections of this package, and one writer without a journal',
  async t => {
    const own = new OssClient({
      endpoint: 'http://example.com',
      region: 'cn-hangzhou',
      credentials,
    })
    const dispatcher = { dispatch: () => true } as unknown as Dispatcher
    const foreign = new OssClient({ region: 'cn-hangzhou', credentials, dispatcher })
    const target = { bucket: 'examplebucket', key: 'a' }
    const excluded: [object, string][] = [
      [{ ...good, shared: true, align: 'chunk' }, 'shared'],
      [{ ...good, journal: '/var/lib/app/oss' }, 'journal'],
      [{ ...good, dispatcher }, 'dispatcher'],
      [{ ...target, client: recorder().client }, 'client'],
      [{ ...target, client: foreign }, 'client'],
    ]
    for (const [options, reason] of excluded) {
      for (const pipelining of [2, 4]) {
        t.throws(
          () => resolveOptions({ ...options, pipelining } as unknown as typeof good),
          refusal('pipelining', reason),
          reason,
        )
      }
      t.equal(
        resolveOptions({ ...options, pipelining: 1 } as unknown as typeof good).pipeline,
        undefined,
      )
    }
    for (const options of [good, { ...target, client: own }]) {
      const { pipelining, pipeline } = resolveOptions({ ...options, pipelining: 4 })
      t.equal(pipelining, 4)
      t.type(pipeline?.append, 'function')
    }
  },
)

t.test('the limits of every range are accepted', async t => {
  const table: object[] = [
    { key: 'k'.repeat(1023) },
    { key: '日'.repeat(341) },
    { bucket: 'abc' },
    { bucket: 'b'.repeat(63) },
    { position: 0, crc64: '0' },
    { position: Number.MAX_SAFE_INTEGER, crc64: '18446744073709551615' },
    { highWaterMark: 2 ** 30 },
    { flushInterval: MAX_DELAY },
    { align: '\n' },
    { align: 'chunk', maxRecordBytes: 1 },
    { align: 1 },
    { align: 64 * 2 ** 20 },
    { align: 2 ** 30, maxRecordBytes: 2 ** 30 },
    { align: 2 ** 19, journal: { dir: 'j', maxBytes: 2 ** 20 } },
    { maxObjectBytes: Number.MAX_SAFE_INTEGER },
    { retry: { maxRetries: 0, maxElapsed: Number.POSITIVE_INFINITY } },
    { retry: { minDelay: 5, maxDelay: 5 } },
    { connectTimeout: 1, requestTimeout: MAX_DELAY },
    { signal: AbortSignal.abort() },
    { credentials: () => credentials },
    { credentials: { getCredential: async () => credentials } },
    { credentials: { getCredentials: async () => credentials } },
    { credentials: undefined },
  ]
  for (const options of table) {
    t.doesNotThrow(() => resolveOptions({ ...good, ...options }), inspect(options).slice(0, 70))
  }
})

t.test('a client that is passed in is used as it is', async t => {
  const { client } = recorder()
  const settings = resolveOptions({ bucket: 'examplebucket', key: 'a', client })
  t.equal(settings.client, client)
  t.equal(settings.isOwnClient, false)
  const sealing = { ...client, seal: async () => {} }
  t.equal(
    resolveOptions({ bucket: 'examplebucket', key: 'a', client: sealing, seal: true }).seal,
    true,
  )
})

t.test('a url is split at the third slash, and nothing is decoded', async t => {
  const { bucket: _, key: __, ...rest } = good
  const keys = [
    'a',
    'a/b',
    'a//b',
    'a/../b',
    'a\\b',
    '%2F',
    'q?x#y',
    '日志/应用 日志.log',
    ' a ',
    'oss://x/y',
  ]
  for (const key of keys) {
    const { target } = resolveOptions(`oss://examplebucket/${key}`, rest)
    t.same(target, { bucket: 'examplebucket', key }, key)
  }
  const urls = ['', 'examplebucket/a', 'oss:/examplebucket/a', 'oss://examplebucket', 'oss://']
  urls.push(
    'oss://examplebucket/',
    'oss://examplebucket//a',
    'oss://EXAMPLE/a',
    'OSS://examplebucket/a',
  )
  urls.push('s3://examplebucket/a', 'oss://examplebucket/a\r\nb', ' oss://examplebucket/a')
  for (const url of urls) t.throws(() => create(url, rest), refusal('url'), inspect(url))
  t.throws(
    () => create('oss://examplebucket/a', { ...rest, bucket: 'b' }),
    refusal('bucket', /url/),
  )
  t.throws(() => create('oss://examplebucket/a', { ...rest, key: 'b' }), refusal('key', /url/))
})

t.test('region and endpoint come from the environment if no option has them', async t => {
  const target = { bucket: 'examplebucket', key: 'a' }
  const isSecure = (options: object = {}) =>
    resolveOptions({ ...target, credentials, ...options }).client.isSecure
  t.teardown(() => {
    delete process.env.OSS_REGION
    delete process.env.OSS_ENDPOINT
  })
  t.throws(() => isSecure(), refusal('region'))
  process.env.OSS_REGION = 'oss-cn-shanghai'
  t.equal(isSecure(), true)
  process.env.OSS_ENDPOINT = 'http://127.0.0.1:9000'
  t.equal(isSecure(), false)
  t.equal(isSecure({ endpoint: 'https://127.0.0.1:9000' }), true, 'an option goes first')
  process.env.OSS_ENDPOINT = 'http://x/y'
  t.throws(() => isSecure(), refusal('endpoint'), 'checked like an option')
  process.env.OSS_ENDPOINT = ''
  t.equal(isSecure(), true, 'empty is unset')
  process.env.OSS_REGION = ''
  t.throws(() => isSecure(), refusal('region'))
})

t.test('checks return the value that they checked', async t => {
  t.equal(checkInteger('a', 5, 5, 5), 5)
  t.equal(checkInteger('a', Number.MAX_SAFE_INTEGER, 0), Number.MAX_SAFE_INTEGER)
  t.equal(checkLimit('a', Number.POSITIVE_INFINITY), Number.POSITIVE_INFINITY)
  t.equal(checkLimit('a', 0), 0)
  t.equal(checkBoolean('a', false), false)
  t.equal(checkOneOf('a', 'x', ['x']), 'x')
  t.equal(checkHeaderValue('a', ' x y '), 'x y')
  t.same(checkRecord('a', { b: 1 }), [['b', 1]])
  const options = { b: 1 }
  t.equal(checkKnown('a', options, ['b']), options)
  t.doesNotThrow(() => checkMethods('a', { b() {} }, ['b']))
  t.throws(() => checkOneOf('a', 'z', ['x', 'y', 'w']), refusal('a', 'must be x, y or w'))
  t.throws(() => checkOneOf('a', 'toString', ['x']), refusal('a', 'must be x'))
  t.throws(() => checkMethods('a', undefined, ['b']), refusal('a'))
})

t.test('a record of a fixed size is at most half of the journal', t => {
  const options = { ...good, align: 2 ** 19 + 1, journal: { dir: 'j', maxBytes: 2 ** 20 } }
  t.throws(() => resolveOptions(options), { message: /^option align: .* half of journal.maxBytes/ })
  t.end()
})
