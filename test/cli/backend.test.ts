/** How the command reaches OSS: environment, proxies, credentials, and the folder of `--local`. */

import { existsSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createOssServer, type OssServer } from '../../lib/server/index.ts'
import { runCli, runProcess, startCliServer } from '../helpers/run-cli.ts'
import { cert, key } from '../helpers/tls.ts'

const OBJECT = 'oss://examplebucket/a.log'
const TEXT = Buffer.from('hello')

t.test('HTTPS_PROXY is used for every request, except to the hosts of NO_PROXY', async t => {
  const server = await createOssServer({ tls: { key, cert } })
  t.teardown(() => server.close())
  const proxy = await startProxy(t)
  const ca = join(t.testdir({}), 'ca.pem')
  writeFileSync(ca, cert)
  const env = { ...envFor(server), NODE_EXTRA_CA_CERTS: ca, HTTPS_PROXY: proxy.url }
  t.match(await runProcess([OBJECT, '-'], { env, input: TEXT }), {
    code: 0,
    stdout: /verified/,
    stderr: '',
  })
  t.same([...new Set(proxy.tunnels)], [`127.0.0.1:${server.port}`])
  proxy.tunnels.length = 0
  t.match(await runProcess(['cat', OBJECT], { env }), { code: 0, stdout: 'hello' })
  t.ok(proxy.tunnels.length > 0, 'reading uses the proxy too')
  proxy.tunnels.length = 0
  const withoutProxy = { ...env, NO_PROXY: '127.0.0.1' }
  t.match(await runProcess([OBJECT, '-'], { env: withoutProxy, input: TEXT }), {
    code: 0,
    stdout: /verified/,
  })
  const local = ['--local', join(t.testdirName, 'lab'), OBJECT, '-']
  t.match(await runCli(local, { env: { HTTP_PROXY: proxy.url }, input: TEXT }), { code: 0 })
  t.same(proxy.tunnels, [], 'the proxy is not used')
})

t.test('a proxy that refuses a tunnel is retried like an outage', async t => {
  const { env } = await startCliServer(t)
  const proxy = await startProxy(t)
  proxy.refusals = 2
  const settings = { env: { ...env, http_proxy: proxy.url }, input: TEXT }
  t.match(await runCli([OBJECT, '-'], settings), {
    code: 0,
    stdout: /verified/,
    stderr: /trying again: .*\(.*\b502\b.*\)\n.*going on after/,
  })
  proxy.refusals = 2
  t.match(await runCli(['--max-retries=1', OBJECT, '-'], settings), {
    code: 1,
    stderr: /\n {2}caused by.* {2}reason +.*\b502\b/,
  })
})

t.test(
  'a proxy variable without a URL is refused by its name, and its value is not printed',
  async t => {
    const { env } = await startCliServer(t)
    for (const HTTPS_PROXY of ['SECRET', 'SECRET:8080', 'http://', 'http://u:SECRET%zz@a']) {
      const outcome = await runCli(['stat', OBJECT], { env: { ...env, HTTPS_PROXY } })
      t.match(outcome, { code: 2, stderr: /^oss-append: HTTPS_PROXY: must be a URL, as in/ })
      t.notMatch(outcome.stderr, 'SECRET')
    }
  },
)

t.test('a variable in quotes is refused by its name, and its value is not printed', async t => {
  const { env } = await startCliServer(t)
  for (const name of [...Object.keys(env), 'HTTPS_PROXY', 'OSS_SESSION_TOKEN']) {
    for (const value of ['"x-in-quotes"', "'x-in-quotes'"]) {
      const result = await runCli(['stat', OBJECT], { env: { ...env, [name]: value } })
      t.match(result, { code: 2, stderr: new RegExp(`^oss-append: ${name}: .*--env-file`) })
      t.notMatch(result.stderr, 'x-in-quotes')
    }
  }
})

t.test('commands that read do not create the folder of --local', async t => {
  const dir = join(t.testdir({}), 'typo')
  for (const command of [['stat'], ['cat'], ['verify', import.meta.filename]]) {
    const outcome = await runCli([...command, '--local', dir, OBJECT])
    t.match(outcome, { code: 2, stderr: /--local: there is no such folder/ })
  }
  t.notOk(existsSync(dir))
})

