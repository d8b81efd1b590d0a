/** Standard error as a pipe that is read, read late, never read or closed: each in a process of its own. */

import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { runModule, startModule, waitForChild } from '../helpers/child-process.ts'
import { waitUntil } from '../helpers/test-oss.ts'

/** `fill()` fills the pipe and the buffer of its reader, without blocking. */
const PROGRAM = `
  import { closeSync, writeSync } from 'node:fs'
  import { writeStderr } from 'DISTloggers/stderr.js'
  process.stderr
  const fill = async () => {
    for (let rounds = 0; rounds < 10; rounds++) {
      try { for (;;) writeSync(2, 'e'.repeat(1000)) } catch {}
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }
  const measure = () => { const from = Date.now(); writeStderr('report'); return Date.now() - from }
`

/** A program whose standard error is not read until `read()`, which resolves with all of it. */
function startUnread(t: Test, code: string) {
  const child = startModule(t, PROGRAM + code)
  const closed = once(child, 'close')
  const output = { stdout: '', stderr: '' }
  child.stderr?.setEncoding('utf8').on('data', text => (output.stderr += text))
  child.stderr?.pause()
  child.stdout?.setEncoding('utf8').on('data', text => (output.stdout += text))
  return {
    output,
    waitForLine: () => waitUntil(() => output.stdout.includes('\n') || child.exitCode !== null),
    async read() {
      child.stderr?.resume()
      await closed
      return output.stderr
    },
  }
}

t.test('a line is printed with the name of the package', async t => {
  const { stderr } = await runModule(t, `${PROGRAM} writeStderr('日志')`)
  t.equal(stderr, 'oss-append-stream: 日志\n')
})

t.test('a full pipe that is read after a while gets the whole line', async (t: Test) => {
  const { waitForLine, read } = startUnread(
    t,
    `await fill(); console.log('full'); writeStderr('report'); process.exit()`,
  )
  await waitForLine()
  await wait(300)
  t.match(await read(), /eoss-append-stream: report\n$/)
})

t.test('a line larger than the pipe is printed completely', async t => {
  const { stderr } = await runModule(t, `${PROGRAM} writeStderr('x'.repeat(2e6)); process.exit()`)
  t.ok(stderr === `oss-append-stream: ${'x'.repeat(2e6)}\n`, `${stderr.length} bytes`)
})

t.test(
  'a pipe that is never read blocks for one second, and later lines do not block',
  async (t: Test) => {
    const code = `await fill(); console.log([1, 2, 3].map(measure).join()); process.exit()`
    const { output, waitForLine, read } = startUnread(t, code)
    await waitForLine()
    const [first = 0, ...others] = output.stdout.split(',').map(Number)
    t.ok(first >= 900 && first < 5000, `${first} ms`)
    t.ok(
      others.every(time => time < 100),
      others.join(),
    )
    t.match(await read(), /^e+$/)
  },
)

t.test('a closed standard error does not block', async t => {
  const { stdout } = await waitForChild(
    startModule(t, `${PROGRAM} closeSync(2); console.log(measure())`),
  )
  t.ok(Number(stdout) < 100, stdout)
})
