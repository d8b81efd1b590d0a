/**
 * Security: secrets are planted wherever there may be any, and searched for in everything that a stream
 * shows; answers lie; names try to be more than names; and requests try to be more than one. Streams
 * over real HTTP, and bytes on plain sockets.
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

/** How a secret may be written. */
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

const PLANTED = [
  KEYS.accessKeySecret,
  KEYS.securityToken,
  `${PROXY_USER}:hunter2-password`,
  'hunter2-password',
].flatMap(spellings)

/** Everything by which a value could end up in a log. */
function shown(value: unknown): string {
  const all = { depth: Number.POSITIVE_INFINITY, showHidden: true, getters: true } as const
  const parts = [inspect(value), inspect(value, all)]
  for (let error = value; error instanceof Error; error = error.cause) {
    parts.push(String(error), error.stack ?? '', JSON.stringify(error))
    parts.push(JSON.stringify(Object.getOwnPropertyDescriptors(error)))
    parts.push(inspect(structuredClone(error), all))
  }
  return parts.join('\n')
}

/** Which of these secrets a text shows. */
function leaks(text: string, secrets: readonly string[] = PLANTED): string[] {
  return secrets.filter(secret => text.includes(secret))
}

/** What a stream shows of itself while it appends, fails or both. */
interface Story {
  readonly error: OssError | undefined
  readonly retries: RetryInfo[]
  readonly appends: AppendInfo[]
  readonly text: string
}

async function tell(
  options: AppendStreamOptions,
  bytes: Buffer | string = 'hello',
): Promise<Story> {
  const { endpoint, region, credentials, dispatcher, ...rest } = options
  const client = new OssClient({ endpoint, region, credentials, dispatcher })
  const stream = createAppendStream({ ...rest, client })
  const retries: RetryInfo[] = []
  const appends: AppendInfo[] = []
  const texts: string[] = []
  const keep = (...values: unknown[]) => texts.push(...values.map(shown))
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

/** A server that hears whole requests and answers with bytes. */
async function listen(
  t: Test,
  answer: (head: string) => string,
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
        socket.write(answer(head), 'latin1')
      }
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { port: (server.address() as AddressInfo).port, heads }
}

function reply(status: number, headers: readonly string[], body = ''): string {
  const lines = [`HTTP/1.1 ${status} Word`, `content-length: ${body.length}`, ...headers]
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}

const FEW = { maxRetries: 1, minDelay: 1, maxDelay: 1 }

