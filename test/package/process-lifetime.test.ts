/** Whole programs: who keeps the process alive, and how much memory a stream takes. */

import { once } from 'node:events'
import t from 'tap'
import { firstLine, runModule, startModule } from '../helpers/child-process.ts'
import { BUCKET, startOss, waitUntil } from '../helpers/test-oss.ts'

/** A program's beginning: `open(options)` makes a stream to the server of the test. */
const OPEN = `
  import { createAppendStream } from 'DISTindex.js'
  const { ENDPOINT, KEY } = process.env
  const credentials = { accessKeyId: 'test-access-key', accessKeySecret: 'test-access-secret' }
  const open = options => createAppendStream({
    bucket: '${BUCKET}', key: KEY, endpoint: ENDPOINT, region: 'cn-hangzhou', credentials, ...options,
  })
`

t.test(
  'a program that writes once and never ends exits by itself, its bytes in the object',
  async t => {
    const oss = await startOss(t)
    const KEY = oss.newKey()
    const ended = await runModule(t, `${OPEN} open().write('once')`, {
      ENDPOINT: oss.server.url,
      KEY,
    })
    t.match(ended, { code: 0, stderr: '' })
    t.equal(oss.read(KEY).toString(), 'once')
  },
)

t.test('it does so through an outage as well', async t => {
  const oss = await startOss(t)
  const KEY = oss.newKey()
  oss.server.faults.push(
    { kind: 'html', on: 'head', times: 2 },
    { kind: 'reset', when: 'before', times: 2 },
    { kind: 'lost', how: 'reset' },
  )
  const ended = await runModule(t, `${OPEN} open({ flushInterval: 10 }).write('once')`, {
    ENDPOINT: oss.server.url,
    KEY,
  })
  t.match(ended, { code: 0, stderr: '' })
  t.equal(oss.read(KEY).toString(), 'once')
  t.equal(oss.server.faults.length, 0, 'all of it happened')
})

t.test('an idle stream does not hold the process', async t => {
  const oss = await startOss(t)
  const env = { ENDPOINT: oss.server.url, KEY: oss.newKey() }
  const afterUse = `${OPEN}
    const stream = open({ flushInterval: 0 })
    stream.write('abc')
    await stream.flush()
    process.on('exit', () => console.log(stream.position))`
  t.match(await runModule(t, afterUse, env), { code: 0, stdout: '3\n', stderr: '' })

  const ENDPOINT = oss.server.url
  await oss.server.close()
  const down = `${OPEN}
    const stream = open({ retry: { minDelay: 1e8, maxDelay: 1e8 } })
    stream.once('retry', () => console.log('waits'))`
  t.match(await runModule(t, down, { ...env, ENDPOINT }), {
    code: 0,
    stdout: 'waits\n',
    stderr: '',
  })
})

t.test('a stream whose undici cannot be loaded fails like any other', async t => {
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
  const ended = await runModule(t, code)
  t.match(ended, { code: 0, stderr: '' })
  t.match(ended.stdout, /^flush: option dispatcher: is needed: undici cannot be loaded/m)
  t.match(ended.stdout, /^error: option dispatcher: is needed: undici cannot be loaded/m)
  t.match(ended.stdout, /^close$/m)
})

t.test('what is owed holds it, in each way of owing', async t => {
  const ways = [
    `stream.write('abc')`,
    `stream.end('abc')`,
    `stream.end()`,
    `void stream.flush()`,
    `stream.close()`,
  ]
  for (const way of ways) {
    const oss = await startOss(t)
    // The first answers never come from OSS: the program must still be there when one does.
    oss.server.faults.push({ kind: 'html', on: 'head', times: 3 })
    const code = `${OPEN}
      const stream = open({ retry: { minDelay: 40, maxDelay: 40 } })
      ${way}
      process.on('exit', () => console.log(stream.pending))`
    const ended = await runModule(t, code, { ENDPOINT: oss.server.url, KEY: oss.newKey() })
    t.match(ended, { code: 0, stdout: 'false\n', stderr: '' }, way)
  }
})

const SERVER = `
  import { createOssServer } from 'DISTserver/index.js'
  const server = await createOssServer()
  server.readRate = Number(process.env.READ_RATE)
  console.log(server.url)
`
/** Pipes so many MiB from a source that is always ready, and prints what that took over the idle process. */
const PIPE = `${OPEN}
  import { Readable } from 'node:stream'
  import { pipeline } from 'node:stream/promises'
  import 'undici'
  const chunk = Buffer.alloc(65536, 'x')
  let left = Number(process.env.MIB) * 16
  const source = new Readable({ read() { this.push(left-- > 0 ? chunk : null) } })
  const idle = process.memoryUsage().rss
  await pipeline(source, open())
  console.log(process.resourceUsage().maxRSS * 1024 - idle)
`
const MIB = 1 << 20

for (const [label, size, rate] of [
  ['256 MiB', 256, Infinity],
  ['64 MiB into a server that reads 4 MB/s', 64, 4e6],
] as const) {
  t.test(`memory: ${label}, server in another process`, async t => {
    const server = startModule(t, SERVER, { READ_RATE: String(rate) })
    const env = { ENDPOINT: await firstLine(server), KEY: 'big', MIB: String(size) }
    const { code, stdout, stderr } = await runModule(t, PIPE, env)
    t.match({ code, stderr }, { code: 0, stderr: '' })
    const over = Number(stdout)
    t.comment(`peak RSS over idle: ${Math.round(over / MIB)} MiB`)
    t.ok(over > 0 && over < 4 * 4 * MIB + 48 * MIB, `${Math.round(over / MIB)} MiB, under 64`)
  })
}

t.test('SIGKILL at any moment leaves a whole prefix', async t => {
  const oss = await startOss(t)
  const KEY = oss.newKey()
  const code = `${OPEN}
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
