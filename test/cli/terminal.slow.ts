/** The command on a terminal: a pseudo-terminal that `script` of util-linux makes. */

import { execFileSync } from 'node:child_process'
import { createWriteStream, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { cleanEnv, spawnClean } from '../helpers/child-process.ts'
import { CLI, startCliServer, waitFor, waitForExit } from '../helpers/run-cli.ts'
import { seededBytes } from '../helpers/test-oss.ts'

const OBJECT = 'oss://examplebucket/a.bin'
const CLEAR = '\r\x1b[K'

// The tests mostly wait, so they run side by side.
t.jobs = 4

/** Runs a line of shell on a terminal with this many columns. */
function startOnTerminal(line: string, columns: number, env: Readonly<Record<string, string>>) {
  // Without a shell function: Ctrl-C would kill the shell that runs it before the command is done.
  const script = `stty cols ${columns} -echo; ${line.replaceAll('oss_append', '"$NODE" "$CLI"')}`
  const all = cleanEnv({ ...env, NODE: process.execPath, CLI, SHELL: '/bin/sh', TERM: 'xterm' })
  return spawnClean(['script', '-q', '-e', '-c', script, '/dev/null'], all)
}

t.test('the progress line is redrawn in place, and notes and report stay', async t => {
  const { server, env } = await startCliServer(t)
  const bytes = seededBytes(2_000_000)
  const file = join(t.testdir({}), 'a.bin')
  writeFileSync(file, bytes)
  server.latency = 110
  server.faults.push({ kind: 'status', status: 500, code: 'InternalError', skip: 8 })
  const line = 'oss_append --buffer 100KiB "$OBJECT" "$FILE"'
  const child = startOnTerminal(line, 120, { ...env, OBJECT, FILE: file })
  const { code, stdout } = await waitForExit(child)
  t.equal(code, 0, stdout)
  t.ok(server.read('examplebucket', 'a.bin')?.equals(bytes))
  const drawings = stdout.split(CLEAR).slice(1)
  const form =
    /^\[[#-]{10}\] \d+% {2}[\d.]+ [KM]?i?B( {2}[\d.]+ [KM]?i?B\/s( {2}ETA \d+ s)?| {2}1 retry, (trying|next in \d+ s))( {2}[\d.]+ [KM]iB waiting)?( {2}ack \d\.\d s ago)?( {2}\d+ appends?)?( {2}at [\d.]+ [KM]?i?B)?$/
  const lines = drawings.filter(drawing => form.test(drawing))
  t.ok(lines.length >= 10, `${lines.length} of ${drawings.length} drawings`)
  const shares = lines.map(text => Number(/(\d+)%/.exec(text)?.[1]))
  t.same(
    [...shares].sort((a, b) => a - b),
    shares,
    'progress never goes back',
  )
  t.ok(new Set(shares).size > 5)
  t.ok(
    lines.some(text =>
      /\[####------\].* ack 0\.\d s ago {2}\d+ appends {2}at [\d.]+ KiB$/.test(text),
    ),
  )
  // The notes stay, and the report begins on a line that was cleared.
  t.match(stdout, `${CLEAR}oss-append: trying again: `)
  t.match(stdout, /oss-append: going on after [\d.]+ s and 1 retry\r\n/)
  t.match(drawings.at(-1), /^source .*\r\n.*\r\nbytes +2,000,000 in 20 appends\r\n.*verified\r\n$/s)
})

t.test('the progress line fits into a narrow terminal', async t => {
  const { server, env } = await startCliServer(t)
  server.latency = 300
  const line = 'printf hello | oss_append "$OBJECT"'
  const { code, stdout } = await waitForExit(startOnTerminal(line, 12, { ...env, OBJECT }))
  t.equal(code, 0, stdout)
  const drawings = stdout.split(CLEAR).slice(1, -1)
  t.ok(drawings.length > 0)
  for (const drawing of drawings) t.match(drawing, /^.{1,11}$/)
})

t.test('a terminal that has stopped (Ctrl-S) does not stop the bytes', async t => {
  const { server, env } = await startCliServer(t)
  const dir = t.testdir({})
  const fifo = join(dir, 'fifo')
  execFileSync('mkfifo', [fifo])
  const line = 'oss_append --flush-interval 20ms "$OBJECT" < "$FIFO"'
  const child = startOnTerminal(line, 80, { ...env, OBJECT, FIFO: fifo })
  const outcome = waitForExit(child)
  const producer = createWriteStream(fifo)
  let expected = ''
  for (let n = 0; n < 30; n++) {
    producer.write(`line ${n}\n`)
    expected += `line ${n}\n`
    await waitFor(() => String(server.read('examplebucket', 'a.bin')) === expected)
    if (n === 0) child.stdin?.write('\x13')
  }
  child.stdin?.write('\x11')
  producer.end()
  t.match(await outcome, { code: 0, stdout: /verified\r\n$/ })
})

t.test('a dumb terminal gets no control sequences', async t => {
  const { server, env } = await startCliServer(t)
  server.latency = 300
  const line = 'printf hello | TERM=dumb oss_append "$OBJECT"'
  const { code, stdout } = await waitForExit(startOnTerminal(line, 80, { ...env, OBJECT }))
  t.equal(code, 0, stdout)
  t.notMatch(stdout, '\x1b')
  t.match(stdout, /verified\r\n$/)
})

t.test('after Ctrl-C the last bytes of the producer are in the object', async t => {
  const { server, env } = await startCliServer(t)
  // Like ffmpeg it takes a moment to end, so the command has seen the signal before the end of its input.
  const producer =
    '(trap "sleep 0.2; echo trailer; exit" INT; echo first; while :; do sleep 0.05; done)'
  // The shell ignores the signal, and returns the exit code of the command.
  const line = `trap : INT; ${producer} | oss_append --flush-interval 20ms --grace 1h "$OBJECT"; exit $?`
  const child = startOnTerminal(line, 80, { ...env, OBJECT })
  t.teardown(() => child.kill('SIGKILL'))
  const outcome = waitForExit(child)
  const read = () => String(server.read('examplebucket', 'a.bin') ?? '')
  await waitFor(() => read() === 'first\n')
  child.stdin?.write('\x03')
  const { code, stdout } = await outcome
  t.equal(code, 130)
  t.equal(read(), 'first\ntrailer\n')
  t.match(stdout, /SIGINT: finishing \(up to 3600 s\); Ctrl-C again aborts/)
  t.match(stdout, /\r\nverified\r\n$/)
})
