/**
 * Streams over real sockets that break, stall and lie. Each test has a network of its own kind. The claim
 * is always the same: every byte is in the object once, or the error says which bytes are in doubt.
 * The slow tests run in `npm run test:full`.
 */

import { once } from 'node:events'
import { createServer, request } from 'node:http'
import { type AddressInfo, connect, type LookupFunction } from 'node:net'
import t, { type Test } from 'tap'
import { Agent, ProxyAgent } from 'undici'
import {
  type AppendInfo,
  type AppendStreamOptions,
  createAppendStream,
  type OssAppendStream,
  OssClient,
  type OssError,
  type RetryInfo,
} from '../../lib/index.ts'
import type { OssServer, OssServerOptions } from '../../lib/server/index.ts'
import { runsLongTests } from '../helpers/long-tests.ts'
import { type Link, type Relay, startRelay } from '../helpers/relay.ts'
import { BUCKET, networkOptions, seededBytes, startOss, waitUntil } from '../helpers/test-oss.ts'
import { cert, key } from '../helpers/tls.ts'

const KEY = 'logs/app.log'

interface NetworkHarness {
  readonly server: OssServer
  readonly relay: Relay
  readonly appends: AppendInfo[]
  readonly retries: RetryInfo[]
  open(options?: Partial<AppendStreamOptions>): OssAppendStream
  /** The content of the object. */
  text(): string | undefined
  /** Codes of the retries' errors, or of their causes. */
  codes(): (string | undefined)[]
}

/** A server, a relay to it, and streams that use the relay. */
async function createNetworkHarness(
  t: Test,
  serverOptions: OssServerOptions = {},
): Promise<NetworkHarness> {
  const { server } = await startOss(t, serverOptions)
  const relay = await startRelay(t, server.port)
  const endpoint = server.url.replace(String(server.port), String(relay.port))
  const { appends, retries, watch, codes } = createStreamRecorder()
  return {
    server,
    relay,
    appends,
    retries,
    codes,
    open: options =>
      watch({
        ...networkOptions(server),
        endpoint,
        retry: { minDelay: 1, maxDelay: 20 },
        ...options,
      }),
    text: () => server.read(BUCKET, KEY)?.toString('latin1'),
  }
}

/** Opens streams and records their events. */
function createStreamRecorder() {
  const appends: AppendInfo[] = []
  const retries: RetryInfo[] = []
  const watch = (options: Partial<AppendStreamOptions>) => {
    const stream = createAppendStream({ bucket: BUCKET, key: KEY, ...options })
    stream.on('append', info => appends.push(info))
    return stream.on('retry', info => retries.push(info))
  }
  const codes = () =>
    retries.map(({ error }) => {
      const { code, cause } = error as OssError
      return code === 'OSS_ERR_NETWORK' ? (cause as OssError | undefined)?.code : code
    })
  return { appends, retries, watch, codes }
}

async function append(stream: OssAppendStream, text: string): Promise<void> {
  stream.write(text)
  await stream.flush()
}

async function finish(stream: OssAppendStream): Promise<void> {
  stream.end()
  await once(stream, 'close')
}

t.test('an append on a connection that the server closes at that moment is resent', async t => {
  for (const how of ['end', 'reset'] as const) {
    const { relay, open, text, appends, retries } = await createNetworkHarness(t)
    const stream = open()
    await append(stream, 'one ')
    const idle = relay.links.length
    // The relay closes the idle connection and drops what arrives on it.
    relay.toServer = (bytes, link) => {
      if (link.number > idle) return bytes
      link[how]()
      return undefined
    }
    await append(stream, 'two ')
    await append(stream, 'three')
    await finish(stream)
    t.equal(text(), 'one two three', how)
    t.same(
      appends.map(({ attempts }) => attempts),
      [1, 2, 1],
      `${how}: one attempt is lost`,
    )
    t.equal(retries.length, 1)
  }
})

