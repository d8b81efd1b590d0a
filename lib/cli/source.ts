/**
 * Where the bytes come from: a file, standard input or sample data; a source that can be stopped early; and
 * a stream that hashes what passes through it. Opening a source reads nothing from it.
 */

import { createHash } from 'node:crypto'
import { type BigIntStats, constants, createReadStream, fstatSync, open } from 'node:fs'
import { Socket } from 'node:net'
import {
  finished,
  type Readable,
  Transform,
  type TransformCallback,
  type Writable,
} from 'node:stream'
import { isatty, ReadStream } from 'node:tty'
import { promisify } from 'node:util'
import type { CommandIO } from './commands.ts'
import { createSampleData } from './sample-data.ts'

export interface Source {
  /** As the report shows it. */
  readonly name: string
  readonly stream: Readable
  /** Bytes. Undefined: unknown. */
  readonly length?: number | undefined
  /** Whether a file became shorter while it was read. `bytes`: what was read of it. */
  readonly hasShrunk?: (bytes: number) => boolean
}

type Stdin = Pick<CommandIO, 'stdin' | 'stdinFd'>

/** Opens a file, or standard input for `-`. Rejects if the file does not exist. */
export async function openSource(file: string, io: Stdin): Promise<Source> {
  if (file === '-') return openStdin(io)
  // Opening a named pipe without a writer would block a thread, and no signal ends that.
  const fd = await promisify(open)(file, constants.O_RDONLY | constants.O_NONBLOCK)
  const stat = statFd(fd)
  const length = fileLength(stat)
  const hasShrunk = (bytes: number) => bytes < (length ?? 0)
  return { name: file, stream: createFdStream(fd, stat), length, hasShrunk }
}

/** Pipes and terminals are read without a thread: reading one there would block until bytes come. */
function createFdStream(fd: number, stat: BigIntStats): Readable {
  if (stat.isFIFO()) return new Socket({ fd, readable: true, writable: false })
  return isatty(fd) ? new ReadStream(fd) : createReadStream('', { fd })
}

function fileLength(stat: BigIntStats | undefined): number | undefined {
  return stat?.isFile() ? Number(stat.size) : undefined
}

/**
 * As BigInts. Node 22: after `fstatSync` of a pipe with numbers, `realpathSync` takes a symbolic link for a
 * pipe, and a package that is linked, as pnpm does it, loads without its exports.
 */
function statFd(fd: number): BigIntStats {
  return fstatSync(fd, { bigint: true })
}

export function openSampleData(length: number): Source {
  return { name: 'sample data', stream: createSampleData(length), length }
}

/**
 * Whether standard input is a file or a pipe. A socket or a device is no sign of input: services and test
 * runners pass them to every child, and reading one may wait for ever.
 */
export function isStdinRedirected(io: Stdin): boolean {
  const stat = statStdin(io)
  return stat !== undefined && (stat.isFile() || stat.isFIFO())
}

/**
 * Whether standard input has bytes. False for a pipe that ends without any, or has none within `timeout`
 * milliseconds: the parent process may have left it open without writing to it.
 */
export async function waitForStdinBytes(io: Stdin, timeout: number): Promise<boolean> {
  const stat = statStdin(io)
  if (!stat?.isFIFO()) return isStdinRedirected(io)
  const { stdin } = io
  await new Promise<void>(resolve => {
    const timer = setTimeout(resolve, timeout)
    stdin.once('readable', () => {
      clearTimeout(timer)
      resolve()
    })
  })
  if (stdin.readableLength > 0) return true
  stdin.destroy()
  return false
}

function openStdin(io: Stdin): Source {
  const stat = statStdin(io)
  // Node reads a folder as an empty input.
  if (stat?.isDirectory()) {
    throw Object.assign(new Error('standard input is a folder'), { code: 'EISDIR' })
  }
  const length = fileLength(stat)
  // Reading may have begun behind the start of the file, so the number of bytes tells nothing.
  const hasShrunk = () => (fileLength(statStdin(io)) ?? Number.POSITIVE_INFINITY) < (length ?? 0)
  return { name: 'standard input', stream: io.stdin, length, hasShrunk }
}

