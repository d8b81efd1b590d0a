/**
 * skipExisting(): a Transform for sources that can be read again. Fed from their start, it leaves out
 * what the object has already, once the CRC-64 of those bytes has shown that they are the same ones. So a copy that was
 * killed, at any moment and however often, goes on by running it again. Needs nothing but the object's
 * tail, which the stream has from its opening. It knows no position of the source: who can seek, and
 * trusts the object, starts a read at `stream.position` instead.
 */

import { Transform, type TransformCallback } from 'node:stream'
import type { Tail } from './append/tail.ts'
import { update } from './crc64/index.ts'
import { invalidOption, type OssError, resumeMismatch } from './errors.ts'
import { RollingAppendStream } from './rolling/rolling-stream.ts'
import { OssAppendStream } from './stream/append-stream.ts'

/**
 * Leaves out the first bytes of a source, as many as the object of `stream` has, and passes on the
 * rest: `pipeline(source, skipExisting(stream), stream)`. The object is asked for its tail alone, and
 * nothing is downloaded. An absent or empty object: everything passes.
 *
 * If the source begins with other bytes than the object, or ends before it, it fails with
 * `OSS_ERR_RESUME_MISMATCH`, and nothing has been sent. Chunks pass as they are, one by one, so it can
 * stand behind `gzipMembers({ flushInterval: 0 })` too.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION` if `stream` is none, or a rolling one: there the source's
 * first bytes may be in objects before the one in use, and would be written again.
 */
export function skipExisting(stream: OssAppendStream): Transform {
  // Others have a `flush()` too, zlib's for one: it tells no tail, and what is asked here would be lost.
  if (!(stream instanceof OssAppendStream)) {
    throw invalidOption('stream', 'must be an OssAppendStream')
  }
  if (stream instanceof RollingAppendStream) {
    throw invalidOption(
      'stream',
      'must not be a rolling one: the source may begin in an earlier object',
    )
  }
  return new SkipExisting(stream)
}

class SkipExisting extends Transform {
  readonly #stream: OssAppendStream
  /** The object as it was before anything of this source; undefined until a first chunk wants to know. */
  #tail: Tail | undefined
  /** Bytes of the source that were compared, and their CRC. */
  #compared = 0
  #crc = 0n

  constructor(stream: OssAppendStream) {
    // Object mode on the way out, or a reader could be given several chunks as one.
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

  /** Nothing of ours is owed yet, so a flush tells the tail when it is known, and holds the process till then. */
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
    return Object.assign(resumeMismatch(tail, this.#compared), { key: this.#stream.key })
  }
}
