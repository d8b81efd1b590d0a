/**
 * Tracing channels of `node:diagnostics_channel`: `oss-append-stream:open` and
 * `oss-append-stream:append`, a trace for each attempt. Whoever subscribes sees where the time goes;
 * without a subscriber they cost a look at a flag. No secret passes through them.
 */

import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel'
import { OssServiceError } from './errors.ts'
import type { Tail } from './tail.ts'

/**
 * What subscribers of both channels are given, once the attempt begins (`start`) and when it has ended
 * (`asyncEnd`). Node adds `error` where it failed.
 * ([TracingChannel](https://nodejs.org/api/diagnostics_channel.html#class-tracingchannel))
 */
export interface AttemptTrace {
  readonly bucket: string
  readonly key: string
  /** From 1. */
  readonly attempt: number
  /** Where the append starts, in bytes; for an opening the object's length, when that is known. */
  position?: number | undefined
  /** Bytes of the append. */
  readonly length?: number | undefined
  /** What OSS calls the request, when it has answered. */
  requestId?: string | undefined
  error?: unknown
}

/** What an attempt found out, as far as a trace tells. */
interface Learned {
  readonly requestId?: string | undefined
  readonly tail?: Tail | undefined
}

const channels = {
  open: tracingChannel<unknown, AttemptTrace>('oss-append-stream:open'),
  append: tracingChannel<unknown, AttemptTrace>('oss-append-stream:append'),
}

/** Runs an attempt, traced. */
export function trace<T extends Learned>(
  name: 'open' | 'append',
  context: AttemptTrace,
  attempt: () => Promise<T>,
): Promise<T> {
  const channel: TracingChannel<unknown, AttemptTrace> = channels[name]
  if (!channel.hasSubscribers) return attempt()
  return channel.tracePromise(async () => {
    try {
      const result = await attempt()
      context.position ??= result.tail?.position
      context.requestId = result.requestId
      return result
    } catch (error) {
      if (error instanceof OssServiceError) context.requestId = error.requestId
      throw error
    }
  }, context)
}
