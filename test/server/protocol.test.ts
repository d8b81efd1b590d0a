// The server against OSS's protocol, row by row: AppendObject, errors, HeadObject, ranged reads, and the
// response to each condition. The rows come from OSS's documentation and from observations of it, never from
// this package's client. Where OSS documents nothing, the server is stricter, and the label says so.

import { createHash } from 'node:crypto'
import t from 'tap'
import { crc64OfChunks } from '../../lib/server/crc64.ts'
import type { OssServer } from '../../lib/server/index.ts'
import {
  append,
  head,
  type RawRequestOptions,
  type RawResponse,
  send,
} from '../helpers/raw-client.ts'
import { BUCKET, KEY, startServer, storedText } from '../helpers/start-server.ts'

function md5(bytes: string): string {
  return createHash('md5').update(bytes).digest('base64')
}

const sealAt = (s: OssServer, position: number | string, more: RawRequestOptions = {}) =>
  send(s, { method: 'POST', query: { seal: '', position: String(position) }, ...more })

t.test('1.1 the Host header decides how bucket and key are named', async t => {
  const s = await startServer(t, { cnames: { 'logs.example.com': BUCKET } })
  const virtual = { key: 'a/b.log', target: '/a/b.log?append&position=0' }
  const path = { key: 'a/b.log' }
  const rows: [host: string, more: RawRequestOptions, status: number, code?: string][] = [
    ['examplebucket.oss-cn-hangzhou.aliyuncs.com', virtual, 200],
    ['EXAMPLEBUCKET.oss-cn-hangzhou.aliyuncs.com:80', virtual, 200],
    ['examplebucket.oss-cn-hangzhou-internal.aliyuncs.com', virtual, 200],
    ['examplebucket.cn-hangzhou.oss.aliyuncs.com', virtual, 200],
    ['examplebucket.oss-accelerate.aliyuncs.com', virtual, 200],
    ['examplebucket.oss-accelerate-overseas.aliyuncs.com', virtual, 200],
    ['examplebucket.localhost:9000', virtual, 200],
    ['logs.example.com', virtual, 200],
    ['127.0.0.1', path, 200],
    ['10.0.0.1:9000', path, 200],
    ['[::1]:9000', path, 200],
    ['localhost:9000', path, 200],
    ['oss:9000', path, 200],
    ['oss-cn-hangzhou.aliyuncs.com', path, 403, 'SecondLevelDomainForbidden'],
    ['examplebucket.oss-cn-beijing.aliyuncs.com', virtual, 403, 'AccessDenied'],
    ['host.docker.internal:9000', path, 200],
    ['my_oss:9000', path, 200],
    ['unknown.example.com', path, 200],
    ['unknown.example.com', virtual, 400, 'InvalidBucketName'],
    ['logs.example.com.evil.example', virtual, 400, 'InvalidBucketName'],
    ['examplebucket.s3.aliyuncs.com', virtual, 403, 'AccessDenied'],
    ['a.b.oss-cn-hangzhou.aliyuncs.com', virtual, 400, 'InvalidBucketName'],
  ]
  for (const [host, more, status, code] of rows) {
    const response = await append(s, 0, 'abc', { ...more, headers: { host } })
    t.match(response, { status, code }, host)
    t.equal(s.read(BUCKET, 'a/b.log')?.toString(), status === 200 ? 'abc' : undefined, host)
    s.delete(BUCKET, 'a/b.log')
  }
  const host = 'examplebucket.oss-cn-beijing.aliyuncs.com'
  const wrong = await append(s, 0, 'abc', { ...virtual, headers: { host } })
  t.match(wrong.xml, /<Endpoint>oss-cn-hangzhou.aliyuncs.com<\/Endpoint>/)
  t.match(wrong.xml, /<HostId>examplebucket.oss-cn-beijing.aliyuncs.com<\/HostId>/)
})

t.test('1.1 a wrong position or parameter is refused', async t => {
  const s = await startServer(t)
  const rows: [label: string, query: Record<string, string>, code: string, ec?: string][] = [
    ['position missing', { append: '' }, 'MissingArgument', '0016-00000501'],
    ['position empty', { append: '', position: '' }, 'InvalidArgument', '0016-00000502'],
    ['position a word', { append: '', position: 'end' }, 'InvalidArgument', '0016-00000502'],
    ['position negative', { append: '', position: '-1' }, 'InvalidArgument', '0016-00000502'],
    ['position with a sign', { append: '', position: '+0' }, 'InvalidArgument', '0016-00000502'],
    ['position a fraction', { append: '', position: '0.0' }, 'InvalidArgument', '0016-00000502'],
    ['position hexadecimal', { append: '', position: '0x0' }, 'InvalidArgument', '0016-00000502'],
    ['position with a zero', { append: '', position: '00' }, 'InvalidArgument', '0016-00000502'],
    ['position with a space', { append: '', position: ' 0' }, 'InvalidArgument', '0016-00000502'],
    [
      'position past 2^63',
      { append: '', position: '9'.repeat(20) },
      'InvalidArgument',
      '0016-00000502',
    ],
    [
      'versionId',
      { append: '', position: '0', versionId: 'x' },
      'InvalidArgument',
      '0016-00000504',
    ],
  ]
  for (const [label, query, code, ec] of rows) {
    const response = await send(s, { method: 'POST', query, body: 'abc' })
    t.match(response, { status: 400, code, headers: { 'x-oss-ec': ec } }, label)
  }
  const far = await append(s, 0, 'abc', { query: { position: '9007199254740993' } })
  t.match(far, { status: 409, headers: { 'x-oss-next-append-position': '0' } }, 'past 2^53')
  t.equal(storedText(s), undefined)
  t.equal((await append(s, 0, 'abc', { chunked: true })).status, 200, 'chunked in lieu of a length')
  t.equal((await append(s, 3, 'def', { query: { append: '' } })).status, 200)
  t.equal(storedText(s), 'abcdef')
})

