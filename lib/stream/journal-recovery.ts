/**
 * Delivers what a journal of a dead process holds, before the first new byte. Its last anchor says where the
 * bytes were going, and the object says how many of them are there.
 *
 *      journal     | acknowledged | landed, reply lost | to deliver |
 *      object      .............................. tail ^
 *                  anchor ^
 */

import { ok } from 'node:assert/strict'
import { Appender, type AppenderOptions } from '../append/appender.ts'
import { checkRange } from '../append/check-client.ts'
import type { Client, Target } from '../append/client-interface.ts'
import type { AppendInfo } from '../append/destination.ts'
import { type FoundEnd, isReadForbidden, TailFinder } from '../append/find-tail.ts'
import type { StreamContext } from '../append/stream-context.ts'
import type { Batch, Tail } from '../append/tail.ts'
import { update } from '../crc64/index.ts'
import {
  conflict,
  formatCount,
  journalError,
  OssConflictError,
  OssError,
  objectFull,
  replaced,
  withContext,
} from '../errors.ts'
import type { Journal } from '../journal/journal.ts'
import type { RecoverInfo } from '../journal/recover-info.ts'
import type { JournalPart } from '../journal/recovery.ts'
import type { Anchor } from '../journal/segment.ts'
import { advanceOver, settleJournal } from '../journal/settle-journal.ts'
import { MIB } from '../options.ts'
import { Batcher } from './batcher.ts'
import { fillBatcher } from './journal-reader.ts'

export type RecoveryOptions = Omit<AppenderOptions, 'target' | 'position' | 'crc64' | 'exists'> & {
  /** The stream's own. */
  readonly bucket: string
  readonly contentMd5: boolean
  /** The journal may have lost bytes that are in the object. */
  readonly isUnsynced: boolean
}

/** Bytes. Records of a journal were accepted by a process whose `maxRecordBytes` may have been greater. */
const MAX_RECORD_BYTES = 1024 * MIB

/** Codes of an object that takes no more appends, or not these. */
const FINAL_CODES: ReadonlySet<string> = new Set([
  'ObjectNotAppendable',
  'AppendSealedObjectNotAllowed',
  'OSS_ERR_OBJECT_FULL',
])

export class JournalRecovery {
  readonly journal: Journal
  readonly #options: RecoveryOptions
  readonly #context: StreamContext
  /** Stream offset. */
  #acknowledged: number
  #key: string | undefined
  #delivered = 0
  #bytesBehind = 0
  /** Why the journal is for none of the objects of this stream's bucket that are known. */
  #refusal: OssError | undefined

  constructor(journal: Journal, options: RecoveryOptions, context: StreamContext) {
    this.journal = journal
    this.#options = options
    this.#context = context
    this.#acknowledged = journal.recovered.from
  }

  /** Offset in the journal. */
  get acknowledged(): number {
    return this.#acknowledged
  }

  /** Bytes that are still to be delivered. */
  get left(): number {
    return this.journal.recovered.end - this.#acknowledged
  }

