import { createHash } from 'node:crypto'
import { inspect } from 'node:util'
import t from 'tap'
import type { Credentials } from '../../lib/client/credentials.ts'
import { locate, resolveEndpoint } from '../../lib/client/endpoint.ts'
import {
  canonicalRequest,
  encodeQuery,
  type Identity,
  type SignableRequest,
  sign,
  signingKey,
  stringToSign,
} from '../../lib/client/sign-v4.ts'

interface Vector extends SignableRequest {
  readonly name: string
  readonly credentials: Credentials
  readonly time: number
  readonly signature: string
  /** SHA-256 of the canonical request, if the vector has it. */
  readonly digest?: string
}

function utc(time: string): number {
  return Date.parse(time) / 1000
}

const credentials = { accessKeyId: 'ak', accessKeySecret: 'sk' }
const query = {
  param1: 'value1',
  '+param1': 'value3',
  '|param1': 'value4',
  '+param2': '',
  '|param2': '',
  param2: '',
}
const unsigned = { abc: 'value', ZAbc: 'value', XYZ: 'value' }

/** The request of most signer tests of Alibaba's SDKs. */
const common = {
  method: 'PUT',
  target: { bucket: 'bucket', key: '1234+-/123/1.txt' },
  query,
  headers: {
    'x-oss-head1': 'value',
    ...unsigned,
    'content-type': 'text/plain',
    'x-oss-content-sha256': 'UNSIGNED-PAYLOAD',
  },
  credentials,
  time: 1702743657,
}
const commonC = {
  method: 'PUT',
  target: {
    bucket: 'oss-bucket-test',
    key: 'test-sign-V4/-!@#$%^&*()/abcdefjhijklmnoqprstuvwxyz/123456789',
  },
  query,
  headers: {
    'x-oss-head1': 'value',
    ...unsigned,
    'content-type': 'application/octet-stream',
  },
  credentials,
}

/** Published with Alibaba's Go, Python, PHP and C SDKs. */
const published: Vector[] = [
  {
    ...common,
    name: 'plain',
    signature: 'e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe',
    digest: 'f4613657f1b108998e8dbd10a1aa5da621dc2c6e02c9ddec0f163664848704c4',
  },
  {
    ...common,
    name: 'STS token, on the next day',
    credentials: { ...credentials, securityToken: 'token' },
    time: 1702784856,
    signature: 'b94a3f999cf85bcdc00d332fbd3734ba03e48382c36fa4d5af5df817395bd9ea',
  },
  {
    name: 'AppendObject',
    method: 'POST',
    target: { bucket: 'bucket', key: 'object' },
    query: { append: '', position: '0' },
    headers: { 'content-type': 'text/plain' },
    credentials,
    time: 1702743657,
    signature: 'f7a645f23a0434ea90d5e2bb2bca90d0fda9ef4bc54a9c5008b2134e7c9023f2',
    digest: '23834db5581a923c24130b228eacdc50e763f5161439620e651f85ab87410eed',
  },
  {
    ...commonC,
    name: 'C SDK, a key with punctuation',
    time: utc('2022-10-16T04:07:19Z'),
    signature: '16e58322c5aafb55edd82813b02d6521caab8194882c786bf0e77b7987a63979',
  },
  {
    ...commonC,
    name: 'C SDK, no query',
    query: {},
    time: utc('2022-10-16T09:14:31Z'),
    signature: '5028172a0a3806285979896982bee6e36e915cbf428ee7100a809e1f0ff43b64',
  },
]

const own = {
  method: 'POST',
  credentials: { accessKeyId: 'LTAIexampleAk', accessKeySecret: 'exampleSecretKey0123456789' },
  time: 1704164645,
}
const octets = { 'content-type': 'application/octet-stream' }
const target = { bucket: 'examplebucket', key: 'a/b.log' }

