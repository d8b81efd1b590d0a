/** Long inputs: the default length of the demo, the memory of the command, and 1 GiB through a pipe. */

import t from 'tap'
import { formatBytes } from '../../lib/cli/progress.ts'
import { runsLongTests } from '../helpers/long-tests.ts'
import { type CliResult, runProcess, runShell, startProcess, waitFor } from '../helpers/run-cli.ts'

const MIB = 1024 * 1024

t.test('demo appends 64 MiB of sample data, also behind a pipe without bytes', async t => {
  const inputs: [string, () => Promise<CliResult>][] = [
    ['no pipe', () => runProcess(['demo'])],
    ['a pipe that ends', () => runShell(': | oss_append demo')],
    [
      'a pipe that stays open',
      () =>
        runShell('mkfifo "$DIR/silent"; oss_append demo <> "$DIR/silent"', { DIR: t.testdir({}) }),
    ],
  ]
  for (const [name, start] of inputs) {
    const { code, stdout, stderr } = await start()
    t.equal(code, 0, stderr)
    t.match(stdout, /^bytes +67,108,864 in 16 appends$/m, name)
  }
})

/** Prints on standard error the largest memory of the process, in KiB. */
const MEASURE = 'process.on("exit", () => console.error("peak", process.resourceUsage().maxRSS))'
const MEASURED = ['--import', `data:text/javascript,${encodeURIComponent(MEASURE)}`]

/** Bytes. */
function peakOf({ stderr }: CliResult): number {
  return Number(/^peak (\d+)$/m.exec(stderr)?.[1]) * 1024
}

t.test('memory does not grow with the input', async t => {
  const result = await runProcess(['demo', '--bytes', '512MiB'], { nodeArgs: MEASURED })
  t.equal(result.code, 0)
  // A leak would keep all 512 MiB. How much garbage is kept depends on the version of Node.
  const peak = peakOf(result)
  t.ok(peak < 448 * MIB, formatBytes(peak))
})

t.test('1 GiB goes through a pipe into a server of its own, in constant memory', async t => {
  if (!runsLongTests('1 GiB through a pipe, into a server of its own')) return
  const dir = t.testdir({})
  const server = startProcess(['serve', '--dir', dir])
  t.teardown(() => server.kill('SIGKILL'))
  let text = ''
  server.stdout?.on('data', more => (text += more))
  await waitFor(() => /SECRET=.*\n$/.test(text))
  const line =
    'dd if=/dev/urandom bs=1M count=1024 status=none | "$NODE" "$IMPORT" "$MEASURE" "$CLI_FILE"'
  const [name = '', measure = ''] = MEASURED
  const result = await runShell(`${text}${line} oss://examplebucket/dd`, {
    IMPORT: name,
    MEASURE: measure,
  })
  t.equal(result.code, 0, result.stderr)
  t.match(result.stdout, /^bytes +1,073,741,824 in /m)
  t.match(result.stdout, /\nverified\n$/)
  const peak = peakOf(result)
  t.comment(`at most ${formatBytes(peak)}`)
  t.ok(peak < 256 * MIB, formatBytes(peak))
})