t.test('1.1 a header that append does not have is refused (stricter)', async t => {
  const s = await startServer(t)
  for (const name of [
    'if-match',
    'if-none-match',
    'if-modified-since',
    'if-unmodified-since',
    'x-oss-callback',
    'x-oss-callback-var',
    'x-oss-server-side-encryption-key-id',
    'x-oss-copy-source',
    'x-oss-range-behavior',
    'x-oss-unheard-of',
  ]) {
    const response = await append(s, 0, 'abc', { headers: { [name]: 'x' } })
    t.match(response, { status: 400, code: 'NotImplemented' }, name)
    t.match(response.xml, new RegExp(`<Header>${name}</Header>`))
  }
  t.equal(storedText(s), undefined)
})

t.test('1.2 creation headers are stored by the first append alone', async t => {
  const s = await startServer(t)
  const stored = {
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-cache',
    'content-disposition': 'attachment; filename="a"',
    'content-encoding': 'gzip',
    'content-language': 'zh-CN',
    expires: 'Wed, 21 Oct 2026 07:28:00 GMT',
    'x-oss-meta-app': 'demo',
    'x-oss-server-side-encryption': 'KMS',
    'x-oss-server-side-data-encryption': 'SM4',
    'x-oss-storage-class': 'IA',
  }
  const tags = { 'x-oss-tagging': 'a=1&b=%E5%80%BC&c' }
  const acl = { 'x-oss-object-acl': 'private' }
  const first = await append(s, 0, 'abc', { headers: { ...stored, ...tags, ...acl } })
  t.equal(first.headers['x-oss-server-side-encryption'], 'KMS')
  const keyId = first.headers['x-oss-server-side-encryption-key-id']
  t.match(keyId, /^[0-9a-f-]{36}$/, 'KMS without a key: the default one')
  t.equal((await head(s)).headers['x-oss-server-side-encryption-key-id'], keyId)
  t.match((await head(s)).headers, { ...stored, 'x-oss-tagging-count': '3' })
  t.same(s.stat(BUCKET, KEY)?.attributes.tagging, [
    ['a', '1'],
    ['b', '值'],
    ['c', ''],
  ])
  t.equal(s.stat(BUCKET, KEY)?.attributes.acl, 'private')

  const others = {
    'content-type': 'text/html',
    'cache-control': 'max-age=1',
    'x-oss-meta-app': 'other',
    'x-oss-meta-more': 'x',
    'x-oss-storage-class': 'Nonsense',
    'x-oss-server-side-encryption': 'Nonsense',
    'x-oss-tagging': Array.from({ length: 15 }, (_, i) => `k${i}=v`).join('&'),
  }
  const second = await append(s, 3, 'def', { headers: others })
  t.equal(second.status, 200, 'on later appends they are ignored, even wrong ones')
  t.equal(
    second.headers['x-oss-server-side-encryption'],
    'KMS',
    'every response repeats the encryption',
  )
  const seen = await head(s)
  t.match(seen.headers, { ...stored, 'x-oss-tagging-count': '3' })
  t.equal(seen.headers['x-oss-meta-more'], undefined)
  t.match(s.requests.at(-2)?.headers, { 'x-oss-meta-app': 'other' }, 'the log shows them')

  await append(s, 6, 'g', { headers: { 'x-oss-object-acl': 'public-read' } })
  t.equal(
    s.stat(BUCKET, KEY)?.attributes.acl,
    'public-read',
    'the ACL of a later append takes effect',
  )
  const wrong = await append(s, 7, 'h', { headers: { 'x-oss-object-acl': 'nonsense' } })
  t.match(wrong, { status: 400, code: 'InvalidArgument' })
})

t.test('1.2 an object created without headers has the defaults', async t => {
  const s = await startServer(t)
  await append(s, 0, 'abc')
  const { headers } = await head(s)
  t.equal(headers['content-type'], 'application/octet-stream')
  t.equal(headers['x-oss-storage-class'], 'Standard')
  t.equal(headers['x-oss-server-side-encryption'], undefined)
  t.equal(headers['x-oss-tagging-count'], undefined)
  t.equal(headers['x-oss-sealed-time'], undefined)
})

const repeat = (count: number, char = 'a') => char.repeat(count)

