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
interface Slab {
  readonly bytes: Buffer
  /** What these are, or stand for. */
  readonly amount: Amount
}

/** So many records. */
export interface Amount {
  /** How many. */
  readonly records: number
  /** How many bytes those have. */
  readonly bytes: number
}

export class Slabs {
  /** Those that were handed over, then those that wait. */
  readonly #sealed: Slab[] = []
  /** Records of the slab that grows: none, no slab. */
  #growing = 0
  #text = ''
  /** How many bytes more than the text the records have that it stands for; negative if they have less. */
  #excess = 0
  /** How many were handed over. */
  #handed = 0
  /** Bytes of slabs that have left since what is handed over was last taken back. */
  #settled = 0
  #sealedBytes = 0
  #gone = 0

  /** Bytes of all. */
  get bytes(): number {
    return this.#sealedBytes + Buffer.byteLength(this.#text)
  }

  get length(): number {
    return this.#sealed.length + (this.#growing === 0 ? 0 : 1)
  }

  /** How many of them are handed over. */
  get handed(): number {
    return this.#handed
  }

  /** Something was handed over since it was last taken back, acknowledged or not. */
  get hasHanded(): boolean {
    return this.#handed > 0 || this.#settled > 0
  }

  /** How many have left since the beginning. */
  get gone(): number {
    return this.#gone
  }

  /** Whether all would be at most so many bytes with these records. */
  fits(text: string, max: number): boolean {
    // A character has three bytes at most. To count them takes long, and is seldom needed.
    const most = this.#sealedBytes + 3 * (this.#text.length + text.length)
    return most <= max || this.bytes + Buffer.byteLength(text) <= max
  }

  /** Adds so many records. Says how many characters the slab has now. */
  add(text: string, records = 1): number {
    this.#growing += records
    this.#text += text
    return this.#text.length
  }

  /** The same with a line that stands for others. */
  addInstead(line: string, others: Amount): number {
    this.#growing += others.records
    this.#excess += others.bytes - Buffer.byteLength(line)
    this.#text += line
    return this.#text.length
  }

  /** The slab that grows has grown enough. */
  seal(): void {
    if (this.#growing === 0) return
    const bytes = Buffer.from(this.#text)
    const amount = { records: this.#growing, bytes: bytes.length + this.#excess }
    this.#text = ''
    this.#growing = 0
    this.#excess = 0
    this.#sealedBytes += bytes.length
    this.#sealed.push({ bytes, amount })
  }

  /** The bytes of the next slab, which counts as handed over with that. */
  hand(): Buffer | undefined {
    if (this.#handed === this.#sealed.length) this.seal()
    const slab = this.#sealed[this.#handed]
    if (slab) this.#handed++
    return slab?.bytes
  }

  /** Of what was handed over, so many bytes are acknowledged: true if slabs have left by that. */
  settle(acknowledged: number): boolean {
    let count = 0
    while (count < this.#handed) {
      const bytes = this.#sealed[count]?.bytes.length ?? 0
      if (this.#settled + bytes > acknowledged) break
      this.#settled += bytes
      count++
    }
    this.remove(count)
    return count > 0
  }

  /** What was handed over and has not left waits again. */
  takeBack(): void {
    this.#handed = 0
    this.#settled = 0
  }

  /** How many slabs from the front share the next `length` bytes of what was handed over. */
  count(length: number): number {
    let rest = length
    let count = 0
    while (rest > 0 && count < this.#handed) rest -= this.#sealed[count++]?.bytes.length ?? 0
    return count
  }

  /** What so many slabs from the front are, or stand for. */
  sum(count: number): Amount {
    const slabs = this.#sealed.slice(0, count)
    return {
      records: slabs.reduce((total, { amount }) => total + amount.records, 0),
      bytes: slabs.reduce((total, { amount }) => total + amount.bytes, 0),
    }
  }

  remove(count: number): void {
    for (const { bytes } of this.#sealed.splice(0, count)) this.#sealedBytes -= bytes.length
    this.#handed = Math.max(0, this.#handed - count)
    this.#gone += count
  }
}
