/**
 * Lets one stream at a time use a slot. Each makes a lock file of its own, and then lists the folder: if another
 * living one is there, it removes its own and refuses. So two that start at once may both refuse, but never
 * both succeed. (A single lock file that is taken over by unlink and create has two owners in some orders.)
 *
 *     create lock~host~pid~start~boot~nonce --> list --> others dead:   remove theirs, locked
 *                                                   \--> one living:    remove own, refused
 */

import { join } from 'node:path'
import type { FileSystem } from './file-system.ts'

/** A stream that holds a lock, or wants to. */
export interface LockOwner {
  readonly host: string
  readonly pid: number
  /** When the process started. Empty where that is not known. */
  readonly start: string
  /** In which run of the machine. Empty where that is not known. */
  readonly boot: string
  /** Tells streams of one process apart. */
  readonly nonce: string
}

/** Whether a process with this pid and this start runs on this host, in this run of the machine. */
export type IsRunning = (owner: LockOwner) => boolean

export type LockResult =
  | {
      readonly name: 'locked'
      /** `renamed`: where the folder is now. */
      readonly unlock: (renamed?: string) => Promise<void>
    }
  | { readonly name: 'refused'; readonly file: string }

export async function lockSlot(
  fileSystem: FileSystem,
  folder: string,
  self: LockOwner,
  isRunning: IsRunning,
): Promise<LockResult> {
  const own = join(folder, lockName(self))
  const unlock = (renamed = folder) => fileSystem.remove(join(renamed, lockName(self)))
  const file = await fileSystem.create(own)
  try {
    await file.close()
    const dead: string[] = []
    for (const name of await fileSystem.list(folder)) {
      const owner = parseLockName(name)
      if (!owner || name === lockName(self)) continue
      if (isLiving(owner, self, isRunning)) {
        await unlock()
        return { name: 'refused', file: join(folder, name) }
      }
      dead.push(join(folder, name))
    }
    for (const path of dead) await fileSystem.remove(path)
    return { name: 'locked', unlock }
  } catch (error) {
    // A lock that stays would keep the slot from all streams as long as this process runs.
    await unlock().catch(() => {})
    throw error
  }
}

/**
 * A process of an earlier run of the machine is dead. One of another host in the same run is in another
 * container, where its pid cannot be looked up: it counts as living. Where the run is not known there are no
 * containers, and host names may change.
 */
export function isLiving(owner: LockOwner, self: LockOwner, isRunning: IsRunning): boolean {
  if (owner.boot !== self.boot) return false
  if (owner.boot !== '' && owner.host !== self.host) return true
  return isRunning(owner)
}

/** Each part is without `~` and `/`. */
export function lockName({ host, pid, start, boot, nonce }: LockOwner): string {
  return ['lock', encodeURIComponent(host).replaceAll('~', '%7E'), pid, start, boot, nonce].join(
    '~',
  )
}

export function parseLockName(name: string): LockOwner | undefined {
  const [prefix, host, pid, start, boot, nonce, ...more] = name.split('~')
  if (prefix !== 'lock' || nonce === undefined || more.length > 0) return undefined
  try {
    return {
      host: decodeURIComponent(host ?? ''),
      pid: Number(pid),
      start: start ?? '',
      boot: boot ?? '',
      nonce,
    }
  } catch {
    return undefined
  }
}
