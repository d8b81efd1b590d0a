/**
 * The journal of one stream, in a slot that this process has locked. It keeps accepted bytes until they are
 * acknowledged, and knows nothing of OSS but anchors. It decides when to sync and what to delete; the
 * segments do it. What changes segments runs one after another, in `#exclusive()`.
 *
 *      0                       acknowledged     syncedEnd   end
 *      | deleted | segment | segment | segment | segment ....|
 *                              ^ anchor: this byte goes to { bucket, key, position, crc64 }
 */

import { ok } from 'node:assert/strict'
import type { Tail } from '../append/tail.ts'
import { type Clock, systemClock, type Timer } from '../clock.ts'
import { journalError } from '../errors.ts'
import type { Align } from '../options.ts'
import { closeAll, type FileSystem, nodeFileSystem } from './file-system.ts'
import { MAX_FRAME_BYTES } from './frame.ts'
import {
  type JournalChunk,
  type JournalPiece,
  type Layout,
  type LayoutOptions,
  layOut,
} from './frame-layout.ts'
import { asJournalError, diskFull } from './journal-error.ts'
import { type FolderContent, type JournalPart, type Recovered, readFolder } from './recovery.ts'
import { type Anchor, HEAD_BYTES, type JournalTarget, NO_OBJECT } from './segment.ts'
import { SegmentReader } from './segment-reader.ts'
import { SegmentStore } from './segment-store.ts'

/*
 * The life of a journal, as a stream uses it:
 *
 *   const { own, abandoned } = await claimSlots(dir)
 *   const journal = await Journal.open({ folder: own.folder, ... })
 *   const { anchor, from } = journal.recovered
 *   if (anchor) {
 *     seen = the tail of oss://bucket/key                       HEAD
 *     settleJournal(journal, from, anchor, seen)                landed -> acknowledge(from + length, after)
 *   }                                                           conflict, replaced -> close; nothing is deleted
 *   else: find the object of `recovered.target`; anchor(...) before its first append
 *   send [acknowledged, end): read(), sync() before a batch leaves, acknowledge() behind each append;
 *     409 in this part: settleJournal() again, since a dead process may have sent up to any record end
 *   then new bytes: write() -> pieces for the batcher, while it has room and has all before them;
 *     what it has no room for: read() later; anchor() at each roll
 *   close(); own.release()
 */

/**
 * When written bytes are synced. `'always'`: before the write is accepted. Milliseconds: at most that long after it.
 * `'never'`: at no write.
 */
export type JournalSync = 'always' | 'never' | number

export interface JournalOptions {
  /** Absolute path of the slot. */
  readonly folder: string
  /** Bytes on disk. At least 1 MiB. */
  readonly maxBytes: number
  readonly sync: JournalSync
  /** Where new records end. Undefined: there are none, since the journal is only delivered. */
  readonly align: Align | undefined
  /** What new bytes are written for, if the folder does not name it already. */
  readonly target?: JournalTarget | undefined
  /** Bytes of one memory buffer of the stream. The journal keeps at most two of unsynced bytes. */
  readonly highWaterMark: number
  /** Bytes. Default: 64 MiB, and at most a quarter of `maxBytes`. */
  readonly segmentBytes?: number
  /** Bytes of the stream in one frame. Default: 1 MiB, or `segmentBytes` if that is less. At most 1 MiB. */
  readonly frameBytes?: number
  /** Default: `node:fs`. */
  readonly fileSystem?: FileSystem
  readonly clock?: Clock
}

export interface WriteResult {
  /** The accepted bytes, for the memory buffers. */
  readonly pieces: readonly JournalPiece[]
  /** Chunks that are accepted whole, from the first on. */
  readonly chunks: number
  /** The rest of the chunk behind them, if its first bytes are accepted. It comes first in the next `write()`. */
  readonly rest: JournalChunk | undefined
  /** Nothing was accepted: the disk or `maxBytes` is full. See `waitForRoom()`. */
  readonly isFull: boolean
}

