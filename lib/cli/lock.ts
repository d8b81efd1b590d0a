/**
 * One writer for a folder that stands for OSS: two would write over each other's bytes. A file in it names
 * the process; that of one that was killed is taken over.
 */

import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const NAME = 'writer.pid'

/** Returns how to let go of it. Throws while another process has it. */
export function lockFolder(dir: string): () => void {
  const lock = join(dir, NAME)
  // Linked when it is written: nobody ever finds it empty.
  const own = draftOf(lock, process.pid)
  writeFileSync(own, `${process.pid}\n`)
  try {
    if (!isLinked(own, lock)) {
      const holder = readHolder(lock)
      if (isAlive(holder)) throw inUse(holder, lock)
      rmSync(lock, { force: true })
      if (!isLinked(own, lock)) throw inUse(readHolder(lock), lock)
      // It may have been killed before it removed this.
      rmSync(draftOf(lock, holder), { force: true })
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

/** 0 where nobody is named. */
function readHolder(lock: string): number {
  try {
    return Number(readFileSync(lock, 'utf8')) || 0
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0
    throw error
  }
}

/** Of two processes with one number, as in containers, the other one is gone. */
function isAlive(pid: number): boolean {
  if (pid === 0 || pid === process.pid) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Somebody else's.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function inUse(pid: number, lock: string): Error {
  const mend = `one writes at a time; if it does not, remove ${lock}`
  return Object.assign(new Error(`the folder is in use by process ${pid}: ${mend}`), {
    code: 'EBUSY',
  })
}
