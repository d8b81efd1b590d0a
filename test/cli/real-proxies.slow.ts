/**
 * The command through real proxies: Squid, and nginx in front of the server. They are Debian's packages
 * `squid` and `nginx`. Only with FULL=1.
 */

import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'

import { type AddressInfo, connect, createServer } from 'node:net'
import { delimiter, join } from 'node:path'
import t, { type Test } from 'tap'
import { createOssServer } from '../../lib/server/index.ts'
import { runCli, runProcess, startCliServer, waitFor } from '../helpers/run-cli.ts'
import { seededBytes } from '../helpers/test-oss.ts'
import { cert, key } from '../helpers/tls.ts'

const OBJECT = 'oss://examplebucket/logs/日志 1.log'
const TEXT = seededBytes(3_000_000)

/** Debian keeps daemons in /usr/sbin, which a user's PATH may lack. */
const PATH = [process.env.PATH, '/usr/sbin', '/sbin'].join(delimiter)

/** Why a test of this program is skipped, or false. */
function reasonToSkip(program: string): string | false {
  if (!process.env.FULL) return 'only with FULL=1'
  try {
    execFileSync('which', [program], { env: { PATH } })
    return false
  } catch {
    return `${program} is not installed`
  }
}

t.test(
  'requests to http endpoints on any port pass Squid',
  { skip: reasonToSkip('squid') },
  async t => {
    const { server, env } = await startCliServer(t)
    const { proxy, log } = await startSquid(t)
    const settings = { env: { ...env, http_proxy: proxy } }
    t.match(await runCli(['--buffer=1MiB', OBJECT, '-'], { ...settings, input: TEXT }), {
      code: 0,
      stdout: /\nverified\n/,
      stderr: '',
    })
    t.ok(server.read('examplebucket', 'logs/日志 1.log')?.equals(TEXT))
    t.match(await runCli(['cat', OBJECT], settings), { code: 0, stderr: '' })
    t.match(await runCli(['ls', 'oss://examplebucket/logs/'], settings), { code: 0, stderr: '' })
    await waitFor(() => log().includes('examplebucket/?'))
    t.match(log(), /POST http:\/\/127\.0\.0\.1:\d+\/examplebucket/)
    t.notMatch(log(), 'CONNECT')
  },
)

t.test(
  'a tunnel that Squid refuses is named, and costs one connection an attempt',
  { skip: reasonToSkip('squid') },
  async t => {
    const { proxy, log } = await startSquid(t)
    const { env } = await startCliServer(t)
    const https = { ...env, OSS_ENDPOINT: 'https://127.0.0.1:8443', HTTPS_PROXY: proxy }
    const args = ['--max-retries=2', '--min-delay=10ms', '--max-delay=10ms', OBJECT, '-']
    t.match(await runCli(args, { env: https, input: TEXT }), {
      code: 1,
      stderr: /the proxy 127\.0\.0\.1:\d+ answers HTTP 403 to CONNECT 127\.0\.0\.1:8443/,
    })
    await waitFor(() => log().split('CONNECT').length >= 4)
    t.equal(log().split('CONNECT').length - 1, 3)
  },
)

t.test('https goes through a tunnel of Squid', { skip: reasonToSkip('squid') }, async t => {
  const server = await createOssServer({ tls: { key, cert } })
  t.teardown(() => server.close())
  const { proxy, log } = await startSquid(t, server.port)
  const ca = join(t.testdirName, 'ca.pem')
  writeFileSync(ca, cert)
  const { accessKeyId, accessKeySecret } = server.credentials
  const env = {
    OSS_ENDPOINT: server.url,
    OSS_REGION: server.region,
    OSS_ACCESS_KEY_ID: accessKeyId,
    OSS_ACCESS_KEY_SECRET: accessKeySecret,
    NODE_EXTRA_CA_CERTS: ca,
    HTTPS_PROXY: proxy,
  }
  t.match(await runProcess(['--buffer=1MiB', OBJECT, '-'], { env, input: TEXT }), {
    code: 0,
    stdout: /\nverified\n/,
    stderr: '',
  })
  await waitFor(() => log().includes('CONNECT'))
  t.equal(log().split('CONNECT').length - 1, 1, 'one tunnel serves the whole stream')
})

