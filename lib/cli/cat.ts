/**
 * `oss-append cat`: an object's bytes on standard output, and with `--follow` what is appended to it.
 * All of them together must have the CRC-64 that OSS names, or it is an error.
 */

import { setTimeout } from 'node:timers/promises'
import { parseUrl } from '../address.ts'
import { update } from '../crc64/index.ts'
import { OssError } from '../errors.ts'
import type { CatCommand } from './commands.ts'
import { noSuchObject } from './failure.ts'
import { PatientReader } from './patience.ts'
import { at } from './place.ts'

/** Milliseconds to try again, where nobody follows. */
const PATIENCE = 60_000

/** Resolves at the end of the object; with `--follow`, when it is sealed. */
export async function cat(command: CatCommand, signal: AbortSignal): Promise<number> {
  const { url, place, isFollowed, interval } = command
  const target = parseUrl(url)
  const printer = new Printer(signal)
  return at(place, 'read', async ({ options }) => {
    const maxElapsed = isFollowed ? Number.POSITIVE_INFINITY : PATIENCE
    const reader = new PatientReader(options, { signal, maxElapsed })
    let position = 0
    let crc = 0n
    try {
      for (;;) {
        const facts = await reader.head(target)
        if (facts === null && (!isFollowed || position > 0)) throw noSuchObject()
        const length = facts?.length ?? 0
        if (length < position) throw replaced(`has ${length} bytes, and had ${position}`)
        for await (const chunk of reader.read(target, position, length)) {
          crc = update(crc, chunk)
          position += chunk.length
          if (!(await printer.print(chunk))) return 0
        }
        if (facts?.crc64 !== undefined && facts.crc64 !== crc.toString()) {
          throw replaced(`has the CRC-64 ${facts.crc64}, and what was printed has ${crc}`)
        }
        const isGrowing = facts === null || (facts.type === 'Appendable' && !facts.sealedTime)
        if (!isFollowed || !isGrowing) return 0
        await setTimeout(interval, undefined, { signal })
      }
    } finally {
      await reader.close()
    }
  })
}

function replaced(how: string): OssError {
  return new OssError('OSS_ERR_OBJECT_REPLACED', `the object ${how}: it was replaced meanwhile`)
}

/** Standard output, at the speed of whoever reads it. */
class Printer {
  readonly #signal: AbortSignal
  #failure: NodeJS.ErrnoException | undefined
  #wake: (() => void) | undefined

  constructor(signal: AbortSignal) {
    this.#signal = signal
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      this.#failure = error
      this.#wake?.()
    })
    process.stdout.on('drain', () => this.#wake?.())
    signal.addEventListener('abort', () => this.#wake?.())
  }

  /** False: the reader has gone away, and has what it wanted. Rejects when the signal is aborted. */
  async print(chunk: Buffer): Promise<boolean> {
    const isFree = process.stdout.write(chunk)
    const isOver = this.#failure || this.#signal.aborted
    if (!isFree && !isOver) await new Promise<void>(resolve => (this.#wake = resolve))
    this.#signal.throwIfAborted()
    if (this.#failure && this.#failure.code !== 'EPIPE') throw this.#failure
    return this.#failure === undefined
  }
}
