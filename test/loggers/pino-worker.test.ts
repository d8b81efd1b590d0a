/** The transport in pino's worker, each in a process of its own: options, events, flush, credentials. */

import t, { type Test } from 'tap'
import { DIST, firstLine, runModule, startModule, waitForChild } from '../helpers/child-process.ts'
import { parseLossReports, parseRecords } from '../helpers/numbered-records.ts'
import { BUCKET, nextEvent, startOss, waitUntil } from '../helpers/test-oss.ts'
import { testRenewedKeys, WORKER, workerEnv } from './pino-worker.ts'

t.jobs = 3

testRenewedKeys('pino')

t.test('a wrong option is an error of pino.transport()', async t => {
  const oss = await startOss(t)
  const code = `${WORKER} transport.on('error', error => console.log(error.message))`
  const ended = await runModule(t, code, workerEnv(oss, { key: 'a', colour: 1 }))
  t.match(ended, { code: 0, stdout: /^option colour: / })
})

t.test('events of the worker are emitted in the main thread', async (t: Test) => {
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
  t.match(stdout, /^retry \{"attempt":1,.*"error":\{"code":"OSS_ERR_NETWORK",.*"name":"OssError"/m)
  t.match(stdout, /^warn \{.*"code":"AccessDenied".*"name":"OssServiceError"/m)
  t.notMatch(stdout, /^error/m)
  t.match(stderr, /^oss-append-stream: oss:\/\/examplebucket\/.*: AccessDenied: /m)
  t.same(parseRecords(oss.read(key)).numbers, [0])
})

t.test("'warn' in the main thread carries the loss of the worker and its cause", async t => {
  const oss = await startOss(t)
  const code = `${WORKER}
    transport.on('warn', info => console.log(JSON.stringify(info)))
    const keepAlive = setInterval(() => {}, 1000)
    transport.once('retry', () => {
      clearInterval(keepAlive)
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

t.test(
  'a closeTimeout of 10 s or more is reported, because pino terminates its worker',
  async t => {
    const oss = await startOss(t)
    for (const [closeTimeout, isReported] of [
      [9999, false],
      [10_000, true],
    ] as const) {
      const env = workerEnv(oss, { key: oss.newKey(), closeTimeout })
      const { stderr } = await runModule(t, `${WORKER} logger.info({ n: 0 })`, env)
      const report = /^oss-append-stream: closeTimeout is 10000 ms, but pino terminates/
      t.equal(report.test(stderr), isReported, stderr)
    }
  },
)

t.test('in-process, a record logged between the end and the exit is reported', async t => {
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

t.test('flush() calls back when the records are in the object', async t => {
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

t.test('flush() calls back without an error if records are given up', async t => {
  const oss = await startOss(t)
  // Nothing is sent before the flush, so a retry shows that the flush has reached the worker.
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

// pino passes a flush on neither to several transports nor to a pipeline.
t.test(
  'with several targets flush() calls back before the delivery, and the end delivers',
  async t => {
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
  },
)

// thread-stream passes events on from 2.1, and gives its version from 2.2. pino 8.0 depends on 1.0.
t.test('a worker posts no events to a thread-stream that does not give its version', async t => {
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
  const env = workerEnv(oss, { key: oss.newKey(), closeTimeout: 200 })
  const child = startModule(t, code, { ...env, PINO: `${DIST}loggers/pino.js` })
  t.match(await waitForChild(child), { code: 0, stdout: 'DONE\nEVENT,DONE\n' })
})
