/**
 * One writer for a folder that stands for OSS: two would write over each other's bytes. Each leaves a file
 * in it whose name says who it is, and then looks for others. Of two that begin at once both may step back,
 * and never both go on. What one that was killed has left is removed. Processes that cannot see each other,
 * in two containers or on two hosts that share the folder, take each other for killed.
 */

import { closeSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'

const LOCK_NAME = /^writer~(\d+)~(.*)$/

/** Returns how to let go of it. Throws while another process has it. */
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

function isAlive(pid: number, identity: string): boolean {
  const current = processIdentity(pid)
  if (current !== undefined && identity !== '') return current === identity
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Somebody else's.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/**
 * When a process began, and in which run of the machine: numbers of processes are given again. Empty for
 * one that has ended and whose parent has not looked, undefined where there is none or nobody tells
 * (Linux, proc(5)).
 */
function processIdentity(pid: number): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The second field is a name that may hold anything, so fields are counted from its end on.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return /[ZX]/.test(fields[0] ?? '') ? '' : `${fields[19]}~${boot}`
  } catch {
    return undefined
  }
}

function folderInUse(pid: string, file: string): Error {
  const remedy = `one writes at a time; if it does not, remove ${file}`
  return Object.assign(new Error(`the folder is in use by process ${pid}: ${remedy}`), {
    code: 'EBUSY',
  })
}
