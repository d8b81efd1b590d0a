import { inspect } from 'node:util'
import t from 'tap'
import {
  checkEndpointHost,
  checkTarget,
  type EndpointOptions,
  encodePath,
  hostAndPort,
  locate,
  parseUrl,
  resolveEndpoint,
} from '../../lib/client/endpoint.ts'

/** An error that names `option` and whose message matches `remedy`. */
function refusal(option: string, remedy: RegExp) {
  return {
    code: 'OSS_ERR_INVALID_OPTION',
    message: new RegExp(`^option ${option}: .*${remedy.source}`),
  }
}

const MIB_OF_A = 'a'.repeat(1 << 20)

// label, key, its path on the request line
const goodKeys: [string, string, string][] = [
  ['plain', 'logs/app.log', '/logs/app.log'],
  ['one byte', 'a', '/a'],
  ['unreserved stay', 'AZaz09-._~', '/AZaz09-._~'],
  [
    'Chinese and a blank',
    '日志/应用 日志.log',
    '/%E6%97%A5%E5%BF%97/%E5%BA%94%E7%94%A8%20%E6%97%A5%E5%BF%97.log',
  ],
  ['four UTF-8 bytes', '😀', '/%F0%9F%98%80'],
  ['double slash', 'a//b', '/a//b'],
  ['dot segments', 'a/../b', '/a/../b'],
  ['only dots', '..', '/..'],
  ['one dot', './a', '/./a'],
  ['backslash', 'a\\b', '/a%5Cb'],
  ['slash at the end', 'dir/', '/dir/'],
  ['the five of encodeURIComponent', "x y+z~(1)!'*.log", '/x%20y%2Bz~%281%29%21%27%2A.log'],
  ['looks encoded', '%2F', '/%252F'],
  ['query and fragment', 'q?x#y', '/q%3Fx%23y'],
  ['1023 bytes', 'k'.repeat(1023), `/${'k'.repeat(1023)}`],
  ['1023 bytes out of 341 characters', '日'.repeat(341), `/${'%E6%97%A5'.repeat(341)}`],
]

t.test('a valid key is encoded into its exact path', async t => {
  const endpoint = resolveEndpoint({ region: 'cn-hangzhou' })
  for (const [label, key, path] of goodKeys) {
    const target = { bucket: 'examplebucket', key }
    checkTarget(target)
    t.equal(locate(endpoint, target).path, path, label)
    t.match(path, /^[\x21-\x7e]+$/, `${label}: safe on a request line`)
    t.same(parseUrl(`oss://examplebucket/${key}`), target, `${label}: the same out of a URL`)
  }
})

const badKeys: [string, unknown, RegExp][] = [
  ['missing', undefined, /is missing/],
  ['not a string', 5, /must be a string, not 5$/],
  ['empty', '', /is missing/],
  ['leading slash', '/a', /leave that character out/],
  ['leading backslash', '\\a', /leave that character out/],
  ['1024 bytes', 'k'.repeat(1024), /1024 bytes.*shorten it to 1023/],
  ['1026 bytes out of 342 characters', '日'.repeat(342), /1026 bytes/],
  ['1 MiB', MIB_OF_A, /1048576 bytes/],
  ['a header within', 'a\r\nx-oss-acl: public', /control/],
  ['NUL and DEL', 'a\0\x7f', /control/],
  ['lone high surrogate', 'a\ud800', /index 1.*toWellFormed/],
  ['lone low surrogate', '\udc00b', /index 0/],
  ['surrogates the wrong way round', 'ab\udc00\ud800', /index 2/],
]

t.test('an invalid key is refused, with the remedy', async t => {
  for (const [label, key, remedy] of badKeys) {
    const target = { bucket: 'examplebucket', key: key as string }
    t.throws(() => checkTarget(target), refusal('key', remedy), label)
    if (typeof key !== 'string') continue
    const error = thrownBy(() => parseUrl(`oss://examplebucket/${key}`))
    t.match(error, refusal('url', new RegExp(`key.*${remedy.source}`)), `${label}: in a URL`)
    t.ok(inspect(error).length < 4000, `${label}: the message does not quote the key`)
  }
})

function thrownBy(run: () => unknown): unknown {
  try {
    return run()
  } catch (error) {
    return error
  }
}

