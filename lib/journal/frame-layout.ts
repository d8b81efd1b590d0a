/** Lays chunks out as frames, in one buffer: what one write of the journal takes. Pure. */

import { update } from '../crc64/index.ts'
import { closeFrame, FRAME_HEADER_BYTES, type Frame, frameLength, MAX_FRAME_ENDS } from './frame.ts'

/** A chunk as the stream was given it. */
export interface JournalChunk {
  readonly chunk: Uint8Array | string
  readonly encoding: BufferEncoding
  /** Bytes, if they were counted: to count those of a long text takes half as long as to encode it. */
  readonly bytes?: number
}

/** Bytes of the stream. */
export interface JournalPiece {
  readonly bytes: Buffer
  /** A chunk ends with them. With another `align` than `'chunk'`, several chunks may be one piece. */
  readonly isEnd: boolean
  /** CRC-64 of `bytes`. Undefined: it is still to be computed. */
  readonly crc64: bigint | undefined
}

export interface LayoutOptions {
  /** Bytes of the stream, unless the first chunk is longer and still fits one frame. */
  readonly capacity: number
  /** Bytes of the stream in one frame. */
  readonly frameBytes: number
  /** Chunks are records, so frames list their ends. */
  readonly isByChunk: boolean
  /** Memory of at least `size` bytes that nothing else uses. */
  readonly allocate: (size: number) => Buffer
}

export interface Layout {
  /** Frames without CRC. */
  readonly buffer: Buffer
  /** CRC-64 of the bytes of each frame. */
  readonly sums: readonly bigint[]
  /** Bytes of the stream. */
  readonly length: number
  readonly pieces: readonly JournalPiece[]
  /** Chunks that are laid out whole. */
  readonly chunks: number
  /** The rest of the chunk behind them, if its first bytes are laid out. */
  readonly rest: JournalChunk | undefined
}

/** The chunks of one frame. */
interface FramePlan {
  from: number
  to: number
  /** Bytes. */
  length: number
}

/** Lays out as many chunks as fit; at least one, or the first part of one that is longer than a frame. */
export function layOut(chunks: readonly JournalChunk[], options: LayoutOptions): Layout {
  const [first] = chunks
  if (first && byteLength(first) > options.frameBytes) return layOutLong(first, options)
  const plans = planFrames(chunks, options)
  const size = plans.reduce((sum, { from, to, length }) => {
    return sum + frameLength(length, options.isByChunk ? to - from : 0)
  }, 0)
  const buffer = options.allocate(size)
  const pieces: JournalPiece[] = []
  const sums: bigint[] = []
  let at = 0
  for (const { from, to, length } of plans) {
    if (length === 0) continue
    const start = at + FRAME_HEADER_BYTES
    const ends: number[] = []
    let end = start
    for (let index = from; index < to; index++) {
      end += writeChunk(buffer, chunks[index] as JournalChunk, end)
      const isNew = end > start + (ends.at(-1) ?? 0) && end < start + length
      if (options.isByChunk && isNew) ends.push(end - start)
    }
    at = closeFrame(buffer, at, { length, ends, goesOn: false })
    const bytes = buffer.subarray(start, end)
    const crc64 = update(0n, bytes)
    sums.push(crc64)
    pieces.push(...piecesOf({ bytes, ends, goesOn: false, crc64 }))
  }
  const length = plans.reduce((sum, plan) => sum + plan.length, 0)
  const count = plans.at(-1)?.to ?? 0
  return { buffer: buffer.subarray(0, at), sums, length, pieces, chunks: count, rest: undefined }
}

function planFrames(
  chunks: readonly JournalChunk[],
  { capacity, frameBytes }: LayoutOptions,
): FramePlan[] {
  let plan: FramePlan = { from: 0, to: 0, length: 0 }
  const plans = [plan]
  let total = 0
  for (const chunk of chunks) {
    const length = byteLength(chunk)
    if (length > frameBytes || (total > 0 && total + length > capacity)) break
    if (plan.length + length > frameBytes || plan.to - plan.from === MAX_FRAME_ENDS) {
      plan = { from: plan.to, to: plan.to, length: 0 }
      plans.push(plan)
    }
    plan.to += 1
    plan.length += length
    total += length
  }
  return plans
}

/** A chunk that is longer than a frame, or the first part of it, in frames of its own. */
function layOutLong(chunk: JournalChunk, options: LayoutOptions): Layout {
  const { capacity, frameBytes, allocate } = options
  const bytes = encode(chunk)
  const length = Math.min(bytes.length, Math.max(capacity, frameBytes))
  const buffer = allocate(length + Math.ceil(length / frameBytes) * FRAME_HEADER_BYTES)
  const pieces: JournalPiece[] = []
  const sums: bigint[] = []
  let at = 0
  for (let from = 0; from < length; from += frameBytes) {
    const to = Math.min(length, from + frameBytes)
    const goesOn = to < bytes.length
    const start = at + FRAME_HEADER_BYTES
    bytes.copy(buffer, start, from, to)
    at = closeFrame(buffer, at, { length: to - from, ends: [], goesOn })
    const part = buffer.subarray(start, at)
    const crc64 = update(0n, part)
    sums.push(crc64)
    pieces.push({ bytes: part, isEnd: !goesOn, crc64 })
  }
  const isWhole = length === bytes.length
  const rest: JournalChunk = { chunk: bytes.subarray(length), encoding: 'utf8' }
  const laidOut = { buffer: buffer.subarray(0, at), sums, length, pieces }
  return { ...laidOut, chunks: isWhole ? 1 : 0, rest: isWhole ? undefined : rest }
}

/** The chunks of a frame; all its bytes, where it does not list the ends of chunks. */
export function piecesOf({ bytes, ends, goesOn, crc64 }: Frame): JournalPiece[] {
  const pieces: JournalPiece[] = []
  let from = 0
  for (const end of ends) {
    pieces.push({ bytes: bytes.subarray(from, end), isEnd: true, crc64: undefined })
    from = end
  }
  pieces.push({
    bytes: bytes.subarray(from),
    isEnd: !goesOn,
    crc64: from === 0 ? crc64 : undefined,
  })
  return pieces
}

/** Bytes. */
export function byteLength({ chunk, encoding, bytes }: JournalChunk): number {
  return typeof chunk === 'string' ? (bytes ?? Buffer.byteLength(chunk, encoding)) : chunk.length
}

function encode({ chunk, encoding }: JournalChunk): Buffer {
  if (typeof chunk === 'string') return Buffer.from(chunk, encoding)
  return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
}

/** Returns the number of bytes. */
function writeChunk(buffer: Buffer, { chunk, encoding }: JournalChunk, at: number): number {
  if (typeof chunk === 'string') return buffer.write(chunk, at, encoding)
  buffer.set(chunk, at)
  return chunk.length
}
