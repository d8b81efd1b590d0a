/**
 * A source of batches that keeps accepted bytes in a journal until they are acknowledged. Two memory buffers
 * hold the bytes that are next; what does not fit there is read back later, so an outage costs disk.
 *
 *      write() --> [ journal ] -------- the buffers have all before them -------> [ batcher ] --take()-->
 *                              \_______ read(), as the buffers have room ________/
 *
 * Counts are those of the stream: its first byte has the offset `#base` in the journal.
 */

import { ok } from 'node:assert/strict'
import type { AppendInfo, Destination } from '../append/appender.ts'
import type { Target } from '../append/client-interface.ts'
import type { StreamContext } from '../append/stream-context.ts'
import type { Batch, Tail } from '../append/tail.ts'
import { journalError, type OssError, withContext } from '../errors.ts'
import { ExitJournal } from '../journal/exit-journal.ts'
import type { JournalChunk } from '../journal/frame-layout.ts'
import { Journal, type WriteResult } from '../journal/journal.ts'
import { claimSlots, type Slot } from '../journal/slots.ts'
import type { Align, JournalSettings } from '../options.ts'
import { findFirstRecordEnd, findLastRecordEnd, NEWLINE } from './align.ts'
import type { BatchSource, SourceListener } from './batch-source.ts'
import { Batcher } from './batcher.ts'
import type { WriteCallback, WrittenChunk } from './event-types.ts'
import { setExitListener } from './exit-listeners.ts'
import { FlushTimer } from './flush-timer.ts'
import { copyPieces, fillBatcher } from './journal-reader.ts'
import { JournalRecovery, type RecoverInfo, type RecoveryOptions } from './journal-recovery.ts'
import type { SourceOptions } from './memory-source.ts'

/** Encodings whose text has as many newlines as its bytes, and whose length in bytes is exact. */
const DIRECT: ReadonlySet<string> = new Set(['utf8', 'utf-8', 'latin1', 'binary'])

export interface JournalSourceOptions extends SourceOptions {
  readonly journal: JournalSettings
}

export interface JournalSourceListener extends SourceListener {
  readonly onRecover: (info: RecoverInfo) => void
  /** A slot can never be delivered as it is. Undefined: the stream fails. */
  readonly onSetAside: ((error: OssError) => void) | undefined
}

interface OpenedSlot {
  readonly slot: Slot
  /** Undefined: it could not be opened. */
  journal: Journal | undefined
  /** It will never be delivered as it is, and makes room for another slot. */
  isSetAside: boolean
}

export class JournalSource implements BatchSource {
  readonly #options: JournalSourceOptions
  readonly #listener: JournalSourceListener
  readonly #batcher: Batcher
  readonly #flushTimer: FlushTimer
  readonly #recovery: RecoveryOptions
  readonly #context: StreamContext
  /** Journals that this process has opened, with their slots: its own, and those of dead processes. */
  readonly #opened: OpenedSlot[] = []
  readonly #journalOpened: Promise<Journal>
  #resolveOpened!: (journal: Journal) => void
  #journal: Journal | undefined
  /** What is delivered before the first new byte. */
  #delivering: JournalRecovery | undefined
  /** Where the bytes go that are being sent, as the last anchor says. */
  #anchored: { readonly journal: Journal; readonly key: string } | undefined
  #base = 0
  /** Callback of the write that is being accepted. */
  #callback: WriteCallback | undefined
  #accepted = 0
  /** Accepted bytes of whole records. */
  #whole = 0
  #acknowledged = 0
  /** The read that fills the batcher. */
  #filling: Promise<void> | undefined
  #isEnded = false
  #isStopped = false
  #isTooLong = false
  #isRefusing = false

  constructor(
    options: JournalSourceOptions,
    recovery: RecoveryOptions,
    context: StreamContext,
    listener: JournalSourceListener,
  ) {
    this.#options = options
    this.#recovery = recovery
    this.#context = context
    this.#listener = listener
    this.#batcher = new Batcher(options)
    this.#flushTimer = new FlushTimer(this.#batcher, options.flushInterval, listener.onDue)
    this.#journalOpened = new Promise(resolve => (this.#resolveOpened = resolve))
  }