const buckets: [string, unknown, RegExp | null][] = [
  ['three characters', 'abc', null],
  ['63 characters', 'b'.repeat(63), null],
  ['digits and hyphens', '0-9--z', null],
  ['missing', undefined, /is missing/],
  ['not a string', null, /must be a string, not null$/],
  ['empty', '', /is missing/],
  ['two characters', 'ab', /3 to 63.*, not "ab"$/],
  ['64 characters', 'b'.repeat(64), /3 to 63.*b{64}"$/],
  ['a megabyte', 'B'.repeat(1 << 20), /, not "B{64}\.\.\."$/],
  ['id and secret in front', 'id:hunter2@abc', /both ends$/],
  ['capitals', 'Abc', /a-z/],
  ['underscore', 'a_b', /a-z/],
  ['dot', 'a.b', /a-z/],
  ['hyphen in front', '-abc', /both ends/],
  ['hyphen at the end', 'abc-', /both ends/],
  ['line break at the end', 'abc\n', /a-z/],
  ['another host', 'evil.example/x', /a-z/],
  ['not ASCII', '日志日志', /a-z/],
]

t.test('a bucket name is checked by the rules of OSS', async t => {
  for (const [label, bucket, problem] of buckets) {
    const check = () => checkTarget({ bucket: bucket as string, key: 'k' })
    if (problem === null) t.doesNotThrow(check, label)
    else t.throws(check, refusal('bucket', problem), label)
  }
})

t.test('a URL of another shape is refused and not quoted', async t => {
  const urls: [string, unknown, RegExp][] = [
    ['not a string', 5, /oss:\/\/bucket\/key/],
    ['another scheme', 'https://examplebucket.host/key?Signature=SECRET', /oss:\/\/bucket\/key/],
    ['no scheme', 'examplebucket/key', /oss:\/\/bucket\/key/],
    ['one slash', 'oss:/examplebucket/key', /oss:\/\/bucket\/key/],
    ['no key', 'oss://examplebucket', /its key is missing/],
    ['no key after the slash', 'oss://examplebucket/', /its key is missing/],
    ['no bucket', 'oss:///key', /its bucket is missing/],
    ['credentials in front', 'oss://id:SECRET@examplebucket/key', /its bucket must/],
    ['a key with a slash in front', 'oss://examplebucket//key', /its key must not begin with \//],
  ]
  for (const [label, url, problem] of urls) {
    const error = thrownBy(() => parseUrl(url as string))
    t.match(error, refusal('url', problem), label)
    t.notMatch(inspect(error), /SECRET/, `${label}: no secret`)
  }
})

const REGION = 'cn-hangzhou'
// label, options, origin, style, region, full URL of examplebucket/a b
const endpoints: [string, EndpointOptions, string, string, string, string][] = [
  [
    'region alone',
    { region: 'cn-hangzhou' },
    'https://oss-cn-hangzhou.aliyuncs.com',
    'virtual',
    'cn-hangzhou',
    'https://examplebucket.oss-cn-hangzhou.aliyuncs.com/a%20b',
  ],
  [
    'region as ali-oss writes it',
    { region: ' oss-us-west-1\n' },
    'https://oss-us-west-1.aliyuncs.com',
    'virtual',
    'us-west-1',
    'https://examplebucket.oss-us-west-1.aliyuncs.com/a%20b',
  ],
  [
    'public endpoint alone',
    { endpoint: 'oss-ap-southeast-5.aliyuncs.com' },
    'https://oss-ap-southeast-5.aliyuncs.com',
    'virtual',
    'ap-southeast-5',
    'https://examplebucket.oss-ap-southeast-5.aliyuncs.com/a%20b',
  ],
  [
    'internal endpoint, http, capitals and a slash',
    { endpoint: 'HTTP://OSS-cn-beijing-internal.aliyuncs.com/' },
    'http://oss-cn-beijing-internal.aliyuncs.com',
    'virtual',
    'cn-beijing',
    'http://examplebucket.oss-cn-beijing-internal.aliyuncs.com/a%20b',
  ],
  [
    'dual-stack endpoint',
    { endpoint: 'https://cn-shanghai.oss.aliyuncs.com' },
    'https://cn-shanghai.oss.aliyuncs.com',
    'virtual',
    'cn-shanghai',
    'https://examplebucket.cn-shanghai.oss.aliyuncs.com/a%20b',
  ],
  [
    'the region given wins over the host',
    { region: 'cn-hangzhou-finance', endpoint: 'oss-cn-hzfinance.aliyuncs.com' },
    'https://oss-cn-hzfinance.aliyuncs.com',
    'virtual',
    'cn-hangzhou-finance',
    'https://examplebucket.oss-cn-hzfinance.aliyuncs.com/a%20b',
  ],
  [
    'acceleration',
    { region: REGION, endpoint: 'oss-accelerate.aliyuncs.com' },
    'https://oss-accelerate.aliyuncs.com',
    'virtual',
    REGION,
    'https://examplebucket.oss-accelerate.aliyuncs.com/a%20b',
  ],
  [
    'custom domain',
    { region: REGION, endpoint: 'https://files.example.com', cname: true },
    'https://files.example.com',
    'cname',
    REGION,
    'https://files.example.com/a%20b',
  ],
  [
    "the bucket's own host as a custom domain",
    { endpoint: 'examplebucket.oss-cn-hangzhou.aliyuncs.com', cname: true },
    'https://examplebucket.oss-cn-hangzhou.aliyuncs.com',
    'cname',
    REGION,
    'https://examplebucket.oss-cn-hangzhou.aliyuncs.com/a%20b',
  ],
  [
    'docker service, virtual host',
    { region: REGION, endpoint: 'http://oss:9000' },
    'http://oss:9000',
    'virtual',
    REGION,
    'http://examplebucket.oss:9000/a%20b',
  ],
  [
    'docker service, path style, no scheme, underscore',
    { region: REGION, endpoint: 'my_oss:9000', pathStyle: true },
    'https://my_oss:9000',
    'path',
    REGION,
    'https://my_oss:9000/examplebucket/a%20b',
  ],
  [
    'IPv4',
    { region: REGION, endpoint: 'http://127.0.0.1:8080' },
    'http://127.0.0.1:8080',
    'path',
    REGION,
    'http://127.0.0.1:8080/examplebucket/a%20b',
  ],
  [
    'IPv6',
    { region: REGION, endpoint: 'http://[::1]:8080' },
    'http://[::1]:8080',
    'path',
    REGION,
    'http://[::1]:8080/examplebucket/a%20b',
  ],
  [
    'IPv6 without scheme or port',
    { region: REGION, endpoint: '[2001:DB8::1]' },
    'https://[2001:db8::1]',
    'path',
    REGION,
    'https://[2001:db8::1]/examplebucket/a%20b',
  ],
  [
    'localhost',
    { region: REGION, endpoint: 'http://localhost:9000' },
    'http://localhost:9000',
    'path',
    REGION,
    'http://localhost:9000/examplebucket/a%20b',
  ],
  [
    'localhost with the bucket in front',
    { region: REGION, endpoint: 'http://localhost:9000', pathStyle: false },
    'http://localhost:9000',
    'virtual',
    REGION,
    'http://examplebucket.localhost:9000/a%20b',
  ],
  [
    'an address as custom domain',
    { region: REGION, endpoint: 'http://127.0.0.1:1', cname: true, pathStyle: false },
    'http://127.0.0.1:1',
    'cname',
    REGION,
    'http://127.0.0.1:1/a%20b',
  ],
  [
    'the default port of the scheme is left out',
    { region: REGION, endpoint: 'https://oss.local:443' },
    'https://oss.local',
    'virtual',
    REGION,
    'https://examplebucket.oss.local/a%20b',
  ],
  [
    'the default port of the other scheme is kept',
    { region: REGION, endpoint: 'http://oss.local:443' },
    'http://oss.local:443',
    'virtual',
    REGION,
    'http://examplebucket.oss.local:443/a%20b',
  ],
  [
    'port 65535',
    { region: REGION, endpoint: 'http://oss.local:65535' },
    'http://oss.local:65535',
    'virtual',
    REGION,
    'http://examplebucket.oss.local:65535/a%20b',
  ],
]

t.test('options become an endpoint', async t => {
  for (const [label, options, origin, style, region, url] of endpoints) {
    const endpoint = resolveEndpoint(options)
    t.same(endpoint, { origin, style, region }, label)
    checkEndpointHost(endpoint, 'examplebucket')
    const found = locate(endpoint, { bucket: 'examplebucket', key: 'a b' })
    t.equal(found.origin + found.path, url, `${label}: URL`)
    t.equal(
      new URL(found.origin).origin,
      found.origin,
      `${label}: a URL parser finds the same origin`,
    )
  }
})

t.test('the region in the endpoint goes before the default region', async t => {
  const defaultRegion = 'cn-shanghai'
  for (const [options, region] of [
    [{}, defaultRegion],
    [{ region: REGION }, REGION],
    [{ endpoint: 'oss-cn-beijing.aliyuncs.com' }, 'cn-beijing'],
    [{ endpoint: 'oss-cn-beijing.aliyuncs.com', region: REGION }, REGION],
    [{ endpoint: 'http://oss:9000' }, defaultRegion],
  ] as const) {
    t.equal(resolveEndpoint({ defaultRegion, ...options }).region, region, JSON.stringify(options))
  }
})

// label, options, option named, remedy
const wrongOptions: [string, unknown, string, RegExp][] = [
  ['nothing', {}, 'region', /cn-hangzhou.*OSS_REGION/],
  ['null', { region: null, defaultRegion: REGION }, 'region', /must be a string, not null/],
  ['no region in the host', { endpoint: 'http://oss:9000' }, 'region', /OSS_REGION/],
  [
    'no region in acceleration',
    { endpoint: 'oss-accelerate.aliyuncs.com' },
    'region',
    /OSS_REGION/,
  ],
  [
    'none in overseas acceleration',
    { endpoint: 'oss-accelerate-overseas.aliyuncs.com' },
    'region',
    /missing/,
  ],
  ['none in a CloudBox', { endpoint: 'cb-1.cn-x.oss-cloudbox.aliyuncs.com' }, 'region', /missing/],
  ['none in the legacy host', { endpoint: 'oss.aliyuncs.com' }, 'region', /missing/],
  [
    'none in a host that only looks similar',
    { endpoint: 'oss-cn-hangzhou.aliyuncs.com.evil.example' },
    'region',
    /missing/,
  ],
  ['region not a string', { region: 5 }, 'region', /string/],
  ['region empty', { region: '' }, 'region', /cn-hangzhou/],
  ['region of the prefix alone', { region: 'oss-' }, 'region', /cn-hangzhou/],
  ['region in capitals', { region: 'CN-Hangzhou' }, 'region', /a-z.*, not "CN-Hangzhou"$/],
  ['region with a host', { region: 'x.evil.example/' }, 'region', /a-z/],
  ['region with a line break', { region: 'cn\nx' }, 'region', /a-z/],
  [
    'region of an internal endpoint',
    { region: 'oss-cn-hangzhou-internal' },
    'region',
    /region cn-hangzhou with endpoint oss-cn-hangzhou-internal\.aliyuncs\.com/,
  ],
  ['pathStyle not a boolean', { region: REGION, pathStyle: 'yes' }, 'pathStyle', /true or false/],
  ['cname not a boolean', { region: REGION, cname: 1 }, 'cname', /true or false/],
  [
    'pathStyle and cname',
    { region: REGION, endpoint: 'x.example', pathStyle: true, cname: true },
    'pathStyle',
    /cname.*choose one/,
  ],
  ['cname without endpoint', { region: REGION, cname: true }, 'cname', /endpoint/],
  [
    'virtual style on an address',
    { region: REGION, endpoint: '127.0.0.1', pathStyle: false },
    'pathStyle',
    /must be true/,
  ],
  ...(
    [
      ['not a string', 5, /string/],
      ['empty', ' ', /leave it out/],
      ['another scheme', 'ftp://oss.local', /https:\/\/ or http:/],
      ['the scheme oss', 'oss://examplebucket/key', /https:\/\/ or http:/],
      ['no scheme before the slashes', '://oss.local', /https:\/\/ or http:/],
      ['path', 'http://localhost:9000/examplebucket', /leave out its path/],
      ['two slashes at the end', 'http://localhost//', /leave out its path/],
      ['backslash', 'http://localhost\\x', /leave out its path/],
      ['query', 'https://oss.local?x=1', /query/],
      ['fragment', 'https://oss.local#x', /fragment/],
      ['user and password', 'https://id:SECRET@oss.local', /option credentials/],
      ['no host', 'https://', /host name/],
      ['no host before the port', ':9000', /host name/],
      ['no port after the colon', 'oss.local:', /port from 1/],
      ['port 0', 'oss.local:0', /port from 1/],
      ['port 65536', 'oss.local:65536', /port from 1/],
      ['port in words', 'oss.local:http', /port from 1.*, not "http"$/],
      ['id and secret', 'id:hunterSECRET', /port from 1.* after its colon$/],
      ['blank within', 'oss local', /host name.*, not "oss local"$/],
      ['line break within', 'oss.local\r\nx:1', /host name/],
      ['line break after the host', 'oss\n.local', /host name/],
      ['dots in a row', 'oss..local', /host name/],
      ['dot at the end', 'oss.local.', /host name/],
      ['hyphen in front', '-oss.local', /host name/],
      ['not ASCII', '存储.example', /ASCII/],
      ['short address', 'http://127.1', /IP address/],
      ['number', 'http://2130706433', /IP address/],
      ['hexadecimal', 'http://0x7f.0x1', /IP address/],
      ['address out of range', 'http://127.0.0.256', /IP address/],
      ['IPv6 without brackets', '::1', /brackets/],
      ['bracket open', 'http://[::1', /brackets/],
      ['brackets with a name', 'http://[oss]', /brackets/],
      ['IPv6 with a zone', 'http://[fe80::1%eth0]', /brackets/],
      ['text after the bracket', 'http://[::1]x', /host|port|brackets/],
    ] satisfies [string, unknown, RegExp][]
  ).map(([label, endpoint, remedy]): [string, unknown, string, RegExp] => [
    `endpoint: ${label}`,
    { region: REGION, endpoint },
    'endpoint',
    remedy,
  ]),
]

t.test('a wrong option is named, with the remedy', async t => {
  for (const [label, options, option, remedy] of wrongOptions) {
    const error = thrownBy(() => resolveEndpoint(options as EndpointOptions))
    t.match(error, refusal(option, remedy), label)
    t.notMatch(inspect(error), /SECRET/i, `${label}: no secret`)
  }
})

t.test('an endpoint with the bucket in front is refused', async t => {
  const check = (endpoint: string, bucket: string, more: EndpointOptions = {}) =>
    checkEndpointHost(resolveEndpoint({ region: REGION, endpoint, ...more }), bucket)

  t.throws(
    () => check('https://examplebucket.oss-cn-hangzhou.aliyuncs.com', 'examplebucket'),
    refusal('endpoint', /use oss-cn-hangzhou\.aliyuncs\.com, or the option cname if the host/),
  )
  t.throws(
    () => check('http://examplebucket.oss:9000', 'examplebucket'),
    refusal('endpoint', /use oss:9000,/),
  )
  t.doesNotThrow(() => check('examplebucket.example', 'examplebucket', { cname: true }), 'cname')
  t.doesNotThrow(() => check('examplebucket.local', 'examplebucket', { pathStyle: true }), 'path')
  t.doesNotThrow(() => check('examplebucket2.local', 'examplebucket'), 'a longer name')
  t.doesNotThrow(
    () => check('oss-cn-hangzhou.aliyuncs.com', 'oss-cn-hangzhou'),
    'a bucket named like the host of a region',
  )
  // The region is found, so that the error names the endpoint, which is wrong.
  const endpoint = resolveEndpoint({ endpoint: 'examplebucket.oss-cn-beijing.aliyuncs.com' })
  t.equal(endpoint.region, 'cn-beijing', 'the region is found behind the bucket')
})

t.test('a path of every byte decodes to the original text', async t => {
  const text = Array.from({ length: 0x250 }, (_, code) => String.fromCharCode(code)).join('')
  const path = encodePath(text)
  t.match(path, /^[A-Za-z0-9\-._~/%]+$/)
  t.notMatch(path, /%(?![0-9A-F]{2})/)
  t.equal(decodeURIComponent(path), text)
})

t.test('messages show host and port of an origin', async t => {
  t.equal(hostAndPort('https://examplebucket.oss.local'), 'examplebucket.oss.local:443')
  t.equal(hostAndPort('http://oss.local'), 'oss.local:80')
  t.equal(hostAndPort('http://127.0.0.1:9'), '127.0.0.1:9')
  t.equal(hostAndPort('https://[::1]'), '[::1]:443')
  t.equal(hostAndPort('http://[::1]:9000'), '[::1]:9000')
})
