// The operations on buckets: what a test suite needs to set up and to clean up.

import { createHash } from 'node:crypto'
import t from 'tap'
import type { OssServer } from '../../lib/server/index.ts'
import {
  append,
  head,
  type RawRequestOptions,
  type RawResponse,
  send,
} from '../helpers/raw-client.ts'
import { BUCKET, startServer } from '../helpers/start-server.ts'

/** A request on a bucket, or with bucket '' on the service. */
function onBucket(s: OssServer, method: string, options: RawRequestOptions = {}) {
  return send(s, { method, key: '', ...options })
}

function valuesOf(response: RawResponse, name: string): string[] {
  return [...response.xml.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, 'g'))].map(
    ([, value = '']) => value,
  )
}

/** The keys and common prefixes of a page, in order. */
function namesOf(response: RawResponse): string[] {
  const entry = /<Contents>\s*<Key>([^<]*)<|<CommonPrefixes>\s*<Prefix>([^<]*)</g
  return [...response.xml.matchAll(entry)].map(([, key, prefix]) => key ?? `${prefix}*`)
}

function deletion(xml: string, options: RawRequestOptions = {}): RawRequestOptions {
  const md5 = createHash('md5').update(xml).digest('base64')
  return {
    body: xml,
    ...options,
    query: { delete: '', ...options.query },
    headers: { 'content-md5': md5, ...options.headers },
  }
}

t.test('a bucket is created, used, emptied and deleted', async t => {
  const s = await startServer(t, { buckets: [] })
  t.match(await append(s, 0, 'abc'), { status: 404, code: 'NoSuchBucket' })
  t.equal((await onBucket(s, 'PUT')).status, 200)
  t.equal((await onBucket(s, 'PUT')).status, 200, 'creating it again is no error')
  t.equal((await append(s, 0, 'abc')).status, 200)
  t.match(await onBucket(s, 'DELETE'), { status: 409, code: 'BucketNotEmpty' })
  t.equal((await onBucket(s, 'GET')).status, 200)
  t.equal((await send(s, { method: 'DELETE' })).status, 204)
  t.equal((await onBucket(s, 'DELETE')).status, 204)
  for (const method of ['DELETE', 'GET']) {
    t.match(await onBucket(s, method), { status: 404, code: 'NoSuchBucket' }, method)
  }
  t.match(await head(s), { status: 404, code: 'NoSuchBucket' })
})

t.test('without the option buckets a bucket exists until it is deleted', async t => {
  const s = await startServer(t)
  t.equal((await onBucket(s, 'GET', { query: { bucketInfo: '' } })).status, 200)
  t.equal((await onBucket(s, 'DELETE')).status, 204)
  t.match(await append(s, 0, 'abc'), { status: 404, code: 'NoSuchBucket' })
  t.equal((await append(s, 0, 'abc', { bucket: 'another-bucket' })).status, 200)
  t.equal((await onBucket(s, 'PUT')).status, 200)
  t.equal((await append(s, 0, 'abc')).status, 200)
})

t.test('a bucket is private, Standard and LRS, and nothing else is created', async t => {
  const s = await startServer(t, { buckets: [] })
  const configuration = (content: string) =>
    `<?xml version="1.0"?>\n<CreateBucketConfiguration>${content}</CreateBucketConfiguration>`
  const rows: [label: string, options: RawRequestOptions, code?: string][] = [
    ['private', { headers: { 'x-oss-acl': 'private' } }],
    ['public', { headers: { 'x-oss-acl': 'public-read' } }, 'NotImplemented'],
    ['no settings', { body: configuration('') }],
    [
      'Standard and LRS',
      {
        body: configuration(
          '\n <StorageClass>Standard</StorageClass>\n <DataRedundancyType>LRS</DataRedundancyType>\n',
        ),
      },
    ],
    ['IA', { body: configuration('<StorageClass>IA</StorageClass>') }, 'NotImplemented'],
    [
      'ZRS',
      { body: configuration('<DataRedundancyType>ZRS</DataRedundancyType>') },
      'NotImplemented',
    ],
    ['other XML', { body: '<Bucket></Bucket>' }, 'MalformedXML'],
    ['no XML', { body: 'examplebucket' }, 'MalformedXML'],
    ['an object header', { headers: { 'x-oss-storage-class': 'IA' } }, 'NotImplemented'],
  ]
  for (const [label, options, code] of rows) {
    const response = await onBucket(s, 'PUT', options)
    t.match(response, { status: code === undefined ? 200 : 400, code }, label)
    t.equal(s.buckets.has(BUCKET), code === undefined, label)
    s.buckets.delete(BUCKET)
  }
  t.match(await onBucket(s, 'PUT', { bucket: 'Upper', target: '/Upper/' }), {
    status: 400,
    code: 'InvalidBucketName',
  })
})

