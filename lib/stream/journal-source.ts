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
import type { Target } from '../append/client-interface.ts'
import type { AppendInfo, Destination } from '../append/destination.ts'
import type { StreamContext } from '../append/stream-context.ts'
import type { Batch, Tail } from '../append/tail.ts'
import { systemClock } from '../clock.ts'
import { journalError, type OssError, withContext } from '../errors.ts'
import { ExitJournal } from '../journal/exit-journal.ts'
import type { FileSystem } from '../journal/file-system.ts'
import { byteLength, type JournalChunk } from '../journal/frame-layout.ts'
import { Journal, type JournalOptions, type WriteResult } from '../journal/journal.ts'
import type { RecoverInfo } from '../journal/recover-info.ts'
import { isSameTarget, type JournalTarget } from '../journal/segment.ts'
import { claimFreeSlot, claimSlots, clearSlot, type Machine, type Slot } from '../journal/slots.ts'
import type { JournalSettings } from '../options.ts'
import { findFirstRecordEnd, findLastRecordEnd } from './align.ts'
import type { BatchSource, SourceListener } from './batch-source.ts'
import { Batcher } from './batcher.ts'
import type { WriteCallback, WrittenChunk } from './event-types.ts'
import { setExitListener } from './exit-listeners.ts'
import { FlushTimer } from './flush-timer.ts'
import {
  isEnd,
  joinTexts,
  MOST_BYTES,
  toBytes,
  toWritable,
  type WritableChunk,
} from './journal-chunks.ts'
import { copyPieces, fillBatcher } from './journal-reader.ts'
import { JournalRecovery, type RecoveryOptions } from './journal-recovery.ts'
import type { SourceOptions } from './memory-source.ts'

/** Milliseconds that a write waits for a buffer. */
const MEMORY_WAIT = 20
/** Bytes of texts that are joined: less than a frame, so the journal takes all or none of them. */
const JOINED_BYTES = 196_608

/** Bytes. */
export type JournalSizes = Partial<Pick<JournalOptions, 'maxBytes' | 'segmentBytes' | 'frameBytes'>>

export interface JournalSourceOptions extends SourceOptions {
  readonly journal: JournalSettings
  /** What new bytes are written for. */
  readonly journalTarget: JournalTarget
  /** Default: this machine. */
  readonly machine?: Machine | undefined
  /** In place of what `journal` says. */
  readonly journalSizes?: JournalSizes | undefined
}

export interface JournalSourceListener extends SourceListener {
  readonly onRecover: (info: RecoverInfo) => void
  /** A slot can never be delivered as it is. Undefined: the stream fails. */
  readonly onSetAside: ((error: OssError) => void) | undefined
  /** Chunks that Node queues behind the one that is being accepted. */
  readonly queuedChunks: () => readonly WrittenChunk[]
}

