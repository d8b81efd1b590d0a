import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { getEventListeners, once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { inspect } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t, { type Test } from 'tap'
import {
  Agent,
  type Dispatcher,
  interceptors,
  MockAgent,
  RetryAgent,
  errors as undiciErrors,
} from 'undici'
import { classifyError } from '../../lib/append/classify-error.ts'
import { OssClient } from '../../lib/client/client.ts'
import type { ClientOptions } from '../../lib/client/options.ts'
import { OssError, OssServiceError } from '../../lib/errors.ts'
import { runModule } from '../helpers/child-process.ts'
import { encodePath, sign } from '../helpers/raw-client.ts'
import {
  errorResponse,
  errorXml,
  httpResponse,
  REQUEST_ID,
  type ReceivedRequest,
  startScriptedServer,
} from '../helpers/scripted-server.ts'

// Without the OSS settings of the machine, each test sets its own.
for (const name of Object.keys(process.env)) if (name.startsWith('OSS_')) delete process.env[name]

const BUCKET = 'examplebucket'
const TARGET = { bucket: BUCKET, key: 'logs/app.log' }
const SECRET = 'hunter2SECRETsecretSECRETsecret'
const TOKEN = 'CAISrgJ1q6Ft5B2yfSjIr+TOKEN/t0ken=='
const credentials = { accessKeyId: 'LTAIexampleAk', accessKeySecret: SECRET, securityToken: TOKEN }
const HELLO = Buffer.from('hello')
/** A timeout longer than any test: what ends sooner did not wait for it. */
const NEVER = 2 ** 31 - 1

const appended = httpResponse(200, {
  'x-oss-next-append-position': '5',
  'x-oss-hash-crc64ecma': '11177612005948864433',
})
const found = httpResponse(200, {
  'x-oss-object-type': 'Appendable',
  'x-oss-next-append-position': '5368709120',
  'content-length': '5368709120',
  'x-oss-hash-crc64ecma': '3231342946509354535',
})

function connectTo(t: Test, { port }: { port: number }, options: ClientOptions = {}): OssClient {
  const client = new OssClient({
    endpoint: `http://127.0.0.1:${port}`,
    region: 'cn-hangzhou',
    credentials,
    ...options,
  })
  t.teardown(() => client.close())
  return client
}

/** The methods of the client, with short arguments for tables. */
function calls(client: OssClient, signal = new AbortController().signal) {
  return {
    client,
    head: (key = TARGET.key) => client.head({ bucket: BUCKET, key }, { signal }),
    append: (body: Uint8Array = HELLO, headers: Record<string, string> = {}, position = 0) =>
      client.append(TARGET, { position, body, headers, signal }),
    seal: (position = 10) => client.seal(TARGET, position, { signal }),
  }
}

async function failure(promise: Promise<unknown>): Promise<OssServiceError> {
  try {
    await promise
  } catch (error) {
    return error as OssServiceError
  }
  throw new Error('the promise should reject')
}

/** Everything by which a value could end up in a log. */
function printed(value: unknown): string {
  const { stack, message, cause } = Object(value)
  const all = inspect(value, { depth: 99, showHidden: true, maxStringLength: null })
  return `${all}${JSON.stringify(value)}${value}${stack}${message}${cause ? printed(cause) : ''}`
}

/** Whether an independent implementation of V4 makes the same signature for a request. */
function isSignedCorrectly(
  { requestLine, headers }: ReceivedRequest,
  key = TARGET.key,
  secret = SECRET,
): boolean {
  const [method = '', url = ''] = requestLine.split(' ')
  const query = Object.fromEntries(
    (url.split('?')[1] ?? '').split('&').flatMap(pair => {
      const [name = '', value = ''] = pair.split('=')
      return name === '' ? [] : [[name, value]]
    }),
  )
  const { authorization, 'x-oss-date': date = '', ...rest } = headers
  const time = Date.parse(date.replace(/^(....)(..)(..T..)(..)(..Z)$/, '$1-$2-$3:$4:$5'))
  const keys = { accessKeyId: credentials.accessKeyId, accessKeySecret: secret }
  const signed = sign({
    method,
    bucket: BUCKET,
    key,
    query,
    headers: rest,
    credentials: keys,
    time,
  })
  return signed.authorization === authorization
}

t.test('head, append and seal send exact request lines, headers and bodies', async t => {
  const server = await startScriptedServer(t, ({ requestLine }) =>
    /^HEAD/.test(requestLine) ? found : appended,
  )
  const { head, append, seal } = calls(connectTo(t, server))
  const always =
    'authorization connection host x-oss-content-sha256 x-oss-date x-oss-security-token'
  const names = (request?: ReceivedRequest) => Object.keys(request?.headers ?? {}).sort()
  const sent = (more: string) => `${always} ${more}`.trim().split(' ').sort()

  await head()
  t.equal(server.requests[0]?.requestLine, `HEAD /${BUCKET}/logs/app.log HTTP/1.1`)
  t.same(names(server.requests[0]), sent(''))

  await append(HELLO, {
    'content-type': 'text/plain; charset=utf-8',
    'x-oss-meta-a': 'b',
    foo: 'x',
  })
  const request = server.requests[1]
  t.equal(request?.requestLine, `POST /${BUCKET}/logs/app.log?append&position=0 HTTP/1.1`)
  t.same(names(request), sent('content-length content-type foo x-oss-meta-a'))
  t.match(request?.headers, {
    host: `127.0.0.1:${server.port}`,
    'content-length': '5',
    'content-type': 'text/plain; charset=utf-8',
    'x-oss-content-sha256': 'UNSIGNED-PAYLOAD',
    'x-oss-date': /^\d{8}T\d{6}Z$/,
    'x-oss-security-token': TOKEN,
    authorization:
      /^OSS4-HMAC-SHA256 Credential=LTAIexampleAk\/\d{8}\/cn-hangzhou\/oss\/aliyun_v4_request,Signature=[\da-f]{64}$/,
  })
  t.same(request?.body, HELLO)

  await append(new Uint8Array(0), {}, 5_368_709_119)
  t.equal(
    server.requests[2]?.requestLine,
    `POST /${BUCKET}/logs/app.log?append&position=5368709119 HTTP/1.1`,
  )
  t.same(names(server.requests[2]), sent('content-length'))
  t.equal(server.requests[2]?.headers['content-length'], '0')

  await append(new Uint8Array(Buffer.from('ABhelloYZ')).subarray(2, 7))
  t.same(server.requests[3]?.body, HELLO, 'only the view of a larger buffer is sent')

  const allBytes = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i * 7))
  await append(allBytes)
  t.ok(server.requests[4]?.body.equals(allBytes), 'every byte arrives unchanged')

  await seal()
  t.equal(server.requests[5]?.requestLine, `POST /${BUCKET}/logs/app.log?position=10&seal HTTP/1.1`)
  t.same(names(server.requests[5]), sent('content-length content-md5 content-type'))
  t.match(server.requests[5]?.headers, {
    'content-length': '0',
    'content-type': 'application/xml',
    'content-md5': '1B2M2Y8AsgTpgAmY7PhCfg==',
  })

  for (const request of server.requests) t.ok(isSignedCorrectly(request), request.requestLine)
  const [first] = server.requests
  t.notOk(first && isSignedCorrectly(first, 'logs/app.lo'), 'the check can fail')
  t.notOk(first && isSignedCorrectly(first, TARGET.key, 'another secret'))
})

// key, its path on the request line
const keys: [string, string][] = [
  ['日志/应用 日志.log', '%E6%97%A5%E5%BF%97/%E5%BA%94%E7%94%A8%20%E6%97%A5%E5%BF%97.log'],
  ['a//b', 'a//b'],
  ['a/../b', 'a/../b'],
  ['a/%2e%2e/b', 'a/%252e%252e/b'],
  ['./a', './a'],
  ['..', '..'],
  ['a\\b', 'a%5Cb'],
  ["x y+z~(1)!'*.log", 'x%20y%2Bz~%281%29%21%27%2A.log'],
  ['%2F', '%252F'],
  ['q?x#y', 'q%3Fx%23y'],
  ['a&b=c;d@e:f$g,h', 'a%26b%3Dc%3Bd%40e%3Af%24g%2Ch'],
  ['http://x/y', 'http%3A//x/y'],
  ['dir/', 'dir/'],
  ['😀', '%F0%9F%98%80'],
  ['k'.repeat(1023), 'k'.repeat(1023)],
  ['日'.repeat(341), '%E6%97%A5'.repeat(341)],
]

t.test('a call without a signal names it', async t => {
  const client = connectTo(t, await startScriptedServer(t, () => found))
  const call = { position: 0, body: Buffer.alloc(0), headers: {} } as never
  const error = {
    code: 'OSS_ERR_INVALID_OPTION',
    message: /^option signal: must be an AbortSignal/,
  }
  await t.rejects(client.head(TARGET, call), error)
  await t.rejects(client.append(TARGET, call), error)
  await t.rejects(client.seal(TARGET, 0, call), error)
  await t.rejects(client.read(TARGET, call), error)
})

