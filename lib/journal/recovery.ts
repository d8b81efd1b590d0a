/**
 * What the files of a slot hold: the bytes that are still to be delivered, and where they were going. Reads
 * each file once and changes nothing.
 *
 *      anchor, offset 50            v
 *      generation 1  |##########|   .          deleted, and came back: it ends before the anchor
 *      generation 2             |##########|
 *      generation 3                    |#######x##|     made at 70: cuts generation 2. Broken at 110
 *      recovered                    |##########|  x..   kept as damaged
 */

import { basename, join } from 'node:path'
import { journalError, type OssError } from '../errors.ts'
import type { Align } from '../options.ts'
import { findLastRecordEnd } from '../stream/align.ts'
import { type FileSystem, readAll } from './file-system.ts'
import { type DecodedFrame, firstCrc } from './frame.ts'
import { FrameReader } from './frame-reader.ts'
import type { Damage } from './recover-info.ts'
import {
  ANCHOR_PLACES,
  decodeHead,
  HEAD_BYTES,
  isUnfinishedName,
  type JournalTarget,
  type NumberedAnchor,
  namesObject,
  parseSegmentName,
  type SegmentHead,
  type SegmentHeader,
  segmentName,
  VERSION,
} from './segment.ts'

/** Bytes that one process wrote for one stream. A record ends with them, whatever `align` says. */
export interface JournalPart {
  /** Stream offset. */
  readonly end: number
  /** Where their records end. */
  readonly align: Align
}

/** What a journal held when it was opened. */
export interface Recovered {
  /** Where the bytes go. Undefined: nothing of them was sent, so they go to `target`. */
  readonly anchor: NumberedAnchor | undefined
  /** What the bytes were written for. Undefined: there are none. */
  readonly target: JournalTarget | undefined
  /** Stream offset of the first byte that is not known to be acknowledged: that of the last anchor. */
  readonly from: number
  /** Stream offset behind the last byte to deliver. The first new byte has this offset. */
  readonly end: number
  /** The bytes to deliver: those of one process or stream after another. The last part ends at `end`. */
  readonly parts: readonly JournalPart[]
  readonly damaged: readonly Damage[]
}

/** A segment, with the part of it that counts. */
export interface SegmentFile {
  /** Absolute path. */
  readonly file: string
  readonly header: SegmentHeader
  /** Bytes of the file. */
  size: number
  /** Stream offset at which its bytes end, or those of another segment begin. */
  end: number
  /** Where the last frame that counts ends in the file. */
  limit: number
  /** It has bytes that are not delivered, so it is renamed instead of deleted. */
  isDamaged: boolean
}

/** What a slot holds, file by file. */
export interface FolderContent {
  readonly recovered: Recovered
  /** The last one, also if it names no object. */
  readonly anchor: NumberedAnchor | undefined
  /** Segments with bytes to deliver, in order. */
  readonly segments: readonly SegmentFile[]
  /** Segments that end at the anchor or before it: their unlink was lost, or was still to come. */
  readonly delivered: readonly SegmentFile[]
  /** Absolute paths of files of which nothing can be delivered: to be kept as damaged. */
  readonly undeliverable: readonly string[]
  /** Absolute paths of files that never counted, or whose bytes are all in a later file of the same process. */
  readonly void: readonly string[]
  /** The file of the anchor, or else the newest segment with a valid header; undefined: there is none. */
  readonly anchorFile: string | undefined
  /** Where in `anchorFile` the anchor is still to be written; undefined: nowhere. */
  readonly staleAnchorAt: number | undefined
  /** The highest of all files. */
  readonly generation: number
  /** Bytes of all segments. */
  readonly bytesOnDisk: number
}

/** A file with the name of a segment. */
interface FoundFile extends SegmentHead {
  readonly file: string
  readonly size: number
  readonly generation: number
}

/** @throws {OssError} `OSS_ERR_JOURNAL` if a newer version wrote the files, or the ruling anchor is damaged. */
export async function readFolder(fileSystem: FileSystem, folder: string): Promise<FolderContent> {
  const names = await fileSystem.list(folder)
  const files: FoundFile[] = []
  for (const name of names) {
    const parsed = parseSegmentName(name)
    if (parsed) files.push(await readHead(fileSystem, join(folder, name), parsed.generation))
  }
  files.sort((a, b) => a.generation - b.generation)
  const anchorFile = findAnchorFile(files)
  const { covered, replaced, lost } = coverage(files)
  const scan = await new Scan(fileSystem, covered, anchorFile?.anchor).run()
  const headless = files.filter(({ header }) => !header)
  const damaged = [
    ...headless.map(file => wholeFile(file, 'broken')),
    ...lost.map(file => wholeFile(file, 'gap')),
    ...scan.damaged,
  ]
  const { anchor, from, recordEnd, parts, segments, delivered } = scan
  const isRead = new Set([...segments, ...delivered].map(({ file }) => file))
  return {
    recovered: {
      anchor: anchor && namesObject(anchor) ? anchor : undefined,
      target: covered.at(-1)?.header.target,
      ...{ from, end: recordEnd, parts, damaged },
    },
    anchor,
    segments,
    delivered,
    undeliverable: damaged.map(({ file }) => file).filter(file => !isRead.has(file)),
    void: [
      ...names.filter(isUnfinishedName).map(name => join(folder, name)),
      ...replaced.map(({ file }) => file),
    ],
    anchorFile: anchorFile?.file ?? covered.at(-1)?.file,
    staleAnchorAt: anchorFile?.staleAnchorAt,
    generation: Math.max(0, ...names.map(generationOf)),
    bytesOnDisk: files.reduce((sum, { size }) => sum + size, 0),
  }
}

