/** What a journal folder holds, for `oss-append journal DIR`. Locks nothing and changes nothing. */

import { join, resolve } from 'node:path'
import { type FileSystem, nodeFileSystem } from './file-system.ts'
import { asJournalError } from './journal-error.ts'
import { isLiving, type LockOwner, parseLockName } from './lock.ts'
import { type Recovered, readFolder } from './recovery.ts'
import { isDamagedName } from './segment.ts'
import { isRunning, listSlots, newOwner } from './slots.ts'

export interface SlotReport {
  readonly index: number
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

/** @throws {OssError} `OSS_ERR_JOURNAL` if a slot cannot be read. */
export async function inspectJournal(
  dir: string,
  fileSystem: FileSystem = nodeFileSystem,
): Promise<SlotReport[]> {
  const parent = resolve(dir)
  const reports: SlotReport[] = []
  try {
    for (const index of await listSlots(fileSystem, parent)) {
      reports.push(await inspectSlot(fileSystem, join(parent, String(index)), index))
    }
  } catch (error) {
    throw asJournalError(error, parent)
  }
  return reports
}

async function inspectSlot(
  fileSystem: FileSystem,
  folder: string,
  index: number,
): Promise<SlotReport> {
  const names = await fileSystem.list(folder)
  const self = newOwner()
  const owners = names.map(parseLockName).filter(owner => owner !== undefined)
  const owner = owners.find(each => isLiving(each, self, isRunning))
  const { recovered, bytesOnDisk } = await readFolder(fileSystem, folder)
  const kept = names.filter(isDamagedName).map(name => join(folder, name))
  return { index, folder, owner, bytesOnDisk, recovered, kept }
}
