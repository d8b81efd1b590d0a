/**
 * The head of a segment, and the names of files. Pure.
 *
 *      0        4096     8192     12288
 *      | header | anchor | anchor | frame | frame | ...
 *
 * The anchor is there twice. It is written to one place, synced, written to the other, and synced, before it counts.
 * So one damaged place, torn by a crash or by the disk, leaves an anchor that may rule. A start that finds two
 * makes them one. Anchors never need more room, so a full disk can drain.
 */

import { crc32 } from 'node:zlib'
import type { Align } from '../options.ts'

/** The version that this code writes, and the greatest that it reads. */
export const VERSION = 1
/** Bytes of a segment before its first frame. */
export const HEAD_BYTES = 12_288
const PAGE_BYTES = 4096
/** Where the anchor is in a file. */
export const ANCHOR_PLACES = [PAGE_BYTES, 2 * PAGE_BYTES] as const
/** Bytes that mean the same in every version, up to their CRC, so that a newer version is told from damage. */
const FIXED_BYTES = 44
/** Bytes of the header before the names of its target. */
const HEADER_FIELDS_BYTES = 56
const MAGIC = Buffer.from('OSSJRNL\n')
const ANCHOR_FIELDS_BYTES = 44

/**
 * What the bytes of a journal were written for: the bucket and key of the stream's options. Bytes of which nothing
 * was sent have no anchor, and go there.
 */
export interface JournalTarget {
  readonly bucket: string
  /** A key, or the pattern of a rolling stream. Empty: a function makes its keys. */
  readonly key: string
  readonly isPattern: boolean
}

/** Characters of a pattern that the header has room for. Keys are shorter. */
const MAX_TARGET_LENGTH = 1024

export interface SegmentHeader {
  readonly version: number
  /** From 1. Higher than that of each segment that was made before in this folder. */
  readonly generation: number
  /** Stream offset of the first byte. */
  readonly offset: number
  /** 8 random bytes. */
  readonly salt: Buffer
  readonly align: Align
  /**
   * The generation of the first segment that this process made. What an earlier one of them has behind `offset`
   * is void: this segment has those bytes.
   */
  readonly firstGeneration: number
  /** A record begins at `offset`, whatever `align` says: a process or a stream has ended before it. */
  readonly beginsRecord: boolean
  /** That of the process which made the segment. Undefined: it adds no bytes. */
  readonly target: JournalTarget | undefined
}

/**
 * "From this byte of the stream on, the bytes go to this object, at this tail." The anchor with the highest
 * sequence number in the folder rules. All bytes before `offset` are acknowledged.
 */
export interface Anchor {
  /** Stream offset. */
  readonly offset: number
  readonly bucket: string
  readonly key: string
  /** The length of the object in bytes at `offset`. */
  readonly position: number
  /** CRC-64 of the first `position` bytes of the object, an unsigned decimal string. */
  readonly crc64: string
}

export interface NumberedAnchor extends Anchor {
  readonly sequence: number
}

/** What the pages before the first frame say. */
export interface SegmentHead {
  /** Undefined: the header is damaged, so no frame can be checked. */
  readonly header: SegmentHeader | undefined
  /** The undamaged anchor with the higher sequence number; undefined: there is none. */
  readonly anchor: NumberedAnchor | undefined
  /** The place that does not have `anchor`; undefined: both have it, or there is none. */
  readonly staleAnchorAt: number | undefined
  /** Both places are damaged, so there was an anchor. */
  readonly isAnchorDamaged: boolean
}

/** How the header writes `align`. */
const ALIGN_NEWLINE = 0
const ALIGN_CHUNK = 0xff_ff_ff_ff
/** Flags of the header. */
const BEGINS_RECORD = 1
const IS_PATTERN = 2

