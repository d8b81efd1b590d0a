/** `oss-append serve`: the test server as a command. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { cleanEnv } from '../helpers/child-process.ts'
import {
  CLI,
  runCli,
  runProcess,
  runShell,
  startCli,
  startProcess,
  waitFor,
  waitForExit,
} from '../helpers/run-cli.ts'
import { cert, key } from '../helpers/tls.ts'

const OBJECT = 'oss://examplebucket/logs/日志 1.log'
const TEXT = Buffer.from('温度,21.5 °C\n'.repeat(1000))

/** What the environment that `serve` prints has, once it is printed. */
async function readEnvironment(text: () => string): Promise<Record<string, string>> {
  await waitFor(() => text().includes('OSS_ACCESS_KEY_SECRET') && text().endsWith('\n'))
  const lines = text().matchAll(/^export (OSS_\w+|NODE_\w+)=(\S+)$/gm)
  return Object.fromEntries([...lines].map(([, name, value]) => [name, value]))
}

async function startServe(t: Test, args: readonly string[]) {
  const child = startProcess(['serve', ...args])
  t.teardown(() => child.kill('SIGKILL'))
  const result = waitForExit(child)
  let text = ''
  child.stdout?.on('data', more => (text += more))
  return { child, result, env: await readEnvironment(() => text) }
}

t.test('serve --dir keeps its objects when the process is killed', async t => {
  const dir = join(t.testdir({}), 'objects')
  const first = await startServe(t, ['--dir', dir, '--port', '0'])
  t.match(first.env, { OSS_ENDPOINT: /^http:\/\/127\.0\.0\.1:\d+$/, OSS_REGION: 'cn-hangzhou' })
  const appended = await runCli([OBJECT, '-'], { env: first.env, input: TEXT })
  t.match(appended, { code: 0, stdout: /verified/ })
  const { port } = new URL(first.env.OSS_ENDPOINT ?? '')
  const inUse = new RegExp(`port ${port} is in use \\(EADDRINUSE\\): name another one`)
  t.match(await runCli(['serve', '--port', port]), { code: 2, stderr: inUse })
  first.child.kill('SIGKILL')
  await first.result
  const second = await startServe(t, ['--dir', dir, '--port', port])
  t.same({ ...second.env, OSS_SERVE_PID: '' }, { ...first.env, OSS_SERVE_PID: '' })
  t.match(await runCli(['cat', OBJECT], { env: second.env }), { code: 0, stdout: TEXT.toString() })
  second.child.kill('SIGTERM')
  t.match(await second.result, { code: 0, stderr: '' })
  // The same folder, without a server.
  t.match(await runCli(['cat', '--local', dir, OBJECT]), { code: 0, stdout: TEXT.toString() })
})

t.test('serve on every address prints the loopback address', async t => {
  const command = startCli(['serve', '--host', '0.0.0.0'])
  const env = await readEnvironment(() => command.stdout.text)
  t.match(env, { OSS_ENDPOINT: /^http:\/\/127\.0\.0\.1:\d+$/ })
  command.kill('SIGTERM')
  t.match(await command.result, { code: 0 })
})

/** `serve` within this process, with these flags. */
async function startServeHere(t: Test, args: readonly string[]) {
  const command = startCli(['serve', ...args])
  t.teardown(() => command.kill('SIGTERM'))
  return { command, env: await readEnvironment(() => command.stdout.text) }
}

t.test(
  'serve --bucket, --region, --credentials and --permissions are those of the server',
  async t => {
    const { env } = await startServeHere(t, [
      '--bucket=logs,cams',
      '--region=cn-beijing',
      "--credentials=id:it's:token",
      '--permissions=oss:PutObject,oss:GetObject',
    ])
    t.match(env, {
      OSS_REGION: 'cn-beijing',
      OSS_ACCESS_KEY_ID: 'id',
      OSS_ACCESS_KEY_SECRET: "'it'\\''s'",
      OSS_SESSION_TOKEN: 'token',
    })
    const settings = { env: { ...env, OSS_ACCESS_KEY_SECRET: "it's" }, input: TEXT }
    t.match(await runCli(['oss://logs/a', '-'], settings), { code: 0 })
    t.match(await runCli(['oss://other/a', '-'], settings), { code: 1, stderr: /NoSuchBucket/ })
    t.match(await runCli(['ls', 'oss://logs'], settings), { code: 1, stderr: /AccessDenied/ })
    const wrong = { ...settings, env: { ...settings.env, OSS_ACCESS_KEY_SECRET: 'other' } }
    t.match(await runCli(['cat', 'oss://logs/a'], wrong), {
      code: 1,
      stderr: /SignatureDoesNotMatch/,
    })
  },
)