t.test('every key is signed and sent as the same path', async t => {
  const server = await startScriptedServer(t, ({ requestLine }) =>
    /^HEAD/.test(requestLine) ? found : appended,
  )
  const client = connectTo(t, server)
  const { signal } = new AbortController()
  for (const [key, path] of keys) {
    const target = { bucket: BUCKET, key }
    await client.head(target, { signal })
    await client.append(target, { position: 7, body: HELLO, headers: {}, signal })
    await client.seal(target, 7, { signal })
    const [head, append, seal] = server.requests.splice(0) as [
      ReceivedRequest,
      ReceivedRequest,
      ReceivedRequest,
    ]
    const label = key.slice(0, 20)
    t.equal(head.requestLine, `HEAD /${BUCKET}/${path} HTTP/1.1`, label)
    t.equal(append.requestLine, `POST /${BUCKET}/${path}?append&position=7 HTTP/1.1`, label)
    t.equal(seal.requestLine, `POST /${BUCKET}/${path}?position=7&seal HTTP/1.1`, label)
    t.equal(path, encodePath(key), 'the table is right')
    for (const request of [head, append, seal]) t.ok(isSignedCorrectly(request, key), label)
  }
})

/** An agent that resolves every host name to this machine. */
function createLocalAgent(t: Test): Agent {
  const agent = new Agent({
    connect: {
      lookup: (_host, _options, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }]),
    },
  })
  t.teardown(() => agent.destroy())
  return agent
}

t.test('the bucket is in the host or in the path, as the options say', async t => {
  const server = await startScriptedServer(t, () => appended)
  const { port } = server
  // options, host, path
  const table: [ClientOptions, string, string][] = [
    [{ endpoint: `http://oss.example.com:${port}` }, `${BUCKET}.oss.example.com`, '/logs/app.log'],
    [
      { endpoint: `http://oss.example.com:${port}`, pathStyle: true },
      'oss.example.com',
      `/${BUCKET}/logs/app.log`,
    ],
    [
      { endpoint: `http://files.example.com:${port}`, cname: true },
      'files.example.com',
      '/logs/app.log',
    ],
    [{ endpoint: `http://localhost:${port}` }, 'localhost', `/${BUCKET}/logs/app.log`],
  ]
  for (const [options, host, path] of table) {
    const client = connectTo(t, server, { ...options, dispatcher: createLocalAgent(t) })
    await calls(client).append()
    const request = server.requests.pop() as ReceivedRequest
    t.equal(request.headers.host, `${host}:${port}`)
    t.equal(request.requestLine, `POST ${path}?append&position=0 HTTP/1.1`)
    t.ok(isSignedCorrectly(request), 'the bucket is signed in every style')
  }
})

/** A dispatcher that records its requests and fails each. */
function createFailingDispatcher() {
  const requests: Dispatcher.DispatchOptions[] = []
  const dispatcher = {
    dispatch(options: Dispatcher.DispatchOptions) {
      requests.push(options)
      throw new Error('failing dispatcher')
    },
  } as unknown as Dispatcher
  return { requests, dispatcher }
}

t.test('region and endpoint come from the options, then from the environment', async t => {
  const { requests, dispatcher } = createFailingDispatcher()
  t.teardown(() => {
    delete process.env.OSS_REGION
    delete process.env.OSS_ENDPOINT
  })
  // environment, options, origin, region
  const table: [NodeJS.ProcessEnv, ClientOptions, string, string][] = [
    [
      {},
      { region: 'cn-hangzhou' },
      `https://${BUCKET}.oss-cn-hangzhou.aliyuncs.com`,
      'cn-hangzhou',
    ],
    [{ OSS_REGION: 'us-west-1' }, {}, `https://${BUCKET}.oss-us-west-1.aliyuncs.com`, 'us-west-1'],
    [
      { OSS_REGION: 'us-west-1' },
      { region: 'oss-cn-beijing' },
      `https://${BUCKET}.oss-cn-beijing.aliyuncs.com`,
      'cn-beijing',
    ],
    [
      { OSS_ENDPOINT: 'oss-cn-shanghai-internal.aliyuncs.com' },
      {},
      `https://${BUCKET}.oss-cn-shanghai-internal.aliyuncs.com`,
      'cn-shanghai',
    ],
    [
      { OSS_ENDPOINT: 'http://example.com', OSS_REGION: 'us-west-1' },
      {},
      `http://${BUCKET}.example.com`,
      'us-west-1',
    ],
    [{}, { region: 'x', endpoint: 'http://[::1]:9000' }, 'http://[::1]:9000', 'x'],
  ]
  for (const [env, options, origin, region] of table) {
    Object.assign(process.env, { OSS_REGION: '', OSS_ENDPOINT: '', ...env })
    const client = new OssClient({ credentials, dispatcher, ...options })
    await failure(calls(client).head())
    const [request] = requests.splice(0) as [Dispatcher.DispatchOptions]
    t.equal(request.origin, origin)
    t.match((request.headers as Record<string, string>).authorization, `/${region}/oss/`)
    t.equal(client.isSecure, origin.startsWith('https:'))
  }
})

t.test('head reads the headers of a response strictly', async t => {
  const full = {
    'x-oss-object-type': 'Appendable',
    'x-oss-next-append-position': '7',
    'content-length': '7',
    'x-oss-hash-crc64ecma': '007',
    'x-oss-sealed-time': 'Wed, 21 Oct 2026 07:28:00 GMT',
  }
  const head = {
    type: 'Appendable',
    length: 7,
    position: 7,
    crc64: '7',
    sealedTime: 'Wed, 21 Oct 2026 07:28:00 GMT',
    requestId: REQUEST_ID,
  }
  // label, headers of the response, the result; undefined: not a response of OSS
  const table: [string, Record<string, string | string[] | undefined>, object?][] = [
    ['every header', full, head],
    ['another type', { ...full, 'x-oss-object-type': 'Symlink' }, { ...head, type: 'Symlink' }],
    ['no type', { ...full, 'x-oss-object-type': undefined }],
    ['an empty type', { ...full, 'x-oss-object-type': '' }],
    ['two types', { ...full, 'x-oss-object-type': ['Normal', 'Appendable'] }],
    ['no length', { ...full, 'content-length': undefined }],
    ['no request id', { ...full, 'x-oss-request-id': undefined }],
    ['not sealed', { ...full, 'x-oss-sealed-time': undefined }, { ...head, sealedTime: undefined }],
    ...[undefined, '', '-7', '+7', '0x7', '7.0', '9007199254740993', ['7', '7'], ['7', '8']].map(
      (position): [string, Record<string, string | string[] | undefined>, object] => [
        `a position of ${inspect(position)}`,
        { ...full, 'x-oss-next-append-position': position },
        { ...head, position: undefined },
      ],
    ),
    ...[undefined, '', '-7', '0x7', '18446744073709551616', ['7', '7']].map(
      (crc64): [string, Record<string, string | string[] | undefined>, object] => [
        `a CRC of ${inspect(crc64)}`,
        { ...full, 'x-oss-hash-crc64ecma': crc64 },
        { ...head, crc64: undefined },
      ],
    ),
    [
      'names of a prototype',
      { ...full, constructor: 'x', toString: ['x', 'y'], ['__proto__']: 'x' },
      head,
    ],
  ]
  let headers = {}
  const server = await startScriptedServer(t, () => httpResponse(200, headers))
  const client = connectTo(t, server)
  for (const [label, given, expected] of table) {
    headers = given
    if (expected) t.strictSame(await calls(client).head(), expected, label)
    else t.match(await failure(calls(client).head()), { code: 'OSS_ERR_NETWORK' }, label)
  }
})

t.test('append reads the headers of a response strictly', async t => {
  const full = { 'x-oss-next-append-position': '5', 'x-oss-hash-crc64ecma': '11' }
  const result = { position: 5, crc64: '11', requestId: REQUEST_ID }
  const table: [string, number, Record<string, string | string[] | undefined>, object?][] = [
    ['every header', 200, full, result],
    ['another 2xx', 201, full, result],
    [
      'the largest position',
      200,
      { ...full, 'x-oss-next-append-position': '9007199254740991' },
      { ...result, position: Number.MAX_SAFE_INTEGER },
    ],
    [
      'no CRC',
      200,
      { ...full, 'x-oss-hash-crc64ecma': undefined },
      { ...result, crc64: undefined },
    ],
    [
      'two CRCs',
      200,
      { ...full, 'x-oss-hash-crc64ecma': ['11', '12'] },
      { ...result, crc64: undefined },
    ],
    ...[undefined, '', '-5', '0x5', '5e0', '9007199254740993', ['5', '5']].map(
      (position): [string, number, Record<string, string | string[] | undefined>] => [
        `a position of ${inspect(position)}`,
        200,
        { ...full, 'x-oss-next-append-position': position },
      ],
    ),
    ...[undefined, '', ['A', 'A'], ['A', 'B']].map(
      (id): [string, number, Record<string, string | string[] | undefined>] => [
        `a request id of ${inspect(id)}`,
        200,
        { ...full, 'x-oss-request-id': id },
      ],
    ),
  ]
  let next = ''
  const server = await startScriptedServer(t, () => next)
  const client = connectTo(t, server)
  for (const [label, status, headers, expected] of table) {
    next = httpResponse(status, headers)
    if (expected) t.strictSame(await calls(client).append(), expected, label)
    else {
      const error = await failure(calls(client).append())
      t.match(
        error,
        {
          name: 'OssError',
          code: 'OSS_ERR_NETWORK',
          message: /from 127\.0\.0\.1:\d+ is not a response of OSS$/,
        },
        label,
      )
      t.equal(classifyError(error), 'wait', label)
    }
  }
  next = httpResponse(200)
  t.equal(await calls(client).seal(), undefined)
  next = httpResponse(200, { 'x-oss-request-id': undefined })
  t.match(await failure(calls(client).seal()), { code: 'OSS_ERR_NETWORK' })
})

