/** The transport for pino by itself: what a write is, what its methods promise, how it is made. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import pino from 'pino'
import t, { type Test } from 'tap'
import transport, {
  createTransport,
  type PinoTransport,
  type TransportOptions,
  UndeliveredError,
} from '../../lib/loggers/pino.ts'
import { captureStderr } from '../helpers/capture-stderr.ts'
import { DIST, firstLine, runModule, startModule, waitForChild } from '../helpers/child-process.ts'
import { parseLossReports, parseRecords } from '../helpers/numbered-records.ts'
import {
  BUCKET,
  networkOptions,
  nextEvent,
  type Oss,
  startOss,
  waitUntil,
} from '../helpers/test-oss.ts'

function optionsFor(oss: Oss, more: Partial<TransportOptions> = {}): TransportOptions {
  return {
    bucket: BUCKET,
    key: oss.newKey(),
    ...networkOptions(oss.server),
    retry: { minDelay: 1, maxDelay: 5 },
    flushInterval: 5,
    ...more,
  }
}

function read(oss: Oss, { key }: Pick<TransportOptions, 'key'>): string {
  return oss.server.read(BUCKET, String(key))?.toString() ?? ''
}

t.test('with pino, in this thread', async t => {
  const oss = await startOss(t)
  const options = optionsFor(oss)
  const stream = createTransport(options)
  const logger = pino({ base: null, timestamp: false }, stream)
  logger.info({ n: 0 })
  logger.child({ n: 1 }).warn('日志\nin two lines')
  await new Promise<void>((resolve, reject) => {
    logger.flush(error => (error ? reject(error) : resolve()))
  })
  t.equal(
    read(oss, options),
    '{"level":30,"n":0}\n{"level":40,"n":1,"msg":"日志\\nin two lines"}\n',
  )
  logger.info({ n: 2 })
  await stream.flush()
  t.same(parseRecords(Buffer.from(read(oss, options))).numbers, [0, 1, 2])
  t.equal(stream.bytesBuffered, 0)
  stream.end()
  await nextEvent(stream, 'close')
  t.equal(stream.failed, undefined)
})

// what is written, and how many records that makes when there is room for one
const writes: [string, (Buffer | string)[], string[]][] = [
  ['a line', ['a\n'], ['a']],
  ['lines', ['a\nb\nc\n'], ['a', 'b', 'c']],
  ['a line in pieces', ['a', 'b', 'c\n'], ['abc']],
  ['the end of one and the beginning of another', ['a\nb', 'c\nd\n'], ['a', 'bc', 'd']],
  ['no end of line before the end', ['a\nb'], ['a', 'b']],
  ['an empty line', ['\n', 'a\n'], ['', 'a']],
  ['bytes', [Buffer.from('日志\n')], ['日志']],
  [
    'a character in two chunks',
    [Buffer.from('日\n').subarray(0, 2), Buffer.from('日\n').subarray(2)],
    ['日'],
  ],
  ['nothing', [], []],
]
for (const [title, chunks, lines] of writes) {
  t.test(`written: ${title}`, async t => {
    const oss = await startOss(t)
    const options = optionsFor(oss)
    const stream = createTransport(options)
    for (const chunk of chunks) t.ok(stream.write(chunk))
    stream.end()
    await nextEvent(stream, 'close')
    t.equal(read(oss, options), lines.map(line => `${line}\n`).join(''))
    t.equal(oss.server.stat(BUCKET, String(options.key)) !== undefined, lines.length > 0)
  })
}

// how a transport ends -> what its failed says of one record before the end and two after it
for (const [title, end, loss] of [
  ['end()', s => s.end(), { records: 2, lateRecords: 2 }],
  ['destroy()', s => s.destroy(), { records: 3, lateRecords: 2 }],
] as [string, (stream: PinoTransport) => void, object][]) {
  t.test(`logged after ${title}: no error, and counted`, async t => {
    const oss = await startOss(t)
    oss.server.latency = 30
    const stderr = captureStderr(t)
    const options = optionsFor(oss)
    const stream = createTransport(options)
    stream.on('error', error => t.fail(String(error)))
    const logger = pino({ base: null, timestamp: false }, stream)
    logger.info({ n: 0 })
    end(stream)
    logger.info({ n: 1 })
    const written = new Promise(resolve => stream.write(Buffer.from('{"n":2}\n'), resolve))
    await nextEvent(stream, 'close')
    t.equal(await written, null, 'its callback is called')
    t.match(stream.failed, loss)
    t.match(parseLossReports(stderr.splice(0).join('')), [{ late: 2 }])

    const warned = nextEvent<Error>(stream, 'warn')
    t.ok(stream.write('{"n":3}\n', 'utf8', () => {}))
    logger.info({ n: 4 })
    t.match(await warned, { message: /^logged after the end/ })
    t.equal(read(oss, options), title === 'end()' ? '{"level":30,"n":0}\n' : '')
  })
}

t.test('a line that was not finished before the end is not continued after it', async t => {
  const oss = await startOss(t)
  captureStderr(t)
  const options = optionsFor(oss)
  const stream = createTransport(options)
  stream.write('{"n":0}\n{"n"')
  stream.end(':1}')
  stream.write('{"n":2')
  stream.write('{"n":3}\n{"n":4}\n')
  await nextEvent(stream, 'close')
  t.equal(read(oss, options), '{"n":0}\n{"n":1}\n')
  t.match(stream.failed, { records: 3 })

  const destroyed = createTransport(optionsFor(oss))
  destroyed.write('{"n":0}\n{"n"')
  destroyed.destroy()
  await nextEvent(destroyed, 'close')
  t.match(destroyed.failed, { records: 2 })
})

t.test('a line that never ends is not held beyond maxBuffered', async t => {
  const oss = await startOss(t)
  const options = optionsFor(oss, { maxBuffered: 1000 })
  const stream = createTransport(options)
  const drops: unknown[] = []
  stream.on('drop', info => drops.push(info))
  stream.write('{"n":0}\nxx')
  for (let i = 0; i < 100; i++) stream.write('x'.repeat(500))
  stream.write('xx\n{"n":1}\n{"n":')
  stream.write('2}\n')
  stream.write('y'.repeat(2000))
  stream.end()
  await nextEvent(stream, 'close')
  t.same(parseRecords(Buffer.from(read(oss, options))), { numbers: [0, 1, 2], dropped: 2 })
  t.same(drops, [
    { records: 1, bytes: 1002 },
    { records: 1, bytes: 2000 },
  ])
})

t.test('it never says that it is full, and drops record by record', async t => {
  const oss = await startOss(t)
  const options = optionsFor(oss, { maxBuffered: 1000 })
  const stream = createTransport(options)
  oss.server.refuse()
  const dropped = nextEvent<{ records: number }>(stream, 'drop')
  t.ok(stream.write(Array.from({ length: 1000 }, (_, n) => `{"n":${n}}\n`).join('')))
  await oss.server.listen()
  const { records } = await dropped
  stream.end()
  await nextEvent(stream, 'close')
  const found = parseRecords(Buffer.from(read(oss, options)))
  t.ok(found.numbers.length > 100)
  t.equal(found.numbers.length + records, 1000)
  t.match(read(oss, options), `\n{"level":40,"oss_append_stream":"dropped","records":${records}}\n`)
})

t.test('an outage is told, and no error', async t => {
  const oss = await startOss(t)
  const options = optionsFor(oss)
  const stream = createTransport(options)
  stream.on('error', error => t.fail(String(error)))
  const retry = nextEvent<{ attempt: number }>(stream, 'retry')
  oss.server.faults.push({ kind: 'html', on: 'any', times: 2 })
  stream.write('{"n":0}\n')
  t.equal((await retry).attempt, 1)
  const warned = nextEvent<Error>(stream, 'warn')
  oss.server.permissions.clear()
  stream.write('{"n":1}\n')
  t.match(await warned, { code: 'AccessDenied' })
  for (const action of ['oss:GetObject', 'oss:PutObject']) oss.server.permissions.add(action)
  stream.end()
  await nextEvent(stream, 'close')
  t.same(parseRecords(Buffer.from(read(oss, options))).numbers, [0, 1])
})

t.test('given up: it closes without an error, and says so', async t => {
  const oss = await startOss(t)
  const stderr = captureStderr(t)
  for (const end of ['end', 'destroy'] as const) {
    oss.server.refuse()
    const stream = createTransport(optionsFor(oss, { closeTimeout: 50 }))
    stream.on('error', error => t.fail(String(error)))
    stream.write('{"n":0}\n')
    const flushed = new Promise(resolve => stream.flush(resolve))
    stream[end]()
    await nextEvent(stream, 'close')
    t.type(stream.failed, UndeliveredError)
    t.match(stream.failed, { code: 'OSS_ERR_ABORTED', records: 1, bytes: 8 })
    t.equal(await flushed, stream.failed)
    t.match(parseLossReports(stderr.splice(0).join('')), [{ records: 1 }], end)
  }
})

t.test('the default export takes what pino adds, and refuses what is wrong', async t => {
  const oss = await startOss(t)
  const options = optionsFor(oss)
  const stream = await transport({
    ...options,
    credentials: oss.server.credentials,
    ...{ $context: { threadStreamVersion: '4' }, pinoWillSendConfig: true },
  })
  stream.end('{"n":0}\n')
  await nextEvent(stream, 'close')
  t.equal(read(oss, options), '{"n":0}\n')
  const wrong = { ...options, credentials: oss.server.credentials }
  await t.rejects(transport({ ...wrong, bucket: '' }), { message: /^option bucket: / })
  await t.rejects(transport({ ...wrong, ...{ colour: 1 } }), {
    message: /^option colour: is unknown/,
  })
})

t.test('credentials by the name of a module', async t => {
  const oss = await startOss(t)
  const folder = t.testdir({})
  const keys = JSON.stringify(oss.server.credentials)
  const modules: [string, string][] = [
    ['function.mjs', `export default () => (${keys})`],
    ['provider.mjs', `export default { getCredential: async () => (${keys}) }`],
    ['keys.cjs', `module.exports = ${keys}`],
    ['compiled.cjs', `exports.__esModule = true; exports.default = async () => (${keys})`],
    ['class.mjs', `export default class { getCredentials() { return ${keys} } }`],
  ]
  for (const [name, code] of modules) {
    const path = join(folder, name)
    await writeFile(path, code)
    for (const credentials of [path, pathToFileURL(path).href]) {
      const options = { ...optionsFor(oss), credentials }
      const stream = await transport(options)
      stream.end('{"n":0}\n')
      await nextEvent(stream, 'close')
      t.equal(read(oss, options), '{"n":0}\n', credentials)
    }
  }
  // The environment's keys instead would be another identity than the one that was asked for.
  const wrong: [name: string, code: string, problem: RegExp][] = [
    ['named.mjs', 'export const getCredential = 1', /the module has no default export$/],
    ['null.cjs', 'module.exports = { __esModule: true, default: undefined }', /accessKeyId/],
    ['number.mjs', 'export default 5', /must be/],
    ['broken.mjs', 'import "SECRET"', /cannot be loaded: Cannot find package \.\.\.$/],
    ['throws.mjs', 'export default class { constructor() { throw 5 } getCredential() {} }', /5$/],
  ]
  for (const [name, code, problem] of wrong) {
    const credentials = join(folder, name)
    await writeFile(credentials, code)
    await t.rejects(
      transport({ ...optionsFor(oss), credentials }),
      {
        code: 'OSS_ERR_INVALID_OPTION',
        message: new RegExp(`^option credentials.*${problem.source}`),
      },
      name,
    )
  }
  const missing = { ...optionsFor(oss), credentials: './nowhere.mjs' }
  await t.rejects(transport(missing), {
    code: 'OSS_ERR_INVALID_OPTION',
    message: /^option credentials: cannot be loaded: Cannot find module/,
  })
})

/** A program that logs in pino's worker. */
const WORKER = `
  import pino from 'pino'
  const options = JSON.parse(process.env.OPTIONS)
  const transport = pino.transport({ target: 'oss-append-stream/pino', options })
  const logger = pino({ base: null, timestamp: false }, transport)
`
function workerEnv(oss: Oss, options: Record<string, unknown>) {
  const { url, region, credentials } = oss.server
  return {
    OPTIONS: JSON.stringify({ bucket: BUCKET, flushInterval: 20, ...options }),
    OSS_ENDPOINT: url,
    OSS_REGION: region,
    OSS_ACCESS_KEY_ID: credentials.accessKeyId,
    OSS_ACCESS_KEY_SECRET: credentials.accessKeySecret,
  }
}

