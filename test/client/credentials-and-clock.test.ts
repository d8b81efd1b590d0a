/**
 * Keys that come from a provider, are missing, expire or change; and a wrong clock. The server checks
 * every signature, so each acknowledged byte was signed with keys that were valid at that moment.
 */

import { once } from 'node:events'
import { Agent, createServer, type IncomingMessage, type RequestListener } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { inspect } from 'node:util'
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
/** Appends happen on `flush()` only. */
const NO_TIMED_FLUSH = { flushInterval: 0 }

const keysOf = (n: number) => ({
  accessKeyId: `STS.id-${n}`,
  accessKeySecret: `secret-of-${n}`,
  securityToken: `CAIS+token/${n}==`,
})

/** The error with which a stream closes. */
async function closeError(stream: OssAppendStream): Promise<OssError> {
  return rejectionOf(once(stream, 'close'))
}

async function append(stream: OssAppendStream, text: string): Promise<void> {
  stream.write(text)
  await stream.flush()
}

/** The result of each request since the last call: `ok` or a code. */
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

t.test('clients and providers of @alicloud/credentials serve as credentials', async t => {
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

  t.test('@alicloud/credentials: access keys and STS keys', async t => {
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

  t.test('@alicloud/credentials: a bearer token is refused', async t => {
    const credentials = new Credential(new Config({ type: 'bearer', bearerToken: 'bearer-secret' }))
    const stream = oss.open(oss.newKey(), { credentials })
    t.match(await closeError(stream), {
      code: 'OSS_ERR_CREDENTIALS',
      message: /bearer/,
      attempts: 1,
    })
  })

  /** The response of a metadata service: keys so short-lived that each request fetches new ones. */
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

  t.test('@alicloud/credentials: credentials_uri is fetched for each append', async t => {
    let fetches = 0
    const port = await startHttpServer(t, (_, res) => {
      server.credentials = keysOf(++fetches)
      res.end(sessionJson(fetches))
    })
    const credentialsURI = `http://127.0.0.1:${port}/keys`
    await checkAppends(
      t,
      'it',
      new Credential(new Config({ type: 'credentials_uri', credentialsURI })),
    )
    t.equal(fetches, 3, 'a HEAD and two appends')
  })

  t.test('@alicloud/credentials: ecs_ram_role uses the metadata service', async t => {
    const metadataRequests: string[] = []
    const port = await startHttpServer(t, (req: IncomingMessage, res) => {
      metadataRequests.push(
        `${req.method} ${req.url} ${req.headers['x-aliyun-ecs-metadata-token'] ?? ''}`,
      )
      server.credentials = keysOf(7)
      res.end(/token$/.test(req.url ?? '') ? 'metadata-token' : sessionJson(7))
    })
    // The address of the metadata service is fixed, so its connections are redirected.
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

  t.test('@alicloud/credentials: errors of credentials_uri are retried and not quoted', async t => {
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
    const errors: string[] = []
    stream.on('retry', ({ error }: RetryInfo) => errors.push(inspect(error, { depth: 9 })))
    stream.end('abc')
    await once(stream, 'close')
    t.equal(oss.read(key).toString(), 'abc')
    t.equal(errors.length, 3)
    for (const error of errors) {
      t.match(error, /the credentials provider failed: Error/)
      t.notMatch(error, keysOf(3).accessKeySecret)
    }
  })
})

t.test('a stream survives errors of a provider, and reports permanent ones', async t => {
  const oss = await startOss(t)
  const { server } = oss
  const validKeys = server.credentials

  t.test('a provider that fails for a while costs attempts and no bytes', async t => {
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
        error: { code: 'OSS_ERR_CREDENTIALS', cause: { message: 'Error' } },
      })),
    )
    stream.end()
    await once(stream, 'close')
    t.equal(oss.read(key).toString(), 'onetwo')
  })

  t.test('a provider that fails permanently ends the stream, and nothing is sent', async t => {
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
      cause: { message: 'Error' },
    })
    t.equal(await flushed, error)
    t.same(takeResultCodes(server), [], 'nothing was sent')
  })

  t.test(
    'a provider with an invalid result ends the stream at once, and nothing is sent',
    async t => {
      const invalidResults = [
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
        { ...validKeys, stsToken: 'token' },
        new Map(Object.entries(validKeys)),
        () => validKeys,
      ]
      for (const [i, invalid] of invalidResults.entries()) {
        let result: unknown = validKeys
        const credentials = async () => result as typeof validKeys
        const stream = oss.open(oss.newKey(), { credentials, ...NO_TIMED_FLUSH })
        await append(stream, 'one')
        result = invalid
        server.requests.length = 0
        append(stream, 'two').catch(() => {})
        const error = await closeError(stream)
        t.match(error, { code: 'OSS_ERR_CREDENTIALS', attempts: 1, tail: { position: 3 } }, `${i}`)
        t.same(takeResultCodes(server), [], `${i}: nothing was sent`)
      }
    },
  )

  t.test(
    'a provider that hangs is called again after the timeout, and its late result is ignored',
    async t => {
      fireTimersEarly(t, 25_000)
      const hanging: ((keys: typeof validKeys) => void)[] = []
      let calls = 0
      const credentials = () => {
        calls += 1
        return calls === 2 || calls === 3
          ? new Promise<typeof validKeys>(resolve => hanging.push(resolve))
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
      for (const resolve of hanging) resolve({ accessKeyId: 'stale', accessKeySecret: 'stale' })
      await append(stream, 'def')
      t.equal(calls, 5)
      stream.end()
      await once(stream, 'close')
      t.equal(oss.read(key).toString(), 'abcdef')
    },
  )

  t.test(
    'a provider that hangs forever ends the stream when its retries are exhausted',
    async t => {
      fireTimersEarly(t, 25_000)
      const credentials = () => new Promise<typeof validKeys>(() => {})
      const retry = { maxRetries: 1, minDelay: 1 }
      const stream = oss.open(oss.newKey(), { credentials, retry, requestTimeout: 20_000 })
      stream.write('abc')
      t.match(await closeError(stream), {
        code: 'OSS_ERR_CREDENTIALS',
        attempts: 2,
        tail: undefined,
      })
    },
  )

  t.test('a stream whose provider hangs can be destroyed at once', async t => {
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

/** Skips time: a timer of at least `length` ms fires after 1 ms, and the clock has moved by its delay. */
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

t.test('keys that expire while a stream is open are replaced or reported', async t => {
  const oss = await startOss(t, { credentials: keysOf(1) })
  const { server } = oss

  t.test('expired keys: the append is resent at once with new keys of the provider', async t => {
    server.credentials = keysOf(1)
    let current = 1
    const key = oss.newKey()
    const stream = oss.open(key, { credentials: () => keysOf(current), ...NO_TIMED_FLUSH })
    const retries: RetryInfo[] = []
    stream.on('retry', info => retries.push(info))
    await append(stream, '1')
    server.requests.length = 0
    // The keys expire while the request is in flight.
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
    // The keys are deleted, as in a rotation.
    server.requests.length = 0
    server.credentials = keysOf(3)
    stream.once('retry', () => {
      current = 3
    })
    await append(stream, '3')
    t.same(takeResultCodes(server), ['InvalidAccessKeyId', 'ok'], 'each append may refresh once')
    stream.end()
    await once(stream, 'close')
    t.equal(oss.read(key).toString(), '123')
  })

  t.test(
    'expired keys: retried as long as the policy says if the provider has no others',
    async t => {
      server.credentials = keysOf(1)
      const stream = oss.open(oss.newKey(), {
        credentials: () => keysOf(1),
        retry: { maxRetries: 2, minDelay: 1 },
        ...NO_TIMED_FLUSH,
      })
      await append(stream, '1')
      server.requests.length = 0
      server.faults.push({ kind: 'expired' })
      append(stream, '2').catch(() => {})
      t.match(await closeError(stream), {
        code: 'SecurityTokenExpired',
        attempts: 3,
        tail: { position: 1 },
        unresolved: undefined,
      })
      t.same(takeResultCodes(server), new Array(3).fill('SecurityTokenExpired'))
    },
  )

  t.test('expired keys: a provider that is late with its new keys costs attempts', async t => {
    server.credentials = keysOf(1)
    let calls = 0
    const credentials = () => keysOf(calls++ < 4 ? 1 : 2)
    const key = oss.newKey()
    const stream = oss.open(key, { credentials, retry: { minDelay: 1 }, ...NO_TIMED_FLUSH })
    await append(stream, '1')
    server.credentials = keysOf(2)
    await append(stream, '2')
    stream.end()
    await once(stream, 'close')
    t.equal(oss.read(key).toString(), '12')
    t.equal(calls, 5)
  })

  t.test('expired keys: final at the first attempt if they are fixed', async t => {
    server.credentials = keysOf(1)
    const stream = oss.open(oss.newKey(), { credentials: keysOf(1), ...NO_TIMED_FLUSH })
    await append(stream, '1')
    server.faults.push({ kind: 'expired' })
    append(stream, '2').catch(() => {})
    t.match(await closeError(stream), { code: 'SecurityTokenExpired', attempts: 1 })
  })

  t.test('expired keys: an append whose response was lost is reconciled with new keys', async t => {
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

t.test('streams that share a client share the calls of its provider', async t => {
  const oss = await startOss(t)
  const { endpoint, region, credentials: validKeys } = networkOptions(oss.server)
  let running = 0
  let maxRunning = 0
  let calls = 0
  const credentials = async () => {
    calls += 1
    maxRunning = Math.max(maxRunning, ++running)
    await new Promise(setImmediate)
    running -= 1
    if (calls % 5 === 0) throw new Error('busy')
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
  t.equal(maxRunning, 1)
  t.ok(calls < oss.server.requests.length, 'one call serves several requests')
})

t.test('a wrong clock is corrected, or reported if that does not help', async t => {
  for (const [label, offset] of [
    ['hours behind', -5 * HOUR],
    ['hours ahead', 5 * HOUR],
    ['days ahead', 100 * 24 * HOUR],
  ] as const) {
    t.test(`a server clock ${label} is corrected once for all streams of a client`, async t => {
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

      // The clock of the server is set right.
      server.clockOffset = 0
      await append(first, 'd')
      await append(first, 'e')
      t.same(takeResultCodes(server), ['RequestTimeTooSkewed', 'ok', 'ok'])
      first.end()
      await once(first, 'close')
      await client.close()
    })
  }

  t.test('an append that is refused for its clock is resent at once', async t => {
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

  t.test('a clock that steps twice during one append is corrected twice', async t => {
    const oss = await startOss(t)
    const key = oss.newKey()
    const stream = oss.open(key, { retry: { minDelay: 1 }, ...NO_TIMED_FLUSH })
    await append(stream, 'a')
    oss.server.faults.push(
      { kind: 'skewed', offset: 3 * HOUR },
      { kind: 'reset', when: 'before' },
      { kind: 'skewed', offset: -3 * HOUR },
      { kind: 'skewed', offset: 0 },
    )
    await append(stream, 'b')
    stream.end()
    await once(stream, 'close')
    t.equal(oss.read(key).toString(), 'ab')
  })

  t.test('a clock that stays wrong is final when the policy says so', async t => {
    const oss = await startOss(t)
    const retry = { minDelay: 1, maxRetries: 2 }
    const stream = oss.open(oss.newKey(), { retry, ...NO_TIMED_FLUSH })
    await append(stream, 'a')
    oss.server.faults.push(
      { kind: 'skewed', offset: 3 * HOUR },
      { kind: 'skewed', offset: -3 * HOUR },
      { kind: 'skewed', offset: 3 * HOUR },
    )
    append(stream, 'b').catch(() => {})
    t.match(await closeError(stream), { code: 'RequestTimeTooSkewed', attempts: 3, status: 403 })
  })
})

/** Whole hours between the signing time of a request and the clock of the machine. */
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

t.test('a false server time does not disturb other streams', async t => {
  const oss = await startOss(t)
  const { server } = oss
  const wrongDates = [
    'Thu, 01 Jan 1970 00:00:00 GMT',
    new Date(Date.now() + 9 * HOUR).toUTCString(),
    'Fri, 31 Dec 9999 23:59:59 GMT',
    'now',
  ]

  t.test('a false time in a response that is not from OSS is ignored', async t => {
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

  t.test('an impossible time in a response of OSS is ignored', async t => {
    const client = new OssClient(networkOptions(server))
    t.teardown(() => client.close())
    const impossibleDates = wrongDates.filter(date => /1970|9999|now/.test(date))
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

  t.test('a plausible false time lasts until the next refusal', async t => {
    const client = new OssClient(networkOptions(server))
    t.teardown(() => client.close())
    const headers = { Date: wrongDates[1] ?? '' }
    server.faults.push({ kind: 'status', status: 403, code: 'RequestTimeTooSkewed', headers })
    const stream = oss.open(oss.newKey(), { client, retry: { minDelay: 1 } })
    const errors: string[] = []
    stream.on('retry', ({ error }: RetryInfo) => errors.push(error.code))
    stream.end('abc')
    await once(stream, 'close')
    t.same(errors, ['RequestTimeTooSkewed', 'RequestTimeTooSkewed'])
    server.requests.length = 0
    const other = oss.open(oss.newKey(), { client })
    other.end('abc')
    await once(other, 'close')
    t.same(server.requests.map(signingOffsetHours), [0, 0], 'the second refusal had the right time')
  })
})

t.test('keys in the environment may change while a stream is open', async t => {
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
  // The keys expire before the program sets others.
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