t.test('a refusal becomes an OssServiceError', async t => {
  // label, response, the error
  const table: [string, string, object][] = [
    [
      'another position',
      errorResponse(409, 'PositionNotEqualToLength', {
        more: '<HostId>h.example.com</HostId><EC>0026-00000016</EC>',
        headers: { 'x-oss-next-append-position': '77' },
      }),
      {
        code: 'PositionNotEqualToLength',
        message: 'PositionNotEqualToLength by the script.',
        status: 409,
        requestId: REQUEST_ID,
        hostId: 'h.example.com',
        ec: '0026-00000016',
        nextPosition: 77,
      },
    ],
    [
      'an invalid position',
      errorResponse(409, 'PositionNotEqualToLength', {
        headers: { 'x-oss-next-append-position': '-1' },
      }),
      { code: 'PositionNotEqualToLength', nextPosition: undefined },
    ],
    [
      'without a code',
      httpResponse(403),
      { code: 'BadErrorResponse', message: 'HTTP 403', status: 403 },
    ],
    ['not XML', httpResponse(500, {}, 'oops'), { code: 'BadErrorResponse', status: 500 }],
    ['absent', errorResponse(404, 'NoSuchKey'), { code: 'NoSuchKey', status: 404 }],
    ['absent, without a code', httpResponse(404), { code: 'BadErrorResponse', status: 404 }],
    ['501', errorResponse(501, 'NotImplemented'), { code: 'NotImplemented', status: 501 }],
    ['304', httpResponse(304), { code: 'BadErrorResponse', status: 304 }],
    [
      'from the wrong region',
      errorResponse(403, 'AccessDenied', {
        more: '<Endpoint>oss-cn-beijing.aliyuncs.com</Endpoint>',
      }),
      { code: 'AccessDenied', message: /oss-cn-beijing\.aliyuncs\.com/ },
    ],
    [
      'chunked',
      httpResponse(400, { 'content-length': undefined, 'transfer-encoding': 'chunked' }) +
        errorXml('InvalidDigest').replace(
          /.{1,7}/gs,
          part => `${part.length.toString(16)}\r\n${part}\r\n`,
        ) +
        '0\r\n\r\n',
      { code: 'InvalidDigest', status: 400 },
    ],
  ]
  let next = ''
  const server = await startScriptedServer(t, () => next)
  const client = connectTo(t, server)
  for (const [label, text, expected] of table) {
    next = text
    for (const call of [calls(client).append, calls(client).seal]) {
      const error = await failure(call())
      t.equal(error.constructor, OssServiceError, label)
      t.match(error, expected, label)
      t.equal(error.isRefreshable, false, label)
    }
  }
  t.equal(server.sockets.length, 1, 'all over one connection')
})

t.test('a redirect is reported and never followed', async t => {
  const redirectTarget = await startScriptedServer(t, () => appended)
  let status = 301
  const server = await startScriptedServer(t, () =>
    errorResponse(status, 'PermanentRedirect', {
      headers: { location: `http://127.0.0.1:${redirectTarget.port}/` },
    }),
  )
  const { append, head } = calls(connectTo(t, server))
  for (status of [301, 302, 303, 307, 308]) {
    t.match(await failure(append()), { code: 'PermanentRedirect', status })
    t.match(await failure(head()), { code: 'BadErrorResponse', status })
  }
  t.equal(redirectTarget.requests.length, 0)
})

t.test('a redirect to https that is not of OSS says what to do', async t => {
  const server = await startScriptedServer(t, ({ requestLine }) =>
    httpResponse(301, {
      'x-oss-request-id': undefined,
      server: 'nginx',
      location: `https://127.0.0.1:${server.port}${requestLine.split(' ')[1]}`,
    }),
  )
  const { append, head } = calls(connectTo(t, server))
  for (const call of [append, head]) {
    const error = await failure(call())
    t.match(error, { code: 'OSS_ERR_NETWORK', status: 301, isUnsent: false })
    t.match(
      error.message,
      /\(server: nginx, location: https:.*app\.log\)\. Use https in the option/,
    )
  }
})

t.test('head resolves to null only if OSS says that there is no such object', async t => {
  const err = (code: string, status = 404) => errorResponse(status, code, { head: true })
  const table: [string, string, object | null][] = [
    ['NoSuchKey', err('NoSuchKey'), null],
    ['no code', httpResponse(404), null],
    ['a delete marker', httpResponse(404, { 'x-oss-delete-marker': 'true' }), null],
    [
      'NoSuchBucket',
      err('NoSuchBucket'),
      { code: 'NoSuchBucket', status: 404, requestId: REQUEST_ID },
    ],
    ['SymlinkTargetNotExist', err('SymlinkTargetNotExist'), { code: 'SymlinkTargetNotExist' }],
    [
      '404 not from OSS',
      httpResponse(404, { 'x-oss-request-id': undefined }),
      { code: 'OSS_ERR_NETWORK' },
    ],
    ['AccessDenied', err('AccessDenied', 403), { code: 'AccessDenied', status: 403 }],
    ['403 without a code', httpResponse(403), { code: 'BadErrorResponse', status: 403 }],
    ['NoSuchKey at 403', err('NoSuchKey', 403), { code: 'NoSuchKey', status: 403 }],
    ['an EC', httpResponse(403, { 'x-oss-ec': '0003-00000001' }), { ec: '0003-00000001' }],
    ['503', err('ServiceUnavailable', 503), { code: 'ServiceUnavailable', status: 503 }],
  ]
  let next = ''
  const server = await startScriptedServer(t, () => next)
  const client = connectTo(t, server)
  for (const [label, text, expected] of table) {
    next = text
    if (expected === null) t.equal(await calls(client).head(), null, label)
    else t.match(await failure(calls(client).head()), expected, label)
  }
})

t.test(
  'a response that is not from OSS is a network error, and its body is not quoted',
  async t => {
    const html = '<html><head><Code>AccessDenied</Code></head><body>Please log in</body></html>'
    let next = ''
    const server = await startScriptedServer(t, () => next)
    const { append, head } = calls(connectTo(t, server))
    for (const status of [200, 302, 403, 404, 409, 502, 503]) {
      next = httpResponse(
        status,
        { 'x-oss-request-id': undefined, 'content-type': 'text/html' },
        html,
      )
      const error = await failure(append())
      t.match(error, { name: 'OssError', code: 'OSS_ERR_NETWORK', message: `HTTP ${status}` })
      t.equal(classifyError(error), 'wait')
      t.notMatch(printed(error), /log in/)
      next = httpResponse(status, { 'x-oss-request-id': undefined })
      t.match(await failure(head()), { code: 'OSS_ERR_NETWORK' })
    }
  },
)