t.test('GetBucketInfo describes a bucket', async t => {
  const s = await startServer(t, { region: 'eu-central-1', buckets: [] })
  const region = { region: 'eu-central-1' }
  await onBucket(s, 'PUT', region)
  const info = await onBucket(s, 'GET', { ...region, query: { bucketInfo: '' } })
  t.equal(info.headers['content-type'], 'application/xml')
  t.same(valuesOf(info, 'Name'), [BUCKET])
  t.same(valuesOf(info, 'Location'), ['oss-eu-central-1'])
  t.same(valuesOf(info, 'StorageClass'), ['Standard'])
  t.same(valuesOf(info, 'Grant'), ['private'])
  const [created = ''] = valuesOf(info, 'CreationDate')
  t.match(created, /\.000Z$/, 'whole seconds, which is all that oss2 takes')
  t.ok(Math.abs(Date.parse(created) - Date.now()) < 60_000)
})

t.test('ListBuckets lists buckets that were declared, created, or hold an object', async t => {
  const s = await startServer(t)
  const list = (query = {}) => onBucket(s, 'GET', { bucket: '', query })
  t.same(valuesOf(await list(), 'Name'), [])
  await onBucket(s, 'PUT', { bucket: 'logs-b' })
  s.append('logs-a', 'key', 'x')
  s.append('other', 'key', 'x')
  t.same(valuesOf(await list(), 'Name'), ['logs-a', 'logs-b', 'other'])
  t.same(valuesOf(await list({ prefix: 'logs-' }), 'Name'), ['logs-a', 'logs-b'])
  const first = await list({ 'max-keys': '2' })
  t.same(valuesOf(first, 'Name'), ['logs-a', 'logs-b'])
  t.same(valuesOf(first, 'IsTruncated'), ['true'])
  t.same(valuesOf(await list({ marker: valuesOf(first, 'NextMarker')[0]! }), 'Name'), ['other'])
  const declared = await startServer(t, { buckets: ['one', 'two'] })
  t.same(valuesOf(await onBucket(declared, 'GET', { bucket: '' }), 'Name'), ['one', 'two'])
  const endpoint = { bucket: '', headers: { host: 'oss-cn-hangzhou.aliyuncs.com' } }
  t.equal((await onBucket(s, 'GET', endpoint)).status, 200, 'by the endpoint of the region')
})

const KEYS = ['a', 'b/', 'b/1', 'b/2/x', 'b/2/y', 'c d+e&', 'd', '日志/1', '\u{1f600}', '\uff41']
const SORTED = [...KEYS].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))

const LISTS: [query: Record<string, string>, names: string[]][] = [
  [{}, SORTED],
  [{ prefix: 'b/' }, ['b/', 'b/1', 'b/2/x', 'b/2/y']],
  [{ prefix: 'b/', delimiter: '/' }, ['b/', 'b/1', 'b/2/*']],
  [{ delimiter: '/' }, ['a', 'b/*', 'c d+e&', 'd', '日志/*', '\uff41', '\u{1f600}']],
  [{ prefix: 'x' }, []],
  [{ prefix: 'b/2', delimiter: '/' }, ['b/2/*']],
  [{ delimiter: 'x' }, SORTED.map(key => (key === 'b/2/x' ? 'b/2/x*' : key))],
]

