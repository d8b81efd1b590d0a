/** Creates a folder and those above it. */

import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'

/** Node 20 to 24: a recursive `mkdirSync()` never returns where the system refuses with ENOENT, as in `/proc`. */
export function makeFolder(dir: string): void {
  try {
    mkdirSync(dir)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return
    const parent = dirname(dir)
    if (code !== 'ENOENT' || parent === dir) throw error
    makeFolder(parent)
    mkdirSync(dir)
  }
}