t.test('a response that ends early counts if the missing part is not needed', async t => {
  const whole = errorResponse(409, 'PositionNotEqualToLength', { more: 'x'.repeat(500) })
  // length of the incomplete response, code of the error
  const table: [number, string][] = [
    [0, 'OSS_ERR_NETWORK'],
    [5, 'OSS_ERR_NETWORK'],
    [whole.indexOf('\r\n\r\n'), 'OSS_ERR_NETWORK'],
    [whole.indexOf('\r\n\r\n') + 4, 'OSS_ERR_NETWORK'],
    [whole.indexOf('Position') + 8, 'OSS_ERR_NETWORK'],
    [whole.indexOf('</Code>') + 7, 'PositionNotEqualToLength'],
    [whole.length - 1, 'PositionNotEqualToLength'],
  ]
  const short = errorResponse(409, 'PositionNotEqualToLength', {
    headers: { 'x-oss-next-append-position': '9' },
    more: 'x'.repeat(500),
  })
  const headOnly = await startScriptedServer(t, ({ socket }) => {
    socket.end(short.slice(0, short.indexOf('\r\n\r\n') + 4))
    return undefined
  })
  const expected = { code: 'PositionNotEqualToLength', nextPosition: 9 }
  t.match(await failure(calls(connectTo(t, headOnly)).append()), expected, 'the header is enough')
  for (const way of ['end', 'resetAndDestroy'] as const) {
    for (const [length, code] of table) {
      const server = await startScriptedServer(t, ({ socket }) => {
        socket.write(whole.slice(0, length), () => way === 'end' && socket.end())
        return undefined
      })
      const pending = failure(calls(connectTo(t, server)).append())
      if (way === 'resetAndDestroy') {
        const { socket } = await server.nextRequest()
        setImmediate(() => socket.resetAndDestroy())
      }
      const error = await pending
      // A reset may discard bytes that were written before it.
      const isExpected = error.code === code || (way !== 'end' && error.code === 'OSS_ERR_NETWORK')
      t.ok(isExpected, `${way} after ${length} bytes: ${error.code}`)
      if (error.code === 'OSS_ERR_NETWORK') t.equal(classifyError(error), 'wait')
    }
  }
  const server = await startScriptedServer(t, ({ socket }) => {
    socket.end(
      httpResponse(200, { 'x-oss-next-append-position': '5', 'content-length': '9' }, 'half'),
    )
    return undefined
  })
  t.match(
    await calls(connectTo(t, server)).append(),
    { position: 5 },
    'the headers of a 200 are enough',
  )
})

t.test('a body is read up to 64 KiB, and a longer one costs its connection', async t => {
  const endless: [string, string, (error: unknown) => boolean][] = [
    [
      'a refusal',
      httpResponse(403, { 'content-length': undefined }),
      e => (e as OssError).code === 'AccessDenied',
    ],
    [
      'a 200',
      httpResponse(200, { 'content-length': undefined, 'x-oss-next-append-position': '5' }),
      e => e === 'done',
    ],
    [
      'a proxy',
      httpResponse(502, { 'content-length': undefined, 'x-oss-request-id': undefined }),
      e => (e as OssError).code === 'OSS_ERR_NETWORK',
    ],
  ]
  for (const [label, head, isExpected] of endless) {
    const server = await startScriptedServer(t, ({ socket }) => {
      socket.write(head + errorXml('AccessDenied'))
      const more = Buffer.alloc(65_536, 'x')
      const write = () => {
        while (socket.writable && socket.write(more));
      }
      socket.on('drain', write)
      write()
      return undefined
    })
    const { append } = calls(connectTo(t, server, { requestTimeout: NEVER }))
    const result = await append().then(
      () => 'done',
      error => error,
    )
    t.ok(isExpected(result), label)
    await server.whenClosed()
  }
  const server = await startScriptedServer(t, () =>
    errorResponse(400, 'InvalidDigest', { more: 'x'.repeat(10_000_000) }),
  )
  t.match(await failure(calls(connectTo(t, server)).append()), { code: 'InvalidDigest' })
  await server.whenClosed()
})

t.test('headers of more than 16 KiB are a network error', async t => {
  const server = await startScriptedServer(t, () =>
    httpResponse(200, { 'x-a': 'x'.repeat(65_536) }),
  )
  const error = await failure(calls(connectTo(t, server)).append())
  t.match(error, { code: 'OSS_ERR_NETWORK', cause: { code: 'UND_ERR_HEADERS_OVERFLOW' } })
  t.equal(classifyError(error), 'wait')
})

t.test('one connection serves all exchanges, unless the server closes it', async t => {
  let count = 0
  const responses = [
    appended,
    errorResponse(409, 'PositionNotEqualToLength'),
    errorResponse(403, 'AccessDenied', { more: 'x'.repeat(60_000) }),
    httpResponse(404, {}, 'x'.repeat(100)),
    httpResponse(200, { 'x-oss-next-append-position': '5' }, 'x'.repeat(60_000)),
    httpResponse(500, { 'x-oss-request-id': undefined }, '<html>'),
  ]
  const server = await startScriptedServer(t, () => responses[count++ % responses.length])
  const { append } = calls(connectTo(t, server))
  for (const _ of [...responses, ...responses]) await append().catch(() => {})
  t.equal(server.requests.length, 12)
  t.equal(server.sockets.length, 1, 'every body is read')

  const heads = await startScriptedServer(t, () =>
    heads.requests.length % 2 ? found : httpResponse(404),
  )
  const { head } = calls(connectTo(t, heads))
  for (let i = 0; i < 6; i++) await head()
  t.equal(heads.sockets.length, 1, 'the HEAD of a huge object keeps its connection')

  const closing = await startScriptedServer(t, ({ socket }) => {
    socket.end(httpResponse(200, { connection: 'close', 'x-oss-next-append-position': '5' }))
    return undefined
  })
  const again = calls(connectTo(t, closing))
  for (let i = 0; i < 3; i++) t.match(await again.append(), { position: 5 })
  t.equal(closing.sockets.length, 3, 'the server closes each connection')
})

t.test('a failure without a response is a network error that names host and port', async t => {
  const free = await startScriptedServer(t, () => undefined)
  const unused = createServer().listen(0, '127.0.0.1')
  await once(unused, 'listening')
  const { port } = unused.address() as AddressInfo
  await new Promise(resolve => unused.close(resolve))
  const garbage = await startScriptedServer(t, () => 'SSH-2.0-OpenSSH_9.2\r\n')
  const hello = await startScriptedServer(t, ({ socket }) => {
    socket.destroy()
    return undefined
  })
  const early = createServer(socket => socket.on('error', () => {}).end('220 smtp.example.com\r\n'))
  early.listen(0, '127.0.0.1')
  t.teardown(() => early.close())
  await once(early, 'listening')

  const table: [string, { port: number }, ClientOptions, RegExp][] = [
    ['refused', { port }, {}, /^ECONNREFUSED$/],
    ['another protocol', garbage, {}, /HTTP/],
    [
      'another protocol, unasked',
      early.address() as AddressInfo,
      {},
      /HTTP|^(UND_ERR_SOCKET|ECONNRESET|EPIPE)$/,
    ],
    ['closed at once', hello, {}, /^(UND_ERR_SOCKET|ECONNRESET)$/],
    [
      'plain text for TLS',
      free,
      { endpoint: `https://127.0.0.1:${garbage.port}`, connectTimeout: 50 },
      /./,
    ],
    [
      'an unknown host',
      free,
      { endpoint: 'http://nowhere.invalid', dispatcher: notFound(t) },
      /^ENOTFOUND$/,
    ],
  ]
  for (const [label, server, options, code] of table) {
    const error = await failure(calls(connectTo(t, server, options)).append())
    t.match(error, { name: 'OssError', code: 'OSS_ERR_NETWORK', isRefreshable: false }, label)
    const cause = error.cause as { code?: string; message: string }
    const found = cause.code ?? cause.message
    t.match(found, code, label)
    const peer = new URL(options.endpoint ?? `http://127.0.0.1:${server.port}`)
    const port = peer.port || '80'
    t.match(error.message, `the exchange with ${hostOf(peer)}:${port} failed: ${found}`, label)
    t.match(classifyError(error), /^(wait|unknownHost)$/, label)
  }
})

/** The host that the client connects to. */
function hostOf({ hostname }: URL): string {
  return hostname === '127.0.0.1' ? hostname : `${BUCKET}.${hostname}`
}

/** An agent that resolves no host name. */
function notFound(t: Test): Agent {
  const error = Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' })
  const agent = new Agent({
    connect: { lookup: (_host, _options, callback) => callback(error, []) },
  })
  t.teardown(() => agent.destroy())
  return agent
}

t.test('a response is read even if the server sends it before reading the body', async t => {
  const server = await startScriptedServer(
    t,
    ({ socket }) => {
      socket.pause()
      socket.end(errorResponse(503, 'ServiceUnavailable', { headers: { connection: 'close' } }))
      return undefined
    },
    { isEarly: true },
  )
  const error = await failure(calls(connectTo(t, server)).append(Buffer.alloc(16_000_000)))
  t.match(error, { code: 'ServiceUnavailable', status: 503, requestId: REQUEST_ID })
})

t.test('an unrequested 100 is a network error, and a later attempt may succeed', async t => {
  const server = await startScriptedServer(t, () => `HTTP/1.1 100 Continue\r\n\r\n${appended}`)
  const error = await failure(calls(connectTo(t, server)).append())
  t.match(error, { code: 'OSS_ERR_NETWORK' })
  t.equal(classifyError(error), 'wait')
})

/** The delays of the timers that are set during `run`, and of those that are left. */
async function timersOf(run: () => Promise<unknown>) {
  const { setTimeout, clearTimeout } = globalThis
  const timers = new Map<unknown, number>()
  const delays: number[] = []
  globalThis.setTimeout = ((callback: () => void, delay: number) => {
    const timer = setTimeout(callback, delay)
    timers.set(timer, delay)
    delays.push(delay)
    return timer
  }) as typeof setTimeout
  globalThis.clearTimeout = (timer => {
    timers.delete(timer)
    clearTimeout(timer)
  }) as typeof clearTimeout
  try {
    await run()
  } finally {
    Object.assign(globalThis, { setTimeout, clearTimeout })
  }
  return { delays, left: [...timers.values()] }
}

