/**
 * A disk in memory. It can be short of room, fail, kill the process that uses it at any operation, and lose
 * power: then any part of what was not synced is gone, page by page, and a removed file may be back.
 *
 *     files     what processes see       write, create, rename, remove
 *     stable    what survives power loss      ^ datasync: pages of a file; syncFolder: entries of a folder
 */

import { dirname } from 'node:path'
import type { FileSystem, JournalFile, SyncFile } from '../../lib/journal/file-system.ts'
import { HEAD_BYTES } from '../../lib/journal/segment.ts'
import type { Random } from '../helpers/random.ts'

const PAGE_BYTES = 4096
/** Frames of the tests are short, so pages behind the head are too: a crash can then tear a frame. */
const SMALL_PAGE_BYTES = 16

interface Inode {
  bytes: Buffer
  stable: Buffer
  /** Pages that differ, or may. */
  dirty: Set<number>
  /** Pages that differ, and that the kernel believes to be clean, since an fdatasync failed. */
  dropped: Set<number>
}

interface FolderChange {
  readonly folder: string
  readonly isRemoval: boolean
  apply(entries: Map<string, Inode>): void
}

/** Chances of 0 to 1. */
export interface DiskTrouble {
  readonly shortWrite: number
  readonly writeError: number
  /** The pages count as clean afterwards, and are not stable: as in Linux. */
  readonly syncError: number
}

export const NO_TROUBLE: DiskTrouble = { shortWrite: 0, writeError: 0, syncError: 0 }

export class SimulatedDisk {
  trouble = NO_TROUBLE
  /** Bytes of all files. */
  capacity = Number.POSITIVE_INFINITY
  /** Operations until the process is killed. */
  operationsToLive = Number.POSITIVE_INFINITY
  /** What happened, by name. */
  readonly counts: Record<string, number> = {}
  readonly #random: Random
  #files = new Map<string, Inode>()
  #stable = new Map<string, Inode>()
  #changes: FolderChange[] = []
  #process = 0
  #onKill: () => void = () => {}

  constructor(random: Random) {
    this.#random = random
  }

  /** Number of the process. Operations of an earlier one never end. */
  get process(): number {
    return this.#process
  }

