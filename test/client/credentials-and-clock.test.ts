/**
 * Identity: keys that come from elsewhere, fail to come, run out or change; and a clock that is wrong.
 * Streams against a server that checks every signature, so that an acknowledged byte was signed by
 * keys that were good at that moment.
 */

import { once } from 'node:events'
import { Agent, createServer, type IncomingMessage, type RequestListener } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import alicloud from '@alicloud/credentials'
import t, { type Test } from 'tap'
import {
  type CredentialsOption,
  type OssAppendStream,
  OssClient,
  type OssError,
  type RetryInfo,
  type UrlOptions,
} from '../../lib/index.ts'
import type { OssServer } from '../../lib/server/index.ts'
import { rejectionOf } from '../helpers/appender-harness.ts'
import { networkOptions, nextEvent, type Oss, startOss } from '../helpers/test-oss.ts'

const HOUR = 3_600_000
/** Nothing leaves before it is asked for. */
const NO_TIMED_FLUSH = { flushInterval: 0 }

const keysOf = (n: number) => ({
  accessKeyId: `STS.id-${n}`,
  accessKeySecret: `secret-of-${n}`,
  securityToken: `CAIS+token/${n}==`,
})

/** The error that a stream ended with. */
async function closeError(stream: OssAppendStream): Promise<OssError> {
  return rejectionOf(once(stream, 'close'))
}

async function append(stream: OssAppendStream, text: string): Promise<void> {
  stream.write(text)
  await stream.flush()
}

/** Requests since the last call: what they were answered with, `ok` or a code. */
function takeResultCodes(server: OssServer): string[] {
  return server.requests
    .splice(0)
    .filter(({ code }) => code !== 'NoSuchKey')
    .map(({ code }) => code ?? 'ok')
}

/** A plain HTTP server on this machine; resolves to its port. */
async function startHttpServer(t: Test, listener: RequestListener): Promise<number> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

