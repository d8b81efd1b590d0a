/**
 * The segments of a slot on disk: the one that is written to, and older ones, which are only read. Except
 * `datasync()` and `removeDeleted()`, methods are called one at a time. They return false where the disk or
 * `maxBytes` is full, and may be called again then. Other errors of the file system are thrown, and are final.
 *
 *     making (name.journal.new) --> current --> closed --> deleted, or kept as .damaged
 *                                     |
 *                                     v
 *                                  suspect: a write or an fdatasync failed. The unsynced frames go to a new segment
 */

import { ok } from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { Align } from '../options.ts'
import {
  closeAll,
  type FileSystem,
  isDiskFull,
  type JournalFile,
  type SyncFile,
  writeAll,
  writeAllSync,
} from './file-system.ts'
import { chainFrames, firstCrc } from './frame.ts'
import type { Layout } from './frame-layout.ts'
import type { FolderContent, JournalPart, SegmentFile } from './recovery.ts'
import {
  ANCHOR_PLACES,
  type Anchor,
  damagedName,
  encodeAnchor,
  encodeHead,
  HEAD_BYTES,
  type JournalTarget,
  type NumberedAnchor,
  type SegmentHeader,
  segmentName,
  unfinishedName,
  VERSION,
} from './segment.ts'

export interface SegmentStoreOptions {
  readonly folder: string
  readonly fileSystem: FileSystem
  readonly align: Align
  readonly target: JournalTarget | undefined
  /** Bytes on disk. */
  readonly maxBytes: number
  /** Bytes at which the next segment begins. */
  readonly segmentBytes: number
}

/** The segment that is written to. Its `limit` is where the next frame goes. */
interface CurrentSegment<File extends SyncFile = JournalFile> {
  readonly segment: SegmentFile
  readonly file: File
  /** CRC of the last frame. */
  crc: number
}

/** Where anchors are written: the current segment, or else the newest one of a dead process. */
interface AnchorHome {
  readonly path: string
  readonly file: JournalFile
}

/** A segment that is to be made. */
interface PlannedSegment {
  readonly segment: SegmentFile
  /** The anchor in its head. */
  readonly anchor: NumberedAnchor | undefined
  /** What is to be written, and where in the file. */
  writes(): Iterable<[bytes: Buffer, position: number]>
  /** CRC of its last frame, when all is written. */
  crc(): number
}

/** Frames that are written, and not known to be on stable storage. */
type UnsyncedFrames = Pick<Layout, 'buffer' | 'sums' | 'length'>

/** Buffers of 1 MiB for frames: some fill while others are being synced. */
const MAX_SPARES = 8

export class SegmentStore {
  /** What the next anchor says; undefined: nothing was ever sent. It may name no object. */
  anchor: Anchor | undefined
  readonly #options: SegmentStoreOptions
  /** By stream offset. */
  #segments: SegmentFile[] = []
  /** Their files are still to be removed. */
  #deleted: SegmentFile[] = []
  #current: CurrentSegment | undefined
  #anchorHome: AnchorHome | undefined
  /** Stream offset of the last anchor that is on stable storage; -1: there is none. */
  #anchoredOffset: number
  #sequence: number
  #generation: number
  readonly #firstGeneration: number
  #bytesOnDisk = 0
  readonly #parts: JournalPart[]
  /** Where the last part ends, and so a record. */
  #recordStart: number
  #end: number
  #syncedEnd: number
  #unsynced: UnsyncedFrames[] = []
  #unsyncedBytes = 0
  /** Memory of frames that are on stable storage, for the next ones. */
  #spares: Buffer[] = []
  #syncing: Promise<void> | undefined
  /** A write or an fdatasync of the current segment failed. The kernel may have dropped its pages: no retry. */
  #isSuspect = false
  #isMaking = false
  /** The segment that `appendSync()` writes to. */
  #exitSegment: CurrentSegment<SyncFile> | undefined

  constructor(options: SegmentStoreOptions, { recovered, anchor, generation }: FolderContent) {
    const { end, parts } = recovered
    this.#options = options
    this.anchor = anchor
    this.#anchoredOffset = anchor?.offset ?? -1
    this.#sequence = anchor?.sequence ?? 0
    this.#generation = generation
    this.#firstGeneration = generation + 1
    this.#parts = [...parts]
    this.#recordStart = end
    this.#end = end
    this.#syncedEnd = end
  }