t.test('whoever answers with what it was sent', async t => {
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
  // In each header that is read, each of the secrets.
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
  const answers: [string, (head: string) => string][] = [
    [
      'its document',
      head =>
        reply(
          403,
          [ID, `x-oss-err: ${encode(document(head))}`],
          /^HEAD/.test(head) ? '' : document(head),
        ),
    ],
    ['its own error', head => reply(500, [], /^HEAD/.test(head) ? '' : head)],
    ['no HTTP', head => `${head}\r\n\r\n`],
    [
      'a header without a colon',
      head => reply(200, [ID, fieldOf(head, 'authorization').replaceAll(':', '')]),
    ],
  ]
  for (const status of [200, 307, 403, 503]) {
    for (const [label, secret] of secrets) {
      answers.push([
        `${status} with the ${label} in all headers`,
        head =>
          reply(status, [
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
        answers.push([
          `${status} with the ${label} in ${name}`,
          head =>
            reply(status, [
              ...right.filter(line => !line.startsWith(name)),
              `${name}: ${secret(head)}`,
            ]),
        ])
      }
    }
  }
  for (const [label, answer] of answers) {
    for (const position of ['end', 0] as const) {
      const { port, heads } = await listen(t, answer)
      const endpoint = `http://127.0.0.1:${port}`
      const { error, text } = await tell({
        bucket: BUCKET,
        key: 'a',
        position,
        endpoint,
        region: 'cn-hangzhou',
        credentials: () => KEYS,
        retry: FEW,
      })
      t.ok(error, `${label}: nothing was acknowledged`)
      t.ok(heads.length > 0, `${label}: it was asked`)
      t.same(leaks(text, [...PLANTED, ...heads.map(signature)]), [], `${label}: nothing is shown`)
    }
  }
})

t.test('a proxy with a password', async t => {
  const oss = await startOss(t, { credentials: KEYS })
  const answers: [string, (head: string) => string][] = [
    ['refuses', () => reply(407, ['proxy-authenticate: Basic'])],
    ['refuses in its own words', head => reply(403, ['content-type: text/plain'], head)],
    ['echoes', head => `${head}\r\n\r\n`],
    ['echoes after a status', head => `HTTP/1.1 200 ${head}\r\n\r\n`],
  ]
  for (const [label, answer] of answers) {
    const { port, heads } = await listen(t, answer)
    for (const proxyTunnel of [true, false]) {
      const uri = `http://${PROXY_USER}:hunter2-password@127.0.0.1:${port}`
      const dispatcher = new ProxyAgent({ uri, proxyTunnel })
      const { error, retries, text } = await tell(
        oss.options(oss.newKey(), { dispatcher, retry: FEW }),
      )
      t.match(
        error,
        { code: 'OSS_ERR_RETRIES_EXHAUSTED', cause: { code: 'OSS_ERR_NETWORK' } },
        label,
      )
      t.equal(retries.length, 1)
      t.match(heads[0], /proxy-authorization: Basic/i, `${label}: it was told the password`)
      t.same(leaks(text), [], label)
      await dispatcher.destroy()
    }
  }
  t.same(oss.server.requests, [])
})

t.test('a provider that says too much', async t => {
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
    const { error, retries, text } = await tell(oss.options(key, { credentials, retry: FEW }))
    t.match(error, { code: 'OSS_ERR_CREDENTIALS', attempts: 2, cause: Error }, label)
    t.equal(retries.length, 1)
    t.same(leaks(text), [], label)
  }
  // After it has worked once, what it gave is known, and hidden wherever it stands.
  let asked = 0
  const credentials = () => {
    if (++asked === 1) return KEYS
    throw new Error(`I gave ${secret}, ${token}`)
  }
  const { error, text } = await tell(oss.options(oss.newKey(), { credentials, retry: FEW }))
  t.match(error, { code: 'OSS_ERR_CREDENTIALS', cause: { message: 'I gave ***, ***' } })
  t.same(leaks(text), [])
})

t.test('a stream that works shows nothing either', async t => {
  const oss = await startOss(t, { credentials: KEYS })
  const { error, appends, text } = await tell(
    oss.options(oss.newKey(), { highWaterMark: 1000 }),
    seededBytes(5000),
  )
  t.equal(error, undefined)
  t.equal(appends.length, 5)
  t.same(leaks(text), [])
  // Held to be true by the search itself: it does find what is there.
  t.ok(leaks(shown(Object.assign(new Error('x'), { keys: KEYS }))).length > 1)
  t.ok(leaks(shown(new Error('x', { cause: { deep: [new Map([[1, KEYS]])] } }))).length > 1)
})

t.test('options that are refused', t => {
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
      t.same(leaks(shown(error)), [])
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

t.test('programs of their own: what they print when they fail', async t => {
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
    ['a secret that is none', { OSS_ACCESS_KEY_SECRET: `${KEYS.accessKeySecret}\nx` }, 2],
    ['a user in the endpoint', { OSS_ENDPOINT: user }, 2],
    ['no endpoint', { OSS_ENDPOINT: KEYS.accessKeySecret }, 2],
    ['no region', { OSS_REGION: KEYS.accessKeySecret }, 2],
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
  // Nobody listens to 'error', so Node prints it with all that belongs to it, and ends.
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

t.test('documents that attack their reader', async t => {
  const oss = await startOss(t)
  const error = (inner: string) => `<Error>${inner}</Error>`
  const bomb = Array.from(
    { length: 12 },
    (_, i) => `<!ENTITY a${i + 1} "${`&a${i};`.repeat(10)}">`,
  ).join('')
  // label, body, the code that is read out of it
  const documents: [string, string | Buffer, string][] = [
    [
      'entities in entities',
      `<!DOCTYPE x [<!ENTITY a0 "AccessDenied">${bomb}]>${error('<Code>&a12;</Code>')}`,
      'BadErrorResponse',
    ],
    [
      'a file',
      `<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>${error('<Code>A</Code><Message>&f;</Message>')}`,
      'A',
    ],
    ['depth', `${'<a>'.repeat(20_000)}<Code>A</Code>`, 'A'],
    ['depth past what is read', `${'<a>'.repeat(300_000)}<Code>A</Code>`, 'BadErrorResponse'],
    ['a megabyte of nothing', ' '.repeat(1 << 20), 'BadErrorResponse'],
    ['a megabyte in one value', error(`<Code>${'A'.repeat(1 << 20)}</Code>`), 'BadErrorResponse'],
    ['a megabyte behind the code', error(`<Code>A</Code>${'<Code>B</Code>'.repeat(70_000)}`), 'A'],
    ['a megabyte of openings', '<Code>'.repeat(170_000), 'BadErrorResponse'],
    [
      'a megabyte of ampersands',
      error(`<Message>${'&amp;'.repeat(200_000)}</Message>`),
      'BadErrorResponse',
    ],
    ['duplicates', error('<Code>First</Code><Code>Second</Code>'), 'First'],
    ['CDATA', error('<Code><![CDATA[AccessDenied]]></Code>'), 'BadErrorResponse'],
    ['a code that is ours', error('<Code>OSS_ERR_INTEGRITY</Code>'), 'BadErrorResponse'],
    ['a code that every object has', error('<Code>constructor</Code>'), 'constructor'],
    ['a prototype', error('<Code>__proto__</Code>'), '__proto__'],
    [
      'a terminal’s escapes',
      error('<Code>A</Code><Message>\x1b]0;x\x07\x1b[2J\r\nok\u009b</Message>'),
      'A',
    ],
    ['no text', Buffer.from([0xff, 0xfe, 0x00, 0x3c, 0x00]), 'BadErrorResponse'],
    ['UTF-16', Buffer.from(error('<Code>A</Code>'), 'utf16le'), 'BadErrorResponse'],
    ['nothing', '', 'BadErrorResponse'],
  ]
  for (const [label, body, code] of documents) {
    const key = oss.newKey()
    oss.server.faults.push({ kind: 'status', status: 403, code: 'X', body })
    const { error } = await tell(oss.options(key))
    t.match(error, { code, status: 403, attempts: 1, unresolved: undefined }, label)
    t.notMatch(error?.message, /\p{Cc}/u, `${label}: a message of one line`)
    t.ok((error?.message.length ?? 0) < 2000, `${label}: and a short one`)

    oss.server.faults.push({ kind: 'status', status: 500, code: 'X', body })
    const { retries, error: none } = await tell(oss.options(key))
    t.equal(none, undefined, `${label}: with a 500 it passes`)
    t.match(retries, [{ error: { code, status: 500 } }])
    t.equal(oss.read(key).toString(), 'hello')
  }
  // HEAD has its document in a header.
  for (const [label, body, code] of documents) {
    if (body.length > 8000) continue
    const headers = { 'x-oss-err': Buffer.from(body).toString('base64') }
    oss.server.faults.push({ kind: 'status', status: 400, headers, on: 'head' })
    const { error } = await tell(oss.options(oss.newKey()))
    t.match(error, { code, status: 400, attempts: 1 }, `HEAD: ${label}`)
  }
  t.strictSame(Object.keys(Object.prototype), [])
})

// Numbers that are none: what a header says, and how.
const NO_NUMBERS: [string, string | string[]][] = [
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

/** The same for a CRC, which has 64 bits. */
const NO_CRCS = NO_NUMBERS.filter(([label]) => label !== '2^53 + 1')

t.test('answers that lie', async t => {
  const oss = await startOss(t)
  const { server } = oss
  /** An append of 5 bytes behind 3, struck by faults. */
  const appendTo3 = async (key: string, ...faults: Fault[]) => {
    server.append(BUCKET, key, 'abc')
    server.faults.push(...faults)
    const story = await tell(oss.options(key))
    t.equal(server.faults.length, 0, 'the fault has struck')
    return story
  }

  t.test('where the next append starts', async t => {
    for (const [label, value] of NO_NUMBERS) {
      const key = oss.newKey()
      const lie = { kind: 'mangled', part: 'position', how: 'wrong', value } as const
      const { error, retries, appends } = await appendTo3(key, lie)
      t.equal(error, undefined, label)
      t.match(retries, [{ error: { code: 'OSS_ERR_NETWORK' } }], `${label}: not an answer of OSS`)
      t.match(appends, [{ reconciled: true, attempts: 2, nextPosition: 8 }], label)
      t.equal(oss.read(key).toString(), 'abchello')
    }
    for (const value of ['0', '7', '9', '9007199254740991']) {
      const lie = { kind: 'mangled', part: 'position', how: 'wrong', value } as const
      const { error, appends } = await appendTo3(oss.newKey(), lie)
      const expected = { code: 'OSS_ERR_INTEGRITY', unresolved: { position: 3, length: 5 } }
      t.match(error, { ...expected, attempts: 1, tail: { position: 3 } }, value)
      t.same(appends, [], 'nothing was acknowledged')
    }
  })

  t.test('the CRC', async t => {
    for (const [label, value] of [...NO_CRCS, ['another', '5']] as const) {
      const lie = { kind: 'mangled', part: 'crc64', how: 'wrong', value: value as string } as const
      const { error, appends } = await appendTo3(oss.newKey(), lie)
      t.match(error, { code: 'OSS_ERR_INTEGRITY', unresolved: { length: 5 } }, label)
      t.same(appends, [])
    }
  })

  t.test('the request id', async t => {
    for (const value of ['', ['A', 'A'], ['A', 'B']]) {
      const key = oss.newKey()
      const lie = { kind: 'mangled', part: 'requestId', how: 'wrong', value } as const
      const { error, appends } = await appendTo3(key, lie)
      t.equal(error, undefined)
      t.match(appends, [{ reconciled: true, attempts: 2 }])
      t.equal(oss.read(key).toString(), 'abchello')
    }
  })

  t.test('HEAD: where it ends', async t => {
    for (const [label, value] of [...NO_NUMBERS, ['another', '2']] as const) {
      const lie = {
        kind: 'mangled',
        part: 'position',
        how: 'wrong',
        value: value as string,
      } as const
      const key = oss.newKey()
      const { error } = await appendTo3(key, { ...lie, on: 'head' })
      t.match(error, { code: 'OSS_ERR_INTEGRITY', attempts: 1, unresolved: undefined }, label)
      t.equal(oss.read(key).toString(), 'abc', `${label}: nothing was sent`)
    }
  })

  t.test('HEAD: its CRC', async t => {
    for (const [label, value] of NO_CRCS) {
      const key = oss.newKey()
      const lie = { kind: 'mangled', part: 'crc64', how: 'wrong', value, on: 'head' } as const
      const { error } = await appendTo3(key, lie)
      t.equal(error, undefined, `${label}: asked for by other means`)
      t.equal(oss.read(key).toString(), 'abchello')
    }
    const lie = { kind: 'mangled', part: 'crc64', how: 'wrong', value: '5', on: 'head' } as const
    const { error, appends } = await appendTo3(oss.newKey(), lie)
    t.match(
      error,
      { code: 'OSS_ERR_INTEGRITY' },
      'a number, and false: found out by the first append',
    )
    t.same(appends, [])
  })

  t.test('HEAD: its length, its type', async t => {
    const right = {
      'x-oss-object-type': 'Appendable',
      'x-oss-next-append-position': '3',
      'Content-Length': '3',
    }
    const lies: Record<string, string | string[]>[] = [
      ...NO_NUMBERS.map(([, value]) => ({ 'Content-Length': value })),
      ...[
        '',
        ['Appendable', 'Appendable'],
        'A'.repeat(4096),
        'Appendable; x',
        KEYS.accessKeySecret,
      ].map(value => ({ 'x-oss-object-type': value })),
    ]
    for (const lie of lies) {
      const key = oss.newKey()
      const headers = { ...right, ...lie }
      const fault = { kind: 'status', status: 200, headers, on: 'head' } as const
      const { error, retries } = await appendTo3(key, fault)
      const label = inspect(lie).slice(0, 80)
      t.equal(error, undefined, label)
      t.match(retries, [{ attempt: 1, error: { code: 'OSS_ERR_NETWORK' } }], label)
      t.equal(oss.read(key).toString(), 'abchello')
    }
  })

  t.test('409: where it ends', async t => {
    const refused = { kind: 'status', status: 409, code: 'PositionNotEqualToLength' } as const
    for (const commits of [true, false]) {
      for (const [label, value] of NO_NUMBERS) {
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
    const { error } = await appendTo3(key, { ...refused, headers })
    t.match(error, { code: 'PositionNotEqualToLength', seen: { position: 2 ** 53 - 1 } })
  })

  t.test('a probe', async t => {
    // HEAD is forbidden, the first probe tells the length, and the second lies.
    const lies = [
      ...NO_NUMBERS.map(row => ['position', ...row] as const),
      ...NO_CRCS.map(row => ['crc64', ...row] as const),
    ]
    for (const [part, label, value] of lies) {
      const key = oss.newKey()
      const lie = { kind: 'mangled', part, how: 'wrong', value, on: 'probe', skip: 1 } as const
      const { error } = await appendTo3(key, { kind: 'forbidden' }, lie)
      const isFinal = part === 'crc64'
      t.equal(error?.code, isFinal ? 'OSS_ERR_INTEGRITY' : undefined, `${part} ${label}`)
      t.equal(oss.read(key).toString(), isFinal ? 'abc' : 'abchello', `${part} ${label}`)
    }
  })

  t.test('header names that every object has', async t => {
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
      const { error } = await tell(oss.options(oss.newKey()))
      t.match(error, { code: 'BadErrorResponse', status, attempts: 1 }, `${status} to ${on}`)

      const redirect = { kind: 'status', status, headers, on } as const
      oss.server.faults.push({
        kind: 'mangled',
        part: 'requestId',
        how: 'missing',
        on,
        with: [redirect],
      })
      const key = oss.newKey()
      const { error: none, retries } = await tell(oss.options(key))
      t.equal(none, undefined, `${status} to ${on}, by somebody else: tried again`)
      t.match(retries, [{ error: { code: 'OSS_ERR_NETWORK' } }])
      t.equal(oss.read(key).toString(), 'hello')
    }
  }
  t.equal(trap.connections, 0)
})

t.test('names that try to be more', async t => {
  const inherited = ['constructor', 'toString', 'valueOf', 'hasOwnProperty', 'isPrototypeOf']
  const record = Object.fromEntries(inherited.map(name => [name, `of ${name}`]))
  const own = (json: string) => JSON.parse(json)

  await t.test('out of options into headers, and into the server', async t => {
    const dir = t.testdir()
    const oss = await startOss(t, { dir })
    const key = 'constructor/__proto__/toString'
    const { error } = await tell(
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

  await t.test('own properties of that name, as JSON makes them', async t => {
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
    const { error } = await tell(oss.options(key, { tagging: own('{"__proto__":"x"}') }))
    t.equal(error, undefined, 'a tag may be called so')
    t.match(oss.server.requests.at(-1)?.headers, { 'x-oss-tagging': '__proto__=x' })
    t.notOk('polluted' in {})
    t.strictSame(Object.keys(Object.prototype), [])
  })

  await t.test('straight to the server', async t => {
    const s = await createOssServer({ dir: t.testdir(), cnames: { 'logs.example.com': BUCKET } })
    t.teardown(() => s.close())
    const headers = Object.fromEntries([
      ['__proto__', 'x'],
      ['constructor', 'x'],
    ])
    t.equal((await append(s, 0, 'abc', { headers })).status, 200)
    for (const name of ['__proto__', 'constructor', 'x_y']) {
      const meta = { [`x-oss-meta-${name}`]: 'x' }
      const { status } = await append(s, 0, 'abc', { key: name, headers: meta })
      t.equal(status, name === 'constructor' ? 200 : 400, name)
      t.equal((await send(s, { query: { [name]: 'x' } })).status, 501, name)
      const host = { host: `${name}.example.com` }
      t.ok((await send(s, { headers: host })).status >= 400, name)
      t.equal(
        (await send(s, { headers: { host: name } })).status >= 400,
        name !== 'constructor',
        name,
      )
    }
    t.strictSame(Object.keys(Object.prototype), [])
  })
})

t.test('keys stay in their bucket, and in their folder', async t => {
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
    const { error } = await tell(
      { bucket: BUCKET, key, endpoint, region, credentials },
      `in ${key}`,
    )
    t.equal(error, undefined, key)
    t.equal(server.read(BUCKET, key)?.toString(), `in ${key}`)
  }
  // The same as raw paths, which a client might normalise and a server must not.
  for (const target of [
    '/examplebucket/../otherbucket/a',
    '/examplebucket/%2e%2e/otherbucket/a',
    '/examplebucket//../a',
    '/../otherbucket/a',
    '/./otherbucket/a',
    '//otherbucket/a',
  ]) {
    const answer = await append(server, 0, 'stolen', { target: `${target}?append&position=0` })
    t.not(answer.status, 200, target)
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

/** Each is one request or none: never is another one read out of it, nor lost behind it. */
const SMUGGLERS: [string, (s: OssServer) => string, 'refused' | 'one'][] = [
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
  ['a chunk size before a space', s => chunked(s, `5 ${CHUNK.slice(1)}`), 'refused'],
  ['a chunk size behind a space', s => chunked(s, ` ${CHUNK}`), 'refused'],
  ['a hexadecimal chunk size with 0x', s => chunked(s, `0x${CHUNK}`), 'refused'],
  ['a signed chunk size', s => chunked(s, `+${CHUNK}`), 'refused'],
  ['a chunk size with an underscore', s => chunked(s, `5_0${CHUNK.slice(1)}`), 'refused'],
  ['a chunk size with zeros', s => chunked(s, `00000${CHUNK}`), 'one'],
  ['a chunk size and a line feed', s => chunked(s, '5\nhello\r\n0\r\n\r\n'), 'refused'],
  ['a chunk and a line feed', s => chunked(s, '5\r\nhello\n0\r\n\r\n'), 'refused'],
  ['a last chunk and line feeds', s => chunked(s, '5\r\nhello\r\n0\n\n'), 'refused'],
  [
    'a length behind the chunks',
    s => chunked(s, `${CHUNK.slice(0, -2)}content-length: 3\r\n\r\n`),
    'refused',
  ],
  [
    'an ACL behind the chunks',
    s => chunked(s, `${CHUNK.slice(0, -2)}x-oss-object-acl: public-read\r\n\r\n`),
    'one',
  ],
  ['chunked in capitals', s => chunked(s, CHUNK, 'Transfer-Encoding: CHUNKED'), 'one'],
  ['chunked in quotes', s => chunked(s, CHUNK, 'transfer-encoding: "chunked"'), 'refused'],
  ['chunked and a comma', s => chunked(s, CHUNK, 'transfer-encoding: chunked,'), 'refused'],
  ['a comma and chunked', s => chunked(s, CHUNK, 'transfer-encoding: ,chunked'), 'refused'],
  [
    'chunked behind a vertical tab',
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
    'a length that others may drop',
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

t.test('one request is one request', async t => {
  const s = await createOssServer()
  t.teardown(() => s.close())
  for (const [label, bytes, fate] of SMUGGLERS) {
    s.delete(BUCKET, 'a.log')
    s.delete(BUCKET, 'next.log')
    const reply = await exchangeBytes(
      s.port,
      bytes(s) + renderRequest(appendOf(s, 'next', 'next.log')),
      true,
    )
    t.equal(reply.status, fate === 'one' ? 200 : 400, label)
    const stored = [...s.objects].map(({ state }) => state.key).sort()
    t.same(stored, fate === 'one' ? ['a.log', 'next.log'] : [], label)
    t.equal(reply.count, fate === 'one' ? 2 : 1, `${label}: as many answers as requests`)
    if (fate === 'one') {
      t.equal(s.read(BUCKET, 'a.log')?.toString(), 'hello', label)
      t.equal(s.stat(BUCKET, 'a.log')?.attributes.acl, 'default', label)
    }
  }
})

t.test('what follows the last request of a connection gets no answer', async t => {
  const s = await createOssServer()
  t.teardown(() => s.close())
  const last = renderRequest(header(appendOf(s), 'x', 'connection: close'))
  const reply = await exchangeBytes(s.port, last + renderRequest(appendOf(s, 'next', 'next.log')))
  t.match(reply, { status: 200, count: 1, closed: true })
  t.same(
    [...s.objects].map(({ state }) => state.key),
    ['a.log'],
  )
})
