/** `oss-append --follow FILE`: each generation of a rotated file goes to an object of its own. */

import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  type CommandOptions,
  runCli,
  startCli,
  startCliServer,
  waitFor,
} from '../helpers/run-cli.ts'

const BUCKET = 'examplebucket'
const URL = `oss://${BUCKET}/logs/`
const KEY = ['--roll-key', 'app-{index}.log']

// The tests mostly wait, so they run side by side.
t.jobs = 4

/** A file `app.log` in a folder of its own, a server, and the command that follows the file. */
async function setUp(t: Test, text?: string) {
  const { server, env } = await startCliServer(t)
  const file = join(t.testdir({}), 'app.log')
  if (text !== undefined) writeFileSync(file, text)
  const read = (index: number | string) => {
    const bytes = server.read(BUCKET, `logs/app-${index}.log`)
    return bytes && String(bytes)
  }
  const start = (args: string[] = [], options: CommandOptions = {}) => {
    const timing = ['--interval=10ms', '--flush-interval=5ms', '--min-delay=5ms']
    return startCli([...timing, '--follow', file, ...KEY, ...args, URL], { env, ...options })
  }
  /** Follows until the objects have these bytes, and ends by SIGTERM. */
  const followUntil = async (objects: (string | undefined)[], args: string[] = []) => {
    const command = start(args)
    await waitFor(() => objects.every((text, index) => read(index) === text))
    command.kill('SIGTERM')
    return command.result
  }
  const rotate = () => {
    for (let index = 8; index > 0; index--) {
      if (existsSync(`${file}.${index}`)) renameSync(`${file}.${index}`, `${file}.${index + 1}`)
    }
    renameSync(file, `${file}.1`)
  }
  const put = (index: number, text: string) => server.append(BUCKET, `logs/app-${index}.log`, text)
  return { server, env, file, read, start, followUntil, rotate, put }
}

t.test('bytes are appended as they come, and SIGTERM ends with a report', async t => {
  const { file, read, start } = await setUp(t, 'one\n')
  const command = start()
  await waitFor(() => read(0) === 'one\n')
  appendFileSync(file, 'two\nthr')
  await waitFor(() => read(0) === 'one\ntwo\nthr')
  command.kill('SIGTERM')
  const { code, stdout, stderr } = await command.result
  t.equal(code, 143, stderr)
  t.match(stdout, /^source +.*app.log$/m)
  t.match(stdout, /^object +oss:\/\/examplebucket\/logs\/app-0.log$/m)
  t.match(stdout, /^bytes +11 in 2 appends$/m)
  t.match(stdout, /^CRC-64 +\d+\nverified\n$/m)
  t.match(stderr, /^oss-append: SIGTERM: finishing \(up to 7 s\); a second signal aborts\n$/)
})

t.test('a rotated file is read to its end, and the next one has an object of its own', async t => {
  const { file, read, start, rotate } = await setUp(t, 'a1\n')
  const command = start(['--json'])
  await waitFor(() => read(0) === 'a1\n')
  rotate()
  // The writer has not reopened the file yet.
  appendFileSync(`${file}.1`, 'a2\n')
  writeFileSync(file, '')
  appendFileSync(`${file}.1`, 'a3\n')
  await waitFor(() => read(0) === 'a1\na2\na3\n')
  appendFileSync(file, 'b1\n')
  await waitFor(() => read(1) === 'b1\n')
  command.kill('SIGINT')
  const { code, stdout } = await command.result
  t.equal(code, 130)
  const events = stdout.trimEnd().split('\n')
  const parsed = events.map(line => JSON.parse(line))
  t.match(
    parsed.filter(({ event }) => event === 'roll'),
    [{ key: 'logs/app-0.log', bytes: 9 }],
  )
  t.match(parsed.at(-1), {
    event: 'finish',
    url: `${URL}app-1.log`,
    bytes: 12,
    cut: false,
    rolls: 1,
    position: 3,
    verified: true,
  })
})
