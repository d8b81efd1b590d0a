/** How long a stream keeps its process alive. Each test runs a program of its own. */

import { once } from 'node:events'
import t from 'tap'
import { runModule, startModule } from '../helpers/child-process.ts'
import { OPEN_STREAM } from '../helpers/open-stream.ts'
import { BUCKET, startOss, waitUntil } from '../helpers/test-oss.ts'

t.test('a program that writes once and never ends exits, with its bytes in the object', async t => {
  const oss = await startOss(t)
  const env = { ENDPOINT: oss.server.url, KEY: oss.newKey() }
  const result = await runModule(t, `${OPEN_STREAM} open().write('once')`, env)
  t.match(result, { code: 0, stderr: '' })
  t.equal(oss.read(env.KEY).toString(), 'once')
})

t.test('an outage does not keep such a program from exiting with its bytes delivered', async t => {
  const oss = await startOss(t)
  const env = { ENDPOINT: oss.server.url, KEY: oss.newKey() }
  oss.server.faults.push(
    { kind: 'html', on: 'head', times: 2 },
    { kind: 'reset', when: 'before', times: 2 },
    { kind: 'lost', how: 'reset' },
  )
  const code = `${OPEN_STREAM} open({ flushInterval: 10 }).write('once')`
  t.match(await runModule(t, code, env), { code: 0, stderr: '' })
  t.equal(oss.read(env.KEY).toString(), 'once')
  t.equal(oss.server.faults.length, 0, 'all faults struck')
})

t.test('an idle stream does not keep the process alive', async t => {
  const oss = await startOss(t)
  const env = { ENDPOINT: oss.server.url, KEY: oss.newKey() }
  const afterUse = `${OPEN_STREAM}
    const stream = open({ flushInterval: 0 })
    stream.write('abc')
    await stream.flush()
    process.on('exit', () => console.log(stream.position))`
  t.match(await runModule(t, afterUse, env), { code: 0, stdout: '3\n', stderr: '' })

  const ENDPOINT = oss.server.url
  await oss.server.close()
  const whileDown = `${OPEN_STREAM}
    const stream = open({ retry: { minDelay: 1e8, maxDelay: 1e8 } })
    stream.once('retry', () => console.log('waits'))`
  const expected = { code: 0, stdout: 'waits\n', stderr: '' }
  t.match(await runModule(t, whileDown, { ...env, ENDPOINT }), expected)
})

t.test('a stream fails in the usual way if undici cannot be loaded', async t => {
  const code = `
    import { register } from 'node:module'
    const hook = 'export async function resolve(name, context, next) {' +
      'if (name === "undici") throw new Error("no undici here"); return next(name, context) }'
    register('data:text/javascript,' + encodeURIComponent(hook))
    const { createAppendStream } = await import('DISTindex.js')
    const credentials = { accessKeyId: 'a', accessKeySecret: 'b' }
    const options = { bucket: 'examplebucket', key: 'a', endpoint: 'http://127.0.0.1:1', region: 'cn-hangzhou', credentials }
    const stream = createAppendStream(options)
    stream.on('error', error => console.log('error:', error.message))
    stream.on('close', () => console.log('close'))
    stream.flush().catch(error => console.log('flush:', error.message))`
  const result = await runModule(t, code)
  t.match(result, { code: 0, stderr: '' })
  t.match(result.stdout, /^flush: option dispatcher: is needed: undici cannot be loaded/m)
  t.match(result.stdout, /^error: option dispatcher: is needed: undici cannot be loaded/m)
  t.match(result.stdout, /^close$/m)
})

t.test('an unacknowledged write, end, flush or close keeps the process alive', async t => {
  const calls = [
    `stream.write('abc')`,
    `stream.end('abc')`,
    `stream.end()`,
    `void stream.flush()`,
    `stream.close()`,
  ]
  await Promise.all(
    calls.map(async call => {
      const oss = await startOss(t)
      // The first responses are not OSS's. The program must still run when one of OSS arrives.
      oss.server.faults.push({ kind: 'html', on: 'head', times: 3 })
      const code = `${OPEN_STREAM}
        const stream = open({ retry: { minDelay: 40, maxDelay: 40 } })
        ${call}
        process.on('exit', () => console.log(stream.pending))`
      const result = await runModule(t, code, { ENDPOINT: oss.server.url, KEY: oss.newKey() })
      t.match(result, { code: 0, stdout: 'false\n', stderr: '' }, call)
    }),
  )
})

t.test('SIGKILL leaves an object that holds a prefix of what was written', async t => {
  const oss = await startOss(t)
  const KEY = oss.newKey()
  const code = `${OPEN_STREAM}
    const stream = open({ highWaterMark: 1000, flushInterval: 0 })
    let n = 0
    const write = () => { while (stream.write(String(n++).padStart(9) + '\\n')); stream.once('drain', write) }
    write()`
  const child = startModule(t, code, { ENDPOINT: oss.server.url, KEY })
  await waitUntil(() => (oss.server.stat(BUCKET, KEY)?.length ?? 0) > 20_000)
  child.kill('SIGKILL')
  await once(child, 'close')
  const bytes = oss.read(KEY)
  const expected = Array.from({ length: bytes.length / 10 }, (_, n) => `${String(n).padStart(9)}\n`)
  t.equal(bytes.toString(), expected.join(''))
})