interface ClaimedSlot {
  readonly slot: Slot
  /** Undefined: it is not open yet, or could not be opened. */
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
  /** The slot of this stream, and those of dead processes. */
  readonly #claimed: ClaimedSlot[] = []
  readonly #journalOpened: Promise<Journal>
  #resolveOpened!: (journal: Journal) => void
  #rejectOpened!: (error: Error) => void
  #journal: Journal | undefined
  /** What is delivered before the first new byte. */
  #delivering: JournalRecovery | undefined
  /** Where the bytes go that are being sent, as the last anchor says. */
  #anchored: { readonly journal: Journal; readonly key: string } | undefined
  #base = 0
  /** Callback of the write that is being accepted. */
  #callback: WriteCallback | undefined
  /** What of that write is not accepted. */
  #rest: readonly WritableChunk[] = []
  /** The journal is writing `#rest`. */
  #isGiven = false
  #accepting: Promise<void> = Promise.resolve()
  #accepted = 0
  /** Accepted bytes of whole records. */
  #whole = 0
  #acknowledged = 0
  /** The accepted bytes that are next go to the batcher without a read. */
  #isCopying = false
  /** Ends the wait for a buffer. */
  #onFreed: (() => void) | undefined
  /** The read that fills the batcher. */
  #filling: Promise<void> | undefined
  #isEnded = false
  /** The last record has no end of its own, and the journal does not say yet that it is whole. */
  #isEndUnmarked = false
  #isStopped = false
  #isTooLong = false
  /** Why nothing waits for room in a full journal. */
  #refusal: Error | undefined

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
    this.#flushTimer = new FlushTimer(
      this.#batcher,
      options.flushInterval,
      listener.onDue,
      options.machine?.clock,
    )
    this.#journalOpened = new Promise((resolve, reject) => {
      this.#resolveOpened = resolve
      this.#rejectOpened = reject
    })
    // The stream reports it, also where no write waits.
    this.#journalOpened.catch(() => {})
    setExitListener(this, () => this.#onExit())
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

  /** Index of the slot of the new bytes. Undefined until the journal is open. */
  get slot(): number | undefined {
    return this.#journal && this.#claimed[0]?.slot.index
  }

  /** Bytes in its journals that no object has for certain. Undefined until the journal is open. */
  get undelivered(): number | undefined {
    if (!this.#journal) return undefined
    return this.#claimed.reduce((sum, { journal, isSetAside }) => {
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
    const { journal: settings, machine } = this.#options
    const { own, abandoned } = await claimSlots(settings.dir, machine)
    for (const slot of [own, ...abandoned]) this.#claimed.push(unopened(slot))
    this.#startAccepting(await this.#openOwn(destination.key))
    const recoveries: JournalRecovery[] = []
    for (const claimed of this.#claimed) {
      const journal = claimed.journal ?? (await this.#openJournal(claimed))
      recoveries.push(new JournalRecovery(journal, this.#recovery, this.#context))
    }
    for (const recovery of recoveries) {
      await this.#deliver(recovery, () => recovery.deliverToAnchor())
    }
    const isDeliverable = (recovery: JournalRecovery) => !this.#find(recovery).isSetAside
    let anchored = recoveries.filter(isDeliverable).map(({ journal }) => journal)
    for (const recovery of recoveries.filter(isDeliverable)) {
      if (recovery.left === 0 || this.#isForOwnTarget(recovery.journal)) continue
      await this.#leaveObjects(anchored, recovery.journal)
      await this.#deliver(recovery, () => recovery.deliverToTarget())
      anchored = isDeliverable(recovery) ? [recovery.journal] : []
    }
    const tail = await destination.open()
    for (const recovery of recoveries.filter(isDeliverable)) {
      if (recovery.left > 0) {
        await this.#leaveObjects(anchored, recovery.journal)
        anchored = [recovery.journal]
      }
      this.#delivering = recovery
      await recovery.deliver(batch => destination.append(batch))
      const { info } = recovery
      const { bytes, bytesBehind, damaged } = info
      if (bytes + bytesBehind + damaged.length > 0) this.#listener.onRecover(info)
    }
    this.#delivering = undefined
    await this.#leaveObjects(anchored, this.#journal)
    for (const claimed of this.#claimed.splice(1)) {
      await closeDelivered(claimed, machine?.fileSystem)
    }
    return destination.tail ?? tail
  }

  /** Delivers a slot, or sets it aside. */
  async #deliver(recovery: JournalRecovery, deliver: () => Promise<void>): Promise<void> {
    try {
      await deliver()
    } catch (error) {
      const { onSetAside } = this.#listener
      if (!onSetAside || !recovery.isFinal(error)) throw error
      const claimed = this.#find(recovery)
      claimed.isSetAside = true
      onSetAside(withContext(error, {}, `; the folder is kept as ${claimed.slot.asideFolder}`))
      // New bytes are behind what cannot be delivered: they need another stream.
      if (recovery.journal === this.#journal) throw error
    }
  }

  /**
   * Before bytes of the journal `next` go to the object in use. The other journals may be anchored at that object,
   * and must not take the bytes of `next` for their own.
   */
  async #leaveObjects(journals: readonly Journal[], next: Journal | undefined): Promise<void> {
    for (const journal of journals) {
      if (journal === next) continue
      if (this.#anchored?.journal === journal) this.#anchored = undefined
      await journal.leaveObject()
    }
  }

  #find({ journal }: JournalRecovery): ClaimedSlot {
    const claimed = this.#claimed.find(each => each.journal === journal)
    ok(claimed)
    return claimed
  }

  /** Whether bytes without an anchor go where the new bytes go. */
  #isForOwnTarget({ recovered: { target } }: Journal): boolean {
    return target === undefined || isSameTarget(target, this.#options.journalTarget)
  }

  /**
   * Opens the slot for the new bytes, and puts it first. Passes over slots with another target, and slots anchored at
   * an object of another bucket or, if `key` is known, of another key: until their bytes are delivered, the last anchor
   * counts for all that is behind it.
   */
  async #openOwn(key: string | undefined): Promise<Journal> {
    const { bucket } = this.#recovery
    const { journal: settings, machine } = this.#options
    for (let i = 0; ; i++) {
      if (i === this.#claimed.length) {
        const held = this.#claimed.map(({ slot }) => slot)
        this.#claimed.push(unopened(await claimFreeSlot(settings.dir, held, machine)))
      }
      const claimed = this.#claimed[i]!
      const journal = await this.#openJournal(claimed)
      const { anchor } = journal.recovered
      if (!this.#isForOwnTarget(journal)) continue
      if (anchor && (anchor.bucket !== bucket || anchor.key !== (key ?? anchor.key))) continue
      this.#claimed.splice(i, 1)
      this.#claimed.unshift(claimed)
      this.#context.slot = claimed.slot.index
      return journal
    }
  }

  async #openJournal(claimed: ClaimedSlot): Promise<Journal> {
    this.#throwIfAborted()
    const { align, highWaterMark, journalSizes, machine } = this.#options
    const { journal: settings, journalTarget: target } = this.#options
    const { maxBytes, sync } = settings
    const { folder } = claimed.slot
    const journal = await Journal.open({
      ...{ folder, maxBytes, sync, align, target, highWaterMark, ...journalSizes },
      ...(machine && { fileSystem: machine.fileSystem, clock: machine.clock }),
    })
    claimed.journal = journal
    if (this.#refusal) journal.stopWaiting(this.#refusal)
    return journal
  }

  /** Accepts new bytes from now on. They are sent behind those of dead processes. */
  #startAccepting(journal: Journal): void {
    this.#base = journal.recovered.end
    this.#journal = journal
    this.#resolveOpened(journal)
    // Again: behind the listeners of the program, which may write.
    setExitListener(this, () => this.#onExit())
  }

  /**
   * At `process.exit()`: what Node queues is written too. Its callbacks have promised nothing, but the last lines
   * before an exit tell why it came.
   */
  #onExit(): void {
    const journal = this.#journal
    const chunks = [...this.#rest, ...this.#listener.queuedChunks().map(toWritable)]
    // In the turn in which a write has ended, it is not known what of `#rest` is accepted.
    const isUnknown = this.#isGiven && !journal?.isWriting
    const count = this.#isTooLong || isUnknown ? 0 : this.#countBeforeLongRecord(chunks)
    const accepted = chunks.slice(this.#isGiven ? this.#rest.length : 0, count)
    if (journal) journal.writeUnconfirmedSync(accepted)
    // An empty folder would stay behind.
    else if (accepted.length > 0 && !this.#isStopped)
      this.createExitJournal().writeUnconfirmedSync(accepted)
  }

  #throwIfAborted(): void {
    const { aborted } = this.#context.retryLoop
    if (aborted) throw aborted
  }

  write(chunk: Buffer | string, encoding: BufferEncoding, callback: WriteCallback): void {
    this.writev([{ chunk, encoding }], callback)
  }

  writev(chunks: readonly WrittenChunk[], callback: WriteCallback): void {
    this.#callback = callback
    const { frameBytes = JOINED_BYTES } = this.#options.journalSizes ?? {}
    this.#rest = this.#canJoin(chunks) ? joinTexts(chunks, frameBytes) : chunks.map(toWritable)
    this.#accepting = this.#accept().catch((error: Error) => {
      // `close()` fails the write of a stream that was destroyed.
      if (!this.#isStopped) this.#callBack(error)
    })
  }

  /** Neither the ends of the chunks are needed, nor which of them has a record that is too long. */
  #canJoin(chunks: readonly WrittenChunk[]): boolean {
    const { align, maxRecordBytes } = this.#options
    if (align === 'chunk') return false
    let most = this.#accepted - this.#whole
    for (const { chunk } of chunks) most += chunk.length * MOST_BYTES
    return typeof align === 'number' || most <= maxRecordBytes
  }

  /** A write that finds the journal full fails from now on, instead of waiting for room. */
  refuseWhenFull(): void {
    this.#refuseWaiting(journalFull(this.#options.journal.dir))
  }

  #refuseWaiting(refusal: Error): void {
    this.#refusal ??= refusal
    for (const { journal } of this.#claimed) journal?.stopWaiting(refusal)
  }

  /** Whether `writeUnconfirmedSync()` can write. */
  get isOpen(): boolean {
    return this.#journal?.isOpen ?? false
  }

  /**
   * For `process.exit()`, in place of what the stream does then: writes what the journal was given and has not
   * written yet, and then `more`.
   */
  writeUnconfirmedSync(more: readonly JournalChunk[] = []): void {
    setExitListener(this, undefined)
    this.#journal?.writeUnconfirmedSync(more)
  }

  /**
   * For `process.exit()`, if the journal is not open: a slot for the bytes that are not in it.
   *
   * @throws if the folder of the journal cannot be written to.
   */
  createExitJournal(): ExitJournal {
    setExitListener(this, undefined)
    const { align, highWaterMark, journal, journalTarget: target } = this.#options
    const { dir, maxBytes, sync } = journal
    return new ExitJournal(dir, { maxBytes, sync, align, target, highWaterMark })
  }

  /** Resolves when all that is accepted is on stable storage. */
  async sync(): Promise<void> {
    const journal = await this.#journalOpened
    try {
      await journal.sync()
    } catch (error) {
      if (!this.#isStopped) this.#listener.onError(error as Error)
      throw error
    }
  }

  flushNow(): number {
    this.#flushTimer.makeDue(this.#whole)
    return this.#whole
  }

  end(): void {
    this.#isEnded = true
    this.#isEndUnmarked = this.#whole < this.#accepted
    this.#whole = this.#accepted
  }

  async take(): Promise<Batch | undefined> {
    if (!this.#journal) return undefined
    await this.#fill()
    const { accepted, hasReady } = this.#batcher
    const isLast = this.#isEnded && accepted === this.#accepted && !hasReady
    // Whole records are sent before: their room may be what the mark needs.
    if (isLast && !(this.#isEndUnmarked && this.#batcher.whole > 0)) {
      await this.#markEnd(this.#journal)
      this.#batcher.end()
    }
    if (!this.#flushTimer.isDue) return undefined
    const batch = this.#batcher.take()
    if (!this.#isStopped) this.#flushTimer.onBatch()
    this.#copySoon()
    // Bytes that a crash of the machine may take away must not be in the object.
    if (batch && this.#options.journal.sync !== 'never') {
      await this.#journal.sync(this.#base + this.#acknowledged + batch.length)
    }
    return batch
  }

  /** As the memory source does: a copy blocks the event loop, so the next request is written first. */
  #copySoon(): void {
    if (this.#onFreed) setImmediate(() => setImmediate(() => this.#onFreed?.()))
  }

  /** The last record has no end of its own, and is whole all the same: the next start sees that in the journal. */
  async #markEnd(journal: Journal): Promise<void> {
    if (!this.#isEndUnmarked) return
    await journal.markEnd()
    this.#isEndUnmarked = false
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
    const isWriting = this.#rest.length > 0
    this.#batcher.release(isWriting || this.#batcher.accepted < this.#accepted)
    if (!this.#batcher.hasReady) this.#onFreed?.()
  }

  complete(): Promise<void> | undefined {
    return this.#journal?.anchorTail()
  }

  stop(): void {
    this.#isStopped = true
    this.#onFreed?.()
    this.#flushTimer.stop()
    const { aborted } = this.#context.retryLoop
    if (aborted) this.#refuseWaiting(aborted)
  }

  async close(error: Error): Promise<Error | undefined> {
    this.#rejectOpened(error)
    // A chunk that is being written is accepted, and its callback must not say otherwise.
    await this.#accepting
    this.#callback?.(error)
    this.#callback = undefined
    setExitListener(this, undefined)
    // A file that a read opens behind the close would stay open.
    await this.#filling?.catch(() => {})
    let failure: Error | undefined
    if (this.#journal) await this.#markEnd(this.#journal).catch(() => {})
    for (const { journal, slot, isSetAside } of this.#claimed) {
      failure = (await journal?.close().catch(asError)) ?? failure
      await (isSetAside ? slot.setAside() : slot.release()).catch(() => {})
    }
    return failure
  }

  /** Writes `#rest` to the journal, in as many writes as that takes, and calls back. */
  async #accept(): Promise<void> {
    const journal = await this.#journalOpened
    const count = this.#countBeforeLongRecord(this.#rest)
    const isLong = count < this.#rest.length
    this.#rest = this.#rest.slice(0, count)
    while (this.#rest.length > 0) {
      this.#throwIfAborted()
      this.#isGiven = true
      const result = await journal.write(this.#rest)
      this.#isGiven = false
      if (result.isFull) await this.#makeRoom(journal)
      else await this.#onAccepted(result)
    }
    if (isLong) this.#onLongRecord()
    else this.#callBack()
  }

  /**
   * Waits for a buffer, but not for a slow network. Bytes that no buffer has room for are read back from the disk,
   * which takes about as long as to send them. Once some are, all that follow are too.
   */
  async #waitForMemory(length: number): Promise<void> {
    if (this.#isStopped || this.#batcher.free >= Math.min(length, this.#options.highWaterMark))
      return
    const { clock } = this.#options.machine ?? { clock: systemClock }
    await new Promise<void>(resolve => {
      const timer = clock.setTimeout(resolve, MEMORY_WAIT)
      this.#onFreed = () => {
        clock.clearTimeout(timer)
        resolve()
      }
    })
    this.#onFreed = undefined
  }

  /** Sends what is accepted: a batch that waits to be full would wait for bytes that find no room. */
  async #makeRoom(journal: Journal): Promise<void> {
    this.flushNow()
    await journal.waitForRoom()
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

  async #onAccepted({ pieces, chunks: count, rest }: WriteResult): Promise<void> {
    const before = this.#accepted
    this.#isCopying = this.#batcher.accepted === before
    const behind = this.#rest.slice(count)
    for (const whole of this.#rest.slice(0, count)) {
      const isAscii = whole.bytes === whole.chunk.length
      for (const member of whole.members ?? [whole]) {
        this.#countChunk(member, isAscii ? member.chunk.length : byteLength(member), true)
        this.#listener.onChunk()
      }
    }
    if (rest) {
      for (const { bytes: chunk } of pieces) {
        this.#countChunk({ chunk, encoding: 'utf8' }, chunk.length, false)
      }
      behind[0] = rest
    }
    this.#rest = behind
    if (this.#isCopying) {
      await this.#waitForMemory(this.#accepted - before)
      copyPieces(this.#batcher, pieces)
      this.#isCopying = false
    }
    this.#listener.onBytes()
    if (!this.#isStopped) this.#flushTimer.onBytes()
  }

  /** Counts accepted bytes, and the whole records up to their end. `isWhole`: the chunk ends with them. */
  #countChunk({ chunk, encoding }: JournalChunk, length: number, isWhole: boolean): void {
    const { align } = this.#options
    const open = this.#accepted - this.#whole
    this.#accepted += length
    if (typeof align === 'number') this.#whole = this.#accepted - (this.#accepted % align)
    else if (align === 'chunk' ? isWhole : isEnd(align, chunk)) this.#whole = this.#accepted
    else this.#whole += findLastRecordEnd(align, toBytes(chunk, encoding), open)
  }

  /** Reads back what the batcher has room for. */
  async #fill(): Promise<void> {
    const journal = this.#journal
    if (!journal || this.#isStopped || this.#isCopying) return
    this.#filling ??= this.#readBack(journal)
    await this.#filling
  }

  async #readBack(journal: Journal): Promise<void> {
    try {
      const length = await fillBatcher(this.#batcher, journal, this.#base, () => this.#accepted)
      if (length > 0 && !this.#isStopped) this.#flushTimer.onBytes()
    } finally {
      this.#filling = undefined
    }
  }
}

/** A slot of a dead process whose bytes are in objects: it is left empty. */
async function closeDelivered(
  { journal, slot, isSetAside }: ClaimedSlot,
  fileSystem: FileSystem | undefined,
): Promise<void> {
  try {
    await journal?.close()
    if (isSetAside) return await slot.setAside()
    await clearSlot(slot.folder, journal?.recovered.damaged ?? [], fileSystem)
  } catch {
    // The files stay, and the next start reads them.
  }
  await slot.release().catch(() => {})
}

function unopened(slot: Slot): ClaimedSlot {
  return { slot, journal: undefined, isSetAside: false }
}

function asError(thrown: unknown): Error {
  return thrown as Error
}

function journalFull(folder: string): Error {
  return journalError('the journal is full, so these bytes are in no place that lasts', {
    file: folder,
  })
}