const headerRows: [label: string, headers: Record<string, string>, code: string | undefined][] = [
  ['ACL default', { 'x-oss-object-acl': 'default' }, undefined],
  ['ACL public-read-write', { 'x-oss-object-acl': 'public-read-write' }, undefined],
  ['ACL unknown', { 'x-oss-object-acl': 'public' }, 'InvalidArgument'],
  ['storage class Standard', { 'x-oss-storage-class': 'Standard' }, undefined],
  ['storage class Archive', { 'x-oss-storage-class': 'Archive' }, undefined],
  ['storage class ColdArchive', { 'x-oss-storage-class': 'ColdArchive' }, 'InvalidArgument'],
  ['storage class in lower case', { 'x-oss-storage-class': 'standard' }, 'InvalidArgument'],
  ['encryption AES256', { 'x-oss-server-side-encryption': 'AES256' }, undefined],
  ['encryption SM4', { 'x-oss-server-side-encryption': 'SM4' }, undefined],
  [
    'encryption unknown',
    { 'x-oss-server-side-encryption': 'AES' },
    'InvalidEncryptionAlgorithmError',
  ],
  [
    'data encryption without KMS',
    { 'x-oss-server-side-data-encryption': 'SM4' },
    'InvalidDataEncryptionAlgorithmError',
  ],
  [
    'data encryption with AES256',
    { 'x-oss-server-side-encryption': 'AES256', 'x-oss-server-side-data-encryption': 'SM4' },
    'InvalidDataEncryptionAlgorithmError',
  ],
  ['metadata of 8 KB', { 'x-oss-meta-a': repeat(8191) }, undefined],
  ['metadata of 8 KB and a byte', { 'x-oss-meta-a': repeat(8192) }, 'InvalidArgument'],
  [
    'metadata of 8 KB and a byte in two',
    { 'x-oss-meta-a': repeat(4096), 'x-oss-meta-b': repeat(4095) },
    'InvalidArgument',
  ],
  ['metadata with a dot in its name', { 'x-oss-meta-a.b': 'x' }, 'InvalidArgument'],
  ['metadata with an underscore in its name', { 'x-oss-meta-a_b': 'x' }, 'InvalidArgument'],
  ['metadata without a name', { 'x-oss-meta-': 'x' }, 'InvalidArgument'],
  ['ten tags', { 'x-oss-tagging': tagsOf(10) }, undefined],
  ['eleven tags', { 'x-oss-tagging': tagsOf(11) }, 'InvalidTag'],
  ['a tag key of 128 bytes', { 'x-oss-tagging': `${repeat(128)}=v` }, undefined],
  ['a tag key of 129 bytes', { 'x-oss-tagging': `${repeat(129)}=v` }, 'InvalidTag'],
  ['a tag value of 256 bytes', { 'x-oss-tagging': `k=${repeat(256)}` }, undefined],
  ['a tag value of 257 bytes', { 'x-oss-tagging': `k=${repeat(257)}` }, 'InvalidTag'],
  ['a tag twice', { 'x-oss-tagging': 'k=1&k=2' }, 'InvalidTag'],
  ['a tag without a key', { 'x-oss-tagging': '=v' }, 'InvalidTag'],
  ['no tags', { 'x-oss-tagging': '' }, 'InvalidTag'],
  ['a tag that is not encoded', { 'x-oss-tagging': 'k=%zz' }, 'InvalidTag'],
  ['a tag with a comma', { 'x-oss-tagging': 'k=a%2Cb' }, 'InvalidTag'],
  ['traffic limit at the lower end', { 'x-oss-traffic-limit': '245760' }, undefined],
  ['traffic limit below', { 'x-oss-traffic-limit': '245759' }, 'InvalidArgument'],
  ['traffic limit at the upper end', { 'x-oss-traffic-limit': '838860800' }, undefined],
  ['traffic limit above', { 'x-oss-traffic-limit': '838860801' }, 'InvalidArgument'],
  ['traffic limit in words', { 'x-oss-traffic-limit': '1e6' }, 'InvalidArgument'],
  ['the requester pays', { 'x-oss-request-payer': 'requester' }, undefined],
  ['another payer', { 'x-oss-request-payer': 'owner' }, 'InvalidArgument'],
  ['forbid overwrite, object absent', { 'x-oss-forbid-overwrite': 'true' }, undefined],
  ['forbid overwrite perhaps', { 'x-oss-forbid-overwrite': 'perhaps' }, 'InvalidArgument'],
  ['Content-MD5 right', { 'content-md5': md5('abc') }, undefined],
  ['Content-MD5 of something else', { 'content-md5': md5('abd') }, 'InvalidDigest'],
  [
    'Content-MD5 in hexadecimal',
    { 'content-md5': '900150983cd24fb0d6963f7d28e17f72' },
    'InvalidDigest',
  ],
  ['Content-MD5 empty', { 'content-md5': '' }, 'InvalidDigest'],
]

function tagsOf(count: number): string {
  return Array.from({ length: count }, (_, i) => `k${i}=v`).join('&')
}

t.test('1.2 the headers of a creating append are checked', async t => {
  const s = await startServer(t)
  for (const [label, headers, code] of headerRows) {
    const response = await append(s, 0, 'abc', { headers })
    t.match(response, { status: code === undefined ? 200 : 400, code }, label)
    t.equal(storedText(s), code === undefined ? 'abc' : undefined, `${label}: stored`)
    s.delete(BUCKET, KEY)
  }
  const cold = { 'x-oss-storage-class': 'ColdArchive' }
  t.equal((await append(s, 0, 'x', { headers: cold })).headers['x-oss-ec'], '0016-00000503')
  t.equal(
    (await send(s, { method: 'PUT', body: 'x', headers: cold })).status,
    200,
    'a put may be ColdArchive',
  )
  const bits = { 'x-oss-traffic-limit': '245760' }
  t.equal((await append(s, 0, 'x', { key: 'b', query: bits })).status, 200, 'limit as parameter')
  const twice = await append(s, 1, 'x', { key: 'b', query: bits, headers: bits })
  t.match(twice, { status: 400, code: 'InvalidArgument' }, 'limit in both places')
})

