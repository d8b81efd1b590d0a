/** How the command reaches OSS through the proxies that the environment names. */

import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { findProxies } from '../../lib/cli/proxies.ts'
import { createOssServer, type OssServer } from '../../lib/server/index.ts'
import { runCli, runProcess, startCli, startCliServer, waitFor } from '../helpers/run-cli.ts'
import { cert, key } from '../helpers/tls.ts'

const OBJECT = 'oss://examplebucket/a.log'
const TEXT = Buffer.from('hello')
const PROXY = 'http://proxy.example:3128'
const ENDPOINT = 'https://oss-cn-hangzhou.aliyuncs.com'

/** Whether a proxy is used for the origin, with this environment. */
function usesProxy(origin: string, env: Record<string, string>): boolean {
  const { proxyFor } = findProxies(origin, name => env[name] || undefined)
  return proxyFor?.(origin) !== undefined
}

t.test('NO_PROXY names hosts, domains and ports, with commas and blanks between them', async t => {
  const excluded = [
    '*',
    ' * ',
    'localhost, *',
    'aliyuncs.com',
    '.aliyuncs.com',
    '*.aliyuncs.com',
    'ALIYUNCS.com',
    'localhost , 127.0.0.1,oss-cn-hangzhou.aliyuncs.com',
    'localhost  aliyuncs.com:443',
  ]
  for (const list of excluded) {
    t.notOk(usesProxy(ENDPOINT, { HTTPS_PROXY: PROXY, NO_PROXY: list }), JSON.stringify(list))
    t.notOk(usesProxy(ENDPOINT, { https_proxy: PROXY, no_proxy: list }), JSON.stringify(list))
  }
  for (const list of [
    '',
    ' , ',
    'localhost',
    'yuncs.com',
    'aliyuncs.com:8443',
    'aliyuncs.com.cn',
  ]) {
    t.ok(usesProxy(ENDPOINT, { HTTPS_PROXY: PROXY, NO_PROXY: list }), JSON.stringify(list))
  }
  for (const list of ['::1', '[::1]', '[::1]:9000', 'a, ::1']) {
    t.notOk(usesProxy('http://[::1]:9000', { http_proxy: PROXY, NO_PROXY: list }), list)
  }
  t.ok(usesProxy('http://[::1]:9001', { http_proxy: PROXY, NO_PROXY: '[::1]:9000' }))
})

t.test('NO_PROXY may name a single bucket', async t => {
  const env: Record<string, string> = {
    HTTPS_PROXY: PROXY,
    NO_PROXY: 'cams.oss-cn-hangzhou.aliyuncs.com',
  }
  const { proxyFor } = findProxies(ENDPOINT, name => env[name])
  t.equal(proxyFor?.('https://cams.oss-cn-hangzhou.aliyuncs.com'), undefined)
  t.equal(proxyFor?.('https://logs.oss-cn-hangzhou.aliyuncs.com')?.host, 'proxy.example:3128')
})

t.test(
  'the variable of the scheme is used, and for https that of http where it is alone',
  async t => {
    const table: [endpoint: string, env: Record<string, string>, host: string | undefined][] = [
      [ENDPOINT, { HTTPS_PROXY: 'http://a', HTTP_PROXY: 'http://b' }, 'a'],
      [ENDPOINT, { https_proxy: 'http://a', HTTPS_PROXY: 'http://b' }, 'a'],
      [ENDPOINT, { http_proxy: 'http://b' }, 'b'],
      ['http://oss.example', { HTTPS_PROXY: 'http://a', HTTP_PROXY: 'http://b' }, 'b'],
      ['http://oss.example', { HTTPS_PROXY: 'http://a' }, undefined],
      ['http://oss.example', {}, undefined],
    ]
    for (const [endpoint, env, host] of table) {
      const { proxyFor } = findProxies(endpoint, name => env[name])
      t.equal(proxyFor?.(endpoint)?.host, host, `${endpoint} ${JSON.stringify(env)}`)
    }
  },
)

