/**
 * A journal that a process begins while it exits, for bytes that no open journal can take: that of the stream is not
 * open yet, or has failed. Everything is synchronous. The folder becomes a slot once the bytes are in it, so
 * that no other process finds it empty.
 *
 *      exit-1a2b3c4d/ --first write--> rename to the first free slot --> more writes
 */

import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { nodeFileSystem } from './file-system.ts'
import type { JournalChunk } from './frame-layout.ts'
import { Journal, type JournalOptions } from './journal.ts'
import { asJournalError } from './journal-error.ts'
import { MAX_SLOTS } from './slots.ts'

const FOLDER_MODE = 0o700

export class ExitJournal {
  readonly #dir: string
  readonly #folder: string
  readonly #journal: Journal
  #isSlot = false

  /** @throws {OssError} `OSS_ERR_JOURNAL` if the folder cannot be made. */
  constructor(dir: string, options: Omit<JournalOptions, 'folder'>) {
    this.#dir = resolve(dir)
    this.#folder = join(this.#dir, `exit-${randomBytes(4).toString('hex')}`)
    try {
      mkdirSync(this.#folder, { recursive: true, mode: FOLDER_MODE })
    } catch (error) {
      throw asJournalError(error, this.#dir)
    }
    this.#journal = Journal.createSync({ ...options, folder: this.#folder })
  }

  /** Bytes in its slot; 0 until it has one. */
  get journaled(): number {
    return this.#isSlot ? this.#journal.end : 0
  }

  /** Accepts chunks, as many as there is room for. */
  writeUnconfirmedSync(chunks: readonly JournalChunk[] = []): void {
    if (chunks.length === 0) return
    this.#journal.writeUnconfirmedSync(chunks)
    if (!this.#isSlot && this.#journal.end > 0) this.#isSlot = this.#becomeSlot()
    if (!this.#isSlot) rmSync(this.#folder, { recursive: true, force: true })
  }

  /** A folder is renamed over an empty one, and never over one that has a lock or a segment. */
  #becomeSlot(): boolean {
    for (let index = 0; index < MAX_SLOTS; index++) {
      try {
        nodeFileSystem.renameSync(this.#folder, join(this.#dir, String(index)))
        nodeFileSystem.syncFolderSync(this.#dir)
        return true
      } catch (error) {
        const { code = '' } = error as NodeJS.ErrnoException
        if (!/^(ENOTEMPTY|EEXIST|EPERM)$/.test(code)) return false
      }
    }
    return false
  }
}
