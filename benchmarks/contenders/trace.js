/**
 * The cost of tracing: attempts that settle at once, alone or traced, with and without a subscriber.
 * Parameters: `{ contender, count }`.
 */

import { tracingChannel } from 'node:diagnostics_channel'
import { traceAttempt } from '../../dist/append/diagnostics.js'

const RESULT = { requestId: '0123456789ABCDEF01234567', isReconciled: false }
const attempt = async () => RESULT
const context = { bucket: 'benchmark', key: 'key', attempt: 1, position: 0, length: 1 }
const traced = () => traceAttempt('append', () => ({ ...context }), attempt)

const contenders = { plain: attempt, unsubscribed: traced, subscribed: traced }

export async function open({ contender, count }) {
  const channel = tracingChannel('oss-append-stream:append')
  if (contender === 'subscribed') channel.subscribe({ start() {}, asyncEnd() {} })
  const task = contenders[contender]
  return async () => {
    for (let i = 0; i < count; i++) await task()
    return { attempts: count }
  }
}