t.test('in a worker: a wrong option is an error, before anything is logged', async t => {
  const oss = await startOss(t)
  const code = `${WORKER} transport.on('error', error => console.log(error.message))`
  const ended = await runModule(t, code, workerEnv(oss, { key: 'a', colour: 1 }))
  t.match(ended, { code: 0, stdout: /^option colour: is unknown\n/ })
})

t.test('in a worker: what happens is told to the main thread', async (t: Test) => {
  const oss = await startOss(t)
  const key = oss.newKey()
  oss.server.faults.push({ kind: 'html', on: 'any' })
  const code = `${WORKER}
    transport.on('error', error => console.log('error', error))
    for (const name of ['retry', 'roll', 'drop', 'warn']) {
      transport.on(name, info => console.log(name, JSON.stringify(info)))
    }
    process.stdin.on('data', () => logger.info({ n: 0 }))`
  const child = startModule(t, code, workerEnv(oss, { key, retry: { minDelay: 1 } }))
  let stdout = ''
  let stderr = ''
  child.stdout?.setEncoding('utf8').on('data', text => (stdout += text))
  child.stderr?.setEncoding('utf8').on('data', text => (stderr += text))
  await waitUntil(() => stdout.includes('retry'))
  oss.server.permissions.clear()
  child.stdin?.write('now')
  await waitUntil(() => stdout.includes('warn') || child.exitCode !== null)
  for (const action of ['oss:GetObject', 'oss:PutObject']) oss.server.permissions.add(action)
  await waitUntil(() => oss.server.stat(BUCKET, key) || child.exitCode !== null)
  child.stdin?.end()
  await nextEvent(child, 'close')
  t.match(stdout, /^retry \{"attempt":1,.*"error":\{"code":"OSS_ERR_NETWORK","name":"OssError"/m)
  t.match(stdout, /^warn \{.*"code":"AccessDenied".*"name":"OssServiceError"/m)
  t.notMatch(stdout, /^error/m)
  t.match(stderr, /^oss-append-stream: oss:\/\/examplebucket\/.*: AccessDenied: /m, 'and said')
  t.same(parseRecords(oss.read(key)).numbers, [0])
})

t.test('in a worker: what was given up is told with its cause', async t => {
  const oss = await startOss(t)
  const code = `${WORKER}
    transport.on('warn', info => console.log(JSON.stringify(info)))
    const owed = setInterval(() => {}, 1000)
    transport.once('retry', () => {
      clearInterval(owed)
      transport.end()
    })
    logger.info({ n: 0 })`
  const env = workerEnv(oss, { key: oss.newKey(), closeTimeout: 300, retry: { minDelay: 1 } })
  oss.server.refuse()
  const { stdout, stderr } = await runModule(t, code, env)
  t.match(JSON.parse(stdout), {
    name: 'UndeliveredError',
    records: 1,
    cause: { name: 'OssError', code: 'OSS_ERR_NETWORK', message: /./ },
  })
  t.match(parseLossReports(stderr), [{ records: 1, error: 'OSS_ERR_NETWORK' }])
})

t.test('in a worker: a closeTimeout for which pino does not wait is told', async t => {
  const oss = await startOss(t)
  for (const [closeTimeout, isReported] of [
    [9999, false],
    [10_000, true],
  ] as const) {
    const env = workerEnv(oss, { key: oss.newKey(), closeTimeout })
    const { stderr } = await runModule(t, `${WORKER} logger.info({ n: 0 })`, env)
    t.equal(
      /^oss-append-stream: closeTimeout is 10000, and pino ends/.test(stderr),
      isReported,
      stderr,
    )
  }
  const stderr = captureStderr(t)
  createTransport(optionsFor(oss, { closeTimeout: 20_000 })).destroy()
  t.same(stderr, [], 'in this thread nobody is in a hurry')
})

t.test('logged after the end, and the process exits before all is closed: counted', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  oss.server.latency = 100
  const code = `
    import pino from 'pino'
    import { createTransport } from 'oss-append-stream/pino'
    const transport = createTransport(JSON.parse(process.env.OPTIONS))
    const logger = pino({ base: null, timestamp: false }, transport)
    logger.info({ n: 0 })
    transport.end()
    logger.info({ n: 1 })
    setInterval(() => { if (transport.bytesBuffered === 0) process.exit() }, 5)`
  const { stderr } = await runModule(t, code, workerEnv(oss, { key, seal: true }))
  t.same(parseRecords(oss.read(key)).numbers, [0])
  t.match(parseLossReports(stderr), [{ records: 1, late: 1 }])
})

t.test('keys that a function gives are asked for again when they change', async t => {
  const oss = await startOss(t)
  let credentials = oss.server.credentials
  const options = optionsFor(oss, { credentials: () => credentials })
  const stream = createTransport(options)
  const logger = pino({ base: null, timestamp: false }, stream)
  logger.info({ n: 0 })
  await stream.flush()
  oss.server.credentials = { accessKeyId: 'another-key', accessKeySecret: 'another-secret' }
  logger.info({ n: 1 })
  await nextEvent(stream, 'warn')
  credentials = oss.server.credentials
  stream.end()
  await nextEvent(stream, 'close')
  t.same(parseRecords(Buffer.from(read(oss, options))).numbers, [0, 1])
  t.equal(stream.failed, undefined)
})

t.test('in a worker: flush reaches the object, by callback', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const code = `${WORKER}
    logger.info({ n: 0 })
    logger.flush(error => { console.log('flushed', error ?? ''); process.stdin.resume() })`
  const child = startModule(t, code, workerEnv(oss, { key, flushInterval: 0 }))
  t.equal(await firstLine(child), 'flushed ')
  t.same(parseRecords(oss.read(key)).numbers, [0])
  child.stdin?.end()
  await nextEvent(child, 'close')
})

t.test('in a worker: flush calls back without an error when records were given up', async t => {
  const oss = await startOss(t)
  // Nothing leaves before the flush: a retry shows that it has come to the worker.
  const env = workerEnv(oss, { key: oss.newKey(), flushInterval: 0, closeTimeout: 300 })
  const code = `${WORKER}
    transport.on('error', error => console.log('error', error))
    transport.on('warn', ({ records }) => console.log('warn', records))
    transport.once('retry', () => transport.end())
    const flush = () => {
      logger.info({ n: 0 })
      logger.flush((...errors) => console.log('flushed', ...errors.filter(Boolean)))
    }
    flush()
    process.stdin.once('data', flush)`
  const child = startModule(t, code, env)
  const ended = waitForChild(child)
  await nextEvent(child.stdout as NodeJS.EventEmitter, 'data')
  oss.server.refuse()
  child.stdin?.end('go')
  t.match(await ended, { code: 0, stdout: 'flushed\nwarn 1\nflushed\n' })
})

// pino passes a flush on to none of several transports, nor to the last of a pipeline.
t.test('in a worker with others: flush calls back before, and the end delivers', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const code = `
    import pino from 'pino'
    const options = JSON.parse(process.env.OPTIONS)
    const file = { target: 'pino/file', options: { destination: '/dev/null' } }
    const targets = [{ target: 'oss-append-stream/pino', options }, file]
    const transport = pino.transport({ targets })
    const logger = pino({ base: null, timestamp: false }, transport)
    logger.info({ n: 0 })
    logger.flush(error => { console.log('flushed', error ?? ''); process.stdin.resume() })`
  const child = startModule(t, code, workerEnv(oss, { key, flushInterval: 0 }))
  t.equal(await firstLine(child), 'flushed ')
  t.equal(oss.server.stat(BUCKET, key), undefined)
  child.stdin?.end()
  await nextEvent(child, 'close')
  t.same(parseRecords(oss.read(key)).numbers, [0])
})

