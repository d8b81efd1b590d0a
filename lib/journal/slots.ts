/**
 * The slots of a journal folder: `0/`, `1/`, ... Each stream locks one, so cluster workers and overlapping
 * restarts never share one. A slot whose owner is dead is locked too, so that its bytes are delivered.
 */

import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { type Clock, systemClock } from '../clock.ts'
import { journalError } from '../errors.ts'
import { isAlive, processIdentity } from '../folder-lock.ts'
import { type FileSystem, nodeFileSystem } from './file-system.ts'
import { asJournalError } from './journal-error.ts'
import { type IsRunning, type LockOwner, lockSlot } from './lock.ts'
import type { Damage } from './recover-info.ts'
import { damagedName, parseSegmentName } from './segment.ts'

/** A slot that this process has locked. */
export interface Slot {
  /** For `{slot}` in the pattern of a key. */
  readonly index: number
  /** Absolute path. */
  readonly folder: string
  /** Unlocks the folder, after its journal is closed. */
  release(): Promise<void>
  /** Where `setAside()` puts the folder. */
  readonly asideFolder: string
  /** Instead of `release()`: the folder is no slot any more, and keeps its files for an operator. */
  setAside(): Promise<void>
}

export interface ClaimedSlots {
  /** The slot of the stream: the first one that was free. */
  readonly own: Slot
  /** Other slots that hold segments, and whose owner is dead. Open, deliver, close and release each. */
  readonly abandoned: readonly Slot[]
}

/** Where slots are, and which processes run there. */
export interface Machine {
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly newOwner: () => LockOwner
  readonly isRunning: IsRunning
}

/** Slots that are tried at most: one for each stream on the folder at the same time. */
export const MAX_SLOTS = 1024

/** The name that `setAside()` gives to a folder. */
const ASIDE = /^\d{1,4}\.kept-[0-9a-f]+$/

/** Milliseconds: at least, and less than. A start that refuses a slot removes its lock well before. */
const RETRY_DELAY = [5, 25] as const

/**
 * Locks slots of `dir`, which is made if it does not exist.
 *
 * @throws {OssError} `OSS_ERR_JOURNAL` if the folder is read-only, full, or not on a local disk, or has no free slot.
 */
export async function claimSlots(
  dir: string,
  machine: Machine = thisMachine,
): Promise<ClaimedSlots> {
  const { fileSystem } = machine
  const folder = resolve(dir)
  try {
    await fileSystem.makeFolder(folder)
    if (!(await fileSystem.isLocal(folder))) throw notLocal(folder)
    const own = await claimFree(machine, folder)
    const abandoned: Slot[] = []
    try {
      await claimAbandoned(machine, folder, own.index, abandoned)
      return { own, abandoned }
    } catch (error) {
      for (const slot of [own, ...abandoned]) await slot.release().catch(() => {})
      throw error
    }
  } catch (error) {
    throw asJournalError(error, folder)
  }
}

/** Locks one more slot of `dir`: the first that is free, and is none of `held`, which the caller has locked. */
export async function claimFreeSlot(
  dir: string,
  held: readonly Slot[],
  machine: Machine = thisMachine,
): Promise<Slot> {
  const folder = resolve(dir)
  try {
    return await claimFree(machine, folder, held)
  } catch (error) {
    throw asJournalError(error, folder)
  }
}

/**
 * Empties a slot whose bytes are all acknowledged and whose journal is closed, so that no start reads it again. The
 * caller holds the lock. Files with damage are kept.
 */
export async function clearSlot(
  folder: string,
  damaged: readonly Damage[],
  fileSystem: FileSystem = nodeFileSystem,
): Promise<void> {
  const kept = new Set(damaged.map(({ file }) => file))
  for (const name of await fileSystem.list(folder)) {
    const path = join(folder, name)
    if (!parseSegmentName(name)) continue
    if (kept.has(path)) await fileSystem.rename(path, damagedName(path))
    else await fileSystem.remove(path)
  }
  // A file that comes back after power loss would be newer than those of the next owner.
  await fileSystem.syncFolder(folder)
}

/**
 * Locks the folder of a slot to drain it, also of one that was set aside. Resolves to a function that unlocks it, or to
 * undefined: a living process has locked it.
 */
export async function lockIfFree(folder: string): Promise<(() => Promise<void>) | undefined> {
  const { fileSystem, newOwner, isRunning } = thisMachine
  const result = await lockSlot(fileSystem, folder, newOwner(), isRunning)
  return result.name === 'locked' ? () => result.unlock() : undefined
}

async function claimFree(machine: Machine, dir: string, held: readonly Slot[] = []): Promise<Slot> {
  for (let index = 0; index < MAX_SLOTS; index++) {
    if (held.some(slot => slot.index === index)) continue
    const slot = await tryClaim(machine, dir, index)
    if (slot) return slot
  }
  throw journalError(`all ${MAX_SLOTS} slots of the journal are in use`, { file: dir })
}