  get accepted(): number {
    return this.#accepted
  }

  /**
   * Bytes of the stream that the journal has. Exact at any time, as `accepted` is not: it counts them once the
   * journal says so.
   */
  get journaled(): number {
    return this.#journal ? this.#journal.end - this.#base : 0
  }

  /** Bytes in its journals that no object has for certain. Undefined until the journal is open. */
  get undelivered(): number | undefined {
    if (!this.#journal) return undefined
    return this.#opened.reduce((sum, { journal, isSetAside }) => {
      return journal && !isSetAside ? sum + journal.end - journal.acknowledged : sum
    }, 0)
  }

  get isAtRecordEnd(): boolean {
    return this.#whole === this.#accepted
  }

  get isTooLong(): boolean {
    return this.#isTooLong
  }

  async open(destination: Destination): Promise<Tail> {
    const { own, abandoned } = await claimSlots(this.#options.journal.dir)
    this.#context.slot = own.index
    const journal = await this.#openSlot(own, this.#options.align)
    this.#base = journal.recovered.end
    // New bytes are accepted from now on, and sent after the ones of dead processes.
    this.#journal = journal
    this.#resolveOpened(journal)
    setExitListener(this, () => this.writeUnconfirmedSync())
    const recoveries = [this.#recover(journal)]
    for (const slot of abandoned) recoveries.push(this.#recover(await this.#openSlot(slot)))
    for (const recovery of recoveries) await this.#deliverToAnchor(recovery)
    const tail = await destination.open()
    for (const recovery of recoveries) {
      if (this.#find(recovery).isSetAside) continue
      this.#delivering = recovery
      await recovery.deliver(batch => destination.append(batch))
      if (recovery.info.bytes > 0 || recovery.info.damaged.length > 0) {
        this.#listener.onRecover(recovery.info)
      }
    }
    this.#delivering = undefined
    await this.#closeSlots(this.#opened.splice(1))
    return destination.tail ?? tail
  }

  async #deliverToAnchor(recovery: JournalRecovery): Promise<void> {
    try {
      await recovery.deliverToAnchor()
    } catch (error) {
      const { onSetAside } = this.#listener
      if (!onSetAside || !recovery.isFinal(error)) throw error
      const opened = this.#find(recovery)
      opened.isSetAside = true
      onSetAside(withContext(error, {}, `; the folder is kept as ${opened.slot.asideFolder}`))
      // New bytes are behind what cannot be delivered: they need another stream.
      if (recovery.journal === this.#journal) throw error
    }
  }

  #find({ journal }: JournalRecovery): OpenedSlot {
    const opened = this.#opened.find(each => each.journal === journal)
    ok(opened)
    return opened
  }

  #recover(journal: Journal): JournalRecovery {
    return new JournalRecovery(journal, this.#recovery, this.#context)
  }

  async #openSlot(slot: Slot, align?: Align): Promise<Journal> {
    const { maxBytes, sync } = this.#options.journal
    const { highWaterMark } = this.#options
    const { folder } = slot
    const opened: OpenedSlot = { slot, journal: undefined, isSetAside: false }
    this.#opened.push(opened)
    opened.journal = await Journal.open({ folder, maxBytes, sync, align, highWaterMark })
    return opened.journal
  }

  async #closeSlots(slots: readonly OpenedSlot[]): Promise<void> {
    for (const { journal, slot, isSetAside } of slots) {
      // A journal that cannot be closed keeps its files: the next start reads them.
      await journal?.close().catch(() => {})
      await (isSetAside ? slot.setAside().catch(() => {}) : slot.release())
    }
  }

  write(chunk: Buffer | string, encoding: BufferEncoding, callback: WriteCallback): void {
    this.writev([{ chunk, encoding }], callback)
  }

  writev(chunks: readonly WrittenChunk[], callback: WriteCallback): void {
    this.#callback = callback
    this.#accept(chunks).catch((error: Error) => this.#callBack(error))
  }

  /** A write that finds the journal full fails from now on, instead of waiting for room. */
  refuseWhenFull(): void {
    this.#isRefusing = true
  }

  /** Whether `writeUnconfirmedSync()` can write. */
  get isOpen(): boolean {
    return this.#journal?.isOpen ?? false
  }

  /**
   * For `process.exit()`, if the journal is not open: a slot for the bytes that are not in it.
   *
   * @throws if the folder of the journal cannot be written to.
   */
  createExitJournal(): ExitJournal {
    const { align, highWaterMark, journal } = this.#options
    const { dir, maxBytes, sync } = journal
    return new ExitJournal(dir, { maxBytes, sync, align, highWaterMark })
  }

  /** For `process.exit()`: writes what it was given and is not written yet, and then `more`. */
  writeUnconfirmedSync(more: readonly JournalChunk[] = []): void {
    this.#journal?.writeUnconfirmedSync(more)
  }

  /** Resolves when all that is accepted is on stable storage. */
  async sync(): Promise<void> {
    const journal = await this.#journalOpened
    await journal.sync()
  }

  flushNow(): number {
    this.#flushTimer.makeDue(this.#whole)
    return this.#whole
  }

  end(): void {
    this.#isEnded = true
    this.#whole = this.#accepted
  }

  async take(): Promise<Batch | undefined> {
    if (!this.#journal) return undefined
    await this.#fill()
    if (this.#isEnded && this.#batcher.accepted === this.#accepted) this.#batcher.end()
    if (!this.#flushTimer.isDue) return undefined
    const batch = this.#batcher.take()
    this.#flushTimer.onBatch()
    // Bytes that a crash of the machine may take away must not be in the object.
    if (batch && this.#options.journal.sync !== 'never') await this.#journal.sync()
    return batch
  }

  onSending(): void {
    // A failed read fails again in `take()`.
    this.#fill().catch(() => {})
  }

  /** Says in the journal where the bytes go that are sent next, unless its last anchor says it. */
  readonly beforeAppend = async (
    { bucket, key }: Target,
    { position, crc64 }: Tail,
  ): Promise<void> => {
    const journal = this.#delivering?.journal ?? this.#journal
    if (!journal || (this.#anchored?.journal === journal && this.#anchored.key === key)) return
    const offset = this.#delivering?.acknowledged ?? this.#base + this.#acknowledged
    await journal.anchor({ offset, bucket, key, position, crc64 })
    this.#anchored = { journal, key }
  }

  acknowledge({ length, nextPosition, crc64 }: AppendInfo): void {
    this.#acknowledged += length
    const tail = { position: nextPosition, crc64 }
    this.#journal?.acknowledge(this.#base + this.#acknowledged, tail)
  }

  release(): void {
    this.#batcher.release(this.#batcher.accepted < this.#accepted)
  }

  stop(): void {
    this.#isStopped = true
    this.#flushTimer.stop()
  }

  async close(error: Error): Promise<void> {
    this.#callback?.(error)
    this.#callback = undefined
    setExitListener(this, undefined)
    await this.#closeSlots(this.#opened)
  }

  /** Writes chunks to the journal, in as many writes as that takes, and calls back. */
  async #accept(written: readonly WrittenChunk[]): Promise<void> {
    const journal = await this.#journalOpened
    const chunks = written.map(toWritable)
    const count = this.#countBeforeLongRecord(chunks)
    let rest: readonly JournalChunk[] = chunks.slice(0, count)
    while (rest.length > 0 && !this.#isStopped) {
      const result = await journal.write(rest)
      this.#onAccepted(rest, result)
      const left = rest.slice(result.chunks)
      rest = result.rest ? [result.rest, ...left.slice(1)] : left
      if (!result.isFull || rest.length === 0) continue
      if (this.#isRefusing) throw journalFull(journal.folder)
      await journal.waitForRoom()
    }
    if (count === chunks.length) this.#callBack()
    else this.#onLongRecord()
  }

  /** In a tick of its own: what a listener of 'drain' throws is no failure of the write. */
  #callBack(error?: Error): void {
    const callback = this.#callback
    this.#callback = undefined
    if (callback) process.nextTick(callback, error)
  }

  /**
   * How many chunks come before a record that is too long. Nothing of that record gets into the journal,
   * where it could never leave.
   */
  #countBeforeLongRecord(chunks: readonly JournalChunk[]): number {
    const { align, maxRecordBytes } = this.#options
    const total = chunks.reduce((sum, chunk) => sum + byteLength(chunk), 0)
    let open = this.#accepted - this.#whole
    if (open + total <= maxRecordBytes || typeof align === 'number') return chunks.length
    for (const [index, { chunk, encoding }] of chunks.entries()) {
      for (let rest = toBytes(chunk, encoding); rest.length > 0; ) {
        const length = findFirstRecordEnd(align, rest, open)
        if (open + length > maxRecordBytes) return index
        open = length < rest.length || isEnd(align, rest) ? 0 : open + length
        rest = rest.subarray(length)
      }
    }
    return chunks.length
  }

  /** The records before it are sent, and then the stream fails. Its write is never accepted. */
  #onLongRecord(): void {
    this.#isTooLong = true
    this.flushNow()
  }

  #onAccepted(chunks: readonly JournalChunk[], { pieces, chunks: count, rest }: WriteResult): void {
    const isNext = this.#batcher.accepted === this.#accepted
    for (const chunk of chunks.slice(0, count)) {
      this.#countChunk(chunk)
      this.#listener.onChunk()
    }
    const part = chunks[count]
    if (rest && part) this.#accepted += byteLength(part) - byteLength(rest)
    if (isNext) copyPieces(this.#batcher, pieces)
    this.#listener.onBytes()
    this.#flushTimer.onBytes()
  }

  /** Counts an accepted chunk, and the whole records up to its end. */
  #countChunk(written: JournalChunk): void {
    const { align } = this.#options
    const { chunk, encoding } = written
    const length = byteLength(written)
    const open = this.#accepted - this.#whole
    this.#accepted += length
    if (align === 'chunk' || (align === '\n' && isEnd(align, chunk))) this.#whole = this.#accepted
    else this.#whole += findLastRecordEnd(align, toBytes(chunk, encoding), open)
  }

  /** Reads back what the batcher has room for. */
  async #fill(): Promise<void> {
    const journal = this.#journal
    if (!journal || this.#isStopped) return
    this.#filling ??= fillBatcher(this.#batcher, journal, this.#base, () => this.#accepted)
    try {
      await this.#filling
    } finally {
      this.#filling = undefined
    }
  }
}

/** Text in an encoding other than UTF-8 and latin1 as bytes: its length and its newlines are not those of the text. */
function toWritable({ chunk, encoding }: WrittenChunk): JournalChunk {
  const isDirect = typeof chunk !== 'string' || DIRECT.has(encoding)
  return isDirect ? { chunk, encoding } : { chunk: Buffer.from(chunk, encoding), encoding }
}

function byteLength({ chunk, encoding }: JournalChunk): number {
  return typeof chunk === 'string' ? Buffer.byteLength(chunk, encoding) : chunk.length
}

function isEnd(align: Align, chunk: Uint8Array | string): boolean {
  if (align === 'chunk') return true
  return typeof chunk === 'string' ? chunk.endsWith('\n') : chunk.at(-1) === NEWLINE
}

function toBytes(chunk: Uint8Array | string, encoding: BufferEncoding): Uint8Array {
  return typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk
}

function journalFull(folder: string): Error {
  return journalError('the journal is full, so these bytes are in no place that lasts', {
    file: folder,
  })
}