/** Computed with two independent implementations, for the requests of this package. */
const derived: Vector[] = [
  {
    ...own,
    name: 'creating append',
    target: { bucket: 'examplebucket', key: "logs/2024/01/02/app name+1~(a)!'*.log" },
    query: { append: '', position: '0' },
    headers: {
      'content-type': 'text/plain; charset=utf-8',
      'content-md5': 'XUFAKrxLKna5cZ2REBfFkg==',
      'x-oss-object-acl': 'private',
      'x-oss-storage-class': 'Standard',
      'x-oss-meta-app': 'demo',
    },
    digest: 'dd4abade54632d76295644064ea3b53b09db1b00a1097977ebf27609d6478cec',
    signature: 'a70e0e1efc44602636196388b91a77624dfc0423e6f9e84b61ce144993ef4615',
  },
  {
    ...own,
    name: 'last byte of 5 GiB, Chinese key, STS token',
    target: { bucket: 'examplebucket', key: '日志/应用 日志.log' },
    query: { append: '', position: '5368709119' },
    headers: octets,
    credentials: { ...own.credentials, securityToken: 'STSTOKEN+/==' },
    digest: 'd456fc6b6cd81a3ff37b29eddd3f12971dbf80b6c1d32feb1d1d1163776019bb',
    signature: 'a4471aaa721763c14876de3a78eb99afed61f12903f7262b1c6f3e938fd9d525',
  },
  {
    ...own,
    name: 'HEAD',
    method: 'HEAD',
    target,
    query: {},
    headers: {},
    digest: 'b22481bad7a298f4eacd801427443e07201f88442eaf528bf13da250e0e53018',
    signature: 'd2f56bad04da18f6c429cfab5449ad0979cc38873d0b0c18ee771587757b9bad',
  },
  {
    ...own,
    name: 'seal',
    target,
    query: { seal: '', position: '10' },
    headers: { 'content-type': 'application/xml', 'content-md5': '1B2M2Y8AsgTpgAmY7PhCfg==' },
    digest: '1a85c8964e63c56c259ad1820108c88ec02ad42d56ff32e71b6bc3d91cb86556',
    signature: 'f261ad1568b3c275fc62bd547d5a58b9444e36b4443425641a6e2ba78020e9c1',
  },
]

function identityOf({ credentials, time }: Vector): Identity {
  return { credentials, region: 'cn-hangzhou', date: new Date(time * 1000) }
}

/** Digest of the canonical request, from the headers that `sign` returned. */
function digestOf(request: SignableRequest, sent: Record<string, string>): string {
  return createHash('sha256').update(canonicalRequest(request, sent)).digest('hex')
}

for (const [set, vectors] of Object.entries({ published, derived })) {
  t.test(`signatures equal the ${set} vectors`, async t => {
    for (const vector of vectors) {
      const { name } = vector
      const headers = sign(vector, identityOf(vector))
      const time = new Date(vector.time * 1000).toISOString().replace(/[-:]|\.000/g, '')
      const scope = `${time.slice(0, 8)}/cn-hangzhou/oss/aliyun_v4_request`
      t.equal(
        headers.authorization,
        `OSS4-HMAC-SHA256 Credential=${vector.credentials.accessKeyId}/${scope},Signature=${vector.signature}`,
        name,
      )
      t.equal(headers['x-oss-date'], time, `${name}: date`)
      t.equal(headers['x-oss-content-sha256'], 'UNSIGNED-PAYLOAD', `${name}: payload`)
      t.equal(headers['x-oss-security-token'], vector.credentials.securityToken, `${name}: token`)
      if (vector.digest !== undefined) {
        t.equal(digestOf(vector, headers), vector.digest, `${name}: canonical request`)
      }
    }
  })
}

t.test('canonical request, string to sign and signing key equal the published ones', async t => {
  const append = published.find(({ name }) => name === 'AppendObject')!
  const canonical = [
    'POST',
    '/bucket/object',
    'append&position=0',
    'content-type:text/plain',
    'x-oss-content-sha256:UNSIGNED-PAYLOAD',
    'x-oss-date:20231216T162057Z',
    '',
    '',
    'UNSIGNED-PAYLOAD',
  ].join('\n')
  t.equal(canonicalRequest(append, sign(append, identityOf(append))), canonical)

  const scope = '20231216/cn-hangzhou/oss/aliyun_v4_request'
  t.equal(
    stringToSign('20231216T162057Z', scope, canonical),
    `OSS4-HMAC-SHA256\n20231216T162057Z\n${scope}\n${append.digest}`,
  )
  t.equal(
    signingKey('sk', scope).toString('hex'),
    'b412a03b134ebddd720f5167b5de6db66620ebb3b01cff4d49e3ccb09f8de97f',
  )
  t.equal(
    signingKey('exampleSecretKey0123456789', '20240102/cn-hangzhou/oss/aliyun_v4_request').toString(
      'hex',
    ),
    '8b1197926e2cb35ae34fffd3802f9c2b50360d574dfbb7b0665b7e471a13a0e9',
  )
})

