/** An appender between a fake client and a fake clock, and short words for what goes in and out. */

import { Appender, type AppenderOptions } from '../../lib/append/appender.ts'
import type { RetryInfo } from '../../lib/append/retry-loop.ts'
import { Batch, type Tail } from '../../lib/append/tail.ts'
import { crc64 } from '../../lib/crc64/index.ts'
import type { OssConflictError, OssError, OssServiceError } from '../../lib/errors.ts'
import { createRecordEnds } from '../../lib/stream/align.ts'
import { FakeClient, type FakeRequest } from './fake-client.ts'
import { FakeClock } from './fake-clock.ts'

export const TARGET = { bucket: 'examplebucket', key: 'logs/app.log' }

/** The default policy of the package. */
export const RETRY = {
  maxRetries: Number.POSITIVE_INFINITY,
  maxElapsed: 300_000,
  minDelay: 200,
  maxDelay: 20_000,
}

/** The tail of an object with this content, made in one pass. */
export const tailOf = (content: string): Tail => ({
  position: content.length,
  crc64: crc64(Buffer.from(content, 'latin1')),
})

/** A batch in which each byte is a record. With `contentMd5`, appends of all of it carry that. */
export const batchOf = (content: string, contentMd5?: string): Batch =>
  new Batch(Buffer.from(content, 'latin1'), { hasMd5: contentMd5 !== undefined, contentMd5 })

/** A batch of one record, which no append may cut. */
export const recordOf = (content: string): Batch =>
  new Batch(Buffer.from(content, 'latin1'), { ends: createRecordEnds('chunk', []) })

/** A batch in which a record ends with each newline. */
export const linesOf = (content: string): Batch =>
  new Batch(Buffer.from(content, 'latin1'), { ends: createRecordEnds('\n', []) })

export interface AppenderHarness {
  readonly appender: Appender
  readonly client: FakeClient
  readonly clock: FakeClock
  /** What `onRetry` was told. */
  readonly retries: RetryInfo[]
  /** The next timer's time comes: the appender's wait is over. */
  fireNextTimer(): Promise<void>
  /** The next request fails with this error, and the wait after it ends. */
  failNextAttempt(error: Error): Promise<FakeRequest>
}

export function createAppenderHarness(options: Partial<AppenderOptions> = {}): AppenderHarness {
  const client = new FakeClient()
  const clock = new FakeClock()
  const retries: RetryInfo[] = []
  const appender = new Appender({
    target: TARGET,
    client,
    clock,
    position: 'end',
    maxObjectBytes: 5_368_709_120,
    highWaterMark: 4_194_304,
    retry: RETRY,
    headers: {},
    creationHeaders: {},
    seal: false,
    onRetry: info => retries.push(info),
    ...options,
  })
  const fireNextTimer = async () => (await clock.nextTimer()).fire()
  const failNextAttempt = async (error: Error) => {
    const request = await client.next()
    request.fail(error)
    await fireNextTimer()
    return request
  }
  return { appender, client, clock, retries, fireNextTimer, failNextAttempt }
}

/** A scene whose object has this content, opened without a request. */
export async function openAppenderHarness(
  content: string,
  options: Partial<AppenderOptions> = {},
): Promise<AppenderHarness> {
  const harness = createAppenderHarness({ ...tailOf(content), ...options })
  await harness.appender.open()
  return harness
}

/** What any of our errors may have. */
type AnyOssError = OssError &
  Partial<Pick<OssServiceError, 'status' | 'requestId'>> &
  Partial<Pick<OssConflictError, 'before' | 'after' | 'seen'>>

/** What a promise was rejected with. */
export async function rejectionOf(promise: Promise<unknown>): Promise<AnyOssError> {
  let value: unknown
  try {
    value = await promise
  } catch (error) {
    return error as AnyOssError
  }
  throw new Error(`should have failed, and gave ${JSON.stringify(value)}`)
}