for (const module of ['pino', 'pino9', 'pino8']) {
  t.test(
    `${module}, in a worker: keys of a module are asked for again when they change`,
    async t => {
      const oss = await startOss(t)
      const key = oss.newKey()
      const folder = t.testdir({})
      const [keys, credentials] = [join(folder, 'keys.json'), join(folder, 'provider.mjs')]
      await writeFile(keys, JSON.stringify(oss.server.credentials))
      await writeFile(
        credentials,
        `import { readFileSync } from 'node:fs'
         export default () => JSON.parse(readFileSync(${JSON.stringify(keys)}, 'utf8'))`,
      )
      const code = `${WORKER.replace("'pino'", `'${module}'`)}
        let n = 0
        const timer = setInterval(() => logger.info({ n: n++ }), 2)
        process.stdin.on('end', () => clearInterval(timer)).resume()
        process.on('exit', () => console.log(n))`
      const child = startModule(t, code, workerEnv(oss, { key, credentials }))
      const total = firstLine(child)
      const has = (count: number) =>
        waitUntil(() => parseRecords(oss.server.read(BUCKET, key)).numbers.length >= count)
      await has(50)
      const renewed = { accessKeyId: 'another-key', accessKeySecret: 'another-secret' }
      await writeFile(keys, JSON.stringify(renewed))
      oss.server.credentials = renewed
      await has(200)
      child.stdin?.end()
      const numbers = Array.from({ length: Number(await total) }, (_, n) => n)
      await nextEvent(child, 'close')
      t.same(parseRecords(oss.read(key)).numbers, numbers)
      t.ok(oss.server.requests.some(({ accessKeyId }) => accessKeyId === 'another-key'))
    },
  )
}

