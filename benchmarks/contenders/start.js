/**
 * A cold process: `import`, then the first append of 1 KiB. Each turn starts a process of its own.
 * Parameters: `{ contender, sink }`.
 */

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { IDENTITY } from './ours.js'

const PROGRAM = fileURLToPath(new URL('cold-process.js', import.meta.url))

export async function open({ contender, sink }) {
  const options = { ...IDENTITY, endpoint: `http://127.0.0.1:${sink.port}` }
  const args = [PROGRAM, contender, JSON.stringify(options)]
  return async () => {
    const { stdout } = await promisify(execFile)(process.execPath, args)
    return { start: JSON.parse(stdout) }
  }
}
