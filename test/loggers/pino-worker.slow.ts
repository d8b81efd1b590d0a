/** The tests of pino's worker with the older versions of pino, and an outage of 10 s. */

import t from 'tap'
import { startModule } from '../helpers/child-process.ts'
import { parseRecords } from '../helpers/numbered-records.ts'
import { nextEvent, startOss, waitUntil } from '../helpers/test-oss.ts'
import { testRenewedKeys, WORKER, workerEnv } from './pino-worker.ts'

t.jobs = 2

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
