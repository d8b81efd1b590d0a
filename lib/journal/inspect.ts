/** What a journal folder holds, for `oss-append journal DIR`. Locks nothing and changes nothing. */

import { join, resolve } from 'node:path'
import { type FileSystem, nodeFileSystem } from './file-system.ts'
import { asJournalError } from './journal-error.ts'
import { isLiving, type LockOwner, parseLockName } from './lock.ts'
import { type Recovered, readFolder } from './recovery.ts'
import { isDamagedName } from './segment.ts'
import { isRunning, listSlotNames, newOwner } from './slots.ts'

export interface SlotReport {
  /** Of the folder: `0`, or `0.kept-…` if it was set aside. */
  readonly name: string
  /** Absolute path. */
  readonly folder: string
  /** The living process that has locked it. */
  readonly owner: LockOwner | undefined
  /** Bytes of its segments on disk. */
  readonly bytesOnDisk: number
  /** As a start would find it. What an owner does meanwhile may be missing, or look damaged. */
  readonly recovered: Recovered
  /** Absolute paths of files that earlier starts have kept as damaged. */
  readonly kept: readonly string[]
}

/** A slot whose files cannot be read. `error`: `OSS_ERR_JOURNAL`, with the file and a remedy. */
export interface UnreadableSlot {
  readonly name: string
  readonly folder: string
  readonly error: Error
}

/** @throws {OssError} `OSS_ERR_JOURNAL` if `dir` cannot be read. */
export async function inspectJournal(
  dir: string,
  fileSystem: FileSystem = nodeFileSystem,
): Promise<(SlotReport | UnreadableSlot)[]> {
  const parent = resolve(dir)
  const reports: (SlotReport | UnreadableSlot)[] = []
  try {
    for (const name of await listSlotNames(fileSystem, parent)) {
      const folder = join(parent, name)
      const unreadable = (error: unknown) => ({
        name,
        folder,
        error: asJournalError(error, folder),
      })
      reports.push(await inspectSlot(fileSystem, folder, name).catch(unreadable))
    }
  } catch (error) {
    throw asJournalError(error, parent)
  }
  return reports
}

async function inspectSlot(
  fileSystem: FileSystem,
  folder: string,
  name: string,
): Promise<SlotReport> {
  const names = await fileSystem.list(folder)
  const self = newOwner()
  const owners = names.map(parseLockName).filter(owner => owner !== undefined)
  const owner = owners.find(each => isLiving(each, self, isRunning))
  const { recovered, bytesOnDisk } = await readFolder(fileSystem, folder)
  const kept = names.filter(isDamagedName).map(name => join(folder, name))
  return { name, folder, owner, bytesOnDisk, recovered, kept }
}
