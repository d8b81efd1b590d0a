/**
 * The outbox's queue: records joined to chunks, in the order in which they were logged. A chunk holds whole
 * records, goes to the stream in one `write()`, and stays until all its bytes are acknowledged.
 * Pure: it knows no stream.
 *
 *     [ chunks in flight: written, not acknowledged | waiting chunks ] [ open chunk, which grows ]
 */

/** Records that are written together. */
interface Chunk {
  readonly data: Buffer | string
  /** Bytes of `data`. */
  readonly length: number
  /** The records in it. A line that reports dropped records counts as those records. */
  readonly totals: RecordTotals
}

/** A number of records, and the bytes of them. */
export interface RecordTotals {
  /** How many records. */
  readonly records: number
  /** Bytes of these records. */
  readonly bytes: number
}

export const NO_RECORDS: RecordTotals = { records: 0, bytes: 0 }

export function addRecords(
  { records, bytes }: RecordTotals,
  text: string,
  count: number,
): RecordTotals {
  return { records: records + count, bytes: bytes + Buffer.byteLength(text) }
}

export class RecordQueue {
  /** Chunks in flight, then those that wait. */
  readonly #chunks: Chunk[] = []
  /** Records in the open chunk; 0 means that there is none. */
  #openRecords = 0
  #openText = ''
  /** Bytes of the records that the open chunk stands for, less the bytes of its text. May be negative. */
  #openExcessBytes = 0
  /** Chunks in flight. */
  #inFlight = 0
  /** Bytes of acknowledged chunks since the last `rewind()`. */
  #acknowledgedBytes = 0
  #chunkBytes = 0
  #removed = 0

  /** Bytes of all chunks. */
  get bytes(): number {
    return this.#chunkBytes + Buffer.byteLength(this.#openText)
  }

  /** Number of chunks, the open one included. */
  get length(): number {
    return this.#chunks.length + (this.#openRecords === 0 ? 0 : 1)
  }

  /** Number of chunks in flight. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** A chunk was taken by `next()` since the last `rewind()`, whether acknowledged or not. */
  get hasStarted(): boolean {
    return this.#inFlight > 0 || this.#acknowledgedBytes > 0
  }

  /** Number of chunks that were removed since the beginning. */
  get removed(): number {
    return this.#removed
  }

  /** Whether the queue has at most `limit` bytes once this text is added. */
  fits(text: string, limit: number): boolean {
    // A UTF-16 unit has at most three bytes in UTF-8. The exact count takes long and is seldom needed.
    const maxBytes = this.#chunkBytes + 3 * (this.#openText.length + text.length)
    return maxBytes <= limit || this.bytes + Buffer.byteLength(text) <= limit
  }

  /** Adds `records` records, joined in one text. Returns the number of characters in the open chunk. */
  add(text: string, records = 1): number {
    this.#openRecords += records
    this.#openText += text
    return this.#openText.length
  }

  /** Adds a line that stands for other records, and counts as them. Returns the same as `add()`. */
  addPlaceholder(text: string, replaced: RecordTotals): number {
    this.#openRecords += replaced.records
    this.#openExcessBytes += replaced.bytes - Buffer.byteLength(text)
    this.#openText += text
    return this.#openText.length
  }

  /** Closes the open chunk. The next record begins another one. */
  closeChunk(): void {
    if (this.#openRecords === 0) return
    const data = encode(this.#openText)
    const length = Buffer.byteLength(data)
    const totals = { records: this.#openRecords, bytes: length + this.#openExcessBytes }
    this.#openText = ''
    this.#openRecords = 0
    this.#openExcessBytes = 0
    this.#chunkBytes += length
    this.#chunks.push({ data, length, totals })
  }

  /** The next chunk that waits, which is in flight from now on. Closes the open chunk if needed. */
  next(): Buffer | string | undefined {
    if (this.#inFlight === this.#chunks.length) this.closeChunk()
    const chunk = this.#chunks[this.#inFlight]
    if (chunk) this.#inFlight++
    return chunk?.data
  }

  /**
   * Removes the chunks in flight whose last byte is acknowledged. `acknowledged` counts bytes since the last
   * `rewind()`. Returns whether a chunk was removed.
   */
  acknowledge(acknowledged: number): boolean {
    let count = 0
    while (count < this.#inFlight) {
      const length = this.#chunks[count]?.length ?? 0
      if (this.#acknowledgedBytes + length > acknowledged) break
      this.#acknowledgedBytes += length
      count++
    }
    this.remove(count)
    return count > 0
  }

  /**
   * All chunks, which are in flight from now on, without their first bytes: those before `safe`, counted as in
   * `acknowledge()`. Closes the open chunk.
   */
  takeRest(safe: number): readonly (Buffer | string)[] {
    this.closeChunk()
    this.#inFlight = this.#chunks.length
    const [first, ...rest] = this.#chunks.map(({ data }) => data)
    if (first === undefined) return []
    return [Buffer.from(first).subarray(safe - this.#acknowledgedBytes), ...rest]
  }

  /** Chunks in flight wait again, because their stream has failed. */
  rewind(): void {
    this.#inFlight = 0
    this.#acknowledgedBytes = 0
  }

  /** The number of chunks in flight that contain the next `length` bytes. */
  countChunks(length: number): number {
    let remaining = length
    let count = 0
    while (remaining > 0 && count < this.#inFlight) remaining -= this.#chunks[count++]?.length ?? 0
    return count
  }

  /** The records of the first `count` closed chunks. */
  totals(count: number): RecordTotals {
    const chunks = this.#chunks.slice(0, count)
    return {
      records: chunks.reduce((total, { totals }) => total + totals.records, 0),
      bytes: chunks.reduce((total, { totals }) => total + totals.bytes, 0),
    }
  }

  /** Removes the first `count` closed chunks. */
  remove(count: number): void {
    for (const { length } of this.#chunks.splice(0, count)) this.#chunkBytes -= length
    this.#inFlight = Math.max(0, this.#inFlight - count)
    this.#removed += count
  }
}

/**
 * As bytes, because the garbage collector would copy a long-lived text repeatedly. If the allocation fails, the
 * text is kept: a logger must neither throw nor lose records, and the stream encodes it later.
 */
function encode(text: string): Buffer | string {
  try {
    return Buffer.from(text)
  } catch {
    return text
  }
}