t.test('the timeout of an exchange grows by 1 ms per 64 bytes of body', async t => {
  const server = await startScriptedServer(t, ({ requestLine }) =>
    /^HEAD/.test(requestLine) ? found : appended,
  )
  const usual = calls(connectTo(t, server))
  const short = calls(connectTo(t, server, { requestTimeout: 1000 }))
  // call, milliseconds
  const table: [() => Promise<unknown>, number][] = [
    [() => usual.head(), 30_000],
    [() => usual.seal(), 30_000],
    [() => usual.append(Buffer.alloc(0)), 30_000],
    [() => usual.append(Buffer.alloc(6400)), 30_100],
    [() => usual.append(Buffer.alloc(4_194_304)), 95_536],
    [() => short.head(), 1000],
    [() => short.append(Buffer.alloc(64_000)), 2000],
    [
      () =>
        short.client.append(TARGET, {
          position: 0,
          body: Buffer.alloc(64_000),
          headers: {},
          deadlineFactor: 4,
          signal: new AbortController().signal,
        }),
      8000,
    ],
  ]
  for (const [call, timeout] of table) {
    const { delays, left } = await timersOf(call)
    t.ok(delays.includes(timeout), `${timeout}`)
    t.notOk(left.includes(timeout), 'the timer is cleared')
  }
  const endless = calls(connectTo(t, server, { requestTimeout: NEVER }))
  const { delays } = await timersOf(() => endless.append(Buffer.alloc(64_000)))
  t.ok(Math.max(...delays) <= NEVER, 'at most the limit of setTimeout')
})

/** A phase of an exchange that can hang, whether it uses TLS, and the response until then. */
const stalls: [string, boolean, (request: ReceivedRequest) => string | undefined][] = [
  ['in the TLS handshake', true, () => undefined],
  ['before the response', false, () => undefined],
  ['in the headers of the response', false, () => appended.slice(0, 30)],
  ['in the body of the response', false, () => errorResponse(403, 'AccessDenied').slice(0, -150)],
  [
    'in the body of the request',
    false,
    ({ socket }) => {
      socket.pause()
      return undefined
    },
  ],
]

/** A server that stalls, and a client of it. */
async function stall(t: Test, [, isTls, script]: (typeof stalls)[0], options: ClientOptions = {}) {
  const server = await startScriptedServer(t, script, { isEarly: true })
  const endpoint = `${isTls ? 'https' : 'http'}://127.0.0.1:${server.port}`
  const client = connectTo(t, server, { endpoint, connectTimeout: NEVER, ...options })
  return { server, client }
}

const BIG = Buffer.alloc(32_000_000)

for (const stalled of stalls) {
  t.test(`an exchange that hangs ${stalled[0]} times out and closes its connection`, async t => {
    const { server, client } = await stall(t, stalled, { requestTimeout: 100 })
    const body = stalled[0] === 'in the body of the request' ? Buffer.alloc(8_000_000) : HELLO
    // 100 ms plus 125 s for 8 MB is too long for a test, so this timer fires early.
    const { setTimeout } = globalThis
    globalThis.setTimeout = ((callback: () => void, delay: number) =>
      setTimeout(callback, delay === 125_100 ? 100 : delay)) as typeof setTimeout
    t.teardown(() => Object.assign(globalThis, { setTimeout }))
    const { signal } = new AbortController()
    const error = await failure(calls(client, signal).append(body))
    t.match(error, { name: 'OssError', code: 'OSS_ERR_TIMEOUT', message: / (125)?100 ms/ })
    t.equal(classifyError(error), 'wait')
    t.same(getEventListeners(signal, 'abort'), [])
    if (!stalled[1]) await server.whenClosed()
    await client.close()
    await server.whenClosed()
  })

  t.test(`an exchange that hangs ${stalled[0]} is aborted and closes its connection`, async t => {
    const { server, client } = await stall(t, stalled)
    const controller = new AbortController()
    const body = stalled[0] === 'in the body of the request' ? BIG : HELLO
    const pending = failure(calls(client, controller.signal).append(body))
    if (stalled[1]) while (server.sockets.length === 0) await new Promise(setImmediate)
    else await server.nextRequest()
    const reason = new Error('enough')
    controller.abort(reason)
    t.equal(await pending, reason)
    t.same(getEventListeners(controller.signal, 'abort'), [])
    if (!stalled[1]) await server.whenClosed()
    await client.close()
    await server.whenClosed()
  })

  t.test(`closing the client ends an exchange that hangs ${stalled[0]}`, async t => {
    const { server, client } = await stall(t, stalled)
    const { signal } = new AbortController()
    const body = stalled[0] === 'in the body of the request' ? BIG : HELLO
    const pending = failure(calls(client, signal).append(body))
    if (stalled[1]) while (server.sockets.length === 0) await new Promise(setImmediate)
    else await server.nextRequest()
    await client.close()
    t.match(await pending, { code: 'OSS_ERR_NETWORK' })
    t.same(getEventListeners(signal, 'abort'), [])
    await server.whenClosed()
  })
}

t.test('the socket of a timed-out attempt is gone before the next attempt leaves', async t => {
  const sockets: Socket[] = []
  const server = await startScriptedServer(t, () =>
    server.requests.length === 2 ? undefined : appended,
  )
  const agent = new Agent({
    connect: (options, callback) => {
      const socket = createConnection(Number(options.port), '127.0.0.1')
      sockets.push(socket)
      socket.once('connect', () => callback(null, socket))
      // undici 7.30 reconnects after an abort, perhaps when the server has closed.
      socket.on('error', () => {})
    },
  })
  t.teardown(() => agent.destroy())
  const unhurried = calls(connectTo(t, server, { dispatcher: agent }))
  const hurried = calls(connectTo(t, server, { dispatcher: agent, requestTimeout: 50 }))
  // The connection is open, so the request leaves before its deadline even on a busy machine.
  await unhurried.append()
  for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate)
  t.match(await failure(hurried.append()), { code: 'OSS_ERR_TIMEOUT' })
  t.ok(sockets[0]?.destroyed)
  t.match(await unhurried.append(), { position: 5 })
  const [first, second, third] = server.requests
  t.equal(first?.socket, second?.socket)
  t.not(second?.socket, third?.socket)
})

t.test('a dispatcher that does not support the handler is a final error of the option', async t => {
  class InvalidArgumentError extends Error {
    readonly code = 'UND_ERR_INVALID_ARG'
  }
  const dispatcher = {
    dispatch() {
      throw new InvalidArgumentError('invalid onError method')
    },
  }
  const client = new OssClient({
    region: 'cn-hangzhou',
    credentials,
    dispatcher: dispatcher as never,
  })
  const error = await failure(calls(client).append())
  t.match(error, { code: 'OSS_ERR_INVALID_OPTION', message: /^option dispatcher: .* undici 7/ })
  t.equal(classifyError(error), 'final')
})

/** An interceptor of the caller that makes an error of each response with an error status. */
function throwOnStatus(fields: object): Dispatcher.DispatcherComposeInterceptor {
  return dispatch => (options, handler) =>
    dispatch(options, {
      onRequestStart: (...args) => handler.onRequestStart?.(...args),
      onResponseStart(controller, status, ...rest) {
        if (status >= 400) throw Object.assign(new Error('failed'), { status, ...fields })
        handler.onResponseStart?.(controller, status, ...rest)
      },
      onResponseData: (...args) => handler.onResponseData?.(...args),
      onResponseEnd: (...args) => handler.onResponseEnd?.(...args),
      onResponseError: (...args) => handler.onResponseError?.(...args),
    })
}

t.test('a dispatcher through which no request can succeed is a final error', async t => {
  const server = await startScriptedServer(t, () => errorResponse(403, 'AccessDenied'))
  const destroyed = new Agent()
  await destroyed.destroy()
  const closed = new Agent()
  await closed.close()
  const composed = closed.compose(interceptors.dump())
  const mock = new MockAgent()
  mock.disableNetConnect()
  const open = new Agent()
  t.teardown(() => Promise.all([mock.close(), open.destroy()]))
  // label, dispatcher, message, whether nothing was sent
  const table: [string, Dispatcher, RegExp, boolean][] = [
    ['destroyed', destroyed, /is closed: pass one that lives/, true],
    ['closed', closed, /is closed: pass one that lives/, true],
    ['closed and composed', composed, /is closed: pass one that lives/, true],
    ['no reply', mock, /is a MockAgent without a reply/, true],
    // The append that got this response may have landed.
    ['an interceptor', open.compose(interceptors.responseError()), /responseError/, false],
    ['one with a code', open.compose(throwOnStatus({ code: 'E_HTTP' })), /that throws/, false],
    ['one without a code', open.compose(throwOnStatus({})), /that throws on a status/, false],
  ]
  for (const [label, dispatcher, message, isUnsent] of table) {
    const error = await failure(calls(connectTo(t, server, { dispatcher })).append())
    t.match(error, { code: 'OSS_ERR_INVALID_OPTION', message, isUnsent }, label)
    t.match(error.message, /^option dispatcher: /, label)
    t.equal(classifyError(error), 'final', label)
  }
  t.equal(server.requests.length, 3)
})