t.test('--credentials takes keys, functions, providers and classes of a module', async t => {
  const { server, env } = await startCliServer(t)
  const { OSS_ENDPOINT, OSS_REGION } = env
  const keys = JSON.stringify(server.credentials)
  const keysModule = `module.exports = ${keys}`
  const modules: Record<string, string> = {
    'keys.cjs': keysModule,
    'function.mjs': `export default async () => (${keys})`,
    'object.mjs': `export default { getCredentials: () => (${keys}) }`,
    'class.cjs': `exports.__esModule = true; exports.default = class { getCredential() { return ${keys} } }`,
  }
  const dir = t.testdir({
    ...modules,
    node_modules: { keeper: { 'index.js': keysModule } },
  })
  const statWith = (name: string) =>
    runCli(['--credentials', join(dir, name), 'stat', OBJECT], {
      env: { OSS_ENDPOINT, OSS_REGION },
    })
  server.append('examplebucket', 'a.log', TEXT)
  for (const name of Object.keys(modules)) {
    t.match(await statWith(name), { code: 0, stdout: /length +5/, stderr: '' }, name)
  }
  const cwd = process.cwd()
  process.chdir(dir)
  for (const name of ['./keys.cjs', 'function.mjs', 'keeper']) {
    const args = ['--credentials', name, 'stat', OBJECT]
    const result = await runCli(args, { env: { OSS_ENDPOINT, OSS_REGION } })
    t.match(result, { code: 0, stderr: '' }, `${name}, from the current folder`)
  }
  process.chdir(cwd)

  const wrong: [string, string, RegExp][] = [
    ['nothing.mjs', 'export const a = 1', /--credentials: the module has no default export/],
    ['text.mjs', 'export default "SECRET"', /--credentials: must be an object with/],
    ['half.mjs', 'export default { accessKeyId: "SECRET" }', /accessKeySecret: is missing/],
  ]
  for (const [name, text, message] of wrong) {
    writeFileSync(join(dir, name), text)
    const { code, stderr } = await statWith(name)
    t.equal(code, 2, name)
    t.match(stderr, message)
    t.notMatch(stderr, 'SECRET')
  }
  const absent = await statWith('SECRET.mjs')
  t.match(absent, { code: 2, stderr: /--credentials: cannot be loaded: Cannot find module/ })
  t.notMatch(absent.stderr, 'SECRET')
  t.match(await runCli(['--credentials', 'SECRET', 'stat', OBJECT]), {
    code: 2,
    stderr: /^oss-append: --credentials: cannot be loaded: Cannot find package \.\.\.\nTry: /,
  })
  writeFileSync(join(dir, 'broken.mjs'), 'throw new Error("no role is attached")')
  t.match(await statWith('broken.mjs'), {
    code: 2,
    stderr: /cannot be loaded: Error\. Run it with node to see more/,
  })
  writeFileSync(join(dir, 'loud.mjs'), 'throw new Error("no use: accessKeySecret=SECRET123456")')
  const leaking = await statWith('loud.mjs')
  t.match(leaking, { code: 2, stderr: /cannot be loaded: Error\. Run it with node/ })
  t.notMatch(leaking.stderr, 'SECRET')
  const broken =
    'module.exports = class { constructor() { throw new Error("no role") } getCredential() {} }'
  writeFileSync(join(dir, 'class-broken.cjs'), broken)
  t.match(await statWith('class-broken.cjs'), {
    code: 2,
    stderr:
      /^oss-append: --credentials: cannot be loaded: Error\. Run it with node to see more\nTry: /,
  })
})

t.test('--credentials takes @alicloud/credentials, which reads the environment itself', async t => {
  const { server, env } = await startCliServer(t)
  const { accessKeyId, accessKeySecret } = server.credentials
  process.env.ALIBABA_CLOUD_ACCESS_KEY_ID = accessKeyId
  process.env.ALIBABA_CLOUD_ACCESS_KEY_SECRET = accessKeySecret
  t.teardown(() => {
    delete process.env.ALIBABA_CLOUD_ACCESS_KEY_ID
    delete process.env.ALIBABA_CLOUD_ACCESS_KEY_SECRET
  })
  const { OSS_ENDPOINT, OSS_REGION } = env
  const result = await runCli(['--credentials', '@alicloud/credentials', OBJECT, '-'], {
    env: { OSS_ENDPOINT, OSS_REGION },
    input: TEXT,
  })
  t.match(result, { code: 0, stdout: /\nverified\n$/, stderr: '' })
})

function envFor(server: OssServer) {
  const { accessKeyId, accessKeySecret } = server.credentials
  return {
    OSS_ENDPOINT: server.url,
    OSS_REGION: server.region,
    OSS_ACCESS_KEY_ID: accessKeyId,
    OSS_ACCESS_KEY_SECRET: accessKeySecret,
  }
}

/** An HTTP proxy that answers CONNECT alone. */
async function startProxy(t: Test) {
  const proxy = { url: '', tunnels: [] as string[], refusals: 0 }
  const sockets = new Set<Socket>()
  const server = createServer()
  server.on('connect', (request: IncomingMessage, client: Socket) => {
    const { url = '' } = request
    if (proxy.refusals-- > 0) {
      client.end('HTTP/1.1 502 Bad Gateway\r\n\r\n')
      return
    }
    proxy.tunnels.push(url)
    const [, host = '', port] = /^(.*):(\d+)$/.exec(url) ?? []
    const upstream = connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n')
      client.pipe(upstream).pipe(client)
    })
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {})
    }
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  proxy.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return proxy
}