/** All bytes before the first frame. */
export function encodeHead(header: SegmentHeader, anchor: NumberedAnchor | undefined): Buffer {
  const head = Buffer.alloc(HEAD_BYTES)
  MAGIC.copy(head)
  head.writeUInt32LE(header.version, 8)
  head.writeUInt32LE(header.generation, 12)
  writeNumber(head, header.offset, 16)
  header.salt.copy(head, 24, 0, 8)
  head.writeUInt32LE(encodeAlign(header.align), 32)
  head.writeUInt32LE(header.firstGeneration, 36)
  const { beginsRecord, target = NO_TARGET } = header
  head.writeUInt32LE((beginsRecord ? BEGINS_RECORD : 0) | (target.isPattern ? IS_PATTERN : 0), 40)
  writeNames(head, target, HEADER_FIELDS_BYTES)
  head.writeUInt32LE(fixedCrc(head), FIXED_BYTES)
  head.writeUInt32LE(namesCrc(head), FIXED_BYTES + 4)
  if (anchor) for (const place of ANCHOR_PLACES) encodeAnchor(anchor).copy(head, place)
  return head
}

/** `bytes`: the first `HEAD_BYTES` of a file, or all of a shorter one. */
export function decodeHead(bytes: Buffer): SegmentHead {
  const copies = ANCHOR_PLACES.map(place => {
    return { place, found: decodeAnchor(bytes.subarray(place, place + PAGE_BYTES)) }
  })
  let anchor: NumberedAnchor | undefined
  for (const { found } of copies) {
    if (found && found !== 'damaged' && found.sequence > (anchor?.sequence ?? 0)) anchor = found
  }
  const isStale = ({ found }: (typeof copies)[number]) =>
    anchor && (!found || found === 'damaged' || found.sequence < anchor.sequence)
  return {
    header: decodeHeader(bytes),
    anchor,
    staleAnchorAt: copies.find(isStale)?.place,
    isAnchorDamaged: copies.every(({ found }) => found === 'damaged'),
  }
}

function decodeHeader(bytes: Buffer): SegmentHeader | undefined {
  if (bytes.length < HEADER_FIELDS_BYTES || !bytes.subarray(0, 8).equals(MAGIC)) return undefined
  if (bytes.readUInt32LE(FIXED_BYTES) !== fixedCrc(bytes)) return undefined
  const version = bytes.readUInt32LE(8)
  const isKnown = version <= VERSION
  if (isKnown && bytes.readUInt32LE(FIXED_BYTES + 4) !== namesCrc(bytes)) return undefined
  const flags = bytes.readUInt32LE(40)
  const names = isKnown ? readNames(bytes, HEADER_FIELDS_BYTES) : NO_TARGET
  return {
    version,
    generation: bytes.readUInt32LE(12),
    offset: readNumber(bytes, 16),
    salt: Buffer.from(bytes.subarray(24, 32)),
    align: decodeAlign(bytes.readUInt32LE(32)),
    firstGeneration: bytes.readUInt32LE(36),
    beginsRecord: (flags & BEGINS_RECORD) > 0,
    target: names.bucket === '' ? undefined : { ...names, isPattern: (flags & IS_PATTERN) > 0 },
  }
}

function fixedCrc(bytes: Buffer): number {
  return crc32(bytes.subarray(0, FIXED_BYTES))
}

/** Of the lengths of the names, and of the names. */
function namesCrc(bytes: Buffer): number {
  return crc32(bytes.subarray(FIXED_BYTES + 8, namesEnd(bytes, HEADER_FIELDS_BYTES)))
}

function encodeAlign(align: Align): number {
  if (align === '\n') return ALIGN_NEWLINE
  return align === 'chunk' ? ALIGN_CHUNK : align
}

function decodeAlign(code: number): Align {
  if (code === ALIGN_NEWLINE) return '\n'
  return code === ALIGN_CHUNK ? 'chunk' : code
}

const NO_TARGET: JournalTarget = { bucket: '', key: '', isPattern: false }

export function createTarget(bucket: string, key: string, isPattern: boolean): JournalTarget {
  return { bucket, key: key.slice(0, MAX_TARGET_LENGTH), isPattern }
}

export function isSameTarget(a: JournalTarget, b: JournalTarget): boolean {
  return a.bucket === b.bucket && a.key === b.key && a.isPattern === b.isPattern
}

