/** More of pino's worker: keys that change, with all versions of pino; records that are given up; an outage of 10 s. */

import t from 'tap'
import { DIST, firstLine, runModule, startModule, waitForChild } from '../helpers/child-process.ts'
import { parseLossReports, parseRecords } from '../helpers/numbered-records.ts'
import { BUCKET, nextEvent, startOss, waitUntil } from '../helpers/test-oss.ts'
import { testRenewedKeys, WORKER, workerEnv } from './pino-worker.ts'

t.jobs = 2

testRenewedKeys('pino')
testRenewedKeys('pino9')
testRenewedKeys('pino8')

t.test('a worker prints one line after 10 s of an outage, and one at its end', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  // The worker of a logger that nothing references is terminated.
  const code = `${WORKER} logger.info({ n: 0 }); process.stdin.on('data', () => logger.info(1))`
  oss.server.refuse()
  const child = startModule(
    t,
    code,
    workerEnv(oss, { key, retry: { minDelay: 10, maxDelay: 100 } }),
  )
  let stderr = ''
  child.stderr?.setEncoding('utf8').on('data', text => (stderr += text))
  await waitUntil(() => stderr.includes('\n') || child.exitCode !== null)
  t.match(
    stderr,
    /\/.*: all attempts have failed for 10 s \(OSS_ERR_NETWORK\); 19 bytes not acknowledged\n$/,
  )
  await oss.server.listen()
  await waitUntil(() => stderr.includes('is over') || child.exitCode !== null)
  t.match(stderr, /^.*\noss-append-stream: oss:\/\/.*: an outage of 1\d s is over\n$/)
  child.stdin?.end()
  await nextEvent(child, 'close')
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
