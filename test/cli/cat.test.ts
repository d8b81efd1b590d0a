/** `oss-append cat`: the bytes of an object, and with `--follow` those appended later. */

import t, { type Test } from 'tap'
import { Output, runCli, startCli, startCliServer, waitFor } from '../helpers/run-cli.ts'
import { seededBytes } from '../helpers/test-oss.ts'

const BUCKET = 'examplebucket'
const KEY = 'logs/日志 1.log'
const OBJECT = `oss://${BUCKET}/${KEY}`
const TEXT = Buffer.from('温度,21.5 °C\n'.repeat(1000))

t.test('cat prints an object, whose CRC-64 must be the one that OSS reports', async t => {
  const { server, runWithServer } = await startCliServer(t)
  server.append(BUCKET, KEY, TEXT)
  t.match(await runWithServer(['cat', OBJECT]), { code: 0, stdout: TEXT.toString(), stderr: '' })
  server.put(BUCKET, 'normal', 'a normal object')
  t.match(await runWithServer(['cat', `oss://${BUCKET}/normal`, '-f']), {
    code: 0,
    stdout: 'a normal object',
  })
  server.append(BUCKET, 'empty', '')
  t.match(await runWithServer(['cat', `oss://${BUCKET}/empty`]), {
    code: 0,
    stdout: '',
    stderr: '',
  })
  t.match(await runWithServer(['cat', `oss://${BUCKET}/absent`]), {
    code: 1,
    stderr: /no such object/,
  })
  server.faults.push({ kind: 'mangled', part: 'crc64', how: 'wrong', on: 'head' })
  t.match(await runWithServer(['cat', OBJECT]), {
    code: 3,
    stderr: /has the CRC-64 \d+, and what was printed/,
  })
})

t.test('cat --follow continues after outages, until the object is sealed', async t => {
  const { server, env } = await startCliServer(t)
  const { stdout, stderr, result } = startCli(['cat', '--follow', '--interval=10ms', OBJECT], {
    env,
  })
  await waitFor(() => server.requests.length > 2)
  server.append(BUCKET, KEY, 'one ')
  await waitFor(() => stdout.text === 'one ')
  const before = server.requests.length
  await waitFor(() => server.requests.length > before + 2)
  server.append(BUCKET, KEY, 'two ')
  await waitFor(() => stdout.text === 'one two ')
  server.refuse()
  await waitFor(() => stderr.text.includes('trying again'))
  server.append(BUCKET, KEY, 'three')
  server.seal(BUCKET, KEY)
  await server.listen()
  const { code } = await result
  t.equal(code, 0, stderr.text)
  t.equal(stdout.text, 'one two three')
  t.match(stderr.text, /^oss-append: trying again: .*\noss-append: going on after .*\n$/)
  const ranges = server.requests
    .filter(({ method }) => method === 'GET')
    .map(({ headers }) => headers.range)
  t.same(ranges, ['bytes=0-3', 'bytes=4-7', 'bytes=8-12'], 'every byte is requested once')
})

/** `cat --follow` that has printed an object of five bytes. */
async function startFollowing(t: Test) {
  const { server, env } = await startCliServer(t)
  server.append(BUCKET, KEY, 'hello')
  const command = startCli(['cat', '-f', '--interval=10ms', OBJECT], { env })
  await waitFor(() => command.stdout.text === 'hello')
  return { server, command }
}

t.test('cat --follow ends with a signal', async t => {
  const { command } = await startFollowing(t)
  command.kill('SIGINT')
  const stderr = `oss-append: interrupted by SIGINT\n  object        ${OBJECT}\n`
  t.same(await command.result, { code: 130, stdout: 'hello', stderr })
})

t.test('cat --follow fails when a shorter object takes the place of the followed one', async t => {
  const { server, command } = await startFollowing(t)
  server.delete(BUCKET, KEY)
  server.append(BUCKET, KEY, 'hi')
  t.match(await command.result, { code: 3, stdout: 'hello', stderr: /has 2 bytes, and had 5/ })
})

t.test('cat --follow fails when the object is deleted', async t => {
  const { server, command } = await startFollowing(t)
  server.delete(BUCKET, KEY)
  t.match(await command.result, { code: 1, stdout: 'hello', stderr: /no such object/ })
})

t.test('cat --follow fails when the object continues another text', async t => {
  const { server, command } = await startFollowing(t)
  server.delete(BUCKET, KEY)
  server.append(BUCKET, KEY, 'halloo')
  t.match(await command.result, { code: 3, stdout: 'helloo', stderr: /CRC-64/ })
})

