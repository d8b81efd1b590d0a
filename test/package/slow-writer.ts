/** A stream of one line every few seconds over simulated hours and days, for the tests of long-running streams. */

import type { Test } from 'tap'
import { Appender, type AppenderOptions } from '../../lib/append/appender.ts'
import type { RetryInfo } from '../../lib/append/retry-loop.ts'
import { Batch } from '../../lib/append/tail.ts'
import { crc64 } from '../../lib/crc64/index.ts'
import type { OssError } from '../../lib/errors.ts'
import { RETRY, TARGET } from '../helpers/appender-harness.ts'
import {
  FAULT_CONDITIONS,
  type NetworkCondition,
  SimulatedOss,
  VirtualClock,
} from '../helpers/simulated-oss.ts'

export const MINUTE = 60_000
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR

/** Appends one line per interval. `nextCondition` decides how each exchange goes. */
export class SlowWriter {
  readonly clock = new VirtualClock()
  readonly oss: SimulatedOss
  readonly appender: Appender
  /** The number of retries for each error code. */
  readonly retries: Record<string, number> = {}
  text = ''
  appends = 0
  reconciled = 0

  constructor(nextCondition: (now: number) => NetworkCondition, retry: AppenderOptions['retry']) {
    this.oss = new SimulatedOss(this.clock, () => nextCondition(this.clock.time))
    this.appender = new Appender({
      target: TARGET,
      client: this.oss,
      clock: this.clock,
      position: 'end',
      maxObjectBytes: 5_368_709_120,
      highWaterMark: 4_194_304,
      retry,
      headers: {},
      creationHeaders: {},
      seal: false,
      onRetry: ({ error }: RetryInfo) => {
        const { code, cause } = error as OssError & { cause?: { code?: string } }
        const name = cause?.code ?? code
        this.retries[name] = (this.retries[name] ?? 0) + 1
      },
    })
  }

  async run(interval: number, end: number): Promise<void> {
    const { clock, appender } = this
    await clock.runUntilSettled(appender.open())
    while (clock.time < end) {
      const line = `line ${++this.appends} at ${Math.round(clock.time)}\n`
      const appending = appender.append(new Batch(Buffer.from(line)))
      const { position, nextPosition, reconciled } = await clock.runUntilSettled(appending)
      if (position !== this.text.length) throw new Error(`a gap or an overlap at ${position}`)
      this.text += line
      this.reconciled += Number(reconciled)
      if (nextPosition !== this.text.length) throw new Error(`ends at ${nextPosition}`)
      if (clock.timers.size > 0) throw new Error('a timer is left')
      await clock.runUntilSettled(clock.sleep(interval))
    }
  }

  /** Compares the object, the acknowledged tail and the written lines. */
  check(t: Test): void {
    const written = { position: this.text.length, crc64: crc64(this.text) }
    t.same(this.oss.tail, written, 'the object holds every line once')
    t.same(this.appender.tail, written, 'the acknowledged tail is that of the object')
    t.equal(this.oss.maxInFlight, 1, 'there is one exchange at a time')
    t.equal(this.clock.timers.size, 0, 'no timer is left')
  }
}

/** Writes a line every two seconds until `end`, with a fault every five minutes. */
export async function checkFaults(t: Test, end: number): Promise<void> {
  let next = 5 * MINUTE
  let count = 0
  const writer = new SlowWriter(now => {
    if (now < next) return 'fine'
    next += 5 * MINUTE
    return FAULT_CONDITIONS[count++ % FAULT_CONDITIONS.length]!
  }, RETRY)
  await writer.run(2_000, end)
  writer.check(t)
  t.equal(count, end / (5 * MINUTE) - 1, 'all faults struck')
  t.comment(`${writer.appends} appends, ${count} faults, ${writer.reconciled} reconciled`)
  t.ok(writer.appends > 0.9 * (end / 2_000))
  const each = Math.floor(count / FAULT_CONDITIONS.length)
  t.ok(each > 0, 'each kind of fault struck')
  t.ok(writer.reconciled >= 2 * each, 'lost responses and late requests were reconciled')
  const names = ['ECONNREFUSED', 'ENOTFOUND', 'OSS_ERR_TIMEOUT', 'SecurityTokenExpired']
  for (const name of names) t.ok((writer.retries[name] ?? 0) >= each, name)
}

/** How exchanges go during an outage. */
export const OUTAGE_CONDITIONS: readonly NetworkCondition[] = [
  'refused',
  'unknown',
  'hang',
  'late',
  'lost',
  'throttled',
  'foreign',
]

/** An outage lasts ten minutes and begins every day at noon. */
export function isOutage(now: number): boolean {
  return now % DAY >= 12 * HOUR && now % DAY < 12 * HOUR + 10 * MINUTE
}
