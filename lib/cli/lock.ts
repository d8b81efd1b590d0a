/**
 * One writer for a folder that stands for OSS: two would write over each other's bytes. A file in it names
 * the process; that of one that was killed is taken over.
 */

import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const NAME = 'writer.pid'

/** Who wrote the file: 0 where nobody is named. */
interface Holder {
  readonly pid: number
  /** Its `readLife`, where that was known. */
  readonly life: string
}

/** Returns how to let go of it. Throws while another process has it. */
export function lockFolder(dir: string): () => void {
  const lock = join(dir, NAME)
  // Linked when it is written: nobody ever finds it empty.
  const own = draftOf(lock, process.pid)
  writeFileSync(own, `${process.pid} ${readLife(process.pid) ?? ''}\n`)
  try {
    if (!isLinked(own, lock)) {
      const holder = readHolder(lock)
      if (isAlive(holder)) throw inUse(holder, lock)
      rmSync(lock, { force: true })
      if (!isLinked(own, lock)) throw inUse(readHolder(lock), lock)
      // It may have been killed before it removed this.
      rmSync(draftOf(lock, holder.pid), { force: true })
    }
  } finally {
    rmSync(own, { force: true })
  }
  return () => rmSync(lock, { force: true })
}

function draftOf(lock: string, pid: number): string {
  return `${lock}.${pid}`
}

function isLinked(file: string, lock: string): boolean {
  try {
    linkSync(file, lock)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

function readHolder(lock: string): Holder {
  try {
    const [, pid = 0, life = ''] = /^(\d+) ?(.*)\n/.exec(readFileSync(lock, 'utf8')) ?? []
    return { pid: Number(pid), life }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { pid: 0, life: '' }
    throw error
  }
}

function isAlive({ pid, life }: Holder): boolean {
  // Of two processes with one number, as in containers, the other one is gone.
  if (pid === 0 || pid === process.pid) return false
  const found = readLife(pid)
  if (found !== undefined && life !== '') return found === life
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
function readLife(pid: number): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The second field is a name that may hold anything, so fields are counted from its end on.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return /[ZX]/.test(fields[0] ?? '') ? '' : `${fields[19]} ${boot}`
  } catch {
    return undefined
  }
}

function inUse({ pid }: Holder, lock: string): Error {
  const mend = `one writes at a time; if it does not, remove ${lock}`
  return Object.assign(new Error(`the folder is in use by process ${pid}: ${mend}`), {
    code: 'EBUSY',
  })
}
