/** How the command reaches OSS: through proxies of the environment, and as whom. */

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createOssServer, type OssServer } from '../../lib/server/index.ts'
import { cleanEnv, spawnClean } from '../helpers/child-process.ts'
import { CLI, runCli, startCli, startCliServer, waitForExit } from '../helpers/run-cli.ts'
import { waitUntil } from '../helpers/test-oss.ts'
import { cert, key } from '../helpers/tls.ts'

const isLockFile = (name: string) => name.startsWith('writer')

const OBJECT = 'oss://examplebucket/a.log'
const TEXT = Buffer.from('hello')

t.test('HTTPS_PROXY and NO_PROXY', async t => {
  const server = await createOssServer({ tls: { key, cert } })
  t.teardown(() => server.close())
  const proxy = await startProxy(t)
  const ca = join(t.testdir({}), 'ca.pem')
  writeFileSync(ca, cert)
  const env = { ...envFor(server), NODE_EXTRA_CA_CERTS: ca, HTTPS_PROXY: proxy.url }
  t.match(await runCli([OBJECT, '-'], { env, input: TEXT }), {
    code: 0,
    stdout: /verified/,
    stderr: '',
  })
  t.same([...new Set(proxy.tunnels)], [`127.0.0.1:${server.port}`])
  proxy.tunnels.length = 0
  t.match(await runCli(['cat', OBJECT], { env }), { code: 0, stdout: 'hello' })
  t.ok(proxy.tunnels.length > 0, 'reading goes the same way')
  proxy.tunnels.length = 0
  const withoutProxy = { ...env, NO_PROXY: '127.0.0.1' }
  t.match(await runCli([OBJECT, '-'], { env: withoutProxy, input: TEXT }), {
    code: 0,
    stdout: /verified/,
  })
  const local = ['--local', join(t.testdirName, 'lab'), OBJECT, '-']
  t.match(await runCli(local, { env: { HTTP_PROXY: proxy.url }, input: TEXT }), { code: 0 })
  t.same(proxy.tunnels, [], 'nobody asked it')
})

