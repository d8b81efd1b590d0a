/**
 * `oss-append cat`: an object's bytes on standard output, and with `--follow` what is appended to it.
 * All of them together must have the CRC-64 that OSS names, or it is an error.
 */

import { setTimeout } from 'node:timers/promises'
import { parseUrl } from '../client/endpoint.ts'
import { update } from '../crc64/index.ts'
import { OssError } from '../errors.ts'
import { withBackend } from './backend.ts'
import type { CatCommand } from './commands.ts'
import { noSuchObjectError } from './failure.ts'
import { RetryingReader } from './retrying-reader.ts'

/** Milliseconds to try again, where nobody follows. */
const READ_MAX_ELAPSED = 60_000

/** Resolves at the end of the object; with `--follow`, when it is sealed. */
export async function cat(command: CatCommand, signal: AbortSignal): Promise<number> {
  const { url, backend, isFollowed, interval } = command
  const target = parseUrl(url)
  const writer = new StdoutWriter(signal)
  return withBackend(backend, 'read', async ({ clientOptions }) => {
    const maxElapsed = isFollowed ? Number.POSITIVE_INFINITY : READ_MAX_ELAPSED
    const reader = new RetryingReader(clientOptions, { signal, maxElapsed })
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
  })
}

function replacedError(difference: string): OssError {
  return new OssError(
    'OSS_ERR_OBJECT_REPLACED',
    `the object ${difference}: it was replaced meanwhile`,
  )
}

/** Standard output, at the speed of whoever reads it. */
class StdoutWriter {
  readonly #signal: AbortSignal
  #error: NodeJS.ErrnoException | undefined
  #resume: (() => void) | undefined

  constructor(signal: AbortSignal) {
    this.#signal = signal
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      this.#error = error
      this.#resume?.()
    })
    process.stdout.on('drain', () => this.#resume?.())
    signal.addEventListener('abort', () => this.#resume?.())
  }

  /** False: the reader has gone away, and has what it wanted. Rejects when the signal is aborted. */
  async write(chunk: Buffer): Promise<boolean> {
    const isFree = process.stdout.write(chunk)
    const isOver = this.#error || this.#signal.aborted
    if (!isFree && !isOver) await new Promise<void>(resolve => (this.#resume = resolve))
    this.#signal.throwIfAborted()
    if (this.#error && this.#error.code !== 'EPIPE') throw this.#error
    return this.#error === undefined
  }
}
