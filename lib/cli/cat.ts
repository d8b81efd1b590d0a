/**
 * `oss-append cat`: prints the bytes of an object, and with `--follow` those that are appended later. The
 * CRC-64 of everything printed must be the one that OSS reports.
 */

import { setTimeout } from 'node:timers/promises'
import { parseUrl } from '../client/endpoint.ts'
import { update } from '../crc64/index.ts'
import { OssError } from '../errors.ts'
import { withBackend } from './backend.ts'
import type { CatCommand, CommandIO, OutputStream } from './commands.ts'
import { noSuchObjectError, OutputError } from './failure.ts'
import { stderrListener } from './reporter.ts'
import { RetryingReader } from './retrying-reader.ts'

/** Milliseconds of retrying without `--follow`. */
const READ_MAX_ELAPSED = 60_000

/** Resolves at the end of the object; with `--follow`, when the object is sealed. */
export async function cat(
  command: CatCommand,
  io: CommandIO,
  signal: AbortSignal,
): Promise<number> {
  const { url, backend, isFollowed, interval } = command
  const target = parseUrl(url)
  const writer = new OutputWriter(io.stdout, signal)
  return withBackend(backend, 'read', io, async ({ clientOptions }) => {
    const maxElapsed = isFollowed ? Number.POSITIVE_INFINITY : READ_MAX_ELAPSED
    const listener = stderrListener(io.stderr)
    const reader = new RetryingReader(clientOptions, { signal, maxElapsed, listener })
    let position = 0
    let crc = 0n
    try {
      for (;;) {
        const head = await reader.head(target)
        if (head === null && (!isFollowed || position > 0)) throw noSuchObjectError()
        const length = head?.length ?? 0
        if (length < position) throw replacedError(`has ${length} bytes, and had ${position}`)
        for await (const chunk of reader.read(target, position, length)) {
          crc = update(crc, chunk)
          position += chunk.length
          if (!(await writer.write(chunk))) return 0
        }
        if (head?.crc64 !== undefined && head.crc64 !== crc.toString()) {
          throw replacedError(`has the CRC-64 ${head.crc64}, and what was printed has ${crc}`)
        }
        const isGrowing = head === null || (head.type === 'Appendable' && !head.sealedTime)
        if (!isFollowed || !isGrowing) return 0
        await setTimeout(interval, undefined, { signal })
      }
    } finally {
      await reader.close()
    }
  }).finally(() => writer.dispose())
}

function replacedError(difference: string): OssError {
  return new OssError(
    'OSS_ERR_OBJECT_REPLACED',
    `the object ${difference}: it was replaced meanwhile`,
  )
}

/** Writes at the speed at which the output is read. */
class OutputWriter {
  readonly #output: OutputStream
  readonly #signal: AbortSignal
  #error: NodeJS.ErrnoException | undefined
  #resume: (() => void) | undefined

  constructor(output: OutputStream, signal: AbortSignal) {
    this.#output = output
    this.#signal = signal
    output.on('error', this.#onError)
    output.on('drain', this.#onWake)
    signal.addEventListener('abort', this.#onWake)
  }

  /** False if the reader has closed its end. Rejects when the signal is aborted. */
  async write(chunk: Buffer): Promise<boolean> {
    const isFree = this.#output.write(chunk)
    const isOver = this.#error || this.#output.destroyed || this.#signal.aborted
    if (!isFree && !isOver) await new Promise<void>(resolve => (this.#resume = resolve))
    this.#signal.throwIfAborted()
    if (this.#error && this.#error.code !== 'EPIPE') throw new OutputError(this.#error)
    return this.#error === undefined && !this.#output.destroyed
  }

  dispose(): void {
    this.#output.off('error', this.#onError)
    this.#output.off('drain', this.#onWake)
    this.#signal.removeEventListener('abort', this.#onWake)
  }

  readonly #onWake = () => this.#resume?.()

  readonly #onError = (error: NodeJS.ErrnoException) => {
    this.#error = error
    this.#onWake()
  }
}