t.test('a proxy that refuses is an outage', async t => {
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

t.test('--credentials: what a module may export', async t => {
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
    runCli(['--credentials', name, 'stat', OBJECT], { env: { OSS_ENDPOINT, OSS_REGION }, cwd: dir })
  server.append('examplebucket', 'a.log', TEXT)
  for (const name of Object.keys(modules)) {
    t.match(await statWith(`./${name}`), { code: 0, stdout: /length +5/, stderr: '' }, name)
  }
  t.match(await statWith(join(dir, 'function.mjs')), { code: 0 }, 'an absolute path')
  t.match(await statWith('function.mjs'), { code: 0, stderr: '' }, 'a bare name')
  t.match(await statWith('keeper'), { code: 0, stderr: '' }, 'a package')

  const wrong: [string, string, RegExp][] = [
    ['nothing.mjs', 'export const a = 1', /--credentials: the module has no default export/],
    ['text.mjs', 'export default "SECRET"', /--credentials: must be an object with/],
    ['half.mjs', 'export default { accessKeyId: "SECRET" }', /accessKeySecret: is missing/],
  ]
  for (const [name, text, message] of wrong) {
    writeFileSync(join(dir, name), text)
    const { code, stderr } = await statWith(`./${name}`)
    t.equal(code, 2, name)
    t.match(stderr, message)
    t.notMatch(stderr, 'SECRET')
  }
  const absent = await statWith('./SECRET.mjs')
  t.match(absent, { code: 2, stderr: /--credentials: cannot be loaded: Cannot find module/ })
  t.notMatch(absent.stderr, 'SECRET')
  t.match(await statWith('SECRET'), {
    code: 2,
    stderr: /^oss-append: --credentials: cannot be loaded: Cannot find package \.\.\.\nTry: /,
  })
  writeFileSync(join(dir, 'broken.mjs'), 'throw new Error("no role is attached")')
  t.match(await statWith('./broken.mjs'), {
    code: 2,
    stderr: /cannot be loaded: no role is attached/,
  })
  writeFileSync(join(dir, 'loud.mjs'), 'throw new Error("no use: accessKeySecret=SECRET123456")')
  const leaking = await statWith('./loud.mjs')
  t.match(leaking, { code: 2, stderr: /cannot be loaded: no use: accessKeySecret=\*\*\*/ })
  t.notMatch(leaking.stderr, 'SECRET')
  const broken =
    'module.exports = class { constructor() { throw new Error("no role") } getCredential() {} }'
  writeFileSync(join(dir, 'class-broken.cjs'), broken)
  t.match(await statWith('./class-broken.cjs'), {
    code: 2,
    stderr: /^oss-append: --credentials: cannot be loaded: no role\nTry: /,
  })
})

t.test('what is no proxy is told by the name of its variable', async t => {
  const { env } = await startCliServer(t)
  for (const HTTPS_PROXY of ['SECRET', 'SECRET:8080', 'http://', 'http://u:SECRET%zz@a']) {
    const outcome = await runCli(['stat', OBJECT], { env: { ...env, HTTPS_PROXY } })
    t.match(outcome, { code: 2, stderr: /^oss-append: HTTPS_PROXY: must be a URL, as in/ })
    t.notMatch(outcome.stderr, 'SECRET')
  }
})

t.test('--local: one writes at a time, and others may look', async t => {
  const dir = join(t.testdir({}), 'lab')
  const args = ['--local', dir, '--flush-interval=20ms', '--json', OBJECT, '-']
  const first = startCli(args, { input: Buffer.alloc(0), keepStdinOpen: true })
  t.teardown(() => first.kill('SIGKILL'))
  const outcome = waitForExit(first)
  let outputText = ''
  first.stdout?.on('data', text => (outputText += text))
  first.stdin?.write('one')
  await waitUntil(() => outputText.includes('"append"'))
  const busy = { code: 1, stderr: new RegExp(`in use by process ${first.pid}: `) }
  t.match(await runCli(args, { input: TEXT }), busy)
  t.match(await runCli(['serve', '--dir', dir]), busy)
  t.match(await runCli(['cat', '--local', dir, OBJECT]), { code: 0, stdout: 'one' })
  first.stdin?.end(' two')
  t.match(await outcome, { code: 0 })
  t.match(await runCli(args, { input: TEXT }), { code: 0 }, 'it let go')

  const killed = startCli(args, { input: Buffer.alloc(0), keepStdinOpen: true })
  const killedExit = waitForExit(killed)
  await waitUntil(() => readdirSync(dir).some(isLockFile))
  killed.kill('SIGKILL')
  await killedExit
  t.match(await runCli(args, { input: TEXT }), { code: 0 }, 'the dead hold nothing')
  t.match(await runCli(['cat', '--local', dir, OBJECT]), { stdout: 'one twohellohello' })
  t.notOk(readdirSync(dir).some(isLockFile))
})

const linuxOnly = { skip: process.platform !== 'linux' && 'who a process was is told by /proc' }

t.test('--local: a number that is given again is another process', linuxOnly, async t => {
  const dir = t.testdir({ [`writer~${process.pid}~1~another-boot`]: '' })
  t.match(await runCli(['--local', dir, OBJECT, '-'], { input: TEXT }), { code: 0, stderr: '' })
  t.same(readdirSync(dir).filter(isLockFile), [], 'it is removed')
  writeFileSync(join(dir, `writer~${process.pid}~`), '')
  const busy = { code: 1, stderr: new RegExp(`in use by process ${process.pid}: `) }
  t.match(
    await runCli(['--local', dir, OBJECT, '-'], { input: TEXT }),
    busy,
    'nothing else is known',
  )
})

t.test('--local: nor does the dead hold it whose parent has not looked', linuxOnly, async t => {
  const dir = t.testdir({})
  const script = '"$0" "$1" serve --dir "$2" & echo "pid $!"; exec sleep 600'
  const parent = spawnClean(['sh', '-c', script, process.execPath, CLI, dir], cleanEnv())
  t.teardown(() => parent.kill('SIGKILL'))
  let outputText = ''
  parent.stdout?.on('data', text => (outputText += text))
  await waitUntil(() => /SECRET=.*\n/.test(outputText))
  const pid = Number(/^pid (\d+)$/m.exec(outputText)?.[1])
  process.kill(pid, 'SIGKILL')
  await waitUntil(() => /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1')))
  t.match(await runCli(['--local', dir, OBJECT, '-'], { input: TEXT }), { code: 0, stderr: '' })
})

t.test('--local: a folder that is not there is not made by who looks', async t => {
  const dir = join(t.testdir({}), 'typo')
  for (const command of [['stat'], ['cat'], ['verify', import.meta.filename]]) {
    const outcome = await runCli([...command, '--local', dir, OBJECT])
    t.match(outcome, { code: 2, stderr: /--local: there is no such folder/ })
  }
  t.notOk(existsSync(dir))
})

t.test('--credentials @alicloud/credentials', async t => {
  const { server, env } = await startCliServer(t)
  const { accessKeyId, accessKeySecret } = server.credentials
  const { OSS_ENDPOINT, OSS_REGION } = env
  const outcome = await runCli(['--credentials', '@alicloud/credentials', OBJECT, '-'], {
    env: {
      OSS_ENDPOINT,
      OSS_REGION,
      ALIBABA_CLOUD_ACCESS_KEY_ID: accessKeyId,
      ALIBABA_CLOUD_ACCESS_KEY_SECRET: accessKeySecret,
    },
    input: TEXT,
  })
  t.match(outcome, { code: 0, stdout: /\nverified\n$/, stderr: '' })
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

/** A proxy that digs tunnels (CONNECT) and does nothing else. */
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
