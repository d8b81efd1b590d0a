/**
 * The package as users get it: packed by npm and unpacked into an empty folder. From this repository only
 * `node_modules` is visible there.
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
  /** The paths in the tarball. */
  readonly files: readonly string[]
  /** A folder with `oss-append-stream` in its `node_modules`, and nothing else. */
  readonly app: string
  /** The folder of the unpacked package. */
  readonly installed: string
}

/** Packs the package as it is built and unpacks it. The folder is removed when the test ends. */
export async function pack(t: Test): Promise<PackedPackage> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'packed-')))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  // The scripts would build `dist/` again, while other tests use it.
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder]
  const { stdout } = await execClean(['npm', ...args])
  const [{ filename, size, files }] = JSON.parse(stdout)
  const app = join(folder, 'app')
  const installed = join(app, 'node_modules/oss-append-stream')
  const tarball = join(folder, filename)
  await mkdir(installed, { recursive: true })
  await promisify(execFile)('tar', ['-xzf', tarball, '-C', installed, '--strip-components', '1'])
  // Node finds the dependencies one folder further up.
  await symlink(MODULES, join(folder, 'node_modules'))
  return { tarball, size, files: files.map(({ path }: { path: string }) => path), app, installed }
}

interface ExecOptions {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
}

/** Runs a command in a clean environment. Does not reject if the command fails. */
export async function execClean(
  command: readonly string[],
  { cwd, env }: ExecOptions = {},
): Promise<ChildResult> {
  return waitForChild(spawnClean(command, cleanEnv(env), ['ignore', 'pipe', 'pipe'], cwd))
}
