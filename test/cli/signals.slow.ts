/** The default grace, by the clock: `docker stop` sends SIGTERM and kills after 10 s. */

import t from 'tap'
import { startCliServer, startProcess, waitFor, waitForExit } from '../helpers/run-cli.ts'

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
    t.ok(performance.now() - start < DOCKER_STOP - 1000, 'done before docker kills')
    t.equal(code, 143, stderr)
    t.match(stdout, /\nverified\n$/)
    const lines = object().trimEnd().split('\n')
    t.ok(lines.length > 100, 'the lines of 5 s are read')
    t.same(
      lines,
      lines.map((_, n) => `line ${n}`),
      'no line is lost',
    )
  },
)

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
  t.ok(performance.now() - start < DOCKER_STOP - 1000, 'done before docker kills')
  t.equal(code, 143)
  t.match(stderr, /interrupted by SIGTERM, and not done after 7 s: 5 bytes of the input may not be/)
})