t.test('a RetryAgent that gives up on a status is a network error', async t => {
  const server = await startScriptedServer(t, () => errorResponse(500, 'InternalError'))
  const dispatcher = new RetryAgent(new Agent(), {
    maxRetries: 1,
    minTimeout: 1,
    methods: ['POST'],
  })
  t.teardown(() => dispatcher.destroy())
  const error = await failure(calls(connectTo(t, server, { dispatcher })).append())
  t.match(error, { code: 'OSS_ERR_NETWORK', isUnsent: false })
  t.equal(classifyError(error), 'wait')
  t.ok(server.requests.length > 1, `${server.requests.length} requests`)
})

t.test('a pool that closes inside of an open dispatcher is a network error', async t => {
  const { message } = new undiciErrors.ClientDestroyedError()
  const dispatcher = {
    closed: false,
    destroyed: false,
    dispatch(_: unknown, handler: Dispatcher.DispatchHandler) {
      handler.onResponseError?.(null as never, new undiciErrors.ClientDestroyedError())
      return false
    },
  } as unknown as Dispatcher
  const error = await failure(calls(connectTo(t, { port: 1 }, { dispatcher })).append())
  t.match(error, { code: 'OSS_ERR_NETWORK', cause: { message } })
  t.equal(classifyError(error), 'wait')
})

t.test('a runtime without a working undici is a final error of the option', async t => {
  const table: [string, RegExp][] = [
    ['throw new TypeError("secret")', /needed: undici cannot be loaded \(TypeError\)$/],
    [
      'return { url: "data:text/javascript,export class Client {}; export class Agent {}", shortCircuit: true }',
      /needed: this runtime replaces undici by a module without dispatch\(\)$/,
    ],
  ]
  for (const [resolve, message] of table) {
    const code = `
      import { register } from 'node:module'
      const hook = \`export async function resolve(name, context, next) {
        if (name === 'undici') ${resolve}
        return next(name, context)
      }\`
      register('data:text/javascript,' + encodeURIComponent(hook))
      const { OssClient } = await import('DISTindex.js')
      const credentials = { accessKeyId: 'a', accessKeySecret: 'b' }
      const client = new OssClient({ endpoint: 'http://127.0.0.1:1', region: 'x', credentials })
      const { signal } = new AbortController()
      for (let i = 0; i < 2; i++) {
        const error = await client.head({ bucket: 'examplebucket', key: 'a' }, { signal }).catch(e => e)
        console.log(error.code, error.isUnsent, error.message)
      }
      await client.close()`
    const { stdout, stderr } = await runModule(t, code)
    const lines = stdout.trim().split('\n')
    t.equal(lines.length, 2, stderr)
    for (const line of lines) {
      t.match(line, /^OSS_ERR_INVALID_OPTION true option dispatcher: /)
      t.match(line, message)
    }
  }
})

t.test('an append that is aborted while connecting is never sent', async t => {
  const server = await startScriptedServer(t, () => appended)
  const connects: (() => void)[] = []
  const agent = new Agent({
    connect: (options, callback) => {
      const socket = createConnection(Number(options.port), '127.0.0.1')
      socket.once('connect', () => connects.push(() => callback(null, socket)))
      // The server may close at the end of the test while a socket connects.
      socket.on('error', () => {})
    },
  })
  t.teardown(() => agent.destroy())
  const controller = new AbortController()
  const client = connectTo(t, server, { dispatcher: agent })
  const body = Buffer.from('hello')
  const pending = failure(calls(client, controller.signal).append(body))
  while (connects.length < 1) await new Promise(setImmediate)
  controller.abort('enough')
  t.equal(await pending, 'enough', 'the abort does not wait for the connection')
  body.fill('x')
  connects.shift()?.()
  const later = calls(client).append(Buffer.from('later'))
  while (server.requests.length < 1) {
    connects.shift()?.()
    await new Promise(setImmediate)
  }
  t.match(await later, { position: 5 })
  t.same(
    server.requests.map(({ body }) => `${body}`),
    ['later'],
  )
})

t.test('an error says whether the request has left', async t => {
  const server = await startScriptedServer(t, () => appended)
  const closing = await startScriptedServer(t, ({ socket }) => {
    socket.destroy()
    return undefined
  })
  const silent = await startScriptedServer(t, () => undefined)
  const unused = createServer().listen(0, '127.0.0.1')
  await once(unused, 'listening')
  const { port } = unused.address() as AddressInfo
  await new Promise(resolve => unused.close(resolve))
  const never = new Agent({ connect: () => {} })
  // The RetryAgent sends the append again after the reset, and then finds no server.
  const vanishing = createServer(socket => {
    vanishing.close()
    socket.on('error', () => {}).once('data', () => socket.resetAndDestroy())
  })
  await once(vanishing.listen(0, '127.0.0.1'), 'listening')
  const retrying = new RetryAgent(new Agent(), { methods: ['POST'], minTimeout: 1, maxRetries: 1 })
  t.teardown(() => Promise.all([never.destroy(), retrying.destroy()]))
  const closed = connectTo(t, server)
  await closed.close()
  // label, client, code, whether nothing was sent
  const table: [string, OssClient, string, boolean][] = [
    ['refused', connectTo(t, { port }), 'OSS_ERR_NETWORK', true],
    [
      'an unknown host',
      connectTo(t, { port }, { endpoint: 'http://nowhere.invalid', dispatcher: notFound(t) }),
      'OSS_ERR_NETWORK',
      true,
    ],
    [
      'TLS with a server that has none',
      connectTo(t, { port }, { endpoint: `https://127.0.0.1:${silent.port}`, connectTimeout: 50 }),
      'OSS_ERR_NETWORK',
      true,
    ],
    [
      'no connection in time',
      connectTo(t, server, { dispatcher: never, requestTimeout: 20 }),
      'OSS_ERR_TIMEOUT',
      true,
    ],
    ['a closed client', closed, 'OSS_ERR_ABORTED', true],
    [
      'no credentials',
      connectTo(t, server, { credentials: () => Promise.reject(new Error('no')) }),
      'OSS_ERR_CREDENTIALS',
      true,
    ],
    ['closed by the server', connectTo(t, closing), 'OSS_ERR_NETWORK', false],
    ['no response', connectTo(t, silent, { requestTimeout: 20 }), 'OSS_ERR_TIMEOUT', false],
    [
      'resent in a layer below, and refused there',
      connectTo(t, vanishing.address() as AddressInfo, { dispatcher: retrying }),
      'OSS_ERR_NETWORK',
      false,
    ],
  ]
  for (const [label, client, code, isUnsent] of table) {
    const error = await failure(calls(client).append())
    t.match(error, { code, isUnsent }, label)
    const own = !/layer|unknown host|in time/.test(label)
    t.equal(client.sendsOnce, own, `${label}: own connections`)
  }
  const last = await failure(calls(table.at(-1)?.[1] as OssClient).append())
  t.match(last, { cause: { code: 'ECONNREFUSED' }, isUnsent: true }, 'a new request')
})

t.test('a refusal by size has its status, from OSS or from a proxy', async t => {
  const foreign = { 'x-oss-request-id': undefined }
  const table: [string, string][] = [
    ['OSS', errorResponse(413, 'EntityTooLarge')],
    ['a proxy', httpResponse(413, foreign, '<html>')],
    ['a proxy, cut', httpResponse(413, { ...foreign, 'content-length': '999' }, '<html>')],
  ]
  for (const [label, response] of table) {
    const server = await startScriptedServer(t, () => response)
    // The cut response never ends, so the timeout ends it.
    const client = connectTo(t, server, { requestTimeout: 50 })
    const error = await failure(calls(client).append())
    t.match(error, { status: 413, isUnsent: false }, label)
    t.equal(classifyError(error), 'tooLarge', label)
  }
})

t.test('an abort ends an exchange that waits for a provider', async t => {
  const server = await startScriptedServer(t, () => appended)
  const controller = new AbortController()
  const client = connectTo(t, server, { credentials: () => new Promise<never>(() => {}) })
  const pending = failure(calls(client, controller.signal).append())
  const reason = new Error('enough')
  controller.abort(reason)
  t.equal(await pending, reason)
  t.same(getEventListeners(controller.signal, 'abort'), [])
  t.equal(server.sockets.length, 0)
})

t.test('an abort after signing prevents the request', async t => {
  const server = await startScriptedServer(t, () => appended)
  const controller = new AbortController()
  const client = connectTo(t, server, { requestTimeout: NEVER })
  const target = {
    key: TARGET.key,
    // Read when the request is made, after every earlier check of the signal.
    get bucket() {
      controller.abort('enough')
      return BUCKET
    },
  }
  t.equal(await failure(client.head(target, { signal: controller.signal })), 'enough')
  t.equal(server.sockets.length, 0)
})

