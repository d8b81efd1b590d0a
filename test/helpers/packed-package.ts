/**
 * The package as users get it: packed by npm, and unpacked in a folder of its own, which has nothing of
 * this repository but the packages that are installed here.
 */

import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, realpath, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { type ChildResult, cleanEnv, spawnClean, waitForChild } from './child-process.ts'

export const MODULES = fileURLToPath(new URL('../../node_modules/', import.meta.url))

export interface PackedPackage {
  readonly tarball: string
  /** Bytes of the tarball. */
  readonly size: number
  /** What it holds. */
  readonly files: readonly string[]
  /** A folder in which `oss-append-stream` is installed, and is all that is. */
  readonly app: string
  /** Where it is installed. */
  readonly installed: string
}

/** Packs what `npm test` has built, and unpacks it. The folder goes with the test. */
export async function pack(t: Test): Promise<PackedPackage> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'packed-')))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  // Without the scripts, which would build again, while other tests run what is built.
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder]
  const packing = await execClean(['npm', ...args])
  const [{ filename, size, files }] = JSON.parse(packing.stdout)
  const app = join(folder, 'app')
  const installed = join(app, 'node_modules/oss-append-stream')
  const tarball = join(folder, filename)
  await mkdir(installed, { recursive: true })
  await promisify(execFile)('tar', ['-xzf', tarball, '-C', installed, '--strip-components', '1'])
  // Its dependencies are found one folder further up.
  await symlink(MODULES, join(folder, 'node_modules'))
  return { tarball, size, files: files.map(({ path }: { path: string }) => path), app, installed }
}

interface ExecOptions {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
}

/** Runs a command as if from a shell, whatever it ends with. */
export async function execClean(
  command: readonly string[],
  { cwd, env }: ExecOptions = {},
): Promise<ChildResult> {
  return waitForChild(spawnClean(command, cleanEnv(env), ['ignore', 'pipe', 'pipe'], cwd))
}