t.test('a connection that was closed while idle costs no attempt', async t => {
  const { relay, open, text, appends } = await createNetworkHarness(t)
  const stream = open()
  for (const word of ['one ', 'two ', 'three']) {
    await append(stream, word)
    for (const link of relay.links) link.end()
    await relay.whenClosed()
    // The client's socket closes one turn later.
    await new Promise(setImmediate)
  }
  await finish(stream)
  t.equal(text(), 'one two three')
  t.ok(appends.every(({ attempts }) => attempts === 1))
})

t.test('a half-open connection is given up after the timeout', async t => {
  const options = { requestTimeout: 400 }
  // Side by side, since they mostly wait.
  t.jobs = 3

  t.test('half-open: the request never arrives', async t => {
    const { relay, server, open, text, codes } = await createNetworkHarness(t)
    const stream = open(options)
    await append(stream, 'one ')
    const halfOpen = relay.links.length
    relay.toServer = (bytes, link) => (link.number > halfOpen ? bytes : undefined)
    await append(stream, 'two')
    t.ok(codes().includes('OSS_ERR_TIMEOUT'))
    t.equal(text(), 'one two')
    await finish(stream)
    await relay.whenClosed()
    t.pass('the stream has closed the half-open connection')
    await waitUntil(() => server.openConnections === 0)
  })

  t.test('half-open: the request arrives, and the response never', async t => {
    const { relay, open, text, appends } = await createNetworkHarness(t)
    const stream = open(options)
    await append(stream, 'one ')
    const halfOpen = relay.links.length
    relay.toClient = (bytes, link) => (link.number > halfOpen ? bytes : undefined)
    await append(stream, 'two')
    t.equal(text(), 'one two')
    t.match(appends.at(-1), { reconciled: true })
    await finish(stream)
    await relay.whenClosed()
  })

  t.test('half-open: in the middle of a batch, and of its resend', async t => {
    const { relay, open, server, appends } = await createNetworkHarness(t)
    const bytes = seededBytes(64 << 10)
    const halfOpen = new Set<Link>()
    relay.toServer = (chunk, link) => {
      if (halfOpen.size < 2 && link.bytesFromClient > 30_000) halfOpen.add(link)
      return halfOpen.has(link) ? undefined : chunk
    }
    const stream = open({ ...options, position: 0 })
    stream.end(bytes)
    await once(stream, 'close')
    t.ok(server.read(BUCKET, KEY)?.equals(bytes))
    t.equal(halfOpen.size, 2)
    t.ok((appends[0]?.attempts ?? 0) >= 3)
    await relay.whenClosed()
  })
})

t.test('closing a client ends a request that waited for a connection of undici', async t => {
  const { server } = await startOss(t)
  const client = new OssClient({ ...networkOptions(server), requestTimeout: 30_000 })
  server.faults.push({ kind: 'lost', how: 'hang', on: 'any', times: Number.POSITIVE_INFINITY })
  const { retries, watch, codes } = createStreamRecorder()
  const streams = Array.from({ length: 65 }, (_, i) => watch({ client, key: String(i) }))
  const last = streams.pop()
  await waitUntil(() => server.requests.length === 64)
  // All connections close at once. An undici Agent (7.30) forgot the origin then, but not the request that
  // waited for a connection.
  for (const stream of streams) stream.destroy()
  await Promise.all(streams.map(stream => once(stream, 'close')))
  await waitUntil(() => server.requests.length === 65)
  const failed = once(last ?? t, 'close')
  await client.close()
  await t.rejects(failed, { code: 'OSS_ERR_ABORTED' })
  t.notOk(codes().includes('OSS_ERR_TIMEOUT'), `it did not time out: ${codes()}`)
  t.ok(retries.length < 2)
  await waitUntil(() => server.openConnections === 0)
})

