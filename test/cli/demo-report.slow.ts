/** `oss-append demo`: whatever the input is, it is appended and read back. */

import * as fs from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { createSampleData } from '../../lib/cli/sample-data.ts'
import { type CliResult, runCli, runShell, startCli, waitFor } from '../helpers/run-cli.ts'
import { checkReadBack, writeInput } from './check-report.ts'

const MIB = 1024 * 1024
const TEXT = Buffer.from('温度,21.5 °C\nжурнал\n🌡️\n'.repeat(20_000))

t.test('demo appends any input and leaves no file behind', async t => {
  const { dir, file } = writeInput(t, TEXT)
  const temporary = join(dir, 'tmp')
  fs.mkdirSync(temporary)
  const env = { TMPDIR: temporary }
  const redirected = () => {
    const stdinFd = fs.openSync(file, 'r')
    return { stdinFd, stdin: fs.createReadStream('', { fd: stdinFd }) }
  }
  const inputs: [string, () => Promise<CliResult>][] = [
    ['a file as argument', () => runCli(['demo', file], { env })],
    ['a stream, and -', () => runCli(['demo', '-'], { env, input: TEXT })],
    ['a redirected file', () => runCli(['demo'], { env, ...redirected() })],
    ['a redirected file, and -', () => runCli(['demo', '-'], { env, ...redirected() })],
    ['a pipe', () => runShell('cat "$FILE" | oss_append demo', { ...env, FILE: file })],
    ['a pipe, and -', () => runShell('cat "$FILE" | oss_append demo -', { ...env, FILE: file })],
  ]
  for (const [name, start] of inputs) {
    await t.test(name, async t => {
      checkReadBack(t, await start(), TEXT)
      t.same(fs.readdirSync(temporary), [], 'the temporary folder is removed')
    })
  }
})

t.test('demo without input appends sample data', async t => {
  const sampleData = await buffer(createSampleData(MIB))
  const stdinFd = fs.openSync('/dev/null', 'r')
  const stdin = fs.createReadStream('', { fd: stdinFd })
  const fromDevice = await runCli(['demo', '--bytes', '1MiB'], { stdinFd, stdin })
  stdin.destroy()
  checkReadBack(t, fromDevice, sampleData)
  t.match(fromDevice.stdout, /^source +sample data$/m)
  const fromStream = runCli(['demo', '--bytes=1MiB'], { input: TEXT })
  checkReadBack(t, await fromStream, sampleData)
})

t.test('demo --bytes takes sample data even behind a pipe', async t => {
  const sampleData = await buffer(createSampleData(MIB))
  checkReadBack(t, await runShell('printf x | oss_append demo --bytes 1048576'), sampleData)
})

t.test('demo - with an empty input makes an empty object', async t => {
  const stdinFd = fs.openSync('/dev/null', 'r')
  const stdin = fs.createReadStream('', { fd: stdinFd })
  checkReadBack(t, await runCli(['demo', '-'], { stdinFd, stdin }), Buffer.alloc(0))
})

t.test('an interrupted demo removes its folder', async t => {
  const temporary = t.testdir({})
  const command = startCli(['demo', '-'], { env: { TMPDIR: temporary }, keepStdinOpen: true })
  await waitFor(() => fs.readdirSync(temporary).length > 0)
  command.kill('SIGTERM')
  t.match(await command.result, { code: 143 })
  t.same(fs.readdirSync(temporary), [])
})
