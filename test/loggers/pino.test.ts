/** The transport for pino in-process: how it splits writes into records, what its methods promise, its options. */

import { writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import pino from 'pino'
import t from 'tap'
import transport, {
  createTransport,
  type PinoTransport,
  type TransportOptions,
  UndeliveredError,
  type WorkerOptions,
} from '../../lib/loggers/pino.ts'
import { captureStderr } from '../helpers/capture-stderr.ts'
import { parseLossReports, parseRecords } from '../helpers/numbered-records.ts'
import { BUCKET, networkOptions, nextEvent, type Oss, startOss } from '../helpers/test-oss.ts'

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

t.test('pino logs to the transport in-process', async t => {
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

t.test('{host} and {pid} in the key of a logger are replaced', async t => {
  const oss = await startOss(t)
  const stream = createTransport(optionsFor(oss, { key: '{host}-{pid}.log' }))
  pino({ base: null, timestamp: false }, stream).info({ n: 0 })
  await stream.flush()
  const key = `${hostname().replaceAll(/[^\w.-]/g, '-')}-${process.pid}.log`
  t.equal(read(oss, { key }), '{"level":30,"n":0}\n')
  stream.end()
  await nextEvent(stream, 'close')
})

// what is written, and the lines that it makes
const writes: [string, (Buffer | string)[], string[]][] = [
  ['a line', ['a\n'], ['a']],
  ['lines', ['a\nb\nc\n'], ['a', 'b', 'c']],
  ['a line in pieces', ['a', 'b', 'c\n'], ['abc']],
  ['the end of one and the beginning of another', ['a\nb', 'c\nd\n'], ['a', 'bc', 'd']],
  ['a last line without an end of line', ['a\nb'], ['a', 'b']],
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
  t.test(`lines from writes: ${title}`, async t => {
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

// how a transport ends -> its loss after one record before the end and two after it
for (const [title, end, loss] of [
  ['end()', s => s.end(), { records: 2, lateRecords: 2 }],
  ['destroy()', s => s.destroy(), { records: 3, lateRecords: 2 }],
] as [string, (stream: PinoTransport) => void, object][]) {
  t.test(`records after ${title} cause no error and are counted as given up`, async t => {
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
    t.equal(await written, null, 'the callback of a late write is called without an error')
    t.match(stream.failed, loss)
    t.match(parseLossReports(stderr.splice(0).join('')), [{ late: 2 }])

    const warned = nextEvent<Error>(stream, 'warn')
    t.ok(stream.write('{"n":3}\n', 'utf8', () => {}))
    logger.info({ n: 4 })
    t.match(await warned, { message: /^a record was logged after the end/ })
    t.equal(read(oss, options), title === 'end()' ? '{"level":30,"n":0}\n' : '')
  })
}

// what is written in an encoding -> the text that is stored, in a stream that has not ended
for (const [text, encoding, stored] of [
  ['7b7d0a', 'hex', '{}\n'],
  ['e30K', 'base64', '{}\n'],
  ['e30K', 'BASE64', '{}\n'],
  ['e30K', 'base64url', '{}\n'],
  ['æ\u0097¥\n', 'latin1', '日\n'],
  ['日\n', 'utf8', '日\n'],
  ['日\n', 'UTF-8', '日\n'],
  // Node 24 and later refuse it in `write()`.
  ...(Number.parseInt(process.versions.node, 10) < 24 ? [['日\n', 'buffer', '日\n']] : []),
] as [string, BufferEncoding, string][]) {
  t.test(`a string is written in its encoding: ${encoding}`, async t => {
    const oss = await startOss(t)
    captureStderr(t)
    const options = optionsFor(oss)
    const stream = createTransport(options)
    stream.write(text, encoding)
    stream.end()
    stream.write(text, encoding)
    await nextEvent(stream, 'close')
    t.equal(read(oss, options), stored)
    t.match(stream.failed, { records: 1, bytes: Buffer.byteLength(stored) }, 'also after the end')
  })
}

t.test('setDefaultEncoding() and a character that is cut by a chunk in hex', async t => {
  const oss = await startOss(t)
  const options = optionsFor(oss)
  const stream = createTransport(options)
  stream.setDefaultEncoding('hex')
  for (const text of ['e6', '97', 'a50a']) stream.write(text)
  stream.end()
  await nextEvent(stream, 'close')
  t.equal(read(oss, options), '日\n')
})

t.test('a partial line at the end is stored, and a later write does not continue it', async t => {
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

t.test('a partial line longer than maxBuffered is dropped', async t => {
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

t.test('write() always returns true, and a full queue drops single records', async t => {
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

t.test("an outage is a 'retry', a refusal a 'warn', and neither is an 'error'", async t => {
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

t.test('a transport that gives records up closes without an error and reports them', async t => {
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

t.test('the default export accepts the options that pino adds, and no unknown option', async t => {
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
    message: /^option colour: /,
  })
})

t.test('credentials can be the name of a module', async t => {
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
  // The keys of the environment must not be used instead: they may belong to another identity.
  const wrong: [name: string, code: string, problem: RegExp][] = [
    ['named.mjs', 'export const getCredential = 1', /the module has no default export$/],
    ['null.cjs', 'module.exports = { __esModule: true, default: undefined }', /accessKeyId/],
    ['number.mjs', 'export default 5', /must be/],
    ['broken.mjs', 'import "SECRET"', /cannot be loaded: Cannot find package \.\.\.$/],
    [
      'throws.mjs',
      'export default class { constructor() { throw 5 } getCredential() {} }',
      /no Error\. Run it/,
    ],
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

t.test('options that are no object are refused as a wrong option', async t => {
  const expected = { code: 'OSS_ERR_INVALID_OPTION', message: /^option options: must be an object/ }
  for (const options of [undefined, null, 'oss://examplebucket/app.log']) {
    const wrong = options as unknown as TransportOptions
    t.throws(() => createTransport(wrong), expected)
    await t.rejects(transport(wrong as object as WorkerOptions), expected)
  }
})

t.test('a function that provides keys is called again when OSS refuses the old ones', async t => {
  const oss = await startOss(t)
  let credentials = oss.server.credentials
  const options = optionsFor(oss, { credentials: () => credentials })
  const stream = createTransport(options)
  const logger = pino({ base: null, timestamp: false }, stream)
  logger.info({ n: 0 })
  await stream.flush()
  oss.server.credentials = { accessKeyId: 'another-key', accessKeySecret: 'another-secret' }
  logger.info({ n: 1 })
  await nextEvent(stream, 'retry')
  credentials = oss.server.credentials
  stream.end()
  await nextEvent(stream, 'close')
  t.same(parseRecords(Buffer.from(read(oss, options))).numbers, [0, 1])
  t.equal(stream.failed, undefined)
})

t.test(
  'a second end() calls back after the close, and its chunk is counted as given up',
  async t => {
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
  },
)

t.test('await using ends the transport and waits for its close', async t => {
  const oss = await startOss(t)
  const options = optionsFor(oss, { flushInterval: 0 })
  {
    await using transport = createTransport(options)
    transport.on('error', t.fail)
    transport.write('{"n":0}\n')
  }
  t.equal(read(oss, options), '{"n":0}\n')
})

t.test('a loss names the object last in use, also after a new stream was opened', async t => {
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
})

t.test('in-process, a closeTimeout that is too long for a worker causes no warning', async t => {
  const oss = await startOss(t)
  const stderr = captureStderr(t)
  createTransport(optionsFor(oss, { closeTimeout: 20_000 })).destroy()
  t.same(stderr, [])
})
