/**
 * Tracing channels of `node:diagnostics_channel`: `oss-append-stream:open` and
 * `oss-append-stream:append`, a trace for each attempt to find how an object ends, and to append. Whoever
 * subscribes sees where the time goes; without a subscriber they cost a look at a flag. No secret passes
 * through them.
 */

import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel'
import { OssError } from '../errors.ts'
import type { Tail } from './tail.ts'

/**
 * What subscribers of both channels are given, once the attempt begins (`start`) and when it has ended
 * (`asyncEnd`). Node adds `error` where it failed.
 * ([TracingChannel](https://nodejs.org/api/diagnostics_channel.html#class-tracingchannel))
 */
export interface AttemptTrace {
  /** Bucket of the object. */
  readonly bucket: string
  /** Key of the object. */
  readonly key: string
  /** From 1. */
  readonly attempt: number
  /** Where the append starts, in bytes; for an opening the object's length, when that is known. */
  position?: number | undefined
  /** Bytes of the append. */
  readonly length?: number | undefined
  /** What OSS calls the request that decided; undefined until it has answered, and where it found no object. */
  requestId?: string | undefined
  /** Of an append: OSS refused it, and the object's tail proved that an earlier attempt had landed. */
  reconciled?: boolean | undefined
  /** Why it failed. */
  error?: unknown
}

/** What an attempt found out, as far as a trace tells. */
interface TracedResult {
  readonly requestId?: string | undefined
  readonly tail?: Tail | undefined
  readonly isReconciled?: boolean | undefined
}

const channels = {
  open: tracingChannel<unknown, AttemptTrace>('oss-append-stream:open'),
  append: tracingChannel<unknown, AttemptTrace>('oss-append-stream:append'),
}

/** Runs an attempt, traced. `describe` is not called where nobody looks. */
export function traceAttempt<T extends TracedResult>(
  name: 'open' | 'append',
  describe: () => AttemptTrace,
  attempt: () => Promise<T>,
): Promise<T> {
  const channel: TracingChannel<unknown, AttemptTrace> = channels[name]
  return channel.hasSubscribers ? runTraced(channel, describe(), attempt) : attempt()
}

async function runTraced<T extends TracedResult>(
  channel: TracingChannel<unknown, AttemptTrace>,
  context: AttemptTrace,
  attempt: () => Promise<T>,
): Promise<T> {
  let result: T | undefined
  // What it resolves with would be shown to subscribers too, and is our own affair.
  await channel.tracePromise(async () => {
    try {
      result = await attempt()
      context.position ??= result.tail?.position
      context.requestId = result.requestId
      context.reconciled = result.isReconciled
    } catch (error) {
      context.requestId = requestIdOf(error)
      throw error
    }
  }, context)
  return result as T
}

/** Conflicts and the like have the refusal as their cause. */
function requestIdOf(error: unknown): string | undefined {
  return error instanceof OssError ? (error.requestId ?? requestIdOf(error.cause)) : undefined
}