t.test('serve --log prints one line for each request, faults included', async t => {
  const fault = JSON.stringify([
    { kind: 'status', status: 503, code: 'ServiceUnavailable', times: 2 },
    { kind: 'forbidden', on: 'list', times: 'Infinity' },
  ])
  const { command, env } = await startServeHere(t, ['--log', '--latency=5ms', '--fault', fault])
  t.match(await runCli(['oss://logs/a b', '-'], { env, input: 'hello' }), { code: 0 })
  t.match(await runCli(['ls', 'oss://logs'], { env }), { code: 1 })
  t.match(await runCli(['ls', 'oss://logs'], { env }), { code: 1 })
  const lines = command.stderr.text.trimEnd().split('\n')
  const time = String.raw`\d\d:\d\d:\d\d\.\d{3}`
  const expected = [
    'HEAD 404 0 B \\d+ ms /logs/a%20b NoSuchKey',
    'POST 503 5 B \\d+ ms /logs/a%20b\\?append&position=0 ServiceUnavailable fault: status',
    'POST 503 5 B \\d+ ms /logs/a%20b\\?append&position=0 ServiceUnavailable fault: status',
    'POST 200 5 B \\d+ ms /logs/a%20b\\?append&position=0',
    'GET 403 0 B \\d+ ms /logs/.* AccessDenied fault: forbidden',
    'GET 403 0 B \\d+ ms /logs/.* AccessDenied fault: forbidden',
  ]
  t.match(
    lines,
    expected.map(line => new RegExp(`^${time} ${line}$`)),
  )
  t.equal(lines.length, expected.length)
  for (const [, ms = ''] of command.stderr.text.matchAll(/ (\d+) ms /g)) {
    t.ok(Number(ms) >= 4, 'the latency is a part of each request')
  }
})

t.test('serve --control prints where faults can be pushed while it runs', async t => {
  const { env } = await startServeHere(t, ['--control', '0'])
  const { OSS_CONTROL_URL = '', OSS_CONTROL_TOKEN = '' } = env
  const headers = { Authorization: `Bearer ${OSS_CONTROL_TOKEN}` }
  const body = '{ "kind": "forbidden", "on": "head", "times": "Infinity" }'
  const pushed = await fetch(`${OSS_CONTROL_URL}/faults`, { method: 'POST', headers, body })
  t.equal(pushed.status, 200)
  await pushed.text()
  t.match(await runCli(['stat', OBJECT], { env }), { code: 1, stderr: /AccessDenied/ })
  const refused = await fetch(`${OSS_CONTROL_URL}/faults`)
  t.equal(refused.status, 401)
  await refused.text()
})

t.test('serve --tls serves https, and its environment trusts the certificate', async t => {
  const dir = t.testdir({ 'cert.pem': cert, 'key.pem': key })
  const { env } = await startServe(t, ['--tls', join(dir, 'cert.pem'), join(dir, 'key.pem')])
  t.match(env, { OSS_ENDPOINT: /^https:/, NODE_EXTRA_CA_CERTS: join(dir, 'cert.pem') })
  t.match(await runProcess([OBJECT, '-'], { env, input: TEXT }), { code: 0, stdout: /verified/ })
})

