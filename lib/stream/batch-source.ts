/**
 * Where accepted bytes wait for their append. The stream's loop takes batches from a source, and does not
 * know where the bytes lie.
 *
 *      write() --> [ source ] --take()--> destination
 *                             <--release()--
 */

import type { AppendInfo, Destination } from '../append/destination.ts'
import type { Batch, Tail } from '../append/tail.ts'
import type { WriteCallback, WrittenChunk } from './event-types.ts'

/** What a source tells its stream. */
export interface SourceListener {
  /** All of one more chunk is accepted, and nothing behind it yet. */
  readonly onChunk: () => void
  /** Bytes were accepted. */
  readonly onBytes: () => void
  /** A batch may be due: take it. */
  readonly onDue: () => void
  /** No further byte can be accepted. */
  readonly onError: (error: Error) => void
}

export interface BatchSource {
  /** Bytes accepted since the beginning. */
  readonly accepted: number
  /** The accepted bytes end where a record ends. */
  readonly isAtRecordEnd: boolean
  /** The next record is longer than `maxRecordBytes`: no batch follows the ones before it. */
  readonly isTooLong: boolean
  /** Opens the destination, after what has to be delivered before the first new byte. */
  open(destination: Destination): Promise<Tail>
  /** Accepts a chunk, and calls back when all of it is accepted. */
  write(chunk: Buffer | string, encoding: BufferEncoding, callback: WriteCallback): void
  writev(chunks: readonly WrittenChunk[], callback: WriteCallback): void
  /** Makes all accepted records due. Returns the count of accepted bytes that they end at. */
  flushNow(): number
  /** No more bytes follow, so the last record is whole. */
  end(): void
  /** The next batch in order, if it is due. */
  take(): Batch | undefined | Promise<Batch | undefined>
  /** A request with the taken batch has begun, so there is time for other work. */
  onSending(): void
  /** A part of the taken batch, or all of it, is acknowledged. */
  acknowledge(info: AppendInfo): void
  /** All of the taken batch is acknowledged, so its memory is free. */
  release(): void
  /** All is acknowledged after the end, and the object may be sealed next. */
  complete(): Promise<void> | undefined
  /** The stream is being destroyed: accepts nothing more, and stops timers. */
  stop(): void
  /**
   * The last request has ended: fails a write that waits, and closes what is open. Resolves with the error of a
   * disk that did not take all accepted bytes.
   */
  close(error: Error): Promise<Error | undefined> | undefined
}