t.test('cat --follow succeeds when the reader of its output goes away', async t => {
  const { server, command } = await startFollowing(t)
  command.stdout.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
  server.append(BUCKET, KEY, ' and more')
  t.match(await command.result, { code: 0, stderr: '' })
})

/** An output whose reader never reads. */
class StoppedOutput extends Output {
  override _write(): void {}
}

t.test('a signal ends cat although its output is not read', async t => {
  const { server, env } = await startCliServer(t)
  server.append(BUCKET, KEY, seededBytes(1_000_000))
  const command = startCli(['cat', OBJECT], { env, stdout: new StoppedOutput() })
  await waitFor(() => command.stdout.writableNeedDrain)
  command.kill('SIGTERM')
  t.match(await command.result, { code: 143, stderr: /^oss-append: interrupted by SIGTERM\n/ })
})

const ROLLED = `oss://${BUCKET}/app-{index}.log`

t.test('cat prints the objects of a rolling stream in the order of their indices', async t => {
  const { server, runWithServer } = await startCliServer(t)
  const keys = [...Array(12).keys()].map(index => `app-${index}.log`)
  for (const key of keys) server.append(BUCKET, key, `${key}\n`)
  for (const key of ['app-.log', 'app-01.log', 'app-1.logs', 'app-x.log', 'app-1-1.log', 'app']) {
    server.append(BUCKET, key, 'another object')
  }
  t.match(await runWithServer(['cat', ROLLED]), {
    code: 0,
    stdout: keys.map(key => `${key}\n`).join(''),
    stderr: '',
  })
  for (const index of [0, 1, 5]) server.delete(BUCKET, `app-${index}.log`)
  t.match(await runWithServer(['cat', ROLLED]), {
    code: 0,
    stdout: keys
      .filter((_, index) => ![0, 1, 5].includes(index))
      .map(key => `${key}\n`)
      .join(''),
    stderr: 'oss-append: there is no app-5.log: it is left out\n',
  })
  server.faults.push({ kind: 'mangled', part: 'crc64', how: 'wrong', on: 'head', key: keys[7]! })
  t.match(await runWithServer(['cat', ROLLED]), { code: 3, stderr: /has the CRC-64/ })
  t.match(await runWithServer(['cat', `oss://${BUCKET}/none-{index}`]), {
    code: 1,
    stdout: '',
    stderr: /no such object/,
  })
  t.match(await runWithServer(['cat', `oss://${BUCKET}/{yyyy}-{index}`]), {
    code: 2,
    stderr: /^oss-append: \{yyyy\}: only \{index\} stands for/,
  })
  server.permissions.delete('oss:ListObjects')
  t.match(await runWithServer(['cat', ROLLED]), {
    code: 1,
    stderr: /needs +the RAM actions oss:ListObjects, oss:GetObject\n/,
  })
})

t.test('cat --follow goes on with the next object of a rolling stream', async t => {
  const { server, env } = await startCliServer(t)
  const command = startCli(['cat', '-f', '--interval=10ms', ROLLED], { env })
  const { stdout, stderr } = command
  await waitFor(() => server.requests.some(({ method }) => method === 'HEAD'))
  server.append(BUCKET, 'app-0.log', 'one ')
  await waitFor(() => stdout.text === 'one ')
  server.append(BUCKET, 'app-0.log', 'two ')
  server.seal(BUCKET, 'app-0.log')
  server.append(BUCKET, 'app-1.log', 'three ')
  await waitFor(() => stdout.text === 'one two three ')
  server.append(BUCKET, 'app-2.log', 'four ')
  server.append(BUCKET, 'app-1.log', 'as late as can be ')
  await waitFor(() => stdout.text.endsWith('four '))
  t.equal(stdout.text, 'one two three as late as can be four ')
  command.kill('SIGINT')
  t.match(await command.result, { code: 130 })
  t.match(stderr.text, /^oss-append: interrupted by SIGINT\n/)
})

t.test('cat prints what a command with --roll-bytes has written', async t => {
  const dir = t.testdir({})
  const local = ['--local', dir]
  const roll = ['--roll-bytes=4KiB', '--buffer=1KiB', '--align=line']
  t.match(await runCli([...local, ...roll, ROLLED, '-'], { input: TEXT }), { code: 0 })
  t.match(await runCli(['cat', ...local, ROLLED]), { code: 0, stdout: TEXT.toString() })
  const { stdout } = await runCli(['ls', ...local, `oss://${BUCKET}`])
  t.equal(stdout.trimEnd().split('\n').length, 4)
})
