/**
 * Lets one process at a time write to a folder. Each creates a lock file named after itself, then looks for
 * those of others. Two that start at once may both give up, but never both succeed. Lock files of dead
 * processes are removed. Processes in other containers or on other hosts count as dead: they are not seen.
 */

import { closeSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'

const LOCK_NAME = /^writer~(\d+)~(.*)$/

/** Returns a function that unlocks the folder. Throws `EBUSY` while another process holds the lock. */
export function lockFolder(dir: string): () => void {
  const ownName = `writer~${process.pid}~${processIdentity(process.pid) ?? ''}`
  const unlock = () => rmSync(join(dir, ownName), { force: true })
  closeSync(openSync(join(dir, ownName), 'w'))
  try {
    for (const name of readdirSync(dir)) {
      const [, pid, identity = ''] = LOCK_NAME.exec(name) ?? []
      if (pid === undefined || name === ownName) continue
      const other = join(dir, name)
      if (isAlive(Number(pid), identity)) throw folderInUse(pid, other)
      rmSync(other, { force: true })
    }
  } catch (error) {
    unlock()
    throw error
  }
  return unlock
}

/** Whether the process that was `pid` when it had this identity still runs. */
export function isAlive(pid: number, identity: string): boolean {
  const current = processIdentity(pid)
  if (current !== undefined && identity !== '') return current === identity
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // The process exists, and belongs to another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/**
 * Start time and boot id, because pids are reused. Empty for a zombie, undefined for a process that does not
 * exist or where there is no `/proc` (Linux, proc(5)).
 */
export function processIdentity(pid: number): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The second field is a name, which may contain spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return /[ZX]/.test(fields[0] ?? '') ? '' : `${fields[19]}~${boot}`
  } catch {
    return undefined
  }
}

function folderInUse(pid: string, file: string): Error {
  const remedy = `wait until it ends, or remove ${file} if it is another program`
  return Object.assign(new Error(`the folder is in use by process ${pid}: ${remedy}`), {
    code: 'EBUSY',
  })
}
