/** `oss-append --follow FILE`: each generation of a rotated file goes to an object of its own. */

import {
  appendFileSync,
  copyFileSync,
  existsSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
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
    await Promise.race([
      waitFor(() => objects.every((text, index) => read(index) === text)),
      command.result,
    ])
    command.kill('SIGTERM')
    return command.result
  }
  const rotate = () => {
    for (let index = 30; index > 0; index--) {
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

t.test('the command waits for a file that does not exist yet, and says so once', async t => {
  const { file, read, start } = await setUp(t)
  const command = start()
  const notice = `oss-append: waiting for ${file}, which does not exist\n`
  await waitFor(() => command.stderr.text === notice)
  writeFileSync(file, 'born\n')
  await waitFor(() => read(0) === 'born\n')
  command.kill('SIGTERM')
  t.match(await command.result, { code: 143, stderr: new RegExp(`^${notice}[^\n]+\n$`) })
})

t.test('a command that waits for its file ends at the first signal', async t => {
  const { start } = await setUp(t)
  const command = start(['--json'])
  await waitFor(() => command.stderr.text !== '')
  command.kill('SIGTERM')
  const { code, stdout } = await command.result
  t.equal(code, 143)
  t.match(JSON.parse(stdout), { event: 'finish', bytes: 0, cut: false, appends: 0 })
})

t.test('a restart goes on in the file, and finishes rotated files first', async t => {
  const { server, file, followUntil, rotate } = await setUp(t, 'a1\n')
  t.match(await followUntil(['a1\n']), { code: 143 })
  appendFileSync(file, 'a2\n')
  t.match(await followUntil(['a1\na2\n']), { code: 143, stdout: /^bytes +3 in 1 append$/m })
  appendFileSync(file, 'a3\n')
  for (const text of ['b\n', '', 'd1\n']) {
    rotate()
    writeFileSync(file, text)
  }
  const { stderr } = await followUntil(['a1\na2\na3\n', 'b\n', 'd1\n'])
  t.match(stderr, /^oss-append: app.log.3 was rotated meanwhile, and is finished first\n/)
  appendFileSync(file, 'd2\n')
  await followUntil(['a1\na2\na3\n', 'b\n', 'd1\nd2\n'])
  t.equal(server.read(BUCKET, 'logs/app-3.log'), undefined, 'an empty file has no object')
})

t.test('rotated files that are numbered upward are refused, before one is sent twice', async t => {
  const { file, read, start } = await setUp(t, 'one\n')
  const command = start()
  await waitFor(() => read(0) === 'one\n')
  renameSync(file, `${file}.1`)
  // Times of files differ by a tick of the kernel at least.
  await setTimeout(10)
  writeFileSync(file, 'two\n')
  await waitFor(() => read(1) === 'two\n')
  renameSync(file, `${file}.2`)
  writeFileSync(file, 'three\n')
  const { code, stderr } = await command.result
  t.equal(code, 3, stderr)
  t.match(stderr, /app\.log\.1 is older than .*app\.log\.2: let the logger .* lowest number/s)
  t.equal(read(2), undefined)
  const restarted = await start().result
  t.equal(restarted.code, 3)
  t.match(restarted.stderr, /is older than/)
})

t.test('rotated files with dates in their names are found too', async t => {
  const { file, followUntil } = await setUp(t, 'a1\n')
  await followUntil(['a1\n'])
  appendFileSync(file, 'a2\n')
  renameSync(file, `${file}-20261127`)
  writeFileSync(file, 'b\n')
  renameSync(file, `${file}-20261128`)
  writeFileSync(file, 'c\n')
  writeFileSync(`${file}-20261126.gz`, 'compressed')
  await followUntil(['a1\na2\n', 'b\n', 'c\n'])
})

t.test('no file that begins with the newest object exits with 3, and the remedy works', async t => {
  const { env, file, read, start, put, followUntil } = await setUp(t, 'other\n')
  writeFileSync(`${file}.1`, 'another\n')
  put(0, 'zero\n')
  put(1, 'one\n')
  const { code, stderr, stdout } = await start(['--json']).result
  t.equal(code, 3)
  const [, remedy = ''] = /: (oss-append oss:\S+ \/dev\/null)\n/.exec(stderr) ?? []
  t.equal(remedy, `oss-append ${URL}app-2.log /dev/null`)
  t.match(stderr, `restore the file that does as ${file}.1 (uncompressed)`)
  t.match(JSON.parse(stdout), { event: 'error', code: 'ERR_NOT_CONTINUED', exitCode: 3 })
  t.match(await runCli(remedy.split(' ').slice(1), { env }), { code: 0 })
  await followUntil(['zero\n', 'one\n', 'other\n'])
  t.equal(read(1), 'one\n')
})

t.test('files that begin alike are told apart by the objects before the newest', async t => {
  const banner = '# log\n'
  for (const [objects, wanted] of [
    // The newest object is that of the rotated file, which is not finished.
    [
      [`${banner}old\n`, banner],
      [`${banner}old\n`, `${banner}a\n`, `${banner}b\n`],
    ],
    // The newest object is that of the file.
    [
      [`${banner}a\n`, banner],
      [`${banner}a\n`, `${banner}b\n`],
    ],
  ]) {
    const { server, file, followUntil, put } = await setUp(t, `${banner}b\n`)
    writeFileSync(`${file}.1`, `${banner}a\n`)
    for (const [index, text] of objects!.entries()) put(index, text)
    await followUntil(wanted!)
    t.equal(server.read(BUCKET, `logs/app-${wanted!.length}.log`), undefined)
  }
})

t.test('without an object the rotated files are not sent, and a line says so', async t => {
  const { file, followUntil } = await setUp(t, 'new\n')
  writeFileSync(`${file}.1`, 'old\n')
  const { stderr } = await followUntil(['new\n'])
  t.match(stderr, /^oss-append: there is no object yet: app.log.1 is older, and is not sent\n/)
})

t.test('--align line sends whole lines, and the end of a rotated file as it is', async t => {
  const long = `${'x'.repeat(700_000)}\n`
  const { server, file, read, start, rotate } = await setUp(t, 'one\ntw')
  const command = start(['--align=line'])
  await waitFor(() => read(0) === 'one\n')
  appendFileSync(file, `o\n${long}thr`)
  await waitFor(() => read(0) === `one\ntwo\n${long}`)
  rotate()
  writeFileSync(file, 'four\nfi')
  await waitFor(() => read(1) === 'four\n')
  t.ok(read(0) === `one\ntwo\n${long}thr`)
  command.kill('SIGTERM')
  t.match(await command.result, { code: 143 })
  t.equal(read(1), 'four\n')
  rotate()
  writeFileSync(file, 'si')
  const again = start(['--align=line'])
  await waitFor(() => read(1) === 'four\nfi')
  again.kill('SIGTERM')
  t.match(await again.result, { code: 143 })
  t.equal(server.read(BUCKET, 'logs/app-2.log'), undefined, 'no empty object for a part of a line')
})

t.test('the last line waits for its end also where more is read than the longest line', async t => {
  const { file, read, start } = await setUp(t, 'aaa\nbbb\nccc\nddd')
  const args = ['--align=line', '--max-record-bytes=10']
  const command = start(args)
  await waitFor(() => read(0) !== undefined)
  command.kill('SIGTERM')
  t.match(await command.result, { code: 143 })
  t.equal(read(0), 'aaa\nbbb\nccc\n')
  appendFileSync(file, 'ddd\n0123456789012')
  const { code, stderr } = await start(args).result
  t.equal(code, 1)
  t.match(stderr, /OSS_ERR_RECORD_TOO_LARGE/)
  t.equal(read(0), 'aaa\nbbb\nccc\ndddddd\n', 'the lines before one that is too long are sent')
})

t.test('a file that is truncated after a copy is finished from the copy', async t => {
  const { file, read, start } = await setUp(t, 'one\n')
  const command = start(['--json'])
  await waitFor(() => read(0) === 'one\n')
  appendFileSync(file, 'two\n')
  copyFileSync(file, `${file}.1`)
  truncateSync(file)
  await waitFor(() => read(0) === 'one\ntwo\n')
  appendFileSync(file, '3\n')
  await waitFor(() => read(1) === '3\n')
  command.kill('SIGTERM')
  const { code, stdout, stderr } = await command.result
  t.equal(code, 1)
  t.match(stderr, /app.log became shorter while it was read \(0 bytes, of which \d were read\)/)
  t.match(JSON.parse(stdout.trimEnd().split('\n').at(-1)!), { event: 'finish', cut: true })
})

t.test('a file that is truncated without a copy goes on in the next object', async t => {
  const { file, read, start } = await setUp(t, 'one\n')
  const command = start()
  await waitFor(() => read(0) === 'one\n')
  truncateSync(file)
  await waitFor(() => command.stderr.text.includes('bytes that no rotated file has are lost'))
  appendFileSync(file, '2\n')
  await waitFor(() => read(1) === '2\n')
  command.kill('SIGTERM')
  t.match(await command.result, { code: 1, stderr: /\(0 bytes, of which 4 were read\)/ })
  t.equal(read(0), 'one\n')
})

t.test(
  'files that are rotated during an outage are sent after it, however many they are',
  async t => {
    const { server, file, read, start, rotate } = await setUp(t, '0\n')
    const command = start(['--max-delay=50ms'])
    await waitFor(() => read(0) === '0\n')
    server.refuse()
    appendFileSync(file, 'more\n')
    const wanted = ['0\nmore\n']
    const rotateTimes = (count: number) => {
      for (let n = 0; n < count; n++) {
        rotate()
        writeFileSync(file, `${wanted.length}\n`)
        wanted.push(`${wanted.length}\n`)
      }
    }
    // More than the descriptors that are kept open: the others are found by their names.
    rotateTimes(15)
    await waitFor(() => command.stderr.text.includes('16 rotated files wait to be sent'))
    rotateTimes(3)
    await server.listen()
    await waitFor(() => wanted.every((text, index) => read(index) === text))
    command.kill('SIGTERM')
    t.match(await command.result, { code: 143 })
  },
)

t.test(
  'a signal during an outage reports what is missing, and the next start sends it',
  async t => {
    const { server, file, read, start, followUntil } = await setUp(t, 'one\n')
    const command = start(['--json', '--grace=100ms', '--buffer=4'])
    await waitFor(() => read(0) === 'one\n')
    server.refuse()
    // More than the stream takes: what is not read yet counts, too.
    appendFileSync(file, 'two\n'.repeat(9))
    await waitFor(() => command.stderr.text.includes('trying again'))
    command.kill('SIGTERM')
    const { code, stdout, stderr } = await command.result
    t.equal(code, 143)
    const state = `36 bytes of ${file} may not be in the object, which ends at 4`
    t.match(stderr, `interrupted by SIGTERM, and not done after 0.1 s: ${state}`)
    const last = JSON.parse(stdout.trimEnd().split('\n').at(-1)!)
    t.match(last, { event: 'error', position: 4, unacknowledged: 36, exitCode: 143 })
    await server.listen()
    await followUntil([`one\n${'two\n'.repeat(9)}`])
  },
)

t.test('bytes of a finished generation do not count as missing', async t => {
  const { server, file, read, start, rotate } = await setUp(t, 'one\n')
  const command = start(['--grace=100ms'])
  await waitFor(() => read(0) === 'one\n')
  server.refuse()
  rotate()
  writeFileSync(file, 'second\n')
  await waitFor(() => command.stderr.text.includes('trying again'))
  command.kill('SIGTERM')
  const { code, stderr } = await command.result
  t.equal(code, 143)
  t.match(stderr, `not done after 0.1 s: 7 bytes of ${file} may not be in the object\n`)
})

t.test('a signal cuts a long wait short, in a stream and in the search of an object', async t => {
  const { server, env, file, read, rotate } = await setUp(t, 'one\n')
  const waits = ['--max-delay=1h', '--min-delay=1h', '--grace=20s', '--buffer=4']
  const timing = ['--interval=10ms', '--flush-interval=5ms', ...waits]
  /** The command in an outage, which `change` of the file shows; then OSS is back, and SIGTERM comes. */
  const stopAfterOutage = async (before: string, change: () => void) => {
    const command = startCli([...timing, '--follow', file, ...KEY, URL], { env })
    const isWaiting = () => command.stderr.text.includes('trying again')
    await Promise.race([waitFor(() => read(0) === before), command.result])
    server.refuse()
    change()
    await Promise.race([waitFor(isWaiting), command.result])
    await server.listen()
    command.kill('SIGTERM')
    const { code, stderr } = await command.result
    t.equal(code, 143, stderr)
  }
  // More than the stream takes.
  const more = '2\n3\n'.repeat(9)
  await stopAfterOutage('one\n', () => appendFileSync(file, more))
  t.equal(read(0), `one\n${more}`)
  appendFileSync(file, '4\n')
  await stopAfterOutage(`one\n${more}4\n`, () => {
    rotate()
    writeFileSync(file, 'five\n')
  })
  t.equal(read(1), 'five\n')
})

t.test('a signal ends the search of the first object', async t => {
  const { server, start } = await setUp(t, 'one\n')
  server.refuse()
  const command = start()
  await waitFor(() => command.stderr.text.includes('trying again'))
  command.kill('SIGINT')
  t.match(await command.result, { code: 130, stderr: /interrupted by SIGINT\n/ })
})

t.test('bytes of the file that another process has appended are taken as sent', async t => {
  const { server, file, read, start } = await setUp(t, 'one\n')
  const command = start(['--buffer=5'])
  await waitFor(() => read(0) === 'one\n')
  server.faults.push({ kind: 'rival', when: 'before', bytes: 'five\nsix\n' })
  appendFileSync(file, 'five\nsix\nseven\n')
  await waitFor(() => read(0) === 'one\nfive\nsix\nseven\n')
  command.kill('SIGTERM')
  const { code, stderr } = await command.result
  t.equal(code, 143)
  t.match(
    stderr,
    /^oss-append: the object has more bytes of the file than were sent: going on at 13\n/,
  )
})

t.test('two commands that follow the same file do not disturb each other', async t => {
  const { file, read, start, rotate } = await setUp(t)
  const commands = [start(['--buffer=7']), start(['--buffer=11'])]
  const wanted = ['']
  for (let n = 0; n < 3; n++) {
    writeFileSync(file, 'begin\n')
    wanted[n] = 'begin\n'
    for (let line = 0; line < 20; line++) {
      appendFileSync(file, `${n} ${line}\n`)
      wanted[n] += `${n} ${line}\n`
    }
    await waitFor(() => read(n) === wanted[n])
    if (n < 2) rotate()
  }
  for (const command of commands) command.kill('SIGTERM')
  for (const command of commands) t.match(await command.result, { code: 143 })
  for (const [index, text] of wanted.entries()) t.equal(read(index), text)
  t.equal(read(3), undefined)
})

t.test('other bytes in the object end the command with 3', async t => {
  const { server, file, read, start } = await setUp(t, 'one\n')
  const command = start()
  await waitFor(() => read(0) === 'one\n')
  server.faults.push({ kind: 'rival', when: 'before', bytes: 'other\n' })
  appendFileSync(file, 'two\n')
  t.match(await command.result, { code: 3, stderr: /code +PositionNotEqualToLength/ })
})

t.test('a file that is removed and written anew is another generation', async t => {
  const { file, read, start } = await setUp(t, 'one\n')
  const command = start()
  await waitFor(() => read(0) === 'one\n')
  rmSync(file)
  writeFileSync(file, 'one\ntwo\n')
  await waitFor(() => read(1) === 'one\ntwo\n')
  command.kill('SIGTERM')
  t.match(await command.result, { code: 143 })
  t.equal(read(0), 'one\n')
})

t.test('a date in the key is that of the creation of the file', async t => {
  const { server, env, file, rotate } = await setUp(t, 'one\n')
  const day = new Date().toISOString().slice(0, 10)
  const args = ['--interval=10ms', '--flush-interval=5ms', '-f', file]
  const command = startCli([...args, '--roll-key={yyyy}-{MM}-{dd}/{index}', URL], { env })
  const read = (index: number) => String(server.read(BUCKET, `logs/${day}/${index}`))
  await waitFor(() => read(0) === 'one\n')
  rotate()
  writeFileSync(file, 'two\n')
  await waitFor(() => read(1) === 'two\n')
  command.kill('SIGTERM')
  t.match(await command.result, { code: 143 })
})

t.test('flags that do not combine with --follow are refused with their reason', async t => {
  const key = `${URL}app-{index}.log`
  const table: [string[], RegExp][] = [
    [['--follow', key], /--follow: needs FILE, and not standard input/],
    [['--follow', key, '-'], /--follow: needs FILE, and not standard input/],
    [['--follow', 'a.log', URL], /put \{index\} into the key, as in --roll-key 'a-\{index\}.log'/],
    [['--follow', 'a.log', `${URL}{yy}-{index}`], /--roll-key: \{yy\} is unknown/],
    [['--follow', 'a.log', `${URL}{pid}-{index}`], /--follow: with \{pid\} in the key a restart/],
    [['--follow', '--gzip', 'a.log', key], /--gzip: does not combine with --follow: after a/],
    [['--follow', '--resume=b.log', 'a.log', key], /--resume: .*: --follow resumes by itself/],
    [['--follow', '--position=1', 'a.log', key], /--position: does not combine with --follow/],
    [['--follow', '--position=0', 'a.log', key], /--position: does not combine with --follow/],
    [['--follow', '--resume=', 'a.log', key], /--resume: .*: --follow resumes by itself/],
    [['--follow', '--roll-bytes=1MiB', 'a.log', key], /--roll-bytes: does not combine/],
    [['--follow', '--seal', 'a.log', key], /--seal: does not combine with --follow/],
    [['--follow', '--seal-on-roll', 'a.log', key], /--seal-on-roll: does not combine/],
    [['--follow', '--align=188', 'a.log', key], /--align: with --follow it is line, or absent/],
    [['--follow', '--interval=0', 'a.log', key], /--interval: must be more than 0/],
    [['--interval=1s', 'a.log', key], /--interval: has no meaning without --follow/],
  ]
  for (const [args, message] of table) {
    t.match(await runCli(args), { code: 2, stderr: message }, args.join(' '))
  }
})

t.test('an option of the streams that is wrong is refused before the file exists', async t => {
  const { start } = await setUp(t)
  const { code, stderr } = await start(['--max-delay=1ms']).result
  t.equal(code, 2)
  t.match(stderr, '--min-delay: must not be more than retry.maxDelay\n')
})

t.test('a folder cannot be followed', async t => {
  const { env } = await startCliServer(t)
  const dir = t.testdir({})
  const { code, stderr } = await runCli(['--follow', dir, `${URL}{index}`], { env })
  t.equal(code, 1)
  t.match(stderr, `oss-append: ${dir} is no regular file\n  code          EINVAL\n`)
})