t.test('serve refuses wrong values by the name of their flag', async t => {
  const dir = t.testdir({ 'cert.pem': cert, 'key.pem': key, 'no.pem': 'text' })
  const [certFile, keyFile, textFile] = ['cert.pem', 'key.pem', 'no.pem'].map(name =>
    join(dir, name),
  )
  const cases: [string[], RegExp][] = [
    [['--fault', '{'], /^oss-append: --fault: .*JSON/],
    [['--fault', '{"kind":"lots"}'], /^oss-append: --fault: fault\.kind: must be refused, /],
    [['--fault', '{"kind":"lost","how":"x"}'], /^oss-append: --fault: fault\.how: must be reset,/],
    [['--permissions', 'oss:Put'], /^oss-append: --permissions: must be oss:PutObject, /],
    [['--tls', certFile ?? '', 'absent'], /^oss-append: --tls: absent cannot be read: ENOENT/],
    [['--tls', keyFile ?? '', textFile ?? ''], /^oss-append: --tls: CERT and KEY must be/],
  ]
  for (const [args, message] of cases) {
    t.match(
      await runCli(['serve', ...args]),
      { code: 2, stdout: '', stderr: message },
      args.join(' '),
    )
  }
})

const noProc = existsSync('/proc/self') ? false : 'there is no /proc'

t.test('a folder that cannot be created is an error', { skip: noProc }, async t => {
  const expected = { code: 1, stderr: /^oss-append: ENOENT: .*\/proc\/x/ }
  t.match(await runCli(['serve', '--dir', '/proc/x/y']), expected)
  t.match(await runCli(['--local', '/proc/x', OBJECT, '-'], { input: TEXT }), expected)
})

// `oss_append` is a function here: its shell would keep the output of the server open.
t.test('a shell evaluates what serve prints, and goes on', async t => {
  const line = [
    'set -u; eval "$("$NODE" "$CLI_FILE" serve --log &)"; echo "$OSS_REGION"',
    `printf hello | oss_append --quiet oss://logs/a - && oss_append cat oss://logs/a && echo`,
    'kill "$OSS_SERVE_PID"; while kill -0 "$OSS_SERVE_PID" 2>&-; do sleep 0.05; done; echo gone',
  ].join('; ')
  const env = { http_proxy: 'http://127.0.0.1:1', no_proxy: 'a' }
  t.match(await runShell(line, env), {
    code: 0,
    stdout: 'cn-hangzhou\nhello\ngone\n',
    stderr: / POST 200 5 B /,
  })
})

/** Ctrl-C for `npx`, whose `sh` is `shell`: how npx ends. */
async function interruptNpx(t: Test, shell: string, args: readonly string[]) {
  const dir = t.testdir({ 'package.json': '{}', node_modules: { '.bin': {} } })
  const script = `#!/bin/sh\nexec '${process.execPath}' '${CLI}' "$@"\n`
  writeFileSync(join(dir, 'node_modules/.bin/oss-append'), script, { mode: 0o755 })
  const child = spawn('npx', ['--no-install', ...args], {
    cwd: dir,
    env: cleanEnv({ npm_config_script_shell: shell }),
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own: the terminal sends Ctrl-C to all processes of a group.
    detached: true,
  })
  let text = ''
  child.stdout?.on('data', more => (text += more))
  const ended = once(child, 'close')
  const env = await readEnvironment(() => text)
  process.kill(-(child.pid ?? 0), 'SIGINT')
  const [code, signal] = await ended
  const serverPid = Number(env.OSS_SERVE_PID)
  await waitFor(() => !isRunning(serverPid))
  return { code, signal }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const SERVE = ['oss-append', 'serve']
const EXEC_SERVE = ['-c', 'exec oss-append serve']

for (const shell of ['/bin/bash', '/bin/dash']) {
  const skip = existsSync(shell) ? false : `there is no ${shell}`
  t.test(`serve ends with 0 at Ctrl-C under npx -c with exec and ${shell}`, { skip }, async t => {
    t.same(await interruptNpx(t, shell, EXEC_SERVE), { code: 0, signal: null })
  })
}

const noBash = existsSync('/bin/bash') ? false : 'there is no bash'

t.test('serve ends with 0 at Ctrl-C under npx with bash', { skip: noBash }, async t => {
  t.same(await interruptNpx(t, '/bin/bash', SERVE), { code: 0, signal: null })
})

const noDash = existsSync('/bin/dash') ? false : 'there is no dash'

// dash waits for its command, and the signal kills it: npx ends as its shell does, whatever the command does.
t.test('npx with dash ends by the signal itself, and serve ends too', { skip: noDash }, async t => {
  t.same(await interruptNpx(t, '/bin/dash', SERVE), { code: null, signal: 'SIGINT' })
})