t.test('1.2 forbid-overwrite forbids an append to an existing object (stricter)', async t => {
  const s = await startServer(t)
  await append(s, 0, 'abc')
  const headers = { 'x-oss-forbid-overwrite': 'true' }
  t.match(await append(s, 3, 'def', { headers }), { status: 409, code: 'FileAlreadyExists' })
  t.match(await send(s, { method: 'PUT', headers }), { status: 409, code: 'FileAlreadyExists' })
  t.equal(storedText(s), 'abc')
})

t.test('1.3 a successful append has these response headers', async t => {
  const s = await startServer(t)
  const first = await append(s, 0, 'abc')
  t.match(first.headers, {
    'x-oss-next-append-position': '3',
    'x-oss-hash-crc64ecma': '3231342946509354535',
    etag: /^"[0-9A-F]{24}00000000"$/,
    'x-oss-request-id': /^[0-9A-F]{24}$/,
    'x-oss-server-time': /^\d+$/,
    server: 'AliyunOSS',
    date: /^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/,
    'content-length': '0',
    'x-oss-version-id': undefined,
  })
  const second = await append(s, 3, 'd')
  t.equal(
    second.headers['x-oss-hash-crc64ecma'],
    crc64OfChunks([Buffer.from('abcd')], '0'),
    'the CRC of the whole object',
  )
  t.not(second.headers.etag, first.headers.etag, 'each append changes the ETag')
  t.not(second.headers['x-oss-request-id'], first.headers['x-oss-request-id'])
})

t.test('1.3 the CRC agrees with published values', async t => {
  const s = await startServer(t)
  const rows: [bytes: Buffer | string, crc64: string][] = [
    ['', '0'],
    ['a', '3675645893302102789'],
    ['123456789', '11051210869376104954'],
    ['hi oss,append object', '2313496259928504459'],
    ['This is a test of the emergency broadcast system.', '2871916124362751090'],
    ['IHATEMATH', '4116537408385638600'],
    [Buffer.alloc(8, 0xff), '18446744073709551615'],
    [Buffer.alloc(1), '2282658103124508505'],
    [Buffer.from(Array.from({ length: 256 }, (_, i) => i)), '8232944260754389680'],
    [Buffer.alloc(1024 * 1024), '6947770692288575170'],
  ]
  for (const [bytes, crc64] of rows) {
    const whole = await append(s, 0, bytes, { key: 'whole' })
    t.equal(whole.headers['x-oss-hash-crc64ecma'], crc64)
    const half = Math.ceil(bytes.length / 2)
    await append(s, 0, bytes.slice(0, half), { key: 'halves' })
    const rest = await append(s, half, bytes.slice(half), { key: 'halves' })
    t.equal(rest.headers['x-oss-hash-crc64ecma'], crc64, 'in two halves')
    s.delete(BUCKET, 'whole')
    s.delete(BUCKET, 'halves')
  }
})

t.test('1.4 an absent object takes position 0 alone', async t => {
  const s = await startServer(t)
  const early = await append(s, 5, 'abc')
  t.match(early, { status: 409, code: 'PositionNotEqualToLength' })
  t.equal(early.headers['x-oss-next-append-position'], '0')
  t.equal((await append(s, 1, '')).status, 409, 'an empty append is refused too')
  t.equal(s.stat(BUCKET, KEY), undefined)
  t.equal((await append(s, 0, 'abc')).status, 200)
  t.equal(s.stat(BUCKET, KEY)?.type, 'Appendable')
})

t.test('1.4 an empty body creates an object, and changes none', async t => {
  const s = await startServer(t)
  const created = await append(s, 0, '', { headers: { 'content-type': 'text/plain' } })
  t.match(created, { status: 200, headers: { 'x-oss-next-append-position': '0' } })
  t.equal(created.headers['x-oss-hash-crc64ecma'], '0')
  t.match((await head(s)).headers, { 'content-length': '0', 'x-oss-object-type': 'Appendable' })
  const first = await append(s, 0, 'abc', { headers: { 'content-type': 'text/html' } })
  t.equal(first.status, 200, 'an empty object takes position 0')
  t.equal(
    (await head(s)).headers['content-type'],
    'text/plain',
    'stricter: creation headers apply once',
  )
  const before = s.stat(BUCKET, KEY)
  const empty = await append(s, 3, '')
  t.match(empty.headers, {
    'x-oss-next-append-position': '3',
    'x-oss-hash-crc64ecma': '3231342946509354535',
    etag: before?.etag,
  })
  t.same(s.stat(BUCKET, KEY), before, 'nothing changed')
  t.equal((await append(s, 2, '')).status, 409)
  t.equal((await append(s, 0, '')).status, 409)
})

