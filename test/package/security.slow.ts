/**
 * Security: secrets must not show in errors, events and output; false responses must not be believed; names
 * must stay names; and one request must stay one request. Streams use real HTTP, and some tests write bytes
 * to plain sockets.
 */

import { tracingChannel } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { ProxyAgent } from 'undici'
import {
  type AppendInfo,
  type AppendStreamOptions,
  createAppendStream,
  OssClient,
  type OssError,
  type RetryInfo,
} from '../../lib/index.ts'
import { createOssServer, type Fault, type OssServer } from '../../lib/server/index.ts'
import { cleanEnv, runModule, spawnClean } from '../helpers/child-process.ts'
import { append, head, send } from '../helpers/raw-client.ts'
import { composeRequest, exchangeBytes, renderRequest } from '../helpers/raw-socket.ts'
import { BUCKET, seededBytes, startOss } from '../helpers/test-oss.ts'

const KEYS = {
  accessKeyId: 'LTAI-hunter2-id',
  accessKeySecret: 'hunter2/SECRET+x=',
  securityToken: 'CAIS+hunter2/TOKEN==',
}
const PROXY_USER = 'hunter2-proxy'

/** A secret in the encodings in which it may show. */
function spellings(secret: string): string[] {
  const bytes = Buffer.from(secret)
  return [
    secret,
    encodeURIComponent(secret),
    secret.replaceAll('/', '\\/'),
    bytes.toString('base64').replace(/..?=*$/, ''),
    bytes.toString('hex'),
  ]
}

const SECRETS = [
  KEYS.accessKeySecret,
  KEYS.securityToken,
  `${PROXY_USER}:hunter2-password`,
  'hunter2-password',
].flatMap(spellings)

/** A value as logs may print it. */
function printed(value: unknown): string {
  const all = { depth: Number.POSITIVE_INFINITY, showHidden: true, getters: true } as const
  const parts = [inspect(value), inspect(value, all)]
  for (let error = value; error instanceof Error; error = error.cause) {
    parts.push(String(error), error.stack ?? '', JSON.stringify(error))
    parts.push(JSON.stringify(Object.getOwnPropertyDescriptors(error)))
    parts.push(inspect(structuredClone(error), all))
  }
  return parts.join('\n')
}

/** The secrets that a text contains. */
function leaks(text: string, secrets: readonly string[] = SECRETS): string[] {
  return secrets.filter(secret => text.includes(secret))
}

interface RunResult {
  readonly error: OssError | undefined
  readonly retries: RetryInfo[]
  readonly appends: AppendInfo[]
  /** The stream, its client, its events, its traces and the warnings, as logs may print them. */
  readonly text: string
}

/** Writes bytes to a stream, ends it, and waits for it to close. */
async function runStream(
  options: AppendStreamOptions,
  bytes: Buffer | string = 'hello',
): Promise<RunResult> {
  const { endpoint, region, credentials, dispatcher, ...rest } = options
  const client = new OssClient({ endpoint, region, credentials, dispatcher })
  const stream = createAppendStream({ ...rest, client })
  const retries: RetryInfo[] = []
  const appends: AppendInfo[] = []
  const texts: string[] = []
  const keep = (...values: unknown[]) => texts.push(...values.map(printed))
  const keepTrace = { start: keep, end: keep, asyncStart: keep, asyncEnd: keep, error: keep }
  const channels = ['open', 'append'].map(name => tracingChannel(`oss-append-stream:${name}`))
  for (const channel of channels) channel.subscribe(keepTrace)
  process.on('warning', keep)
  stream.on('ready', info => keep(info))
  stream.on('append', info => keep(appends.push(info) && info))
  stream.on('retry', info => keep(retries.push(info) && info, info.error, stream, client))
  stream.on('error', error => keep(error))
  const flushed = stream.flush().catch(keep)
  keep(stream, client)
  stream.end(bytes)
  await once(stream, 'close').catch(keep)
  await flushed
  keep(stream, client)
  await client.close()
  for (const channel of channels) channel.unsubscribe(keepTrace)
  process.off('warning', keep)
  const error = (stream.errored ?? undefined) as OssError | undefined
  return { error, retries, appends, text: texts.join('\n') }
}