t.test('an aborted signal rejects every call without a connection', async t => {
  const server = await startScriptedServer(t, () => appended)
  const reason = new Error('enough')
  const { head, append, seal } = calls(connectTo(t, server), AbortSignal.abort(reason))
  for (const call of [head, append, seal]) t.equal(await failure(call()), reason)
  t.equal(server.sockets.length, 0)
})

t.test('a signal has no listeners left after 300 exchanges', async t => {
  const server = await startScriptedServer(t, () => appended)
  const { signal } = new AbortController()
  const { append } = calls(connectTo(t, server), signal)
  for (let i = 0; i < 300; i++) await append()
  t.same(getEventListeners(signal, 'abort'), [])
  t.equal(server.sockets.length, 1)
})

t.test('a closed connection is garbage-collected', async t => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const sockets: WeakRef<object>[] = []
  const onConnected = (message: unknown) => {
    sockets.push(new WeakRef((message as { socket: object }).socket))
  }
  subscribe('undici:client:connected', onConnected)
  t.teardown(() => unsubscribe('undici:client:connected', onConnected))
  const server = await startScriptedServer(t, ({ socket }) => {
    socket.end(httpResponse(200, { connection: 'close', 'x-oss-next-append-position': '5' }))
    return undefined
  })
  const { append } = calls(connectTo(t, server))
  for (let i = 0; i < 5; i++) await append()
  t.equal(sockets.length, 5)
  // undici may still refer to the last one.
  for (let i = 0; i < 100 && sockets[0]?.deref(); i++) {
    await new Promise(setImmediate)
    collect()
  }
  t.same(
    sockets.slice(0, 3).map(socket => socket.deref()),
    [undefined, undefined, undefined],
  )
})

/** Stops the local clock until the end of the test. */
function stopClock(t: Test, time: string): void {
  const { now } = Date
  Date.now = () => Date.parse(time)
  t.teardown(() => {
    Date.now = now
  })
}

const NOW = '2026-11-02T03:04:05.000Z'

t.test('a wrong clock is corrected by a plausible time in a response of OSS', async t => {
  const skewed = (serverTime: string, headers = {}) =>
    errorResponse(403, 'RequestTimeTooSkewed', {
      more: `<ServerTime>${serverTime}</ServerTime>`,
      headers,
    })
  const dated = (date: string | string[], code = 'RequestTimeTooSkewed', status = 403) =>
    errorResponse(status, code, { headers: { date } as object })
  const signingDate = errorResponse(400, 'InvalidArgument', {
    headers: { date: 'Mon, 02 Nov 2026 09:04:05 GMT' },
  })
  // label, responses, signing time of the next request, whether the last error is refreshable
  const table: [string, string[], string, boolean][] = [
    ['hours behind', [skewed('2026-11-02T06:04:05.000Z')], '20261102T060405Z', true],
    ['hours ahead', [skewed('2026-11-01T22:04:05.000Z')], '20261101T220405Z', true],
    ['from the header', [dated('Mon, 02 Nov 2026 09:04:05 GMT')], '20261102T090405Z', true],
    [
      'from the document, if both have a time',
      [skewed('2026-11-02T06:04:05.000Z', { date: 'Mon, 02 Nov 2026 09:04:05 GMT' })],
      '20261102T060405Z',
      true,
    ],
    [
      'the same offset twice, which does not add up',
      [skewed('2026-11-02T06:04:05.000Z'), skewed('2026-11-02T06:04:05.000Z')],
      '20261102T060405Z',
      true,
    ],
    [
      'two different offsets',
      [skewed('2026-11-02T06:04:05.000Z'), skewed('2026-11-02T04:04:05.000Z')],
      '20261102T040405Z',
      true,
    ],
    [
      'kept after a success',
      [skewed('2026-11-02T06:04:05.000Z'), appended, appended],
      '20261102T060405Z',
      false,
    ],
    [
      'from the header, if the time in the document is invalid',
      [skewed('soon', { date: 'Mon, 02 Nov 2026 09:04:05 GMT' })],
      '20261102T090405Z',
      true,
    ],
    [
      'from the header, if the time in the document is not plausible',
      [skewed('1970-01-01T00:00:00.000Z', { date: 'Mon, 02 Nov 2026 09:04:05 GMT' })],
      '20261102T090405Z',
      true,
    ],
    [
      'from the document, if the header is not plausible',
      [skewed('2026-11-02T06:04:05.000Z', { date: 'Thu, 01 Jan 1970 00:00:00 GMT' })],
      '20261102T060405Z',
      true,
    ],
    ['poisoned with 1970', [skewed('1970-01-01T00:00:00.000Z')], '20261102T030405Z', false],
    ['poisoned header', [dated('Thu, 01 Jan 1970 00:00:00 GMT')], '20261102T030405Z', false],
    ['poisoned with 9999', [dated('Fri, 31 Dec 9999 23:59:59 GMT')], '20261102T030405Z', false],
    ['no time', [errorResponse(403, 'RequestTimeTooSkewed')], '20261102T030405Z', false],
    ['no valid time', [dated('yesterday')], '20261102T030405Z', false],
    [
      'two times',
      [dated(['Mon, 02 Nov 2026 09:04:05 GMT', 'Mon, 02 Nov 2026 08:04:05 GMT'])],
      '20261102T030405Z',
      false,
    ],
    [
      'a response that is not from OSS',
      [skewed('2026-11-02T06:04:05.000Z', { 'x-oss-request-id': undefined })],
      '20261102T030405Z',
      false,
    ],
    [
      'InvalidArgument about the signing date',
      [
        signingDate
          .replaceAll(
            'InvalidArgument by the script.',
            'Invalid signing date in Authorization header.',
          )
          .replace(
            /content-length: \d+/,
            `content-length: ${errorXml('InvalidArgument').length + 15}`,
          ),
      ],
      '20261102T090405Z',
      true,
    ],
    ['another argument', [signingDate], '20261102T030405Z', false],
    [
      'another refusal with a time',
      [dated('Mon, 02 Nov 2026 09:04:05 GMT', 'AccessDenied')],
      '20261102T030405Z',
      false,
    ],
  ]
  stopClock(t, NOW)
  for (const [label, responses, time, isRefreshable] of table) {
    const queue = [...responses]
    const server = await startScriptedServer(t, () => queue.shift() ?? appended)
    const { append } = calls(connectTo(t, server))
    let error: Partial<OssError> = {}
    for (const _ of responses) error = await append().catch(error => error)
    t.equal(error.isRefreshable ?? false, isRefreshable, `${label}: refreshable`)
    await append()
    t.equal(server.requests.at(-1)?.headers['x-oss-date'], time, label)
    t.equal(server.requests[0]?.headers['x-oss-date'], '20261102T030405Z', 'the local clock first')
    for (const request of server.requests) t.ok(isSignedCorrectly(request), label)
  }
})

t.test('a clock that HEAD has corrected is used by later appends', async t => {
  stopClock(t, '2020-01-01T00:00:00.000Z')
  const more = '<ServerTime>2026-11-02T06:04:05.000Z</ServerTime>'
  const server = await startScriptedServer(t, ({ requestLine }) =>
    /^HEAD/.test(requestLine)
      ? errorResponse(403, 'RequestTimeTooSkewed', { more, head: true })
      : appended,
  )
  const { head, append } = calls(connectTo(t, server))
  t.match(await failure(head()), { isRefreshable: true })
  await append()
  t.equal(server.requests[1]?.headers['x-oss-date'], '20261102T060405Z')
  // The client keeps the offset, not the time.
  Date.now = () => Date.parse('2020-01-01T01:00:00.000Z')
  await append()
  t.equal(server.requests[2]?.headers['x-oss-date'], '20261102T070405Z')
})

t.test('a refusal of credentials is refreshable unless the keys are fixed', async t => {
  const codes = [
    'SecurityTokenExpired',
    'InvalidAccessKeyId',
    'InvalidSecurityToken',
    'AccessKeyIdAndSecurityTokenNotMatch',
  ]
  const others = [
    'AccessDenied',
    'SignatureDoesNotMatch',
    'SecurityTokenNotSupported',
    'UserDisable',
  ]
  Object.assign(process.env, {
    OSS_ACCESS_KEY_ID: credentials.accessKeyId,
    OSS_ACCESS_KEY_SECRET: SECRET,
    OSS_SESSION_TOKEN: TOKEN,
  })
  t.teardown(() => {
    for (const name of ['ACCESS_KEY_ID', 'ACCESS_KEY_SECRET', 'SESSION_TOKEN'])
      delete process.env[`OSS_${name}`]
  })
  let next = ''
  const server = await startScriptedServer(t, () => next)
  const table: [string, ClientOptions, boolean][] = [
    ['fixed', {}, false],
    ['a function', { credentials: () => credentials }, true],
    ['an object', { credentials: { getCredential: async () => credentials } }, true],
    ['the environment', { credentials: undefined }, true],
  ]
  for (const [label, options, isRefreshable] of table) {
    const { append } = calls(connectTo(t, server, options))
    for (const code of [...codes, ...others]) {
      next = errorResponse(403, code)
      const error = await failure(append())
      t.match(error, { code })
      t.equal(error.isRefreshable, isRefreshable && codes.includes(code), `${label}: ${code}`)
    }
  }
})