  /** Resolves when the process that uses the disk from now on is killed. */
  nextKill(): Promise<void> {
    return new Promise(resolve => (this.#onKill = resolve))
  }

  /**
   * Ends the process: none of its operations settles any more. A process that is killed before it has repaired a
   * failed fdatasync is left out: no later one could know of it.
   */
  kill(): void {
    for (const { dirty, dropped } of this.#files.values())
      for (const page of dropped) dirty.add(page)
    this.#process += 1
    this.operationsToLive = Number.POSITIVE_INFINITY
    this.#onKill()
  }

  /** After `kill()`: what was not synced survives in part. */
  losePower(): void {
    const cut = this.#random.integer(0, this.#changes.length)
    for (const [index, { isRemoval, apply }] of this.#changes.entries()) {
      if (index >= cut) break
      if (isRemoval && this.#chance(0.4)) this.#count('a removed file is back')
      else apply(this.#stable)
    }
    this.#changes = []
    this.#files = new Map(this.#stable)
    for (const inode of new Set(this.#files.values())) {
      for (const page of inode.dirty) {
        if (this.#chance(0.5)) writeBack(inode, page)
        else if (this.#chance(0.2)) writeBack(inode, page, this.#random.integer(1, 64))
      }
      inode.bytes = Buffer.from(inode.stable)
      inode.dirty.clear()
      inode.dropped.clear()
    }
  }

  /** Paths of all files. */
  get paths(): string[] {
    return [...this.#files.keys()].sort()
  }

  /** The bytes of a file. A test may replace them. */
  read(path: string): Buffer {
    return Buffer.from(this.#inode(path).bytes)
  }

  replace(path: string, bytes: Buffer): void {
    this.#files.set(path, {
      bytes,
      stable: Buffer.from(bytes),
      dirty: new Set(),
      dropped: new Set(),
    })
    this.#stable.set(path, this.#inode(path))
  }

  /** The functions of a process that begins now. */
  fileSystem(): FileSystem {
    const owner = this.#process
    const run = async <T>(operation: () => T): Promise<T> => {
      await null
      if (owner !== this.#process) return new Promise(() => {})
      if (--this.operationsToLive < 0) {
        this.kill()
        return new Promise(() => {})
      }
      return operation()
    }
    const open = (inode: Inode): JournalFile => ({
      ...this.#syncFile(inode),
      write: async (bytes, position) => {
        const length = this.#random.integer(1, bytes.length)
        const part = bytes.subarray(0, length)
        const isLast = owner === this.#process && this.operationsToLive === 0
        // The write during which the process is killed may take effect in part.
        if (isLast && this.#chance(0.5)) this.#writePart(inode, part, position)
        return run(() => {
          if (this.#chance(this.trouble.writeError)) throw failure('EIO')
          const isShort = this.#chance(this.trouble.shortWrite)
          return this.#write(inode, isShort ? part : bytes, position)
        })
      },
      read: (into, position) =>
        run(() => inode.bytes.copy(into, 0, Math.min(position, inode.bytes.length))),
      datasync: () =>
        run(() => {
          if (!this.#chance(this.trouble.syncError)) return sync(inode)
          this.#count('an fdatasync failed')
          inode.dropped = new Set([...inode.dropped, ...inode.dirty])
          inode.dirty.clear()
          throw failure('EIO')
        }),
      truncate: length =>
        run(() => {
          if (length === HEAD_BYTES) this.#count('a segment was cut off behind its head')
          inode.bytes = Buffer.from(inode.bytes.subarray(0, length))
          if (this.#chance(0.5)) cut(inode)
        }),
      size: () => run(() => inode.bytes.length),
      close: async () => {},
    })
    return {
      makeFolder: () => run(() => {}),
      isLocal: async () => true,
      list: path =>
        run(() => {
          const inside = this.paths.filter(each => each.startsWith(`${path}/`))
          return [...new Set(inside.map(each => each.slice(path.length + 1).replace(/\/.*/, '')))]
        }),
      open: path => run(() => open(this.#inode(path))),
      create: path => run(() => open(this.#create(path))),
      createSync: path => this.#syncFile(this.#create(path)),
      rename: (from, to) => run(() => this.#rename(from, to)),
      renameSync: (from, to) => this.#rename(from, to),
      remove: path =>
        run(() => {
          this.#change(dirname(path), entries => entries.delete(path), true)
        }),
      syncFolder: path => run(() => this.#syncFolder(path)),
      syncFolderSync: path => this.#syncFolder(path),
    }
  }

  #syncFile(inode: Inode): SyncFile {
    return {
      writeSync: (bytes, position) => this.#write(inode, bytes, position),
      datasyncSync: () => sync(inode),
    }
  }

  #write(inode: Inode, bytes: Uint8Array, position: number): number {
    const free = this.capacity - this.#bytes
    const growth = Math.max(0, position + bytes.length - inode.bytes.length)
    const length = growth > free ? bytes.length - (growth - Math.max(0, free)) : bytes.length
    if (length <= 0) {
      this.#count('the disk is full')
      throw failure('ENOSPC')
    }
    const end = position + length
    if (end > inode.bytes.length) {
      inode.bytes = Buffer.concat([inode.bytes, Buffer.alloc(end - inode.bytes.length)])
    }
    inode.bytes.set(bytes.subarray(0, length), position)
    for (let at = position; at < end; at = pageStart(pageOf(at) + 1)) inode.dirty.add(pageOf(at))
    // The kernel writes some pages back when it likes.
    for (const page of inode.dirty) if (this.#chance(0.1)) writeBack(inode, page)
    return length
  }

  #writePart(inode: Inode, bytes: Uint8Array, position: number): void {
    try {
      this.#write(inode, bytes, position)
    } catch {
      // The disk is full.
    }
  }

  get #bytes(): number {
    return [...this.#files.values()].reduce((sum, { bytes }) => sum + bytes.length, 0)
  }

  #create(path: string): Inode {
    if (this.#files.has(path)) throw failure('EEXIST')
    const bytes = Buffer.alloc(0)
    const inode: Inode = { bytes, stable: bytes, dirty: new Set(), dropped: new Set() }
    this.#change(dirname(path), entries => entries.set(path, inode))
    return inode
  }

  #rename(from: string, to: string): void {
    const inode = this.#inode(from)
    this.#change(dirname(to), entries => {
      entries.delete(from)
      entries.set(to, inode)
    })
  }

  #inode(path: string): Inode {
    const inode = this.#files.get(path)
    if (!inode) throw failure('ENOENT')
    return inode
  }

  #change(folder: string, apply: FolderChange['apply'], isRemoval = false): void {
    apply(this.#files)
    this.#changes.push({ folder, apply, isRemoval })
  }

  #syncFolder(path: string): void {
    for (const { folder, apply } of this.#changes) if (folder === path) apply(this.#stable)
    this.#changes = this.#changes.filter(({ folder }) => folder !== path)
  }

  #chance(chance: number): boolean {
    return this.#random.integer(0, 999) < chance * 1000
  }

  #count(name: string): void {
    this.counts[name] = (this.counts[name] ?? 0) + 1
  }
}

function pageOf(position: number): number {
  if (position < HEAD_BYTES) return Math.floor(position / PAGE_BYTES)
  return HEAD_BYTES / PAGE_BYTES + Math.floor((position - HEAD_BYTES) / SMALL_PAGE_BYTES)
}

function pageStart(page: number): number {
  const small = page - HEAD_BYTES / PAGE_BYTES
  return small < 0 ? page * PAGE_BYTES : HEAD_BYTES + small * SMALL_PAGE_BYTES
}

/** `most`: bytes, of a page that is torn. */
function writeBack(inode: Inode, page: number, most = Number.POSITIVE_INFINITY): void {
  const start = pageStart(page)
  const end = Math.min(pageStart(page + 1), start + most, inode.bytes.length)
  if (start >= end) return
  if (end > inode.stable.length) {
    inode.stable = Buffer.concat([inode.stable, Buffer.alloc(end - inode.stable.length)])
  }
  inode.stable.set(inode.bytes.subarray(start, end), start)
}

/** Makes a truncation stable. */
function cut(inode: Inode): void {
  const { bytes, stable } = inode
  if (stable.length > bytes.length) inode.stable = Buffer.from(stable.subarray(0, bytes.length))
}

function sync(inode: Inode): void {
  cut(inode)
  for (const page of inode.dirty) writeBack(inode, page)
  inode.dirty.clear()
}

function failure(code: string): Error {
  return Object.assign(new Error(`${code}: simulated`), { code })
}
