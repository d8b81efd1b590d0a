/**
 * The way of the bytes, the same for every command: source -> meter -> append stream. It tells what
 * was sent and what OSS said of it, and judges neither.
 */

import { pipeline } from 'node:stream/promises'
import { OssClient } from '../client.ts'
import type { ReadyInfo, RetryInfo, RetryPolicy, Tail, Target } from '../index.ts'
import type { AppendReply, AppendRequest, Head } from '../seam.ts'
import { createAppendStream } from '../stream.ts'
import { describeProgress, Progress } from './progress.ts'
import { Meter, type Source } from './source.ts'

/** Length and CRC-64 of an object in OSS's own words. */
export interface ReportedTail {
  readonly position?: number | undefined
  readonly crc64?: string | undefined
}

/** What was sent. */
export interface Delivery {
  /** Bytes read from the source, and their SHA-256 in hexadecimal. */
  readonly bytes: number
  readonly sha256: string
  /** The object before, and after as we computed it. */
  readonly before: ReadyInfo
  readonly after: Tail
  readonly appends: number
  /** Milliseconds. */
  readonly duration: number
}

/** A client that keeps what OSS last said of the tail: the other half of the proof. */
export class WitnessClient extends OssClient {
  reported: ReportedTail | undefined

  override async head(target: Target, options: { readonly signal: AbortSignal }) {
    const head: Head | null = await super.head(target, options)
    this.reported = head ?? undefined
    return head
  }

  override async append(target: Target, request: AppendRequest): Promise<AppendReply> {
    const reply = await super.append(target, request)
    this.reported = reply
    return reply
  }
}

export interface DeliveryOptions {
  readonly source: Source
  readonly target: Target
  readonly client: OssClient
  readonly retry?: Partial<RetryPolicy> | undefined
  readonly signal: AbortSignal
}

/** Resolves when the last byte is acknowledged. Rejects with the stream's error, or the source's. */
export async function deliver(options: DeliveryOptions): Promise<Delivery> {
  const { source, target, client, retry, signal } = options
  const stream = createAppendStream({ ...target, client, retry })
  const meter = new Meter()
  const start = performance.now()
  let appends = 0
  let before: ReadyInfo | undefined
  const progress = new Progress(() => {
    const elapsed = performance.now() - start
    const { length } = source
    return describeProgress({ acknowledged: stream.bytesWritten, elapsed, appends, length })
  })
  stream.once('ready', (info: ReadyInfo) => (before = info))
  stream.on('append', () => appends++)
  stream.on('retry', ({ attempt, error }: RetryInfo) => {
    // One line for each outage, not for each attempt: this may go on for minutes.
    if (attempt === 1) progress.note(`oss-append: trying again: ${error.message}`)
  })
  try {
    await pipeline(source.stream, meter, stream, { signal })
  } finally {
    progress.stop()
  }
  const { position, crc64 } = stream
  return {
    bytes: meter.bytes,
    sha256: meter.sha256(),
    before: before!,
    after: { position: position!, crc64: crc64! },
    appends,
    duration: performance.now() - start,
  }
}
