/**
 * The journal of one stream, in a folder that this process has locked (a slot). It keeps accepted bytes in
 * segments until they are acknowledged. It knows streams' offsets, and nothing of OSS but anchors.
 *
 *      0                       acknowledged      syncedEnd   end
 *      | deleted | segment | segment | segment | segment ....|
 *                              ^ anchor: this byte goes to { bucket, key, position, crc64 }
 */

import type { Tail } from '../append/tail.ts'
import type { Clock } from '../clock.ts'
import type { Align } from '../options.ts'
import type { FileSystem } from './file-system.ts'
import type { Recovered } from './recovery.ts'
import type { Anchor } from './segment.ts'

/*
 * The life of a journal, as a stream uses it:
 *
 *   const { own, abandoned } = await claimSlots(dir)
 *   const journal = await openJournal({ folder: own.folder, ... })
 *   const { anchor, from, end, align, damaged } = journal.recovered
 *   if (anchor) {
 *     seen = tail of oss://bucket/key                           HEAD
 *     settleJournal(journal, from, anchor, seen)                landed -> acknowledge(from + length, after)
 *   }                                                           conflict, replaced -> close; nothing is deleted
 *   else find the object of the options; anchor(...) before its first append
 *   send [acknowledged, end): read(), sync() before a batch leaves, acknowledge() behind each append;
 *     409 in this part: settleJournal() again, since a dead process may have sent any record end
 *   then new bytes: write() -> pieces into the batcher while it has room and has all before them;
 *     what it has no room for: read() later; anchor() at each roll
 *   close(); own.release()
 */

/** When accepted bytes are synced: before the write is confirmed, after milliseconds, or with the segment only. */
export type JournalSync = 'always' | 'never' | number

export interface JournalOptions {
  /** Absolute path of the slot. */
  readonly folder: string
  /** Bytes on disk. */
  readonly maxBytes: number
  readonly sync: JournalSync
  readonly align: Align
  /** Bytes of one memory buffer: the `highWaterMark` of the stream. The journal keeps at most two of unsynced bytes. */
  readonly highWaterMark: number
  /** Bytes of a segment. Default: 32 MiB. */
  readonly segmentBytes?: number
  /** Default: `node:fs`. */
  readonly fileSystem?: FileSystem
  readonly clock?: Clock
}

/** A chunk as the stream was given it. */
export type JournalChunk =
  | Uint8Array
  | { readonly chunk: Uint8Array | string; readonly encoding: string }

/** Bytes of the stream. A view of the journal's memory, valid until the next call of `write()` or `read()`. */
export interface JournalPiece {
  readonly bytes: Uint8Array
  /** With `align: 'chunk'`: whether a chunk ends with them. Otherwise true. */
  readonly isEnd: boolean
}

export interface WriteResult {
  /** The accepted bytes, for the memory buffers. */
  readonly pieces: readonly JournalPiece[]
  /** Chunks that are accepted whole. */
  readonly chunks: number
  /** The rest of the next chunk, if its first bytes are accepted: it comes first in the next `write()`. */
  readonly rest: Uint8Array | undefined
}

/**
 * Every method that returns a promise rejects with `OSS_ERR_JOURNAL` once the journal has failed (a disk
 * that takes no bytes for another reason than being full), and after `close()`.
 */
export interface Journal {
  /** What the folder held when the journal was opened. */
  readonly recovered: Recovered
  readonly folder: string
  /** Stream offset behind the last accepted byte. */
  readonly end: number
  /** Stream offset behind the last byte that is known to be on stable storage. */
  readonly syncedEnd: number
  /** Stream offset behind the last acknowledged byte. */
  readonly acknowledged: number
  /** Bytes of the segments on disk. */
  readonly bytesOnDisk: number
  /** The last `write()` found the disk or `maxBytes` full, and no room was made since. */
  readonly isFull: boolean

  /**
   * Accepts chunks: resolves when they are written, with one write for all that fit one buffer, and with
   * `sync: 'always'` when they are synced. One call at a time.
   * If the journal is full, it accepts fewer: see `WriteResult`. Then wait for `waitForRoom()` and go on
   * with the rest, or drop it. A chunk of up to 1 MiB is accepted whole or not at all.
   */
  write(chunks: readonly JournalChunk[]): Promise<WriteResult>

  /** Resolves when room was made, or after one second of a full disk. The timer does not hold the process. */
  waitForRoom(): Promise<void>

  /**
   * Resolves when all that is accepted by now is on stable storage: `journaled()` of the stream, and before each
   * batch leaves unless `sync` is `'never'`. Costs nothing if it is there already. Calls share an fdatasync.
   */
  sync(): Promise<void>

  /**
   * Says where the bytes from `offset` on go, and resolves when that is on stable storage. To be called
   * before the first append that the last anchor does not foretell: the first of all, and the first to each
   * next object. Never waits for room.
   */
  anchor(anchor: Anchor): Promise<void>

  /**
   * All bytes before `offset` are in the objects, and `tail` is the tail of the anchored object there.
   * Segments that are acknowledged whole are deleted in the background, after an anchor of this tail is
   * synced in a segment that stays.
   */
  acknowledge(offset: number, tail: Tail): void

  /**
   * Accepted bytes from `offset` on: at least one byte, and at most `length`. Reads forward cheaply; another
   * offset than the end of the last read costs a scan of one segment. Each frame's CRC is checked:
   * `OSS_ERR_JOURNAL` with file and offset if it is wrong.
   */
  read(offset: number, length: number): Promise<readonly JournalPiece[]>

  /**
   * Syncs, and closes all files. What is unacknowledged stays for the next start. If all is acknowledged, one
   * small file stays. The lock is the caller's to release, after this.
   */
  close(): Promise<void>

  /**
   * For `process.exit()`: writes all that was given to `write()` and is not confirmed, synchronously, at the
   * offsets where it was going. Returns how many of those bytes could not be written (a full disk). Call nothing
   * else afterwards.
   */
  writeUnconfirmedSync(): number
}

/** Recovers what the folder holds, and deletes nothing that is undelivered. The caller holds the lock. */
export type OpenJournal = (options: JournalOptions) => Promise<Journal>