t.test('@alicloud/credentials, as it is', async t => {
  const { default: Credential, Config } = alicloud
  const oss = await startOss(t)
  const { server } = oss

  const checkAppends = async (t: Test, label: string, credentials: CredentialsOption) => {
    const key = oss.newKey()
    const stream = oss.open(key, { credentials, ...NO_TIMED_FLUSH })
    await append(stream, 'one')
    await append(stream, 'two')
    stream.end()
    await once(stream, 'close')
    t.equal(oss.read(key).toString(), 'onetwo', label)
  }

  t.test('keys of both kinds, by its client and by its providers', async t => {
    server.credentials = [keysOf(1), { accessKeyId: 'plain', accessKeySecret: 'plain-secret' }]
    const { accessKeyId, accessKeySecret, securityToken } = keysOf(1)
    const plain = { accessKeyId: 'plain', accessKeySecret: 'plain-secret' }
    await checkAppends(
      t,
      'access_key',
      new Credential(new Config({ type: 'access_key', ...plain })),
    )
    await checkAppends(t, 'sts', new Credential(new Config({ type: 'sts', ...keysOf(1) })))
    const { StaticAKCredentialsProvider, StaticSTSCredentialsProvider } = alicloud
    const ak = StaticAKCredentialsProvider.builder()
    await checkAppends(
      t,
      'provider',
      ak.withAccessKeyId('plain').withAccessKeySecret('plain-secret').build(),
    )
    const sts = StaticSTSCredentialsProvider.builder().withAccessKeyId(accessKeyId)
    await checkAppends(
      t,
      'STS provider',
      sts.withAccessKeySecret(accessKeySecret).withSecurityToken(securityToken).build(),
    )
  })

  t.test('a bearer token is none', async t => {
    const credentials = new Credential(new Config({ type: 'bearer', bearerToken: 'bearer-secret' }))
    const stream = oss.open(oss.newKey(), { credentials })
    t.match(await closeError(stream), {
      code: 'OSS_ERR_CREDENTIALS',
      message: /bearer/,
      attempts: 1,
    })
  })

  /** What a metadata service answers: keys so short-lived that they are asked for each time. */
  const sessionJson = (n: number) => {
    const { accessKeyId, accessKeySecret, securityToken } = keysOf(n)
    return JSON.stringify({
      Code: 'Success',
      AccessKeyId: accessKeyId,
      AccessKeySecret: accessKeySecret,
      SecurityToken: securityToken,
      Expiration: new Date(Date.now() + 60_000).toISOString().replace(/\.\d+/, ''),
    })
  }

  t.test('credentials_uri: each append with the keys of that moment', async t => {
    let asked = 0
    const port = await startHttpServer(t, (_, res) => {
      server.credentials = keysOf(++asked)
      res.end(sessionJson(asked))
    })
    const credentialsURI = `http://127.0.0.1:${port}/keys`
    await checkAppends(
      t,
      'it',
      new Credential(new Config({ type: 'credentials_uri', credentialsURI })),
    )
    t.equal(asked, 3, 'a HEAD and two appends')
  })

  t.test('ecs_ram_role: the metadata service of a virtual machine', async t => {
    const metadataRequests: string[] = []
    const port = await startHttpServer(t, (req: IncomingMessage, res) => {
      metadataRequests.push(
        `${req.method} ${req.url} ${req.headers['x-aliyun-ecs-metadata-token'] ?? ''}`,
      )
      server.credentials = keysOf(7)
      res.end(/token$/.test(req.url ?? '') ? 'metadata-token' : sessionJson(7))
    })
    // Its address is fixed, so the way there is what has to be bent.
    const createConnection = Agent.prototype.createConnection
    Agent.prototype.createConnection = function (options, callback) {
      if (options.host !== '100.100.100.200') return createConnection.call(this, options, callback)
      return connect(port, '127.0.0.1') as Socket
    }
    t.teardown(() => {
      Agent.prototype.createConnection = createConnection
    })
    await checkAppends(
      t,
      'it',
      new Credential(new Config({ type: 'ecs_ram_role', roleName: 'writer' })),
    )
    t.same(metadataRequests.slice(0, 2), [
      'PUT /latest/api/token ',
      'GET /latest/meta-data/ram/security-credentials/writer metadata-token',
    ])
  })

  t.test('credentials_uri: out of order, and in order again', async t => {
    const outages: [number, string][] = [
      [500, `{"AccessKeySecret":"${keysOf(3).accessKeySecret}"}`],
      [200, `AccessKeySecret: ${keysOf(3).accessKeySecret}`],
      [200, sessionJson(3).replace(/"SecurityToken":"[^"]*",/, '')],
    ]
    const port = await startHttpServer(t, (_, res) => {
      const [status, body] = outages.shift() ?? [200, sessionJson(3)]
      res.writeHead(status).end(body)
    })
    server.credentials = keysOf(3)
    const credentialsURI = `http://127.0.0.1:${port}/keys`
    const credentials = new Credential(new Config({ type: 'credentials_uri', credentialsURI }))
    const key = oss.newKey()
    const stream = oss.open(key, { credentials })
    const causes: string[] = []
    stream.on('retry', ({ error }: RetryInfo) => causes.push(String(error.cause)))
    stream.end('abc')
    await once(stream, 'close')
    t.equal(oss.read(key).toString(), 'abc')
    t.same(causes, [
      'Error: get sts token failed, httpStatus: 500, message = {"AccessKeySecret":"***"}.',
      causes[1],
      causes[2],
    ])
    t.match(causes[1], /json parse failed.*AccessKeySecret: \*\*\*/)
    t.match(causes[2], /credentialsURI result.*"AccessKeySecret":"\*\*\*"/)
  })
})

t.test('a provider that fails', async t => {
  const oss = await startOss(t)
  const { server } = oss
  const validKeys = server.credentials

  t.test('for a while, in mid-stream: nothing is lost', async t => {
    let failures = 0
    const key = oss.newKey()
    const credentials = async () => {
      if (failures-- > 0) throw new Error('the metadata service is down')
      return validKeys
    }
    const stream = oss.open(key, { credentials, ...NO_TIMED_FLUSH })
    const retries: RetryInfo[] = []
    stream.on('retry', info => retries.push(info))
    await append(stream, 'one')
    failures = 3
    await append(stream, 'two')
    t.match(
      retries.map(({ attempt, position, error }) => ({ attempt, position, error })),
      [1, 2, 3].map(attempt => ({
        attempt,
        position: 3,
        error: { code: 'OSS_ERR_CREDENTIALS', cause: { message: 'the metadata service is down' } },
      })),
    )
    stream.end()
    await once(stream, 'close')
    t.equal(oss.read(key).toString(), 'onetwo')
  })

  t.test('for good, in mid-stream', async t => {
    let isUp = true
    const key = oss.newKey()
    const credentials = () => {
      if (!isUp) throw new Error('the metadata service is down')
      return validKeys
    }
    const stream = oss.open(key, {
      credentials,
      retry: { maxRetries: 2, minDelay: 1 },
      ...NO_TIMED_FLUSH,
    })
    await append(stream, 'one')
    isUp = false
    server.requests.length = 0
    const flushed = rejectionOf(append(stream, 'two'))
    const error = await closeError(stream)
    t.match(error, {
      code: 'OSS_ERR_CREDENTIALS',
      attempts: 3,
      tail: { position: 3 },
      unresolved: undefined,
      cause: { message: 'the metadata service is down' },
    })
    t.equal(await flushed, error)
    t.same(takeResultCodes(server), [], 'nothing was sent')
  })

  t.test('with rubbish, in mid-stream: at once, and nothing is sent', async t => {
    const invalidAnswers = [
      undefined,
      null,
      'keys',
      5,
      [],
      {},
      { accessKeyId: 'id' },
      { ...validKeys, accessKeySecret: 5 },
      { ...validKeys, accessKeyId: 'id\r\nx-oss-object-acl: public-read-write' },
      { ...validKeys, securityToken: 'token\nhost: elsewhere' },
      { ...validKeys, securityToken: {} },
      { type: 'bearer', bearerToken: 'token' },
      new Map(Object.entries(validKeys)),
      () => validKeys,
    ]
    for (const [i, answer] of invalidAnswers.entries()) {
      let given: unknown = validKeys
      const credentials = async () => given as typeof validKeys
      const stream = oss.open(oss.newKey(), { credentials, ...NO_TIMED_FLUSH })
      await append(stream, 'one')
      given = answer
      server.requests.length = 0
      append(stream, 'two').catch(() => {})
      const error = await closeError(stream)
      t.match(error, { code: 'OSS_ERR_CREDENTIALS', attempts: 1, tail: { position: 3 } }, `${i}`)
      t.same(takeResultCodes(server), [], `${i}: nothing was sent`)
    }
  })

  t.test('by hanging: asked again after its time, and its late answer is nobody’s', async t => {
    fireTimersEarly(t, 25_000)
    const waiting: ((keys: typeof validKeys) => void)[] = []
    let asked = 0
    const credentials = () => {
      asked += 1
      return asked === 2 || asked === 3
        ? new Promise<typeof validKeys>(resolve => waiting.push(resolve))
        : validKeys
    }
    const key = oss.newKey()
    const stream = oss.open(key, { credentials, requestTimeout: 20_000, ...NO_TIMED_FLUSH })
    await once(stream, 'ready')
    const retries: RetryInfo[] = []
    stream.on('retry', info => retries.push(info))
    await append(stream, 'abc')
    t.match(retries, [
      { attempt: 1, error: { code: 'OSS_ERR_CREDENTIALS', message: /within 30000 ms/ } },
      { attempt: 2, error: { code: 'OSS_ERR_CREDENTIALS', message: /within 30000 ms/ } },
    ])
    for (const resolve of waiting) resolve({ accessKeyId: 'stale', accessKeySecret: 'stale' })
    await append(stream, 'def')
    t.equal(asked, 5)
    stream.end()
    await once(stream, 'close')
    t.equal(oss.read(key).toString(), 'abcdef')
  })

  t.test('by hanging for ever', async t => {
    fireTimersEarly(t, 25_000)
    const credentials = () => new Promise<typeof validKeys>(() => {})
    const retry = { maxRetries: 1, minDelay: 1 }
    const stream = oss.open(oss.newKey(), { credentials, retry, requestTimeout: 20_000 })
    stream.write('abc')
    t.match(await closeError(stream), { code: 'OSS_ERR_CREDENTIALS', attempts: 2, tail: undefined })
  })

  t.test('destroyed while it hangs: at once', async t => {
    const stream = oss.open(oss.newKey(), {
      credentials: () => new Promise<typeof validKeys>(() => {}),
    })
    stream.end('abc')
    stream.destroy()
    t.match(await closeError(stream), { code: 'OSS_ERR_ABORTED' })
    t.same(
      process.getActiveResourcesInfo().filter(name => name === 'Timeout'),
      [],
      'no timer',
    )
  })
})

/** Time that passes at once: a timer of at least `length` ms fires soon, and the clocks have moved by then. */
function fireTimersEarly(t: Test, length: number): void {
  const { setTimeout } = globalThis
  const now = performance.now.bind(performance)
  let skipped = 0
  performance.now = () => now() + skipped
  globalThis.setTimeout = ((callback: () => void, delay = 0) =>
    delay < length
      ? setTimeout(callback, delay)
      : setTimeout(() => {
          skipped += delay
          callback()
        }, 1)) as typeof setTimeout
  t.teardown(() => {
    globalThis.setTimeout = setTimeout
    Reflect.deleteProperty(performance, 'now')
  })
}

t.test('keys that end in mid-stream', async t => {
  const oss = await startOss(t, { credentials: keysOf(1) })
  const { server } = oss

  t.test('a provider that has others by then: the same bytes, at once', async t => {
    server.credentials = keysOf(1)
    let current = 1
    const key = oss.newKey()
    const stream = oss.open(key, { credentials: () => keysOf(current), ...NO_TIMED_FLUSH })
    const retries: RetryInfo[] = []
    stream.on('retry', info => retries.push(info))
    await append(stream, '1')
    server.requests.length = 0
    // Over exactly while the request is on its way.
    server.faults.push({ kind: 'expired' })
    stream.once('retry', () => {
      server.credentials = keysOf(2)
      current = 2
    })
    await append(stream, '2')
    t.match(retries, [{ attempt: 1, delay: 0, error: { code: 'SecurityTokenExpired' } }])
    t.same(
      server.requests.map(({ position, accessKeyId, code }) => ({ position, accessKeyId, code })),
      [
        { position: 1, accessKeyId: 'STS.id-1', code: 'SecurityTokenExpired' },
        { position: 1, accessKeyId: 'STS.id-2', code: undefined },
      ],
    )
    // Removed altogether, as by a rotation.
    server.requests.length = 0
    server.credentials = keysOf(3)
    stream.once('retry', () => {
      current = 3
    })
    await append(stream, '3')
    t.same(takeResultCodes(server), ['InvalidAccessKeyId', 'ok'], 'once more with each append')
    stream.end()
    await once(stream, 'close')
    t.equal(oss.read(key).toString(), '123')
  })

  t.test('a provider that has none: final at the second', async t => {
    server.credentials = keysOf(1)
    const stream = oss.open(oss.newKey(), { credentials: () => keysOf(1), ...NO_TIMED_FLUSH })
    await append(stream, '1')
    server.requests.length = 0
    server.faults.push({ kind: 'expired' })
    append(stream, '2').catch(() => {})
    t.match(await closeError(stream), {
      code: 'SecurityTokenExpired',
      attempts: 2,
      tail: { position: 1 },
      unresolved: undefined,
    })
    t.same(takeResultCodes(server), ['SecurityTokenExpired', 'SecurityTokenExpired'])
  })

  t.test('fixed keys: final at once', async t => {
    server.credentials = keysOf(1)
    const stream = oss.open(oss.newKey(), { credentials: keysOf(1), ...NO_TIMED_FLUSH })
    await append(stream, '1')
    server.faults.push({ kind: 'expired' })
    append(stream, '2').catch(() => {})
    t.match(await closeError(stream), { code: 'SecurityTokenExpired', attempts: 1 })
  })

  t.test('after a lost reply: the resend is signed anew, and found to have landed', async t => {
    server.credentials = keysOf(1)
    let current = 1
    const key = oss.newKey()
    const stream = oss.open(key, { credentials: () => keysOf(current), ...NO_TIMED_FLUSH })
    await append(stream, '1')
    server.requests.length = 0
    server.faults.push({ kind: 'lost', how: 'reset' })
    stream.once('retry', () => {
      server.credentials = keysOf(2)
      stream.once('retry', () => {
        current = 2
      })
    })
    const appended = nextEvent(stream, 'append')
    await append(stream, '2')
    t.match(await appended, { position: 1, attempts: 3, reconciled: true })
    t.equal(oss.read(key).toString(), '12')
    stream.destroy()
  })
})

t.test('streams that share a client ask one at a time', async t => {
  const oss = await startOss(t)
  const { endpoint, region, credentials: validKeys } = networkOptions(oss.server)
  let asking = 0
  let most = 0
  let asked = 0
  const credentials = async () => {
    asked += 1
    most = Math.max(most, ++asking)
    await new Promise(setImmediate)
    asking -= 1
    if (asked % 5 === 0) throw new Error('busy')
    return validKeys
  }
  const client = new OssClient({ endpoint, region, credentials })
  const keys = Array.from({ length: 20 }, () => oss.newKey())
  await Promise.all(
    keys.map(async key => {
      const stream = oss.open(key, { client, highWaterMark: 2 })
      stream.end(key)
      await once(stream, 'close')
    }),
  )
  await client.close()
  for (const key of keys) t.equal(oss.read(key).toString(), key)
  t.equal(most, 1)
  t.ok(asked < oss.server.requests.length, 'an answer serves all who wait for it')
})

t.test('a clock that is wrong', async t => {
  for (const [label, offset] of [
    ['hours behind', -5 * HOUR],
    ['hours ahead', 5 * HOUR],
    ['days ahead', 100 * 24 * HOUR],
  ] as const) {
    t.test(`the server’s is ${label}: corrected once, for all of the client`, async t => {
      const oss = await startOss(t)
      const { server } = oss
      server.clockOffset = offset
      const client = new OssClient(networkOptions(server))
      const first = oss.open(oss.newKey(), { client, ...NO_TIMED_FLUSH })
      for (const text of ['a', 'b', 'c']) await append(first, text)
      t.same(takeResultCodes(server), ['RequestTimeTooSkewed', 'ok', 'ok', 'ok'])
      const others = ['d', 'e', 'f'].map(text => {
        const stream = oss.open(oss.newKey(), { client })
        stream.end(text)
        return once(stream, 'close')
      })
      await Promise.all(others)
      t.same(takeResultCodes(server), ['ok', 'ok', 'ok'], 'the others need no correction')

      // The clock of either is set right in mid-stream.
      server.clockOffset = 0
      await append(first, 'd')
      await append(first, 'e')
      t.same(takeResultCodes(server), ['RequestTimeTooSkewed', 'ok', 'ok'])
      first.end()
      await once(first, 'close')
      await client.close()
    })
  }

  t.test('corrected while an append is under way: resent at once, the same', async t => {
    const oss = await startOss(t)
    const key = oss.newKey()
    const stream = oss.open(key, NO_TIMED_FLUSH)
    await append(stream, 'a')
    for (const hidesServerTime of [false, true]) {
      const offset = hidesServerTime ? -7 * HOUR : 3 * HOUR
      oss.server.faults.push({ kind: 'skewed', offset, hidesServerTime })
      const retried = nextEvent<RetryInfo>(stream, 'retry')
      await append(stream, 'b')
      t.match(await retried, { attempt: 1, delay: 0, error: { code: 'RequestTimeTooSkewed' } })
    }
    stream.end()
    await once(stream, 'close')
    t.equal(oss.read(key).toString(), 'abb')
  })

  t.test('an offset that never holds is final', async t => {
    const oss = await startOss(t)
    const stream = oss.open(oss.newKey(), NO_TIMED_FLUSH)
    await append(stream, 'a')
    oss.server.faults.push(
      { kind: 'skewed', offset: 3 * HOUR },
      { kind: 'skewed', offset: -3 * HOUR },
    )
    append(stream, 'b').catch(() => {})
    t.match(await closeError(stream), { code: 'RequestTimeTooSkewed', attempts: 2, status: 403 })
  })
})

/** How far the signing time of a request was from the machine's, in whole hours. */
function signingOffsetHours({
  headers,
}: {
  readonly headers: Readonly<Record<string, string>>
}): number {
  const [, y, mo, d, h, mi, s] =
    /(\d{4})(..)(..)T(..)(..)(..)Z/.exec(headers['x-oss-date'] ?? '') ?? []
  const time = Date.UTC(Number(y), Number(mo) - 1, Number(d), Number(h), Number(mi), Number(s))
  return Math.round((time - Date.now()) / HOUR)
}

t.test('a poisoned time', async t => {
  const oss = await startOss(t)
  const { server } = oss
  const wrongDates = [
    'Thu, 01 Jan 1970 00:00:00 GMT',
    new Date(Date.now() + 9 * HOUR).toUTCString(),
    'Fri, 31 Dec 9999 23:59:59 GMT',
    'now',
  ]

  t.test('from somebody who is not OSS: nothing is believed, and the stream goes on', async t => {
    for (const wrongDate of wrongDates) {
      for (const code of ['RequestTimeTooSkewed', 'SecurityTokenExpired', 'AccessDenied']) {
        const children = { ServerTime: wrongDate }
        const status = {
          kind: 'status',
          status: 403,
          code,
          children,
          headers: { Date: wrongDate },
        } as const
        server.faults.push({ kind: 'mangled', part: 'requestId', how: 'missing', with: [status] })
        server.requests.length = 0
        const key = oss.newKey()
        const stream = oss.open(key)
        const retried = nextEvent<RetryInfo>(stream, 'retry')
        stream.end('abc')
        await once(stream, 'close')
        t.match((await retried).error, { code: 'OSS_ERR_NETWORK', message: /403/ })
        t.equal(oss.read(key).toString(), 'abc')
        t.same(server.requests.map(signingOffsetHours), [0, 0, 0], `${code}, ${wrongDate}`)
      }
    }
  })

  t.test('with a request id: refused where it is absurd, and no other stream suffers', async t => {
    const client = new OssClient(networkOptions(server))
    t.teardown(() => client.close())
    const impossibleDates = wrongDates.filter(lie => /1970|9999|now/.test(lie))
    for (const wrongDate of impossibleDates) {
      const headers = { Date: wrongDate }
      server.faults.push({ kind: 'status', status: 403, code: 'RequestTimeTooSkewed', headers })
      const stream = oss.open(oss.newKey(), { client })
      stream.end('abc')
      t.match(await closeError(stream), { code: 'RequestTimeTooSkewed', attempts: 1 }, wrongDate)
      server.requests.length = 0
      const other = oss.open(oss.newKey(), { client })
      other.end('abc')
      await once(other, 'close')
      t.same(server.requests.map(signingOffsetHours), [0, 0], wrongDate)
    }
  })

  t.test('a plausible lie lasts until OSS tells the truth', async t => {
    const client = new OssClient(networkOptions(server))
    t.teardown(() => client.close())
    const headers = { Date: wrongDates[1] ?? '' }
    server.faults.push({ kind: 'status', status: 403, code: 'RequestTimeTooSkewed', headers })
    const stream = oss.open(oss.newKey(), { client })
    stream.end('abc')
    t.match(await closeError(stream), { code: 'RequestTimeTooSkewed', attempts: 2 })
    server.requests.length = 0
    const other = oss.open(oss.newKey(), { client })
    other.end('abc')
    await once(other, 'close')
    t.same(server.requests.map(signingOffsetHours), [0, 0], 'its second refusal was the truth')
  })
})

t.test('the environment changes while the program runs', async t => {
  const oss: Oss = await startOss(t, { credentials: keysOf(1) })
  const { server } = oss
  const names = ['OSS_ACCESS_KEY_ID', 'OSS_ACCESS_KEY_SECRET', 'OSS_SESSION_TOKEN'] as const
  const saved = names.map(name => [name, process.env[name]] as const)
  t.teardown(() => {
    for (const [name, value] of saved) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  })
  const set = (n: number) => {
    const { accessKeyId, accessKeySecret, securityToken } = keysOf(n)
    process.env.OSS_ACCESS_KEY_ID = accessKeyId
    process.env.OSS_ACCESS_KEY_SECRET = accessKeySecret
    process.env.OSS_SESSION_TOKEN = securityToken
  }
  const open = (key: string, more: UrlOptions = {}) =>
    oss.open(key, { credentials: undefined, ...NO_TIMED_FLUSH, ...more })
  const key = oss.newKey()
  set(1)
  const stream = open(key)
  await append(stream, '1')
  set(2)
  server.credentials = keysOf(2)
  await append(stream, '2')
  t.same(
    server.requests.filter(r => r.operation === 'append').map(r => r.accessKeyId),
    ['STS.id-1', 'STS.id-2'],
  )
  server.requests.length = 0
  // The keys come to an end before the program has set others.
  server.credentials = keysOf(3)
  stream.once('retry', () => set(3))
  await append(stream, '3')
  t.same(takeResultCodes(server), ['InvalidAccessKeyId', 'ok'])

  delete process.env.OSS_ACCESS_KEY_SECRET
  append(stream, '4').catch(() => {})
  t.match(await closeError(stream), {
    code: 'OSS_ERR_CREDENTIALS',
    message: /OSS_ACCESS_KEY_SECRET/,
    attempts: 1,
    tail: { position: 3 },
  })
  t.equal(oss.read(key).toString(), '123')
})