async function readHead(
  fileSystem: FileSystem,
  file: string,
  generation: number,
): Promise<FoundFile> {
  const opened = await fileSystem.open(file)
  try {
    const bytes = Buffer.alloc(HEAD_BYTES)
    const length = await readAll(opened, bytes, 0)
    const head = decodeHead(bytes.subarray(0, length))
    if (head.header && head.header.version > VERSION) throw newerVersion(file, head.header.version)
    const size = await opened.size()
    const isOwn = head.header && segmentName(head.header) === basename(file)
    if (isOwn || !head.header) return { file, size, generation, ...head }
    return { file, size, generation, ...headOfAnother(head) }
  } finally {
    await opened.close()
  }
}

/**
 * Of a file that has the header of another segment. It would cut segments that it does not replace, and its anchor
 * may be an old one.
 */
function headOfAnother({ anchor, isAnchorDamaged, ...head }: SegmentHead): SegmentHead {
  const hadAnchor = anchor !== undefined || isAnchorDamaged
  return { ...head, header: undefined, anchor: undefined, isAnchorDamaged: hadAnchor }
}

function newerVersion(file: string, version: number): OssError {
  return journalError(
    `the journal has format ${version}, and this version of the package reads up to ${VERSION}: ` +
      'start the newer version, or deliver the journal with it',
    { file },
  )
}

/**
 * The file of the anchor that rules. Anchors are written to the newest segment, so where both copies are damaged
 * they may have ruled: the bytes behind went to another object, and would be doubled in the object before it.
 */
function findAnchorFile(files: readonly FoundFile[]): FoundFile | undefined {
  const newest = files.findLast(({ anchor, isAnchorDamaged }) => anchor || isAnchorDamaged)
  if (!newest?.isAnchorDamaged) return newest
  throw journalError(
    'the anchor is damaged, so the journal does not tell where its bytes were going: ' +
      'nothing was sent or deleted. Move the folder away to start without it',
    { file: newest.file, offset: ANCHOR_PLACES[0] },
  )
}

/** The segments that count, by stream offset. Each cuts those of lower generations at its own offset. */
function coverage(files: readonly FoundFile[]): {
  covered: SegmentFile[]
  /** They have no bytes, or all of them are in a later file of the same process. */
  replaced: FoundFile[]
  /** They begin behind the end of what an earlier start has recovered. */
  lost: FoundFile[]
} {
  let covered: SegmentFile[] = []
  const superseded = new Map<string, SegmentHeader>()
  for (const { file, size, header } of files) {
    if (!header) continue
    for (const segment of covered) {
      segment.end = Math.min(segment.end, header.offset)
      if (segment.header.offset >= header.offset) superseded.set(segment.file, header)
    }
    covered = covered.filter(segment => !superseded.has(segment.file))
    const end = Number.POSITIVE_INFINITY
    covered.push({ file, header, size, end, limit: HEAD_BYTES, isDamaged: false })
  }
  const isReplaced = ({ file, generation, size }: FoundFile) => {
    const by = superseded.get(file)
    return by !== undefined && (isOfSameProcess(generation, by) || size <= HEAD_BYTES)
  }
  const isLost = (found: FoundFile) => superseded.has(found.file) && !isReplaced(found)
  return { covered, replaced: files.filter(isReplaced), lost: files.filter(isLost) }
}

/** Whether the process that made a segment also made one of a lower generation. */
function isOfSameProcess(generation: number, { firstGeneration }: SegmentHeader): boolean {
  return generation >= firstGeneration
}

function wholeFile(
  { file, size }: { file: string; size: number },
  reason: Damage['reason'],
): Damage {
  return { file, offset: 0, bytes: size, reason }
}

function generationOf(name: string): number {
  return parseSegmentName(name.replace(/(\.journal)\.(new|damaged)$/, '$1'))?.generation ?? 0
}

/** Reads the segments in order, until one is broken or one is missing. */
class Scan {
  readonly segments: SegmentFile[] = []
  readonly delivered: SegmentFile[] = []
  readonly damaged: Damage[] = []
  readonly anchor: NumberedAnchor | undefined
  readonly from: number
  /** Stream offset behind the last whole record. */
  recordEnd: number
  readonly parts: JournalPart[] = []
  /** Of the part that is being read. */
  #align: Align = 1
  /** Where the record behind it begins. */
  #unfinished: { readonly segment: SegmentFile; readonly position: number } | undefined
  readonly #fileSystem: FileSystem
  readonly #covered: readonly SegmentFile[]

