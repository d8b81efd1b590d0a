/**
 * The functions of `node:fs` that the journal needs, so that tests can replace them: with short writes, a full
 * disk, a failing fsync, and a crash that keeps any part of what was not synced. Errors are those of Node, with
 * `code`. The functions that end in `Sync` are for `process.exit()`, which runs nothing asynchronous.
 */

/** An open file. */
export interface JournalFile {
  /** Writes at a position of the file, and returns how many bytes were written: all, or fewer. */
  write(bytes: Uint8Array, position: number): Promise<number>
  writeSync(bytes: Uint8Array, position: number): number
  /** Reads from a position, and returns how many bytes were read; 0 at the end of the file. */
  read(into: Uint8Array, position: number): Promise<number>
  /** Resolves when what was written before the call is on stable storage. */
  datasync(): Promise<void>
  datasyncSync(): void
  size(): Promise<number>
  close(): Promise<void>
  closeSync(): void
}

/** Paths are absolute. */
export interface FileSystem {
  /** Makes a folder with mode 0700, and its parents. An existing folder is left as it is. */
  makeFolder(path: string): Promise<void>
  /** Names of the entries of a folder. */
  list(path: string): Promise<string[]>
  /** Opens a file for reading. */
  open(path: string): Promise<JournalFile>
  /** Makes a file with mode 0600, for writing and reading. An existing file is an error. */
  create(path: string): Promise<JournalFile>
  createSync(path: string): JournalFile
  rename(from: string, to: string): Promise<void>
  renameSync(from: string, to: string): void
  /** Removes a file. A file that does not exist is no error. */
  remove(path: string): Promise<void>
  /** Resolves when the entries of a folder are on stable storage. */
  syncFolder(path: string): Promise<void>
  syncFolderSync(path: string): void
}