const EMPTY_FOLDER: FolderContent = {
  recovered: {
    anchor: undefined,
    target: undefined,
    from: 0,
    end: 0,
    parts: [],
    damaged: [],
  },
  anchor: undefined,
  segments: [],
  delivered: [],
  undeliverable: [],
  void: [],
  anchorFile: undefined,
  staleAnchorAt: undefined,
  generation: 0,
  bytesOnDisk: 0,
}

/** Bytes of one segment. To begin one takes as long as to write some MiB, and is done once all before it is synced. */
const SEGMENT_BYTES = 67_108_864
/** Bytes of the stream that one write takes. They are copied twice and checked while the cache holds them. */
const MAX_WRITE_BYTES = 1_048_576
/** Bytes. A longer segment is replaced by an empty one once all in it is acknowledged. */
const IDLE_BYTES = 1_048_576
/** Milliseconds between two attempts to write to a full disk. */
const FULL_DISK_DELAY = 1000

/**
 * Every method that returns a promise rejects with `OSS_ERR_JOURNAL` once the journal has failed (a disk takes
 * no bytes for another reason than being full), and after `close()`.
 */
export class Journal {
  /** What the folder held when the journal was opened. */
  readonly recovered: Recovered
  readonly folder: string
  /** Where new records end. */
  readonly align: Align
  readonly #options: JournalOptions
  readonly #clock: Clock
  readonly #layout: LayoutOptions
  readonly #store: SegmentStore
  readonly #reader: SegmentReader
  /** The `write()` in progress, and where the journal ends once its first chunks are accepted. */
  #writing: { chunks: readonly JournalChunk[]; layout: Layout; end: number } | undefined
  /** What the `write()` in progress leaves over, in frames already. */
  #next: { chunks: readonly JournalChunk[]; layout: Layout } | undefined
  #isFull = false
  #acknowledged: number
  /** Settles when the segments are free for the next change. */
  #unlocked: Promise<unknown> = Promise.resolve()
  #trimming: Promise<void> | undefined
  #syncTimer: Timer | undefined
  #roomTimer: Timer | undefined
  #roomWaiters: (() => void)[] = []
  #isExiting = false
  /** Why nothing more is written. */
  #failedWith: Error | undefined
  /** Why no call waits for room. */
  #refusal: Error | undefined

  /**
   * Recovers what the folder holds, and deletes nothing that is undelivered. The caller holds the lock.
   *
   * @throws {OssError} `OSS_ERR_JOURNAL`, with `file`, and `offset` where the file is damaged.
   */
  static async open(options: JournalOptions): Promise<Journal> {
    const { folder, fileSystem = nodeFileSystem } = options
    try {
      const content = await readFolder(fileSystem, folder)
      await syncFiles(content, fileSystem, folder)
      const journal = new Journal(options, fileSystem, content)
      await journal.#adopt(content)
      return journal
    } catch (error) {
      throw asJournalError(error, folder)
    }
  }