t.test(
  '1.4 an object that is Normal, replaced or deleted takes no append at its old length',
  async t => {
    const s = await startServer(t)
    await send(s, { method: 'PUT', body: 'normal' })
    t.match(await append(s, 6, 'x'), { status: 409, code: 'ObjectNotAppendable' })
    t.match(await append(s, 0, ''), { status: 409, code: 'ObjectNotAppendable' })
    await send(s, { method: 'DELETE' })
    await append(s, 0, 'abc')
    t.equal((await send(s, { method: 'PUT', body: 'abc' })).status, 200, 'a put replaces it')
    t.match(await append(s, 3, 'x'), { status: 409, headers: { 'x-oss-ec': '0026-00000017' } })
    await send(s, { method: 'DELETE' })
    t.equal(
      (await send(s, { method: 'DELETE' })).status,
      204,
      'deleting an absent object is no error',
    )
    t.equal((await append(s, 3, 'x')).status, 409, 'after a delete the old position is wrong')
    t.equal((await append(s, 0, 'new')).status, 200)
  },
)

t.test('1.4 of appends at the same position exactly one lands', async t => {
  const s = await startServer(t)
  for (let round = 0; round < 5; round++) {
    const bodies = Array.from({ length: 8 }, (_, i) => `${i}`.repeat(100_000))
    const position = round * 100_000
    const responses = await Promise.all(bodies.map(body => append(s, position, body)))
    t.equal(responses.filter(response => response.status === 200).length, 1)
    for (const response of responses) {
      t.equal(response.headers['x-oss-next-append-position'], String(position + 100_000))
    }
    const winner = responses.findIndex(response => response.status === 200)
    t.equal(storedText(s)?.slice(position), bodies[winner])
  }
  t.equal(s.stat(BUCKET, KEY)?.crc64, crc64OfChunks([s.read(BUCKET, KEY)!], '0'))
})

t.test('1.4 bodies of all sizes are stored unchanged', async t => {
  const s = await startServer(t)
  let whole = Buffer.alloc(0)
  for (const size of [1, 4095, 4096, 1, 1048576, 0, 1048575, 3, 5_000_000]) {
    const body = Buffer.alloc(size, `size ${size} `)
    const response = await append(s, whole.length, body)
    whole = Buffer.concat([whole, body])
    t.equal(response.headers['x-oss-next-append-position'], String(whole.length))
    t.equal(response.headers['x-oss-hash-crc64ecma'], crc64OfChunks([whole], '0'), `${size} bytes`)
  }
  t.ok(s.read(BUCKET, KEY)?.equals(whole))
  t.ok((await send(s, {})).body.equals(whole), 'GET returns the same')
  const middle = await send(s, { headers: { range: 'bytes=1000000-3500000' } })
  t.ok(middle.body.equals(whole.subarray(1_000_000, 3_500_001)))
})

t.test('1.4 an operation without its permission is refused', async t => {
  const s = await startServer(t)
  s.append(BUCKET, KEY, 'abc')
  const tagged = { headers: { 'x-oss-tagging': 'a=b' } }
  const rows: [action: string, request: () => Promise<RawResponse>][] = [
    ['oss:PutObject', () => append(s, 3, 'x')],
    ['oss:PutObject', () => send(s, { method: 'PUT', key: 'b', body: 'x' })],
    ['oss:PutObjectTagging', () => append(s, 0, 'x', { ...tagged, key: 'c' })],
    ['oss:PutObjectTagging', () => send(s, { method: 'PUT', key: 'c', ...tagged })],
    ['oss:GetObject', () => head(s)],
    ['oss:GetObject', () => head(s, { key: 'absent' })],
    ['oss:GetObject', () => send(s, {})],
    ['oss:GetObject', () => head(s, { query: { objectMeta: '' } })],
    ['oss:DeleteObject', () => send(s, { method: 'DELETE' })],
    ['oss:SealAppendObject', () => sealAt(s, 3)],
  ]
  const every = [...s.permissions]
  for (const [action, request] of rows) {
    s.permissions.delete(action)
    t.match(await request(), { status: 403, code: 'AccessDenied' }, `without ${action}`)
    s.permissions.clear()
    for (const each of every) if (each !== action) s.permissions.add(each)
    t.match(await request(), { status: 403 }, `with everything but ${action}`)
    s.permissions.add(action)
  }
  t.same(
    [...s.objects].map(each => each.state.key),
    [KEY],
  )
  t.equal(storedText(s), 'abc')
  s.permissions.clear()
  s.permissions.add('oss:PutObject')
  const wrong = await append(s, 1, '')
  t.equal(
    wrong.headers['x-oss-next-append-position'],
    '3',
    'a writer without GetObject learns the length from a 409',
  )
  const right = await append(s, 3, '')
  t.equal(
    right.headers['x-oss-hash-crc64ecma'],
    '3231342946509354535',
    'and the CRC from an empty append',
  )
})

