/** Standard error, as a pipe that somebody else reads, or does not: in a process of its own. */

import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { runModule, startModule, waitForChild } from '../helpers/child-process.ts'
import { waitUntil } from '../helpers/test-oss.ts'

/** `fill()` fills the pipe, until whoever reads it has no more room either; it does not block. */
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
  const measure = () => { const from = Date.now(); writeStderr('said'); return Date.now() - from }
`

/** A program whose standard error is not read until `read()`, which gives all of it. */
function startUnread(t: Test, code: string) {
  const child = startModule(t, PROGRAM + code)
  const closed = once(child, 'close')
  const output = { stdout: '', stderr: '' }
  child.stderr?.setEncoding('utf8').on('data', text => (output.stderr += text))
  child.stderr?.pause()
  child.stdout?.setEncoding('utf8').on('data', text => (output.stdout += text))
  return {
    said: output,
    says: () => waitUntil(() => output.stdout.includes('\n') || child.exitCode !== null),
    async read() {
      child.stderr?.resume()
      await closed
      return output.stderr
    },
  }
}

t.test('a line', async t => {
  const { stderr } = await runModule(t, `${PROGRAM} writeStderr('日志')`)
  t.equal(stderr, 'oss-append-stream: 日志\n')
})

t.test('full, and read after a while: it waits', async (t: Test) => {
  const { says: waitForLine, read } = startUnread(
    t,
    `await fill(); console.log('full'); writeStderr('said'); process.exit()`,
  )
  await waitForLine()
  await wait(300)
  t.match(await read(), /eoss-append-stream: said\n$/)
})

t.test('longer than what the pipe takes at once: whole all the same', async t => {
  const { stderr } = await runModule(t, `${PROGRAM} writeStderr('x'.repeat(2e6)); process.exit()`)
  t.ok(stderr === `oss-append-stream: ${'x'.repeat(2e6)}\n`, `${stderr.length} bytes`)
})

t.test('never read: it gives up after a second, and at once from then on', async (t: Test) => {
  const code = `await fill(); console.log([1, 2, 3].map(measure).join()); process.exit()`
  const { said: output, says: waitForLine, read } = startUnread(t, code)
  await waitForLine()
  const [first = 0, ...others] = output.stdout.split(',').map(Number)
  t.ok(first >= 900 && first < 5000, `${first} ms`)
  t.ok(
    others.every(time => time < 100),
    others.join(),
  )
  t.match(await read(), /^e+$/)
})

t.test('closed: it gives up at once', async t => {
  const { stdout } = await waitForChild(
    startModule(t, `${PROGRAM} closeSync(2); console.log(measure())`),
  )
  t.ok(Number(stdout) < 100, stdout)
})