/** Undefined: there is no descriptor, or the parent process has closed it. */
function statStdin({ stdinFd }: Stdin): BigIntStats | undefined {
  try {
    return stdinFd === undefined ? undefined : statFd(stdinFd)
  } catch {
    return undefined
  }
}

/** Bytes. The largest pipe that Linux allows without privileges (`F_SETPIPE_SZ`). */
const PIPE_CAPACITY = 1_048_576
/** Milliseconds between two checks whether the destination takes bytes. */
const POLL_INTERVAL = 20
/** Checks after which a destination that took bytes has received all that the pipe held. */
const MAX_IDLE_POLLS = 5

/** Pipes `input` into `destination`, and can end that before the input does. */
export class StoppableSource {
  readonly #input: Readable
  readonly #destination: Writable
  #bytes = 0
  #pollTimer: NodeJS.Timeout | undefined
  #isStopped = false
  #isCut = false
  #error: Error | undefined

  constructor(input: Readable, destination: Writable) {
    this.#input = input
    this.#destination = destination
    input.on('data', this.#onData)
    input.pipe(destination)
    finished(input, { writable: false }, error => {
      clearInterval(this.#pollTimer)
      input.off('data', this.#onData)
      if (error && !this.#isStopped) this.#onSourceError(error)
    })
  }

  /** Bytes that were read. */
  get bytes(): number {
    return this.#bytes
  }

  /** The input had not ended, as far as is known, when it was stopped. */
  get isCut(): boolean {
    return this.#isCut
  }

  /** Why the input failed, if it did so after its first byte. */
  get error(): Error | undefined {
    return this.#error
  }

  /**
   * Reads what a pipe already holds, then stops. A producer that has ended may have filled the pipe while the
   * destination took nothing. So reading goes on for `PIPE_CAPACITY` bytes, or until the destination has had room
   * at more than `MAX_IDLE_POLLS` checks.
   */
  stopWhenIdle(): void {
    if (this.#isStopped || this.#pollTimer || this.#input.readableEnded) return
    const maxBytes = this.#bytes + PIPE_CAPACITY
    let idlePolls = 0
    this.#pollTimer = setInterval(() => {
      if (!this.#destination.writableNeedDrain) idlePolls++
      if (idlePolls <= MAX_IDLE_POLLS && this.#bytes < maxBytes) return
      this.#isCut = true
      this.stop()
    }, POLL_INTERVAL)
  }

  /** Reads no more, hands over what the process has read already, and ends the destination. */
  stop(): void {
    clearInterval(this.#pollTimer)
    if (this.#isStopped) return
    this.#isStopped = true
    this.#input.unpipe(this.#destination)
    const rest: Buffer | null = this.#input.read()
    this.#input.destroy()
    if (this.#destination.destroyed) return
    if (rest) this.#destination.write(rest)
    this.#destination.end()
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#bytes += chunk.length
  }

  /** The bytes read before the error are delivered. Without any, not even an empty object is created. */
  #onSourceError(error: Error): void {
    if (this.#bytes === 0) {
      this.#destination.destroy(error)
      return
    }
    this.#error = error
    this.stop()
  }
}

/** Counts and hashes what passes through it. Chunks are passed on without a copy. */
export class HashingPassThrough extends Transform {
  bytes = 0
  readonly #hash = createHash('sha256')

  constructor() {
    // In object mode, since a byte stream may join two chunks, and `align: 'chunk'` needs their ends.
    super({ readableObjectMode: true, readableHighWaterMark: 1 })
  }

  /** May be called once, at the end. */
  digest(): { readonly bytes: number; readonly sha256: string } {
    return { bytes: this.bytes, sha256: this.#hash.digest('hex') }
  }

  override _transform(chunk: Buffer, _: BufferEncoding, callback: TransformCallback): void {
    this.bytes += chunk.length
    this.#hash.update(chunk)
    callback(null, chunk)
  }
}
