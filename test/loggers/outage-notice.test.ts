/** The two lines by which a logger in pino's worker tells of an outage. */

import t from 'tap'
import { OutageNotice } from '../../lib/loggers/outage-notice.ts'
import { FakeClock } from '../helpers/fake-clock.ts'

function setUp() {
  const clock = new FakeClock()
  const lines: string[] = []
  const options = { clock, print: (text: string) => lines.push(text), bytesWaiting: () => 21 }
  return { clock, lines, notice: new OutageNotice(options) }
}

t.test('an outage of 10 s is told once, and its end once', async t => {
  const { clock, lines, notice } = setUp()
  notice.onFailure('OSS_ERR_TIMEOUT')
  const timer = await clock.nextTimer()
  t.equal(timer.delay, 10_000)
  t.equal(timer.hasRef, false, 'it keeps no process alive')
  notice.onFailure('OSS_ERR_NETWORK')
  t.same(lines, [])
  timer.fire()
  t.same(lines, ['all attempts have failed for 10 s (OSS_ERR_NETWORK); 21 bytes not acknowledged'])
  clock.time += 62_700
  notice.onFailure('OSS_ERR_NETWORK')
  t.equal(lines.length, 1)
  notice.onSuccess()
  notice.onSuccess()
  t.same(lines.slice(1), ['an outage of 73 s is over'])
  t.equal(clock.timers.size, 0)
})

t.test('a shorter outage is not told, and each outage has its own 10 s', async t => {
  const { clock, lines, notice } = setUp()
  for (let i = 0; i < 3; i++) {
    notice.onFailure('OSS_ERR_NETWORK')
    clock.time += 9_000
    notice.onSuccess()
    t.equal(clock.timers.size, 0)
  }
  t.same(lines, [])
  notice.onFailure('OSS_ERR_NETWORK')
  t.equal(clock.timers.size, 1)
  notice.end()
  t.equal(clock.timers.size, 0)
  t.same(lines, [])
})
