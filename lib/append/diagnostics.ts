/**
 * Tracing channels of `node:diagnostics_channel`: `oss-append-stream:open` and `oss-append-stream:append`. Each
 * attempt to find the end of an object, and each attempt to append, is one trace. Without a subscriber a
 * trace costs one look at a flag. No secret passes through the channels.
 */

import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel'
import { OssError } from '../errors.ts'
import type { Tail } from './tail.ts'

/**
 * What subscribers of both channels receive when the attempt begins (`start`) and when it has ended
 * (`asyncEnd`). Node adds `error` if it failed.
 * ([TracingChannel](https://nodejs.org/api/diagnostics_channel.html#class-tracingchannel))
 */
export interface AttemptTrace {
  /** Bucket of the object. */
  readonly bucket: string
  /** Key of the object. */
  readonly key: string
  /** From 1. */
  readonly attempt: number
  /** Bytes. Position of the append; for an opening the object's length, once it is known. */
  position?: number | undefined
  /** Bytes of the append. */
  readonly length?: number | undefined
  /** `x-oss-request-id` of the response that decided; undefined before it, and if there is no object. */
  requestId?: string | undefined
  /** Of an append: OSS refused it, and the object's tail proved that an attempt had landed. */
  reconciled?: boolean | undefined
  /** Why it failed. */
  error?: unknown
}

/** The part of an attempt's result that a trace shows. */
interface TracedResult {
  readonly requestId?: string | undefined
  readonly tail?: Tail | undefined
  readonly isReconciled?: boolean | undefined
}

const channels = {
  open: tracingChannel<unknown, AttemptTrace>('oss-append-stream:open'),
  append: tracingChannel<unknown, AttemptTrace>('oss-append-stream:append'),
}

/** Runs an attempt, traced. `describe` is called only if the channel has subscribers. */
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
  // Node would show subscribers the result too, which is internal.
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