t.test('a dispatcher may trust a private certificate authority', async t => {
  const dispatcher = new Agent({ connect: { ca: cert } })
  t.teardown(() => dispatcher.close())

  t.test('TLS: the dispatcher trusts the authority', async t => {
    const { server, relay, open, text, retries } = await createNetworkHarness(t, {
      tls: { key, cert },
    })
    for (const host of ['127.0.0.1', 'localhost']) {
      const stream = open({ dispatcher, endpoint: `https://${host}:${relay.port}` })
      await append(stream, `${host} `)
      await finish(stream)
    }
    t.equal(text(), '127.0.0.1 localhost ')
    t.same(retries, [])
    t.notOk(
      server.requests.some(({ headers }) => headers['content-md5']),
      'TLS protects the bytes, so no MD5 is sent',
    )
  })

  t.test('TLS: an unknown authority or another name is final, and nothing is in doubt', async t => {
    const { open, relay, retries } = await createNetworkHarness(t, { tls: { key, cert } })
    const other = new Agent({ connect: { ca: cert, servername: 'oss.example.com' } })
    t.teardown(() => other.close())
    const table: [string, Partial<AppendStreamOptions>, RegExp][] = [
      ['unknown authority', {}, /SELF_SIGNED|UNABLE_TO_VERIFY/],
      ['another name', { dispatcher: other }, /ERR_TLS_CERT_ALTNAME_INVALID/],
    ]
    for (const [label, options, code] of table) {
      const stream = open({ ...options, position: 0 })
      stream.end('x')
      const expected = {
        code: 'OSS_ERR_RETRIES_EXHAUSTED',
        attempts: 1,
        unresolved: undefined,
        cause: { code: 'OSS_ERR_NETWORK', cause: { code } },
      }
      await t.rejects(once(stream, 'close'), expected, label)
    }
    t.same(retries, [])
    t.ok(relay.links.length > 0)
  })

  t.test('TLS: a connection that breaks in the body of an append costs an attempt', async t => {
    for (const how of ['end', 'reset'] as const) {
      const { server, open, relay, appends } = await createNetworkHarness(t, { tls: { key, cert } })
      const bytes = seededBytes(1 << 20, 7)
      relay.toServer = (chunk, link) => {
        if (link.number > 2 || link.bytesFromClient < 300_000) return chunk
        link[how]()
        return undefined
      }
      const stream = open({ dispatcher, position: 0 })
      stream.end(bytes)
      await once(stream, 'close')
      t.ok(server.read(BUCKET, KEY)?.equals(bytes), how)
      t.match(appends, [{ attempts: 3, reconciled: false }])
    }
  })

  t.test('TLS: an append whose response is lost is reconciled', async t => {
    for (const how of ['end', 'reset'] as const) {
      const { server, open, relay, text, appends } = await createNetworkHarness(t, {
        tls: { key, cert },
      })
      relay.toClient = (chunk, link) => {
        if (link.number > 1 || !server.stat(BUCKET, KEY)) return chunk
        link[how]()
        return undefined
      }
      const stream = open({ dispatcher, position: 0 })
      await append(stream, 'abc')
      t.equal(text(), 'abc', how)
      t.match(appends, [{ reconciled: true }])
      await finish(stream)
    }
  })
})

interface Proxy {
  readonly url: string
  /** Request lines without version: `CONNECT host:port`, `POST http://...`. */
  readonly requests: string[]
  /** Number of CONNECT requests to answer with 502. */
  refusals: number
}

