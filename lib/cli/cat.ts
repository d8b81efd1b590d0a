/**
 * `oss-append cat`: prints the bytes of an object, and with `--follow` those that are appended later. The
 * CRC-64 of everything printed must be the one that OSS reports. A key with `{index}` stands for all objects
 * of a rolling stream, which are printed in order.
 */

import { setTimeout } from 'node:timers/promises'
import { parseUrl } from '../client/endpoint.ts'
import { update } from '../crc64/index.ts'
import { formatCount, OssError } from '../errors.ts'
import type { Target } from '../index.ts'
import { withBackend } from './backend.ts'
import type { CatCommand, CommandIO } from './commands.ts'
import { noSuchObjectError } from './failure.ts'
import { OutputWriter } from './output-writer.ts'
import { stderrListener } from './reporter.ts'
import { RetryingReader } from './retrying-reader.ts'
import { UsageError } from './usage-error.ts'

/** Milliseconds of retrying without `--follow`. */
const READ_MAX_ELAPSED = 60_000

const INDEX = '{index}'

/** What the printing of objects needs. */
interface Printing {
  readonly reader: RetryingReader
  readonly writer: OutputWriter
  readonly isFollowed: boolean
  /** Resolves after `--interval`. */
  readonly wait: () => Promise<void>
  readonly note: (text: string) => void
}

/**
 * Resolves at the end of the object, or when the output is no longer read. With `--follow` the end is the seal; with
 * `{index}` there is none, and a signal rejects.
 */
export async function cat(
  command: CatCommand,
  io: CommandIO,
  signal: AbortSignal,
): Promise<number> {
  const { url, backend, isFollowed, interval } = command
  const target = parseUrl(url)
  checkPattern(target.key)
  const writer = new OutputWriter(io.stdout, signal)
  const listener = stderrListener(io.stderr)
  const { note } = listener
  return withBackend(backend, 'read', { env: io.env, note }, async ({ clientOptions }) => {
    const maxElapsed = isFollowed ? Number.POSITIVE_INFINITY : READ_MAX_ELAPSED
    const reader = new RetryingReader(clientOptions, { signal, maxElapsed, listener })
    const wait = () => setTimeout(interval, undefined, { signal })
    const printing = { reader, writer, isFollowed, wait, note }
    try {
      if (target.key.includes(INDEX)) await printRolled(target, printing)
      else await printObject(target, printing)
      return 0
    } finally {
      await reader.close()
    }
  }).finally(() => writer.dispose())
}

/** Refuses placeholders of dates: of those of a rolling stream `cat` fills in `{index}` alone. */
function checkPattern(key: string): void {
  const [date] = /\{(?:yyyy|MM|dd|HH|mm)\}/.exec(key) ?? []
  if (date === undefined) return
  const remedy = 'write the date itself, as in app-2026-11-28-{index}.log'
  throw new UsageError(`${date}: only {index} stands for many objects here: ${remedy}`)
}

async function printObject(target: Target, printing: Printing): Promise<void> {
  const printer = new ObjectPrinter(target, printing)
  for (;;) {
    const state = await printer.print()
    if (!printing.isFollowed || state === 'sealed' || state === 'unread') return
    await printing.wait()
  }
}

/**
 * Prints the objects of a rolling stream. The list tells where they begin: a lifecycle rule may have deleted
 * the first ones. With `--follow` it goes on until a signal, since a seal may be followed by another object.
 */
async function printRolled(pattern: Target, printing: Printing): Promise<void> {
  const { isFollowed, wait, note } = printing
  const indices = await listIndices(pattern, printing.reader)
  if (indices.length === 0 && !isFollowed) throw noSuchObjectError()
  for (const [i, index] of indices.entries()) {
    const expected = (indices[i - 1] ?? index - 1) + 1
    if (index > expected) note(`there is no ${keyOf(pattern, expected).key}: it is left out`)
    const isLast = i === indices.length - 1
    if (isLast && isFollowed) break
    const state = await new ObjectPrinter(keyOf(pattern, index), printing).print()
    if (state === 'unread') return
  }
  if (!isFollowed) return
  for (let index = indices.at(-1) ?? 0; ; index++) {
    const printer = new ObjectPrinter(keyOf(pattern, index), printing)
    for (let isComplete = false; !isComplete; ) {
      // An object gets nothing more once the next one exists, so that is asked first.
      isComplete = (await printing.reader.head(keyOf(pattern, index + 1))) !== null
      if ((await printer.print()) === 'unread') return
      if (!isComplete) await wait()
    }
  }
}

function keyOf({ bucket, key }: Target, index: number): Target {
  return { bucket, key: key.replaceAll(INDEX, String(index)) }
}

/** The indices of the objects that exist, ascending. */
async function listIndices(pattern: Target, reader: RetryingReader): Promise<number[]> {
  const [prefix = '', rest = ''] = pattern.key.split(INDEX)
  const indices: number[] = []
  for await (const { key } of reader.list(pattern.bucket, prefix)) {
    const [digits = ''] = /^(?:0|[1-9]\d{0,14})(?!\d)/.exec(key.slice(prefix.length)) ?? []
    if (digits === '' || !key.startsWith(digits + rest, prefix.length)) continue
    if (keyOf(pattern, Number(digits)).key === key) indices.push(Number(digits))
  }
  return indices.sort((a, b) => a - b)
}

/** What is known after printing: the object may grow, cannot grow, or its output is no longer read. */
type PrintState = 'growing' | 'sealed' | 'unread'

/** Prints an object from its start. Each call prints what was appended since the last one. */
class ObjectPrinter {
  readonly #target: Target
  readonly #printing: Printing
  #position = 0
  #crc = 0n

  constructor(target: Target, printing: Printing) {
    this.#target = target
    this.#printing = printing
  }

  async print(): Promise<PrintState> {
    const { reader, writer, isFollowed } = this.#printing
    const head = await reader.head(this.#target)
    if (head === null && (!isFollowed || this.#position > 0)) throw noSuchObjectError()
    const length = head?.length ?? 0
    if (length < this.#position) {
      throw replacedError(`has ${formatCount(length, 'byte')}, and had ${this.#position}`)
    }
    for await (const chunk of reader.read(this.#target, this.#position, length)) {
      this.#crc = update(this.#crc, chunk)
      this.#position += chunk.length
      if (!(await writer.write(chunk))) return 'unread'
    }
    const printed = this.#crc.toString()
    if (head?.crc64 !== undefined && head.crc64 !== printed) {
      throw replacedError(`has the CRC-64 ${head.crc64}, and what was printed has ${printed}`)
    }
    const isGrowing = head === null || (head.type === 'Appendable' && !head.sealedTime)
    return isGrowing ? 'growing' : 'sealed'
  }
}

function replacedError(difference: string): OssError {
  return new OssError(
    'OSS_ERR_OBJECT_REPLACED',
    `the object ${difference}: it was replaced meanwhile`,
  )
}
