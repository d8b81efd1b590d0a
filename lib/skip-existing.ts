/**
 * skipExisting(): a Transform for sources that can be read again from their start. It leaves out the bytes that
 * the object already has, after comparing their CRC-64 with the object's. A copy that was killed at any moment
 * goes on when it is run again. It needs only the object's tail. A caller that can seek in the source, and
 * trusts the object, reads from `stream.position` instead.
 */

import { Transform, type TransformCallback } from 'node:stream'
import type { Tail } from './append/tail.ts'
import { update } from './crc64/index.ts'
import { invalidOption, type OssError, resumeMismatch, withContext } from './errors.ts'
import { RollingAppendStream } from './rolling/rolling-stream.ts'
import { OssAppendStream } from './stream/append-stream.ts'

/**
 * Leaves out the first bytes of a source, as many as the object of `stream` has, and passes on the
 * rest: `pipeline(source, skipExisting(stream), stream)`. Only the object's tail is asked for; nothing is
 * downloaded. If the object is absent or empty, everything passes.
 *
 * If the source begins with other bytes than the object, or ends before it, the Transform fails with
 * `OSS_ERR_RESUME_MISMATCH`, and nothing is sent. Chunks pass one by one and are not joined, so it also works
 * behind `gzipMembers({ flushInterval: 0 })`.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION` if `stream` is no OssAppendStream, or a rolling one: the
 * source's first bytes may be in an earlier object, and would be written again.
 */
export function skipExisting(stream: OssAppendStream): Transform {
  // Other streams have a `flush()` too, as zlib's, but it passes no tail.
  if (!(stream instanceof OssAppendStream)) {
    throw invalidOption('stream', 'must be an OssAppendStream, as createAppendStream() returns it')
  }
  if (stream instanceof RollingAppendStream) {
    throw invalidOption(
      'stream',
      'must not be a rolling one, whose earlier objects are not compared: use createAppendStream()',
    )
  }
  return new SkipExisting(stream)
}

class SkipExisting extends Transform {
  readonly #stream: OssAppendStream
  /** The object's tail before any byte of this source; undefined until the first chunk comes. */
  #tail: Tail | undefined
  /** Number of bytes of the source that were compared, and their CRC. */
  #compared = 0
  #crc = 0n

  constructor(stream: OssAppendStream) {
    // Readable object mode: otherwise a reader could get several chunks as one.
    super({ readableObjectMode: true, readableHighWaterMark: 1 })
    this.#stream = stream
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    if (this.#tail) this.#skip(chunk, this.#tail, callback)
    else this.#withTail(tail => this.#skip(chunk, tail, callback), callback)
  }

  override _flush(callback: TransformCallback): void {
    if (this.#tail) this.#checkEnd(this.#tail, callback)
    else this.#withTail(tail => this.#checkEnd(tail, callback), callback)
  }

  /** Nothing is unacknowledged yet, so a flush resolves with the tail, and holds the process until it is known. */
  #withTail(onTail: (tail: Tail) => void, callback: TransformCallback): void {
    this.#stream.flush((error, tail) => {
      if (!tail) {
        callback(error)
        return
      }
      this.#tail = tail
      onTail(tail)
    })
  }

  #skip(chunk: Buffer, tail: Tail, callback: TransformCallback): void {
    const remaining = tail.position - this.#compared
    const existing = chunk.subarray(0, remaining)
    this.#crc = update(this.#crc, existing)
    this.#compared += existing.length
    const isEnd = remaining > 0 && existing.length === remaining
    if (isEnd && this.#crc.toString() !== tail.crc64) callback(this.#mismatch(tail))
    else if (existing.length < chunk.length) callback(null, chunk.subarray(existing.length))
    else callback()
  }

  #checkEnd(tail: Tail, callback: TransformCallback): void {
    callback(this.#compared < tail.position ? this.#mismatch(tail) : null)
  }

  #mismatch(tail: Tail): OssError {
    return withContext(resumeMismatch(tail, this.#compared), { key: this.#stream.key })
  }
}
