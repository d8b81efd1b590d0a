/**
 * The tails of objects that a pretended OSS holds: where each ends, and its CRC-64. Summing every body
 * would cost a seventh of a second per GB and make the sink the bottleneck. The bodies of a benchmark
 * repeat, so one is summed when it is new, and known again by its length and its first bytes; a mistake
 * in that would stop the run, since our stream compares the CRC of every append.
 */

import { combine } from '../dist/crc64/combine.js'
import { update } from '../dist/crc64/index.js'

/** Bytes by which a body is known again: they span one whole line of the cases with lines. */
const MARK = 256

/** An object that is first written at a position other than 0 began with this CRC. */
export const CRC_OF_UNSEEN = 1234567890123456789n

const known = new Map()

/** A body as it comes in, in pieces. */
export class Body {
  #length
  #start = ''
  #known
  #crc = 0n

  /** @param {number} length of the whole body, in bytes */
  constructor(length) {
    this.#length = length
  }

  /** @param {Buffer} piece */
  add(piece) {
    if (this.#known !== undefined) return
    if (this.#start.length < MARK) {
      this.#start += piece.toString('latin1', 0, MARK - this.#start.length)
      this.#known = known.get(this.#name())
      if (this.#known !== undefined) return
    }
    this.#crc = update(this.#crc, piece)
  }

  /** The CRC of all pieces. */
  end() {
    const crc = this.#known ?? this.#crc
    // Lines come in a few phases only; what is never seen again need not be kept.
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

  /** Appends a body; returns the new tail, or undefined where `position` is not the end. */
  append(name, position, { crc, length }) {
    const before = this.find(name, position)
    if (before.position !== position) return undefined
    const after = { position: position + length, crc: combine(before.crc, crc, length) }
    this.#tails.set(name, after)
    return after
  }
}
