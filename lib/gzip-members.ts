/**
 * gzipMembers(): a Transform that makes a gzip file out of members, each complete in itself and each a
 * chunk of its own (RFC 1952 section 2.2: a gzip file is a series of members). With `align: 'chunk'` on the append
 * stream behind it an append ends where a member ends, so whatever is acknowledged is a valid `.gz`, and
 * a later run just adds members. One long gzip stream has neither: its end comes last, and nothing can
 * be appended to it.
 *
 *      write() --> [ filling ] --full, waited, ended--> ( compressing ) --push()--> reader
 *
 * While one member is compressed, in a thread of the pool, the next one fills. That one fills up where
 * the reader has not yet taken the last, and then a write is held: that is the backpressure.
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
   * Bytes, before compression, that a member takes; 1 to 33554432. Default 1048576: log lines shrink to
   * what one long stream makes of them, within half a percent, at the same CPU (`benchmarks/README.md`).
   * Memory: two members before compression, and two after.
   */
  readonly memberBytes?: number | undefined
  /**
   * Milliseconds that a byte waits at most for its member to fill; then it leaves in a smaller one. 0:
   * time alone sends nothing. The stream's own `flushInterval` comes on top of it, and its `flush()`
   * does not reach what waits here. Default 1000.
   */
  readonly flushInterval?: number | undefined
}

type GzipSettings = { readonly [Name in keyof GzipMembersOptions]-?: number }

/** A write that found no room: what is left of it, and whom to tell when all of it is copied. */
interface HeldWrite {
  rest: Buffer
  readonly callback: TransformCallback
}

/** A test holds README's table to these. */
export const GZIP_DEFAULTS = { level: 6, memberBytes: 1_048_576, flushInterval: 1000 } as const
const OPTIONS = Object.keys(GZIP_DEFAULTS)

/**
 * Bytes. What does not compress grows, by 1 in 3,000 at most where zlib stores it, so this is far from
 * 64 MiB, the largest record that the append stream takes by default.
 */
const MAX_MEMBER_BYTES = 32 * 1024 * 1024

const NO_BYTES = Buffer.alloc(0)

/**
 * Compresses into gzip members, one a chunk, for an append stream with `align: 'chunk'`.
 *
 * A chunk that fits into a member is never divided between two, so who writes whole lines gets whole
 * lines out of every member; a larger one is cut. Nothing written at all makes one empty member (20
 * bytes), since a file of 0 bytes is no gzip file. Chunks are copied: the caller may reuse its buffer.
 * Without `flushInterval` the same chunks always make the same members; with it, time has a say.
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
  /** What is gathered is to leave without waiting for more. */
  #isDue = false
  /** `pushed`: the reader has not yet asked for another. */
  #memberState: 'none' | 'compressing' | 'pushed' = 'none'
  #hasMembers = false
  #held: HeldWrite | undefined
  #flushCallback: TransformCallback | undefined
  /** Runs exactly while bytes wait for their member to fill, so it holds the process for them. */
  #timer: NodeJS.Timeout | undefined

  constructor(settings: GzipSettings) {
    // Object mode on the way out, or a reader could be given two members as one chunk.
    super({ readableObjectMode: true, readableHighWaterMark: 1 })
    this.#settings = settings
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    if (chunk.length === 0) {
      callback()
      return
    }
    this.#held = { rest: chunk, callback }
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
    const held = this.#held
    this.#held = undefined
    held?.callback(error ?? new OssError('OSS_ERR_ABORTED', 'the stream was destroyed'))
    callback(error)
  }

  /** Goes on as far as possible; called whenever something has changed. */
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

  /** Copies of the held write what the member has room for; one that has no room for it is full. */
  #fill(): void {
    const { memberBytes, flushInterval } = this.#settings
    const held = this.#held
    if (!held) return
    if (this.#length > 0 && this.#length + held.rest.length > memberBytes) {
      this.#isDue = true
      return
    }
    this.#filling ??= Buffer.allocUnsafeSlow(memberBytes)
    const length = held.rest.copy(this.#filling, this.#length)
    this.#length += length
    held.rest = held.rest.subarray(length)
    if (this.#length === memberBytes) this.#isDue = true
    else if (flushInterval > 0) {
      this.#timer ??= setTimeout(this.#onTimer, flushInterval)
    }
    if (held.rest.length > 0) return
    this.#held = undefined
    held.callback()
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
    // Pieces of output, each another turn through the thread pool: at Node's 16 KiB that would show.
    const chunkSize = Math.max(1024, bytes.length >> 2)
    gzip(bytes, { level: this.#settings.level, chunkSize }, (error, member) => {
      if (error) {
        this.destroy(error)
        return
      }
      // Node asks for the next one, by `_read`, as soon as there is room for it.
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