  /** Bytes of all segments. */
  get bytesOnDisk(): number {
    return this.#bytesOnDisk
  }

  /** Stream offset behind the last byte that is written. */
  get end(): number {
    return this.#end
  }

  /** Stream offset behind the last byte that is known to be on stable storage. */
  get syncedEnd(): number {
    return this.#syncedEnd
  }

  /** Parts that have ended. */
  get parts(): readonly JournalPart[] {
    return this.#parts
  }

  /** Bytes of memory that hold unsynced frames. */
  get unsyncedBytes(): number {
    return this.#unsyncedBytes
  }

  get isSuspect(): boolean {
    return this.#isSuspect
  }

  /** The last anchor on stable storage says that all bytes before are acknowledged; -1: there is none. */
  get anchoredOffset(): number {
    return this.#anchoredOffset
  }

  /** The last anchor on stable storage does not say all that `anchor` does. */
  get isAnchorBehind(): boolean {
    return this.anchor !== undefined && this.anchor.offset > this.#anchoredOffset
  }

  /** The segment that has the byte at `offset`. */
  find(offset: number): SegmentFile | undefined {
    return this.#segments.find(({ header, end }) => header.offset <= offset && offset < end)
  }

  /** Bytes of the newest segment. */
  get newestBytes(): number {
    return this.#segments.at(-1)?.size ?? 0
  }

  /** A segment has bytes that cannot be delivered. It is put aside once the others are, and a new one is made. */
  get hasDamage(): boolean {
    return this.#segments.some(({ isDamaged }) => isDamaged)
  }

  /** Whether a segment can be deleted that ends at `offset` or before. */
  canDeleteBefore(offset: number): boolean {
    return this.#deletable(offset).length > 0
  }

  /** Adopts what a dead process left: deletes what is delivered, keeps what is damaged. */
  async adopt(content: FolderContent): Promise<void> {
    const { fileSystem } = this.#options
    const { segments, delivered, undeliverable, anchor, anchorFile, staleAnchorAt } = content
    this.#segments = [...delivered, ...segments]
    for (const { size } of this.#segments) this.#bytesOnDisk += size
    // Also one that is undeliverable: on a full disk no other takes its place.
    if (anchorFile !== undefined) {
      const file = await fileSystem.open(anchorFile, true)
      this.#anchorHome = { path: anchorFile, file }
      // Otherwise a crash while the other place is written leaves the anchor before this one.
      if (anchor && staleAnchorAt !== undefined) {
        await writeAll(file, encodeAnchor(anchor), staleAnchorAt)
        await file.datasync()
      }
    }
    // Such a file may hold the anchor, or cut another file: a new segment takes its part first. On a full disk it
    // keeps its name until the next start.
    const isReplaced = undeliverable.length > 0 && (await this.startSegment())
    if (isReplaced) for (const path of undeliverable) await this.#keepDamaged(path)
    for (const path of content.void) await fileSystem.remove(path)
    if (this.anchor) await this.deleteBefore(this.anchor.offset)
    await this.removeDeleted()
  }

  /**
   * Writes frames behind the last one, over what a failed write left there. `onWriting` is called while the disk
   * writes them, once for each attempt.
   */
  async append(layout: Layout, onWriting: () => void): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      if (!(await this.#prepare(layout.buffer.length))) return false
      try {
        await this.#write(layout, onWriting)
        return true
      } catch (error) {
        if (isDiskFull(error)) {
          await this.#cutTornFrame()
          return false
        }
        if (attempt === 2) throw error
        this.#isSuspect = true
      }
    }
  }

  /** Finds room for frames of this length, in the current segment or in a new one. */
  async #prepare(length: number): Promise<boolean> {
    if (this.#isSuspect && !(await this.repair())) return false
    const isNew = !this.#fits(length)
    const needed = isNew ? length + HEAD_BYTES : length
    if (this.#bytesOnDisk + needed > this.#options.maxBytes) return false
    return !isNew || ((await this.syncAll()) && (await this.startSegment()))
  }

  /** Whether frames of this length go to the current segment. */
  #fits(length: number): boolean {
    const limit = this.#current?.segment.limit
    if (limit === undefined) return false
    return limit === HEAD_BYTES || limit + length <= this.#options.segmentBytes
  }

  async #write({ buffer, sums, length }: UnsyncedFrames, onWriting: () => void): Promise<void> {
    const current = this.#current
    ok(current, 'a segment is open')
    const crc = chainFrames(buffer, sums, current.crc)
    const written = writeAll(current.file, buffer, current.segment.limit)
    onWriting()
    await written
    current.crc = crc
    this.#advance(current.segment, { buffer, length })
    this.#unsynced.push({ buffer, sums, length })
    this.#unsyncedBytes += buffer.length
  }