t.test('HTTPS_PROXY is used for every request, except to the hosts of NO_PROXY', async t => {
  const server = await createOssServer({ tls: { key, cert } })
  t.teardown(() => server.close())
  const proxy = await startProxy(t)
  const ca = join(t.testdir({}), 'ca.pem')
  writeFileSync(ca, cert)
  const env = { ...envFor(server), NODE_EXTRA_CA_CERTS: ca, HTTPS_PROXY: proxy.url }
  proxy.refusals = 2
  t.match(await runProcess([OBJECT, '-'], { env, input: TEXT }), {
    code: 0,
    stdout: /verified/,
    stderr:
      /trying again: the proxy 127\.0\.0\.1:\d+ answers HTTP 502 to CONNECT.*\n.*going on after/,
  })
  t.same([...new Set(proxy.tunnels)], [`127.0.0.1:${server.port}`])
  t.match(proxy.authorizations, [/^Basic dTpww7Y=$/], 'user and password are sent')
  t.equal(proxy.tunnels.length, 3, 'the tunnel serves every request of the stream')
  proxy.tunnels.length = 0
  t.match(await runProcess(['cat', OBJECT], { env }), { code: 0, stdout: 'hello' })
  t.ok(proxy.tunnels.length > 0, 'reading uses the proxy too')
  proxy.tunnels.length = 0
  const withoutProxy = { ...env, NO_PROXY: ' localhost, 127.0.0.1 ' }
  t.match(await runProcess([OBJECT, '-'], { env: withoutProxy, input: TEXT }), {
    code: 0,
    stdout: /verified/,
  })
  const local = ['--local', join(t.testdirName, 'lab'), OBJECT, '-']
  t.match(await runCli(local, { env: { HTTP_PROXY: proxy.url }, input: TEXT }), { code: 0 })
  t.same(proxy.tunnels, [], 'the proxy is not used')
})

t.test('requests to an http endpoint go through http_proxy without CONNECT', async t => {
  const { server, env } = await startCliServer(t)
  const proxy = await startProxy(t)
  const settings = { env: { ...env, http_proxy: proxy.url } }
  const name = 'oss://examplebucket/温度 +.log'
  t.match(await runCli([name, '-'], { ...settings, input: TEXT }), {
    code: 0,
    stdout: /verified/,
    stderr: '',
  })
  t.match(await runCli(['cat', name], settings), { code: 0, stdout: 'hello', stderr: '' })
  t.same(proxy.tunnels, [])
  t.ok(proxy.targets.length >= 3)
  for (const target of proxy.targets) {
    t.match(target, `${server.url}/examplebucket/%E6%B8%A9%E5%BA%A6%20%2B.log`)
  }
  t.match(proxy.authorizations, [/^Basic dTpww7Y=$/])
  const hosts = server.requests.map(({ headers }) => headers.host)
  t.same([...new Set(hosts)], [new URL(server.url).host], 'Host names the endpoint, not the proxy')
})

t.test('through a proxy every attempt is in doubt, since it may send a request again', async t => {
  const { server, env } = await startCliServer(t)
  const proxy = await startProxy(t)
  server.faults.push({ kind: 'rival', when: 'before', bytes: 'of a rival' })
  const direct = await runCli([OBJECT, '-'], { env, input: TEXT })
  t.match(direct, { code: 3 })
  t.notMatch(direct.stderr, /unknown .*fate/)
  server.delete('examplebucket', 'a.log')
  server.faults.push({ kind: 'rival', when: 'before', bytes: 'of a rival' })
  const settings = { env: { ...env, http_proxy: proxy.url }, input: TEXT }
  t.match(await runCli([OBJECT, '-'], settings), {
    code: 3,
    stderr: /unknown +the fate of 5 bytes from 0 on/,
  })
})

t.test('a proxy that closes the connection at CONNECT costs one connection an attempt', async t => {
  let connections = 0
  const url = await listen(
    t,
    createTcpServer(socket => {
      connections++
      socket.on('error', () => {}).once('data', () => socket.end())
    }),
  )
  const env = { ...KEYS, OSS_ENDPOINT: 'https://127.0.0.1:1', HTTPS_PROXY: url }
  const args = ['--max-retries=2', '--min-delay=10ms', '--max-delay=10ms', OBJECT, '-']
  t.match(await runCli(args, { env, input: TEXT }), {
    code: 1,
    stderr: /the proxy 127\.0\.0\.1:\d+ closed the connection at CONNECT/,
  })
  t.equal(connections, 3)
})

t.test('a proxy that refuses a tunnel is named with its answer', async t => {
  const proxy = await startProxy(t)
  proxy.refusals = Number.POSITIVE_INFINITY
  const env = { ...KEYS, OSS_ENDPOINT: 'https://127.0.0.1:8443', HTTPS_PROXY: proxy.url }
  t.match(await runCli(['--max-retries=0', OBJECT, '-'], { env, input: TEXT }), {
    code: 1,
    stderr: /the proxy 127\.0\.0\.1:\d+ answers HTTP 502 to CONNECT 127\.0\.0\.1:8443/,
  })
})

t.test('a proxy that does not answer CONNECT is given up after --connect-timeout', async t => {
  const sockets: Socket[] = []
  const url = await listen(
    t,
    createTcpServer(socket => {
      sockets.push(socket.on('error', () => {}).resume())
    }),
  )
  const env = { ...KEYS, OSS_ENDPOINT: 'https://127.0.0.1:1', HTTPS_PROXY: url }
  const args = ['--max-retries=0', '--connect-timeout=50ms', OBJECT, '-']
  t.match(await runCli(args, { env, input: TEXT }), {
    code: 1,
    stderr: /no answer to CONNECT within 50 ms from the proxy 127\.0\.0\.1:\d+/,
  })
  const command = startCli(['stat', OBJECT], { env })
  await waitFor(() => sockets.length === 2)
  command.kill('SIGTERM')
  t.match(await command.result, { code: 143 })
  await waitFor(() => sockets.every(({ destroyed }) => destroyed))
})