/** Of an anchor behind which nothing was sent. */
export const NO_OBJECT = { bucket: '', key: '', position: 0, crc64: '0' } as const

export function namesObject({ key }: Anchor): boolean {
  return key !== ''
}

/** One page. */
export function encodeAnchor(anchor: NumberedAnchor): Buffer {
  const page = Buffer.alloc(PAGE_BYTES)
  const length = writeNames(page, anchor, ANCHOR_FIELDS_BYTES)
  page.writeUInt32LE(length, 0)
  writeNumber(page, anchor.sequence, 8)
  writeNumber(page, anchor.offset, 16)
  writeNumber(page, anchor.position, 24)
  page.writeBigUInt64LE(BigInt(anchor.crc64), 32)
  page.writeUInt32LE(anchorCrc(page, length), 4)
  return page
}

/** Undefined: no anchor was written there. */
function decodeAnchor(page: Buffer): NumberedAnchor | 'damaged' | undefined {
  if (page.length < PAGE_BYTES) return 'damaged'
  const length = page.readUInt32LE(0)
  if (length === 0 && page.readUInt32LE(4) === 0) return undefined
  if (length < ANCHOR_FIELDS_BYTES || length > PAGE_BYTES) return 'damaged'
  if (anchorCrc(page, length) !== page.readUInt32LE(4)) return 'damaged'
  return {
    sequence: readNumber(page, 8),
    offset: readNumber(page, 16),
    position: readNumber(page, 24),
    crc64: page.readBigUInt64LE(32).toString(),
    ...readNames(page, ANCHOR_FIELDS_BYTES),
  }
}

function anchorCrc(page: Buffer, length: number): number {
  return crc32(page.subarray(8, length), crc32(page.subarray(0, 4)))
}

/** Writes bucket and key at `at`, and their lengths before. Returns where they end. */
function writeNames(page: Buffer, names: { bucket: string; key: string }, at: number): number {
  const bucket = Buffer.from(names.bucket)
  const key = Buffer.from(names.key)
  page.writeUInt16LE(bucket.length, at - 4)
  page.writeUInt16LE(key.length, at - 2)
  bucket.copy(page, at)
  key.copy(page, at + bucket.length)
  return namesEnd(page, at)
}

function namesEnd(page: Buffer, at: number): number {
  return at + page.readUInt16LE(at - 4) + page.readUInt16LE(at - 2)
}

function readNames(page: Buffer, at: number): { bucket: string; key: string } {
  const keyAt = at + page.readUInt16LE(at - 4)
  const bucket = page.toString('utf8', at, keyAt)
  return { bucket, key: page.toString('utf8', keyAt, namesEnd(page, at)) }
}

function writeNumber(buffer: Buffer, value: number, at: number): void {
  buffer.writeBigUInt64LE(BigInt(value), at)
}

function readNumber(buffer: Buffer, at: number): number {
  return Number(buffer.readBigUInt64LE(at))
}

const NAME = /^(\d{16})-(\d{8,})\.journal$/

/** `0000000000000000-00000001.journal`: stream offset and generation. */
export function segmentName({
  offset,
  generation,
}: {
  offset: number
  generation: number
}): string {
  return `${String(offset).padStart(16, '0')}-${String(generation).padStart(8, '0')}.journal`
}

export function parseSegmentName(name: string): { offset: number; generation: number } | undefined {
  const [, offset, generation] = NAME.exec(name) ?? []
  if (offset === undefined) return undefined
  return { offset: Number(offset), generation: Number(generation) }
}

/** A segment is made under this name, and renamed when its head is on stable storage. */
export function unfinishedName(name: string): string {
  return `${name}.new`
}

export function isUnfinishedName(name: string): boolean {
  return name.endsWith('.journal.new')
}

/** A file with bytes that are not delivered keeps them under this name. */
export function damagedName(name: string): string {
  return `${name}.damaged`
}

export function isDamagedName(name: string): boolean {
  return name.endsWith('.journal.damaged')
}
