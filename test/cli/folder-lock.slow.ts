/** The lock of a `--local` folder: one process writes at a time. */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { cleanEnv, spawnClean } from '../helpers/child-process.ts'
import { CLI, runCli, startProcess, waitFor, waitForExit } from '../helpers/run-cli.ts'

const isLockFile = (name: string) => name.startsWith('writer')

const OBJECT = 'oss://examplebucket/a.log'
const TEXT = Buffer.from('hello')

t.test('a folder has one writer at a time, while others may read', async t => {
  const dir = join(t.testdir({}), 'lab')
  const args = ['--local', dir, '--flush-interval=20ms', '--json', OBJECT, '-']
  const first = startProcess(args, { keepStdinOpen: true })
  t.teardown(() => first.kill('SIGKILL'))
  const outcome = waitForExit(first)
  let outputText = ''
  first.stdout?.on('data', text => (outputText += text))
  first.stdin?.write('one')
  await waitFor(() => outputText.includes('"append"'))
  const busy = { code: 1, stderr: new RegExp(`in use by process ${first.pid}: `) }
  t.match(await runCli(args, { input: TEXT }), busy)
  t.match(await runCli(['serve', '--dir', dir]), busy)
  t.match(await runCli(['cat', '--local', dir, OBJECT]), { code: 0, stdout: 'one' })
  first.stdin?.end(' two')
  t.match(await outcome, { code: 0 })
  t.match(await runCli(args, { input: TEXT }), { code: 0 }, 'the lock is released')

  const killed = startProcess(args, { keepStdinOpen: true })
  const killedExit = waitForExit(killed)
  await waitFor(() => readdirSync(dir).some(isLockFile))
  killed.kill('SIGKILL')
  await killedExit
  t.match(await runCli(args, { input: TEXT }), { code: 0 }, 'a killed process holds no lock')
  t.match(await runCli(['cat', '--local', dir, OBJECT]), { stdout: 'one twohellohello' })
  t.notOk(readdirSync(dir).some(isLockFile))
})

const linuxOnly = { skip: process.platform !== 'linux' && 'start times of processes are in /proc' }

t.test('a pid that is reused by another process holds no lock', linuxOnly, async t => {
  const dir = t.testdir({ [`writer~${process.pid}~1~another-boot`]: '' })
  t.match(await runCli(['--local', dir, OBJECT, '-'], { input: TEXT }), { code: 0, stderr: '' })
  t.same(readdirSync(dir).filter(isLockFile), [], 'its lock file is removed')
  writeFileSync(join(dir, `writer~${process.ppid}~`), '')
  const busy = { code: 1, stderr: new RegExp(`in use by process ${process.ppid}: `) }
  t.match(
    await runCli(['--local', dir, OBJECT, '-'], { input: TEXT }),
    busy,
    'without a start time the pid counts',
  )
})

t.test('a zombie holds no lock', linuxOnly, async t => {
  const dir = t.testdir({})
  const script = '"$0" "$1" serve --dir "$2" & echo "pid $!"; exec sleep 600'
  const parent = spawnClean(['sh', '-c', script, process.execPath, CLI, dir], cleanEnv())
  t.teardown(() => parent.kill('SIGKILL'))
  let outputText = ''
  parent.stdout?.on('data', text => (outputText += text))
  await waitFor(() => /SECRET=.*\n/.test(outputText))
  const pid = Number(/^pid (\d+)$/m.exec(outputText)?.[1])
  process.kill(pid, 'SIGKILL')
  await waitFor(() => /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1')))
  t.match(await runCli(['--local', dir, OBJECT, '-'], { input: TEXT }), { code: 0, stderr: '' })
})
