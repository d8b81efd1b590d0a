/**
 * Streams over real sockets that behave as badly as sockets do. Each part is a network of its own kind;
 * what is asserted is always the same: every byte is in the object, once, or the stream says what it
 * does not know. The parts that take long run in `npm run test:full`.
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
  /** The object, as it is. */
  text(): string | undefined
  /** Codes of the retries' errors, or of their causes. */
  codes(): (string | undefined)[]
}

/** A server, a line to it, and streams at the other end. */
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

/** Streams, and what they tell. */
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

t.test('keep-alive: the server closes an idle connection just as we write on it', async t => {
  for (const how of ['end', 'reset'] as const) {
    const { relay, open, text, appends, retries } = await createNetworkHarness(t)
    const stream = open()
    await append(stream, 'one ')
    const idle = relay.links.length
    // What arrives now finds the connection closed: nothing of it reaches the server.
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

t.test('keep-alive: a connection that was closed while idle costs nothing', async t => {
  const { relay, open, text, appends } = await createNetworkHarness(t)
  const stream = open()
  for (const word of ['one ', 'two ', 'three']) {
    await append(stream, word)
    for (const link of relay.links) link.end()
    await relay.whenClosed()
    // The event of our own end follows in this process.
    await new Promise(setImmediate)
  }
  await finish(stream)
  t.equal(text(), 'one two three')
  t.ok(appends.every(({ attempts }) => attempts === 1))
})

t.test('half-open: the peer is gone, and nobody tells', async t => {
  const part = { requestTimeout: 400 }

  t.test('the request never arrives', async t => {
    const { relay, server, open, text, codes } = await createNetworkHarness(t)
    const stream = open(part)
    await append(stream, 'one ')
    const dumb = relay.links.length
    relay.toServer = (bytes, link) => (link.number > dumb ? bytes : undefined)
    await append(stream, 'two')
    t.ok(codes().includes('OSS_ERR_TIMEOUT'))
    t.equal(text(), 'one two')
    await finish(stream)
    await relay.whenClosed()
    t.pass('we have closed the connection that was dumb')
    await waitUntil(() => server.openConnections === 0)
  })

  t.test('the request arrives, and the answer never', async t => {
    const { relay, open, text, appends } = await createNetworkHarness(t)
    const stream = open(part)
    await append(stream, 'one ')
    const dumb = relay.links.length
    relay.toClient = (bytes, link) => (link.number > dumb ? bytes : undefined)
    await append(stream, 'two')
    t.equal(text(), 'one two')
    t.match(appends.at(-1), { reconciled: true })
    await finish(stream)
    await relay.whenClosed()
  })

  t.test('in the middle of a batch, and of the same again', async t => {
    const { relay, open, server, appends } = await createNetworkHarness(t)
    const bytes = seededBytes(64 << 10)
    const dumb = new Set<Link>()
    relay.toServer = (chunk, link) => {
      if (dumb.size < 2 && link.bytesFromClient > 30_000) dumb.add(link)
      return dumb.has(link) ? undefined : chunk
    }
    const stream = open({ ...part, position: 0 })
    stream.end(bytes)
    await once(stream, 'close')
    t.ok(server.read(BUCKET, KEY)?.equals(bytes))
    t.equal(dumb.size, 2)
    t.ok((appends[0]?.attempts ?? 0) >= 3)
    await relay.whenClosed()
  })
})

t.test('a client that is closed cuts a request that was not the first in its place', async t => {
  const { server } = await startOss(t)
  const client = new OssClient({ ...networkOptions(server), requestTimeout: 30_000 })
  server.faults.push({ kind: 'lost', how: 'hang', on: 'any', times: Number.POSITIVE_INFINITY })
  const { retries, watch, codes } = createStreamRecorder()
  const streams = Array.from({ length: 65 }, (_, i) => watch({ client, key: String(i) }))
  const last = streams.pop()
  await waitUntil(() => server.requests.length === 64)
  // All at once: undici then forgets the origin, and not the request that waits for a connection.
  for (const stream of streams) stream.destroy()
  await Promise.all(streams.map(stream => once(stream, 'close')))
  await waitUntil(() => server.requests.length === 65)
  const failed = once(last ?? t, 'close')
  await client.close()
  await t.rejects(failed, { code: 'OSS_ERR_ABORTED' })
  t.notOk(codes().includes('OSS_ERR_TIMEOUT'), `it was cut: ${codes()}`)
  t.ok(retries.length < 2)
  await waitUntil(() => server.openConnections === 0)
})

t.test('TLS with a private authority, through a dispatcher', async t => {
  const dispatcher = new Agent({ connect: { ca: cert } })
  t.teardown(() => dispatcher.close())

  t.test('it is trusted', async t => {
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
      'and proves the bytes, so that no MD5 has to',
    )
  })

  t.test('without it, or for another name: final, and nothing is in doubt', async t => {
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

  t.test('it breaks off in mid-body', async t => {
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

  t.test('it breaks off in the answer', async t => {
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
  /** What it was asked for: `CONNECT host:port`, `POST http://...`. */
  readonly asked: string[]
  /** Answers these many requests for a tunnel with 502. */
  refusals: number
}

/** A proxy for tunnels and for plain requests. */
async function startProxy(t: Test): Promise<Proxy> {
  const proxy = { url: '', asked: [] as string[], refusals: 0 }
  const server = createServer((req, res) => {
    proxy.asked.push(`${req.method} ${req.url}`)
    const { origin, port } = new URL(req.url ?? '')
    const path = (req.url ?? '').slice(origin.length)
    const onward = request({ port, path, method: req.method, headers: req.headers }, answer => {
      res.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(res)
    })
    onward.on('error', () => res.destroy())
    req.pipe(onward)
  })
  server.on('connect', (req, socket) => {
    proxy.asked.push(`CONNECT ${req.url}`)
    if (proxy.refusals-- > 0) return socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n')
    const onward = connect(Number(req.url?.split(':').at(-1)), '127.0.0.1')
    onward.once('connect', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.pipe(onward).pipe(socket)
    })
    for (const end of [socket, onward]) {
      end.on('error', () => {})
      end.on('close', () => {
        socket.destroy()
        onward.destroy()
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

t.test('ProxyAgent', async t => {
  /** Keys that a URL parser on the way would make another key of. */
  const awkward = 'logs/../a b//日志/.%2e?x#y\\z'

  for (const scheme of ['http', 'https'] as const) {
    t.test(`a tunnel to ${scheme}`, async t => {
      const { server, relay, open, appends } = await createNetworkHarness(
        t,
        scheme === 'https' ? { tls: { key, cert } } : {},
      )
      const proxy = await startProxy(t)
      const dispatcher = new ProxyAgent({ uri: proxy.url, requestTls: { ca: cert } })
      t.teardown(() => dispatcher.destroy())
      const stream = open({ dispatcher, key: awkward })
      await append(stream, 'one ')
      t.same(new Set(proxy.asked), new Set([`CONNECT 127.0.0.1:${relay.port}`]))
      // The tunnel breaks, and the proxy has no other for a while.
      relay.toServer = (_, link) => {
        relay.toServer = undefined
        proxy.refusals = 2
        link.reset()
        return undefined
      }
      await append(stream, 'two')
      t.equal(server.read(BUCKET, awkward)?.toString(), 'one two')
      t.equal(appends[1]?.attempts, 4)
      await finish(stream)
    })
  }

  t.test('plain requests, without a tunnel', async t => {
    const { server, relay, open } = await createNetworkHarness(t)
    const proxy = await startProxy(t)
    const dispatcher = new ProxyAgent({ uri: proxy.url, proxyTunnel: false })
    t.teardown(() => dispatcher.destroy())
    const stream = open({ dispatcher, key: awkward })
    await append(stream, 'one ')
    await append(stream, 'two')
    t.equal(server.read(BUCKET, awkward)?.toString(), 'one two')
    await finish(stream)
    t.ok(proxy.asked.every(line => line.includes(` http://127.0.0.1:${relay.port}/`)))
  })

  t.test('a proxy that is down', async t => {
    const { open } = await createNetworkHarness(t)
    const proxy = await startProxy(t)
    proxy.refusals = 3
    const dispatcher = new ProxyAgent({ uri: proxy.url })
    t.teardown(() => dispatcher.destroy())
    const stream = open({ dispatcher, position: 0, retry: { maxRetries: 2, minDelay: 1 } })
    stream.end('x')
    const expected = { code: 'OSS_ERR_RETRIES_EXHAUSTED', attempts: 3, message: /UND_ERR_ABORTED/ }
    await t.rejects(once(stream, 'close'), expected)
    t.equal(proxy.asked.length, 3)
  })
})

t.test('IPv6 loopback', async t => {
  const { appends, watch, retries } = createStreamRecorder()
  let oss: Awaited<ReturnType<typeof startOss>>
  try {
    oss = await startOss(t, { host: '::1' })
  } catch (error) {
    t.match(error, { code: /^(EADDRNOTAVAIL|EAFNOSUPPORT)$/ })
    return t.comment('left out: this machine has no IPv6')
  }
  t.match(oss.server.url, /^http:\/\/\[::1\]:\d+$/)
  const stream = watch(networkOptions(oss.server))
  await append(stream, 'six')
  await finish(stream)
  t.equal(oss.server.read(BUCKET, KEY)?.toString(), 'six')
  t.same([appends.length, retries.length], [1, 0])
  return undefined
})

/** A dispatcher whose names resolve as told; after the list, to this machine. */
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

t.test('names', async t => {
  const endpointOf = ({ port }: { port: number }) => `http://localhost:${port}`

  t.test(
    'a name that does not exist: final at the third attempt, and nothing in doubt',
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

  t.test('a resolver that is not there yet is waited for', async t => {
    const { open, relay, text, codes } = await createNetworkHarness(t)
    const dispatcher = createResolver(t, Array(6).fill('EAI_AGAIN'))
    const stream = open({ dispatcher, endpoint: endpointOf(relay) })
    stream.end('x')
    await once(stream, 'close')
    t.equal(text(), 'x')
    t.same(codes(), Array(6).fill('EAI_AGAIN'))
  })

  t.test('a name that stops resolving is waited for too', async t => {
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

t.test('a port that closes in the middle of a stream, and opens again', async t => {
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

t.test('an answer before the body is sent', async t => {
  const { server, open, appends, codes } = await createNetworkHarness(t)
  const { url: endpoint } = server
  const bytes = seededBytes(4 << 20)
  server.faults.push(
    { kind: 'early', code: 'TotalQpsLimitExceeded' },
    { kind: 'early', status: 500 },
  )
  // Not through the relay, which would lose the answer in the reset behind it.
  const stream = open({ endpoint })
  stream.write(bytes)
  await stream.flush()
  t.ok(server.read(BUCKET, KEY)?.equals(bytes))
  t.match(appends, [{ attempts: 3, reconciled: false }])
  t.equal(codes()[0], 'TotalQpsLimitExceeded', 'it is read, though the connection broke')

  server.faults.push({ kind: 'early', status: 403, code: 'AccessDenied' })
  stream.end(bytes)
  await t.rejects(once(stream, 'close'), {
    code: 'AccessDenied',
    attempts: 1,
    tail: { position: bytes.length },
    unresolved: undefined,
  })
})

t.test('words before the answer', async t => {
  const said = (word: string) => Buffer.from(`HTTP/1.1 ${word}\r\n\r\n`)

  t.test('103 is passed over', async t => {
    const { relay, open, text, appends } = await createNetworkHarness(t)
    relay.toClient = chunk => Buffer.concat([said('103 Early Hints'), chunk])
    const stream = open()
    await append(stream, 'one ')
    await append(stream, 'two')
    await finish(stream)
    t.equal(text(), 'one two')
    t.ok(appends.every(({ attempts }) => attempts === 1))
  })

  t.test('100, which nobody asked for, is a lost answer', async t => {
    const { relay, open, text, appends } = await createNetworkHarness(t)
    const stream = open()
    await append(stream, 'one ')
    relay.toClient = chunk => {
      relay.toClient = undefined
      return Buffer.concat([said('100 Continue'), chunk])
    }
    await append(stream, 'two')
    await finish(stream)
    t.equal(text(), 'one two')
    t.match(appends.at(-1), { reconciled: true })
  })
})

t.test('answers out of all proportion', async t => {
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

  t.test('10 MB of an error that passes', async t => {
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

  t.test('10 MB of an error that is final, chunked', async t => {
    const { server, open } = await createNetworkHarness(t)
    server.faults.push({ kind: 'garbage', bytes: chunked(headOf(403), xml('AccessDenied')) })
    const stream = open()
    stream.end('abc')
    await t.rejects(once(stream, 'close'), { code: 'AccessDenied', status: 403, attempts: 1 })
    await waitUntil(() => server.openConnections === 0)
  })

  t.test('64 KB of headers: a lost answer', async t => {
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

t.test('an answer too many', async t => {
  t.test('while nothing is asked: its connection is given up', async t => {
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

  t.test('the last one again, in place of the next: it is not believed', async t => {
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

t.test('a slow line', async t => {
  t.test('the time of a batch grows with its bytes', async t => {
    const { server, open, appends } = await createNetworkHarness(t)
    const bytes = seededBytes(512 << 10)
    server.faults.push({ kind: 'slowRead', rate: 400_000 })
    // 8 s for these bytes, of which they take 1.3.
    const stream = open({ position: 0, requestTimeout: 1 })
    stream.end(bytes)
    await once(stream, 'close')
    t.ok(server.read(BUCKET, KEY)?.equals(bytes))
    t.match(appends, [{ attempts: 1 }])
  })

  t.test('4 MiB at 100 KB/s, with the timeouts as they are', async t => {
    if (!runsLongTests('a batch of 4 MiB over a line of 100 KB/s, which takes 42 s')) return
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