t.test('who ends it again is told, and what comes with that is counted', async t => {
  const oss = await startOss(t)
  captureStderr(t)
  for (const first of ['end', 'destroy'] as const) {
    const options = optionsFor(oss)
    const transport = createTransport(options)
    transport.on('error', t.fail)
    transport.write('{"n":0}\n')
    transport[first]()
    await new Promise<void>(resolve => transport.end('{"n":1}\n', resolve))
    await new Promise<void>(resolve => transport.end(resolve))
    const isEnd = first === 'end'
    t.equal(read(oss, options), isEnd ? '{"n":0}\n' : '', first)
    t.match(transport.failed, { records: isEnd ? 1 : 2, lateRecords: 1 })
  }
})

t.test('await using ends it and waits', async t => {
  const oss = await startOss(t)
  const options = optionsFor(oss, { flushInterval: 0 })
  {
    await using transport = createTransport(options)
    transport.on('error', t.fail)
    transport.write('{"n":0}\n')
  }
  t.equal(read(oss, options), '{"n":0}\n')
})

t.test(
  'a loss names the object that was last in use, also when another stream has followed',
  async t => {
    const oss = await startOss(t)
    const stderr = captureStderr(t)
    const key = `${oss.newKey()}-{index}`
    const transport = createTransport(optionsFor(oss, { key, closeTimeout: 100 }))
    transport.write('{"n":0}\n')
    await transport.flush()
    oss.server.permissions.clear()
    const warned = nextEvent(transport, 'warn')
    transport.write('{"n":1}\n')
    await warned
    await new Promise<void>(resolve => transport.end(resolve))
    const name = key.replace('{index}', '0')
    t.match(stderr.join(''), `oss://${BUCKET}/${name}, which ends at position 8;`)
  },
)