/**
 * Locks the other slots with segments, where no living process is, and adds each to `slots`. Of two that start at once
 * both may refuse a slot. Their locks are gone then, and each tries again after a random time.
 */
async function claimAbandoned(
  { fileSystem, clock, newOwner, isRunning }: Machine,
  dir: string,
  own: number,
  slots: Slot[],
): Promise<void> {
  let folders = await foldersWithSegments(fileSystem, dir, own)
  while (folders.length > 0) {
    const locks: string[] = []
    for (const folder of folders) {
      const result = await ifThere(lockSlot(fileSystem, folder, newOwner(), isRunning))
      if (result?.name === 'refused') locks.push(result.file)
      if (result?.name !== 'locked') continue
      slots.push(createSlot(fileSystem, folder, indexOf(folder), result.unlock))
    }
    if (locks.length > 0) await sleepRandomly(clock)
    folders = []
    for (const lock of locks) {
      const folder = dirname(lock)
      const names = await ifThere(fileSystem.list(folder))
      if (names?.some(parseSegmentName) && !names.includes(basename(lock))) folders.push(folder)
    }
  }
}

async function foldersWithSegments(
  fileSystem: FileSystem,
  dir: string,
  own: number,
): Promise<string[]> {
  const folders: string[] = []
  for (const index of await listSlots(fileSystem, dir)) {
    const folder = join(dir, String(index))
    if (index === own) continue
    const names = await ifThere(fileSystem.list(folder))
    if (names?.some(parseSegmentName)) folders.push(folder)
  }
  return folders
}

/** Undefined: another stream has just set the folder aside. */
async function ifThere<T>(result: Promise<T>): Promise<T | undefined> {
  try {
    return await result
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Indexes of the slots of a folder, upward. */
export async function listSlots(fileSystem: FileSystem, dir: string): Promise<number[]> {
  const names = await fileSystem.list(dir)
  const isIndex = (name: string) => /^\d{1,4}$/.test(name)
  return names
    .filter(isIndex)
    .map(Number)
    .sort((a, b) => a - b)
}

/** Names of all folders that may hold bytes: slots, upward, and behind them those that were set aside. */
export async function listSlotNames(fileSystem: FileSystem, dir: string): Promise<string[]> {
  const slots = await listSlots(fileSystem, dir)
  const aside = (await fileSystem.list(dir)).filter(name => ASIDE.test(name))
  return [...slots.map(String), ...aside.sort()]
}

/**
 * Undefined: a living process has locked it, or has just set it aside. Of two that start at once both may refuse the
 * slot. Without another try they would go on side by side, and refuse one slot after another.
 */
async function tryClaim(
  { fileSystem, clock, newOwner, isRunning }: Machine,
  dir: string,
  index: number,
): Promise<Slot | undefined> {
  const folder = join(dir, String(index))
  for (;;) {
    await fileSystem.makeFolder(folder)
    const result = await ifThere(lockSlot(fileSystem, folder, newOwner(), isRunning))
    if (!result) return undefined
    if (result.name === 'locked') return createSlot(fileSystem, folder, index, result.unlock)
    await sleepRandomly(clock)
    const names = await ifThere(fileSystem.list(folder))
    if (names?.includes(basename(result.file))) return undefined
  }
}

function createSlot(
  fileSystem: FileSystem,
  folder: string,
  index: number,
  unlock: (renamed?: string) => Promise<void>,
): Slot {
  const asideFolder = `${folder}.kept-${randomBytes(4).toString('hex')}`
  const setAside = async () => {
    // Not unlocked before: another process would take the slot, and lose its folder.
    await fileSystem.rename(folder, asideFolder)
    await unlock(asideFolder)
  }
  return { index, folder, release: () => unlock(), asideFolder, setAside }
}

export function newOwner(): LockOwner {
  const [start = '', boot = ''] = (processIdentity(process.pid) ?? '').split('~')
  return { host: hostname(), pid: process.pid, start, boot, nonce: randomBytes(6).toString('hex') }
}

/** A process with the same pid and another start is dead, also if the pid is that of this process. */
export const isRunning: IsRunning = ({ pid, start, boot }) => {
  return isAlive(pid, start === '' ? '' : `${start}~${boot}`)
}

const thisMachine: Machine = {
  ...{ fileSystem: nodeFileSystem, clock: systemClock, newOwner, isRunning },
}

function sleepRandomly(clock: Clock): Promise<void> {
  const [min, max] = RETRY_DELAY
  const delay = min + clock.random() * (max - min)
  return new Promise(resolve => clock.setTimeout(resolve, delay))
}

function indexOf(folder: string): number {
  return Number(/(\d+)\/?$/.exec(folder)?.[1] ?? 0)
}

function notLocal(folder: string): Error {
  return journalError(
    'the journal is on a network file system, where fsync and locks do not hold: use a local disk',
    { file: folder },
  )
}
