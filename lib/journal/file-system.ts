/**
 * The functions of `node:fs` that the journal needs, so that tests can replace them: with short writes, a full
 * disk, a failing fsync, and a crash that keeps any part of what was not synced. Errors are those of Node, with
 * `code`. The functions that end in `Sync` are for `process.exit()`, after which nothing asynchronous runs.
 */

import * as fs from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rename, rm, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'

/** An open file, as far as it is of use while the process ends. */
export interface SyncFile {
  writeSync(bytes: Uint8Array, position: number): number
  datasyncSync(): void
}

/** An open file. */
export interface JournalFile extends SyncFile {
  /** Writes at a position of the file, and returns how many bytes were written: all, or fewer. */
  write(bytes: Uint8Array, position: number): Promise<number>
  /** Reads from a position, and returns how many bytes were read; 0 at the end of the file. */
  read(into: Uint8Array, position: number): Promise<number>
  /** Resolves when what was written before the call is on stable storage. */
  datasync(): Promise<void>
  /** Cuts the file off behind this number of bytes. */
  truncate(length: number): Promise<void>
  /** Bytes. */
  size(): Promise<number>
  close(): Promise<void>
}

/** Paths are absolute. */
export interface FileSystem {
  /**
   * Makes a folder with mode 0700, and its parents, and resolves when their entries are on stable storage, as far as the
   * folders that they are in may be read. An existing folder is left as it is.
   */
  makeFolder(path: string): Promise<void>
  /** False for a network file system of Linux, where fsync and locks promise less. FUSE is not recognized. */
  isLocal(path: string): Promise<boolean>
  /** Names of the entries of a folder. */
  list(path: string): Promise<string[]>
  /** Opens a file for reading, and for writing if `isWritable`. */
  open(path: string, isWritable?: boolean): Promise<JournalFile>
  /** Makes a file with mode 0600, for reading and writing. An existing file is an error. */
  create(path: string): Promise<JournalFile>
  createSync(path: string): SyncFile
  rename(from: string, to: string): Promise<void>
  renameSync(from: string, to: string): void
  /** Removes a file. A file that does not exist is no error. */
  remove(path: string): Promise<void>
  /** Resolves when the entries of a folder are on stable storage. */
  syncFolder(path: string): Promise<void>
  syncFolderSync(path: string): void
}

const FOLDER_MODE = 0o700
const FILE_MODE = 0o600
/** Types of Linux's `statfs(2)`: NFS, SMB, CIFS, SMB2, 9P, Ceph, AFS. */
const NETWORK = new Set([
  0x69_69, 0x51_7b, 0xff_53_4d_42, 0xfe_53_4d_42, 0x01_02_19_97, 0x00_c3_64_00, 0x53_46_41_4f,
])

export const nodeFileSystem: FileSystem = {
  async makeFolder(path) {
    const first = await mkdir(path, { recursive: true, mode: FOLDER_MODE })
    if (first === undefined) return
    // An fsync of a file, or of its folder, does not promise that of the entry of that folder (fsync(2)).
    for (let made = path; made.length >= first.length; made = dirname(made)) {
      await nodeFileSystem.syncFolder(dirname(made)).catch(throwUnlessForbidden)
    }
  },
  async isLocal(path) {
    // Some file systems have types of more than 31 bits, which Node shows as they are or as negative numbers.
    return !NETWORK.has((await statfs(path)).type >>> 0)
  },
  list: path => readdir(path),
  open: async (path, isWritable = false) => wrap(await open(path, isWritable ? 'r+' : 'r')),
  create: async path => wrap(await open(path, 'wx+', FILE_MODE)),
  createSync: path => wrapSync(fs.openSync(path, 'wx+', FILE_MODE)),
  rename: (from, to) => rename(from, to),
  renameSync: (from, to) => fs.renameSync(from, to),
  remove: path => rm(path, { force: true }),
  async syncFolder(path) {
    const folder = await open(path, 'r')
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
  },
  syncFolderSync(path) {
    const fd = fs.openSync(path, 'r')
    try {
      fs.fsyncSync(fd)
    } finally {
      fs.closeSync(fd)
    }
  },
}

/** A folder that the process may write to, and not read, cannot be opened. The next start would not sync it either. */
function throwUnlessForbidden(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EACCES') throw error
}

function wrap(file: FileHandle): JournalFile {
  return {
    ...wrapSync(file.fd),
    write: async (bytes, position) => {
      const { bytesWritten } = await file.write(bytes, 0, bytes.length, position)
      return bytesWritten
    },
    read: async (into, position) => {
      const { bytesRead } = await file.read(into, 0, into.length, position)
      return bytesRead
    },
    datasync: () => file.datasync(),
    truncate: length => file.truncate(length),
    size: async () => (await file.stat()).size,
    close: () => file.close(),
  }
}

function wrapSync(fd: number): SyncFile {
  return {
    writeSync: (bytes, position) => fs.writeSync(fd, bytes, 0, bytes.length, position),
    datasyncSync: () => fs.fdatasyncSync(fd),
  }
}

/** Writes all of `bytes`, with as many writes as that takes. */
export async function writeAll(
  file: JournalFile,
  bytes: Uint8Array,
  position: number,
): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    written += await file.write(bytes.subarray(written), position + written)
  }
}

export function writeAllSync(file: SyncFile, bytes: Uint8Array, position: number): void {
  for (let written = 0; written < bytes.length; ) {
    written += file.writeSync(bytes.subarray(written), position + written)
  }
}

/** Reads until `into` is full or the file ends. Returns the number of bytes. */
export async function readAll(
  file: JournalFile,
  into: Uint8Array,
  position: number,
): Promise<number> {
  let length = 0
  while (length < into.length) {
    const read = await file.read(into.subarray(length), position + length)
    if (read === 0) break
    length += read
  }
  return length
}

/** Closes all files. One that cannot be closed keeps no other open. */
export async function closeAll(files: Iterable<Pick<JournalFile, 'close'>>): Promise<void> {
  const results = await Promise.allSettled([...files].map(file => file.close()))
  const failed = results.find(result => result.status === 'rejected')
  if (failed) throw failed.reason
}

/** The disk takes no more bytes now, and may later. */
export function isDiskFull(error: unknown): boolean {
  return /^(ENOSPC|EDQUOT)$/.test(String((error as NodeJS.ErrnoException)?.code))
}