  /** A full disk took a part of a frame. It takes room, and after a kill it would look like damage. */
  async #cutTornFrame(): Promise<void> {
    const current = this.#current
    ok(current, 'a segment is open')
    // `process.exit()` must not write a frame where this cuts.
    this.#isMaking = true
    await current.file.truncate(current.segment.limit)
    this.#isMaking = false
  }

  #advance(segment: SegmentFile, { buffer, length }: Pick<Layout, 'buffer' | 'length'>): void {
    segment.limit += buffer.length
    segment.size += buffer.length
    this.#bytesOnDisk += buffer.length
    this.#end += length
    segment.end = this.#end
  }

  /**
   * Makes what is written before `end` stable, or sets `isSuspect`. One fdatasync runs at a time: of two, only one
   * may be told of an error.
   */
  async datasync(end = this.#end): Promise<void> {
    while (this.#syncing && this.#syncedEnd < end) await this.#syncing
    if (this.#syncedEnd < end) await this.#datasyncNow()
  }

  async #datasyncNow(): Promise<void> {
    while (this.#syncing) await this.#syncing
    if (!this.#current || this.#isSuspect) return
    this.#syncing = this.#sync(this.#current)
    await this.#syncing
  }

  async #sync(current: CurrentSegment): Promise<void> {
    const end = this.#end
    try {
      await current.file.datasync()
      // A write may have failed meanwhile: then `repair()` goes on.
      if (!this.#isSuspect) this.#markSynced(end)
    } catch {
      this.#isSuspect = true
    } finally {
      this.#syncing = undefined
    }
  }

  #markSynced(end: number): void {
    for (let next = this.#unsynced[0]; next; next = this.#unsynced[0]) {
      if (this.#syncedEnd + next.length > end) break
      this.#syncedEnd += next.length
      this.#unsyncedBytes -= next.buffer.length
      this.#unsynced.shift()
      if (this.#spares.length < MAX_SPARES) this.#spares.push(Buffer.from(next.buffer.buffer))
    }
  }

  /** Memory for frames. New pages for each write would cost as much as the copy into them. */
  allocate(size: number): Buffer {
    const spare = this.#spares.pop()
    return spare && spare.length >= size ? spare : Buffer.allocUnsafeSlow(size)
  }

  /** Nothing is written for a while. */
  freeMemory(): void {
    this.#spares = []
  }

  /** Makes all that is written stable, in a new segment if the current one fails. */
  async syncAll(): Promise<boolean> {
    while (this.#syncedEnd < this.#end || this.#isSuspect) {
      if (this.#isSuspect && !(await this.repair())) return false
      await this.datasync()
    }
    return true
  }

  /** Writes the unsynced frames, which are still in memory, to a new segment. */
  async repair(): Promise<boolean> {
    while (this.#syncing) await this.#syncing
    const old = this.#current?.segment
    if (!(await this.#makeSegment())) return false
    this.#isSuspect = false
    if (old) old.end = this.#syncedEnd
    this.#markSynced(this.#end)
    await this.#deleteEmpty()
    return true
  }

  /** Begins a segment. Only when all that is written is stable: a crash must not leave a gap before it. */
  async startSegment(): Promise<boolean> {
    ok(this.#syncedEnd === this.#end, 'the segments before are synced')
    if (!(await this.#makeSegment())) return false
    await this.#deleteEmpty()
    return true
  }

  /**
   * Replaces the newest segment, whose bytes are all acknowledged. Where the disk has no room for the head of the next
   * one, the file of the newest one gives it: it is cut off behind its anchor, and takes no more frames.
   */
  async replaceNewest(): Promise<void> {
    if (!(await this.syncAll()) || (await this.startSegment())) return
    const newest = this.#segments.at(-1)
    if (!newest || newest.isDamaged || newest.file !== this.#anchorHome?.path) return
    if (!this.anchor || !(await this.putAnchor())) return
    this.#current = undefined
    await this.#anchorHome.file.truncate(HEAD_BYTES)
    this.#bytesOnDisk -= newest.size - HEAD_BYTES
    newest.size = HEAD_BYTES
    await this.startSegment()
  }

  /** Begins a segment whose head says that a record ends before it. */
  async markEnd(): Promise<boolean> {
    if (!(await this.syncAll())) return false
    this.#recordStart = this.#end
    if (!(await this.startSegment())) return false
    this.#parts.push({ end: this.#end, align: this.#options.align })
    return true
  }

  /** Makes a segment of the unsynced frames. It counts once all of it is stable. */
  async #makeSegment(): Promise<boolean> {
    const { fileSystem, folder } = this.#options
    const made = this.#planSegment()
    let file: JournalFile | undefined
    this.#isMaking = true
    try {
      file = await fileSystem.create(unfinishedName(made.segment.file))
      for (const [bytes, position] of made.writes()) await writeAll(file, bytes, position)
      await file.datasync()
      await fileSystem.rename(unfinishedName(made.segment.file), made.segment.file)
    } catch (error) {
      await file?.close()
      await fileSystem.remove(unfinishedName(made.segment.file))
      this.#isMaking = false
      if (isDiskFull(error)) return false
      throw error
    }
    try {
      await fileSystem.syncFolder(folder)
    } catch (error) {
      await file.close()
      throw error
    }
    const old = this.#openFiles()
    this.#current = { segment: made.segment, file, crc: made.crc() }
    this.#anchorHome = { path: made.segment.file, file }
    this.#adoptSegment(made)
    this.#isMaking = false
    await closeAll(old)
    return true
  }

  /** A segment of the unsynced frames, and what is to be written for it. */
  #planSegment(): PlannedSegment {
    const { folder, align, target } = this.#options
    this.#generation += 1
    const header: SegmentHeader = {
      version: VERSION,
      generation: this.#generation,
      offset: this.#syncedEnd,
      salt: randomBytes(8),
      align,
      firstGeneration: this.#firstGeneration,
      beginsRecord: this.#syncedEnd === this.#recordStart,
      target,
    }
    const anchor = this.anchor && { ...this.anchor, sequence: this.#sequence + 1 }
    const frames = this.#unsynced
    let crc = firstCrc(header.salt)
    const size = HEAD_BYTES + this.#unsyncedBytes
    const segment: SegmentFile = {
      file: join(folder, segmentName(header)),
      header,
      size,
      end: this.#end,
      limit: size,
      isDamaged: false,
    }
    return {
      segment,
      anchor,
      crc: () => crc,
      *writes() {
        yield [encodeHead(header, anchor), 0]
        let position = HEAD_BYTES
        for (const { buffer, sums } of frames) {
          crc = chainFrames(buffer, sums, crc)
          yield [buffer, position]
          position += buffer.length
        }
      },
    }
  }

  #adoptSegment({ segment, anchor }: Pick<PlannedSegment, 'segment' | 'anchor'>): void {
    this.#segments.push(segment)
    this.#bytesOnDisk += segment.size
    if (!anchor) return
    this.#sequence = anchor.sequence
    this.#anchoredOffset = anchor.offset
  }

  /** Makes the anchor stable, in one place after the other: a crash damages one of them at most. */
  async putAnchor(): Promise<boolean> {
    const { anchor } = this
    ok(anchor)
    if (this.#isSuspect) return this.repair()
    const home = this.#anchorHome
    if (!home) return this.startSegment()
    this.#sequence += 1
    const numbered = { ...anchor, sequence: this.#sequence }
    try {
      for (const place of ANCHOR_PLACES) {
        await writeAll(home.file, encodeAnchor(numbered), place)
        if (this.#current) await this.#datasyncNow()
        else await home.file.datasync()
        if (this.#isSuspect) break
      }
    } catch {
      this.#isSuspect = true
    }
    if (this.#isSuspect) return this.repair()
    this.#anchoredOffset = anchor.offset
    return true
  }

  /**
   * Deletes segments that end at `offset` or before, but for their files: see `removeDeleted()`. An anchor behind them,
   * in one that stays, is stable first.
   */
  async deleteBefore(offset: number): Promise<boolean> {
    const segments = this.#deletable(offset)
    const isAnchored = segments.every(({ end }) => end <= this.#anchoredOffset)
    // Without an anchor nothing was ever sent, so these segments are empty.
    if (this.anchor && !isAnchored && !(await this.putAnchor())) return false
    for (const segment of this.#deletable(offset)) {
      if (segment.isDamaged) await this.#keepDamaged(segment.file)
      this.#delete(segment)
    }
    return true
  }

  /** May run beside other methods. */
  async removeDeleted(): Promise<void> {
    for (let next = this.#deleted.shift(); next; next = this.#deleted.shift()) {
      await this.#options.fileSystem.remove(next.file)
      this.#bytesOnDisk -= next.size
    }
  }

  #deletable(offset: number): SegmentFile[] {
    return this.#segments.filter(
      ({ end, file }) => end <= offset && file !== this.#anchorHome?.path,
    )
  }

  /** The newest segment says all that an empty one before it does. */
  async #deleteEmpty(): Promise<void> {
    const older = this.#segments.slice(0, -1)
    const empty = older.filter(({ header, end, isDamaged }) => header.offset === end && !isDamaged)
    for (const segment of empty) this.#delete(segment)
    await this.removeDeleted()
  }

  #delete(segment: SegmentFile): void {
    this.#segments = this.#segments.filter(other => other !== segment)
    this.#deleted.push(segment)
  }

  async #keepDamaged(path: string): Promise<void> {
    const { fileSystem, folder } = this.#options
    await fileSystem.rename(path, damagedName(path))
    await fileSystem.syncFolder(folder)
  }

  #openFiles(): Set<JournalFile> {
    const files = [this.#current?.file, this.#anchorHome?.file]
    return new Set(files.filter(file => file !== undefined))
  }

  /** Nothing is written from now on. */
  async close(): Promise<void> {
    while (this.#syncing) await this.#syncing
    const files = this.#openFiles()
    this.#current = undefined
    this.#anchorHome = undefined
    await closeAll(files)
  }

  /** As `append()`, for `process.exit()`. What is in flight meanwhile writes the same bytes, or never counts. */
  appendSync(layout: Layout): boolean {
    if (this.#bytesOnDisk + layout.buffer.length > this.#options.maxBytes) return false
    try {
      const place = this.#placeSync()
      const crc = chainFrames(layout.buffer, layout.sums, place.crc)
      writeAllSync(place.file, layout.buffer, place.segment.limit)
      place.crc = crc
      this.#advance(place.segment, layout)
      return true
    } catch {
      return false
    }
  }

  /** A disk that takes no new segment leaves the frames where they are: only a power loss may take them. */
  datasyncSync(): void {
    try {
      if (this.#end > this.#syncedEnd && this.#current) this.#exitSegment ??= this.#placeSync()
      this.#exitSegment?.file.datasyncSync()
    } catch {}
  }

  /** The current segment, unless it is suspect or about to be replaced. */
  #placeSync(): CurrentSegment<SyncFile> {
    const isUsable = !this.#isSuspect && !this.#isMaking
    this.#exitSegment ??= (isUsable ? this.#current : undefined) ?? this.#makeSegmentSync()
    return this.#exitSegment
  }

  #makeSegmentSync(): CurrentSegment<SyncFile> {
    const { fileSystem, folder } = this.#options
    const made = this.#planSegment()
    const file = fileSystem.createSync(unfinishedName(made.segment.file))
    for (const [bytes, position] of made.writes()) writeAllSync(file, bytes, position)
    file.datasyncSync()
    fileSystem.renameSync(unfinishedName(made.segment.file), made.segment.file)
    fileSystem.syncFolderSync(folder)
    this.#adoptSegment(made)
    return { segment: made.segment, file, crc: made.crc() }
  }
}
