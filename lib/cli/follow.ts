/**
 * `oss-append --follow FILE URL`: appends what is written to FILE, over rotation, each generation of the file to
 * an object of its own.
 */

import { hostname } from 'node:os'
import { StreamContext } from '../append/stream-context.ts'
import { OssClient } from '../client/client.ts'
import { systemClock } from '../clock.ts'
import { formatCount } from '../errors.ts'
import type { RetryInfo, RetryPolicy } from '../index.ts'
import { resolveOptions } from '../options.ts'
import { compileKeyPattern } from '../rolling/key-pattern.ts'
import { parseTarget, withRetryDefaults } from './append.ts'
import { withBackend } from './backend.ts'
import type { CommandIO, FollowCommand } from './commands.ts'
import { FollowDelivery } from './follow-delivery.ts'
import { ObjectSeries } from './follow-objects.ts'
import { Follower } from './follower.ts'
import { formatRows } from './report.ts'
import { Reporter } from './reporter.ts'
import { RetryNotice } from './retry-notice.ts'
import { type Signals, startGrace } from './signals.ts'

/** The placeholders whose values depend on the file. */
const DATE = /\{(yyyy|MM|dd|HH|mm)\}/

/** Follows the file until a signal, and never ends well without one. */
export async function follow(
  command: FollowCommand,
  io: CommandIO,
  signals: Signals,
): Promise<number> {
  const { file, backend, outputMode, grace } = command
  const { bucket, key } = parseTarget(command)
  const nameKey = compileKeyPattern(key, command.roll.timeZone ?? 'UTC', {
    host: hostname(),
    pid: process.pid,
  })
  const reporter = new Reporter(outputMode, io)
  const { signal, end } = startGrace(signals, grace)
  const note = (text: string) => reporter.note(text)
  return withBackend(
    backend,
    'append',
    { env: io.env, note },
    async ({ clientOptions, isLocal }) => {
      const client = new OssClient(clientOptions)
      const retry = withRetryDefaults(command.options.retry, { isLocal })
      const options = { ...command.options, client, retry, signal }
      // Wrong options are refused here: a stream is made only when the file has bytes.
      const settings = resolveOptions({ ...options, bucket, key })
      const notice = new RetryNotice(note)
      const context = createContext(reporter, notice, settings.retry)
      const { retryLoop } = context
      const { headers = {} } = options
      const isDated = DATE.test(key)
      const onFound = () => notice.onSuccess()
      const series = new ObjectSeries(
        { file, bucket, nameKey, isDated, client, headers, onFound },
        context,
      )
      const shared = { options, series, reporter, signals, signal }
      const delivery = new FollowDelivery({ ...shared, bucket })
      const follower = new Follower({ ...shared, command, delivery })
      const abort = () => retryLoop.abort(signal.reason)
      const onFirstSignal = () => {
        if (follower.isStarted) retryLoop.hurry()
        else retryLoop.abort(signals.first.reason)
      }
      signal.addEventListener('abort', abort)
      signals.first.addEventListener('abort', onFirstSignal)
      try {
        client.checkBucket(bucket)
        await follower.run()
        await reporter.drainStderr(signals.first)
        return report(follower, delivery, command, reporter, io) || signals.exitCode
      } finally {
        signal.removeEventListener('abort', abort)
        signals.first.removeEventListener('abort', onFirstSignal)
        await client.close()
      }
    },
  ).finally(end)
}

/** For the search of objects; a stream has a context of its own. */
function createContext(reporter: Reporter, notice: RetryNotice, retry: RetryPolicy): StreamContext {
  return new StreamContext({
    clock: systemClock,
    retry,
    // The search appends no bytes.
    highWaterMark: 1,
    onRetry(info: RetryInfo) {
      notice.onRetry(info.error)
      reporter.emitRetry(info)
    },
  })
}

/** Prints the result. Returns 1 if bytes of the file may be lost. */
function report(
  { isCut: cut, duration }: Follower,
  { object, objects, bytes }: FollowDelivery,
  { file, outputMode }: FollowCommand,
  reporter: Reporter,
  io: CommandIO,
): number {
  const { isJson, isQuiet } = outputMode
  const { appends } = reporter
  const { url, position, crc64 } = object ?? {}
  const tail = { position, crc64 }
  const state = { url, bytes, cut, appends, rolls: reporter.rolls, duration, ...tail }
  reporter.emit('finish', { ...state, verified: true })
  const rows: [string, string | undefined][] = [
    ['source', file],
    [objects > 1 ? 'objects' : 'object', objects > 1 ? `${objects}, the last one ${url}` : url],
    ['bytes', `${bytes.toLocaleString('en-US')} in ${formatCount(appends, 'append')}`],
    ['length', position?.toLocaleString('en-US')],
    ['CRC-64', crc64],
  ]
  if (!isJson && !isQuiet) io.stdout.write(`${formatRows(rows)}${url ? 'verified\n' : ''}`)
  return cut ? 1 : 0
}
