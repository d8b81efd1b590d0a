/** The transport for pino by itself: what a write is, what its methods promise, how it is made. */

import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import pino from 'pino'
import t, { type Test } from 'tap'
import transport, { createTransport, type TransportOptions } from '../lib/pino.ts'
import { firstLine, run, start } from './fixtures/child.ts'
import { BUCKET, next, type Oss, reach, startOss, until } from './fixtures/oss.ts'
import { readConfessions, readRecords } from './fixtures/records.ts'
import { catchStderr } from './fixtures/stderr.ts'

function optionsFor(oss: Oss, more: Partial<TransportOptions> = {}): TransportOptions {
  return {
    bucket: BUCKET,
    key: oss.newKey(),
    ...reach(oss.server),
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
  t.same(readRecords(Buffer.from(read(oss, options))).numbers, [0, 1, 2])
  t.equal(stream.bytesBuffered, 0)
  stream.end()
  await next(stream, 'close')
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
    await next(stream, 'close')
    t.equal(read(oss, options), lines.map(line => `${line}\n`).join(''))
    t.equal(oss.server.stat(BUCKET, String(options.key)) !== undefined, lines.length > 0)
  })
}

t.test('it never says that it is full, and drops record by record', async t => {
  const oss = await startOss(t)
  const options = optionsFor(oss, { maxBuffered: 1000 })
  const stream = createTransport(options)
  oss.server.refuse()
  const dropped = next<{ records: number }>(stream, 'drop')
  t.ok(stream.write(Array.from({ length: 1000 }, (_, n) => `{"n":${n}}\n`).join('')))
  await oss.server.listen()
  const { records } = await dropped
  stream.end()
  await next(stream, 'close')
  const found = readRecords(Buffer.from(read(oss, options)))
  t.ok(found.numbers.length > 100)
  t.equal(found.numbers.length + records, 1000)
  t.match(read(oss, options), `\n{"level":40,"oss_append_stream":"dropped","records":${records}}\n`)
})

t.test('an outage is told, and no error', async t => {
  const oss = await startOss(t)
  const options = optionsFor(oss)
  const stream = createTransport(options)
  stream.on('error', error => t.fail(String(error)))
  const retry = next<{ attempt: number }>(stream, 'retry')
  oss.server.faults.push({ kind: 'html', on: 'any', times: 2 })
  stream.write('{"n":0}\n')
  t.equal((await retry).attempt, 1)
  const warned = next<Error>(stream, 'warn')
  oss.server.permissions.clear()
  stream.write('{"n":1}\n')
  t.match(await warned, { code: 'AccessDenied' })
  for (const action of ['oss:GetObject', 'oss:PutObject']) oss.server.permissions.add(action)
  stream.end()
  await next(stream, 'close')
  t.same(readRecords(Buffer.from(read(oss, options))).numbers, [0, 1])
})