t.test('1.4 a bucket that is not declared does not exist', async t => {
  const s = await startServer(t, { buckets: ['known-bucket'] })
  t.equal((await append(s, 0, 'x', { bucket: 'known-bucket' })).status, 200)
  const response = await append(s, 0, 'x')
  t.match(response, { status: 404, code: 'NoSuchBucket', headers: { 'x-oss-ec': '0015-00000101' } })
  t.match(response.xml, /<BucketName>examplebucket<\/BucketName>/)
  t.match(await head(s), {
    status: 404,
    code: 'NoSuchBucket',
    headers: { 'x-oss-ec': '0015-00000101' },
  })
  const credentials = { accessKeyId: 'unknown', accessKeySecret: 'x' }
  t.match(await head(s, { credentials }), { status: 404, code: 'NoSuchBucket' }, 'before the key')
  t.match(await head(s, { credentials, bucket: 'known-bucket' }), { code: 'InvalidAccessKeyId' })
  for (const use of ['read', 'stat', 'seal', 'delete'] as const) {
    t.throws(
      () => s[use](BUCKET, KEY),
      { message: /must be a bucket that exists, not example/ },
      use,
    )
  }
  t.throws(() => s.put(BUCKET, KEY, 'x'), { code: 'OSS_ERR_INVALID_OPTION' })
  t.throws(() => s.append(BUCKET, KEY, 'x'), { code: 'OSS_ERR_INVALID_OPTION' })
  t.equal(s.read('known-bucket', KEY)?.toString(), 'x')
})

t.test('1.5 a sealed object takes no append', async t => {
  const s = await startServer(t)
  t.match(await sealAt(s, 0), { status: 404, code: 'NoSuchKey' }, 'absent')
  await append(s, 0, 'abc')
  t.match(await sealAt(s, 2), {
    status: 409,
    code: 'PositionNotEqualToLength',
    headers: { 'x-oss-next-append-position': '3' },
  })
  t.match(await sealAt(s, 'x'), { status: 400, code: 'InvalidArgument' })
  t.match(await send(s, { method: 'POST', query: { seal: '' } }), { code: 'MissingArgument' })
  t.match(await sealAt(s, 3, { body: 'x' }), { status: 400 }, 'with a body (stricter: refused)')
  t.match(await sealAt(s, 3, { headers: { 'content-md5': md5('x') } }), { code: 'InvalidDigest' })
  t.equal(s.stat(BUCKET, KEY)?.sealedTime, undefined)
  s.clockOffset = -10_000
  const headers = { 'content-type': 'application/xml', 'content-md5': '1B2M2Y8AsgTpgAmY7PhCfg==' }
  const sealed = await sealAt(s, 3, { headers })
  t.equal(sealed.status, 200)
  const time = sealed.headers['x-oss-sealed-time']
  t.match(time, /GMT$/)
  s.clockOffset = 0
  t.equal(
    (await sealAt(s, 3)).headers['x-oss-sealed-time'],
    time,
    'a second seal tells the time of the first',
  )
  t.equal((await head(s)).headers['x-oss-sealed-time'], time)
  t.equal((await send(s, {})).headers['x-oss-sealed-time'], time)
  t.match(await append(s, 3, 'x'), { status: 400, code: 'AppendSealedObjectNotAllowed' })
  t.match(await append(s, 3, ''), { status: 400, code: 'AppendSealedObjectNotAllowed' })
  t.match(await append(s, 0, 'x'), { status: 400, code: 'AppendSealedObjectNotAllowed' })
  t.equal(storedText(s), 'abc')
  await send(s, { method: 'PUT', key: 'normal', body: 'abc' })
  const normal = await sealAt(s, 3, { key: 'normal' })
  t.match(normal, { status: 409, code: 'AppendSealedObjectNotAllowed' }, 'not appendable')
})

t.test('1.5 a seal is refused if it is not enabled', async t => {
  const s = await startServer(t, { seal: false })
  await append(s, 0, 'abc')
  t.match(await sealAt(s, 3), {
    status: 400,
    code: 'OperationNotSupported',
    headers: { 'x-oss-ec': '0016-00000513' },
    xml: /SealAppendable is not supported\./,
  })
  t.equal((await append(s, 3, 'd')).status, 200)
})

t.test('2.1 an error has the form of OSS', async t => {
  const s = await startServer(t)
  await append(s, 0, 'abc')
  const response = await append(s, 1, 'x')
  const id = response.headers['x-oss-request-id']
  t.equal(response.headers['content-type'], 'application/xml')
  t.equal(response.headers['x-oss-ec'], '0026-00000016')
  t.equal(
    response.xml,
    `<?xml version="1.0" encoding="UTF-8"?>
<Error>
  <Code>PositionNotEqualToLength</Code>
  <Message>Position is not equal to file length</Message>
  <RequestId>${id}</RequestId>
  <HostId>127.0.0.1:${s.port}</HostId>
  <EC>0026-00000016</EC>
  <RecommendDoc>https://api.aliyun.com/troubleshoot?q=0026-00000016</RecommendDoc>
</Error>
`,
  )
  const key = 'a&<b>\x01\u{1f600}'
  const absent = await head(s, { key })
  t.equal(absent.body.length, 0, 'HEAD has no body')
  t.match(absent.xml, /<Code>NoSuchKey<\/Code>/, 'the XML is in x-oss-err')
  t.match(absent.xml, /<Key>a&amp;&lt;b&gt;\?\u{1f600}<\/Key>/u, 'escaped, without controls')
  t.equal(absent.headers['x-oss-ec'], '0026-00000001')
  const argument = await append(s, 0, 'x', { query: { position: 'two' } })
  t.match(argument.xml, /<ArgumentName>position<\/ArgumentName>/)
  t.match(argument.xml, /<ArgumentValue>two<\/ArgumentValue>/)
})