t.test('ALL_PROXY is named once as not supported, unless another variable counts', async t => {
  const { server, env } = await startCliServer(t)
  server.append('examplebucket', 'a.log', TEXT)
  const note = /^oss-append: ALL_PROXY is not supported, and no proxy is used: .*HTTP_PROXY\n$/
  const all = { ...env, ALL_PROXY: 'socks5://SECRET@a:1080' }
  t.match(await runCli(['cat', OBJECT], { env: all }), { code: 0, stdout: 'hello', stderr: note })
  const excluded = { ...all, NO_PROXY: '127.0.0.1' }
  t.match(await runCli(['cat', OBJECT], { env: excluded }), { code: 0, stderr: '' })
  const args = ['--quiet', '-', 'oss://examplebucket/b.log']
  t.match(await runCli(args, { env: all, input: TEXT }), { code: 0, stderr: '' }, 'no error')
  const proxy = await startProxy(t)
  const named = { ...all, HTTP_PROXY: proxy.url }
  t.match(await runCli(['cat', OBJECT], { env: named }), { code: 0, stdout: 'hello', stderr: '' })
})

t.test('a SOCKS proxy is refused by the name of its variable', async t => {
  const { env } = await startCliServer(t)
  for (const value of ['socks5://SECRET:SECRET@a:1080', 'SOCKS://a']) {
    const outcome = await runCli(['stat', OBJECT], { env: { ...env, https_proxy: value } })
    t.match(outcome, { code: 2, stderr: /^oss-append: https_proxy: SOCKS proxies are not supp/ })
    t.notMatch(outcome.stderr, 'SECRET')
  }
})

t.test('a proxy variable without a URL is refused by its name, without its value', async t => {
  const { env } = await startCliServer(t)
  for (const HTTPS_PROXY of ['SECRET', 'SECRET:8080', 'http://', 'http://u:SECRET%zz@a']) {
    const outcome = await runCli(['stat', OBJECT], { env: { ...env, HTTPS_PROXY } })
    t.match(outcome, { code: 2, stderr: /^oss-append: HTTPS_PROXY: must be a URL, as in/ })
    t.notMatch(outcome.stderr, 'SECRET')
  }
})

const KEYS = { OSS_ACCESS_KEY_ID: 'id', OSS_ACCESS_KEY_SECRET: 'secret', OSS_REGION: 'cn-hangzhou' }

function envFor(server: OssServer) {
  const { accessKeyId, accessKeySecret } = server.credentials
  return {
    OSS_ENDPOINT: server.url,
    OSS_REGION: server.region,
    OSS_ACCESS_KEY_ID: accessKeyId,
    OSS_ACCESS_KEY_SECRET: accessKeySecret,
  }
}

/** An HTTP proxy. It notes tunnels, and the targets of requests in absolute form. */
async function startProxy(t: Test) {
  const proxy = {
    url: '',
    tunnels: [] as string[],
    targets: [] as string[],
    authorizations: [] as (string | undefined)[],
    /** How many CONNECTs it still refuses. */
    refusals: 0,
  }
  const server = createServer((incoming: IncomingMessage, response: ServerResponse) => {
    const { url = '', method, headers } = incoming
    const { 'proxy-authorization': authorization, ...passed } = headers
    proxy.targets.push(url)
    proxy.authorizations.push(authorization)
    const upstream = request(url, { method, headers: passed }, answer => {
      response.writeHead(answer.statusCode ?? 0, answer.headers)
      answer.pipe(response)
    })
    upstream.on('error', () => response.destroy())
    incoming.pipe(upstream)
  })
  server.on('connect', ({ url = '', headers }: IncomingMessage, client: Socket) => {
    proxy.tunnels.push(url)
    proxy.authorizations.push(headers['proxy-authorization'])
    if (proxy.refusals-- > 0) {
      client.end('HTTP/1.1 502 Bad Gateway\r\n\r\n')
      return
    }
    const [, host = '', port] = /^(.*):(\d+)$/.exec(url) ?? []
    const upstream = connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n')
      client.pipe(upstream).pipe(client)
    })
    for (const socket of [client, upstream]) {
      t.teardown(() => socket.destroy())
      socket.on('error', () => {})
    }
  })
  proxy.url = (await listen(t, server)).replace('//', '//u:p%C3%B6@')
  return proxy
}

/** The URL of a server that is closed with the test. */
async function listen(t: Test, server: ReturnType<typeof createTcpServer>): Promise<string> {
  const sockets = new Set<Socket>()
  server.on('connection', socket => sockets.add(socket))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