  async #adopt(content: FolderContent): Promise<void> {
    try {
      await this.#store.adopt(content)
    } catch (error) {
      await this.#store.close()
      throw error
    }
  }

  /** For `process.exit()`: the journal of a folder that is empty, and that no other process knows. */
  static createSync(options: JournalOptions): Journal {
    return new Journal(options, options.fileSystem ?? nodeFileSystem, EMPTY_FOLDER)
  }

  private constructor(options: JournalOptions, fileSystem: FileSystem, content: FolderContent) {
    const { folder, maxBytes, highWaterMark, clock = systemClock } = options
    const { recovered } = content
    const align = options.align ?? recovered.parts.at(-1)?.align ?? 1
    // Bytes of another stream keep their target, also in a segment that is made while they are delivered.
    const target = recovered.target ?? options.target
    const segmentBytes = options.segmentBytes ?? Math.min(SEGMENT_BYTES, Math.floor(maxBytes / 4))
    this.recovered = recovered
    this.folder = folder
    this.align = align
    this.#options = options
    this.#clock = clock
    const store = new SegmentStore(
      { folder, fileSystem, align, target, maxBytes, segmentBytes },
      content,
    )
    this.#store = store
    this.#layout = {
      capacity: Math.min(highWaterMark, MAX_WRITE_BYTES, segmentBytes),
      // A frame that is longer than a segment would never find room.
      frameBytes: options.frameBytes ?? Math.min(MAX_FRAME_BYTES, segmentBytes),
      isByChunk: align === 'chunk',
      allocate: size => store.allocate(size),
    }
    this.#reader = new SegmentReader(fileSystem, offset => store.find(offset))
    this.#acknowledged = recovered.from
  }

  /** Stream offset behind the last accepted byte. */
  get end(): number {
    return this.#store.end
  }

  /** Stream offset behind the last byte that is known to be on stable storage. */
  get syncedEnd(): number {
    return this.#store.syncedEnd
  }

  /** Stream offset behind the last acknowledged byte. */
  get acknowledged(): number {
    return this.#acknowledged
  }

  /** Bytes of dead processes, and of a stream that has ended. What is behind the last part is still written. */
  get parts(): readonly JournalPart[] {
    return this.#store.parts
  }

  /** Bytes of the segments on disk. */
  get bytesOnDisk(): number {
    return this.#store.bytesOnDisk
  }

  /** It has not failed, and is not closed. At `process.exit()` it takes chunks as long as that. */
  get isOpen(): boolean {
    return this.#failedWith === undefined || this.#isExiting
  }

  get isWriting(): boolean {
    return this.#writing !== undefined
  }

  /** The last `write()` found no room. */
  get isFull(): boolean {
    return this.#isFull
  }

  /**
   * Accepts chunks, with one write to the disk: resolves when that is done, and with `sync: 'always'` when it is
   * synced. It accepts as many chunks as fit one buffer of memory; call it again with the others. A chunk that fits
   * one frame is accepted whole or not at all. One call at a time.
   */
  async write(chunks: readonly JournalChunk[]): Promise<WriteResult> {
    ok(!this.#writing, 'one write at a time')
    this.#throwIfFailed()
    const layout = this.#takeNext(chunks) ?? layOut(chunks, this.#layout)
    this.#writing = { chunks, layout, end: this.end + layout.length }
    try {
      await this.#limitUnsynced(layout.length)
      const isWritten =
        layout.length === 0 || (await this.#exclusive(() => this.#append(chunks, layout)))
      this.#isFull = !isWritten
      if (!isWritten) {
        this.#trimLater()
        return { pieces: [], chunks: 0, rest: undefined, isFull: true }
      }
      const { pieces, chunks: count, rest } = layout
      if (this.#options.sync !== 'always') this.#syncLater()
      // The first part of a chunk is synced with its last.
      else if (!rest) await this.sync()
      return { pieces, chunks: count, rest, isFull: false }
    } finally {
      this.#writing = undefined
    }
  }

  /** Lays out the next frames while the disk writes these: both take about as long. */
  #append(chunks: readonly JournalChunk[], layout: Layout): Promise<boolean> {
    return this.#store.append(layout, () => {
      const left = behind(chunks, layout)
      this.#next ??=
        left.length > 0 ? { chunks: left, layout: layOut(left, this.#layout) } : undefined
    })
  }

  /** The frames of these chunks, if they were laid out already. */
  #takeNext(chunks: readonly JournalChunk[]): Layout | undefined {
    const next = this.#next
    this.#next = undefined
    const isSame = next?.chunks.length === chunks.length
    return isSame && next.chunks.every((chunk, i) => chunk === chunks[i]) ? next.layout : undefined
  }

  /** While one buffer is being synced, the next one fills. More is not kept in memory. */
  async #limitUnsynced(length: number): Promise<void> {
    const most = 2 * this.#options.highWaterMark
    await this.sync(Math.min(this.end, this.end + length - most))
  }

  #syncLater(): void {
    const { sync, highWaterMark } = this.#options
    if (this.#store.unsyncedBytes >= highWaterMark) this.#syncInBackground()
    else if (typeof sync === 'number' && !this.#syncTimer) {
      this.#syncTimer = this.#clock.setTimeout(() => {
        this.#syncTimer = undefined
        this.#syncInBackground()
      }, sync)
    }
  }

  /** The next call of a method reports a failure. */
  #syncInBackground(): void {
    this.sync().catch(() => {})
  }

  /**
   * Resolves when segments were deleted, or after one second, since the disk may have room again.
   */
  async waitForRoom(): Promise<void> {
    this.#throwIfWaitless()
    await new Promise<void>(resolve => {
      this.#roomWaiters.push(resolve)
      // A segment that had the last anchor was kept, and a newer one has it now.
      this.#trimLater()
      this.#roomTimer ??= this.#clock.setTimeout(() => this.#notifyRoom(), FULL_DISK_DELAY)
    })
    this.#throwIfWaitless()
  }

  /** Calls that wait for room, now or later, reject with `refusal`. `close()` waits for none. */
  stopWaiting(refusal: Error): void {
    this.#refusal ??= refusal
    this.#notifyRoom()
  }

  #throwIfWaitless(): void {
    this.#throwIfFailed()
    if (this.#refusal) throw this.#refusal
  }

  #notifyRoom(): void {
    if (this.#roomTimer) this.#clock.clearTimeout(this.#roomTimer)
    this.#roomTimer = undefined
    for (const resolve of this.#roomWaiters.splice(0)) resolve()
  }

  /**
   * Resolves when the bytes before `end` are on stable storage, by default all that are accepted by now: for
   * `journaled()`, and before each batch leaves, unless `sync` is `'never'`. Costs nothing if they are there
   * already. Calls share an fdatasync.
   */
  async sync(end = this.#store.end): Promise<void> {
    while (this.#store.syncedEnd < end) {
      this.#throwIfFailed()
      if (!this.#store.isSuspect) await this.#store.datasync(end)
      else if (!(await this.#exclusive(() => this.#store.syncAll()))) await this.waitForRoom()
    }
  }

  /**
   * Says where the bytes from `anchor.offset` on go, and resolves when that is on stable storage. To be called
   * before the first append that the last anchor does not foretell: the first of all, and the first to each
   * next object. All bytes before it are acknowledged.
   */
  async anchor(anchor: Anchor): Promise<void> {
    this.#throwIfFailed()
    this.#store.anchor = anchor
    this.#acknowledged = anchor.offset
    while (!(await this.#exclusive(() => this.#store.putAnchor()))) await this.waitForRoom()
  }

  /**
   * Makes the acknowledged tail stable. Where HEAD is forbidden, an object that is sealed next would not tell it to
   * a later start.
   */
  async anchorTail(): Promise<void> {
    const put = () => this.#exclusive(() => this.#store.putAnchor())
    while (this.#store.isAnchorBehind && !(await put())) await this.waitForRoom()
  }

  /**
   * Says that nothing behind the acknowledged bytes was sent, and resolves when that is on stable storage. To be
   * called before bytes of another journal go to the anchored object, which then has bytes that this journal does not
   * know.
   */
  async leaveObject(): Promise<void> {
    if (this.#store.anchor) await this.anchor({ offset: this.#acknowledged, ...NO_OBJECT })
  }

  /**
   * Says that a record ends with the last byte, whatever `align` says, and resolves when that is on stable storage.
   * To be called before an append that ends there.
   */
  async markEnd(): Promise<void> {
    while (!(await this.#exclusive(() => this.#store.markEnd()))) await this.waitForRoom()
  }

  /**
   * All bytes before `offset` are in objects, and `tail` is the tail of the anchored one there. Segments that are
   * acknowledged whole are deleted in the background, behind an anchor of this tail.
   */
  acknowledge(offset: number, { position, crc64 }: Tail): void {
    ok(this.#store.anchor, 'an anchor says where the bytes go')
    ok(offset >= this.#acknowledged && offset <= Math.max(this.end, this.#acknowledged))
    this.#acknowledged = offset
    this.#store.anchor = { ...this.#store.anchor, offset, position, crc64 }
    if (offset === this.end && !this.#writing) this.#store.freeMemory()
    this.#trimLater()
  }

  #trimLater(): void {
    if (this.#hasWaste) this.#trimming ??= this.#trimInBackground()
  }

  /** Something on the disk is of no use any more. */
  get #hasWaste(): boolean {
    return this.#isIdle || this.#store.canDeleteBefore(this.#wasteEnd)
  }

  /**
   * Segments that end before are deleted. Before the last stable anchor that costs nothing. Behind it, it costs an
   * anchor, and the next segment brings one: so only where the room is needed, or no next segment may come.
   */
  get #wasteEnd(): number {
    const isUrgent =
      this.#acknowledged === this.end ||
      this.#needsRoom ||
      this.bytesOnDisk > this.#options.maxBytes / 2
    return isUrgent ? this.#acknowledged : this.#store.anchoredOffset
  }

  get #needsRoom(): boolean {
    return this.#isFull || this.#roomWaiters.length > 0
  }

  /** All is acknowledged, and the newest segment is longer than it may be, or a segment is to be put aside. */
  get #isIdle(): boolean {
    const { newestBytes, hasDamage } = this.#store
    const most = this.#needsRoom ? HEAD_BYTES : IDLE_BYTES
    return this.#acknowledged === this.end && (newestBytes > most || hasDamage)
  }

  async #trimInBackground(): Promise<void> {
    try {
      let trimmed: number
      do {
        trimmed = this.#acknowledged
        await this.#exclusive(() => this.#trim())
        await this.#removeDeleted()
        // An acknowledgement that came meanwhile may be the last.
      } while (this.#acknowledged > trimmed && this.#hasWaste)
    } catch {
      // The next call of a method reports the failure.
    } finally {
      this.#trimming = undefined
    }
  }

  async #trim(): Promise<void> {
    if (this.#isIdle) await this.#store.replaceNewest()
    await this.#store.deleteBefore(this.#wasteEnd)
  }

  /** While writes go on: to remove a long file takes as long as to write one. */
  async #removeDeleted(): Promise<void> {
    const before = this.bytesOnDisk
    try {
      await this.#reader.leaveDeleted()
      await this.#store.removeDeleted()
    } catch (error) {
      throw this.#fail(error)
    }
    if (this.bytesOnDisk < before) this.#notifyRoom()
  }

  /**
   * Accepted bytes from `offset` on: at least one byte and at most `length`, valid until the next call. Reading
   * forward is cheap; another offset than the end of the last read costs a scan of one segment. The CRC of each
   * frame is checked. One call at a time.
   *
   * @throws {OssError} `OSS_ERR_JOURNAL`, with `file` and `offset` of a damaged frame.
   */
  async read(offset: number, length: number): Promise<readonly JournalPiece[]> {
    this.#throwIfFailed()
    ok(
      offset >= this.#acknowledged && offset < this.end && length > 0,
      'the byte is in the journal',
    )
    try {
      const pieces = await this.#reader.read(offset, length)
      ok(pieces.length > 0, 'a segment has the byte')
      return pieces
    } catch (error) {
      throw this.#fail(error)
    }
  }

  /**
   * Syncs, and closes all files. What is unacknowledged stays for the next start. If all is acknowledged, one
   * small file stays. The caller releases the lock after this.
   */
  async close(): Promise<void> {
    try {
      this.#throwIfFailed()
      const isSynced = await this.#exclusive(async () => {
        // The next start then asks nothing of what is delivered, and the object may be deleted meanwhile.
        if (this.#store.isAnchorBehind) await this.#store.putAnchor()
        await this.#trim()
        return this.#store.syncAll()
      })
      await this.#removeDeleted()
      if (!isSynced) throw this.#fail(diskFull())
    } finally {
      this.#failedWith ??= this.#closed()
      if (this.#syncTimer) this.#clock.clearTimeout(this.#syncTimer)
      this.#notifyRoom()
      await this.#unlocked
      await this.#trimming
      await this.#closeFiles()
    }
  }

  async #closeFiles(): Promise<void> {
    try {
      await closeAll([this.#store, this.#reader])
    } catch (error) {
      throw asJournalError(error, this.folder)
    }
  }

  /**
   * For `process.exit()`: writes synchronously what was given to `write()` and is not accepted, then `more`, and
   * syncs unless `sync` is `'never'`. Returns how many of all these chunks are accepted: fewer if the journal is
   * full or has failed. May be called again, with further chunks. Call nothing else afterwards.
   */
  writeUnconfirmedSync(more: readonly JournalChunk[] = []): number {
    if (!this.isOpen) return 0
    this.#isExiting = true
    this.#failedWith ??= this.#closed()
    const unconfirmed = this.#unconfirmed
    this.#writing = undefined
    // Apart from `more`: a write in flight must find the same frames in its place.
    let accepted = this.#writeSync(unconfirmed)
    if (accepted === unconfirmed.length) accepted += this.#writeSync(more)
    if (this.#options.sync !== 'never') this.#store.datasyncSync()
    return accepted
  }

  /** Chunks of the `write()` in progress that are not accepted. */
  get #unconfirmed(): readonly JournalChunk[] {
    if (!this.#writing) return []
    const { chunks, layout, end } = this.#writing
    return this.end < end ? chunks : behind(chunks, layout)
  }

  /** Returns how many chunks are accepted. */
  #writeSync(chunks: readonly JournalChunk[]): number {
    let left = chunks
    while (left.length > 0) {
      const layout = layOut(left, this.#layout)
      if (layout.length > 0 && !this.#store.appendSync(layout)) break
      left = behind(left, layout)
    }
    return chunks.length - left.length
  }

  /** Runs changes of segments one after another. Their failure is the journal's, for good. */
  #exclusive<T>(change: () => Promise<T>): Promise<T> {
    const changed = this.#unlocked.then(async () => {
      this.#throwIfFailed()
      try {
        return await change()
      } catch (error) {
        throw this.#fail(error)
      }
    })
    this.#unlocked = changed.catch(() => {})
    return changed
  }

  #closed(): Error {
    return journalError('the journal is closed', { file: this.folder })
  }

  #throwIfFailed(): void {
    if (this.#failedWith) throw this.#failedWith
  }

  #fail(error: unknown): Error {
    this.#failedWith ??= asJournalError(error, this.folder)
    this.#notifyRoom()
    return this.#failedWith
  }
}

/** The chunks that a layout has not. */
function behind(
  chunks: readonly JournalChunk[],
  { chunks: count, rest }: Layout,
): readonly JournalChunk[] {
  const left = chunks.slice(count)
  return rest ? [rest, ...left.slice(1)] : left
}

/** What a killed process has written may be in the page cache alone, and is to be sent. */
async function syncFiles(
  { segments, anchorFile }: FolderContent,
  fileSystem: FileSystem,
  folder: string,
): Promise<void> {
  const files = new Set(segments.map(({ file }) => file))
  if (anchorFile !== undefined) files.add(anchorFile)
  for (const path of files) {
    const file = await fileSystem.open(path)
    try {
      await file.datasync()
    } finally {
      await file.close()
    }
  }
  await fileSystem.syncFolder(folder)
}