  constructor(
    fileSystem: FileSystem,
    covered: readonly SegmentFile[],
    anchor: NumberedAnchor | undefined,
  ) {
    this.#fileSystem = fileSystem
    this.#covered = covered
    this.anchor = anchor
    // Without an anchor nothing was ever sent, and so nothing deleted.
    this.from = anchor?.offset ?? 0
    this.recordEnd = this.from
  }

  async run(): Promise<this> {
    let end = this.from
    for (const [index, segment] of this.#covered.entries()) {
      if (segment.header.offset > end) {
        const rest = this.#covered.slice(index)
        this.damaged.push(...rest.map(each => wholeFile(each, 'gap')))
        break
      }
      this.#begin(segment.header)
      await this.#read(segment, this.#covered[index + 1]?.header)
      const isDelivered = segment.end <= this.from
      if (isDelivered) this.delivered.push(segment)
      else this.segments.push(segment)
      end = Math.max(end, segment.end)
    }
    this.#endPart()
    this.#cutUnfinished()
    return this
  }

  /** Reads the frames of a segment, up to the offset of the next one or to the first that is broken. */
  async #read(segment: SegmentFile, next: SegmentHeader | undefined): Promise<void> {
    const { file, header, size, end } = segment
    const opened = await this.#fileSystem.open(file)
    try {
      const reader = new FrameReader(opened, firstCrc(header.salt))
      let offset = header.offset
      let frameAt = reader.position
      while (offset < end) {
        frameAt = reader.position
        const frame = await reader.next(size)
        if (!frame) break
        this.#findRecordEnd(segment, offset, frame, frameAt)
        offset += frame.bytes.length
      }
      segment.limit = reader.position
      segment.end = Math.min(end, offset)
      if (next && segment.end === end && isOfSameProcess(header.generation, next)) return
      // What is behind the cut in the last frame is a part of a record without end.
      const from = offset > end ? frameAt : reader.position
      if (from === size) return
      const isFrame = offset > end || (await reader.next(size)) !== undefined
      this.#addDamage(segment, from, isFrame ? 'unfinished' : 'broken')
    } finally {
      await opened.close()
    }
  }

  /** Where a process or a stream has ended, a record ends. */
  #begin({ offset, align, beginsRecord }: SegmentHeader): void {
    if (beginsRecord && offset > this.from) {
      this.recordEnd = offset
      this.#endPart()
    }
    this.#align = align
  }

  #endPart(): void {
    const start = this.parts.at(-1)?.end ?? this.from
    if (this.recordEnd > start) this.parts.push({ end: this.recordEnd, align: this.#align })
  }

  /** Moves `recordEnd` to the last end of a record in a frame that begins at `offset` of the stream. */
  #findRecordEnd(
    segment: SegmentFile,
    offset: number,
    frame: DecodedFrame,
    position: number,
  ): void {
    const { end } = segment
    const frameEnd = offset + frame.bytes.length
    if (frameEnd <= this.from) return
    const recordEnd = lastRecordEnd(segment.header.align, frame, offset, this.recordEnd, end)
    if (recordEnd <= this.recordEnd) return
    this.recordEnd = recordEnd
    const isAtEnd = recordEnd === frameEnd
    this.#unfinished = { segment, position: isAtEnd ? position + frame.length : position }
  }

  /** Leaves out what is behind the last whole record. */
  #cutUnfinished(): void {
    const { recordEnd } = this
    for (const segment of [...this.segments]) {
      if (segment.end <= recordEnd) continue
      const isWhole = segment.header.offset >= recordEnd
      const position =
        this.#unfinished?.segment === segment ? this.#unfinished.position : HEAD_BYTES
      if (isWhole) this.segments.splice(this.segments.indexOf(segment), 1)
      segment.end = recordEnd
      this.#addDamage(segment, isWhole ? HEAD_BYTES : position, 'unfinished')
    }
  }

  #addDamage(segment: SegmentFile, offset: number, reason: Damage['reason']): void {
    const { file, size } = segment
    segment.isDamaged = true
    // A torn frame behind an unfinished record is one damage with it.
    const known = this.damaged.findIndex(damage => damage.file === file)
    if (known >= 0) this.damaged.splice(known, 1)
    this.damaged.push({ file, offset, bytes: size - offset, reason })
  }
}

/** The last end of a record in a frame at `offset`, up to `limit`. `known`: the last end before. */
function lastRecordEnd(
  align: Align,
  { bytes, ends, goesOn }: DecodedFrame,
  offset: number,
  known: number,
  limit: number,
): number {
  const length = Math.min(bytes.length, limit - offset)
  if (align === 'chunk') {
    if (length === bytes.length && !goesOn) return offset + length
    return offset + (ends.findLast(end => end <= length) ?? Number.NEGATIVE_INFINITY)
  }
  const start = Math.max(offset, known)
  return known + findLastRecordEnd(align, bytes.subarray(start - offset, length), start - known)
}
