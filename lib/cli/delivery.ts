/**
 * The way of the bytes, the same for every command: source -> what changes them -> meter -> append
 * stream. It tells what was sent and what OSS said of it, and judges neither.
 */

import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { AppendRequest, AppendResult, Head } from '../append/client-interface.ts'
import { OssClient } from '../client/client.ts'
import type { OssAppendStream, ReadyInfo, Target } from '../index.ts'
import { InterruptedError, SourceError } from './failure.ts'
import type { Delivery, ObservedTail } from './report.ts'
import type { Reporter } from './reporter.ts'
import type { Signals } from './signals.ts'
import { HashingPassThrough, type Source, StoppableSource } from './source.ts'

/** A client that keeps what OSS last said of each tail: the other half of the proof. */
export class RecordingClient extends OssClient {
  readonly #reported = new Map<string, ObservedTail>()

  reported(key: string): ObservedTail | undefined {
    return this.#reported.get(key)
  }

  forget(key: string): void {
    this.#reported.delete(key)
  }

  override async head(target: Target, options: { readonly signal: AbortSignal }) {
    const head: Head | null = await super.head(target, options)
    if (head) this.#reported.set(target.key, head)
    return head
  }

  override async append(target: Target, request: AppendRequest): Promise<AppendResult> {
    const reply = await super.append(target, request)
    this.#reported.set(target.key, reply)
    return reply
  }
}

export interface DeliveryOptions {
  readonly source: Source
  readonly stream: OssAppendStream
  /** What the input goes through on its way. */
  readonly transforms?: readonly Duplex[]
  /** Bytes that `done` will have come to at the end; undefined: nobody knows. */
  readonly length?: number | undefined
  /** Bytes of the input that are in the object. Default: unknown where it goes `through` something. */
  readonly bytesDone?: (() => number) | undefined
  readonly reporter: Reporter
  readonly signals: Pick<Signals, 'first' | 'received' | 'exitCode'>
  /** Aborts it: the first signal or the second. */
  readonly signal: AbortSignal
  /** Milliseconds to read on after the first one; undefined: that one aborts. */
  readonly grace?: number | undefined
}

/** Resolves when the last byte is acknowledged. Rejects with the stream's error, or the source's. */
export async function deliver(options: DeliveryOptions): Promise<Delivery> {
  const { source, stream, transforms = [], reporter, signals, signal, grace } = options
  const isUnchanged = transforms.length === 0
  const inputHasher = new HashingPassThrough()
  const sentHasher = isUnchanged ? inputHasher : new HashingPassThrough()
  const start = performance.now()
  let before: ReadyInfo | undefined
  stream.once('ready', (info: ReadyInfo) => (before = info))
  const acknowledged = () => stream.bytesWritten
  const { length, bytesDone = isUnchanged ? acknowledged : undefined } = options
  reporter.watch({ stream, length, bytesDone: bytesDone ?? acknowledged })
  const stoppable = new StoppableSource(source.stream, inputHasher)
  const cancelGrace = grace === undefined ? () => {} : stopAfterGrace(stoppable, grace, options)
  try {
    await pipeline(
      isUnchanged ? [inputHasher, stream] : [inputHasher, ...transforms, sentHasher, stream],
      { signal },
    )
  } catch (error) {
    if (!signal.aborted || grace === undefined) throw error
    const { position } = stream
    const unacknowledged = bytesDone && Math.max(0, inputHasher.bytes - bytesDone())
    const remainder =
      unacknowledged === undefined
        ? `${inputHasher.bytes} bytes of the input were read, ${acknowledged()} made of them are in the object`
        : `${unacknowledged} bytes of the input may not be in the object`
    const objectEnd = position === undefined ? '' : `, which ends at ${position}`
    const message = `interrupted by ${signals.received}: ${remainder}${objectEnd}`
    throw new InterruptedError(signals.exitCode, message, { position, unacknowledged })
  } finally {
    cancelGrace()
    stoppable.stop()
    reporter.stop()
  }
  if (stoppable.error) throw new SourceError(stoppable.error, stream.position!)
  const { position, crc64, key } = stream
  const digest = sentHasher.digest()
  if (stoppable.isCut)
    reporter.note(`the input had not ended: it was cut after ${inputHasher.bytes} bytes`)
  return {
    ...digest,
    isCut: stoppable.isCut,
    input: isUnchanged ? undefined : inputHasher.digest(),
    acknowledged: acknowledged(),
    before: before!,
    after: { position: position!, crc64: crc64! },
    key: key!,
    rolls: reporter.rolls,
    appends: reporter.appends,
    duration: performance.now() - start,
  }
}

/** Closes the tap `grace` after the first signal. Returns how to forget about it. */
function stopAfterGrace(
  stoppable: StoppableSource,
  grace: number,
  { signals, reporter }: Pick<DeliveryOptions, 'signals' | 'reporter'>,
): () => void {
  let timer: NodeJS.Timeout | undefined
  const onFirstSignal = () => {
    const plan =
      grace > 0 ? `reads on for ${grace / 1000} s at most` : 'reads no more than is there'
    reporter.note(`${signals.received}: ${plan}, and sends all; again: aborts`)
    timer = setTimeout(() => stoppable.stopWhenIdle(), grace)
  }
  if (signals.first.aborted) onFirstSignal()
  else signals.first.addEventListener('abort', onFirstSignal)
  return () => {
    clearTimeout(timer)
    signals.first.removeEventListener('abort', onFirstSignal)
  }
}