// Codes that no rule of the server leads to, but that a fault can send.
const scriptedCodes: [status: number, code: string, ec?: string][] = [
  [409, 'FileImmutable'],
  [409, 'KeyDisabled'],
  [400, 'RequestTimeout'],
  [400, 'IncompleteBody'],
  [400, 'BadRequest'],
  [400, 'AppendSealedObjectNotAllowed'],
  [400, 'PublicEndpointForbidden', '0048-00000401'],
  [403, 'UserDisable', '0003-00000801'],
  [403, 'BucketDisable'],
  [403, 'InvalidObjectState'],
  [403, 'TransferAccelerationDisabled'],
  [301, 'PermanentRedirect'],
  [307, 'TemporaryRedirect'],
  [408, 'RequestTimeout'],
  [429, 'TooManyRequests'],
  [500, 'InternalError'],
  [501, 'NotImplemented'],
  [502, 'BadGateway'],
  [503, 'ServiceUnavailable'],
  [503, 'TotalQpsLimitExceeded', '0004-00000302'],
  [503, 'PartitionQpsLimitted', '0026-00000028'],
  [503, 'UploadTrafficRateLimitExceeded'],
  [504, 'GatewayTimeout'],
]

t.test('2.2 a fault sends any code', async t => {
  const s = await startServer(t)
  for (const [status, code, ec] of scriptedCodes) {
    const fault = { kind: 'status', status, code, ...(ec === undefined ? {} : { ec }) } as const
    s.faults.push(fault, { ...fault, on: 'head' })
    const response = await append(s, 0, 'abc')
    t.match(response, { status, code, headers: { 'x-oss-ec': ec } }, `${status} ${code}`)
    t.match(await head(s), { status, code, headers: { 'x-oss-ec': ec } }, 'HEAD')
  }
  t.equal(storedText(s), undefined, 'none of them stored anything')
})

t.test('4 HEAD describes an object', async t => {
  const s = await startServer(t)
  await append(s, 0, 'abc')
  t.match((await head(s)).headers, {
    'x-oss-object-type': 'Appendable',
    'x-oss-next-append-position': '3',
    'content-length': '3',
    'x-oss-hash-crc64ecma': '3231342946509354535',
    etag: s.stat(BUCKET, KEY)?.etag,
    'last-modified': new Date(s.stat(BUCKET, KEY)!.lastModified).toUTCString(),
    'accept-ranges': 'bytes',
    'content-md5': undefined,
    'x-oss-request-id': /^[0-9A-F]{24}$/,
  })
  await send(s, { method: 'PUT', key: 'normal', body: 'abc' })
  t.match((await head(s, { key: 'normal' })).headers, {
    'x-oss-object-type': 'Normal',
    'x-oss-next-append-position': undefined,
    'content-length': '3',
    'x-oss-hash-crc64ecma': '3231342946509354535',
    etag: '"900150983CD24FB0D6963F7D28E17F72"',
    'content-md5': 'kAFQmDzST7DWlj99KOF/cg==',
  })
  const meta = await head(s, { query: { objectMeta: '' } })
  t.match(meta.headers, {
    'content-length': '3',
    etag: s.stat(BUCKET, KEY)?.etag,
    'x-oss-hash-crc64ecma': '3231342946509354535',
    'x-oss-object-type': undefined,
    'x-oss-next-append-position': undefined,
  })
  t.match(await head(s, { key: 'absent', query: { objectMeta: '' } }), { code: 'NoSuchKey' })
})

t.test('4 HEAD and GET take conditions', async t => {
  const s = await startServer(t)
  await append(s, 0, 'abc')
  const etag = s.stat(BUCKET, KEY)!.etag
  const past = new Date(Date.now() - 3_600_000).toUTCString()
  const future = new Date(Date.now() + 3_600_000).toUTCString()
  const rows: [headers: Record<string, string>, status: number][] = [
    [{ 'if-match': etag }, 200],
    [{ 'if-match': `"x", ${etag}` }, 200],
    [{ 'if-match': '"x"' }, 412],
    [{ 'if-none-match': etag }, 304],
    [{ 'if-none-match': etag.slice(1, -1) }, 304],
    [{ 'if-none-match': '"x"' }, 200],
    [{ 'if-modified-since': past }, 200],
    [{ 'if-modified-since': future }, 304],
    [{ 'if-unmodified-since': past }, 412],
    [{ 'if-unmodified-since': future }, 200],
  ]
  for (const [headers, status] of rows) {
    for (const method of ['HEAD', 'GET']) {
      const response = await send(s, { method, headers })
      t.equal(response.status, status, `${method} ${JSON.stringify(headers)}`)
      t.equal(response.code, status === 412 ? 'PreconditionFailed' : undefined)
      const [name = ''] = Object.keys(headers)
      const condition = status === 412 ? new RegExp(`<Condition>${name}</Condition>`, 'i') : /^/
      t.match(response.xml, condition, 'the refusal names the condition')
      if (status === 304) t.equal(response.body.length, 0)
    }
  }
})