/** A server that reads whole requests and writes bytes as its response. */
async function listen(
  t: Test,
  respond: (head: string) => string,
): Promise<{ port: number; heads: string[] }> {
  const heads: string[] = []
  const server = createServer(socket => {
    let text = ''
    socket.on('error', () => {})
    t.teardown(() => socket.destroy())
    socket.setEncoding('latin1').on('data', chunk => {
      text += chunk
      for (;;) {
        const end = text.indexOf('\r\n\r\n')
        const length = Number(/^content-length: (\d+)/im.exec(text.slice(0, end))?.[1] ?? 0)
        if (end === -1 || text.length < end + 4 + length) return
        const head = text.slice(0, end)
        text = text.slice(end + 4 + length)
        heads.push(head)
        socket.write(respond(head), 'latin1')
      }
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { port: (server.address() as AddressInfo).port, heads }
}

function response(status: number, headers: readonly string[], body = ''): string {
  const lines = [`HTTP/1.1 ${status} Word`, `content-length: ${body.length}`, ...headers]
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}

const ONE_RETRY = { maxRetries: 1, minDelay: 1, maxDelay: 1 }

t.test('a response that repeats the request shows no secret', async t => {
  const quote = (head: string) => head.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  const document = (head: string) => {
    const words = quote(head).replaceAll('\r\n', ' ')
    return `<Error><Code>AccessDenied</Code><Message>${KEYS.accessKeySecret} ${words}</Message></Error>`
  }
  const fieldOf = (head: string, name: string) =>
    new RegExp(`^${name}: (.*)$`, 'im').exec(head)?.[1] ?? ''
  const signature = (head: string) => fieldOf(head, 'authorization').slice(-64)
  const ID = 'x-oss-request-id: 5C3D9175B6FC201293AD4890'
  const encode = (text: string) => Buffer.from(text).toString('base64')
  /** The headers that the client reads. */
  const names = [
    'x-oss-object-type',
    'x-oss-hash-crc64ecma',
    'x-oss-next-append-position',
    'x-oss-sealed-time',
    'x-oss-request-id',
    'x-oss-ec',
    'etag',
    'location',
    'date',
    'server',
    'www-authenticate',
  ]
  const secrets: [string, (head: string) => string][] = [
    ['token', head => fieldOf(head, 'x-oss-security-token')],
    ['signature', signature],
    ['secret', () => KEYS.accessKeySecret],
  ]
  const responses: [string, (head: string) => string][] = [
    [
      'in an error document',
      head =>
        response(
          403,
          [ID, `x-oss-err: ${encode(document(head))}`],
          /^HEAD/.test(head) ? '' : document(head),
        ),
    ],
    ['in the body of a 500', head => response(500, [], /^HEAD/.test(head) ? '' : head)],
    ['without HTTP', head => `${head}\r\n\r\n`],
    [
      'in a header without a colon',
      head => response(200, [ID, fieldOf(head, 'authorization').replaceAll(':', '')]),
    ],
  ]
  for (const status of [200, 307, 403, 503]) {
    for (const [label, secret] of secrets) {
      responses.push([
        `${status} with the ${label} in all headers`,
        head =>
          response(status, [
            ...names.map(name => `${name}: ${secret(head)}`),
            ...(status === 503 ? [ID] : []),
          ]),
      ])
      for (const name of status === 200 ? names.slice(0, 4) : []) {
        const right = [
          'x-oss-object-type: Appendable',
          'x-oss-next-append-position: 0',
          'x-oss-hash-crc64ecma: 0',
          ID,
        ]
        responses.push([
          `${status} with the ${label} in ${name}`,
          head =>
            response(status, [
              ...right.filter(line => !line.startsWith(name)),
              `${name}: ${secret(head)}`,
            ]),
        ])
      }
    }
  }
  for (const [label, respond] of responses) {
    for (const position of ['end', 0] as const) {
      const { port, heads } = await listen(t, respond)
      const endpoint = `http://127.0.0.1:${port}`
      const { error, text } = await runStream({
        bucket: BUCKET,
        key: 'a',
        position,
        endpoint,
        region: 'cn-hangzhou',
        credentials: () => KEYS,
        retry: ONE_RETRY,
      })
      t.ok(error, `${label}: the stream fails`)
      t.ok(heads.length > 0, `${label}: the server got a request`)
      t.same(leaks(text, [...SECRETS, ...heads.map(signature)]), [], `${label}: no secret shows`)
    }
  }
})

t.test('the password of a proxy does not show', async t => {
  const oss = await startOss(t, { credentials: KEYS })
  const responses: [string, (head: string) => string][] = [
    ['a 407', () => response(407, ['proxy-authenticate: Basic'])],
    ['a 403 that repeats the request', head => response(403, ['content-type: text/plain'], head)],
    ['the request itself', head => `${head}\r\n\r\n`],
    ['the request as a status text', head => `HTTP/1.1 200 ${head}\r\n\r\n`],
  ]
  for (const [label, respond] of responses) {
    const { port, heads } = await listen(t, respond)
    for (const proxyTunnel of [true, false]) {
      const uri = `http://${PROXY_USER}:hunter2-password@127.0.0.1:${port}`
      const dispatcher = new ProxyAgent({ uri, proxyTunnel })
      const { error, retries, text } = await runStream(
        oss.options(oss.newKey(), { dispatcher, retry: ONE_RETRY }),
      )
      // undici 7.30 without a tunnel: a 407 is an InvalidArgumentError, which is final.
      if (label !== 'a 407' || proxyTunnel) {
        const cause = { code: 'OSS_ERR_NETWORK' }
        t.match(error, { code: 'OSS_ERR_RETRIES_EXHAUSTED', cause }, label)
        t.equal(retries.length, 1)
      } else t.ok(error, label)
      t.match(heads[0], /proxy-authorization: Basic/i, `${label}: the proxy got the password`)
      t.same(leaks(text), [], label)
      await dispatcher.destroy()
    }
  }
  t.same(oss.server.requests, [])
})

t.test('a secret in the error of a credentials provider does not show', async t => {
  const oss = await startOss(t, { credentials: KEYS })
  const { accessKeySecret: secret, securityToken: token } = KEYS
  const failures: [string, unknown][] = [
    [
      'JSON',
      new Error(`result: ${JSON.stringify({ AccessKeySecret: secret, SecurityToken: token })}`),
    ],
    ['JSON in JSON', new Error(JSON.stringify(JSON.stringify({ AccessKeySecret: secret })))],
    ['a query', new Error(`GET /?SecurityToken=${encodeURIComponent(token)}&Signature=x 403`)],
    ['a header', new Error(`Authorization: Bearer ${token}`)],
    ['text', `secret=${secret}`],
    [
      'an HTTP library',
      Object.assign(new Error('Request failed with status code 403'), {
        config: { headers: { Authorization: token }, auth: { password: secret } },
        request: { _header: `GET / HTTP/1.1\r\nAuthorization: ${token}\r\n\r\n` },
        response: { data: { AccessKeySecret: secret } },
        toJSON: () => ({ secret }),
        [inspect.custom]: () => secret,
      }),
    ],
    ['a cause', new Error('cannot log in', { cause: new Error(secret) })],
    ['many causes', new AggregateError([new Error(secret), new Error(token)], 'none of them')],
    ['an object', { secret, toString: () => `secret: '${secret}'` }],
  ]
  for (const [label, thrown] of failures) {
    const credentials = () => Promise.reject(thrown)
    const key = oss.newKey()
    const { error, retries, text } = await runStream(
      oss.options(key, { credentials, retry: ONE_RETRY }),
    )
    t.match(error, { code: 'OSS_ERR_CREDENTIALS', attempts: 2, cause: Error }, label)
    t.equal(retries.length, 1)
    t.same(leaks(text), [], label)
  }
  // A provider may repeat credentials that it has returned before.
  let calls = 0
  const credentials = () => {
    if (++calls === 1) return KEYS
    throw new Error(`returned ${secret}, ${token}`)
  }
  const { error, text } = await runStream(
    oss.options(oss.newKey(), { credentials, retry: ONE_RETRY }),
  )
  t.match(error, { code: 'OSS_ERR_CREDENTIALS', cause: Error })
  t.same(leaks(text), [])
})

t.test('a stream that works shows no secret', async t => {
  const oss = await startOss(t, { credentials: KEYS })
  const { error, appends, text } = await runStream(
    oss.options(oss.newKey(), { highWaterMark: 1000 }),
    seededBytes(5000),
  )
  t.equal(error, undefined)
  t.equal(appends.length, 5)
  t.same(leaks(text), [])
  // The search finds a secret that is there.
  t.ok(leaks(printed(Object.assign(new Error('x'), { keys: KEYS }))).length > 1)
  t.ok(leaks(printed(new Error('x', { cause: { deep: [new Map([[1, KEYS]])] } }))).length > 1)
})

t.test('the error for a wrong option shows no secret', t => {
  const { accessKeySecret: secret } = KEYS
  const base = { bucket: BUCKET, key: 'a', region: 'cn-hangzhou', credentials: KEYS }
  const wrong: Record<string, unknown>[] = [
    { endpoint: `https://${PROXY_USER}:hunter2-password@oss.example.com` },
    { endpoint: `https://oss.example.com/?Signature=${secret}` },
    { credentials: secret },
    { credentials: { ...KEYS, accessKeySecret: `${secret}\nx` } },
    { credentials: { ...KEYS, securityToken: [KEYS.securityToken] } },
    { headers: { authorization: secret } },
    { headers: { 'x-oss-security-token': secret } },
    { headers: { cookie: `${secret}\r\nx` } },
    { metadata: { a: `${secret}\0` } },
    { region: secret },
    { position: secret },
    { dispatcher: secret },
    { client: { secret } },
    { signal: secret },
    { retry: secret },
  ]
  for (const options of wrong) {
    try {
      createAppendStream({ ...base, ...options } as AppendStreamOptions)
      t.fail(inspect(options))
    } catch (error) {
      t.match(error, { code: 'OSS_ERR_INVALID_OPTION' }, inspect(options))
      t.same(leaks(printed(error)), [])
    }
  }
  for (const url of ['https://b.example.com/', 'oss://', `oss://${BUCKET}`]) {
    t.throws(() => createAppendStream(`${url}?Signature=${secret}`, {}), {
      code: 'OSS_ERR_INVALID_OPTION',
      message: /^option url: (?!.*hunter2)/,
    })
  }
  t.end()
})

t.test('programs that fail print no secret', async t => {
  const server = await createOssServer({ credentials: KEYS })
  t.teardown(() => server.close())
  const message = `${KEYS.accessKeySecret} ${KEYS.securityToken}`
  server.faults.push({ kind: 'status', status: 403, code: 'X', message, on: 'any', times: 1e9 })
  const identity = {
    OSS_ACCESS_KEY_ID: KEYS.accessKeyId,
    OSS_ACCESS_KEY_SECRET: KEYS.accessKeySecret,
    OSS_SESSION_TOKEN: KEYS.securityToken,
    OSS_REGION: server.region,
    OSS_ENDPOINT: server.url,
  }
  const user = server.url.replace('//', `//${PROXY_USER}:hunter2-password@`)
  const environments: [string, NodeJS.ProcessEnv, number][] = [
    ['refused', {}, 1],
    ['other keys', { OSS_ACCESS_KEY_ID: 'LTAI-other' }, 1],
    ['a secret with a line end', { OSS_ACCESS_KEY_SECRET: `${KEYS.accessKeySecret}\nx` }, 2],
    ['a user in the endpoint', { OSS_ENDPOINT: user }, 2],
    ['a secret as endpoint', { OSS_ENDPOINT: KEYS.accessKeySecret }, 2],
    ['a secret as region', { OSS_REGION: KEYS.accessKeySecret }, 2],
  ]
  const cli = join(import.meta.dirname, '../../dist/cli/bin.js')
  await Promise.all(
    environments.map(async ([label, env, code]) => {
      const command = [process.execPath, cli, `oss://${BUCKET}/a`, '-']
      const child = spawnClean(command, cleanEnv({ ...identity, ...env }))
      child.stdin?.on('error', () => {})
      child.stdin?.end('hello')
      const [stdout, stderr, [exitCode]] = await Promise.all([
        text(child.stdout!),
        text(child.stderr!),
        once(child, 'close'),
      ])
      t.equal(exitCode, code, `${label}: ${stderr}`)
      t.match(stderr, /^oss-append: ./)
      t.same(leaks(stdout + stderr), [], label)
    }),
  )
  // Without an 'error' listener Node prints the error with its properties and exits.
  const code = `
    import { createAppendStream } from 'DIST/index.js'
    const stream = createAppendStream({ bucket: '${BUCKET}', key: 'a' })
    stream.on('ready', console.log).on('retry', console.log)
    console.log(stream)
    stream.end('hello')
  `
  const { stdout, stderr } = await runModule(t, code, identity)
  t.match(stderr, /OssServiceError: \*\*\* \*\*\*/)
  t.match(stdout, /OssAppendStream/)
  t.same(leaks(stdout + stderr), [])
})

t.test('a hostile error document is read safely', async t => {
  const oss = await startOss(t)
  const error = (inner: string) => `<Error>${inner}</Error>`
  const bomb = Array.from(
    { length: 12 },
    (_, i) => `<!ENTITY a${i + 1} "${`&a${i};`.repeat(10)}">`,
  ).join('')
  const documents: [label: string, body: string | Buffer, code: string][] = [
    [
      'entities in entities',
      `<!DOCTYPE x [<!ENTITY a0 "AccessDenied">${bomb}]>${error('<Code>&a12;</Code>')}`,
      'BadErrorResponse',
    ],
    [
      'an entity that is a file',
      `<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>${error('<Code>A</Code><Message>&f;</Message>')}`,
      'A',
    ],
    ['20,000 open elements', `${'<a>'.repeat(20_000)}<Code>A</Code>`, 'A'],
    ['300,000 open elements', `${'<a>'.repeat(300_000)}<Code>A</Code>`, 'BadErrorResponse'],
    ['a megabyte of spaces', ' '.repeat(1 << 20), 'BadErrorResponse'],
    ['a megabyte in one value', error(`<Code>${'A'.repeat(1 << 20)}</Code>`), 'BadErrorResponse'],
    ['a megabyte after the code', error(`<Code>A</Code>${'<Code>B</Code>'.repeat(70_000)}`), 'A'],
    ['a megabyte of opening tags', '<Code>'.repeat(170_000), 'BadErrorResponse'],
    [
      'a megabyte of ampersands',
      error(`<Message>${'&amp;'.repeat(200_000)}</Message>`),
      'BadErrorResponse',
    ],
    ['two codes', error('<Code>First</Code><Code>Second</Code>'), 'First'],
    ['CDATA', error('<Code><![CDATA[AccessDenied]]></Code>'), 'BadErrorResponse'],
    ['a code of this package', error('<Code>OSS_ERR_INTEGRITY</Code>'), 'BadErrorResponse'],
    ['a code that is a property of every object', error('<Code>constructor</Code>'), 'constructor'],
    ['a code that is __proto__', error('<Code>__proto__</Code>'), '__proto__'],
    [
      'terminal escapes',
      error('<Code>A</Code><Message>\x1b]0;x\x07\x1b[2J\r\nok\u009b</Message>'),
      'A',
    ],
    ['bytes that are no text', Buffer.from([0xff, 0xfe, 0x00, 0x3c, 0x00]), 'BadErrorResponse'],
    ['UTF-16', Buffer.from(error('<Code>A</Code>'), 'utf16le'), 'BadErrorResponse'],
    ['an empty body', '', 'BadErrorResponse'],
  ]
  for (const [label, body, code] of documents) {
    const key = oss.newKey()
    oss.server.faults.push({ kind: 'status', status: 403, code: 'X', body })
    const { error } = await runStream(oss.options(key))
    t.match(error, { code, status: 403, attempts: 1, unresolved: undefined }, label)
    t.notMatch(error?.message, /\p{Cc}/u, `${label}: the message is one line`)
    t.ok((error?.message.length ?? 0) < 2000, `${label}: the message is short`)

    oss.server.faults.push({ kind: 'status', status: 500, code: 'X', body })
    const { retries, error: none } = await runStream(oss.options(key))
    t.equal(none, undefined, `${label}: the stream retries after a 500`)
    t.match(retries, [{ error: { code, status: 500 } }])
    t.equal(oss.read(key).toString(), 'hello')
  }
  // A HEAD response has its document in a header.
  for (const [label, body, code] of documents) {
    if (body.length > 8000) continue
    const headers = { 'x-oss-err': Buffer.from(body).toString('base64') }
    oss.server.faults.push({ kind: 'status', status: 400, headers, on: 'head' })
    const { error } = await runStream(oss.options(oss.newKey()))
    t.match(error, { code, status: 400, attempts: 1 }, `HEAD: ${label}`)
  }
  t.strictSame(Object.keys(Object.prototype), [])
})

/** Header values that are not whole numbers. */
const NOT_NUMBERS: [string, string | string[]][] = [
  ['negative', '-5'],
  ['negative zero', '-0'],
  ['signed', '+5'],
  ['2^53 + 1', '9007199254740993'],
  ['2^64', '18446744073709551616'],
  ['hexadecimal', '0x5'],
  ['a fraction', '5.0'],
  ['an exponent', '5e0'],
  ['empty', ''],
  ['words', 'five'],
  ['a list', '5, 5'],
  ['twice the same', ['5', '5']],
  ['twice another', ['5', '6']],
]

/** Header values that are not CRCs, which have 64 bits. */
const NOT_CRCS = NOT_NUMBERS.filter(([label]) => label !== '2^53 + 1')

t.test('a false response is not believed', async t => {
  const oss = await startOss(t)
  const { server } = oss
  /** Appends 5 bytes to an object of 3, with faults. */
  const appendTo3 = async (key: string, ...faults: Fault[]) => {
    server.append(BUCKET, key, 'abc')
    server.faults.push(...faults)
    const result = await runStream(oss.options(key))
    t.equal(server.faults.length, 0, 'the fault struck')
    return result
  }

  t.test('the position in the response to an append', async t => {
    for (const [label, value] of NOT_NUMBERS) {
      const key = oss.newKey()
      const fault = { kind: 'mangled', part: 'position', how: 'wrong', value } as const
      const { error, retries, appends } = await appendTo3(key, fault)
      t.equal(error, undefined, label)
      t.match(
        retries,
        [{ error: { code: 'OSS_ERR_NETWORK' } }],
        `${label}: it is not a response of OSS`,
      )
      t.match(appends, [{ reconciled: true, attempts: 2, nextPosition: 8 }], label)
      t.equal(oss.read(key).toString(), 'abchello')
    }
    for (const value of ['0', '7', '9', '9007199254740991']) {
      const fault = { kind: 'mangled', part: 'position', how: 'wrong', value } as const
      const { error, appends } = await appendTo3(oss.newKey(), fault)
      const expected = { code: 'OSS_ERR_INTEGRITY', unresolved: { position: 3, length: 5 } }
      t.match(error, { ...expected, attempts: 1, tail: { position: 3 } }, value)
      t.same(appends, [], 'nothing is acknowledged')
    }
  })

  t.test('the CRC in the response to an append', async t => {
    for (const [label, value] of [...NOT_CRCS, ['another', '5']] as const) {
      const fault = {
        kind: 'mangled',
        part: 'crc64',
        how: 'wrong',
        value: value as string,
      } as const
      const { error, appends } = await appendTo3(oss.newKey(), fault)
      t.match(error, { code: 'OSS_ERR_INTEGRITY', unresolved: { length: 5 } }, label)
      t.same(appends, [])
    }
  })

  t.test('the request id in the response to an append', async t => {
    for (const value of ['', ['A', 'A'], ['A', 'B']]) {
      const key = oss.newKey()
      const fault = { kind: 'mangled', part: 'requestId', how: 'wrong', value } as const
      const { error, appends } = await appendTo3(key, fault)
      t.equal(error, undefined)
      t.match(appends, [{ reconciled: true, attempts: 2 }])
      t.equal(oss.read(key).toString(), 'abchello')
    }
  })

  t.test('the position in the response to a HEAD', async t => {
    for (const [label, value] of [...NOT_NUMBERS, ['another', '2']] as const) {
      const fault = {
        kind: 'mangled',
        part: 'position',
        how: 'wrong',
        value: value as string,
      } as const
      const key = oss.newKey()
      const { error } = await appendTo3(key, { ...fault, on: 'head' })
      t.match(error, { code: 'OSS_ERR_INTEGRITY', attempts: 1, unresolved: undefined }, label)
      t.equal(oss.read(key).toString(), 'abc', `${label}: nothing is sent`)
    }
  })

  t.test('the CRC in the response to a HEAD', async t => {
    for (const [label, value] of NOT_CRCS) {
      const key = oss.newKey()
      const fault = { kind: 'mangled', part: 'crc64', how: 'wrong', value, on: 'head' } as const
      const { error } = await appendTo3(key, fault)
      t.equal(error, undefined, `${label}: the stream gets the CRC by an append`)
      t.equal(oss.read(key).toString(), 'abchello')
    }
    const fault = { kind: 'mangled', part: 'crc64', how: 'wrong', value: '5', on: 'head' } as const
    const { error, appends } = await appendTo3(oss.newKey(), fault)
    t.match(error, { code: 'OSS_ERR_INTEGRITY' }, 'the first append shows that the CRC is wrong')
    t.same(appends, [])
  })

  t.test('the length and the type in the response to a HEAD', async t => {
    const right = {
      'x-oss-object-type': 'Appendable',
      'x-oss-next-append-position': '3',
      'Content-Length': '3',
    }
    const cases: Record<string, string | string[]>[] = [
      ...NOT_NUMBERS.map(([, value]) => ({ 'Content-Length': value })),
      ...[
        '',
        ['Appendable', 'Appendable'],
        'A'.repeat(4096),
        'Appendable; x',
        KEYS.accessKeySecret,
      ].map(value => ({ 'x-oss-object-type': value })),
    ]
    for (const values of cases) {
      const key = oss.newKey()
      const headers = { ...right, ...values }
      const fault = { kind: 'status', status: 200, headers, on: 'head' } as const
      const { error, retries } = await appendTo3(key, fault)
      const label = inspect(values).slice(0, 80)
      t.equal(error, undefined, label)
      t.match(retries, [{ attempt: 1, error: { code: 'OSS_ERR_NETWORK' } }], label)
      t.equal(oss.read(key).toString(), 'abchello')
    }
  })

  t.test('the position in a 409', async t => {
    const refused = { kind: 'status', status: 409, code: 'PositionNotEqualToLength' } as const
    for (const commits of [true, false]) {
      for (const [label, value] of NOT_NUMBERS) {
        const key = oss.newKey()
        const headers = { 'x-oss-next-append-position': value }
        const { error, appends } = await appendTo3(key, { ...refused, headers, commits })
        t.equal(error, undefined, label)
        t.match(appends, [{ attempts: commits ? 1 : 2, reconciled: commits }], label)
        t.equal(oss.read(key).toString(), 'abchello')
      }
    }
    const key = oss.newKey()
    const headers = { 'x-oss-next-append-position': '9007199254740991' }
    const { error, appends } = await appendTo3(key, { ...refused, headers })
    t.equal(error, undefined, 'a HEAD tells the position')
    t.match(appends, [{ attempts: 2, reconciled: false }])
    t.equal(oss.read(key).toString(), 'abchello')
  })

  t.test('the position and the CRC in the response to an empty append', async t => {
    // HEAD is forbidden. The first empty append tells the length, and the second has a false response.
    const cases = [
      ...NOT_NUMBERS.map(row => ['position', ...row] as const),
      ...NOT_CRCS.map(row => ['crc64', ...row] as const),
    ]
    for (const [part, label, value] of cases) {
      const key = oss.newKey()
      const fault = { kind: 'mangled', part, how: 'wrong', value, on: 'probe', skip: 1 } as const
      const { error } = await appendTo3(key, { kind: 'forbidden' }, fault)
      t.equal(error, undefined, `${part} ${label}`)
      t.equal(oss.read(key).toString(), 'abchello', `${part} ${label}`)
    }
  })

  t.test('a header with the name of a property of every object', async t => {
    const key = oss.newKey()
    const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '__defineGetter__']
    const lines = [...names, ...names].map(name => `${name}: x\r\n`).join('')
    const bytes = Buffer.from(
      `HTTP/1.1 500 X\r\nx-oss-request-id: A\r\ncontent-length: 0\r\n${lines}\r\n`,
    )
    const { error, retries } = await appendTo3(key, { kind: 'garbage', bytes })
    t.equal(error, undefined)
    t.match(retries, [{ error: { status: 500, requestId: 'A' } }])
    t.equal(oss.read(key).toString(), 'abchello')
    t.strictSame(Object.keys(Object.prototype), [])
  })
})

t.test('redirects are never followed', async t => {
  const oss = await startOss(t)
  const trap = await createOssServer()
  t.teardown(() => trap.close())
  for (const status of [300, 301, 302, 303, 304, 305, 307, 308]) {
    for (const on of ['head', 'append'] as const) {
      const headers = {
        Location: `${trap.url}/${BUCKET}/stolen?append&position=0`,
        Refresh: `0; url=${trap.url}`,
      }
      oss.server.faults.push({ kind: 'status', status, headers, on })
      const { error } = await runStream(oss.options(oss.newKey()))
      t.match(error, { code: 'BadErrorResponse', status, attempts: 1 }, `${status} to ${on}`)

      const redirect = { kind: 'status', status, headers } as const
      oss.server.faults.push({
        kind: 'mangled',
        part: 'requestId',
        how: 'missing',
        on,
        with: [redirect],
      })
      const key = oss.newKey()
      const { error: none, retries } = await runStream(oss.options(key))
      t.equal(none, undefined, `${status} to ${on}, not by OSS: the stream retries`)
      t.match(retries, [{ error: { code: 'OSS_ERR_NETWORK' } }])
      t.equal(oss.read(key).toString(), 'hello')
    }
  }
  t.equal(trap.connections, 0)
})

t.test('a name that every object inherits is a name like any other', async t => {
  const inherited = ['constructor', 'toString', 'valueOf', 'hasOwnProperty', 'isPrototypeOf']
  const record = Object.fromEntries(inherited.map(name => [name, `of ${name}`]))
  const own = (json: string) => JSON.parse(json)

  await t.test('in options, in headers and in the server', async t => {
    const dir = t.testdir()
    const oss = await startOss(t, { dir })
    const key = 'constructor/__proto__/toString'
    const { error } = await runStream(
      oss.options(key, { metadata: record, tagging: record, headers: record }),
    )
    t.equal(error, undefined)
    const [seen] = oss.server.requests.filter(({ operation }) => operation === 'append')
    for (const name of inherited) {
      t.equal(seen?.headers[name.toLowerCase()], `of ${name}`)
      t.equal(seen?.headers[`x-oss-meta-${name.toLowerCase()}`], `of ${name}`)
    }
    await oss.server.close()
    const again = await createOssServer({ dir })
    t.teardown(() => again.close())
    t.equal(again.read(BUCKET, key)?.toString(), 'hello')
    const { headers } = await head(again, { key })
    t.equal(headers['x-oss-meta-constructor'], 'of constructor')
    t.strictSame(Object.keys(Object.prototype), [])
  })

  await t.test('as own properties, which JSON.parse() makes', async t => {
    const oss = await startOss(t)
    for (const json of ['{"__proto__":"x"}', '{"__proto__":{"polluted":"x"}}', '{"":"x"}']) {
      for (const option of ['metadata', 'headers', 'retry'] as const) {
        const options = oss.options(oss.newKey(), { [option]: own(json) })
        t.throws(
          () => createAppendStream(options),
          { code: 'OSS_ERR_INVALID_OPTION' },
          `${option} ${json}`,
        )
      }
      const options = { ...oss.options(oss.newKey()) }
      Object.defineProperty(options, '__proto__', { value: own(json), enumerable: true })
      t.throws(() => createAppendStream(options), { code: 'OSS_ERR_INVALID_OPTION' })
    }
    const key = oss.newKey()
    const { error } = await runStream(oss.options(key, { tagging: own('{"__proto__":"x"}') }))
    t.equal(error, undefined, 'a tag may have this name')
    t.match(oss.server.requests.at(-1)?.headers, { 'x-oss-tagging': '__proto__=x' })
    t.notOk('polluted' in {})
    t.strictSame(Object.keys(Object.prototype), [])
  })

  await t.test('in requests to the server', async t => {
    const s = await createOssServer({ dir: t.testdir(), cnames: { 'logs.example.com': BUCKET } })
    t.teardown(() => s.close())
    const headers = Object.fromEntries([
      ['__proto__', 'x'],
      ['constructor', 'x'],
    ])
    t.equal((await append(s, 0, 'abc', { headers })).status, 200)
    t.equal((await send(s, { headers: { host: 'logs.example.com' } })).status, 403, 'a CNAME')
    for (const name of ['__proto__', 'constructor', 'x_y']) {
      const meta = { [`x-oss-meta-${name}`]: 'x' }
      const { status } = await append(s, 0, 'abc', { key: name, headers: meta })
      t.equal(status, name === 'constructor' ? 200 : 400, name)
      t.equal((await send(s, { query: { [name]: 'x' } })).code, 'NotImplemented', name)
      // Each is an unknown host, for which the path names the bucket. At a CNAME the signature is wrong.
      for (const host of [name, `${name}.example.com`]) {
        t.equal((await send(s, { headers: { host } })).status, 200, host)
      }
    }
    t.strictSame(Object.keys(Object.prototype), [])
  })
})

t.test('a key stays in its bucket and in its folder', async t => {
  const around = t.testdir({ objects: {}, 'secret.txt': 'of the user' })
  const dir = join(around, 'objects')
  const server = await createOssServer({ dir })
  t.teardown(() => server.close())
  server.append('otherbucket', 'a', 'of the other')
  const keys = [
    '../otherbucket/a',
    '../../otherbucket/a',
    'x/../../otherbucket/a',
    '..%2Fotherbucket%2Fa',
    '%2e%2e/otherbucket/a',
    '..\\otherbucket\\a',
    '../../secret.txt',
    '..',
    '../..',
    './../..',
    'a/..',
    'C:\\secret.txt',
    'secret.txt::$DATA',
    `${'../'.repeat(300)}secret.txt`,
    'states.jsonl',
    '~',
    `otherbucket~a~${'0'.repeat(32)}`,
  ]
  for (const key of keys) {
    const { url: endpoint, region, credentials } = server
    const { error } = await runStream(
      { bucket: BUCKET, key, endpoint, region, credentials },
      `in ${key}`,
    )
    t.equal(error, undefined, key)
    t.equal(server.read(BUCKET, key)?.toString(), `in ${key}`)
  }
  // Raw paths: a client might normalize them, and a server must not.
  for (const target of [
    '/examplebucket/../otherbucket/a',
    '/examplebucket/%2e%2e/otherbucket/a',
    '/examplebucket//../a',
    '/../otherbucket/a',
    '/./otherbucket/a',
    '//otherbucket/a',
  ]) {
    const { status } = await append(server, 0, 'stolen', { target: `${target}?append&position=0` })
    t.not(status, 200, target)
  }
  t.equal(server.read('otherbucket', 'a')?.toString(), 'of the other')
  t.same(readdirSync(around).sort(), ['objects', 'secret.txt'])
  t.equal(readFileSync(join(around, 'secret.txt'), 'utf8'), 'of the user')
  t.equal(readdirSync(dir).length, keys.length + 1)
  t.notOk(existsSync(join(around, '..', 'otherbucket')))
})

type Parts = ReturnType<typeof composeRequest>

function appendOf({ credentials }: OssServer, body = 'hello', key = 'a.log'): Parts {
  const query = { append: '', position: '0' }
  return composeRequest({ method: 'POST', bucket: BUCKET, key, query, body, credentials })
}

function header(parts: Parts, name: string, ...lines: string[]): Parts {
  const others = parts.headers.filter(line => !line.startsWith(`${name}:`))
  return { ...parts, headers: [...others, ...lines] }
}

const CHUNK = '5\r\nhello\r\n0\r\n\r\n'

function chunked(s: OssServer, body: string, coding = 'transfer-encoding: chunked'): string {
  return renderRequest(header(appendOf(s, body), 'content-length', ...coding.split('|')))
}

/**
 * Bytes that are one request, or that the server refuses. It must not read a second request out of them, and
 * must not lose the request that follows.
 */
const AMBIGUOUS_REQUESTS: [string, (s: OssServer) => string, 'refused' | 'one'][] = [
  ['line feeds alone', s => renderRequest(appendOf(s)).replaceAll('\r\n', '\n'), 'refused'],
  ['one line feed', s => renderRequest(appendOf(s)).replace('\r\n', '\n'), 'refused'],
  [
    'a head that ends in line feeds',
    s => renderRequest(appendOf(s)).replace('\r\n\r\n', '\n\n'),
    'refused',
  ],
  [
    'a head that ends in one',
    s => renderRequest(appendOf(s)).replace('\r\n\r\n', '\r\n\n'),
    'refused',
  ],
  ['carriage returns alone', s => renderRequest(appendOf(s)).replaceAll('\r\n', '\r'), 'refused'],
  ['a chunk with an extension', s => chunked(s, `5;a=b${CHUNK.slice(1)}`), 'one'],
  ['an extension with a line feed', s => chunked(s, '5;a\nhello\r\n0\r\n\r\n'), 'refused'],
  ['a quoted extension with a line end', s => chunked(s, '5;a="\r\nhello\r\n0\r\n\r\n'), 'refused'],
  ['a chunk size followed by a space', s => chunked(s, `5 ${CHUNK.slice(1)}`), 'refused'],
  ['a chunk size after a space', s => chunked(s, ` ${CHUNK}`), 'refused'],
  ['a hexadecimal chunk size with 0x', s => chunked(s, `0x${CHUNK}`), 'refused'],
  ['a signed chunk size', s => chunked(s, `+${CHUNK}`), 'refused'],
  ['a chunk size with an underscore', s => chunked(s, `5_0${CHUNK.slice(1)}`), 'refused'],
  ['a chunk size with zeros', s => chunked(s, `00000${CHUNK}`), 'one'],
  ['a chunk size and a line feed', s => chunked(s, '5\nhello\r\n0\r\n\r\n'), 'refused'],
  ['a chunk and a line feed', s => chunked(s, '5\r\nhello\n0\r\n\r\n'), 'refused'],
  ['a last chunk and line feeds', s => chunked(s, '5\r\nhello\r\n0\n\n'), 'refused'],
  [
    'a length after the chunks',
    s => chunked(s, `${CHUNK.slice(0, -2)}content-length: 3\r\n\r\n`),
    'refused',
  ],
  [
    'an ACL after the chunks',
    s => chunked(s, `${CHUNK.slice(0, -2)}x-oss-object-acl: public-read\r\n\r\n`),
    'one',
  ],
  ['chunked in capitals', s => chunked(s, CHUNK, 'Transfer-Encoding: CHUNKED'), 'one'],
  ['chunked in quotes', s => chunked(s, CHUNK, 'transfer-encoding: "chunked"'), 'refused'],
  ['chunked and a comma', s => chunked(s, CHUNK, 'transfer-encoding: chunked,'), 'refused'],
  ['a comma and chunked', s => chunked(s, CHUNK, 'transfer-encoding: ,chunked'), 'refused'],
  [
    'chunked after a vertical tab',
    s => chunked(s, CHUNK, 'transfer-encoding: \x0bchunked'),
    'refused',
  ],
  ['chunked on a second line', s => chunked(s, CHUNK, 'transfer-encoding:| chunked'), 'refused'],
  ['an empty coding', s => chunked(s, 'hello', 'transfer-encoding:'), 'refused'],
  [
    'an empty coding and a length',
    s => chunked(s, 'hello', 'transfer-encoding:|content-length: 5'),
    'refused',
  ],
  [
    'a coding with an underscore',
    s => renderRequest(header(appendOf(s), 'x', 'transfer_encoding: chunked')),
    'one',
  ],
  [
    'a length with an underscore',
    s => renderRequest(header(appendOf(s), 'x', 'content_length: 50')),
    'one',
  ],
  ['a length with a zero', s => chunked(s, 'hello', 'content-length: 05'), 'one'],
  ['a length with a fraction', s => chunked(s, 'hello', 'content-length: 5.0'), 'refused'],
  [
    'a length that a proxy may drop',
    s => renderRequest(header(appendOf(s), 'x', 'connection: content-length')),
    'one',
  ],
  [
    'a header before the first',
    s => renderRequest({ ...appendOf(s), headers: [' x: y', ...appendOf(s).headers] }),
    'refused',
  ],
  [
    'another method in a header',
    s => renderRequest(header(appendOf(s), 'x', 'x-http-method-override: DELETE')),
    'one',
  ],
  [
    'another target in a header',
    s => renderRequest(header(appendOf(s), 'x', 'x-original-url: /otherbucket/b')),
    'one',
  ],
  [
    'another host in a header',
    s => renderRequest(header(appendOf(s), 'x', 'x-forwarded-host: other.example.com')),
    'one',
  ],
]

t.test('the server reads one request as one request', async t => {
  const s = await createOssServer()
  t.teardown(() => s.close())
  for (const [label, bytes, expected] of AMBIGUOUS_REQUESTS) {
    s.delete(BUCKET, 'a.log')
    s.delete(BUCKET, 'next.log')
    const result = await exchangeBytes(
      s.port,
      bytes(s) + renderRequest(appendOf(s, 'next', 'next.log')),
      true,
    )
    t.equal(result.status, expected === 'one' ? 200 : 400, label)
    const stored = [...s.objects].map(({ state }) => state.key).sort()
    t.same(stored, expected === 'one' ? ['a.log', 'next.log'] : [], label)
    t.equal(result.count, expected === 'one' ? 2 : 1, `${label}: one response per request`)
    if (expected === 'one') {
      t.equal(s.read(BUCKET, 'a.log')?.toString(), 'hello', label)
      t.equal(s.stat(BUCKET, 'a.log')?.attributes.acl, 'default', label)
    }
  }
})

t.test('the server sends no response to what follows `Connection: close`', async t => {
  const s = await createOssServer()
  t.teardown(() => s.close())
  const last = renderRequest(header(appendOf(s), 'x', 'connection: close'))
  const result = await exchangeBytes(s.port, last + renderRequest(appendOf(s, 'next', 'next.log')))
  t.match(result, { status: 200, count: 1, closed: true })
  t.same(
    [...s.objects].map(({ state }) => state.key),
    ['a.log'],
  )
})