t.test('the provider is called for every exchange', async t => {
  const server = await startScriptedServer(t, () => appended)
  let count = 0
  const provide = async () => {
    count += 1
    return {
      accessKeyId: `id${count}`,
      accessKeySecret: ` ${SECRET}\n`,
      securityToken: `token${count}`,
    }
  }
  const { append } = calls(connectTo(t, server, { credentials: provide }))
  for (let i = 1; i <= 3; i++) {
    await append()
    const { headers } = server.requests.at(-1) as ReceivedRequest
    t.equal(headers['x-oss-security-token'], `token${i}`)
    t.match(headers.authorization, `Credential=id${i}/`)
  }
  t.equal(count, 3)
})

t.test('an error of the provider is refreshable, and incomplete keys are not', async t => {
  const server = await startScriptedServer(t, () => appended)
  const table: [() => never | object, boolean][] = [
    [() => Promise.reject(new Error('metadata service unreachable')), true],
    [() => ({}), false],
    [() => ({ accessKeyId: 'id' }), false],
  ]
  for (const [provide, isRefreshable] of table) {
    const { append } = calls(connectTo(t, server, { credentials: provide }))
    t.match(await failure(append()), { code: 'OSS_ERR_CREDENTIALS', isRefreshable })
  }
  const { append } = calls(connectTo(t, server, { credentials: undefined }))
  t.match(await failure(append()), { code: 'OSS_ERR_CREDENTIALS', message: /OSS_ACCESS_KEY_ID/ })
  t.equal(server.sockets.length, 0)
})

t.test('a given dispatcher is used and not closed', async t => {
  const server = await startScriptedServer(t, () => appended)
  const agent = new Agent()
  t.teardown(() => agent.destroy())
  const client = connectTo(t, server, { dispatcher: agent })
  await calls(client).append()
  await client.close()
  t.equal(server.sockets[0]?.closed, false)
  // undici releases a connection one turn after its response.
  await new Promise(setImmediate)
  await agent.request({ origin: `http://127.0.0.1:${server.port}`, path: '/', method: 'GET' })
  t.equal(server.sockets.length, 1, 'the connection is still usable')

  const mock = new MockAgent()
  t.teardown(() => mock.close())
  mock.disableNetConnect()
  mock
    .get('http://127.0.0.1:1')
    .intercept({ method: 'POST', path: `/${BUCKET}/logs/app.log?append&position=0` })
    .reply(200, '', {
      headers: { 'x-oss-request-id': REQUEST_ID, 'x-oss-next-append-position': '5' },
    })
  const { append } = calls(connectTo(t, { port: 1 }, { dispatcher: mock }))
  t.match(await append(), { position: 5 })
  const error = await failure(append())
  t.match(error, { code: 'OSS_ERR_INVALID_OPTION', message: /MockAgent without a reply/ })
  t.notMatch(printed(error), TOKEN, 'undici quotes the headers in its error')
})

t.test('every call to a closed client fails with OSS_ERR_ABORTED', async t => {
  const server = await startScriptedServer(t, () => appended)
  const client = connectTo(t, server)
  const { append, head, seal } = calls(client)
  await append()
  await client.close()
  await server.whenClosed()
  for (const call of [append, head, seal]) {
    const error = await failure(call())
    t.match(error, { name: 'OssError', code: 'OSS_ERR_ABORTED', message: 'the client is closed' })
    t.equal(classifyError(error), 'final')
  }
  await client.close()

  const unused = connectTo(t, server)
  await unused.close()
  t.match(await failure(calls(unused).head()), { code: 'OSS_ERR_ABORTED' })

  let provide = (_: typeof credentials) => {}
  const busy = connectTo(t, server, { credentials: () => new Promise(r => (provide = r)) })
  const pending = failure(calls(busy).append())
  await busy.close()
  provide(credentials)
  t.match(await pending, { code: 'OSS_ERR_ABORTED' }, 'closed while it waits for the provider')
  t.equal(server.sockets.length, 1)
})

t.test('undici is loaded at the first request', async t => {
  const code = `
    import { createRequire } from 'node:module'
    const { createAppendStream, OssClient } = await import('DISTindex.js')
    const { cache } = createRequire(import.meta.url)
    const isLoaded = () => Object.keys(cache).some(name => /[\\\\/]undici[\\\\/]/.test(name))
    const options = { endpoint: 'http://127.0.0.1:1', region: 'x', credentials: { accessKeyId: 'a', accessKeySecret: 'b' } }
    const client = new OssClient(options)
    const stream = createAppendStream({ bucket: 'examplebucket', key: 'a', position: 0, flushInterval: 0, ...options })
    stream.on('error', () => {})
    stream.write('a')
    await new Promise(setImmediate)
    console.log(isLoaded())
    const { signal } = new AbortController()
    await client.head({ bucket: 'examplebucket', key: 'a' }, { signal }).catch(() => {})
    console.log(isLoaded())
    process.exit()
  `
  const { stdout, stderr } = await runModule(t, code)
  t.equal(stdout, 'false\ntrue\n', stderr)
})

t.test('no error and no inspected client shows a secret that the server echoes', async t => {
  const quote = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  const all = ({ head }: ReceivedRequest) => `${SECRET} ${quote(head.replaceAll('\r\n', ' '))}`
  const signature = ({ headers }: ReceivedRequest) => headers.authorization?.slice(-64) ?? ''
  // The server echoes the request in every place of its response.
  const scripts: [string, (request: ReceivedRequest) => string][] = [
    [
      'the message',
      request => httpResponse(403, {}, `<Code>X</Code><Message>${all(request)}</Message>`),
    ],
    ['the code', request => httpResponse(403, {}, `<Code>${signature(request)}</Code>`)],
    ['the code of OSS', () => httpResponse(403, {}, `<Code>${SECRET}</Code>`)],
    ['the host', () => httpResponse(403, {}, `<Code>X</Code><HostId>${SECRET}</HostId>`)],
    [
      'the endpoint',
      request => httpResponse(403, {}, `<Endpoint>${signature(request)}</Endpoint>`),
    ],
    ['the EC', request => httpResponse(403, { 'x-oss-ec': signature(request) })],
    ['the request id', () => httpResponse(403, { 'x-oss-request-id': TOKEN })],
    [
      'all of the body',
      request => httpResponse(502, { 'x-oss-request-id': undefined }, all(request)),
    ],
    [
      'a document around it',
      request =>
        httpResponse(403, {}, errorXml('X', `<StringToSign>${all(request)}</StringToSign>`)),
    ],
    ['an echo', ({ head }) => `${head}\r\n\r\n`],
    ['an echo as a header', ({ head }) => `HTTP/1.1 200 ${head.slice(20)}\r\n\r\nhello`],
    [
      'half a header',
      ({ head }) =>
        `HTTP/1.1 200 OK\r\n${head.replace(/.*\r\n/, '').replace(/:/, '')}\r\n\r\nhello`,
    ],
  ]
  for (const [label, script] of scripts) {
    const server = await startScriptedServer(t, script)
    const client = connectTo(t, server)
    const error = await failure(calls(client).append())
    const [request] = server.requests as [ReceivedRequest]
    t.ok(error instanceof OssError, label)
    for (const hidden of [SECRET, TOKEN, signature(request), quote(TOKEN)]) {
      t.notOk(
        printed(error).includes(hidden),
        `${label}: ${printed(error).includes(hidden) ? hidden : 'clean'}`,
      )
    }
    t.notMatch(printed(client), SECRET, 'inspected client')
  }
  const server = await startScriptedServer(t, () =>
    httpResponse(200, { 'x-oss-request-id': `a ${TOKEN}`, 'x-oss-next-append-position': '5' }),
  )
  t.match(await calls(connectTo(t, server)).append(), { requestId: 'a ***' })
})

t.test('the message of an error of a dispatcher is not shown', async t => {
  const thrown = (options: Dispatcher.DispatchOptions) =>
    Object.assign(new Error(`cannot send ${JSON.stringify(options)}`), { options, code: 'EUSER' })
  const dispatcher = {
    dispatch(options: Dispatcher.DispatchOptions) {
      throw thrown(options)
    },
  } as unknown as Dispatcher
  const error = await failure(calls(connectTo(t, { port: 1 }, { dispatcher })).append())
  t.match(error, { code: 'OSS_ERR_NETWORK', cause: { code: 'EUSER', message: 'Error EUSER' } })
  for (const hidden of [SECRET, TOKEN]) t.notMatch(printed(error), hidden)
})
