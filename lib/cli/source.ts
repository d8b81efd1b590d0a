/**
 * Where the bytes come from: a file, standard input, or the made-up feed; the tap that lets them in
 * until somebody shuts it; and the meter that they pass on their way. Nothing is read before somebody
 * reads the stream.
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
import { createSampleData } from './sample-data.ts'

export interface Source {
  /** For the report. */
  readonly name: string
  readonly stream: Readable
  /** Bytes to come, where that is known. */
  readonly length?: number | undefined
}

/** Opens a file, or standard input for `-`. Rejects when there is no such file. */
export async function openSource(file: string): Promise<Source> {
  if (file === '-') return openStdin()
  // A named pipe that nobody writes to yet would be waited for in a thread, where no signal ends it.
  const fd = await promisify(open)(file, constants.O_RDONLY | constants.O_NONBLOCK)
  const stat = statFd(fd)
  return { name: file, stream: createFdStream(fd, stat), length: fileLength(stat) }
}

/** The same for reading: a thread is for files alone, whose bytes are there. */
function createFdStream(fd: number, stat: BigIntStats): Readable {
  if (stat.isFIFO()) return new Socket({ fd, readable: true, writable: false })
  return isatty(fd) ? new ReadStream(fd) : createReadStream('', { fd })
}

function fileLength(stat: BigIntStats): number | undefined {
  return stat.isFile() ? Number(stat.size) : undefined
}

/**
 * In BigInts: numbers stay where Node's own `realpathSync` finds them, which then takes what it looks at for
 * a pipe. Node 22 would load a package that is linked, as pnpm does it, without its exports.
 */
function statFd(fd: number): BigIntStats {
  return fstatSync(fd, { bigint: true })
}

export function openSampleData(length: number): Source {
  return { name: 'made-up sensor feed', stream: createSampleData(length), length }
}

/**
 * Whether standard input was redirected from a file or a pipe. A socket or a bare device says
 * nothing: services and test runners leave them there, and reading one may wait for ever.
 */
export function isStdinRedirected(): boolean {
  const stat = statStdin()
  return stat !== undefined && (stat.isFile() || stat.isFIFO())
}

/**
 * Whether anything comes from standard input: false for a pipe that ends at once, or stays silent for
 * so long that whoever started us has only left it there.
 */
export async function waitForStdinBytes(timeout: number): Promise<boolean> {
  const stat = statStdin()
  if (!stat?.isFIFO()) return isStdinRedirected()
  const { stdin } = process
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

function openStdin(): Source {
  const stat = statStdin()
  // Node reads a folder as if nothing were there.
  if (stat?.isDirectory()) {
    throw Object.assign(new Error('standard input is a folder'), { code: 'EISDIR' })
  }
  return { name: 'standard input', stream: process.stdin, length: stat && fileLength(stat) }
}

function statStdin() {
  try {
    return statFd(0)
  } catch {
    // Closed by whoever started us.
    return undefined
  }
}

/** Bytes that a pipe and Node's own buffer hold, at least where nobody has made the pipe larger. */
const PIPE_CAPACITY = 1_048_576
/** Milliseconds between two looks at whether anything keeps us from reading, and how many that does not. */
const POLL_INTERVAL = 20
const MAX_IDLE_POLLS = 5

/** The source's flow into `entry`, which ends with it. */
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
    input.on('data', (chunk: Buffer) => (this.#bytes += chunk.length))
    input.pipe(destination)
    finished(input, { writable: false }, error => {
      clearInterval(this.#pollTimer)
      if (error && !this.#isStopped) this.#onSourceError(error)
    })
  }

  /** There was, or may have been, more to come when it was closed. */
  get isCut(): boolean {
    return this.#isCut
  }

  /** Why the source broke off, if it did after it had given something. */
  get error(): Error | undefined {
    return this.#error
  }

  /**
   * Lets in what was said before, and no more. Whoever has ended may have left his last words in the pipe
   * while we could not read on: that is as much as a pipe holds, or what comes in a moment in which nothing
   * keeps us from reading.
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

  /** Lets nothing more in: what is through is all there is. */
  stop(): void {
    clearInterval(this.#pollTimer)
    if (this.#isStopped) return
    this.#isStopped = true
    this.#input.unpipe(this.#destination)
    this.#input.destroy()
    if (!this.#destination.destroyed) this.#destination.end()
  }

  /** What came before is worth keeping; of nothing, not even an empty object. */
  #onSourceError(error: Error): void {
    if (this.#bytes === 0) {
      this.#destination.destroy(error)
      return
    }
    this.#error = error
    this.stop()
  }
}

/** Counts and hashes what flows through it. Chunks are handed on, not copied. */
export class HashingPassThrough extends Transform {
  bytes = 0
  readonly #hash = createHash('sha256')

  constructor() {
    // As objects, or the stream could be given two chunks in one, and `align: 'chunk'` would not know.
    super({ readableObjectMode: true, readableHighWaterMark: 1 })
  }

  /** To be called once, at the end. */
  digest(): { readonly bytes: number; readonly sha256: string } {
    return { bytes: this.bytes, sha256: this.#hash.digest('hex') }
  }

  override _transform(chunk: Buffer, _: BufferEncoding, callback: TransformCallback): void {
    this.bytes += chunk.length
    this.#hash.update(chunk)
    callback(null, chunk)
  }
}