for (const version of [1, 2]) {
  t.test(`ListObjects, version ${version}, lists keys and common prefixes in pages`, async t => {
    const s = await startServer(t)
    for (const key of KEYS) s.append(BUCKET, key, 'abc')
    s.append('otherbucket', 'other', 'x')
    const type: Record<string, string> = version === 2 ? { 'list-type': '2' } : {}
    const after = version === 2 ? 'start-after' : 'marker'
    const continuation = version === 2 ? 'continuation-token' : 'marker'
    const next = version === 2 ? 'NextContinuationToken' : 'NextMarker'
    const list = (query: Record<string, string>) =>
      onBucket(s, 'GET', { query: { ...type, ...query } })
    for (const [query, names] of LISTS) {
      const label = JSON.stringify(query)
      const plain = names.map(name => name.replace('&', '&amp;'))
      t.same(namesOf(await list(query)), plain, label)
      const encoded = await list({ ...query, 'encoding-type': 'url' })
      t.same(valuesOf(encoded, 'EncodingType'), ['url'])
      t.same(namesOf(encoded).map(decodeURIComponent), names, `${label}: encoded`)
      for (const size of [1, 2, 3]) {
        const collected: string[] = []
        let page = await list({ ...query, 'max-keys': String(size) })
        for (;;) {
          t.ok(namesOf(page).length <= size)
          collected.push(...namesOf(page))
          if (valuesOf(page, 'IsTruncated')[0] === 'false') break
          const [token = ''] = valuesOf(page, next)
          const from = { [continuation]: token.replace('&amp;', '&') }
          page = await list({ ...query, ...from, 'max-keys': String(size) })
        }
        t.same(collected, plain, `${label}: in pages of ${size}`)
      }
    }
    t.same(namesOf(await list({ [after]: 'b/2' })).slice(0, 2), ['b/2/x', 'b/2/y'])
    t.same(namesOf(await list({ [after]: 'b/', delimiter: '/' }))[0], 'c d+e&amp;')
    const [entry = ''] = /<Contents>.*?<\/Contents>/s.exec((await list({ prefix: 'a' })).xml) ?? []
    t.match(entry, /<Size>3<.*<StorageClass>Standard</s)
    t.match(entry, /<Type>Appendable</)
    t.match(entry, /<LastModified>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z</)
    t.equal(/<Owner>/.test(entry), version === 1, 'version 2 has no owner unless asked')
    if (version === 1) return
    t.match((await list({ 'fetch-owner': 'true' })).xml, /<Owner>/)
    t.same(valuesOf(await list({ delimiter: '/' }), 'KeyCount'), ['7'])
  })
}

t.test('ListObjects refuses what it does not know', async t => {
  const s = await startServer(t)
  const rows: [query: Record<string, string>, code: string][] = [
    [{ 'max-keys': '0' }, 'InvalidArgument'],
    [{ 'max-keys': '1001' }, 'InvalidArgument'],
    [{ 'max-keys': 'ten' }, 'InvalidArgument'],
    [{ 'encoding-type': 'base64' }, 'InvalidArgument'],
    [{ 'list-type': '1' }, 'InvalidArgument'],
    [{ 'list-type': '2', 'continuation-token': '!' }, 'InvalidArgument'],
    [{ versions: '' }, 'NotImplemented'],
    [{ uploads: '' }, 'NotImplemented'],
    [{ acl: '' }, 'NotImplemented'],
    [{ location: '' }, 'NotImplemented'],
  ]
  for (const [query, code] of rows) {
    const response = await onBucket(s, 'GET', { query })
    t.match(response, { status: 400, code }, JSON.stringify(query))
  }
  t.match(await onBucket(s, 'HEAD'), { status: 400, code: 'NotImplemented' }, 'HEAD')
  t.match(await onBucket(s, 'POST'), { status: 400, code: 'NotImplemented' }, 'POST')
  t.match(await onBucket(s, 'PUT', { bucket: '' }), { status: 400, code: 'NotImplemented' })
})

t.test('DeleteMultipleObjects deletes the keys that it names', async t => {
  const s = await startServer(t)
  for (const key of ['a', 'b', `c&<d>'"\n`, 'e', 'kept']) s.append(BUCKET, key, 'x')
  const verbose = await onBucket(
    s,
    'POST',
    deletion(
      '<?xml version="1.0" encoding="UTF-8"?>\n<Delete>\n <Quiet>false</Quiet>\n' +
        ' <Object>\n  <Key>a</Key>\n </Object>\n <Object><Key>absent</Key></Object>\n' +
        ' <Object><Key>c&amp;&lt;d&gt;&#39;&quot;&#xA;</Key></Object>\n</Delete>\n',
    ),
  )
  t.equal(verbose.status, 200)
  t.same(valuesOf(verbose, 'Key'), ['a', 'absent', `c&amp;&lt;d&gt;'"\n`])
  t.same(
    s.objects.list(BUCKET).map(({ key }) => key),
    ['b', 'e', 'kept'],
  )
  const quiet = await onBucket(
    s,
    'POST',
    deletion('<Delete><Quiet>true</Quiet><Object><Key>b</Key></Object></Delete>'),
  )
  t.match(quiet, { status: 200, xml: '' })
  const encoded = await onBucket(
    s,
    'POST',
    deletion('<Delete><Object><Key>e</Key></Object></Delete>', {
      query: { 'encoding-type': 'url' },
    }),
  )
  t.same(valuesOf(encoded, 'EncodingType'), ['url'])
  t.same(
    s.objects.list(BUCKET).map(({ key }) => key),
    ['kept'],
  )
})

