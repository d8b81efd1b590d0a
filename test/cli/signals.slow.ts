/** The default grace, by the clock: `docker stop` sends SIGTERM and kills after 10 s. */

import t from 'tap'
import { cleanEnv, spawnClean } from '../helpers/child-process.ts'
import { CLI, startCliServer, startProcess, waitFor, waitForExit } from '../helpers/run-cli.ts'

const OBJECT = 'oss://examplebucket/app.log'
/** Milliseconds. */
const DOCKER_STOP = 10_000

t.test(
  'a producer that goes on is cut off in time, and every line that was read is there',
  async t => {
    const { server, env } = await startCliServer(t)
    server.latency = 100
    const child = startProcess(['--align=line', '--flush-interval=50ms', OBJECT, '-'], {
      env,
      keepStdinOpen: true,
    })
    t.teardown(() => child.kill('SIGKILL'))
    const result = waitForExit(child)
    let count = 0
    const producer = setInterval(() => child.stdin?.write(`line ${count++}\n`), 50)
    t.teardown(() => clearInterval(producer))
    const object = () => String(server.read('examplebucket', 'app.log') ?? '')
    await waitFor(() => object() !== '')
    const start = performance.now()
    child.kill('SIGTERM')
    const { code, stdout, stderr } = await result
    t.ok(performance.now() - start < DOCKER_STOP, 'done before docker kills')
    t.equal(code, 143, stderr)
    t.match(stdout, /\nverified\n$/)
    const lines = object().trimEnd().split('\n')
    t.ok(lines.length > 20, 'lines of the time to read on are there')
    t.same(
      lines,
      lines.map((_, n) => `line ${n}`),
      'no line is lost',
    )
  },
)

// Node restores the default action of each signal when it starts, so nohup cannot be seen.
t.test('SIGHUP is SIGTERM under nohup, too', async t => {
  const { server, env } = await startCliServer(t)
  const node = [process.execPath, CLI, '--flush-interval=50ms', OBJECT, '-']
  const child = spawnClean(['nohup', ...node], cleanEnv(env))
  t.teardown(() => child.kill('SIGKILL'))
  const result = waitForExit(child)
  child.stdin?.write('first')
  await waitFor(() => server.read('examplebucket', 'app.log') !== undefined)
  let stderrText = ''
  child.stderr?.on('data', text => (stderrText += text))
  child.kill('SIGHUP')
  await waitFor(() => stderrText.includes('SIGHUP'))
  child.stdin?.end(' and last')
  const { code, stderr } = await result
  t.equal(code, 129)
  t.match(stderr, /SIGHUP: finishing \(up to 7 s\)/)
  t.equal(String(server.read('examplebucket', 'app.log')), 'first and last')
})

t.test('without OSS the process ends in time and reports what is not delivered', async t => {
  const { server, env } = await startCliServer(t)
  server.refuse()
  const child = startProcess([OBJECT, '-'], { env, input: 'hello', keepStdinOpen: true })
  t.teardown(() => child.kill('SIGKILL'))
  const result = waitForExit(child)
  let stderrText = ''
  child.stderr?.on('data', text => (stderrText += text))
  await waitFor(() => stderrText.includes('trying again'))
  const start = performance.now()
  child.kill('SIGTERM')
  const { code, stderr } = await result
  t.ok(performance.now() - start < DOCKER_STOP, 'done before docker kills')
  t.equal(code, 143)
  t.match(stderr, /interrupted by SIGTERM, and not done after 7 s: 5 bytes of the input may not be/)
})
