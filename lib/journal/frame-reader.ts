/** Reads the frames of one file in order, and checks each. Its memory does not grow with the file. */

import { type JournalFile, readAll } from './file-system.ts'
import {
  type DecodedFrame,
  decodeFrame,
  FRAME_HEADER_BYTES,
  MAX_FRAME_BYTES,
  MAX_FRAME_ENDS,
} from './frame.ts'
import { HEAD_BYTES } from './segment.ts'

/** Bytes. Holds the longest frame. */
const BUFFER_BYTES = FRAME_HEADER_BYTES + MAX_FRAME_BYTES + MAX_FRAME_ENDS * 4

export class FrameReader {
  readonly #file: JournalFile
  readonly #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES)
  /** The bytes of `#buffer` that are read from the file and not used. */
  #start = 0
  #end = 0
  #position = HEAD_BYTES
  #crc: number
  /** The frame at `#start`, if it was decoded already. */
  #decoded: DecodedFrame | undefined

  /** `crc`: what the CRC of the first frame continues. */
  constructor(file: JournalFile, crc: number) {
    this.#file = file
    this.#crc = crc
  }

  /** Where in the file the next frame begins. */
  get position(): number {
    return this.#position
  }

  /** The next frame is in memory, so `next()` leaves the frames before it valid. */
  get hasNext(): boolean {
    return typeof this.#decode() === 'object'
  }

  /**
   * The next frame. It is valid until a call that reads, which is one without `hasNext`. `limit`: where the
   * frames end in the file. Undefined: the frame that begins at `position` is broken, or there is none.
   */
  async next(limit: number): Promise<DecodedFrame | undefined> {
    let frame = this.#decode()
    while (frame === 'short' && (await this.#fill(limit))) frame = this.#decode()
    if (typeof frame === 'string') return undefined
    this.#decoded = undefined
    this.#start += frame.length
    this.#position += frame.length
    this.#crc = frame.crc
    return frame
  }

  #decode(): DecodedFrame | 'short' | 'broken' {
    if (this.#decoded) return this.#decoded
    const frame = decodeFrame(this.#buffer.subarray(0, this.#end), this.#start, this.#crc)
    if (typeof frame === 'object') this.#decoded = frame
    return frame
  }

  /** Reads more of the file, up to `limit`. False: there is no more. */
  async #fill(limit: number): Promise<boolean> {
    this.#buffer.copyWithin(0, this.#start, this.#end)
    this.#end -= this.#start
    this.#start = 0
    const from = this.#position + this.#end
    const most = Math.min(this.#buffer.length - this.#end, limit - from)
    if (most <= 0) return false
    const part = this.#buffer.subarray(this.#end, this.#end + most)
    const length = await readAll(this.#file, part, from)
    this.#end += length
    return length > 0
  }
}
