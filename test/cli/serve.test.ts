/** `oss-append serve`: the test server as a command. */

import { join } from 'node:path'
import t, { type Test } from 'tap'
import { runCli, startCli, startProcess, waitFor, waitForExit } from '../helpers/run-cli.ts'

const OBJECT = 'oss://examplebucket/logs/日志 1.log'
const TEXT = Buffer.from('温度,21.5 °C\n'.repeat(1000))

/** What the environment that `serve` prints has, once it is printed. */
async function readEnvironment(text: () => string): Promise<Record<string, string>> {
  await waitFor(() => text().includes('OSS_ACCESS_KEY_SECRET') && text().endsWith('\n'))
  const lines = text().matchAll(/^export (\w+)=(\S+)$/gm)
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
  t.match(await runCli(['serve', '--port', port]), { code: 1, stderr: /EADDRINUSE/ })
  first.child.kill('SIGKILL')
  await first.result
  const second = await startServe(t, ['--dir', dir, '--port', port])
  t.same(second.env, first.env)
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
