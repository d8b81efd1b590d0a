/**
 * Carries bytes from a source to an append stream, and measures them:
 *
 *     source -> hash -> transforms -> hash -> stream
 *
 * Whether the object is what was sent is decided in `read-back.ts`.
 */

import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Timer } from '../clock.ts'
import { formatCount } from '../errors.ts'
import type { OssAppendStream, ReadyInfo } from '../index.ts'
import { InterruptedError, SourceError } from './failure.ts'
import type { Delivery, Suspension } from './report.ts'
import type { Reporter } from './reporter.ts'
import { DELIVERY_TIME, graceNotice, onAbort, type Signals } from './signals.ts'
import { HashingPassThrough, type Source, StoppableSource } from './source.ts'
import { pipeOrSuspend } from './suspend.ts'

export interface DeliveryOptions {
  readonly source: Source
  readonly stream: OssAppendStream
  /** What changes the bytes on their way. */
  readonly transforms?: readonly Duplex[]
  /** Bytes that `bytesDone` will return at the end. Undefined: unknown. */
  readonly length?: number | undefined
  /** Bytes of the input that are in the object. Default: unknown where there are `transforms`. */
  readonly bytesDone?: (() => number) | undefined
  readonly reporter: Reporter
  readonly signals: Pick<Signals, 'first' | 'second' | 'received' | 'exitCode' | 'clock'>
  /** Aborts the delivery: at the first signal, or at the end of the grace. */
  readonly signal: AbortSignal
  /** Milliseconds to finish in after the first signal. Undefined: the first signal aborts. */
  readonly grace?: number | undefined
  /** The folder of the stream's journal: at the end of the grace the rest stays there. */
  readonly journal?: string | undefined
}

/**
 * Resolves when every byte is acknowledged, or with a journal in it. Rejects with the error of the stream or of
 * the source.
 */
export async function deliver(options: DeliveryOptions): Promise<Delivery | Suspension> {
  const { source, stream, transforms = [], reporter, signals, signal, grace, journal } = options
  const isUnchanged = transforms.length === 0
  const inputHasher = new HashingPassThrough()
  const sentHasher = isUnchanged ? inputHasher : new HashingPassThrough()
  const start = performance.now()
  let before: ReadyInfo | undefined
  stream.once('ready', (info: ReadyInfo) => (before = info))
  const acknowledged = () => stream.bytesWritten
  const { length, bytesDone = isUnchanged ? acknowledged : undefined } = options
  const bytesSent = () => sentHasher.bytes
  reporter.watch({ stream, length, bytesDone: bytesDone ?? acknowledged, bytesSent })
  const stoppable = new StoppableSource(source.stream, inputHasher)
  let hasShrunk = false
  let isSuspended = false
  const cancelStop = grace === undefined ? () => {} : stopInGrace(stoppable, grace, options)
  const stages = isUnchanged ? [inputHasher] : [inputHasher, ...transforms, sentHasher]
  try {
    if (journal === undefined) await pipeline([...stages, stream], { signal })
    else isSuspended = await pipeOrSuspend({ source: stoppable, stages, stream, signal })
    hasShrunk = !stoppable.isCut && source.hasShrunk?.(inputHasher.bytes) === true
  } catch (error) {
    if (!signal.aborted || grace === undefined || journal !== undefined) throw error
    throw interruptedError({ stream, signals, grace, read: inputHasher.bytes, done: bytesDone?.() })
  } finally {
    cancelStop()
    stoppable.stop()
    reporter.stop()
  }
  if (journal !== undefined && isSuspended) {
    const lost = isUnchanged ? stoppable.bytes - acceptedBytes(stream) : 0
    return checkSuspended(stream, lost, journal, signals)
  }
  if (stoppable.error) throw new SourceError(stoppable.error, stream.position!)
  const { position, crc64, key } = stream
  const digest = sentHasher.digest()
  const read = formatCount(inputHasher.bytes, 'byte')
  if (stoppable.isCut) reporter.note(`the input had not ended: it was cut after ${read}`)
  if (hasShrunk)
    reporter.note(`${source.name} became shorter while it was read: it was cut after ${read}`)
  return {
    ...digest,
    isCut: stoppable.isCut || hasShrunk,
    input: isUnchanged ? undefined : inputHasher.digest(),
    acknowledged: acknowledged(),
    before: before!,
    after: { position: position!, crc64: crc64! },
    key: key!,
    exists: before!.exists || reporter.appends > 0,
    rolls: reporter.rolls,
    appends: reporter.appends,
    recovered: reporter.recovered,
    duration: performance.now() - start,
  }
}

/** The grace is over. `read`: bytes of the input. `done`: those in the object. Undefined: unknown. */
function interruptedError({
  stream,
  signals,
  grace,
  read,
  done,
}: Pick<DeliveryOptions, 'stream' | 'signals'> & {
  readonly grace: number
  readonly read: number
  readonly done: number | undefined
}): InterruptedError {
  const { position, bytesWritten } = stream
  const unacknowledged = done === undefined ? undefined : Math.max(0, read - done)
  const remainder =
    unacknowledged === undefined
      ? `${formatCount(read, 'byte')} of the input were read, ${bytesWritten} made of them are in the object`
      : `${formatCount(unacknowledged, 'byte')} of the input may not be in the object`
  const objectEnd = position === undefined ? '' : `, which ends at ${position}`
  const limit = signals.second.aborted ? '' : `, and not done after ${grace / 1000} s`
  const message = `interrupted by ${signals.received}${limit}: ${remainder}${objectEnd}`
  return new InterruptedError(signals.exitCode, message, { position, unacknowledged })
}

function acceptedBytes({ bytesWritten, bytesBuffered }: OssAppendStream): number {
  return bytesWritten + bytesBuffered
}

/** `lost`: bytes that were read, and found no room in the journal. */
function checkSuspended(
  stream: OssAppendStream,
  lost: number,
  journal: string,
  { received, exitCode }: DeliveryOptions['signals'],
): Suspension {
  const { position, bytesBuffered: bytes, errored } = stream
  if (errored && lost <= 0) throw errored
  if (lost <= 0) return { journal, bytes, position }
  const message =
    `interrupted by ${received}: the journal ${journal} has no room for ` +
    `${formatCount(lost, 'byte')} of the input; ${formatCount(bytes, 'byte')} stay in it`
  throw new InterruptedError(exitCode, message, { position, unacknowledged: lost + bytes })
}

/** After the first signal, stops the source in time for the delivery. Returns a function that cancels that. */
function stopInGrace(
  stoppable: StoppableSource,
  grace: number,
  { signals, reporter }: Pick<DeliveryOptions, 'signals' | 'reporter'>,
): () => void {
  const { clock } = signals
  let timer: Timer | undefined
  const onFirstSignal = () => {
    reporter.note(graceNotice(signals, grace))
    timer = clock.setTimeout(() => stoppable.stopWhenIdle(), Math.max(0, grace - DELIVERY_TIME))
  }
  const stopListening = onAbort(signals.first, onFirstSignal)
  return () => {
    if (timer) clock.clearTimeout(timer)
    stopListening()
  }
}
