/**
 * gzipMembers(): a Transform that compresses into gzip members, each in a chunk of its own. A gzip file is a
 * series of members (RFC 1952, 2.2), so behind `align: 'chunk'` every acknowledged length is a valid `.gz`,
 * and a later run adds members. While one member is compressed, in libuv's thread pool, the next one fills.
 *
 *      write() --> [ filling ] --full, waited, ended--> ( compressing ) --push()--> reader
 *
 * A write that does not fit is held until the reader has taken the last member: that is the backpressure.
 */

import { Transform, type TransformCallback } from 'node:stream'
import { gzip } from 'node:zlib'
import { OssError } from './errors.ts'
import { checkInteger, checkKnown, MAX_DELAY } from './validate.ts'

/** The options of `gzipMembers`. */
export interface GzipMembersOptions {
  /** How hard to compress: 0 (not at all) to 9. Default 6, as gzip's own. */
  readonly level?: number | undefined
  /**
   * Bytes of a member before compression. 1 to 32 MiB. Default 1 MiB: log lines compress as well as in one long
   * gzip stream, within half a percent, at the same CPU (`benchmarks/README.md`). Memory: two members before
   * compression, and two after.
   */
  readonly memberBytes?: number | undefined
  /**
   * Milliseconds that a byte waits at most for its member to fill; then a smaller member is made. 0: no
   * timer. The append stream's `flushInterval` adds to it, and its `flush()` does not flush this Transform.
   * Default 1,000.
   */
  readonly flushInterval?: number | undefined
}

type GzipSettings = { readonly [Name in keyof GzipMembersOptions]-?: number }

/** A write that does not fit into the member yet. */
interface PendingWrite {
  /** Bytes that are not copied. */
  rest: Buffer
  readonly callback: TransformCallback
}

/** A test compares the documents with these. */
export const GZIP_DEFAULTS = { level: 6, memberBytes: 1_048_576, flushInterval: 1000 } as const
const OPTIONS = Object.keys(GZIP_DEFAULTS)

/**
 * Bytes. zlib stores incompressible bytes, which grow by 1 in 3,000 at most. So a member stays far below 64 MiB,
 * the largest record that the append stream takes by default.
 */
const MAX_MEMBER_BYTES = 32 * 1024 * 1024

const NO_BYTES = Buffer.alloc(0)

/**
 * Compresses into gzip members, one a chunk, for an append stream with `align: 'chunk'`.
 *
 * A chunk that fits into a member is not divided, so a caller that writes whole lines gets members of whole
 * lines; a larger chunk is divided. If nothing is written, one empty member (20 bytes) is made, since a file
 * of 0 bytes is no gzip file. Chunks are copied: the caller may reuse its buffer. With `flushInterval: 0` the
 * same chunks always make the same members.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option.
 */
export function gzipMembers(options: GzipMembersOptions = {}): Transform {
  const {
    level = GZIP_DEFAULTS.level,
    memberBytes = GZIP_DEFAULTS.memberBytes,
    flushInterval = GZIP_DEFAULTS.flushInterval,
  } = checkKnown('options', options, OPTIONS)
  return new GzipMembers({
    level: checkInteger('level', level, 0, 9),
    memberBytes: checkInteger('memberBytes', memberBytes, 1, MAX_MEMBER_BYTES),
    flushInterval: checkInteger('flushInterval', flushInterval, 0, MAX_DELAY),
  })
}

class GzipMembers extends Transform {
  readonly #settings: GzipSettings
  #filling: Buffer | undefined
  /** Bytes in `#filling`. */
  #length = 0
  /** The filling member is to be compressed without waiting for more bytes. */
  #isDue = false
  /** `pushed`: the reader has not asked for another member yet. */
  #memberState: 'none' | 'compressing' | 'pushed' = 'none'
  #hasMembers = false
  #pending: PendingWrite | undefined
  #flushCallback: TransformCallback | undefined
  /** Runs exactly while bytes wait for their member to fill, and holds the process meanwhile. */
  #timer: NodeJS.Timeout | undefined

  constructor(settings: GzipSettings) {
    // Readable object mode: otherwise a reader could get two members as one chunk.
    super({ readableObjectMode: true, readableHighWaterMark: 1 })
    this.#settings = settings
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    if (chunk.length === 0) {
      callback()
      return
    }
    this.#pending = { rest: chunk, callback }
    this.#process()
  }

  override _flush(callback: TransformCallback): void {
    this.#flushCallback = callback
    this.#isDue = this.#length > 0 || !this.#hasMembers
    this.#process()
  }

  override _read(size: number): void {
    super._read(size)
    if (this.#memberState === 'pushed') this.#memberState = 'none'
    this.#process()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    clearTimeout(this.#timer)
    this.#filling = undefined
    const pending = this.#pending
    this.#pending = undefined
    pending?.callback(error ?? new OssError('OSS_ERR_ABORTED', 'the stream was destroyed'))
    callback(error)
  }

  /** Fills, compresses and ends as far as possible. Called after every change of state. */
  #process(): void {
    this.#fill()
    if (this.#isDue && this.#memberState === 'none') {
      this.#compress()
      this.#fill()
    }
    if (this.#isDue || this.#memberState === 'compressing') return
    const flushCallback = this.#flushCallback
    this.#flushCallback = undefined
    flushCallback?.()
  }

  /** Copies what fits of the pending write. A member that has no room for a whole chunk is full. */
  #fill(): void {
    const { memberBytes, flushInterval } = this.#settings
    const pending = this.#pending
    if (!pending) return
    if (this.#length > 0 && this.#length + pending.rest.length > memberBytes) {
      this.#isDue = true
      return
    }
    this.#filling ??= Buffer.allocUnsafeSlow(memberBytes)
    const length = pending.rest.copy(this.#filling, this.#length)
    this.#length += length
    pending.rest = pending.rest.subarray(length)
    if (this.#length === memberBytes) this.#isDue = true
    else if (flushInterval > 0) {
      this.#timer ??= setTimeout(this.#onTimer, flushInterval)
    }
    if (pending.rest.length > 0) return
    this.#pending = undefined
    pending.callback()
  }

  #compress(): void {
    const bytes = this.#filling?.subarray(0, this.#length) ?? NO_BYTES
    this.#filling = undefined
    this.#length = 0
    this.#isDue = false
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#memberState = 'compressing'
    this.#hasMembers = true
    // Each piece of output is a task for the thread pool: Node's 16 KiB would make many.
    const chunkSize = Math.max(1024, bytes.length >> 2)
    gzip(bytes, { level: this.#settings.level, chunkSize }, (error, member) => {
      if (error) {
        this.destroy(error)
        return
      }
      // Node calls `_read()` when the reader asks for the next member.
      this.#memberState = 'pushed'
      this.push(member)
    })
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined
    this.#isDue = true
    this.#process()
  }
}