  get info(): RecoverInfo {
    const { damaged } = this.journal.recovered
    return { key: this.#key, bytes: this.#delivered, bytesBehind: this.#bytesBehind, damaged }
  }

  /**
   * Delivers to the anchored object, whatever key the options name. Of a sealed or full object the rest is
   * left.
   *
   * @throws {OssConflictError} The object is not as the journal knows it. The journal stays as it is.
   */
  async deliverToAnchor(): Promise<void> {
    const { anchor } = this.journal.recovered
    const isAll = this.left === 0
    if (!anchor || (isAll && !this.#options.isUnsynced)) return
    const { bucket, key } = anchor
    if (bucket !== this.#options.bucket) {
      if (isAll) return
      throw this.#refuse(`oss://${bucket}/${key}`)
    }
    if (!isAll) this.#context.retryLoop.keepProcessAlive()
    try {
      await this.#deliverTo(anchor)
    } catch (error) {
      // With nothing to deliver it is no matter what became of the object.
      if (isAll && (this.isFinal(error) || isReadForbidden(error))) return
      throw this.#withObject(error, anchor)
    }
  }

  /** Delivers what is left to the object of the stream that wrote it. */
  async deliverToTarget(): Promise<void> {
    const { target } = this.journal.recovered
    ok(target, 'a journal with bytes names their target')
    const { bucket, key, isPattern } = target
    if (isPattern) throw this.#refuse(`the key pattern ${key} of ${bucket}`)
    if (bucket !== this.#options.bucket) throw this.#refuse(`oss://${bucket}/${key}`)
    await this.deliverTo({ bucket, key })
  }

  /** Delivers what is left, of which nothing was sent to this object, behind all that the object has. */
  async deliverTo(target: Target): Promise<void> {
    let isAnchored = false
    const beforeAppend = async ({ bucket, key }: Target, { position, crc64 }: Tail) => {
      if (isAnchored) return
      isAnchored = true
      await this.journal.anchor({ offset: this.#acknowledged, bucket, key, position, crc64 })
    }
    const { maxObjectBytes: maxBytes } = this.#options
    const start = { position: 'end', crc64: undefined, exists: undefined } as const
    const options = { ...this.#options, maxBytes, target, beforeAppend, ...start }
    const appender = new Appender(options, this.#context)
    this.#context.retryLoop.keepProcessAlive()
    try {
      await appender.open()
      await this.deliver(batch => appender.append(batch))
    } catch (error) {
      throw this.#withObject(error, target)
    }
  }

  /** Whether a delivery that failed with `error` will fail each time. */
  isFinal(error: unknown): error is OssError {
    if (!(error instanceof OssError)) return false
    return error === this.#refusal || isOfObject(error) || FINAL_CODES.has(error.code)
  }

  #refuse(object: string): OssError {
    const { bucket } = this.#options
    this.#refusal = journalError(
      `the journal holds ${formatCount(this.left, 'byte')} for ${object}, and the stream is for another key of the ` +
        `bucket ${bucket}: use a folder for each, and deliver this one with oss-append drain`,
      { file: this.journal.folder },
    )
    return this.#refusal
  }

  #withObject(error: unknown, { bucket, key }: Target): Error {
    const hint = `; ${formatCount(this.left, 'byte')} for it stay in the journal ${this.journal.folder}`
    return withContext(error as Error, { bucket, key }, hint)
  }

  async #deliverTo(anchor: Anchor): Promise<void> {
    let before: Tail = { position: anchor.position, crc64: anchor.crc64 }
    let refusal: OssConflictError | undefined
    for (;;) {
      const { tail, exists, isSealed } = await this.#settle(anchor, before, refusal)
      if (isSealed || this.left === 0) return
      before = tail
      const appender = this.#createAppender(anchor, tail, exists)
      await appender.open()
      const start = this.#acknowledged
      try {
        await this.deliver(batch => this.#append(appender, batch))
        return
      } catch (error) {
        if (isFull(error)) return
        // A request of the dead process has arrived, and it was longer than a batch of ours.
        const isLate = error instanceof OssConflictError && this.#acknowledged === start
        if (!isLate || refusal) throw error
        refusal = error
      }
    }
  }

  /** Delivers what is left to the object in use, or to the next. */
  async deliver(append: (batch: Batch) => Promise<AppendInfo>): Promise<void> {
    for (const part of this.journal.recovered.parts) await this.#deliverPart(part, append)
  }

  async #deliverPart(
    { end, align }: JournalPart,
    append: (batch: Batch) => Promise<AppendInfo>,
  ): Promise<void> {
    const base = this.#acknowledged
    const length = end - base
    const { highWaterMark, contentMd5 } = this.#options
    const batcher = new Batcher({
      highWaterMark,
      contentMd5,
      align,
      maxRecordBytes: MAX_RECORD_BYTES,
    })
    while (this.#acknowledged < end) {
      await fillBatcher(batcher, this.journal, base, () => length)
      if (batcher.accepted === length) batcher.end()
      const batch = batcher.take()
      ok(batch, 'the journal has whole records')
      for (let rest = batch; rest.length > 0; ) {
        const info = await append(rest)
        this.#delivered += info.length
        this.#acknowledge(info.key, info.length, { position: info.nextPosition, crc64: info.crc64 })
        rest = rest.rest(info.length)
      }
      batcher.release(true)
    }
  }

  /**
   * Appends the records that the object has room for. Until the first append is acknowledged, an attempt of the
   * dead process may land there, so `maxBytes` is not asked: the same records would go to the next object too.
   *
   * @throws {OssError} `OSS_ERR_OBJECT_FULL` if there is no room for the first record.
   */
  async #append(appender: Appender, batch: Batch): Promise<AppendInfo> {
    const { maxObjectBytes, maxBytes = maxObjectBytes } = this.#options
    const position = appender.tail?.position ?? 0
    const limit = this.#delivered > 0 ? maxBytes : maxObjectBytes
    const part = batch.prefix(Math.max(0, limit - position))
    const end = position + part.length
    if (end > limit) throw objectFull(end, limit)
    return appender.append(part)
  }

  /** Finds out how much of the journal is in the object, and where the rest goes. */
  async #settle(
    { bucket, key }: Anchor,
    before: Tail,
    refusal: OssConflictError | undefined,
  ): Promise<FoundEnd> {
    const finder = new TailFinder({ ...this.#options, target: { bucket, key } }, this.#context)
    const run = <T>(attempt: () => Promise<T>) =>
      this.#context.retryLoop.run(before.position, attempt)
    const found = await run(() => finder.findEnd(before.position))
    const seen = found.exists ? found.tail : null
    const verdict = await settleJournal(this.journal, this.#acknowledged, before, seen)
    switch (verdict.name) {
      case 'landed':
        this.#acknowledge(key, verdict.length, verdict.after)
        return found
      case 'absent':
        if (refusal) throw refusal
        return { ...found, tail: before }
      case 'beyond':
        return run(() => this.#acceptBeyond({ bucket, key }, before, verdict.bytes))
      case 'replaced':
        throw replaced(before, seen, refusal)
      case 'conflict':
        throw conflict(before, before, found.tail, refusal)
    }
  }

  /**
   * The object goes on behind the journal: a power loss took the end of the journal, which was sent before it
   * was synced. The CRC of those bytes proves that the journal's are before them.
   */
  async #acceptBeyond(target: Target, before: Tail, bytes: number): Promise<FoundEnd> {
    const { isUnsynced } = this.#options
    const client = this.#options.client as Required<Client>
    const { tail: end } = await advanceOver(this.journal, this.#acknowledged, before, this.left)
    const seen = { position: end.position + bytes }
    if (!isUnsynced || !client.read) throw conflict(before, end, seen)
    const { position: start } = end
    const { crc64, isWhole } = await this.#context.retryLoop.exchange(async signal => {
      const range = checkRange(await client.read(target, { start, end: seen.position, signal }))
      let crc = BigInt(end.crc64)
      for await (const chunk of range.body) crc = update(crc, chunk)
      const crc64 = crc.toString()
      return { crc64, isWhole: range.length === seen.position && range.crc64 === crc64 }
    })
    if (!isWhole) throw conflict(before, end, seen)
    const tail = { ...seen, crc64 }
    this.#bytesBehind = bytes
    this.#acknowledge(target.key, this.left, tail)
    return { tail, exists: true, isSealed: false }
  }

  #createAppender({ bucket, key }: Anchor, { position, crc64 }: Tail, exists: boolean): Appender {
    const target = { bucket, key }
    const { maxObjectBytes: maxBytes } = this.#options
    const options = { ...this.#options, maxBytes, target, position, crc64, exists }
    return new Appender(options, this.#context)
  }

  #acknowledge(key: string, length: number, tail: Tail): void {
    this.#key = key
    this.#acknowledged += length
    this.journal.acknowledge(this.#acknowledged, tail)
  }
}

/** The object is gone, or has other bytes than the journal knows. */
function isOfObject(error: unknown): boolean {
  return (
    error instanceof OssConflictError ||
    (error instanceof OssError && error.code === 'OSS_ERR_OBJECT_REPLACED')
  )
}

function isFull(error: unknown): boolean {
  return error instanceof OssError && error.code === 'OSS_ERR_OBJECT_FULL'
}