t.test('given up: it closes without an error, and says so', async t => {
  const oss = await startOss(t)
  const stderr = catchStderr(t)
  for (const end of ['end', 'destroy'] as const) {
    oss.server.refuse()
    const stream = createTransport(optionsFor(oss, { closeTimeout: 50 }))
    stream.on('error', error => t.fail(String(error)))
    stream.write('{"n":0}\n')
    const flushed = new Promise(resolve => stream.flush(resolve))
    stream[end]()
    await next(stream, 'close')
    t.match(stream.failed, { code: 'OSS_ERR_ABORTED', records: 1, bytes: 8 })
    t.equal(await flushed, stream.failed)
    t.match(readConfessions(stderr.splice(0).join('')), [{ records: 1 }], end)
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
  await next(stream, 'close')
  t.equal(read(oss, options), '{"n":0}\n')
  const wrong = { ...options, credentials: oss.server.credentials }
  await t.rejects(transport({ ...wrong, bucket: undefined }), { message: /^option bucket: / })
  await t.rejects(transport({ ...wrong, ...{ colour: 1 } }), {
    message: /^option colour: is unknown/,
  })
})

t.test('credentials by the name of a module', async t => {
  const oss = await startOss(t)
  const folder = await mkdtemp(join(tmpdir(), 'pino-'))
  const keys = JSON.stringify(oss.server.credentials)
  const modules: [string, string][] = [
    ['function.mjs', `export default () => (${keys})`],
    ['provider.mjs', `export default { getCredential: async () => (${keys}) }`],
    ['keys.cjs', `module.exports = ${keys}`],
    ['compiled.cjs', `exports.__esModule = true; exports.default = async () => (${keys})`],
  ]
  for (const [name, code] of modules) {
    const path = join(folder, name)
    await writeFile(path, code)
    for (const credentials of [path, pathToFileURL(path).href]) {
      const options = { ...optionsFor(oss), credentials }
      const stream = await transport(options)
      stream.end('{"n":0}\n')
      await next(stream, 'close')
      t.equal(read(oss, options), '{"n":0}\n', credentials)
    }
  }
  const missing = { ...optionsFor(oss), credentials: './nowhere.mjs' }
  await t.rejects(transport(missing), {
    code: 'OSS_ERR_INVALID_OPTION',
    message: /^option credentials: cannot load the module \.\/nowhere\.mjs/,
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
  const ended = await run(t, code, workerEnv(oss, { key: 'a', colour: 1 }))
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
  const child = start(t, code, workerEnv(oss, { key, retry: { minDelay: 1 } }))
  let stdout = ''
  let stderr = ''
  child.stdout?.setEncoding('utf8').on('data', text => (stdout += text))
  child.stderr?.setEncoding('utf8').on('data', text => (stderr += text))
  await until(() => stdout.includes('retry'))
  oss.server.permissions.clear()
  child.stdin?.write('now')
  await until(() => stdout.includes('warn') || child.exitCode !== null)
  for (const action of ['oss:GetObject', 'oss:PutObject']) oss.server.permissions.add(action)
  await until(() => oss.server.stat(BUCKET, key) || child.exitCode !== null)
  child.stdin?.end()
  await next(child, 'close')
  t.match(stdout, /^retry \{"attempt":1,.*"error":\{"code":"OSS_ERR_NETWORK","name":"OssError"/m)
  t.match(stdout, /^warn \{.*"code":"AccessDenied".*"name":"OssServiceError"/m)
  t.notMatch(stdout, /^error/m)
  t.match(stderr, /^oss-append-stream: oss:\/\/examplebucket\/.*: AccessDenied: /m, 'and said')
  t.same(readRecords(oss.read(key)).numbers, [0])
})

t.test('in a worker: flush reaches the object, by callback', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const code = `${WORKER}
    logger.info({ n: 0 })
    logger.flush(error => { console.log('flushed', error ?? ''); process.stdin.resume() })`
  const child = start(t, code, workerEnv(oss, { key, flushInterval: 0 }))
  t.equal(await firstLine(child), 'flushed ')
  t.same(readRecords(oss.read(key)).numbers, [0])
  child.stdin?.end()
  await next(child, 'close')
})

for (const module of ['pino', 'pino9', 'pino8']) {
  t.test(
    `${module}, in a worker: keys of a module are asked for again when they change`,
    async t => {
      const oss = await startOss(t)
      const key = oss.newKey()
      const folder = await mkdtemp(join(tmpdir(), 'pino-'))
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
      const child = start(t, code, workerEnv(oss, { key, credentials }))
      const total = firstLine(child)
      const has = (count: number) =>
        until(() => readRecords(oss.server.read(BUCKET, key)).numbers.length >= count)
      await has(50)
      const renewed = { accessKeyId: 'another-key', accessKeySecret: 'another-secret' }
      await writeFile(keys, JSON.stringify(renewed))
      oss.server.credentials = renewed
      await has(200)
      child.stdin?.end()
      const numbers = Array.from({ length: Number(await total) }, (_, n) => n)
      await next(child, 'close')
      t.same(readRecords(oss.read(key)).numbers, numbers)
      t.ok(oss.server.requests.some(({ accessKeyId }) => accessKeyId === 'another-key'))
    },
  )
}
