/** The kernel in `wasm.ts` is what `kernel/` compiles to. */

import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { cleanEnv } from '../helpers/child-process.ts'

const CRC64 = join(import.meta.dirname, '../../lib/crc64')

t.test('building the kernel gives the committed file', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'crc64-'))
  t.teardown(() => rm(folder, { recursive: true }))
  const file = join(folder, 'wasm.ts')
  const args = [join(CRC64, 'kernel/build.js'), file]
  await promisify(execFile)(process.execPath, args, { env: cleanEnv() })
  const [built, committed] = await Promise.all([
    readFile(file, 'utf8'),
    readFile(join(CRC64, 'wasm.ts'), 'utf8'),
  ])
  t.equal(built, committed)
})
