/**
 * The tails of the objects in the sink: position and CRC-64. Computing the CRC of every body would cost a
 * seventh of a second per GB, and make the sink the bottleneck. The bodies of a benchmark repeat, so the sink
 * computes each once and recognizes it by its length and first bytes. A mistake would stop the run, since
 * our stream compares the CRC of every append.
 */

import { combine } from '../dist/crc64/combine.js'
import { update } from '../dist/crc64/index.js'

/** Bytes that identify a body. They hold one whole line of the cases with lines. */
const PREFIX = 256

/** The CRC of an object that is first written at another position than 0. */
export const CRC_OF_UNSEEN = 1234567890123456789n

const known = new Map()

/** A body that arrives in chunks. */
export class Body {
  #length
  #start = ''
  #known
  #crc = 0n

  /** @param {number} length of the whole body, in bytes */
  constructor(length) {
    this.#length = length
  }

  /** @param {Buffer} chunk */
  add(chunk) {
    if (this.#known !== undefined) return
    if (this.#start.length < PREFIX) {
      this.#start += chunk.toString('latin1', 0, PREFIX - this.#start.length)
      this.#known = known.get(this.#name())
      if (this.#known !== undefined) return
    }
    this.#crc = update(this.#crc, chunk)
  }

  /** The CRC of the body. */
  end() {
    const crc = this.#known ?? this.#crc
    // Batches of lines have few different beginnings, so a limit is enough for them.
    if (this.#known === undefined && known.size < 4096) known.set(this.#name(), crc)
    return crc
  }

  #name() {
    return `${this.#length}:${this.#start}`
  }
}

export class Tails {
  #tails = new Map()

  /** @returns {{ position: number, crc: bigint }} */
  find(name, position) {
    return this.#tails.get(name) ?? { position, crc: position === 0 ? 0n : CRC_OF_UNSEEN }
  }

  /** Appends a body. Returns the new tail, or undefined if the object does not end at `position`. */
  append(name, position, { crc, length }) {
    const before = this.find(name, position)
    if (before.position !== position) return undefined
    const after = { position: position + length, crc: combine(before.crc, crc, length) }
    this.#tails.set(name, after)
    return after
  }
}