// thread-stream takes events from 2.1 on, and says its version from 2.2 on. pino 8.0 brings 1.0.
t.test('in a worker that takes no events there are none', async t => {
  const oss = await startOss(t)
  const code = `
    import { Worker } from 'node:worker_threads'
    const inside = \`
      import open from '\${process.env.PINO}'
      import { parentPort } from 'node:worker_threads'
      const transport = await open(JSON.parse(process.env.OPTIONS))
      transport.end('hello\\\\n', () => parentPort.postMessage({ code: 'DONE' }))
    \`
    for (const $context of [{}, { threadStreamVersion: '2.2.0' }]) {
      const codes = new Set()
      const workerData = { stateBuf: new SharedArrayBuffer(8), workerData: { $context } }
      const url = new URL('data:text/javascript,' + encodeURIComponent(inside))
      await new Promise(resolve => {
        const worker = new Worker(url, { workerData })
        worker.on('message', ({ code }) => {
          codes.add(code)
          if (code === 'DONE') void worker.terminate().then(resolve)
        })
      })
      console.log([...codes].join())
    }`
  oss.server.refuse()
  const OPTIONS = JSON.stringify(optionsFor(oss, { closeTimeout: 200 }))
  const child = startModule(t, code, { OPTIONS, PINO: `${DIST}loggers/pino.js` })
  t.match(await waitForChild(child), { code: 0, stdout: 'DONE\nEVENT,DONE\n' })
})