t.test('a body limit of nginx makes appends shorter', { skip: reasonToSkip('nginx') }, async t => {
  const { server, env } = await startCliServer(t)
  const endpoint = await startNginx(t, server.url)
  const settings = { env: { ...env, OSS_ENDPOINT: endpoint }, input: TEXT }
  t.match(await runCli([OBJECT, '-'], settings), { code: 0, stdout: /\nverified\n/ })
  t.ok(server.read('examplebucket', 'logs/日志 1.log')?.equals(TEXT))
  t.match(await runCli(['verify', '-', OBJECT], settings), { code: 0 })
  const lengths = server.requests
    .filter(({ operation }) => operation === 'append')
    .map(({ length }) => length)
  t.ok(Math.max(...lengths) <= 1024 * 1024, `${lengths}`)
})

/** A port that is free now. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}

/** Starts a daemon in the foreground, and waits until its port is open. */
async function startDaemon(t: Test, command: readonly string[], port: number): Promise<void> {
  const [program = '', ...args] = command
  const child = spawn(program, args, { env: { PATH }, stdio: 'ignore' })
  const ended = new Promise(resolve => child.once('close', resolve))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  let isOpen = false
  await waitFor(() => {
    const socket = connect(port, '127.0.0.1', () => {
      isOpen = true
      socket.destroy()
    })
    socket.on('error', () => {})
    return isOpen || child.exitCode !== null
  })
  if (!isOpen) throw new Error(`${program} ended with ${child.exitCode}`)
}

/** Squid as Debian configures it: CONNECT to port 443 alone, here with `sslPort` beside it. */
async function startSquid(t: Test, sslPort?: number) {
  const dir = t.testdir({ 'access.log': '' })
  chmodSync(dir, 0o777)
  const port = await freePort()
  const log = join(dir, 'access.log')
  chmodSync(log, 0o666)
  const config = [
    `http_port 127.0.0.1:${port}`,
    'acl SSL_ports port 443',
    ...(sslPort === undefined ? [] : [`acl SSL_ports port ${sslPort}`]),
    'http_access deny CONNECT !SSL_ports',
    'http_access allow localhost',
    'http_access deny all',
    `access_log stdio:${log}`,
    'cache_log /dev/null',
    `pid_filename ${join(dir, 'squid.pid')}`,
    `coredump_dir ${dir}`,
    'shutdown_lifetime 0 seconds',
    'pinger_enable off',
  ]
  writeFileSync(join(dir, 'squid.conf'), `${config.join('\n')}\n`)
  await startDaemon(t, ['squid', '-N', '-f', join(dir, 'squid.conf')], port)
  return { proxy: `http://127.0.0.1:${port}`, log: () => readFileSync(log, 'utf8') }
}

/** nginx in front of the server, with its default body limit of 1 MiB. */
async function startNginx(t: Test, upstream: string): Promise<string> {
  const dir = t.testdir({})
  const port = await freePort()
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  writeFileSync(
    join(dir, 'nginx.conf'),
    `daemon off; master_process off; pid ${dir}/nginx.pid; error_log ${dir}/error.log;
    events {}
    http {
      access_log off;
      ${paths.map(name => `${name}_temp_path ${dir}/${name};`).join(' ')}
      server {
        listen 127.0.0.1:${port};
        location / { proxy_pass ${upstream}; proxy_http_version 1.1; proxy_set_header Connection ""; }
      }
    }`,
  )
  await startDaemon(t, ['nginx', '-c', join(dir, 'nginx.conf'), '-p', dir], port)
  return `http://127.0.0.1:${port}`
}
