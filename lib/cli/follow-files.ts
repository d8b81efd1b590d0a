/**
 * The generations of a log file: the file itself, and the rotated files before it. A generation is known by
 * its inode, and its descriptor stays open while its bytes are wanted: renaming or removing the file then
 * loses nothing, and the inode cannot be given to another file.
 */

import { type BigIntStats, constants } from 'node:fs'
import { type FileHandle, open, readdir, realpath, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { update } from '../crc64/index.ts'
import type { Tail } from '../index.ts'
import { NotContinuedError } from './failure.ts'

/** Rotated files that are looked at, and descriptors that are kept open. */
export const MAX_GENERATIONS = 16

/** Bytes. */
const READ_BYTES = 262_144

/** What stays the same when a file is renamed. */
export type FileId = Pick<BigIntStats, 'dev' | 'ino'>

export function isSameFile(a: FileId, b: FileId): boolean {
  return a.ino === b.ino && a.dev === b.dev
}

/** One generation of the file, open for reading. */
export class Generation {
  /** The name under which it was opened. */
  readonly path: string
  readonly dev: bigint
  readonly ino: bigint
  /** Undefined: the file system does not tell. */
  readonly createdAt: Date | undefined
  /** Nanoseconds since 1970. When it was last written to, before it was opened. */
  readonly modifiedAt: bigint
  /** Bytes at the last `refresh()`. */
  size: number
  /** Bytes from its start that the object has, or the stream was given, and their CRC-64. */
  offset = 0
  crc = 0n
  /** Milliseconds of the watcher's clock. Since then it has not grown, while a newer generation had bytes. */
  quietSince: number | undefined
  readonly #handle: FileHandle

  private constructor(path: string, handle: FileHandle, stats: BigIntStats) {
    this.path = path
    this.dev = stats.dev
    this.ino = stats.ino
    // Linux reports 0 where a file system keeps no time of creation.
    this.createdAt = stats.birthtimeNs === 0n ? undefined : new Date(Number(stats.birthtimeMs))
    this.modifiedAt = stats.mtimeNs
    this.size = Number(stats.size)
    this.#handle = handle
  }

  /** Rejects with `ENOENT` if there is no such file, and with `EINVAL` if it is no regular file. */
  static async open(path: string): Promise<Generation> {
    // Opening a named pipe without a writer would block a thread, and no signal ends that.
    const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const stats = await handle.stat({ bigint: true })
      if (!stats.isFile()) throw notRegular(path)
      return new Generation(path, handle, stats)
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  /** Updates `size`. */
  async refresh(): Promise<void> {
    const { size } = await this.#handle.stat({ bigint: true })
    this.size = Number(size)
  }

  /** No name leads to it any more. */
  async isRemoved(): Promise<boolean> {
    return (await this.#handle.stat({ bigint: true })).nlink === 0n
  }

  /** Reads from `position` on. Resolves to the number of bytes. */
  async read(buffer: Buffer, position: number): Promise<number> {
    return (await this.#handle.read(buffer, 0, buffer.length, position)).bytesRead
  }

  /** Whether its first bytes have this length and CRC-64. */
  async beginsWith({ position, crc64 }: Tail, signal?: AbortSignal): Promise<boolean> {
    await this.refresh()
    if (this.size < position) return false
    const buffer = Buffer.allocUnsafe(Math.max(1, Math.min(READ_BYTES, position)))
    let crc = 0n
    for (let done = 0; done < position; ) {
      signal?.throwIfAborted()
      const length = await this.read(buffer.subarray(0, position - done), done)
      if (length === 0) return false
      crc = update(crc, buffer.subarray(0, length))
      done += length
    }
    return crc.toString() === crc64
  }

  /** Whether all its bytes have this length and CRC-64. */
  async equals(tail: Tail, signal?: AbortSignal): Promise<boolean> {
    return this.size === tail.position && this.beginsWith(tail, signal)
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}

function notRegular(path: string): Error {
  return Object.assign(new Error(`${path} is no regular file`), { code: 'EINVAL' })
}

/** Undefined if there is no such file. */
export async function openIfExists(path: string): Promise<Generation | undefined> {
  try {
    return await Generation.open(path)
  } catch (error) {
    if (isAbsence(error)) return undefined
    throw error
  }
}

/** Undefined if there is no such file. */
export async function statIfExists(path: string): Promise<BigIntStats | undefined> {
  try {
    return await stat(path, { bigint: true })
  } catch (error) {
    if (isAbsence(error)) return undefined
    throw error
  }
}

function isAbsence(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ENOENT' || code === 'ENOTDIR'
}

/** `.1`, `.2`, ...: logrotate without `dateext`. */
const NUMBERED = /^\.(\d{1,6})$/
/** `-20261128`, `-2026112810`, `.20261128-101010`: logrotate with `dateext`, and kubelet. */
const DATED = /^[-.]\d{8}[\d._T-]*$/

/**
 * The paths of the rotated files, the newest first. Compressed ones are left out. Where both kinds of names
 * are in the folder, the kind counts that was written to last.
 */
export async function listRotated(file: string): Promise<string[]> {
  const real = await realpath(file).catch(() => file)
  const folder = dirname(real)
  const base = basename(real)
  const names = await readdir(folder).catch(() => [])
  const suffixes = names
    .filter(name => name.startsWith(base))
    .map(name => name.slice(base.length))
    .sort()
  const numbered = suffixes
    .filter(suffix => NUMBERED.test(suffix))
    .sort((a, b) => Number(a.slice(1)) - Number(b.slice(1)))
  const dated = suffixes.filter(suffix => DATED.test(suffix)).reverse()
  const pathOf = (suffix: string) => join(folder, base + suffix)
  const lastWrite = async ([newest]: string[]) =>
    newest === undefined ? 0n : ((await statIfExists(pathOf(newest)))?.mtimeNs ?? 0n)
  const isDated = (await lastWrite(dated)) > (await lastWrite(numbered))
  return (isDated ? dated : numbered).slice(0, MAX_GENERATIONS).map(pathOf)
}

/**
 * Opens the rotated files, the newest first. One that is renamed meanwhile is opened once. `current` is left out: a
 * rotation may come after it was opened.
 *
 * @throws {NotContinuedError} They are numbered upward.
 */
export async function openRotated(file: string, current?: Generation): Promise<Generation[]> {
  const opened: Generation[] = []
  for (const path of await listRotated(file)) {
    const generation = await openIfExists(path)
    if (!generation) continue
    const known = current ? [current, ...opened] : opened
    if (known.some(other => isSameFile(other, generation))) await generation.close()
    else opened.push(generation)
  }
  try {
    checkNumbering(opened)
  } catch (error) {
    await closeAll(opened)
    throw error
  }
  return opened
}

/**
 * Some loggers give the newest file the highest number, such as log4j2 by default. In the order of logrotate files would
 * be sent twice or left out. One time alone proves nothing: a slow writer may write to an older file.
 */
function checkNumbering(generations: readonly Generation[]): void {
  const [first] = generations
  const last = generations.at(-1)
  if (!first || !last || !/\.\d+$/.test(first.path)) return
  const isCreatedBefore =
    !first.createdAt || !last.createdAt || first.createdAt.getTime() < last.createdAt.getTime()
  if (!isCreatedBefore || first.modifiedAt >= last.modifiedAt) return
  throw new NotContinuedError(
    `${first.path} is older than ${last.path}: let the logger give the newest rotated file the lowest number ` +
      `(log4j2: fileIndex="min"), or touch ${first.path} if it is the newest`,
  )
}

export async function closeAll(generations: Iterable<Generation>): Promise<void> {
  for (const generation of generations) await generation.close()
}