/** A proxy for tunnels and for plain requests. */
async function startProxy(t: Test): Promise<Proxy> {
  const proxy = { url: '', requests: [] as string[], refusals: 0 }
  const server = createServer((req, res) => {
    proxy.requests.push(`${req.method} ${req.url}`)
    const { origin, port } = new URL(req.url ?? '')
    const path = (req.url ?? '').slice(origin.length)
    const forwarded = request(
      { port, path, method: req.method, headers: req.headers },
      response => {
        res.writeHead(response.statusCode ?? 502, response.headers)
        response.pipe(res)
      },
    )
    forwarded.on('error', () => res.destroy())
    req.pipe(forwarded)
  })
  server.on('connect', (req, socket) => {
    proxy.requests.push(`CONNECT ${req.url}`)
    if (proxy.refusals-- > 0) return socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n')
    const tunnel = connect(Number(req.url?.split(':').at(-1)), '127.0.0.1')
    tunnel.once('connect', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.pipe(tunnel).pipe(socket)
    })
    for (const end of [socket, tunnel]) {
      end.on('error', () => {})
      end.on('close', () => {
        socket.destroy()
        tunnel.destroy()
      })
    }
    return undefined
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  proxy.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return proxy
}

t.test('streams work through an undici ProxyAgent', async t => {
  /** A key that a URL parser would change. */
  const awkwardKey = 'logs/../a b//日志/.%2e?x#y\\z'

  for (const scheme of ['http', 'https'] as const) {
    t.test(`ProxyAgent: a tunnel to ${scheme}`, async t => {
      const { server, relay, open, appends } = await createNetworkHarness(
        t,
        scheme === 'https' ? { tls: { key, cert } } : {},
      )
      const proxy = await startProxy(t)
      const dispatcher = new ProxyAgent({ uri: proxy.url, requestTls: { ca: cert } })
      t.teardown(() => dispatcher.destroy())
      const stream = open({ dispatcher, key: awkwardKey })
      await append(stream, 'one ')
      t.same(new Set(proxy.requests), new Set([`CONNECT 127.0.0.1:${relay.port}`]))
      // The tunnel breaks, and the proxy refuses the next two.
      relay.toServer = (_, link) => {
        relay.toServer = undefined
        proxy.refusals = 2
        link.reset()
        return undefined
      }
      await append(stream, 'two')
      t.equal(server.read(BUCKET, awkwardKey)?.toString(), 'one two')
      t.equal(appends[1]?.attempts, 4)
      await finish(stream)
    })
  }

  t.test('ProxyAgent: plain requests, without a tunnel', async t => {
    const { server, relay, open } = await createNetworkHarness(t)
    const proxy = await startProxy(t)
    const dispatcher = new ProxyAgent({ uri: proxy.url, proxyTunnel: false })
    t.teardown(() => dispatcher.destroy())
    const stream = open({ dispatcher, key: awkwardKey })
    await append(stream, 'one ')
    await append(stream, 'two')
    t.equal(server.read(BUCKET, awkwardKey)?.toString(), 'one two')
    await finish(stream)
    t.ok(proxy.requests.every(line => line.includes(` http://127.0.0.1:${relay.port}/`)))
  })

  t.test('ProxyAgent: a proxy that refuses every tunnel', async t => {
    const { open } = await createNetworkHarness(t)
    const proxy = await startProxy(t)
    proxy.refusals = 3
    const dispatcher = new ProxyAgent({ uri: proxy.url })
    t.teardown(() => dispatcher.destroy())
    const stream = open({ dispatcher, position: 0, retry: { maxRetries: 2, minDelay: 1 } })
    stream.end('x')
    const expected = { code: 'OSS_ERR_RETRIES_EXHAUSTED', attempts: 3, message: /UND_ERR_ABORTED/ }
    await t.rejects(once(stream, 'close'), expected)
    t.equal(proxy.requests.length, 3)
  })
})

t.test('a stream appends over IPv6', async t => {
  const { appends, watch, retries } = createStreamRecorder()
  let oss: Awaited<ReturnType<typeof startOss>>
  try {
    oss = await startOss(t, { host: '::1' })
  } catch (error) {
    t.match(error, { code: /^(EADDRNOTAVAIL|EAFNOSUPPORT)$/ })
    return t.comment('skipped: this machine has no IPv6')
  }
  t.match(oss.server.url, /^http:\/\/\[::1\]:\d+$/)
  const stream = watch(networkOptions(oss.server))
  await append(stream, 'six')
  await finish(stream)
  t.equal(oss.server.read(BUCKET, KEY)?.toString(), 'six')
  t.same([appends.length, retries.length], [1, 0])
  return undefined
})

/** A dispatcher whose lookups fail with the given codes, and then find this machine. */
function createResolver(t: Test, failures: string[]): Agent {
  const lookup: LookupFunction = (hostname, options, callback) => {
    const code = failures.shift()
    if (code === undefined) {
      const found = [{ address: '127.0.0.1', family: 4 }]
      if (options.all) process.nextTick(callback, null, found)
      else process.nextTick(callback, null, found[0]?.address, 4)
      return
    }
    const error = Object.assign(new Error(`getaddrinfo ${code} ${hostname}`), { code })
    process.nextTick(callback, error, '')
  }
  const dispatcher = new Agent({ connect: { lookup } })
  t.teardown(() => dispatcher.close())
  return dispatcher
}

t.test('a host name that fails to resolve is retried', async t => {
  const endpointOf = ({ port }: { port: number }) => `http://localhost:${port}`

  t.test(
    'a host name that never resolved is final at the third attempt, and nothing is in doubt',
    async t => {
      const { open, relay, retries } = await createNetworkHarness(t)
      const dispatcher = createResolver(t, Array(9).fill('ENOTFOUND'))
      const stream = open({ dispatcher, endpoint: endpointOf(relay) })
      stream.end('x')
      await t.rejects(once(stream, 'close'), {
        code: 'OSS_ERR_RETRIES_EXHAUSTED',
        attempts: 3,
        tail: undefined,
        unresolved: undefined,
        cause: { code: 'OSS_ERR_NETWORK', cause: { code: 'ENOTFOUND' } },
      })
      t.equal(retries.length, 2)
      t.equal(relay.links.length, 0)
    },
  )

  t.test('a resolver that is not available yet is retried', async t => {
    const { open, relay, text, codes } = await createNetworkHarness(t)
    const dispatcher = createResolver(t, Array(6).fill('EAI_AGAIN'))
    const stream = open({ dispatcher, endpoint: endpointOf(relay) })
    stream.end('x')
    await once(stream, 'close')
    t.equal(text(), 'x')
    t.same(codes(), Array(6).fill('EAI_AGAIN'))
  })

  t.test('a host name that has resolved before is retried', async t => {
    const { open, relay, text, codes } = await createNetworkHarness(t)
    const failures: string[] = []
    const dispatcher = createResolver(t, failures)
    const stream = open({ dispatcher, endpoint: endpointOf(relay) })
    await append(stream, 'one ')
    failures.push(...Array(6).fill('ENOTFOUND'))
    for (const link of relay.links) link.end()
    await relay.whenClosed()
    await append(stream, 'two')
    t.equal(text(), 'one two')
    t.equal(codes().filter(code => code === 'ENOTFOUND').length, 6)
    await finish(stream)
  })
})

t.test('a stream survives a port that closes and opens again', async t => {
  for (const host of ['127.0.0.1', 'localhost']) {
    const { server } = await startOss(t)
    const { watch, codes, retries } = createStreamRecorder()
    const endpoint = `http://${host}:${server.port}`
    const retry = { minDelay: 1, maxDelay: 5 }
    const stream = watch({ ...networkOptions(server), endpoint, retry, highWaterMark: 1_000 })
    const bytes = seededBytes(50_000)
    stream.write(bytes.subarray(0, 10_000))
    await once(stream, 'append')
    server.refuse()
    stream.end(bytes.subarray(10_000))
    await waitUntil(() => retries.length >= 5)
    t.ok(codes().includes('ECONNREFUSED'), host)
    await server.listen()
    await once(stream, 'close')
    t.ok(server.read(BUCKET, KEY)?.equals(bytes), host)
  }
})

t.test('an early response is read, and the stream goes on', async t => {
  const { server, open, appends, codes } = await createNetworkHarness(t)
  const { url: endpoint } = server
  const bytes = seededBytes(4 << 20)
  server.faults.push(
    { kind: 'early', code: 'TotalQpsLimitExceeded' },
    { kind: 'early', status: 500 },
  )
  // Without the relay, which would lose the response in the reset that follows.
  const stream = open({ endpoint })
  stream.write(bytes)
  await stream.flush()
  t.ok(server.read(BUCKET, KEY)?.equals(bytes))
  t.match(appends, [{ attempts: 3, reconciled: false }])
  t.equal(codes()[0], 'TotalQpsLimitExceeded', 'the response is read although the connection broke')

  server.faults.push({ kind: 'early', status: 403, code: 'AccessDenied' })
  stream.end(bytes)
  await t.rejects(once(stream, 'close'), {
    code: 'AccessDenied',
    attempts: 1,
    tail: { position: bytes.length },
    unresolved: undefined,
  })
})

t.test('responses with status 1xx do not disturb a stream', async t => {
  const interim = (word: string) => Buffer.from(`HTTP/1.1 ${word}\r\n\r\n`)

  t.test('a 103 is ignored', async t => {
    const { relay, open, text, appends } = await createNetworkHarness(t)
    relay.toClient = chunk => Buffer.concat([interim('103 Early Hints'), chunk])
    const stream = open()
    await append(stream, 'one ')
    await append(stream, 'two')
    await finish(stream)
    t.equal(text(), 'one two')
    t.ok(appends.every(({ attempts }) => attempts === 1))
  })

  t.test('an unrequested 100 is a lost response', async t => {
    const { relay, open, text, appends } = await createNetworkHarness(t)
    const stream = open()
    await append(stream, 'one ')
    relay.toClient = chunk => {
      relay.toClient = undefined
      return Buffer.concat([interim('100 Continue'), chunk])
    }
    await append(stream, 'two')
    await finish(stream)
    t.equal(text(), 'one two')
    t.match(appends.at(-1), { reconciled: true })
  })
})

t.test('oversized responses do not disturb a stream', async t => {
  const huge = Buffer.alloc(10_000_000, '<Filler>x</Filler>')
  const xml = (code: string) =>
    Buffer.concat([Buffer.from(`<Error><Code>${code}</Code><Message>m</Message>`), huge])
  const chunked = (head: string, body: Buffer) =>
    Buffer.concat([
      Buffer.from(`${head}transfer-encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n`),
      body,
      Buffer.from('\r\n0\r\n\r\n'),
    ])
  const headOf = (status: number) =>
    `HTTP/1.1 ${status} Word\r\nx-oss-request-id: 5C3D9175B6FC201293AD4890\r\n`

  t.test('a transient error with a body of 10 MB is retried', async t => {
    const { server, open, text, appends } = await createNetworkHarness(t)
    server.faults.push(
      { kind: 'status', status: 503, body: xml('SlowDown') },
      { kind: 'garbage', bytes: chunked(headOf(503), xml('SlowDown')) },
      { kind: 'garbage', bytes: chunked('HTTP/1.1 502 Bad Gateway\r\n', huge) },
      { kind: 'garbage', bytes: chunked(headOf(500), Buffer.from('x')) },
    )
    const stream = open()
    await append(stream, 'abc')
    await finish(stream)
    t.equal(text(), 'abc')
    t.match(appends, [{ attempts: 5, reconciled: false }])
  })

  t.test('a final error with a chunked body of 10 MB is reported', async t => {
    const { server, open } = await createNetworkHarness(t)
    server.faults.push({ kind: 'garbage', bytes: chunked(headOf(403), xml('AccessDenied')) })
    const stream = open()
    stream.end('abc')
    await t.rejects(once(stream, 'close'), { code: 'AccessDenied', status: 403, attempts: 1 })
    await waitUntil(() => server.openConnections === 0)
  })

  t.test('a response with 64 KB of headers is a lost response', async t => {
    const { relay, open, text, appends, codes } = await createNetworkHarness(t)
    const filler = Buffer.from(`\r\nx-filler: ${'x'.repeat(65_536)}`)
    const swell = (chunk: Buffer) => {
      const at = chunk.indexOf('\r\n')
      return Buffer.concat([chunk.subarray(0, at), filler, chunk.subarray(at)])
    }
    const stream = open()
    await append(stream, 'one ')
    relay.toClient = chunk => {
      relay.toClient = undefined
      return swell(chunk)
    }
    await append(stream, 'two')
    t.equal(text(), 'one two')
    t.match(appends.at(-1), { reconciled: true })
    t.same(codes(), ['UND_ERR_HEADERS_OVERFLOW'])
    relay.toClient = swell
    stream.destroy()
    await once(stream, 'close')

    const never = open({ retry: { maxRetries: 2, minDelay: 1, maxDelay: 1 } })
    never.end('x')
    await t.rejects(once(never, 'close'), {
      code: 'OSS_ERR_RETRIES_EXHAUSTED',
      cause: { cause: { code: 'UND_ERR_HEADERS_OVERFLOW' } },
    })
  })
})

t.test('a surplus response is never taken for the response of an append', async t => {
  t.test('a response without a request costs the connection', async t => {
    const { relay, open, text, appends } = await createNetworkHarness(t)
    const stream = open()
    await append(stream, 'one ')
    const { client } = relay.links.at(-1)!
    client.write('HTTP/1.1 200 OK\r\nx-oss-request-id: 1\r\ncontent-length: 0\r\n\r\n')
    await once(client, 'close')
    await append(stream, 'two')
    await finish(stream)
    t.equal(text(), 'one two')
    t.ok(appends.every(({ attempts }) => attempts === 1))
  })

  t.test('a repeated response in place of the next one fails the stream', async t => {
    const { relay, open, server } = await createNetworkHarness(t)
    const stream = open()
    let last: Buffer = Buffer.alloc(0)
    relay.toClient = chunk => {
      last = chunk
      return chunk
    }
    await append(stream, 'one ')
    relay.toServer = (_, link) => {
      link.client.write(last)
      return undefined
    }
    stream.end('two')
    await t.rejects(once(stream, 'close'), {
      code: 'OSS_ERR_INTEGRITY',
      tail: { position: 4 },
      unresolved: { position: 4, length: 3 },
    })
    t.equal(server.stat(BUCKET, KEY)?.length, 4)
  })
})

t.test('the timeout suits a slow link', async t => {
  t.test('the timeout of a batch grows with its size', async t => {
    const { server, open, appends } = await createNetworkHarness(t)
    const bytes = seededBytes(512 << 10)
    server.faults.push({ kind: 'slowRead', rate: 400_000 })
    // The timeout is 8 s for these bytes, which take 1.3 s.
    const stream = open({ position: 0, requestTimeout: 1 })
    stream.end(bytes)
    await once(stream, 'close')
    t.ok(server.read(BUCKET, KEY)?.equals(bytes))
    t.match(appends, [{ attempts: 1 }])
  })

  t.test('a batch of 4 MiB at 100 KB/s needs no longer timeout', async t => {
    if (!runsLongTests('a batch of 4 MiB over a link of 100 KB/s, which takes 42 s')) return
    const { server, open, appends } = await createNetworkHarness(t)
    const bytes = seededBytes(4 << 20)
    server.faults.push({ kind: 'slowRead', rate: 100_000 })
    const stream = open()
    stream.end(bytes)
    await once(stream, 'close')
    t.ok(server.read(BUCKET, KEY)?.equals(bytes))
    t.match(appends, [{ attempts: 1, reconciled: false }])
    t.comment(`took ${Math.round(appends[0]!.duration)} ms`)
  })
})
