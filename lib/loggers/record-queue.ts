/**
 * The outbox's queue: records joined to slabs, in the order in which they came. A slab is whole records,
 * is handed over as one chunk, and stays until all its bytes are acknowledged. Pure: knows no stream.
 *
 *     [ handed over, not acknowledged | waiting ] [ growing ]
 */

/**
 * Records that are sent together. As bytes, not as text: what lives until it is acknowledged
 * would be copied again and again by the garbage collector.
 */
interface Chunk {
  readonly bytes: Buffer
  /** What these are, or stand for. */
  readonly totals: RecordTotals
}

/** So many records. */
export interface RecordTotals {
  /** How many. */
  readonly records: number
  /** How many bytes those have. */
  readonly bytes: number
}

export class RecordQueue {
  /** Those that were handed over, then those that wait. */
  readonly #chunks: Chunk[] = []
  /** Records of the slab that grows: none, no slab. */
  #openRecords = 0
  #openText = ''
  /** How many bytes more than the text the records have that it stands for; negative if they have less. */
  #openExcessBytes = 0
  /** How many were handed over. */
  #inFlight = 0
  /** Bytes of slabs that have left since what is handed over was last taken back. */
  #acknowledgedBytes = 0
  #chunkBytes = 0
  #removed = 0

  /** Bytes of all. */
  get bytes(): number {
    return this.#chunkBytes + Buffer.byteLength(this.#openText)
  }

  get length(): number {
    return this.#chunks.length + (this.#openRecords === 0 ? 0 : 1)
  }

  /** How many of them are handed over. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** Something was handed over since it was last taken back, acknowledged or not. */
  get hasStarted(): boolean {
    return this.#inFlight > 0 || this.#acknowledgedBytes > 0
  }

  /** How many have left since the beginning. */
  get removed(): number {
    return this.#removed
  }

  /** Whether all would be at most so many bytes with these records. */
  fits(text: string, limit: number): boolean {
    // A character has three bytes at most. To count them takes long, and is seldom needed.
    const maxBytes = this.#chunkBytes + 3 * (this.#openText.length + text.length)
    return maxBytes <= limit || this.bytes + Buffer.byteLength(text) <= limit
  }

  /** Adds so many records. Says how many characters the slab has now. */
  add(text: string, records = 1): number {
    this.#openRecords += records
    this.#openText += text
    return this.#openText.length
  }

  /** The same with a line that stands for others. */
  addPlaceholder(text: string, replaced: RecordTotals): number {
    this.#openRecords += replaced.records
    this.#openExcessBytes += replaced.bytes - Buffer.byteLength(text)
    this.#openText += text
    return this.#openText.length
  }

  /** The slab that grows has grown enough. */
  closeChunk(): void {
    if (this.#openRecords === 0) return
    const bytes = Buffer.from(this.#openText)
    const totals = { records: this.#openRecords, bytes: bytes.length + this.#openExcessBytes }
    this.#openText = ''
    this.#openRecords = 0
    this.#openExcessBytes = 0
    this.#chunkBytes += bytes.length
    this.#chunks.push({ bytes, totals })
  }

  /** The bytes of the next slab, which counts as handed over with that. */
  next(): Buffer | undefined {
    if (this.#inFlight === this.#chunks.length) this.closeChunk()
    const chunk = this.#chunks[this.#inFlight]
    if (chunk) this.#inFlight++
    return chunk?.bytes
  }

  /** Of what was handed over, so many bytes are acknowledged: true if slabs have left by that. */
  acknowledge(acknowledged: number): boolean {
    let count = 0
    while (count < this.#inFlight) {
      const bytes = this.#chunks[count]?.bytes.length ?? 0
      if (this.#acknowledgedBytes + bytes > acknowledged) break
      this.#acknowledgedBytes += bytes
      count++
    }
    this.remove(count)
    return count > 0
  }

  /** What was handed over and has not left waits again. */
  rewind(): void {
    this.#inFlight = 0
    this.#acknowledgedBytes = 0
  }

  /** How many slabs from the front share the next `length` bytes of what was handed over. */
  countChunks(length: number): number {
    let remaining = length
    let count = 0
    while (remaining > 0 && count < this.#inFlight)
      remaining -= this.#chunks[count++]?.bytes.length ?? 0
    return count
  }

  /** What so many slabs from the front are, or stand for. */
  totals(count: number): RecordTotals {
    const chunks = this.#chunks.slice(0, count)
    return {
      records: chunks.reduce((total, { totals }) => total + totals.records, 0),
      bytes: chunks.reduce((total, { totals }) => total + totals.bytes, 0),
    }
  }

  remove(count: number): void {
    for (const { bytes } of this.#chunks.splice(0, count)) this.#chunkBytes -= bytes.length
    this.#inFlight = Math.max(0, this.#inFlight - count)
    this.#removed += count
  }
}
