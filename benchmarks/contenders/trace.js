/**
 * What tracing costs an attempt: one that settles at once, by itself or traced, with and without a
 * subscriber. `{ contender, count }`.
 */

import { tracingChannel } from 'node:diagnostics_channel'
import { traceAttempt } from '../../dist/append/diagnostics.js'

const RECEIPT = { requestId: '0123456789ABCDEF01234567', isReconciled: false }
const attempt = async () => RECEIPT
const place = { bucket: 'benchmark', key: 'key', attempt: 1, position: 0, length: 1 }
const traced = () => traceAttempt('append', () => ({ ...place }), attempt)

const contenders = { plain: attempt, unheard: traced, heard: traced }

export async function open({ contender, count }) {
  const channel = tracingChannel('oss-append-stream:append')
  if (contender === 'heard') channel.subscribe({ start() {}, asyncEnd() {} })
  const task = contenders[contender]
  return async () => {
    for (let i = 0; i < count; i++) await task()
    return { attempts: count }
  }
}
