/**
 * Reads accepted bytes back, from any stream offset on. It keeps its place, so reading forward reads each byte of
 * a file once; another place costs a scan of one segment.
 */

import { journalError } from '../errors.ts'
import type { FileSystem, JournalFile } from './file-system.ts'
import { type DecodedFrame, firstCrc } from './frame.ts'
import { type JournalPiece, piecesOf } from './frame-layout.ts'
import { FrameReader } from './frame-reader.ts'
import type { SegmentFile } from './recovery.ts'

interface Place {
  readonly segment: SegmentFile
  readonly file: JournalFile
  readonly frames: FrameReader
  /** Stream offset at which `frame` begins, or the next one, if there is none. */
  offset: number
  frame: DecodedFrame | undefined
}

export class SegmentReader {
  readonly #fileSystem: FileSystem
  readonly #find: (offset: number) => SegmentFile | undefined
  #place: Place | undefined
  #isReading = false

  /** `find`: the segment that has the byte at an offset. */
  constructor(fileSystem: FileSystem, find: (offset: number) => SegmentFile | undefined) {
    this.#fileSystem = fileSystem
    this.#find = find
  }

  /**
   * Bytes from `offset` on, at most `length`; more than one piece only as far as they are in memory. They are
   * valid until the next call. Empty: there are none.
   */
  async read(offset: number, length: number): Promise<JournalPiece[]> {
    this.#isReading = true
    try {
      return await this.#read(offset, length)
    } finally {
      this.#isReading = false
    }
  }

  async #read(offset: number, length: number): Promise<JournalPiece[]> {
    const pieces: JournalPiece[] = []
    let left = length
    while (left > 0) {
      const isFree = pieces.length === 0 || this.#isInMemory(offset + length - left)
      const place = isFree ? await this.#seek(offset + length - left) : undefined
      if (!place?.frame) break
      const start = offset + length - left
      const found = cut(
        place.frame,
        start - place.offset,
        Math.min(left, place.segment.end - start),
      )
      pieces.push(...found)
      for (const { bytes } of found) left -= bytes.length
    }
    return pieces
  }

  /**
   * Closes the file of a segment that is deleted: the disk keeps its bytes as long as it is open. A read in progress
   * is of a later byte, and leaves that file by itself.
   */
  async leaveDeleted(): Promise<void> {
    const segment = this.#place?.segment
    if (!segment || this.#isReading) return
    if (this.#find(segment.header.offset) !== segment) await this.close()
  }

  async close(): Promise<void> {
    const file = this.#place?.file
    this.#place = undefined
    await file?.close()
  }

  /** The byte at `offset` is in memory, and reading it leaves what was read before valid. */
  #isInMemory(offset: number): boolean {
    const place = this.#place
    if (!place?.frame || offset >= place.segment.end) return false
    return offset < place.offset + place.frame.bytes.length || place.frames.hasNext
  }

  /** The place whose frame has the byte at `offset`; undefined: no segment has it. */
  async #seek(offset: number): Promise<Place | undefined> {
    let place = await this.#placeFor(offset)
    while (place && (!place.frame || offset >= place.offset + place.frame.bytes.length)) {
      const { segment, frames, frame } = place
      place.offset += frame?.bytes.length ?? 0
      place.frame = undefined
      const at = frames.position
      place.frame = await frames.next(segment.limit)
      // Meanwhile the bytes may have been written to another segment.
      if (offset >= segment.end) place = await this.#placeFor(offset)
      else if (!place.frame) throw damagedFrame(segment.file, at)
    }
    return place
  }

  async #placeFor(offset: number): Promise<Place | undefined> {
    const place = this.#place
    if (place && place.offset <= offset && offset < place.segment.end) return place
    await this.close()
    const segment = this.#find(offset)
    if (!segment) return undefined
    const file = await this.#fileSystem.open(segment.file)
    const frames = new FrameReader(file, firstCrc(segment.header.salt))
    this.#place = { segment, file, frames, offset: segment.header.offset, frame: undefined }
    return this.#place
  }
}

/** The part of a frame from `from` on, at most `length` bytes. */
function cut(frame: DecodedFrame, from: number, length: number): JournalPiece[] {
  const pieces: JournalPiece[] = []
  let at = 0
  for (const piece of piecesOf(frame)) {
    const { bytes, isEnd } = piece
    const start = Math.max(0, from - at)
    const end = Math.min(bytes.length, from + length - at)
    at += bytes.length
    if (start >= end) continue
    if (end - start === bytes.length) pieces.push(piece)
    else {
      const part = bytes.subarray(start, end)
      pieces.push({ bytes: part, isEnd: isEnd && end === bytes.length, crc64: undefined })
    }
  }
  return pieces
}

function damagedFrame(file: string, offset: number): Error {
  return journalError(
    'a frame of the journal is damaged, so its bytes cannot be sent, nor those behind them: ' +
      'start again, which keeps them in a .damaged file',
    { file, offset },
  )
}
