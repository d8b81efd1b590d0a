/** `oss-append cat`: the bytes of an object, and with `--follow` those appended later. */

import t, { type Test } from 'tap'
import { Output, startCli, startCliServer, waitFor } from '../helpers/run-cli.ts'
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
