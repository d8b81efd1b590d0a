/** Streams over simulated hours and days. `long-running.slow.ts` takes more time, and compares memory. */

import t from 'tap'
import { crc64 } from '../../lib/crc64/index.ts'
import { RETRY, rejectionOf, TARGET } from '../helpers/appender-harness.ts'
import {
  checkFaults,
  DAY,
  HOUR,
  isOutage,
  MINUTE,
  OUTAGE_CONDITIONS,
  SlowWriter,
} from './slow-writer.ts'

t.test('two hours with a fault every 5 minutes lose and double no line', async t => {
  await checkFaults(t, 2 * HOUR)
})

t.test('by default a stream gives up after 5 minutes of an outage', async t => {
  for (const condition of OUTAGE_CONDITIONS) {
    const writer = new SlowWriter(now => (isOutage(now) ? condition : 'fine'), RETRY)
    const error = await rejectionOf(writer.run(MINUTE, DAY))
    const { length } = writer.text
    t.match(error, { code: 'OSS_ERR_RETRIES_EXHAUSTED', ...TARGET }, condition)
    t.match(error.cause, { code: /^(OSS_ERR_(NETWORK|TIMEOUT)|TotalQpsLimitExceeded)$/ })
    const retries = Object.values(writer.retries).reduce((a, b) => a + b, 0)
    t.equal(error.attempts, retries + 1)
    t.same(error.tail, { position: length, crc64: crc64(writer.text) })
    const isCertain = condition === 'refused' || condition === 'unknown'
    t.equal(error.unresolved?.position, isCertain ? undefined : length)
    // A delay and an attempt after it may begin just before the five minutes are over.
    const elapsed = writer.clock.time - 12 * HOUR
    t.ok(elapsed >= 5 * MINUTE && elapsed < 7 * MINUTE, `after ${elapsed} ms`)
    t.equal(writer.clock.timers.size, 0)
  }
})
