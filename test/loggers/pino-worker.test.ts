/**
 * The transport in pino's worker, each in a process of its own: options, events, flush. More of them, and older
 * versions of pino, are in the slow set.
 */

import t, { type Test } from 'tap'
import { firstLine, runModule, startModule } from '../helpers/child-process.ts'
import { parseLossReports, parseRecords } from '../helpers/numbered-records.ts'
import { BUCKET, nextEvent, startOss, waitUntil } from '../helpers/test-oss.ts'
import { WORKER, workerEnv } from './pino-worker.ts'

t.jobs = 3

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
