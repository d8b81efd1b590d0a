/**
 * Frames, pure: accepted bytes as they lie in a segment, little-endian.
 *
 *      0        4      5       6        8        12      16
 *      | length | type | flags | 0      | ends   | crc32 | bytes ... | end, end, ... |
 *
 * `crc32` covers the salt of the segment and all frames up to and with this one, but no crc32. So the frames of
 * another segment, or of an earlier write at the same place, do not continue a chain. In place of the bytes it
 * covers their CRC-64, which is needed for the object anyway.
 */

import { crc32 } from 'node:zlib'
import { update } from '../crc64/index.ts'

export const FRAME_HEADER_BYTES = 16
/** Bytes of the stream in one frame. */
export const MAX_FRAME_BYTES = 1_048_576
/** Chunk ends that one frame lists. */
export const MAX_FRAME_ENDS = 16_384
/** Bytes behind the header of a frame. */
const MAX_PAYLOAD_BYTES = MAX_FRAME_BYTES + MAX_FRAME_ENDS * 4

const DATA = 1
/** The last chunk of the frame goes on in the next frame. */
const GOES_ON = 1
/** Offsets in a header. */
const TYPE = 4
const FLAGS = 5
const ENDS = 8
const CRC = 12

export interface Frame {
  /** Bytes of the stream. */
  readonly bytes: Buffer
  /** With `align: 'chunk'`: where chunks end within `bytes`, besides at its end. */
  readonly ends: readonly number[]
  /** The last chunk goes on in the next frame, so it does not end with `bytes`. */
  readonly goesOn: boolean
  /** CRC-64 of `bytes`. */
  readonly crc64: bigint
}

/** A frame of a segment, checked. */
export interface DecodedFrame extends Frame {
  /** Bytes in the file: header, bytes and ends. */
  readonly length: number
  /** What the next frame's CRC continues. */
  readonly crc: number
}

/** The bytes that a frame takes in a file. */
export function frameLength(bytes: number, ends: number): number {
  return FRAME_HEADER_BYTES + bytes + ends * 4
}

/**
 * Writes header and ends around the bytes of a frame, which already lie in `buffer` behind the place of the
 * header at `start`. The CRC is left to `chainFrames()`. Returns where the frame ends.
 */
export function closeFrame(
  buffer: Buffer,
  start: number,
  { length, ends, goesOn }: { length: number; ends: readonly number[]; goesOn: boolean },
): number {
  buffer.writeUInt32LE(length + ends.length * 4, start)
  buffer[start + TYPE] = DATA
  buffer[start + FLAGS] = goesOn ? GOES_ON : 0
  buffer.writeUInt16LE(0, start + 6)
  buffer.writeUInt32LE(ends.length, start + ENDS)
  let at = start + FRAME_HEADER_BYTES + length
  for (const end of ends) at = buffer.writeUInt32LE(end, at)
  return at
}

/**
 * Sets the CRC of each frame in `buffer`, which follow the frame with the CRC `previous`. `sums`: the CRC-64 of the
 * bytes of each. Returns the last CRC.
 */
export function chainFrames(buffer: Buffer, sums: readonly bigint[], previous: number): number {
  let crc = previous
  let start = 0
  for (const crc64 of sums) {
    const end = start + FRAME_HEADER_BYTES + buffer.readUInt32LE(start)
    crc = frameCrc(buffer.subarray(start, end), crc64, crc)
    buffer.writeUInt32LE(crc, start + CRC)
    start = end
  }
  return crc
}

/** What the CRC of a segment's first frame continues. */
export function firstCrc(salt: Uint8Array): number {
  return crc32(salt)
}

/**
 * The frame that begins at `start` of `buffer`. `'short'`: `buffer` ends before the frame does. `'broken'`: no
 * valid frame begins there.
 */
export function decodeFrame(
  buffer: Buffer,
  start: number,
  previous: number,
): DecodedFrame | 'short' | 'broken' {
  if (buffer.length - start < FRAME_HEADER_BYTES) return 'short'
  const payload = buffer.readUInt32LE(start)
  if (payload > MAX_PAYLOAD_BYTES || buffer[start + TYPE] !== DATA) return 'broken'
  const length = FRAME_HEADER_BYTES + payload
  if (buffer.length - start < length) return 'short'
  const count = buffer.readUInt32LE(start + ENDS)
  if (count * 4 > payload) return 'broken'
  const endsAt = start + length - count * 4
  const bytes = buffer.subarray(start + FRAME_HEADER_BYTES, endsAt)
  const crc64 = update(0n, bytes)
  const crc = frameCrc(buffer.subarray(start, start + length), crc64, previous)
  if (crc !== buffer.readUInt32LE(start + CRC)) return 'broken'
  const ends = Array.from({ length: count }, (_, index) => buffer.readUInt32LE(endsAt + index * 4))
  return { bytes, ends, goesOn: (buffer[start + FLAGS] ?? 0) !== 0, crc64, length, crc }
}

/** The CRC-64 of the bytes of a frame, as its CRC covers it. */
const sum = Buffer.alloc(8)

function frameCrc(frame: Buffer, crc64: bigint, previous: number): number {
  sum.writeBigUInt64LE(crc64)
  const ends = frame.subarray(frame.length - frame.readUInt32LE(ENDS) * 4)
  return crc32(ends, crc32(sum, crc32(frame.subarray(0, CRC), previous)))
}
