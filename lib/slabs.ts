/**
 * The outbox's queue: records joined to slabs, in the order in which they came. A slab is whole records,
 * is handed over as one chunk, and stays until all its bytes are acknowledged. Pure: knows no stream.
 *
 *     [ handed over, not acknowledged | waiting ] [ growing ]
 */

/**
 * Records that are sent together. As bytes, and no longer as text: what lives until it is acknowledged
 * would be copied again and again by the garbage collector.
 */
interface Slab {
  readonly bytes: Buffer
  /** How many records these are, or stand for. */
  readonly records: number
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
  /** How many were handed over. */
  #handed = 0
  /** Bytes of slabs that have left since what is handed over was last taken back. */
  #settled = 0
  #sealedBytes = 0
  #gone = 0

  /** Bytes of all; of the slab that grows it counts characters. */
  get bytes(): number {
    return this.#sealedBytes + this.#text.length
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

  /** Adds text that is, or stands for, so many records. Says how many characters the slab has now. */
  add(text: string, records: number): number {
    this.#growing += records
    this.#text += text
    return this.#text.length
  }

  /** The slab that grows has grown enough. */
  seal(): void {
    if (this.#growing === 0) return
    const slab = { bytes: Buffer.from(this.#text), records: this.#growing }
    this.#text = ''
    this.#growing = 0
    this.#sealedBytes += slab.bytes.length
    this.#sealed.push(slab)
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

  /** What so many slabs from the front come to. */
  sum(count: number): Amount {
    const slabs = this.#sealed.slice(0, count)
    return {
      records: slabs.reduce((total, { records }) => total + records, 0),
      bytes: slabs.reduce((total, { bytes }) => total + bytes.length, 0),
    }
  }

  remove(count: number): void {
    for (const { bytes } of this.#sealed.splice(0, count)) this.#sealedBytes -= bytes.length
    this.#handed = Math.max(0, this.#handed - count)
    this.#gone += count
  }
}