t.test('DeleteMultipleObjects refuses a body that it cannot read whole', async t => {
  const s = await startServer(t)
  s.append(BUCKET, 'a', 'x')
  const object = '<Object><Key>a</Key></Object>'
  const rows: [label: string, options: RawRequestOptions, code: string][] = [
    ['no digest', { query: { delete: '' }, body: `<Delete>${object}</Delete>` }, 'MissingArgument'],
    [
      'a wrong digest',
      deletion(`<Delete>${object}</Delete>`, {
        headers: { 'content-md5': '1B2M2Y8AsgTpgAmY7PhCfg==' },
      }),
      'InvalidDigest',
    ],
    ['no XML', deletion('a'), 'MalformedXML'],
    ['no object', deletion('<Delete></Delete>'), 'MalformedXML'],
    ['another element', deletion(`<Delete>${object}<All/></Delete>`), 'MalformedXML'],
    ['quiet perhaps', deletion(`<Delete><Quiet>maybe</Quiet>${object}</Delete>`), 'MalformedXML'],
    [
      'a version',
      deletion(`<Delete>${object.replace('</Key>', '</Key><VersionId>1</VersionId>')}</Delete>`),
      'MalformedXML',
    ],
    ['a document behind it', deletion(`<Delete>${object}</Delete><Delete/>`), 'MalformedXML'],
    ['1,001 objects', deletion(`<Delete>${object.repeat(1001)}</Delete>`), 'MalformedXML'],
    [
      'a wrong key behind a right one',
      deletion(`<Delete>${object}<Object><Key>/b</Key></Object></Delete>`),
      'InvalidObjectName',
    ],
    [
      'another encoding',
      deletion(`<Delete>${object}</Delete>`, { query: { 'encoding-type': 'x' } }),
      'InvalidArgument',
    ],
  ]
  for (const [label, options, code] of rows) {
    t.match(await onBucket(s, 'POST', options), { status: 400, code }, label)
    t.ok(s.stat(BUCKET, 'a'), `${label}: nothing is deleted`)
  }
})

t.test('an operation on a bucket without its permission is refused', async t => {
  const s = await startServer(t, { buckets: [BUCKET] })
  const deleted = deletion('<Delete><Object><Key>a</Key></Object></Delete>')
  const rows: [action: string, request: () => Promise<RawResponse>][] = [
    ['oss:PutBucket', () => onBucket(s, 'PUT')],
    ['oss:GetBucketInfo', () => onBucket(s, 'GET', { query: { bucketInfo: '' } })],
    ['oss:ListObjects', () => onBucket(s, 'GET')],
    ['oss:ListBuckets', () => onBucket(s, 'GET', { bucket: '' })],
    ['oss:DeleteObject', () => onBucket(s, 'POST', deleted)],
    ['oss:DeleteBucket', () => onBucket(s, 'DELETE')],
  ]
  for (const [action, request] of rows) {
    s.permissions.delete(action)
    t.match(await request(), { status: 403, code: 'AccessDenied' }, action)
    s.permissions.add(action)
    t.ok((await request()).status < 300, action)
  }
})

t.test('a fault strikes an operation on a bucket', async t => {
  const s = await startServer(t)
  s.faults.push(
    { kind: 'status', status: 503, on: 'list' },
    { kind: 'rival', when: 'before', on: 'any' },
  )
  t.equal((await onBucket(s, 'GET', { query: { bucketInfo: '' } })).status, 200)
  t.equal((await onBucket(s, 'GET')).status, 503)
  t.equal((await onBucket(s, 'GET')).status, 200)
  t.same([...s.objects], [], 'a rival needs a key')
})