t.test('the signed path equals the sent path in every style', async t => {
  const keys = [
    '日志/应用 日志.log',
    'a//b',
    'a/../b',
    'a\\b',
    "x y+z~(1)!'*.log",
    '%2F',
    'q?x#y',
    'a\r\nb',
    'k'.repeat(1023),
  ]
  const region = 'cn-hangzhou'
  const virtual = resolveEndpoint({ region })
  const path = resolveEndpoint({ region, endpoint: 'http://127.0.0.1:1' })
  const cname = resolveEndpoint({ region, endpoint: 'files.example', cname: true })
  for (const key of keys) {
    const target = { bucket: 'examplebucket', key }
    const request = { method: 'HEAD', target, query: {}, headers: {} }
    const signed = canonicalRequest(request, {}).split('\n')[1]!
    t.equal(locate(path, target).path, signed, `path: ${key.slice(0, 30)}`)
    t.equal(`/examplebucket${locate(virtual, target).path}`, signed, 'virtual')
    t.equal(`/examplebucket${locate(cname, target).path}`, signed, 'cname')
  }
})

t.test('a query string is encoded and sorted by name', async t => {
  const queries: [string, Record<string, string>, string][] = [
    ['none', {}, ''],
    ['append', { position: '0', append: '' }, 'append&position=0'],
    ['seal', { seal: '', position: '10' }, 'position=10&seal'],
    [
      'sorted as encoded',
      query,
      '%2Bparam1=value3&%2Bparam2&%7Cparam1=value4&%7Cparam2&param1=value1&param2',
    ],
    ['sorted by name, not by pair', { 'a-b': '2', a: '1' }, 'a=1&a-b=2'],
    ['capitals first', { b: '1', B: '2' }, 'B=2&b=1'],
    ['the slash is encoded', { prefix: 'a/b c' }, 'prefix=a%2Fb%20c'],
    ['marks', { "!'()*": '~&=' }, '%21%27%28%29%2A=~%26%3D'],
  ]
  for (const [label, input, text] of queries) t.equal(encodeQuery(input), text, label)
})

t.test('headers are normalized, and those of the signature cannot be overridden', async t => {
  const identity = identityOf(derived[0]!)
  const given = Object.freeze({ 'X-Oss-Meta-A': '  b ', Plain: 'c\t', ['__proto__']: 'd' })
  const request = { method: 'POST', target, query: {}, headers: given }
  const headers = sign(request, identity)
  t.equal(headers['x-oss-meta-a'], 'b', 'lower-case and trimmed')
  t.equal(headers.plain, 'c', 'unsigned headers too')
  t.ok(Object.hasOwn(headers, '__proto__'), 'a name of a prototype is kept')
  t.equal(Object.getPrototypeOf(headers), Object.prototype)
  t.notOk('x-oss-security-token' in headers, 'no token, no header')

  const forged = sign(
    {
      ...request,
      headers: { Authorization: 'x', 'X-OSS-Date': 'x', 'x-oss-content-sha256': 'x' },
    },
    identity,
  )
  const plain = sign({ ...request, headers: {} }, identity)
  t.same(forged, plain, 'headers of the signature')

  // é is sent as one byte of latin1, and OSS digests that byte.
  const text = canonicalRequest(request, { 'x-oss-meta-a': 'é' })
  t.match(
    stringToSign('', '', text),
    createHash('sha256').update(Buffer.from(text, 'latin1')).digest('hex'),
  )
})

t.test('each part of the identity changes the signature, also with a cached key', async t => {
  const vector = derived.find(({ name }) => name === 'seal')!
  const base = identityOf(vector)
  const { credentials } = base
  const variants: Record<string, Identity> = {
    base,
    secret: { ...base, credentials: { ...credentials, accessKeySecret: 'other' } },
    region: { ...base, region: 'cn-beijing' },
    day: { ...base, date: new Date(+base.date + 86_400_000) },
    second: { ...base, date: new Date(+base.date + 1000) },
    token: { ...base, credentials: { ...credentials, securityToken: 'token' } },
  }
  const signatures = new Set<string>()
  for (const [label, identity] of Object.entries(variants)) {
    const signature = sign(vector, identity).authorization!.slice(-64)
    t.notOk(signatures.has(signature), `another ${label}, another signature`)
    signatures.add(signature)
    t.equal(sign(vector, base).authorization!.slice(-64), vector.signature, `back from ${label}`)
  }
})

t.test('the signed headers do not contain the secret', async t => {
  const sent = sign(derived[1]!, identityOf(derived[1]!))
  t.notMatch(inspect(sent), /exampleSecretKey/)
})