// Ranges of an object of 1,000 bytes: status and part, by default and with the standard behavior.
type ExpectedRange = [status: number, start?: number, end?: number]
const ranges: [range: string, byDefault: ExpectedRange, standard: ExpectedRange][] = [
  ['bytes=0-499', [206, 0, 499], [206, 0, 499]],
  ['bytes=500-999', [206, 500, 999], [206, 500, 999]],
  ['bytes=999-999', [206, 999, 999], [206, 999, 999]],
  ['bytes=500-', [206, 500, 999], [206, 500, 999]],
  ['bytes=0-', [206, 0, 999], [206, 0, 999]],
  ['bytes=-500', [206, 500, 999], [206, 500, 999]],
  ['bytes=-1000', [206, 0, 999], [206, 0, 999]],
  ['bytes=0-1000', [200], [206, 0, 999]],
  ['bytes=500-2000', [200], [206, 500, 999]],
  ['bytes=1000-2000', [200], [416]],
  ['bytes=1000-', [200], [416]],
  ['bytes=-2000', [200], [206, 0, 999]],
  ['bytes=-0', [200], [416]],
  ['bytes=0-499,600-700', [206, 0, 499], [206, 0, 499]],
  ['byte=0-499', [200], [200]],
  ['bytes=5-2', [200], [200]],
  ['bytes=', [200], [200]],
  ['bytes=-', [200], [200]],
  ['bytes=a-b', [200], [200]],
]

t.test("4 GET serves ranges by both of OSS's rules", async t => {
  const s = await startServer(t)
  const whole = Buffer.from(Array.from({ length: 1000 }, (_, i) => i % 251))
  await append(s, 0, whole)
  for (const [range, byDefault, standard] of ranges) {
    const behaviors: [Record<string, string>, ExpectedRange][] = [
      [{ range }, byDefault],
      [{ range, 'x-oss-range-behavior': 'standard' }, standard],
    ]
    for (const [headers, [status, first = 0, last = 999]] of behaviors) {
      const response = await send(s, { headers })
      const label = JSON.stringify(headers)
      t.equal(response.status, status, label)
      if (status === 416) {
        t.equal(response.code, 'InvalidRange')
        t.equal(response.headers['content-range'], 'bytes */1000')
        continue
      }
      const expected = status === 206 ? `bytes ${first}-${last}/1000` : undefined
      t.equal(response.headers['content-range'], expected, `${label}: Content-Range`)
      t.ok(response.body.equals(whole.subarray(first, last + 1)), `${label}: bytes`)
      t.equal(
        response.headers['x-oss-hash-crc64ecma'],
        crc64OfChunks([whole], '0'),
        'the CRC of the whole object',
      )
    }
  }
})

t.test('4 an empty object has no range', async t => {
  const s = await startServer(t)
  await append(s, 0, '')
  const standard = { 'x-oss-range-behavior': 'standard' }
  for (const range of ['bytes=0-0', 'bytes=0-', 'bytes=-1']) {
    t.match(await send(s, { headers: { range } }), { status: 200, body: Buffer.alloc(0) })
    t.equal((await send(s, { headers: { range, ...standard } })).status, 416, range)
  }
})

t.test('4 an archived or absent object cannot be read', async t => {
  const s = await startServer(t)
  await append(s, 0, 'abc', { headers: { 'x-oss-storage-class': 'Archive' } })
  t.match(await send(s, {}), { status: 403, code: 'InvalidObjectState' })
  t.equal((await head(s)).status, 200)
  t.equal((await append(s, 3, 'def')).status, 200)
  t.match(await send(s, { key: 'absent' }), { status: 404, code: 'NoSuchKey' })
})

t.test('12 a wrong digest is refused, and nothing is stored', async t => {
  const s = await startServer(t)
  const mismatch = await append(s, 0, 'abc', { headers: { 'content-md5': md5('x') } })
  t.match(mismatch, {
    status: 400,
    code: 'InvalidDigest',
    headers: { 'x-oss-ec': '0017-00000503' },
  })
  const malformed = await append(s, 0, 'abc', { headers: { 'content-md5': 'x' } })
  t.match(malformed, {
    status: 400,
    code: 'InvalidDigest',
    headers: { 'x-oss-ec': '0017-00000502' },
  })
  t.equal(storedText(s), undefined, 'nothing is stored')
})

t.test('12 the append after a delete is refused', async t => {
  const s = await startServer(t)
  await append(s, 0, 'abcdef')
  s.delete(BUCKET, KEY)
  t.match(await append(s, 6, 'x'), { status: 409, headers: { 'x-oss-next-append-position': '0' } })
  t.match(await head(s), { status: 404, code: 'NoSuchKey' })
  await append(s, 0, 'abc')
  t.match(await append(s, 6, 'x'), { status: 409, headers: { 'x-oss-next-append-position': '3' } })
})

t.test('12 the same bytes at the same position are never stored twice', async t => {
  const s = await startServer(t)
  const first = await append(s, 0, 'abc')
  const again = await append(s, 0, 'abc')
  t.match(again, { status: 409, headers: { 'x-oss-next-append-position': '3' } })
  t.equal(storedText(s), 'abc')
  t.equal((await head(s)).headers['x-oss-hash-crc64ecma'], first.headers['x-oss-hash-crc64ecma'])
})
